/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How sealed memory ends: a region in steps when its VM ends, all regions at once when the machine
 * ends.
 */
#include "ept/pager.h"

#include "crypto/wipe.h"
#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/cpu.h"
#include "vmm/host/smp.h"

/* Burying checks at most so many of the window's frames in one step. */
#define SWEEP_A_STEP 4096u

/*
 * No CPU translates to the region any more. Until it is buried, any VM may get its frames of the
 * window. A CPU that evicts a page of it for another VM may still use the region and the key of its
 * VM: this waits for such CPUs. None begins after `dead` is set.
 */
void pager_region_close(struct gmem_region *region)
{
	struct sealed_region *sealed = region->state;

	lock_take(&window_lock, LOCK_WINDOW);
	window_let_vm_go(sealed->vm);
	sealed->dead = true;
	while (sealed->exchanges != 0) {
		pager_let_others_end();
	}
	lock_drop(&window_lock);
}

/*
 * Checks a few frames of the window, and zeroes at most one of the region's, because other CPUs
 * wait for window_lock. Returns how many frames it checked.
 */
static uint32_t wipe_few(struct sealed_region *sealed, bool *zeroed)
{
	uint32_t looks = 0;

	*zeroed = false;
	lock_take(&window_lock, LOCK_WINDOW);
	while (looks < WINDOW_LOOKS && sealed->open_pages != 0 && !*zeroed) {
		const uint32_t i = sealed->swept++;

		looks++;
		if (window_frame(i)->region == sealed) {
			gmem_zero_frames(GMEM_SLOT_CLEAR, window_page(window_frame(i)), PAGE_SIZE);
			window_put_free(i);
			sealed->open_pages--;
			pager_vm_count_closed(sealed->vm, pager_clock());
			*zeroed = true;
		}
	}
	lock_drop(&window_lock);
	return looks;
}

/*
 * Returns false when the window holds no page of the region. It checks each frame once, because a
 * dead region gets no new frames. If the region has no page in the window, it checks no frame at
 * all.
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

/* Was a page of the VM ever in clear? Other regions of it may still be in use. */
static bool was_in_clear(const struct pager_vm *vm)
{
	bool was;

	lock_take(&window_lock, LOCK_WINDOW);
	was = vm->counters.clear_peak != 0;
	lock_drop(&window_lock);
	return was;
}

/*
 * Frames that have got a page of another VM: DRAM may still hold one of this region. Returns false
 * when all are written back.
 */
static bool copy_some_back(struct sealed_region *sealed)
{
	const uint32_t end = (uint32_t)window_frame_count();
	uint32_t looks = 0, pages = 0;

	if (!was_in_clear(sealed->vm)) {
		return false;
	}
	while (sealed->copied_back < end && looks < SWEEP_A_STEP &&
	       pages < GMEM_STEP_BYTES / PAGE_SIZE) {
		pages += pager_copy_back(&sealed->copied_back);
		looks += WINDOW_LOOKS;
	}
	return sealed->copied_back < end;
}

/* Pages in clear are wiped; ciphertext is not, because its key is. */
bool pager_region_bury(const struct ept_root *root, struct gmem_region *region, enum gmem_bury how)
{
	struct sealed_region *sealed = region->state;
	struct pager_vm *vm = sealed->vm;

	if (wipe_some(sealed) || copy_some_back(sealed) || !store_free_some(sealed)) {
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
 * The order matters:
 *
 * 1. No CPU begins to encrypt any more, and a CPU that is encrypting leaves a note of the page.
 * 2. The other CPUs stop. Guests that ran on would write to their pages again. A cipher whose key
 *     schedule becomes zero while it runs reads 0 as its number of rounds, and runs off the end
 *     of the schedule.
 * 3. Keys are zeroed.
 * 4. The pages are zeroed that CPUs were encrypting if they did not stop in time: the rest of such
 *     a page may be encrypted under a key of zeros, which is not secret.
 * 5. The window is zeroed.
 * 6. The caches are written back: after a reset DRAM holds what was written back.
 */
void pager_wipe(void)
{
	static void (*const steps[])(void) = { store_close,	      smp_stop_others, wipe_all,
					       store_wipe_unfinished, window_wipe,     write_back };
	static size_t next;

	while (next < ARRAY_COUNT(steps)) {
		/* Counts before the call, so that a step that failed is not repeated. */
		steps[next++]();
	}
}
