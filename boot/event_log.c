/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/event_log.h"

#include "vmm/base/str.h"

#define HASH_KINDS_MAX	   16u /* banks of one TPM */
#define SHA1_BYTES	   20u
#define SIGNATURE_BYTES	   16u
#define SPEC_VERSION_BYTES 8u /* platform class, version of the specification, size of UINTN */

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

/* Skips one digest: the identity of its hash, and its bytes. */
static bool skip_digest(struct rest *rest, const struct hashes *hashes)
{
	const uint32_t kind = take(rest, 2);

	for (uint32_t i = 0; i < hashes->count; i++) {
		if (hashes->list[i].kind == kind) {
			return skip(rest, hashes->list[i].bytes) != NULL;
		}
	}
	return false;
}

/* Skips an entry: TCG_PCR_EVENT2. */
static bool skip_entry(struct rest *rest, const struct hashes *hashes)
{
	uint32_t count;

	(void)take(rest, 4); /* the PCR */
	(void)take(rest, 4); /* its type */
	count = take(rest, 4);
	while (count-- != 0) {
		if (!skip_digest(rest, hashes)) {
			return false;
		}
	}
	(void)skip(rest, take(rest, 4));
	return !rest->short_of;
}

size_t event_log_bytes(const uint8_t *log, size_t last, size_t max, size_t *count)
{
	struct rest rest = { log, max, false };
	struct hashes hashes = { 0 };
	bool good;

	*count = 1;
	good = take_first(&rest, &hashes);
	while (good && (size_t)(rest.at - log) <= last) {
		const bool is_last = (size_t)(rest.at - log) == last;

		good = skip_entry(&rest, &hashes);
		++*count;
		if (good && is_last) {
			return (size_t)(rest.at - log);
		}
	}
	return good && last == 0 ? (size_t)(rest.at - log) : 0;
}
