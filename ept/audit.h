/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves that no frame is in use under two KeyIDs: collects what every EPT and the hypervisor's own
 * page tables map, and compares. The caches treat lines of two KeyIDs at one address as different
 * memory (336907, "Cache coherency"), so the data of one of them would be lost.
 */
#ifndef UMBRA_EPT_AUDIT_H
#define UMBRA_EPT_AUDIT_H

#include "ept/gmem.h"

/* Frames [first, end), byte addresses, all under one KeyID. */
struct audit_run {
	uint64_t first;
	uint64_t end;
	keyid_t keyid;
};

struct audit {
	struct audit_run *runs; /* host pages */
	size_t page_count;
	size_t count;
	uint64_t leaves;
	bool incomplete; /* memory ran out before all runs were stored */
};

/* Starts an audit. Returns ERR_NOMEM. Boot processor. audit_end frees the memory. */
int audit_begin(struct audit *audit);
/* Adds what one VM maps. Takes gmem->lock, so faults of that VM wait. */
void audit_gmem(struct audit *audit, struct gmem *gmem);
/* Adds what the hypervisor itself maps. */
void audit_host(struct audit *audit);
/*
 * Ends the audit. Returns false when a frame is in use under two KeyIDs: *at is the first such
 * frame, *a and *b are the KeyIDs.
 */
bool audit_end(struct audit *audit, hpa_t *at, keyid_t *a, keyid_t *b);

#endif
