/* SPDX-License-Identifier: Apache-2.0 */
/* What this CPU's paging offers; host_paging.h has what other code asks for. */
#ifndef UMBRA_HOST_PAGING_MODES_PRIV_H
#define UMBRA_HOST_PAGING_MODES_PRIV_H

#include "vmm/base/types.h"

/*
 * Enables NX, which firmware may have disabled, and looks how many levels firmware's tables have.
 * For host_paging_init.
 */
void paging_modes_find(void);
/* Do entries have bit 63? */
bool paging_modes_nx(void);

#endif
