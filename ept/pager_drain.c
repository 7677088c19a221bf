/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drain: what a VM has not used for a while is sealed, so that an idle VM has little in clear. Once
 * a second each frame of the window is looked at. The boot processor does that in short turns.
 */
#include "ept/pager.h"

#include "ept/pager_priv.h"
#include "vmm/base/cpu.h"
#include "vmm/base/tsc.h"

/*
 * In one turn, and while it holds window_lock once. One page takes about 2 us to encrypt, and other
 * CPUs wait for the lock.
 */
#define TURN_LOOKS 4096u
#define TURN_PAGES 16u
#define LOCK_LOOKS 64u

/* The sweep through the window. Boot processor only. */
static struct {
	uint64_t began;	  /* TSC */
	uint32_t seconds; /* since the sweep before, rounded down */
	uint64_t next;	  /* the next frame to look at */
	bool wanted;	  /* a VM with a drain was created */
} sweep = { .next = UINT64_MAX };

void pager_set_drain(struct pager_vm *vm, uint32_t seconds)
{
	vm->drain_s = seconds;
	sweep.wanted |= seconds != 0;
}

/* Seals the frame's page if it was not used for long. Under window_lock. Returns true if so. */
static bool drain_frame(uint32_t index)
{
	struct window_frame *frame = window_frame(index);
	struct pager_vm *vm = frame->region != NULL ? frame->region->vm : NULL;

	if (vm == NULL || vm->drain_s == 0 || frame->region->dead || frame->pins != 0) {
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
		/* Its vCPU sleeps: it has not used what it holds either, and will fault again. */
		window_let_vm_go(vm);
	}
	vm->counters.drained++;
	pager_evict(index);
	return true;
}

/* Looks at a few frames, and ends after one that was sealed. Returns whether one was. */
static bool drain_few(void)
{
	bool sealed = false;

	lock_take(&window_lock, LOCK_WINDOW);
	for (uint32_t i = 0; i < LOCK_LOOKS && !sealed && sweep.next < window_frame_count(); i++) {
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
	for (uint32_t looks = 0; looks < TURN_LOOKS && pages < TURN_PAGES; looks += LOCK_LOOKS) {
		pages += drain_few();
	}
}
