/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walker for the guest's four paging modes; a table says how they differ. Entries are read
 * once each, and every bit of them is the guest's.
 *
 * Two things differ from a CPU. PAE's four top entries are read from memory, where a CPU keeps
 * copies from the last write of CR3; a guest that relies on the difference breaks the rules of
 * "PDPTE Registers". Protection keys are not looked at: they can only add a fault that the
 * instruction's own earlier accesses did not have, in user-mode string I/O.
 */
#include "vmm/gwalk.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/* SDM, "Paging-Structure Entries" (all modes). */
#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_USER     BIT(2)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7)
#define PTE_NX	     BIT(63)

/* SDM, "Page-Fault Exceptions": error code. */
#define PF_PRESENT  BIT(0)
#define PF_WRITE    BIT(1)
#define PF_USER	    BIT(2)
#define PF_RESERVED BIT(3)
#define PF_FETCH    BIT(4)

#define VECTOR_GP 13
#define VECTOR_PF 14

struct paging {
	uint8_t levels;
	uint8_t entry_bytes;
	uint8_t index_bits;
	uint8_t linear_bits; /* of a canonical address; 32 where there is no such rule */
};

static const struct paging paging_32 = { 2, 4, 10, 32 };
static const struct paging paging_pae = { 3, 8, 9, 32 };
static const struct paging paging_4level = { 4, 8, 9, 48 };
static const struct paging paging_5level = { 5, 8, 9, 57 };

struct walk {
	struct gmem *gmem;
	const struct gwalk_mode *mode;
	const struct paging *paging;
	uint64_t linear;
	enum gwalk_access access;
	uint64_t rights; /* PTE_WRITE and PTE_USER of all levels, and-ed; PTE_NX or-ed */
	uint64_t leaf_gpa, leaf;
	uint64_t path[5], entries[5]; /* where each level's entry lies, and what it was */
};

static const struct paging *pick_paging(const struct gwalk_mode *mode)
{
	if ((mode->cr4 & CR4_PAE) == 0) {
		return &paging_32;
	}
	if ((mode->efer & EFER_LMA) == 0) {
		return &paging_pae;
	}
	return (mode->cr4 & CR4_LA57) != 0 ? &paging_5level : &paging_4level;
}

static bool is_canonical(uint64_t linear, unsigned bits)
{
	int64_t upper = (int64_t)linear >> (bits - 1);

	return upper == 0 || upper == -1;
}

static int page_fault(const struct walk *w, uint64_t cause, struct gwalk_fault *fault)
{
	uint64_t code = cause;

	code |= w->access == GWALK_WRITE ? PF_WRITE : 0;
	code |= w->mode->user ? PF_USER : 0;
	if (w->access == GWALK_FETCH &&
	    ((w->mode->efer & EFER_NXE) != 0 || (w->mode->cr4 & CR4_SMEP) != 0)) {
		code |= PF_FETCH;
	}
	*fault = (struct gwalk_fault){ VECTOR_PF, (uint32_t)code, w->linear };
	return ERR_NOTFOUND;
}

/* Bits that have to be zero in a present entry: address bits that no CPU has, NX without NXE. */
static uint64_t reserved_bits(const struct walk *w, unsigned level, uint64_t entry)
{
	uint64_t bits;

	if (w->paging->entry_bytes == 4) {
		/* A 4-MiB page: bit 21; bits 20:13 are address bits 39:32 (PSE-36). */
		return level == 2 && (entry & PTE_LARGE) != 0 ? BIT(21) : 0;
	}
	bits = MASK(51, ept_caps()->phys_bits);
	bits |= (w->mode->efer & EFER_NXE) == 0 ? PTE_NX : 0;
	if (level >= 4 || (level == 3 && w->paging == &paging_pae)) {
		bits |= PTE_LARGE; /* PAE: bit 7 of a PDPTE is reserved, as are 8:5 and 2:1 */
	} else if (level > 1 && (entry & PTE_LARGE) != 0) {
		bits |= MASK(11u + 9 * (level - 1), 13);
	}
	return bits;
}

static bool is_leaf(const struct walk *w, unsigned level, uint64_t entry)
{
	if (level == 1) {
		return true;
	}
	if ((entry & PTE_LARGE) == 0) {
		return false;
	}
	/* In 32-bit paging the bit counts with CR4.PSE alone. */
	return w->paging->entry_bytes == 8 || (w->mode->cr4 & CR4_PSE) != 0;
}

static uint64_t address_of(const struct walk *w, unsigned level, uint64_t entry, bool leaf)
{
	unsigned shift = PAGE_SHIFT + (leaf ? (level - 1) * w->paging->index_bits : 0);
	uint64_t base = entry & MASK(w->paging->entry_bytes == 4 ? 31 : 51, shift);

	if (leaf && level == 2 && w->paging->entry_bytes == 4) {
		base |= ((entry >> 13) & 0xff) << 32;
	}
	return leaf ? base | (w->linear & MASK(shift - 1, 0)) : base;
}

/* Down to the leaf, collecting rights. An entry outside of RAM reads as not present. */
static int descend(struct walk *w, struct gwalk_fault *fault)
{
	const struct paging *p = w->paging;
	uint64_t table = w->mode->cr3 & (p == &paging_pae  ? MASK(31, 5)
					 : p == &paging_32 ? MASK(31, 12)
							   : MASK(51, 12));

	w->rights = PTE_WRITE | PTE_USER;
	for (unsigned level = p->levels; level > 0; level--) {
		unsigned shift = PAGE_SHIFT + (level - 1) * p->index_bits;
		uint64_t index = (w->linear >> shift) & MASK(p->index_bits - 1, 0);
		uint64_t entry = 0;
		bool pdpte = p == &paging_pae && level == 3;

		index &= pdpte ? 3 : UINT64_MAX;
		w->path[level - 1] = table + index * p->entry_bytes;
		if (gmem_read(w->gmem, gpa(w->path[level - 1]), &entry, p->entry_bytes) != 0 ||
		    (entry & PTE_PRESENT) == 0) {
			return page_fault(w, 0, fault);
		}
		if ((entry & reserved_bits(w, level, entry)) != 0) {
			return page_fault(w, PF_PRESENT | PF_RESERVED, fault);
		}
		w->entries[level - 1] = entry;
		if (!pdpte) {
			w->rights &= entry | PTE_NX;
			w->rights |= p->entry_bytes == 8 ? entry & PTE_NX : 0;
		}
		if (is_leaf(w, level, entry)) {
			w->leaf = level;
			w->leaf_gpa = address_of(w, level, entry, true);
			return 0;
		}
		table = address_of(w, level, entry, false);
	}
	return page_fault(w, 0, fault); /* not reached: level 1 is a leaf */
}

/* SDM, "Determination of Access Rights". */
static bool is_allowed(const struct walk *w)
{
	const struct gwalk_mode *mode = w->mode;
	bool user_page = (w->rights & PTE_USER) != 0;
	bool write_page = (w->rights & PTE_WRITE) != 0;

	if (mode->user && !user_page) {
		return false;
	}
	if (w->access == GWALK_FETCH) {
		if ((w->rights & PTE_NX) != 0) {
			return false;
		}
		return mode->user || !user_page || (mode->cr4 & CR4_SMEP) == 0;
	}
	if (!mode->user && user_page && (mode->cr4 & CR4_SMAP) != 0 &&
	    (mode->rflags & RFLAGS_AC) == 0) {
		return false;
	}
	if (w->access == GWALK_WRITE && !write_page) {
		return !mode->user && (mode->cr0 & CR0_WP) == 0;
	}
	return true;
}

/*
 * Accessed in every level, dirty in the leaf of a write. When an entry changed since it was read
 * the bit is not set: the guest is changing its tables in that moment, and a CPU that had walked
 * a moment earlier would have set it in an entry that is gone.
 */
static void set_accessed_dirty(const struct walk *w)
{
	for (unsigned level = (unsigned)w->leaf; level <= w->paging->levels; level++) {
		uint64_t entry = w->entries[level - 1];
		uint64_t wanted = entry | PTE_ACCESSED;

		if (w->paging == &paging_pae && level == 3) {
			continue;
		}
		if (level == w->leaf && w->access == GWALK_WRITE) {
			wanted |= PTE_DIRTY;
		}
		if (wanted != entry) {
			(void)gmem_cmpxchg(w->gmem, gpa(w->path[level - 1]), &entry, wanted,
					   w->paging->entry_bytes);
		}
	}
}

int gwalk_translate(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear,
		    enum gwalk_access access, gpa_t *out, struct gwalk_fault *fault)
{
	struct walk w = { .gmem = gmem, .mode = mode, .linear = linear, .access = access };
	int err;

	if ((mode->efer & EFER_LMA) == 0) {
		w.linear = (uint32_t)linear;
	}
	if ((mode->cr0 & CR0_PG) == 0) {
		*out = gpa(w.linear);
		return 0;
	}
	w.paging = pick_paging(mode);
	if (w.paging->linear_bits > 32 && !is_canonical(linear, w.paging->linear_bits)) {
		*fault = (struct gwalk_fault){ VECTOR_GP, 0, linear };
		return ERR_NOTFOUND;
	}
	err = descend(&w, fault);
	if (err != 0) {
		return err;
	}
	if (!is_allowed(&w)) {
		return page_fault(&w, PF_PRESENT, fault);
	}
	set_accessed_dirty(&w);
	*out = gpa(w.leaf_gpa);
	return 0;
}

int gwalk_copy(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear, void *buf,
	       size_t bytes, enum gwalk_access access, struct gwalk_fault *fault)
{
	size_t first = MIN(bytes, PAGE_SIZE - linear % PAGE_SIZE);
	size_t part[2] = { first, bytes - first };
	uint8_t *at = buf;
	gpa_t pages[2];

	if (bytes > PAGE_SIZE) {
		return ERR_INVAL;
	}
	for (unsigned i = 0; i < 2 && part[i] != 0; i++) {
		int err = gwalk_translate(gmem, mode, i == 0 ? linear : linear + first, access,
					  &pages[i], fault);

		if (err != 0) {
			return err;
		}
		if (!gmem_is_ram(gmem, pages[i], part[i])) {
			return ERR_RANGE;
		}
	}
	for (unsigned i = 0; i < 2 && part[i] != 0; i++) {
		int err = access == GWALK_WRITE ? gmem_write(gmem, pages[i], at, part[i])
						: gmem_read(gmem, pages[i], at, part[i]);

		if (err != 0) {
			return err;
		}
		at += part[i];
	}
	return 0;
}

void gwalk_mode_read(struct gwalk_mode *mode)
{
	/* DPL of SS is the CPL (SDM, "Guest Register State"); in virtual-8086 mode it is 3. */
	uint64_t rights = vmread(VMCS_GUEST_SS_ACCESS_RIGHTS);

	*mode = (struct gwalk_mode){
		.cr0 = vmread(VMCS_GUEST_CR0),
		.cr3 = vmread(VMCS_GUEST_CR3),
		.cr4 = vmread(VMCS_GUEST_CR4),
		.efer = vmread(VMCS_GUEST_EFER),
		.rflags = vmread(VMCS_GUEST_RFLAGS),
		.user = ((rights >> 5) & 3) == 3,
	};
}
