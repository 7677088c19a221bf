/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/tme.c, tme_view.c and tme_activate.c: what is found on machines of every kind, each row
 * of the decision table with KeyID 0 encrypted and in clear, and late activation. A name with
 * row_NN_ says which row of the project's test matrix for TME-MK the test covers; P1 to P12 are the
 * profiles of the matrix (machine/tme/README.md).
 */
#include "tests/unit/test.h"
#include "crypto/tme.h"
#include "tests/unit/tme_machine.h"

#define GIB (1ul << 30)
#define RAM (4 * GIB)

#define BYPASS BIT(31)

/* --- MTRRs: the functions that tme.c uses --- */

static uint64_t mtrr_bits;
static bool mtrr_in_the_way;
static unsigned mtrr_loads;

bool mtrr_free_bits(uint64_t bits)
{
	mtrr_bits = bits;
	mtrr_loads = 0;
	return !mtrr_in_the_way;
}

bool mtrr_match_this_cpu(void)
{
	mtrr_loads++;
	return true;
}

static const struct tme_state *start(bool activate)
{
	const struct tme_state *s = tme_state();

	tme_expect(NULL, 0, NULL);
	tme_start(activate, RAM);
	assert_in_range(strlen(s->words), 20, sizeof(s->words) - 2); /* nothing was cut */
	assert_non_null(strstr(fake_log_text(), s->words));
	if (s->kind != TME_MK) {
		assert_int_equal(s->keyid_count, 0);
		assert_int_equal(s->algorithm, 0);
	}
	return s;
}

static void assert_says(const char *text)
{
	if (strstr(tme_state()->words, text) == NULL) {
		fail_msg("\"%s\" does not say \"%s\"", tme_state()->words, text);
	}
}

/* --- The decision table --- */

/* P3 with one change; the expected row, and the kind of machine without and with bypass. */
struct change {
	const char *what;
	void (*apply)(void);
	unsigned row;
	enum tme_kind plain, bypass;
	const char *says;
};

static void no_tme(void)
{
	tme_machine.tme = tme_machine.pconfig = false;
	tme_machine_activate(0);
}
static void hidden(void)
{
	tme_machine.registers_missing = true;
}
static void open_register(void)
{
	tme_machine_activate(0);
}
static void open_enabled(void)
{
	tme_machine_activate(tme_machine.package[0].activate & ~BIT(0));
}
static void nothing(void)
{
}
static void no_keyids(void)
{
	tme_machine.package[0].capability = 0x80000001;
	tme_machine_activate((tme_machine.package[0].activate & BYPASS) | 3);
}
static void no_keys(void)
{
	tme_machine.package[0].capability = 0x0680000001;
}
static void no_bits(void)
{
	tme_machine_activate((tme_machine.package[0].activate & BYPASS) | 3);
}
static void no_pconfig(void)
{
	tme_machine.pconfig = false;
}
static void storage_target(void)
{
	tme_machine.targets[0][2] = 0;
}
static void no_algorithm(void)
{
	tme_machine_activate(tme_machine.package[0].activate & MASK(47, 0));
}
static void integrity(void)
{
	tme_machine.package[0].capability = 0x3f68000000f;
	no_algorithm();
	tme_machine_activate(tme_machine.package[0].activate | 0xaul << 48);
}
static void locked_off(void)
{
	tme_machine_activate(1);
}
static void tdx_all(void)
{
	tme_machine_activate(tme_machine.package[0].activate | 6ul << 36);
}
static void tdx_all_by_count(void)
{
	tme_machine_activate(tme_machine.package[0].activate | 1ul << 36);
	tme_machine.package[0].has_partition = true;
	tme_machine.package[0].partition = 0x3f00000000;
}
static void tdx_half(void)
{
	tme_machine_activate(tme_machine.package[0].activate | 1ul << 36);
	tme_machine.package[0].has_partition = true;
	tme_machine.package[0].partition = 0x200000001f;
}
static void partition_without_tdx(void)
{
	tme_machine.package[0].has_partition = true; /* and its value is 0 */
}
static void both_algorithms(void)
{
	tme_machine.package[0].capability = 0x3f680000005;
	tme_machine_activate(tme_machine.package[0].activate | 4ul << 48);
}

/* clang-format off */
static const struct change changes[] = {
	{ "no TME", no_tme, 1, TME_NONE, TME_NONE, "no TME" },
	{ "CPUID without the registers", hidden, 1, TME_NONE, TME_NONE, "a hypervisor hides it" },
	{ "open", open_register, 2, TME_NONE, TME_NONE, "[host] tme = activate" },
	{ "open, but enabled", open_enabled, 2, TME_NONE, TME_NONE, "[host] tme = activate" },
	{ "P3", nothing, 3, TME_MK, TME_MK, "63 KeyIDs of AES-XTS-128, address bits 46 to 51" },
	{ "XTS-128 and 256", both_algorithms, 3, TME_MK, TME_MK, "63 KeyIDs of AES-XTS-256" },
	{ "TDX has half", tdx_half, 3, TME_MK, TME_MK, "31 KeyIDs" },
	{ "87H without TDX", partition_without_tdx, 3, TME_MK, TME_MK, "63 KeyIDs" },
	{ "no KeyIDs", no_keyids, 4, TME_ONLY, TME_NONE, "has no KeyIDs" },
	{ "MAX_KEYS 0", no_keys, 4, TME_ONLY, TME_NONE, "has no KeyIDs" },
	{ "k = 0", no_bits, 4, TME_ONLY, TME_NONE, "\"Memory Encryption: Multiple Keys\"" },
	{ "no PCONFIG", no_pconfig, 4, TME_ONLY, TME_NONE, "no PCONFIG" },
	{ "PCONFIG for storage", storage_target, 4, TME_ONLY, TME_NONE, "no PCONFIG" },
	{ "no algorithm", no_algorithm, 4, TME_ONLY, TME_NONE, "no algorithm" },
	{ "integrity alone", integrity, 4, TME_ONLY, TME_NONE, "algorithms with integrity alone" },
	{ "locked off", locked_off, 5, TME_NONE, TME_NONE, "\"Total Memory Encryption (TME)\"" },
	{ "p = k", tdx_all, 6, TME_ONLY, TME_NONE, "\"TME-MT/TDX Key Split\"" },
	{ "none shared", tdx_all_by_count, 6, TME_ONLY, TME_NONE, "\"TME-MT/TDX Key Split\"" },
};
/* clang-format on */

static void check_change(const struct change *c, bool bypass)
{
	const unsigned row = c->row == 3 && bypass ? 7 : c->row;
	const struct tme_state *s;

	fake_reset();
	tme_machine_set(3, 2, 1);
	tme_machine_activate(tme_machine.package[0].activate | (bypass ? BYPASS : 0));
	c->apply();
	s = start(false);
	if (s->row != row || s->kind != (bypass ? c->bypass : c->plain)) {
		fail_msg("%s, bypass %d: row %u, kind %d", c->what, bypass, s->row, s->kind);
	}
	if (row != 1 && row != 2 && row != 5) {
		assert_int_equal(s->bypass, bypass);
		assert_int_equal(strstr(s->words, "\"TME Bypass\" is on") != NULL, bypass);
	}
	assert_says(c->says);
	assert_int_equal(tme_machine.pconfigs, 0);
}

TEST(decision_1_to_7_each_cell, fake_setup, fake_teardown)
{
	for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
		check_change(&changes[i], false);
		check_change(&changes[i], true);
	}
}

/* Row 9 belongs to keyslot: see test_keyslot. Row 10: test_ram. */

/* --- Profiles --- */

TEST(row_01_p1_touches_no_register, fake_setup, fake_teardown)
{
	tme_machine_set(1, 2, 1);
	tme_look();
	assert_int_equal(start(true)->kind, TME_NONE);
	assert_int_equal(tme_state()->row, 1);
	assert_int_equal(tme_machine.tme_reads, 0); /* the machine model also fails the test */
}

TEST(row_02_p2_has_one_key_and_no_pconfig, fake_setup, fake_teardown)
{
	const struct tme_state *s;

	tme_machine_set(2, 2, 1);
	s = start(false);
	assert_int_equal(s->kind, TME_ONLY);
	assert_int_equal(s->keyid_bits, 0);
	assert_int_equal(tme_machine.pconfigs, 0);
}

TEST(row_03_the_list_of_targets_ends_at_a_gap, fake_setup, fake_teardown)
{
	static const uint32_t good[4][4] = { { 1, 2, 1, 0 }, { 0 }, { 1, 1, 0, 0 } };
	static const uint32_t bad[4][4] = { { 1, 2, 0, 0 }, { 0 }, { 1, 1, 0, 0 } };

	tme_machine_set(3, 1, 1);
	memcpy(tme_machine.targets, good, sizeof(good));
	assert_int_equal(start(false)->kind, TME_MK);
	memcpy(tme_machine.targets, bad, sizeof(bad));
	assert_int_equal(start(false)->kind, TME_ONLY);
}

TEST(row_04_target_2_alone_is_no_tme_mk, fake_setup, fake_teardown)
{
	tme_machine_set(3, 1, 1);
	tme_machine.targets[0][2] = 0;
	assert_int_equal(start(false)->kind, TME_ONLY);
	assert_says("no PCONFIG");
}

TEST(row_05_usable_keyids, fake_setup, fake_teardown)
{
	static const struct {
		unsigned profile, keyids;
		bool xts256, bypass;
	} cells[] = {
		{ 3, 63, false, false },  { 4, 15, true, false }, { 5, 127, true, false },
		{ 6, 31, false, true },	  { 7, 0, false, true },  { 8, 63, true, true },
		{ 11, 40, false, false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cells); i++) {
		const struct tme_state *s;

		tme_machine_set(cells[i].profile, 2, 1);
		s = start(false);
		assert_int_equal(s->keyid_count, cells[i].keyids);
		assert_int_equal(s->kind, cells[i].keyids != 0 ? TME_MK : TME_NONE);
		assert_int_equal(s->xts256, cells[i].xts256);
		assert_int_equal(s->algorithm, cells[i].keyids == 0 ? 0 : cells[i].xts256 ? 4 : 1);
		assert_int_equal(s->bypass, cells[i].bypass);
	}
}

TEST(row_06_bits_of_the_keyid, fake_setup, fake_teardown)
{
	const struct tme_state *s;

	tme_machine_set(4, 1, 1);
	s = start(false);
	assert_int_equal(s->phys_bits - s->keyid_bits, 42);
	assert_int_equal(MASK(s->phys_bits - 1, s->phys_bits - s->keyid_bits), 0x3c0000000000);
	tme_machine_set(6, 1, 1);
	s = start(false);
	assert_int_equal(s->phys_bits - s->keyid_bits, 46);
	assert_int_equal(s->tdx_bits, 1);
	/* TDX has all KeyIDs; the address bits are taken all the same. */
	tme_machine_set(7, 1, 1);
	s = start(false);
	assert_int_equal(s->keyid_bits, 6);
	assert_int_equal(s->tdx_bits, 6);
}

TEST(row_07_a_locked_register_is_left_alone, fake_setup, fake_teardown)
{
	for (unsigned ignore = 0; ignore < 2; ignore++) {
		tme_machine_set(3, 2, 1);
		tme_machine.ignore_locked_write = ignore;
		assert_int_equal(start(true)->row, 3);
		assert_int_equal(tme_machine.package[0].activate, 0x0001000600000003);
		assert_says("locked by firmware");
	}
}

TEST(row_09_p9_and_p10, fake_setup, fake_teardown)
{
	tme_machine_set(9, 2, 1);
	assert_int_equal(start(true)->row, 5);
	tme_machine_set(10, 2, 1);
	assert_int_equal(start(true)->row, 4);
	assert_int_equal(tme_state()->kind, TME_ONLY);
}

TEST(row_16_exclusion_is_of_keyid_0, fake_setup, fake_teardown)
{
	tme_machine_set(3, 2, 1);
	tme_machine.package[0].exclude_base = 0x40000000;
	tme_machine.package[0].exclude_mask = MASK(51, 24) | BIT(11);
	tme_look(); /* memory is handed out before tme_start */
	assert_true(tme_state()->has_exclusion);
	assert_int_equal(tme_state()->exclude_base, 0x40000000);
	assert_int_equal(tme_state()->exclude_mask, MASK(51, 24));
	assert_true(start(false)->has_exclusion);
	assert_int_equal(tme_state()->kind, TME_MK);
	assert_non_null(strstr(fake_log_text(), "16384 KiB at 0x40000000"));
	assert_false(tme_excludes(hpa(0x3ffff000), PAGE_SIZE));
	assert_true(tme_excludes(hpa(0x3ffff000), PAGE_SIZE + 1));
	assert_true(tme_excludes(hpa(0x40fff000), PAGE_SIZE));
	assert_false(tme_excludes(hpa(0x41000000), PAGE_SIZE));
	/* Without its enable bit the range does not count. */
	tme_machine.package[0].exclude_mask &= ~BIT(11);
	assert_false(start(false)->has_exclusion);
	assert_false(tme_excludes(hpa(0x40000000), PAGE_SIZE));
	/* Two packages: the range that contains both. */
	tme_machine_set(3, 2, 2);
	for (unsigned i = 0; i < 2; i++) {
		tme_machine.package[i].exclude_base = 0x40000000 + (uint64_t)i * 0x1000000;
		tme_machine.package[i].exclude_mask = MASK(51, 24) | BIT(11);
	}
	assert_true(start(false)->has_exclusion);
	assert_true(tme_excludes(hpa(0x40fff000), PAGE_SIZE));
	assert_true(tme_excludes(hpa(0x41fff000), PAGE_SIZE));
	assert_false(tme_excludes(hpa(0x42000000), PAGE_SIZE));
	assert_false(tme_excludes(hpa(0x3ffff000), PAGE_SIZE));
}

TEST(standby_is_logged, fake_setup, fake_teardown)
{
	tme_machine_set(3, 1, 1);
	tme_machine_activate(0x000100060000000b);
	assert_true(start(false)->standby);
	assert_non_null(strstr(fake_log_text(), "over standby"));
}

TEST(ram_at_keyid_bits_is_refused, fake_setup, fake_teardown)
{
	tme_machine_set(4, 1, 1);
	tme_start(false, BIT(42));
	assert_int_equal(tme_state()->kind, TME_MK);
	tme_start(false, BIT(42) + PAGE_SIZE);
	assert_int_equal(tme_state()->kind, TME_ONLY);
	assert_int_equal(tme_state()->keyid_bits, 4);
	assert_says("RAM or a device at addresses that have KeyID bits");
}

TEST(no_mtrr_depends_on_a_keyid, fake_setup, fake_teardown)
{
	tme_machine_set(4, 2, 1);
	mtrr_bits = 0;
	(void)start(false);
	assert_int_equal(mtrr_bits, 0x3c0000000000);
	assert_int_equal(mtrr_loads, 2); /* CPUs */
	tme_machine_set(12, 2, 1);
	mtrr_bits = 0;
	(void)start(false);
	assert_int_equal(mtrr_bits, 0); /* address bits without the KeyID's */
	(void)start(true);
	assert_int_equal(mtrr_bits, 0xfc00000000000);
	/* A range at such an address: a device may be there. */
	tme_machine_set(4, 2, 1);
	mtrr_in_the_way = true;
	assert_int_equal(start(false)->kind, TME_ONLY);
	mtrr_in_the_way = false;
	assert_int_equal(mtrr_loads, 0);
	assert_says("RAM or a device at addresses that have KeyID bits");
}

/* --- Packages and CPUs --- */

TEST(packages_are_numbered_by_first_cpu, fake_setup, fake_teardown)
{
	tme_machine_set(3, 4, 2);
	assert_int_equal(start(false)->package_count, 2);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(tme_package_of(i), i / 2);
		assert_int_equal(tme_leads_package(i), i % 2 == 0);
	}
	assert_says("on 2 packages");
}

TEST(row_43_packages_differ, fake_setup, fake_teardown)
{
	/*
	 * One package has fewer KeyIDs and algorithms: the smaller numbers count, without TDX's
	 * KeyIDs.
	 */
	tme_machine_set(8, 2, 2);
	tme_machine.package[1].capability = 0x28680000005;
	tme_machine.package[1].activate = 0x0001000680000003;
	assert_int_equal(start(false)->keyid_count, 40);
	assert_false(tme_state()->xts256);
	assert_int_equal(tme_state()->row, 7);
	tme_machine.package[0].capability = 0x14680000005; /* and the other way round: 20 */
	assert_int_equal(start(false)->keyid_count, 20);
	/* No common algorithm. */
	tme_machine.package[1].activate = 0x0004000680000003;
	tme_machine.package[0].activate = 0x0001000680000003;
	assert_int_equal(start(false)->kind, TME_NONE);
	/* One package with bypass, one without: KeyID 0 is in clear on one. */
	tme_machine_set(3, 2, 2);
	tme_machine.package[1].activate |= BYPASS;
	assert_true(start(false)->bypass);
	assert_int_equal(tme_state()->row, 7);
}

TEST(row_43_packages_that_cannot_go_together, fake_setup, fake_teardown)
{
	static const uint64_t other[] = { 0x0001000500000003, 0x0000000000000003,
					  0x0000000000000001, 0x0001000600000002, 0 };

	for (size_t i = 0; i < ARRAY_COUNT(other); i++) {
		tme_machine_set(3, 2, 2);
		tme_machine.package[1].activate = other[i];
		assert_int_equal(start(true)->row, 8);
		assert_int_equal(tme_state()->kind, i < 2 ? TME_ONLY : TME_NONE);
		assert_int_equal(tme_state()->keyid_bits, 6); /* active on one of them */
		assert_says("differ");
	}
	tme_machine_set(3, 2, 2);
	tme_machine.phys_bits_less = 6;
	assert_int_equal(start(false)->row, 8);
}

TEST(more_packages_than_a_set_has_bits, fake_setup, fake_teardown)
{
	tme_machine_set(3, TME_PACKAGE_MAX, 1);
	tme_machine.package_shift = 0;
	assert_int_equal(start(false)->kind, TME_MK);
	assert_int_equal(tme_state()->package_count, TME_PACKAGE_MAX);
	tme_machine_set(3, TME_PACKAGE_MAX + 1, 1);
	tme_machine.package_shift = 0;
	assert_int_equal(start(false)->kind, TME_ONLY);
	assert_says("more packages than");
}

TEST(a_package_without_started_cpu_is_refused, fake_setup, fake_teardown)
{
	static const uint32_t ids[] = { 0, 1, 0x100, 0x101 };

	tme_machine_set(3, 2, 1);
	tme_expect(ids, 2, NULL); /* two did not start, but their package has others */
	tme_start(false, RAM);
	assert_int_equal(tme_state()->kind, TME_MK);
	tme_expect(ids, ARRAY_COUNT(ids), NULL);
	tme_start(false, RAM);
	assert_int_equal(tme_state()->kind, TME_ONLY);
	assert_says("a package has no started CPU");
	tme_machine_set(12, 2, 1);
	tme_start(true, RAM);
	assert_int_equal(tme_machine.package[0].activate, 0);
	assert_says("a package has no started CPU");
}

/* Memory by proximity domain. Two packages have APIC IDs 0 to FFH and 100H to 1FFH. */
TEST(memory_near_no_started_cpu_is_refused, fake_setup, fake_teardown)
{
	static struct acpi_affinity near;

	tme_machine_set(3, 2, 1);
	near = (struct acpi_affinity){
		.cpus = { { 0, 7 }, { 0x40, 8 }, { 0x100, 9 } },
		.cpu_count = 3,
		.memory = { { hpa(0), GIB, 7 }, { hpa(GIB), GIB, 8 } },
		.memory_count = 2,
	};
	/* Domain 8 is half of a package; the other half has started. */
	tme_expect(NULL, 0, &near);
	tme_start(false, RAM);
	assert_int_equal(tme_state()->kind, TME_MK);
	/*
	 * Memory of package 1, which has not started: first at an address that is not RAM, then in
	 * RAM.
	 */
	near.memory[near.memory_count++] = (struct acpi_near_memory){ hpa(2 * GIB), 0, 9 };
	tme_start(false, RAM);
	assert_int_equal(tme_state()->kind, TME_MK);
	near.memory[2].bytes = GIB;
	tme_start(false, RAM);
	assert_int_equal(tme_state()->kind, TME_ONLY);
	assert_says("memory that is near no started CPU");
	/* A domain without any CPU, and more memory ranges than were kept. */
	near.memory[2].domain = 1;
	tme_start(false, RAM);
	assert_int_equal(tme_state()->kind, TME_ONLY);
	near.memory_count = 2;
	near.memory_left_out = true;
	tme_start(false, RAM);
	assert_int_equal(tme_state()->kind, TME_ONLY);
	tme_machine_set(12, 2, 1);
	tme_start(true, RAM);
	assert_int_equal(tme_machine.package[0].activate, 0);
	tme_expect(NULL, 0, NULL);
}

TEST(the_first_look_changes_nothing, fake_setup, fake_teardown)
{
	tme_machine_set(4, 2, 1);
	tme_look();
	assert_int_equal(tme_state()->kind, TME_MK);
	assert_int_equal(tme_state()->keyid_bits, 4);
	/*
	 * A hypervisor may show CPUID bits without the registers, and so early no fault is caught.
	 */
	tme_machine.hypervisor = tme_machine.registers_missing = true;
	tme_look();
	assert_int_equal(tme_state()->kind, TME_NONE);
}

/* --- Late activation --- */

TEST(row_10_no_entropy_at_first, fake_setup, fake_teardown)
{
	tme_machine_set(12, 2, 1);
	tme_machine.package[0].activate_fails = 3;
	assert_int_equal(start(true)->kind, TME_MK);
	/* Never any entropy. */
	tme_machine_set(12, 2, 1);
	tme_machine.package[0].activate_fails = 100;
	assert_int_equal(start(true)->kind, TME_NONE);
	assert_int_equal(tme_state()->row, 2);
	assert_says("gave no key");
	assert_int_equal(tme_machine.package[0].activate_fails, 90);
}

TEST(row_11_late_activation_with_bypass, fake_setup, fake_teardown)
{
	const struct tme_state *s;

	for (unsigned packages = 1; packages <= 2; packages++) {
		tme_machine_set(12, 4, packages);
		tme_look();
		assert_int_equal(start(false)->row, 2);
		assert_int_equal(tme_machine.package[0].activate, 0); /* no user asked for it */
		s = start(true);
		assert_int_equal(s->kind, TME_MK);
		assert_int_equal(s->row, 7);
		assert_int_equal(s->keyid_count, 63);
		assert_int_equal(s->keyid_bits, 6);
		for (unsigned i = 0; i < packages; i++) {
			assert_int_equal(tme_machine.package[i].activate, 0x0005000680000023);
			assert_true(tme_machine.package[i].written_flushed);
		}
		assert_says("switched on by Umbra");
	}
}

TEST(row_11_no_algorithm_with_integrity, fake_setup, fake_teardown)
{
	tme_machine_set(12, 2, 1);
	tme_machine.package[0].capability = 0x3f68000000f;
	assert_int_equal(start(true)->kind, TME_MK);
	assert_int_equal(tme_machine.package[0].activate, 0x0005000680000023);
}

TEST(row_12_never_without_bypass, fake_setup, fake_teardown)
{
	tme_machine_set(12, 2, 1);
	tme_machine.package[0].capability &= ~BYPASS;
	assert_int_equal(start(true)->kind, TME_NONE);
	assert_int_equal(tme_machine.package[0].activate, 0);
	assert_says("no bypass");
	assert_non_null(strstr(fake_log_text(), "error: [host] tme = activate"));
	assert_int_equal(start(false)->kind, TME_NONE);
	assert_says("no bypass"); /* logged even if no user asked for it */
}

TEST(row_13_every_core_learns_the_width, fake_setup, fake_teardown)
{
	tme_machine_set(12, 4, 2);
	(void)start(true);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(tme_machine.core_active[i]);
	}
	/* A core that does not accept it: its accesses would go to wrong addresses. */
	tme_machine_set(12, 4, 2);
	tme_machine.core_refuses = 4;
	assert_int_equal(start(true)->kind, TME_NONE);
	assert_int_equal(tme_state()->keyid_bits, 6);
	assert_says("a core did not take over");
}

TEST(activation_leaves_ram_below_the_keyid, fake_setup, fake_teardown)
{
	tme_machine_set(12, 1, 1);
	tme_machine.phys_bits = 46;
	tme_start(true, BIT(43)); /* 3 bits are left of 6 */
	assert_int_equal(tme_state()->keyid_bits, 3);
	assert_int_equal(tme_state()->keyid_count, 7);
	tme_machine_set(12, 1, 1);
	tme_machine.phys_bits = 46;
	tme_start(true, BIT(45) + 1); /* no bit is left */
	assert_int_equal(tme_machine.package[0].activate, 0);
	assert_says("RAM or a device lies where KeyIDs would have their bits");
}

TEST(activation_needs_all_that_keys_need, fake_setup, fake_teardown)
{
	static const struct {
		uint64_t capability;
		bool pconfig;
		const char *says;
	} cells[] = {
		{ 0x80000005, true, "no KeyIDs" },
		{ 0x0680000005, true, "no KeyIDs" },
		{ 0x3f680000005, false, "no PCONFIG" },
		{ 0x3f68000000a, true, "integrity" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cells); i++) {
		tme_machine_set(12, 2, 1);
		tme_machine.package[0].capability = cells[i].capability;
		tme_machine.pconfig = cells[i].pconfig;
		assert_int_equal(start(true)->kind, TME_NONE);
		assert_int_equal(tme_machine.package[0].activate, 0);
		assert_says(cells[i].says);
	}
}

/* Package 1 never gets a key: package 0 has taken its address bits, and nothing more is done. */
TEST(activation_of_one_package_alone_is_refused, fake_setup, fake_teardown)
{
	tme_machine_set(12, 2, 2);
	tme_machine.package[1].activate_fails = 100;
	assert_int_equal(start(true)->kind, TME_NONE);
	assert_int_equal(tme_state()->row, 8);
	assert_int_equal(tme_state()->keyid_bits, 6);
	assert_false(tme_machine.core_active[0]);
}
