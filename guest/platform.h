/* SPDX-License-Identifier: Apache-2.0 */
/* Builds a VM from its configuration, as a visible list of steps. */
#ifndef UMBRA_GUEST_PLATFORM_H
#define UMBRA_GUEST_PLATFORM_H

#include "guest/vm_config.h"
#include "vmm/vm.h"

/*
 * vm_create -> memory -> devices -> vCPUs -> ACPI -> kernel -> vm_start. On failure everything is
 * undone, one log_error line has told the VM, the file and the reason, and an ERR_* is returned.
 */
int platform_start_vm(const struct vm_config *config, struct vm **out);

/* Shows what the guest wrote and did not end with a line break yet. */
void platform_flush_vm(struct vm *vm);

/* What the engine of an ended VM has done, in the log. */
void platform_log_memory(const struct vm *vm);

/* How its memory is kept, in a word: "sealed" or "clear". */
const char *platform_memory_name(const struct vm *vm);

/* As a person would (ACPI fixed power button); the guest does what it likes. Boot processor. */
void platform_press_power_button(struct vm *vm);

/* Frees an ended VM with its devices. */
void platform_destroy_vm(struct vm *vm);

#endif
