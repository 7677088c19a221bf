/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the row programs: a small runtime. It uses no code of Umbra, because the machine must
 * be tested without the code that is tested on it later. README.md says what each row expects and
 * why.
 *
 * The program owns the machine between takeover() and giveback(): firmware's memory does not
 * change, interrupts are off, and the low 4 GiB are mapped one to one with KeyID 0. CPU 1, if there
 * is one, waits in a loop for on_cpu1().
 */
#ifndef ROWS_H
#define ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/guests/common/cpu.h"

#define BIT(n)	       (1ull << (n))
#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE_BYTES     4096u
#define LINE_BYTES     64u
#define GIB	       BIT(30)

/*
 * Test memory, allocated from firmware at these addresses. The last part is in the upper half of a
 * machine of 1024 MiB, which belongs to package 1 if there are two.
 */
#define ARENA		0x4000000ull
#define ARENA_BYTES	0x400000ull
#define ARENA_FAR	0x24000000ull
#define ARENA_FAR_BYTES 0x10000ull
/* The first pages of ARENA are for the rows; arena_page() hands out the rest. */
#define TEST_PAGES 64u

/* --- Output and verdicts --- */

enum verdict { PASS, CANNOT, CORRUPT, FAIL };
/* Each prints the expected and the actual value; a difference makes the row's verdict worse. */
bool check_equal(const char *what, uint64_t saw, uint64_t expected);
bool check_differ(const char *what, uint64_t saw, uint64_t not_expected);
bool check_bytes(const char *what, const void *saw, const void *expected, size_t bytes);
/* Data that the correct order protects: a difference is CORRUPT, which twins expect. */
bool check_intact(const char *what, const void *saw, const void *expected, size_t bytes);
/* Data that the correct order makes unreadable: if it is readable, that is CORRUPT as well. */
bool check_gone(const char *what, const void *saw, const void *secret, size_t bytes);
/* Not one 16-byte block is unchanged: the effect of another key on a line. */
bool check_garbage(const char *what, const void *saw, const void *plain, size_t bytes);
/* The row cannot run on this machine; that is a failure unless rows.toml expects it. */
void cannot(const char *why);

/* From \rows.txt: the profile's number, and whether it contains a word. */
unsigned profile(void);
bool word(const char *name);

/* --- CPU --- */

#define MSR_APIC_BASE	     0x1b
#define MSR_PARTITIONING     0x87
#define MSR_FEATURE	     0x3a
#define MSR_TME_CAPABILITY   0x981
#define MSR_TME_ACTIVATE     0x982
#define MSR_TME_EXCLUDE_MASK 0x983
#define MSR_TME_EXCLUDE_BASE 0x984
#define MSR_CORE_ACTIVATE    0x9ff

#define VECTOR_UD 6u
#define VECTOR_GP 13u
#define VECTOR_PF 14u
#define NO_TRAP	  256u

#define PF_PRESENT BIT(0)
#define PF_RSVD	   BIT(3)

struct trap {
	uint64_t vector, error, rip, cr2;
};

struct cpu {
	/* Where execution continues after a trap; 0: no trap is expected. */
	volatile uint64_t catch_rip;
	struct trap caught;
	uint8_t *vmxon, *vmcs, *stack; /* pages of this CPU; the last is its guest's stack */
	bool vmx;
};
/* The CPU that executes this. */
struct cpu *this_cpu(void);

/* Returns the instruction's trap, or NO_TRAP; this_cpu()->caught has the details. */
unsigned try_rdmsr(uint32_t msr, uint64_t *value);
unsigned try_wrmsr(uint32_t msr, uint64_t value);
unsigned try_write_cr3(uint64_t value);
unsigned try_read(const volatile void *at, uint64_t *value);
/* Calls code at CPL 3, where it must end in a trap. */
unsigned try_user(void (*code)(void));
/* Calls code; a trap in it continues here. */
unsigned try_call(void (*code)(void));
/* Ends the machine when nothing works any more. */
_Noreturn void stop(void);
/* A trap here also ends the machine. */
uint64_t rdmsr(uint32_t msr);
void wrmsr(uint32_t msr, uint64_t value);

/* Calls code on CPU 1 and waits; false if there is no CPU 1 or it does not answer. */
bool on_cpu1(void (*code)(void *), void *argument);

/* --- Memory and its aliases --- */

/* m, k and p of the SDM's IA32_TME_ACTIVATE as the machine reports them now. */
unsigned physical_bits(void);
unsigned keyid_bits(void);
unsigned tdx_bits(void);
/* The KeyID in its place in a physical address. */
uint64_t keyid_field(unsigned keyid);
/* Maps KeyIDs 0 to 127 for the present k; call it again after a late activation. */
void map_aliases(void);
/* The virtual address of the physical address with that KeyID. */
void *alias(unsigned keyid, uint64_t address);
/* A zeroed page that no row uses: for tables and VMX regions. */
void *arena_page(void);
/* Test page n, below TEST_PAGES. */
uint64_t test_page(unsigned n);
/* A page-table entry of 1 GiB, in 512 GiB that nothing else uses, and the address that it maps. */
#define SCRATCH_VA 0x30000000000ull
volatile uint64_t *scratch_entry(void);
/* A guest has guest-physical WINDOW_GPA at this virtual address. */
#define WINDOW_VA   0x20000000000ull
#define WINDOW_GPA  0x8000000000ull
#define UNMAPPED_VA 0x700000000000ull
uint64_t read_cr3(void);
void write_cr3(uint64_t value);
/* Makes the page tables; returns the value for CR3. */
uint64_t make_tables(void);
void copy(void *to, const void *from, size_t bytes);
void fill(void *to, uint8_t byte, size_t bytes);
/* A pattern that depends on the seed; no two of its 16-byte blocks are equal. */
void pattern(void *to, unsigned seed, size_t bytes);

void clflush(const volatile void *at, size_t bytes);
void clflushopt(const volatile void *at, size_t bytes);
static inline void mfence(void)
{
	__asm__ volatile("mfence" : : : "memory");
}

static inline void wbinvd(void)
{
	__asm__ volatile("wbinvd" : : : "memory");
}

/* --- The machine's probe: DRAM as the bus sees it, and evictions on request --- */

void bus_read(uint64_t address, void *to, size_t bytes);
void bus_write(uint64_t address, const void *from, size_t bytes);
/* Evicts the line of that KeyID now; it is written back if it was dirty. */
void evict(unsigned keyid, uint64_t address);
/* Evicts all lines; called before each row. */
void evict_all(void);
/* The last output of the key generator: 64 bytes for the data key, 64 for the tweak key. */
void last_random(uint8_t bytes[128]);
uint32_t rule_breaks(void);

/* --- PCONFIG --- */

#define SET_KEY_DIRECT 0u
#define SET_KEY_RANDOM 1u
#define CLEAR_KEY      2u
#define NO_ENCRYPT     3u
#define ALG_XTS_128    1u
#define ALG_XTS_256    4u
#define ENTROPY_ERROR  2u
#define DEVICE_BUSY    5u
#define RFLAGS_ZF      BIT(6)

/* SDM vol. 2, PCONFIG, "MKTME_KEY_PROGRAM_STRUCT". */
struct key_program {
	uint16_t keyid;
	uint32_t control; /* command 7:0, algorithm 23:8 */
	uint8_t ignored[58];
	uint8_t field1[64];
	uint8_t field2[64];
	uint8_t unread[64];
} __attribute__((packed, aligned(256)));
_Static_assert(sizeof(struct key_program) == 256, "aligned to its size");

struct pconfig_result {
	unsigned trap; /* NO_TRAP, or the trap's vector */
	uint64_t rax, rbx, rcx, rdx, rflags;
};
/* Executes PCONFIG with these registers and these RFLAGS. */
struct pconfig_result pconfig(uint64_t rax, uint64_t rbx, uint64_t rflags);
/* Fills the structure: keys by key_bytes(seed). */
void program(struct key_program *key, unsigned keyid, unsigned command, unsigned algorithm,
	     unsigned seed);
struct pconfig_result pconfig_key(const struct key_program *key);
/* Sets a direct key of the first activated algorithm. Must succeed (checked). */
bool set_key(unsigned keyid, unsigned seed);
/* The first activated algorithm. */
unsigned algorithm(void);
/* Identifies a KeyID's key by the ciphertext of one line in DRAM. */
void fingerprint(unsigned keyid, uint8_t line[LINE_BYTES]);

/* --- VMX and EPT --- */

struct exit {
	uint64_t reason, qualification, gpa, interruption, rcx, rax;
};
#define EXIT_EXCEPTION	   0u
#define EXIT_VMCALL	   18u
#define EXIT_RDMSR	   31u
#define EXIT_EPT_VIOLATION 48u
#define EXIT_EPT_MISCONFIG 49u
#define EXIT_PCONFIG	   65u
#define EXIT_FAILED	   BIT(32) /* VM entry did not take place */

/* Secondary controls that a row may request. */
#define CPU2_X2APIC  BIT(4)
#define CPU2_VPID    BIT(5)
#define CPU2_PCONFIG BIT(27)
struct vm {
	uint64_t controls2;
	uint64_t pconfig_bitmap;
	uint16_t vpid;
	bool msr_bitmap; /* an empty bitmap: no RDMSR exits */
};
/*
 * Enters VMX operation and builds a VMCS on this CPU; false (after cannot()) if the CPU lacks a
 * feature.
 */
bool vm_start(const struct vm *vm);
void vm_stop(void);
/* Calls code(argument) as a guest until its first exit; rax is its result if that is VMCALL. */
struct exit vm_run(uint64_t (*code)(uint64_t), uint64_t argument);
/* Maps WINDOW_GPA with a leaf of 4 KiB, 2 MiB or 1 GiB (level 1 to 3). No INVEPT. */
volatile uint64_t *ept_window(unsigned level, uint64_t entry);
#define EPT_RWX	     7u
#define EPT_WB	     (6u << 3)
#define EPT_LARGE    BIT(7)
#define EPT_ACCESSED BIT(8)
#define EPT_DIRTY    BIT(9)
void invept_all(void);
void invvpid_all(void);

/* --- DMA --- */

/* Moves the disk's first sector to or from that physical address; false if the disk refuses. */
bool disk_to_memory(uint64_t address);
bool memory_to_disk(uint64_t address);

/* --- Rows --- */

struct row {
	const char *name;
	void (*run)(void);
};
extern const struct row msr_rows[], pconfig_rows[], alias_rows[], guest_rows[];

/*
 * Called in this order: read \rows.txt, make tables, take the machine, run the rows, give it back.
 */
void rows_words(const char *list);
void prepare(void);
void takeover(bool second);
void rows_run(void);
void giveback(void);
/* CPU 1 never returns from here. */
void cpu1_loop(void);

#endif
