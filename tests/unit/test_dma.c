/* SPDX-License-Identifier: Apache-2.0 */
/* boot/dma.c with units that work, that fail, and that firmware switches off. */
#include <stdio.h>

#include "boot/dma.h"
#include "boot/dma_ranges.h"
#include "boot/vtd.h"
#include "tests/unit/test.h"
#include "vmm/base/x86.h"
#include "vmm/host/host_paging.h"

#define UNITS 2u

/* How each unit behaves; NULL: it works. */
static struct {
	const char *look, *block, *interrupts;
	bool no_interrupts, off, paused;
	uint64_t bytes; /* of registers, after the unit was looked at */
	unsigned blocked, shut, faults;
	struct vtd_fault fault;
	bool with_firmware; /* the last vtd_block was called as if firmware runs */
} units[UNITS];
static struct dmar dmar;
static struct dma_ranges chosen;
static uint8_t pages[64 * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static size_t pages_left;
static bool memory_there;
static uint64_t memory_from;
static const char *map_error;
static uint16_t map_refused; /* 0: all are, if map_error says so */
static unsigned mapped;
static char printed[4096];
static uint32_t overflows;

static size_t number(const struct vtd_unit *unit)
{
	return (unit->base - 0xfed90000) >> 12 & 1;
}

const char *vtd_look(struct vtd_unit *unit)
{
	assert_ptr_equal(unit->registers, (void *)unit->base);
	unit->bytes = MAX(unit->bytes, units[number(unit)].bytes);
	return units[number(unit)].look;
}

bool vtd_prepare(struct vtd_unit *unit, struct vtd_memory *memory, void *done)
{
	assert_true(memory->left >= VTD_UNIT_PAGES);
	memory->left -= VTD_UNIT_PAGES;
	memory->next += VTD_UNIT_PAGES * PAGE_SIZE;
	assert_ptr_equal(done, pages + PAGE_SIZE + 64 * number(unit));
	return true;
}

const char *vtd_map(struct vtd_unit *unit, struct vtd_memory *memory, uint16_t source,
		    uint64_t base, uint64_t end)
{
	assert_in_range(memory->left, 5, 10);
	mapped++;
	return source == map_refused || map_refused == 0 ? map_error : NULL;
}

size_t vtd_map_pages(const struct vtd_unit *unit, uint64_t base, uint64_t end)
{
	return 5;
}

const char *vtd_block(struct vtd_unit *unit, bool firmware_runs)
{
	units[number(unit)].with_firmware = firmware_runs;
	units[number(unit)].blocked++;
	units[number(unit)].off = false;
	unit->paused = units[number(unit)].paused;
	return units[number(unit)].block;
}

bool vtd_blocks(const struct vtd_unit *unit)
{
	return !units[number(unit)].off;
}

bool vtd_has_interrupts(const struct vtd_unit *unit)
{
	return !units[number(unit)].no_interrupts;
}

const char *vtd_block_interrupts(struct vtd_unit *unit, const void *table, bool x2apic)
{
	assert_ptr_equal(table, pages);
	units[number(unit)].shut++;
	return units[number(unit)].interrupts;
}

bool vtd_take_fault(struct vtd_unit *unit, struct vtd_fault *fault)
{
	unit->overflows = overflows;
	*fault = units[number(unit)].fault;
	return units[number(unit)].faults != 0 && units[number(unit)].faults-- != 0;
}

const char *vtd_reason(const struct vtd_fault *fault)
{
	return "so it is";
}

void dma_choose_ranges(const struct dmar *d, const struct screen_mode *screen,
		       const struct dma_firmware *firmware, struct dma_ranges *out)
{
	*out = chosen;
}

void *host_map_io(hpa_t base, uint64_t bytes, enum host_cache cache)
{
	assert_int_equal(cache, HOST_CACHE_UC);
	return base.v == 0xfed90000 ? pages : NULL;
}

static bool is_memory(uint64_t base, uint64_t end)
{
	return memory_there || end > memory_from;
}

static void *take_pages(size_t count)
{
	assert_in_range(count, 2 + UNITS * VTD_UNIT_PAGES, 64);
	return count <= pages_left ? pages : NULL;
}

static bool is_mapped(uint64_t base, uint64_t end)
{
	assert_true(base >= BIT(32) && end > base);
	return base < BIT(40);
}

static const struct dma_firmware firmware = { .is_memory = is_memory,
					      .is_mapped = is_mapped,
					      .take_pages = take_pages };

static int setup(void **state)
{
	fake_setup(state);
	fake_msr_set(MSR_IA32_APIC_BASE, 0);
	memset(units, 0, sizeof(units));
	memset(&dmar, 0, sizeof(dmar));
	dmar.remaps_interrupts = true;
	dmar.unit_count = UNITS;
	for (unsigned i = 0; i < UNITS; i++) {
		dmar.units[i].base = 0xfed90000 + i * PAGE_SIZE;
		dmar.units[i].bytes = PAGE_SIZE;
	}
	chosen = (struct dma_ranges){ .picture = DMAR_UNITS_MAX };
	pages_left = 64;
	memory_there = false;
	memory_from = UINT64_MAX;
	map_error = NULL;
	map_refused = 0;
	mapped = 0;
	printed[0] = '\0';
	return 0;
}

static bool block(enum config_iommu wanted)
{
	static const struct screen_mode screen;

	dma_decide(&dmar, wanted, &screen, &firmware);
	assert_true(dma_is_as_decided());
	return dma_block();
}

PRINTF_LIKE(1, 2) static void print(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(printed + strlen(printed), sizeof(printed) - strlen(printed), fmt, args);
	va_end(args);
}

TEST(all_units, setup, fake_teardown)
{
	assert_true(block(CONFIG_IOMMU_REQUIRE));
	assert_string_equal(dma_words(), "on ir=on");
	assert_non_null(strstr(fake_log_text(), "from now on no device reaches memory"));
	assert_null(strstr(fake_log_text(), "no device can raise an interrupt"));
	assert_int_equal(units[0].shut, 0); /* firmware's own timer may be such an interrupt */
	assert_true(units[0].with_firmware && units[1].with_firmware);
	assert_true(dma_block_again());
	assert_false(units[0].with_firmware || units[1].with_firmware);
	assert_int_equal(units[0].blocked + units[1].blocked, 4);
	assert_int_equal(units[0].shut + units[1].shut, 2);
	assert_non_null(strstr(fake_log_text(), "no device can raise an interrupt"));
	dma_report(print);
	assert_non_null(strstr(printed, "2 of 2 units shut DMA out"));
}

TEST(no_unit, setup, fake_teardown)
{
	dmar.unit_count = 0;
	assert_true(block(CONFIG_IOMMU_AUTO));
	assert_string_equal(dma_words(), "none");
	assert_true(dma_block_again());
	assert_false(block(CONFIG_IOMMU_REQUIRE));
	assert_non_null(strstr(fake_log_text(), "no VM starts"));
	dma_report(print);
	assert_non_null(strstr(printed, "IOMMU: none"));
}

TEST(off, setup, fake_teardown)
{
	assert_true(block(CONFIG_IOMMU_OFF));
	assert_string_equal(dma_words(), "off");
	assert_true(dma_block_again());
	assert_int_equal(units[0].blocked, 0);
	dma_report(print);
	assert_non_null(strstr(printed, "IOMMU: off"));
}

/* One of two units does not work, for each possible reason; the other one still shuts DMA out. */
TEST(one_unit, setup, fake_teardown)
{
	for (unsigned way = 0; way < 7; way++) {
		setup(NULL);
		switch (way) {
		case 0: units[1].look = "it is odd"; break;
		case 1: units[1].block = "it is odd"; break;
		case 2: chosen.picture = 1; break;
		case 3: dmar.units[1].base = BIT(40) + PAGE_SIZE; break;
		case 4: dmar.units_left_out = true; break;
		case 5:
			units[1].bytes = 2 * PAGE_SIZE; /* more than firmware says */
			memory_from = 0xfed92000;
			break;
		default: /* and another unit is there */
			units[1].bytes = 2 * PAGE_SIZE;
			dmar.units[1].base = 0xfed8f000;
		}
		assert_true(block(CONFIG_IOMMU_AUTO));
		/* What is measured is decided before a unit is switched on. */
		assert_string_equal(dma_words(), way == 1 ? "on ir=on" : "partial ir=off");
		assert_int_equal(dma_is_as_decided(), way != 1);
		assert_int_equal(units[0].blocked, 1);
		assert_non_null(strstr(fake_log_text(), "devices can reach memory"));
		assert_false(block(CONFIG_IOMMU_REQUIRE));
		assert_false(dma_block_again());
		assert_int_equal(units[0].shut, 1);
		assert_int_equal(units[1].shut, way == 4);
		assert_null(strstr(fake_log_text(), "no device can raise"));
	}
}

/* A unit has more registers than firmware says, and nothing else is there. */
TEST(more_registers, setup, fake_teardown)
{
	units[1].bytes = 5 * PAGE_SIZE;
	memory_from = 0xfed96000;
	assert_true(block(CONFIG_IOMMU_REQUIRE));
	/* It may lie above 4 GiB, if firmware maps that. */
	dmar.units[1].base = BIT(39) + PAGE_SIZE;
	memory_from = UINT64_MAX;
	assert_true(block(CONFIG_IOMMU_REQUIRE));
}

/* A table that describes no unit is not the same as no table. */
TEST(broken_table, setup, fake_teardown)
{
	dmar.unit_count = 0;
	dmar.units_left_out = true;
	assert_true(block(CONFIG_IOMMU_AUTO));
	assert_false(dma_will_block());
	assert_string_equal(dma_words(), "failed");
	assert_non_null(strstr(fake_log_text(), "the table DMAR is broken"));
	assert_true(dma_block_again());
	assert_true(dma_is_as_decided());
	dma_report(print);
	assert_non_null(strstr(printed, "0 of 0 units shut DMA out"));
	assert_false(block(CONFIG_IOMMU_REQUIRE));
}

/* The mode of firmware's tables could not be changed under way. */
TEST(paused, setup, fake_teardown)
{
	units[1].paused = true;
	assert_true(block(CONFIG_IOMMU_REQUIRE));
	assert_non_null(strstr(fake_log_text(), "unit 1 of the IOMMU was on with tables of another "
						"mode, and had to be off for a moment"));
	assert_null(strstr(fake_log_text(), "unit 0 of the IOMMU was on"));
}

TEST(nothing_works, setup, fake_teardown)
{
	memory_there = true;
	assert_true(block(CONFIG_IOMMU_AUTO));
	assert_string_equal(dma_words(), "failed");
	assert_int_equal(units[0].blocked, 0);
	setup(NULL);
	pages_left = 3;
	assert_true(block(CONFIG_IOMMU_AUTO));
	assert_string_equal(dma_words(), "failed");
	assert_false(block(CONFIG_IOMMU_REQUIRE));
	fake_log_reset();
	assert_false(dma_block_again());
	assert_null(strstr(fake_log_text(), "no VM starts")); /* which was logged */
}

TEST(no_interrupts, setup, fake_teardown)
{
	units[1].no_interrupts = true;
	assert_true(block(CONFIG_IOMMU_AUTO));
	assert_string_equal(dma_words(), "on ir=off");
	assert_non_null(strstr(fake_log_text(), "devices can raise interrupts: unit 1 of the IOMMU "
						"cannot stop them"));
	assert_null(strstr(fake_log_text(), "interrupts: unit 0"));
	assert_true(dma_block_again()); /* the other one stops them all the same */
	assert_int_equal(units[0].shut, 1);
	assert_int_equal(units[1].shut, 0);
	assert_non_null(strstr(fake_log_text(), "1 of 2 units of the IOMMU stop interrupts"));
	dma_report(print);
	assert_non_null(strstr(printed, "2 of 2 units shut DMA out, and 1 of them interrupts"));
	assert_false(block(CONFIG_IOMMU_REQUIRE));
	units[1].no_interrupts = false;
	dmar.remaps_interrupts = false;
	assert_true(block(CONFIG_IOMMU_AUTO));
	assert_string_equal(dma_words(), "on ir=off");
	assert_non_null(strstr(fake_log_text(), "firmware says that the IOMMU of this machine"));
	assert_true(dma_block_again());
	assert_int_equal(units[0].shut, 1); /* as before */
	dmar.remaps_interrupts = true;
	units[0].interrupts = "it is odd";
	assert_true(block(CONFIG_IOMMU_REQUIRE));
	assert_false(dma_block_again());
}

/* Firmware's own driver switches the units off when boot services end. */
TEST(switched_off, setup, fake_teardown)
{
	assert_true(block(CONFIG_IOMMU_REQUIRE));
	units[0].off = true;
	assert_true(dma_block_again());
	assert_int_equal(units[0].blocked, 2);
	assert_int_equal(units[1].blocked, 2);
	assert_non_null(strstr(fake_log_text(), "firmware switched unit 0 of the IOMMU off"));
	assert_null(strstr(fake_log_text(), "firmware switched unit 1"));
	assert_true(block(CONFIG_IOMMU_REQUIRE));
	units[0].off = true;
	units[0].block = "it is odd";
	assert_false(dma_block_again());
	assert_string_equal(dma_words(), "on ir=on");
	assert_false(dma_is_as_decided());
}

TEST(ranges, setup, fake_teardown)
{
	chosen.count = 1;
	chosen.list[0] = (struct dma_range){ 0x1000, 0x3000, 0x00a0, 1, false };
	assert_true(block(CONFIG_IOMMU_REQUIRE));
	assert_non_null(strstr(fake_log_text(), "00:14.0 still reaches 0x1000 to 0x2fff"));
	dma_report(print);
	assert_non_null(strstr(printed, "1 ranges of 8 KiB"));
	assert_non_null(strstr(fake_log_text(), "no device reaches memory but the ranges above"));
	map_error = "it is odd";
	assert_true(block(CONFIG_IOMMU_REQUIRE));
	assert_non_null(strstr(fake_log_text(), "00:14.0 does not reach 0x1000 to 0x2fff: it is"));
	/* A display's picture depends on a range: its unit is left as it is, and said to be. */
	chosen.list[1] = (struct dma_range){ 0x8000, 0x9000, 0x0010, 1, true };
	chosen.count = 2;
	map_refused = 0x0010;
	mapped = 0;
	assert_true(block(CONFIG_IOMMU_AUTO));
	assert_string_equal(dma_words(), "partial ir=off");
	assert_int_equal(mapped, 1); /* nothing more in that unit */
	assert_int_equal(units[1].blocked, 2);
	assert_non_null(strstr(fake_log_text(),
			       "unit 1 of the IOMMU, at 0xfed91000, cannot keep "
			       "devices out of memory: the display would lose its picture"));
	map_refused = 0x00a0;
	assert_true(block(CONFIG_IOMMU_REQUIRE));
	units[1].look = "it is odd"; /* the range's unit: nothing is mapped in it */
	map_error = "not called";
	assert_true(block(CONFIG_IOMMU_AUTO));
	assert_null(strstr(fake_log_text(), "not called"));
}

/* What is stopped is said once for each device and deed, and counted. */
TEST(faults, setup, fake_teardown)
{
	assert_true(block(CONFIG_IOMMU_AUTO));
	dma_watch();
	assert_non_null(strstr(fake_log_text(), "the registers of unit 1"));
	units[0].fault = (struct vtd_fault){ .source = 0x0028, .reason = 1, .address = 0x7000 };
	units[0].faults = 3;
	units[1].faults = 1; /* not mapped */
	fake_tsc += 1ul << 40;
	dma_poll();
	assert_int_equal(units[0].faults, 0);
	assert_int_equal(units[1].faults, 1);
	assert_non_null(strstr(fake_log_text(), "the device 00:05.0 was stopped: a write at 0x7000 "
						"(so it is)"));
	units[0].fault.interrupt = true;
	units[0].faults = 1;
	dma_poll(); /* too early */
	assert_int_equal(units[0].faults, 1);
	fake_tsc += 1ul << 40;
	dma_poll();
	assert_non_null(strstr(fake_log_text(), "an interrupt, entry 0x7000"));
	for (uint16_t i = 0; i < 20; i++) {
		units[0].fault.source = (uint16_t)(0x100 + i);
		units[0].faults = 1;
		fake_tsc += 1ul << 40;
		dma_poll();
	}
	dma_report(print);
	assert_non_null(strstr(printed, "00:05.0 was stopped 3 times, first a write at 0x7000 "
					"(so it is)"));
	assert_non_null(strstr(printed, "other devices were stopped 6 times"));
	assert_null(strstr(printed, "could record"));
	overflows = 7;
	units[0].faults = 1;
	fake_tsc += 1ul << 40;
	dma_poll();
	dma_report(print);
	assert_non_null(strstr(printed, "unit 0 has stopped more than it could record, 7 times"));
	assert_null(strstr(printed, "unit 1 has"));
	units[0].faults = 1000000; /* one that never ends does not hold the CPU */
	fake_tsc += 1ul << 40;
	dma_poll();
	assert_int_equal(units[0].faults, 1000000 - 16);
}
