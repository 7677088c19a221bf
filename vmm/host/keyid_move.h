/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves the hypervisor's own memory under a KeyID: the pool (with stacks, page tables, EPT tables,
 * VMXON and VMCS regions, bitmaps, APIC pages) and the image's writable data.
 */
#ifndef UMBRA_HOST_KEYID_MOVE_H
#define UMBRA_HOST_KEYID_MOVE_H

#include "vmm/base/keyid.h"

/*
 * Moves all of that from KeyID 0 to another KeyID, whose key every package has, while all other
 * CPUs wait. From then on page_hpa returns addresses with the KeyID. Page tables are rewritten; no
 * other number that page_hpa returned before may still be in use. BSP, once, after smp_start_all
 * and keyid_configure and before VMX; interrupts off, no lock held. Takes milliseconds.
 */
void keyid_move_host(keyid_t keyid);

/* For bootstrap_leave: moves the image's data back to KeyID 0 and unmaps the pool. */
struct bootstrap;
void keyid_move_back(struct bootstrap *b);

#endif
