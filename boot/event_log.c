/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/event_log.h"

#include "vmm/base/str.h"

#define HASH_KINDS_MAX	   16u /* banks of one TPM */
#define SHA1_BYTES	   20u
#define SHA256_BYTES	   32u
#define HASH_SHA256	   0x000bu
#define GUID_BYTES	   16u
#define SIGNATURE_BYTES	   16u
#define SPEC_VERSION_BYTES 8u /* platform class, version of the specification, size of UINTN */

/* Types of events (10.4.1). */
#define EV_NO_ACTION   3u
#define EV_SEPARATOR   4u
#define EV_VARIABLE    0x80000001u /* EV_EFI_VARIABLE_DRIVER_CONFIG */
#define EV_APPLICATION 0x80000003u /* EV_EFI_BOOT_SERVICES_APPLICATION */
#define EV_ACTION      0x80000007u /* EV_EFI_ACTION */
#define EV_AUTHORITY   0x800000e0u /* EV_EFI_VARIABLE_AUTHORITY */

/* A device path to a file ends with a node that holds the path of the file (UEFI, 10.3.5.4). */
#define NODE_HEADER_BYTES 4u
#define NODE_MEDIA	  4u
#define NODE_MEDIA_FILE	  4u

/* The bytes that were not read yet. After a read beyond the end, all reads give 0. */
struct rest {
	const uint8_t *at;
	size_t left;
	bool short_of;
};

/* The banks of this log: the identity of each hash, and its length. */
struct hashes {
	uint32_t count;
	struct {
		uint32_t kind, bytes;
	} list[HASH_KINDS_MAX];
};

static const uint8_t *skip(struct rest *rest, size_t bytes)
{
	const uint8_t *at = rest->at;

	if (rest->left < bytes) {
		rest->short_of = true;
		rest->left = 0;
		return NULL;
	}
	rest->at += bytes;
	rest->left -= bytes;
	return at;
}

/* The numbers of a log are little-endian. */
static uint32_t take(struct rest *rest, unsigned bytes)
{
	const uint8_t *at = skip(rest, bytes);
	uint32_t value = 0;

	for (unsigned i = bytes; at != NULL && i-- != 0;) {
		value = value << 8 | at[i];
	}
	return value;
}

/* The first entry, in the old format: TCG_EfiSpecIDEvent, which names the hashes. */
static bool take_first(struct rest *rest, struct hashes *hashes)
{
	const uint8_t *signature;
	struct rest event;
	uint32_t bytes;

	(void)take(rest, 4); /* the PCR: none */
	(void)take(rest, 4); /* its type: EV_NO_ACTION */
	(void)skip(rest, SHA1_BYTES);
	bytes = take(rest, 4);
	event = (struct rest){ rest->at, bytes, false };
	if (skip(rest, bytes) == NULL) {
		return false;
	}
	signature = skip(&event, SIGNATURE_BYTES);
	if (signature == NULL || memcmp(signature, "Spec ID Event03", SIGNATURE_BYTES) != 0) {
		return false;
	}
	(void)skip(&event, SPEC_VERSION_BYTES);
	hashes->count = take(&event, 4);
	if (hashes->count > HASH_KINDS_MAX) {
		return false;
	}
	for (uint32_t i = 0; i < hashes->count; i++) {
		hashes->list[i].kind = take(&event, 2);
		hashes->list[i].bytes = take(&event, 2);
	}
	return !event.short_of;
}

/* One entry. */
struct entry {
	uint32_t pcr, type;
	const uint8_t *sha256; /* NULL: it has no such digest */
	struct rest data;
};

/* Reads one digest: the identity of its hash, and its bytes. */
static bool take_digest(struct rest *rest, const struct hashes *hashes, struct entry *entry)
{
	const uint32_t kind = take(rest, 2);
	const uint8_t *digest;

	for (uint32_t i = 0; i < hashes->count; i++) {
		if (hashes->list[i].kind == kind) {
			digest = skip(rest, hashes->list[i].bytes);
			if (kind == HASH_SHA256 && hashes->list[i].bytes == SHA256_BYTES) {
				entry->sha256 = digest;
			}
			return digest != NULL;
		}
	}
	return false;
}

/* Reads an entry: TCG_PCR_EVENT2. */
static bool take_entry(struct rest *rest, const struct hashes *hashes, struct entry *entry)
{
	uint32_t count;

	*entry = (struct entry){ .pcr = take(rest, 4) };
	entry->type = take(rest, 4);
	count = take(rest, 4);
	while (count-- != 0) {
		if (!take_digest(rest, hashes, entry)) {
			return false;
		}
	}
	count = take(rest, 4);
	entry->data = (struct rest){ rest->at, count, false };
	(void)skip(rest, count);
	return !rest->short_of;
}

size_t event_log_bytes(const uint8_t *log, size_t last, size_t max, size_t *count)
{
	struct rest rest = { log, max, false };
	struct hashes hashes = { 0 };
	struct entry entry;
	bool good;

	*count = 1;
	good = take_first(&rest, &hashes);
	while (good && (size_t)(rest.at - log) <= last) {
		const bool is_last = (size_t)(rest.at - log) == last;

		good = take_entry(&rest, &hashes, &entry);
		++*count;
		if (good && is_last) {
			return (size_t)(rest.at - log);
		}
	}
	return good && last == 0 ? (size_t)(rest.at - log) : 0;
}

/*
 * Appends characters of width bytes each, up to a zero. A character that is not printable ASCII
 * becomes "?".
 */
static void add_text(char *words, struct rest text, unsigned width)
{
	size_t used = strlen(words);

	while (used + 1 < EVENT_LOG_WORDS_MAX && text.left >= width) {
		const uint32_t c = take(&text, width);

		if (c == 0) {
			break;
		}
		words[used++] = c >= 0x20 && c < 0x7f ? (char)c : '?';
	}
	words[used] = '\0';
}

/* UEFI_VARIABLE_DATA: a GUID, the lengths of the name and of the content, the name. */
static void add_variable(char *words, struct rest data)
{
	uint32_t characters;

	(void)skip(&data, GUID_BYTES);
	characters = take(&data, 4);
	(void)skip(&data, 4 + 8); /* the upper half; the length of the content */
	data.left = MIN(data.left, 2 * (size_t)characters);
	add_text(words, data, 2);
}

/* UEFI_IMAGE_LOAD_EVENT: three numbers, the length of the path, the path. */
static void add_program(char *words, struct rest data)
{
	(void)skip(&data, 4 * 8);
	while (data.left >= NODE_HEADER_BYTES) {
		const uint32_t type = take(&data, 1), kind = take(&data, 1);
		const uint32_t bytes = take(&data, 2);
		struct rest name = { data.at, bytes - NODE_HEADER_BYTES, false };

		if (bytes < NODE_HEADER_BYTES || skip(&data, name.left) == NULL) {
			break;
		}
		if (type == NODE_MEDIA && kind == NODE_MEDIA_FILE) {
			add_text(words, name, 2);
		}
	}
}

static void describe(const struct entry *entry, char *words)
{
	static const struct {
		uint32_t type;
		const char *words;
		void (*add)(char *words, struct rest data);
	} kinds[] = {
		{ EV_VARIABLE, "variable ", add_variable },
		{ EV_AUTHORITY, "signer of a program, in ", add_variable },
		{ EV_APPLICATION, "program ", add_program },
		{ EV_SEPARATOR, "separator", NULL },
	};

	if (entry->type == EV_ACTION) {
		words[0] = '\0';
		add_text(words, entry->data, 1);
		return;
	}
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		if (kinds[i].type == entry->type) {
			(void)str_copy(words, EVENT_LOG_WORDS_MAX, kinds[i].words); /* it fits */
			if (kinds[i].add != NULL) {
				kinds[i].add(words, entry->data);
			}
			return;
		}
	}
	(void)str_printf(words, EVENT_LOG_WORDS_MAX, "event of type %x", entry->type); /* it fits */
}

size_t event_log_of_pcr(const uint8_t *log, size_t bytes, uint32_t pcr, struct event_log_event *out,
			size_t max)
{
	struct rest rest = { log, bytes, false };
	struct hashes hashes = { 0 };
	struct entry entry;
	size_t count = 0;
	bool good = take_first(&rest, &hashes);

	while (good && rest.left != 0) {
		good = take_entry(&rest, &hashes, &entry);
		if (!good || entry.pcr != pcr || entry.type == EV_NO_ACTION) {
			continue;
		}
		if (entry.sha256 == NULL || count == max) {
			return 0;
		}
		out[count].sha256 = entry.sha256;
		describe(&entry, out[count].words);
		count++;
	}
	return good ? count : 0;
}
