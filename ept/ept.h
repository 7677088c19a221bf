/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EPT paging structures (SDM vol. 3, "EPT Translation Mechanism"): map, unmap, walk. Tables are
 * host pages. Nothing here knows regions, engines or VMs; the caller holds the owner's lock.
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

/* What the four levels translate; a CPU with fewer physical address bits takes fewer. */
#define EPT_GPA_BITS 48u

/* SDM, "EPT and Memory Typing": values of bits 5:3 of a leaf. */
enum ept_memtype {
	EPT_MEMTYPE_UC = 0,
	EPT_MEMTYPE_WC = 1,
	EPT_MEMTYPE_WT = 4,
	EPT_MEMTYPE_WP = 5,
	EPT_MEMTYPE_WB = 6,
};

/* What a leaf says beside its address. Packed into an entry in one function of ept.c only. */
struct ept_attr {
	uint8_t access;	 /* EPT_READ | ... */
	uint8_t memtype; /* enum ept_memtype */
	bool ignore_pat;
	keyid_t keyid; /* under which the guest's page is encrypted */
};

/* What IA32_VMX_EPT_VPID_CAP offers; read once by vmm and handed down by ept_configure. */
struct ept_caps {
	bool page_2m;
	bool page_1g;
	bool accessed_dirty;
	bool exec_only;
	bool invept_single;
	bool structures_wb; /* else uncacheable structures */
	/*
	 * Code runs from 4-KiB leaves alone: on a CPU that a change of page size during a fetch
	 * stops by a machine check (CVE-2018-12207). Larger leaves never allow execution.
	 */
	bool no_large_exec;
	uint8_t phys_bits; /* MAXPHYADDR */
};
void ept_configure(const struct ept_caps *caps);
const struct ept_caps *ept_caps(void);

/* A root with no mappings / frees its tables (not what they map; no CPU may use it). ERR_NOMEM. */
int ept_root_init(struct ept_root *root);
void ept_root_free(struct ept_root *root);
/* The same, at most so many tables of 4 KiB at a time. True when none is left. */
bool ept_root_free_some(struct ept_root *root, size_t tables);

/*
 * Sets host pages aside for all tables that it takes to map the range in leaves of `leaf` bytes
 * (PAGE_SIZE or SIZE_2M), so that mapping, splitting and changing them later cannot fail; or for so
 * many more tables. ERR_NOMEM. Tables are taken from there first. Under the root's lock once
 * it is in use.
 */
int ept_reserve(struct ept_root *root, gpa_t gpa, uint64_t bytes, uint64_t leaf);
int ept_reserve_tables(struct ept_root *root, uint64_t count);

/*
 * Sees to it that the next table cannot fail: sets one aside where none is. For who splits one leaf
 * at a time and merges it again. ERR_NOMEM.
 */
int ept_reserve_split(struct ept_root *root);

/*
 * Maps bytes (a multiple of 4 KiB) at gpa to hpa with the largest leaves that alignment, max_leaf
 * (PAGE_SIZE, SIZE_2M or SIZE_1G) and the CPU allow. Only over absent entries: ERR_EXISTS.
 * ERR_NOMEM (tables), ERR_INVAL (alignment, attributes that misconfigure), ERR_RANGE (beyond
 * EPT_GPA_BITS, MAXPHYADDR, or at or above the KeyID's bits; a KeyID that does not fit in them).
 * No error leaves a partial mapping. Adding rights needs no shoot-down (SDM, "Operations that
 * Invalidate Cached Mappings").
 */
int ept_map(struct ept_root *root, gpa_t gpa, hpa_t hpa, uint64_t bytes, uint64_t max_leaf,
	    struct ept_attr attr);

/*
 * Removes all leaves in the range, splitting larger ones; the caller shoots down. ERR_NOMEM
 * (splitting), ERR_INVAL, ERR_RANGE: nothing was removed.
 */
int ept_unmap(struct ept_root *root, gpa_t gpa, uint64_t bytes);

/*
 * Replaces the 512 leaves of 2 MiB that map [gpa, gpa + 1 GiB) by one that says the same, accessed
 * and dirty bits included. In between nothing is mapped there, and all CPUs are shot down: a CPU
 * must not hold translations of both sizes (SDM vol. 3, "Page Size of a Translation"). ERR_INVAL:
 * they are not there, not consecutive in memory, not alike, or 1 GiB leaves do not exist; nothing
 * was changed.
 */
int ept_merge_1g(struct ept_root *root, gpa_t gpa);

/*
 * With no_large_exec: the 2 MiB around gpa, which a leaf maps, become 4-KiB leaves that allow
 * execution; what a larger leaf maps beside them stays in leaves that do not. 0 as well when they
 * are. ERR_NOTFOUND, ERR_NOMEM (tables). Only adds rights, so no shoot-down is needed.
 */
int ept_allow_exec(struct ept_root *root, gpa_t gpa);

/* The leaf that maps gpa. */
struct ept_leaf {
	hpa_t hpa; /* of the byte at gpa, not of the leaf's start */
	uint64_t leaf_bytes;
	struct ept_attr attr;
	bool accessed;
	bool dirty;
};
/* ERR_NOTFOUND when nothing is mapped there. */
int ept_walk(const struct ept_root *root, gpa_t gpa, struct ept_leaf *out);

/*
 * The first leaf that maps anything of [from, end): *at is its first address. ERR_NOTFOUND when
 * there is none.
 */
int ept_next(const struct ept_root *root, gpa_t from, uint64_t end, gpa_t *at,
	     struct ept_leaf *out);

/* Splits what crosses gpa, so that a leaf begins there, if one is there. ERR_NOMEM (tables). */
int ept_split(struct ept_root *root, gpa_t gpa);

/*
 * The leaf that maps gpa says another KeyID from now on; all else of it stays. No CPU uses the
 * root meanwhile, and the caller has shot it down. CHECKs that there is one.
 */
void ept_set_keyid(struct ept_root *root, gpa_t gpa, keyid_t keyid);

/* Calls fn for each leaf, in the order of guest-physical addresses. */
void ept_visit(const struct ept_root *root,
	       void (*fn)(void *context, struct keyed_frame page, uint64_t bytes), void *context);

/*
 * Single pages, for who lends frames out and takes them back (pager.c). ept_map_page maps one
 * 4 KiB page as ept_map does, with the same errors, and returns where its entry is: there it stays
 * while the root lives. What is done to the entry needs the lock that keeps other changes of this
 * leaf out, no more.
 */
int ept_map_page(struct ept_root *root, gpa_t gpa, hpa_t hpa, struct ept_attr attr,
		 uint64_t **entry);
/* The entry of a page that ept_map_page has mapped, or would map; NULL where no table stands. */
uint64_t *ept_page_entry(const struct ept_root *root, gpa_t gpa);
/*
 * The entry is exchanged to 0; the caller shoots down. True when the page was written: the dirty
 * bit of what was there, or without dirty bits whether it allowed writing.
 */
bool ept_entry_take(uint64_t *entry);
/* Adds the right to write; no shoot-down needed. */
void ept_entry_allow_write(uint64_t *entry);
/*
 * Whether the accessed bit was set since the last call. A translation that a TLB holds does not
 * set it again, so a page in use may look idle: a hint. False without accessed bits.
 */
bool ept_entry_referenced(uint64_t *entry);
/* The same, and the next call will say so again. */
bool ept_entry_accessed(const uint64_t *entry);

#endif
