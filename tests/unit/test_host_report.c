/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/host_report.c: what the shell's `host` says about flaws and errata of the CPU. No other test
 * has such CPUs.
 */
#include <stdarg.h>
#include <stdio.h>

#include "tests/unit/test.h"
#include "boot/dma.h"
#include "boot/host_report.h"
#include "crypto/page_cipher.h"
#include "ept/pager.h"
#include "tests/unit/fake_vm.h"
#include "vmm/alike.h"
#include "vmm/base/x86.h"
#include "vmm/host/page_alloc.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"

static struct flaw_facts facts;
static char said[8192];

const struct flaw_facts *alike_flaws(void)
{
	return &facts;
}

void pager_window(uint64_t *frames, uint64_t *unclaimed)
{
	*frames = *unclaimed = 0;
}

const char *page_cipher_name(void)
{
	return "a kernel";
}

static bool wrapped;

bool page_cipher_wraps_keys(void)
{
	return wrapped;
}

void dma_report(void (*print)(const char *fmt, ...))
{
}

static void print(const char *fmt, ...)
{
	va_list args;
	size_t used = strlen(said);

	va_start(args, fmt);
	used += (size_t)vsnprintf(said + used, sizeof(said) - used, fmt, args);
	va_end(args);
	assert_true(used < sizeof(said) - 1);
	strcat(said, "\n");
}

/* The report on a CPU with this CPUID.1:EAX. */
static const char *report(uint32_t version)
{
	static const struct boot_info boot;

	fake_cpuid_set(1, 0, version, 0, 0, 0);
	said[0] = '\0';
	host_report(&boot, print);
	return said;
}

static int setup(void **state)
{
	memset(&facts, 0, sizeof(facts));
	memset(&fake_caps, 0, sizeof(fake_caps));
	wrapped = false;
	return fake_setup(state);
}

/* Each flaw that the CPU has, and what is done about it. */
TEST(flaws_have_a_line_each, setup, fake_teardown)
{
	facts = (struct flaw_facts){ .family = 6, .model = 0x5e };
	(void)report(0x506e3);
	assert_non_null(strstr(said, "  Spectre v2: Umbra has no indirect branches"));
	assert_non_null(strstr(said, "  iTLB multihit: guests run code in 4K leaves alone\n"));
	assert_non_null(strstr(said, "  L1TF: NOT mitigated, the CPU or its microcode lacks "
				     "L1D_FLUSH\n"));
	facts.leaf7_edx = CPUID_7_EDX_L1D_FLUSH;
	assert_non_null(strstr(report(0x506e3), "  L1TF: L1D is flushed before each entry\n"));
	facts.capabilities = BIT(0) | BIT(6);
	assert_null(strstr(report(0x506e3), "L1TF"));
	assert_null(strstr(said, "iTLB multihit"));
}

TEST(errata_have_a_line_each, setup, fake_teardown)
{
	assert_null(strstr(report(0x506e3), "erratum"));
	assert_non_null(strstr(report(0x20652), "  erratum of this CPU: its preemption timer "));
	assert_null(strstr(said, "erratum of this CPU: accessed"));
	assert_non_null(strstr(report(0x406d8), "  erratum of this CPU: accessed and dirty bits "));
	assert_null(strstr(said, "erratum of this CPU: its preemption timer"));
}

TEST(exits_that_few_cpus_have, setup, fake_teardown)
{
	assert_non_null(strstr(report(0), "bus locks end a guest's turn no; so does a guest that "
					  "lets no interrupt through no\n"));
	fake_caps.cpu2 = (uint32_t)CPU2_BUS_LOCK_DETECTION;
	assert_non_null(strstr(report(0), "turn yes; so does a guest that lets no interrupt "
					  "through no\n"));
	fake_caps.cpu2 = (uint32_t)CPU2_NOTIFY_WINDOW;
	assert_non_null(strstr(report(0), "turn no; so does a guest that lets no interrupt "
					  "through yes\n"));
}

TEST(where_page_keys_lie, setup, fake_teardown)
{
	assert_non_null(strstr(report(0), "by a kernel; keys lie in Umbra's memory\n"));
	wrapped = true;
	assert_non_null(strstr(report(0), "memory wrapped, under a key in debug registers\n"));
}
