/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address space of the hypervisor (SDM vol. 3, "Paging"):
 *
 *   low half        one to one: image, pool, bootstrap pages, what host_map_identity adds
 *   PML4 entry 256  IO_BASE: device memory; STACK_BASE: stacks; TEMP_BASE: per-CPU slots
 *
 * With LA57 the addresses are the same: entries 0 and 511 of the fifth level both refer to the one
 * PML4. Tables are host pages and are never freed. map_lock guards the making of tables, and which
 * addresses of the high areas are given out; a slot belongs to one CPU. CPUs walk the tables at any
 * time, and host_paging_visit and host_paging_maps read them without the lock. So each entry is
 * written by one store, after what it refers to.
 */
#include "vmm/host/host_paging.h"

#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/lock.h"
#include "vmm/base/panic.h"
#include "vmm/base/percpu.h"
#include "vmm/console/log.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/image.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/paging_modes_priv.h"

#define HIGH_BASE  0xffff800000000000ul
#define IO_BASE	   HIGH_BASE
#define IO_END	   (HIGH_BASE + 64 * SIZE_1G)
#define STACK_BASE IO_END
#define STACK_END  (STACK_BASE + SIZE_1G)
#define TEMP_BASE  STACK_END

/* Every second page is a slot, and the slots of a CPU lie in one table. */
#define TEMP_TABLE_COUNT (CPU_MAX * HOST_TEMP_SLOTS * 2 / 512)
_Static_assert(512 % (2 * HOST_TEMP_SLOTS) == 0, "slots within a table");

static struct lock map_lock;
static uint64_t *pml4;
static uint64_t *root;
static uint64_t io_next = IO_BASE;
static uint64_t stack_next = STACK_BASE;
static uint64_t *temp_tables[TEMP_TABLE_COUNT];
uint64_t host_slot_bits;

/* In insns.asm: loads CR3 and RSP, then calls next. */
_Noreturn void host_paging_switch(uint64_t cr3, void *stack_top, void (*next)(void));

static unsigned level_shift(unsigned level)
{
	return PAGE_SHIFT + 9 * (level - 1);
}

static uint64_t entry_load(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

static void entry_store(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/*
 * The entry for address in the table of the given level (1: PTE). With make, adds missing tables.
 * Returns NULL when there is no entry, no memory, or a large page maps the address.
 */
static uint64_t *entry_of(uint64_t address, unsigned level, bool make)
{
	uint64_t *table = pml4;
	unsigned at;

	for (at = 4; at > level; at--) {
		uint64_t *entry = &table[(address >> level_shift(at)) & 511];
		uint64_t value = entry_load(entry);

		if ((value & PTE_PRESENT) == 0) {
			void *fresh = make ? page_alloc(1) : NULL;

			if (fresh == NULL) {
				return NULL;
			}
			value = page_hpa(fresh).v | PTE_PRESENT | PTE_WRITE | PTE_ACCESSED;
			entry_store(entry, value);
		} else if ((value & PTE_LARGE) != 0) {
			return NULL;
		}
		table = page_va(hpa(value & PTE_ADDRESS));
	}
	return &table[(address >> level_shift(level)) & 511];
}

/*
 * Maps whole pages at aligned addresses. Uses 2 MiB pages where they fit. They cannot be split, so
 * the caller never changes a part of the mapping later. Takes no lock.
 */
static int map_large(uint64_t address, uint64_t physical, uint64_t bytes, uint64_t bits)
{
	while (bytes > 0) {
		bool large = IS_ALIGNED(address | physical, SIZE_2M) && bytes >= SIZE_2M;
		uint64_t step = large ? SIZE_2M : PAGE_SIZE;
		uint64_t *entry = entry_of(address, large ? 2 : 1, true);

		if (entry == NULL) {
			return ERR_NOMEM;
		}
		CHECK((entry_load(entry) & PTE_PRESENT) == 0);
		entry_store(entry, physical | bits | (large ? PTE_LARGE : 0));
		address += step;
		physical += step;
		bytes -= step;
	}
	return 0;
}

/* Maps whole 4 KiB pages one to one, in place of what was mapped. Takes no lock. */
static int map_one_to_one(uint64_t address, uint64_t end, uint64_t bits)
{
	for (; address < end; address += PAGE_SIZE) {
		uint64_t *entry = entry_of(address, 1, true);

		if (entry == NULL) {
			return ERR_NOMEM;
		}
		entry_store(entry, address | bits);
		cpu_invlpg((const void *)(uintptr_t)address);
	}
	return 0;
}

static bool overlaps(uint64_t base, uint64_t end, uint64_t other_base, uint64_t other_end)
{
	return base < other_end && other_base < end;
}

/* Widens the range to whole pages, and checks that it may be mapped one to one. */
static int identity_range(hpa_t base, uint64_t bytes, uint64_t *first, uint64_t *end)
{
	uint64_t last;

	if (bytes == 0 || __builtin_add_overflow(base.v, bytes - 1, &last) ||
	    last >= HOST_IDENTITY_END) {
		return ERR_RANGE;
	}
	*first = base.v & PAGE_MASK;
	*end = (last & PAGE_MASK) + PAGE_SIZE;
	if (page_is_own(*first, *end) ||
	    overlaps(*first, *end, (uintptr_t)image_start, (uintptr_t)image_end)) {
		return ERR_EXISTS;
	}
	return 0;
}

int host_map_identity(hpa_t base, uint64_t bytes, enum host_access access, enum host_cache cache)
{
	uint64_t first, end;
	int err = identity_range(base, bytes, &first, &end);

	if (err == 0) {
		lock_take(&map_lock, LOCK_HOST_MAP);
		err = map_one_to_one(first, end, host_leaf_bits(access, cache));
		lock_drop(&map_lock);
	}
	return err;
}

int host_map_bootstrap(hpa_t base, uint64_t bytes, enum host_access access, enum host_cache cache)
{
	uint64_t first, end;
	int err = identity_range(base, bytes, &first, &end);

	return err == 0 ? bootstrap_map(first, hpa(first), end - first, access, cache) : err;
}

int host_map_registers(hpa_t base, uint64_t bytes)
{
	int err = host_map_identity(base, bytes, HOST_READ_WRITE, HOST_CACHE_UC);

	return err == 0 ? host_map_bootstrap(base, bytes, HOST_READ_WRITE, HOST_CACHE_UC) : err;
}

void host_unmap_identity(hpa_t base, uint64_t bytes)
{
	uint64_t at, end;

	if (identity_range(base, bytes, &at, &end) != 0) {
		return;
	}
	bootstrap_unmap(at, end - at);
	for (; at < end; at += PAGE_SIZE) {
		uint64_t *entry = entry_of(at, 1, false);

		if (entry != NULL) {
			entry_store(entry, 0);
			cpu_invlpg((const void *)(uintptr_t)at);
		}
	}
}

void *host_map_io(hpa_t base, uint64_t bytes, enum host_cache cache)
{
	uint64_t first = base.v & PAGE_MASK;
	uint64_t last, address, size;
	int err;

	if (bytes == 0 || __builtin_add_overflow(base.v, bytes - 1, &last) || last >= BIT(52)) {
		return NULL;
	}
	size = (last & PAGE_MASK) + PAGE_SIZE - first;
	lock_take(&map_lock, LOCK_HOST_MAP);
	/* At the same offset in 2 MiB as the physical address, so that large pages fit. */
	address = ALIGN_UP(io_next, SIZE_2M) + (first & (SIZE_2M - 1));
	if (size > IO_END - IO_BASE || address + size + PAGE_SIZE > IO_END) {
		lock_drop(&map_lock);
		return NULL;
	}
	io_next = address + size + PAGE_SIZE;
	err = map_large(address, first, size, host_leaf_bits(HOST_READ_WRITE, cache));
	if (err == 0) {
		err = bootstrap_map(address, hpa(first), size, HOST_READ_WRITE, cache);
	}
	lock_drop(&map_lock);
	return err == 0 ? (void *)(uintptr_t)(address + (base.v - first)) : NULL;
}

void *host_map_stack(size_t page_count)
{
	void *pages = page_alloc(page_count);
	uint64_t address;
	int err;

	if (pages == NULL) {
		return NULL;
	}
	lock_take(&map_lock, LOCK_HOST_MAP);
	address = stack_next + PAGE_SIZE;
	if (address + (page_count + 1) * PAGE_SIZE > STACK_END) {
		lock_drop(&map_lock);
		page_free(pages, page_count);
		return NULL;
	}
	stack_next = address + page_count * PAGE_SIZE;
	err = map_large(address, page_hpa(pages).v, page_count * PAGE_SIZE,
			host_leaf_bits(HOST_READ_WRITE, HOST_CACHE_WB));
	lock_drop(&map_lock);
	return err == 0 ? (void *)(uintptr_t)(address + page_count * PAGE_SIZE) : NULL;
}

static void visit(const uint64_t *table, unsigned level,
		  void (*fn)(void *context, struct keyed_frame page, uint64_t bytes), void *context)
{
	for (unsigned i = 0; i < 512; i++) {
		const uint64_t entry = entry_load(&table[i]);
		const bool leaf = level == 1 || (entry & PTE_LARGE) != 0;

		if ((entry & PTE_PRESENT) == 0 || (leaf && (entry & (PTE_PCD | PTE_PWT)) != 0)) {
			continue; /* device and screen memory is not encrypted */
		}
		if (leaf) {
			fn(context,
			   keyid_unpack(entry & PTE_ADDRESS & ~(BIT(level_shift(level)) - 1)),
			   BIT(level_shift(level)));
		} else {
			visit(page_va(hpa(entry & PTE_ADDRESS)), level - 1, fn, context);
		}
	}
}

void host_paging_visit(void (*fn)(void *context, struct keyed_frame page, uint64_t bytes),
		       void *context)
{
	visit(pml4, 4, fn, context);
}

bool host_paging_maps(uint64_t address)
{
	uint64_t *entry;

	if (root == NULL || (address >= HOST_IDENTITY_END && address < HIGH_BASE)) {
		return false;
	}
	if (bootstrap_has_left()) {
		return bootstrap_maps(address); /* the hypervisor's tables are unmapped by now */
	}
	entry = entry_of(address, 2, false);
	if (entry != NULL && (entry_load(entry) & PTE_LARGE) == 0) {
		entry = entry_of(address, 1, false);
	}
	return entry != NULL && (entry_load(entry) & PTE_PRESENT) != 0;
}

bool host_paging_is_stack_area(uint64_t address)
{
	return address >= STACK_BASE && address < STACK_END;
}

void host_slots_give(struct percpu *cpu)
{
	uint64_t page = cpu->index * HOST_TEMP_SLOTS * 2 + 1;

	CHECK(cpu->index < CPU_MAX);
	cpu->slot_entries = &temp_tables[page / 512][page % 512];
	cpu->slot_pages = (uint8_t *)(uintptr_t)(TEMP_BASE + page * PAGE_SIZE);
}

_Noreturn void host_slot_misuse(unsigned slot, uint64_t number)
{
	panic("broken: slot %u with frame 0x%lx: mapped twice, not mapped, or no frame", slot,
	      number);
}

static int map_own(const char *from, const char *to, enum host_access access)
{
	uint64_t base = (uintptr_t)from;
	uint64_t end = (uintptr_t)to;

	CHECK(IS_ALIGNED(base | end, PAGE_SIZE) && base <= end);
	if (end > HOST_IDENTITY_END) {
		return ERR_RANGE;
	}
	return map_one_to_one(base, end, host_leaf_bits(access, HOST_CACHE_WB));
}

static int map_slots(void)
{
	size_t i;

	for (i = 0; i < TEMP_TABLE_COUNT; i++) {
		temp_tables[i] = entry_of(TEMP_BASE + i * SIZE_2M, 1, true);
		if (temp_tables[i] == NULL) {
			return ERR_NOMEM;
		}
	}
	return 0;
}

int host_paging_init(void)
{
	const struct mem_range pool = page_pool(), bootstrap = page_bootstrap();
	int err;

	paging_modes_find();
	host_slot_bits = host_leaf_bits(HOST_READ_WRITE, HOST_CACHE_WB) & ~PTE_GLOBAL;
	pml4 = page_alloc(1);
	root = host_paging_la57() ? page_alloc(1) : pml4;
	if (pml4 == NULL || root == NULL) {
		return ERR_NOMEM;
	}
	if (host_paging_la57()) {
		root[0] = page_hpa(pml4).v | PTE_PRESENT | PTE_WRITE | PTE_ACCESSED;
		root[511] = root[0];
	}
	err = map_own(image_text_start, image_text_end, HOST_READ_EXEC);
	if (err == 0) {
		err = map_own(image_ro_start, image_ro_end, HOST_READ);
	}
	if (err == 0) {
		err = map_own(image_rw_start, image_rw_end, HOST_READ_WRITE);
	}
	if (err == 0) {
		err = map_large(pool.base.v, pool.base.v, pool.page_count * PAGE_SIZE,
				host_leaf_bits(HOST_READ_WRITE, HOST_CACHE_WB));
	}
	if (err == 0) {
		err = map_one_to_one(bootstrap.base.v,
				     bootstrap.base.v + bootstrap.page_count * PAGE_SIZE,
				     host_leaf_bits(HOST_READ_WRITE, HOST_CACHE_WB));
	}
	if (err == 0) {
		err = map_slots();
	}
	return err == 0 ? bootstrap_init() : err;
}

static uint64_t host_cr4(void)
{
	struct cpuid_regs one = cpu_cpuid(1, 0);
	struct cpuid_regs seven = { 0 };
	uint64_t cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	if (cpu_cpuid(0, 0).eax >= 7) {
		seven = cpu_cpuid(7, 0);
	}
	cr4 |= host_paging_la57() ? CR4_LA57 : 0;
	cr4 |= (one.edx & CPUID_1_EDX_MCE) != 0 ? CR4_MCE : 0;
	cr4 |= (one.ecx & CPUID_1_ECX_XSAVE) != 0 ? CR4_OSXSAVE : 0;
	cr4 |= (seven.ebx & CPUID_7_EBX_SMEP) != 0 ? CR4_SMEP : 0;
	cr4 |= (seven.ebx & CPUID_7_EBX_SMAP) != 0 ? CR4_SMAP : 0;
	cr4 |= (seven.ecx & CPUID_7_ECX_UMIP) != 0 ? CR4_UMIP : 0;
	return cr4;
}

void host_paging_load_this_cpu(void)
{
	uint64_t cr4 = host_cr4();

	if (paging_modes_nx()) {
		cpu_wrmsr(MSR_IA32_EFER, cpu_rdmsr(MSR_IA32_EFER) | EFER_NXE);
	}
	/*
	 * SDM vol. 3, "Programming the PAT": no line or translation of an old type may stay cached.
	 */
	cpu_wbinvd();
	cpu_wrmsr(MSR_IA32_PAT, HOST_PAT);
	cpu_write_cr0(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
	cpu_write_cr4(cr4 & ~CR4_PGE); /* flushes firmware's global translations */
	cpu_write_cr3(page_hpa(root).v);
	cpu_write_cr4(cr4);
}

static void (*enter_next)(void);

static void entered(void)
{
	host_paging_load_this_cpu();
	bootstrap_ready();
	enter_next();
}

_Noreturn void host_paging_enter(void *stack_top, void (*next)(void))
{
	if (paging_modes_nx()) {
		/* The hypervisor's entries set bit 63, which is reserved without EFER.NXE. */
		cpu_wrmsr(MSR_IA32_EFER, cpu_rdmsr(MSR_IA32_EFER) | EFER_NXE);
	}
	/* If firmware uses a shadow stack, the hypervisor's tables do not map it. */
	cpu_write_cr4(cpu_read_cr4() & ~CR4_CET);
	enter_next = next;
	host_paging_switch(page_hpa(root).v, stack_top, entered);
}

hpa_t host_paging_root(void)
{
	return page_hpa(root);
}
