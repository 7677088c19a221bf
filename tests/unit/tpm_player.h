/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM that plays back what was recorded: it expects the recorded commands in their order, and
 * answers as the real one did. A test may damage its replies.
 */
#ifndef UMBRA_TESTS_TPM_PLAYER_H
#define UMBRA_TESTS_TPM_PLAYER_H

#include <stdlib.h>

#include "tests/unit/test.h"
#include "boot/tpm_talk.h"
#include "vmm/base/err.h"

/* A command and its reply, as hexadecimal digits. */
struct exchange {
	const char *command, *reply;
};

static const struct exchange *script; /* the exchange that comes next, and how many are left */
static size_t script_left;
static long damaged; /* the bit of all replies that is flipped; -1: none */
static size_t cut;   /* the number of bytes of replies in all that may come */
static size_t replied;
static unsigned busy;	/* so many replies ask to send the command again */
static bool gone;	/* firmware reports an error */
static uint8_t refused; /* the low byte of the code of the command that fails; 0: none */
static unsigned flushes;
static unsigned waits[16], wait_count; /* in milliseconds */

static void wait(unsigned milliseconds)
{
	assert_in_range(wait_count, 0, ARRAY_COUNT(waits) - 1);
	waits[wait_count++] = milliseconds;
}

static size_t bytes_of(const char *hex, uint8_t *to)
{
	size_t bytes = strlen(hex) / 2;

	for (size_t i = 0; i < bytes; i++) {
		const char digits[] = { hex[2 * i], hex[2 * i + 1], '\0' };

		to[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return bytes;
}

static size_t refuse(uint8_t *reply, uint32_t code)
{
	static const uint8_t head[8] = { 0x80, 0x01, 0, 0, 0, 10, 0, 0 };

	memcpy(reply, head, sizeof(head));
	reply[8] = (uint8_t)(code >> 8);
	reply[9] = (uint8_t)code;
	return 10;
}

#define FLUSH 0x65 /* the low byte of the code of TPM2_FlushContext, which no other has */

static bool is_flush(const struct exchange *exchange)
{
	return strncmp(exchange->command + 18, "65", 2) == 0;
}

/* A TPM's buffers: each keeps what is beyond the end of a shorter command or reply. */
static uint8_t kept_command[TPM_COMMAND_MAX], kept_reply[TPM_REPLY_MAX];

static int answer(const uint8_t *command, size_t bytes, uint8_t *reply, size_t *reply_bytes)
{
	uint8_t wanted[TPM_COMMAND_MAX];

	if (gone) {
		return ERR_IO;
	}
	if (busy != 0) {
		busy--;
		*reply_bytes = refuse(reply, 0x922);
		return 0;
	}
	flushes += command[9] == FLUSH;
	if (refused != 0 && command[9] == refused) {
		*reply_bytes = refuse(reply, 0x101);
		return 0;
	}
	if (command[9] == FLUSH && (script_left == 0 || damaged >= 0 || refused != 0)) {
		*reply_bytes = refuse(reply, 0);
		return 0;
	}
	/* After a damaged reply other commands may come, with other handles. */
	while (damaged >= 0 && script_left != 0 && is_flush(script)) {
		script++;
		script_left--;
	}
	if (script_left == 0) {
		return ERR_IO;
	}
	if (damaged < 0) {
		assert_int_equal(bytes_of(script->command, wanted), bytes);
		assert_memory_equal(command, wanted, bytes);
	}
	*reply_bytes = bytes_of(script->reply, reply);
	if (damaged >= 0 && (size_t)damaged / 8 >= replied &&
	    (size_t)damaged / 8 < replied + *reply_bytes) {
		reply[(size_t)damaged / 8 - replied] ^= (uint8_t)(1 << damaged % 8);
	}
	replied += *reply_bytes;
	if (replied > cut) {
		*reply_bytes -= MIN(*reply_bytes, replied - cut);
	}
	script++;
	script_left--;
	return 0;
}

static int submit(const uint8_t *command, size_t bytes, uint8_t *reply, size_t *reply_bytes)
{
	int err;

	memcpy(kept_command, command, bytes);
	err = answer(command, bytes, reply, reply_bytes);
	if (err == 0) {
		memcpy(kept_reply, reply, *reply_bytes);
	}
	return err;
}

#define PLAY(name) play(recorded_##name, ARRAY_COUNT(recorded_##name))

static void play(const struct exchange *exchanges, size_t count)
{
	script = exchanges;
	script_left = count;
	replied = 0;
}

/* Nothing is to be played, and nothing is damaged. */
static void player_reset(struct tpm_talk *tpm)
{
	tpm->submit = submit;
	tpm->wait = wait;
	wait_count = 0;
	damaged = -1;
	cut = SIZE_MAX;
	busy = 0;
	gone = false;
	refused = 0;
	script_left = 0;
}

#endif
