/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversation with a TPM 2.0, which the caller's function reaches: commands that the TPM asks to
 * send again, and what its errors mean. Pure C.
 */
#ifndef UMBRA_BOOT_TPM_TALK_H
#define UMBRA_BOOT_TPM_TALK_H

#include "boot/tpm.h"

/*
 * Sends a command and receives the reply, of at most TPM_REPLY_MAX bytes. Returns 0, or ERR_IO if
 * the TPM could not be reached.
 */
typedef int tpm_submit(const uint8_t *command, size_t bytes, uint8_t *reply, size_t *reply_bytes);

/* Waits before a command is sent again, because the TPM has asked for that. */
typedef void tpm_wait(unsigned milliseconds);

/* The caller sets the two functions and zeroes the rest. */
struct tpm_talk {
	tpm_submit *submit;
	tpm_wait *wait;
	const char *command_name; /* of the last command */
	uint32_t code;		  /* of the reply to it */
	uint8_t command[TPM_COMMAND_MAX];
	uint8_t reply[TPM_REPLY_MAX];
};

/*
 * Sends tpm->command. Returns 0, or ERR_IO or ERR_FORMAT if there is no reply of a possible length.
 * What is wrong with the reply shows when it is read.
 */
int tpm_send(struct tpm_talk *tpm, const char *name, size_t bytes, size_t *reply_bytes);
/*
 * What an error of a tpm_get_... means: ERR_RIGHTS, a policy does not hold; ERR_TAMPERED, an object
 * is not of this TPM, or was changed; else err.
 */
int tpm_meaning(const struct tpm_talk *tpm, int err);

/* Whether the TPM's last error is the one of format 1 with this number (part 2, 6.6.3). */
bool tpm_has_refused(const struct tpm_talk *tpm, uint32_t number);

/* A command whose reply is read as get(reply, bytes, ...). Returns 0 or an error as tpm_meaning. */
#define TPM_CALL(tpm, name, size, get, ...)                                    \
	({                                                                     \
		size_t reply_bytes_;                                           \
		int err_ = tpm_send((tpm), (name), (size), &reply_bytes_);     \
                                                                               \
		if (err_ == 0) {                                               \
			err_ = get((tpm)->reply, reply_bytes_, ##__VA_ARGS__); \
		}                                                              \
		tpm_meaning((tpm), err_);                                      \
	})

/* Frees an object or a session in the TPM. Keeps tpm->command_name and tpm->code as they are. */
void tpm_flush(struct tpm_talk *tpm, uint32_t handle);

/*
 * Says why the last command has failed, as a clause of at most max - 1 characters: ERR_IO or
 * ERR_FORMAT, as TPM_CALL returned it. whose: the hierarchy whose empty password was used.
 */
void tpm_explain(const struct tpm_talk *tpm, int err, const char *whose, char *text, size_t max);

#endif
