/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/manifest.h"

#include "vmm/base/err.h"
#include "vmm/base/str.h"

#define FIRST_LINE  "umbra-manifest 1"
#define VERSION	    "version "
#define HASH	    "sha256 "
#define VERSION_MAX 999999999u
#define HEX_DIGITS  (2u * VERIFY_HASH_BYTES)

/* The part of the text that was not read yet. next_line takes a line off its start. */
struct rest {
	const char *at;
	size_t bytes;
};

/* A line without its newline. */
struct line {
	const char *at;
	size_t bytes;
};

/* Takes the next line. Returns false at the end of the text, or if no newline ends the line. */
static bool next_line(struct rest *rest, struct line *line)
{
	for (size_t i = 0; i < rest->bytes; i++) {
		if (rest->at[i] == '\n') {
			*line = (struct line){ rest->at, i };
			rest->at += i + 1;
			rest->bytes -= i + 1;
			return true;
		}
	}
	return false;
}

/* Takes a word off the start of a line. Returns false if the line does not begin with it. */
static bool take(struct line *line, const char *word)
{
	const size_t bytes = strlen(word);

	if (line->bytes < bytes || memcmp(line->at, word, bytes) != 0) {
		return false;
	}
	line->at += bytes;
	line->bytes -= bytes;
	return true;
}

/*
 * Returns the value of a hexadecimal digit, or -1 for another character. Upper case is refused, so
 * that there is only one way to write a hash.
 */
static int digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes "sha256 ", a hash and a space off a line. Returns false if it does not begin with them. */
static bool take_hash(struct line *line, uint8_t hash[VERIFY_HASH_BYTES])
{
	if (!take(line, HASH) || line->bytes < HEX_DIGITS + 1 || line->at[HEX_DIGITS] != ' ') {
		return false;
	}
	for (size_t i = 0; i < VERIFY_HASH_BYTES; i++) {
		const int high = digit(line->at[2 * i]), low = digit(line->at[2 * i + 1]);

		if (high < 0 || low < 0) {
			return false;
		}
		hash[i] = (uint8_t)(high << 4 | low);
	}
	line->at += HEX_DIGITS + 1;
	line->bytes -= HEX_DIGITS + 1;
	return true;
}

static bool is_path(const struct line *line)
{
	for (size_t i = 0; i < line->bytes; i++) {
		if (line->at[i] < 0x20 || line->at[i] > 0x7e) {
			return false;
		}
	}
	return line->bytes > 1 && line->at[0] == '\\';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same_path(const struct line *line, const char *path, size_t bytes)
{
	for (size_t i = 0; i < bytes && i < line->bytes; i++) {
		if (lower(line->at[i]) != lower(path[i])) {
			return false;
		}
	}
	return line->bytes == bytes;
}

/*
 * Returns the number that the line consists of, from 1 to VERSION_MAX without leading zeros.
 * Returns 0 for any other line.
 */
static uint32_t parse_version(const struct line *line)
{
	uint32_t value = 0;

	if (line->bytes == 0 || line->bytes > 9 || line->at[0] == '0') {
		return 0;
	}
	for (size_t i = 0; i < line->bytes; i++) {
		if (line->at[i] < '0' || line->at[i] > '9') {
			return 0;
		}
		value = value * 10 + (uint32_t)(line->at[i] - '0');
	}
	return value;
}
_Static_assert(VERSION_MAX == 999999999u, "nine digits");

/* Returns the text after its first two lines: the lines with hashes. */
static struct rest hashes_of(const struct manifest *manifest)
{
	struct rest rest = { manifest->text, manifest->bytes };
	struct line line;

	return next_line(&rest, &line) && next_line(&rest, &line) ? rest : (struct rest){ 0 };
}

static const char *parse(struct manifest *out)
{
	struct rest rest = { out->text, out->bytes };
	struct line line;
	uint8_t hash[VERIFY_HASH_BYTES];

	if (!next_line(&rest, &line) || !take(&line, FIRST_LINE) || line.bytes != 0) {
		return "its first line is not \"" FIRST_LINE "\"";
	}
	if (!next_line(&rest, &line) || !take(&line, VERSION) ||
	    (out->version = parse_version(&line)) == 0) {
		return "its second line is not \"version N\" with N from 1 to 999999999";
	}
	while (next_line(&rest, &line)) {
		if (!take_hash(&line, hash) || !is_path(&line)) {
			return "a line is not \"sha256 HASH PATH\"";
		}
	}
	return rest.bytes == 0 ? NULL : "its last line is cut short";
}

const char *manifest_open(const uint8_t key[VERIFY_POINT_BYTES], const char *text, size_t bytes,
			  const uint8_t *signature, size_t signature_bytes, struct manifest *out)
{
	uint8_t hash[VERIFY_HASH_BYTES];
	const char *error = NULL;

	*out = (struct manifest){ text, bytes, 0 };
	if (bytes > MANIFEST_MAX) {
		error = "it is longer than 256 KiB";
	} else if (signature_bytes != VERIFY_SIGNATURE_BYTES) {
		error = "its signature is not 64 bytes long";
	} else if (verify_sha256(text, bytes, hash) != 0 ||
		   verify_p256(key, hash, signature) != 0) {
		error = "its signature was not made with the key of this image";
	}
	error = error != NULL ? error : parse(out);
	if (error != NULL) {
		*out = (struct manifest){ 0 };
	}
	return error;
}

const char *manifest_check(const struct manifest *manifest, const char *path, size_t path_bytes,
			   const void *data, size_t bytes)
{
	struct rest rest = hashes_of(manifest);
	struct line line;
	uint8_t wanted[VERIFY_HASH_BYTES], hash[VERIFY_HASH_BYTES];

	while (next_line(&rest, &line)) {
		if (!take_hash(&line, wanted) || !same_path(&line, path, path_bytes)) {
			continue;
		}
		if (verify_sha256(data, bytes, hash) != 0 ||
		    memcmp(hash, wanted, sizeof(hash)) != 0) {
			return "it is not the file that was signed: its SHA-256 is not that of the "
			       "manifest";
		}
		return NULL;
	}
	return "the manifest does not name it";
}
