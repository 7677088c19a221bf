/* SPDX-License-Identifier: Apache-2.0 */
/* boot/tpm.c: the bytes of a command, and replies that are right, cut or wrong. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "boot/tpm.h"
#include "vmm/base/err.h"

/* What a TPM (swtpm) answers to the command below; its value is 0, 1, 2, ... */
static const uint8_t good[62] = {
	0x80, 0x01, 0,	0,  0,	62, 0,	0,  0,	0,  0,	0,  0,	21, 0,	0,  0,	1,  0,	0x0b, 3,
	0,    0x08, 0,	0,  0,	0,  1,	0,  32, 0,  1,	2,  3,	4,  5,	6,  7,	8,  9,	10,   11,
	12,   13,   14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
};

TEST(a_command_is_as_published, fake_setup, fake_teardown)
{
	static const uint8_t pcr_11[20] = {
		0x80, 0x01, 0, 0, 0, 20, 0, 0, 0x01, 0x7e, 0, 0, 0, 1, 0, 0x0b, 3, 0, 0x08, 0,
	};
	uint8_t command[TPM_COMMAND_MAX];

	assert_int_equal(tpm_put_pcr_read(command, 11), sizeof(pcr_11));
	assert_memory_equal(command, pcr_11, sizeof(pcr_11));
	(void)tpm_put_pcr_read(command, 0);
	assert_int_equal(command[17] << 16 | command[18] << 8 | command[19], 0x010000);
	(void)tpm_put_pcr_read(command, 23);
	assert_int_equal(command[17] << 16 | command[18] << 8 | command[19], 0x000080);
	FAKE_EXPECT_PANIC(tpm_put_pcr_read(command, 24), "broken");
}

/* A copy of the exact size, so that ASan detects a read beyond it. */
static int get(const uint8_t *reply, size_t bytes, uint8_t value[TPM_SHA256_BYTES])
{
	uint8_t *copy = malloc(bytes);
	int err;

	memcpy(copy, reply, bytes);
	err = tpm_get_pcr_read(copy, bytes, 11, value);
	free(copy);
	return err;
}

TEST(a_reply_gives_the_value, fake_setup, fake_teardown)
{
	uint8_t value[TPM_SHA256_BYTES];

	assert_int_equal(get(good, sizeof(good), value), 0);
	for (size_t i = 0; i < sizeof(value); i++) {
		assert_int_equal(value[i], i);
	}
}

/* Each byte before the value matters, but for the counter of changes. */
TEST(wrong_replies_are_refused, fake_setup, fake_teardown)
{
	uint8_t value[TPM_SHA256_BYTES], reply[sizeof(good)];

	for (size_t i = 0; i < 30; i++) {
		memcpy(reply, good, sizeof(reply));
		reply[i] ^= 0x40;
		if (i < 10 || i >= 14) {
			assert_int_not_equal(get(reply, sizeof(reply), value), 0);
		} else {
			assert_int_equal(get(reply, sizeof(reply), value), 0);
		}
	}
	for (size_t bytes = 0; bytes < sizeof(good); bytes++) {
		memcpy(reply, good, sizeof(reply));
		reply[5] = (uint8_t)bytes;
		assert_int_equal(get(reply, bytes, value), ERR_FORMAT);
	}
}

TEST(an_error_of_the_tpm_is_told_apart, fake_setup, fake_teardown)
{
	static const uint8_t failure[10] = { 0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01 };
	uint8_t value[TPM_SHA256_BYTES];

	assert_int_equal(get(failure, sizeof(failure), value), ERR_IO);
}
