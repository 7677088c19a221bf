/* SPDX-License-Identifier: Apache-2.0 */
/* CPUs that are all alike; their differences are not reported. */
#include "vmm/alike.h"

void alike_trim(uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
}

const struct flaw_facts *alike_flaws(void)
{
	static const struct flaw_facts nothing;

	return &nothing;
}
