/* SPDX-License-Identifier: Apache-2.0 */
/* Start-up, output and traps of the tiny guests. */
#include "tests/guests/common/guest.h"

#define CMD_LINE_PTR 0x228 /* in boot_params */
#define IST_COUNT    3
#define IST_BYTES    4096

trap_handler *trap_handlers[256];
volatile uint64_t trap_count[256];
struct idt_entry idt[256] __attribute__((aligned(16)));
struct trap_frame caught;
volatile uint64_t catch_rip;

static const char *cmdline = "";
static uint8_t ist_stacks[IST_COUNT][IST_BYTES] __attribute__((aligned(16)));

static struct cpu_tss tss;

void guest_start(const uint8_t *boot_params);

static _Noreturn void power_off(void)
{
	interrupts_off();
	out16(PORT_PM1_CONTROL, PM1_SLP_TYP_S5 << 10 | BIT(13));
	out16(PORT_PM1_CONTROL, BIT(13)); /* the same port in QEMU */
	for (;;) {
		__asm__ volatile("hlt");
	}
}

void pass(void)
{
	print("PASS\n");
	power_off();
}

void skip(const char *why)
{
	print("SKIP %s\n", why);
	power_off();
}

void error(const char *fmt, ...)
{
	__builtin_va_list args;

	print("ERROR ");
	__builtin_va_start(args, fmt);
	vprint(fmt, args);
	__builtin_va_end(args);
	print("\n");
	power_off();
}

void fail(const char *fmt, ...)
{
	__builtin_va_list args;

	print("FAIL ");
	__builtin_va_start(args, fmt);
	vprint(fmt, args);
	__builtin_va_end(args);
	print("\n");
	power_off();
}

/* The rest of a command-line word that begins with `word`, or NULL. */
static const char *arg_after(const char *word)
{
	for (const char *at = cmdline; *at != '\0'; at++) {
		const char *a = at, *w = word;

		if (at != cmdline && at[-1] != ' ') {
			continue;
		}
		while (*w != '\0' && *a == *w) {
			a++;
			w++;
		}
		if (*w == '\0') {
			return a;
		}
	}
	return NULL;
}

bool arg(const char *word)
{
	const char *after = arg_after(word);

	return after != NULL && (*after == '\0' || *after == ' ');
}

uint64_t arg_number(const char *name, uint64_t otherwise)
{
	const char *digit = arg_after(name);
	uint64_t value = 0;

	if (digit == NULL || *digit++ != '=') {
		return otherwise;
	}
	for (; *digit >= '0' && *digit <= '9'; digit++) {
		value = value * 10 + (uint64_t)(*digit - '0');
	}
	return value;
}

void trap_entry(struct trap_frame *frame)
{
	uint64_t cr2;

	trap_count[frame->vector]++;
	if (trap_handlers[frame->vector] != NULL) {
		trap_handlers[frame->vector](frame);
		return;
	}
	if (catch_rip != 0) {
		caught = *frame;
		frame->rip = catch_rip;
		return;
	}
	__asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
	error("unexpected trap %lu, error code %lx, at %lx, RSP %lx, CR2 %lx", frame->vector,
	      frame->error, frame->rip, frame->rsp, cr2);
}

unsigned trapped(void)
{
	unsigned vector = (unsigned)caught.vector;

	caught.vector = NO_TRAP;
	return vector;
}

void trap_use_ist(uint8_t vector, uint8_t ist)
{
	idt[vector].ist = ist;
}

void make_ist_cold(uint8_t ist)
{
	tss.ist[ist - 1] = (uintptr_t)fresh_page() + PAGE_SIZE;
}

void load_idt(const void *table, uint16_t limit)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { limit, (uintptr_t)table };

	__asm__ volatile("lidt %0" : : "m"(idtr));
}

static void start_traps(void)
{
	uint64_t base = (uintptr_t)&tss;

	for (unsigned v = 0; v < 256; v++) {
		idt[v] = idt_gate(v, SELECTOR_CODE);
	}
	load_idt(idt, sizeof(idt) - 1);
	for (unsigned i = 0; i < IST_COUNT; i++) {
		tss.ist[i] = (uintptr_t)ist_stacks[i] + IST_BYTES;
	}
	tss.rsp[0] = tss.ist[2];
	tss.io_map = sizeof(tss);
	gdt[SELECTOR_TSS / 8] = tss_descriptor(&tss);
	gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
	caught.vector = NO_TRAP;
}

/* The loader's page tables may have any content; these map one to one, all writable. */
static void start_paging(void)
{
	static uint64_t tables[6][512] __attribute__((aligned(4096)));

	tables[0][0] = (uintptr_t)tables[1] | PTE_PRESENT | PTE_WRITE;
	for (uint64_t i = 0; i < 4; i++) {
		tables[1][i] = (uintptr_t)tables[2 + i] | PTE_PRESENT | PTE_WRITE;
		for (uint64_t j = 0; j < 512; j++) {
			tables[2 + i][j] = (i << 30 | j << 21) | PTE_PRESENT | PTE_WRITE |
					   PTE_LARGE;
		}
	}
	__asm__ volatile("movq %0, %%cr3" : : "r"(tables) : "memory");
}

void guest_start(const uint8_t *boot_params)
{
	uint32_t at = *(const uint32_t *)(const void *)(boot_params + CMD_LINE_PTR);

	if (at != 0) {
		cmdline = (const char *)(uintptr_t)at;
	}
	start_paging();
	start_traps();
	guest_main();
	pass();
}
