/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bootstrap memory: a few pages below 4 GiB (page_bootstrap) that stay at KeyID 0 for ever, with
 * page tables, a GDT, an IDT and stacks. A CPU runs on them while it cannot use the hypervisor's
 * own: an AP on its way to long mode, all CPUs while the hypervisor moves under a KeyID
 * (keyid_move.h), and all CPUs when the machine ends. The tables map, one to one and at KeyID 0:
 * the image, these pages, what host_map_bootstrap adds (trampoline, firmware's runtime memory), and
 * the pool until the hypervisor has moved. They also map what host_map_io maps, at the same
 * address.
 *
 * The bootstrap IDT: an NMI returns at once; any other vector is reported on the serial line and
 * halts the CPU.
 */
#ifndef UMBRA_HOST_BOOTSTRAP_H
#define UMBRA_HOST_BOOTSTRAP_H

#include "vmm/base/types.h"
#include "vmm/host/host_paging.h"

/*
 * Makes the tables, the IDT and the stacks while firmware's page tables may still be loaded. Called
 * by host_paging_init. BSP, once. Returns ERR_NOMEM when the bootstrap pages do not suffice.
 */
int bootstrap_init(void);

/*
 * The physical address of the top table, for CR3; below 4 GiB. The tables have as many levels as
 * the hypervisor's own.
 */
hpa_t bootstrap_root(void);

/*
 * bootstrap_map maps bytes from physical on at address in the bootstrap tables, in whole pages, and
 * replaces what was mapped there; address and physical have the same offset in a page.
 * bootstrap_unmap removes mappings. bootstrap_maps: is the address mapped? BSP while the machine
 * starts, or the last CPU when it ends. Returns ERR_NOMEM when the tables are full; a part may then
 * be mapped.
 */
int bootstrap_map(uint64_t address, hpa_t physical, uint64_t bytes, enum host_access access,
		  enum host_cache cache);
void bootstrap_unmap(uint64_t address, uint64_t bytes);
bool bootstrap_maps(uint64_t address);

/*
 * Says that from now on CPUs run on the hypervisor's own tables and may be sent back to these. BSP,
 * once.
 */
void bootstrap_ready(void);

/*
 * Sets the function that each CPU calls first when it leaves the hypervisor's own tables at the end
 * of the machine. After that call the CPU must not write to the hypervisor's memory by itself: vmm/
 * executes VMXOFF there, because a CPU caches parts of a VMCS and writes them back at any time.
 * quit may run at any instruction, as an NMI does, and takes no lock. BSP.
 */
void bootstrap_at_end(void (*quit)(void));

/*
 * The end of the machine, on a CPU that stops for good: moves to the bootstrap tables at KeyID 0,
 * writes the caches back, notes that this CPU has stopped, and halts. Only after bootstrap_ready.
 */
_Noreturn void bootstrap_stop_this_cpu(void);
/* Has that CPU finished bootstrap_stop_this_cpu? */
bool bootstrap_stopped(uint32_t cpu_index);

/*
 * The end of the machine, on the last CPU, after the others have stopped and keys are wiped. Moves
 * the writable data of the image back to KeyID 0, zeroes every page of the pool that was ever
 * handed out (4 GiB take about a second) and unmaps the pool. No dirty line of another KeyID is
 * left in a cache, so firmware, or an operating system that starts next, finds memory as it is
 * without KeyIDs. Then calls next(), which does not return, on a stack at KeyID 0. next may log,
 * wait, and call firmware, but must not touch the pool. Interrupts off. Before bootstrap_ready, and
 * on a second call, it only calls next().
 */
_Noreturn void bootstrap_leave(void (*next)(void));
bool bootstrap_has_left(void);

#endif
