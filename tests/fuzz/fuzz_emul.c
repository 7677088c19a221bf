/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as an instruction that accesses device memory, in a guest with any registers, page
 * tables and segments. The decoder must read only its bytes and return only forms that exist.
 * Execution must reach only devices outside of RAM, raise only faults that a CPU raises, and not
 * depend on what is cached of earlier instructions.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/gmem_end.h"
#include "vmm/base/x86.h"
#include "vmm/emul.h"
#include "vmm/exits.h"
#include "vmm/vcpu_priv.h"
#include "vmm/device_access.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define RAM	  0x10000ul
#define TABLES	  0x4000ul /* five levels, one page for each, from the top down */
#define CODE	  0x2ff8ul
#define DEVICE	  0xfec00000ul
#define TOUCHES	  64
#define INSNS_MAX 64

/* Patches follow, then instructions. The length of an instruction precedes it. */
struct __attribute__((packed)) input {
	uint8_t mode;	 /* bits 2:0 paging, bits 4:3 bits of code, 5 user, 6 WP, 7 NXE */
	uint8_t told;	 /* bits 2:0 the exit's kind, 3 linear_known, 5:4 patches, 7:6 registers */
	uint16_t device; /* offset of the exit's address */
	uint16_t rflags;
	uint16_t code; /* bits 2:0 the start of the code, other bits the rights of segments */
	uint8_t cr4;
};

struct __attribute__((packed)) patch {
	uint16_t word; /* index of a word in the tables */
	uint64_t value;
};

static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_private priv;

/* The accesses to devices in one run. */
static struct {
	uint64_t at, value;
	unsigned size;
	bool write;
} touches[2][TOUCHES];
static unsigned touch_count[2], turn;
static bool linear_known;

static void require(bool holds)
{
	if (!holds) {
		abort();
	}
}

void vcpu_device_access(struct vcpu *v, gpa_t gpa, struct io_access *access)
{
	unsigned at = touch_count[turn]++;

	require(v == &vcpu && at < TOUCHES);
	require(access->size == 1 || access->size == 2 || access->size == 4 || access->size == 8);
	/* An exit of the APIC page has no linear address; such an access comes from the kernel. */
	require(!linear_known || gpa.v % PAGE_SIZE + access->size <= PAGE_SIZE);
	require(gpa.v >= RAM || gpa.v + access->size > RAM);
	touches[turn][at].at = gpa.v;
	touches[turn][at].size = access->size;
	touches[turn][at].write = access->write;
	touches[turn][at].value = access->write ? access->value : 0;
	if (!access->write) {
		access->value = gpa.v * 0x9e3779b97f4a7c15;
	}
}

void vm_end(struct vm *which, enum vm_end_reason reason, const char *detail)
{
	abort(); /* there is always memory here */
}

/* --- Only the decoder --- */

static void decode(const uint8_t *data, size_t count, unsigned bits)
{
	struct emul_insn insn;
	uint8_t *bytes = malloc(count); /* the exact size, so that ASan detects a read beyond */

	require(bytes != NULL);
	memcpy(bytes, data, count);
	if (emul_decode(bytes, count, bits, &insn) == 0) {
		uint64_t rflags = 0;

		require(insn.length >= 1 && insn.length <= count);
		require(insn.size == 1 || insn.size == 2 || insn.size == 4 || insn.size == 8);
		require(insn.dest_size >= 1 && insn.dest_size <= 8);
		require(insn.op <= EMUL_MOVS && insn.reg < 16 && insn.segment < 6);
		require(insn.op != EMUL_ALU_MEM || insn.alu <= EMUL_TEST);
		(void)emul_compute(insn.alu, insn.imm, ~insn.imm, insn.size, &rflags);
	}
	free(bytes);
}

/* --- A guest --- */

static void put(uint64_t at, uint64_t value, size_t bytes)
{
	require(gmem_write(&vm.gmem, gpa(at), &value, bytes) == 0);
}

/*
 * The first 16 pages are RAM, at the same physical addresses. All later pages are the two pages of
 * the device, in turn. The tables repeat this each 2 MiB, or 4 MiB with entries of 32 bits.
 */
static void build_tables(unsigned paging)
{
	uint64_t page[PAGE_SIZE / 8];
	unsigned entries = paging == 1 ? 2 : 1; /* entries in a word */

	for (unsigned level = 0; level < 5; level++) {
		uint64_t at = TABLES + level * PAGE_SIZE;

		for (unsigned i = 0; i < PAGE_SIZE / 8 * entries; i++) {
			uint64_t to = level < 4 ? at + PAGE_SIZE
				      : i < 16	? i * PAGE_SIZE
						: DEVICE + i % 2 * PAGE_SIZE;

			if (entries == 1) {
				page[i] = to | 7;
			} else {
				((uint32_t *)page)[i] = (uint32_t)to | 7;
			}
		}
		require(gmem_write(&vm.gmem, gpa(at), page, sizeof(page)) == 0);
	}
}

static void set_mode(const struct input *in)
{
	static const uint8_t levels[] = { 0, 2, 3, 4, 5 };
	unsigned paging = (in->mode & 7) % 5;
	bool lma = paging >= 3;
	uint64_t cr3 = TABLES + (5 - levels[paging]) * PAGE_SIZE;
	uint64_t kind = (in->mode & 0x18) == 0x18 && lma ? SEG_AR_L
			: (in->mode & 0x08) != 0	 ? SEG_AR_DB
							 : 0;

	if (paging != 0) {
		build_tables(paging);
	}
	fake_vmwrite(VMCS_GUEST_CR0,
		     CR0_PE | (paging != 0 ? CR0_PG : 0) | ((in->mode & 0x40) != 0 ? CR0_WP : 0));
	fake_vmwrite(VMCS_GUEST_CR3, cr3);
	fake_vmwrite(VMCS_GUEST_CR4, (paging >= 2 ? CR4_PAE : 0) | (paging == 4 ? CR4_LA57 : 0) |
					     ((in->cr4 & 1) != 0 ? CR4_PSE : 0) |
					     ((in->cr4 & 2) != 0 ? CR4_SMEP : 0) |
					     ((in->cr4 & 4) != 0 ? CR4_SMAP : 0));
	fake_vmwrite(VMCS_GUEST_EFER,
		     (lma ? EFER_LMA | EFER_LME : 0) | ((in->mode & 0x80) != 0 ? EFER_NXE : 0));
	fake_vmwrite(VMCS_GUEST_RFLAGS, in->rflags | RFLAGS_ONE);
	fake_vmwrite(VMCS_GUEST_CS_BASE, 0);
	fake_vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, SEG_AR_S | SEG_AR_CODE | kind);
	for (unsigned seg = SEG_ES; seg <= SEG_GS; seg++) {
		if (seg != SEG_CS) {
			fake_vmwrite(VMCS_GUEST_ACCESS_RIGHTS(seg),
				     (in->code & 0xf8) | (in->code & 0x300) << 6 |
					     (seg == SEG_SS && (in->mode & 0x20) != 0 ? 0x60 : 0) |
					     SEG_AR_S | SEG_AR_WRITABLE);
			fake_vmwrite(VMCS_GUEST_LIMIT(seg),
				     (in->code & 0x400) != 0 ? 0xffff : UINT32_MAX);
			fake_vmwrite(VMCS_GUEST_BASE(seg), 0);
		}
	}
}

/* Registers that point to memory, to the device, across its pages, or to no memory. */
static void set_registers(const struct input *in)
{
	static const uint64_t places[4][2] = {
		{ 0x1000, 0x11000 }, { 0x10ffc, 0xffd }, { 0x11ffd, 0x12ffe }, { ~7ul, 1ul << 50 }
	};

	for (unsigned i = 0; i < 16; i++) {
		vcpu.regs.gpr[i] = 0x0123456789abcdeful * (i + 1);
	}
	vcpu.regs.gpr[GPR_RSI] = places[in->told >> 6][0] + (in->device & 3);
	vcpu.regs.gpr[GPR_RDI] = places[in->told >> 6][1] + (in->device & 3);
	vcpu.regs.gpr[GPR_RCX] = in->device >> 13;
	fake_vmwrite(VMCS_GUEST_RSP, 0x3000);
	if ((in->mode & 7) % 5 == 0 && (in->device & 0x1000) != 0) { /* no paging */
		vcpu.regs.gpr[GPR_RSI] = DEVICE + (in->device & 0xfff);
	}
}

/* Returns how many bytes of the input it used. */
static size_t apply_patches(const struct input *in, const uint8_t *data, size_t size)
{
	unsigned count = in->told >> 4 & 3;
	struct patch patch;
	size_t used = 0;

	for (; count > 0 && size - used >= sizeof(patch); count--, used += sizeof(patch)) {
		memcpy(&patch, data + used, sizeof(patch));
		put(TABLES + patch.word % (5 * PAGE_SIZE / 8) * 8, patch.value, 8);
	}
	return used;
}

static void start_guest(void)
{
	fake_reset();
	ept_configure(&(struct ept_caps){
		.invept_single = true, .structures_wb = true, .phys_bits = 46 });
	memset(&vm, 0, sizeof(vm));
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&priv, 0, sizeof(priv));
	vcpu.vm = &vm;
	vcpu.priv = &priv;
	require(gmem_init(&vm.gmem) == 0);
	require(gmem_add_ram_plain(&vm.gmem, gpa(0), RAM, PAGE_SIZE) == 0);
}

static enum emul_outcome run(const struct input *in, uint8_t *length, struct gwalk_fault *fault)
{
	struct emul_access told = { .gpa = gpa(DEVICE + in->device % (2 * PAGE_SIZE)),
				    .kind = 1 + in->told % 3,
				    .linear_known = (in->told & 8) != 0 };
	enum emul_outcome outcome;

	linear_known = told.linear_known;
	touch_count[turn] = 0;
	set_registers(in);
	fake_vmwrite(VMCS_GUEST_RFLAGS, in->rflags | RFLAGS_ONE);
	fake_vmwrite(VMCS_GUEST_RIP, CODE + (in->code & 7));
	/* From 0x10000 on all linear addresses are the two pages of the device, in turn. */
	fake_vmwrite(VMCS_GUEST_LINEAR_ADDRESS, 0x10000 + in->device % (2 * PAGE_SIZE));
	outcome = emul_mmio(&vcpu, &told, length, fault);
	require(outcome <= EMUL_UNKNOWN);
	require(outcome != EMUL_FAULTED || fault->vector == VECTOR_PF ||
		fault->vector == VECTOR_GP || fault->vector == VECTOR_SS);
	require(outcome != EMUL_DONE || (*length >= 1 && *length <= EMUL_INSN_MAX));
	require(touch_count[turn] == 0 || outcome == EMUL_DONE || outcome == EMUL_AGAIN);
	require(fake_temp_mapped() == 0);
	return outcome;
}

/* A hash of code and tables, without the bits that a page walk sets. */
static uint64_t hash_of_memory(void)
{
	static uint64_t words[(TABLES + 5 * PAGE_SIZE - 0x2000) / 8];
	uint64_t hash = 0;

	require(gmem_read(&vm.gmem, gpa(0x2000), words, sizeof(words)) == 0);
	for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
		uint64_t ignored = i * 8 + 0x2000 < TABLES ? 0 : 0x6000000060;

		hash = (hash ^ (words[i] & ~ignored)) * 0x100000001b3;
	}
	return hash;
}

/* Executes the same instruction again. */
static void repeat(const struct input *in, enum emul_outcome first, uint8_t first_length,
		   const struct gwalk_fault *first_fault)
{
	struct gwalk_fault fault = { 0 };
	uint8_t length = 0;

	turn = 1;
	require(run(in, &length, &fault) == first);
	require(first != EMUL_DONE || length == first_length);
	require(first != EMUL_FAULTED ||
		(fault.vector == first_fault->vector && fault.linear == first_fault->linear &&
		 fault.error_code == first_fault->error_code));
	require(touch_count[0] == touch_count[1]);
	for (unsigned i = 0; i < touch_count[0]; i++) {
		require(touches[0][i].at == touches[1][i].at &&
			touches[0][i].size == touches[1][i].size &&
			touches[0][i].write == touches[1][i].write &&
			touches[0][i].value == touches[1][i].value);
	}
}

/*
 * Executes with the cache as earlier instructions at the same address left it, then with the cache
 * after the first time, then with an empty cache. All results must be equal, unless the
 * instruction has changed the code or the page tables.
 */
static void execute(const struct input *in)
{
	struct gwalk_fault fault = { 0 };
	uint8_t length = 0;
	uint64_t before = hash_of_memory();
	enum emul_outcome first;

	turn = 0;
	first = run(in, &length, &fault);
	if (first == EMUL_UNKNOWN) {
		emul_log(&vcpu, gpa(DEVICE));
	}
	if (hash_of_memory() != before) {
		return;
	}
	repeat(in, first, length, &fault);
	memset(&priv.emul_cache, 0, sizeof(priv.emul_cache));
	repeat(in, first, length, &fault);
	if ((before & 1) != 0) { /* the next execution finds a used cache entry */
		repeat(in, first, length, &fault);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned bits[] = { 16, 32, 64 };
	struct input in;
	size_t count;

	if (size <= sizeof(in)) {
		return 0;
	}
	memcpy(&in, data, sizeof(in));
	data += sizeof(in);
	size -= sizeof(in);
	start_guest();
	set_mode(&in);
	count = apply_patches(&in, data, size);
	data += count;
	size -= count;
	for (unsigned i = 0; i < INSNS_MAX && size > 1; i++) {
		count = MIN(size - 1, (size_t)(data[0] & 15));
		if (count != 0) {
			decode(data + 1, count, bits[(in.mode >> 3 & 3) % 3]);
			require(gmem_write(&vm.gmem, gpa(CODE + (in.code & 7)), data + 1, count) ==
				0);
			execute(&in);
		}
		data += 1 + count;
		size -= 1 + count;
	}
	gmem_end(&vm.gmem);
	return 0;
}
