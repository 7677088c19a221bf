/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/apic_page.c: VM_APIC_BASE is memory while every vCPU has its xAPIC there, and never
 * otherwise.
 */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "ept/gmem.h"
#include "tests/unit/gmem_end.h"
#include "vmm/apic_page.h"
#include "vmm/host/page_alloc.h"
#include "vmm/vmx.h"

static struct vm vm;

static int setup(void **state)
{
	static const struct ept_caps ept = { .invept_single = true,
					     .structures_wb = true,
					     .phys_bits = 46 };

	fake_setup(state);
	ept_configure(&ept);
	memset(&vm, 0, sizeof(vm));
	fake_caps.apic_accesses = true;
	assert_int_equal(gmem_init(&vm.gmem), 0);
	return apic_page_alloc(&vm);
}

static int teardown(void **state)
{
	gmem_end(&vm.gmem);
	apic_page_free(&vm);
	return fake_teardown(state);
}

static bool is_mapped(void)
{
	struct ept_leaf leaf;

	return ept_walk(&vm.gmem.root, gpa(VM_APIC_BASE), &leaf) == 0;
}

TEST(test_on_demand, setup, teardown)
{
	struct ept_leaf leaf;

	assert_false(is_mapped());
	assert_true(apic_page_map(&vm, VCPU_APIC_X));
	assert_int_equal(ept_walk(&vm.gmem.root, gpa(VM_APIC_BASE + 0x20), &leaf), 0);
	assert_int_equal(leaf.leaf_bytes, PAGE_SIZE);
	assert_int_equal(leaf.attr.access, EPT_READ | EPT_WRITE);
	assert_int_equal(leaf.hpa.v, page_hpa(vm.apic_access_page).v + 0x20);
	assert_true(apic_page_map(&vm, VCPU_APIC_X)); /* a second vCPU maps it too */
}

/*
 * When the first vCPU leaves this mode, the page is unmapped for all; when the last returns, it is
 * mapped.
 */
TEST(test_follows_the_modes, setup, teardown)
{
	static const struct {
		enum vcpu_apic_mode from, to;
		bool mapped;
	} steps[] = {
		{ VCPU_APIC_X, VCPU_APIC_X, true },	{ VCPU_APIC_X, VCPU_APIC_X2, false },
		{ VCPU_APIC_X, VCPU_APIC_OFF, false },	{ VCPU_APIC_OFF, VCPU_APIC_X, false },
		{ VCPU_APIC_X2, VCPU_APIC_OFF, false }, { VCPU_APIC_OFF, VCPU_APIC_X, true },
	};

	assert_true(apic_page_map(&vm, VCPU_APIC_X));
	for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
		uint64_t before = vm.gmem.root.generation.only;
		bool was = is_mapped();

		apic_page_mode_changed(&vm, steps[i].from, steps[i].to);
		/* The old mapping must leave every TLB before the mode changes. */
		assert_int_equal(vm.gmem.root.generation.only - before, was && !steps[i].mapped);
		assert_int_equal(is_mapped(), was && steps[i].mapped);
		assert_false(apic_page_map(&vm, VCPU_APIC_OFF));
		assert_false(apic_page_map(&vm, VCPU_APIC_X2));
		assert_int_equal(apic_page_map(&vm, VCPU_APIC_X), steps[i].mapped);
		assert_int_equal(is_mapped(), steps[i].mapped);
	}
}

TEST(test_without, setup, teardown)
{
	fake_pages_fail_after(0);
	assert_true(apic_page_map(&vm, VCPU_APIC_X)); /* tables were set aside for it */
	assert_true(is_mapped());
	fake_pages_fail_after(-1);
	apic_page_free(&vm);
	vm.apic_access_page = NULL;
	fake_caps.apic_accesses = false;
	assert_int_equal(apic_page_alloc(&vm), 0);
	assert_null(vm.apic_access_page);
	assert_false(apic_page_map(&vm, VCPU_APIC_X));
}
