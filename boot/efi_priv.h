/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware side of boot/: only efi_*.c knows EFI types. Runs on one CPU, before the end of boot
 * services.
 */
#ifndef UMBRA_EFI_PRIV_H
#define UMBRA_EFI_PRIV_H

#include <efi.h>

#include "boot/boot_info.h"
#include "boot/launch.h"
#include "boot/seal.h"

/* --- efi_system.c --- */

/* efi_main sets both before anything else. */
extern EFI_SYSTEM_TABLE *efi_system;
extern EFI_HANDLE efi_image;

/* Returns the first instance of a protocol, or NULL. */
void *efi_locate(const EFI_GUID *protocol);
/* Returns the configuration table with this GUID, or NULL. */
void *efi_config_table(const EFI_GUID *guid);

/* --- efi_text.c --- */

/*
 * Adds firmware's text consoles as a sink, for machines without a linear framebuffer. With
 * have_serial, consoles on a serial line are left out, because Umbra writes to the line itself.
 */
void efi_text_open(bool have_serial);
/* Removes the sink. Call before the end of boot services; it may be called twice. */
void efi_text_close(void);

/* --- efi_file.c --- */

/* Opens the volume that this program was started from. Returns 0, or ERR_IO, which is logged. */
int efi_volume_open(void);
/*
 * Reads the file, or the several files, that file->path names into pages that survive
 * ExitBootServices. They must have at least one byte and at most max bytes. On failure file->data
 * is NULL, file->error says why, and the return value is ERR_NOTFOUND or ERR_IO.
 */
int efi_file_read(struct vm_file *file, uint64_t max);
/*
 * From now on efi_file_read passes each file to check, each of several in one path by itself. If it
 * returns words, the file is not used, and they say why.
 */
void efi_file_set_check(const char *(*check)(const char *path, size_t path_bytes, const void *data,
					     size_t bytes));
/*
 * Reads the file that file->path names into to[max] and nowhere else; *bytes is its length. Nothing
 * checks or measures it. Returns ERR_NOTFOUND, also without a volume; or ERR_IO if it is empty, too
 * large or not readable. Then file->error says why, and to is zero.
 */
int efi_file_read_small(struct vm_file *file, void *to, uint64_t max, uint64_t *bytes);

/* Writes a file that does not exist yet. Returns 0 if all of it is on the medium, or ERR_IO. */
int efi_file_write_new(const char *path, const void *data, uint64_t bytes);
/* Makes a folder; one that is there stays. Returns 0 or ERR_IO. */
int efi_file_make_folder(const char *path);
/* Removes a file, which need not be there. Returns 0 or ERR_IO. */
int efi_file_remove(const char *path);
/*
 * Overwrites a key file of so many bytes with zeros, and removes it. Returns 0; ERR_IO if
 * it was not overwritten; or ERR_EXISTS if it was, and is still there.
 */
int efi_file_destroy(const char *path, uint64_t bytes);

/* --- efi_keys.c --- */

/*
 * Reads the key files of all VMs and shares. If a key file cannot be used, its VM or share is left
 * out, which is logged.
 */
void efi_keys_read(struct config *config);
/*
 * Call before a key's secret is read: from then on a panic wipes it. Returns NULL, or a clause that
 * says why there can be no secret.
 */
const char *efi_key_hold(struct vm_key_source *key);
/* Wipes what efi_keys_read has read, or the TPM has opened. */
void efi_keys_forget(struct config *config);
/* Whether a VM or a share that is not left out has a key of the TPM. */
bool efi_keys_need_tpm(const struct config *config);
void efi_key_forget(struct vm_key_source *key);
/*
 * For when the machine is not in the state that was measured. Leaves out every VM and share that
 * has a key of the TPM, logs an error for each, and wipes these keys. why: a clause.
 */
void efi_leave_sealed_out(struct config *config, const char *why);

/* --- efi_probe.c: what only firmware knows --- */

/*
 * Fills in the CPUs, a random seed, runtime services, the image's place, and a free page below 1
 * MiB. Without such a page info->trampoline is 0, which is logged.
 */
void efi_probe(struct boot_info *info);
/*
 * Sets MemoryOverwriteRequestControl, if firmware has it. Firmware then clears memory before the
 * next boot, however the machine was reset. Logs the result.
 */
void efi_request_memory_clear(void);

/* --- efi_launch.c --- */

/* Whether firmware starts only programs that a key of its variable db has signed (UEFI, 32.3). */
bool efi_secure_boot(void);
/* Logs whether Secure Boot is on. */
void efi_launch_report(void);
/*
 * Looks for a TPM and, if this image demands one, reads the manifest; the volume is open. From then
 * on each file that efi_file_read reads is compared with the manifest, and measured. Returns false
 * if no file of the stick may be used, which is logged.
 */
bool efi_launch_open(void);
/* Whether files are compared or measured, so that they are read even if no VM can run. */
bool efi_launch_wants_files(void);
/*
 * Call after all files were read. Measures the state of the machine, and reads the keys that the
 * TPM has sealed.
 */
void efi_launch_state(struct config *config);
/*
 * Call after DMA is shut out. Opens the keys that efi_launch_state has read, measures the
 * separators that end the launch, and logs the PCRs. If a report was made, efi_launch_state has
 * done all this already, because the report includes it and must be written while firmware can
 * write to the stick.
 */
void efi_launch_close(struct config *config);

/* --- efi_seal.c --- */

/*
 * The keys of tpm:PATH, in two steps. What has no key after them is left out, which is logged.
 *
 * efi_seal_read: after the state of the machine was measured, while the stick can be used. Reads
 * the sealed files; if [host] tpm says so, seals key files. A sealed key whose key file lies on the
 * stick, too, is opened at once, and the key file removed. secure_boot: firmware checks who signed
 * what it starts.
 * efi_seal_open: opens the others, with DMA shut out.
 */
void efi_seal_read(struct config *config, bool secure_boot);
void efi_seal_open(struct config *config);

/* --- efi_attest.c --- */

/* Whether a report is asked for: by a nonce on the stick, or a file that should be one. */
bool efi_attest_is_asked(void);
/*
 * Call after the last measurement, if a report is asked for. Has the TPM sign the PCRs with the
 * nonce, and writes a report to the stick. The log and the report say what is missing; nothing else
 * depends on the report. state: the state of the machine as it was measured. why_not: NULL, or why
 * there is to be no quote.
 */
void efi_attest(const char *state, const char *why_not);

/* --- efi_report.c --- */

/*
 * If [host] tpm = report: writes to \umbra\report what seal.py needs. The result is logged, and
 * nothing else depends on it. An older report is removed, whatever fails. state: the state of the
 * machine as it was measured, or NULL without a TPM. Call after efi_attest: this function asks for
 * the event log, and some firmware adds nothing to the log after that.
 */
void efi_report(const struct config *config, const char *state);

/* --- efi_tpm.c --- */

/* Finds the TPM. Returns false if firmware shows none, which is logged. */
bool efi_tpm_open(void);
/*
 * Measures one event. After a failure, which is logged, it measures nothing further. Without a TPM
 * it does nothing.
 */
void efi_tpm_extend(const struct launch_event *event);
/* Whether there is a TPM that has taken all events so far. */
bool efi_tpm_works(void);
/* As tpm_submit (boot/tpm_talk.h), for a TPM that works. */
int efi_tpm_submit(const uint8_t *command, size_t bytes, uint8_t *reply, size_t *reply_bytes);
/* As tpm_wait. */
void efi_tpm_wait(unsigned milliseconds);
/*
 * efi_tpm_steps returns the steps that were measured so far, without the values of the PCRs; *words
 * are their texts. Firmware's steps are among them only after efi_tpm_note_firmware, which reads
 * firmware's event log. Call that only when a key is sealed or stays shut, because some firmware
 * adds nothing to its log once a program has asked for it.
 */
const struct seal_state *efi_tpm_steps(const char (**words)[SEAL_WORDS_MAX]);
void efi_tpm_note_firmware(void);
/*
 * Firmware's event log as it is now, in its own memory, for a TPM that works; count: its entries.
 * Returns NULL, or what is wrong with it; *bytes is zero then, unless a part of it can be used.
 */
const char *efi_tpm_event_log(const uint8_t **log, size_t *bytes, size_t *count);
/* Logs the state of the machine as it was measured, and the PCRs. */
void efi_tpm_report(const char *state);

/* --- efi_serial.c --- */

/* Opens the serial line that ACPI names, or else COM1. Returns false if neither works. */
bool efi_serial_open(void);
/* Changes to the line that [host] serial names. If that fails, logs it and uses the usual line. */
void efi_serial_configure(const struct config_serial *wanted);

/* --- efi_screen.c --- */

/*
 * Finds the graphics output to draw on: the first with a linear framebuffer that is one of
 * firmware's consoles, or else the first with a linear framebuffer. The height is cut to the lines
 * that the buffer holds. All zero if there is none.
 */
void efi_probe_screen(struct screen_mode *screen);

/* --- efi_record.c --- */

/* If the last run left the record of a panic, logs it and deletes it. */
void efi_record_show(void);
/* Writes firmware's time as "2026-01-31 23:59:59", or an empty text. */
void efi_time_read(char *text, size_t bytes);

/* --- efi_mem.c --- */

/*
 * Finds the serial line that firmware's ACPI tables name, or returns false. Before the end of boot
 * services.
 */
bool efi_find_serial(struct serial_place *out);

/*
 * The memory map as it is now, for the functions below. Before the end of boot services. Returns
 * false, after it has logged why, if firmware gives none.
 */
bool efi_memory_look(void);
/* Finds the table that describes the IOMMU, or returns ERR_NOTFOUND; ERR_FORMAT: it is broken. */
int efi_find_dmar(struct acpi_table *out);
/* Is all of [base, end) reserved by firmware for good, and not used by its runtime services? */
bool efi_is_reserved(uint64_t base, uint64_t end);
/* Is all of [base, end) memory that firmware has for itself, now? */
bool efi_is_firmwares(uint64_t base, uint64_t end);
/* Is a part of [base, end) memory that programs, firmware or its tables use? */
bool efi_is_memory(uint64_t base, uint64_t end);

/* --- efi_dma.c --- */

/*
 * Shuts DMA out, as [host] iommu says. efi_dma_decide: before the state of the machine is
 * measured. efi_dma_block: firmware reads and writes no file after this, and shows no text;
 * its drivers of disks and networks are stopped before. efi_dma_block_again: right after the end of
 * boot services; interrupts stay off. VMs that must not run then are left out: all of them, if a
 * device can reach memory and [host] iommu = require; those with a key of the TPM, if a unit does
 * not do what was decided.
 */
void efi_dma_decide(struct boot_info *info);
void efi_dma_block(struct boot_info *info);
void efi_dma_block_again(struct boot_info *info);
/* No VM and no share of the configuration is used. */
void efi_leave_all_out(struct config *config);

/*
 * Ends boot services. On failure logs the reason and returns ERR_IO or ERR_NOMEM. Firmware may be
 * half shut down then; of its services only ResetSystem may be called.
 */
int efi_exit_boot_services(void);
/* After that: fills in the memory map as it was at the end, and the facts of ACPI. */
void efi_take_memory(struct boot_info *info);

/* In boot/enter.asm: calls fn(info) on the stack that ends at stack_top, with interrupts off. */
_Noreturn void boot_enter(struct boot_info *info, void *stack_top, void (*fn)(struct boot_info *));

#endif
