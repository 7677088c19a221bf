/* SPDX-License-Identifier: Apache-2.0 */
/* Builds a VM from its configuration, as a visible list of steps. */
#ifndef UMBRA_GUEST_PLATFORM_H
#define UMBRA_GUEST_PLATFORM_H

#include "ept/pager.h"
#include "guest/vm_config.h"
#include "vmm/vm.h"

/*
 * vm_create -> memory -> devices -> vCPUs -> ACPI -> kernel and initrd begin to be loaded. On
 * failure everything is undone, one log_error line has named the VM, the file and the reason, and
 * an ERR_* is returned. ERR_AGAIN: nothing was logged; what the VM needs is being freed
 * (retire_pending), or the caches cannot be flushed yet. It can be tried again soon.
 */
int platform_start_vm(const struct vm_config *config, struct vm **out);

/*
 * Of such a VM, at each turn, unless it was ended meanwhile. 0: all is loaded and it runs from now
 * on. ERR_AGAIN: it is not yet. Else it failed and is no more: as for platform_start_vm.
 */
int platform_start_loaded(struct vm *vm);

/* How much of its kernel and initrd is in its memory, of 100. */
unsigned platform_percent_loaded(const struct vm *vm);

/* vm_pause and vm_resume, also of a VM that is being loaded, which stands still meanwhile. */
void platform_pause(struct vm *vm);
void platform_resume(struct vm *vm);

/* Of a VM that ended: true once its last words are shown (vconsole_finish); until then, again. */
bool platform_finish_console(struct vm *vm);

/* What the engine of an ended VM has done, in the log. */
void platform_log_memory(const struct vm *vm);

/* What the engine has done with its memory so far; false: there is none. */
bool platform_count_memory(const struct vm *vm, struct pager_counters *out);

/* How a VM's memory lies in DRAM. */
enum platform_memory {
	PLATFORM_MEMORY_CLEAR,	  /* as the guest writes it */
	PLATFORM_MEMORY_SEALED,	  /* ciphertext of the software engine */
	PLATFORM_MEMORY_KEYED,	  /* encrypted under a KeyID of its own */
	PLATFORM_MEMORY_PARKED,	  /* the same VM, paused: ciphertext under KeyID 0 (ept/move.h) */
	PLATFORM_MEMORY_PLATFORM, /* encrypted under the machine's own key, KeyID 0 */
};
enum platform_memory platform_memory(const struct vm *vm);

/* Who encrypts its memory, by what, under which key. */
const char *platform_engine_words(const struct vm *vm);

/* How its memory is kept, in a word: "sealed", "clear", "KeyID 3", "parked" or "platform". */
const char *platform_memory_name(const struct vm *vm);

/* Bytes that its virtio devices have moved since its start. */
uint64_t platform_device_bytes(const struct vm *vm);

/* Two lines on each virtio device: what it is, and what it has done since the VM's start. */
void platform_print_devices(const struct vm *vm, void (*print)(const char *fmt, ...));

/*
 * Seals what is in clear of a VM that is paused or has ended, so that all its memory is ciphertext
 * until it runs again. Registers stay in clear, in Umbra's own memory. ERR_UNSUPPORTED: it has no
 * engine that could.
 */
int platform_seal_vm(struct vm *vm);

/* An ended VM stays for a while: sealed if it can be, and nobody types to it any more. */
void platform_keep_vm(struct vm *vm);

/*
 * As a person would (ACPI fixed power button); the guest does what it likes. False: the guest has
 * not switched the button on, so nothing will come of it. Boot processor.
 */
bool platform_press_power_button(struct vm *vm);

/* Frees a VM that has ended, or has not begun to run, with its devices. */
void platform_destroy_vm(struct vm *vm);

#endif
