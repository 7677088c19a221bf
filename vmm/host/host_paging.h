/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor's own page tables. They map the sections of the image (W^X), the host pool one to
 * one, MMIO and stacks in a high area with guard pages, and per-CPU slots in which a guest frame is
 * mapped for a short time. RAM is not mapped as a whole, and nothing is mapped at address 0. All
 * CPUs share one set of tables.
 */
#ifndef UMBRA_HOST_HOST_PAGING_H
#define UMBRA_HOST_HOST_PAGING_H

#include "vmm/base/cpu.h"
#include "vmm/base/keyid.h"
#include "vmm/base/percpu.h"
#include "vmm/base/types.h"
#include "vmm/base/x86.h"

enum host_cache {
	HOST_CACHE_WB,
	HOST_CACHE_UC,
	HOST_CACHE_WC,
};

enum host_access {
	HOST_READ,
	HOST_READ_WRITE,
	HOST_READ_EXEC,
	HOST_READ_WRITE_EXEC, /* trampoline; firmware's code when the machine ends (power.c) */
};

/* IA32_PAT of every CPU in the host: entries 0-3 are WB, WC, UC- and UC, 4-7 the same. */
#define HOST_PAT \
	((MEMTYPE_WB | MEMTYPE_WC << 8 | MEMTYPE_UC_MINUS << 16 | MEMTYPE_UC << 24) * 0x100000001ul)

/* Addresses from here on are never mapped one to one: the low half of 4-level paging ends here. */
#define HOST_IDENTITY_END BIT(47)

/*
 * Builds the tables (image, pool, slots) while firmware's are still loaded; with five levels when
 * firmware left CR4.LA57 on. From then on the host_map_* functions work; what they map can be used
 * after host_paging_enter. BSP, once, after frames_init. Returns ERR_NOMEM, or ERR_RANGE when
 * the image lies where 4-level paging cannot map it one to one.
 */
int host_paging_init(void);

/*
 * Changes from firmware's page tables and stack to the hypervisor's, and calls next, which does not
 * return. The caller's stack is no longer mapped then. BSP, interrupts off.
 */
_Noreturn void host_paging_enter(void *stack_top, void (*next)(void));

/* The bits of a page-table entry that maps a page with these rights and this cacheability. */
uint64_t host_leaf_bits(enum host_access access, enum host_cache cache);

/* On an AP that uses these tables already: sets PAT, EFER, CR0 and CR4 as on the BSP. */
void host_paging_load_this_cpu(void);

/* The value for CR3: the physical address of the top table, with the KeyID of host pages. */
hpa_t host_paging_root(void);
/* True when the tables have five levels, so that CR4.LA57 must be on. */
bool host_paging_la57(void);
/* True when firmware had disabled NX on the BSP: APs must enable it before paging. */
bool host_paging_cleared_xd(void);

/*
 * Maps bytes at their own address (firmware runtime, boot files, trampoline) in whole pages.
 * Mapping a page again changes its rights. Returns ERR_NOMEM (a part may be mapped), ERR_RANGE (the
 * range wraps, or paging cannot map it one to one), ERR_EXISTS (it touches the image, the pool or
 * the bootstrap pages).
 */
int host_map_identity(hpa_t base, uint64_t bytes, enum host_access access, enum host_cache cache);
/*
 * As host_map_identity, but in the bootstrap tables (bootstrap.h): for the code that APs start in,
 * and for firmware when the machine ends. BSP while the machine starts, or the last CPU at its end.
 */
int host_map_bootstrap(hpa_t base, uint64_t bytes, enum host_access access, enum host_cache cache);
/*
 * Maps registers of a device at their own address, in both sets of tables, because consoles write
 * until the very end. Errors as host_map_identity. BSP while the machine starts.
 */
int host_map_registers(hpa_t base, uint64_t bytes);
/*
 * Removes an identity mapping from both sets of tables. Flushes only this CPU's TLB: call it before
 * smp_start_all, or when no other CPU has ever used the range. Ignores the image and the pool.
 */
void host_unmap_identity(hpa_t base, uint64_t bytes);

/*
 * Maps device memory in the high area of both sets of tables and returns the address of base. An
 * unmapped page follows. The mapping is permanent. Returns NULL when there are no pages for tables,
 * no room, or the range wraps.
 */
void *host_map_io(hpa_t base, uint64_t bytes, enum host_cache cache);

/*
 * Allocates a stack of page_count pages between two unmapped pages. Returns its top, which is
 * 16-byte aligned, or NULL.
 */
void *host_map_stack(size_t page_count);

/*
 * Calls fn for each mapping of write-back memory in the hypervisor's tables, in the order of
 * addresses. This includes the slots that are in use now. Takes no lock: what another CPU maps
 * meanwhile is included or not.
 */
void host_paging_visit(void (*fn)(void *context, struct keyed_frame page, uint64_t bytes),
		       void *context);

/*
 * For dumps. host_paging_maps: is the byte mapped? host_paging_is_stack_area: does it lie in the
 * area of stacks and their guard pages?
 */
bool host_paging_maps(uint64_t address);
bool host_paging_is_stack_area(uint64_t address);

/* Fills in the slots in a CPU's block, before the CPU uses them. BSP, after host_paging_init. */
void host_slots_give(struct percpu *cpu);

/*
 * Maps the guest frame, under its KeyID, in one of this CPU's HOST_TEMP_SLOTS slots until
 * host_temp_unmap of the same slot. Panics when the slot is in use. Interrupts off. Costs one
 * INVLPG, in host_temp_unmap. Returns a page-aligned address with an unmapped page before and after
 * it.
 */
#define HOST_TEMP_SLOTS 8

/*
 * In host_paging.c: the page-table bits of a slot (present, writable, not executable), and the
 * panic for a wrong use.
 */
extern uint64_t host_slot_bits;
_Noreturn void host_slot_misuse(unsigned slot, uint64_t number);

/* Inline, because device emulation maps half a dozen pages at each exit. */
static inline void *host_slot_map(const struct percpu *cpu, unsigned slot, struct keyed_frame at)
{
	uint64_t *entry = &cpu->slot_entries[2 * slot];
	const uint64_t number = keyid_pack(at);

	if (slot >= HOST_TEMP_SLOTS || (*entry | (number & ~PTE_ADDRESS)) != 0) {
		host_slot_misuse(slot, number);
	}
	/* An entry that was not present is in no TLB: nothing to invalidate. */
	__atomic_store_n(entry, number | host_slot_bits, __ATOMIC_RELEASE);
	return cpu->slot_pages + 2 * slot * PAGE_SIZE;
}

static inline void host_slot_unmap(const struct percpu *cpu, unsigned slot)
{
	uint64_t *entry = &cpu->slot_entries[2 * slot];

	if (slot >= HOST_TEMP_SLOTS || *entry == 0) {
		host_slot_misuse(slot, 0);
	}
	__atomic_store_n(entry, 0, __ATOMIC_RELEASE);
	cpu_invlpg(cpu->slot_pages + 2 * slot * PAGE_SIZE);
}

/*
 * This CPU's slots, for code that maps several pages at once, so that it reads only once where the
 * slots lie. The frames come from the allocator. host_temps_unmap does not check that the slot is
 * in use.
 */
struct host_temps {
	uint64_t *entries;
	uint8_t *pages;
};

#ifdef UMBRA_HOST_TEST
void *host_temp_map(unsigned slot, struct keyed_frame page);
void host_temp_unmap(unsigned slot);
static inline struct host_temps host_temps(const struct percpu *cpu)
{
	return (struct host_temps){ NULL, NULL };
}
static inline void *host_temps_map(struct host_temps temps, unsigned slot, struct keyed_frame page)
{
	return host_temp_map(slot, page);
}
static inline void host_temps_unmap(struct host_temps temps, unsigned slot)
{
	host_temp_unmap(slot);
}
static inline void host_temp_check(const struct percpu *cpu, unsigned slot)
{
	/* host_temp_map checks the slot */
}
static inline uint64_t host_temp_load(const struct percpu *cpu, unsigned slot, uint64_t packed,
				      uint64_t offset)
{
	const char *page = host_temp_map(slot, keyid_unpack(packed));
	uint64_t value = *(const uint64_t *)(const void *)(page + offset);

	host_temp_unmap(slot);
	return value;
}
#else
static inline void *host_temp_map(unsigned slot, struct keyed_frame page)
{
	return host_slot_map(percpu_self(), slot, page);
}

static inline void host_temp_unmap(unsigned slot)
{
	host_slot_unmap(percpu_self(), slot);
}

static inline struct host_temps host_temps(const struct percpu *cpu)
{
	return (struct host_temps){ cpu->slot_entries, cpu->slot_pages };
}

static inline void *host_temps_map(struct host_temps temps, unsigned slot, struct keyed_frame page)
{
	if (__builtin_expect(temps.entries[2 * slot] != 0, 0)) {
		host_slot_misuse(slot, keyid_pack(page));
	}
	__atomic_store_n(&temps.entries[2 * slot], keyid_pack(page) | host_slot_bits,
			 __ATOMIC_RELEASE);
	return temps.pages + 2 * slot * PAGE_SIZE;
}

static inline void host_temps_unmap(struct host_temps temps, unsigned slot)
{
	__atomic_store_n(&temps.entries[2 * slot], 0, __ATOMIC_RELEASE);
	cpu_invlpg(temps.pages + 2 * slot * PAGE_SIZE);
}

/*
 * For code that loads words from several pages in a row: one call of host_temp_check, which panics
 * when the slot is in use, then host_temp_load for each word. It loads the eight bytes at offset of
 * a page, and maps the page for that load alone. packed is keyid_pack of a page that host_temp_map
 * has mapped before, so it is known to be valid.
 */
static inline void host_temp_check(const struct percpu *cpu, unsigned slot)
{
	if (cpu->slot_entries[2 * slot] != 0) {
		host_slot_misuse(slot, 0);
	}
}

static inline uint64_t host_temp_load(const struct percpu *cpu, unsigned slot, uint64_t packed,
				      uint64_t offset)
{
	uint64_t *entry = &cpu->slot_entries[2 * slot];
	const uint8_t *page = cpu->slot_pages + 2 * slot * PAGE_SIZE;
	uint64_t value;

	__atomic_store_n(entry, packed | host_slot_bits, __ATOMIC_RELEASE);
	value = __atomic_load_n((const uint64_t *)(const void *)(page + offset), __ATOMIC_RELAXED);
	__atomic_store_n(entry, 0, __ATOMIC_RELEASE);
	cpu_invlpg(page);
	return value;
}
#endif

#endif
