/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/dev/vlapic*.c, as tables of steps: accesses of guests, interrupts, and what has to be seen.
 * The rules are those of the SDM's chapter on the APIC.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/dev/vioapic.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/fake_base.h"
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

static int teardown(void **state)
{
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vlapic_destroy(vm->vcpus[i]);
	}
	return fake_teardown(state);
}

enum op {
	END,
	W,	  /* write register a of the APIC page: b */
	R,	  /* read register a: b is expected */
	WRMSR,	  /* write MSR a: b */
	WRMSR_GP, /* the same faults */
	RDMSR,	  /* read MSR a: b is expected */
	RDMSR_GP, /* the same faults */
	PENDING,  /* deliverable vector is a; -1: none */
	TAKE,	  /* a is deliverable, and is delivered */
	EOI,	  /* end of interrupt */
	IRQ,	  /* a message from a device to APIC ID `cpu`: vector a, level-triggered if b */
	CR8,	  /* task priority is a by CR8 */
	TIME,	  /* a TSC ticks pass */
	NEXT,	  /* the next deadline is a TSC ticks away; -1: never */
	KICKS,	  /* so many kicks up to now */
	NMIS,
	INITS,
	SIPIS,	/* and the last one with vector b */
	IOAPIC, /* EOIs for vector a at the IOAPIC up to now: b */
};

struct step {
	enum op op;
	uint32_t cpu;
	uint64_t a, b;
};

#define NONE (-1ull)

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

#define BASE_OFF 0xfee00000ull
#define BASE_X	 0xfee00800ull
#define BASE_X2	 0xfee00c00ull
#define BSP	 0x100ull

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

struct scenario {
	const char *name;
	const struct step *steps;
	uint32_t vcpu_count;
};

#define STEPS(...)                   \
	(const struct step[])        \
	{                            \
		__VA_ARGS__,         \
		{                    \
			END, 0, 0, 0 \
		}                    \
	}
#define ENABLE(cpu)                 \
	{                           \
		W, cpu, 0xf0, 0x1ff \
	}

static const struct scenario scenarios[] = {
	{ "power-up",
	  STEPS({ R, 0, 0x20, 0 }, { R, 1, 0x20, 0x01000000 }, { R, 0, 0x30, 0x50014 },
		{ R, 0, 0x80, 0 }, { R, 0, 0xa0, 0 }, { R, 0, 0xd0, 0 }, { R, 0, 0xe0, 0xffffffff },
		{ R, 0, 0xf0, 0xff }, { R, 0, 0x320, 0x10000 }, { R, 0, 0x330, 0x10000 },
		{ R, 0, 0x340, 0x10000 }, { R, 0, 0x350, 0x10000 }, { R, 0, 0x360, 0x10000 },
		{ R, 0, 0x370, 0x10000 }, { R, 0, 0x380, 0 }, { R, 0, 0x390, 0 },
		{ R, 0, 0x3e0, 0 }, { R, 0, 0x100, 0 }, { R, 0, 0x1f0, 0 }, { R, 0, 0x270, 0 },
		{ R, 0, 0x280, 0 }, { RDMSR, 0, BASE_MSR, BASE_X | BSP },
		{ RDMSR, 1, BASE_MSR, BASE_X }, { RDMSR, 0, DEADLINE_MSR, 0 }, { NEXT, 0, NONE, 0 },
		{ PENDING, 0, NONE, 0 }, { RDMSR_GP, 0, 0x1c, 0 }, { WRMSR_GP, 0, 0x1c, 0 }),
	  2 },
	{ "what can be written, while enabled",
	  STEPS(ENABLE(0), { W, 0, 0x20, 0x05000000 }, { R, 0, 0x20, 0 }, { W, 0, 0x30, 0 },
		{ R, 0, 0x30, 0x50014 }, { W, 0, 0x80, 0xffffff35 }, { R, 0, 0x80, 0x35 },
		{ R, 0, 0xa0, 0x35 }, { W, 0, 0xd0, 0xffffffff }, { R, 0, 0xd0, 0xff000000 },
		{ W, 0, 0xe0, 0 }, { R, 0, 0xe0, 0x0fffffff }, { W, 0, 0xf0, 0xffffffff },
		{ R, 0, 0xf0, 0x3ff }, { W, 0, 0x100, 1 }, { R, 0, 0x100, 0 },
		{ W, 0, 0x200, 0xffffffff }, { R, 0, 0x200, 0 }, { PENDING, 0, NONE, 0 },
		{ W, 0, 0x310, 0xffffffff }, { R, 0, 0x310, 0xff000000 },
		{ W, 0, 0x320, 0xffffffff }, { R, 0, 0x320, 0x700ff }, { W, 0, 0x330, 0xffffffff },
		{ R, 0, 0x330, 0x107ff }, { W, 0, 0x350, 0xffffffff }, { R, 0, 0x350, 0x1a7ff },
		{ W, 0, 0x360, 0x0400 }, { R, 0, 0x360, 0x0400 }, { W, 0, 0x370, 0xffffffff },
		{ R, 0, 0x370, 0x100ff }, { W, 0, 0x390, 5 }, { R, 0, 0x390, 0 },
		{ W, 0, 0x3e0, 0xffffffff }, { R, 0, 0x3e0, 0xb }),
	  1 },
	{ "software disable masks every LVT",
	  STEPS({ W, 0, 0x320, 0x30 }, { R, 0, 0x320, 0x10030 }, ENABLE(0), { W, 0, 0x320, 0x30 },
		{ R, 0, 0x320, 0x30 }, { W, 0, 0x350, 0x700 }, { W, 0, 0xf0, 0xff },
		{ R, 0, 0x320, 0x10030 }, { R, 0, 0x350, 0x10700 }, { W, 0, 0x350, 0x700 },
		{ R, 0, 0x350, 0x10700 }, ENABLE(0), { R, 0, 0x350, 0x10700 }),
	  1 },
	{ "priority",
	  STEPS(ENABLE(0), { IRQ, 0, 0x41, 0 }, { IRQ, 0, 0x42, 0 }, { IRQ, 0, 0x61, 0 },
		{ R, 0, 0x220, 6 }, { R, 0, 0x230, 2 }, { CR8, 0, 6, 0 }, { PENDING, 0, NONE, 0 },
		{ CR8, 0, 5, 0 }, { PENDING, 0, 0x61, 0 }, { CR8, 0, 0, 0 }, { TAKE, 0, 0x61, 0 },
		{ R, 0, 0x130, 2 }, { R, 0, 0x230, 0 }, { R, 0, 0xa0, 0x60 },
		{ PENDING, 0, NONE, 0 }, { IRQ, 0, 0x6f, 0 }, { PENDING, 0, NONE, 0 },
		{ IRQ, 0, 0x70, 0 }, { TAKE, 0, 0x70, 0 }, { R, 0, 0xa0, 0x70 },
		{ W, 0, 0x80, 0x7c }, { R, 0, 0xa0, 0x7c }, { W, 0, 0x80, 0x6f },
		{ R, 0, 0xa0, 0x70 }, { W, 0, 0x80, 0 }, { EOI, 0, 0, 0 }, { R, 0, 0xa0, 0x60 },
		{ PENDING, 0, NONE, 0 }, { W, 0, 0xb0, 0 }, { R, 0, 0xa0, 0 }, { TAKE, 0, 0x6f, 0 },
		{ EOI, 0, 0, 0 }, { TAKE, 0, 0x42, 0 }, { EOI, 0, 0, 0 }, { TAKE, 0, 0x41, 0 },
		{ EOI, 0, 0, 0 }, { PENDING, 0, NONE, 0 }, { EOI, 0, 0, 0 }, { R, 0, 0x120, 0 }),
	  1 },
	{ "the same vector once in service, once more pending",
	  STEPS(ENABLE(0), { IRQ, 0, 0x31, 0 }, { IRQ, 0, 0x31, 0 }, { TAKE, 0, 0x31, 0 },
		{ IRQ, 0, 0x31, 0 }, { PENDING, 0, NONE, 0 }, { EOI, 0, 0, 0 },
		{ TAKE, 0, 0x31, 0 }, { EOI, 0, 0, 0 }, { PENDING, 0, NONE, 0 }),
	  1 },
	{ "level: EOI comes back to the IOAPIC",
	  STEPS(ENABLE(0), { IRQ, 0, 0x51, 1 }, { IRQ, 0, 0x52, 0 }, { TAKE, 0, 0x52, 0 },
		{ R, 0, 0x1a0, 0x20000 }, { EOI, 0, 0, 0 }, { IOAPIC, 0, 0x52, 0 },
		{ TAKE, 0, 0x51, 0 }, { IOAPIC, 0, 0x51, 0 }, { EOI, 0, 0, 0 },
		{ IOAPIC, 0, 0x51, 1 }, { EOI, 0, 0, 0 }, { IOAPIC, 0, 0x51, 1 },
		/* the same vector as an edge clears TMR */
		{ IRQ, 0, 0x51, 0 }, { TAKE, 0, 0x51, 0 }, { R, 0, 0x1a0, 0 }, { EOI, 0, 0, 0 },
		{ IOAPIC, 0, 0x51, 1 }),
	  1 },
	{ "vectors at the edges",
	  STEPS(ENABLE(0), { IRQ, 0, 255, 0 }, { IRQ, 0, 31, 0 }, { IRQ, 0, 32, 0 },
		{ IRQ, 0, 16, 0 }, { TAKE, 0, 255, 0 }, { EOI, 0, 0, 0 }, { TAKE, 0, 32, 0 },
		{ EOI, 0, 0, 0 }, { TAKE, 0, 31, 0 }, { EOI, 0, 0, 0 }, { TAKE, 0, 16, 0 },
		{ EOI, 0, 0, 0 }, { PENDING, 0, NONE, 0 }),
	  1 },
	{ "illegal vectors and registers",
	  STEPS(ENABLE(0), { W, 0, 0x370, 0xe1 }, { IRQ, 0, 15, 0 }, { TAKE, 0, 0xe1, 0 },
		{ EOI, 0, 0, 0 }, { R, 0, 0x280, 0 }, { W, 0, 0x280, 0 }, { R, 0, 0x280, 0x40 },
		{ W, 0, 0x300, 0x4000f }, { TAKE, 0, 0xe1, 0 }, { EOI, 0, 0, 0 },
		{ R, 0, 0x280, 0x40 }, { W, 0, 0x280, 0 }, { R, 0, 0x280, 0x20 }, { R, 0, 0x40, 0 },
		{ W, 0, 0x3f0, 0x31 }, { W, 0, 0x2f0, 1 }, { R, 0, 0xff0, 0 },
		{ W, 0, 0x280, 0x1234 }, { R, 0, 0x280, 0x80 }, { W, 0, 0x280, 0 },
		{ R, 0, 0x280, 0 }, { TAKE, 0, 0xe1, 0 }, { EOI, 0, 0, 0 }, { PENDING, 0, NONE, 0 },
		/* an error LVT whose own vector is illegal */
		{ W, 0, 0x370, 0x0f }, { IRQ, 0, 3, 0 }, { PENDING, 0, NONE, 0 },
		{ W, 0, 0x280, 0 }, { R, 0, 0x280, 0x40 },
		/* a timer LVT with one */
		{ W, 0, 0x320, 0x01 }, { W, 0, 0x3e0, 0xb }, { W, 0, 0x380, 10 },
		{ TIME, 0, 20, 0 }, { PENDING, 0, NONE, 0 }, { W, 0, 0x280, 0 },
		{ R, 0, 0x280, 0x40 }),
	  1 },
	{ "one-shot timer",
	  STEPS(ENABLE(0), { W, 0, 0x320, 0xec }, { W, 0, 0x3e0, 0x3 }, { R, 0, 0x390, 0 },
		{ W, 0, 0x380, 1000 }, { R, 0, 0x390, 1000 }, { NEXT, 0, 32000, 0 },
		{ TIME, 0, 3200, 0 }, { R, 0, 0x390, 900 }, { TIME, 0, 28799, 0 },
		{ R, 0, 0x390, 0 }, { PENDING, 0, NONE, 0 }, { NEXT, 0, 1, 0 }, { TIME, 0, 1, 0 },
		{ TAKE, 0, 0xec, 0 }, { NEXT, 0, NONE, 0 }, { EOI, 0, 0, 0 }, { TIME, 0, 99999, 0 },
		{ PENDING, 0, NONE, 0 }, { R, 0, 0x380, 1000 }, { R, 0, 0x390, 0 },
		/* stopped by a count of 0 */
		{ W, 0, 0x380, 1000 }, { W, 0, 0x380, 0 }, { NEXT, 0, NONE, 0 },
		{ TIME, 0, 99999, 0 }, { PENDING, 0, NONE, 0 },
		/* masked: it runs and raises nothing */
		{ W, 0, 0x320, 0x100ec }, { W, 0, 0x380, 100 }, { TIME, 0, 99999, 0 },
		{ PENDING, 0, NONE, 0 }, { R, 0, 0x390, 0 }, { NEXT, 0, NONE, 0 }),
	  1 },
	{ "dividers",
	  STEPS(ENABLE(0), { W, 0, 0x3e0, 0x0 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 2, 0 },
		{ W, 0, 0x3e0, 0x1 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 4, 0 },
		{ W, 0, 0x3e0, 0x2 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 8, 0 },
		{ W, 0, 0x3e0, 0x3 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 16, 0 },
		{ W, 0, 0x3e0, 0x8 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 32, 0 },
		{ W, 0, 0x3e0, 0x9 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 64, 0 },
		{ W, 0, 0x3e0, 0xa }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 128, 0 },
		{ W, 0, 0x3e0, 0xb }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 1, 0 },
		/* while it runs: what is left goes on at the new rate */
		{ TIME, 0, 10, 0 }, { R, 0, 0x390, 5 }, { W, 0, 0x3e0, 0x0 }, { R, 0, 0x390, 5 },
		{ NEXT, 0, 20, 0 }, { W, 0, 0x3e0, 0xa }, { W, 0, 0x380, 0xffffffff },
		{ R, 0, 0x390, 0xffffffff }, { NEXT, 0, 0xffffffffull * 256, 0 }),
	  1 },
	{ "periodic timer",
	  STEPS(ENABLE(0), { W, 0, 0x320, 0x200ec }, { W, 0, 0x3e0, 0xb }, { W, 0, 0x380, 100000 },
		{ NEXT, 0, 200000, 0 }, { TIME, 0, 200000, 0 }, { TAKE, 0, 0xec, 0 },
		{ EOI, 0, 0, 0 }, { NEXT, 0, 200000, 0 }, { R, 0, 0x390, 100000 },
		/* periods that were missed are one interrupt, in phase */
		{ TIME, 0, 750000, 0 }, { TAKE, 0, 0xec, 0 }, { EOI, 0, 0, 0 },
		{ NEXT, 0, 50000, 0 }, { PENDING, 0, NONE, 0 }, { R, 0, 0x390, 25000 },
		/* to one-shot: the period under way is the last */
		{ W, 0, 0x320, 0xec }, { TIME, 0, 50000, 0 }, { TAKE, 0, 0xec, 0 },
		{ EOI, 0, 0, 0 }, { NEXT, 0, NONE, 0 },
		/* a period that would leave the guest no time: 10,000 a second at 1 GHz */
		{ W, 0, 0x320, 0x200ec }, { W, 0, 0x380, 1 }, { TIME, 0, 2, 0 },
		{ TAKE, 0, 0xec, 0 }, { NEXT, 0, 100000, 0 }),
	  1 },
	{ "TSC deadline",
	  STEPS(ENABLE(0), { TIME, 0, 1000, 0 }, { WRMSR, 0, DEADLINE_MSR, 5000 },
		{ RDMSR, 0, DEADLINE_MSR, 0 }, { NEXT, 0, NONE, 0 }, /* not in that mode: ignored */
		{ W, 0, 0x320, 0x400ec }, { WRMSR, 0, DEADLINE_MSR, 5000 },
		{ RDMSR, 0, DEADLINE_MSR, 5000 }, { NEXT, 0, 4000, 0 }, { R, 0, 0x390, 0 },
		{ W, 0, 0x380, 77 }, { R, 0, 0x380, 0 }, { NEXT, 0, 4000, 0 }, { TIME, 0, 3999, 0 },
		{ PENDING, 0, NONE, 0 }, { TIME, 0, 1, 0 }, { TAKE, 0, 0xec, 0 },
		{ RDMSR, 0, DEADLINE_MSR, 0 }, { NEXT, 0, NONE, 0 }, { EOI, 0, 0, 0 },
		/* in the past: at once, and once */
		{ WRMSR, 0, DEADLINE_MSR, 1 }, { NEXT, 0, 0, 0 }, { TAKE, 0, 0xec, 0 },
		{ EOI, 0, 0, 0 }, { PENDING, 0, NONE, 0 },
		/* disarmed by 0 */
		{ WRMSR, 0, DEADLINE_MSR, 9000 }, { WRMSR, 0, DEADLINE_MSR, 0 },
		{ NEXT, 0, NONE, 0 }, { TIME, 0, 9999, 0 }, { PENDING, 0, NONE, 0 },
		/* the end of time */
		{ WRMSR, 0, DEADLINE_MSR, -1ull }, { PENDING, 0, NONE, 0 },
		{ RDMSR, 0, DEADLINE_MSR, -1ull },
		/* changing the mode disarms */
		{ WRMSR, 0, DEADLINE_MSR, 99000 }, { W, 0, 0x320, 0xec },
		{ RDMSR, 0, DEADLINE_MSR, 0 }, { NEXT, 0, NONE, 0 }, { W, 0, 0x380, 10 },
		{ W, 0, 0x320, 0x400ec }, { NEXT, 0, NONE, 0 }, { R, 0, 0x380, 0 }),
	  1 },
	{ "IPI: shorthands",
	  STEPS(ENABLE(0), ENABLE(1), ENABLE(2), { W, 0, 0x300, 0x40041 }, { TAKE, 0, 0x41, 0 },
		{ EOI, 0, 0, 0 }, { KICKS, 0, 0, 0 }, { PENDING, 1, NONE, 0 },
		{ W, 0, 0x300, 0x80042 }, { TAKE, 0, 0x42, 0 }, { EOI, 0, 0, 0 },
		{ TAKE, 1, 0x42, 0 }, { EOI, 1, 0, 0 }, { TAKE, 2, 0x42, 0 }, { EOI, 2, 0, 0 },
		{ KICKS, 0, 0, 0 }, { KICKS, 1, 1, 0 }, { KICKS, 2, 1, 0 },
		{ W, 1, 0x300, 0xc0043 }, { PENDING, 1, NONE, 0 }, { TAKE, 0, 0x43, 0 },
		{ TAKE, 2, 0x43, 0 }, { KICKS, 0, 1, 0 },
		/* delivery status reads 0; what was written is kept */
		{ R, 1, 0x300, 0xc0043 }, { W, 1, 0x300, 0xc5043 }, { R, 1, 0x300, 0xc4043 },
		/* self and all with self are for fixed interrupts alone */
		{ W, 0, 0x300, 0x40400 }, { W, 0, 0x300, 0x80400 }, { W, 0, 0x300, 0x80500 },
		{ NMIS, 0, 0, 0 }, { NMIS, 1, 0, 0 }, { INITS, 1, 0, 0 }, { W, 0, 0x300, 0xc0400 },
		{ NMIS, 0, 0, 0 }, { NMIS, 1, 1, 0 }, { NMIS, 2, 1, 0 }),
	  3 },
	{ "IPI: physical",
	  STEPS(ENABLE(0), ENABLE(1), ENABLE(2), { W, 0, 0x310, 0x02000000 }, { W, 0, 0x300, 0x41 },
		{ PENDING, 1, NONE, 0 }, { TAKE, 2, 0x41, 0 }, { EOI, 2, 0, 0 },
		{ W, 2, 0x310, 0x02000000 }, { W, 2, 0x300, 0x42 }, { TAKE, 2, 0x42, 0 },
		{ KICKS, 2, 1, 0 }, { W, 0, 0x310, 0x03000000 }, { W, 0, 0x300, 0x43 }, /* nobody */
		{ W, 0, 0x310, 0xff000000 }, { W, 0, 0x300, 0x51 }, { TAKE, 0, 0x51, 0 },
		{ TAKE, 1, 0x51, 0 }, { TAKE, 2, 0x51, 0 },
		/* an IPI is an edge whatever its trigger mode says */
		{ W, 0, 0x310, 0x01000000 }, { W, 0, 0x300, 0x0c061 }, { TAKE, 1, 0x61, 0 },
		{ R, 1, 0x1b0, 0 }),
	  3 },
	{ "IPI: logical, flat",
	  STEPS(ENABLE(0), ENABLE(1), ENABLE(2), { W, 0, 0xd0, 0x01000000 },
		{ W, 1, 0xd0, 0x02000000 }, { W, 2, 0xd0, 0x84000000 }, { W, 0, 0x310, 0x05000000 },
		{ W, 0, 0x300, 0x841 }, { TAKE, 0, 0x41, 0 }, { PENDING, 1, NONE, 0 },
		{ TAKE, 2, 0x41, 0 }, { W, 0, 0x310, 0x08000000 }, { W, 0, 0x300, 0x851 },
		{ PENDING, 0, NONE, 0 }, { PENDING, 1, NONE, 0 }, { PENDING, 2, NONE, 0 },
		{ W, 0, 0x310, 0xff000000 }, { W, 0, 0x300, 0x861 }, { TAKE, 0, 0x61, 0 },
		{ TAKE, 1, 0x61, 0 }, { TAKE, 2, 0x61, 0 }),
	  3 },
	{ "IPI: logical, cluster",
	  STEPS(ENABLE(0), ENABLE(1), ENABLE(2), { W, 0, 0xe0, 0 }, { W, 1, 0xe0, 0 },
		{ W, 2, 0xe0, 0 }, { W, 0, 0xd0, 0x11000000 }, { W, 1, 0xd0, 0x12000000 },
		{ W, 2, 0xd0, 0x21000000 }, { W, 0, 0x310, 0x13000000 }, { W, 0, 0x300, 0x841 },
		{ TAKE, 0, 0x41, 0 }, { TAKE, 1, 0x41, 0 }, { PENDING, 2, NONE, 0 },
		{ W, 0, 0x310, 0x2f000000 }, { W, 0, 0x300, 0x851 }, { PENDING, 0, NONE, 0 },
		{ PENDING, 1, NONE, 0 }, { TAKE, 2, 0x51, 0 }, { W, 0, 0x310, 0xff000000 },
		{ W, 0, 0x300, 0x861 }, { TAKE, 0, 0x61, 0 }, { TAKE, 1, 0x61, 0 },
		{ TAKE, 2, 0x61, 0 }),
	  3 },
	{ "IPI: lowest priority",
	  STEPS(ENABLE(0), ENABLE(1), { W, 0, 0xd0, 0x01000000 }, { W, 1, 0xd0, 0x02000000 },
		{ W, 2, 0xd0, 0x04000000 }, { W, 0, 0x80, 0x30 }, { W, 1, 0x80, 0x20 },
		/* the third has the lowest task priority, but is disabled */
		{ W, 0, 0x310, 0xff000000 }, { W, 0, 0x300, 0x941 }, { PENDING, 0, NONE, 0 },
		{ TAKE, 1, 0x41, 0 }, { PENDING, 2, NONE, 0 }, { EOI, 1, 0, 0 },
		{ W, 0, 0x310, 0x01000000 }, { W, 0, 0x300, 0x942 }, { TAKE, 0, 0x42, 0 },
		{ PENDING, 1, NONE, 0 }, { EOI, 0, 0, 0 },
		/* to all others: never the sender */
		{ W, 1, 0x300, 0xc0143 }, { TAKE, 0, 0x43, 0 }, { PENDING, 1, NONE, 0 },
		{ W, 0, 0x310, 0x04000000 }, { W, 0, 0x300, 0x942 }, { PENDING, 2, NONE, 0 }),
	  3 },
	{ "INIT and SIPI",
	  STEPS(ENABLE(0), ENABLE(1), { W, 1, 0x80, 0x20 }, { W, 1, 0x320, 0x200ec },
		{ W, 1, 0x380, 1000 }, { IRQ, 1, 0x71, 0 }, { W, 0, 0x310, 0x01000000 },
		{ W, 0, 0x300, 0xc500 }, { INITS, 1, 1, 0 }, { W, 0, 0x300, 0x8500 },
		{ INITS, 1, 1, 0 }, /* de-assert: nothing */
		{ W, 0, 0x300, 0x699 }, { SIPIS, 1, 1, 0x99 },
		/* what was pending is gone, and so is all else but the ID */
		{ PENDING, 1, NONE, 0 }, { R, 1, 0x80, 0 }, { R, 1, 0xf0, 0xff },
		{ R, 1, 0x320, 0x10000 }, { NEXT, 1, NONE, 0 }, { R, 1, 0x20, 0x01000000 },
		{ R, 0, 0xf0, 0x1ff }, { W, 0, 0x300, 0xc4500 }, { INITS, 0, 0, 0 },
		{ INITS, 1, 2, 0 }),
	  2 },
	{ "SMI, ExtINT and the reserved mode send nothing",
	  STEPS(ENABLE(0), ENABLE(1), { W, 0, 0x310, 0x01000000 }, { W, 0, 0x300, 0x241 },
		{ W, 0, 0x300, 0x341 }, { W, 0, 0x300, 0x741 }, { PENDING, 1, NONE, 0 },
		{ KICKS, 1, 0, 0 }, { NMIS, 1, 0, 0 }),
	  2 },
	{ "modes",
	  STEPS(
		  /* reserved bits, another address, another BSP */
		  { WRMSR_GP, 0, BASE_MSR, BASE_X | BSP | 1 }, { WRMSR_GP, 0, BASE_MSR, BASE_X },
		  { WRMSR_GP, 0, BASE_MSR, BASE_X | BSP | 0x200 },
		  { WRMSR_GP, 0, BASE_MSR, 0xfed00800ull | BSP },
		  { WRMSR_GP, 0, BASE_MSR, BASE_X | BSP | 1ull << 52 },
		  { WRMSR_GP, 0, BASE_MSR, BASE_OFF | BSP | 0x400 },
		  { WRMSR, 0, BASE_MSR, BASE_X | BSP },
		  /* off: forgets, hears nothing, cannot go to x2APIC at once */
		  ENABLE(0), { W, 0, 0x80, 0x40 }, { WRMSR, 0, BASE_MSR, BASE_OFF | BSP },
		  { R, 0, 0xf0, 0xffffffff }, { W, 0, 0xf0, 0x1ff },
		  { WRMSR_GP, 0, BASE_MSR, BASE_X2 | BSP }, { WRMSR_GP, 0, X2(0x80), 0 },
		  { WRMSR, 0, BASE_MSR, BASE_X | BSP }, { R, 0, 0xf0, 0xff }, { R, 0, 0x80, 0 },
		  { RDMSR_GP, 0, X2(0x80), 0 },
		  /* x2APIC keeps state; leads to "off" alone */
		  ENABLE(0), { W, 0, 0x80, 0x40 }, { W, 0, 0x320, 0x400ec },
		  { WRMSR, 0, BASE_MSR, BASE_X2 | BSP }, { RDMSR, 0, X2(0x80), 0x40 },
		  { RDMSR, 0, X2(0xf0), 0x1ff }, { RDMSR, 0, X2(0x320), 0x400ec },
		  { R, 0, 0x80, 0xffffffff }, { W, 0, 0x80, 0x10 }, { RDMSR, 0, X2(0x80), 0x40 },
		  { WRMSR_GP, 0, BASE_MSR, BASE_X | BSP }, { RDMSR, 0, BASE_MSR, BASE_X2 | BSP },
		  { WRMSR, 0, BASE_MSR, BASE_OFF | BSP }, { RDMSR_GP, 0, X2(0x80), 0 },
		  { WRMSR, 0, BASE_MSR, BASE_X | BSP }, { R, 0, 0x80, 0 }, { R, 0, 0xf0, 0xff }),
	  1 },
	{ "x2APIC registers",
	  STEPS({ WRMSR, 17, BASE_MSR, BASE_X2 }, { RDMSR, 17, X2(0x20), 17 },
		{ RDMSR, 17, X2(0xd0), 0x10002 }, { RDMSR, 17, X2(0x30), 0x50014 },
		{ WRMSR_GP, 17, X2(0x20), 1 }, { WRMSR_GP, 17, X2(0x30), 1 },
		{ WRMSR_GP, 17, X2(0xd0), 1 }, { WRMSR_GP, 17, X2(0xa0), 0 },
		{ WRMSR_GP, 17, X2(0x100), 0 }, { WRMSR_GP, 17, X2(0x270), 0 },
		{ WRMSR_GP, 17, X2(0x390), 0 }, { RDMSR_GP, 17, X2(0xb0), 0 },
		{ RDMSR_GP, 17, X2(0x3f0), 0 },				      /* write-only */
		{ RDMSR_GP, 17, X2(0x90), 0 }, { RDMSR_GP, 17, X2(0xc0), 0 }, /* xAPIC's */
		{ RDMSR_GP, 17, X2(0xe0), 0 }, { WRMSR_GP, 17, X2(0xe0), -1u },
		{ RDMSR_GP, 17, X2(0x310), 0 }, { WRMSR_GP, 17, X2(0x310), 0 },
		{ RDMSR_GP, 17, 0x800, 0 }, { RDMSR_GP, 17, X2(0x2f0), 0 },
		{ RDMSR_GP, 17, 0x840, 0 }, { RDMSR_GP, 17, 0x8ff, 0 }, { WRMSR_GP, 17, 0x888, 0 },
		{ WRMSR_GP, 17, X2(0x80), 0x100 }, { WRMSR_GP, 17, X2(0x80), 1ull << 32 },
		{ WRMSR_GP, 17, X2(0xb0), 1 }, { WRMSR, 17, X2(0xb0), 0 },
		{ WRMSR_GP, 17, X2(0x280), 1 }, { WRMSR, 17, X2(0x280), 0 },
		{ WRMSR_GP, 17, X2(0xf0), 0x11ff }, { WRMSR, 17, X2(0xf0), 0x1ff },
		{ WRMSR_GP, 17, X2(0x320), 0x800ec }, { WRMSR, 17, X2(0x320), 0x200ec },
		{ WRMSR_GP, 17, X2(0x380), 1ull << 32 }, { WRMSR, 17, X2(0x380), -1u },
		{ WRMSR_GP, 17, X2(0x3e0), 4 }, { WRMSR_GP, 17, X2(0x3f0), 0x100 },
		{ WRMSR_GP, 17, X2(0x300), 0x100000 }, { WRMSR_GP, 17, X2(0x300), 0x1041 },
		{ WRMSR, 17, X2(0x300), 0x500000000041 }, { RDMSR, 17, X2(0x300), 0x500000000041 },
		{ WRMSR, 17, X2(0x3f0), 0x51 }, { TAKE, 17, 0x51, 0 }, { EOI, 17, 0, 0 },
		{ WRMSR, 17, X2(0x3f0), 0x0f }, { PENDING, 17, NONE, 0 },
		{ WRMSR, 17, X2(0x280), 0 }, { RDMSR, 17, X2(0x280), 0x20 }),
	  18 },
	{ "x2APIC destinations",
	  STEPS({ WRMSR, 0, BASE_MSR, BASE_X2 | BSP }, { WRMSR, 15, BASE_MSR, BASE_X2 },
		{ WRMSR, 16, BASE_MSR, BASE_X2 }, { WRMSR, 17, BASE_MSR, BASE_X2 },
		{ WRMSR, 0, X2(0xf0), 0x1ff }, { WRMSR, 15, X2(0xf0), 0x1ff },
		{ WRMSR, 16, X2(0xf0), 0x1ff }, { WRMSR, 17, X2(0xf0), 0x1ff },
		{ WRMSR, 0, X2(0x300), 17ull << 32 | 0x41 }, { TAKE, 17, 0x41, 0 },
		{ PENDING, 16, NONE, 0 }, { WRMSR, 0, X2(0x300), 0xffull << 32 | 0x41 },
		{ PENDING, 16, NONE, 0 }, /* 255 is an ID here, and nobody's */
		{ WRMSR, 0, X2(0x300), 0x10003ull << 32 | 0x851 }, { PENDING, 0, NONE, 0 },
		{ PENDING, 15, NONE, 0 }, { TAKE, 16, 0x51, 0 }, { TAKE, 17, 0x51, 0 },
		{ WRMSR, 0, X2(0x300), 0x08001ull << 32 | 0x861 }, { TAKE, 0, 0x61, 0 },
		{ TAKE, 15, 0x61, 0 }, { PENDING, 16, NONE, 0 },
		{ WRMSR, 0, X2(0x300), 0xffffffffull << 32 | 0x71 }, { TAKE, 0, 0x71, 0 },
		{ TAKE, 15, 0x71, 0 }, { TAKE, 16, 0x71, 0 }, { TAKE, 17, 0x71, 0 },
		{ WRMSR, 0, X2(0x300), 0xc0081 }, { PENDING, 0, NONE, 0 }, { TAKE, 17, 0x81, 0 },
		{ PENDING, 3, NONE, 0 } /* still xAPIC, and disabled */),
	  18 },
};

static void test_scenario(void **state)
{
	const struct scenario *scenario = *state;

	fake_reset();
	make_apics(scenario->vcpu_count);
	run(scenario->name, scenario->steps);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vlapic_destroy(vm->vcpus[i]);
	}
	*state = NULL;
	fake_teardown(NULL);
}

static int setup(void **state)
{
	fake_setup(state);
	make_apics(3);
	return 0;
}

/* Who a message of a device reaches, and what is said when nobody takes it. */
static void test_messages(void **state)
{
	static const struct {
		struct vlapic_msg msg;
		bool accepted;
		int pending[3];
	} cases[] = {
		{ { .dest = 1, .vector = 0x41 }, true, { -1, 0x41, -1 } },
		{ { .dest = 2, .vector = 0x41 }, false, { -1, -1, -1 } }, /* disabled */
		{ { .dest = 3, .vector = 0x41 }, false, { -1, -1, -1 } },
		{ { .dest = 0xff, .vector = 0x42 }, true, { 0x42, 0x42, -1 } },
		{ { .dest = 0xff, .wide = true, .vector = 0x41 }, false, { -1, -1, -1 } },
		{ { .dest = ~0u, .wide = true, .vector = 0x43 }, true, { 0x43, 0x43, -1 } },
		{ { .dest = 2, .logical = true, .vector = 0x44 }, true, { -1, 0x44, -1 } },
		{ { .dest = 0x102, .logical = true, .vector = 0x45 }, false, { -1, -1, -1 } },
		{ { .dest = 0xff, .mode = VLAPIC_LOWEST, .vector = 0x46 }, true, { 0x46, -1, -1 } },
		{ { .dest = 4, .logical = true, .mode = VLAPIC_LOWEST, .vector = 0x47 },
		  false,
		  { -1, -1, -1 } },
		{ { .dest = 0, .mode = VLAPIC_SMI, .vector = 0x48 }, false, { -1, -1, -1 } },
		{ { .dest = 0, .mode = VLAPIC_EXTINT, .vector = 0x48 }, false, { -1, -1, -1 } },
		{ { .dest = 0, .mode = 3, .vector = 0x48 }, false, { -1, -1, -1 } },
	};
	static const struct step prepare[] = {
		ENABLE(0),
		ENABLE(1),
		{ W, 0, 0xd0, 0x01000000 },
		{ W, 1, 0xd0, 0x02000000 },
		{ W, 2, 0xd0, 0x04000000 },
		{ W, 1, 0x80, 0x10 },
		{ END, 0, 0, 0 },
	};

	(void)state;
	run("prepare", prepare);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		assert_int_equal(vlapic_deliver(vm, &cases[i].msg), cases[i].accepted);
		for (uint32_t cpu = 0; cpu < 3; cpu++) {
			int vector = vlapic_irq_pending(vm->vcpus[cpu]);

			assert_int_equal(vector, cases[i].pending[cpu]);
			if (vector >= 0) {
				vlapic_irq_accepted(vm->vcpus[cpu], (uint8_t)vector);
				vlapic_eoi_highest(vm->vcpus[cpu]);
			}
		}
	}
	/* NMI and INIT pass a disabled APIC; nothing passes one that is off. */
	assert_true(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 2, .mode = VLAPIC_NMI }));
	assert_int_equal(fake_vcpus[2].nmis, 1);
	assert_int_equal(vlapic_msr_write(vm->vcpus[2], BASE_MSR, BASE_OFF), 0);
	assert_false(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 2, .mode = VLAPIC_NMI }));
	assert_false(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 2, .mode = VLAPIC_INIT }));
	assert_int_equal(fake_vcpus[2].nmis, 1);
	assert_int_equal(fake_vcpus[2].inits, 0);
}

/* Among equals the messages of lowest priority go round. */
static void test_lowest_goes_round(void **state)
{
	struct vlapic_msg msg = { .dest = 0xff, .mode = VLAPIC_LOWEST };
	unsigned counts[2] = { 0 };
	static const struct step prepare[] = { ENABLE(0), ENABLE(1), { END, 0, 0, 0 } };

	(void)state;
	run("prepare", prepare);
	for (uint8_t vector = 0x40; vector < 0x80; vector++) {
		msg.vector = vector;
		assert_true(vlapic_deliver(vm, &msg));
		for (uint32_t cpu = 0; cpu < 2; cpu++) {
			if (vlapic_irq_pending(vm->vcpus[cpu]) == vector) {
				vlapic_irq_accepted(vm->vcpus[cpu], vector);
				vlapic_eoi_highest(vm->vcpus[cpu]);
				counts[cpu]++;
			}
		}
	}
	assert_int_equal(counts[0] + counts[1], 0x40);
	assert_true(counts[0] >= 0x10 && counts[1] >= 0x10);
}

/* Loads and stores of other sizes and places. */
static void test_access_shapes(void **state)
{
	static const struct {
		uint64_t offset;
		uint32_t size;
		uint64_t value;
	} loads[] = {
		{ 0x30, 1, 0x14 }, { 0x31, 1, 0x00 }, { 0x32, 1, 0x05 },    { 0x32, 2, 0x05 },
		{ 0x30, 2, 0x14 }, { 0x33, 1, 0 },    { 0x30, 8, 0x50014 }, { 0x34, 4, 0 },
		{ 0x3c, 4, 0 },	   { 0x38, 8, 0 },    { 0xfff, 1, 0 },	    { 0xffc, 4, 0 },
		{ 0x400, 4, 0 },   { 0xb0, 4, 0 },
	};
	static const struct {
		uint64_t offset;
		uint32_t size;
	} stores[] = {
		{ 0x80, 1 }, { 0x80, 2 }, { 0x80, 8 }, { 0x81, 4 }, { 0x84, 4 }, { 0x8c, 4 }
	};
	struct io_access access;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(loads); i++) {
		access = (struct io_access){ .offset = loads[i].offset, .size = loads[i].size };
		access.value = 0x77;
		vlapic_apic_access(vm->vcpus[0], &access);
		assert_int_equal(access.value, loads[i].value);
	}
	for (size_t i = 0; i < ARRAY_COUNT(stores); i++) {
		access = (struct io_access){ stores[i].offset, stores[i].size, true, 0x20 };
		vlapic_apic_access(vm->vcpus[0], &access);
		assert_int_equal(vlapic_cr8_read(vm->vcpus[0]), 0);
	}
	assert_int_equal(vlapic_msr_write(vm->vcpus[0], BASE_MSR, BASE_OFF | BSP), 0);
	access = (struct io_access){ .offset = 0x20, .size = 1 };
	vlapic_apic_access(vm->vcpus[0], &access);
	assert_int_equal(access.value, 0xff);
}

static void test_tsc_offset(void **state)
{
	static const struct step prepare[] = { ENABLE(0),
					       { W, 0, 0x320, 0x400ec },
					       { END, 0, 0, 0 } };

	(void)state;
	run("prepare", prepare);
	fake_tsc = 1000000;
	fake_tsc_offset = -1000000ull; /* the guest's clock began when the VM did */
	assert_int_equal(vlapic_msr_write(vm->vcpus[0], DEADLINE_MSR, 500), 0);
	assert_int_equal(vlapic_next_deadline(vm->vcpus[0]), 1000500);
	fake_tsc_offset = 1000000;
	assert_int_equal(vlapic_msr_write(vm->vcpus[0], DEADLINE_MSR, 2000700), 0);
	assert_int_equal(vlapic_next_deadline(vm->vcpus[0]), 1000700);
}

/* --- Hardware delivers: the test plays the CPU on the same page --- */

static uint32_t *page_word(uint32_t set, unsigned vector)
{
	return (uint32_t *)(void *)((uint8_t *)vm->vcpus[0]->apic_page + set + vector / 32 * 16);
}

/* SDM, "Virtual-Interrupt Delivery" and "EOI Virtualization". */
static void hardware_delivers(unsigned vector)
{
	assert_true((*page_word(0x200, vector) >> vector % 32 & 1) != 0);
	*page_word(0x200, vector) &= ~(1u << vector % 32);
	*page_word(0x100, vector) |= 1u << vector % 32;
}

static void hardware_eoi(unsigned vector)
{
	*page_word(0x100, vector) &= ~(1u << vector % 32);
	if ((fake_vcpus[0].eoi_exits[vector / 64] >> vector % 64 & 1) != 0) {
		vlapic_eoi(vm->vcpus[0], (uint8_t)vector);
	}
}

static void *apic_word(uint32_t offset)
{
	return (uint8_t *)vm->vcpus[0]->apic_page + offset;
}

static void test_hardware_delivery(void **state)
{
	static const struct step irqs[] = { { IRQ, 0, 0x51, 1 },
					    { IRQ, 0, 0x62, 0 },
					    { END, 0, 0, 0 } };
	static const struct step more[] = { { IRQ, 0, 0x51, 0 }, { END, 0, 0, 0 } };
	struct vcpu *vcpu = vm->vcpus[0];

	(void)state;
	fake_virtual_delivery = true;
	vlapic_destroy(vcpu);
	assert_int_equal(vlapic_create(vcpu), 0);
	/* SVR as hardware has stored it: an APIC-write exit follows the write. */
	*(uint32_t *)apic_word(0xf0) = 0x1ff;
	vlapic_apic_written(vcpu, 0xf0);
	assert_int_equal(vlapic_irr_highest(vcpu), 0);	/* RVI for the first entry */
	assert_int_equal(vlapic_irr_highest(vcpu), -1); /* from here on hardware keeps it */
	run("irqs", irqs);
	assert_int_equal(vlapic_irr_highest(vcpu), 0x62);
	assert_int_equal(vlapic_irr_highest(vcpu), -1);
	assert_int_equal(fake_vcpus[0].eoi_exits[1], 1ull << (0x51 - 64));
	/* What HLT asks: is anything deliverable? */
	assert_int_equal(vlapic_irq_pending(vcpu), 0x62);
	hardware_delivers(0x62);
	assert_int_equal(vlapic_irq_pending(vcpu), -1);
	hardware_eoi(0x62);
	assert_int_equal(vlapic_irq_pending(vcpu), 0x51);
	assert_int_equal(vlapic_irr_highest(vcpu), -1);
	hardware_delivers(0x51);
	assert_int_equal(ioapic_eois[0x51], 0);
	hardware_eoi(0x51);
	assert_int_equal(ioapic_eois[0x51], 1);
	/* As an edge it needs no exit any more. */
	run("more", more);
	assert_int_equal(vlapic_irr_highest(vcpu), 0x51);
	assert_int_equal(fake_vcpus[0].eoi_exits[1], 0);
	/* Two in service, a change of mode: SVI is told. */
	hardware_delivers(0x51);
	*page_word(0x100, 0x71) |= 1u << (0x71 % 32);
	assert_int_equal(vlapic_msr_write(vcpu, BASE_MSR, BASE_X2 | BSP), 0);
	assert_int_equal(fake_vcpus[0].apic_mode, VCPU_APIC_X2);
	assert_int_equal(fake_vcpus[0].svi, 0x71);
	vlapic_eoi_highest(vcpu); /* software may be asked even so */
	assert_int_equal(fake_vcpus[0].svi, 0x51);
	assert_int_equal(vlapic_msr_write(vcpu, BASE_MSR, BASE_OFF | BSP), 0);
	assert_int_equal(fake_vcpus[0].svi, 0);
	assert_int_equal(fake_vcpus[0].apic_mode, VCPU_APIC_OFF);
	assert_int_equal(vlapic_irr_highest(vcpu), 0);
}

/* What a guest may store is put right after an APIC-write exit. */
static void test_apic_written(void **state)
{
	static const struct {
		uint32_t offset, stored, value;
	} cases[] = {
		{ 0x20, 0x77000000, 0 },	{ 0xd0, 0xffffffff, 0xff000000 },
		{ 0xe0, 0, 0x0fffffff },	{ 0x350, 0xffffffff, 0x1a7ff },
		{ 0x3e0, 0xffffffff, 0xb },	{ 0x280, 0x12345678, 0 },
		{ 0x320, 0x000400ec, 0x400ec }, { 0x380, 5, 0 }, /* TSC-deadline mode now */
		{ 0x300, 0x00041041, 0x40041 },
	};
	struct vcpu *vcpu = vm->vcpus[0];

	(void)state;
	*(uint32_t *)apic_word(0xf0) = 0x1ff;
	vlapic_apic_written(vcpu, 0xf0);
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		*(uint32_t *)apic_word(cases[i].offset) = cases[i].stored;
		vlapic_apic_written(vcpu, cases[i].offset);
		assert_int_equal(*(uint32_t *)apic_word(cases[i].offset), cases[i].value);
	}
	assert_int_equal(vlapic_irq_pending(vcpu), 0x41); /* the last one was a self-IPI */
	vlapic_apic_written(vcpu, 0x400);
	vlapic_apic_written(vcpu, 0xff0);
	assert_int_equal(vlapic_msr_write(vcpu, BASE_MSR, BASE_X2 | BSP), 0);
	*(uint64_t *)apic_word(0x300) = 0x42 | 0x40000;
	vlapic_apic_written(vcpu, 0x300);
	assert_int_equal(vlapic_irq_pending(vcpu), 0x42);
}

static void test_no_memory(void **state)
{
	(void)state;
	vlapic_destroy(vm->vcpus[1]);
	fake_pages_fail_after(0);
	assert_int_equal(vlapic_create(vm->vcpus[1]), ERR_NOMEM);
	assert_null(vm->vcpus[1]->platform);
	/* Devices may send while the VM is built. */
	assert_false(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 1, .vector = 0x41 }));
	assert_false(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 0xff, .vector = 0x41 }));
	assert_false(vlapic_deliver(
		vm, &(struct vlapic_msg){ .dest = 0xff, .mode = VLAPIC_LOWEST, .vector = 0x41 }));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	struct CMUnitTest tables[ARRAY_COUNT(scenarios)];
	const struct CMUnitTest tests[] = {
		TEST(test_messages),   TEST(test_lowest_goes_round), TEST(test_access_shapes),
		TEST(test_tsc_offset), TEST(test_hardware_delivery), TEST(test_apic_written),
		TEST(test_no_memory),
	};

	for (size_t i = 0; i < ARRAY_COUNT(scenarios); i++) {
		tables[i] = (struct CMUnitTest){ .name = scenarios[i].name,
						 .test_func = test_scenario,
						 .initial_state = (void *)&scenarios[i] };
	}
	return cmocka_run_group_tests_name("vlapic steps", tables, NULL, NULL) +
	       cmocka_run_group_tests_name("vlapic", tests, NULL, NULL);
}
