/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves that no frame is live under two KeyIDs: collects what every EPT and the hypervisor's own
 * page tables map, and compares. Lines of two KeyIDs at one address know nothing of each other
 * (336907, "Cache coherency"), so one of them would be lost.
 */
#ifndef UMBRA_EPT_AUDIT_H
#define UMBRA_EPT_AUDIT_H

#include "ept/gmem.h"

/* Frames [first, end) in bytes, all under one KeyID. */
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
	bool incomplete; /* there was no memory for all of them */
};

/* ERR_NOMEM. Boot processor; audit_end gives the memory back. */
int audit_begin(struct audit *audit);
/* What one VM maps. Takes its lock: its faults wait meanwhile. */
void audit_gmem(struct audit *audit, struct gmem *gmem);
/* What the hypervisor itself maps. */
void audit_host(struct audit *audit);
/*
 * False when some frame is live under two KeyIDs: *at is the first one, *a and *b are these. The
 * audit is over.
 */
bool audit_end(struct audit *audit, hpa_t *at, keyid_t *a, keyid_t *b);

#endif
