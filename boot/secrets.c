/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/secrets.h"

#include "crypto/kdf.h"
#include "crypto/wipe.h"
#include "guest/engine_policy.h"
#include "guest/vm_file.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"

#define SECRET_LABEL "umbra key file"
_Static_assert(VM_SECRET_BYTES == KDF_SECRET_BYTES, "what pager_vm_create takes");

/*
 * Derives a secret from a key file and replaces the file's bytes. A second derivation, with a fresh
 * salt, makes the key at each start, so the secret must be kept for resets.
 */
static int derive(struct vm_key_source *key)
{
	uint8_t secret[VM_SECRET_BYTES];
	int err = wipe_register(key->secret, sizeof(key->secret));

	if (err == 0) {
		err = kdf_derive(key->secret, key->secret_bytes, NULL, SECRET_LABEL, secret,
				 sizeof(secret));
	}
	secure_zero(key->secret, sizeof(key->secret));
	key->secret_bytes = 0;
	if (err == 0) {
		memcpy(key->secret, secret, sizeof(secret));
		key->secret_bytes = sizeof(secret);
		secure_zero(secret, sizeof(secret));
	}
	return err;
}

void secrets_derive(struct config *config)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		struct vm_config *vm = &config->vms[i];
		int err = vm->key.secret_bytes != 0 ? derive(&vm->key) : 0;

		if (err != 0) {
			log_error("vm %s: no key can be made of %s: %s", vm->name,
				  vm->key.file.path, err_name(err));
			vm->valid = false;
		}
	}
	for (size_t i = 0; i < config->share_count; i++) {
		struct share_config *share = &config->shares[i];
		int err = share->key.secret_bytes != 0 ? derive(&share->key) : 0;

		if (err != 0) {
			log_error("share %s: no key can be made of %s: %s", share->name,
				  share->key.file.path, err_name(err));
			share->valid = false;
		}
	}
}

/* --- Files and command lines --- */

static struct {
	uint32_t number; /* of the last seal */
	uint64_t bytes;
} sealed;

static int map(const struct vm_file *file, enum host_access access)
{
	return host_map_identity(hpa((uintptr_t)file->data), file->bytes, access, HOST_CACHE_WB);
}

/* Several VMs may name one file, which is read only once. Copies its seal to all of them. */
static void share_seal(struct config *config, const struct vm_file *file)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		for (size_t f = 0; f < VM_FILES; f++) {
			struct vm_file *other = vm_config_file(&config->vms[i], f);

			if (other->data == file->data) {
				other->seal = file->seal;
				other->tags = file->tags;
			}
		}
	}
}

static void seal_file(struct config *config, struct vm_file *file)
{
	if (file->data == NULL || file->seal != 0) {
		return;
	}
	/* This needs no new page tables, because the file is mapped for reading already. */
	if (map(file, HOST_READ_WRITE) != 0) {
		log_warn("%s stays in clear: it cannot be mapped for writing", file->path);
		return;
	}
	if (vm_file_seal(file, ++sealed.number) != 0) {
		log_warn("%s is kept without tags, for which there is no memory: a change of its "
			 "ciphertext will not be noticed",
			 file->path);
	}
	share_seal(config, file);
	sealed.bytes += file->bytes;
	(void)map(file, HOST_READ); /* cannot fail: it only takes rights away */
}

static void seal_vm(struct config *config, struct vm_config *vm)
{
	for (size_t f = 0; f < VM_FILES; f++) {
		seal_file(config, vm_config_file(vm, f));
	}
	vm_cmdline_seal(vm, ++sealed.number);
}

/*
 * Whether a VM may start, and so needs its files. A VM with an engine cannot start if nothing can
 * be sealed.
 */
static bool may_start(const struct vm_config *vm, bool sealing)
{
	return vm->valid && (sealing || vm->engine == VM_ENGINE_NONE);
}

static bool is_needed(struct config *config, const struct vm_file *file, bool sealing)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		struct vm_config *vm = &config->vms[i];

		for (size_t f = 0; f < VM_FILES && may_start(vm, sealing); f++) {
			if (vm_config_file(vm, f)->data == file->data) {
				return true;
			}
		}
	}
	return false;
}

static void wipe_file(struct config *config, const struct vm_file *file, bool sealing)
{
	if (file->data == NULL || is_needed(config, file, sealing)) {
		return;
	}
	if (map(file, HOST_READ_WRITE) != 0) {
		log_warn("%s stays in clear: it cannot be mapped for writing", file->path);
		return;
	}
	secure_zero((void *)(uintptr_t)file->data, file->bytes);
	(void)map(file, HOST_READ);
}

/*
 * Returns false if nothing can be sealed. Logs a lack of memory; a lack of random numbers was
 * logged before.
 */
static bool start_sealing(uint32_t cpus, bool with_tags)
{
	uint8_t(*buffers)[PAGE_SIZE] = page_alloc(cpus);
	int err = buffers != NULL ? vm_file_start(buffers, cpus, with_tags) : ERR_NOMEM;

	if (err != 0) {
		page_free(buffers, cpus);
	}
	if (err == ERR_NOMEM) {
		log_error("files: there is no memory to open ciphertext in: VMs with an engine "
			  "lose their files, and do not start");
	}
	return err == 0;
}

void secrets_seal(struct config *config, uint32_t cpus)
{
	bool wanted = false, with_tags = false, sealing;

	for (size_t i = 0; i < config->vm_count; i++) {
		const struct vm_config *vm = &config->vms[i];
		const bool its_files = may_start(vm, true) && vm->engine != VM_ENGINE_NONE;

		wanted |= its_files;
		with_tags |= its_files && engine_has_tags(vm->integrity);
	}
	sealing = wanted && start_sealing(cpus, with_tags);
	for (size_t i = 0; i < config->vm_count; i++) {
		struct vm_config *vm = &config->vms[i];

		if (!may_start(vm, sealing)) {
			secure_zero(vm->cmdline, sizeof(vm->cmdline));
			for (size_t f = 0; f < VM_FILES; f++) {
				wipe_file(config, vm_config_file(vm, f), sealing);
			}
		} else if (vm->engine != VM_ENGINE_NONE) {
			seal_vm(config, vm);
		}
	}
	if (sealing) {
		log_info("files: %lu KiB of kernels, initrds and disks, and command lines, are "
			 "kept as ciphertext%s",
			 sealed.bytes >> 10, with_tags ? ", files with tags" : "");
	}
}
