/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row for each leaf that the VM determines and not the CPU. The topology is one package in
 * which every vCPU is a core with one thread, so that a guest's scheduler need not consider
 * siblings.
 */
#include "guest/vcpuid.h"

#include "guest/dev/vlapic.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"
#include "vmm/vcpu.h"

enum {
	EAX,
	EBX,
	ECX,
	EDX,
};

#define LEAF_FREQUENCY	0x16u /* the highest basic leaf with values from us */
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_TIMING	0x40000010u

/* CPUID.0BH: the level types, and their position in ECX. */
#define LEVEL_TYPE_SHIFT 8
#define LEVEL_SMT	 1u
#define LEVEL_CORE	 2u

struct leaf_row {
	uint32_t leaf;
	void (*adjust)(const struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4]);
};

static void set_regs(uint32_t regs[4], uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	regs[EAX] = eax;
	regs[EBX] = ebx;
	regs[ECX] = ecx;
	regs[EDX] = edx;
}

/* How many bits of an APIC ID number the cores of the package. */
static uint32_t core_bits(const struct vcpu *vcpu)
{
	uint32_t bits = 0;

	while ((1u << bits) < vcpu->vm->vcpu_count) {
		bits++;
	}
	return bits;
}

static void adjust_vendor(const struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	regs[EAX] = MAX(regs[EAX], LEAF_FREQUENCY);
}

static void adjust_version(const struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	uint32_t cores = MIN(1u << core_bits(vcpu), 128u);

	regs[EBX] = (regs[EBX] & 0xffff) | cores << 16 | vcpu->id << 24;
	regs[ECX] |= CPUID_1_ECX_X2APIC | CPUID_1_ECX_TSC_DEADLINE | CPUID_1_ECX_HYPERVISOR;
	/* SDM, "Local APIC Status and Location": the flag depends on IA32_APIC_BASE. */
	if (vlapic_is_on(vcpu)) {
		regs[EDX] |= CPUID_1_EDX_APIC;
	} else {
		regs[EDX] &= ~(uint32_t)CPUID_1_EDX_APIC;
	}
	if (vcpu->vm->vcpu_count > 1) {
		regs[EDX] |= CPUID_1_EDX_HTT;
	} else {
		regs[EDX] &= ~(uint32_t)CPUID_1_EDX_HTT;
	}
}

/* EAX: the third-level cache belongs to the package, the others to a core. */
static void adjust_caches(const struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	uint32_t cores = (1u << core_bits(vcpu)) - 1;
	uint32_t level = regs[EAX] >> 5 & 7;

	if ((regs[EAX] & 0x1f) == 0) { /* no more caches */
		return;
	}
	regs[EAX] = (regs[EAX] & 0x3fff) | MIN(cores, 63u) << 26 | (level == 3 ? cores : 0) << 14;
}

/* ARAT: the virtual APIC's timer never stops. */
static void adjust_power(const struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	set_regs(regs, CPUID_6_EAX_ARAT, 0, 0, 0);
}

static void adjust_topology(const struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	uint32_t level = subleaf & 0xff;

	set_regs(regs, 0, 0, level, vcpu->id);
	if (subleaf == 0) {
		regs[EBX] = 1;
		regs[ECX] |= LEVEL_SMT << LEVEL_TYPE_SHIFT;
	} else if (subleaf == 1) {
		regs[EAX] = core_bits(vcpu);
		regs[EBX] = vcpu->vm->vcpu_count;
		regs[ECX] |= LEVEL_CORE << LEVEL_TYPE_SHIFT;
	}
}

/*
 * The TSC's frequency in Hz is ECX times EBX, divided by EAX. ECX is also the frequency of the
 * local APIC timer.
 */
static void adjust_tsc(const struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	set_regs(regs, 1, VLAPIC_TSC_RATIO, (uint32_t)(tsc_hz() / VLAPIC_TSC_RATIO), 0);
}

static void adjust_frequency(const struct vcpu *vcpu, uint32_t subleaf, uint32_t regs[4])
{
	uint32_t mhz = (uint32_t)((tsc_hz() + 500000) / 1000000);

	set_regs(regs, mhz, mhz, 100, 0);
}

static const struct leaf_row leaf_rows[] = {
	{ 0x00, adjust_vendor },    { 0x01, adjust_version },  { 0x04, adjust_caches },
	{ 0x06, adjust_power },	    { 0x0b, adjust_topology }, { 0x15, adjust_tsc },
	{ 0x16, adjust_frequency }, { 0x1f, adjust_topology },
};

static const char *const signatures[] = {
	[VM_SIGNATURE_UMBRA] = "UmbraUmbraUm",
	[VM_SIGNATURE_KVM] = "KVMKVMKVM\0\0\0",
};

/*
 * LEAF_TIMING has the form that other hypervisors use: frequencies of the TSC and of the APIC timer
 * in kHz.
 */
static void hypervisor_leaf(enum vm_signature signature, uint32_t leaf, uint32_t regs[4])
{
	uint64_t khz = tsc_hz() / 1000;

	set_regs(regs, 0, 0, 0, 0);
	if (leaf == LEAF_HYPERVISOR) {
		regs[EAX] = LEAF_TIMING;
		memcpy(&regs[EBX], signatures[signature], 3 * sizeof(regs[0]));
	} else if (leaf == LEAF_TIMING) {
		regs[EAX] = (uint32_t)khz;
		regs[EBX] = (uint32_t)(khz / VLAPIC_TSC_RATIO);
	}
	/* Leaf 40000001H, KVM's features, is zero: no paravirtual feature, no hint. */
}

void vcpuid_adjust(const struct vcpu *vcpu, enum vm_signature signature, uint32_t leaf,
		   uint32_t subleaf, uint32_t regs[4])
{
	if ((leaf & 0xffffff00u) == LEAF_HYPERVISOR) {
		hypervisor_leaf(signature, leaf, regs);
		return;
	}
	for (size_t i = 0; i < ARRAY_COUNT(leaf_rows); i++) {
		if (leaf_rows[i].leaf == leaf) {
			leaf_rows[i].adjust(vcpu, subleaf, regs);
			return;
		}
	}
}
