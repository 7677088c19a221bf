/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walker for the guest's four paging modes; a table contains their differences. Each entry is
 * read once, and every bit of it is under the guest's control. Guests have no protection keys
 * (CR4.PKE and CR4.PKS are #GP).
 *
 * One thing differs from a CPU. PAE's four top entries are read from memory, where a CPU keeps
 * copies from the last write of CR3; a guest that relies on the difference breaks the rules of
 * "PDPTE Registers".
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
	uint8_t entry_shift;
	uint8_t index_bits;
	uint8_t linear_bits;   /* of a canonical address; 32 if the mode has no such rule */
	uint64_t cr3_mask;     /* the address bits of the top table in CR3 */
	uint64_t address_mask; /* the address bits of the next table in an entry */
};

static const struct paging paging_32 = { 2, 4, 2, 10, 32, MASK(31, 12), MASK(31, 12) };
static const struct paging paging_pae = { 3, 8, 3, 9, 32, MASK(31, 5), MASK(51, 12) };
static const struct paging paging_4level = { 4, 8, 3, 9, 48, MASK(51, 12), MASK(51, 12) };
static const struct paging paging_5level = { 5, 8, 3, 9, 57, MASK(51, 12), MASK(51, 12) };

/* Address and value of an entry. */
struct step {
	uint64_t at;
	uint64_t entry;
};

struct walk {
	struct gmem *gmem;
	const struct gwalk_mode *mode;
	const struct paging *paging;
	uint64_t linear;
	enum gwalk_access access;
	/* PTE_WRITE, PTE_USER, PTE_ACCESSED: AND of all levels; PTE_NX: OR of all levels. */
	uint64_t rights;
	uint64_t leaf_gpa;
	unsigned leaf_level;
	struct step steps[GWALK_LEVELS_MAX]; /* by level - 1 */
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

/* Bits that must be zero in every present entry: address bits that no CPU has, NX without NXE. */
static uint64_t reserved_always(const struct walk *w)
{
	if (w->paging->entry_bytes == 4) {
		return 0;
	}
	return MASK(51, ept_caps()->phys_bits) | ((w->mode->efer & EFER_NXE) == 0 ? PTE_NX : 0);
}

/* More bits that must be zero, in an entry with PTE_LARGE set at level 2 or above. */
static uint64_t reserved_large(const struct walk *w, unsigned level)
{
	if (w->paging->entry_bytes == 4) {
		/* A 4-MiB page: bit 21; bits 20:13 are address bits 39:32 (PSE-36). */
		return (w->mode->cr4 & CR4_PSE) != 0 ? BIT(21) : 0;
	}
	if (level >= 4 || (w->paging == &paging_pae && level == 3)) {
		return PTE_LARGE;
	}
	return MASK(11u + 9 * (level - 1), 13);
}

static bool is_leaf(const struct walk *w, unsigned level, uint64_t entry)
{
	if (level == 1) {
		return true;
	}
	/* In 32-bit paging the bit counts only with CR4.PSE. */
	return (entry & PTE_LARGE) != 0 &&
	       (w->paging->entry_bytes == 8 || (w->mode->cr4 & CR4_PSE) != 0);
}

/* shift: how many bits of the linear address are the offset in the page. */
static uint64_t leaf_address(const struct walk *w, unsigned shift, uint64_t entry)
{
	uint64_t offset = BIT(shift) - 1;
	uint64_t base = entry & w->paging->address_mask & ~offset;

	if (w->paging->entry_bytes == 4 && shift != PAGE_SHIFT) {
		base |= ((entry >> 13) & 0xff) << 32;
	}
	return base | (w->linear & offset);
}

static bool is_malformed(const struct walk *w, unsigned level, uint64_t entry, uint64_t reserved)
{
	if ((entry & PTE_LARGE) != 0 && level > 1) {
		reserved |= reserved_large(w, level);
	}
	return (entry & reserved) != 0;
}

/* An entry outside of RAM is ones, as on a bus: in most modes that sets a reserved bit. */
static int load_entry(struct walk *w, uint64_t at, uint64_t *entry)
{
	int err = gmem_load(w->gmem, gpa(at), entry, w->paging->entry_bytes);

	if (err == ERR_RANGE) {
		*entry = w->paging->entry_bytes == 8 ? UINT64_MAX : UINT32_MAX;
		return 0;
	}
	return err;
}

/* Walks down to the leaf and collects rights. */
static int descend(struct walk *w, struct gwalk_fault *fault)
{
	const struct paging *p = w->paging;
	uint64_t table = w->mode->cr3 & p->cr3_mask, reserved = reserved_always(w);
	unsigned shift = PAGE_SHIFT + (unsigned)p->levels * p->index_bits;
	uint64_t entry, nx = 0;

	for (unsigned level = p->levels;; level--) {
		uint64_t at;

		shift -= p->index_bits;
		at = table + (((w->linear >> shift) & (BIT(p->index_bits) - 1)) << p->entry_shift);
		if (load_entry(w, at, &entry) != 0 || (entry & PTE_PRESENT) == 0) {
			return page_fault(w, 0, fault);
		}
		if (is_malformed(w, level, entry, reserved)) {
			return page_fault(w, PF_PRESENT | PF_RESERVED, fault);
		}
		w->steps[level - 1] = (struct step){ at, entry };
		if (p != &paging_pae || level != 3) {
			w->rights &= entry; /* a PDPTE of PAE paging has no rights */
			nx |= entry;
		}
		if (is_leaf(w, level, entry)) {
			w->leaf_level = level;
			break;
		}
		table = entry & p->address_mask;
	}
	w->rights |= p->entry_bytes == 8 ? nx & PTE_NX : 0;
	w->leaf_gpa = leaf_address(w, shift, entry);
	return 0;
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
 * Sets the accessed bit in every level, and the dirty bit in the leaf of a write. An entry that has
 * changed since it was read stays as it is: the guest changes its tables at this moment, and a CPU
 * that walked a moment earlier would have set the bit in the old entry.
 */
static void set_accessed_dirty(const struct walk *w)
{
	uint64_t leaf_bits = PTE_ACCESSED | (w->access == GWALK_WRITE ? PTE_DIRTY : 0);

	if ((w->rights & PTE_ACCESSED) != 0 &&
	    (leaf_bits & ~w->steps[w->leaf_level - 1].entry) == 0) {
		return;
	}
	for (unsigned level = w->leaf_level; level <= w->paging->levels; level++) {
		struct step step = w->steps[level - 1];
		uint64_t wanted = step.entry | (level == w->leaf_level ? leaf_bits : PTE_ACCESSED);

		if (wanted != step.entry && !(w->paging == &paging_pae && level == 3)) {
			(void)gmem_cmpxchg(w->gmem, gpa(step.at), &step.entry, wanted,
					   w->paging->entry_bytes);
		}
	}
}

/* 4-byte entries are half of a word. */
static struct gmem_expect note_of(const struct paging *paging, struct step step)
{
	unsigned shift = step.at % 8 * 8;
	uint64_t mask = paging->entry_bytes == 8 ? UINT64_MAX : (uint64_t)UINT32_MAX << shift;

	return (struct gmem_expect){ ALIGN_DOWN(step.at, 8ul), mask, step.entry << shift, 0 };
}

/* Walks down to the address; w contains the entries on the way. */
static int translate(struct walk *w, gpa_t *out, struct gwalk_fault *fault)
{
	const struct gwalk_mode *mode = w->mode;
	int err;

	w->rights = PTE_WRITE | PTE_USER | PTE_ACCESSED;
	w->paging = NULL;
	if ((mode->efer & EFER_LMA) == 0) {
		w->linear = (uint32_t)w->linear;
	}
	if ((mode->cr0 & CR0_PG) == 0) {
		*out = gpa(w->linear);
		return 0;
	}
	w->paging = pick_paging(mode);
	if (w->paging->linear_bits > 32 && !is_canonical(w->linear, w->paging->linear_bits)) {
		*fault = (struct gwalk_fault){ VECTOR_GP, 0, w->linear };
		return ERR_NOTFOUND;
	}
	err = descend(w, fault);
	if (err != 0) {
		return err;
	}
	if (!is_allowed(w)) {
		return page_fault(w, PF_PRESENT, fault);
	}
	set_accessed_dirty(w);
	*out = gpa(w->leaf_gpa);
	return 0;
}

int gwalk_translate(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear,
		    enum gwalk_access access, gpa_t *out, struct gwalk_fault *fault)
{
	struct walk w; /* not initialised: this is a hot path, and the walk sets what it uses */

	w.gmem = gmem;
	w.mode = mode;
	w.linear = linear;
	w.access = access;
	return translate(&w, out, fault);
}

int gwalk_translate_noted(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear,
			  enum gwalk_access access, gpa_t *out, struct gwalk_fault *fault,
			  struct gmem_expect notes[GWALK_LEVELS_MAX], uint8_t *count)
{
	struct walk w;
	int err;

	w.gmem = gmem;
	w.mode = mode;
	w.linear = linear;
	w.access = access;
	err = translate(&w, out, fault);
	*count = 0;
	if (err == 0 && w.paging != NULL) {
		for (unsigned level = w.paging->levels; level >= w.leaf_level; level--) {
			notes[(*count)++] = note_of(w.paging, w.steps[level - 1]);
		}
	}
	return err;
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
