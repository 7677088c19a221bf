/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMs of the configuration, from the first start to the end of the last. Boot processor only.
 */
#ifndef UMBRA_BOOT_VMS_H
#define UMBRA_BOOT_VMS_H

#include "boot/config.h"

/*
 * Builds every valid VM with autostart; vms_reap starts each when it is loaded. A VM that fails is
 * left out, which is logged. config must stay valid. Returns how many VMs are being loaded or wait
 * for memory or a KeyID.
 */
size_t vms_start(const struct config *config);

/* What a person asked for while the VM ran. */
enum vms_wish { VMS_NO_WISH, VMS_RESET, VMS_DESTROY };

/*
 * What is being done to a VM's KeyID: a move. Once the entry has move_begun set, the VM does not
 * run until the move ends.
 */
enum vms_move { VMS_NO_MOVE, VMS_REKEYS, VMS_PARKS, VMS_UNPARKS };

/* The state of a VM of the configuration. Read-only for others. */
struct vms_entry {
	const struct vm_config *config;
	struct vm *vm;	    /* NULL: it is off */
	bool kept;	    /* it has ended, for the reason in end_reason, and its memory is kept */
	enum vms_wish wish; /* overrides the section's on-... keys; the last wish counts */
	uint64_t started;   /* TSC */
	uint32_t early_ends; /* in a row */
	bool waits;	     /* will be started when the memory or KeyID that it needs is free */
	bool loads;	     /* exists, and will run when kernel and initrd are in its memory */
	enum vms_move move;
	bool move_begun;      /* false: the move waits for a KeyID that retires */
	bool said_waits;      /* it was logged that the VM waits for a KeyID */
	bool goes_on;	      /* resume the VM after the move */
	uint64_t rekey_since; /* TSC from which rekey-after counts */
};
static inline bool vms_runs(const struct vms_entry *entry)
{
	return entry->vm != NULL && !entry->kept;
}
size_t vms_count(void);
/* The VM of an index below vms_count(), in the order of the configuration. */
const struct vms_entry *vms_get(size_t index);
/*
 * Builds a VM that is off and valid; vms_reap starts it when it is loaded. Returns what
 * platform_start_vm returns.
 */
int vms_power_on(const struct vms_entry *entry);
/*
 * Resets a VM. If it runs, ends it, and vms_reap builds it again. If it is kept, starts it again at
 * once.
 */
void vms_reset(const struct vms_entry *entry);
/*
 * Destroys a VM. If it runs, ends it, and vms_reap frees it. If it is kept, frees it. If it waits,
 * it stays off.
 */
void vms_destroy(const struct vms_entry *entry);

/*
 * vms_rekey moves a running VM to a fresh KeyID with a fresh key; the VM is paused during the move.
 * vms_park pauses a VM and frees its KeyID. vms_unpark gives it a KeyID again and resumes it.
 * vms_reap does the work, and the log has the result. The VM must have no move in progress and must
 * not be loading.
 */
void vms_rekey(const struct vms_entry *entry);
void vms_park(const struct vms_entry *entry);
void vms_unpark(const struct vms_entry *entry);

/* Whether the last vms_reap has left a move that should continue at once. */
bool vms_busy(void);

/*
 * Does a turn of work (vmm/host/work.h) if no CPU idles. Starts VMs that are loaded. Logs which VMs
 * ended, and frees them, builds them again or keeps them, as their sections say. Called only from
 * between() in boot/main.c. Returns how many VMs run or wait. A kept VM does not count; keys that
 * are to be overwritten, and memory that is being wiped, count as one VM.
 */
size_t vms_reap(void);

/*
 * Before the machine is switched off or reset: the keys of VMs that have ended are dead, each with
 * its line in the log, when this returns. The log also counts the KeyIDs that are in use, whose
 * keys the CPU forgets with the machine (SDM, "PCONFIG"). Boot processor, with no lock held.
 */
void vms_finish(void);

#endif
