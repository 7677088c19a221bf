/* SPDX-License-Identifier: Apache-2.0 */
#include "ept/audit.h"

#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"

static size_t capacity(const struct audit *audit)
{
	return audit->page_count * PAGE_SIZE / sizeof(struct audit_run);
}

int audit_begin(struct audit *audit)
{
	*audit = (struct audit){ .page_count = 1, .runs = page_alloc(1) };
	return audit->runs != NULL ? 0 : ERR_NOMEM;
}

static bool make_room(struct audit *audit)
{
	struct audit_run *larger;

	if (audit->count < capacity(audit)) {
		return true;
	}
	larger = page_alloc(2 * audit->page_count);
	if (larger == NULL) {
		audit->incomplete = true;
		return false;
	}
	memcpy(larger, audit->runs, audit->page_count * PAGE_SIZE);
	page_free(audit->runs, audit->page_count);
	audit->runs = larger;
	audit->page_count *= 2;
	return true;
}

/* Adds one leaf, to the last run if it continues that. */
static void add(void *context, struct keyed_frame page, uint64_t bytes)
{
	struct audit *audit = context;
	struct audit_run *last = audit->count != 0 ? &audit->runs[audit->count - 1] : NULL;

	audit->leaves++;
	if (last != NULL && last->end == page.frame.v && last->keyid == page.keyid) {
		last->end += bytes;
	} else if (make_room(audit)) {
		audit->runs[audit->count++] = (struct audit_run){ page.frame.v,
								  page.frame.v + bytes,
								  page.keyid };
	}
}

void audit_gmem(struct audit *audit, struct gmem *gmem)
{
	lock_take(&gmem->lock, LOCK_GMEM);
	ept_visit(&gmem->root, add, audit);
	lock_drop(&gmem->lock);
}

void audit_host(struct audit *audit)
{
	host_paging_visit(add, audit);
}

/*
 * Heap order: moves the run at `at` down in a heap of `count`, with the largest first address on
 * top.
 */
static void sink(struct audit_run *runs, size_t at, size_t count)
{
	for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
		struct audit_run run = runs[at];

		if (child + 1 < count && runs[child + 1].first > runs[child].first) {
			child++;
		}
		if (runs[child].first <= run.first) {
			return;
		}
		runs[at] = runs[child];
		runs[child] = run;
		at = child;
	}
}

/* Heapsort: needs no memory, and no order makes it slow. */
static void sort(struct audit_run *runs, size_t count)
{
	for (size_t i = count / 2; i-- > 0;) {
		sink(runs, i, count);
	}
	for (size_t end = count; end-- > 1;) {
		struct audit_run run = runs[0];

		runs[0] = runs[end];
		runs[end] = run;
		sink(runs, 0, end);
	}
}

bool audit_end(struct audit *audit, hpa_t *at, keyid_t *a, keyid_t *b)
{
	const struct audit_run *reach; /* of the runs so far, the one that ends last */
	bool good = true;

	sort(audit->runs, audit->count);
	reach = audit->runs;
	for (size_t i = 1; i < audit->count && good; i++) {
		const struct audit_run *run = &audit->runs[i];

		if (run->first < reach->end && run->keyid != reach->keyid) {
			*at = hpa(run->first);
			*a = reach->keyid;
			*b = run->keyid;
			good = false;
		}
		reach = run->end > reach->end ? run : reach;
	}
	page_free(audit->runs, audit->page_count);
	audit->runs = NULL;
	return good;
}
