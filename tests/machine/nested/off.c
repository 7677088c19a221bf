/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switches the emulated machine off: sleep type 0 and the enable bit in the PIIX4's PM1 control
 * register, where OVMF puts it. Linux cannot do it there, because the firmware has no ACPI tables.
 */

#include <stdio.h>
#include <sys/io.h>

#define PM1_CONTROL     0xb004
#define PM1_SLEEP_START 0x2000

int main(void)
{
	if (iopl(3) != 0) {
		perror("machine-off");
		return 1;
	}
	outw(PM1_SLEEP_START, PM1_CONTROL);
	return 1;
}
