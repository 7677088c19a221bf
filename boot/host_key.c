/* SPDX-License-Identifier: Apache-2.0 */
/* Gives Umbra's own memory its own KeyID, or logs why not. */
#include "boot/host_key.h"

#include "crypto/keyslot.h"
#include "crypto/tme.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/keyid_move.h"
#include "vmm/vmx_bits.h"

bool host_key_vmx_is_32_bit(void)
{
	return (cpu_cpuid(1, 0).ecx & CPUID_1_ECX_VMX) != 0 &&
	       (cpu_rdmsr(MSR_IA32_VMX_BASIC) & VMX_BASIC_32_BIT) != 0;
}

static void stay_at_0(const char *why)
{
	log_warn("Umbra's own memory stays under KeyID 0, %s: %s",
		 tme_state()->bypass ? "in clear" : "the key of the whole machine", why);
}

void host_key_start(void)
{
	keyid_t keyid;
	int err;

	if (host_key_vmx_is_32_bit()) {
		stay_at_0(
			"this CPU takes VMX structures below 4 GiB alone (IA32_VMX_BASIC bit 48)");
		return;
	}
	err = keyslot_take(KEYSLOT_RANDOM, NULL, 0, "Umbra", &keyid);
	if (err != 0) {
		stay_at_0(err_name(err));
		return;
	}
	keyslot_use(keyid);
	keyid_move_host(keyid);
	log_info("Umbra's own memory is under KeyID %u, with a random key of its own", keyid);
}
