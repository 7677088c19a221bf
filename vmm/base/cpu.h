/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One inline function per privileged or special instruction, named after it. VMX instructions live
 * in vmm/. In host unit tests (UMBRA_HOST_TEST) each becomes a fake_* function of the tests.
 */
#ifndef UMBRA_BASE_CPU_H
#define UMBRA_BASE_CPU_H

#include "vmm/base/types.h"

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};

/* The operand of LGDT, LIDT, SGDT and SIDT. */
struct cpu_table_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));
_Static_assert(sizeof(struct cpu_table_register) == 10, "SDM: pseudo-descriptor");

/*
 * RDMSR and WRMSR that survive a #GP (insns.asm, fixed up by interrupts.c). Return ERR_NOTFOUND
 * when the CPU raises one; *value is then 0. For MSRs that no CPUID bit announces.
 */
int msr_read_safe(uint32_t msr, uint64_t *value);
int msr_write_safe(uint32_t msr, uint64_t value);

/*
 * PCONFIG (SDM vol. 2B) that survives a #GP: returns ERR_NOTFOUND when the CPU raises one. *result
 * is RAX, which is 0 on success. *refused is ZF, which the CPU sets when *result is an error.
 * structure is the operand of the leaf. Only where CPUID shows PCONFIG.
 */
int pconfig_safe(uint32_t leaf, const void *structure, uint64_t *result, bool *refused);

#ifdef UMBRA_HOST_TEST
void fake_pause(void);
#define cpu_pause fake_pause
#else
static inline void cpu_pause(void)
{
	__builtin_ia32_pause();
}
#endif

/*
 * a * b / c with a product of 128 bits (for which the compiler would call a library). UINT64_MAX
 * when the result does not fit, or c is 0.
 */
static inline uint64_t cpu_mul_div(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t lo, hi;

	__asm__("mulq %3" : "=a"(lo), "=d"(hi) : "0"(a), "r"(b) : "cc");
	if (hi >= c) {
		return UINT64_MAX;
	}
	__asm__("divq %2" : "+a"(lo), "+d"(hi) : "r"(c) : "cc");
	return lo;
}

/* All earlier loads and stores are done before anything later, WRMSR and RDTSC included, begins. */
static inline void cpu_fence(void)
{
	__asm__ volatile("mfence\n\tlfence" : : : "memory");
}

#ifdef UMBRA_HOST_TEST

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf);
uint64_t fake_rdmsr(uint32_t msr);
void fake_wrmsr(uint32_t msr, uint64_t value);
uint64_t fake_rdtsc(void);
uint8_t fake_in8(uint16_t port);
uint16_t fake_in16(uint16_t port);
uint32_t fake_in32(uint16_t port);
void fake_out8(uint16_t port, uint8_t value);
void fake_out16(uint16_t port, uint16_t value);
void fake_out32(uint16_t port, uint32_t value);
uint64_t fake_read_cr0(void);
uint64_t fake_read_cr2(void);
uint64_t fake_read_cr3(void);
uint64_t fake_read_cr4(void);
void fake_write_cr0(uint64_t value);
void fake_write_cr2(uint64_t value);
void fake_write_cr3(uint64_t value);
void fake_write_cr4(uint64_t value);
uint64_t fake_xgetbv(uint32_t index);
void fake_xsetbv(uint32_t index, uint64_t value);
void fake_invlpg(const void *address);
void fake_wbinvd(void);
void fake_clflush(const void *address);
void fake_clflushopt(const void *address);
void fake_clwb(const void *address);
void fake_hlt(void);
void fake_cli(void);
void fake_sti(void);
void fake_sti_hlt(void);
bool fake_rdrand64(uint64_t *value);
bool fake_rdseed64(uint64_t *value);
void fake_lidt(const struct cpu_table_register *table);
struct cpu_table_register fake_sgdt(void);
struct cpu_table_register fake_sidt(void);
void fake_ltr(uint16_t selector);
void fake_clear_debug_registers(void);
void fake_clear_vector_registers(void);

#define cpu_cpuid		   fake_cpuid
#define cpu_rdmsr		   fake_rdmsr
#define cpu_wrmsr		   fake_wrmsr
#define cpu_rdtsc		   fake_rdtsc
#define cpu_in8			   fake_in8
#define cpu_in16		   fake_in16
#define cpu_in32		   fake_in32
#define cpu_out8		   fake_out8
#define cpu_out16		   fake_out16
#define cpu_out32		   fake_out32
#define cpu_read_cr0		   fake_read_cr0
#define cpu_read_cr2		   fake_read_cr2
#define cpu_read_cr3		   fake_read_cr3
#define cpu_read_cr4		   fake_read_cr4
#define cpu_write_cr0		   fake_write_cr0
#define cpu_write_cr2		   fake_write_cr2
#define cpu_write_cr3		   fake_write_cr3
#define cpu_write_cr4		   fake_write_cr4
#define cpu_xgetbv		   fake_xgetbv
#define cpu_xsetbv		   fake_xsetbv
#define cpu_invlpg		   fake_invlpg
#define cpu_wbinvd		   fake_wbinvd
#define cpu_clflush		   fake_clflush
#define cpu_clflushopt		   fake_clflushopt
#define cpu_clwb		   fake_clwb
#define cpu_hlt			   fake_hlt
#define cpu_cli			   fake_cli
#define cpu_sti			   fake_sti
#define cpu_sti_hlt		   fake_sti_hlt
#define cpu_rdrand64		   fake_rdrand64
#define cpu_rdseed64		   fake_rdseed64
#define cpu_lidt		   fake_lidt
#define cpu_sgdt		   fake_sgdt
#define cpu_sidt		   fake_sidt
#define cpu_ltr			   fake_ltr
#define cpu_clear_debug_registers  fake_clear_debug_registers
#define cpu_clear_vector_registers fake_clear_vector_registers

#else

static inline struct cpuid_regs cpu_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

/* Faults with #GP when the MSR does not exist; see msr_read_safe. */
static inline uint64_t cpu_rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return lo | (uint64_t)hi << 32;
}

static inline void cpu_wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

static inline uint64_t cpu_rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return lo | (uint64_t)hi << 32;
}

static inline uint8_t cpu_in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint16_t cpu_in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t cpu_in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline void cpu_out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void cpu_out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void cpu_out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint64_t cpu_read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr0, %0" : "=r"(value) : : "memory");
	return value;
}

static inline uint64_t cpu_read_cr2(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr2, %0" : "=r"(value) : : "memory");
	return value;
}

static inline uint64_t cpu_read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr3, %0" : "=r"(value) : : "memory");
	return value;
}

static inline uint64_t cpu_read_cr4(void)
{
	uint64_t value;

	__asm__ volatile("movq %%cr4, %0" : "=r"(value) : : "memory");
	return value;
}

static inline void cpu_write_cr0(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr0" : : "r"(value) : "memory");
}

static inline void cpu_write_cr2(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr2" : : "r"(value) : "memory");
}

static inline void cpu_write_cr3(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(value) : "memory");
}

static inline void cpu_write_cr4(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr4" : : "r"(value) : "memory");
}

/* Both need CR4.OSXSAVE. XSETBV faults with #GP on a value that the CPU does not offer. */
static inline uint64_t cpu_xgetbv(uint32_t index)
{
	uint32_t lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(index));
	return lo | (uint64_t)hi << 32;
}

static inline void cpu_xsetbv(uint32_t index, uint64_t value)
{
	__asm__ volatile("xsetbv"
			 :
			 : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

static inline void cpu_invlpg(const void *address)
{
	__asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

static inline void cpu_wbinvd(void)
{
	__asm__ volatile("wbinvd" : : : "memory");
}

/*
 * CLFLUSH: writes the line back and drops it. Ordered against writes and other CLFLUSHes; cpu_fence
 * waits for completion.
 */
static inline void cpu_clflush(const void *address)
{
	__asm__ volatile("clflush (%0)" : : "r"(address) : "memory");
}

/*
 * CLFLUSHOPT, only where CPUID shows it. Only cpu_fence orders it, so that many can be under way at
 * a time. See cache.h.
 */
static inline void cpu_clflushopt(const void *address)
{
	__asm__ volatile("clflushopt (%0)" : : "r"(address) : "memory");
}

/* CLWB, only where CPUID shows it: writes the line back, and may keep it. Ordered as CLFLUSHOPT. */
static inline void cpu_clwb(const void *address)
{
	__asm__ volatile("clwb (%0)" : : "r"(address) : "memory");
}

static inline void cpu_hlt(void)
{
	__asm__ volatile("hlt" : : : "memory");
}

/* DR0 to DR3: a key may be in them (crypto/key_store.h). */
static inline void cpu_clear_debug_registers(void)
{
	__asm__ volatile("movq %0, %%db0\n\t"
			 "movq %0, %%db1\n\t"
			 "movq %0, %%db2\n\t"
			 "movq %0, %%db3"
			 :
			 : "r"(0ul)
			 : "memory");
}

/* All of zmm0 to zmm31. XCR0 must enable them. */
static inline void cpu_clear_vector_registers(void)
{
	__asm__ volatile(".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, "
			 "18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n\t"
			 "vpxorq %%zmm\\i, %%zmm\\i, %%zmm\\i\n\t"
			 ".endr"
			 :
			 :
			 : "memory");
}

static inline void cpu_cli(void)
{
	__asm__ volatile("cli" : : : "memory");
}

static inline void cpu_sti(void)
{
	__asm__ volatile("sti" : : : "memory");
}

/* Enables interrupts and halts. No interrupt is taken between the two (SDM vol. 2, "STI"). */
static inline void cpu_sti_hlt(void)
{
	__asm__ volatile("sti\n\thlt" : : : "memory");
}

/* Both return false when the generator has no number ready. */
static inline bool cpu_rdrand64(uint64_t *value)
{
	bool ok;

	__asm__ volatile("rdrand %0" : "=r"(*value), "=@ccc"(ok));
	return ok;
}

static inline bool cpu_rdseed64(uint64_t *value)
{
	bool ok;

	__asm__ volatile("rdseed %0" : "=r"(*value), "=@ccc"(ok));
	return ok;
}

static inline void cpu_lidt(const struct cpu_table_register *table)
{
	__asm__ volatile("lidt %0" : : "m"(*table) : "memory");
}

static inline struct cpu_table_register cpu_sgdt(void)
{
	struct cpu_table_register table;

	__asm__ volatile("sgdt %0" : "=m"(table));
	return table;
}

static inline struct cpu_table_register cpu_sidt(void)
{
	struct cpu_table_register table;

	__asm__ volatile("sidt %0" : "=m"(table));
	return table;
}

static inline void cpu_ltr(uint16_t selector)
{
	__asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

#endif /* UMBRA_HOST_TEST */

/* Halts for ever. Only an NMI still reaches the CPU. */
static inline _Noreturn void cpu_stop(void)
{
	for (;;) {
		cpu_cli();
		cpu_hlt();
	}
}

#endif
