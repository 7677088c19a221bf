/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what the CPUs report of memory encryption, and which packages and memory they cover. */
#include "crypto/tme_priv.h"

#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/x86.h"
#include "vmm/host/smp.h"

#define LEAF_PCONFIG	0x1bu
#define PCONFIG_TARGETS 1u /* EAX: the sub-leaf lists targets */
#define TARGET_TME_MK	1u
#define SUBLEAF_MAX	64u
#define PHYS_BITS_MIN	36u
#define PHYS_BITS_MAX	52u

#define MSR_MKTME_KEYID_PARTITIONING 0x87u

static struct tme_view views[CPU_MAX];
static uint8_t package_of[CPU_MAX];
static bool leads[CPU_MAX];
static const uint32_t *expected_ids;
static size_t expected_count;
static const struct acpi_affinity *expected_affinity;

const struct tme_view *tme_view(uint32_t cpu_index)
{
	return &views[cpu_index];
}

static bool pconfig_sets_keys(void)
{
	if ((cpu_cpuid(7, 0).edx & CPUID_7_EDX_PCONFIG) == 0 ||
	    cpu_cpuid(0, 0).eax < LEAF_PCONFIG) {
		return false;
	}
	for (uint32_t i = 0; i < SUBLEAF_MAX; i++) {
		const struct cpuid_regs list = cpu_cpuid(LEAF_PCONFIG, i);

		if ((list.eax & 0xfff) != PCONFIG_TARGETS) {
			return false;
		}
		if (list.ebx == TARGET_TME_MK || list.ecx == TARGET_TME_MK ||
		    list.edx == TARGET_TME_MK) {
			return true;
		}
	}
	return false;
}

static bool cpuid_shows_tme(void)
{
	return cpu_cpuid(0, 0).eax >= 7 && (cpu_cpuid(7, 0).ecx & CPUID_7_ECX_TME) != 0;
}

static uint8_t phys_bits(void)
{
	uint32_t bits = cpu_cpuid(0x80000000, 0).eax >= 0x80000008
				? cpu_cpuid(0x80000008, 0).eax & 0xff
				: 0;

	return (uint8_t)MIN(MAX(bits, PHYS_BITS_MIN), PHYS_BITS_MAX);
}

static void read_view(struct tme_view *v)
{
	*v = (struct tme_view){ .place = topology_this_cpu(), .phys_bits = phys_bits() };
	if (!cpuid_shows_tme() || msr_read_safe(MSR_IA32_TME_CAPABILITY, &v->capability) != 0 ||
	    msr_read_safe(MSR_IA32_TME_ACTIVATE, &v->activate) != 0) {
		v->capability = 0;
		return;
	}
	v->present = true;
	v->pconfig = pconfig_sets_keys();
	(void)msr_read_safe(MSR_IA32_TME_EXCLUDE_MASK, &v->exclude_mask);
	(void)msr_read_safe(MSR_IA32_TME_EXCLUDE_BASE, &v->exclude_base);
	v->has_partition = msr_read_safe(MSR_MKTME_KEYID_PARTITIONING, &v->partition) == 0;
}

static void read_this_cpu(void *unused)
{
	read_view(&views[percpu_self()->index]);
}

static uint32_t package_id(const struct tme_view *v)
{
	return v->place.apic_id >> v->place.package_shift;
}

/* Returns how many there are. */
static uint32_t number_packages(void)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < percpu_count(); i++) {
		uint32_t first = 0;

		while (package_id(&views[first]) != package_id(&views[i])) {
			first++; /* at most to i */
		}
		leads[i] = first == i;
		package_of[i] = leads[i] ? (uint8_t)count++ : package_of[first];
	}
	return count;
}

void tme_view_first(void)
{
	views[0] = (struct tme_view){ .phys_bits = phys_bits() };
	if (cpuid_shows_tme() && (cpu_cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR) == 0) {
		/*
		 * CPUID guarantees that these registers exist. It does not for
		 * IA32_MKTME_KEYID_PARTITIONING.
		 */
		views[0].present = true;
		views[0].pconfig = pconfig_sets_keys();
		views[0].capability = cpu_rdmsr(MSR_IA32_TME_CAPABILITY);
		views[0].activate = cpu_rdmsr(MSR_IA32_TME_ACTIVATE);
		views[0].exclude_mask = cpu_rdmsr(MSR_IA32_TME_EXCLUDE_MASK);
		views[0].exclude_base = cpu_rdmsr(MSR_IA32_TME_EXCLUDE_BASE);
	}
}

uint32_t tme_view_all(void)
{
	smp_call_all(read_this_cpu, NULL);
	return number_packages();
}

uint32_t tme_package_of(uint32_t cpu_index)
{
	return package_of[cpu_index];
}

bool tme_leads_package(uint32_t cpu_index)
{
	return leads[cpu_index];
}

void tme_expect(const uint32_t *apic_ids, size_t count, const struct acpi_affinity *affinity)
{
	expected_ids = apic_ids;
	expected_count = count;
	expected_affinity = affinity;
}

static bool has_started(uint32_t package)
{
	for (uint32_t i = 0; i < percpu_count(); i++) {
		if (package_id(&views[i]) == package) {
			return true;
		}
	}
	return false;
}

bool tme_view_has_packages(void)
{
	for (size_t i = 0; i < expected_count; i++) {
		if (!has_started(expected_ids[i] >> views[0].place.package_shift)) {
			return false;
		}
	}
	return true;
}

/*
 * Whether the keys of a proximity domain's memory can be set: a package with a CPU of that domain
 * has a started CPU.
 */
static bool sets_keys(uint32_t domain)
{
	for (uint32_t i = 0; i < expected_affinity->cpu_count; i++) {
		const struct acpi_near_cpu *cpu = &expected_affinity->cpus[i];

		if (cpu->domain == domain &&
		    has_started(cpu->apic_id >> views[0].place.package_shift)) {
			return true;
		}
	}
	return false;
}

/* Memory of a domain without CPUs counts as not covered: its package is unknown. */
bool tme_view_has_memory(void)
{
	if (expected_affinity == NULL) {
		return true;
	}
	for (uint32_t i = 0; i < expected_affinity->memory_count; i++) {
		const struct acpi_near_memory *memory = &expected_affinity->memory[i];

		if (memory->bytes != 0 && !sets_keys(memory->domain)) {
			return false;
		}
	}
	return !expected_affinity->memory_left_out;
}
