/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/host/ending.h without other CPUs. */
#include <stddef.h>

#include "vmm/host/ending.h"

static void (*wipe_keys)(void);

__attribute__((weak)) void ending_set_wipe(void (*wipe)(void))
{
	wipe_keys = wipe;
}

__attribute__((weak)) void ending_clear_registers(void)
{
}

void ending_wipe(void)
{
	void (*wipe)(void) = wipe_keys;

	wipe_keys = NULL;
	if (wipe != NULL) {
		wipe();
	}
}
