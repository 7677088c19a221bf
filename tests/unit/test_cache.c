/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/host/cache.c: which CPUs execute WBINVD, depending on what CPUID reports of their caches. */
#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/host/cache.h"

#define CPUS 8

/* EAX of leaf 04H: type, level, and how many APIC IDs share the cache. */
#define DATA	       1u
#define UNIFIED	       3u
#define CACHE(t, l, n) ((t) | (l) << 5 | ((n)-1) << 14)

/* What the CPUs of a machine report. CPU i has the APIC ID i. */
static struct machine {
	unsigned package_shift;
	uint32_t l3; /* EAX of the L3; 0: no L3 */
	uint32_t l3_edx;
	uint32_t without_l3; /* bit i: CPU i has no L3, like the small cores of some processors */
	uint32_t max_leaf;
} machine;

static unsigned flushes[CPUS];

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	const uint32_t cpu = percpu_self()->index;
	const bool l3 = machine.l3 != 0 && (machine.without_l3 & 1u << cpu) == 0;
	const uint32_t caches[] = { CACHE(DATA, 1u, 2u), CACHE(UNIFIED, 2u, 2u),
				    l3 ? machine.l3 : 0 };

	switch (leaf) {
	case 0: return (struct cpuid_regs){ .eax = machine.max_leaf };
	case 4:
		return (struct cpuid_regs){ .eax = subleaf < 3 ? caches[subleaf] : 0,
					    .edx = subleaf == 2 ? machine.l3_edx : 1 };
	case 0xb:
		return subleaf > 0 ? (struct cpuid_regs){ .edx = cpu }
				   : (struct cpuid_regs){ machine.package_shift, 1, 0x100, cpu };
	default: return (struct cpuid_regs){ 0 };
	}
}

void fake_wbinvd(void)
{
	flushes[percpu_self()->index]++;
}

static void check(struct machine is, uint32_t expected, const char *words)
{
	uint32_t flushed = 0;

	machine = is;
	fake_set_cpu_count(CPUS);
	fake_log_reset();
	cache_init();
	assert_non_null(strstr(fake_log_text(), words));
	memset(flushes, 0, sizeof(flushes));
	cache_flush_all();
	for (uint32_t i = 0; i < CPUS; i++) {
		assert_true(flushes[i] <= 1);
		flushed |= flushes[i] << i;
	}
	assert_int_equal(flushed, expected);
}

TEST(one_for_each_package, fake_setup, fake_teardown)
{
	/*
	 * One package; two packages; two with more APIC IDs reserved for an L3 than they have CPUs.
	 */
	check((struct machine){ 3, CACHE(UNIFIED, 3u, 8u), 4, 0, 0xb }, 0x01, "on 1 of 8 CPUs");
	check((struct machine){ 2, CACHE(UNIFIED, 3u, 4u), 4, 0, 0xb }, 0x11, "on 2 of 8 CPUs");
	check((struct machine){ 2, CACHE(UNIFIED, 3u, 64u), 4, 0, 0xb }, 0x11, "on 2 of 8 CPUs");
	/* Three sharers with four reserved APIC IDs. */
	check((struct machine){ 2, CACHE(UNIFIED, 3u, 3u), 0, 0, 0xb }, 0x11, "on 2 of 8 CPUs");
}

TEST(one_for_each_l3_of_a_package, fake_setup, fake_teardown)
{
	check((struct machine){ 3, CACHE(UNIFIED, 3u, 2u), 4, 0, 0xb }, 0x55, "on 4 of 8 CPUs");
}

TEST(each_cpu_where_nothing_is_promised, fake_setup, fake_teardown)
{
	/* EDX[0]; no L3; no leaf; an L3 for data only; a fourth level. */
	check((struct machine){ 3, CACHE(UNIFIED, 3u, 8u), 5, 0, 0xb }, 0xff, "on each CPU");
	check((struct machine){ 3, 0, 0, 0, 0xb }, 0xff, "on each CPU");
	check((struct machine){ 3, CACHE(UNIFIED, 3u, 8u), 0, 0, 3 }, 0xff, "on each CPU");
	check((struct machine){ 3, CACHE(DATA, 3u, 8u), 0, 0, 0xb }, 0xff, "on each CPU");
	check((struct machine){ 3, CACHE(UNIFIED, 4u, 8u), 0, 0, 0xb }, 0xff, "on each CPU");
}

/* Small cores without the L3 flush their own caches. */
TEST(cores_without_l3_do_it_too, fake_setup, fake_teardown)
{
	check((struct machine){ 3, CACHE(UNIFIED, 3u, 8u), 4, 0xc0, 0xb }, 0xc1, "on 3 of 8 CPUs");
	check((struct machine){ 3, CACHE(UNIFIED, 3u, 8u), 4, 0x01, 0xb }, 0x03, "on 2 of 8 CPUs");
}

TEST(each_cpu_until_it_is_known, fake_setup, fake_teardown)
{
	memset(flushes, 0, sizeof(flushes));
	fake_set_cpu_count(2);
	cache_flush_all();
	assert_int_equal(flushes[0] + flushes[1], 2);
}
