/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HLT with interrupts off on the only vCPU: nothing can ever wake it. The VM is ended with that
 * reason instead of sleeping for ever.
 */
#include "tests/guests/common/guest.h"

void guest_main(void)
{
	print("halting with interrupts off\n");
	__asm__ volatile("cli; hlt");
	fail("woke up");
}
