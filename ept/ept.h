/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EPT paging structures (SDM vol. 3, "EPT Translation Mechanism"): map, unmap, walk. Tables are
 * host pages. This code does not know regions, engines or VMs; the caller holds the lock of the
 * root's owner.
 */
#ifndef UMBRA_EPT_EPT_H
#define UMBRA_EPT_EPT_H

#include "ept/ept_tlb.h"
#include "vmm/base/keyid.h"
#include "vmm/base/types.h"

#define EPT_READ  BIT(0)
#define EPT_WRITE BIT(1)
#define EPT_EXEC  BIT(2)
#define EPT_RWX	  (EPT_READ | EPT_WRITE | EPT_EXEC)
/* Of an entry that maps RAM in 4 KiB: write-back (enum ept_memtype), the guest's PAT is ignored. */
#define EPT_PAGE_BITS (6ul << 3 | BIT(6))
/* Bits of an entry that the CPU sets, if it has accessed and dirty bits. */
#define EPT_ACCESSED BIT(8)
#define EPT_DIRTY    BIT(9)

/*
 * Four levels translate addresses of so many bits. A CPU with fewer physical address bits
 * translates no more than these.
 */
#define EPT_GPA_BITS 48u

/* SDM, "EPT and Memory Typing": values of bits 5:3 of an entry that maps a page. */
enum ept_memtype {
	EPT_MEMTYPE_UC = 0,
	EPT_MEMTYPE_WC = 1,
	EPT_MEMTYPE_WT = 4,
	EPT_MEMTYPE_WP = 5,
	EPT_MEMTYPE_WB = 6,
};

/* The attributes of a leaf (an entry that maps a page). One function of ept.c packs them. */
struct ept_attr {
	uint8_t access;	 /* EPT_READ | ... */
	uint8_t memtype; /* enum ept_memtype */
	bool ignore_pat;
	keyid_t keyid; /* the key of the guest's page */
};

/* The features in IA32_VMX_EPT_VPID_CAP. vmm reads it once and passes it to ept_configure. */
struct ept_caps {
	bool page_2m;
	bool page_1g;
	bool accessed_dirty;
	bool exec_only;
	bool invept_single;
	bool structures_wb; /* write-back paging structures; else uncacheable ones */
	/*
	 * Only 4-KiB leaves allow execution, and larger ones never do: for a CPU that raises a
	 * machine check if a page's size changes during an instruction fetch (CVE-2018-12207).
	 */
	bool no_large_exec;
	uint8_t phys_bits; /* MAXPHYADDR */
};
void ept_configure(const struct ept_caps *caps);
const struct ept_caps *ept_caps(void);

/*
 * ept_root_init makes a root with no mappings; returns ERR_NOMEM. ept_root_free frees its tables,
 * but not what they map; no CPU may still use it.
 */
int ept_root_init(struct ept_root *root);
void ept_root_free(struct ept_root *root);
/*
 * As ept_root_free, but frees at most `tables` tables of 4 KiB per call. Returns true when none is
 * left.
 */
bool ept_root_free_some(struct ept_root *root, size_t tables);

/*
 * ept_reserve sets host pages aside for all tables that it may take to map the range in leaves of
 * `leaf` bytes (PAGE_SIZE or SIZE_2M), so that mapping, splitting and changing them later cannot
 * fail. ept_reserve_tables sets pages aside for so many more tables. The root takes its tables from
 * there first. Both return ERR_NOMEM. Called under the root's lock once the root is in use.
 */
int ept_reserve(struct ept_root *root, gpa_t gpa, uint64_t bytes, uint64_t leaf);
int ept_reserve_tables(struct ept_root *root, uint64_t count);

/*
 * Makes sure that one page for a table is set aside, so that the next split cannot fail. For code
 * that splits one leaf at a time and merges it again. Returns ERR_NOMEM.
 */
int ept_reserve_split(struct ept_root *root);

/*
 * Maps bytes (a multiple of 4 KiB) at gpa to hpa with the largest leaves that alignment, max_leaf
 * (PAGE_SIZE, SIZE_2M or SIZE_1G) and the CPU allow. Returns ERR_EXISTS when a part of the range is
 * mapped, ERR_NOMEM (no page for a table), ERR_INVAL (alignment, or attributes that cause an EPT
 * misconfiguration), ERR_RANGE (beyond EPT_GPA_BITS or MAXPHYADDR, an address with KeyID bits, or a
 * KeyID that is too large). After an error nothing is mapped. Adding rights needs no shoot-down
 * (SDM, "Operations that Invalidate Cached Mappings").
 */
int ept_map(struct ept_root *root, gpa_t gpa, hpa_t hpa, uint64_t bytes, uint64_t max_leaf,
	    struct ept_attr attr);

/*
 * Removes all leaves in the range, and splits leaves that cross its ends; the caller then does a
 * shoot-down. Returns ERR_NOMEM (splitting), ERR_INVAL, ERR_RANGE: then nothing was removed.
 */
int ept_unmap(struct ept_root *root, gpa_t gpa, uint64_t bytes);

/*
 * Replaces the 512 leaves of 2 MiB that map [gpa, gpa + 1 GiB) by one equivalent leaf, with the
 * accessed and dirty bits. In between nothing is mapped there, and the function does a shoot-down:
 * a CPU must not hold translations of both sizes (SDM vol. 3, "Page Size of a Translation").
 * Returns ERR_INVAL and changes nothing when the leaves are not all there, not consecutive in
 * memory, or not alike, or when the CPU has no 1 GiB leaves.
 */
int ept_merge_1g(struct ept_root *root, gpa_t gpa);

/*
 * With no_large_exec: splits the leaf that maps gpa so that the 2 MiB around gpa are 4-KiB leaves
 * that allow execution; the rest of a 1 GiB leaf stays in leaves that do not. Also returns 0 when
 * they are so already. Returns ERR_NOTFOUND when nothing is mapped, ERR_NOMEM (no page for a
 * table). Only adds rights, so no shoot-down is needed.
 */
int ept_allow_exec(struct ept_root *root, gpa_t gpa);

/* What ept_walk and ept_next report of a leaf. */
struct ept_leaf {
	hpa_t hpa; /* of the byte at gpa, not of the leaf's start */
	uint64_t leaf_bytes;
	struct ept_attr attr;
	bool accessed;
	bool dirty;
};
/* Finds the leaf that maps gpa. Returns ERR_NOTFOUND when nothing is mapped there. */
int ept_walk(const struct ept_root *root, gpa_t gpa, struct ept_leaf *out);

/*
 * Finds the first leaf that maps a part of [from, end). *at is the first address that it maps.
 * Returns ERR_NOTFOUND when there is none.
 */
int ept_next(const struct ept_root *root, gpa_t from, uint64_t end, gpa_t *at,
	     struct ept_leaf *out);

/*
 * Splits the leaf that crosses gpa, so that a leaf begins there. Returns ERR_NOMEM (no page for a
 * table).
 */
int ept_split(struct ept_root *root, gpa_t gpa);

/*
 * Changes the KeyID of the leaf that maps gpa, and nothing else of it. No CPU uses the root
 * meanwhile, and the caller has done a shoot-down. CHECKs that the leaf exists.
 */
void ept_set_keyid(struct ept_root *root, gpa_t gpa, keyid_t keyid);

/* Calls fn for each leaf, in the order of guest-physical addresses. */
void ept_visit(const struct ept_root *root,
	       void (*fn)(void *context, struct keyed_frame page, uint64_t bytes), void *context);

/*
 * Functions for single pages, for code that maps and unmaps frames often (pager.c). ept_make_entry
 * finds the entry of the page at an address that is known to be valid, and makes the tables above
 * it. The entry is valid as long as the root. Returns ERR_EXISTS (a larger leaf maps the address),
 * ERR_NOMEM. Code that changes the entry needs only a lock that keeps other changes of it out.
 */
int ept_make_entry(struct ept_root *root, gpa_t gpa, uint64_t **entry);
/* The entry of a page behind the entry's own, if it is in the same table; else NULL. */
uint64_t *ept_entry_behind(uint64_t *entry, uint64_t pages);
/*
 * Maps 4 KiB of RAM: write-back, the guest's PAT is ignored. The address is known to be valid, and
 * access has EPT_READ. Returns false, and changes nothing, if the entry maps a page already.
 */
static inline bool ept_entry_map(uint64_t *entry, struct keyed_frame page, uint8_t access)
{
	uint64_t absent = 0;

	return __atomic_compare_exchange_n(entry, &absent,
					   keyid_pack(page) | access | EPT_PAGE_BITS, false,
					   __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}
/*
 * For code that finds that no leaf is mapped, does something, and then maps one. The gap is the
 * entry that maps nothing at the address, and the bytes of the leaf that fits there; it is valid
 * until the lock is dropped or something else is mapped. ept_find_gap: false when a leaf is mapped
 * there. ept_fill_gap maps one leaf of gap.bytes, 4 KiB or 2 MiB, with the errors of ept_map; the
 * CPU supports leaves of that size, and both addresses are aligned to it.
 */
struct ept_gap {
	uint64_t *entry;
	uint64_t bytes;
};
bool ept_find_gap(const struct ept_root *root, gpa_t gpa, struct ept_gap *gap);
int ept_fill_gap(struct ept_gap gap, gpa_t gpa, hpa_t hpa, struct ept_attr attr);

/* As ept_make_entry, but makes nothing: NULL where there is no table. */
uint64_t *ept_page_entry(const struct ept_root *root, gpa_t gpa);
/* Does the entry map this page? */
bool ept_entry_maps(const uint64_t *entry, struct keyed_frame page);
/*
 * For the functions below, which have no branches because code under locks calls them often: the
 * bits of an entry by which the guest has used the page (0 on a CPU without accessed bits), and by
 * which it may have written it.
 */
extern uint64_t ept_used_bits, ept_written_bits;
/*
 * Exchanges the entry with 0; the caller then does a shoot-down. Returns true when the guest may
 * have written the page: by the dirty bit, or by the right to write on a CPU without dirty bits.
 */
static inline bool ept_entry_take(uint64_t *entry)
{
	const uint64_t old = __atomic_exchange_n(entry, 0, __ATOMIC_SEQ_CST);

	return (old & ept_written_bits) != 0;
}

/* Adds the right to write. Needs no shoot-down. */
static inline void ept_entry_allow_write(uint64_t *entry)
{
	(void)__atomic_fetch_or(entry, EPT_WRITE, __ATOMIC_RELEASE);
}

/* As ept_entry_referenced, but does not clear the bit. */
static inline bool ept_entry_accessed(const uint64_t *entry)
{
	return (__atomic_load_n(entry, __ATOMIC_RELAXED) & ept_used_bits) != 0;
}

/*
 * Was the accessed bit set since the last call? The call clears it. A CPU that has the translation
 * in its TLB does not set the bit again, so the answer is a hint: a page in use may look idle.
 * Always false on a CPU without accessed bits.
 */
static inline bool ept_entry_referenced(uint64_t *entry)
{
	/* Reads first: most pages that CLOCK passes are idle, and a locked write is expensive. */
	return ept_entry_accessed(entry) &&
	       (__atomic_fetch_and(entry, ~EPT_ACCESSED, __ATOMIC_RELAXED) & EPT_ACCESSED) != 0;
}

#endif
