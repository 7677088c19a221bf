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

/*
 * Burying looks at so many of the window's frames at most in one step, and at so many while it has
 * window_lock, for which others wait.
 */
#define SWEEP_A_STEP 4096u
#define SWEEP_LOOKS  64u

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

/*
 * Looks at a few frames of the window, and zeroes one of the region's at most: others wait for
 * window_lock. How many frames it has looked at.
 */
static uint32_t wipe_few(struct sealed_region *sealed, bool *zeroed)
{
	uint32_t looks = 0;

	*zeroed = false;
	lock_take(&window_lock, LOCK_WINDOW);
	while (looks < SWEEP_LOOKS && sealed->open_pages != 0 && !*zeroed) {
		const uint32_t i = sealed->swept++;

		looks++;
		if (window_frame(i)->region == sealed) {
			gmem_zero_frames(GMEM_SLOT_CLEAR, window_page(window_frame(i)), PAGE_SIZE);
			window_put_free(i);
			sealed->open_pages--;
			sealed->vm->counters.clear_pages--;
			*zeroed = true;
		}
	}
	lock_drop(&window_lock);
	return looks;
}

/*
 * False: the window has none of it any more. Until then frames of it are ahead, for none comes to a
 * region that is dead; where it has none to begin with, no frame is looked at.
 */
static bool wipe_some(struct sealed_region *sealed)
{
	uint32_t looks = 0, pages = 0;

	while (looks < SWEEP_A_STEP && pages < GMEM_STEP_BYTES / PAGE_SIZE) {
		bool zeroed;
		const uint32_t now = wipe_few(sealed, &zeroed);

		if (now == 0) {
			return false;
		}
		looks += now;
		pages += zeroed;
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
