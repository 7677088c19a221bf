/* SPDX-License-Identifier: Apache-2.0 */
#include "ept/retire.h"

#include "crypto/keyslot.h"
#include "ept/move.h"
#include "vmm/base/cache.h"
#include "vmm/base/cpu.h"
#include "vmm/base/log.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/panic.h"
#include "vmm/base/tsc.h"
#include "vmm/base/work.h"

/*
 * What is left of a gmem. One host page, taken while the VM was built. While its key lives it is in
 * the list of graves, which is the boot processor's alone; then it is work, and the CPU's that does
 * a step of it.
 */
struct grave {
	struct grave *next;
	struct work work;
	keyid_t keyid; /* KEYID_PLATFORM: it has none, or was parked */
	keyid_t from;  /* in the middle of a move: the KeyID before; else KEYID_PLATFORM */
	enum gmem_bury how;
	struct ept_root root;
	struct gmem_region regions[GMEM_REGION_MAX];
	uint32_t region_count;
};
_Static_assert(sizeof(struct grave) <= PAGE_SIZE, "gmem_init takes one page");

/* A step frees so many tables at most: each has 512 entries to look at. */
#define TABLES_A_STEP 16

/* So much is flushed line by line at most, in place of all caches. */
#define LINES_MAX_BYTES (16ul << 20)

static struct grave *graves; /* their keys are there */
static uint32_t burials;     /* that are work, and are not over; atomic */
static bool unreported;	     /* a key was killed or a burial begun; retire_poll has not said all */

static void give_up(keyid_t keyid)
{
	if (keyid != KEYID_PLATFORM) {
		keyslot_unuse(keyid);
	}
}

/* Asked while the KeyID is in use: a dead one may have its next user before its memory is free. */
static bool is_in_clear(keyid_t keyid)
{
	struct keyslot_info slot;

	return keyslot_get(keyid, &slot) == 0 && slot.mode == KEYSLOT_NO_ENCRYPT;
}

/* A step of it. The tables show what was touched. */
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
	__atomic_sub_fetch(&burials, 1, __ATOMIC_RELEASE); /* all is back by now */
	return false;
}

static void bury(struct grave *grave)
{
	unreported = true;
	__atomic_add_fetch(&burials, 1, __ATOMIC_RELAXED);
	grave->work = (struct work){ .step = bury_some, .context = grave };
	work_add(&grave->work);
}

/* Another CPU may have freed the grave when this returns. */
static void add(struct grave *grave, bool keyed)
{
	for (uint32_t i = 0; i < grave->region_count; i++) {
		if (grave->regions[i].ops->close != NULL) {
			grave->regions[i].ops->close(&grave->regions[i]);
		}
	}
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
	if (keyed) {
		grave->how = GMEM_BURY_CLEAR;
	}
	give_up(keyid);
	add(grave, keyed);
}

/* A KeyID may have been given up before any memory came under it. */
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
 * Little memory: its own lines leave the caches, through the alias of its KeyID, and no other VM's
 * do. What it takes grows with the memory. False, and nothing was done, when it is not little, or
 * when more KeyIDs wait than the memory here lies under: one that memory moved away from, be the
 * move over or not, has lines whose addresses are not known any more.
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

/* Step 2 of retire_poll. False: all caches have to be flushed, and may not be just now. */
static bool flush(bool *lines)
{
	*lines = flush_lines();
	if (*lines) {
		return true;
	}
	if (!cache_may_flush()) {
		return false;
	}
	cache_flush_all();
	log_debug("caches: flushed on all CPUs in %lu us",
		  cpu_mul_div(cache_flush_ticks(), 1000000, tsc_hz()));
	return true;
}

/*
 * 336907, "TME-MK life cycle", for all that waits at once. The order carries the weight:
 *
 *  1. No vCPU runs (vm_ended), and no CPU translates through the EPT (gmem_destroy's shoot-down,
 *     and retire took the root away). The hypervisor maps no page of it outside of the door, which
 *     unmaps each before it returns. So from here on nothing brings a line under this KeyID into a
 *     cache, not even speculation.
 *  2. All caches are flushed; for little memory its own lines are. A dirty line that was left
 *     would be written back after 3 under the new key, over what the frame's next owner has written
 *     by then.
 *  3. The key is overwritten on every package. It is dead: no one can open the memory again.
 *  4. Only then the frames go back, extent by extent, for their next owner uses another key.
 *
 * Until 3 nothing depends on how much memory there is, but for lines that are flushed one by one.
 * What does, 4, is work for any CPU, and no KeyID waits for it.
 */
bool retire_poll(void)
{
	bool lines;

	if (keys_wait() && flush(&lines)) {
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
	if (!unreported || __atomic_load_n(&burials, __ATOMIC_ACQUIRE) != 0) {
		return false;
	}
	unreported = false;
	return true;
}
