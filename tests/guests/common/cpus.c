/* SPDX-License-Identifier: Apache-2.0 */
/* Further CPUs of a tiny guest: each with its own stack, GDT and TSS. */
#include "tests/guests/common/guest.h"

#define AP_BASE	   0x7000
#define AP_MAX	   8
#define AP_STACK   8192
#define ICR_INIT   0x4500
#define ICR_SIPI   0x4600
#define START_TIME 10 /* seconds of the TSC: the CPUs may have to wait for their host */

extern const uint8_t ap_blob[], ap_blob_end[];

struct ap_start {
	uint32_t cr0, cr3, cr4, efer, stack, entry;
};

static struct ap {
	uint8_t stack[AP_STACK], ist_stack[AP_STACK];
	uint64_t gdt[9];
	struct cpu_tss tss;
} aps[AP_MAX] __attribute__((aligned(16)));

static volatile unsigned started;
static void (*volatile work)(unsigned cpu);
static volatile unsigned entering;

uint8_t *cpu_ist_top(unsigned cpu)
{
	return aps[cpu - 1].ist_stack + AP_STACK;
}

static void load_tables(struct ap *ap)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdtr = { sizeof(ap->gdt) - 1, (uintptr_t)ap->gdt };
	uint64_t base = (uintptr_t)&ap->tss;

	for (unsigned i = 0; i < ARRAY_COUNT(ap->gdt); i++) {
		ap->gdt[i] = gdt[i];
	}
	for (unsigned i = 0; i < ARRAY_COUNT(ap->tss.ist); i++) {
		ap->tss.ist[i] = (uintptr_t)cpu_ist_top((unsigned)(ap - aps) + 1);
	}
	ap->tss.rsp[0] = ap->tss.ist[0];
	ap->tss.io_map = sizeof(ap->tss);
	ap->gdt[SELECTOR_TSS / 8] = tss_descriptor(&ap->tss);
	ap->gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("lgdt %0\n\tltr %w1" : : "m"(gdtr), "r"(SELECTOR_TSS) : "memory");
	load_idt(idt, sizeof(idt) - 1);
}

static void ap_main(void)
{
	unsigned cpu = entering;
	void (*entry)(unsigned cpu) = work;

	load_tables(&aps[cpu - 1]);
	started = cpu; /* from here on the next CPU may be started */
	entry(cpu);
}

static void send(unsigned cpu, uint32_t command)
{
	if ((rdmsr(MSR_IA32_APIC_BASE) & APIC_BASE_X2APIC) != 0) {
		wrmsr(MSR_IA32_X2APIC_FIRST + (APIC_ICR >> 4), (uint64_t)cpu << 32 | command);
		return;
	}
	apic_write(APIC_ICR_HIGH, cpu << 24);
	apic_write(APIC_ICR, command);
}

void cpu_send(unsigned cpu, uint8_t vector)
{
	send(cpu, vector);
}

void cpu_start_at(unsigned cpu, uint32_t address)
{
	send(cpu, ICR_INIT);
	send(cpu, ICR_SIPI | address >> PAGE_SHIFT);
}

void cpu_start(unsigned cpu, void (*entry)(unsigned cpu))
{
	uint64_t bytes = (uint64_t)(ap_blob_end - ap_blob), limit = rdtsc() + START_TIME * tsc_hz();
	volatile uint8_t *low = (volatile uint8_t *)AP_BASE;
	struct ap_start *start = (void *)(AP_BASE + bytes - sizeof(*start));
	uint64_t cr3;

	if (cpu == 0 || cpu > AP_MAX) {
		error("no room for CPU %u", cpu);
	}
	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	for (uint64_t i = 0; i < bytes; i++) {
		low[i] = ap_blob[i];
	}
	*start = (struct ap_start){
		.cr0 = (uint32_t)read_cr0(),
		.cr3 = (uint32_t)cr3,
		.cr4 = (uint32_t)read_cr4(),
		.efer = (uint32_t)rdmsr(MSR_IA32_EFER) & ~(uint32_t)EFER_LMA,
		.stack = (uint32_t)(uintptr_t)(aps[cpu - 1].stack + AP_STACK),
		.entry = (uint32_t)(uintptr_t)ap_main,
	};
	work = entry;
	entering = cpu;
	cpu_start_at(cpu, AP_BASE);
	while (started != cpu) {
		if (rdtsc() > limit) {
			error("CPU %u does not start", cpu);
		}
		__asm__ volatile("pause");
	}
}
