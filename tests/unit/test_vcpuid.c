/* SPDX-License-Identifier: Apache-2.0 */
/* guest/vcpuid.c: the leaves are read as Linux and the SDM read them. */
#include "tests/unit/test.h"
#include "guest/vcpuid.h"
#include "vmm/base/x86.h"
#include "vmm/vcpu.h"

static struct vm vm;
static struct vcpu vcpu = { .vm = &vm };

static bool apic_on = true;

bool vlapic_is_on(const struct vcpu *v)
{
	return apic_on;
}

static const uint32_t *leaf_of(enum vm_signature signature, uint32_t leaf, uint32_t subleaf,
			       uint32_t eax, uint32_t fill)
{
	static uint32_t regs[4];

	regs[0] = eax;
	regs[1] = regs[2] = regs[3] = fill;
	vcpuid_adjust(&vcpu, signature, leaf, subleaf, regs);
	return regs;
}

static const uint32_t *leaf(uint32_t number, uint32_t subleaf)
{
	return leaf_of(VM_SIGNATURE_UMBRA, number, subleaf, 0, 0);
}

static void set_vcpu(uint32_t id, uint32_t count)
{
	vcpu.id = id;
	vm.vcpu_count = count;
}

TEST(test_signature, fake_setup, fake_teardown)
{
	const uint32_t *regs = leaf(0x40000000, 0);

	assert_int_equal(regs[0], 0x40000010);
	assert_memory_equal(&regs[1], "UmbraUmbraUm", 12);
	regs = leaf_of(VM_SIGNATURE_KVM, 0x40000000, 0, 5, 5);
	assert_int_equal(regs[0], 0x40000010);
	assert_memory_equal(&regs[1], "KVMKVMKVM\0\0\0", 12);
}

/* No KVM feature is ever announced, under either signature, and no leaf shows the host's values. */
TEST(test_no_features, fake_setup, fake_teardown)
{
	for (uint32_t signature = VM_SIGNATURE_UMBRA; signature <= VM_SIGNATURE_KVM; signature++) {
		for (uint32_t n = 0x40000001; n < 0x40000100; n++) {
			const uint32_t *regs = leaf_of(signature, n, 0, ~0u, ~0u);

			assert_int_equal(regs[2] | regs[3], 0);
			if (n != 0x40000010) {
				assert_int_equal(regs[0] | regs[1], 0);
			}
		}
	}
}

/* Whatever the host's own APIC and its CPUID flag are. */
TEST(test_apic_flag, fake_setup, fake_teardown)
{
	for (unsigned i = 0; i < 4; i++) {
		apic_on = (i & 1) != 0;
		assert_int_equal(leaf_of(VM_SIGNATURE_UMBRA, 1, 0, 0, (i & 2) != 0 ? ~0u : 0)[3] &
					 CPUID_1_EDX_APIC,
				 apic_on ? CPUID_1_EDX_APIC : 0);
	}
}

TEST(test_timing, fake_setup, fake_teardown)
{
	static const uint64_t rates[] = { 1497600000, 50000000, 3700000000, 5200000000 };

	for (size_t i = 0; i < ARRAY_COUNT(rates); i++) {
		const uint32_t *regs;
		uint32_t crystal;

		fake_tsc_hz = rates[i];
		regs = leaf(0x15, 0);
		assert_int_equal((uint64_t)regs[2] * regs[1] / regs[0], rates[i]);
		crystal = regs[2];
		assert_int_equal(leaf(0x16, 0)[0], (rates[i] + 500000) / 1000000);
		regs = leaf(0x40000010, 0);
		assert_int_equal(regs[0], rates[i] / 1000);
		assert_int_equal(regs[1], crystal / 1000);
	}
	assert_int_equal(leaf(0, 0)[0], 0x16);
	assert_int_equal(leaf_of(VM_SIGNATURE_UMBRA, 0, 0, 0x1f, 7)[0], 0x1f);
	assert_int_equal(leaf_of(VM_SIGNATURE_UMBRA, 0, 0, 0x1f, 7)[1], 7);
}

TEST(test_version, fake_setup, fake_teardown)
{
	const uint32_t *regs;

	set_vcpu(0, 1);
	regs = leaf_of(VM_SIGNATURE_UMBRA, 1, 0, 0x306d4, 0x12345678 | 1u << 28);
	assert_int_equal(regs[0], 0x306d4);
	assert_int_equal(regs[1], 0x00015678);
	assert_true(regs[2] >> 31 & 1); /* under a hypervisor */
	assert_true(regs[2] >> 24 & 1); /* TSC deadline */
	assert_true(regs[2] >> 21 & 1); /* x2APIC */
	assert_true(regs[3] >> 9 & 1);	/* APIC */
	assert_false(regs[3] >> 28 & 1);
	set_vcpu(2, 3);
	regs = leaf(1, 0);
	assert_int_equal(regs[1], 2u << 24 | 4u << 16);
	assert_true(regs[3] >> 28 & 1);
}

TEST(test_topology, fake_setup, fake_teardown)
{
	const uint32_t *regs;

	set_vcpu(4, 6);
	for (uint32_t n = 0x0b; n <= 0x1f; n += 0x14) {
		regs = leaf(n, 0);
		assert_int_equal(regs[0], 0);
		assert_int_equal(regs[1], 1);
		assert_int_equal(regs[2], 0x100);
		assert_int_equal(regs[3], 4);
		regs = leaf(n, 1);
		assert_int_equal(regs[0], 3);
		assert_int_equal(regs[1], 6);
		assert_int_equal(regs[2], 0x201);
		assert_int_equal(regs[3], 4);
		regs = leaf(n, 2);
		assert_int_equal(regs[1], 0);
		assert_int_equal(regs[2], 2); /* type 0: the end */
	}
}

TEST(test_caches, fake_setup, fake_teardown)
{
	set_vcpu(0, 4);
	assert_int_equal(leaf_of(VM_SIGNATURE_UMBRA, 4, 0, 0xfc004121, 1)[0], 0x0c000121);
	assert_int_equal(leaf_of(VM_SIGNATURE_UMBRA, 4, 3, 0xfc004163, 1)[0], 0x0c00c163);
	assert_int_equal(leaf_of(VM_SIGNATURE_UMBRA, 4, 4, 0, 0)[0], 0);
	assert_int_equal(leaf_of(VM_SIGNATURE_UMBRA, 4, 4, 0x20, 0)[0],
			 0x20); /* type 0: no cache */
}

/* A leaf that is not Umbra's is unchanged. */
TEST(test_others, fake_setup, fake_teardown)
{
	static const uint32_t leaves[] = { 2, 7, 0xd, 0x80000000, 0x80000001, 0x40000100 };

	for (size_t i = 0; i < ARRAY_COUNT(leaves); i++) {
		const uint32_t *regs = leaf_of(VM_SIGNATURE_KVM, leaves[i], 0, 77, 88);

		assert_int_equal(regs[0], 77);
		assert_int_equal(regs[3], 88);
	}
}
