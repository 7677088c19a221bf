/* SPDX-License-Identifier: Apache-2.0 */
/* boot/dma_ranges.c: what firmware wants its devices to reach, on machines of several kinds. */
#include "boot/dma_ranges.h"
#include "boot/pci_config.h"
#include "tests/unit/test.h"

#define DISPLAY	  0x0010u
#define KEYBOARD  0x00a0u /* 00:14.0 */
#define BEHIND	  0x0308u /* 03:01.0, behind the bridge 00:1c.0 */
#define BRIDGE	  0x00e0u
#define LAST_BUS  0x0400u /* 04:00.0, on the last bus behind it */
#define NEXT_BUS  0x0500u
#define STOLEN	  0x7c800000ul
#define KEYS	  0x7a000000ul
#define NO_UNIT	  DMAR_UNITS_MAX
#define NO_DEVICE 0xffffffffu

static struct dmar dmar;
static struct dma_ranges ranges;
static struct screen_mode screen;
static uint32_t display[64]; /* its configuration space */
static uint64_t reserved_base, reserved_end;

static bool is_reserved(uint64_t base, uint64_t end)
{
	return base >= reserved_base && end <= reserved_end;
}

static uint32_t read_config(uint32_t function, uint32_t offset)
{
	switch (function) {
	case DISPLAY: return display[offset / 4];
	case KEYBOARD: return offset == PCI_ID ? 0xa36d8086 : 0;
	case BRIDGE: return offset == 0x18 ? 0x00040302 : offset == PCI_ID ? 0x1 : 0;
	case LAST_BUS:
	case NEXT_BUS:
	case BEHIND: return offset == PCI_ID ? 0x1234 : 0;
	default: return NO_DEVICE;
	}
}

static const struct dma_firmware firmware = { .is_reserved = is_reserved, .pci_read = read_config };

static void scope(struct dmar_scopes *of, uint8_t kind, uint8_t first, uint8_t second)
{
	if (of->count++ == 0) {
		of->first = (uint16_t)dmar.scope_count;
	}
	dmar.scopes[dmar.scope_count++] = (struct dmar_scope){ .kind = kind,
							       .hops = second != 0 ? 2 : 1,
							       .path = { first, second } };
}

static void range(uint64_t base, uint64_t end, uint8_t first, uint8_t second)
{
	struct dmar_reserved *to = &dmar.reserved[dmar.reserved_count++];

	*to = (struct dmar_reserved){ .base = base, .end = end };
	scope(&to->scopes, DMAR_SCOPE_ENDPOINT, first, second);
}

/* A laptop: unit 0 serves the display, unit 1 all that is behind the bridge, unit 2 the rest. */
static int setup(void **state)
{
	fake_setup(state);
	memset(&dmar, 0, sizeof(dmar));
	memset(&screen, 0, sizeof(screen));
	memset(display, 0, sizeof(display));
	dmar.unit_count = 3;
	dmar.units[0] = (struct dmar_unit){ .base = 0xfed90000, .bytes = 0x1000 };
	scope(&dmar.units[0].scopes, DMAR_SCOPE_ENDPOINT, DISPLAY, 0);
	dmar.units[1] = (struct dmar_unit){ .base = 0xfed92000, .bytes = 0x1000 };
	scope(&dmar.units[1].scopes, DMAR_SCOPE_IOAPIC, KEYBOARD, 0);
	dmar.scopes[1].bus = 0xf0; /* nothing is there */
	scope(&dmar.units[1].scopes, DMAR_SCOPE_BRIDGE, BRIDGE, 0);
	dmar.units[2] = (struct dmar_unit){ .base = 0xfed91000, .bytes = 0x1000, .all = true };
	reserved_base = 0x70000000;
	reserved_end = 0x80000000;
	display[0] = 0x3ea08086;
	display[2] = 0x03000000;
	display[4] = 0x0000000c | 0xb0000000; /* 64 bits */
	display[5] = 1;
	screen = (struct screen_mode){ .base = hpa(0x1b0000000),
				       .height = 1080,
				       .pixels_per_line = 1920 };
	display[0x5c / 4] = STOLEN | 1;
	return 0;
}

static void choose(void)
{
	dma_choose_ranges(&dmar, &screen, &firmware, &ranges);
}

static void expect(size_t n, uint16_t source, uint16_t unit, uint64_t base)
{
	assert_in_range(n, 0, ranges.count - 1);
	assert_int_equal(ranges.list[n].source, source);
	assert_int_equal(ranges.list[n].unit, unit);
	assert_true(ranges.list[n].base == base);
}

TEST(laptop, setup, fake_teardown)
{
	range(KEYS, KEYS + 0x20000, KEYBOARD, 0);
	range(STOLEN, STOLEN + 0x800000, DISPLAY, 0);
	range(KEYS, KEYS + 0x1000, BRIDGE, 0x08);
	range(KEYS, KEYS + 0x1000, 0xb8, 0); /* there is no such device */
	choose();
	assert_int_equal(ranges.count, 3);
	expect(0, KEYBOARD, 2, KEYS);
	expect(1, DISPLAY, 0, STOLEN);
	assert_true(ranges.list[1].picture && !ranges.list[0].picture && !ranges.list[2].picture);
	expect(2, BEHIND, 1, KEYS);
	assert_int_equal(ranges.picture, NO_UNIT);
	assert_string_equal(fake_log_text(), "");
}

TEST(the_buses_behind_a_bridge_are_its_units, setup, fake_teardown)
{
	range(KEYS, KEYS + 0x1000, 0, 0);
	dmar.scopes[dmar.scope_count - 1].bus = LAST_BUS >> 8;
	range(KEYS, KEYS + 0x1000, 0, 0);
	dmar.scopes[dmar.scope_count - 1].bus = NEXT_BUS >> 8;
	choose();
	expect(0, LAST_BUS, 1, KEYS);
	expect(1, NEXT_BUS, 2, KEYS);
}

/* Pages right before and behind those that no device may reach. */
TEST(neighbours, setup, fake_teardown)
{
	static const uint64_t pages[] = { 0xfed3f000,	       0xfed45000, 0xfed8f000,
					  0xfed91000 + 0x2000, 0xfedff000, 0xfef00000 };

	reserved_base = 0;
	reserved_end = UINT64_MAX;
	screen.base = hpa(0);
	for (size_t i = 0; i < ARRAY_COUNT(pages); i++) {
		range(pages[i], pages[i] + 0x1000, KEYBOARD, 0);
	}
	choose();
	assert_int_equal(ranges.count, ARRAY_COUNT(pages));
	for (size_t i = 0; i < ARRAY_COUNT(pages); i++) {
		expect(i, KEYBOARD, 2, pages[i]);
	}
}

TEST(refusals, setup, fake_teardown)
{
	static const struct {
		uint64_t base, end;
		const char *why;
	} rows[] = {
		{ 0x6ffff000, 0x70001000, "not memory that firmware has reserved" },
		{ 0x7ffff000, 0x80001000, "not memory that firmware has reserved" },
		{ 0xfee00000, 0xfee01000, "a write there is an interrupt" },
		{ 0xfed00000, 0xfef00000, "a write there is an interrupt" },
		{ 0xfed44000, 0xfed45000, "the TPM is there" },
		{ 0xfed92000, 0xfed93000, "registers of the IOMMU are there" },
		{ 0x1000, 0x100002000, "it is larger than 4 GiB" },
	};

	reserved_end = 0x80000000;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		setup(NULL);
		if (i > 1) {
			reserved_base = 0;
			reserved_end = UINT64_MAX;
		}
		display[0] = NO_DEVICE;
		range(rows[i].base, rows[i].end, KEYBOARD, 0);
		choose();
		assert_int_equal(ranges.count, 0);
		assert_non_null(strstr(fake_log_text(), "the device 00:14.0"));
		assert_non_null(strstr(fake_log_text(), rows[i].why));
	}
	setup(NULL);
	range(KEYS, KEYS + 0x1000, KEYBOARD, 0);
	dmar.reserved[0].segment = 1;
	choose();
	assert_int_equal(ranges.count, 0);
	assert_non_null(strstr(fake_log_text(), "PCI segment 1"));
	setup(NULL);
	dmar.units[2].segment = 1;
	range(KEYS, KEYS + 0x1000, KEYBOARD, 0);
	choose();
	assert_int_equal(ranges.count, 0);
	assert_non_null(strstr(fake_log_text(), "no unit serves it"));
}

TEST(many, setup, fake_teardown)
{
	screen.base = hpa(0);
	for (unsigned i = 0; i < DMAR_RESERVED_MAX; i++) {
		range(KEYS, KEYS + 0x1000, KEYBOARD, 0);
		scope(&dmar.reserved[i].scopes, DMAR_SCOPE_ENDPOINT, KEYBOARD, 0);
		scope(&dmar.reserved[i].scopes, DMAR_SCOPE_ENDPOINT, KEYBOARD, 0);
	}
	choose();
	assert_int_equal(ranges.count, DMA_RANGES_MAX);
	assert_non_null(strstr(fake_log_text(), "there are too many ranges"));
}

/* The display's picture must stay, or its unit is left as it is. */
TEST(picture, setup, fake_teardown)
{
	choose(); /* no range for the display */
	assert_int_equal(ranges.picture, 0);
	range(STOLEN + 0x100000, STOLEN + 0x800000, DISPLAY, 0); /* another part of memory */
	choose();
	assert_int_equal(ranges.picture, 0);
	range(STOLEN, STOLEN + 0x800000, KEYBOARD, 0); /* another device */
	choose();
	assert_int_equal(ranges.picture, 0);
	range(STOLEN, STOLEN + 0x800000, DISPLAY, 0);
	choose();
	assert_int_equal(ranges.picture, NO_UNIT);
	screen.height = 1093; /* one page more than there is */
	choose();
	assert_int_equal(ranges.picture, 0);
	screen.height = 1092;
	choose();
	assert_int_equal(ranges.picture, NO_UNIT);
	screen.base.v += 0x1000; /* behind the begin of the stolen memory, too */
	choose();
	assert_int_equal(ranges.picture, 0);
	screen.base.v -= 0x1000;
	display[0x5c / 4] = 0; /* later generations */
	choose();
	assert_int_equal(ranges.picture, 0);
	display[0xc0 / 4] = STOLEN | 1;
	choose();
	assert_int_equal(ranges.picture, NO_UNIT);
	display[0xc4 / 4] = 1; /* above 4 GiB */
	choose();
	assert_int_equal(ranges.picture, 0);
	screen.base = hpa(0);
	choose();
	assert_int_equal(ranges.picture, NO_UNIT);
}

/* The picture is in memory as it is: the display is let through to it. */
TEST(picture_in_memory, setup, fake_teardown)
{
	screen.base = hpa(0x7d000000);
	choose();
	assert_int_equal(ranges.picture, NO_UNIT);
	expect(0, DISPLAY, 0, 0x7d000000);
	assert_int_equal(ranges.list[0].end - ranges.list[0].base, 4 * 1920 * 1080);
	assert_true(ranges.list[0].picture);
	dmar.units[1].base = 0x7d001000; /* unless it must not be reached */
	choose();
	assert_int_equal(ranges.count, 0);
	assert_int_equal(ranges.picture, 0);
}

/* The picture is on a card, which needs no DMA to show it. */
TEST(picture_on_a_card, setup, fake_teardown)
{
	screen.base = hpa(0xe0000000);
	choose(); /* another card beside the processor's display */
	assert_int_equal(ranges.picture, NO_UNIT);
	display[4] = 0xb0000000; /* 32 bits; a BAR as large as its alignment ends before that */
	screen.base = hpa(0xc0000000);
	choose();
	assert_int_equal(ranges.picture, NO_UNIT);
	screen.base = hpa(0xbf000000);
	choose();
	assert_int_equal(ranges.picture, 0);
	display[4] = 0xb000000c;
	screen.base = hpa(0x1b0000000);
	display[0] = 0x11111234;
	choose();
	assert_int_equal(ranges.picture, NO_UNIT);
	display[0] = 0x11118086;
	display[2] = 0x02000000; /* a network card */
	choose();
	assert_int_equal(ranges.picture, NO_UNIT);
}
