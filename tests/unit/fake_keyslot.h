/* SPDX-License-Identifier: Apache-2.0 */
/* fake_keyslot.c: how many KeyIDs there are (0 after a reset), and whether killing a key fails. */
#ifndef UMBRA_FAKE_KEYSLOT_H
#define UMBRA_FAKE_KEYSLOT_H

#include "ept/retire.h"
#include "vmm/base/types.h"
#include "vmm/host/work.h"

extern unsigned fake_keyslots;
extern bool fake_keyslot_kill_fails;
/*
 * Called before a key is killed whose lines were flushed one by one; it fails the test when some
 * are left. NULL: such a kill fails the test.
 */
extern void (*fake_keyslot_lines_flushed)(keyid_t keyid);

/*
 * Runs all steps of retire_poll. Returns false when nothing was retired, or the last flush was too
 * recent.
 */
static inline bool fake_retire_all(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		if (retire_poll()) {
			return true;
		}
		(void)work_some();
	}
	return false;
}

#endif
