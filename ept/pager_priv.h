/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between pager.c (what happens to a page), pager_region.c (where regions appear), pager_end.c (how
 * they end), pager_vm.c (a VM's key and counters), window.c (which frame) and store.c (the
 * ciphertext).
 *
 * All state is guarded by window_lock, which is taken inside a gmem.lock and never the other way
 * round: evicting another VM's page takes that lock alone.
 */
#ifndef UMBRA_EPT_PAGER_PRIV_H
#define UMBRA_EPT_PAGER_PRIV_H

#include "crypto/page_cipher.h"
#include "ept/pager.h"
#include "vmm/base/lock.h"
#include "vmm/base/page_alloc.h"

#define WINDOW_NONE UINT32_MAX

#define HOLD_FRAMES PAGER_VCPU_FRAMES

/* The frames that a vCPU was given since it retired an instruction, the latest ones: a ring. */
struct vcpu_hold {
	uint64_t place; /* where it faulted last */
	uint32_t count;
	uint32_t next; /* where the next one goes */
	uint32_t frames[HOLD_FRAMES];
};

struct pager_vm {
	struct page_key key;
	const char *name;
	struct gmem *gmem;
	uint64_t version;      /* the last one given out: never reused under this key */
	uint32_t region_count; /* ever: the next one's id */
	uint32_t regions_left; /* that are not buried yet */
	bool over;	       /* pager_vm_destroy came: it goes with the last region */
	uint32_t vcpu_count;
	uint64_t floor; /* frames */
	struct pager_counters counters;
	size_t host_pages; /* of this structure */
	struct vcpu_hold holds[];
};

/* The store is cut in chunks of consecutive frames: the machine's memory may be in pieces. */
#define CHUNK_PAGES 16

struct store_chunk {
	hpa_t frames;
	uint64_t versions[CHUNK_PAGES]; /* of the ciphertext; 0: there is none */
	uint32_t opened[CHUNK_PAGES];	/* index of the window's frame + 1; 0: not open */
};

_Static_assert(sizeof(struct store_chunk) <= CHUNK_PAGES * PAGER_PAGE_BYTES, "what was planned");

/* Where a region appears. A VM's own RAM has one mapping, a share one for each member. */
struct sealed_mapping {
	struct gmem *gmem; /* NULL: nobody's */
	gpa_t base;
	bool read_only;
	uint32_t first_hold; /* of its vCPUs in vm->holds */
};

/*
 * A page is absent when it is not open and has no version; it holds the pattern `fill` then. vm is
 * who pays for frames and counters, and whose key seals; both may be a group's.
 */
struct sealed_region {
	struct pager_vm *vm;
	uint64_t page_count;
	uint64_t fill; /* eight bytes, repeated */
	uint32_t id;   /* within the VM */
	uint32_t mapping_count;
	struct sealed_mapping mappings[PAGER_MAPPINGS_MAX];
	size_t host_pages;
	uint32_t open_pages;  /* frames of the window that hold one of its pages */
	bool dead;	      /* to be buried: nothing of it is kept, and no gmem is there */
	uint32_t swept;	      /* then: so many of the window's frames have been looked at */
	uint64_t chunks_left; /* then: the first ones, which still have their frames */
	struct store_chunk chunks[];
};

struct window_frame {
	hpa_t frame;
	struct sealed_region *region; /* NULL: free */
	uint64_t page;
	uint32_t pins;
	uint32_t holds;	   /* vCPUs that have it in their struct vcpu_hold */
	uint32_t mapped;   /* bit m: the region's mappings[m] has it in its EPT */
	uint32_t writable; /* the same, for writing */
	uint64_t *entry;   /* of mappings[0], while it is mapped there */
	bool dirty;	   /* software's dirty bit: the door wrote, or what was in an entry */
	bool referenced;   /* software's accessed bit */
	uint32_t next_free;
};

extern struct lock window_lock;

/*
 * The EPT entry of a mapping that has the frame's page. Those of shares are looked up each time.
 */
static inline uint64_t *window_entry(const struct window_frame *frame, uint32_t m)
{
	const struct sealed_mapping *mapping = &frame->region->mappings[m];

	return m == 0 ? frame->entry
		      : ept_page_entry(&mapping->gmem->root,
				       gpa(mapping->base.v + frame->page * PAGE_SIZE));
}

/* --- pager.c: operations of a region, under gmem.lock --- */

int pager_fault(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
		const struct gmem_faulter *by);
int pager_pin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
	      struct keyed_frame *out);
void pager_unpin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool written);
/* The mapping of a gmem; it has one. */
uint32_t pager_mapping_of(const struct sealed_region *region, const struct gmem *gmem);

/* --- pager_end.c: operations of a region that ends (struct region_ops) --- */

void pager_region_close(struct gmem_region *region);
bool pager_region_bury(const struct ept_root *root, struct gmem_region *region, enum gmem_bury how);

/* --- pager_vm.c --- */

/* A region is buried. The last one of its VM frees what stayed of that. No lock held. */
void pager_vm_drop_region(struct pager_vm *vm);

/* --- window.c: all under window_lock, but for the first two --- */

int window_init(uint64_t frame_count);
void window_exit(void);
struct window_frame *window_frame(uint32_t index);
uint64_t window_frame_count(void);
/* Promises frames to a VM, or gives the promise back. False when so many are not left. */
bool window_claim(uint64_t frames);
void window_unclaim(uint64_t frames);
uint64_t window_unclaimed(void);
/* As the hypervisor and the guests use it: the window lies under the KeyID of host pages. */
static inline struct keyed_frame window_page(const struct window_frame *frame)
{
	return keyed(frame->frame, page_keyid());
}
/* A free frame, or WINDOW_NONE. */
uint32_t window_take_free(void);
/* The frame holds nothing in clear any more. */
void window_put_free(uint32_t index);
/* Zeroes all frames. For the end of the machine: no locks. */
void window_wipe(void);
/* A frame to be evicted so that vm gets it. There is one, because floors are kept. */
uint32_t window_victim(const struct pager_vm *vm);
/*
 * Up to max frames of the victim's VM that are mapped and, unless somebody touches them, will be
 * victims soon: behind it, not touched since the hand passed, neither held nor pinned.
 */
uint32_t window_next_idle(const struct window_frame *victim, struct window_frame **idle,
			  uint32_t max);
/*
 * The vCPU faults: what it held is let go, if it has retired an instruction since. opens: a frame
 * is to be found for it, so it must not hold all that its floor grants.
 */
void window_let_go(struct pager_vm *vm, const struct gmem_faulter *by, bool opens);
/* The VM ends. */
void window_let_vm_go(struct pager_vm *vm);
/* The frame was opened for, or is wanted by, the vCPU's instruction. After window_let_go. */
void window_hold(struct pager_vm *vm, const struct gmem_faulter *by, uint32_t index);

/* --- store.c --- */

/* ERR_NOMEM. Under no lock; nobody else knows the region yet. */
int store_create(uint64_t page_count, struct sealed_region **out);
/* A step of giving it all back. True: it was the last, and the region is gone. */
bool store_free_some(struct sealed_region *region);

static inline uint64_t *store_version(struct sealed_region *region, uint64_t page)
{
	return &region->chunks[page / CHUNK_PAGES].versions[page % CHUNK_PAGES];
}

static inline uint32_t *store_opened(struct sealed_region *region, uint64_t page)
{
	return &region->chunks[page / CHUNK_PAGES].opened[page % CHUNK_PAGES];
}

/* A page of a sealed region. */
struct sealed_page {
	struct sealed_region *region;
	uint64_t page;
};

/*
 * Changes what a frame holds. out: the page that is in there and has to be kept, whose key then
 * encrypts it into the store under a new version; when it is all zero it has no ciphertext from
 * now on. A region of NULL: nothing to be kept. in: the page that comes in, decrypted, or zero
 * when it has no version or its region is NULL. True when out was encrypted. Nobody else uses the
 * frame meanwhile.
 */
bool store_exchange(const struct sealed_page *out, const struct sealed_page *in,
		    struct keyed_frame frame);

/*
 * The machine ends: from here on nothing is encrypted any more, for the keys are about to be zero;
 * a CPU that wants to stops. No locks.
 */
void store_close(void);
/* Zeroes the page that a CPU was encrypting when it was stopped. After all others stopped. */
void store_wipe_unfinished(void);

#endif
