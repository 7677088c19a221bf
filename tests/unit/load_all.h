/* SPDX-License-Identifier: Apache-2.0 */
/* Runs all steps of guest/linux_load.h, for tests of the result. */
#ifndef UMBRA_LOAD_ALL_H
#define UMBRA_LOAD_ALL_H

#include <string.h>

#include "guest/linux_load.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

static inline int load_all(struct gmem *gmem, struct linux_source *source, const char *cmdline,
			   const uint8_t *seed, struct vcpu_long_mode *entry,
			   struct linux_refusal *refusal)
{
	struct linux_load *load;
	int err;

	source->cmdline_length = strlen(cmdline);
	err = linux_load_begin(gmem, source, &load, refusal);
	if (err != 0) {
		return err;
	}
	do {
		err = linux_load_some(load);
	} while (err == ERR_AGAIN);
	if (err == 0) {
		err = linux_load_finish(load, cmdline, seed, entry);
	}
	if (err != 0) {
		(void)str_copy(refusal->why, sizeof(refusal->why), "could not be written");
	}
	linux_load_end(load);
	return err;
}

#endif
