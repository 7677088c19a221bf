/* SPDX-License-Identifier: Apache-2.0 */
/* The VMs of the configuration, from their start to the end of the last. Boot processor only. */
#ifndef UMBRA_BOOT_VMS_H
#define UMBRA_BOOT_VMS_H

#include "boot/config.h"

/*
 * Builds every valid VM, which vms_reap starts when it is loaded; one that fails was named in the
 * log and is left out. config must stay. Returns how many run or are being loaded.
 */
size_t vms_start(const struct config *config);

/* What a person asked for while it ran. */
enum vms_wish { VMS_NO_WISH, VMS_RESET, VMS_DESTROY };

/* What is done to the KeyID of a VM that stands still meanwhile, from move_begun on. */
enum vms_move { VMS_NO_MOVE, VMS_REKEYS, VMS_PARKS, VMS_UNPARKS };

/* What became of a VM of the configuration. For reading. */
struct vms_entry {
	const struct vm_config *config;
	struct vm *vm;	     /* NULL: it is off */
	bool kept;	     /* it has ended, as end_reason says, and is there to be looked at */
	enum vms_wish wish;  /* comes before what the section says; the last one counts */
	uint64_t started;    /* TSC */
	uint32_t early_ends; /* in a row */
	bool waits;	     /* is to be started, when what it needs is free again */
	bool loads;	     /* it is there, and runs when kernel and initrd are in its memory */
	enum vms_move move;
	bool move_begun;      /* else it waits for a KeyID that retires */
	bool said_waits;      /* for a KeyID */
	bool goes_on;	      /* when the move is over */
	uint64_t rekey_since; /* TSC: rekey-after counts from then on */
};
static inline bool vms_runs(const struct vms_entry *entry)
{
	return entry->vm != NULL && !entry->kept;
}
size_t vms_count(void);
/* By index below vms_count(), in the order of the configuration. */
const struct vms_entry *vms_get(size_t index);
/* Builds one that is off and valid, for vms_reap to start; what platform_start_vm returns. */
int vms_power_on(const struct vms_entry *entry);
/* Ends one that runs; vms_reap builds it again. One that is kept starts again now. */
void vms_reset(const struct vms_entry *entry);
/* Ends one that runs, for vms_reap to free; frees one that is kept; one that waits stays off. */
void vms_destroy(const struct vms_entry *entry);

/*
 * A fresh KeyID with a fresh key for one that runs, which is paused once that is in hand; parking,
 * after which it stays paused without a KeyID; and back, after which it runs. vms_reap does the
 * work, and the log says what became of it. Nothing else moves its memory at the moment.
 */
void vms_rekey(const struct vms_entry *entry);
void vms_park(const struct vms_entry *entry);
void vms_unpark(const struct vms_entry *entry);

/* The last vms_reap left memory to go on moving with at once. */
bool vms_busy(void);

/*
 * Does a turn of work (vmm/base/work.h) where no CPU idles. Starts VMs that are loaded. Logs which
 * ended; frees them, builds them again or keeps them, as their sections say. From between alone.
 * Returns how many run: those that are kept do not, and memory that is being wiped counts as one.
 */
size_t vms_reap(void);

#endif
