/* SPDX-License-Identifier: Apache-2.0 */
/* fake_keyslot.c: how many KeyIDs there are (0 after a reset), and whether killing a key fails. */
#ifndef UMBRA_FAKE_KEYSLOT_H
#define UMBRA_FAKE_KEYSLOT_H

#include "vmm/base/types.h"

extern unsigned fake_keyslots;
extern bool fake_keyslot_kill_fails;

#endif
