/* SPDX-License-Identifier: Apache-2.0 */
/* For boot/vms.c. boot/vms.h declares vms_rekey, vms_park and vms_unpark, which request a move. */
#ifndef UMBRA_BOOT_VMS_KEYID_H
#define UMBRA_BOOT_VMS_KEYID_H

#include "boot/vms.h"

/*
 * Goes on with the move of a VM's KeyID, or begins one if its key is older than rekey-after says.
 * Begins no step after TSC `end`. Boot processor, with no lock held.
 */
void vms_look_after_keyid(struct vms_entry *slot, uint64_t end);

#endif
