/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/tme.c: what is found on machines of every kind; nothing is ever written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "crypto/tme.h"
#include "tests/unit/fake_base.h"
#include "vmm/base/cpu.h"

/* No MSR is written: the fake of WRMSR fails the test. */
void fake_wrmsr(uint32_t msr, uint64_t value)
{
	fake_fail("MSR %x was written", msr);
}

enum pconfig {
	NO_PCONFIG,
	TARGET_1,	 /* beside target 2, in the first sub-leaf */
	ONLY_TARGET_2,	 /* storage encryption */
	BEHIND_THE_TAIL, /* target 1 where no list is any more */
};

struct machine {
	const char *what;
	bool tme;
	enum pconfig pconfig;
	uint64_t capability, activate;
	uint64_t partitioning; /* 0: the register is not there */
	enum tme_kind kind;
};

static const struct machine machines[] = {
	{ "no TME", false, NO_PCONFIG, 0, 0, 0, TME_NONE },
	{ "one key", true, NO_PCONFIG, 0x1, 0x3, 0, TME_ONLY },
	{ "63 keys", true, TARGET_1, 0x3f680000001, 0x1000600000003, 0, TME_MK },
	{ "XTS-256 alone", true, TARGET_1, 0xf480000004, 0x4000400000023, 0, TME_MK },
	{ "TDX has half", true, TARGET_1, 0x3f68000000f, 0x1001680000003, 0x200000001f, TME_MK },
	{ "TDX has all", true, TARGET_1, 0x3f68000000f, 0x1006600000003, 0x3f00000000, TME_ONLY },
	{ "none shared", true, TARGET_1, 0x3f68000000f, 0x1001600000003, 0x3f00000000, TME_ONLY },
	{ "the same, bypass", true, TARGET_1, 0x3f68000000f, 0x1006680000003, 1, TME_NONE },
	{ "keys, KeyID 0 clear", true, TARGET_1, 0x3f680000005, 0x5000680000003, 0, TME_MK },
	{ "locked off", true, TARGET_1, 0x3f680000005, 0x1, 0, TME_NONE },
	{ "no KeyID bits", true, TARGET_1, 0x3f680000005, 0x3, 0, TME_ONLY },
	{ "keys not 2^n - 1", true, TARGET_1, 0x28680000001, 0x1000600000003, 0, TME_MK },
	{ "no keys at all", true, TARGET_1, 0x0680000001, 0x1000600000003, 0, TME_ONLY },
	{ "not locked", true, TARGET_1, 0x3f680000005, 0, 0, TME_NONE },
	{ "enabled, not locked", true, TARGET_1, 0x3f680000005, 0x1000600000002, 0, TME_NONE },
	{ "integrity alone", true, TARGET_1, 0x3f68000000f, 0xa000600000003, 0, TME_ONLY },
	{ "no PCONFIG", true, NO_PCONFIG, 0x3f680000001, 0x1000600000003, 0, TME_ONLY },
	{ "target 2", true, ONLY_TARGET_2, 0x3f680000001, 0x1000600000003, 0, TME_ONLY },
	{ "tail", true, BEHIND_THE_TAIL, 0x3f680000001, 0x1000600000003, 0, TME_ONLY },
};

static void set_up(const struct machine *m)
{
	fake_reset();
	fake_cpuid_set(0, 0, 0x1f, 0, 0, 0);
	fake_cpuid_set(7, 0, 0, 0, m->tme ? 1u << 13 : 0, m->pconfig != NO_PCONFIG ? 1u << 18 : 0);
	fake_cpuid_set(0x1b, 0, m->pconfig != NO_PCONFIG, 2, m->pconfig == TARGET_1, 0);
	fake_cpuid_set(0x1b, 2, 1, m->pconfig == BEHIND_THE_TAIL, 0, 0);
	if (m->tme) { /* else reading them fails the test */
		fake_msr_set(0x981, m->capability);
		fake_msr_set(0x982, m->activate);
	}
	if (m->partitioning != 0) {
		fake_msr_set(0x87, m->partitioning);
	}
}

static void test_machines(void **state)
{
	for (size_t i = 0; i < ARRAY_COUNT(machines); i++) {
		set_up(&machines[i]);
		if (tme_detect() != machines[i].kind) {
			fail_msg("%s: found %d", machines[i].what, tme_detect());
		}
	}
	/* The bit without the registers, as some hypervisors show it. */
	fake_reset();
	fake_cpuid_set(0, 0, 0x1f, 0, 0, 0);
	fake_cpuid_set(7, 0, 0, 0, 1u << 13, 0);
	assert_int_equal(tme_detect(), TME_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_machines, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
