/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dev/vmsix.c: table and pending bits, for a driver and for a hostile guest. */
#include "tests/unit/test.h"
#include "guest/dev/vlapic.h"
#include "guest/dev/vmsix.h"

#define VECTORS	 3
#define MASK_ALL 0x4000
#define ENABLE	 0x8000

static struct vm vm = { .name = "m" };
static struct vpci pci;
static struct vpci_function function;
static struct vmsix msix;
static struct vlapic_msg sent[8];
static unsigned sent_count;

bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	assert_ptr_equal(to, &vm);
	assert_true(sent_count < ARRAY_COUNT(sent));
	sent[sent_count++] = *msg;
	return true;
}

void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
	fail_msg("pin %u %d", pin, high);
}

static void written(struct vpci_function *which, uint32_t offset, uint32_t size)
{
	vmsix_written(&msix, offset, size);
}

static const struct vpci_function_ops function_ops = { .name = "test", .written = written };
static const struct vpci_identity identity = { .vendor = 0x1af4, .interrupt_pin = 1 };

static uint64_t config(uint32_t reg, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	vpci_config_access(&pci, NULL, 1 << 3, reg, &access);
	return access.value;
}

static void control(uint32_t value)
{
	config(msix.capability + 2, 2, true, value);
}

static uint64_t table(uint32_t offset, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	vmsix_table(&msix, offset, &access);
	return access.value;
}

static uint64_t pending(void)
{
	struct io_access access = { .size = 8 };

	vmsix_pending(&msix, 0, &access);
	return access.value;
}

/* Programs the vector's message for local APIC 5, with its own interrupt vector; masked or not. */
static void program(uint32_t vector, uint32_t masked)
{
	table(vector * 16, 4, true, 0xfee05000);
	table(vector * 16 + 4, 4, true, 0);
	table(vector * 16 + 8, 4, true, 0x41 + vector);
	table(vector * 16 + 12, 4, true, masked);
}

static int setup(void **state)
{
	int err = fake_setup(state);

	vm.iobus = (struct iobus){ 0 };
	sent_count = 0;
	err |= vpci_init(&pci, &vm, NULL);
	err |= vpci_add(&pci, 1, &function, &function_ops, &identity);
	err |= vpci_add_bar(&function, 0, VPCI_BAR_MEMORY64, 0x4000, NULL, NULL);
	vmsix_init(&msix, &function, VECTORS, 0, 0x3000, 0x3800);
	config(4, 2, true, 4);
	for (uint32_t i = 0; i < VECTORS; i++) {
		program(i, 0);
	}
	return err;
}

TEST(the_capability_says_where_and_how_many, setup, fake_teardown)
{
	const uint32_t at = msix.capability;

	assert_int_equal(config(at, 4, false, 0), 0x00020011);
	assert_int_equal(config(at + 4, 4, false, 0), 0x3000);
	assert_int_equal(config(at + 8, 4, false, 0), 0x3800);
	config(at, 4, true, 0xffffffff);
	assert_int_equal(config(at, 4, false, 0), 0xc0020011);
	config(at + 4, 4, true, 0);
	assert_int_equal(config(at + 4, 4, false, 0), 0x3000);
}

TEST(a_message_is_what_the_entry_says, setup, fake_teardown)
{
	control(ENABLE);
	table(16, 4, true, 0xfee0a00c); /* redirection hint, logical */
	table(16 + 8, 4, true, 0xc152); /* level, asserted, lowest priority */
	vmsix_send(&msix, 1);
	vmsix_send(&msix, 2);
	assert_int_equal(sent_count, 2);
	assert_int_equal(sent[0].dest, 0x0a);
	assert_true(sent[0].logical);
	assert_int_equal(sent[0].mode, VLAPIC_LOWEST);
	assert_int_equal(sent[0].vector, 0x52);
	assert_false(sent[0].level); /* a message is an edge: it needs no EOI */
	assert_int_equal(sent[1].dest, 5);
	assert_int_equal(sent[1].vector, 0x43);
	assert_int_equal(pending(), 0);
}

TEST(nothing_is_sent_while_off, setup, fake_teardown)
{
	vmsix_send(&msix, 0);
	assert_int_equal(pending(), 0);
	control(ENABLE);
	assert_int_equal(sent_count, 0);
	vmsix_send(&msix, VECTORS); /* nor a vector that does not exist */
	vmsix_send(&msix, 0xffff);
	assert_int_equal(sent_count, 0);
}

/* A message is a write to memory: it waits until the function may write. */
TEST(messages_wait_for_the_bus, setup, fake_teardown)
{
	control(ENABLE);
	config(4, 2, true, 0);
	vmsix_send(&msix, 0);
	table(12, 4, true, 0);
	assert_int_equal(sent_count, 0);
	assert_int_equal(pending(), 1);
	config(6, 2, true, 0); /* another register */
	assert_int_equal(sent_count, 0);
	config(4, 2, true, 4);
	assert_int_equal(sent_count, 1);
	assert_int_equal(pending(), 0);
	config(4, 2, true, 0);
	vmsix_send(&msix, 0);
	control(0); /* what waits for the driver before is nothing to the next one */
	config(4, 2, true, 4);
	control(ENABLE);
	assert_int_equal(sent_count, 1);
}

TEST(masked_vectors_wait_and_come_once, setup, fake_teardown)
{
	control(ENABLE);
	table(12, 4, true, 1);
	vmsix_send(&msix, 0);
	vmsix_send(&msix, 0);
	assert_int_equal(sent_count, 0);
	assert_int_equal(pending(), 1);
	vmsix_send(&msix, 1);
	assert_int_equal(sent_count, 1);
	table(12, 4, true, 0);
	assert_int_equal(sent_count, 2);
	assert_int_equal(sent[1].vector, 0x41);
	assert_int_equal(pending(), 0);
	control(ENABLE | MASK_ALL);
	vmsix_send(&msix, 2);
	vmsix_send(&msix, 0);
	assert_int_equal(pending(), 5);
	control(MASK_ALL); /* off: pending messages are gone */
	control(ENABLE);
	assert_int_equal(sent_count, 2);
	control(ENABLE | MASK_ALL);
	vmsix_send(&msix, 2);
	control(ENABLE);
	assert_int_equal(sent_count, 3);
}

/* A write of 8 bytes replaces data and mask at the same time. */
TEST(entries_are_read_and_written_in_4_or_8_bytes, setup, fake_teardown)
{
	assert_true(table(16, 8, false, 0) == 0xfee05000);
	table(16, 8, true, 0x11fee07003);
	assert_true(table(16, 8, false, 0) == 0x11fee07000);
	assert_int_equal(table(20, 4, false, 0), 0x11);
	table(24, 8, true, 0xffffffff00000099);
	assert_true(table(24, 8, false, 0) == 0x100000099);
	assert_int_equal(table(28, 4, false, 0), 1);
}

TEST(other_accesses_do_nothing, setup, fake_teardown)
{
	static const struct {
		uint32_t offset, size;
	} rows[] = {
		{ 0, 1 },  { 0, 2 },  { 2, 4 },		 { 4, 8 },     { VECTORS * 16, 4 },
		{ 48, 8 }, { 44, 8 }, { 0xfffffff0, 4 }, { 0x7f8, 8 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		const uint32_t size = rows[i].size;

		table(rows[i].offset, size, true, UINT64_MAX);
		assert_true(table(rows[i].offset, size, false, 0) ==
			    (size < 8 ? MASK(8 * size - 1, 0) : UINT64_MAX));
	}
	for (uint32_t i = 0; i < VECTORS; i++) {
		assert_true(table(i * 16, 8, false, 0) == 0xfee05000);
		assert_int_equal(table(i * 16 + 8, 8, false, 0), 0x41 + i);
	}
}

TEST(addresses_of_no_local_apic_are_refused_in_words_once, setup, fake_teardown)
{
	static const uint64_t others[] = { 0, 0xfed00000, 0xfef00000, 0x1fee00000, 0x100000 };

	control(ENABLE);
	for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
		table(0, 8, true, others[i]);
		vmsix_send(&msix, 0);
	}
	assert_int_equal(sent_count, 0);
	assert_string_equal(fake_log_text(),
			    "warning: vm m: test: MSI-X vector 0 goes to 0, which is not a local "
			    "APIC: it is not sent, and further ones are not logged\n");
	table(8, 4, true, 0x0741); /* ExtINT: there is no 8259 to supply a vector */
	table(0, 8, true, 0xfee00000);
	vmsix_send(&msix, 0);
	assert_int_equal(sent_count, 0);
}

TEST(the_pin_is_quiet_while_messages_are_on, setup, fake_teardown)
{
	control(ENABLE);
	vpci_set_intx(&function, true); /* vioapic_set_line fails */
	assert_int_equal(config(6, 2, false, 0) & 8, 8);
	vpci_set_intx(&function, false);
}
