/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dev/vlapic*.c: messages of devices, unusual accesses, and delivery by hardware. */
#include "tests/unit/test.h"
#include "tests/unit/vlapic_steps.h"

static int teardown(void **state)
{
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vlapic_destroy(vm->vcpus[i]);
	}
	return fake_teardown(state);
}

static int setup(void **state)
{
	fake_setup(state);
	make_apics(3);
	return 0;
}

/* Which vCPU a message of a device reaches, and the result when no vCPU takes it. */
TEST(test_messages, setup, teardown)
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
	/* NMI and INIT reach an APIC that is disabled by software, but not one that is off. */
	assert_true(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 2, .mode = VLAPIC_NMI }));
	assert_int_equal(fake_vcpus[2].nmis, 1);
	assert_int_equal(vlapic_msr_write(vm->vcpus[2], BASE_MSR, BASE_OFF), 0);
	assert_false(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 2, .mode = VLAPIC_NMI }));
	assert_false(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 2, .mode = VLAPIC_INIT }));
	assert_int_equal(fake_vcpus[2].nmis, 1);
	assert_int_equal(fake_vcpus[2].inits, 0);
}

/* Who sends without pause interrupts the vCPU once for each interrupt that it takes. */
TEST(test_flood, setup, teardown)
{
	static const struct step steps[] = {
		ENABLE(1),
		{ IRQ, 1, 0x41, 0 },
		{ KICKS, 1, 1, 0 },
		{ PENDING, 1, 0x41, 0 },
		{ IRQ, 1, 0x41, 0 },
		{ IRQ, 1, 0x41, 0 },
		{ KICKS, 1, 1, 0 },
		{ IRQ, 1, 0x42, 0 },
		{ KICKS, 1, 2, 0 },
		{ TAKE, 1, 0x42, 0 },
		{ EOI, 1, 0, 0 },
		{ TAKE, 1, 0x41, 0 },
		/* Its handler runs: one more comes after it, and only that. */
		{ IRQ, 1, 0x41, 0 },
		{ KICKS, 1, 3, 0 },
		{ PENDING, 1, NONE, 0 },
		{ IRQ, 1, 0x41, 0 },
		{ KICKS, 1, 3, 0 },
		{ EOI, 1, 0, 0 },
		{ TAKE, 1, 0x41, 0 },
		{ EOI, 1, 0, 0 },
		{ PENDING, 1, NONE, 0 },
		/* A level is another matter: its EOI goes to the I/O APIC. */
		{ IRQ, 1, 0x41, 0 },
		{ PENDING, 1, 0x41, 0 },
		{ IRQ, 1, 0x41, 1 },
		{ KICKS, 1, 5, 0 },
		{ TAKE, 1, 0x41, 0 },
		{ EOI, 1, 0, 0 },
		{ IOAPIC, 1, 0x41, 1 },
		{ END, 0, 0, 0 },
	};

	run("flood", steps);
}

/* With equal priorities, lowest-priority messages go to each in turn. */
TEST(test_lowest_goes_round, setup, teardown)
{
	struct vlapic_msg msg = { .dest = 0xff, .mode = VLAPIC_LOWEST };
	unsigned counts[2] = { 0 };
	static const struct step prepare[] = { ENABLE(0), ENABLE(1), { END, 0, 0, 0 } };

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

/* Messages of one VM do not affect another's turn: each begins with vCPU 0. */
TEST(test_turn_is_the_vms_own, setup, teardown)
{
	static const struct step prepare[] = { ENABLE(0), ENABLE(1), { END, 0, 0, 0 } };
	struct vlapic_msg msg = { .dest = 0xff, .mode = VLAPIC_LOWEST, .vector = 0x41 };

	for (unsigned i = 0; i < 3; i++) {
		run("prepare", prepare);
		assert_true(vlapic_deliver(vm, &msg));
		assert_int_equal(vlapic_irq_pending(vm->vcpus[0]), 0x41);
		teardown(state);
		setup(state);
	}
}

/* Loads and stores of other sizes and at other addresses. */
TEST(test_access_shapes, setup, teardown)
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

TEST(test_tsc_offset, setup, teardown)
{
	static const struct step prepare[] = { ENABLE(0),
					       { W, 0, 0x320, 0x400ec },
					       { END, 0, 0, 0 } };

	run("prepare", prepare);
	fake_tsc = 1000000;
	fake_tsc_offset = -1000000ul; /* the guest's clock started with the VM */
	assert_int_equal(vlapic_msr_write(vm->vcpus[0], DEADLINE_MSR, 500), 0);
	assert_int_equal(vlapic_next_deadline(vm->vcpus[0]), 1000500);
	fake_tsc_offset = 1000000;
	assert_int_equal(vlapic_msr_write(vm->vcpus[0], DEADLINE_MSR, 2000700), 0);
	assert_int_equal(vlapic_next_deadline(vm->vcpus[0]), 1000700);
	/* The guest writes its TSC: forward, and beyond the deadline. */
	fake_tsc_offset += 300;
	assert_int_equal(vlapic_next_deadline(vm->vcpus[0]), 1000400);
	fake_tsc_offset += 5000;
	assert_int_equal(vlapic_next_deadline(vm->vcpus[0]), 1000000);
	assert_int_equal(vlapic_irq_pending(vm->vcpus[0]), 0xec);
	assert_int_equal(vlapic_next_deadline(vm->vcpus[0]), UINT64_MAX);
}

/* The host's TSC advanced during a pause; the guest's did not, nor did its timers. */
TEST(test_skip_time, setup, teardown)
{
	static const struct step deadline[] = { ENABLE(0),
						{ W, 0, 0x320, 0x400ec },
						{ END, 0, 0, 0 } };
	static const struct step periodic[] = { { W, 0, 0x320, 0x200ed },
						{ W, 0, 0x3e0, 0xb },
						{ W, 0, 0x380, 100000 },
						{ TIME, 0, 40000, 0 },
						{ END, 0, 0, 0 } };
	struct vcpu *vcpu = vm->vcpus[0];

	run("deadline", deadline);
	fake_tsc = 1000000;
	vlapic_skip_time(vcpu, 7000); /* stopped: it stays stopped */
	assert_int_equal(vlapic_next_deadline(vcpu), UINT64_MAX);
	fake_tsc_offset = -7000ul; /* for that pause */
	assert_int_equal(vlapic_msr_write(vcpu, DEADLINE_MSR, 993500), 0);
	assert_int_equal(vlapic_next_deadline(vcpu), 1000500);
	fake_tsc += 1000000;
	fake_tsc_offset -= 1000000;
	vlapic_skip_time(vcpu, 1000000);
	assert_int_equal(vlapic_next_deadline(vcpu), 2000500);
	assert_int_equal(vlapic_irq_pending(vcpu), -1);
	fake_tsc += 500;
	assert_int_equal(vlapic_irq_pending(vcpu), 0xec);
	vlapic_irq_accepted(vcpu, 0xec);
	vlapic_eoi_highest(vcpu);

	run("periodic", periodic);
	assert_int_equal(vlapic_next_deadline(vcpu) - fake_tsc, 160000);
	fake_tsc += 1000000; /* many periods */
	fake_tsc_offset -= 1000000;
	vlapic_skip_time(vcpu, 1000000);
	assert_int_equal(vlapic_irq_pending(vcpu), -1);
	assert_int_equal(vlapic_next_deadline(vcpu) - fake_tsc, 160000);
	fake_tsc += 160000;
	assert_int_equal(vlapic_irq_pending(vcpu), 0xed);
	assert_int_equal(vlapic_next_deadline(vcpu) - fake_tsc, 200000);
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

TEST(test_hardware_delivery, setup, teardown)
{
	static const struct step irqs[] = { { IRQ, 0, 0x51, 1 },
					    { IRQ, 0, 0x62, 0 },
					    { END, 0, 0, 0 } };
	static const struct step more[] = { { IRQ, 0, 0x51, 0 }, { END, 0, 0, 0 } };
	struct vcpu *vcpu = vm->vcpus[0];

	fake_virtual_delivery = true;
	vlapic_destroy(vcpu);
	assert_int_equal(vlapic_create(vcpu), 0);
	/* SVR as hardware has stored it: an APIC-write exit follows the write. */
	*(uint32_t *)apic_word(0xf0) = 0x1ff;
	vlapic_apic_written(vcpu, 0xf0);
	assert_int_equal(vlapic_irr_highest(vcpu), -1);
	run("irqs", irqs);
	assert_int_equal(vlapic_irr_highest(vcpu), 0x62);
	assert_int_equal(fake_vcpus[0].eoi_exits[1], 1ul << (0x51 - 64));
	/* For HLT: is anything deliverable? */
	assert_int_equal(vlapic_irq_pending(vcpu), 0x62);
	hardware_delivers(0x62);
	assert_int_equal(vlapic_irq_pending(vcpu), -1);
	assert_int_equal(vlapic_irr_highest(vcpu), 0x51);
	hardware_eoi(0x62);
	assert_int_equal(vlapic_irq_pending(vcpu), 0x51);
	hardware_delivers(0x51);
	assert_int_equal(ioapic_eois[0x51], 0);
	hardware_eoi(0x51);
	assert_int_equal(ioapic_eois[0x51], 1);
	/* As an edge it causes no exit at EOI any more. */
	run("more", more);
	assert_int_equal(vlapic_irr_highest(vcpu), 0x51);
	assert_int_equal(fake_vcpus[0].eoi_exits[1], 0);
	/* Two vectors are in service, and the mode changes: SVI is updated. */
	hardware_delivers(0x51);
	*page_word(0x100, 0x71) |= 1u << (0x71 % 32);
	assert_int_equal(vlapic_msr_write(vcpu, BASE_MSR, BASE_X2 | BSP), 0);
	assert_int_equal(fake_vcpus[0].apic_mode, VCPU_APIC_X2);
	assert_int_equal(fake_vcpus[0].svi, 0x71);
	vlapic_eoi_highest(vcpu); /* the software path may be called all the same */
	assert_int_equal(fake_vcpus[0].svi, 0x51);
	assert_int_equal(vlapic_msr_write(vcpu, BASE_MSR, BASE_OFF | BSP), 0);
	assert_int_equal(fake_vcpus[0].svi, 0);
	assert_int_equal(fake_vcpus[0].apic_mode, VCPU_APIC_OFF);
	assert_int_equal(vlapic_irr_highest(vcpu), -1);
}

/* Values that a guest may not store are corrected after an APIC-write exit. */
TEST(test_apic_written, setup, teardown)
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

TEST(test_no_memory, setup, teardown)
{
	vlapic_destroy(vm->vcpus[1]);
	fake_pages_fail_after(0);
	assert_int_equal(vlapic_create(vm->vcpus[1]), ERR_NOMEM);
	assert_null(vm->vcpus[1]->platform);
	/* Devices may send while the VM is being built. */
	assert_false(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 1, .vector = 0x41 }));
	assert_false(vlapic_deliver(vm, &(struct vlapic_msg){ .dest = 0xff, .vector = 0x41 }));
	assert_false(vlapic_deliver(
		vm, &(struct vlapic_msg){ .dest = 0xff, .mode = VLAPIC_LOWEST, .vector = 0x41 }));
}
