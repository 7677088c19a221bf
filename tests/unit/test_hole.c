/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/hole.c: a frame of ones for addresses without memory, for one instruction, and who does not
 * get it.
 */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "tests/unit/gmem_end.h"
#include "vmm/base/err.h"
#include "vmm/host/page_alloc.h"
#include "vmm/hole.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define NOTHING	 0xd0000000ul
#define DEVICE	 0xfec00000ul
#define CONTROLS 0x84006172u

static struct vm vm;
static struct vcpu vcpus[2];
static struct vcpu_private privs[2];

static int setup(void **state)
{
	static const struct ept_caps ept = { .invept_single = true,
					     .structures_wb = true,
					     .phys_bits = 46 };

	fake_setup(state);
	ept_configure(&ept);
	memset(&vm, 0, sizeof(vm));
	memset(privs, 0, sizeof(privs));
	fake_caps.monitor_trap = true;
	for (unsigned i = 0; i < 2; i++) {
		vcpus[i] = (struct vcpu){ .vm = &vm, .priv = &privs[i] };
		privs[i].cpu_controls = CONTROLS;
	}
	fake_vmwrite(VMCS_CPU_CONTROLS, CONTROLS);
	assert_int_equal(iobus_add(&vm.iobus, IO_SPACE_MEMORY, DEVICE + 0x10, 8, NULL, NULL), 0);
	assert_int_equal(gmem_init(&vm.gmem), 0);
	return 0;
}

static int teardown(void **state)
{
	gmem_end(&vm.gmem);
	hole_free(&vm);
	return fake_teardown(state);
}

static bool is_lent(uint64_t at)
{
	struct ept_leaf leaf;

	if (ept_walk(&vm.gmem.root, gpa(at), &leaf) != 0) {
		return false;
	}
	assert_int_equal(leaf.attr.access, EPT_RWX);
	assert_int_equal(leaf.attr.memtype, EPT_MEMTYPE_WB);
	assert_true(leaf.attr.ignore_pat);
	assert_int_equal(leaf.leaf_bytes, PAGE_SIZE);
	assert_int_equal(ALIGN_DOWN(leaf.hpa.v, PAGE_SIZE),
			 keyid_unpack(page_hpa(vm.hole_page).v).frame.v);
	return true;
}

static bool steps(void)
{
	uint64_t controls = fake_vmread(VMCS_CPU_CONTROLS);

	assert_int_equal(controls & ~(uint64_t)CPU_MONITOR_TRAP_FLAG, CONTROLS);
	return (controls & CPU_MONITOR_TRAP_FLAG) != 0;
}

static void assert_ones(void)
{
	const uint8_t *bytes = vm.hole_page;

	for (unsigned i = 0; i < PAGE_SIZE; i++) {
		assert_int_equal(bytes[i], 0xff);
	}
}

TEST(test_lent_for_one_instruction, setup, teardown)
{
	uint64_t generation = vm.gmem.root.generation.only;

	assert_true(hole_open(&vcpus[0], gpa(NOTHING + 0x123)));
	assert_true(hole_open(&vcpus[0], gpa(NOTHING + PAGE_SIZE)));
	assert_true(is_lent(NOTHING) && is_lent(NOTHING + PAGE_SIZE));
	assert_true(steps());
	assert_ones();
	memset(vm.hole_page, 0x5a, PAGE_SIZE); /* as if the guest had written it */
	hole_close(&vcpus[0]);
	assert_false(is_lent(NOTHING) || is_lent(NOTHING + PAGE_SIZE));
	assert_false(steps());
	assert_ones();
	/* No CPU holds a translation to it. */
	assert_int_equal(vm.gmem.root.generation.only, generation + 1);
}

/*
 * A page lent to one vCPU serves the other too. If it is taken back first, the other vCPU faults
 * again.
 */
TEST(test_two_vcpus, setup, teardown)
{
	assert_true(hole_open(&vcpus[0], gpa(NOTHING)));
	assert_true(hole_open(&vcpus[1], gpa(NOTHING)));
	hole_close(&vcpus[1]);
	assert_true(is_lent(NOTHING));
	hole_close(&vcpus[0]);
	assert_false(is_lent(NOTHING));
	assert_true(hole_open(&vcpus[1], gpa(NOTHING)));
	assert_true(is_lent(NOTHING));
	assert_true(hole_open(&vcpus[0], gpa(NOTHING + PAGE_SIZE)));
	assert_ptr_equal(vm.gmem.lent, &privs[0].lent); /* so a share that comes finds both */
	assert_ptr_equal(privs[0].lent.next, &privs[1].lent);
	hole_close(&vcpus[1]);
	assert_ptr_equal(vm.gmem.lent, &privs[0].lent);
	assert_null(privs[0].lent.next);
	hole_close(&vcpus[0]);
	assert_null(vm.gmem.lent);
	hole_close(&vcpus[1]); /* a single step for which nothing was lent */
}

/* A guest places a share where a frame of ones is lent, or is about to be lent. */
TEST(test_memory_that_appears, setup, teardown)
{
	const struct ept_attr attr = { .access = EPT_RWX, .memtype = EPT_MEMTYPE_WB };
	struct ept_leaf leaf;

	assert_true(hole_open(&vcpus[0], gpa(NOTHING)));
	assert_int_equal(ept_unmap(&vm.gmem.root, gpa(NOTHING), PAGE_SIZE), 0);
	assert_int_equal(
		ept_map(&vm.gmem.root, gpa(NOTHING), hpa(0x7000), PAGE_SIZE, PAGE_SIZE, attr), 0);
	hole_close(&vcpus[0]);
	assert_int_equal(ept_walk(&vm.gmem.root, gpa(NOTHING), &leaf), 0);
	assert_int_equal(leaf.hpa.v, 0x7000);

	assert_int_equal(gmem_add_ram_plain(&vm.gmem, gpa(SIZE_2M), SIZE_2M, SIZE_2M), 0);
	assert_true(hole_open(&vcpus[0], gpa(SIZE_2M))); /* the guest tries again */
	assert_int_equal(ept_walk(&vm.gmem.root, gpa(SIZE_2M), &leaf), ERR_NOTFOUND);
	hole_close(&vcpus[0]);
}

static void refused(uint64_t at)
{
	assert_false(hole_open(&vcpus[0], gpa(at)));
	assert_false(is_lent(at));
	assert_false(steps());
}

TEST(test_addresses_that_are_refused, setup, teardown)
{
	refused(DEVICE);	 /* a page of a device */
	refused(DEVICE + 0x800); /* even where the device has no register */
	refused(VM_APIC_BASE);
	refused(1ul << 46);
	assert_true(hole_open(&vcpus[0], gpa(DEVICE + PAGE_SIZE)));
	hole_close(&vcpus[0]);
	fake_caps.monitor_trap = false;
	refused(NOTHING);
}

/* No instruction needs so many pages, and no VM may make tables without limit. */
TEST(test_bounds, setup, teardown)
{
	uint64_t lent = 0;

	for (unsigned i = 0; i < GMEM_LENT_MAX; i++) {
		assert_true(hole_open(&vcpus[0], gpa(NOTHING + i * PAGE_SIZE)));
	}
	assert_false(hole_open(&vcpus[0], gpa(NOTHING + GMEM_LENT_MAX * PAGE_SIZE)));
	hole_close(&vcpus[0]);
	for (uint64_t at = 1ul << 39; at < 1ul << 46; at += 1ul << 39) {
		lent += hole_open(&vcpus[0], gpa(at));
		hole_close(&vcpus[0]);
	}
	assert_in_range(lent, 32, 64);
	assert_true(hole_open(&vcpus[0], gpa(NOTHING))); /* the tables for it exist */
	hole_close(&vcpus[0]);
}

TEST(test_no_memory, setup, teardown)
{
	fake_pages_fail_after(0);
	refused(NOTHING);
	fake_pages_fail_after(1); /* takes its frame, and no table */
	refused(NOTHING);
	fake_pages_fail_after(-1);
	assert_true(hole_open(&vcpus[0], gpa(NOTHING)));
}

/* The tables that are set aside for RAM stay set aside. */
TEST(test_takes_no_tables_of_ram, setup, teardown)
{
	uint64_t reserved;

	assert_int_equal(ept_reserve(&vm.gmem.root, gpa(0), SIZE_1G, PAGE_SIZE), 0);
	reserved = fake_pages_reserved();
	assert_true(hole_open(&vcpus[0], gpa(NOTHING)));
	assert_int_equal(fake_pages_reserved(), reserved);
	hole_close(&vcpus[0]);
	assert_true(hole_open(&vcpus[0], gpa(1ul << 40)));
	assert_int_equal(fake_pages_reserved(), reserved);
}
