/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firmware's log of what it and Umbra have measured (TCG PC Client Platform Firmware Profile, 10:
 * the crypto-agile format). Pure C.
 */
#ifndef UMBRA_BOOT_EVENT_LOG_H
#define UMBRA_BOOT_EVENT_LOG_H

#include "vmm/base/types.h"

#define EVENT_LOG_MAX (1u << 20) /* bytes */

/*
 * Returns the length of a log in bytes. Firmware says only where the last entry begins: `last`
 * bytes after the first one. Reads at most max bytes. Returns 0 if the log is malformed, or if no
 * entry begins at `last` and ends within max. *count is the number of entries.
 */
size_t event_log_bytes(const uint8_t *log, size_t last, size_t max, size_t *count);

#define EVENT_LOG_WORDS_MAX 64u

/* What was measured into a PCR. */
struct event_log_event {
	const uint8_t *sha256;		 /* its digest, in the log */
	char words[EVENT_LOG_WORDS_MAX]; /* what it is; printable, whatever the log holds */
};

/*
 * Writes the events of a PCR in their order. Returns their number; 0 if there are none, if they are
 * more than max, if one has no digest of SHA-256, or if the log's bytes are not well formed.
 */
size_t event_log_of_pcr(const uint8_t *log, size_t bytes, uint32_t pcr, struct event_log_event *out,
			size_t max);

#endif
