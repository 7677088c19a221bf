/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's guest-physical memory: its regions, its EPT, and the one door to its bytes.
 *
 * Loader, devices and the hypervisor itself reach guest memory through gmem_read, gmem_write and
 * gmem_fill alone: bounded, one page at a time, mapped only for that time. No pointer into guest
 * memory ever leaves ept/. A page may be absent, or (software engine) sealed: the kind of the
 * region decides how a page becomes usable, through its struct region_ops.
 */
#ifndef UMBRA_EPT_GMEM_H
#define UMBRA_EPT_GMEM_H

#include "ept/ept.h"
#include "vmm/base/lock.h"
#include "vmm/base/types.h"

#define GMEM_REGION_MAX 16

struct gmem;
struct gmem_region;
struct grave;
struct move;

enum gmem_access {
	GMEM_ACCESS_READ = EPT_READ,
	GMEM_ACCESS_WRITE = EPT_WRITE,
	GMEM_ACCESS_EXEC = EPT_EXEC,
};

/*
 * Whose instruction faulted. An instruction that needs several pages faults on them one after the
 * other at one and the same place; a fault at another place says that the vCPU has got on.
 */
struct gmem_faulter {
	uint32_t vcpu;	/* index within the VM */
	uint64_t place; /* RIP and what a string instruction counts in, as one number */
};

/* What of a region's memory has to be zeroed before its frames go back. */
enum gmem_bury {
	GMEM_BURY_CLEAR,   /* what lies in clear under KeyID 0: the key of the rest is dead */
	GMEM_BURY_TOUCHED, /* what was touched, under KeyID 0: no key protected it */
	GMEM_BURY_ALL,	   /* everything, under KeyID 0: its own key lives on */
};

/* One step of burying zeroes at most so many bytes: other VMs wait for this CPU meanwhile. */
#define GMEM_STEP_BYTES SIZE_2M

/* What a kind of memory knows to do. gpa lies in the region; under the gmem lock up to leave. */
struct region_ops {
	const char *name;
	/*
	 * Makes the page at gpa accessible to the guest (allocate, zero, open, map). by: NULL when
	 * it is on no vCPU's behalf. ERR_NOMEM; ERR_RIGHTS: a write where only reads are allowed.
	 */
	int (*fault)(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
		     const struct gmem_faulter *by);
	/* Makes the page's plaintext available to the host and keeps it so until unpin. */
	int (*pin)(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
		   struct keyed_frame *out);
	/* NULL: there is nothing to undo. */
	void (*unpin)(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool written);
	/*
	 * Instead of close and bury, for what belongs to others as well: this gmem has it no more.
	 * The EPT root is gone or shot down already.
	 */
	void (*leave)(struct gmem *gmem, struct gmem_region *region);
	/*
	 * The region is about to be buried, and its gmem goes: nobody may look for the gmem from
	 * here on. The EPT root is gone or shot down already. NULL: there is nothing to do.
	 */
	void (*close)(struct gmem_region *region);
	/*
	 * Before bury, where the caches are not flushed as a whole: takes the lines of what was
	 * touched under the KeyID out of them. Which root, which no CPU uses any more, says.
	 */
	void (*flush)(const struct ept_root *root, struct gmem_region *region);
	/*
	 * A step of zeroing what has to be and of giving back all that the region owns; root, which
	 * no CPU uses any more, says what was touched. region->base and bytes say what is left.
	 * Under a KeyID the key is dead (but for GMEM_BURY_ALL), and all lines are gone from the
	 * caches. True: it was the last step, and the state is gone. Any CPU, no lock held.
	 */
	bool (*bury)(const struct ept_root *root, struct gmem_region *region, enum gmem_bury how);
	/*
	 * Whether the region goes with its gmem's KeyID; if so, what it maps from now on lies
	 * under this one, and it has forgotten where pages lay. NULL: it does not.
	 */
	bool (*set_keyid)(struct gmem_region *region, keyid_t keyid);
	/* A page that was pinned once stays in its frame until the region is buried. */
	bool stays;
};

struct gmem_region {
	gpa_t base;
	uint64_t bytes;
	const struct region_ops *ops;
	void *state; /* the kind's own */
};

struct gmem {
	struct lock lock;
	struct ept_root root;
	struct gmem_region regions[GMEM_REGION_MAX]; /* sorted by base, disjoint */
	uint32_t region_count;
	keyid_t keyid;	     /* of its RAM */
	bool keyed;	     /* by gmem_use_keyid; while it is parked as well */
	struct grave *grave; /* where its end is kept track of */
	struct move *move;   /* while its memory moves to another KeyID, or is parked (move.h) */
	uint64_t moved_pages;
	/* Counters, for people and tests. */
	uint64_t fault_count;
	uint64_t resident_bytes;
};

/* Zeroes frames of the machine that belong to nobody yet. bytes is a multiple of 4 KiB. */
void gmem_scrub(hpa_t first, uint64_t bytes);

/* An empty address space. ERR_NOMEM. */
int gmem_init(struct gmem *gmem);

/*
 * Stop the vCPUs first. Takes the root away from every CPU, and gives the memory to ept/retire.h,
 * which wipes and frees it step by step. The gmem itself is not needed any more.
 */
void gmem_destroy(struct gmem *gmem);

/*
 * This gmem's RAM lies under the KeyID, which keyslot_take has handed out. From here on
 * gmem_destroy gives the key up instead of having the memory zeroed. Before the first region.
 */
void gmem_use_keyid(struct gmem *gmem, keyid_t keyid);

/*
 * RAM that stays in its frames, under the KeyID of gmem_use_keyid, else under KeyID 0: frames are
 * taken, zeroed and mapped write-back on first touch, in leaves of at most max_leaf bytes
 * (PAGE_SIZE, SIZE_2M, SIZE_1G). Reserves the frames now, so that a VM that started never runs
 * out: ERR_NOMEM, ERR_EXISTS (overlap), ERR_INVAL (alignment). Flushes the caches where they may
 * hold lines of the frames under another KeyID; ERR_AGAIN when the last flush was too short a time
 * ago. With a KeyID: BSP, no lock held.
 */
int gmem_add_ram_plain(struct gmem *gmem, gpa_t base, uint64_t bytes, uint64_t max_leaf);

/*
 * The same under KeyID 0, whatever the gmem's own: pages that the VM wants to be seen. They are
 * zeroed when it ends.
 */
int gmem_add_ram_clear(struct gmem *gmem, gpa_t base, uint64_t bytes, uint64_t max_leaf);

/* The outcome of an EPT violation or misconfiguration. */
enum gmem_fault_result {
	GMEM_FAULT_FIXED,     /* run the instruction again */
	GMEM_FAULT_MMIO,      /* no memory there: a device's, or nobody's */
	GMEM_FAULT_RIGHTS,    /* a write to memory that this VM may only read */
	GMEM_FAULT_NO_MEMORY, /* the host could not provide the page: the VM has to end */
};
/* by: as in struct region_ops. */
enum gmem_fault_result gmem_fault(struct gmem *gmem, gpa_t gpa, unsigned access,
				  const struct gmem_faulter *by);

/*
 * Copies between guest memory and buf. All or nothing with respect to bounds: ERR_RANGE, and
 * nothing was copied, when any byte lies outside of RAM regions (no wrap-around). ERR_NOMEM when
 * the host could not provide a page; those before it were copied. Takes the gmem lock per page.
 * gmem_fill writes one byte value. Two bytes at an even address, from or to such a one, are one
 * access: no vCPU sees one of them new and the other old.
 */
int gmem_read(struct gmem *gmem, gpa_t gpa, void *buf, size_t bytes);
int gmem_write(struct gmem *gmem, gpa_t gpa, const void *buf, size_t bytes);
int gmem_fill(struct gmem *gmem, gpa_t gpa, int byte, size_t bytes);

/*
 * One aligned load of 4 or 8 bytes: what a walk of guest page tables is made of, at a fraction of
 * gmem_read's cost. ERR_RANGE as there, and when it is not aligned; ERR_NOMEM.
 */
int gmem_load(struct gmem *gmem, gpa_t gpa, uint64_t *value, size_t bytes);

/* Eight aligned bytes of guest memory, and what they are thought to hold in the bits of mask. */
struct gmem_expect {
	uint64_t at;
	uint64_t mask, value;
	/* 0 at first; gmem_holds keeps the word's page (keyid_pack), when that cannot change. */
	uint64_t packed;
};
/*
 * True when all of them lie in RAM and hold that. The words belong to this gmem until it is
 * destroyed. Takes the gmem lock at most once.
 */
bool gmem_holds(struct gmem *gmem, struct gmem_expect *words, size_t count);

/*
 * An aligned 4- or 8-byte compare and exchange in guest memory (ring indices, page-table A/D
 * bits). 0 when it was done; *expected is then what was there, and the exchange took place when
 * that is what the caller expected. ERR_INVAL (size, alignment), ERR_RANGE, ERR_NOMEM.
 */
int gmem_cmpxchg(struct gmem *gmem, gpa_t gpa, uint64_t *expected, uint64_t desired, size_t bytes);

/* Bytes that the EPT maps now, by the size of their leaves. */
struct gmem_leaves {
	uint64_t in_4k, in_2m, in_1g;
};
/* Walks the whole EPT under the gmem lock: for a person's question. Any CPU. */
void gmem_count_leaves(struct gmem *gmem, struct gmem_leaves *out);

/* True when all of the range is RAM. An empty range is, wherever it lies. */
bool gmem_is_ram(struct gmem *gmem, gpa_t gpa, uint64_t bytes);

/*
 * What DRAM holds in `bytes` bytes from `at` on, within one page, of a frame of the machine, as
 * KeyID 0 sees it: for people who want to see that it is ciphertext. On a machine with KeyIDs the
 * caller has flushed the caches, for the frame's own lines are another KeyID's. Leaves no line of
 * KeyID 0 behind. Own CPU, not while the door is open.
 */
void gmem_peek(hpa_t at, void *out, size_t bytes);

#endif
