/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of per-CPU blocks. smp.c adds entries, on the BSP only. percpu_register stores an entry
 * before it increases the count, and entries never change. So readers need no lock.
 */
#include "vmm/base/percpu.h"

#include "vmm/base/cpu.h"
#include "vmm/base/panic.h"
#include "vmm/base/x86.h"

static struct percpu *cpus[CPU_MAX];
static uint32_t cpu_count;

uint32_t percpu_count(void)
{
	return __atomic_load_n(&cpu_count, __ATOMIC_ACQUIRE);
}

struct percpu *percpu_get(uint32_t index)
{
	CHECK(index < percpu_count());
	return cpus[index];
}

void percpu_register(struct percpu *cpu)
{
	CHECK(cpu_count < CPU_MAX && cpu->index == cpu_count);
	cpus[cpu_count] = cpu;
	__atomic_store_n(&cpu_count, cpu_count + 1, __ATOMIC_RELEASE);
}

void percpu_load(struct percpu *cpu)
{
	cpu->self = cpu;
	cpu_wrmsr(MSR_IA32_GS_BASE, (uint64_t)cpu);
	cpu_wrmsr(MSR_IA32_KERNEL_GS_BASE, 0);
}
