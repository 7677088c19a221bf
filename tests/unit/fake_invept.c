/* SPDX-License-Identifier: Apache-2.0 */
/* INVEPT for tests that are not about it: succeeds. A test of ept_tlb.c defines its own. */
#include "vmm/base/types.h"

bool fake_invept(uint64_t type, uint64_t eptp);

__attribute__((weak)) bool fake_invept(uint64_t type, uint64_t eptp)
{
	return true;
}
