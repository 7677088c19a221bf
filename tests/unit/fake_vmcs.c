/* SPDX-License-Identifier: Apache-2.0 */
/* The current VMCS as an array of its fields, and VMX instructions that only succeed. */
#include <string.h>

#include "tests/unit/fake_base.h"
#include "vmm/vmx_insn.h"

#define FIELD_COUNT 0x8000

static uint64_t fields[FIELD_COUNT];

uint64_t fake_vmread(uint32_t field)
{
	return field < FIELD_COUNT ? fields[field] : 0;
}

void fake_vmwrite(uint32_t field, uint64_t value)
{
	if (field >= FIELD_COUNT) {
		fake_fail("VMWRITE of field %#x", field);
	}
	fields[field] = value;
}

void fake_vmclear(hpa_t vmcs)
{
}

void fake_vmptrld(hpa_t vmcs)
{
}

bool fake_vmxon(hpa_t region)
{
	return true;
}

void fake_vmxoff(void)
{
}

unsigned fake_invvpids;

void fake_invvpid_single(uint16_t vpid)
{
	fake_invvpids++;
}

unsigned fake_interrupt_windows;

void fake_interrupt_window(void)
{
	fake_interrupt_windows++;
}
