/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A write of 06h to port CF9h resets the machine: the VM ends and is built again from its files,
 * with memory that holds nothing of the life before. A VM that resets itself again and again is
 * stopped, with a message.
 */
#include "tests/guests/common/guest.h"

void guest_main(void)
{
	uint64_t *page = fresh_page();

	check_equal(*page, 0);
	*page = 0x5ec2e7;
	print("resetting\n");
	out8(PORT_RESET, RESET_VALUE);
	for (;;) {
		__asm__ volatile("pause");
	}
}
