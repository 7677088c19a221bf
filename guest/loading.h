/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads a VM's kernel and initrd into its memory, as work (vmm/host/work.h), before its vCPUs run.
 * All calls: boot processor, with no lock held.
 */
#ifndef UMBRA_GUEST_LOADING_H
#define UMBRA_GUEST_LOADING_H

#include "guest/linux_load.h"
#include "guest/vm_config.h"
#include "vmm/base/atomic.h"
#include "vmm/host/work.h"
#include "vmm/vm.h"

/* Part of struct platform. All zero: nothing is being loaded. */
struct loading {
	struct work work;
	struct linux_load *load; /* NULL: nothing is being loaded */
	const struct vm_config *config;
	uint64_t ticks;	    /* TSC ticks that the steps took; written by the CPU that runs a step */
	ATOMIC(int) result; /* ERR_AGAIN: steps are left; otherwise the result of the last step */
	bool held;	    /* the work is taken out of the queue at the moment */
};

/*
 * Checks the files and begins to load them. The VM's memory and vCPUs must exist. Returns 0 or an
 * error of linux_load_begin, which is logged.
 */
int loading_begin(struct vm *vm, const struct vm_config *config);

/*
 * Returns ERR_AGAIN while loading goes on. Returns 0 when kernel and initrd are in place: the boot
 * vCPU is then at the kernel's entry point, and the time for loading is billed to it. Otherwise
 * loading has failed, which is logged.
 */
int loading_poll(struct vm *vm);

/*
 * loading_hold waits until no CPU works on it; no CPU continues before loading_go_on. Both may be
 * called repeatedly.
 */
void loading_hold(struct vm *vm);
void loading_go_on(struct vm *vm);

/* Ends loading in any state. Call before the VM's memory is freed. */
void loading_end(struct vm *vm);

/* How much is in place, in percent; 100 if nothing is being loaded. */
unsigned loading_percent(const struct vm *vm);

#endif
