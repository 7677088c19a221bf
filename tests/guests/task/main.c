/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad guest: a hardware task switch, which exits whatever the hypervisor wants (SDM vol. 3,
 * "Instructions That Cause VM Exits Unconditionally": task switches), and for which Umbra has no
 * policy. Only 32-bit code can do it. That ends this VM, by name, and nothing else. The line below
 * is the last that this guest can say.
 */
#include "tests/guests/common/guest.h"

void switch_task(void); /* switch.asm */

void guest_main(void)
{
	print("now a task switch\n");
	switch_task();
	fail("went on behind a task switch");
}
