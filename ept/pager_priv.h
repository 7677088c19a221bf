/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declarations that the files of the pager share: pager.c (faults and the door), pager_exchange.c
 * (a page is evicted, another one opened), pager_region.c (where regions appear), pager_end.c (how
 * they end), pager_vm.c (a VM's key and counters), window.c (frames), store.c (ciphertext).
 *
 * window_lock guards all this state, except for what belongs to the CPU that made a frame busy: the
 * frame's content, and what is stored of its old and of its new page. A CPU may take the lock while
 * it holds a gmem.lock, never the other way round: so evicting another VM's page needs window_lock
 * alone.
 */
#ifndef UMBRA_EPT_PAGER_PRIV_H
#define UMBRA_EPT_PAGER_PRIV_H

#include "crypto/page_cipher.h"
#include "ept/pager.h"
#include "vmm/base/cpu.h"
#include "vmm/base/lock.h"
#include "vmm/base/panic.h"
#include "vmm/host/page_alloc.h"

#define WINDOW_NONE  UINT32_MAX
#define WINDOW_STALE UINT32_MAX

/* Code that checks all frames releases window_lock after so many: other CPUs wait for it. */
#define WINDOW_LOOKS 64u

#define HOLD_FRAMES PAGER_VCPU_FRAMES
#define STREAMS	    4u

/*
 * A ring of the latest frames that were opened for a vCPU since it last completed an instruction,
 * and what it reads in sequence. A copy from one place to another is two streams.
 */
struct vcpu_hold {
	/*
	 * For each stream, the page behind those that were opened in a row, at which a sequential
	 * reader faults next. Only compared: its region may be gone.
	 */
	const struct stored_page *streams[STREAMS];
	uint8_t ahead[STREAMS]; /* for each, how many pages its last fault was to open ahead */
	uint32_t stream;	/* index of the oldest */
	uint64_t place;		/* of its last fault */
	uint32_t count;
	uint32_t next; /* index for the next frame */
	uint32_t frames[HOLD_FRAMES];
};

struct pager_vm {
	struct page_key key;
	struct page_mac_key mac_key; /* wiped together with key */
	bool has_tags;		     /* its pages get tags */
	const char *name;
	struct gmem *gmem;
	ATOMIC(uint64_t) version; /* the last one that was used; never again under this key */
	uint32_t region_count;	  /* regions ever made; the next one's id */
	uint32_t regions_left;	  /* regions that are not buried yet */
	bool over; /* pager_vm_destroy was called: this is freed with the last region */
	uint32_t vcpu_count;
	uint64_t floor;	 /* in frames */
	uint64_t frames; /* its frames of the window: for pages that are open or being opened */
	/*
	 * CLOCK: a ring of those frames that no vCPU holds, and the one that it looks at next
	 * (WINDOW_NONE: the ring is empty).
	 */
	uint32_t hand;
	uint32_t ring_frames;
	/*
	 * The ring of accounts that have more frames than their floor; NULL: this one is not in the
	 * ring.
	 */
	struct pager_vm *above_next, *above_prev;
	uint32_t drain_s; /* pages that were not used for so long are sealed; 0: never */
	struct pager_counters counters;
	/* For counters.clear_mean, in units of pager_clock. */
	uint64_t created;
	/*
	 * The sum of the times at which pages were closed, minus the sum of those at which pages
	 * were opened. With the present time added for each page that is in clear now, this is how
	 * long pages were in clear in all. The sum may wrap, the total does not.
	 */
	uint64_t clear_sum;
	size_t host_pages; /* size of this structure */
	struct vcpu_hold holds[];
};

/* What is stored of a page, beside its ciphertext: half a cache line. */
struct stored_page {
	uint64_t version; /* of what was stored last; 0: nothing was */
	uint8_t tag[PAGE_TAG_BYTES];
	uint32_t opened; /* index of the window's frame + 1; 0: not open */
	uint8_t kind;	 /* enum store_kind */
} __attribute__((aligned(32)));

/* What is stored of a page. In a tag's name the kind is never 0, so its first block counts. */
enum store_kind {
	STORE_ABSENT, /* nothing */
	STORE_SEALED, /* ciphertext */
	STORE_FILLED, /* nothing: it holds its region's pattern again; it has a version and a tag */
};

/* Free memory may be fragmented, so the ciphertext is in pieces of so many consecutive frames. */
#define CHUNK_PAGES 16

_Static_assert(sizeof(struct stored_page) + sizeof(hpa_t) / CHUNK_PAGES < PAGER_PAGE_BYTES,
	       "what was planned");

/*
 * A place where a region appears. A VM's own RAM has one mapping, a share has one for each member.
 */
struct sealed_mapping {
	struct gmem *gmem; /* NULL: unused */
	gpa_t base;
	bool read_only;
	uint32_t first_hold;  /* index in vm->holds of the gmem's first vCPU */
	uint32_t shoot_downs; /* how many exchanges are about to shoot the gmem's EPT down */
	uint32_t changes;     /* how often the memory began to leave the gmem or to move in it */
};

/*
 * A page that is not open and has no ciphertext holds the pattern `fill`. vm is the
 * account for frames, counters and the key; like the region it may belong to a group.
 */
struct sealed_region {
	struct pager_vm *vm;
	uint64_t page_count;
	uint64_t fill; /* eight bytes, repeated */
	uint32_t id;   /* unique within vm */
	uint32_t mapping_count;
	struct sealed_mapping mappings[PAGER_MAPPINGS_MAX];
	size_t host_pages;
	uint32_t open_pages; /* frames of the window that are this region's */
	uint32_t exchanges;  /* how many CPUs open a page of it, or evict one of it */
	/* Will be buried: its content is not kept, and it has no gmem any more. */
	bool dead;
	/* While it is buried: how many of the window's frames were checked, and written back. */
	uint32_t swept, copied_back;
	/* While it is buried: only the first so many chunks still have frames. */
	uint64_t chunks_left;
	hpa_t *chunks; /* the first frame of each; behind `pages`. 0: it has none */
	struct stored_page pages[];
};

struct window_frame {
	hpa_t frame;
	struct sealed_region *region; /* NULL: free */
	uint64_t page;
	uint64_t *entry; /* the entry of mappings[0] while it is mapped there */
	/* How many vCPUs have it in their struct vcpu_hold; 1 more while its page is opened. */
	uint32_t holds;
	uint32_t mapped;   /* bit m: mapped in the EPT of the region's mappings[m] */
	uint32_t writable; /* bit m: also writable there */
	/* Next and previous in its account's ring; or next on the free list. WINDOW_NONE: none. */
	uint32_t next, prev;
	/* For so many seconds pager_drain saw no use. WINDOW_STALE: see pager_copy_back. */
	uint32_t idle_s;
	uint16_t pins;	 /* by the door: at most one for each CPU */
	bool dirty;	 /* written through the door, or by a guest whose entry was removed */
	bool referenced; /* used since the CLOCK hand passed, as far as software knows */
	bool seen;	 /* ... and window_seen has reported that use */
	bool zero;	 /* free, and all of it is zero: a page of zeros needs no work */
	/*
	 * A CPU exchanges its page, or shoots it down with another one (pager_exchange.c) or with
	 * its mapping (pager_region.c).
	 */
	ATOMIC(bool) busy;
};
_Static_assert(sizeof(struct window_frame) == 64, "a look at one reads one line");

extern struct lock window_lock;

/* The EPT entry for the frame's page in a mapping. For shares it is looked up each time. */
static inline uint64_t *window_entry(const struct window_frame *frame, uint32_t m)
{
	const struct sealed_mapping *mapping = &frame->region->mappings[m];

	return m == 0 ? frame->entry
		      : ept_page_entry(&mapping->gmem->root,
				       gpa(mapping->base.v + frame->page * PAGE_SIZE));
}

/* --- pager.c: operations of a region; each begins under gmem.lock --- */

int pager_fault(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
		const struct gmem_faulter *by);
int pager_pin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
	      struct keyed_frame *out);
void pager_unpin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool written);
/*
 * The index of a gmem's mapping, which must exist. Under window_lock: other members may come and
 * go. The mapping stays where it is while gmem.lock is held. Under window_lock alone it does, too,
 * as long as its `changes` are the same.
 */
uint32_t pager_mapping_of(const struct sealed_region *region, const struct gmem *gmem);

/* --- pager_exchange.c: all under window_lock, which they release and take again --- */

/* What opening a page has cost. */
enum pager_cost {
	COST_NONE, /* it was open */
	COST_FIRST_TOUCH,
	COST_CLEAN,
	COST_DIRTY,
	COST_TAMPERED, /* it cannot be opened: an attacker has changed what was stored */
};

/*
 * Evicts the page in a frame, if there is one: seals it, if it was written. Then puts another page,
 * which is not open, in its place, with its content in clear. After this the caller holds the
 * frame: it calls window_keep for a vCPU, or window_release. With COST_TAMPERED the frame is free
 * instead. The caller is counted in the region's `exchanges`. The frame is neither pinned, held nor
 * busy. If the old page's region is dead, it may be freed meanwhile.
 */
enum pager_cost pager_exchange(uint32_t index, struct sealed_region *region, uint64_t page);
/* The same, but the frame becomes free. */
static inline void pager_evict(uint32_t index)
{
	(void)pager_exchange(index, NULL, 0);
}
/* As many pages share a shoot-down with one that is evicted. */
#define PAGER_UNMAP_MAX 15u
/*
 * Removes the pages of 1 to PAGER_UNMAP_MAX frames from all EPTs, in one shoot-down. They are of
 * one region that is not dead, and neither pinned nor busy. They stay open: if a guest uses one, it
 * is mapped again.
 */
void pager_unmap(struct window_frame *const *frames, uint32_t count);
/* Waits until the frame is not busy. */
void pager_wait(const struct window_frame *frame);
/*
 * For a loop that waits for other CPUs: for a frame that is neither busy nor pinned, or until no
 * CPU uses a region or a mapping. Returns when one of them has ended something (window_note_end)
 * since the caller took window_lock. So a CPU that waits does not take the lock again and again.
 */
void pager_let_others_end(void);

/* --- pager_drain.c --- */

/*
 * Looks at up to WINDOW_LOOKS frames of the window from *next on, and advances it. Writes each one
 * back that has got another page since this was last done. Until then a page that is sealed may
 * still be in DRAM in clear, if it was in the frame before and the new page is only in a cache: all
 * of the window may fit into the caches. Returns how many were written back. No lock held.
 */
uint32_t pager_copy_back(uint32_t *next);

/* --- pager_end.c: operations of a region that ends (struct region_ops) --- */

void pager_region_close(struct gmem_region *region);
bool pager_region_bury(const struct ept_root *root, struct gmem_region *region, enum gmem_bury how);

/* --- pager_vm.c --- */

/*
 * The clock of counters.clear_mean. 2^20 ticks are about 350 microseconds at 3 GHz, so that the sum
 * of 2^24 pages (64 GiB in clear) fits into 63 bits for 6 years.
 */
static inline uint64_t pager_clock(void)
{
	return cpu_rdtsc() >> 20;
}

/* Counts a page that is in clear from now on, or no more. Under window_lock. */
static inline void pager_vm_count_open(struct pager_vm *vm, uint64_t now)
{
	struct pager_counters *counters = &vm->counters;

	vm->clear_sum -= now;
	if (++counters->clear_pages > counters->clear_peak) {
		counters->clear_peak = counters->clear_pages;
	}
}

static inline void pager_vm_count_closed(struct pager_vm *vm, uint64_t now)
{
	vm->clear_sum += now;
	vm->counters.clear_pages--;
}

/*
 * Called when a region is buried. After the last region of a destroyed VM, frees the VM. No lock
 * held.
 */
void pager_vm_drop_region(struct pager_vm *vm);

/* --- window.c: all under window_lock, but for the first two --- */

int window_init(uint64_t frame_count);
void window_exit(void);
/*
 * For the inline functions below: the frames; how many frames are busy, but for those that share
 * an exchange's shoot-down (if it is 0, no frame is busy); how many accesses through the door have
 * a frame pinned.
 */
extern struct window_frame *window_frames;
extern uint32_t window_busy;
extern uint32_t window_pins;
static inline struct window_frame *window_frame(uint32_t index)
{
	return &window_frames[index];
}
static inline uint32_t window_index(const struct window_frame *frame)
{
	return (uint32_t)(frame - window_frames);
}
uint64_t window_frame_count(void);
/*
 * Promises frames to a VM; window_unclaim ends the promise. Returns false when too few frames are
 * left.
 */
bool window_claim(uint64_t frames);
void window_unclaim(uint64_t frames);
uint64_t window_unclaimed(void);
/* Ends the promise to an account that ends: from now on others may take all its frames. */
void window_drop_floor(struct pager_vm *vm);
/*
 * Puts a page into a frame, in place of the one that is in it, or none (region NULL). A caller that
 * passes a region then holds the frame.
 */
void window_change(struct window_frame *frame, struct sealed_region *region, uint64_t page);
/* The window's frames are used under the KeyID of host pages, by the hypervisor and by guests. */
static inline struct keyed_frame window_page(const struct window_frame *frame)
{
	return keyed(frame->frame, page_keyid());
}
/* Puts a frame that was zeroed on the free list. Notes that it has no page. */
void window_put_free(uint32_t index);
/* Is the frame's page being exchanged, or shot down? Needs no lock. */
static inline bool window_is_busy(const struct window_frame *frame)
{
	return atomic_load_acquire(&frame->busy);
}
/*
 * As window_set_busy, for a frame whose page stays in it but shares the shoot-down. Needs no lock
 * at the end, because nothing else of the frame changes then.
 */
static inline void window_mark_busy(struct window_frame *frame, bool busy)
{
	atomic_store_release(&frame->busy, busy);
}
/*
 * How often something has ended that a CPU may wait for: an exchange, a fault that has opened a
 * page, an access through the door. Changes under window_lock.
 */
extern struct window_endings {
	ATOMIC(uint32_t) count;
} window_endings;
static inline void window_note_end(void)
{
	atomic_add_own(&window_endings.count, 1);
}
/* An access through the door begins and ends. Meanwhile the frame keeps its page. */
static inline void window_pin(struct window_frame *frame)
{
	frame->pins++;
	window_pins++;
}
static inline void window_unpin(struct window_frame *frame)
{
	frame->pins--;
	window_pins--;
	window_note_end();
}
/*
 * Called when an exchange of the frame's page begins and ends, or a shoot-down after which it stays
 * in its frame.
 */
static inline void window_set_busy(struct window_frame *frame, bool busy)
{
	window_busy += busy ? 1 : UINT32_MAX;
	atomic_store_release(&frame->busy, busy);
	if (!busy) {
		window_note_end();
	}
}
/* Zeroes all frames. For the end of the machine; takes no locks. */
void window_wipe(void);
/*
 * A free frame, or one to evict for vm. Finds one, because floors are kept, unless a frame is busy
 * or pinned: then it may return WINDOW_NONE, and the caller tries again. What it takes depends
 * neither on the size of the window nor on how many frames VMs hold.
 */
uint32_t window_find(struct pager_vm *vm);
/*
 * As window_find, but gives a frame only if it is easily spared: it was not used since the hand
 * last passed, and a short search finds it. Else WINDOW_NONE.
 */
uint32_t window_spare(struct pager_vm *vm);
/*
 * Finds up to max frames of the victim's region that will be the next victims unless they are used:
 * mapped, behind the victim in the VM's ring, not touched since the hand passed, neither held,
 * pinned nor busy. The victim is in the ring.
 */
uint32_t window_next_idle(const struct window_frame *victim, struct window_frame **idle,
			  uint32_t max);
/* Was the frame used since the last call, as far as is known? CLOCK still learns of the use. */
bool window_seen(struct window_frame *frame);
/*
 * Called when a vCPU faults. If it has completed an instruction since its last fault, its frames
 * are no longer held. opens: a frame must be found for it, so it may hold one frame less than its
 * floor allows. vcpu counts within vm; place is where it faults. Returns what it holds.
 */
struct vcpu_hold *window_let_go(struct pager_vm *vm, uint32_t vcpu, uint64_t place, bool opens);
/* Ends all holds of a VM that ends. */
void window_let_vm_go(struct pager_vm *vm);
/* Holds a frame whose page was open for the vCPU's current instruction. After window_let_go. */
void window_hold(struct pager_vm *vm, struct vcpu_hold *hold, uint32_t index);
/* From now on the vCPU holds the frame that pager_exchange filled, in its caller's place. */
static inline void window_keep(struct vcpu_hold *hold, uint32_t index)
{
	hold->frames[hold->next] = index;
	hold->next = (hold->next + 1) % HOLD_FRAMES;
	hold->count++;
}
/* The frame has one holder less. */
void window_release(struct pager_vm *vm, struct window_frame *frame);

/* --- store.c --- */

/*
 * Makes a region with its store. Returns ERR_NOMEM. Needs no lock: no other code knows the region
 * yet.
 */
int store_create(uint64_t page_count, struct sealed_region **out);
/* Frees a part of the store. Returns true after the last part, when the region is freed too. */
bool store_free_some(struct sealed_region *region);

static inline struct stored_page *store_page(struct sealed_region *region, uint64_t page)
{
	return &region->pages[page];
}

static inline uint64_t *store_version(struct sealed_region *region, uint64_t page)
{
	return &store_page(region, page)->version;
}

static inline uint32_t *store_opened(struct sealed_region *region, uint64_t page)
{
	return &store_page(region, page)->opened;
}

static inline uint8_t *store_tag(struct sealed_region *region, uint64_t page)
{
	return store_page(region, page)->tag;
}

static inline uint8_t *store_kind(struct sealed_region *region, uint64_t page)
{
	return &store_page(region, page)->kind;
}

/* A page of a sealed region. */
struct sealed_page {
	struct sealed_region *region;
	uint64_t page;
};

/*
 * Replaces the content of a frame. First encrypts out, the page in the frame, into its store under
 * a new version; if it holds only its region's pattern `fill`, it gets no ciphertext. out's region
 * may be NULL: nothing to keep. Then decrypts in into the frame; without ciphertext fills the frame
 * with in's pattern, without a region with zeros. zeroed: the frame is free, and zero already.
 * *sealed says whether out was encrypted. Returns
 * ERR_TAMPERED, with zeros in the frame, if in's tag is not that of what is stored. The frame is
 * busy. window_lock is not held.
 */
int store_exchange(struct sealed_page out, struct sealed_page in, struct keyed_frame frame,
		   bool zeroed, bool *sealed);

/*
 * For the end of the machine: from now on a CPU that wants to encrypt stops, because keys will be
 * zeroed. Takes no locks.
 */
void store_close(void);
/* Zeroes the pages that stopped CPUs were encrypting. Called after all other CPUs have stopped. */
void store_wipe_unfinished(void);

#endif
