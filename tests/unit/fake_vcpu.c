/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_vcpu.h"

#include <string.h>

#include "tests/unit/fake_base.h"

#define WEAK __attribute__((weak))

struct fake_vcpu_notes fake_vcpus[FAKE_VCPU_MAX];
bool fake_virtual_delivery;
uint64_t fake_tsc_offset;

static struct vm the_vm;
static struct vcpu vcpus[FAKE_VCPU_MAX];
static uint8_t apic_pages[FAKE_VCPU_MAX][PAGE_SIZE] __attribute__((aligned(4096)));

struct vm *fake_vm_make(uint32_t vcpu_count)
{
	memset(&the_vm, 0, sizeof(the_vm));
	memset(vcpus, 0, sizeof(vcpus));
	memset(apic_pages, 0x5a, sizeof(apic_pages));
	memset(fake_vcpus, 0, sizeof(fake_vcpus));
	fake_virtual_delivery = false;
	fake_tsc_offset = 0;
	if (vcpu_count > FAKE_VCPU_MAX) {
		fake_fail("at most %d vCPUs", FAKE_VCPU_MAX);
	}
	the_vm.vcpu_count = vcpu_count;
	for (uint32_t i = 0; i < vcpu_count; i++) {
		vcpus[i].vm = &the_vm;
		vcpus[i].id = i;
		vcpus[i].apic_page = apic_pages[i];
		the_vm.vcpus[i] = &vcpus[i];
	}
	return &the_vm;
}

WEAK void vcpu_kick(struct vcpu *vcpu)
{
	fake_vcpus[vcpu->id].kicks++;
}

WEAK void vcpu_add_work(struct vcpu *vcpu)
{
	fake_vcpus[vcpu->id].works++;
}

WEAK void vm_set_clock(struct vm *vm, uint64_t deadline)
{
	vm->clock_deadline.only = MIN(vm->clock_deadline.only, deadline);
}

WEAK void vm_forget_clock(struct vm *vm)
{
	vm->clock_deadline.only = UINT64_MAX;
}

WEAK void vcpu_nmi(struct vcpu *vcpu)
{
	fake_vcpus[vcpu->id].nmis++;
}

WEAK void vcpu_init_signal(struct vcpu *vcpu)
{
	fake_vcpus[vcpu->id].inits++;
}

WEAK void vcpu_sipi(struct vcpu *vcpu, uint8_t vector)
{
	fake_vcpus[vcpu->id].sipis++;
	fake_vcpus[vcpu->id].sipi_vector = vector;
}

WEAK void vcpu_set_eoi_exit_bitmap(struct vcpu *vcpu, const uint64_t bitmap[4])
{
	memcpy(fake_vcpus[vcpu->id].eoi_exits, bitmap, 4 * sizeof(bitmap[0]));
}

WEAK void vcpu_set_apic_mode(struct vcpu *vcpu, enum vcpu_apic_mode mode)
{
	fake_vcpus[vcpu->id].apic_mode = mode;
}

WEAK bool vcpu_has_virtual_delivery(const struct vcpu *vcpu)
{
	return fake_virtual_delivery;
}

WEAK void vcpu_set_svi(struct vcpu *vcpu, uint8_t vector)
{
	fake_vcpus[vcpu->id].svi = vector;
}

WEAK uint64_t vcpu_guest_tsc(const struct vcpu *vcpu, uint64_t host_tsc)
{
	return host_tsc + fake_tsc_offset;
}

WEAK void vcpu_forget_code(struct vcpu *vcpu)
{
}
