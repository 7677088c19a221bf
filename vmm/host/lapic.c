/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's local APICs (SDM vol. 3, "Advanced Programmable Interrupt Controller (APIC)"). The
 * BSP chooses xAPIC or x2APIC mode once; APs follow. No lock: each CPU writes its own APIC.
 */
#include "vmm/host/lapic.h"

#include "vmm/base/cpu.h"
#include "vmm/base/panic.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/host_paging.h"

/* Offsets in the xAPIC page; the x2APIC MSR is 800H + offset / 16. */
#define LAPIC_ID	  0x020
#define LAPIC_TPR	  0x080
#define LAPIC_EOI	  0x0b0
#define LAPIC_LDR	  0x0d0
#define LAPIC_SVR	  0x0f0
#define LAPIC_ISR0	  0x100
#define LAPIC_ESR	  0x280
#define LAPIC_LVT_CMCI	  0x2f0
#define LAPIC_ICR_LOW	  0x300
#define LAPIC_ICR_HIGH	  0x310
#define LAPIC_LVT_TIMER	  0x320
#define LAPIC_LVT_THERMAL 0x330
#define LAPIC_LVT_PERF	  0x340
#define LAPIC_LVT_LINT0	  0x350
#define LAPIC_LVT_LINT1	  0x360
#define LAPIC_LVT_ERROR	  0x370
#define LAPIC_TIMER_INIT  0x380
#define LAPIC_TIMER_NOW	  0x390
#define LAPIC_TIMER_DIV	  0x3e0
#define LAPIC_VERSION	  0x030

#define SVR_ENABLE	       BIT(8)
#define LVT_MASKED	       BIT(16)
#define LVT_TIMER_TSC_DEADLINE BIT(18)
#define TIMER_DIVIDE_BY_1      0xbu
#define ICR_NMI		       BIT(10)
#define ICR_INIT	       (BIT(10) | BIT(8))
#define ICR_STARTUP	       (BIT(10) | BIT(9))
#define ICR_BUSY	       BIT(12)
#define ICR_ASSERT	       BIT(14)
#define ICR_OTHERS	       (3u << 18) /* destination shorthand "all excluding self" */

#define XAPIC_LAST_ID 254u /* 255 addresses all CPUs */

#define PIC1_DATA 0x21
#define PIC2_DATA 0xa1

static bool x2apic;
static volatile uint8_t *mmio;
static bool tsc_deadline;
static uint64_t timer_hz; /* of the one-shot timer, for a CPU without TSC deadline */

static uint32_t read_reg(uint32_t reg)
{
	if (x2apic) {
		return (uint32_t)cpu_rdmsr(MSR_IA32_X2APIC_FIRST + reg / 16);
	}
	return *(volatile uint32_t *)(mmio + reg);
}

static void write_reg(uint32_t reg, uint32_t value)
{
	if (x2apic) {
		cpu_wrmsr(MSR_IA32_X2APIC_FIRST + reg / 16, value);
	} else {
		*(volatile uint32_t *)(mmio + reg) = value;
	}
}

uint32_t lapic_id(void)
{
	return x2apic ? read_reg(LAPIC_ID) : read_reg(LAPIC_ID) >> 24;
}

void lapic_eoi(void)
{
	write_reg(LAPIC_EOI, 0);
}

/* Delivery takes microseconds. The wait is bounded so that a dead APIC cannot hang a panic. */
static void wait_sent(void)
{
	unsigned i;

	for (i = 0; i < 1000000 && (read_reg(LAPIC_ICR_LOW) & ICR_BUSY) != 0; i++) {
		cpu_pause();
	}
}

static void send(uint32_t apic_id, uint64_t command)
{
	if (x2apic) {
		/* WRMSR does not wait for earlier stores, which the other CPU must see. */
		cpu_fence();
		cpu_wrmsr(MSR_IA32_X2APIC_FIRST + LAPIC_ICR_LOW / 16,
			  command | (uint64_t)apic_id << 32);
		return;
	}
	wait_sent();
	write_reg(LAPIC_ICR_HIGH, apic_id << 24);
	write_reg(LAPIC_ICR_LOW, (uint32_t)command);
	wait_sent();
}

void lapic_send_ipi(uint32_t apic_id, uint8_t vector)
{
	send(apic_id, ICR_ASSERT | vector);
}

void lapic_send_nmi(uint32_t apic_id)
{
	send(apic_id, ICR_ASSERT | ICR_NMI);
}

void lapic_send_init(uint32_t apic_id)
{
	send(apic_id, ICR_ASSERT | ICR_INIT);
}

void lapic_send_init_others(void)
{
	send(0, ICR_OTHERS | ICR_ASSERT | ICR_INIT);
}

void lapic_send_sipi(uint32_t apic_id, uint8_t page)
{
	send(apic_id, ICR_ASSERT | ICR_STARTUP | page);
}

bool lapic_is_x2apic(void)
{
	return x2apic;
}

bool lapic_reaches(uint32_t apic_id)
{
	if (x2apic || apic_id <= XAPIC_LAST_ID) {
		return true;
	}
	if ((cpu_cpuid(1, 0).ecx & CPUID_1_ECX_X2APIC) == 0) {
		return false;
	}
	/* SDM, "x2APIC State Transitions": the registers keep their content. */
	cpu_wrmsr(MSR_IA32_APIC_BASE, cpu_rdmsr(MSR_IA32_APIC_BASE) | APIC_BASE_X2APIC);
	x2apic = true;
	return true;
}

/* The BSP's first call: all CPUs use the mode in which firmware left its APIC. */
static void find_apic(void)
{
	uint64_t base = cpu_rdmsr(MSR_IA32_APIC_BASE);

	CHECK((cpu_cpuid(1, 0).edx & CPUID_1_EDX_APIC) != 0 || (base & APIC_BASE_ENABLE) == 0);
	x2apic = (base & APIC_BASE_ENABLE) != 0 && (base & APIC_BASE_X2APIC) != 0;
	if (!x2apic) {
		mmio = host_map_io(hpa(base & APIC_BASE_ADDRESS), PAGE_SIZE, HOST_CACHE_UC);
		CHECK(mmio != NULL);
	}
}

/* Measures the ticks of the one-shot timer per second, against the TSC over 10 ms. */
static void calibrate_timer(void)
{
	uint64_t start, ticks;

	write_reg(LAPIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
	write_reg(LAPIC_TIMER_DIV, TIMER_DIVIDE_BY_1);
	write_reg(LAPIC_TIMER_INIT, UINT32_MAX);
	start = cpu_rdtsc();
	tsc_wait_us(10000);
	ticks = UINT32_MAX - read_reg(LAPIC_TIMER_NOW);
	timer_hz = cpu_mul_div(ticks, tsc_hz(), cpu_rdtsc() - start);
	write_reg(LAPIC_TIMER_INIT, 0);
	if (timer_hz == 0) {
		log_error("the local APIC's timer does not count: a VM that has a CPU keeps it");
		timer_hz = 1;
	}
}

/* An interrupt that firmware never acknowledged would block all others of lower priority. */
static void drain_in_service(void)
{
	unsigned vector, i;

	for (vector = 0; vector < 256; vector++) {
		if (read_reg(LAPIC_ISR0 + 16 * (vector / 32)) == 0) {
			continue;
		}
		for (i = 0; i < 32; i++) {
			lapic_eoi();
		}
		vector |= 31;
	}
}

static void mask_lvts(void)
{
	unsigned last = (read_reg(LAPIC_VERSION) >> 16) & 0xff;
	static const uint16_t lvts[] = {
		LAPIC_LVT_TIMER, LAPIC_LVT_LINT0,   LAPIC_LVT_LINT1, LAPIC_LVT_ERROR,
		LAPIC_LVT_PERF,	 LAPIC_LVT_THERMAL, LAPIC_LVT_CMCI,
	};
	unsigned i;

	/* The version says how many LVTs exist; CPUs added them in the order of this table. */
	for (i = 0; i < ARRAY_COUNT(lvts) && i <= last; i++) {
		write_reg(lvts[i], LVT_MASKED);
	}
}

void lapic_init_this_cpu(void)
{
	bool first = !x2apic && mmio == NULL;
	uint64_t base;

	if (first) {
		find_apic();
		/* Masks the 8259s: no interrupt comes through them. */
		cpu_out8(PIC1_DATA, 0xff);
		cpu_out8(PIC2_DATA, 0xff);
		tsc_deadline = (cpu_cpuid(1, 0).ecx & CPUID_1_ECX_TSC_DEADLINE) != 0;
	}
	base = cpu_rdmsr(MSR_IA32_APIC_BASE) | APIC_BASE_ENABLE;
	cpu_wrmsr(MSR_IA32_APIC_BASE, base);
	if (x2apic) {
		/* A disabled APIC must go through xAPIC mode (SDM, "x2APIC State Transitions"). */
		cpu_wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_X2APIC);
	}
	/* A disabled APIC keeps its LVTs masked: write them after the software enable. */
	write_reg(LAPIC_TPR, 0);
	write_reg(LAPIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
	mask_lvts();
	write_reg(LAPIC_TIMER_INIT, 0);
	drain_in_service();
	write_reg(LAPIC_ESR, 0);
	if (first && !tsc_deadline) {
		calibrate_timer();
	}
	if (tsc_deadline) {
		write_reg(LAPIC_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | VECTOR_TIMER);
		/* SDM, "TSC-Deadline Mode": the store to the LVT must come before later WRMSRs. */
		cpu_fence();
		cpu_wrmsr(MSR_IA32_TSC_DEADLINE, 0);
	} else {
		write_reg(LAPIC_TIMER_DIV, TIMER_DIVIDE_BY_1);
		write_reg(LAPIC_LVT_TIMER, VECTOR_TIMER);
	}
}

void lapic_timer_arm(uint64_t deadline)
{
	uint64_t now, ticks;

	if (tsc_deadline) {
		cpu_wrmsr(MSR_IA32_TSC_DEADLINE, deadline);
		return;
	}
	if (deadline == 0) {
		write_reg(LAPIC_TIMER_INIT, 0);
		return;
	}
	now = cpu_rdtsc();
	ticks = deadline > now ? MIN(deadline - now, tsc_hz()) : 0;
	/* At most a second at a time. Rounded up, because 0 would stop the timer. */
	ticks = cpu_mul_div(ticks, timer_hz, tsc_hz()) + 1;
	write_reg(LAPIC_TIMER_INIT, (uint32_t)MIN(ticks, (uint64_t)UINT32_MAX));
}

void lapic_idle_until(uint64_t deadline)
{
	if (cpu_rdtsc() >= deadline) {
		return;
	}
	/* An interrupt that came while interrupts were off is pending and ends the HLT at once. */
	if (deadline != UINT64_MAX) {
		lapic_timer_arm(deadline);
	}
	cpu_sti_hlt();
	cpu_cli();
	if (deadline != UINT64_MAX) {
		lapic_timer_arm(0);
	}
}
