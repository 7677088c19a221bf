/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fault during the delivery of #DF is a shutdown ("triple fault"): it ends this VM with that
 * reason, and neither the machine nor another VM. The line below is the last output of this guest.
 */
#include "tests/guests/common/guest.h"

void guest_main(void)
{
	print("now without an IDT\n");
	load_idt(idt, 0);
	__asm__ volatile("ud2");
	fail("went on behind a triple fault");
}
