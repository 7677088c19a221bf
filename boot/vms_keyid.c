/* SPDX-License-Identifier: Apache-2.0 */
/* VMs whose KeyID changes: a fresh key, parking, and resuming a parked VM. */
#include "boot/vms_keyid.h"

#include "ept/retire.h"
#include "guest/engine_policy.h"
#include "guest/platform.h"
#include "guest/rekey.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/tsc.h"

/* Entries are const for all files but boot/vms.c, which owns them, and this one. */
static void begin_move(const struct vms_entry *entry, enum vms_move move, bool goes_on)
{
	struct vms_entry *slot = (struct vms_entry *)entry;

	CHECK(vms_runs(slot) && !slot->loads && slot->move == VMS_NO_MOVE);
	slot->move = move;
	slot->move_begun = false;
	slot->goes_on = goes_on;
}

void vms_rekey(const struct vms_entry *entry)
{
	begin_move(entry, VMS_REKEYS, !vm_is_paused(entry->vm));
}

void vms_park(const struct vms_entry *entry)
{
	begin_move(entry, VMS_PARKS, false);
}

void vms_unpark(const struct vms_entry *entry)
{
	begin_move(entry, VMS_UNPARKS, true);
}

static void end_move(struct vms_entry *slot)
{
	slot->move = VMS_NO_MOVE;
	slot->rekey_since = cpu_rdtsc();
	if (slot->goes_on) {
		vm_resume(slot->vm);
	}
}

static int try_to_begin(const struct vms_entry *slot)
{
	switch (slot->move) {
	case VMS_REKEYS: return rekey_begin(slot->vm, slot->config);
	case VMS_PARKS: vm_pause(slot->vm); return rekey_park(slot->vm);
	case VMS_UNPARKS: return rekey_unpark(slot->vm, slot->config);
	case VMS_NO_MOVE:
	default: return ERR_INVAL;
	}
}

static const char *const move_words[] = { "", "rekey", "park", "resume" };

/*
 * A parked VM that cannot resume stays parked. A VM that cannot get a fresh key runs on with its
 * old one.
 */
static void refuse_move(struct vms_entry *slot, int err)
{
	log_error("vm %s: %s: %s", slot->config->name, move_words[slot->move],
		  err == ERR_UNSUPPORTED ? "its memory has no KeyID with a key of its own"
		  : err == ERR_NOSPACE	 ? "no KeyID of TME-MK is left: end or park another VM"
					 : err_name(err));
	slot->goes_on = slot->goes_on && slot->move != VMS_UNPARKS;
	end_move(slot);
}

/*
 * Begins a move. If no KeyID is free but one is retiring, the VM keeps its state, and the next turn
 * tries again.
 */
static void begin_when_possible(struct vms_entry *slot)
{
	const int err = try_to_begin(slot);

	slot->move_begun = err == 0;
	if (err == ERR_NOSPACE && retire_pending()) {
		if (!slot->said_waits) {
			log_info("vm %s: %s: waits for a KeyID that retires", slot->config->name,
				 move_words[slot->move]);
		}
		slot->said_waits = true;
		return;
	}
	slot->said_waits = false;
	if (err != 0) {
		refuse_move(slot, err);
	}
}

/*
 * Does at least one step of a move, and no further step after TSC `end`: other VMs wait for this
 * CPU.
 */
static void go_on_moving(struct vms_entry *slot, uint64_t end)
{
	if (!slot->move_begun) {
		begin_when_possible(slot);
		return;
	}
	do {
		if (rekey_step(slot->vm)) {
			end_move(slot);
			return;
		}
	} while (cpu_rdtsc() < end);
}

static bool key_is_old(const struct vms_entry *slot)
{
	return vms_runs(slot) && !slot->loads && slot->config->rekey_after_s != 0 &&
	       !vm_is_paused(slot->vm) && platform_memory(slot->vm) == PLATFORM_MEMORY_KEYED &&
	       cpu_rdtsc() - slot->rekey_since > slot->config->rekey_after_s * tsc_hz();
}

/*
 * Begins the move at once, because a VM that starts could take the free KeyID before the next turn.
 */
static void change_old_key(struct vms_entry *slot, uint64_t end)
{
	const bool left = engine_keyid_is_left();

	if (left || !slot->said_waits) {
		log_info("vm %s: its key is older than %u s, as rekey-after says%s",
			 slot->config->name, slot->config->rekey_after_s,
			 left ? "" : ": it waits for a KeyID and runs on");
	}
	slot->said_waits = !left;
	if (left) {
		vms_rekey(slot);
		go_on_moving(slot, end);
	}
}

void vms_look_after_keyid(struct vms_entry *slot, uint64_t end)
{
	if (slot->move != VMS_NO_MOVE) {
		go_on_moving(slot, end);
	} else if (key_is_old(slot)) {
		change_old_key(slot, end);
	}
}
