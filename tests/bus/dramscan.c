/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searches a dump of memory, as an attacker who takes the memory modules out could. Each line of
 * its output is one find:
 *
 *   dramscan DUMP markers    "ADDRESS NUMBER": the first block of a number in each page
 *   dramscan DUMP keys       "ADDRESS BITS encryption|decryption KEY": an AES key schedule. KEY
 *                            numbers the keys: equal keys have equal numbers; no key is printed.
 *   dramscan DUMP bytes FILE...   "ADDRESS FILE": the whole content of a file, in one piece
 *   dramscan DUMP hashes     "ADDRESS hash": the powers of the hash key of tags
 *   dramscan DUMP master FILE     "ADDRESS wrapped|master|page": what secretscan.h says of the
 *                            master key in the file
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bus/keyscan.h"
#include "tests/bus/marker.h"
#include "tests/bus/secretscan.h"

#define PAGE_BYTES 4096u
#define KEYS_MAX   4096u

struct blob {
	const uint8_t *data;
	size_t bytes;
};

static _Noreturn void die(const char *what, const char *why)
{
	fprintf(stderr, "dramscan: %s: %s\n", what, why);
	exit(2);
}

static struct blob map_file(const char *path)
{
	int file = open(path, O_RDONLY);
	struct stat info;
	void *data;

	if (file < 0 || fstat(file, &info) != 0) {
		die(path, strerror(errno));
	}
	if (info.st_size == 0) {
		die(path, "the file is empty");
	}
	data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
	if (data == MAP_FAILED) {
		die(path, strerror(errno));
	}
	close(file);
	return (struct blob){ data, (size_t)info.st_size };
}

static void scan_markers(struct blob dump)
{
	uint64_t last_page = UINT64_MAX, last_number = 0, number;

	for (size_t at = 0; at + sizeof(struct marker) <= dump.bytes; at++) {
		struct marker marker;

		memcpy(&marker, dump.data + at, sizeof(marker));
		if (marker.first == 0 || !marker_read(&marker, &number) ||
		    (at / PAGE_BYTES == last_page && number == last_number)) {
			continue;
		}
		printf("%#zx %" PRIu64 "\n", at, number);
		last_page = at / PAGE_BYTES;
		last_number = number;
	}
}

/* The keys found so far, which have numbers. */
struct keys {
	uint8_t key[KEYS_MAX][KEYSCAN_KEY_BYTES_MAX];
	unsigned count;
};

static void print_key(void *context, const struct keyscan_hit *hit)
{
	struct keys *keys = context;
	unsigned n = 0;

	while (n < keys->count && memcmp(keys->key[n], hit->key, sizeof(hit->key)) != 0) {
		n++;
	}
	if (n == KEYS_MAX) {
		die("keys", "too many");
	}
	if (n == keys->count) {
		memcpy(keys->key[keys->count++], hit->key, sizeof(hit->key));
	}
	printf("%#zx %u %s %u\n", hit->offset, hit->key_bytes * 8,
	       hit->decryption ? "decryption" : "encryption", n + 1);
}

static void scan_bytes(struct blob dump, const char *path)
{
	struct blob wanted = map_file(path);
	const uint8_t *end = dump.data + dump.bytes;

	for (const uint8_t *at = dump.data;; at++) {
		at = memmem(at, (size_t)(end - at), wanted.data, wanted.bytes);
		if (at == NULL) {
			break;
		}
		printf("%#zx %s\n", (size_t)(at - dump.data), path);
	}
}

static void print_secret(void *context, size_t offset, const char *what)
{
	printf("%#zx %s\n", offset, what);
}

static void scan_master(struct blob dump, const char *path)
{
	struct blob master = map_file(path);

	if (master.bytes != SECRET_MASTER_BYTES) {
		die(path, "not 32 bytes");
	}
	secretscan_wrapped(dump.data, dump.bytes, master.data, print_secret, NULL);
}

int main(int argc, char **argv)
{
	static struct keys keys;
	struct blob dump;

	if (argc < 3) {
		die("usage", "dramscan DUMP markers | keys | bytes FILE... | hashes | "
			     "master FILE");
	}
	dump = map_file(argv[1]);
	if (strcmp(argv[2], "markers") == 0) {
		scan_markers(dump);
	} else if (strcmp(argv[2], "keys") == 0) {
		keyscan(dump.data, dump.bytes, print_key, &keys);
	} else if (strcmp(argv[2], "bytes") == 0) {
		for (int i = 3; i < argc; i++) {
			scan_bytes(dump, argv[i]);
		}
	} else if (strcmp(argv[2], "hashes") == 0) {
		secretscan_hashes(dump.data, dump.bytes, print_secret, NULL);
	} else if (strcmp(argv[2], "master") == 0 && argc == 4) {
		scan_master(dump, argv[3]);
	} else {
		die(argv[2], "not one of markers, keys, bytes, hashes, master");
	}
	return 0;
}
