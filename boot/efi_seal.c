/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that the TPM has sealed: files of the stick that only this TPM opens, and only in a launch
 * that has measured the same. A secret and what it is compared with are in static memory, and
 * wiped.
 */
#include "boot/efi_priv.h"

#include "boot/dma.h"
#include "boot/key_file.h"
#include "crypto/verify.h"
#include "crypto/wipe.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

#define KEY_SUFFIX   ".key" /* in place of .tpm */
#define SUFFIX_BYTES 4u
/*
 * A line of the log has 240 characters, of which 104 are others than a key's path and the reason.
 * A longer reason has a line of its own.
 */
#define BESIDE_MAX 136u

/* The key that is being opened or sealed, for messages. */
struct subject {
	struct vm_key_source *key;
	const char *what; /* "vm" or "share" */
	const char *name;
};

/*
 * Sealed files that were read, to be opened when DMA is shut out: one place for each VM of the
 * configuration, then one for each share.
 */
static struct {
	uint8_t data[SEAL_BLOB_MAX];
	uint64_t bytes; /* 0: nothing is to be opened */
} kept[CONFIG_VM_MAX + SHARE_MAX];

static struct seal seal = { .tpm = { .submit = efi_tpm_submit, .wait = efi_tpm_wait } };
static struct seal_blob blob;
static uint8_t data[SEAL_BLOB_MAX]; /* of the file */
static uint64_t data_bytes;
static const struct config *all;   /* the configuration */
static struct vm_key_source plain; /* the key file, where a key is sealed */
static uint64_t plain_bytes;	   /* of it */
static uint8_t content[VM_KEY_FILE_MAX];
static char why[SEAL_WHY_MAX];
static bool has_secure_boot;
static bool warned; /* in this start */

/* Returns why a key could not be sealed or opened, by err and the TPM's last answer. */
static const char *explain(int err)
{
	static struct seal_state now;
	const char(*words)[SEAL_WORDS_MAX];
	const struct seal_state *then = &blob.state;

	if (err == ERR_RIGHTS) {
		efi_tpm_note_firmware();
	}
	now = *efi_tpm_steps(&words);
	if (err == ERR_RIGHTS) {
		err = seal_read_pcrs(&seal, &now);
		err = err == 0 ? ERR_RIGHTS : err;
	}
	seal_explain(&seal, err, then, &now, words, why, sizeof(why));
	return why;
}

/*
 * Reads the PCRs. Returns NULL, or why no key may depend on them: firmware has not extended the
 * bank of SHA-256, but only others, so any program can extend that bank as it likes
 * (CVE-2021-42299, "TPM Carte Blanche"). PCR 11 is not checked, because it is empty if no VM has
 * files.
 */
static const char *check_pcrs(struct seal_state *state)
{
	static const uint8_t zeros[TPM_SHA256_BYTES];
	const int err = seal_read_pcrs(&seal, state);

	if (err != 0) {
		return explain(err);
	}
	for (size_t i = 0; i < SEAL_PCRS; i++) {
		if (seal_pcrs[i] != LAUNCH_PCR_FILES &&
		    memcmp(state->values[i], zeros, sizeof(zeros)) == 0) {
			(void)str_printf(why, sizeof(why),
					 "firmware has not measured into the SHA-256 value of PCR "
					 "%u, so it would open for any program: update firmware",
					 seal_pcrs[i]);
			return why;
		}
	}
	return NULL;
}

/* Opens the file that was read into data. Returns NULL, or why that is not possible. */
static const char *open_data(struct vm_key_source *key)
{
	static struct seal_state now;
	const char *error;
	size_t bytes;
	int err;

	if (!seal_blob_read(data, data_bytes, &blob)) {
		return "this is not a key that Umbra has sealed, or it was sealed to other PCRs "
		       "than 4, 7, 11 and 12";
	}
	error = check_pcrs(&now);
	if (error != NULL) {
		return error;
	}
	err = seal_open(&seal, &blob.sealed, key->secret, &bytes);
	if (err == 0 && bytes != VM_KEY_FILE_MIN && bytes != VM_KEY_FILE_MAX) {
		err = ERR_FORMAT;
	}
	if (err != 0) {
		secure_zero(key->secret, sizeof(key->secret));
		return explain(err);
	}
	key->secret_bytes = bytes;
	return verify_sha256(data, data_bytes, key->tpm_hash) == 0 ? NULL : "SHA-256 failed";
}
_Static_assert(VM_KEY_FILE_MAX == TPM_SECRET_MAX, "seal_open fills a key's secret");
_Static_assert(sizeof(((struct vm_key_source *)0)->tpm_hash) == VERIFY_HASH_BYTES, "its hash");

/* Makes the path of the key file from that of its sealed form, which the parser has checked. */
static void set_key_path(const struct vm_key_source *key)
{
	size_t length;

	memset(&plain, 0, sizeof(plain));
	(void)str_copy(plain.file.path, sizeof(plain.file.path), key->file.path); /* it fits */
	length = strlen(plain.file.path);
	CHECK(length > SUFFIX_BYTES);
	memcpy(plain.file.path + length - SUFFIX_BYTES, KEY_SUFFIX, SUFFIX_BYTES);
}

static bool names(const struct vm_key_source *key, const char *path, enum vm_key_form form,
		  enum vm_key_tpm tpm)
{
	return key->kind == VM_KEY_FILE && key->form == form && key->tpm == tpm &&
	       str_equal_nocase(key->file.path, path);
}

/*
 * Whether a VM or a share has a key with this path and form, and in this state (enum vm_key_tpm).
 */
static bool is_named(const char *path, enum vm_key_form form, enum vm_key_tpm tpm)
{
	for (size_t i = 0; i < all->vm_count; i++) {
		if (names(&all->vms[i].key, path, form, tpm)) {
			return true;
		}
	}
	for (size_t i = 0; i < all->share_count; i++) {
		if (names(&all->shares[i].key, path, form, tpm)) {
			return true;
		}
	}
	return false;
}

/*
 * Reads the key file. Returns NULL, or what is wrong with it; *err is then ERR_NOTFOUND, ERR_IO,
 * ERR_EXISTS if an earlier start has overwritten it, or ERR_FORMAT.
 */
static const char *read_plain(int *err)
{
	static const uint8_t zeros[VM_KEY_FILE_MAX];
	const char *error;

	*err = efi_file_read_small(&plain.file, content, sizeof(content), &plain_bytes);
	if (*err != 0) {
		return plain.file.error;
	}
	error = key_file_take_raw(content, plain_bytes, &plain);
	if (error != NULL) {
		*err = memcmp(content, zeros, plain_bytes) == 0 ? ERR_EXISTS : ERR_FORMAT;
	}
	secure_zero(content, sizeof(content));
	return error;
}

static bool same_key(const struct vm_key_source *key)
{
	return key->secret_bytes == plain.secret_bytes &&
	       ct_equal(key->secret, plain.secret, sizeof(plain.secret));
}

/* Overwrites and removes the key file, which is not needed any more. Logs a failure. */
static void destroy_plain(const struct subject *of)
{
	int err;

	if (is_named(plain.file.path, VM_KEY_FORM_RAW, VM_KEY_TPM_SHUT)) {
		log_warn("%s %s: %s is not removed: another key is file:%s, so it lies on the "
			 "stick in clear",
			 of->what, of->name, plain.file.path, plain.file.path);
		return;
	}
	err = efi_file_destroy(plain.file.path, plain_bytes);
	if (err == 0) {
		log_info("%s %s: %s is overwritten and removed; a stick may keep old copies of "
			 "its blocks",
			 of->what, of->name, plain.file.path);
	} else if (err == ERR_EXISTS) {
		log_warn("%s %s: %s is overwritten, but firmware could not remove it", of->what,
			 of->name, plain.file.path);
	} else {
		log_error("%s %s: firmware could not overwrite %s: the key lies on the stick in "
			  "clear",
			  of->what, of->name, plain.file.path);
	}
}

/* A key that this TPM opens is as safe as what firmware has started. */
static void warn_of_drivers(void)
{
	if (!has_secure_boot && !warned) {
		warned = true;
		log_warn("Secure Boot is off: a driver that firmware starts before Umbra, of a "
			 "card or a variable Driver####, is in none of the PCRs that keys are "
			 "sealed to, and can read the keys");
	}
}

/*
 * Seals plain, writes the sealed file, reads it back and opens it. The key file stays until a later
 * start has opened the sealed file: only then is it sure that the stick has kept it, and that the
 * PCRs are the same from start to start.
 */
static const char *seal_plain(const struct subject *of)
{
	struct vm_key_source *key = of->key;
	const char(*words)[SEAL_WORDS_MAX];
	const char *error;
	int err;

	memset(&blob, 0, sizeof(blob));
	efi_tpm_note_firmware();
	blob.state = *efi_tpm_steps(&words);
	error = check_pcrs(&blob.state);
	if (error != NULL) {
		return error;
	}
	err = seal_make(&seal, plain.secret, plain.secret_bytes, &blob.sealed);
	if (err != 0) {
		return explain(err);
	}
	data_bytes = seal_blob_write(&blob, data);
	log_info("%s %s: %s is sealed by the TPM to PCR 4, 7, 11 and 12", of->what, of->name,
		 plain.file.path);
	warn_of_drivers();
	if (efi_file_write_new(key->file.path, data, data_bytes) != 0) {
		return "firmware could not write it: remove what is left of it";
	}
	if (efi_file_read_small(&key->file, data, sizeof(data), &data_bytes) != 0) {
		return key->file.error;
	}
	error = open_data(key);
	if (error == NULL && !same_key(key)) {
		error = "the TPM opens another key than it has sealed";
	}
	if (error == NULL) {
		log_info("%s %s: %s is written, %lu bytes, and opens", of->what, of->name,
			 key->file.path, data_bytes);
		log_info("%s %s: start again: when the TPM has opened it then, %s is overwritten "
			 "and removed",
			 of->what, of->name, plain.file.path);
		key->tpm = VM_KEY_TPM_FRESH;
	}
	return error;
}

static const char *make(const struct subject *of)
{
	const char *error;
	int err;

	set_key_path(of->key);
	error = read_plain(&err);
	if (error != NULL) {
		(void)str_printf(why, sizeof(why),
				 "this sealed key does not exist, and none can be made of %s: %s",
				 plain.file.path, error);
		return why;
	}
	return seal_plain(of);
}

/*
 * Call after a sealed file was opened that an earlier start has made: its key file is not needed
 * any more. Removes the key file, or warns of it. error, err: as from read_plain.
 */
static void judge_plain(const struct subject *of, const char *error, int err)
{
	if (error != NULL && err == ERR_EXISTS) {
		log_warn("%s %s: an earlier start has overwritten %s and not removed it", of->what,
			 of->name, plain.file.path);
		destroy_plain(of);
	} else if (error != NULL) {
		log_warn("%s %s: %s lies beside %s: %s: remove %s", of->what, of->name,
			 plain.file.path, of->key->file.path, error, plain.file.path);
	} else if (same_key(of->key)) {
		destroy_plain(of);
	} else {
		log_warn("%s %s: %s lies in clear on the stick and is not the key of %s: remove %s",
			 of->what, of->name, plain.file.path, of->key->file.path, plain.file.path);
	}
}

/* Opens the sealed file that was read into data. */
static const char *open_sealed(const struct subject *of)
{
	const char *error = open_data(of->key);

	if (error == NULL) {
		of->key->tpm = is_named(of->key->file.path, VM_KEY_FORM_TPM, VM_KEY_TPM_FRESH)
				       ? VM_KEY_TPM_FRESH
				       : VM_KEY_TPM_OPENED;
		log_info("%s %s: %s: the TPM has opened the key", of->what, of->name,
			 of->key->file.path);
		warn_of_drivers();
	}
	return error;
}

/*
 * Reads a sealed file for efi_seal_open, or seals a key. But if the key file lies on the stick, the
 * key is opened at once: devices could see the key file being read anyway, and it can be removed
 * only while firmware can write to the stick. n: the place in kept.
 */
static const char *get(const struct subject *of, size_t n, bool may_seal)
{
	struct vm_key_source *key = of->key;
	const char *error, *plain_error;
	int err;

	if (!efi_tpm_works()) {
		return "firmware offers no TPM 2.0, or the TPM did not take a measurement";
	}
	error = efi_key_hold(key);
	if (error != NULL) {
		return error;
	}
	err = efi_file_read_small(&key->file, data, sizeof(data), &data_bytes);
	if (err == ERR_NOTFOUND && may_seal) {
		return make(of);
	}
	if (err != 0) {
		return key->file.error;
	}
	if (may_seal) {
		set_key_path(key);
		plain_error = read_plain(&err);
		if (err != ERR_NOTFOUND) {
			if (dma_will_block()) {
				log_warn("%s %s: %s is on the stick, so the key is opened while "
					 "devices can still reach memory",
					 of->what, of->name, plain.file.path);
			}
			error = open_sealed(of);
			if (error == NULL && key->tpm == VM_KEY_TPM_OPENED) {
				judge_plain(of, plain_error, err);
			}
			return error;
		}
	}
	memcpy(kept[n].data, data, data_bytes);
	kept[n].bytes = data_bytes;
	return NULL;
}

static const char *open_kept(const struct subject *of, size_t n)
{
	memcpy(data, kept[n].data, kept[n].bytes);
	data_bytes = kept[n].bytes;
	kept[n].bytes = 0;
	return open_sealed(of);
}

/* A line for each PCR that differs. */
static void log_reason(const struct subject *of, const char *error)
{
	static char lines[SEAL_WHY_MAX];
	char *line = lines, *end;

	(void)str_copy(lines, sizeof(lines), error); /* it fits */
	for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		*end = '\0';
		log_error("%s %s: %s", of->what, of->name, line);
	}
	log_error("%s %s: %s", of->what, of->name, line);
}

/* Returns false, after it has said why, if the key could not be had. */
static bool has_key(const struct subject *of, const char *error, uint32_t line)
{
	struct vm_key_source *key = of->key;

	secure_zero(&plain, sizeof(plain));
	if (error == NULL) {
		return true;
	}
	secure_zero(key->secret, sizeof(key->secret));
	key->secret_bytes = 0;
	if (strlen(key->file.path) + strlen(error) > BESIDE_MAX || strchr(error, '\n') != NULL) {
		log_reason(of, error);
		error = "there is no key, for the reason above";
	}
	log_error("%s:%u: %s %s: key = tpm:%s: %s; the %s is left out", LAUNCH_CONFIG_NAME, line,
		  of->what, of->name, key->file.path, error,
		  strcmp(of->what, "vm") == 0 ? "VM" : "share");
	return false;
}

static bool is_sealed(const struct vm_key_source *key)
{
	return key->kind == VM_KEY_FILE && key->form == VM_KEY_FORM_TPM;
}

/* One step for the n-th of all keys. Returns false if its VM or share is left out. */
typedef bool key_step(const struct subject *of, size_t n, uint32_t line,
		      const struct config *config);

static bool read_step(const struct subject *of, size_t n, uint32_t line,
		      const struct config *config)
{
	kept[n].bytes = 0;
	return has_key(of, get(of, n, config->tpm == CONFIG_TPM_SEAL), line);
}

static bool open_step(const struct subject *of, size_t n, uint32_t line,
		      const struct config *config)
{
	return kept[n].bytes == 0 || has_key(of, open_kept(of, n), line);
}

static void do_all(struct config *config, key_step *step)
{
	all = config;
	for (size_t i = 0; i < config->vm_count; i++) {
		struct vm_config *vm = &config->vms[i];
		const struct subject of = { &vm->key, "vm", vm->name };

		if (vm->valid && is_sealed(&vm->key)) {
			vm->valid = step(&of, i, vm->line, config);
		}
	}
	for (size_t i = 0; i < config->share_count; i++) {
		struct share_config *share = &config->shares[i];
		const struct subject of = { &share->key, "share", share->name };

		if (share->valid && is_sealed(&share->key)) {
			share->valid = step(&of, CONFIG_VM_MAX + i, share->line, config);
		}
	}
}

void efi_seal_read(struct config *config, bool secure_boot)
{
	has_secure_boot = secure_boot;
	warned = false;
	/* If the list is full, no key can be registered either, and efi_key_hold reports that. */
	(void)wipe_register(plain.secret, sizeof(plain.secret));
	(void)wipe_register(content, sizeof(content));
	(void)wipe_register(&seal.tpm, sizeof(seal.tpm)); /* its buffers */
	do_all(config, read_step);
}

void efi_seal_open(struct config *config)
{
	do_all(config, open_step);
	seal_end(&seal);
}
