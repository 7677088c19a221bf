/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no guest does that works: it runs code, or keeps page tables or an interrupt stack, where
 * there is no memory. On a bus that reads as ones, which leads nowhere; Umbra ends the VM and says
 * why. Command line: code, tables or stack.
 */
#include "tests/guests/common/guest.h"

#define NOWHERE 0xd0000000u /* below 4 GiB, and neither RAM nor a device */
#define DEVICE	0xfec00000u /* the I/O APIC */

void guest_main(void)
{
	if (arg("code")) {
		print("now to %x\n", NOWHERE);
		((void (*)(void))(uintptr_t)NOWHERE)();
	} else if (arg("tables")) {
		print("now with tables at %x\n", NOWHERE);
		__asm__ volatile("movq %0, %%cr3" : : "r"((uint64_t)NOWHERE) : "memory");
	} else if (arg("stack")) {
		print("now with a stack at %x\n", DEVICE);
		__asm__ volatile("movq %0, %%rsp\n\tint3"
				 :
				 : "r"((uint64_t)DEVICE + 0x800)
				 : "memory");
	}
	error("code, tables or stack");
}
