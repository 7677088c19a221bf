/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the stick, in place of boot/efi_file.c, and a TPM in place of boot/efi_tpm.c. */
#include "tests/unit/efi_stick.h"

#include "tests/unit/test.h"
#include <strings.h>

#include "boot/efi_priv.h"
#include "vmm/base/err.h"

struct fake_stick fake_stick;
struct fake_efi_tpm fake_efi_tpm;

/* --- The stick --- */

struct fake_file *fake_stick_find(const char *path)
{
	for (size_t i = 0; i < ARRAY_COUNT(fake_stick.files); i++) {
		if (strcasecmp(fake_stick.files[i].path, path) == 0) {
			return &fake_stick.files[i];
		}
	}
	return NULL;
}

struct fake_file *fake_stick_put(const char *path, const void *data, uint64_t bytes)
{
	struct fake_file *file = fake_stick_find("");

	assert_true(file != NULL && fake_stick_find(path) == NULL);
	assert_in_range(bytes, 1, sizeof(file->data) - 1);
	strcpy(file->path, path);
	memcpy(file->data, data, bytes);
	file->data[bytes] = '\0';
	file->bytes = bytes;
	return file;
}

const char *fake_stick_content(const char *path)
{
	const struct fake_file *file = fake_stick_find(path);

	return file != NULL ? file->data : NULL;
}

int efi_file_read_small(struct vm_file *file, void *to, uint64_t max, uint64_t *bytes)
{
	const struct fake_file *found = fake_stick_find(file->path);

	assert_false(fake_stick.is_gone);
	*bytes = 0;
	file->error = found == NULL	   ? "there is no such file"
		      : found->bytes > max ? "the file is too large"
					   : NULL;
	if (file->error != NULL) {
		return found == NULL ? ERR_NOTFOUND : ERR_IO;
	}
	memcpy(to, found->data, found->bytes);
	*bytes = found->bytes;
	if (*bytes <= VM_KEY_FILE_MAX) {
		fake_stick.key_content = to;
		fake_stick.key_bytes = *bytes;
	}
	return 0;
}

int efi_file_make_folder(const char *path)
{
	assert_false(fake_stick.is_gone);
	assert_string_equal(path, "\\umbra\\report");
	return fake_stick.folder_fails ? ERR_IO : 0;
}

int efi_file_remove(const char *path)
{
	struct fake_file *file = fake_stick_find(path);

	assert_false(fake_stick.is_gone);
	if (fake_stick.remove_fails && file != NULL) {
		return ERR_IO;
	}
	if (file != NULL) {
		file->path[0] = '\0';
	}
	return 0;
}

int efi_file_write_new(const char *path, const void *data, uint64_t bytes)
{
	const char *fails = fake_stick.write_fails;

	assert_false(fake_stick.is_gone);
	if (fails != NULL && (fails[0] == '\0' || strcmp(path, fails) == 0)) {
		return ERR_IO;
	}
	fake_stick_put(path, data, bytes)->data[0] ^= fake_stick.loses_bits ? 1 : 0;
	return 0;
}

/* --- A TPM that took its measurements; only boot/seal.h and boot/attest.h use it --- */

bool efi_tpm_works(void)
{
	return fake_efi_tpm.works;
}

int efi_tpm_submit(const uint8_t *command, size_t bytes, uint8_t *reply, size_t *reply_bytes)
{
	fail();
	return ERR_IO;
}

void efi_tpm_wait(unsigned milliseconds)
{
	fail();
}

const struct seal_state *efi_tpm_steps(const char (**words)[SEAL_WORDS_MAX])
{
	static const char none[SEAL_STEPS_MAX][SEAL_WORDS_MAX];
	static struct seal_state state;

	state.step_count = fake_efi_tpm.steps;
	*words = none;
	return &state;
}

void efi_tpm_note_firmware(void)
{
	fake_efi_tpm.steps = 1;
}

const char *efi_tpm_event_log(const uint8_t **log, size_t *bytes, size_t *count)
{
	*log = (const uint8_t *)"events";
	*bytes = fake_efi_tpm.log_bytes;
	*count = fake_efi_tpm.log_count;
	return fake_efi_tpm.log_error;
}
