/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/efi_seal.c with a fake stick and a fake TPM: a key file goes only when a later start has
 * opened its sealed form to the same key, and a key that was not opened leaves nothing behind.
 */
#include <stdio.h>

#include "tests/unit/test.h"
#include "boot/efi_priv.h"
#include "crypto/verify.h"
#include "tests/unit/efi_stick.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

/* --- The stick --- */

static bool destroy_fails, delete_fails, has_secure_boot;
static const char *long_reason = "";
static uint64_t destroyed; /* bytes of key files */

static bool is_there(const char *path)
{
	return fake_stick_find(path) != NULL;
}

int efi_file_destroy(const char *path, uint64_t bytes)
{
	assert_false(fake_stick.is_gone);
	if (destroy_fails) {
		return ERR_IO;
	}
	destroyed += bytes;
	memset(fake_stick_find(path)->data, 0, bytes);
	if (delete_fails) {
		return ERR_EXISTS;
	}
	fake_stick_find(path)->path[0] = '\0';
	return 0;
}

/* --- What a panic wipes --- */

static const void *areas[8];
static size_t area_count;

int wipe_register(void *area, size_t bytes)
{
	assert_in_range(area_count, 0, ARRAY_COUNT(areas) - 1);
	areas[area_count++] = area;
	return 0;
}

static bool is_held(const void *area)
{
	for (size_t i = 0; i < area_count; i++) {
		if (areas[i] == area) {
			return true;
		}
	}
	return false;
}

const char *efi_key_hold(struct vm_key_source *key)
{
	return wipe_register(key->secret, sizeof(key->secret)) == 0 ? NULL : "no room";
}

/* --- The TPM: what it seals is inverted --- */

static bool opens_another;
static int read_error, make_error, open_error;
static unsigned ended;
static size_t unused_pcr; /* its place; SEAL_PCRS: none */

const uint8_t seal_pcrs[SEAL_PCRS] = { 4, 7, 11, 12 };

int seal_read_pcrs(struct seal *seal, struct seal_state *state)
{
	memset(state->values, 'v', sizeof(state->values));
	if (unused_pcr < SEAL_PCRS) {
		memset(state->values[unused_pcr], 0, sizeof(state->values[0]));
	}
	return read_error;
}

static const uint8_t *sealed_from; /* the last secret that was sealed */

int seal_make(struct seal *seal, const uint8_t *secret, size_t bytes, struct tpm_sealed *out)
{
	sealed_from = secret;
	out->private_bytes = bytes;
	for (size_t i = 0; i < bytes; i++) {
		out->private_part[i] = (uint8_t)~secret[i];
	}
	return make_error;
}

int seal_open(struct seal *seal, const struct tpm_sealed *sealed, uint8_t secret[TPM_SECRET_MAX],
	      size_t *bytes)
{
	*bytes = sealed->private_bytes;
	assert_true(is_held(secret));
	for (size_t i = 0; i < *bytes; i++) {
		secret[i] = (uint8_t)~sealed->private_part[i];
	}
	secret[0] ^= opens_another ? 1 : 0;
	return open_error;
}

void seal_end(struct seal *seal)
{
	ended++;
}

void seal_explain(const struct seal *seal, int err, const struct seal_state *then,
		  const struct seal_state *now, const char (*words)[SEAL_WORDS_MAX], char *text,
		  size_t max)
{
	snprintf(text, max, "explained %d by %c and %zu%s", err, now->values[0][0], now->step_count,
		 long_reason);
}

size_t seal_blob_write(const struct seal_blob *blob, uint8_t data[SEAL_BLOB_MAX])
{
	data[0] = 'B';
	memcpy(data + 1, blob, sizeof(*blob));
	return sizeof(*blob) + 1;
}

bool seal_blob_read(const uint8_t *data, size_t bytes, struct seal_blob *out)
{
	memcpy(out, data + 1, sizeof(*out));
	return bytes == sizeof(*out) + 1 && data[0] == 'B';
}

bool dma_will_block(void)
{
	return true;
}

int verify_sha256(const void *data, size_t bytes, uint8_t hash[VERIFY_HASH_BYTES])
{
	memset(hash, *(const char *)data, VERIFY_HASH_BYTES);
	return 0;
}

/* --- Tests --- */

static struct config config;
static uint8_t key[VM_KEY_FILE_MAX];

static int setup(void **state)
{
	memset(&config, 0, sizeof(config));
	fake_stick = (struct fake_stick){ 0 };
	fake_efi_tpm = (struct fake_efi_tpm){ .works = true };
	for (size_t i = 0; i < sizeof(key); i++) {
		key[i] = (uint8_t)(i + 1);
	}
	config.tpm = CONFIG_TPM_SEAL;
	config.vm_count = 1;
	config.vms[0].valid = true;
	config.vms[0].line = 7;
	strcpy(config.vms[0].name, "a");
	config.vms[0].key.kind = VM_KEY_FILE;
	config.vms[0].key.form = VM_KEY_FORM_TPM;
	strcpy(config.vms[0].key.file.path, "\\a.TPM");
	area_count = 0;
	opens_another = destroy_fails = delete_fails = false;
	unused_pcr = SEAL_PCRS;
	read_error = make_error = open_error = 0;
	destroyed = ended = 0;
	has_secure_boot = false;
	return fake_setup(state);
}

/* A start: nothing was opened yet. Between the steps DMA is shut out: no stick after that. */
static void start(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(config.vms); i++) {
		config.vms[i].key.tpm = VM_KEY_TPM_SHUT;
	}
	area_count = 0;
	efi_seal_read(&config, has_secure_boot);
	fake_stick.is_gone = true;
	efi_seal_open(&config);
	fake_stick.is_gone = false;
}

/* Once in a start, of however many keys. */
static bool warns_once(void)
{
	static const char what[] = "warning: Secure Boot is off: a driver";
	const char *at = strstr(fake_log_text(), what);

	return at != NULL && strstr(at + 1, what) == NULL;
}

/* The VM is left out for this reason, no secret is left, and the key file is as it was. */
static void refused(const char *why)
{
	static const uint8_t nothing[VM_KEY_FILE_MAX];
	const struct vm_config *vm = &config.vms[0];

	start();
	assert_false(vm->valid);
	assert_int_equal(vm->key.secret_bytes, 0);
	assert_memory_equal(vm->key.secret, nothing, sizeof(nothing));
	assert_int_equal(vm->key.tpm, VM_KEY_TPM_SHUT);
	assert_non_null(strstr(fake_log_text(), "error: umbra.conf:7: vm a: key = tpm:\\a.TPM: "));
	assert_non_null(strstr(fake_log_text(), why));
	assert_int_equal(destroyed, 0);
}

TEST(a_key_file_is_sealed_then_opened, setup, fake_teardown)
{
	static struct seal_blob made;
	const struct fake_file *sealed;

	fake_stick_put("\\a.key", key, 64);
	start();
	assert_true(config.vms[0].valid);
	assert_int_equal(config.vms[0].key.tpm, VM_KEY_TPM_FRESH);
	assert_memory_equal(config.vms[0].key.secret, key, 64);
	assert_int_equal(config.vms[0].key.tpm_hash[0], 'B');
	assert_true(warns_once());
	sealed = fake_stick_find("\\a.TPM");
	assert_non_null(sealed);
	assert_true(seal_blob_read((const uint8_t *)sealed->data, sealed->bytes, &made));
	assert_int_equal(made.state.step_count, 1); /* with firmware's steps */
	assert_true(is_there("\\a.key"));
	assert_int_equal(destroyed, 0);
	assert_non_null(strstr(fake_log_text(), "vm a: start again: when the TPM has opened it "
						"then, \\a.key is overwritten and removed"));
	assert_int_equal(ended, 1);
	/* The next boot. */
	memset(config.vms[0].key.secret, 0, sizeof(key));
	fake_log_reset();
	start();
	assert_true(warns_once());
	assert_false(is_there("\\a.key"));
	assert_int_equal(destroyed, 64);
	assert_int_equal(config.vms[0].key.tpm, VM_KEY_TPM_OPENED);
	assert_int_equal(config.vms[0].key.secret_bytes, 64);
	assert_memory_equal(config.vms[0].key.secret, key, 64);
	config.tpm = CONFIG_TPM_OPEN;
	fake_log_reset();
	start();
	assert_true(config.vms[0].valid);
	assert_true(warns_once());
}

/* Of a key file nothing is left but the key of its VM, whether it is sealed or only compared. */
TEST(no_copy_of_a_key_file_is_left, setup, fake_teardown)
{
	static const uint8_t nothing[VM_KEY_FILE_MAX];

	fake_stick_put("\\a.key", key, 64);
	for (unsigned i = 0; i < 2; i++) {
		fake_stick.key_bytes = 0;
		start();
		assert_true(config.vms[0].valid);
		assert_int_equal(fake_stick.key_bytes, 64);
		assert_memory_equal(fake_stick.key_content, nothing, 64);
		assert_true(is_held(fake_stick.key_content));
		assert_memory_equal(sealed_from, nothing, 64);
	}
	assert_false(is_there("\\a.key"));
}

/* Only when DMA is shut out, unless the key lies on the stick in clear as well. */
TEST(a_key_is_opened_late, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 64);
	has_secure_boot = true;
	start();
	assert_null(strstr(fake_log_text(), "Secure Boot is off"));
	config.vms[0].key.tpm = VM_KEY_TPM_SHUT; /* the next boot */
	area_count = 0;
	assert_null(strstr(fake_log_text(), "while devices can still reach memory"));
	efi_seal_read(&config, has_secure_boot);
	assert_int_equal(config.vms[0].key.tpm, VM_KEY_TPM_OPENED);
	assert_false(is_there("\\a.key"));
	assert_non_null(strstr(fake_log_text(), "while devices can still reach memory"));
	for (unsigned i = 0; i < 2; i++) { /* later boots, whether or not keys may be sealed */
		config.tpm = i == 0 ? CONFIG_TPM_SEAL : CONFIG_TPM_REPORT;
		area_count = 0;
		memset(config.vms[0].key.secret, 0, sizeof(key));
		config.vms[0].key.secret_bytes = 0;
		config.vms[0].key.tpm = VM_KEY_TPM_SHUT;
		efi_seal_read(&config, has_secure_boot);
		assert_true(config.vms[0].valid);
		assert_int_equal(config.vms[0].key.secret_bytes, 0);
		assert_int_equal(config.vms[0].key.tpm, VM_KEY_TPM_SHUT);
		fake_stick.is_gone = true;
		efi_seal_open(&config);
		fake_stick.is_gone = false;
		assert_int_equal(config.vms[0].key.tpm, VM_KEY_TPM_OPENED);
		assert_memory_equal(config.vms[0].key.secret, key, 64);
	}
	/* A key of a VM that was left out in between is not opened. */
	area_count = 0;
	memset(config.vms[0].key.secret, 0, sizeof(key));
	config.vms[0].key.tpm = VM_KEY_TPM_SHUT;
	efi_seal_read(&config, has_secure_boot);
	config.vms[0].valid = false;
	efi_seal_open(&config);
	assert_int_equal(config.vms[0].key.secret[0], 0);
	assert_int_equal(config.vms[0].key.tpm, VM_KEY_TPM_SHUT);
}

TEST(nothing_is_sealed_unasked, setup, fake_teardown)
{
	config.tpm = CONFIG_TPM_OPEN;
	fake_stick_put("\\a.key", key, 64);
	refused("there is no such file; the VM is left out");
	assert_false(is_there("\\a.TPM"));
}

TEST(a_key_file_stays_if_its_sealed_form_was_not_written, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 32);
	fake_stick.write_fails = "";
	refused("firmware could not write it");
	assert_true(is_there("\\a.key"));
}

TEST(a_key_file_stays_if_the_stick_has_other_bytes, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 32);
	fake_stick.loses_bits = true;
	refused("this is not a key that Umbra has sealed");
	assert_true(is_there("\\a.key"));
}

TEST(a_key_file_stays_if_the_tpm_opens_another_key, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 32);
	opens_another = true;
	refused("the TPM opens another key than it has sealed");
	assert_true(is_there("\\a.key"));
}

TEST(a_tpm_that_cannot_seal, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 32);
	make_error = ERR_IO;
	refused("explained -8");
	assert_true(is_there("\\a.key") && !is_there("\\a.TPM"));
}

TEST(no_good_key_file, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 33);
	refused("none can be made of \\a.key: a key file has exactly 32 or 64 bytes");
}

/* The log says why, and shows the PCRs' present values if they are the reason. */
TEST(a_key_that_stays_shut, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 32);
	start();
	destroyed = 0;
	fake_efi_tpm.steps = 0;
	open_error = ERR_RIGHTS;
	refused("explained -13 by v and 1"); /* with firmware's steps */
	/* A long reason is not cut off, nor what becomes of the VM. */
	config.vms[0].valid = true;
	long_reason = ": a reason, which is so long that a line of the log has no room for the "
		      "configuration's line, the key, the reason, and that the VM is left out";
	refused("error: vm a: explained -13 by v and 1: a reason, ");
	assert_non_null(strstr(fake_log_text(), "TPM: there is no key, for the reason above; the "
						"VM is left out"));
	/* Nor is a short one beside a long path. */
	fake_log_reset();
	config.vms[0].valid = true;
	long_reason = "";
	fake_efi_tpm.works = false;
	memset(config.vms[0].key.file.path + 1, 'x', VM_PATH_MAX - 2);
	strcpy(config.vms[0].key.file.path + VM_PATH_MAX - 5, ".tpm");
	start();
	assert_non_null(strstr(fake_log_text(), "error: vm a: firmware offers no TPM 2.0, or"));
	assert_non_null(strstr(fake_log_text(), ".tpm: there is no key, for the reason above; "));
}

/* Together they would be longer than a line of the log. */
TEST(each_pcr_that_differs_has_a_line, setup, fake_teardown)
{
	static char reasons[4 * 123];
	static const char first[] = "error: vm a: explained -13 by v and 1\nerror: vm a: ";
	const char *at;

	fake_stick_put("\\a.key", key, 32);
	start();
	destroyed = 0;
	fake_efi_tpm.steps = 0;
	open_error = ERR_RIGHTS;
	for (size_t i = 0; i < 3; i++) {
		sprintf(reasons + strlen(reasons), "\nPCR %zu%0110d", i, 0);
	}
	long_reason = "\nPCR 7"; /* nor is it one line where they are short */
	refused("error: vm a: explained -13 by v and 1\nerror: vm a: PCR 7\nerror: umbra.conf:7: ");
	fake_log_reset();
	config.vms[0].valid = true;
	fake_efi_tpm.steps = 0;
	long_reason = reasons;
	refused(first);
	long_reason = "";
	at = strstr(fake_log_text(), first) + sizeof(first) - 1;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(strcspn(at, "\n"), 5 + 110);
		assert_int_equal(at[4], '0' + i);
		at += 5 + 110 + strlen("\nerror: ") + (i < 2 ? strlen("vm a: ") : 0);
	}
	assert_ptr_equal(strstr(at, "umbra.conf:7: vm a: "), at);
}

TEST(a_secret_of_no_length_of_a_key, setup, fake_teardown)
{
	struct seal_blob blob = { .sealed.private_bytes = 40 };
	uint8_t data[SEAL_BLOB_MAX];

	fake_stick_put("\\a.TPM", data, seal_blob_write(&blob, data));
	refused("explained -7");
}

TEST(both_files, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 64);
	start();
	destroy_fails = true;
	start();
	assert_true(config.vms[0].valid); /* it has its key */
	assert_non_null(strstr(fake_log_text(),
			       "error: vm a: firmware could not overwrite \\a.key: "
			       "the key lies on the stick in clear"));
	destroy_fails = false;
	start();
	assert_false(is_there("\\a.key"));
	key[63] ^= 1;
	fake_stick_put("\\a.key", key, 64);
	destroyed = 0;
	start();
	assert_true(config.vms[0].valid && is_there("\\a.key"));
	assert_int_equal(destroyed, 0);
	assert_non_null(strstr(fake_log_text(), "warning: vm a: \\a.key lies in clear on the stick "
						"and is not the key of \\a.TPM: remove \\a.key"));
}

/* An earlier start has overwritten the key file, and power failed before it was removed. */
TEST(a_key_file_of_zeros, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 64);
	start();
	delete_fails = true;
	start();
	assert_true(is_there("\\a.key"));
	assert_int_equal(destroyed, 64);
	assert_non_null(strstr(fake_log_text(),
			       "warning: vm a: \\a.key is overwritten, but firmware "
			       "could not remove it"));
	assert_null(strstr(fake_log_text(), "in clear"));
	delete_fails = false;
	start();
	assert_false(is_there("\\a.key"));
	assert_non_null(strstr(fake_log_text(), "warning: vm a: an earlier start has overwritten "
						"\\a.key and not removed it"));
	assert_null(strstr(fake_log_text(), "in clear"));
	assert_true(config.vms[0].valid);
}

TEST(a_key_file_that_is_none_beside_the_sealed_file, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 64);
	start();
	start();
	destroyed = 0;
	fake_stick_put("\\a.key", key, 33);
	start();
	assert_true(config.vms[0].valid && is_there("\\a.key"));
	assert_int_equal(destroyed, 0);
	assert_non_null(strstr(fake_log_text(), "warning: vm a: \\a.key lies beside \\a.TPM: a key "
						"file has exactly 32 or 64 bytes: remove \\a.key"));
}

/* Firmware extends another bank than that of SHA-256: CVE-2021-42299. */
TEST(pcrs_that_firmware_does_not_extend, setup, fake_teardown)
{
	static const char *const why[SEAL_PCRS] = { "SHA-256 value of PCR 4,",
						    "SHA-256 value of PCR 7,", NULL,
						    "SHA-256 value of PCR 12," };

	fake_stick_put("\\a.key", key, 64);
	for (unused_pcr = 0; unused_pcr < SEAL_PCRS; unused_pcr++) {
		if (why[unused_pcr] != NULL) {
			config.vms[0].valid = true;
			refused(why[unused_pcr]);
			assert_true(is_there("\\a.key") && !is_there("\\a.TPM"));
		}
	}
	unused_pcr = 2; /* PCR 11: no VM has files */
	config.vms[0].valid = true;
	start();
	assert_true(config.vms[0].valid && is_there("\\a.TPM"));
	unused_pcr = 1; /* nor is such a file opened */
	fake_log_reset();
	refused(why[1]);
	unused_pcr = SEAL_PCRS;
	read_error = ERR_FORMAT;
	config.vms[0].valid = true;
	refused("explained -7");
}

TEST(without_a_tpm, setup, fake_teardown)
{
	fake_efi_tpm.works = false;
	fake_stick_put("\\a.key", key, 32);
	refused("firmware offers no TPM 2.0, or the TPM did not take a measurement");
}

/* The second VM opens what the first has sealed in this same start: the key file stays for now. */
TEST(two_vms_with_one_sealed_file, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 64);
	config.vm_count = 2;
	config.vms[1] = config.vms[0];
	strcpy(config.vms[1].key.file.path, "\\A.tpm");
	start();
	assert_true(config.vms[0].valid && config.vms[1].valid);
	assert_int_equal(config.vms[0].key.tpm, VM_KEY_TPM_FRESH);
	assert_int_equal(config.vms[1].key.tpm, VM_KEY_TPM_FRESH);
	assert_int_equal(destroyed, 0);
	assert_true(warns_once());
}

TEST(a_key_file_that_another_vm_uses_stays, setup, fake_teardown)
{
	fake_stick_put("\\a.key", key, 64);
	start();
	config.vm_count = 2;
	config.vms[1] = config.vms[0];
	config.vms[1].key.form = VM_KEY_FORM_RAW;
	strcpy(config.vms[1].key.file.path, "\\A.KEY");
	start();
	assert_true(config.vms[0].valid && is_there("\\a.key"));
	assert_int_equal(destroyed, 0);
	assert_non_null(strstr(fake_log_text(),
			       "warning: vm a: \\a.key is not removed: another key "
			       "is file:\\a.key, so it lies on the stick in "
			       "clear"));
}

TEST(others_are_left_alone, setup, fake_teardown)
{
	config.vm_count = 2;
	config.vms[1] = config.vms[0];
	config.vms[1].key.form = VM_KEY_FORM_RAW;
	config.vms[0].valid = false; /* for another reason */
	config.share_count = 1;
	config.shares[0].valid = true;
	strcpy(config.shares[0].name, "box");
	config.shares[0].key = config.vms[0].key;
	fake_stick_put("\\a.key", key, 32);
	start();
	assert_false(config.vms[0].valid);
	assert_true(config.vms[1].valid && config.shares[0].valid);
	assert_int_equal(config.vms[1].key.secret_bytes, 0);
	assert_int_equal(config.shares[0].key.tpm, VM_KEY_TPM_FRESH);
	assert_non_null(strstr(fake_log_text(), "share box: \\a.TPM is written"));
}
