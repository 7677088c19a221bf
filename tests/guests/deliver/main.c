/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events arrive once, in order and whole, although the pages that the CPU reads and writes for
 * their delivery are not present in the EPT: the IDT, GDT and TSS entries, the stack frame and the
 * instruction each cross from one page to another, behind separate page tables. An interrupted
 * delivery is repeated with its type, error code and return address (SDM vol. 3, "Information for
 * VM Exits That Occur During Event Delivery"). An interrupted IRET has not yet unblocked NMIs
 * ("NMI-blocking by IRET" in the exit qualification). Command line: events=N.
 */
#include "tests/guests/common/guest.h"

#define PRESS	   140 /* see floor/main.c */
#define PRESS_SOME 3   /* fewer, between most events: each time the event misses other pages */
#define ALL_ROUNDS 100 /* after so many events all pages are pushed out */
#define VECTOR	   0x93
#define SOFT	   0x77
#define IRETQ	   0xcf48 /* its bytes */
#define NO_SEGMENT 0xb0	  /* beyond the GDT */

extern const uint8_t ud_code[], gp_code[], pf_code[], int_code[], iret_code[], deliver_code_end[];
extern const uint8_t iret_back[];
void iret_far(const void *iretq, uint64_t *frame, void (*before)(void));

static volatile uint64_t taken, rip, code, address, nmi_depth, nmi_again;
static uint64_t repaired_cs, *bad_frame;
static struct idt_entry *far_idt[256];

static void press_some(void)
{
	sweep(taken % ALL_ROUNDS == 0 ? PRESS : random64() % PRESS_SOME);
}

static void press_all(void)
{
	sweep(PRESS);
}

static void on_event(struct trap_frame *frame)
{
	taken++;
	rip = frame->rip;
	code = frame->error;
	__asm__ volatile("movq %%cr2, %0" : "=r"(address));
	if (frame->vector == VECTOR) {
		apic_write(APIC_EOI, 0);
	} else if (bad_frame != NULL) {
		bad_frame[1] = repaired_cs; /* and the IRET is executed again */
	} else if (frame->vector != SOFT) {
		frame->rip += 2;
	}
	press_some();
}

static void on_nmi(struct trap_frame *frame)
{
	taken++;
	check_equal(nmi_depth, 0);
	/* Not in front of the IRETQ of another NMI's handler, which unblocks NMIs. */
	check(*(const uint16_t *)(const void *)frame->rip != IRETQ);
	nmi_depth++;
	if (nmi_again != 0) {
		nmi_again--;
		apic_self_nmi();
	}
	press_all();
	nmi_depth--;
}

/* Copies the IDT to where the vector's entry crosses from one page to another. */
static void lay_out(uint8_t vector)
{
	struct idt_entry *table = (void *)(far_pair() - 16 * vector - 8);

	idt[vector].ist = 1;
	idt[vector].type |= 0x60;
	memcpy(table, idt, sizeof(idt));
	far_idt[vector] = table;
}

static void use(uint8_t vector)
{
	load_idt(far_idt[vector], sizeof(idt) - 1);
}

static void start_tables(void)
{
	uint8_t *tss = far_pair() - 40, *far_gdt = far_pair() - 12;
	uint64_t base = (uintptr_t)tss, stack = (uintptr_t)far_pair() + 16;
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdtr = { sizeof(gdt) - 1, (uintptr_t)far_gdt };

	memcpy(tss + 36, &stack, sizeof(stack)); /* IST1 */
	gdt[SELECTOR_TSS / 8] = 0x0000890000000000 | 103 | (base & 0xffffff) << 16 |
				(base >> 24 & 0xff) << 56;
	gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
	gdt[SELECTOR_CODE16 / 8] &= ~(1ull << 47); /* not present */
	memcpy(far_gdt, gdt, sizeof(gdt));
	__asm__ volatile("lgdt %0; ltr %w1" : : "m"(gdtr), "r"(SELECTOR_TSS) : "memory");
}

static void interrupts(uint64_t count)
{
	use(VECTOR);
	for (uint64_t i = 1; i <= count; i++) {
		press_some();
		if (i % 2 == 0) {
			interrupts_on();
			apic_self_ipi(VECTOR);
		} else {
			apic_self_ipi(VECTOR);
			press_some();
			check_equal(taken, i - 1);
			interrupts_on();
		}
		for (unsigned wait = 0; taken < i && wait < 1000; wait++) {
			__asm__ volatile("pause");
		}
		interrupts_off();
		check_equal(taken, i);
	}
	print("%lu interrupts\n", taken);
}

/*
 * Executes the two-byte instruction at `at`. The event must have the error code want_code and the
 * right return address.
 */
static void trap(uint8_t vector, const uint8_t *at, uint64_t operand, uint64_t want_code)
{
	uint64_t before = taken;

	use(vector);
	press_some();
	__asm__ volatile("call *%1" : "+D"(operand) : "r"(at), "a"(operand) : "memory");
	check_equal(taken, before + 1);
	check_equal(rip, (uintptr_t)at + (vector == SOFT ? 2 : 0));
	check_equal(code, want_code);
	check(vector != VECTOR_PF || address == operand);
}

static void exceptions(uint64_t count)
{
	uint8_t *ud = far_code(ud_code, gp_code, 1), *gp = far_code(gp_code, pf_code, 1);
	uint8_t *pf = far_code(pf_code, int_code, 1), *soft = far_code(int_code, iret_code, 1);
	/* Page tables for this address exist. */
	uint64_t hole = (uintptr_t)far_pair() + 2 * PAGE_SIZE;

	for (uint64_t i = 0; i < count; i += 5) {
		trap(VECTOR_UD, ud, 0, 0);
		trap(VECTOR_GP, gp, NO_SEGMENT, NO_SEGMENT);
		trap(VECTOR_NP, gp, SELECTOR_CODE16, SELECTOR_CODE16);
		trap(VECTOR_PF, pf, hole + i, 0);
		trap(SOFT, soft, 0, 0);
	}
	print("%lu events with exceptions\n", taken);
}

static void irets(uint64_t count)
{
	uint8_t *iretq = far_code(iret_code, deliver_code_end, 1);
	uint64_t *frame = (uint64_t *)(void *)(far_pair() - 16), before;

	repaired_cs = SELECTOR_CODE;
	use(VECTOR_GP);
	for (uint64_t i = 0; i < count; i++) {
		bool bad = i % 2 != 0;

		frame[1] = bad ? NO_SEGMENT : SELECTOR_CODE;
		frame[2] = 2; /* RFLAGS */
		frame[4] = SELECTOR_DATA;
		before = taken;
		bad_frame = bad ? frame : NULL;
		iret_far(iretq, frame, press_all);
		check_equal(taken, before + bad);
		check(!bad || (code == NO_SEGMENT && rip == (uintptr_t)iretq));
	}
	bad_frame = NULL;
	print("%lu IRETs\n", count);
}

/*
 * Each handler sends one more NMI. This NMI must wait for the handler's IRET, even if an EPT
 * violation interrupts the IRET.
 */
static void nmis(uint64_t count)
{
	uint64_t before = taken;

	use(VECTOR_NMI);
	for (uint64_t i = 1; i <= count; i++) {
		nmi_again = 1;
		press_some();
		apic_self_nmi();
		for (unsigned wait = 0; taken < before + 2 * i && wait < 1000; wait++) {
			__asm__ volatile("pause");
		}
		check_equal(taken, before + 2 * i);
	}
	print("%lu NMIs\n", taken - before);
}

void guest_main(void)
{
	static const uint8_t vectors[] = {
		VECTOR, VECTOR_UD, VECTOR_GP, VECTOR_NP, VECTOR_PF, SOFT
	};
	uint64_t events = arg_number("events", 1000);

	apic_start(false);
	start_tables();
	for (unsigned i = 0; i < sizeof(vectors); i++) {
		trap_handlers[vectors[i]] = on_event;
		lay_out(vectors[i]);
	}
	trap_handlers[VECTOR_NMI] = on_nmi;
	lay_out(VECTOR_NMI);
	interrupts(events);
	exceptions(events / 5);
	irets(events / 50);
	nmis(events / 100);
}
