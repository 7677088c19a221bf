/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/dev/vioapic.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/fake_vm.h"

#define WEAK __attribute__((weak))

unsigned fake_pin_rises, fake_messages;

WEAK void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
	fake_pin_rises += high;
}

WEAK bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	fake_messages++;
	return true;
}
