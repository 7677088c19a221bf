/* SPDX-License-Identifier: Apache-2.0 */
/* Builds a VM from its configuration, in a list of steps. */
#ifndef UMBRA_GUEST_PLATFORM_H
#define UMBRA_GUEST_PLATFORM_H

#include "ept/pager.h"
#include "guest/vm_config.h"
#include "vmm/vm.h"

/*
 * Builds a VM: vm_create, memory, devices, vCPUs, ACPI tables; then begins to load kernel and
 * initrd. On failure undoes everything, logs one error with the VM, the file and the reason, and
 * returns an ERR_*. Returns ERR_AGAIN, without a log line, if what the VM needs is being freed
 * (retire_pending) or the caches cannot be flushed yet; the caller should try again soon.
 */
int platform_start_vm(const struct vm_config *config, struct vm **out);

/*
 * Continues a VM that platform_start_vm built. Called repeatedly, unless the VM was ended
 * meanwhile. Returns 0 when everything is loaded; the VM then runs. Returns ERR_AGAIN while it is
 * being loaded. After another error the VM is destroyed, as by platform_start_vm.
 */
int platform_start_loaded(struct vm *vm);

/* How much of kernel and initrd is in the VM's memory, in percent. */
unsigned platform_percent_loaded(const struct vm *vm);

/* Like vm_pause and vm_resume; these also stop and continue the loading of a VM. */
void platform_pause(struct vm *vm);
void platform_resume(struct vm *vm);

/*
 * For a VM that has ended: returns true when its last output is shown (vconsole_finish). The caller
 * repeats this until then.
 */
bool platform_finish_console(struct vm *vm);

/* Logs what the VM's engine has done. */
void platform_log_memory(const struct vm *vm);

/* Gets what the VM's engine has done so far. Returns false if the VM has no software engine. */
bool platform_count_memory(const struct vm *vm, struct pager_counters *out);

/* How a VM's memory is stored in DRAM. */
enum platform_memory {
	PLATFORM_MEMORY_CLEAR,	/* as the guest writes it */
	PLATFORM_MEMORY_SEALED, /* as ciphertext of the software engine */
	PLATFORM_MEMORY_KEYED,	/* encrypted under the VM's own KeyID */
	/* the same for a parked VM: ciphertext under KeyID 0 (ept/move.h) */
	PLATFORM_MEMORY_PARKED,
	PLATFORM_MEMORY_PLATFORM, /* encrypted under the machine's own key, KeyID 0 */
};
enum platform_memory platform_memory(const struct vm *vm);

/* A clause that says which engine encrypts the memory, how, and under which key. */
const char *platform_engine_words(const struct vm *vm);

/* How the memory is stored, in a word: "sealed", "clear", "KeyID 3", "parked" or "platform". */
const char *platform_memory_name(const struct vm *vm);

/* Bytes that the VM's virtio devices have moved since its start. */
uint64_t platform_device_bytes(const struct vm *vm);

/* Prints two lines on each virtio device: what it is, and what it has done since the VM's start. */
void platform_print_devices(const struct vm *vm, void (*print)(const char *fmt, ...));

/*
 * Seals all pages of a paused or ended VM that are in clear, so that all its memory is ciphertext
 * until it runs again. Its registers stay in clear, in Umbra's own memory. Returns ERR_UNSUPPORTED
 * if the VM has no software engine.
 */
int platform_seal_vm(struct vm *vm);

/* Keeps a VM that has ended: seals it if possible; its console takes no input any more. */
void platform_keep_vm(struct vm *vm);

/*
 * Presses the ACPI power button (fixed hardware), as a person would; the guest decides what to do.
 * Returns false if the guest has not enabled the button, so that nothing will happen. Boot
 * processor.
 */
bool platform_press_power_button(struct vm *vm);

/* Frees a VM that has ended or has not started yet, with its devices. Ignores NULL. */
void platform_destroy_vm(struct vm *vm);

#endif
