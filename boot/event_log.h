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
 * Returns the length of a log in bytes, for firmware says only where its last entry begins, last
 * bytes after the first one. At most max bytes are read. Returns 0 if these are not entries of such
 * a log, of which one begins there and ends within max. *count is their number.
 */
size_t event_log_bytes(const uint8_t *log, size_t last, size_t max, size_t *count);

#endif
