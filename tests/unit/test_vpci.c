/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/dev/vpci.c on the real bus: Linux' probe of mechanism #1, the reset register between its
 * ports, configuration space as memory, and a function with BARs, capabilities and an interrupt
 * pin, for a driver and for a hostile guest.
 */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "guest/dev/vioapic.h"
#include "guest/dev/vpci.h"
#include "vmm/base/err.h"

static struct vm vm;
static struct vpci pci;
static struct vioapic ioapic;
static uint32_t lines, line_changes;

void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
	assert_ptr_equal(to, &ioapic);
	lines = high ? lines | 1u << pin : lines & ~(1u << pin);
	line_changes++;
}

static int setup(void **state)
{
	vm = (struct vm){ 0 };
	fake_vm_may_end(&vm);
	lines = line_changes = 0;
	return vpci_init(&pci, &vm, &ioapic);
}

static uint64_t in(uint16_t port, uint32_t size)
{
	struct io_access access = { .size = size };

	iobus_port_access(&vm.iobus, port, NULL, &access);
	return access.value;
}

static void out(uint16_t port, uint32_t size, uint64_t value)
{
	struct io_access access = { .size = size, .write = true, .value = value };

	iobus_port_access(&vm.iobus, port, NULL, &access);
}

static void select_register(uint32_t address)
{
	out(0xcf8, 4, address);
}

TEST(test_probe, setup)
{
	out(0xcfb, 1, 1);
	assert_int_equal(in(0xcf8, 4), 0);
	select_register(0x80000000);
	assert_int_equal(in(0xcf8, 4), 0x80000000);
	select_register(0x80000008);
	assert_int_equal(in(0xcfc + 2, 2), 0x0600); /* a host bridge */
	select_register(0xffffffff);
	assert_int_equal(in(0xcf8, 4), 0x80fffffc);
	assert_int_equal(fake_end_reason, VM_END_NONE);
}

TEST(test_bridge, setup)
{
	select_register(0x80000000);
	assert_int_equal(in(0xcfc, 4), 0x0d578086);
	assert_int_equal(in(0xcfe, 2), 0x0d57);
	assert_int_equal(in(0xcfd, 1), 0x80);
	out(0xcfc, 4, 0);
	assert_int_equal(in(0xcfc, 4), 0x0d578086);
	select_register(0x80000004); /* command and status */
	assert_int_equal(in(0xcfc, 4), 0);
	for (uint32_t reg = 12; reg < 256; reg += 4) {
		select_register(0x80000000 | reg);
		assert_int_equal(in(0xcfc, 4), 0);
	}
}

TEST(test_no_other_function, setup)
{
	for (uint32_t function = 1; function < 65536; function++) {
		select_register(0x80000000 | function << 8);
		assert_int_equal(in(0xcfc, 4), 0xffffffff);
	}
	select_register(0); /* not enabled */
	assert_int_equal(in(0xcfc, 2), 0xffff);
}

TEST(test_reset, setup)
{
	select_register(0x80000600); /* a byte of an address, not a reset */
	out(0xcf8, 2, 0x0600);
	out(0xcf9, 2, 0x0606);
	out(0xcf9, 1, 0x02);
	assert_int_equal(in(0xcf9, 1), 0xff);
	assert_int_equal(fake_end_reason, VM_END_NONE);
	out(0xcf9, 1, 0x06);
	assert_int_equal(fake_end_reason, VM_END_RESET);
}

/* --- A function with an I/O BAR, a 32-bit and a 64-bit memory BAR at device 3 --- */

#define AT(reg) (0x80001800u | (reg))

static struct vpci_function function;
static struct io_access seen;
static void *seen_bar;
static uint32_t written_at, written_bytes;
static bool pin_meanwhile;

static void bar_access(void *device, struct vcpu *vcpu, struct io_access *access)
{
	seen_bar = device;
	seen = *access;
	access->value = 0x55;
}

static const struct io_ops bar_ops = { .name = "bar", .access = bar_access };
static char io_bar, low_bar, wide_bar;

static void written(struct vpci_function *which, uint32_t offset, uint32_t size)
{
	assert_ptr_equal(which, &function);
	written_at = offset;
	written_bytes = size;
	if (pin_meanwhile) {
		vpci_set_intx(&function, true);
	}
}

static const struct vpci_function_ops function_ops = { .name = "test", .written = written };
static const struct vpci_identity identity = {
	.vendor = 0x1af4,
	.device = 0x1042,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1100,
	.class_code = 0x018000,
	.revision = 1,
	.interrupt_pin = 1,
};

static int setup_function(void **state)
{
	int err = setup(state);

	written_at = written_bytes = 0;
	pin_meanwhile = false;
	err |= vpci_add(&pci, 3, &function, &function_ops, &identity);
	err |= vpci_add_bar(&function, 0, VPCI_BAR_IO, 32, &bar_ops, &io_bar);
	err |= vpci_add_bar(&function, 1, VPCI_BAR_MEMORY32, 0x1000, &bar_ops, &low_bar);
	err |= vpci_add_bar(&function, 4, VPCI_BAR_MEMORY64, 4 * SIZE_1G, &bar_ops, &wide_bar);
	return err;
}

static uint64_t config_in(uint32_t reg, uint32_t size)
{
	select_register(AT(reg & ~3u));
	return in((uint16_t)(0xcfc + (reg & 3)), size);
}

static void config_out(uint32_t reg, uint32_t size, uint64_t value)
{
	select_register(AT(reg & ~3u));
	out((uint16_t)(0xcfc + (reg & 3)), size, value);
}

/* Which BAR answers at a memory address. */
static void *who(uint64_t address)
{
	struct io_access access = { .size = 4 };

	seen_bar = NULL;
	iobus_memory_access(&vm.iobus, address, NULL, &access);
	return seen_bar;
}

TEST(the_header_is_what_it_was_made_of, setup_function)
{
	assert_int_equal(config_in(0x00, 4), 0x10421af4);
	assert_int_equal(config_in(0x08, 4), 0x01800001);
	assert_int_equal(config_in(0x0e, 1), 0); /* one function, type 00H */
	assert_int_equal(config_in(0x2c, 4), 0x11001af4);
	assert_int_equal(config_in(0x3d, 1), 1);
	for (uint32_t reg = 0; reg < 0x100; reg += 4) {
		config_out(reg, 4, 0xffffffff);
	}
	assert_int_equal(config_in(0x00, 4), 0x10421af4);
	assert_int_equal(config_in(0x04, 4), 0x0407); /* I/O, memory, bus master, INTx off */
	assert_int_equal(config_in(0x08, 4), 0x01800001);
	assert_int_equal(config_in(0x0c, 4), 0);
	assert_int_equal(config_in(0x2c, 4), 0x11001af4);
	assert_int_equal(config_in(0x3c, 4), 0x1ff);
	assert_int_equal(config_in(0x40, 4), 0);
}

TEST(all_ones_read_back_as_the_size, setup_function)
{
	static const struct {
		uint32_t reg, before, after;
	} rows[] = {
		{ 0x10, 0x00001001, 0x0000ffe1 }, { 0x14, 0xc0000000, 0xfffff000 },
		{ 0x18, 0x00000000, 0x00000000 }, { 0x1c, 0x00000000, 0x00000000 },
		{ 0x20, 0x00000004, 0x00000004 }, { 0x24, 0x00000000, 0xffffffff },
		{ 0x30, 0x00000000, 0x00000000 }, /* no expansion ROM */
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		assert_int_equal(config_in(rows[i].reg, 4), rows[i].before);
		config_out(rows[i].reg, 4, 0xffffffff);
		assert_int_equal(config_in(rows[i].reg, 4), rows[i].after);
		config_out(rows[i].reg, 4, rows[i].before);
		assert_int_equal(config_in(rows[i].reg, 4), rows[i].before);
	}
}

TEST(bars_answer_where_they_were_put_and_while_enabled, setup_function)
{
	config_out(0x10, 4, 0xc000);
	config_out(0x14, 4, 0xd0000000);
	config_out(0x24, 4, 0x100); /* moves it out of the way */
	assert_null(who(0xd0000000));
	assert_int_equal(in(0xc000, 1), 0xff);
	config_out(0x04, 2, 1); /* I/O space */
	assert_int_equal(in(0xc010, 2), 0x55);
	assert_ptr_equal(seen_bar, &io_bar);
	assert_int_equal(seen.offset, 0x10);
	assert_null(who(0xd0000000));
	config_out(0x04, 1, 2); /* memory space on, I/O off */
	assert_int_equal(in(0xc010, 2), 0xffff);
	assert_ptr_equal(who(0xd0000ffc), &low_bar);
	assert_null(who(0xd0001000));
	config_out(0x14, 4, 0xd1000000);
	assert_null(who(0xd0000000));
	assert_ptr_equal(who(0xd1000000), &low_bar);
	config_out(0x05, 1, 0xff); /* not the byte with the enable bits */
	assert_ptr_equal(who(0xd1000000), &low_bar);
	config_out(0x04, 2, 0);
	assert_null(who(0xd1000000));
}

/*
 * Writing a byte or a word of a register moves the range too, and either half of 64 bits may be
 * first.
 */
TEST(parts_of_a_bar_may_be_written, setup_function)
{
	config_out(0x24, 4, 0x100);
	config_out(0x04, 2, 2);
	config_out(0x16, 2, 0xd123);
	assert_ptr_equal(who(0xd1230000), &low_bar);
	config_out(0x15, 1, 0x4f);
	assert_ptr_equal(who(0xd1234000), &low_bar);
	assert_int_equal(config_in(0x14, 4), 0xd1234000);
	assert_int_equal(config_in(0x15, 2), 0x2340);
	config_out(0x24, 4, 5);
	assert_ptr_equal(who(0x500000000), &wide_bar);
	assert_ptr_equal(who(0x5fffffffc), &wide_bar);
	assert_null(who(0x600000000));
	config_out(0x24, 1, 7);
	assert_null(who(0x500000000));
	assert_ptr_equal(who(0x700000000), &wide_bar);
	/* While it is sized: at the very end of the address space. */
	config_out(0x24, 4, 0xffffffff);
	assert_ptr_equal(who(UINT64_MAX - 3), &wide_bar);
}

TEST(a_bar_takes_nothing_from_others, setup_function)
{
	char fixed;

	assert_int_equal(
		iobus_add(&vm.iobus, IO_SPACE_MEMORY, 0xfec00000, 0x1000, &bar_ops, &fixed), 0);
	config_out(0x04, 2, 3);
	config_out(0x14, 4, 0xfec00000);
	assert_ptr_equal(who(0xfec00000), &fixed);
	config_out(0x24, 4, 0);
	config_out(0x14, 4, 0x10000000); /* in the other one's 4 GiB */
	assert_ptr_equal(who(0x10000000), &low_bar);
	assert_ptr_equal(who(0x10001000), &wide_bar);
	config_out(0x10, 4, 0xce0); /* over CF8H */
	assert_int_equal(config_in(0x10, 4), 0xce1);
	assert_int_equal(in(0xce0, 1), 0x55);
}

TEST(accesses_that_are_not_of_one_register_read_ones, setup_function)
{
	select_register(AT(0));
	assert_int_equal(in(0xcfd, 1), 0x1a);
	assert_int_equal(in(0xcfd, 2), 0x421a);
	assert_int_equal(in(0xcfd, 4), 0xffffffff); /* crosses CFFH */
	assert_int_equal(in(0xcff, 2), 0xffff);
	assert_int_equal(in(0xcfb, 2), 0xffff);
	select_register(AT(0x14));
	out(0xcfe, 4, 0xffffffff);
	assert_int_equal(in(0xcfc, 4), 0xc0000000);
	assert_int_equal(written_bytes, 0);
}

TEST(the_function_is_notified_of_writes, setup_function)
{
	config_out(0x42, 2, 1);
	assert_int_equal(written_at, 0x42);
	assert_int_equal(written_bytes, 2);
}

/* --- Configuration space as memory, and the pin --- */

static uint64_t ecam_in(uint32_t offset, uint32_t size)
{
	struct io_access access = { .size = size };

	iobus_memory_access(&vm.iobus, 0xe0000000 + offset, NULL, &access);
	return access.value;
}

static void ecam_out(uint32_t offset, uint32_t size, uint64_t value)
{
	struct io_access access = { .size = size, .write = true, .value = value };

	iobus_memory_access(&vm.iobus, 0xe0000000 + offset, NULL, &access);
}

TEST(both_doors_lead_to_one_register, setup_function)
{
	assert_int_equal(ecam_in(0x18000, 4), 0x10421af4);
	assert_int_equal(ecam_in(0x18002, 2), 0x1042);
	ecam_out(0x18014, 4, 0xd0000000);
	assert_int_equal(config_in(0x14, 4), 0xd0000000);
	config_out(0x3c, 1, 0x5a);
	assert_int_equal(ecam_in(0x1803c, 1), 0x5a);
	assert_int_equal(ecam_in(0x18100, 4), 0);	   /* no extended capability */
	assert_int_equal(ecam_in(0x19000, 4), 0xffffffff); /* function 1 */
	assert_int_equal(ecam_in(0xff000, 4), 0xffffffff);
	assert_int_equal(ecam_in(0x18001, 2), 0xffff); /* not aligned */
	assert_int_equal(ecam_in(0x18002, 4), 0xffffffff);
	assert_true(ecam_in(0x18000, 8) == UINT64_MAX);
	ecam_out(0x18010, 8, UINT64_MAX);
	assert_int_equal(config_in(0x14, 4), 0xd0000000);
}

/* Status bit 3 shows the pin whether it is disabled or not (PCI 3.0, "Device Status"). */
TEST(the_pin_can_be_switched_off_and_is_seen, setup_function)
{
	vpci_set_intx(&function, true);
	assert_int_equal(lines, 1u << 19);
	assert_int_equal(config_in(0x06, 2), 0x08);
	config_out(0x04, 2, 0x400);
	assert_int_equal(lines, 0);
	assert_int_equal(config_in(0x06, 2), 0x08);
	config_out(0x04, 2, 0);
	assert_int_equal(lines, 1u << 19);
	vpci_set_intx(&function, false);
	assert_int_equal(lines, 0);
	assert_int_equal(config_in(0x06, 2), 0);
}

/* While a guest writes registers, which may move a share, another VM may ring its doorbell. */
TEST(the_pin_does_not_wait_for_registers, setup_function)
{
	pin_meanwhile = true;
	config_out(0x04, 2, 2);
	assert_int_equal(lines, 1u << 19);
	pin_meanwhile = false;
	config_out(0x04, 2, 0x402);
	assert_int_equal(lines, 0);
	vpci_set_intx(&function, true);
	assert_int_equal(lines, 0);
	assert_int_equal(config_in(0x04, 4), 0x00080402);
	assert_int_equal(config_in(0x04, 2), 0x402);
	assert_int_equal(config_in(0x07, 1), 0);
}

TEST(a_shared_line_is_the_or_of_its_pins, setup_function)
{
	static struct vpci_function other;

	assert_int_equal(vpci_add(&pci, 3 + 8, &other, &function_ops, &identity), 0);
	vpci_set_intx(&function, true);
	vpci_set_intx(&other, true);
	assert_int_equal(lines, 1u << 19);
	vpci_set_intx(&function, false);
	assert_int_equal(lines, 1u << 19);
	vpci_set_intx(&other, false);
	assert_int_equal(lines, 0);
	assert_int_equal(line_changes, 2);
}

TEST(capabilities_are_a_list, setup_function)
{
	static const uint8_t body[5] = { 1, 2, 3, 4, 5 };

	assert_int_equal(config_in(0x34, 1), 0);
	assert_int_equal(vpci_add_capability(&function, 0x09, body, 5), 0x40);
	assert_int_equal(vpci_add_capability(&function, 0x11, body, 2), 0x48);
	assert_int_equal(config_in(0x06, 2), 0x10);
	assert_int_equal(config_in(0x34, 1), 0x40);
	assert_int_equal(config_in(0x40, 4), 0x02014809);
	assert_int_equal(config_in(0x44, 4), 0x00050403);
	assert_int_equal(config_in(0x48, 4), 0x02010011);
	config_out(0x40, 4, 0xffffffff);
	assert_int_equal(config_in(0x40, 4), 0x02014809);
}

TEST(bus_master_is_what_the_command_says, setup_function)
{
	assert_false(vpci_is_master(&function));
	config_out(0x04, 2, 4);
	assert_true(vpci_is_master(&function));
	config_out(0x04, 1, 3);
	assert_false(vpci_is_master(&function));
}

static uint64_t accessor(uint32_t number, uint32_t offset, uint32_t size)
{
	struct io_access access = { .size = size, .value = 0x1234 };

	vpci_config_access(&pci, NULL, number, offset, &access);
	return access.value;
}

/* As memory-mapped configuration space uses it: 4096 bytes, and buses that do not exist. */
TEST(the_accessor_knows_no_more_than_is_there, setup_function)
{
	assert_int_equal(accessor(3 << 3, 2, 2), 0x1042);
	assert_int_equal(accessor(3 << 3, 0xfc, 4), 0);
	assert_int_equal(accessor(3 << 3, 0x100, 4), 0); /* no extended capability */
	assert_int_equal(accessor(3 << 3, 0xfff, 1), 0);
	function.config[0xfe] = 0x55;
	assert_int_equal(accessor(3 << 3, 0xfe, 2), 0x55);
	assert_int_equal(accessor(3 << 3, 0xfe, 4), 0); /* crosses the end */
	assert_int_equal(accessor(3 << 3 | 1, 0, 4), 0xffffffff);
	assert_int_equal(accessor(4 << 3, 0x100, 4), 0xffffffff);
	assert_int_equal(accessor(1 << 8 | 3 << 3, 0, 4), 0xffffffff);
	assert_int_equal(accessor(0xffff, 0, 2), 0xffff);
}

TEST(what_cannot_be_added_is_refused, setup_function)
{
	static struct vpci_function other;
	static const struct {
		uint32_t number;
		enum vpci_bar_kind kind;
		uint64_t bytes;
		int err;
	} rows[] = {
		{ 0, VPCI_BAR_IO, 4, ERR_INVAL },
		{ 5, VPCI_BAR_MEMORY32, 0x1000, ERR_INVAL },
		{ 6, VPCI_BAR_IO, 4, ERR_INVAL },
		{ 2, VPCI_BAR_IO, 2, ERR_INVAL },
		{ 2, VPCI_BAR_IO, 512, ERR_INVAL },
		{ 2, VPCI_BAR_IO, 24, ERR_INVAL },
		{ 2, VPCI_BAR_MEMORY32, 8, ERR_INVAL },
		{ 2, VPCI_BAR_MEMORY32, 0, ERR_INVAL },
		{ 3, VPCI_BAR_MEMORY64, 16, ERR_INVAL },
		{ 2, VPCI_BAR_NONE, 16, ERR_INVAL },
		{ 2, VPCI_BAR_MEMORY32, BIT(32), ERR_INVAL },
		{ 2, VPCI_BAR_MEMORY64, 16, 0 },
		{ 3, VPCI_BAR_IO, 4, ERR_INVAL },
	};

	assert_int_equal(vpci_add(&pci, 0, &other, &function_ops, &identity), ERR_EXISTS);
	assert_int_equal(vpci_add(&pci, 3, &other, &function_ops, &identity), ERR_EXISTS);
	assert_int_equal(vpci_add(&pci, 32, &other, &function_ops, &identity), ERR_INVAL);
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		int err = vpci_add_bar(&function, rows[i].number, rows[i].kind, rows[i].bytes,
				       &bar_ops, NULL);

		if (err != rows[i].err) {
			fail_msg("row %zu: %d", i, err);
		}
	}
	while (iobus_add_movable(&vm.iobus, IO_SPACE_PORT, 4, &bar_ops, NULL) != NULL) {
	}
	assert_int_equal(vpci_add(&pci, 4, &other, &function_ops, &identity), 0);
	assert_int_equal(vpci_add_bar(&other, 0, VPCI_BAR_IO, 4, &bar_ops, NULL), ERR_NOMEM);
}
