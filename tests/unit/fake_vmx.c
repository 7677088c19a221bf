/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_vm.h"
#include "vmm/vmx_bits.h"

#define WEAK __attribute__((weak))

struct vmx_caps fake_caps;
struct ept_caps fake_ept_caps;

WEAK const struct vmx_caps *vmx_caps(void)
{
	return &fake_caps;
}

WEAK const struct ept_caps *ept_caps(void)
{
	return &fake_ept_caps;
}

WEAK bool vmx_has_rdtscp(void)
{
	return (fake_caps.cpu2 & CPU2_ENABLE_RDTSCP) != 0;
}

WEAK bool vmx_has_spec_ctrl(void)
{
	return fake_caps.spec_ctrl;
}
