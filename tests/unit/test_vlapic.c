/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dev/vlapic*.c by the rules of the SDM's chapter on the APIC, with delivery in software. */
#include "tests/unit/test.h"
#include "tests/unit/vlapic_steps.h"

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
/* Several steps in each line. */
/* clang-format off */
static const struct scenario scenarios[] = {
	{ "power-up", STEPS(
		{ R, 0, 0x20, 0 }, { R, 1, 0x20, 0x01000000 }, { R, 0, 0x30, 0x50014 },
		{ R, 0, 0x80, 0 }, { R, 0, 0xa0, 0 }, { R, 0, 0xd0, 0 },
		{ R, 0, 0xe0, 0xffffffff }, { R, 0, 0xf0, 0xff }, { R, 0, 0x320, 0x10000 },
		{ R, 0, 0x330, 0x10000 }, { R, 0, 0x340, 0x10000 }, { R, 0, 0x350, 0x10000 },
		{ R, 0, 0x360, 0x10000 }, { R, 0, 0x370, 0x10000 }, { R, 0, 0x380, 0 },
		{ R, 0, 0x390, 0 }, { R, 0, 0x3e0, 0 }, { R, 0, 0x100, 0 }, { R, 0, 0x1f0, 0 },
		{ R, 0, 0x270, 0 }, { R, 0, 0x280, 0 }, { RDMSR, 0, BASE_MSR, BASE_X | BSP },
		{ RDMSR, 1, BASE_MSR, BASE_X }, { RDMSR, 0, DEADLINE_MSR, 0 },
		{ NEXT, 0, NONE, 0 }, { PENDING, 0, NONE, 0 }, { RDMSR_GP, 0, 0x1c, 0 },
		{ WRMSR_GP, 0, 0x1c, 0 }), 2 },
	{ "what can be written, while enabled", STEPS(
		ENABLE(0), { W, 0, 0x20, 0x05000000 }, { R, 0, 0x20, 0 }, { W, 0, 0x30, 0 },
		{ R, 0, 0x30, 0x50014 }, { W, 0, 0x80, 0xffffff35 }, { R, 0, 0x80, 0x35 },
		{ R, 0, 0xa0, 0x35 }, { W, 0, 0xd0, 0xffffffff }, { R, 0, 0xd0, 0xff000000 },
		{ W, 0, 0xe0, 0 }, { R, 0, 0xe0, 0x0fffffff }, { W, 0, 0xf0, 0xffffffff },
		{ R, 0, 0xf0, 0x3ff }, { W, 0, 0x100, 1 }, { R, 0, 0x100, 0 },
		{ W, 0, 0x200, 0xffffffff }, { R, 0, 0x200, 0 }, { PENDING, 0, NONE, 0 },
		{ W, 0, 0x310, 0xffffffff }, { R, 0, 0x310, 0xff000000 },
		{ W, 0, 0x320, 0xffffffff }, { R, 0, 0x320, 0x700ff },
		{ W, 0, 0x330, 0xffffffff }, { R, 0, 0x330, 0x107ff },
		{ W, 0, 0x350, 0xffffffff }, { R, 0, 0x350, 0x1a7ff }, { W, 0, 0x360, 0x0400 },
		{ R, 0, 0x360, 0x0400 }, { W, 0, 0x370, 0xffffffff }, { R, 0, 0x370, 0x100ff },
		{ W, 0, 0x390, 5 }, { R, 0, 0x390, 0 }, { W, 0, 0x3e0, 0xffffffff },
		{ R, 0, 0x3e0, 0xb }), 1 },
	{ "software disable masks every LVT", STEPS(
		{ W, 0, 0x320, 0x30 }, { R, 0, 0x320, 0x10030 }, ENABLE(0), { W, 0, 0x320, 0x30 },
		{ R, 0, 0x320, 0x30 }, { W, 0, 0x350, 0x700 }, { W, 0, 0xf0, 0xff },
		{ R, 0, 0x320, 0x10030 }, { R, 0, 0x350, 0x10700 }, { W, 0, 0x350, 0x700 },
		{ R, 0, 0x350, 0x10700 }, ENABLE(0), { R, 0, 0x350, 0x10700 }), 1 },
	{ "priority", STEPS(
		ENABLE(0), { IRQ, 0, 0x41, 0 }, { IRQ, 0, 0x42, 0 }, { IRQ, 0, 0x61, 0 },
		{ R, 0, 0x220, 6 }, { R, 0, 0x230, 2 }, { CR8, 0, 6, 0 }, { PENDING, 0, NONE, 0 },
		{ CR8, 0, 5, 0 }, { PENDING, 0, 0x61, 0 }, { CR8, 0, 0, 0 }, { TAKE, 0, 0x61, 0 },
		{ R, 0, 0x130, 2 }, { R, 0, 0x230, 0 }, { R, 0, 0xa0, 0x60 },
		{ PENDING, 0, NONE, 0 }, { IRQ, 0, 0x6f, 0 }, { PENDING, 0, NONE, 0 },
		{ IRQ, 0, 0x70, 0 }, { TAKE, 0, 0x70, 0 }, { R, 0, 0xa0, 0x70 },
		{ W, 0, 0x80, 0x7c }, { R, 0, 0xa0, 0x7c }, { W, 0, 0x80, 0x6f },
		{ R, 0, 0xa0, 0x70 }, { W, 0, 0x80, 0 }, { EOI, 0, 0, 0 }, { R, 0, 0xa0, 0x60 },
		{ PENDING, 0, NONE, 0 }, { W, 0, 0xb0, 0 }, { R, 0, 0xa0, 0 },
		{ TAKE, 0, 0x6f, 0 }, { EOI, 0, 0, 0 }, { TAKE, 0, 0x42, 0 }, { EOI, 0, 0, 0 },
		{ TAKE, 0, 0x41, 0 }, { EOI, 0, 0, 0 }, { PENDING, 0, NONE, 0 }, { EOI, 0, 0, 0 },
		{ R, 0, 0x120, 0 }), 1 },
	{ "the same vector once in service, once more pending", STEPS(
		ENABLE(0), { IRQ, 0, 0x31, 0 }, { IRQ, 0, 0x31, 0 }, { TAKE, 0, 0x31, 0 },
		{ IRQ, 0, 0x31, 0 }, { PENDING, 0, NONE, 0 }, { EOI, 0, 0, 0 },
		{ TAKE, 0, 0x31, 0 }, { EOI, 0, 0, 0 }, { PENDING, 0, NONE, 0 }), 1 },
	{ "level: EOI comes back to the IOAPIC", STEPS(
		ENABLE(0), { IRQ, 0, 0x51, 1 }, { IRQ, 0, 0x52, 0 }, { TAKE, 0, 0x52, 0 },
		{ R, 0, 0x1a0, 0x20000 }, { EOI, 0, 0, 0 }, { IOAPIC, 0, 0x52, 0 },
		{ TAKE, 0, 0x51, 0 }, { IOAPIC, 0, 0x51, 0 }, { EOI, 0, 0, 0 },
		{ IOAPIC, 0, 0x51, 1 }, { EOI, 0, 0, 0 }, { IOAPIC, 0, 0x51, 1 },
		/* the same vector as an edge clears TMR */
		{ IRQ, 0, 0x51, 0 }, { TAKE, 0, 0x51, 0 }, { R, 0, 0x1a0, 0 }, { EOI, 0, 0, 0 },
		{ IOAPIC, 0, 0x51, 1 }), 1 },
	{ "vectors at the edges", STEPS(
		ENABLE(0), { IRQ, 0, 255, 0 }, { IRQ, 0, 31, 0 }, { IRQ, 0, 32, 0 },
		{ IRQ, 0, 16, 0 }, { TAKE, 0, 255, 0 }, { EOI, 0, 0, 0 }, { TAKE, 0, 32, 0 },
		{ EOI, 0, 0, 0 }, { TAKE, 0, 31, 0 }, { EOI, 0, 0, 0 }, { TAKE, 0, 16, 0 },
		{ EOI, 0, 0, 0 }, { PENDING, 0, NONE, 0 }), 1 },
	{ "illegal vectors and registers", STEPS(
		ENABLE(0), { W, 0, 0x370, 0xe1 }, { IRQ, 0, 15, 0 }, { TAKE, 0, 0xe1, 0 },
		{ EOI, 0, 0, 0 }, { R, 0, 0x280, 0 }, { W, 0, 0x280, 0 }, { R, 0, 0x280, 0x40 },
		{ W, 0, 0x300, 0x4000f }, { TAKE, 0, 0xe1, 0 }, { EOI, 0, 0, 0 },
		{ R, 0, 0x280, 0x40 }, { W, 0, 0x280, 0 }, { R, 0, 0x280, 0x20 },
		{ R, 0, 0x40, 0 }, { W, 0, 0x3f0, 0x31 }, { W, 0, 0x2f0, 1 }, { R, 0, 0xff0, 0 },
		{ W, 0, 0x280, 0x1234 }, { R, 0, 0x280, 0x80 }, { W, 0, 0x280, 0 },
		{ R, 0, 0x280, 0 }, { TAKE, 0, 0xe1, 0 }, { EOI, 0, 0, 0 },
		{ PENDING, 0, NONE, 0 },
		/* an error LVT whose own vector is illegal */
		{ W, 0, 0x370, 0x0f }, { IRQ, 0, 3, 0 }, { PENDING, 0, NONE, 0 },
		{ W, 0, 0x280, 0 }, { R, 0, 0x280, 0x40 },
		/* a timer LVT with an illegal vector */
		{ W, 0, 0x320, 0x01 }, { W, 0, 0x3e0, 0xb }, { W, 0, 0x380, 10 },
		{ TIME, 0, 20, 0 }, { PENDING, 0, NONE, 0 }, { W, 0, 0x280, 0 },
		{ R, 0, 0x280, 0x40 }), 1 },
	{ "one-shot timer", STEPS(
		ENABLE(0), { W, 0, 0x320, 0xec }, { W, 0, 0x3e0, 0x3 }, { R, 0, 0x390, 0 },
		{ W, 0, 0x380, 1000 }, { R, 0, 0x390, 1000 }, { NEXT, 0, 32000, 0 },
		{ TIME, 0, 3200, 0 }, { R, 0, 0x390, 900 }, { TIME, 0, 28799, 0 },
		{ R, 0, 0x390, 0 }, { PENDING, 0, NONE, 0 }, { NEXT, 0, 1, 0 }, { TIME, 0, 1, 0 },
		{ TAKE, 0, 0xec, 0 }, { NEXT, 0, NONE, 0 }, { EOI, 0, 0, 0 },
		{ TIME, 0, 99999, 0 }, { PENDING, 0, NONE, 0 }, { R, 0, 0x380, 1000 },
		{ R, 0, 0x390, 0 },
		/* stopped by a count of 0 */
		{ W, 0, 0x380, 1000 }, { W, 0, 0x380, 0 }, { NEXT, 0, NONE, 0 },
		{ TIME, 0, 99999, 0 }, { PENDING, 0, NONE, 0 },
		/* masked: it counts but raises no interrupt */
		{ W, 0, 0x320, 0x100ec }, { W, 0, 0x380, 100 }, { TIME, 0, 99999, 0 },
		{ PENDING, 0, NONE, 0 }, { R, 0, 0x390, 0 }, { NEXT, 0, NONE, 0 }), 1 },
	{ "dividers", STEPS(
		ENABLE(0), { W, 0, 0x3e0, 0x0 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 2, 0 },
		{ W, 0, 0x3e0, 0x1 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 4, 0 },
		{ W, 0, 0x3e0, 0x2 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 8, 0 },
		{ W, 0, 0x3e0, 0x3 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 16, 0 },
		{ W, 0, 0x3e0, 0x8 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 32, 0 },
		{ W, 0, 0x3e0, 0x9 }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 64, 0 },
		{ W, 0, 0x3e0, 0xa }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 128, 0 },
		{ W, 0, 0x3e0, 0xb }, { W, 0, 0x380, 10 }, { NEXT, 0, 10 * 2 * 1, 0 },
		/* while it runs: the remaining count continues at the new rate */
		{ TIME, 0, 10, 0 }, { R, 0, 0x390, 5 }, { W, 0, 0x3e0, 0x0 }, { R, 0, 0x390, 5 },
		{ NEXT, 0, 20, 0 }, { W, 0, 0x3e0, 0xa }, { W, 0, 0x380, 0xffffffff },
		{ R, 0, 0x390, 0xffffffff }, { NEXT, 0, 0xfffffffful * 256, 0 }), 1 },
	{ "periodic timer", STEPS(
		ENABLE(0), { W, 0, 0x320, 0x200ec }, { W, 0, 0x3e0, 0xb },
		{ W, 0, 0x380, 100000 }, { NEXT, 0, 200000, 0 }, { TIME, 0, 200000, 0 },
		{ TAKE, 0, 0xec, 0 }, { EOI, 0, 0, 0 }, { NEXT, 0, 200000, 0 },
		{ R, 0, 0x390, 100000 },
		/* missed periods become one interrupt, in phase */
		{ TIME, 0, 750000, 0 }, { TAKE, 0, 0xec, 0 }, { EOI, 0, 0, 0 },
		{ NEXT, 0, 50000, 0 }, { PENDING, 0, NONE, 0 }, { R, 0, 0x390, 25000 },
		/* to one-shot: the current period is the last */
		{ W, 0, 0x320, 0xec }, { TIME, 0, 50000, 0 }, { TAKE, 0, 0xec, 0 },
		{ EOI, 0, 0, 0 }, { NEXT, 0, NONE, 0 },
		/*
		 * too short a period, which would leave the guest no time: at most 10,000 a second
		 */
		{ W, 0, 0x320, 0x200ec }, { W, 0, 0x380, 1 }, { TIME, 0, 2, 0 },
		{ TAKE, 0, 0xec, 0 }, { NEXT, 0, 100000, 0 }), 1 },
	{ "TSC deadline", STEPS(
		ENABLE(0), { TIME, 0, 1000, 0 }, { WRMSR, 0, DEADLINE_MSR, 5000 },
		{ RDMSR, 0, DEADLINE_MSR, 0 }, { NEXT, 0, NONE, 0 },
		/* ignored in the other modes */
		{ W, 0, 0x320, 0x400ec }, { WRMSR, 0, DEADLINE_MSR, 5000 },
		{ RDMSR, 0, DEADLINE_MSR, 5000 }, { NEXT, 0, 4000, 0 }, { R, 0, 0x390, 0 },
		{ W, 0, 0x380, 77 }, { R, 0, 0x380, 0 }, { NEXT, 0, 4000, 0 },
		{ TIME, 0, 3999, 0 }, { PENDING, 0, NONE, 0 }, { TIME, 0, 1, 0 },
		{ TAKE, 0, 0xec, 0 }, { RDMSR, 0, DEADLINE_MSR, 0 }, { NEXT, 0, NONE, 0 },
		{ EOI, 0, 0, 0 },
		/* in the past: at once, and once */
		{ WRMSR, 0, DEADLINE_MSR, 1 }, { NEXT, 0, 0, 0 }, { TAKE, 0, 0xec, 0 },
		{ EOI, 0, 0, 0 }, { PENDING, 0, NONE, 0 },
		/* disarmed by 0 */
		{ WRMSR, 0, DEADLINE_MSR, 9000 }, { WRMSR, 0, DEADLINE_MSR, 0 },
		{ NEXT, 0, NONE, 0 }, { TIME, 0, 9999, 0 }, { PENDING, 0, NONE, 0 },
		/* the largest value */
		{ WRMSR, 0, DEADLINE_MSR, -1ul }, { PENDING, 0, NONE, 0 },
		{ RDMSR, 0, DEADLINE_MSR, -1ul },
		/* changing the mode disarms */
		{ WRMSR, 0, DEADLINE_MSR, 99000 }, { W, 0, 0x320, 0xec },
		{ RDMSR, 0, DEADLINE_MSR, 0 }, { NEXT, 0, NONE, 0 }, { W, 0, 0x380, 10 },
		{ W, 0, 0x320, 0x400ec }, { NEXT, 0, NONE, 0 }, { R, 0, 0x380, 0 }), 1 },
	{ "IPI: shorthands", STEPS(
		ENABLE(0), ENABLE(1), ENABLE(2), { W, 0, 0x300, 0x40041 }, { TAKE, 0, 0x41, 0 },
		{ EOI, 0, 0, 0 }, { KICKS, 0, 0, 0 }, { PENDING, 1, NONE, 0 },
		{ W, 0, 0x300, 0x80042 }, { TAKE, 0, 0x42, 0 }, { EOI, 0, 0, 0 },
		{ TAKE, 1, 0x42, 0 }, { EOI, 1, 0, 0 }, { TAKE, 2, 0x42, 0 }, { EOI, 2, 0, 0 },
		{ KICKS, 0, 0, 0 }, { KICKS, 1, 1, 0 }, { KICKS, 2, 1, 0 },
		{ W, 1, 0x300, 0xc0043 }, { PENDING, 1, NONE, 0 }, { TAKE, 0, 0x43, 0 },
		{ TAKE, 2, 0x43, 0 }, { KICKS, 0, 1, 0 },
		/* delivery status reads 0; what was written is kept */
		{ R, 1, 0x300, 0xc0043 }, { W, 1, 0x300, 0xc5043 }, { R, 1, 0x300, 0xc4043 },
		/* self and all-including-self are for fixed interrupts only */
		{ W, 0, 0x300, 0x40400 }, { W, 0, 0x300, 0x80400 }, { W, 0, 0x300, 0x80500 },
		{ NMIS, 0, 0, 0 }, { NMIS, 1, 0, 0 }, { INITS, 1, 0, 0 },
		{ W, 0, 0x300, 0xc0400 }, { NMIS, 0, 0, 0 }, { NMIS, 1, 1, 0 },
		{ NMIS, 2, 1, 0 }), 3 },
	{ "IPI: physical", STEPS(
		ENABLE(0), ENABLE(1), ENABLE(2), { W, 0, 0x310, 0x02000000 },
		{ W, 0, 0x300, 0x41 }, { PENDING, 1, NONE, 0 }, { TAKE, 2, 0x41, 0 },
		{ EOI, 2, 0, 0 }, { W, 2, 0x310, 0x02000000 }, { W, 2, 0x300, 0x42 },
		{ TAKE, 2, 0x42, 0 }, { KICKS, 2, 1, 0 }, { W, 0, 0x310, 0x03000000 },
		{ W, 0, 0x300, 0x43 },
		/* no such APIC */
		{ W, 0, 0x310, 0xff000000 }, { W, 0, 0x300, 0x51 }, { TAKE, 0, 0x51, 0 },
		{ TAKE, 1, 0x51, 0 }, { TAKE, 2, 0x51, 0 },
		/* an IPI is an edge whatever its trigger mode */
		{ W, 0, 0x310, 0x01000000 }, { W, 0, 0x300, 0x0c061 }, { TAKE, 1, 0x61, 0 },
		{ R, 1, 0x1b0, 0 }), 3 },
	{ "IPI: logical, flat", STEPS(
		ENABLE(0), ENABLE(1), ENABLE(2), { W, 0, 0xd0, 0x01000000 },
		{ W, 1, 0xd0, 0x02000000 }, { W, 2, 0xd0, 0x84000000 },
		{ W, 0, 0x310, 0x05000000 }, { W, 0, 0x300, 0x841 }, { TAKE, 0, 0x41, 0 },
		{ PENDING, 1, NONE, 0 }, { TAKE, 2, 0x41, 0 }, { W, 0, 0x310, 0x08000000 },
		{ W, 0, 0x300, 0x851 }, { PENDING, 0, NONE, 0 }, { PENDING, 1, NONE, 0 },
		{ PENDING, 2, NONE, 0 }, { W, 0, 0x310, 0xff000000 }, { W, 0, 0x300, 0x861 },
		{ TAKE, 0, 0x61, 0 }, { TAKE, 1, 0x61, 0 }, { TAKE, 2, 0x61, 0 }), 3 },
	{ "IPI: logical, cluster", STEPS(
		ENABLE(0), ENABLE(1), ENABLE(2), { W, 0, 0xe0, 0 }, { W, 1, 0xe0, 0 },
		{ W, 2, 0xe0, 0 }, { W, 0, 0xd0, 0x11000000 }, { W, 1, 0xd0, 0x12000000 },
		{ W, 2, 0xd0, 0x21000000 }, { W, 0, 0x310, 0x13000000 }, { W, 0, 0x300, 0x841 },
		{ TAKE, 0, 0x41, 0 }, { TAKE, 1, 0x41, 0 }, { PENDING, 2, NONE, 0 },
		{ W, 0, 0x310, 0x2f000000 }, { W, 0, 0x300, 0x851 }, { PENDING, 0, NONE, 0 },
		{ PENDING, 1, NONE, 0 }, { TAKE, 2, 0x51, 0 }, { W, 0, 0x310, 0xff000000 },
		{ W, 0, 0x300, 0x861 }, { TAKE, 0, 0x61, 0 }, { TAKE, 1, 0x61, 0 },
		{ TAKE, 2, 0x61, 0 }), 3 },
	{ "IPI: lowest priority", STEPS(
		ENABLE(0), ENABLE(1), { W, 0, 0xd0, 0x01000000 }, { W, 1, 0xd0, 0x02000000 },
		{ W, 2, 0xd0, 0x04000000 }, { W, 0, 0x80, 0x30 }, { W, 1, 0x80, 0x20 },
		/* the third CPU has the lowest task priority, but its APIC is disabled */
		{ W, 0, 0x310, 0xff000000 }, { W, 0, 0x300, 0x941 }, { PENDING, 0, NONE, 0 },
		{ TAKE, 1, 0x41, 0 }, { PENDING, 2, NONE, 0 }, { EOI, 1, 0, 0 },
		{ W, 0, 0x310, 0x01000000 }, { W, 0, 0x300, 0x942 }, { TAKE, 0, 0x42, 0 },
		{ PENDING, 1, NONE, 0 }, { EOI, 0, 0, 0 },
		/* to all others: never to the sender */
		{ W, 1, 0x300, 0xc0143 }, { TAKE, 0, 0x43, 0 }, { PENDING, 1, NONE, 0 },
		{ W, 0, 0x310, 0x04000000 }, { W, 0, 0x300, 0x942 }, { PENDING, 2, NONE, 0 }), 3 },
	{ "INIT and SIPI", STEPS(
		ENABLE(0), ENABLE(1), { W, 1, 0x80, 0x20 }, { W, 1, 0x320, 0x200ec },
		{ W, 1, 0x380, 1000 }, { IRQ, 1, 0x71, 0 }, { W, 0, 0x310, 0x01000000 },
		{ W, 0, 0x300, 0xc500 }, { INITS, 1, 1, 0 }, { W, 0, 0x300, 0x8500 },
		{ INITS, 1, 1, 0 },
		/* de-assert: no effect */
		{ W, 0, 0x300, 0x699 }, { SIPIS, 1, 1, 0x99 },
		/* pending interrupts are gone, and so is all other state but the ID */
		{ PENDING, 1, NONE, 0 }, { R, 1, 0x80, 0 }, { R, 1, 0xf0, 0xff },
		{ R, 1, 0x320, 0x10000 }, { NEXT, 1, NONE, 0 }, { R, 1, 0x20, 0x01000000 },
		{ R, 0, 0xf0, 0x1ff }, { W, 0, 0x300, 0xc4500 }, { INITS, 0, 0, 0 },
		{ INITS, 1, 2, 0 }), 2 },
	{ "INIT: what others had posted does not come later", STEPS(
		ENABLE(0), ENABLE(1), { IRQ, 1, 0x71, 0 }, { IRQ, 1, 0xd1, 1 }, { IRQ, 1, 5, 0 },
		{ W, 0, 0x310, 0x01000000 }, { W, 0, 0x300, 0xc500 }, { PENDING, 1, NONE, 0 },
		ENABLE(1), { IRQ, 1, 0x41, 0 }, { TAKE, 1, 0x41, 0 }, { EOI, 1, 0, 0 },
		{ IRQ, 1, 0x72, 0 }, { TAKE, 1, 0x72, 0 }, { EOI, 1, 0, 0 },
		{ PENDING, 1, NONE, 0 }, { W, 1, 0x280, 0 }, { R, 1, 0x280, 0 },
		/* nor does an error interrupt */
		{ IRQ, 1, 6, 0 }, { PENDING, 1, NONE, 0 }, { W, 0, 0x300, 0xc500 },
		{ PENDING, 1, NONE, 0 }, { W, 1, 0x280, 0 }, { R, 1, 0x280, 0 }), 2 },
	{ "SMI, ExtINT and the reserved mode send nothing", STEPS(
		ENABLE(0), ENABLE(1), { W, 0, 0x310, 0x01000000 }, { W, 0, 0x300, 0x241 },
		{ W, 0, 0x300, 0x341 }, { W, 0, 0x300, 0x741 }, { PENDING, 1, NONE, 0 },
		{ KICKS, 1, 0, 0 }, { NMIS, 1, 0, 0 }), 2 },
	{ "modes", STEPS(
		/* reserved bits, another address, another BSP */
		{ WRMSR_GP, 0, BASE_MSR, BASE_X | BSP | 1 }, { WRMSR_GP, 0, BASE_MSR, BASE_X },
		{ WRMSR_GP, 0, BASE_MSR, BASE_X | BSP | 0x200 },
		{ WRMSR_GP, 0, BASE_MSR, 0xfed00800ul | BSP },
		{ WRMSR_GP, 0, BASE_MSR, BASE_X | BSP | 1ul << 52 },
		{ WRMSR_GP, 0, BASE_MSR, BASE_OFF | BSP | 0x400 },
		{ WRMSR, 0, BASE_MSR, BASE_X | BSP },
		/* off: loses its state, receives nothing, cannot change to x2APIC at once */
		ENABLE(0), { W, 0, 0x80, 0x40 }, { WRMSR, 0, BASE_MSR, BASE_OFF | BSP },
		{ R, 0, 0xf0, 0xffffffff }, { W, 0, 0xf0, 0x1ff },
		{ WRMSR_GP, 0, BASE_MSR, BASE_X2 | BSP }, { WRMSR_GP, 0, X2(0x80), 0 },
		{ WRMSR, 0, BASE_MSR, BASE_X | BSP }, { R, 0, 0xf0, 0xff }, { R, 0, 0x80, 0 },
		{ RDMSR_GP, 0, X2(0x80), 0 },
		/* x2APIC keeps the state; the only way out is "off" */
		ENABLE(0), { W, 0, 0x80, 0x40 }, { W, 0, 0x320, 0x400ec },
		{ WRMSR, 0, BASE_MSR, BASE_X2 | BSP }, { RDMSR, 0, X2(0x80), 0x40 },
		{ RDMSR, 0, X2(0xf0), 0x1ff }, { RDMSR, 0, X2(0x320), 0x400ec },
		{ R, 0, 0x80, 0xffffffff }, { W, 0, 0x80, 0x10 }, { RDMSR, 0, X2(0x80), 0x40 },
		{ WRMSR_GP, 0, BASE_MSR, BASE_X | BSP }, { RDMSR, 0, BASE_MSR, BASE_X2 | BSP },
		{ WRMSR, 0, BASE_MSR, BASE_OFF | BSP }, { RDMSR_GP, 0, X2(0x80), 0 },
		{ WRMSR, 0, BASE_MSR, BASE_X | BSP }, { R, 0, 0x80, 0 }, { R, 0, 0xf0, 0xff }), 1 },
	{ "x2APIC registers", STEPS(
		{ WRMSR, 17, BASE_MSR, BASE_X2 }, { RDMSR, 17, X2(0x20), 17 },
		{ RDMSR, 17, X2(0xd0), 0x10002 }, { RDMSR, 17, X2(0x30), 0x50014 },
		/* delivery status and remote IRR are read-only, not reserved */
		{ WRMSR, 17, X2(0x350), 0x15700 }, { RDMSR, 17, X2(0x350), 0x10700 },
		{ WRMSR, 17, X2(0x320), 0x110ec }, { RDMSR, 17, X2(0x320), 0x100ec },
		{ WRMSR_GP, 17, X2(0x320), 0x140ec }, { WRMSR_GP, 17, X2(0x350), 0x10800 },
		{ WRMSR_GP, 17, X2(0x20), 1 }, { WRMSR_GP, 17, X2(0x30), 1 },
		{ WRMSR_GP, 17, X2(0xd0), 1 }, { WRMSR_GP, 17, X2(0xa0), 0 },
		{ WRMSR_GP, 17, X2(0x100), 0 }, { WRMSR_GP, 17, X2(0x270), 0 },
		{ WRMSR_GP, 17, X2(0x390), 0 }, { RDMSR_GP, 17, X2(0xb0), 0 },
		{ RDMSR_GP, 17, X2(0x3f0), 0 },
		/* write-only */
		{ RDMSR_GP, 17, X2(0x90), 0 }, { RDMSR_GP, 17, X2(0xc0), 0 },
		/* registers of xAPIC only */
		{ RDMSR_GP, 17, X2(0xe0), 0 }, { WRMSR_GP, 17, X2(0xe0), -1u },
		{ RDMSR_GP, 17, X2(0x310), 0 }, { WRMSR_GP, 17, X2(0x310), 0 },
		{ RDMSR_GP, 17, 0x800, 0 }, { RDMSR_GP, 17, X2(0x2f0), 0 },
		{ RDMSR_GP, 17, 0x840, 0 }, { RDMSR_GP, 17, 0x8ff, 0 },
		{ WRMSR_GP, 17, 0x888, 0 }, { WRMSR_GP, 17, X2(0x80), 0x100 },
		{ WRMSR_GP, 17, X2(0x80), 1ul << 32 }, { WRMSR_GP, 17, X2(0xb0), 1 },
		{ WRMSR, 17, X2(0xb0), 0 }, { WRMSR_GP, 17, X2(0x280), 1 },
		{ WRMSR, 17, X2(0x280), 0 }, { WRMSR_GP, 17, X2(0xf0), 0x11ff },
		{ WRMSR, 17, X2(0xf0), 0x1ff }, { WRMSR_GP, 17, X2(0x320), 0x800ec },
		{ WRMSR, 17, X2(0x320), 0x200ec }, { WRMSR_GP, 17, X2(0x380), 1ul << 32 },
		{ WRMSR, 17, X2(0x380), -1u }, { WRMSR_GP, 17, X2(0x3e0), 4 },
		{ WRMSR_GP, 17, X2(0x3f0), 0x100 }, { WRMSR_GP, 17, X2(0x300), 0x100000 },
		{ WRMSR_GP, 17, X2(0x300), 0x1041 }, { WRMSR, 17, X2(0x300), 0x500000000041 },
		{ RDMSR, 17, X2(0x300), 0x500000000041 }, { WRMSR, 17, X2(0x3f0), 0x51 },
		{ TAKE, 17, 0x51, 0 }, { EOI, 17, 0, 0 }, { WRMSR, 17, X2(0x3f0), 0x0f },
		{ PENDING, 17, NONE, 0 }, { WRMSR, 17, X2(0x280), 0 },
		{ RDMSR, 17, X2(0x280), 0x20 }), 18 },
	{ "x2APIC destinations", STEPS(
		{ WRMSR, 0, BASE_MSR, BASE_X2 | BSP }, { WRMSR, 15, BASE_MSR, BASE_X2 },
		{ WRMSR, 16, BASE_MSR, BASE_X2 }, { WRMSR, 17, BASE_MSR, BASE_X2 },
		{ WRMSR, 0, X2(0xf0), 0x1ff }, { WRMSR, 15, X2(0xf0), 0x1ff },
		{ WRMSR, 16, X2(0xf0), 0x1ff }, { WRMSR, 17, X2(0xf0), 0x1ff },
		{ WRMSR, 0, X2(0x300), 17ul << 32 | 0x41 }, { TAKE, 17, 0x41, 0 },
		{ PENDING, 16, NONE, 0 }, { WRMSR, 0, X2(0x300), 0xfful << 32 | 0x41 },
		{ PENDING, 16, NONE, 0 },
		/* 255 is an ID here, which no vCPU has */
		{ WRMSR, 0, X2(0x300), 0x10003ul << 32 | 0x851 }, { PENDING, 0, NONE, 0 },
		{ PENDING, 15, NONE, 0 }, { TAKE, 16, 0x51, 0 }, { TAKE, 17, 0x51, 0 },
		{ WRMSR, 0, X2(0x300), 0x08001ul << 32 | 0x861 }, { TAKE, 0, 0x61, 0 },
		{ TAKE, 15, 0x61, 0 }, { PENDING, 16, NONE, 0 },
		{ WRMSR, 0, X2(0x300), 0xfffffffful << 32 | 0x71 }, { TAKE, 0, 0x71, 0 },
		{ TAKE, 15, 0x71, 0 }, { TAKE, 16, 0x71, 0 }, { TAKE, 17, 0x71, 0 },
		{ WRMSR, 0, X2(0x300), 0xc0081 }, { PENDING, 0, NONE, 0 }, { TAKE, 17, 0x81, 0 },
		{ PENDING, 3, NONE, 0 }
		/* still xAPIC, and disabled */), 18 },
};
/* clang-format on */

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

static __attribute__((constructor)) void add_scenarios(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(scenarios); i++) {
		test_add((struct CMUnitTest){ .name = scenarios[i].name,
					      .test_func = test_scenario,
					      .initial_state = (void *)&scenarios[i] });
	}
}
