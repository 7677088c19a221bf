/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's guest-physical memory: its regions, its EPT, and the "door", the only way to its bytes.
 *
 * Loader, devices and the hypervisor itself access guest memory only through gmem_read, gmem_write,
 * gmem_fill and the like, which check bounds and map one page at a time for a short time. No
 * pointer into guest memory ever leaves ept/. A page may be absent, or (software engine) sealed:
 * the struct region_ops of its region decides how the page becomes usable.
 */
#ifndef UMBRA_EPT_GMEM_H
#define UMBRA_EPT_GMEM_H

#include "ept/ept.h"
#include "vmm/base/atomic.h"
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
 * The vCPU whose instruction faulted. An instruction that needs several pages faults on each of
 * them in turn, always with the same `place`; a fault with another place shows that the vCPU has
 * made progress.
 */
struct gmem_faulter {
	uint32_t vcpu; /* index within the VM */
	/* One number made of RIP and the registers that a string instruction counts in. */
	uint64_t place;
};

/* Which memory of a region must be zeroed before its frames are freed. */
enum gmem_bury {
	GMEM_BURY_CLEAR, /* only pages in clear under KeyID 0; the key of all others is dead */
	/* Pages that were touched, under KeyID 0, because no key protected them. */
	GMEM_BURY_TOUCHED,
	GMEM_BURY_ALL, /* all pages, under KeyID 0, because their key is still in use */
};

/* One step of bury zeroes at most so many bytes, because other VMs wait for this CPU. */
#define GMEM_STEP_BYTES SIZE_2M

/* What `fault` of a kind of memory returns in place of 0 if it has released gmem.lock. */
#define REGION_UNLOCKED 1

/*
 * The operations of a kind of memory. gpa lies in the region. `fault` to `leave` run under
 * gmem->lock.
 */
struct region_ops {
	const char *name;
	/*
	 * Makes the page at gpa accessible to the guest (allocate, zero, open, map). by is NULL
	 * when no vCPU faulted. May release gmem.lock: from then on the region may move, or become
	 * another kind of memory. Returns 0, or REGION_UNLOCKED if it has released the lock; both
	 * also when the guest has to try again because the region changed. Errors, for which it has
	 * the lock: ERR_NOMEM; ERR_RIGHTS for a write to memory that may only be read;
	 * ERR_TAMPERED, with gmem->tampered set, for a page that an attacker changed.
	 */
	int (*fault)(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
		     const struct gmem_faulter *by);
	/*
	 * Makes the page's plaintext available to the host and keeps it available until unpin. May
	 * release gmem.lock, but takes it again. Errors as for fault, and
	 * ERR_NOTFOUND: the region does not show the page any more, so look the address up again.
	 */
	int (*pin)(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
		   struct keyed_frame *out);
	/* NULL: there is nothing to undo. */
	void (*unpin)(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool written);
	/*
	 * For memory that other VMs use too, in place of close and bury: removes this gmem from its
	 * users. The EPT root is destroyed or shot down already.
	 */
	void (*leave)(struct gmem *gmem, struct gmem_region *region);
	/*
	 * The region will lie at another address. Where it is mapped, it is taken out of the gmem's
	 * EPT, and on return no CPU translates to its pages. What it holds stays. NULL: this kind
	 * of memory does not move.
	 */
	void (*move)(struct gmem *gmem, struct gmem_region *region, gpa_t to, bool is_mapped);
	/*
	 * The region will be buried, and its gmem ends: after this call no code may use the
	 * region's pointer to the gmem. The EPT root is destroyed or shot down already. NULL:
	 * nothing to do.
	 */
	void (*close)(struct gmem_region *region);
	/*
	 * Called before bury if the caches are not flushed as a whole: flushes the lines, under the
	 * KeyID, of all pages that were touched. root shows which were; no CPU uses it any more.
	 */
	void (*flush)(const struct ept_root *root, struct gmem_region *region);
	/*
	 * Does one step of zeroing, as `how` says, and of freeing all that the region owns. root
	 * shows what was touched; no CPU uses it any more. region->base and bytes are what is left
	 * to do. If the memory is under a KeyID, its key is dead (except for GMEM_BURY_ALL) and no
	 * line of it is cached. Returns true after the last step, when the state is freed. Any CPU,
	 * no lock held.
	 */
	bool (*bury)(const struct ept_root *root, struct gmem_region *region, enum gmem_bury how);
	/*
	 * Does the region's memory move with its gmem's KeyID? If so, returns true, uses this KeyID
	 * for what it maps from now on, and forgets where pages lay. NULL: it does not move.
	 */
	bool (*set_keyid)(struct gmem_region *region, keyid_t keyid);
	/* The frame of a page that was pinned once does not change until the region is buried. */
	bool stays;
};

struct gmem_region {
	gpa_t base; /* atomic, as off: both change under gmem.lock, and lookups take none */
	uint64_t bytes;
	const struct region_ops *ops;
	void *state;	  /* data of this kind of memory */
	ATOMIC(bool) off; /* nothing of it can be found or mapped now */
	/* Of a share that the guest places (share_move). Under gmem.lock. */
	gpa_t first;	/* where it was added: its name */
	gpa_t wanted;	/* where the guest wants it ... */
	bool unwanted;	/* ... or that it wants it nowhere */
	bool held_back; /* it does not move now */
};

/* A sealed page whose ciphertext is not the one that was stored. */
struct gmem_tampered {
	uint32_t region; /* number of the sealed region, in the order in which they were added */
	uint64_t page;	 /* within the region */
	uint64_t version;
};

/*
 * Guest addresses without memory at which vmm/ has lent a vCPU frames (vmm/hole.h). There is room
 * for more pages than one instruction touches: a gather of 16 elements that cross pages, and its
 * code. Under gmem.lock.
 */
#define GMEM_LENT_MAX 36
struct gmem_lent {
	gpa_t pages[GMEM_LENT_MAX];
	uint32_t count;
	struct gmem_lent *next; /* another vCPU's */
};

struct gmem {
	struct lock lock;
	struct ept_root root;
	struct gmem_region regions[GMEM_REGION_MAX]; /* sorted by base, disjoint */
	uint32_t region_count;
	keyid_t keyid;	     /* of this gmem's RAM */
	bool keyed;	     /* gmem_use_keyid was called; stays true while the memory is parked */
	struct grave *grave; /* for its end (ept/retire.h) */
	/* Not NULL while its memory moves to another KeyID or is parked (move.h). */
	struct move *move;
	uint64_t moved_pages;
	struct gmem_tampered tampered; /* the latest one */
	struct gmem_lent *lent;	       /* of those vCPUs that have frames now */
	/*
	 * Called, without gmem.lock, when a page was found tampered with: the VM must end. NULL:
	 * nothing is called. Set it after gmem_init.
	 */
	void (*on_tampered)(struct gmem *gmem, const struct gmem_tampered *what);
	/* Counters, for users and tests. */
	uint64_t fault_count;
	uint64_t resident_bytes;
};

/* Zeroes frames that were just allocated. bytes is a multiple of 4 KiB. */
void gmem_scrub(hpa_t first, uint64_t bytes);

/* Makes an empty address space. Returns ERR_NOMEM. */
int gmem_init(struct gmem *gmem);

/*
 * Call this after the vCPUs have stopped. Takes the root away from every CPU, and gives the memory
 * to ept/retire.h, which wipes and frees it in steps. The gmem structure itself is free afterwards.
 */
void gmem_destroy(struct gmem *gmem);

/*
 * Sets the KeyID of this gmem's RAM, from keyslot_take. From here on gmem_destroy gives the key up
 * instead of having the memory zeroed. Call it before the first region is added.
 */
void gmem_use_keyid(struct gmem *gmem, keyid_t keyid);

/*
 * Adds RAM that stays in its frames, under the KeyID of gmem_use_keyid, else under KeyID 0. Pages
 * are zeroed and mapped write-back on first touch, in leaves of at most max_leaf bytes (PAGE_SIZE,
 * SIZE_2M, SIZE_1G). Reserves all frames now, so that a running VM never runs out. Flushes the
 * caches if they may hold lines of the frames under another KeyID. Returns ERR_NOMEM, ERR_EXISTS
 * (overlap), ERR_INVAL (alignment), ERR_AGAIN (the last flush was too recent). With a KeyID: BSP,
 * no lock held.
 */
int gmem_add_ram_plain(struct gmem *gmem, gpa_t base, uint64_t bytes, uint64_t max_leaf);

/*
 * As gmem_add_ram_plain, but under KeyID 0 whatever the gmem's KeyID: for pages that the VM shares
 * with the outside. They are zeroed when the VM ends.
 */
int gmem_add_ram_clear(struct gmem *gmem, gpa_t base, uint64_t bytes, uint64_t max_leaf);

/* The outcome of an EPT violation or misconfiguration. */
enum gmem_fault_result {
	GMEM_FAULT_FIXED,     /* execute the instruction again */
	GMEM_FAULT_MMIO,      /* no memory there: a device's address, or unused */
	GMEM_FAULT_RIGHTS,    /* a write to memory that this VM may only read */
	GMEM_FAULT_NO_MEMORY, /* the host has no page for it: the VM must end */
	GMEM_FAULT_TAMPERED,  /* on_tampered was called: the VM ends */
};
/* by: as in struct region_ops. */
enum gmem_fault_result gmem_fault(struct gmem *gmem, gpa_t gpa, unsigned access,
				  const struct gmem_faulter *by);

/*
 * Copy between guest memory and buf; gmem_fill writes one byte value. They check the whole range
 * first: ERR_RANGE when any byte lies outside of RAM (no wrap-around), and nothing was copied.
 * ERR_NOMEM when the host could not provide a page, ERR_TAMPERED when an attacker has changed one
 * (on_tampered was called); earlier pages were copied. ERR_AGAIN while the memory moves. They take
 * the gmem lock for each page. Two bytes at an even address are read or written in one access, so
 * no vCPU sees one of them new and the other old.
 */
int gmem_read(struct gmem *gmem, gpa_t gpa, void *buf, size_t bytes);
int gmem_write(struct gmem *gmem, gpa_t gpa, const void *buf, size_t bytes);
int gmem_fill(struct gmem *gmem, gpa_t gpa, int byte, size_t bytes);

/*
 * One aligned load of 4 or 8 bytes, for walks of guest page tables; much cheaper than gmem_read.
 * Errors as gmem_read, and ERR_RANGE when the address is not aligned.
 */
int gmem_load(struct gmem *gmem, gpa_t gpa, uint64_t *value, size_t bytes);

/* Eight aligned bytes of guest memory, and the value that they should have in the bits of mask. */
struct gmem_expect {
	uint64_t at;
	uint64_t mask, value;
	/*
	 * Set it to 0; gmem_holds stores the word's page here (keyid_pack) if its frame cannot
	 * change.
	 */
	uint64_t packed;
};
/*
 * True when all words lie in RAM and have these values. The words may only be used with this gmem,
 * and only until it is destroyed. Takes the gmem lock at most once, and once more for each sealed
 * page that it has to open.
 */
bool gmem_holds(struct gmem *gmem, struct gmem_expect *words, size_t count);

/*
 * An aligned 4- or 8-byte compare and exchange in guest memory (ring indices, page-table A/D bits).
 * Returns 0 and the old value in *expected; the exchange took place if that is the value that the
 * caller expected. Returns ERR_INVAL (size, alignment), ERR_RANGE, ERR_NOMEM.
 */
int gmem_cmpxchg(struct gmem *gmem, gpa_t gpa, uint64_t *expected, uint64_t desired, size_t bytes);

/* Bytes that the EPT maps now, by the size of their leaves. */
struct gmem_leaves {
	uint64_t in_4k, in_2m, in_1g;
};
/* Walks the whole EPT under the gmem lock, which takes long: for a command of a user. Any CPU. */
void gmem_count_leaves(struct gmem *gmem, struct gmem_leaves *out);

/* True when the whole range is RAM, or is empty. */
bool gmem_is_ram(struct gmem *gmem, gpa_t gpa, uint64_t bytes);

/*
 * Reads what DRAM holds in `bytes` bytes from `at` on, within one page, of a frame of the machine,
 * as seen with KeyID 0: it lets a user see ciphertext. On a machine with KeyIDs the caller has
 * flushed the caches, because they may hold the frame's lines under another KeyID. Leaves no line
 * of KeyID 0 in the caches. Uses a slot of this CPU: not during an access through the door.
 */
void gmem_peek(hpa_t at, void *out, size_t bytes);

#endif
