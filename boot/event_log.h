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

#endif
