/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad guest: a hardware task switch, which always exits (SDM vol. 3, "Instructions That Cause VM
 * Exits Unconditionally": task switches), and which Umbra does not support. Only 32-bit code can do
 * it. It ends this VM with that reason, and nothing else. The line below is the last output of this
 * guest.
 */
#include "tests/guests/common/guest.h"

void switch_task(void); /* in switch.asm */

void guest_main(void)
{
	print("now a task switch\n");
	switch_task();
	fail("went on behind a task switch");
}
