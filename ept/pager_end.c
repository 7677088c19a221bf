/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How sealed memory ends: one region of it when its VM does, step by step, and all of it at once
 * when the machine does.
 */
#include "ept/pager.h"

#include "crypto/wipe.h"
#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/cpu.h"
#include "vmm/base/smp.h"

/* Burying looks at so many of the window's frames at most in one step. */
#define SWEEP_A_STEP 4096u

/*
 * No CPU translates to the region any more. Until it is buried its frames of the window are there
 * for whoever wants one.
 */
void pager_region_close(struct gmem_region *region)
{
	struct sealed_region *sealed = region->state;

	lock_take(&window_lock, LOCK_WINDOW);
	window_let_vm_go(sealed->vm);
	sealed->dead = true;
	lock_drop(&window_lock);
}

/* A page at a time, for others wait for window_lock. False: the window has none of it any more. */
static bool wipe_some(struct sealed_region *sealed)
{
	uint32_t zeroed = 0;

	for (uint32_t looks = SWEEP_A_STEP; looks != 0 && zeroed < GMEM_STEP_BYTES / PAGE_SIZE;
	     looks--) {
		const uint32_t i = sealed->swept;

		if (i == window_frame_count()) {
			return false;
		}
		sealed->swept++;
		lock_take(&window_lock, LOCK_WINDOW);
		if (window_frame(i)->region == sealed) {
			gmem_zero_frames(GMEM_SLOT_CLEAR, window_page(window_frame(i)), PAGE_SIZE);
			window_put_free(i);
			sealed->vm->counters.clear_pages--;
			zeroed++;
		}
		lock_drop(&window_lock);
	}
	return true;
}

/* What is in clear is wiped. */
bool pager_region_bury(const struct ept_root *root, struct gmem_region *region, enum gmem_bury how)
{
	struct sealed_region *sealed = region->state;
	struct pager_vm *vm = sealed->vm;

	if (wipe_some(sealed) || !store_free_some(sealed)) {
		return false;
	}
	pager_vm_drop_region(vm);
	return true;
}

static void write_back(void)
{
	cpu_wbinvd();
}

/*
 * The order carries the weight:
 *
 *  1. No CPU begins to encrypt any more, and one that does leaves a note of the page.
 *  2. The other CPUs stop. Guests that ran on would write to their pages again; and a cipher whose
 *     key schedule becomes zero under its hands reads a number of rounds that is 0, and runs off
 *     the end of the schedule.
 *  3. Keys are zeroed.
 *  4. So is the page that was half encrypted, by a CPU that did not stop in time: its rest may be
 *     under a key that everybody knows.
 *  5. And the window.
 *  6. What a reset leaves in DRAM is what was written back.
 */
void pager_wipe(void)
{
	static void (*const steps[])(void) = { store_close,	      smp_stop_others, wipe_all,
					       store_wipe_unfinished, window_wipe,     write_back };
	static size_t next;

	while (next < ARRAY_COUNT(steps)) {
		steps[next++](); /* counted before: one that fails does not come again */
	}
}
