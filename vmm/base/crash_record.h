/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of a panic for the next boot: the text that the consoles got, in a UEFI variable.
 * Written by crash_record_store at the very end of a panic, read by boot/efi_record.c.
 */
#ifndef UMBRA_BASE_CRASH_RECORD_H
#define UMBRA_BASE_CRASH_RECORD_H

#include "vmm/base/types.h"

#define CRASH_RECORD_MAX 2048 /* bytes of the variable; firmware has few tens of KiB for all */
/* UEFI, "GetVariable()": non-volatile, for boot services and at run time. */
#define CRASH_RECORD_ATTRIBUTES 7u

extern const uint8_t crash_record_guid[16];    /* of our own, as EFI_GUID lies in memory */
extern const uint16_t crash_record_variable[]; /* its name in UCS-2 */

/* When this run began, for the record's first line: cut at 31 characters. BSP, once. */
void crash_record_init(const char *began);

/* Notes that the panic's own lines begin with the next one. For panic_begin. */
void crash_record_begin(void);

/*
 * Has firmware keep the lines of the log since then, and says what came of it. For panic_end: keys
 * are wiped, no other CPU runs, all other text is out.
 */
void crash_record_store(void);

/*
 * Logs a record, whatever is in it: printable lines as they are, at most CRASH_RECORD_MAX bytes.
 */
void crash_record_show(const char *text, size_t bytes);

#endif
