/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software engine: guest RAM that lies in DRAM as ciphertext, but for a window of few pages.
 *
 * Each page of a sealed region is absent (never touched, or all zero: it owns nothing), open (in
 * clear, in a frame of the window) or sealed (ciphertext in the store). One window serves all VMs;
 * each has a floor, below which no other VM's faults can press it.
 */
#ifndef UMBRA_EPT_PAGER_H
#define UMBRA_EPT_PAGER_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/*
 * The floor. One instruction can need many pages at once: code, operands, descriptor tables and
 * stack, and the table levels of each. The door to guest memory pins one page of a VM at a time.
 */
#define PAGER_VCPU_FRAMES 64u
#define PAGER_PIN_FRAMES  1u

/* Most bytes that the host pool holds for each page of sealed RAM, beside its EPT tables. */
#define PAGER_PAGE_BYTES 40u

/* Most members of a share. */
#define PAGER_MAPPINGS_MAX 16u

/* What happened, for people and tests. Of one VM, since it was created. */
struct pager_counters {
	/* Faults by what they cost: a page had to be sealed first, or not. */
	uint64_t first_touches; /* of an absent page, at no other page's cost */
	uint64_t clean_faults;	/* a sealed page was opened, nothing had to be sealed */
	uint64_t dirty_faults;	/* a page, maybe another VM's, had to be sealed first */
	uint64_t mapped_faults; /* the page was open: rights or the mapping were missing */
	uint64_t door_opens;	/* the same for the hypervisor and its devices, all kinds */

	uint64_t opens;	     /* pages decrypted */
	uint64_t sealings;   /* pages encrypted */
	uint64_t drops;	     /* clean pages whose ciphertext was still good */
	uint64_t zero_drops; /* pages that became (or stayed) absent, being all zero */
	uint64_t shoot_downs;
	uint64_t clear_pages; /* in clear now */
	uint64_t clear_peak;
};

struct pager_vm;

/*
 * Takes frame_count frames of the machine for the window and logs where they lie. ERR_RANGE (none,
 * or 2^32 and more), ERR_NOMEM. BSP, once.
 */
int pager_init(uint64_t frame_count);
/* Gives them back. No VM may be left. */
void pager_exit(void);

/*
 * For the end of the machine (panic_set_wipe): stops the other CPUs, wipe_all, zeroes all that the
 * window holds in clear, and writes the caches back. Takes no lock and may interrupt anything; a
 * CPU that is about to encrypt stops instead of doing it under a key of zeros. Before pager_init
 * it does as much of this as there is. Called again, from an exception inside, it goes on behind
 * the step that failed. A few milliseconds for a window of 16 MiB, and up to a second for a CPU
 * that does not stop.
 */
void pager_wipe(void);

/*
 * A VM's share: its floor and its key, derived here from secret[KDF_SECRET_BYTES] (NULL: drawn
 * here) and fresh random bytes, so that no two shares ever have the same key. ERR_RANGE when what
 * other VMs' floors leave of the window is less than its floor, said in words; ERR_NOMEM; what
 * rng_bytes says. The name must outlive it.
 */
int pager_vm_create(const char *name, uint32_t vcpu_count, const uint8_t *secret,
		    struct pager_vm **out);
/*
 * After gmem_destroy of all it was used with. Wipes the key, in DRAM too, and gives its floor back;
 * the rest goes when its regions are buried (ept/retire.h). NULL is ignored.
 */
void pager_vm_destroy(struct pager_vm *vm);

/*
 * Evicts all its pages, so that none is in clear until one is touched again: for a VM that is
 * paused or has ended. Takes a while; other VMs' faults go on meanwhile.
 */
void pager_vm_seal(struct pager_vm *vm);

/*
 * Sealed RAM. Reserves the store now, so that a VM that started never runs out. ERR_NOMEM,
 * ERR_EXISTS (overlap), ERR_INVAL (alignment). All sealed regions of a pager_vm are in one gmem.
 */
int gmem_add_ram_sealed(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes);

struct sealed_region;

/*
 * Sealed memory of a group, under the key and in the account of vm, which the group alone has and
 * which was created for all vCPUs of the members and one more. In nobody's EPT yet. Reserves the
 * store. ERR_NOMEM.
 */
int pager_share_create(struct pager_vm *vm, uint64_t bytes, struct sealed_region **out);
/*
 * The share appears in a gmem from base on, in the region of gmem_add_share: its pages are mapped
 * on first touch. first_hold: how many vCPUs the members before it have. ERR_NOMEM: too many
 * members.
 */
int pager_share_join(struct sealed_region *share, struct gmem *gmem, gpa_t base, bool read_only,
		     uint32_t first_hold);
/*
 * It disappears from there: no entry is left, and no CPU uses one. Where the gmem's EPT is live
 * they are shot down; else the caller has dropped the root. Sealed RAM of one VM takes it as well.
 */
void pager_share_leave(struct sealed_region *share, struct gmem *gmem, bool live);
uint32_t pager_share_members(const struct sealed_region *share);
/* The operations of sealed RAM, and of a sealed share. For share.c. */
extern const struct region_ops pager_sealed_ops, pager_share_ops;

/*
 * The same as gmem_add_ram_sealed, but as a region that stands ready and is in no gmem yet; its
 * pages hold `fill` in each byte until they are written. For share.c, which puts it in another's
 * place.
 */
int pager_ram_create(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes,
		     uint8_t fill, struct gmem_region *out);

/* Frames of the window, and how many of them no VM's floor claims. 0 before pager_init. */
void pager_window(uint64_t *frames, uint64_t *unclaimed);

/* A consistent copy. */
void pager_count(const struct pager_vm *vm, struct pager_counters *out);
/* The same as two lines of the log. */
void pager_log(const struct pager_vm *vm);

#endif
