/* SPDX-License-Identifier: Apache-2.0 */
/* The rows' runtime: descriptor tables, traps, CPU 1, taking the machine and giving it back. */
#include "rows.h"

#define CPU_COUNT     2u
#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS  0x28 /* of CPU 0; each takes two entries */
#define STACK_BYTES   8192u

/* CR4: PAE, OSFXSR, OSXMMEXCPT. */
#define CR4_ROWS 0x620ull

#define WAIT_TURNS 20000000u

struct table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

void load_segments(const struct table_register *gdtr, uint16_t code, uint16_t data);
void user_enter(void (*code)(void), void *stack_top, uint64_t *rsp0);
void user_back(void);
void call_caught(void (*code)(void), volatile uint64_t *catch_rip, uint64_t *rsp0);

static struct cpu cpus[CPU_COUNT];
static uint64_t rsp0[CPU_COUNT];
static struct cpu_tss tss[CPU_COUNT];
static struct idt_entry idt[256] __attribute__((aligned(16)));
static uint64_t gdt[5 + 2 * CPU_COUNT] __attribute__((aligned(16))) = {
	0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00affb000000ffff, 0x00cff3000000ffff,
};
static uint8_t stacks[CPU_COUNT][2][STACK_BYTES] __attribute__((aligned(16)));

static struct {
	struct table_register gdtr, idtr;
	uint64_t cr0, cr3, cr4;
	uint16_t cs, ss;
} firmware;

static void (*volatile job)(void *);
static void *volatile job_argument;
static volatile bool job_done, cpu1_here;
static bool cpu1_wanted;
static uint64_t tables; /* the value for CR3 */

struct cpu *this_cpu(void)
{
	uint16_t task;

	__asm__ volatile("str %0" : "=r"(task));
	return &cpus[task == SELECTOR_TSS + 16];
}

/* Ends it by a triple fault. */
void stop(void)
{
	static const struct table_register none;

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
	__builtin_unreachable();
}

void trap_entry(struct trap_frame *frame)
{
	struct cpu *cpu = this_cpu();
	size_t n = (size_t)(cpu - cpus);
	uint64_t cr2;

	__asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
	if (cpu->catch_rip == 0 && (frame->cs & 3) == 0) {
		print("rows: unexpected trap %lu, error code %lx, at %lx (trap_entry %lx), CR2 "
		      "%lx\n",
		      frame->vector, frame->error, frame->rip, (uintptr_t)trap_entry, cr2);
		stop();
	}
	cpu->caught = (struct trap){ frame->vector, frame->error, frame->rip, cr2 };
	if ((frame->cs & 3) != 0) {
		frame->rip = (uintptr_t)user_back;
		frame->cs = SELECTOR_CODE;
		frame->ss = SELECTOR_DATA;
		frame->rsp = rsp0[n];
		frame->rflags = 2;
		return;
	}
	frame->rip = cpu->catch_rip;
	if (cpu->catch_rip == (uintptr_t)user_back) {
		frame->rsp = rsp0[n];
	}
	cpu->catch_rip = 0;
}

/* The instruction, and the address where a trap in it continues. */
#define TRY(insn)                            \
	"leaq 1f(%%rip), %%r11\n\t"          \
	"movq %%r11, %[catch]\n\t" insn "\n" \
	"1:\tmovq $0, %[catch]"

static struct cpu *try_begin(void)
{
	struct cpu *cpu = this_cpu();

	cpu->caught.vector = NO_TRAP;
	return cpu;
}

unsigned try_rdmsr(uint32_t msr, uint64_t *value)
{
	struct cpu *cpu = try_begin();
	uint32_t lo = 0, hi = 0;

	__asm__ volatile(TRY("rdmsr")
			 : "+a"(lo), "+d"(hi), [catch] "+m"(cpu->catch_rip)
			 : "c"(msr)
			 : "r11", "memory");
	*value = lo | (uint64_t)hi << 32;
	return (unsigned)cpu->caught.vector;
}

unsigned try_wrmsr(uint32_t msr, uint64_t value)
{
	struct cpu *cpu = try_begin();

	__asm__ volatile(TRY("wrmsr")
			 : [catch] "+m"(cpu->catch_rip)
			 : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr)
			 : "r11", "memory");
	return (unsigned)cpu->caught.vector;
}

unsigned try_write_cr3(uint64_t value)
{
	struct cpu *cpu = try_begin();

	__asm__ volatile(TRY("movq %1, %%cr3")
			 : [catch] "+m"(cpu->catch_rip)
			 : "r"(value)
			 : "r11", "memory");
	return (unsigned)cpu->caught.vector;
}

unsigned try_read(const volatile void *at, uint64_t *value)
{
	struct cpu *cpu = try_begin();
	uint64_t got = 0;

	__asm__ volatile(TRY("movq (%2), %0")
			 : "+r"(got), [catch] "+m"(cpu->catch_rip)
			 : "r"(at)
			 : "r11", "memory");
	*value = got;
	return (unsigned)cpu->caught.vector;
}

unsigned try_user(void (*code)(void))
{
	struct cpu *cpu = try_begin();
	size_t n = (size_t)(cpu - cpus);

	user_enter(code, stacks[n][1] + STACK_BYTES, &rsp0[n]);
	return (unsigned)cpu->caught.vector;
}

unsigned try_call(void (*code)(void))
{
	struct cpu *cpu = try_begin();

	call_caught(code, &cpu->catch_rip, &rsp0[cpu - cpus]);
	return (unsigned)cpu->caught.vector;
}

uint64_t rdmsr(uint32_t msr)
{
	uint64_t value;

	if (try_rdmsr(msr, &value) != NO_TRAP) {
		print("rows: RDMSR %x faults\n", msr);
		stop();
	}
	return value;
}

void wrmsr(uint32_t msr, uint64_t value)
{
	if (try_wrmsr(msr, value) != NO_TRAP) {
		print("rows: WRMSR %x of %lx faults\n", msr, value);
		stop();
	}
}

/* --- Taking the machine and giving it back --- */

static void load_tables(size_t n)
{
	struct table_register gdtr = { sizeof(gdt) - 1, (uintptr_t)gdt };
	struct table_register idtr = { sizeof(idt) - 1, (uintptr_t)idt };
	uint64_t base = (uintptr_t)&tss[n];

	tss[n].rsp[0] = (uintptr_t)stacks[n][0] + STACK_BYTES;
	tss[n].io_map = sizeof(tss[n]);
	gdt[5 + 2 * n] = tss_descriptor(&tss[n]);
	gdt[6 + 2 * n] = base >> 32;
	load_segments(&gdtr, SELECTOR_CODE, SELECTOR_DATA);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	__asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS + 16 * n));
	__asm__ volatile("movq %0, %%cr4" : : "r"(CR4_ROWS));
	__asm__ volatile("movq %0, %%cr8" : : "r"(15ull));
	write_cr3(tables);
}

static void save_firmware(void)
{
	__asm__ volatile("sgdt %0" : "=m"(firmware.gdtr));
	__asm__ volatile("sidt %0" : "=m"(firmware.idtr));
	__asm__ volatile("movq %%cr0, %0" : "=r"(firmware.cr0));
	__asm__ volatile("movq %%cr4, %0" : "=r"(firmware.cr4));
	__asm__ volatile("movw %%cs, %0" : "=r"(firmware.cs));
	__asm__ volatile("movw %%ss, %0" : "=r"(firmware.ss));
	firmware.cr3 = read_cr3();
}

void prepare(void)
{
	for (unsigned v = 0; v < 256; v++) {
		idt[v] = idt_gate(v, SELECTOR_CODE);
	}
	tables = make_tables();
}

void takeover(bool second)
{
	__asm__ volatile("cli" : : : "memory");
	save_firmware();
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	load_tables(0);
	map_aliases();
	cpu1_wanted = second;
}

void giveback(void)
{
	vm_stop();
	write_cr3(firmware.cr3);
	__asm__ volatile("movq %0, %%cr4" : : "r"(firmware.cr4));
	__asm__ volatile("movq %0, %%cr8" : : "r"(0ull));
	load_segments(&firmware.gdtr, firmware.cs, firmware.ss);
	__asm__ volatile("lidt %0" : : "m"(firmware.idtr));
}

/* CPU 1 never returns to firmware. */
void cpu1_loop(void)
{
	__asm__ volatile("cli" : : : "memory");
	load_tables(1);
	cpu1_here = true;
	for (;;) {
		if (job != NULL) {
			job(job_argument);
			job = NULL;
			job_done = true;
		}
		__asm__ volatile("pause" : : : "memory");
	}
}

bool on_cpu1(void (*code)(void *), void *argument)
{
	unsigned turns = 0;

	while (cpu1_wanted && !cpu1_here && turns++ < WAIT_TURNS) {
		__asm__ volatile("pause" : : : "memory");
	}
	if (!cpu1_here) {
		cannot("there is no CPU 1");
		return false;
	}
	job_argument = argument;
	job_done = false;
	job = code;
	for (turns = 0; !job_done && turns < WAIT_TURNS; turns++) {
		__asm__ volatile("pause" : : : "memory");
	}
	return check_equal("CPU 1 answers", job_done, true);
}
