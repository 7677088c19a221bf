/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/key_file.h"

#include "vmm/base/str.h"

#define HEADER	   "umbra-passphrase 1\n"
#define ITERATIONS "iterations "
#define SALT	   "salt "
#define CHECK_HASH "check "

const char *key_file_take_raw(const uint8_t *data, size_t bytes, struct vm_key_source *key)
{
	if (bytes != VM_KEY_FILE_MIN && bytes != VM_KEY_FILE_MAX) {
		return "a key file has exactly 32 or 64 bytes";
	}
	if (memcmp(data, data + 1, bytes - 1) == 0) {
		return "this is not a key: it is one byte repeated";
	}
	memcpy(key->secret, data, bytes);
	key->secret_bytes = bytes;
	return NULL;
}

/* The part of a text that was not read yet. */
struct rest {
	const char *at;
	size_t bytes;
};

static bool take_word(struct rest *rest, const char *word)
{
	const size_t bytes = strlen(word);

	if (rest->bytes < bytes || memcmp(rest->at, word, bytes) != 0) {
		return false;
	}
	rest->at += bytes;
	rest->bytes -= bytes;
	return true;
}

/* A decimal number of at most nine digits and a newline. */
static bool take_number(struct rest *rest, uint32_t *value)
{
	*value = 0;
	for (size_t i = 0; i < 9 && rest->bytes != 0; i++) {
		if (*rest->at < '0' || *rest->at > '9') {
			break;
		}
		*value = *value * 10 + (uint32_t)(*rest->at - '0');
		rest->at++;
		rest->bytes--;
	}
	return take_word(rest, "\n");
}

/* The value of a hexadecimal digit, or -1. */
static int digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* So many bytes as hexadecimal digits, and a newline. */
static bool take_hex(struct rest *rest, uint8_t *out, size_t bytes)
{
	if (rest->bytes < 2 * bytes) {
		return false;
	}
	for (size_t i = 0; i < bytes; i++, rest->at += 2, rest->bytes -= 2) {
		const int high = digit(rest->at[0]), low = digit(rest->at[1]);

		if (high < 0 || low < 0) {
			return false;
		}
		out[i] = (uint8_t)(high << 4 | low);
	}
	return take_word(rest, "\n");
}

const char *key_file_take_passphrase(const char *text, size_t bytes, struct vm_key_source *key)
{
	struct rest rest = { text, bytes };
	struct passphrase read;

	if (!take_word(&rest, HEADER)) {
		return "this is not a passphrase file: its first line is not "
		       "\"umbra-passphrase 1\"";
	}
	if (!take_word(&rest, ITERATIONS) || !take_number(&rest, &read.iterations)) {
		return "the second line of a passphrase file is \"iterations\" and a number";
	}
	if (read.iterations < PASSPHRASE_ITERATIONS_MIN ||
	    read.iterations > PASSPHRASE_ITERATIONS_MAX) {
		return "iterations must be a number from 10000 to 20000000";
	}
	if (!take_word(&rest, SALT) || !take_hex(&rest, read.salt, sizeof(read.salt))) {
		return "the third line of a passphrase file is \"salt\" and 64 hexadecimal digits";
	}
	if (!take_word(&rest, CHECK_HASH) || !take_hex(&rest, read.check, sizeof(read.check)) ||
	    rest.bytes != 0) {
		return "the last line of a passphrase file is \"check\" and 64 hexadecimal digits";
	}
	key->passphrase = read;
	key->locked = true;
	return NULL;
}
_Static_assert(PASSPHRASE_ITERATIONS_MIN == 10000 && PASSPHRASE_ITERATIONS_MAX == 20000000,
	       "the message above says so");
