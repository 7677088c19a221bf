/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/cmdline.h"

#include "vmm/base/str.h"
#include "vmm/console/log.h"

/*
 * With each of these words the kernel takes its interrupts from the 8259, which delivers none in
 * our VMs. The kernel boots, but drivers that need an interrupt wait for ever; the serial console
 * is the first to notice.
 */
static const char *const without_apic[] = {
	"acpi=off", "acpi=noirq", "pci=noacpi", "noapic", "nolapic", "disableapic",
};

static bool is_word(const char *text, size_t length, const char *word)
{
	return length == strlen(word) && memcmp(text, word, length) == 0;
}

void cmdline_warn(const char *vm, const char *cmdline)
{
	while (*cmdline != '\0') {
		size_t length = 0;

		while (cmdline[length] != '\0' && !str_is_space(cmdline[length])) {
			length++;
		}
		if (is_word(cmdline, length, "--")) {
			return; /* the rest is for init */
		}
		for (size_t i = 0; i < ARRAY_COUNT(without_apic); i++) {
			if (is_word(cmdline, length, without_apic[i])) {
				log_warn(
					"vm %s: its command line has \"%s\"; without the I/O APIC "
					"no "
					"device interrupt reaches the guest, and its console falls "
					"silent once user programs write",
					vm, without_apic[i]);
			}
		}
		cmdline += length + (cmdline[length] != '\0' ? 1 : 0);
	}
}
