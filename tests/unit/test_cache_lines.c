/* SPDX-License-Identifier: Apache-2.0 */
/* Which instruction writes lines back, depending on CPUID, and which lines. */
#include "tests/unit/test.h"
#include "vmm/base/cache_lines.c"

static uint32_t max_leaf, leaf_7_ebx;
static char done[64]; /* a letter for each line */
static uintptr_t last;

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	return leaf == 0 ? (struct cpuid_regs){ .eax = max_leaf }
			 : (struct cpuid_regs){ .ebx = leaf_7_ebx };
}

static void note(char letter, const void *address)
{
	assert_true(strlen(done) < sizeof(done) - 1);
	done[strlen(done)] = letter;
	last = (uintptr_t)address;
}

void fake_clflush(const void *address)
{
	note('f', address);
}

void fake_clflushopt(const void *address)
{
	note('o', address);
}

void fake_clwb(const void *address)
{
	note('w', address);
}

static const char *by(void (*function)(const void *area, size_t bytes), uintptr_t from,
		      size_t bytes)
{
	memset(done, 0, sizeof(done));
	function((const void *)from, bytes);
	return done;
}

TEST(what_the_cpu_has_is_used, fake_setup, fake_teardown)
{
	static const struct {
		uint32_t max_leaf, ebx;
		const char *drops, *keeps;
	} cpus[] = {
		{ 6, ~0u, "ff", "ff" }, /* leaf 7 does not exist */
		{ 7, 0, "ff", "ff" },
		{ 7, CPUID_7_EBX_CLFLUSHOPT, "oo", "oo" },
		{ 7, CPUID_7_EBX_CLWB, "ff", "ww" },
		{ 7, CPUID_7_EBX_CLFLUSHOPT | CPUID_7_EBX_CLWB, "oo", "ww" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cpus); i++) {
		features = 0;
		max_leaf = cpus[i].max_leaf;
		leaf_7_ebx = cpus[i].ebx;
		assert_string_equal(by(cache_write_back, 0x1000, 128), cpus[i].drops);
		assert_int_equal(last, 0x1040);
		assert_string_equal(by(cache_copy_back, 0x1000, 128), cpus[i].keeps);
		assert_int_equal(last, 0x1040);
		/* Parts of lines count, and nothing is no line. */
		assert_string_equal(by(cache_copy_back, 0x103f, 2), cpus[i].keeps);
		assert_string_equal(by(cache_write_back, 0x1000, 0), "");
	}
}
