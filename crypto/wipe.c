/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wipe_lock guards changes of areas[]; no other lock is taken under it. wipe_all reads without the
 * lock. So an entry's address is written last when it is added, and cleared first when it is
 * removed.
 */
#include "crypto/wipe.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/lock.h"
#include "vmm/base/str.h"
#include "vmm/host/ending.h"

struct wipe_area {
	ATOMIC(void *) base; /* NULL: free */
	size_t bytes;
};

static struct lock wipe_lock;
static struct wipe_area areas[WIPE_AREA_MAX];

static struct wipe_area *find_area(const void *base)
{
	size_t i;

	for (i = 0; i < WIPE_AREA_MAX; i++) {
		if (atomic_load_relaxed(&areas[i].base) == base) {
			return &areas[i];
		}
	}
	return NULL;
}

void wipe_init(void)
{
	ending_set_wipe(wipe_all);
}

int wipe_register(void *area, size_t bytes)
{
	struct wipe_area *place;

	lock_take(&wipe_lock, LOCK_WIPE);
	place = find_area(area);
	place = place == NULL ? find_area(NULL) : place;
	if (place != NULL) {
		place->bytes = bytes;
		atomic_store_release(&place->base, area);
	}
	lock_drop(&wipe_lock);
	return place != NULL ? 0 : ERR_NOMEM;
}

void wipe_unregister(const void *area)
{
	struct wipe_area *found;

	if (area == NULL) {
		return;
	}
	lock_take(&wipe_lock, LOCK_WIPE);
	found = find_area(area);
	if (found != NULL) {
		atomic_store_release(&found->base, NULL);
	}
	lock_drop(&wipe_lock);
}

uint32_t wipe_count(void)
{
	uint32_t count = 0;

	for (size_t i = 0; i < WIPE_AREA_MAX; i++) {
		count += atomic_load_relaxed(&areas[i].base) != NULL;
	}
	return count;
}

void wipe_all(void)
{
	size_t i;

	for (i = 0; i < WIPE_AREA_MAX; i++) {
		void *base = atomic_load_acquire(&areas[i].base);

		if (base != NULL) {
			secure_zero(base, areas[i].bytes);
		}
	}
}
