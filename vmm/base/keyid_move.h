/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor's own memory and the KeyID that it is used under: the pool (with stacks, page
 * tables, EPT tables, VMXON and VMCS regions, bitmaps, APIC pages) and the image's writable data.
 */
#ifndef UMBRA_BASE_KEYID_MOVE_H
#define UMBRA_BASE_KEYID_MOVE_H

#include "vmm/base/keyid.h"

/*
 * Moves all of it from KeyID 0 under another KeyID, whose key every package has, while all CPUs
 * stand still; page_hpa carries the KeyID from then on. So no address that page_hpa gave may be
 * kept from before, but for what the page tables say, which are rewritten. BSP, once, after
 * smp_start_all and keyid_configure and before VMX; interrupts off, no lock held. Costs
 * milliseconds.
 */
void keyid_move_host(keyid_t keyid);

/* bootstrap_leave's part: the image's data back to KeyID 0, the pool out of sight. */
struct bootstrap;
void keyid_move_back(struct bootstrap *b);

#endif
