/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/dev/ivshmem.c: two VMs that have a share as a PCI function, on the real bus and MSI-X. Its
 * registers as a driver and as a hostile guest meet them, doorbells by message and by pin, and
 * where the memory goes when the guest writes the base address register.
 */
#include "tests/unit/test.h"
#include "ept/share.h"
#include "guest/dev/ivshmem.h"
#include "guest/dev/vlapic.h"
#include "guest/platform_state.h"
#include "guest/shares.h"
#include "vmm/base/err.h"

#define BYTES  (2 * SIZE_2M)
#define WINDOW 0x100000000ul
#define SLOT   31
#define INDEX  3 /* of the share */

enum { ALPHA, BETA, VMS };

static struct vm vms[VMS] = { { .name = "alpha" }, { .name = "beta" } };
static struct platform platforms[VMS];
static bool joined[VMS];
static bool none;
static uint32_t lines[VMS];
static struct vlapic_msg sent[VMS];
static unsigned sent_count[VMS];
static struct {
	struct gmem *gmem;
	uint64_t first, to;
	bool on;
	unsigned count;
} moved;

bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	sent[to - vms] = *msg;
	sent_count[to - vms]++;
	return true;
}

void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
	const uint32_t i = to == &platforms[BETA].ioapic;

	lines[i] = high ? lines[i] | 1u << pin : lines[i] & ~(1u << pin);
}

void share_move(struct gmem *gmem, gpa_t first, gpa_t to, bool on)
{
	moved.gmem = gmem;
	moved.first = first.v;
	moved.to = to.v;
	moved.on = on;
	moved.count++;
}

int ept_reserve(struct ept_root *root, gpa_t gpa, uint64_t bytes, uint64_t leaf)
{
	assert_int_equal(gpa.v, WINDOW);
	assert_int_equal(bytes, 2 * BYTES);
	return 0;
}

size_t shares_pci(const struct vm *vm, struct shares_pci *out, uint64_t *window,
		  uint64_t *window_bytes)
{
	*window = none ? 0 : WINDOW;
	*window_bytes = none ? 0 : 2 * BYTES;
	out[0] = (struct shares_pci){ INDEX, (uint32_t)(vm - vms), "mailbox", gpa(WINDOW), BYTES };
	return !none;
}

bool shares_is_joined(size_t index, uint32_t member)
{
	return index == INDEX && member < VMS && joined[member];
}

static uint64_t config(unsigned i, uint32_t reg, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	vpci_config_access(&platforms[i].pci, NULL, SLOT << 3, reg, &access);
	return access.value;
}

static uint64_t memory(unsigned i, uint64_t at, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	iobus_memory_access(&vms[i].iobus, at, NULL, &access);
	return access.value;
}

static uint64_t registers(unsigned i)
{
	return config(i, 0x10, 4, false, 0) & ~0xful;
}

static uint64_t get(unsigned i, uint32_t reg)
{
	return memory(i, registers(i) + reg, 4, false, 0);
}

static void set(unsigned i, uint32_t reg, uint32_t value)
{
	(void)memory(i, registers(i) + reg, 4, true, value);
}

static void ring(unsigned from, uint32_t peer, uint32_t vector)
{
	set(from, 0x0c, peer << 16 | vector);
}

static int setup(void **state)
{
	int err = fake_setup(state);

	memset(sent_count, 0, sizeof(sent_count));
	memset(lines, 0, sizeof(lines));
	none = false;
	for (unsigned i = 0; i < VMS; i++) {
		joined[i] = true;
		memset(&vms[i].iobus, 0, sizeof(vms[i].iobus));
		platforms[i] = (struct platform){ .vm = &vms[i] };
		vms[i].platform = &platforms[i];
		err |= vpci_init(&platforms[i].pci, &vms[i], &platforms[i].ioapic);
		err |= ivshmem_device.init(&platforms[i]);
		(void)config(i, 0x04, 2, true, 0x0006); /* memory space, bus master */
	}
	return err;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < VMS; i++) {
		ivshmem_device.destroy(&platforms[i]);
	}
	return fake_teardown(state);
}

TEST(it_is_what_drivers_look_for, setup, teardown)
{
	assert_int_equal(config(ALPHA, 0x00, 4, false, 0), 0x11101af4);
	assert_int_equal(config(ALPHA, 0x08, 4, false, 0), 0x05000001);
	assert_int_equal(config(ALPHA, 0x3d, 1, false, 0), 1);
	assert_int_equal(config(ALPHA, 0x18, 4, false, 0), (uint32_t)WINDOW | 0xc);
	assert_int_equal(config(ALPHA, 0x1c, 4, false, 0), WINDOW >> 32);
	(void)config(ALPHA, 0x18, 4, true, 0xffffffff);
	(void)config(ALPHA, 0x1c, 4, true, 0xffffffff);
	assert_int_equal(config(ALPHA, 0x18, 4, false, 0), (uint32_t) ~(BYTES - 1) | 0xc);
	assert_int_equal(config(ALPHA, 0x1c, 4, false, 0), 0xffffffff);
	assert_int_equal(get(ALPHA, 0x08), 0);
	assert_int_equal(get(BETA, 0x08), 1);
}

TEST(a_vm_without_such_shares_has_no_device, setup, teardown)
{
	ivshmem_device.destroy(&platforms[ALPHA]);
	memset(&vms[ALPHA].iobus, 0, sizeof(vms[ALPHA].iobus));
	none = true;
	assert_int_equal(vpci_init(&platforms[ALPHA].pci, &vms[ALPHA], &platforms[ALPHA].ioapic),
			 0);
	assert_int_equal(ivshmem_device.init(&platforms[ALPHA]), 0);
	assert_int_equal(platforms[ALPHA].ivshmem_count, 0);
	assert_int_equal(platforms[ALPHA].pci.window_bytes, 0);
	for (uint32_t slot = 1; slot < VPCI_DEVICES; slot++) {
		assert_null(platforms[ALPHA].pci.functions[slot]);
	}
}

/* Within the bridge's window alone, and while memory space is on. */
TEST(the_memory_goes_where_the_register_says, setup, teardown)
{
	static const struct {
		uint64_t base;
		bool on;
	} rows[] = {
		{ WINDOW, true },
		{ WINDOW + BYTES, true },
		{ WINDOW + 2 * BYTES, false },
		{ WINDOW - BYTES, false },
		{ 0, false },
		{ UINT64_MAX - BYTES + 1, false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		(void)config(BETA, 0x18, 4, true, rows[i].base & UINT32_MAX);
		(void)config(BETA, 0x1c, 4, true, rows[i].base >> 32);
		assert_ptr_equal(moved.gmem, &vms[BETA].gmem);
		assert_int_equal(moved.first, WINDOW);
		assert_int_equal(moved.on, rows[i].on);
		if (rows[i].on) {
			assert_int_equal(moved.to, rows[i].base);
		}
	}
	(void)config(BETA, 0x18, 4, true, (uint32_t)WINDOW);
	(void)config(BETA, 0x1c, 4, true, WINDOW >> 32);
	assert_true(moved.on);
	(void)config(BETA, 0x04, 2, true, 0x0004);
	assert_false(moved.on);
}

/* Table entry `vector` of BETA: a message to APIC 2. */
static void use_messages(uint32_t vector)
{
	const uint64_t table = config(BETA, 0x14, 4, false, 0) & ~0xful;
	uint32_t at = (uint32_t)config(BETA, 0x34, 1, false, 0);

	(void)memory(BETA, table + vector * 16, 4, true, 0xfee02000);
	(void)memory(BETA, table + vector * 16 + 8, 4, true, 0x60 + vector);
	(void)memory(BETA, table + vector * 16 + 12, 4, true, 0);
	(void)config(BETA, at + 2, 2, true, 0x8000);
}

TEST(a_doorbell_is_a_message, setup, teardown)
{
	use_messages(5);
	ring(ALPHA, BETA, 5);
	assert_int_equal(sent_count[BETA], 1);
	assert_int_equal(sent[BETA].vector, 0x65);
	assert_int_equal(sent[BETA].dest, 2);
	assert_int_equal(get(BETA, 0x04), 0); /* no status beside it */
	ring(ALPHA, BETA, 8);		      /* it has eight vectors */
	ring(ALPHA, BETA, 0xffff);
	assert_int_equal(sent_count[BETA], 1);
	assert_int_equal(sent_count[ALPHA], 0);
	assert_int_equal(lines[BETA] | lines[ALPHA], 0);
}

TEST(or_a_level_on_the_pin, setup, teardown)
{
	const uint32_t pin = 1u << (GSI_PCI + SLOT % GSI_PCI_COUNT);

	ring(ALPHA, BETA, 0);
	assert_int_equal(lines[BETA], 0); /* masked at first */
	set(BETA, 0x00, 1);
	assert_int_equal(lines[BETA], pin);
	assert_int_equal(config(BETA, 0x06, 2, false, 0) & 8, 8);
	assert_int_equal(get(BETA, 0x04), 1); /* and so it is taken back */
	assert_int_equal(lines[BETA], 0);
	assert_int_equal(get(BETA, 0x04), 0);
	ring(ALPHA, BETA, 8);
	assert_int_equal(lines[BETA], 0);
	ring(BETA, BETA, 0); /* one's own */
	assert_int_equal(lines[BETA], pin);
	set(BETA, 0x00, 0);
	assert_int_equal(lines[BETA], 0);
}

TEST(who_is_not_there_hears_nothing, setup, teardown)
{
	set(ALPHA, 0x00, 1);
	set(BETA, 0x00, 1);
	ring(ALPHA, 2, 0);
	ring(ALPHA, SHARE_MEMBERS_MAX, 0);
	ring(ALPHA, 0xffff, 0);
	joined[BETA] = false; /* revoked: it neither rings nor is rung */
	ring(ALPHA, BETA, 0);
	ring(BETA, ALPHA, 0);
	assert_int_equal(lines[ALPHA] | lines[BETA], 0);
	joined[BETA] = true;
	ivshmem_device.destroy(&platforms[BETA]);
	ring(ALPHA, BETA, 0);
	assert_int_equal(lines[BETA], 0);
}

/* Reads of other widths are all ones, writes have no effect; what is reserved reads zero. */
TEST(registers_are_dwords, setup, teardown)
{
	const uint64_t at = registers(ALPHA);

	set(ALPHA, 0x00, 1);
	assert_int_equal(memory(ALPHA, at, 1, false, 0), 0xff);
	assert_int_equal(memory(ALPHA, at + 2, 2, false, 0), 0xffff);
	assert_int_equal(memory(ALPHA, at, 8, false, 0), ~0ul);
	(void)memory(ALPHA, at, 2, true, 0);
	(void)memory(ALPHA, at + 0x0e, 2, true, ALPHA);
	assert_int_equal(lines[ALPHA], 0);
	assert_int_equal(get(ALPHA, 0x00), 1);
	for (uint32_t reg = 0x0c; reg < 0x100; reg += 4) {
		assert_int_equal(get(ALPHA, reg), 0);
	}
	set(ALPHA, 0x04, 1);
	set(ALPHA, 0x08, 7);
	assert_int_equal(get(ALPHA, 0x08), 0);
	assert_int_equal(lines[ALPHA], 0);
}
