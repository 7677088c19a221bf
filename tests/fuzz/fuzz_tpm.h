/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TPM that sends anything. The input is a list of parts, each after its length in two bytes; a
 * fuzzer takes its own parts from it, and each command of the TPM takes the next one as its reply.
 */
#ifndef UMBRA_TEST_FUZZ_TPM_H
#define UMBRA_TEST_FUZZ_TPM_H

#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "boot/tpm_talk.h"
#include "vmm/base/err.h"

static const uint8_t *at, *end; /* what is left of the input */

static inline void begin(const uint8_t *data, size_t bytes)
{
	fake_reset();
	at = data;
	end = data + bytes;
}

/* The next part of the input. */
static inline const uint8_t *next(size_t *bytes)
{
	const uint8_t *part;

	*bytes = 0;
	if (end - at < 2) {
		return at;
	}
	*bytes = MIN((size_t)at[0] << 8 | at[1], (size_t)(end - at - 2));
	part = at + 2;
	at = part + *bytes;
	return part;
}

/* A copy of the next part, of its exact size, so that ASan detects a read beyond it. */
static inline uint8_t *next_copy(size_t *bytes)
{
	const uint8_t *part = next(bytes);
	uint8_t *copy = malloc(*bytes);

	memcpy(copy, part, *bytes);
	return copy;
}

static inline int submit(const uint8_t *command, size_t bytes, uint8_t *reply, size_t *reply_bytes)
{
	const uint8_t *part = next(reply_bytes);

	PROMISE(bytes >= 10 && bytes <= TPM_COMMAND_MAX);
	PROMISE((size_t)command[4] << 8 == (bytes & 0xff00) && command[5] == (bytes & 0xff));
	memcpy(reply, part, MIN(*reply_bytes, TPM_REPLY_MAX));
	return at == end ? ERR_IO : 0;
}

/* No time passes here. */
static inline void wait(unsigned milliseconds)
{
}

#endif
