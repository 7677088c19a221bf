/* SPDX-License-Identifier: Apache-2.0 */
/* The hypervisor's own KeyID. */
#ifndef UMBRA_BOOT_HOST_KEY_H
#define UMBRA_BOOT_HOST_KEY_H

#include <stdbool.h>

/*
 * IA32_VMX_BASIC[48] (SDM vol. 3, "Basic VMX Information"): VMXON, VMCS and all they point to have
 * to lie below 4 GiB, and have no KeyID bits. Processors with 64-bit mode should never say so.
 */
bool host_key_vmx_is_32_bit(void);

/*
 * Takes a KeyID with a random key, and moves the hypervisor's memory under it. What keeps it from
 * that is logged, and the hypervisor stays at KeyID 0. BSP, once, after keyslot_init and before
 * VMX; interrupts off.
 */
void host_key_start(void);

#endif
