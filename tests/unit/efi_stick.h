/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the stick and the TPM's way through firmware, for tests of boot/efi_*.c. A test
 * clears both structs in its setup: no files, nothing fails, no TPM.
 */
#ifndef UMBRA_TEST_EFI_STICK_H
#define UMBRA_TEST_EFI_STICK_H

#include "guest/vm_config.h"

struct fake_file {
	char path[VM_PATH_MAX]; /* empty: no file */
	char data[8192 + 1];	/* with a zero behind them */
	uint64_t bytes;
};

extern struct fake_stick {
	struct fake_file files[16];
	bool is_gone; /* no file may be used any more */
	bool folder_fails, remove_fails, loses_bits;
	const char *write_fails; /* this path; "": all; NULL: none */
	/* Where the last file that is no longer than a key file was read to, and its bytes. */
	const uint8_t *key_content;
	uint64_t key_bytes;
} fake_stick;

/* The file of this path, in whatever case, or NULL. */
struct fake_file *fake_stick_find(const char *path);
/* Adds a file, which must not be there. */
struct fake_file *fake_stick_put(const char *path, const void *data, uint64_t bytes);
/* The content of the file of this path, or NULL. */
const char *fake_stick_content(const char *path);

extern struct fake_efi_tpm {
	bool works;
	uint8_t steps;		     /* of firmware: known from efi_tpm_note_firmware on */
	const char *log_error;	     /* of the event log */
	size_t log_bytes, log_count; /* of the log, whose content is "events" */
} fake_efi_tpm;

#endif
