/* SPDX-License-Identifier: Apache-2.0 */
/* CPUs that run one after the other, a clock that stands still, and a record of interrupts sent. */
#include <string.h>

#include "tests/unit/fake_base.h"
#include "vmm/base/percpu.h"
#include "vmm/host/lapic.h"
#include "vmm/host/power.h"
#include "vmm/host/smp.h"

static struct percpu cpus[CPU_MAX];
static uint32_t cpu_count;
static _Thread_local uint32_t current; /* a test's threads can be CPUs */
static uint64_t kicks[CPU_MAX];

void (*fake_kick_hook)(uint32_t cpu_index);
uint64_t fake_tsc;
uint64_t fake_tsc_hz = 1000000000;
uint64_t fake_timer_deadline;
struct fake_ipi fake_ipis[64];
uint32_t fake_ipi_count;

void fake_set_cpu_count(uint32_t count)
{
	cpu_count = count;
	for (uint32_t i = 0; i < count; i++) {
		cpus[i].self = &cpus[i];
		cpus[i].index = i;
		cpus[i].apic_id = 2 * i; /* as with hyper-threading off: differs from the index */
	}
}

void fake_set_cpu(uint32_t index)
{
	if (index >= percpu_count()) {
		fake_fail("CPU %u does not exist", index);
	}
	current = index;
}

uint32_t fake_cpu(void)
{
	return current;
}

uint32_t percpu_count(void)
{
	if (cpu_count == 0) {
		fake_set_cpu_count(1);
	}
	return cpu_count;
}

struct percpu *percpu_get(uint32_t index)
{
	if (index >= percpu_count()) {
		fake_fail("CPU %u does not exist", index);
	}
	return &cpus[index];
}

struct percpu *percpu_fake_self(void)
{
	return percpu_get(current);
}

void percpu_register(struct percpu *cpu)
{
	fake_set_cpu_count(MAX(cpu_count, cpu->index + 1));
}

void percpu_load(struct percpu *cpu)
{
	fake_set_cpu(cpu->index);
}

uint64_t fake_kicks(uint32_t cpu_index)
{
	return kicks[cpu_index];
}

uint32_t smp_start_all(const uint32_t *apic_ids, size_t count, hpa_t trampoline,
		       bool (*fits)(char *why, size_t bytes))
{
	fake_set_cpu_count((uint32_t)count);
	return (uint32_t)count;
}

__attribute__((weak)) void smp_park_others(void)
{
}

void smp_call_all(void (*fn)(void *arg), void *arg)
{
	uint32_t caller = current;

	for (uint32_t i = 0; i < percpu_count(); i++) {
		current = i;
		fn(arg);
	}
	current = caller;
}

void smp_release(void (*fn)(void))
{
}

void smp_kick(uint32_t cpu_index)
{
	(void)percpu_get(cpu_index);
	kicks[cpu_index]++;
	if (fake_kick_hook != NULL) {
		fake_kick_hook(cpu_index);
	}
}

__attribute__((weak)) void smp_stop_others(void)
{
}

static void note_ipi(struct fake_ipi ipi)
{
	if (fake_ipi_count == ARRAY_COUNT(fake_ipis)) {
		fake_fail("more than %u interrupts sent", fake_ipi_count);
	}
	fake_ipis[fake_ipi_count++] = ipi;
}

__attribute__((weak)) void lapic_init_this_cpu(void)
{
}

__attribute__((weak)) uint32_t lapic_id(void)
{
	return percpu_fake_self()->apic_id;
}

__attribute__((weak)) void lapic_eoi(void)
{
}

__attribute__((weak)) void lapic_send_ipi(uint32_t apic_id, uint8_t vector)
{
	note_ipi((struct fake_ipi){ FAKE_IPI_FIXED, apic_id, vector });
}

__attribute__((weak)) void lapic_send_nmi(uint32_t apic_id)
{
	note_ipi((struct fake_ipi){ FAKE_IPI_NMI, apic_id, 0 });
}

__attribute__((weak)) void lapic_send_init(uint32_t apic_id)
{
	note_ipi((struct fake_ipi){ FAKE_IPI_INIT, apic_id, 0 });
}

__attribute__((weak)) void lapic_send_sipi(uint32_t apic_id, uint8_t page)
{
	note_ipi((struct fake_ipi){ FAKE_IPI_SIPI, apic_id, page });
}

__attribute__((weak)) void lapic_timer_arm(uint64_t tsc_deadline)
{
	fake_timer_deadline = tsc_deadline;
}

__attribute__((weak)) _Noreturn void power_off(void)
{
	fake_fail("power_off was called");
}

__attribute__((weak)) _Noreturn void power_reset(void)
{
	fake_fail("power_reset was called");
}

void fake_cpus_reset(void)
{
	memset(cpus, 0, sizeof(cpus));
	memset(kicks, 0, sizeof(kicks));
	cpu_count = current = fake_ipi_count = 0;
	fake_kick_hook = NULL;
	fake_tsc = fake_timer_deadline = 0;
	fake_tsc_hz = 1000000000;
}
