/* SPDX-License-Identifier: Apache-2.0 */
/* No bootstrap memory: the CPU stays where it is at the end of the machine. */
#include "tests/unit/fake_base.h"
#include "vmm/host/bootstrap.h"

void (*fake_at_end)(void);

void bootstrap_at_end(void (*quit)(void))
{
	fake_at_end = quit;
}

_Noreturn void bootstrap_leave(void (*next)(void))
{
	next();
	fake_fail("the end of the machine returned");
}

bool bootstrap_has_left(void)
{
	return false;
}

__attribute__((weak)) _Noreturn void bootstrap_stop_this_cpu(void)
{
	fake_fail("a CPU stops for good");
}
