/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of guest/dev/vlapic*.c as tables of steps: accesses of guests, interrupts, and expected
 * results. Each test program that includes this has one VM, `vm`.
 */
#ifndef UMBRA_VLAPIC_STEPS_H
#define UMBRA_VLAPIC_STEPS_H

#include <stdlib.h>

#include "tests/unit/test.h"
#include "guest/dev/vioapic.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/fake_vcpu.h"
#include "vmm/base/err.h"

static struct vm *vm;
static unsigned ioapic_eois[256];

void vioapic_eoi(struct vm *of, uint8_t vector)
{
	assert_ptr_equal(of, vm);
	ioapic_eois[vector]++;
}

static void make_apics(uint32_t count)
{
	vm = fake_vm_make(count);
	memset(ioapic_eois, 0, sizeof(ioapic_eois));
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(vlapic_create(vm->vcpus[i]), 0);
	}
}

enum op {
	END,
	W,	  /* write register a of the APIC page: b */
	R,	  /* read register a of the APIC page: b is expected */
	WRMSR,	  /* write MSR a: b */
	WRMSR_GP, /* as WRMSR, but it must fault */
	RDMSR,	  /* read MSR a: b is expected */
	RDMSR_GP, /* as RDMSR, but it must fault */
	PENDING,  /* deliverable vector is a; -1: none */
	TAKE,	  /* a is deliverable, and is delivered */
	EOI,	  /* end of interrupt */
	IRQ,	  /* a message from a device to APIC ID `cpu`: vector a, level-triggered if b */
	CR8,	  /* sets the task priority to a, through CR8 */
	TIME,	  /* a TSC ticks pass */
	NEXT,	  /* the next deadline is a TSC ticks away; -1: never */
	KICKS,	  /* so many kicks so far */
	NMIS,
	INITS,
	SIPIS,	/* and the last one had vector b */
	IOAPIC, /* EOIs for vector a at the IOAPIC so far: b */
};

struct step {
	enum op op;
	uint32_t cpu;
	uint64_t a, b;
};

#define NONE (-1ul)

static const char *running;
static unsigned step_number;

static void expect(uint64_t got, uint64_t want)
{
	if (got != want) {
		fail_msg("%s, step %u: %#lx, not %#lx", running, step_number, got, want);
	}
}

#define BASE_MSR     0x1b
#define DEADLINE_MSR 0x6e0
#define X2(offset)   (0x800 + (offset) / 16)

#define BASE_OFF 0xfee00000ul
#define BASE_X	 0xfee00800ul
#define BASE_X2	 0xfee00c00ul
#define BSP	 0x100ul

static void mmio(struct vcpu *vcpu, const struct step *step, bool write)
{
	struct io_access access = { .offset = step->a, .size = 4, .write = write };

	access.value = write ? step->b : 0xdddddddd;
	vlapic_apic_access(vcpu, &access);
	if (!write) {
		expect(access.value, step->b);
	}
}

static void msr(struct vcpu *vcpu, const struct step *step)
{
	uint64_t value = 0;
	int err = step->op == WRMSR || step->op == WRMSR_GP
			  ? vlapic_msr_write(vcpu, (uint32_t)step->a, step->b)
			  : vlapic_msr_read(vcpu, (uint32_t)step->a, &value);

	expect(err != 0, step->op == WRMSR_GP || step->op == RDMSR_GP);
	if (step->op == RDMSR) {
		expect(value, step->b);
	}
}

static void irq(const struct step *step)
{
	struct vlapic_msg msg = {
		.dest = step->cpu,
		.vector = (uint8_t)step->a,
		.level = step->b != 0,
	};

	expect(vlapic_deliver(vm, &msg), true);
}

static void look(struct vcpu *vcpu, const struct step *step)
{
	const struct fake_vcpu_notes *notes = &fake_vcpus[step->cpu];
	uint64_t next;

	switch (step->op) {
	case NEXT:
		next = vlapic_next_deadline(vcpu);
		expect(next == NONE ? NONE : next - fake_tsc, step->a);
		break;
	case KICKS: expect(notes->kicks, step->a); break;
	case NMIS: expect(notes->nmis, step->a); break;
	case INITS: expect(notes->inits, step->a); break;
	case SIPIS:
		expect(notes->sipis, step->a);
		expect(notes->sipi_vector, step->b);
		break;
	case IOAPIC: expect(ioapic_eois[step->a], step->b); break;
	default: abort();
	}
}

static void run(const char *name, const struct step *steps)
{
	running = name;
	for (step_number = 1; steps->op != END; steps++, step_number++) {
		struct vcpu *vcpu = vm->vcpus[steps->cpu];

		switch (steps->op) {
		case W:
		case R: mmio(vcpu, steps, steps->op == W); break;
		case WRMSR:
		case WRMSR_GP:
		case RDMSR:
		case RDMSR_GP: msr(vcpu, steps); break;
		case PENDING:
		case TAKE:
			expect((uint64_t)(int64_t)vlapic_irq_pending(vcpu), steps->a);
			if (steps->op == TAKE) {
				vlapic_irq_accepted(vcpu, (uint8_t)steps->a);
			}
			break;
		case EOI: vlapic_eoi_highest(vcpu); break;
		case IRQ: irq(steps); break;
		case CR8:
			vlapic_cr8_write(vcpu, (uint8_t)steps->a);
			expect(vlapic_cr8_read(vcpu), steps->a & 0xf);
			break;
		case TIME: fake_tsc += steps->a; break;
		default: look(vcpu, steps);
		}
	}
}

#define ENABLE(cpu)                 \
	{                           \
		W, cpu, 0xf0, 0x1ff \
	}

#endif
