/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/host_paging.c, bootstrap.c and keyid_move.c: the content of their tables, read by a
 * page walk of this test. No CPU runs on these tables here: cases in the emulator test that.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/bootstrap_priv.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/image.h"
#include "vmm/host/keyid_move.h"
#include "vmm/host/page_alloc.h"

/* An image of three parts, in the order of boot/umbra.lds: 2, 3 and 1 pages. */
__asm__(".pushsection .fake_image,\"aw\"\n"
	".balign 4096\n"
	".globl image_start, image_text_start, image_text_end, image_ro_start, image_ro_end\n"
	".globl image_rw_start, image_rw_end, image_end\n"
	"image_start: .skip 4096\n"
	"image_text_start: .skip 8192\n"
	"image_text_end:\nimage_ro_start: .skip 12288\n"
	"image_ro_end:\nimage_rw_start: .skip 4096\n"
	"image_rw_end:\nimage_end:\n"
	".popsection");

#define POOL_PAGES  1100ul /* two large pages and some small ones */
#define ARENA_PAGES (POOL_PAGES + PAGE_BOOTSTRAP + 512)
#define PLAN(pages) (&(const struct page_pool_plan){ pages, pages, HOST_IDENTITY_END })

static struct mem_range arena;
static uint64_t switched_cr3;
static jmp_buf switched;

_Noreturn void host_paging_switch(uint64_t cr3, void *stack_top, void (*next)(void));

_Noreturn void host_paging_switch(uint64_t cr3, void *stack_top, void (*next)(void))
{
	switched_cr3 = cr3;
	next();
	fake_fail("next returned");
}

/* Fakes of the assembly code and the functions of idt.c that bootstrap.c and keyid_move.c use. */
const char bootstrap_nmi[1], bootstrap_exception[1];
static struct keyid_move moved;
static bool ends, has_quit;
static jmp_buf ended;

void bootstrap_run(struct bootstrap *b, void *stack_top,
		   uint64_t (*fn)(struct bootstrap *b, uint64_t arg), uint64_t arg)
{
	if (ends) {
		assert_true(has_quit);
		assert_ptr_equal(stack_top, arg == 0 ? bootstrap_main_stack(b)
						     : bootstrap_stack(b, (uint32_t)arg));
		longjmp(ended, 1);
	}
	if (percpu_self()->index != 0) {
		assert_ptr_equal(stack_top, bootstrap_stack(b, percpu_self()->index));
		return;
	}
	assert_ptr_equal(stack_top, bootstrap_main_stack(b));
	assert_int_equal(arg, b->move.root & ~b->move.keyid_mask);
	moved = b->move;
}

void idt_fill_cpu_tables(void *tables, const uint64_t *ist_tops)
{
}

struct cpu_table_register idt_gdt_register(const void *tables)
{
	return (struct cpu_table_register){ 0, (uintptr_t)tables };
}

void idt_fill_gates(void *gates, size_t count, uint64_t other, uint64_t nmi)
{
	assert_int_equal(count, 32);
	assert_int_equal(other, (uintptr_t)bootstrap_exception);
	assert_int_equal(nmi, (uintptr_t)bootstrap_nmi);
}

void idt_load_this_cpu(struct percpu *cpu)
{
}

static void init_with(uint64_t cr4, uint32_t extended_edx)
{
	fake_x86_reset();
	fake_cr4 = cr4;
	fake_cpuid_set(0x80000001, 0, 0, 0, 0, extended_edx);
	fake_cpuid_set(0, 0, 7, 0, 0, 0);
	fake_msr_set(MSR_IA32_MISC_ENABLE, 1);
	fake_msr_set(MSR_IA32_EFER, EFER_LME | EFER_LMA);
	fake_msr_set(MSR_IA32_PAT, 0x0007040600070406ul);
	assert_int_equal(frames_init(&arena, 1, PLAN(POOL_PAGES)), 0);
	assert_int_equal(host_paging_init(), 0);
}

static int setup(void **state)
{
	fake_set_cpu_count(4);
	fake_set_cpu(0);
	fake_log_reset();
	init_with(CR4_PAE, CPUID_80000001_EDX_NX);
	return 0;
}

static int make_arena(void **state)
{
	void *p = mmap(NULL, ARENA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	arena = (struct mem_range){ hpa((uintptr_t)p), ARENA_PAGES };
	return p == MAP_FAILED ? -1 : 0;
}

/* --- The walker --- */

static bool la57;

static const uint64_t *table_at(uint64_t entry)
{
	return (const uint64_t *)(uintptr_t)(entry & 0x000ffffffffff000ul);
}

/* The leaf for an address with its level (1: 4K, 2: 2M, 3: 1G), or 0. */
static uint64_t leaf_in(uint64_t cr3, uint64_t address, unsigned *level)
{
	const uint64_t *table = table_at(cr3);
	unsigned at;

	for (at = la57 ? 5 : 4; at > 0; at--) {
		uint64_t entry = table[(address >> (12 + 9 * (at - 1))) & 511];

		if ((entry & 1) == 0) {
			return 0;
		}
		assert_int_equal(entry & PTE_USER, 0);
		if (at == 1 || (entry & PTE_LARGE) != 0) {
			*level = at;
			return entry;
		}
		table = table_at(entry);
	}
	return 0;
}

static uint64_t leaf_at(uint64_t address, unsigned *level)
{
	return leaf_in(host_paging_root().v, address, level);
}

static bool is_mapped(uint64_t address)
{
	unsigned level;
	bool mapped = leaf_at(address, &level) != 0;

	assert_int_equal(host_paging_maps(address), mapped);
	return mapped;
}

#define R  0
#define W  PTE_WRITE
#define NX PTE_NX
#define UC (PTE_PCD | PTE_PWT)
#define WC PTE_PWT

/*
 * Asserts that the address is mapped to `physical`. Of W, NX, PCD and PWT exactly `bits` must be
 * set. The page must have 2 MiB if large, otherwise 4 KiB.
 */
static void expect(uint64_t address, uint64_t physical, uint64_t bits, bool large)
{
	unsigned level = 0;
	uint64_t entry = leaf_at(address, &level);
	uint64_t mask = large ? SIZE_2M - 1 : PAGE_SIZE - 1;

	assert_int_equal(level, large ? 2 : 1);
	assert_int_equal(entry & (PTE_WRITE | PTE_NX | PTE_PCD | PTE_PWT), bits);
	assert_int_equal((entry & 0x000fffffffffe000ul & ~mask) | (address & mask) |
				 (large ? 0 : entry & 0x1000),
			 physical);
}

static unsigned leaf_count, writable_code_count;

static void walk(const uint64_t *table, unsigned level)
{
	unsigned i;

	for (i = 0; i < 512; i++) {
		if ((table[i] & 1) == 0) {
			continue;
		}
		if (level > 1 && (table[i] & PTE_LARGE) == 0) {
			walk(table_at(table[i]), level - 1);
			continue;
		}
		leaf_count++;
		writable_code_count += (table[i] & PTE_WRITE) != 0 && (table[i] & PTE_NX) == 0;
	}
}

/* --- Tests --- */

static void check_image(void)
{
	uint64_t text = (uintptr_t)image_text_start;
	uint64_t ro = (uintptr_t)image_ro_start;
	uint64_t rw = (uintptr_t)image_rw_start;
	uint64_t pool = page_pool().base.v;
	uint64_t end = pool + POOL_PAGES * PAGE_SIZE;
	uint64_t bootstrap = page_bootstrap().base.v;
	uint64_t bootstrap_end = bootstrap + PAGE_BOOTSTRAP * PAGE_SIZE;

	expect(text, text, R, false);
	expect(text + 4096, text + 4096, R, false);
	expect(ro, ro, NX, false);
	expect(ro + 8192, ro + 8192, NX, false);
	expect(rw, rw, W | NX, false);
	assert_false(is_mapped((uintptr_t)image_start));
	assert_false(is_mapped(rw + 4096));
	assert_true(IS_ALIGNED(pool, SIZE_2M));
	expect(pool, pool, W | NX, true);
	expect(pool + SIZE_2M + 4096, pool + SIZE_2M + 4096, W | NX, true);
	expect(pool + 2 * SIZE_2M, pool + 2 * SIZE_2M, W | NX, false);
	expect(end - 1 - 4095, end - 4096, W | NX, false);
	expect(bootstrap, bootstrap, W | NX, false);
	expect(bootstrap_end - 4096, bootstrap_end - 4096, W | NX, false);
	assert_false(is_mapped(bootstrap_end));
	assert_false(is_mapped(pool - 1));
	assert_false(is_mapped(0));
	assert_false(is_mapped(0x00007ffffffff000ul));
	assert_false(is_mapped(0xfffffffffffff000ul));
}

TEST(test_image_and_pool, setup)
{
	check_image();
	leaf_count = writable_code_count = 0;
	walk(table_at(host_paging_root().v), 4);
	assert_int_equal(leaf_count, 2 + 3 + 1 + 2 + (POOL_PAGES - 1024) + PAGE_BOOTSTRAP);
	assert_int_equal(writable_code_count, 0);
	assert_false(host_paging_maps(0x0000900000000000ul));
}

TEST(test_five_levels, setup)
{
	const uint64_t *root;
	void *io;

	init_with(CR4_PAE | CR4_LA57, CPUID_80000001_EDX_NX);
	la57 = true;
	assert_true(host_paging_la57());
	check_image();
	root = table_at(host_paging_root().v);
	assert_int_equal(root[0], root[511]);
	assert_int_equal(root[1], 0);
	io = host_map_io(hpa(0xfee00000), PAGE_SIZE, HOST_CACHE_UC);
	expect((uintptr_t)io, 0xfee00000, W | NX | UC, false);
	host_paging_load_this_cpu();
	assert_true((fake_cr4 & CR4_LA57) != 0);
	la57 = false;
}

TEST(test_no_nx, setup)
{
	init_with(CR4_PAE, 0);
	assert_non_null(strstr(fake_log_text(), "no execute-disable"));
	leaf_count = writable_code_count = 0;
	walk(table_at(host_paging_root().v), 4);
	assert_int_equal(writable_code_count, 1 + 2 + (POOL_PAGES - 1024) + PAGE_BOOTSTRAP);
	assert_false(host_paging_cleared_xd());
	host_paging_load_this_cpu();
	assert_int_equal(fake_msr_get(MSR_IA32_EFER), EFER_LME | EFER_LMA);
}

TEST(test_xd_disabled, setup)
{
	fake_cpuid_set(0x80000001, 0, 0, 0, 0, 0);
	fake_msr_set(MSR_IA32_MISC_ENABLE, MISC_ENABLE_XD_DISABLE | 1);
	assert_int_equal(frames_init(&arena, 1, PLAN(POOL_PAGES)), 0);
	assert_int_equal(host_paging_init(), 0);
	assert_int_equal(fake_msr_get(MSR_IA32_MISC_ENABLE), 1);
	assert_true(host_paging_cleared_xd());
}

struct identity_case {
	const char *name;
	uint64_t base, bytes;
	int err;
};

TEST(test_identity_bounds, setup)
{
	uint64_t pool = page_pool().base.v;
	uint64_t image = (uintptr_t)image_start;
	const struct identity_case cases[] = {
		{ "empty", 0x1000, 0, ERR_RANGE },
		{ "wraps", ~0ul - 0xfff, 0x2000, ERR_RANGE },
		{ "size wraps", 0x1000, ~0ul, ERR_RANGE },
		{ "beyond four levels", BIT(47), 1, ERR_RANGE },
		{ "last byte beyond", BIT(47) - 1, 2, ERR_RANGE },
		{ "in the pool", pool + 0x5000, 1, ERR_EXISTS },
		{ "in bootstrap memory", page_bootstrap().base.v + PAGE_BOOTSTRAP * PAGE_SIZE - 1,
		  1, ERR_EXISTS },
		{ "pool's first byte", pool - 0x1000, 0x1001, ERR_EXISTS },
		{ "around the pool", pool - SIZE_2M, 64 << 20, ERR_EXISTS },
		{ "in the image", image + 0x1fff, 1, ERR_EXISTS },
		{ "image headers", image, 1, ERR_EXISTS },
		{ "before the pool", pool - 0x1000, 0x1000, 0 },
		{ "highest page", BIT(47) - 0x1000, 0x1000, 0 },
		{ "first page", 0, 1, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct identity_case *c = &cases[i];
		int err = host_map_identity(hpa(c->base), c->bytes, HOST_READ, HOST_CACHE_WB);

		if (err != c->err) {
			fail_msg("%s: %d", c->name, err);
		}
		host_unmap_identity(hpa(c->base), c->bytes);
		if (c->err == 0) {
			assert_false(is_mapped(c->base));
		}
	}
	check_image(); /* neither map nor unmap has changed it */
}

TEST(test_identity_rights, setup)
{
	/* A part of a page is mapped as a whole page; the next pages are not. */
	assert_int_equal(host_map_identity(hpa(0x8000fff), 2, HOST_READ, HOST_CACHE_WB), 0);
	expect(0x8000000, 0x8000000, NX, false);
	expect(0x8001000, 0x8001000, NX, false);
	assert_false(is_mapped(0x8002000));
	assert_false(is_mapped(0x7fff000));
	/* Mapping it again with other rights flushes the TLB entry. */
	fake_invlpg_count = 0;
	assert_int_equal(host_map_identity(hpa(0x8001000), 1, HOST_READ_EXEC, HOST_CACHE_UC), 0);
	assert_int_equal(fake_invlpg_count, 1);
	expect(0x8001000, 0x8001000, UC, false);
	assert_int_equal(host_map_identity(hpa(0x8001000), 1, HOST_READ_WRITE, HOST_CACHE_WC), 0);
	expect(0x8001000, 0x8001000, W | NX | WC, false);
	assert_int_equal(host_map_identity(hpa(0x8001000), 1, HOST_READ_WRITE_EXEC, HOST_CACHE_WB),
			 0);
	expect(0x8001000, 0x8001000, W, false);
	expect(0x8000000, 0x8000000, NX, false);
	/* 2 MiB in small pages, so that a part can be unmapped. */
	assert_int_equal(host_map_identity(hpa(SIZE_1G), SIZE_2M, HOST_READ, HOST_CACHE_WB), 0);
	host_unmap_identity(hpa(SIZE_1G + 0x3000), 0x1001);
	assert_true(is_mapped(SIZE_1G + 0x2000));
	assert_false(is_mapped(SIZE_1G + 0x3000));
	assert_false(is_mapped(SIZE_1G + 0x4000));
	assert_true(is_mapped(SIZE_1G + 0x5000));
}

TEST(test_io, setup)
{
	uint64_t a, b;

	a = (uintptr_t)host_map_io(hpa(0xfee00123), 0x10, HOST_CACHE_UC);
	assert_int_equal(a & 0xfff, 0x123);
	expect(a, 0xfee00123, W | NX | UC, false);
	assert_false(is_mapped(a + 4096));
	assert_false(is_mapped(a - 4096));
	/* A frame buffer: large pages inside, small ones at the ends. */
	b = (uintptr_t)host_map_io(hpa(0x801ff000), 5 * SIZE_2M, HOST_CACHE_WC);
	expect(b, 0x801ff000, W | NX | WC, false);
	expect(b + 4096, 0x80200000, W | NX | WC, true);
	expect(b + 5 * SIZE_2M - 1, 0x801ff000 + 5 * SIZE_2M - 1, W | NX | WC, false);
	assert_false(is_mapped(b + 5 * SIZE_2M));
	assert_true(b > a);
	/* After a mapping that ends with a large page there is still a hole before the next one. */
	a = (uintptr_t)host_map_io(hpa(SIZE_1G), SIZE_2M, HOST_CACHE_UC);
	b = (uintptr_t)host_map_io(hpa(SIZE_1G), SIZE_2M, HOST_CACHE_UC);
	expect(a, SIZE_1G, W | NX | UC, true);
	assert_true(is_mapped(b));
	assert_false(is_mapped(a + SIZE_2M));
	assert_false(is_mapped(b - 1));

	assert_null(host_map_io(hpa(0x1000), 0, HOST_CACHE_UC));
	assert_null(host_map_io(hpa(~0ul), 2, HOST_CACHE_UC));
	assert_null(host_map_io(hpa(BIT(52)), 1, HOST_CACHE_UC));
	assert_null(host_map_io(hpa(0), BIT(40), HOST_CACHE_UC));
	assert_null(host_map_io(hpa(0), BIT(52), HOST_CACHE_UC));
}

TEST(test_stacks, setup)
{
	uint64_t a, b, i;

	a = (uintptr_t)host_map_stack(2);
	b = (uintptr_t)host_map_stack(3);
	assert_int_equal(a & 15, 0);
	for (i = 1; i <= 2; i++) {
		unsigned level;
		uint64_t leaf = leaf_at(a - i * PAGE_SIZE, &level);

		assert_int_equal(leaf & (PTE_WRITE | PTE_NX), PTE_WRITE | PTE_NX);
		assert_true(host_paging_is_stack_area(a - i * PAGE_SIZE));
	}
	assert_false(is_mapped(a));
	assert_false(is_mapped(a - 3 * PAGE_SIZE));
	assert_false(is_mapped(b));
	assert_false(is_mapped(b - 4 * PAGE_SIZE));
	assert_true(host_paging_is_stack_area(a - 3 * PAGE_SIZE));
	assert_false(host_paging_is_stack_area(0));
	assert_false(host_paging_is_stack_area((uintptr_t)host_map_io(hpa(0), 1, HOST_CACHE_UC)));
	assert_null(host_map_stack(POOL_PAGES));
	assert_null(host_map_stack(0));
}

TEST(test_slots, setup)
{
	uint64_t seen[4 * HOST_TEMP_SLOTS];
	size_t count = 0, i;
	unsigned cpu, slot;

	fake_invlpg_count = 0;
	for (cpu = 0; cpu < 4; cpu++) {
		fake_set_cpu(cpu);
		host_slots_give(percpu_fake_self());
		for (slot = 0; slot < HOST_TEMP_SLOTS; slot++) {
			uint64_t frame = BIT(45) + (cpu * 16 + slot) * PAGE_SIZE;
			uint64_t at = (uintptr_t)host_slot_map(percpu_fake_self(), slot,
							       keyed(hpa(frame), 0));

			expect(at, frame, W | NX, false);
			assert_false(is_mapped(at - PAGE_SIZE));
			assert_false(is_mapped(at + PAGE_SIZE));
			for (i = 0; i < count; i++) {
				assert_int_not_equal(seen[i], at);
			}
			seen[count++] = at;
		}
	}
	assert_int_equal(fake_invlpg_count, 0);
	fake_set_cpu(1);
	FAKE_EXPECT_PANIC((void)host_slot_map(percpu_fake_self(), 0, keyed(hpa(0x1000), 0)),
			  "broken");
	host_slot_unmap(percpu_fake_self(), 0);
	assert_int_equal(fake_invlpg_count, 1);
	assert_false(is_mapped(seen[HOST_TEMP_SLOTS]));
	assert_true(is_mapped(seen[0]));
	FAKE_EXPECT_PANIC(host_slot_unmap(percpu_fake_self(), 0), "broken");
	FAKE_EXPECT_PANIC((void)host_slot_map(percpu_fake_self(), 0, keyed(hpa(0x1001), 0)),
			  "broken");
	FAKE_EXPECT_PANIC((void)host_slot_map(percpu_fake_self(), 0, keyed(hpa(BIT(52)), 0)),
			  "broken");
	FAKE_EXPECT_PANIC(
		(void)host_slot_map(percpu_fake_self(), HOST_TEMP_SLOTS, keyed(hpa(0x1000), 0)),
		"broken");
}

/*
 * The allocation of a page fails at each step in turn. That is reported, and nothing is written
 * through a NULL pointer.
 */
TEST(test_out_of_pages, setup)
{
	unsigned left;

	for (left = 0; left < 12; left++) {
		int err;

		assert_int_equal(frames_init(&arena, 1, PLAN(64)), 0);
		while (page_free_count() > left) {
			assert_non_null(page_alloc(1));
		}
		err = host_paging_init();
		assert_true(err == 0 || err == ERR_NOMEM);
		assert_true(left > 8 || err == ERR_NOMEM);
		if (err == 0) {
			while (page_alloc(1) != NULL) {
			}
			assert_int_equal(
				host_map_identity(hpa(BIT(46)), 1, HOST_READ, HOST_CACHE_WB),
				ERR_NOMEM);
			assert_null(host_map_stack(1));
		}
	}
}

static void entered(void)
{
	longjmp(switched, 1);
}

TEST(test_enter, setup)
{
	fake_cpuid_set(1, 0, 0, 0, CPUID_1_ECX_XSAVE, CPUID_1_EDX_MCE);
	fake_cpuid_set(7, 0, 0, CPUID_7_EBX_SMEP | CPUID_7_EBX_SMAP, CPUID_7_ECX_UMIP, 0);
	fake_cr4 |= CR4_CET | CR4_PCIDE;
	if (setjmp(switched) == 0) {
		host_paging_enter(NULL, entered);
	}
	assert_int_equal(switched_cr3, host_paging_root().v);
	assert_int_equal(fake_cr3, host_paging_root().v);
	assert_int_equal(fake_cr4, CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_MCE |
					   CR4_OSXSAVE | CR4_SMEP | CR4_SMAP | CR4_UMIP);
	assert_int_equal(fake_cr0, CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
	assert_int_equal(fake_msr_get(MSR_IA32_EFER), EFER_LME | EFER_LMA | EFER_NXE);
	assert_int_equal(fake_msr_get(MSR_IA32_PAT), 0x0007010600070106ul);
}

/*
 * --- Bootstrap tables and KeyIDs ---------------------------------------------------------------
 */

/* Like expect, for the bootstrap tables. There pages are not global. */
static void expect_bootstrap(uint64_t address, uint64_t physical, uint64_t bits, bool large)
{
	unsigned level = 0;
	uint64_t entry = leaf_in(bootstrap_root().v, address, &level);
	uint64_t mask = large ? SIZE_2M - 1 : PAGE_SIZE - 1;

	assert_int_equal(level, large ? 2 : 1);
	assert_int_equal(entry & (PTE_WRITE | PTE_NX | PTE_PCD | PTE_PWT | PTE_GLOBAL), bits);
	assert_int_equal((entry & PTE_ADDRESS & ~mask) | (address & mask), physical);
	assert_true(bootstrap_maps(address));
}

static bool is_in_bootstrap(uint64_t address)
{
	unsigned level;

	return leaf_in(bootstrap_root().v, address, &level) != 0;
}

static void check_bootstrap(void)
{
	const uint64_t text = (uintptr_t)image_text_start, ro = (uintptr_t)image_ro_start;
	const uint64_t rw = (uintptr_t)image_rw_start, pool = page_pool().base.v;
	const uint64_t own = page_bootstrap().base.v, pool_end = pool + POOL_PAGES * PAGE_SIZE;
	uint64_t io;

	assert_true(bootstrap_root().v < BIT(32));
	expect_bootstrap(text, text, R, false);
	expect_bootstrap(ro + 8192, ro + 8192, NX, false);
	expect_bootstrap(rw, rw, W | NX, false);
	expect_bootstrap(pool, pool, W | NX, true);
	expect_bootstrap(pool_end - 4096, pool_end - 4096, W | NX, false);
	expect_bootstrap(own, own, W | NX, false);
	assert_false(is_in_bootstrap(own + BOOTSTRAP_GUARD * PAGE_SIZE));
	assert_false(is_in_bootstrap(own + BOOTSTRAP_SLOTS * PAGE_SIZE));
	assert_false(is_in_bootstrap(own + (BOOTSTRAP_SLOTS + 1) * PAGE_SIZE));
	assert_false(is_in_bootstrap(0));
	/* Devices are at the same addresses as in the hypervisor's own tables. */
	io = (uintptr_t)host_map_io(hpa(0x801ff123), 2 * SIZE_2M, HOST_CACHE_WC);
	expect(io & PAGE_MASK, 0x801ff000, W | NX | WC, false);
	expect_bootstrap(io & PAGE_MASK, 0x801ff000, W | NX | WC, false);
	expect_bootstrap((io & PAGE_MASK) + 4096, 0x80200000, W | NX | WC, true);
}

/*
 * Fills the bootstrap tables with pages that need a page table each. Returns how many pages had
 * room.
 */
static unsigned bootstrap_room(void)
{
	for (unsigned count = 0;; count++) {
		int err = host_map_bootstrap(hpa(2 * SIZE_1G + count * SIZE_2M), 1, HOST_READ,
					     HOST_CACHE_WB);

		if (err != 0) {
			assert_int_equal(err, ERR_NOMEM);
			return count;
		}
	}
}

TEST(test_bootstrap_tables, setup)
{
	check_bootstrap();
	/* Firmware's memory: rights can change page by page, and Umbra's own memory is refused. */
	assert_int_equal(host_map_bootstrap(hpa(SIZE_1G), SIZE_2M, HOST_READ_EXEC, HOST_CACHE_WB),
			 0);
	expect_bootstrap(SIZE_1G, SIZE_1G, R, false);
	assert_int_equal(
		host_map_bootstrap(hpa(SIZE_1G + 0x1000), 1, HOST_READ_WRITE_EXEC, HOST_CACHE_UC),
		0);
	expect_bootstrap(SIZE_1G + 0x1000, SIZE_1G + 0x1000, W | UC, false);
	expect_bootstrap(SIZE_1G + 0x2000, SIZE_1G + 0x2000, R, false);
	assert_false(is_mapped(SIZE_1G));
	assert_int_equal(host_map_bootstrap(page_bootstrap().base, 1, HOST_READ, HOST_CACHE_WB),
			 ERR_EXISTS);
	host_unmap_identity(hpa(SIZE_1G), SIZE_2M);
	assert_false(is_in_bootstrap(SIZE_1G));
	/* A device at its own address is mapped in both sets of tables. */
	assert_int_equal(host_map_registers(hpa(0xfe030010), 32), 0);
	expect(0xfe030000, 0xfe030000, W | NX | UC, false);
	expect_bootstrap(0xfe030000, 0xfe030000, W | NX | UC, false);
	assert_int_equal(host_map_registers(page_pool().base, 32), ERR_EXISTS);
	/* The tables fill up: that is reported, and earlier mappings stay. */
	assert_true(bootstrap_room() > 60);
	assert_null(host_map_io(hpa(BIT(40)), 600 * SIZE_2M, HOST_CACHE_UC));
	expect_bootstrap((uintptr_t)image_text_start, (uintptr_t)image_text_start, R, false);
}

/* A pool of 13 GiB that begins near this address is mapped in both sets of tables. */
static void expect_large_pool_at(uint64_t address)
{
	const uint64_t pages = (13ul << 18) + 3, all = pages + 1024;
	void *p = mmap((void *)address, all * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	const struct mem_range ranges[2] = { arena, { hpa(address), all } };
	const unsigned room = bootstrap_room();
	uint64_t pool, last;

	assert_int_equal((uintptr_t)p, address);
	assert_int_equal(frames_init(ranges, 2, PLAN(pages)), 0);
	assert_int_equal(host_paging_init(), 0);
	pool = page_pool().base.v;
	last = pool + (pages - 1) * PAGE_SIZE;
	assert_true(pool >= address && bootstrap_root().v < BIT(32));
	expect(last, last, W | NX, false);
	expect_bootstrap(pool, pool, W | NX, true);
	expect_bootstrap(last, last, W | NX, false);
	assert_false(is_mapped(last + PAGE_SIZE) || is_in_bootstrap(last + PAGE_SIZE));
	assert_int_equal(host_map_identity(hpa(last), 1, HOST_READ, HOST_CACHE_WB), ERR_EXISTS);
	/*
	 * The bootstrap tables have a page for each GiB. The pool takes three tables more at most:
	 * it begins and ends within a GiB, is under another entry of the top table, and ends in
	 * small pages. Where it crosses 512 GiB it is under two entries of the top table.
	 */
	assert_in_range(bootstrap_room(), room - (pool >> 39 == last >> 39 ? 3 : 4), room);
	munmap(p, all * PAGE_SIZE);
}

TEST(test_large_pool, setup)
{
	expect_large_pool_at(BIT(45) + SIZE_1G / 2);
	(void)setup(state);
	expect_large_pool_at(BIT(45) - 6 * SIZE_1G - SIZE_1G / 2);
}

TEST(test_bootstrap_five_levels, setup)
{
	init_with(CR4_PAE | CR4_LA57, CPUID_80000001_EDX_NX);
	la57 = true;
	check_bootstrap();
	la57 = false;
}

static bool has_cleared; /* ending_clear_registers: no key stays in a CPU that stops */

void ending_clear_registers(void)
{
	has_cleared = true;
}

static void quit(void)
{
	has_quit = true;
}

static void never(void)
{
	fake_fail("it did not leave");
}

/*
 * Before a CPU leaves the hypervisor's tables for good, it calls the function that was passed to
 * bootstrap_at_end.
 */
TEST(test_at_end, setup)
{
	uint8_t *last = page_alloc(2);

	page_free(last, 2);
	bootstrap_ready();
	bootstrap_at_end(quit);
	ends = true;
	if (setjmp(ended) == 0) {
		bootstrap_leave(never);
	}
	assert_true(has_quit);
	/* Every page that was ever handed out is zeroed then, even if it is free. */
	assert_int_equal(bootstrap_state()->move.pool_written, (uintptr_t)last + 2 * PAGE_SIZE);
	has_quit = false;
	fake_set_cpu(3);
	if (setjmp(ended) == 0) {
		bootstrap_stop_this_cpu();
	}
	assert_true(has_quit && has_cleared);
	ends = has_quit = false;
	bootstrap_at_end(NULL);
}

static unsigned with_keyid, without_keyid;

/* Asserts that entries for tables and for pages that have moved have the KeyID, and no others. */
static void check_keyids(const uint64_t *table, unsigned level)
{
	const uint64_t keyid = moved.to, mask = moved.keyid_mask, pool = page_pool().base.v;

	for (unsigned i = 0; i < 512; i++) {
		const uint64_t address = table[i] & PTE_ADDRESS & ~mask;
		bool moves = (address >= pool && address < pool + POOL_PAGES * PAGE_SIZE) ||
			     (address >= (uintptr_t)image_rw_start &&
			      address < (uintptr_t)image_rw_end);

		if ((table[i] & PTE_PRESENT) == 0) {
			assert_int_equal(table[i], 0);
		} else if (level > 1 && (table[i] & PTE_LARGE) == 0) {
			assert_int_equal(table[i] & mask, keyid);
			check_keyids((const uint64_t *)address, level - 1);
		} else {
			assert_int_equal(table[i] & mask, moves ? keyid : 0);
			with_keyid += moves;
			without_keyid += !moves;
		}
	}
}

static void test_rewrite(unsigned levels)
{
	const uint64_t root = host_paging_root().v;
	unsigned tables = 2 + 1 + (POOL_PAGES - 1024); /* entries for the pool and for data */
	unsigned others = 2 + 3 + PAGE_BOOTSTRAP;      /* for code, constants, bootstrap memory */
	uint8_t *stack;
	void *io;

	stack = host_map_stack(3);
	io = host_map_io(hpa(0xfee00000), PAGE_SIZE, HOST_CACHE_UC);
	assert_int_equal(host_map_identity(hpa(SIZE_1G), 0x2000, HOST_READ, HOST_CACHE_WB), 0);
	keyid_configure(52, 4);
	bootstrap_ready();
	keyid_move_host(9);
	assert_int_equal(page_keyid(), 9);
	assert_int_equal(host_paging_root().v, root | 9ul << 48);
	assert_int_equal(moved.root, root | 9ul << 48);
	assert_int_equal(moved.to, 9ul << 48);
	assert_int_equal(moved.from, 0);
	assert_int_equal(moved.levels, levels);
	assert_int_equal(moved.others, 3);
	keyid_move_rewrite(&moved, (uint64_t *)root, levels);
	with_keyid = without_keyid = 0;
	check_keyids((const uint64_t *)root, levels);
	/* With LA57 two entries of the top table are equal, so each entry is counted twice. */
	assert_int_equal(with_keyid, (tables + 3) * (levels - 3));
	assert_int_equal(without_keyid, (others + 1 + 2) * (levels - 3));
	/* Later mappings are under the KeyID too, and a second rewrite changes nothing. */
	stack = host_map_stack(1);
	assert_non_null(io);
	(void)stack;
	keyid_move_rewrite(&moved, (uint64_t *)root, levels);
	with_keyid = without_keyid = 0;
	check_keyids((const uint64_t *)root, levels);
	assert_int_equal(with_keyid, (tables + 4) * (levels - 3));
	page_set_keyid(0);
	keyid_configure(52, 0);
}

TEST(test_rewrite_4_levels, setup)
{
	test_rewrite(4);
}

TEST(test_rewrite_5_levels, setup)
{
	init_with(CR4_PAE | CR4_LA57, CPUID_80000001_EDX_NX);
	la57 = true;
	test_rewrite(5);
	la57 = false;
}

TEST_RUN(.setup = make_arena);
