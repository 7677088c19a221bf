/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of a panic for the next boot: the text of the panic, in a UEFI variable.
 * crash_record_store writes it at the very end of a panic; boot/efi_record.c reads it.
 */
#ifndef UMBRA_HOST_CRASH_RECORD_H
#define UMBRA_HOST_CRASH_RECORD_H

#include "vmm/base/types.h"

/* Bytes of the variable; firmware has a few tens of KiB for all variables. */
#define CRASH_RECORD_MAX 2048
/* UEFI, "GetVariable()": non-volatile, accessible in boot services and at run time. */
#define CRASH_RECORD_ATTRIBUTES 7u

/* Umbra's own GUID, in the byte order of an EFI_GUID. */
extern const uint8_t crash_record_guid[16];
extern const uint16_t crash_record_variable[]; /* its name in UCS-2 */

/*
 * Sets the text that says when this run began, for the first line of the record. Cut at 31
 * characters. BSP, once.
 */
void crash_record_init(const char *began);

/* Notes that the next log line is the panic's first. For panic.c. */
void crash_record_begin(void);

/*
 * Asks firmware to store the log lines since crash_record_begin, and logs the outcome. For
 * panic.c: keys are wiped, no other CPU runs, and all other text is out.
 */
void crash_record_store(void);

/*
 * Logs a stored record, at most CRASH_RECORD_MAX bytes. It may hold anything: characters that
 * cannot be printed are shown as "?".
 */
void crash_record_show(const char *text, size_t bytes);

#endif
