/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/base/tsc.h on the clock of fake_cpus.c: it stands still, and waiting advances it. */
#include "tests/unit/fake_base.h"
#include "vmm/base/tsc.h"

int tsc_init(uint16_t pm_timer_port)
{
	return 0;
}

uint64_t tsc_hz(void)
{
	return fake_tsc_hz;
}

const char *tsc_source(void)
{
	return "the test";
}

uint64_t tsc_from_us(uint64_t us)
{
	return us * (fake_tsc_hz / 1000000);
}

void tsc_wait_us(uint64_t us)
{
	fake_tsc += tsc_from_us(us);
}
