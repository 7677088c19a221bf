/* SPDX-License-Identifier: Apache-2.0 */
/* boot/ram.c: which RAM is used on a machine with memory encryption. */
#include "tests/unit/test.h"
#include "boot/ram.h"
#include "crypto/tme.h"

#define MIB 0x100000ul

static struct boot_info boot;

static struct mem_range range(uint64_t base, uint64_t bytes)
{
	return (struct mem_range){ hpa(base), bytes / PAGE_SIZE };
}

static int setup(void **state)
{
	memset(&boot, 0, sizeof(boot));
	fake_tme = (struct tme_state){ .kind = TME_MK, .phys_bits = 46 };
	boot.ranges[boot.range_count++] = range(16 * MIB, 16 * MIB);
	boot.late[boot.late_count++] = range(64 * MIB, 4 * MIB);
	return fake_setup(state);
}

/* Memory that may be added later, as servers list it, needs no keys now. */
TEST(near_memory_is_kept_where_ram_is, setup, fake_teardown)
{
	struct acpi_affinity *affinity = &boot.acpi.affinity;

	affinity->memory[0] = (struct acpi_near_memory){ hpa(0), 16 * MIB + 1, 1 };
	affinity->memory[1] = (struct acpi_near_memory){ hpa(32 * MIB), 32 * MIB, 2 };
	affinity->memory[2] = (struct acpi_near_memory){ hpa(68 * MIB - 1), 1ul << 40, 3 };
	affinity->memory[3] = (struct acpi_near_memory){ hpa(68 * MIB), -68 * MIB - 1, 4 };
	affinity->memory_count = 4;
	ram_keep_near(&boot);
	assert_int_equal(affinity->memory_count, 4);
	assert_true(affinity->memory[0].bytes != 0 && affinity->memory[2].bytes != 0);
	assert_true(affinity->memory[1].bytes == 0 && affinity->memory[3].bytes == 0);
}

/*
 * Row 10: on a machine with TME-MK, or one where it will be activated, memory without the mark is
 * not used.
 */
TEST(decision_10_ranges_that_firmware_marks, setup, fake_teardown)
{
	static const struct {
		enum tme_kind kind;
		bool activate, some_marked;
		size_t late; /* ranges afterwards */
		const char *words;
	} cells[] = {
		{ TME_MK, false, true, 1, "4096 KiB are not used: firmware says that they cannot" },
		{ TME_NONE, true, true, 1,
		  "4096 KiB are not used: firmware says that they cannot" },
		{ TME_NONE, false, true, 2, "" },
		{ TME_ONLY, false, true, 2, "" },
		{ TME_MK, false, false, 1, "firmware does not say which memory can be encrypted" },
		{ TME_NONE, true, false, 1, "firmware does not say which memory can be encrypted" },
		{ TME_NONE, false, false, 1, "" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cells); i++) {
		(void)setup(state);
		fake_tme.kind = cells[i].kind;
		boot.config.tme_activate = cells[i].activate;
		boot.some_marked = cells[i].some_marked;
		if (boot.some_marked) {
			boot.unmarked[boot.unmarked_count++] = range(128 * MIB, 4 * MIB);
		}
		ram_settle(&boot);
		assert_int_equal(boot.range_count, 1);
		assert_int_equal(boot.late_count, cells[i].late);
		assert_int_equal(*cells[i].words == '\0', *fake_log_text() == '\0');
		assert_non_null(strstr(fake_log_text(), cells[i].words));
	}
}

#define GIB 0x40000000ul

/*
 * Umbra's own memory as a share of the machine's, in KiB: 1/512 and 1/1024, with an engine 1/102
 * more.
 */
TEST(own_memory_grows_with_the_machine, setup, fake_teardown)
{
	static const struct {
		uint64_t gib, window_mib, cpus;
		bool sealed;
		uint64_t wanted, least; /* KiB */
	} cells[] = {
		{ 1, 16, 1, true, 16384 + 256 + 256, 16384 + 256 },
		{ 1, 16, 1, false, 16384 + 256, 16384 + 256 },
		{ 16, 16, 8, true, 212992 + 2048 + 256, 16384 + 2048 },
		{ 16, 16, 8, false, 49152 + 2048, 16384 + 2048 },
		{ 1024, 16384, 128, true, 13631488 + 32768 + 262144, 16384 + 32768 },
		{ 1024, 0, 128, false, 3145728 + 32768, 16384 + 32768 },
		{ 1, 1 << 20, 1, true, 16384 + 256 + 16384, 16384 + 256 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cells); i++) {
		struct page_pool_plan plan;

		boot.ranges[0] = range(GIB, cells[i].gib * GIB);
		boot.range_count = 1;
		boot.cpu_count = cells[i].cpus;
		boot.config.window_bytes = cells[i].window_mib * MIB;
		plan = ram_plan_pool(&boot, cells[i].sealed, false);
		assert_in_range(plan.wanted * 4, cells[i].wanted - 8, cells[i].wanted);
		assert_int_equal(plan.least * 4, cells[i].least);
		assert_int_equal(plan.end, 1ul << 47);
		assert_int_equal(ram_plan_pool(&boot, false, true).end, 1ul << 32);
	}
}

static uint64_t cache;

uint64_t topology_last_cache(void)
{
	return cache;
}

TEST(the_window_fits_cache_and_memory, setup, fake_teardown)
{
	static const struct {
		uint64_t memory_mib, cache, before, window;
	} cells[] = {
		{ 1024, 0, CONFIG_WINDOW_AUTO, 16 * MIB },
		{ 1024, 15 * MIB, CONFIG_WINDOW_AUTO, 16 * MIB },
		{ 1024, 60 * MIB + 2048, CONFIG_WINDOW_AUTO, 60 * MIB },
		{ 256, 60 * MIB, CONFIG_WINDOW_AUTO, 32 * MIB },
		{ 64, 0, CONFIG_WINDOW_AUTO, 8 * MIB },
		{ 1024, 60 * MIB, 2 * MIB, 2 * MIB },
		{ 1024, 60 * MIB, 0, 0 }, /* a wrong value gives none */
	};

	for (size_t i = 0; i < ARRAY_COUNT(cells); i++) {
		boot.ranges[0] = range(GIB, cells[i].memory_mib * MIB);
		boot.range_count = 1;
		boot.config.window_bytes = cells[i].before;
		cache = cells[i].cache;
		ram_choose_window(&boot);
		assert_int_equal(boot.config.window_bytes, cells[i].window);
	}
	assert_non_null(strstr(fake_log_text(), "61440K are in clear at most"));
}

static struct mem_range removed;
static uint64_t pages_there;

uint64_t frames_remove(struct mem_range range)
{
	removed = range;
	return pages_there;
}

static struct mem_range pool_range;

struct mem_range page_pool(void)
{
	return pool_range;
}

/* A range that the boot processor's package excludes is found before RAM is handed out ... */
TEST(memory_that_firmware_excludes_is_left_out, setup, fake_teardown)
{
	fake_tme.has_exclusion = true;
	fake_tme.exclude_base = 20 * MIB;
	fake_tme.exclude_mask = MASK(45, 22); /* 4 MiB */
	ram_settle(&boot);
	assert_int_equal(boot.range_count, 2);
	assert_int_equal(ram_count_pages(boot.ranges, 2), 12 * MIB / PAGE_SIZE);
	assert_int_equal(boot.ranges[0].page_count, 4 * MIB / PAGE_SIZE);
	assert_int_equal(boot.ranges[1].base.v, 24 * MIB);
	assert_non_null(strstr(fake_log_text(), "4096 KiB are not used: firmware excluded them"));
	fake_log_reset();
	pages_there = 0;
	pool_range = range(16 * MIB, 4 * MIB);
	ram_settle_packages();
	assert_string_equal(fake_log_text(), ""); /* nothing is left to do */
}

/* ... a range that another package excludes, when RAM is in the allocator already. */
TEST(memory_that_another_package_excludes_is_removed, setup, fake_teardown)
{
	ram_settle(&boot);
	fake_log_reset();
	ram_settle_packages();
	assert_string_equal(fake_log_text(), ""); /* no package excludes anything */
	fake_tme.has_exclusion = true;
	fake_tme.exclude_base = 20 * MIB;
	fake_tme.exclude_mask = MASK(45, 22);
	pages_there = 100;
	pool_range = range(23 * MIB, 4 * MIB);
	ram_settle_packages();
	assert_int_equal(removed.base.v, 20 * MIB);
	assert_int_equal(removed.page_count, 4 * MIB / PAGE_SIZE);
	assert_non_null(strstr(fake_log_text(), "warning: memory: 400 KiB more are not used: "
						"firmware excluded them from encryption in another "
						"package"));
	assert_non_null(strstr(fake_log_text(), "warning: memory: 1024 KiB of Umbra's own memory"));
}
