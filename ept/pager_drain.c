/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drain: seals pages that a VM has not used for a while, so that an idle VM has little in clear.
 * About once a second a sweep begins, in which the boot processor checks every frame of the window.
 * It does this in short turns.
 */
#include "ept/pager.h"

#include "ept/pager_priv.h"
#include "vmm/base/cpu.h"
#include "vmm/base/tsc.h"

/*
 * One turn checks at most TURN_LOOKS frames and seals at most TURN_PAGES pages. It checks at most
 * WINDOW_LOOKS frames before it releases window_lock, because other CPUs wait for the lock.
 */
#define TURN_LOOKS 4096u
#define TURN_PAGES 16u

/* The sweep through the window. Boot processor only. */
static struct {
	uint64_t began;	  /* TSC */
	uint32_t seconds; /* from the previous sweep's start to this one's, rounded down */
	uint64_t next;	  /* the next frame to look at */
	bool wanted;	  /* a VM with a drain was created */
} sweep = { .next = UINT64_MAX };

void pager_set_drain(struct pager_vm *vm, uint32_t seconds)
{
	vm->drain_s = seconds;
	sweep.wanted |= seconds != 0;
}

/*
 * Seals the frame's page and frees the frame, if the VM has not used the page for drain_s seconds.
 * Returns whether it did. Under window_lock, which it releases while it seals.
 */
static bool drain_frame(uint32_t index)
{
	struct window_frame *frame = window_frame(index);
	struct pager_vm *vm = frame->region != NULL ? frame->region->vm : NULL;

	if (vm == NULL || vm->drain_s == 0 || frame->region->dead || frame->pins != 0 ||
	    window_is_busy(frame)) {
		return false;
	}
	if (window_seen(frame)) {
		frame->idle_s = 0;
		return false;
	}
	frame->idle_s += sweep.seconds;
	if (frame->idle_s < vm->drain_s) {
		return false;
	}
	if (frame->holds != 0) {
		/*
		 * The vCPU that holds the frame sleeps: it has not used the frame either. When it
		 * wakes up, it faults again for the pages that it held.
		 */
		window_let_vm_go(vm);
	}
	vm->counters.drained++;
	pager_evict(index);
	return true;
}

/* Checks up to WINDOW_LOOKS frames, but stops after it has sealed one. Returns whether it has. */
static bool drain_few(void)
{
	bool sealed = false;

	lock_take(&window_lock, LOCK_WINDOW);
	for (uint32_t i = 0; i < WINDOW_LOOKS && !sealed && sweep.next < window_frame_count();
	     i++) {
		sealed = drain_frame((uint32_t)sweep.next++);
	}
	lock_drop(&window_lock);
	return sealed;
}

void pager_drain(void)
{
	uint32_t pages = 0;

	if (!sweep.wanted) {
		return;
	}
	if (sweep.next >= window_frame_count()) {
		const uint64_t now = cpu_rdtsc(), hz = tsc_hz();

		if (now - sweep.began < hz) {
			return;
		}
		sweep.seconds = (uint32_t)((now - sweep.began) / hz);
		sweep.began = now;
		sweep.next = 0;
	}
	for (uint32_t looks = 0; looks < TURN_LOOKS && pages < TURN_PAGES; looks += WINDOW_LOOKS) {
		pages += drain_few();
	}
}
