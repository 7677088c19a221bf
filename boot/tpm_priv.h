/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files that write a TPM's commands and read its replies: big-endian numbers. */
#ifndef UMBRA_BOOT_TPM_PRIV_H
#define UMBRA_BOOT_TPM_PRIV_H

#include "boot/tpm.h"

/* Part 2 of the TPM 2.0 Library: tags of commands, without and with sessions; handles; others. */
#define TPM_NO_SESSIONS	   0x8001u
#define TPM_SESSIONS	   0x8002u
#define TPM_RH_OWNER	   0x40000001u
#define TPM_RH_NULL	   0x40000007u
#define TPM_RH_ENDORSEMENT 0x4000000bu
#define TPM_RS_PASSWORD	   0x40000009u
#define TPM_SHA256	   0x000bu
#define TPM_NULL	   0x0010u
#define TPM_ECDSA	   0x0018u
#define TPM_ECC		   0x0023u
#define TPM_EMPTY	   0u /* the length of nothing, as two bytes */
#define TPM_SELECT_BYTES   (TPM_PCR_COUNT / 8)

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
/* Appends an authorisation area with one session, which has neither nonce nor HMAC. */
void tpm_put_authorisation(struct tpm_out *out, uint32_t session);
/* The same with two sessions, for the two handles of a command. */
void tpm_put_authorisations(struct tpm_out *out, uint32_t first, uint32_t second);

/* A key on P-256 that the TPM derives from a seed: the same template gives the same key. */
struct tpm_template {
	uint32_t hierarchy;    /* whose seed */
	uint32_t attributes;   /* part 2, 8.3: TPMA_OBJECT */
	const uint8_t *policy; /* TPM_SHA256_BYTES of them, or NULL: a password, which is empty */
	bool signs;	     /* by ECDSA with SHA-256; else it is a storage key, with AES-128-CFB */
	size_t unique_bytes; /* x and y of the template are this many zeros each */
};
/* Writes TPM2_CreatePrimary, and returns its length. The hierarchy's password is empty. */
size_t tpm_put_create_primary(uint8_t command[TPM_COMMAND_MAX],
			      const struct tpm_template *template);

/*
 * The part of a reply that was not read yet. After a read beyond its end short_of is set, and all
 * reads return 0.
 */
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
/*
 * Takes a length of two bytes, and so many bytes. Returns false if these are none, or more than
 * max; *bytes is zero then.
 */
bool tpm_get_sized(struct tpm_in *in, uint8_t *to, size_t max, size_t *bytes);
/*
 * Of a reply with a handle before its parameters; what follows is not needed. Returns as tpm_open.
 */
int tpm_get_handle(const uint8_t *reply, size_t bytes, uint32_t tag, uint32_t *handle);

#endif
