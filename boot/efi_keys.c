/* SPDX-License-Identifier: Apache-2.0 */
/* Reads key files of the stick: those that are a key, and those that recognise a passphrase. */
#include "boot/efi_priv.h"

#include "boot/key_file.h"
#include "crypto/wipe.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

/*
 * The file's bytes. There is room for more than a key, so that a file that is too long is noticed.
 */
static uint8_t content[KEY_FILE_PASSPHRASE_MAX];

const char *efi_key_hold(struct vm_key_source *key)
{
	return wipe_register(key->secret, sizeof(key->secret)) == 0
		       ? NULL
		       : "the list of what a panic wipes is full";
}

static const char *take(struct vm_key_source *key)
{
	uint64_t bytes;
	const char *error = efi_key_hold(key);

	if (error != NULL) {
		return error;
	}
	if (efi_file_read_small(&key->file, content, sizeof(content), &bytes) != 0) {
		return key->file.error;
	}
	error = key->form == VM_KEY_FORM_PASSPHRASE
			? key_file_take_passphrase((const char *)content, bytes, key)
			: key_file_take_raw(content, bytes, key);
	secure_zero(content, sizeof(content));
	return error;
}

/* what is "vm" or "share". Returns false if a key file is named and cannot be used. */
static bool read_key(struct vm_key_source *key, const char *what, const char *name, uint32_t line)
{
	const char *error;

	if (key->kind != VM_KEY_FILE || key->form == VM_KEY_FORM_TPM) {
		return true; /* for a key of the TPM see efi_seal.c */
	}
	error = take(key);
	if (error != NULL) {
		log_error("%s:%u: %s %s: key = %s:%s: %s; the %s is left out", LAUNCH_CONFIG_NAME,
			  line, what, name, vm_key_form_word(key->form), key->file.path, error,
			  strcmp(what, "vm") == 0 ? "VM" : "share");
	}
	return error == NULL;
}

void efi_keys_read(struct config *config)
{
	/* If the list is full, no key can be registered either, and efi_key_hold reports that. */
	(void)wipe_register(content, sizeof(content));
	for (size_t i = 0; i < config->vm_count; i++) {
		struct vm_config *vm = &config->vms[i];

		vm->valid = vm->valid && read_key(&vm->key, "vm", vm->name, vm->line);
	}
	for (size_t i = 0; i < config->share_count; i++) {
		struct share_config *share = &config->shares[i];

		share->valid = share->valid &&
			       read_key(&share->key, "share", share->name, share->line);
	}
}

void efi_key_forget(struct vm_key_source *key)
{
	secure_zero(key->secret, sizeof(key->secret));
	key->secret_bytes = 0;
}

void efi_keys_forget(struct config *config)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		efi_key_forget(&config->vms[i].key);
	}
	for (size_t i = 0; i < config->share_count; i++) {
		efi_key_forget(&config->shares[i].key);
	}
}

static bool is_sealed(const struct vm_key_source *key)
{
	return key->kind == VM_KEY_FILE && key->form == VM_KEY_FORM_TPM;
}

bool efi_keys_need_tpm(const struct config *config)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		if (config->vms[i].valid && is_sealed(&config->vms[i].key)) {
			return true;
		}
	}
	for (size_t i = 0; i < config->share_count; i++) {
		if (config->shares[i].valid && is_sealed(&config->shares[i].key)) {
			return true;
		}
	}
	return false;
}

/* Returns whether a VM or a share may be used. */
static bool leave_out(struct vm_key_source *key, const char *what, const char *name,
		      const char *why)
{
	if (!is_sealed(key)) {
		return true;
	}
	efi_key_forget(key);
	log_error("%s %s: %s, so a key of the TPM is not used; the %s is left out", what, name, why,
		  what);
	return false;
}

void efi_leave_sealed_out(struct config *config, const char *why)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		struct vm_config *vm = &config->vms[i];

		vm->valid = vm->valid && leave_out(&vm->key, "vm", vm->name, why);
	}
	for (size_t i = 0; i < config->share_count; i++) {
		struct share_config *share = &config->shares[i];

		share->valid = share->valid && leave_out(&share->key, "share", share->name, why);
	}
}
