/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software engine: guest RAM that lies in DRAM as ciphertext, except for a window of few pages.
 *
 * Each page of a sealed region is absent (never touched, or all zero: it needs no memory), open (in
 * clear, in a frame of the window) or sealed (ciphertext in the store). One window serves all VMs.
 * Each VM has a floor: other VMs' faults cannot reduce its frames below that number.
 */
#ifndef UMBRA_EPT_PAGER_H
#define UMBRA_EPT_PAGER_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/*
 * The floor. One instruction can need many pages at once: code, operands, descriptor tables and
 * stack, and all levels of page tables for each. One more frame is for the door to guest memory,
 * which pins a page for a moment.
 */
#define PAGER_VCPU_FRAMES 64u
#define PAGER_PIN_FRAMES  1u

/*
 * At most so many bytes of the host pool are used for each page of sealed RAM, beside its EPT
 * tables.
 */
#define PAGER_PAGE_BYTES 40u

/* The maximum number of members of a share. */
#define PAGER_MAPPINGS_MAX 16u

/* What happened in a VM since it was created, for users and tests. */
struct pager_counters {
	/* Faults, by their cost: did a page have to be sealed to make room? */
	uint64_t first_touches; /* an absent page was opened without sealing another one */
	uint64_t clean_faults;	/* a sealed page was opened without sealing another one */
	uint64_t dirty_faults;	/* a page had to be sealed first, maybe another VM's */
	/* The page was open, but not mapped or without the right to write. */
	uint64_t mapped_faults;
	/* As all of these, for accesses by the hypervisor and its devices. */
	uint64_t door_opens;

	uint64_t opens;	       /* pages decrypted */
	uint64_t opened_ahead; /* of these, ahead of a sequential read */
	uint64_t sealings;     /* pages encrypted */
	/* Clean pages evicted without encryption: the old ciphertext was still right. */
	uint64_t drops;
	uint64_t zero_drops; /* evicted pages that were all zero and so became or stayed absent */
	uint64_t drained;    /* pages evicted because they were not used for long */
	uint64_t shoot_downs;
	uint64_t clear_pages; /* pages in clear now */
	uint64_t clear_peak;
	uint64_t clear_mean; /* over the time since the VM was created, rounded down */
};

struct pager_vm;

/*
 * Allocates frame_count frames for the window and logs where they are. Returns ERR_RANGE (0, or
 * 2^32 and more), ERR_NOMEM. BSP, once.
 */
int pager_init(uint64_t frame_count);
/* Frees the frames. No VM may exist any more. */
void pager_exit(void);

/*
 * For the end of the machine (ending_set_wipe). Stops the other CPUs, calls wipe_all, zeroes
 * everything that the window holds in clear, and writes the caches back. Takes no lock and may
 * interrupt any code; a CPU that is about to encrypt stops, because its key will be zero. Before
 * pager_init it does those steps that are possible. If an exception interrupts it, the next call
 * continues behind the step that failed. Takes a few milliseconds for a window of 16 MiB, and up to
 * a second more if a CPU does not stop.
 */
void pager_wipe(void);

/*
 * A VM's account: its floor and its key. The key is derived from secret[KDF_SECRET_BYTES] (NULL: a
 * random secret) and fresh random bytes, so no two accounts ever have the same key. has_tags: each
 * page gets a tag when it is sealed, and is opened only if it has that tag. Returns
 * ERR_RANGE and logs why when the other VMs' floors leave less of the window than this floor;
 * ERR_NOMEM; errors of rng_bytes. name must stay valid until pager_vm_destroy.
 */
int pager_vm_create(const char *name, uint32_t vcpu_count, const uint8_t *secret, bool has_tags,
		    struct pager_vm **out);
/*
 * Call this after gmem_destroy of every gmem that uses the account. Wipes the key, in DRAM too, and
 * gives the floor back. The structure is freed when its regions are buried (ept/retire.h). Ignores
 * NULL.
 */
void pager_vm_destroy(struct pager_vm *vm);

/*
 * Evicts all pages of the VM, so that none is in clear until it is touched again: for a VM that is
 * paused or has ended. Takes a while; other VMs' faults are handled meanwhile.
 */
void pager_vm_seal(struct pager_vm *vm);

/*
 * Sets after how many seconds without use a page of the VM is sealed; 0: never, as at first. Boot
 * processor, before the VM starts.
 */
void pager_set_drain(struct pager_vm *vm, uint32_t seconds);
/*
 * A turn of sealing what is not used, at most about 60 us long. Takes window_lock for few frames at
 * a time. Boot processor, between time slices, as often as it can.
 */
void pager_drain(void);

/*
 * Adds sealed RAM. Reserves the store now, so that a running VM never runs out. Returns ERR_NOMEM,
 * ERR_EXISTS (overlap), ERR_INVAL (alignment). All sealed regions of a pager_vm are in one gmem.
 */
int gmem_add_ram_sealed(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes);

struct sealed_region;

/*
 * Makes sealed memory for a group. vm is an account for this group only, created for the vCPUs of
 * all members and one more. No EPT maps the memory yet. Reserves the store. Returns ERR_NOMEM.
 */
int pager_share_create(struct pager_vm *vm, uint64_t bytes, struct sealed_region **out);
/*
 * Makes the share appear in a gmem from base on, in a region that the caller adds: pages are mapped
 * on first touch. first_hold: how many vCPUs the earlier members have. Returns ERR_NOMEM when there
 * are too many members.
 */
int pager_share_join(struct sealed_region *share, struct gmem *gmem, gpa_t base, bool read_only,
		     uint32_t first_hold);
/*
 * Removes the share from a gmem: on return no EPT entry is left, and no CPU uses one. live: the
 * gmem's EPT is in use, so the function does a shoot-down; else the caller has done one.
 * Also for a VM's own sealed RAM.
 */
void pager_share_leave(struct sealed_region *share, struct gmem *gmem, bool live);
/* Makes the share appear at another address of the same gmem. Shoots down. Under gmem.lock. */
void pager_share_move(struct sealed_region *share, struct gmem *gmem, gpa_t to);
uint32_t pager_share_members(const struct sealed_region *share);
/* The operations of sealed RAM, and of a sealed share. For share.c. */
extern const struct region_ops pager_sealed_ops, pager_share_ops;

/*
 * Makes sealed RAM as gmem_add_ram_sealed does, but as a region that is not in the gmem's list yet.
 * Its pages hold `fill` in each byte until they are written. For share.c, which puts it in another
 * region's place.
 */
int pager_ram_create(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes,
		     uint8_t fill, struct gmem_region *out);

/*
 * The number of frames of the window, and how many of them belong to no VM's floor. 0 before
 * pager_init.
 */
void pager_window(uint64_t *frames, uint64_t *unclaimed);

/* Copies the counters, all from the same moment. */
void pager_count(struct pager_vm *vm, struct pager_counters *out);
/* Logs the counters in two lines. */
void pager_log(struct pager_vm *vm);

#endif
