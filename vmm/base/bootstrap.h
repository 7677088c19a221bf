/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bootstrap memory: a few pages below 4 GiB (page_bootstrap) that stay at KeyID 0 for ever, with
 * page tables, a GDT, an IDT and stacks. A CPU that has none of the hypervisor's own runs there: an
 * AP on its way to long mode, all CPUs while the hypervisor moves under a KeyID (keyid_move.h), and
 * all CPUs when the machine ends. The tables map, one to one and at KeyID 0: the image, these
 * pages, what host_map_bootstrap adds (trampoline, firmware's runtime memory), the pool until the
 * hypervisor has moved; and what host_map_io maps, at the same address as there.
 *
 * What comes in there while a CPU runs on it: an NMI returns at once, any other vector is reported
 * on the serial line and halts the CPU.
 */
#ifndef UMBRA_BASE_BOOTSTRAP_H
#define UMBRA_BASE_BOOTSTRAP_H

#include "vmm/base/host_paging.h"
#include "vmm/base/types.h"

/*
 * Makes it all; firmware's tables may still be loaded. BSP, once, by host_paging_init. ERR_NOMEM.
 */
int bootstrap_init(void);

/* The top table, for CR3; below 4 GiB. As deep as the hypervisor's own tables. */
hpa_t bootstrap_root(void);

/*
 * In the bootstrap tables: maps bytes from physical on at address, whole pages; both aligned alike.
 * Over what is there. Takes them away. Does a leaf for the address exist? BSP while the machine
 * starts, or the last CPU when it ends. ERR_NOMEM: the tables are full (a part may be mapped).
 */
int bootstrap_map(uint64_t address, hpa_t physical, uint64_t bytes, enum host_access access,
		  enum host_cache cache);
void bootstrap_unmap(uint64_t address, uint64_t bytes);
bool bootstrap_maps(uint64_t address);

/* From here on CPUs run on the hypervisor's own tables and may be sent back. BSP, once. */
void bootstrap_ready(void);

/*
 * What each CPU does first when it leaves at the end of the machine, on the hypervisor's own
 * tables: from then on it writes nothing there by itself (vmm/: VMXOFF, for a CPU keeps parts of a
 * VMCS and writes them when it likes). May come at any instruction, as an NMI does; takes no lock.
 * BSP.
 */
void bootstrap_at_end(void (*quit)(void));

/*
 * The end of the machine, on a CPU that stops for good: leaves for KeyID 0, writes its caches back,
 * notes that it has stopped, halts. Only after bootstrap_ready.
 */
_Noreturn void bootstrap_stop_this_cpu(void);
/* Has that CPU done so? */
bool bootstrap_stopped(uint32_t cpu_index);

/*
 * The end of the machine, on the last CPU, when the others have stopped and keys are wiped. The
 * writable data of the image comes back to KeyID 0, all that was ever handed out of the pool is
 * zeroed (4 GiB take about a second), and it goes out of sight. No dirty line of another KeyID is
 * left in a cache: firmware, or whoever comes next, finds memory as it is without KeyIDs. Then
 * next(), which does not return, on a stack at KeyID 0. It may log, wait, and call firmware; it may
 * not touch the pool. Interrupts off. Before bootstrap_ready, and a second time, only next().
 */
_Noreturn void bootstrap_leave(void (*next)(void));
bool bootstrap_has_left(void);

#endif
