/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fair share of the CPU, whatever the neighbours do. Each vCPU repeats the step that the command
 * line names, for ms= milliseconds of its TSC, and computes how much of a CPU it had:
 *
 *   time     ticks of the TSC between its steps, without gaps of more than GAP_US, in which others
 *            ran: its own instructions and what the hypervisor spent on its exits.
 *   spin     also counts its instructions, exactly. On one emulated CPU a tick is an instruction.
 *            Two emulated CPUs take turns by short pieces of code, and the clock counts their
 *            average: then instructions compare only between vCPUs that run the same code.
 *
 * share=N: FAIL unless each vCPU had N thousandths of a CPU, in time, within a tenth. insns=N: the
 * same in instructions. least=N: FAIL when it had less than nine tenths of that. The steps db and
 * ac never end: there the first vCPU sleeps and ends the test in time, which works only if the
 * endless step does not keep the CPU. Command line: KIND vcpus=N ms=N lead=N share=N insns=N
 * least=N.
 */
#include "tests/guests/common/guest.h"

#define CPU_MAX	    8
#define VECTOR	    0x50
#define GAP_US	    50
#define TAIL_MS	    60 /* runs on for so long, for neighbours that began later */
#define SPIN_ROUNDS 1000
#define SPIN_INSNS  (2 * SPIN_ROUNDS + 14) /* instructions of one iteration of spin() */
#define NAP_US	    20
#define AC_BASE	    0x6000

extern const uint8_t ac_blob[], ac_blob_end[];

struct result {
	uint64_t time;	/* ticks */
	uint64_t insns; /* counted by spin() */
	uint64_t steps, slices;
};

static struct result results[CPU_MAX];
static volatile bool done[CPU_MAX];
static volatile uint64_t begin, end, stop;
static uint64_t gap, nap;
static unsigned cpus;

static uint64_t ms(uint64_t n)
{
	return n * (tsc_hz() / 1000);
}

/* --- Steps --- */

static void step_cpuid(unsigned cpu)
{
	(void)cpuid(cpu, 0);
}

static void step_port(unsigned cpu)
{
	out8(0x80, (uint8_t)cpu);
}

static void step_pause(unsigned cpu)
{
	for (unsigned i = 0; i < 1000; i++) {
		__asm__ volatile("pause");
	}
}

static void step_cr3(unsigned cpu)
{
	__asm__ volatile("movq %%cr3, %%rax\n\tmovq %%rax, %%cr3" : : : "rax", "memory");
}

/* A change of CR0.NE causes an exit, one of CR3 does not. */
static void step_cr0(unsigned cpu)
{
	uint64_t cr0 = read_cr0();

	__asm__ volatile("movq %0, %%cr0\n\tmovq %1, %%cr0" : : "r"(cr0 ^ CR0_NE), "r"(cr0));
}

static void step_wbinvd(unsigned cpu)
{
	__asm__ volatile("wbinvd" : : : "memory");
}

static void step_vmcall(unsigned cpu)
{
	__asm__ volatile("vmcall" : : "a"(cpu) : "memory");
}

static void step_mmio(unsigned cpu)
{
	(void)*(volatile uint32_t *)MEMMAP_IOAPIC;
}

static void step_ipi(unsigned cpu)
{
	apic_self_ipi(VECTOR);
	__asm__ volatile("sti\n\tnop\n\tcli" : : : "memory");
}

/* A single step after each of some instructions. */
static void step_step(unsigned cpu)
{
	__asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
			 "nop\n\tnop\n\tnop\n\tnop\n\tnop\n\tnop\n\t"
			 "pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq"
			 :
			 :
			 : "memory", "cc");
}

static void arm(uint64_t deadline)
{
	__asm__ volatile("wrmsr"
			 :
			 : "a"((uint32_t)deadline), "d"((uint32_t)(deadline >> 32)),
			   "c"(MSR_IA32_TSC_DEADLINE)
			 : "memory");
}

static void halt(void)
{
	__asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
}

static void step_hlt(unsigned cpu)
{
	arm(rdtsc() + nap);
	halt();
}

/*
 * Two vCPUs that wake each other. A vCPU that stops must wake the other a last time: see
 * take_part().
 */
static void step_kick(unsigned cpu)
{
	cpu_send(cpu ^ 1, VECTOR);
	halt();
}

/*
 * A data breakpoint at the address to which delivery of #DB itself writes: another #DB is due
 * before the handler.
 */
static void step_db(unsigned cpu)
{
	static uint8_t *volatile frame;

	frame = cpu_ist_top(cpu) - 5 * 8;
	__asm__ volatile("movq %0, %%dr0\n\tmovq %1, %%dr7"
			 :
			 : "r"(frame), "r"(0x402ull | 0x90000)
			 : "memory");
	*(volatile uint64_t *)(void *)frame = 1;
}

static const struct kind {
	const char *name;
	void (*step)(unsigned cpu); /* NULL: spin(), which counts instructions */
	bool endless;
} kinds[] = {
	{ "spin", NULL, false },
	{ "cpuid", step_cpuid, false },
	{ "port", step_port, false },
	{ "pause", step_pause, false },
	{ "cr3", step_cr3, false },
	{ "cr0", step_cr0, false },
	{ "wbinvd", step_wbinvd, false },
	{ "vmcall", step_vmcall, false },
	{ "mmio", step_mmio, false },
	{ "ipi", step_ipi, false },
	{ "step", step_step, false },
	{ "hlt", step_hlt, false },
	{ "kick", step_kick, false },
	{ "db", step_db, true },
	{ "ac", NULL, true },
};
static const struct kind *kind;

/* --- What each vCPU does --- */

/* All instructions of an iteration are here; those before the loop are not counted. */
static void spin(struct result *result, uint64_t until)
{
	uint64_t last = rdtsc(), turns = 0, slices = 0, time = 0;

	__asm__ volatile(
		"1:\tmovl %[rounds], %%ecx\n"
		"2:\tdecl %%ecx\n\tjnz 2b\n\t"
		"incq %[turns]\n\t"
		"rdtsc\n\tshlq $32, %%rdx\n\torq %%rdx, %%rax\n\t"
		"movq %%rax, %%rdx\n\tsubq %[last], %%rdx\n\tmovq %%rax, %[last]\n\t"
		"cmpq %%rdx, %[gap]\n\tcmovb %[zero], %%rdx\n\tadcq $0, %[slices]\n\t"
		"addq %%rdx, %[time]\n\t"
		"cmpq %[until], %%rax\n\tjb 1b"
		:
		[turns] "+&r"(turns), [slices] "+&r"(slices), [last] "+&r"(last), [time] "+&r"(time)
		: [rounds] "i"(SPIN_ROUNDS), [gap] "r"(gap), [until] "r"(until), [zero] "r"(0ull)
		: "rax", "rcx", "rdx", "cc", "memory");
	*result = (struct result){ time, turns * SPIN_INSNS, turns, slices };
}

static void storm(unsigned cpu, struct result *result, uint64_t until)
{
	uint64_t last = rdtsc(), now;

	if (kind->step == NULL) {
		spin(result, until);
		return;
	}
	while (last < until) {
		kind->step(cpu);
		now = rdtsc();
		if (now - last < gap) {
			result->time += now - last;
		} else {
			result->slices++;
		}
		last = now;
		result->steps++;
	}
}

/* The load starts before the time that counts, and goes on after it. */
static void take_part(unsigned cpu)
{
	struct result rest = { 0 };

	apic_write(APIC_SVR, 0x1ff);
	apic_write(APIC_LVT_TIMER, 0x40000 | VECTOR); /* TSC-deadline */
	while (begin == 0) {
		__asm__ volatile("pause");
	}
	storm(cpu, &rest, begin);
	storm(cpu, &results[cpu], end);
	storm(cpu, &rest, stop);
	if (kind->step == step_kick) {
		cpu_send(cpu ^ 1, VECTOR);
	}
	done[cpu] = true;
}

static void sleep_until(uint64_t tsc)
{
	while (rdtsc() < tsc) {
		arm(tsc);
		halt();
	}
}

static void on_interrupt(struct trap_frame *frame)
{
	apic_write(APIC_EOI, 0);
}

static void on_ud(struct trap_frame *frame)
{
	frame->rip += 3; /* VMCALL */
}

static void on_debug(struct trap_frame *frame)
{
}

/* --- Control --- */

static void start(void)
{
	uint64_t bytes = (uint64_t)(ac_blob_end - ac_blob);
	volatile uint8_t *low = (volatile uint8_t *)AC_BASE;

	for (uint64_t i = 0; i < bytes; i++) {
		low[i] = ac_blob[i];
	}
	for (unsigned cpu = 1; cpu < cpus; cpu++) {
		if (kind->endless && kind->step == NULL) {
			cpu_start_at(cpu, AC_BASE);
		} else {
			cpu_start(cpu, take_part);
		}
	}
}

static void judge_share(const char *what, unsigned cpu, uint64_t got, uint64_t share)
{
	if (share != 0 && (got * 10 < share * 9 || got * 10 > share * 11)) {
		fail("%s: vcpu %u: %lu of 1000 in %s, not %lu", kind->name, cpu, got, what, share);
	}
}

static void judge(unsigned cpu)
{
	const struct result *result = &results[cpu];
	uint64_t time = result->time * 1000 / (end - begin);
	uint64_t insns = result->insns * 1000 / (end - begin);

	print("%s: vcpu %u: %lu of 1000 ticks, %lu steps, %lu slices\n", kind->name, cpu, time,
	      result->steps, result->slices);
	if (kind->step == NULL) {
		print("%s: vcpu %u: %lu instructions in %lu ticks: %lu of 1000\n", kind->name, cpu,
		      result->insns, end - begin, insns);
		judge_share("instructions", cpu, insns, arg_number("insns", 0));
	}
	judge_share("time", cpu, time, arg_number("share", 0));
	if (time * 10 < arg_number("least", 0) * 9) {
		fail("%s: vcpu %u: %lu of 1000 at least", kind->name, cpu, arg_number("least", 0));
	}
}

void guest_main(void)
{
	uint64_t lead = rdtsc() + ms(arg_number("lead", 60)), late;

	for (unsigned i = 0; i < ARRAY_COUNT(kinds); i++) {
		if (arg(kinds[i].name)) {
			kind = &kinds[i];
		}
	}
	cpus = (unsigned)arg_number("vcpus", 1);
	if (kind == NULL || cpus == 0 || cpus > CPU_MAX || (kind->endless && cpus < 2)) {
		error("no such storm");
	}
	gap = ms(GAP_US) / 1000;
	nap = ms(NAP_US) / 1000;
	trap_handlers[VECTOR] = on_interrupt;
	trap_handlers[VECTOR_UD] = on_ud;
	trap_handlers[VECTOR_DB] = on_debug;
	trap_use_ist(VECTOR_DB, 1);
	apic_start(false);
	end = lead + ms(arg_number("ms", 850));
	stop = end + ms(TAIL_MS);
	start();
	if (rdtsc() > lead) {
		error("the lead is too short");
	}
	begin = lead;
	if (!kind->endless) {
		take_part(0);
		for (unsigned cpu = 0; cpu < cpus; cpu++) {
			while (!done[cpu]) {
				__asm__ volatile("pause");
			}
			judge(cpu);
		}
		return;
	}
	apic_write(APIC_LVT_TIMER, 0x40000 | VECTOR);
	sleep_until(stop);
	late = rdtsc() - stop;
	print("%s: kept the time, %lu ticks late; the handler ran %lu times\n", kind->name, late,
	      trap_count[VECTOR_DB]);
	check(late < ms(50));
}
