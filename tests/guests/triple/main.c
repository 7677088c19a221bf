/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fault during the delivery of #DF is a shutdown ("triple fault"). It ends this VM with that
 * reason. The machine and other VMs go on. The line below is the last output of this guest.
 */
#include "tests/guests/common/guest.h"

void guest_main(void)
{
	print("now without an IDT\n");
	load_idt(idt, 0);
	__asm__ volatile("ud2");
	fail("went on after a triple fault");
}
