/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses without a device read as ones and ignore writes, whatever accesses them: instructions
 * of all kinds, stacks, descriptor tables, page tables, a fetch, the delivery of an exception. Each
 * has the result that the SDM gives for an operand, an entry or an opcode of all ones, and the
 * guest goes on. The same instructions on a device's page raise #GP or have any result, and do not
 * change the device. With "idt" the IDT is all ones: a triple fault, because every gate is
 * malformed.
 */
#include "tests/guests/common/guest.h"

#define NOTHING	  0xd0000000ull
#define NOTHING_2 0xd4321ff9ull /* crosses into the next page */
#define PML4_SLOT 400
#define CANONICAL (0xffff000000000000ull | (uint64_t)PML4_SLOT << 39)

static uint64_t ones[8] __attribute__((aligned(64)));
static uint64_t ram[512] __attribute__((aligned(4096), used));
static uint64_t ist_rsp __attribute__((used)), ist_rip __attribute__((used));
extern const uint8_t on_ud[];

__asm__(".text\n"
	"on_ud:\n"
	"	mov ist_rsp, %rsp\n	jmp *ist_rip\n");

static uint64_t flags;

/* rdi: the address; rsi: ones in RAM. Returns RAX and RFLAGS. */
static uint64_t settle(const char *text, uint64_t rax, uint64_t rflags)
{
	flags = rflags;
	if (trapped() != NO_TRAP) {
		fail("%s: vector %lu at %lx", text, caught.vector, caught.rip);
	}
	return rax;
}

#define RUN(at, text)                                                                     \
	({                                                                                \
		uint64_t rax = 0x55, rdx = 3, rcx = 1, rdi = (at), rsi = (uintptr_t)ones; \
		__asm__ volatile(TRY(text) "\n\tpushfq\n\tpopq %%rdx"                     \
				 : "+a"(rax), "+d"(rdx), "+c"(rcx), "+D"(rdi), "+S"(rsi)  \
				 :                                                        \
				 : "rbx", "memory", "cc");                                \
		settle(text, rax, rdx);                                                   \
	})
#define GIVES(want, text)                                                \
	do {                                                             \
		uint64_t rax_is = RUN(at, text);                         \
		if (rax_is != (want)) {                                  \
			fail("%s at %lx: RAX is %lx", text, at, rax_is); \
		}                                                        \
	} while (0)

static void integers(uint64_t at)
{
	GIVES(0x55, "cld; cmpsb");
	check((flags & RFLAGS_ZF) != 0);
	GIVES(0, "mov $5, %%ecx; repe cmpsb; mov %%rcx, %%rax");
	GIVES(0x55, "scasb");
	check((flags & RFLAGS_ZF) == 0);
	GIVES(0x55, "mov %%rdi, %%rsi; mov $0x80, %%edx; outsb");
	GIVES(0x55, "smsw (%%rdi)");
	GIVES(0, "bsf (%%rdi), %%rax");
	GIVES(63, "bsr (%%rdi), %%rax");
	GIVES(-0x55ull, "imul (%%rdi), %%rax");
	GIVES(-7ull, "imulq $7, (%%rdi), %%rax");
	GIVES(0x54, "add (%%rdi), %%rax");
	GIVES(0x55, "shld $4, %%rax, (%%rdi)");
	GIVES(0x55, "shll $3, (%%rdi); rolb (%%rdi); sarw $1, (%%rdi)");
	GIVES(~0ull, "lock xadd %%rax, (%%rdi)");
	GIVES(~0ull, "lock cmpxchg %%rdx, (%%rdi)");
	GIVES(~0ull, "pushq (%%rdi); pop %%rax");
	GIVES(0x55, "push %%rax; popq (%%rdi)");
	GIVES(0x55, "sgdt (%%rdi); sidt 16(%%rdi)");
	GIVES(~0ull, "mov (%%rdi), %%rax"); /* the writes had no effect */
}

static void vectors(uint64_t at)
{
	GIVES(~0ull, "movups (%%rdi), %%xmm1; movups %%xmm1, (%%rdi); movq %%xmm1, %%rax");
	GIVES(0x55, "fninit; fldl (%%rdi); fstpl (%%rdi)");
	if (at % 16 == 0) {
		GIVES(~0ull, "pxor %%xmm1, %%xmm1; por (%%rdi), %%xmm1; movq %%xmm1, %%rax");
		GIVES(~0ull, "lock cmpxchg16b (%%rdi)");
		GIVES(0x55, "fxsave (%%rdi)");
	}
	GIVES(~0ull, "mov 8(%%rdi), %%rax");
}

static void machine_status(uint64_t at)
{
	uint64_t before = read_cr0();

	(void)RUN(at, "lmsw (%%rdi)");
	check_equal(read_cr0() & 0xf, 0xf);
	check(try_write_cr0(before) == NO_TRAP);
	print("LMSW\n");
}

static void stacks(uint64_t at)
{
	uint64_t popped, frame;

	__asm__ volatile("mov %%rsp, %%rbx\n\tmov %%rdi, %%rsp\n\tpush $5\n\tpop %%rax\n\t"
			 "mov %%rbp, %%rcx\n\tmov %%rdi, %%rbp\n\tenter $16, $3\n\t"
			 "mov %%rbp, %%rdx\n\tmov %%rcx, %%rbp\n\tmov %%rbx, %%rsp"
			 : "=&a"(popped), "=&d"(frame)
			 : "D"(at)
			 : "rbx", "rcx", "memory");
	check_equal(popped, ~0ull);
	check_equal(frame, at - 8);
	__asm__ volatile("mov %%rsp, %%rbx\n\tmov %%rdi, %%rsp\n\tlea 1f(%%rip), %%rax\n\t"
			 "call *%%rax\n1:\tmov %%rbx, %%rsp"
			 :
			 : "D"(at)
			 : "rax", "rbx", "memory");
	print("stacks\n");
}

static void fetch(uint64_t at)
{
	__asm__ volatile(TRY("jmp *%%rdi") : : "D"(at) : "memory");
	check_equal(trapped(), VECTOR_UD); /* FF FF */
	check_equal(caught.rip, at);
	print("fetch\n");
}

static void page_walk(uint64_t at)
{
	volatile uint64_t *pml4;
	uint64_t cr3;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	pml4 = (volatile uint64_t *)(cr3 & PAGE_MASK);
	pml4[PML4_SLOT] = (at & PAGE_MASK) | 3;
	__asm__ volatile(TRY("mov (%%rsi), %%al") : : "S"(CANONICAL) : "rax", "memory");
	check_equal(trapped(), VECTOR_PF);
	check_equal(caught.error, PF_PRESENT | PF_RSVD);
	/* The hypervisor's own walk has the same result. */
	__asm__ volatile(TRY("mov $0x80, %%edx; outsb") : : "S"(CANONICAL) : "rdx", "memory");
	check_equal(trapped(), VECTOR_PF);
	check_equal(caught.error, PF_PRESENT | PF_RSVD);
	pml4[PML4_SLOT] = 0;
	print("page walk\n");
}

/*
 * The table's first entries are in memory. The LDT is not allowed, but the code segment of ring 3
 * is.
 */
static void descriptor(uint64_t at)
{
	uint8_t *page = (uint8_t *)CANONICAL;
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) old, cut;

	map_fresh((uintptr_t)page);
	map_fresh((uintptr_t)page + PAGE_SIZE);
	*page_entry((uintptr_t)page + PAGE_SIZE) = (at & PAGE_MASK) | 3;
	flush_page((uintptr_t)page + PAGE_SIZE);
	cut.limit = 0xfff;
	cut.base = (uintptr_t)page + PAGE_SIZE - sizeof(gdt);
	memcpy((void *)cut.base, gdt, sizeof(gdt));
	__asm__ volatile("sgdt %0\n\tlgdt %1" : "=m"(old) : "m"(cut));
	__asm__ volatile(TRY("lldt %%ax") : : "a"(sizeof(gdt)) : "memory");
	__asm__ volatile("lgdt %0" : : "m"(old));
	check_equal(trapped(), VECTOR_GP);
	check_equal(caught.error, sizeof(gdt));
	print("descriptor table\n");
}

/* The frame is pushed to an address without memory, and the handler runs. */
static void delivery(uint64_t at)
{
	uint64_t low = gdt[SELECTOR_TSS / 8];
	struct cpu_tss *tss = (struct cpu_tss *)((low >> 16 & 0xffffff) | (low >> 56) << 24);
	struct idt_entry gate = idt[VECTOR_UD];
	uint64_t top = tss->ist[2];

	tss->ist[2] = at;
	trap_use_ist(VECTOR_UD, 3);
	idt[VECTOR_UD].offset_low = (uint16_t)(uintptr_t)on_ud;
	idt[VECTOR_UD].offset_mid = (uint16_t)((uintptr_t)on_ud >> 16);
	__asm__ volatile("mov %%rsp, ist_rsp\n\tmovq $1f, ist_rip\n\tud2\n1:" : : : "memory");
	tss->ist[2] = top;
	idt[VECTOR_UD] = gate;
	print("delivery\n");
}

static void on_device(const char *text)
{
	unsigned vector = trapped();

	if (vector != NO_TRAP && vector != VECTOR_GP && vector != VECTOR_UD) {
		fail("%s on a device: vector %u", text, vector);
	}
	check_equal(*(volatile uint32_t *)(MEMMAP_IOAPIC + 0x10) & 0xff, 0x20);
}

#define ON_DEVICE(text)                                                                      \
	do {                                                                                 \
		__asm__ volatile(TRY(text) : : "D"(MEMMAP_IOAPIC + 0x10) : "rax", "memory"); \
		on_device(text);                                                             \
	} while (0)

static void devices(void)
{
	*(volatile uint32_t *)MEMMAP_IOAPIC = 1; /* the version register */
	ON_DEVICE("movups (%%rdi), %%xmm1");
	ON_DEVICE("movups %%xmm1, (%%rdi)");
	ON_DEVICE("smsw (%%rdi)");
	ON_DEVICE("bsf (%%rdi), %%rax");
	ON_DEVICE("sgdt (%%rdi)");
	ON_DEVICE("jmp *%%rdi");
	print("devices\n");
}

/*
 * Two CPUs at once: the page that was lent to one is taken back while the other uses it, and both
 * go on.
 */
static volatile bool done;

static void look_around(uint64_t first)
{
	for (uint64_t i = 0; i < 3000; i++) {
		uint64_t at = first + i % 7 * (PAGE_SIZE - 8);

		__asm__ volatile("movups (%0), %%xmm1\n\tmovups %%xmm1, (%0)\n\tbsf 8(%0), %%rax"
				 :
				 : "r"(at)
				 : "rax", "memory", "cc");
	}
}

static void second_cpu(unsigned cpu)
{
	look_around(NOTHING + PAGE_SIZE / 2);
	done = true;
	for (;;) {
		__asm__ volatile("hlt");
	}
}

void guest_main(void)
{
	memset(ones, 0xff, sizeof(ones));
	(void)vector_start(XCR0_X87 | XCR0_SSE);
	if (arg("idt")) {
		print("now an IDT of ones\n");
		load_idt((void *)NOTHING, 0xfff);
		__asm__ volatile("int3");
	}
	if (arg("cpus")) {
		apic_start(false);
		cpu_start(1, second_cpu);
		look_around(NOTHING);
		while (!done) {
			__asm__ volatile("pause");
		}
		integers(NOTHING);
		return;
	}
	for (unsigned i = 0; i < 20; i++) {
		integers(NOTHING);
		integers(NOTHING_2);
		vectors(NOTHING);
		vectors(NOTHING_2);
	}
	print("instructions\n");
	machine_status(NOTHING);
	stacks(NOTHING + 0x800);
	fetch(NOTHING + 0x10);
	fetch(NOTHING + 0xfff);
	page_walk(NOTHING);
	descriptor(NOTHING);
	delivery(NOTHING + 0x800);
	if (!arg("bare")) {
		devices();
	}
}
