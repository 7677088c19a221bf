/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a test's gmem, all steps at once. */
#ifndef UMBRA_GMEM_END_H
#define UMBRA_GMEM_END_H

#include "ept/gmem.h"
#include "ept/retire.h"
#include "vmm/host/work.h"

static inline void gmem_end(struct gmem *gmem)
{
	gmem_destroy(gmem);
	while (retire_buries()) {
		(void)work_some();
		(void)retire_poll();
	}
}

#endif
