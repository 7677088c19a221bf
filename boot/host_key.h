/* SPDX-License-Identifier: Apache-2.0 */
/* The hypervisor's own KeyID. */
#ifndef UMBRA_BOOT_HOST_KEY_H
#define UMBRA_BOOT_HOST_KEY_H

/*
 * Takes a KeyID with a random key, and moves the hypervisor's memory under it. What keeps it from
 * that is logged, and the hypervisor stays at KeyID 0. BSP, once, after keyslot_init and before
 * VMX; interrupts off.
 */
void host_key_start(void);

#endif
