/* SPDX-License-Identifier: Apache-2.0 */
/* boot/residue.c with a fake PCI, and frames full of junk. */
#include "tests/unit/test.h"
#include "boot/residue.h"
#include "vmm/host/page_alloc.h"

#define MASTER 4u

static struct function {
	uint32_t where; /* bus << 8 | device << 3 | function */
	uint32_t class; /* base and sub-class */
	bool multi;
	uint16_t command;
	uint16_t want; /* command register afterwards */
} functions[] = {
	{ 0x0000, 0x0600, false, 6, 6 }, /* host bridge */
	{ 0x0008, 0x0601, true, 7, 7 },	 /* ISA bridge */
	{ 0x0009, 0x0101, false, 7, 3 }, /* IDE */
	{ 0x000e, 0x0c03, false, 6, 6 }, /* USB that firmware drives */
	{ 0x000f, 0x0c03, false, 6, 2 }, /* USB, the last function */
	{ 0x0010, 0x0300, false, 7, 7 }, /* display */
	{ 0x0018, 0x0604, true, 7, 3 },	 /* bridge to bus 7 */
	{ 0x0019, 0x0604, false, 7, 7 }, /* bridge to buses 8 to 10 */
	{ 0x0020, 0x0200, false, 3, 3 }, /* network, was off */
	{ 0x0029, 0x0200, false, 7, 7 }, /* no function 0: no such device */
	{ 0x0031, 0x0200, false, 7, 7 }, /* function 0 says that the device has one function */
	{ 0x0030, 0x0180, false, 6, 2 }, /* that function 0 */
	{ 0x0710, 0x0108, false, 6, 2 }, /* NVMe behind the bridge */
	{ 0x0900, 0x0c03, false, 6, 6 }, /* USB that firmware drives, behind the other bridge */
	{ 0xfff8, 0x0200, false, 6, 2 }, /* the last address */
	{ 0xfe00, 0x0302, false, 6, 6 }, /* 3D controller: a display as well */
};

bool usb_is_firmwares(uint32_t function)
{
	return function == 0x000e || function == 0x0900;
}

static uint32_t address;
static bool present;
static unsigned writes;

static struct function *selected(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(functions); i++) {
		if ((address & 0x80ffff00) == (0x80000000u | functions[i].where << 8)) {
			return &functions[i];
		}
	}
	return NULL;
}

static uint32_t in(uint16_t port, unsigned size)
{
	struct function *f = selected();

	assert_int_equal(size, 4);
	if (!present || port != (port == 0xcf8 ? 0xcf8 : 0xcfc)) {
		return UINT32_MAX;
	}
	if (port == 0xcf8) {
		return address;
	}
	if (f == NULL) {
		return UINT32_MAX;
	}
	switch (address & 0xff) {
	case 0x00: return 0x12348086;
	case 0x04: return 0xffff0000 | f->command; /* a status that must not be written back */
	case 0x08: return f->class << 16 | 0x55;
	/* Only bridges have this register. */
	case 0x18: return f->where == 0x0018 ? 0x66070700 : 0x660a0800;
	case 0x0c: return (f->multi ? 1u << 23 : 0) | 0x7f;
	default: fail_msg("register %x was read", address & 0xff); return 0;
	}
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
	if (port == 0xcf8) {
		assert_int_equal(size, 4);
		address = value;
		return;
	}
	assert_int_equal(port, 0xcfc);
	assert_int_equal(size, 2);
	assert_int_equal(address & 0xff, 4);
	selected()->command = (uint16_t)value;
	writes++;
}

static int setup(void **state)
{
	fake_setup(state);
	fake_in_hook = in;
	fake_out_hook = out;
	present = true;
	writes = 0;
	address = 0x80001234;
	return 0;
}

TEST(test_devices, setup, fake_teardown)
{
	/*
	 * Each device once. 29H has no function 0, and 31H is a function that function 0 excludes.
	 */
	residue_stop_devices();
	for (size_t i = 0; i < ARRAY_COUNT(functions); i++) {
		if (functions[i].command != functions[i].want) {
			fail_msg("function %x has command %x", functions[i].where,
				 functions[i].command);
		}
	}
	assert_int_equal(writes, 6);
	assert_non_null(strstr(fake_log_text(), "PCI: stopped 6 functions"));
	assert_non_null(strstr(fake_log_text(), "warning: PCI: the USB controller 00:01.6 may"));
	assert_non_null(strstr(fake_log_text(), "warning: PCI: the USB controller 09:00.0 may"));
	assert_null(strstr(fake_log_text(), "00:01.7"));
	residue_stop_devices();
	assert_int_equal(writes, 6);
}

TEST(test_no_pci, setup, fake_teardown)
{
	present = false;
	residue_stop_devices();
	assert_int_equal(writes, 0);
	assert_string_equal(fake_log_text(), "");
}

/* --- The order of residue_clear, observed from each of its steps --- */

static struct mem_range residue;
static unsigned parked, added;

static bool is_zeroed(void)
{
	static const uint8_t zero[PAGE_SIZE];

	return memcmp(fake_frame(residue.base), zero, PAGE_SIZE) == 0;
}

static bool devices_are_stopped(void)
{
	return functions[2].command == functions[2].want;
}

/* Before anything else: a CPU may execute code in that memory. */
void smp_park_others(void)
{
	assert_false(is_zeroed());
	assert_false(devices_are_stopped());
	parked++;
}

void frames_add(const struct mem_range *ranges, size_t count)
{
	assert_ptr_equal(ranges, &residue);
	assert_int_equal(count, 1);
	assert_int_equal(parked, 1);
	assert_true(devices_are_stopped());
	assert_true(is_zeroed());
	added++;
}

/* The last device was stopped before the first page was zeroed, too. */
static uint32_t in_before(uint16_t port, unsigned size)
{
	assert_int_equal(parked, 1);
	assert_false(is_zeroed());
	return in(port, size);
}

TEST(test_order, setup, fake_teardown)
{
	fake_in_hook = in_before;
	functions[2].command = 7;
	residue.page_count = 1;
	assert_int_equal(frames_alloc(1, 1, &residue.base), 0);
	memset(fake_frame(residue.base), 0xa5, PAGE_SIZE);
	residue_clear(&residue, 1);
	assert_int_equal(parked, 1);
	assert_int_equal(added, 1);
	frames_free(residue.base, 1);
}

TEST(test_zero, setup, fake_teardown)
{
	static const uint8_t zero[PAGE_SIZE];
	struct mem_range ranges[3];
	hpa_t frames, between;

	assert_int_equal(frames_alloc(7, 1, &frames), 0);
	between = hpa(frames.v + 3 * PAGE_SIZE);
	memset(fake_frame(between), 0xa5, PAGE_SIZE);
	ranges[0] = (struct mem_range){ frames, 3 };
	ranges[1] = (struct mem_range){ hpa(frames.v + 4 * PAGE_SIZE), 3 };
	ranges[2] = (struct mem_range){ hpa(0), 1 }; /* page 0 is skipped: mapping it fails here */
	residue_zero(ranges, 3);
	for (uint64_t i = 0; i < 7; i++) {
		hpa_t frame = hpa(frames.v + i * PAGE_SIZE);

		assert_int_equal(memcmp(fake_frame(frame), zero, PAGE_SIZE) == 0, i != 3);
	}
	assert_int_equal(fake_temp_mapped(), 0);
	assert_non_null(strstr(fake_log_text(), "memory: 24 KiB that firmware"));
	frames_free(frames, 7);
}
