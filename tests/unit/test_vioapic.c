/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual I/O APIC: registers, edges, levels with their EOI, masks, and what it sends. */
#include "tests/unit/test.h"
#include "guest/dev/vlapic.h"
#include "guest/platform_state.h"

static struct vm vm;
static struct platform platform;
static struct vioapic *const ioapic = &platform.ioapic;
static const struct io_ops *ops;

static struct vlapic_msg sent[64];
static unsigned sent_count;
static bool nobody_accepts;

bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	assert_ptr_equal(to, &vm);
	assert_true(sent_count < ARRAY_COUNT(sent));
	if (nobody_accepts) {
		return false;
	}
	sent[sent_count++] = *msg;
	return true;
}

int iobus_add(struct iobus *bus, enum io_space space, uint64_t base, uint64_t length,
	      const struct io_ops *row, void *device)
{
	assert_ptr_equal(bus, &vm.iobus);
	assert_int_equal(space, IO_SPACE_MEMORY);
	assert_int_equal(base, 0xfec00000);
	assert_int_equal(length, 0x1000);
	assert_ptr_equal(device, ioapic);
	ops = row;
	return 0;
}

static uint64_t mmio(uint64_t offset, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = {
		.offset = offset, .size = size, .write = write, .value = value
	};

	ops->access(ioapic, NULL, &access);
	return access.value;
}

static uint32_t reg_read(uint8_t index)
{
	mmio(0x00, 4, true, index);
	return (uint32_t)mmio(0x10, 4, false, 0);
}

static void reg_write(uint8_t index, uint32_t value)
{
	mmio(0x00, 4, true, index);
	mmio(0x10, 4, true, value);
}

static uint64_t entry_read(unsigned pin)
{
	return reg_read((uint8_t)(0x10 + 2 * pin)) | (uint64_t)reg_read((uint8_t)(0x11 + 2 * pin))
							     << 32;
}

/* Writes the upper half first, as kernels do. */
static void entry_write(unsigned pin, uint64_t entry)
{
	reg_write((uint8_t)(0x11 + 2 * pin), (uint32_t)(entry >> 32));
	reg_write((uint8_t)(0x10 + 2 * pin), (uint32_t)entry);
}

#define MASKED	   BIT(16)
#define LEVEL	   BIT(15)
#define REMOTE_IRR BIT(14)
#define LOGICAL	   BIT(11)
#define DEST(n)	   ((uint64_t)(n) << 56)

static int setup(void **state)
{
	memset(&vm, 0, sizeof(vm));
	memset(&platform, 0, sizeof(platform));
	vm.platform = &platform;
	platform.vm = &vm;
	sent_count = 0;
	nobody_accepts = false;
	assert_int_equal(vioapic_init(ioapic, &vm), 0);
	return fake_setup(state);
}

TEST(registers_read_as_the_datasheet_says, setup)
{
	assert_int_equal(reg_read(1), 0x00170020);
	reg_write(1, 0xffffffff);
	assert_int_equal(reg_read(1), 0x00170020);
	reg_write(0, 0xffffffff);
	assert_int_equal(reg_read(0), 0x0f000000);
	assert_int_equal(reg_read(2), 0x0f000000);
	for (unsigned pin = 0; pin < 24; pin++) {
		assert_int_equal(entry_read(pin), MASKED);
		entry_write(pin, UINT64_MAX & ~(LEVEL | MASKED));
		assert_int_equal(entry_read(pin), DEST(0xff) | 0x2fff);
		entry_write(pin, MASKED | LEVEL | DEST(pin) | (0x30 + pin));
	}
	for (unsigned pin = 0; pin < 24; pin++) {
		assert_int_equal(entry_read(pin), MASKED | LEVEL | DEST(pin) | (0x30 + pin));
	}
	for (unsigned index = 0x40; index < 0x100; index++) {
		reg_write((uint8_t)index, 0xffffffff);
		assert_int_equal(reg_read((uint8_t)index), 0);
	}
	assert_int_equal(reg_read(0x03), 0);
	assert_int_equal(sent_count, 0);
}

TEST(odd_accesses_do_no_harm, setup)
{
	entry_write(2, DEST(1) | 0x42);
	mmio(0, 1, true, 0x14);
	assert_int_equal(mmio(0x10, 1, false, 0), 0x42);
	assert_int_equal(mmio(0x10, 2, false, 0), 0x42);
	assert_int_equal(mmio(0x10, 8, false, 0), 0x42);
	assert_int_equal(mmio(0x11, 1, false, 0), 0);
	mmio(0x10, 1, true, 0xff); /* a part of a register: ignored */
	mmio(0x12, 4, true, 0xffffffff);
	assert_int_equal(entry_read(2), DEST(1) | 0x42);
	for (uint64_t offset = 0; offset < 0x1000; offset += 4) {
		if (offset != 0 && offset != 0x10) {
			mmio(offset, 4, true, 0x42);
			assert_int_equal(mmio(offset, 4, false, 0), 0);
		}
	}
	assert_int_equal(sent_count, 0);
}

TEST(edge_sends_once_for_each_rise, setup)
{
	entry_write(4, DEST(3) | 0x34);
	vioapic_set_line(ioapic, 4, true);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0].dest, 3);
	assert_int_equal(sent[0].vector, 0x34);
	assert_int_equal(sent[0].mode, VLAPIC_FIXED);
	assert_false(sent[0].logical);
	assert_false(sent[0].level);
	assert_false(sent[0].wide);
	vioapic_set_line(ioapic, 4, true);
	vioapic_set_line(ioapic, 4, false);
	assert_int_equal(sent_count, 1);
	vioapic_set_line(ioapic, 4, true);
	assert_int_equal(sent_count, 2);
	vioapic_eoi(&vm, 0x34); /* has no effect on an edge */
	assert_int_equal(sent_count, 2);
	assert_int_equal(entry_read(4), DEST(3) | 0x34);
}

TEST(edge_on_a_masked_pin_is_lost, setup)
{
	entry_write(4, MASKED | 0x34);
	vioapic_set_line(ioapic, 4, true);
	entry_write(4, 0x34);
	assert_int_equal(sent_count, 0);
	vioapic_set_line(ioapic, 4, false);
	vioapic_set_line(ioapic, 4, true);
	assert_int_equal(sent_count, 1);
}

TEST(level_waits_for_its_eoi, setup)
{
	entry_write(9, LEVEL | LOGICAL | DEST(2) | 0x39);
	vioapic_set_line(ioapic, 9, true);
	assert_int_equal(sent_count, 1);
	assert_true(sent[0].level);
	assert_true(sent[0].logical);
	assert_int_equal(entry_read(9), LEVEL | LOGICAL | DEST(2) | REMOTE_IRR | 0x39);
	vioapic_set_line(ioapic, 9, false);
	vioapic_set_line(ioapic, 9, true);
	assert_int_equal(sent_count, 1); /* not before the EOI */
	vioapic_eoi(&vm, 0x38);
	assert_int_equal(sent_count, 1); /* for another vector */
	vioapic_eoi(&vm, 0x39);
	assert_int_equal(sent_count, 2); /* the wire is still high */
	vioapic_set_line(ioapic, 9, false);
	vioapic_eoi(&vm, 0x39);
	assert_int_equal(sent_count, 2);
	assert_int_equal(entry_read(9) & REMOTE_IRR, 0);
}

TEST(eoi_register_ends_an_interrupt_too, setup)
{
	entry_write(9, LEVEL | 0x39);
	vioapic_set_line(ioapic, 9, true);
	vioapic_set_line(ioapic, 9, false);
	mmio(0x40, 4, true, 0x38);
	assert_int_equal(entry_read(9) & REMOTE_IRR, REMOTE_IRR);
	mmio(0x40, 4, true, 0x39);
	assert_int_equal(entry_read(9) & REMOTE_IRR, 0);
}

TEST(one_eoi_ends_all_pins_of_its_vector, setup)
{
	entry_write(10, LEVEL | 0x50);
	entry_write(11, LEVEL | 0x50);
	vioapic_set_line(ioapic, 10, true);
	vioapic_set_line(ioapic, 11, true);
	assert_int_equal(sent_count, 2);
	vioapic_eoi(&vm, 0x50);
	assert_int_equal(sent_count, 4);
}

TEST(masked_level_is_held_by_the_wire, setup)
{
	entry_write(9, MASKED | LEVEL | 0x39);
	vioapic_set_line(ioapic, 9, true);
	assert_int_equal(sent_count, 0);
	entry_write(9, LEVEL | 0x39);
	assert_int_equal(sent_count, 1);
	/* Masking keeps the state; unmasking before the EOI sends nothing. */
	entry_write(9, MASKED | LEVEL | 0x39);
	entry_write(9, LEVEL | 0x39);
	assert_int_equal(sent_count, 1);
	entry_write(9, MASKED | LEVEL | 0x39);
	vioapic_eoi(&vm, 0x39);
	assert_int_equal(sent_count, 1);
	entry_write(9, LEVEL | 0x39);
	assert_int_equal(sent_count, 2);
}

TEST(change_to_edge_drops_remote_irr, setup)
{
	entry_write(9, LEVEL | 0x39);
	vioapic_set_line(ioapic, 9, true);
	entry_write(9, MASKED | 0x39);
	assert_int_equal(entry_read(9), MASKED | 0x39);
	entry_write(9, LEVEL | 0x39);
	assert_int_equal(sent_count, 2);
}

TEST(unaccepted_level_is_tried_again, setup)
{
	nobody_accepts = true;
	entry_write(9, LEVEL | 0x39);
	vioapic_set_line(ioapic, 9, true);
	assert_int_equal(entry_read(9) & REMOTE_IRR, 0);
	nobody_accepts = false;
	entry_write(9, LEVEL | DEST(1) | 0x39);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0].dest, 1);
}

TEST(other_delivery_modes, setup)
{
	entry_write(0, VLAPIC_EXTINT << 8 | 0x20); /* there is no PIC behind it */
	entry_write(1, VLAPIC_NMI << 8 | LEVEL);
	entry_write(2, VLAPIC_LOWEST << 8 | LEVEL | 0x61);
	for (unsigned pin = 0; pin < 3; pin++) {
		vioapic_set_line(ioapic, pin, true);
	}
	assert_int_equal(sent_count, 2);
	assert_int_equal(sent[0].mode, VLAPIC_NMI);
	assert_false(sent[0].level);
	assert_int_equal(entry_read(1) & REMOTE_IRR, 0);
	assert_int_equal(sent[1].mode, VLAPIC_LOWEST);
	assert_true(sent[1].level);
	assert_int_equal(entry_read(2) & REMOTE_IRR, REMOTE_IRR);
}

TEST(pins_beyond_the_last_are_ignored, setup)
{
	for (uint32_t pin = 24; pin < 80; pin++) {
		vioapic_set_line(ioapic, pin, true);
	}
	vioapic_set_line(ioapic, UINT32_MAX, true);
	assert_int_equal(ioapic->lines, 0);
}
