/* SPDX-License-Identifier: Apache-2.0 */
/* Starting VMs, and what happens when they end. */
#include "boot/vms.h"

#include "boot/vms_keyid.h"
#include "crypto/keyslot.h"
#include "crypto/wipe.h"
#include "ept/pager.h"
#include "ept/retire.h"
#include "guest/disk.h"
#include "guest/platform.h"
#include "guest/shares.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/work.h"
#include "vmm/sched.h"
#include "vmm/vcpu.h"

/*
 * A VM that ends sooner than EARLY_END_US after its start, EARLY_END_MAX times in a row, is not
 * started again.
 */
#define EARLY_END_US  5000000u
#define EARLY_END_MAX 5u

/* Long work runs for this long between two time slices; a step that has begun is finished. */
#define WORK_TURN_US 1000u
#define WORK_REST_US 4000u /* the time slice of vmm/sched.c */

static struct vms_entry slots[CONFIG_VM_MAX];
static size_t slot_count;
static uint64_t turn_due; /* TSC */

/* A VM whose key needs a passphrase waits for a person. vms_reap looks again at each turn. */
static int wait_for_passphrase(struct vms_entry *slot)
{
	if (!slot->waits) {
		log_info("vm %s: waits for its passphrase: \"unlock %s\" in the shell asks for it",
			 slot->config->name, slot->config->name);
	}
	slot->waits = true;
	return ERR_AGAIN;
}

static int start(struct vms_entry *slot)
{
	int err;

	if (slot->config->key.locked) {
		return wait_for_passphrase(slot);
	}
	slot->started = cpu_rdtsc();
	slot->kept = false;
	slot->wish = VMS_NO_WISH;
	slot->rekey_since = slot->started;
	slot->said_waits = false;
	err = platform_start_vm(slot->config, &slot->vm);
	if (err == ERR_AGAIN && !slot->waits) {
		log_info(
			"vm %s: starts as soon as the memory or KeyIDs of a VM that ended are free",
			slot->config->name);
	}
	slot->waits = err == ERR_AGAIN;
	slot->loads = err == 0;
	if (err != 0) {
		slot->vm = NULL; /* platform_start_vm has logged why, or the VM waits */
		if (!slot->waits) {
			disk_forget(slot->config);
		}
	} else if (slot->config->rekey_after_s != 0 &&
		   platform_memory(slot->vm) != PLATFORM_MEMORY_KEYED) {
		log_warn("vm %s: rekey-after is not used: its memory has no KeyID with a key "
			 "of its own",
			 slot->config->name);
	}
	return err;
}

/*
 * Starts a VM at once, unless memory of VMs that ended is still to be wiped: then the VM waits, and
 * vms_reap starts it after that, when more memory is free and the log's figures are right.
 */
static int start_when_wiped(struct vms_entry *slot)
{
	slot->waits = retire_buries();
	return slot->waits ? ERR_AGAIN : start(slot);
}

size_t vms_count(void)
{
	return slot_count;
}

const struct vms_entry *vms_get(size_t index)
{
	CHECK(index < slot_count);
	return &slots[index];
}

int vms_power_on(const struct vms_entry *entry)
{
	struct vms_entry *slot = &slots[entry - slots];

	CHECK(slot->vm == NULL && slot->config->valid);
	slot->early_ends = 0;
	return start_when_wiped(slot);
}

/* Logs what is free. After a VM's end the figures must be those from before its start. */
static void log_free(void)
{
	const uint32_t count = keyslot_count();
	uint64_t window, unclaimed;
	char keyids[40] = "";

	if (count != 0) {
		(void)str_printf(keyids, sizeof(keyids), "; %u of %u KeyIDs are free",
				 keyslot_count_in(KEYSLOT_FREE) + keyslot_count_in(KEYSLOT_DEAD),
				 count);
	}
	pager_window(&window, &unclaimed);
	log_info("free: %lu frames for VMs, %lu pages of Umbra's own, %lu of the window's %lu "
		 "frames; %u VMs and %u secrets are there%s",
		 frames_free_count(), page_free_count(), unclaimed, window, vm_count(),
		 wipe_count(), keyids);
}

size_t vms_start(const struct config *config)
{
	size_t running = 0;

	slot_count = config->vm_count;
	turn_due = 0;
	shares_init(config->shares, config->share_count, config->vms, config->vm_count);
	log_free();
	for (size_t i = 0; i < config->vm_count; i++) {
		slots[i] = (struct vms_entry){ .config = &config->vms[i] };
		if (!config->vms[i].valid) {
			log_warn("vm %s: not started, for the reason above", config->vms[i].name);
			continue;
		}
		if (!config->vms[i].autostart) {
			log_info("vm %s: off, as autostart = no says; \"start %s\" in the shell "
				 "starts it",
				 config->vms[i].name, config->vms[i].name);
			continue;
		}
		(void)start(&slots[i]);
		running += slots[i].vm != NULL || slots[i].waits ? 1 : 0;
	}
	return running;
}

static uint64_t count_exits(const struct vm *vm)
{
	uint64_t total = 0;

	for (uint32_t v = 0; v < vm->vcpu_count; v++) {
		for (size_t i = 0; i < ARRAY_COUNT(vm->vcpus[v]->exit_count); i++) {
			total += vm->vcpus[v]->exit_count[i];
		}
	}
	return total;
}

static void tell_end(struct vms_entry *slot)
{
	struct vm *vm = slot->vm;
	const enum vm_end_reason reason = atomic_load_relaxed(&vm->end_reason);
	const bool wanted = reason == VM_END_POWER_OFF || reason == VM_END_RESET ||
			    reason == VM_END_DESTROYED;
	const uint64_t ms = (cpu_rdtsc() - slot->started) / MAX(tsc_hz() / 1000, 1u);

	log_printf(wanted ? LOG_INFO : LOG_ERROR, "vm %s: ended: %s%s%s (%lu.%03lu s, %lu exits)",
		   vm->name, vm_end_reason_name(reason), vm->end_detail[0] != '\0' ? ": " : "",
		   vm->end_detail, ms / 1000, ms % 1000, count_exits(vm));
	platform_log_memory(vm);
}

/*
 * Frees the VM's pages and wipes its keys. comes_again: it starts again, so what it wrote to its
 * disks is kept.
 */
static void bury(struct vms_entry *slot, bool comes_again)
{
	platform_destroy_vm(slot->vm);
	if (!comes_again) {
		disk_forget(slot->config);
	}
	slot->move = VMS_NO_MOVE;
	slot->loads = false;
	if (!retire_buries()) {
		log_free(); /* else vms_reap logs it, when the memory is wiped */
	}
	slot->vm = NULL;
	slot->kept = false;
}

static void keep(struct vms_entry *slot)
{
	slot->kept = true;
	slot->goes_on = false;
	platform_keep_vm(slot->vm);
	log_info("vm %s: is kept as it ended; the shell's \"destroy\" frees it, \"reset\" starts "
		 "it again",
		 slot->config->name);
}

static void start_again(struct vms_entry *slot, bool early)
{
	slot->early_ends = early ? slot->early_ends + 1 : 0;
	if (slot->early_ends == EARLY_END_MAX) {
		log_error("vm %s: ended %u times in a row right after its start; it stays off",
			  slot->config->name, EARLY_END_MAX);
		disk_forget(slot->config);
		return;
	}
	(void)start_when_wiped(slot);
}

static enum vm_on_end what_then(const struct vms_entry *slot)
{
	if (slot->wish != VMS_NO_WISH) {
		return slot->wish == VMS_RESET ? VM_ON_END_RESTART : VM_ON_END_DESTROY;
	}
	switch (atomic_load_relaxed(&slot->vm->end_reason)) {
	case VM_END_POWER_OFF: return slot->config->on_poweroff;
	case VM_END_RESET: return slot->config->on_reboot;
	default: return slot->config->on_crash;
	}
}

void vms_reset(const struct vms_entry *entry)
{
	struct vms_entry *slot = &slots[entry - slots];

	CHECK(slot->vm != NULL);
	slot->early_ends = 0; /* a person may reset a VM as often as they like */
	if (slot->kept) {
		bury(slot, true);
		(void)start_when_wiped(slot);
		return;
	}
	slot->wish = VMS_RESET;
	vm_end(slot->vm, VM_END_RESET, "from the shell");
}

void vms_destroy(const struct vms_entry *entry)
{
	struct vms_entry *slot = &slots[entry - slots];

	if (slot->waits) {
		slot->waits = false;
		disk_forget(slot->config);
		return;
	}
	CHECK(slot->vm != NULL);
	if (slot->kept) {
		bury(slot, false);
		return;
	}
	/* also if the VM ends by itself meanwhile, or a reset was asked for before */
	slot->wish = VMS_DESTROY;
	vm_end(slot->vm, VM_END_DESTROYED, NULL);
}

static void reap(struct vms_entry *slot)
{
	const bool early = slot->wish == VMS_NO_WISH &&
			   cpu_rdtsc() - slot->started < tsc_from_us(EARLY_END_US);
	const enum vm_on_end then = what_then(slot);

	tell_end(slot);
	if (then == VM_ON_END_KEEP) {
		keep(slot);
		return;
	}
	bury(slot, then == VM_ON_END_RESTART);
	if (then == VM_ON_END_RESTART) {
		start_again(slot, early);
	}
}

bool vms_busy(void)
{
	for (size_t i = 0; i < slot_count; i++) {
		if (slots[i].move != VMS_NO_MOVE && slots[i].move_begun) {
			return true;
		}
	}
	return false;
}

/*
 * Work is left to an idle CPU if there is one. Otherwise this CPU does a turn of it, but not before
 * the VMs on it had the time of a long slice since the last turn, because slices may be short.
 */
static void take_turn(uint64_t now)
{
	if (!work_waits() || now < turn_due || sched_rouse_idle()) {
		return;
	}
	while (work_some() && cpu_rdtsc() < now + tsc_from_us(WORK_TURN_US)) {
	}
	turn_due = cpu_rdtsc() + tsc_from_us(WORK_REST_US);
}

/*
 * Starts a VM when it is loaded. If a person ended it meanwhile, vms_reap handles it like any other
 * VM that ended.
 */
static void start_loaded(struct vms_entry *slot)
{
	int err;

	if (!slot->loads || atomic_load_relaxed(&slot->vm->state) != VM_BUILDING) {
		return;
	}
	err = platform_start_loaded(slot->vm);
	if (err == ERR_AGAIN) {
		return;
	}
	slot->loads = false;
	slot->started = slot->rekey_since = cpu_rdtsc();
	if (err != 0) {
		slot->vm = NULL; /* platform_start_loaded has logged why */
	}
}

size_t vms_reap(void)
{
	const uint64_t begin = cpu_rdtsc(), end = begin + tsc_from_us(WORK_TURN_US);
	size_t running = 0;
	bool freed;

	take_turn(begin);
	pager_drain();
	freed = retire_poll();
	if (freed) {
		log_free();
	}
	for (size_t i = 0; i < slot_count; i++) {
		struct vms_entry *slot = &slots[i];

		/*
		 * A VM that waits is tried as soon as something is free, before other VMs end and
		 * start again.
		 */
		if (slot->waits && (freed || (!retire_pending() && cache_may_flush()))) {
			(void)start(slot);
		}
		start_loaded(slot);

		/* A VM that ended stays until its last console output is shown. */
		if (vms_runs(slot) && vm_ended(slot->vm) && platform_finish_console(slot->vm)) {
			reap(slot);
		}
		vms_look_after_keyid(slot, end);
		running += vms_runs(slot) || slot->waits ? 1 : 0;
	}
	sched_exempt(cpu_rdtsc() - begin);
	/* The machine must not power off before all keys are dead and all memory is wiped. */
	return running + (retire_pending() ? 1 : 0);
}

void vms_finish(void)
{
	const uint32_t in_use = keyslot_count_in(KEYSLOT_IN_USE);

	retire_finish();
	if (in_use != 0) {
		log_info("KeyIDs that are still in use: %u; their keys end with the machine",
			 in_use);
	}
}
