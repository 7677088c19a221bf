/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware side of boot/: EFI types are known to efi_*.c alone. Boot services only, one CPU.
 */
#ifndef UMBRA_EFI_PRIV_H
#define UMBRA_EFI_PRIV_H

#include <efi.h>

#include "boot/boot_info.h"

/* Set before anything else. */
extern EFI_SYSTEM_TABLE *efi_system;
extern EFI_HANDLE efi_image;

/* The first instance of a protocol, or NULL. */
void *efi_locate(const EFI_GUID *protocol);
/* The table of this GUID in the configuration table, or NULL. */
void *efi_config_table(const EFI_GUID *guid);

/* --- efi_text.c --- */

/*
 * Adds firmware's text consoles as a sink, for machines without a linear framebuffer; those at the
 * end of a serial line are left out if have_serial, for our own output is there already.
 */
void efi_text_open(bool have_serial);
/* Removes the sink. Before the end of boot services. */
void efi_text_close(void);

/* --- efi_file.c --- */

/* Opens the volume that this program was started from. 0, or ERR_IO, said in the log. */
int efi_volume_open(void);
/*
 * Reads what file->path names, one file or several, wholly into pages that survive
 * ExitBootServices. At most max bytes, at least one. On failure file->data is NULL, file->error
 * says why, and an ERR_* is returned.
 */
int efi_file_read(struct vm_file *file, uint64_t max);
/*
 * Reads key->file into key->secret and nowhere else. ERR_FORMAT and the like as above when it has
 * not one of the two lengths of a key, or is one byte repeated; then secret is zero.
 */
int efi_key_read(struct vm_key_source *key);

/* --- efi_probe.c: what only firmware knows --- */

/* CPUs, randomness, ResetSystem; a page below 1 MiB. ERR_NOMEM without that. */
void efi_probe(struct boot_info *info);
/*
 * Sets MemoryOverwriteRequestControl, where there is one: firmware then clears memory before it
 * boots again, however the machine was reset. Logs what came of it.
 */
void efi_request_memory_clear(void);

/* --- efi_serial.c --- */

/* Opens the line that ACPI names, else COM1. False: there is none. */
bool efi_serial_open(void);
/* Changes to what [host] serial asks for. An error is logged, and the usual line used instead. */
void efi_serial_configure(const struct config_serial *wanted);

/* --- efi_screen.c --- */

/*
 * The graphics output that is drawn on: the first one with a linear frame buffer that is a console
 * of firmware's, else the first one with such a buffer; no more lines than the buffer holds. All
 * zero: there is none.
 */
void efi_probe_screen(struct screen_mode *screen);

/* --- efi_record.c --- */

/* Shows what the last run left of a panic, if it did, and has firmware forget it. */
void efi_record_show(void);
/* "2026-01-31 23:59:59" by firmware's clock, or an empty text. */
void efi_time_read(char *text, size_t bytes);

/* --- efi_mem.c --- */

/* The serial line that firmware's ACPI tables name, or false. Before the end of boot services. */
bool efi_find_serial(struct serial_place *out);

/*
 * Ends boot services, fills in the memory map and ACPI's facts. On failure says why and returns
 * an ERR_*; then firmware may be half gone, and nothing of it must be called but ResetSystem.
 */
int efi_exit_boot_services(struct boot_info *info);

/* boot/enter.asm: calls fn(info) on the stack that ends at stack_top, interrupts off. */
_Noreturn void boot_enter(struct boot_info *info, void *stack_top, void (*fn)(struct boot_info *));

#endif
