/* SPDX-License-Identifier: Apache-2.0 */
#include "ept/retire.h"

#include "crypto/keyslot.h"
#include "ept/move.h"
#include "vmm/base/atomic.h"
#include "vmm/base/panic.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/work.h"

/*
 * What is left of a gmem: one host page, allocated when the VM was built. While its key is alive it
 * is in the list of graves, which only the boot processor uses. Then it is work, and belongs to the
 * CPU that does a step of it.
 */
struct grave {
	struct grave *next;
	struct work work;
	keyid_t keyid; /* KEYID_PLATFORM: no KeyID, or parked */
	keyid_t from;  /* the KeyID from which its memory was moving; else KEYID_PLATFORM */
	enum gmem_bury how;
	struct ept_root root;
	struct gmem_region regions[GMEM_REGION_MAX];
	uint32_t region_count;
};
_Static_assert(sizeof(struct grave) <= PAGE_SIZE, "gmem_init takes one page");

/* A step frees at most so many tables: each has 512 entries to check. */
#define TABLES_A_STEP 16

/* At most so many bytes are flushed line by line; for more, all caches are flushed. */
#define LINES_MAX_BYTES (16ul << 20)

static struct grave *graves;	 /* graves whose keys are alive */
static ATOMIC(uint32_t) burials; /* graves that are work now */
/* A key was killed or a burial began, and retire_poll has not returned true since. */
static bool unreported;

static void give_up(keyid_t keyid)
{
	if (keyid != KEYID_PLATFORM) {
		keyslot_unuse(keyid);
	}
}

/*
 * Call this while the KeyID is in use: a dead KeyID may have a new user before its memory is free.
 */
static bool is_in_clear(keyid_t keyid)
{
	struct keyslot_info slot;

	return keyslot_get(keyid, &slot) == 0 && slot.mode == KEYSLOT_NO_ENCRYPT;
}

/* Does one step of a burial. The grave's EPT shows what was touched. */
static bool bury_some(void *context)
{
	struct grave *grave = context;

	if (grave->region_count != 0) {
		struct gmem_region *region = &grave->regions[grave->region_count - 1];

		grave->region_count -= region->ops->bury(&grave->root, region, grave->how) ? 1 : 0;
		return true;
	}
	if (!ept_root_free_some(&grave->root, TABLES_A_STEP)) {
		return true;
	}
	page_free(grave, 1);
	(void)atomic_sub(&burials, 1); /* everything is freed by now */
	return false;
}

static void bury(struct grave *grave)
{
	unreported = true;
	(void)atomic_add(&burials, 1);
	grave->work = (struct work){ .step = bury_some, .context = grave };
	work_add(&grave->work);
}

static void close_regions(struct gmem_region *regions, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (regions[i].ops->close != NULL) {
			regions[i].ops->close(&regions[i]);
		}
	}
}

/* Another CPU may free the grave before this returns. */
static void add(struct grave *grave, bool keyed)
{
	if (!keyed) {
		bury(grave);
		return;
	}
	grave->next = graves;
	graves = grave;
}

void retire(struct gmem *gmem)
{
	struct grave *grave = gmem->grave;

	/* A CPU that evicts a page of the VM may be using the root: this waits for it. */
	close_regions(gmem->regions, gmem->region_count);
	grave->keyid = gmem->keyid;
	grave->how = gmem->keyed && !is_in_clear(gmem->keyid) ? GMEM_BURY_CLEAR : GMEM_BURY_TOUCHED;
	grave->root = gmem->root;
	grave->region_count = gmem->region_count;
	for (uint32_t i = 0; i < gmem->region_count; i++) {
		grave->regions[i] = gmem->regions[i];
	}
	grave->from = move_abandon(gmem);
	gmem->grave = NULL;
	gmem->root = (struct ept_root){ .pml4 = hpa(0) };
	gmem->region_count = 0;
	gmem->resident_bytes = 0;
	give_up(grave->keyid);
	give_up(grave->from);
	add(grave, gmem->keyed);
}

void retire_region(struct grave *grave, keyid_t keyid, const struct gmem_region *region,
		   enum gmem_bury how)
{
	const bool keyed = keyid != KEYID_PLATFORM;

	*grave = (struct grave){ .keyid = keyid, .how = how, .region_count = 1 };
	grave->regions[0] = *region;
	close_regions(grave->regions, 1);
	if (keyed) {
		grave->how = GMEM_BURY_CLEAR;
	}
	give_up(keyid);
	add(grave, keyed);
}

/* Is there a KeyID to retire? It may have been given up before any memory used it. */
static bool keys_wait(void)
{
	return graves != NULL || keyslot_count_in(KEYSLOT_RETIRING) != 0;
}

bool retire_pending(void)
{
	return keys_wait() || unreported;
}

bool retire_buries(void)
{
	return unreported;
}

static bool lives_on(keyid_t keyid)
{
	struct keyslot_info slot;

	return keyid != KEYID_PLATFORM &&
	       (keyslot_get(keyid, &slot) != 0 || slot.state == KEYSLOT_QUARANTINED);
}

/*
 * If little memory waits, flushes only its own lines, through the alias of its KeyID, so that other
 * VMs keep theirs. The time grows with the memory. Returns false and does nothing when there is too
 * much memory, or when more KeyIDs wait than this memory has: memory that moved away from a KeyID
 * left lines whose addresses are not known any more.
 */
static bool flush_lines(void)
{
	uint32_t keyids = 0;
	uint64_t bytes = 0;

	for (const struct grave *grave = graves; grave != NULL; grave = grave->next) {
		for (uint32_t i = 0; i < grave->region_count; i++) {
			bytes += grave->regions[i].bytes;
		}
		keyids += grave->keyid != KEYID_PLATFORM;
	}
	if (!cache_can_flush_lines() || bytes > LINES_MAX_BYTES ||
	    keyids != keyslot_count_in(KEYSLOT_RETIRING)) {
		return false;
	}
	for (struct grave *grave = graves; grave != NULL; grave = grave->next) {
		for (uint32_t i = 0; i < grave->region_count; i++) {
			grave->regions[i].ops->flush(&grave->root, &grave->regions[i]);
		}
	}
	return true;
}

/*
 * Step 2 of retire_poll. Returns false when all caches must be flushed, but not yet. With now they
 * may be flushed whenever that was last.
 */
static bool flush(bool now, bool *lines)
{
	*lines = flush_lines();
	if (*lines) {
		return true;
	}
	if (!now && !cache_may_flush()) {
		return false;
	}
	cache_flush_all();
	return true;
}

/* Does steps 2 and 3 of retire_poll, and begins step 4. */
static void kill_keys(bool now)
{
	bool lines;

	if (!keys_wait() || !flush(now, &lines)) {
		return;
	}
	keyslot_kill_retired(lines, NULL);
	unreported = true;
	while (graves != NULL) {
		struct grave *grave = graves;

		graves = grave->next;
		if (lives_on(grave->keyid) || lives_on(grave->from)) {
			grave->how = GMEM_BURY_ALL;
		}
		bury(grave);
	}
}

/*
 * 336907, "TME-MK life cycle", for all memory that waits. The order matters:
 *
 * 1. No vCPU runs (vm_ended), and no CPU translates through the EPT (gmem_destroy's shoot-down;
 *     retire took the root away). The hypervisor maps pages of it only in the door, which
 *     unmaps each before it returns. So from here on no line under this KeyID enters a cache,
 *     not even by speculation.
 * 2. All caches are flushed, or for little memory its own lines. A dirty line that was left would
 *     be written back after step 3 under the new key, over data of the frame's next owner.
 * 3. The key is overwritten on every package. It is dead: the memory can never be decrypted again.
 * 4. Only then the frames are freed, extent by extent, because their next owner uses another key.
 *
 * The time of steps 1 to 3 does not depend on the size of the memory, except for lines that are
 * flushed one by one. The time of step 4 does. So step 4 is work for any CPU, and no KeyID waits
 * for it.
 */
bool retire_poll(void)
{
	kill_keys(false);
	if (!unreported || atomic_load_acquire(&burials) != 0) {
		return false;
	}
	unreported = false;
	return true;
}

void retire_finish(void)
{
	kill_keys(true);
}
