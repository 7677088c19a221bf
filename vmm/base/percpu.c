/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of per-CPU blocks. smp.c adds entries, on the BSP only. percpu_register stores an entry
 * before it increases the count, and entries never change. So readers need no lock.
 */
#include "vmm/base/percpu.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/panic.h"
#include "vmm/base/x86.h"

static struct percpu *cpus[CPU_MAX];
static ATOMIC(uint32_t) cpu_count;

uint32_t percpu_count(void)
{
	return atomic_load_acquire(&cpu_count);
}

struct percpu *percpu_get(uint32_t index)
{
	CHECK(index < percpu_count());
	return cpus[index];
}

void percpu_register(struct percpu *cpu)
{
	CHECK(cpu->index < CPU_MAX && cpu->index == atomic_load_relaxed(&cpu_count));
	cpus[cpu->index] = cpu;
	atomic_store_release(&cpu_count, cpu->index + 1);
}

void percpu_load(struct percpu *cpu)
{
	cpu->self = cpu;
	cpu_wrmsr(MSR_IA32_GS_BASE, (uint64_t)cpu);
	cpu_wrmsr(MSR_IA32_KERNEL_GS_BASE, 0);
}
