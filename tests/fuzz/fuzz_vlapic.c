/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random register accesses, messages and time on a VM of four vCPUs. Whatever a guest does, the
 * APICs stay consistent: no vector below 16 is pending, a deliverable vector is above the priority,
 * read-only bits do not change, and mode and IA32_APIC_BASE agree.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "guest/dev/vioapic.h"
#include "guest/dev/vlapic_priv.h"
#include "tests/unit/fake_vcpu.h"
#include "vmm/base/x86.h"

#define VCPUS 4

static struct vm *vm;

void vioapic_eoi(struct vm *of, uint8_t vector)
{
	if (of != vm || vector < 16) {
		abort();
	}
}

static void require(bool cond)
{
	if (!cond) {
		abort();
	}
}

static void check(struct vcpu *vcpu)
{
	struct vlapic *v = vcpu->platform;
	int pending = vlapic_irq_pending(vcpu);
	uint64_t base;

	require(pending == -1 || (pending >= 16 && (uint32_t)pending >> 4 > vlapic_ppr(v) >> 4));
	require((reg_get(v, APIC_IRR) & 0xffff) == 0 && (reg_get(v, APIC_ISR) & 0xffff) == 0);
	require(reg_get(v, APIC_VERSION) == 0x50014);
	require((reg_get(v, APIC_LVT_TIMER) & ~0x700ffu) == 0);
	require((reg_get(v, APIC_LVT_LINT0) & ~0x1a7ffu) == 0);
	require((reg_get(v, APIC_DFR) & 0x0fffffff) == 0x0fffffff || v->mode.only == VCPU_APIC_X2);
	require(v->enabled.only == ((reg_get(v, APIC_SVR) & SVR_ENABLE) != 0));
	require(v->enabled.only || (reg_get(v, APIC_LVT_TIMER) & LVT_MASKED) != 0);
	require(vlapic_msr_read(vcpu, MSR_IA32_APIC_BASE, &base) == 0);
	require((base & ~(APIC_BASE_BSP | APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == VLAPIC_BASE);
	require(((base & APIC_BASE_ENABLE) != 0) == (v->mode.only != VCPU_APIC_OFF));
	require(((base & APIC_BASE_X2APIC) != 0) == (v->mode.only == VCPU_APIC_X2));
	require(reg_get(v, APIC_ID) == (v->mode.only == VCPU_APIC_X2 ? vcpu->id : vcpu->id << 24));
	require(fake_vcpus[vcpu->id].apic_mode == v->mode.only);
	require(v->deadline > fake_tsc); /* an expired deadline has fired */
	require(v->period == 0 || v->timer_mode == LVT_TIMER_PERIODIC);
}

/* One step of 12 bytes: kind, vCPU, register, value. */
struct __attribute__((packed)) input {
	uint8_t what;
	uint8_t cpu;
	uint16_t where;
	uint64_t value;
};

static void send(const struct input *in)
{
	struct vlapic_msg msg = {
		.dest = (uint32_t)in->value,
		.wide = (in->where & 1) != 0,
		.logical = (in->where & 2) != 0,
		.level = (in->where & 4) != 0,
		.mode = in->where >> 3 & 7,
		.vector = (uint8_t)(in->where >> 8),
	};

	(void)vlapic_deliver(vm, &msg);
}

static void access_page(struct vcpu *vcpu, const struct input *in, bool write)
{
	struct io_access access = {
		.offset = in->where & 0xfff,
		.size = write ? 4 : 1u << (in->cpu >> 4 & 3),
		.write = write,
		.value = (uint32_t)in->value,
	};

	vlapic_apic_access(vcpu, &access);
	require(write || access.size == 8 || access.value >> 8 * access.size == 0);
}

/* As APIC virtualisation does it: the value is stored first, then reported. */
static void trap_like(struct vcpu *vcpu, const struct input *in)
{
	static const uint16_t virtualised[] = {
		APIC_ID,
		APIC_LDR,
		APIC_DFR,
		APIC_SVR,
		APIC_ESR,
		APIC_ICR_LOW,
		APIC_LVT_TIMER,
		APIC_LVT_PERF,
		APIC_LVT_LINT0,
		APIC_LVT_LINT1,
		APIC_LVT_ERROR,
		APIC_DIVIDE,
		APIC_INITIAL_COUNT,
		APIC_ICR_HIGH,
		APIC_LVT_THERMAL,
	};
	uint16_t offset = virtualised[in->where % ARRAY_COUNT(virtualised)];
	struct vlapic *v = vcpu->platform;

	if (v->mode.only == VCPU_APIC_X) {
		reg_set(v, offset, (uint32_t)in->value);
		vlapic_apic_written(vcpu, offset);
	}
}

static void step(const struct input *in)
{
	struct vcpu *vcpu = vm->vcpus[in->cpu % VCPUS];
	uint64_t value;
	int vector;

	switch (in->what % 11) {
	case 0: access_page(vcpu, in, true); break;
	case 1: access_page(vcpu, in, false); break;
	case 2: (void)vlapic_msr_write(vcpu, 0x800 + in->where % 0x110, in->value); break;
	case 3: (void)vlapic_msr_read(vcpu, 0x800 + in->where % 0x110, &value); break;
	case 4: (void)vlapic_msr_write(vcpu, MSR_IA32_APIC_BASE, in->value); break;
	case 5: (void)vlapic_msr_write(vcpu, MSR_IA32_TSC_DEADLINE, in->value); break;
	case 6: send(in); break;
	case 7:
		fake_tsc += in->value & 0xffffffffffff;
		if ((in->where & 1) != 0) { /* the VM was paused in between */
			vlapic_skip_time(vcpu, in->value & 0xffffffffffff);
		}
		break;
	case 8: vlapic_cr8_write(vcpu, (uint8_t)in->value); break;
	case 9:
		vector = vlapic_irq_pending(vcpu);
		if (vector >= 0) {
			vlapic_irq_accepted(vcpu, (uint8_t)vector);
			require(vlapic_irq_pending(vcpu) != vector);
		} else {
			vlapic_eoi_highest(vcpu);
		}
		break;
	case 10: trap_like(vcpu, in); break;
	}
	for (uint32_t i = 0; i < VCPUS; i++) {
		(void)vlapic_next_deadline(vm->vcpus[i]);
		check(vm->vcpus[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in;

	fake_reset();
	vm = fake_vm_make(VCPUS);
	fake_virtual_delivery = bytes > 0 && (data[0] & 0x80) != 0;
	for (uint32_t i = 0; i < VCPUS; i++) {
		require(vlapic_create(vm->vcpus[i]) == 0);
	}
	for (; bytes >= sizeof(in); data += sizeof(in), bytes -= sizeof(in)) {
		memcpy(&in, data, sizeof(in));
		step(&in);
	}
	for (uint32_t i = 0; i < VCPUS; i++) {
		vlapic_destroy(vm->vcpus[i]);
	}
	return 0;
}
