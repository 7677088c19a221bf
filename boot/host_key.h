/* SPDX-License-Identifier: Apache-2.0 */
/* The hypervisor's own KeyID. */
#ifndef UMBRA_BOOT_HOST_KEY_H
#define UMBRA_BOOT_HOST_KEY_H

#include <stdbool.h>

/*
 * IA32_VMX_BASIC[48] (SDM vol. 3, "Basic VMX Information"): VMXON, VMCS and all structures that
 * they point to must lie below 4 GiB and have no KeyID bits. The SDM says that processors with
 * 64-bit mode always have this bit clear.
 */
bool host_key_vmx_is_32_bit(void);

/*
 * Takes a KeyID with a random key and moves the hypervisor's memory to it. On failure logs the
 * reason, and the hypervisor stays at KeyID 0. Boot processor, once, after keyslot_init and before
 * VMX; interrupts off.
 */
void host_key_start(void);

#endif
