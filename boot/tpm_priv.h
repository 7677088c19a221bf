/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files that write a TPM's commands and read its replies: big-endian numbers. */
#ifndef UMBRA_BOOT_TPM_PRIV_H
#define UMBRA_BOOT_TPM_PRIV_H

#include "boot/tpm.h"

/* Part 2 of the TPM 2.0 Library: tags of commands without and with sessions, and an algorithm. */
#define TPM_NO_SESSIONS	 0x8001u
#define TPM_SESSIONS	 0x8002u
#define TPM_SHA256	 0x000bu
#define TPM_SELECT_BYTES (TPM_PCR_COUNT / 8)

/* A command that is being written. */
struct tpm_out {
	uint8_t *to; /* TPM_COMMAND_MAX bytes */
	size_t used;
};

/* Begins a command: its tag and its code. tpm_end writes its length, and returns it. */
struct tpm_out tpm_begin(uint8_t command[TPM_COMMAND_MAX], uint32_t tag, uint32_t code);
size_t tpm_end(struct tpm_out *out);
/* Appends a number of at most four bytes, or bytes as they are. They must fit. */
void tpm_put(struct tpm_out *out, uint32_t value, unsigned bytes);
void tpm_put_bytes(struct tpm_out *out, const void *data, size_t bytes);
/* Appends a selection of PCRs of the bank SHA-256; bit n of mask stands for PCR n. */
void tpm_put_selection(struct tpm_out *out, uint32_t mask);

/* The part of a reply that was not read yet. After a read beyond its end, all reads return 0. */
struct tpm_in {
	const uint8_t *at;
	size_t left;
	bool short_of;
};

/*
 * Begins to read a reply. Returns 0; ERR_IO if the TPM reports an error; ERR_FORMAT if its tag or
 * its length is wrong.
 */
int tpm_open(struct tpm_in *in, const uint8_t *reply, size_t bytes, uint32_t tag);
uint32_t tpm_get(struct tpm_in *in, unsigned bytes);
/* Takes bytes as they are; NULL if there are not so many. */
const uint8_t *tpm_get_bytes(struct tpm_in *in, size_t bytes);

#endif
