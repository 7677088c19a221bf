/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's kernel and initrd on their way into its memory, as work (vmm/base/work.h), while its vCPUs
 * do not run yet. All calls: boot processor, no lock held.
 */
#ifndef UMBRA_GUEST_LOADING_H
#define UMBRA_GUEST_LOADING_H

#include "guest/linux_load.h"
#include "guest/vm_config.h"
#include "vmm/base/work.h"
#include "vmm/vm.h"

/* Of struct platform. Zeros: nothing is being loaded. */
struct loading {
	struct work work;
	struct linux_load *load; /* NULL: nothing is being loaded */
	const struct vm_config *config;
	uint64_t ticks; /* of the TSC, that the steps took: the CPU's that is at one */
	int result;	/* atomic; ERR_AGAIN: steps are left; else what the last one said */
	bool held;	/* it is no work at the moment */
};

/*
 * Checks the files and begins. The VM's memory and vCPUs are there. What linux_load_begin returned,
 * and one line of the log says why.
 */
int loading_begin(struct vm *vm, const struct vm_config *config);

/*
 * ERR_AGAIN: it goes on. 0: kernel and initrd are in place, the boot vCPU stands at their entry,
 * and what that took was billed to it. Else it failed, and one line of the log says why.
 */
int loading_poll(struct vm *vm);

/* On return no CPU is at it, and none goes on before loading_go_on. Either may be called twice. */
void loading_hold(struct vm *vm);
void loading_go_on(struct vm *vm);

/* Ends it, whatever it has come to: before the VM's memory goes. */
void loading_end(struct vm *vm);

/* Of 100: how much is in place; 100 when nothing is being loaded. */
unsigned loading_percent(const struct vm *vm);

#endif
