/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/host/topology.c: packages, from each of the CPUID leaves that may describe them. */
#include "tests/unit/test.h"
#include "vmm/host/topology.h"

static void check(uint32_t apic_id, unsigned package_shift)
{
	const struct topology t = topology_this_cpu();

	assert_int_equal(t.apic_id, apic_id);
	assert_int_equal(t.package_shift, package_shift);
}

/* Threads, cores, modules, tiles, dies: the shift of the last level removes all but the package. */
TEST(leaf_1f_has_many_levels, fake_setup, fake_teardown)
{
	fake_cpuid_set(0, 0, 0x20, 0, 0, 0);
	fake_cpuid_set(0x1f, 0, 1, 2, 0x100, 0x1a5);
	fake_cpuid_set(0x1f, 1, 3, 8, 0x201, 0x1a5);
	fake_cpuid_set(0x1f, 2, 5, 16, 0x302, 0x1a5);
	fake_cpuid_set(0x1f, 3, 7, 64, 0x503, 0x1a5);
	fake_cpuid_set(0x1f, 4, 31, 0, 4, 0x1a5);
	fake_cpuid_set(0xb, 0, 1, 2, 0x100, 0xbad);
	check(0x1a5, 7);
}

TEST(leaf_b_where_1f_is_empty, fake_setup, fake_teardown)
{
	fake_cpuid_set(0, 0, 0x20, 0, 0, 0);
	fake_cpuid_set(0xb, 0, 1, 2, 0x100, 0x23);
	fake_cpuid_set(0xb, 1, 4, 12, 0x201, 0x23);
	check(0x23, 4);
	/* No level: each CPU is a package. */
	fake_cpuid_set(0xb, 0, 1, 2, 0, 0x23);
	check(0x23, 0);
}

TEST(leaf_1_where_there_is_neither, fake_setup, fake_teardown)
{
	fake_cpuid_set(0, 0, 7, 0, 0, 0);
	fake_cpuid_set(1, 0, 0, 5u << 24 | 6u << 16, 0, 1u << 28);
	check(5, 3); /* six IDs take three bits */
	fake_cpuid_set(1, 0, 0, 5u << 24 | 6u << 16, 0, 0);
	check(5, 0); /* the count is not valid: one CPU per package */
}

/* Caches as CPUID.04H describes them. */
TEST(the_largest_cache_is_the_last, fake_setup, fake_teardown)
{
	fake_cpuid_set(0, 0, 0x20, 0, 0, 0);
	fake_cpuid_set(4, 0, 0x21, 11u << 22 | 63, 63, 0);    /* data, 12 ways, 48 KiB */
	fake_cpuid_set(4, 1, 0x22, 7u << 22 | 63, 63, 0);     /* code, 8 ways, 32 KiB */
	fake_cpuid_set(4, 2, 0x43, 19u << 22 | 63, 1023, 0);  /* 20 ways, 1,280 KiB */
	fake_cpuid_set(4, 3, 0x63, 14u << 22 | 63, 65535, 0); /* 15 ways, 60 MiB */
	fake_cpuid_set(4, 4, 0, 0, 0, 0);
	fake_cpuid_set(4, 5, 0x63, 14u << 22 | 63, 0xffffff, 0); /* after the end of the list */
	assert_int_equal(topology_last_cache(), 60ul << 20);
	fake_cpuid_set(4, 3, 0x63, 1u << 22 | 1u << 12 | 63, 0xffffffff, 0); /* no overflow */
	assert_int_equal(topology_last_cache(), 1ul << 40);
	fake_cpuid_set(0, 0, 2, 0, 0, 0);
	assert_int_equal(topology_last_cache(), 0);
}
