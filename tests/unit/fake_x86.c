/* SPDX-License-Identifier: Apache-2.0 */
/* What the instructions of vmm/base/cpu.h do in a unit test. */
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/fake_base.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"

#define WEAK __attribute__((weak))

struct cpuid_row {
	uint32_t leaf, subleaf;
	struct cpuid_regs regs;
};

static struct cpuid_row cpuid_rows[128];
static size_t cpuid_count;
static struct msr_row {
	uint32_t msr;
	uint64_t value;
} msr_rows[128];
static size_t msr_count;
static uint64_t random_state;

uint32_t (*fake_in_hook)(uint16_t port, unsigned size);
void (*fake_out_hook)(uint16_t port, unsigned size, uint32_t value);
uint64_t fake_cr0, fake_cr2, fake_cr3, fake_cr4, fake_xcr0;
unsigned fake_rdrand_failures, fake_rdseed_failures;
unsigned fake_invlpg_count, fake_wbinvd_count, fake_clflush_count, fake_hlt_count;
bool fake_interrupts_on;

void fake_x86_reset(void)
{
	cpuid_count = msr_count = 0;
	random_state = 0;
	fake_in_hook = NULL;
	fake_out_hook = NULL;
	fake_cr0 = fake_cr2 = fake_cr3 = fake_cr4 = fake_xcr0 = 0;
	fake_rdrand_failures = fake_rdseed_failures = 0;
	fake_invlpg_count = fake_wbinvd_count = fake_clflush_count = fake_hlt_count = 0;
	fake_interrupts_on = false;
}

void fake_cpuid_set(uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx,
		    uint32_t edx)
{
	struct cpuid_row row = { leaf, subleaf, { eax, ebx, ecx, edx } };

	for (size_t i = 0; i < cpuid_count; i++) {
		if (cpuid_rows[i].leaf == leaf && cpuid_rows[i].subleaf == subleaf) {
			cpuid_rows[i] = row;
			return;
		}
	}
	if (cpuid_count == ARRAY_COUNT(cpuid_rows)) {
		fake_fail("too many CPUID leaves");
	}
	cpuid_rows[cpuid_count++] = row;
}

WEAK struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	for (size_t i = 0; i < cpuid_count; i++) {
		if (cpuid_rows[i].leaf == leaf && cpuid_rows[i].subleaf == subleaf) {
			return cpuid_rows[i].regs;
		}
	}
	return (struct cpuid_regs){ 0 };
}

static struct msr_row *msr_find(uint32_t msr)
{
	for (size_t i = 0; i < msr_count; i++) {
		if (msr_rows[i].msr == msr) {
			return &msr_rows[i];
		}
	}
	return NULL;
}

void fake_msr_set(uint32_t msr, uint64_t value)
{
	struct msr_row *row = msr_find(msr);

	if (row == NULL) {
		if (msr_count == ARRAY_COUNT(msr_rows)) {
			fake_fail("too many MSRs");
		}
		row = &msr_rows[msr_count++];
	}
	*row = (struct msr_row){ msr, value };
}

uint64_t fake_msr_get(uint32_t msr)
{
	const struct msr_row *row = msr_find(msr);

	if (row == NULL) {
		fake_fail("MSR %#x was not set", msr);
	}
	return row->value;
}

WEAK uint64_t fake_rdmsr(uint32_t msr)
{
	return fake_msr_get(msr);
}

WEAK void fake_wrmsr(uint32_t msr, uint64_t value)
{
	(void)fake_msr_get(msr);
	fake_msr_set(msr, value);
}

WEAK int msr_read_safe(uint32_t msr, uint64_t *value)
{
	const struct msr_row *row = msr_find(msr);

	*value = row == NULL ? 0 : row->value;
	return row == NULL ? ERR_NOTFOUND : 0;
}

WEAK int msr_write_safe(uint32_t msr, uint64_t value)
{
	if (msr_find(msr) == NULL) {
		return ERR_NOTFOUND;
	}
	fake_msr_set(msr, value);
	return 0;
}

WEAK uint64_t fake_rdtsc(void)
{
	return fake_tsc;
}

static uint32_t port_in(uint16_t port, unsigned size)
{
	return fake_in_hook == NULL ? UINT32_MAX : fake_in_hook(port, size);
}

static void port_out(uint16_t port, unsigned size, uint32_t value)
{
	if (fake_out_hook != NULL) {
		fake_out_hook(port, size, value);
	}
}

WEAK uint8_t fake_in8(uint16_t port)
{
	return (uint8_t)port_in(port, 1);
}

WEAK uint16_t fake_in16(uint16_t port)
{
	return (uint16_t)port_in(port, 2);
}

WEAK uint32_t fake_in32(uint16_t port)
{
	return port_in(port, 4);
}

WEAK void fake_out8(uint16_t port, uint8_t value)
{
	port_out(port, 1, value);
}

WEAK void fake_out16(uint16_t port, uint16_t value)
{
	port_out(port, 2, value);
}

WEAK void fake_out32(uint16_t port, uint32_t value)
{
	port_out(port, 4, value);
}

WEAK uint64_t fake_read_cr0(void)
{
	return fake_cr0;
}

WEAK uint64_t fake_read_cr2(void)
{
	return fake_cr2;
}

WEAK uint64_t fake_read_cr3(void)
{
	return fake_cr3;
}

WEAK uint64_t fake_read_cr4(void)
{
	return fake_cr4;
}

WEAK void fake_write_cr0(uint64_t value)
{
	fake_cr0 = value;
}

WEAK void fake_write_cr2(uint64_t value)
{
	fake_cr2 = value;
}

WEAK void fake_write_cr3(uint64_t value)
{
	fake_cr3 = value;
}

WEAK void fake_write_cr4(uint64_t value)
{
	fake_cr4 = value;
}

WEAK uint64_t fake_xgetbv(uint32_t index)
{
	return index == 0 ? fake_xcr0 : 0;
}

WEAK void fake_xsetbv(uint32_t index, uint64_t value)
{
	if (index == 0) {
		fake_xcr0 = value;
	}
}

WEAK void fake_invlpg(const void *address)
{
	fake_invlpg_count++;
}

WEAK void fake_wbinvd(void)
{
	fake_wbinvd_count++;
}

WEAK void fake_clflushopt(const void *address)
{
	fake_clflush(address);
}

WEAK void fake_clwb(const void *address)
{
	fake_clflush(address);
}

WEAK void fake_clflush(const void *address)
{
	fake_clflush_count++;
}

/* A test that gets here must define a model of PCONFIG itself. */
WEAK int pconfig_safe(uint32_t leaf, const void *structure, uint64_t *result, bool *refused)
{
	fake_fail("PCONFIG leaf %u was executed", leaf);
}

/*
 * A thread that spins waits for another thread, which may need this processor. (vmm/ has its own
 * sched_yield.)
 */
WEAK void fake_pause(void)
{
	(void)syscall(SYS_sched_yield);
}

WEAK void fake_hlt(void)
{
	fake_hlt_count++;
}

WEAK void fake_clear_debug_registers(void)
{
}

WEAK void fake_clear_vector_registers(void)
{
}

WEAK void fake_cli(void)
{
	fake_interrupts_on = false;
}

WEAK void fake_sti(void)
{
	fake_interrupts_on = true;
}

WEAK void fake_sti_hlt(void)
{
	fake_interrupts_on = true;
	fake_hlt_count++;
}

static bool random_give(unsigned *failures, uint64_t *value)
{
	*value = 0;
	if (*failures > 0) {
		*failures -= 1;
		return false;
	}
	/* splitmix64 */
	random_state += 0x9e3779b97f4a7c15ul;
	*value = (random_state ^ random_state >> 30) * 0xbf58476d1ce4e5b9ul;
	*value ^= *value >> 27;
	return true;
}

WEAK bool fake_rdrand64(uint64_t *value)
{
	return random_give(&fake_rdrand_failures, value);
}

WEAK bool fake_rdseed64(uint64_t *value)
{
	return random_give(&fake_rdseed_failures, value);
}
