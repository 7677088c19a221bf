/* SPDX-License-Identifier: Apache-2.0 */
/* The shell's commands: one short function for each, and their table. */
#include "boot/shell_priv.h"
#include "boot/unlock.h"
#include "guest/platform.h"
#include "guest/vconsole.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/host/power.h"
#include "vmm/sched.h"
#include "vmm/vcpu.h"

static void tell_kept(const struct vm *vm)
{
	shell_print("vm %s has ended (%s) and is kept to be looked at; \"reset\" starts it again, "
		    "\"destroy\" frees it",
		    vm->name, vm_end_reason_name(atomic_load_relaxed(&vm->end_reason)));
}

/* Like shell_present(), but refuses a VM that is kept. */
static struct vm *running(const struct shell_call *call)
{
	struct vm *vm = shell_present(call);

	if (vm != NULL && call->vm->kept) {
		tell_kept(vm);
		return NULL;
	}
	return vm;
}

/* Like running(), but refuses a VM that is being loaded. */
static struct vm *loaded(const struct shell_call *call)
{
	struct vm *vm = running(call);

	if (vm == NULL || !call->vm->loads) {
		return vm;
	}
	shell_print("vm %s is being loaded (%u %%)%s", vm->name, platform_percent_loaded(vm),
		    vm_is_paused(vm) ? ", and paused: \"resume\" lets it go on"
				     : "; wait until it runs");
	return NULL;
}

static void run_start(const struct shell_call *call)
{
	const char *name = call->vm->config->name;

	if (call->vm->kept || call->vm->loads) {
		(void)loaded(call);
	} else if (call->vm->vm != NULL) {
		shell_print("vm %s %s", name,
			    vm_is_paused(call->vm->vm) ? "is paused; \"resume\" lets it go on"
						       : "runs already");
	} else if (!call->vm->config->valid) {
		shell_print("vm %s was refused at boot; its section of umbra.conf has an error",
			    name);
	} else {
		(void)vms_power_on(call->vm); /* a failure was logged */
	}
}

static void run_unlock(const struct shell_call *call)
{
	if (unlock_ask(call->vm->config, shell_print)) {
		shell_ask(unlock_prompt(), unlock_feed);
	}
}

/* Like running(), but refuses a VM whose memory is being moved. */
static struct vm *still(const struct shell_call *call)
{
	struct vm *vm = running(call);

	if (vm != NULL && call->vm->move != VMS_NO_MOVE) {
		shell_print("vm %s: its memory is being moved to another KeyID; wait for the log's "
			    "line",
			    vm->name);
		return NULL;
	}
	return vm;
}

static void seal(struct vm *vm)
{
	if (platform_memory(vm) == PLATFORM_MEMORY_CLEAR) {
		shell_print("vm %s has no engine that could seal it (engine = none); \"pause %s\" "
			    "leaves its memory in clear",
			    vm->name, vm->name);
		return;
	}
	platform_pause(vm);
	if (platform_memory(vm) != PLATFORM_MEMORY_SEALED) {
		shell_print("vm %s is paused; its memory needs no sealing: it lies in DRAM %s",
			    vm->name, platform_engine_words(vm));
		return;
	}
	(void)platform_seal_vm(vm);
	shell_print("vm %s is paused, and none of its pages is in clear", vm->name);
}

/* Whether a VM has a KeyID with its own key. Prints why not. */
static bool has_key(const struct vm *vm)
{
	const enum platform_memory memory = platform_memory(vm);

	if (memory == PLATFORM_MEMORY_PARKED) {
		shell_print("vm %s is parked; \"resume\" gives it a KeyID with a fresh key",
			    vm->name);
	} else if (memory != PLATFORM_MEMORY_KEYED) {
		shell_print("vm %s has no KeyID with a key of its own: its memory is %s", vm->name,
			    platform_engine_words(vm));
	}
	return memory == PLATFORM_MEMORY_KEYED;
}

static void run_pause(const struct shell_call *call)
{
	struct vm *vm = still(call);

	if (vm == NULL) {
		return;
	}
	if (call->count == 1) {
		platform_pause(vm);
		shell_print("vm %s is paused", vm->name);
	} else if (str_equal_nocase(call->words[0], "--seal")) {
		seal(vm);
	} else if (loaded(call) != NULL && has_key(vm)) {
		vms_park(call->vm);
	}
}

static void run_rekey(const struct shell_call *call)
{
	struct vm *vm = still(call);

	if (vm != NULL && loaded(call) != NULL && has_key(vm)) {
		vms_rekey(call->vm);
	}
}

static void run_resume(const struct shell_call *call)
{
	struct vm *vm = still(call);

	if (vm != NULL && !vm_is_paused(vm)) {
		shell_print("vm %s is not paused", vm->name);
	} else if (vm != NULL && platform_memory(vm) == PLATFORM_MEMORY_PARKED) {
		vms_unpark(call->vm);
	} else if (vm != NULL) {
		platform_resume(vm);
		shell_print("vm %s goes on", vm->name);
	}
}

static void run_reset(const struct shell_call *call)
{
	if (shell_present(call) != NULL) {
		vms_reset(call->vm);
	}
}

static void run_destroy(const struct shell_call *call)
{
	const char *name = call->vm->config->name;
	const bool kept = call->vm->kept, waits = call->vm->waits;

	if (!waits && shell_present(call) == NULL) {
		return;
	}
	vms_destroy(call->vm);
	if (waits) {
		shell_print("vm %s will not start", name);
	} else if (kept) {
		shell_print("vm %s is off: memory back, keys wiped", name);
	}
}

/* The state of the VM that `stop --wait` waits for, when the wait began. */
static struct {
	const struct vms_entry *entry;
	const struct vm *vm;
	uint64_t started;
} awaited;

static bool wait_step(void)
{
	const struct vms_entry *entry = awaited.entry;

	if (entry->vm == awaited.vm && entry->started == awaited.started && !entry->kept) {
		return true;
	}
	shell_print("vm %s has ended", entry->config->name);
	return false;
}

static void run_nmi(const struct shell_call *call)
{
	struct vm *vm = loaded(call);

	if (vm == NULL) {
		return;
	}
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vcpu_nmi(vm->vcpus[i]); /* on LINT1 of each vCPU, as the MADT says */
	}
	shell_print("vm %s: an NMI was sent to each of its vCPUs", vm->name);
}

/* Parses a decimal number in the range [least, most]. */
static bool parse_decimal(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
	for (*value = 0; *text >= '0' && *text <= '9' && *value <= most; text++) {
		*value = *value * 10 + (uint64_t)(*text - '0');
	}
	return *text == '\0' && *value >= least && *value <= most;
}

static void run_regs(const struct shell_call *call)
{
	struct vm *vm = loaded(call);
	uint64_t id = 0;

	if (vm == NULL) {
		return;
	}
	if (vm_is_paused(vm)) {
		shell_print("vm %s is paused; its registers are shown when it goes on", vm->name);
	} else if (call->count == 2 &&
		   (call->words[1][0] == '\0' ||
		    !parse_decimal(call->words[1], 0, vm->vcpu_count - 1, &id))) {
		shell_print("vm %s has no vCPU \"%.32s\"; it has 0 to %u", vm->name, call->words[1],
			    vm->vcpu_count - 1);
		return;
	}
	vcpu_ask_dump(vm->vcpus[id]);
}

static bool names_a_cpu(const uint64_t affinity[CPU_MAX / 64])
{
	for (uint32_t i = 0; i < percpu_count(); i++) {
		if ((affinity[i / 64] & BIT(i % 64)) != 0) {
			return true;
		}
	}
	return false;
}

/* The change holds until the VM ends; the configuration is not changed. */
static void run_set(const struct shell_call *call)
{
	struct vm *vm = running(call);
	uint64_t affinity[CPU_MAX / 64], weight;
	char allowed[CONFIG_ALLOWED_MAX];

	if (vm == NULL) {
		return;
	}
	if (str_equal_nocase(call->words[1], "weight")) {
		if (!parse_decimal(call->words[2], 1, SCHED_WEIGHT_MAX, &weight)) {
			shell_print("weight is a number from 1 to %u", SCHED_WEIGHT_MAX);
			return;
		}
		sched_set_weight(vm, (uint32_t)weight);
	} else if (str_equal_nocase(call->words[1], "affinity")) {
		if (!config_parse_affinity(call->words[2], affinity)) {
			shell_print("affinity must be %s",
				    config_allowed(config_find_key("affinity", NULL), allowed));
			return;
		}
		if (!names_a_cpu(affinity)) {
			shell_print("the machine has none of these CPUs; it has 0 to %u",
				    percpu_count() - 1);
			return;
		}
		sched_set_affinity(vm, affinity);
	} else {
		shell_print("\"%.32s\" cannot be set; weight and affinity can", call->words[1]);
		return;
	}
	shell_print("vm %s: %s is %s from now on, until it ends", vm->name, call->words[1],
		    call->words[2]);
}

static void run_stop(const struct shell_call *call)
{
	struct vm *vm = loaded(call);

	if (vm != NULL) {
		const bool noticed = platform_press_power_button(vm);

		shell_print("vm %s: its power button was pressed; %s", vm->name,
			    !noticed ? "but the guest has none switched on (Linux: the module "
				       "\"button\"); \"destroy\" ends it"
			    : vm_is_paused(vm) ? "it is paused, and will see that when it goes on"
					       : "\"destroy\" ends a guest that ignores it");
		if (call->count == 2) {
			awaited.entry = call->vm;
			awaited.vm = vm;
			awaited.started = call->vm->started;
			shell_go_live(wait_step); /* any key ends the wait */
		}
	}
}

static const struct vms_entry *replayed;

/*
 * Replays the VM's console as fast as the line accepts it. Then prints why the VM takes no input.
 */
static bool replay_step(void)
{
	if (vconsole_replays()) {
		return true;
	}
	if (replayed->kept) {
		tell_kept(replayed->vm);
	}
	return false;
}

static void run_console(const struct shell_call *call)
{
	if (call->count == 0) {
		shell_leave();
		vconsole_show_all();
	} else if (call->vm->kept) {
		(void)vconsole_replay(call->vm->vm->name);
		replayed = call->vm;
		shell_go_live(replay_step);
	} else if (running(call) != NULL && vconsole_show_one(call->vm->vm->name)) {
		shell_leave();
	}
}

/* While VMs run, the machine is turned off only with "now". */
static bool is_sure(const struct shell_call *call, const char *what)
{
	size_t on = 0;

	if (call->count != 0 && !str_equal_nocase(call->words[0], "now")) {
		shell_print("usage: %s [now]", what);
		return false;
	}
	for (size_t i = 0; i < vms_count(); i++) {
		on += vms_runs(vms_get(i)) ? 1 : 0;
	}
	if (on != 0 && call->count == 0) {
		shell_print("%u VM%s would lose what is not saved; \"%s now\" does it all the same",
			    (unsigned)on, on == 1 ? "" : "s", what);
		return false;
	}
	return true;
}

static void run_poweroff(const struct shell_call *call)
{
	if (is_sure(call, "poweroff")) {
		vms_finish();
		power_off();
	}
}

static void run_reboot(const struct shell_call *call)
{
	if (is_sure(call, "reboot")) {
		vms_finish();
		power_reset();
	}
}

const struct shell_command shell_commands[] = {
	{ "help", "[COMMAND|config [KEY]]", "this list; the keys of umbra.conf", 0, 2, false,
	  shell_run_help, NULL, false },
	{ "vms", "", "the VMs and what they do", 0, 0, false, shell_run_vms, NULL, false },
	{ "vm", "NAME", "more about one", 1, 1, true, shell_run_vm, NULL, false },
	{ "start", "NAME", "starts one that is off", 1, 1, true, run_start, NULL, false },
	{ "unlock", "NAME", "asks for its passphrase, if its key needs one", 1, 1, true, run_unlock,
	  NULL, false },
	{ "stop", "[--wait] NAME", "presses its power button; --wait: until it has ended", 1, 2,
	  true, run_stop, "--wait", false },
	{ "pause", "[--seal|--park] NAME", "off the CPUs; and seals it, or frees its KeyID", 1, 2,
	  true, run_pause, "--seal|--park", false },
	{ "resume", "NAME", "lets it go on", 1, 1, true, run_resume, NULL, false },
	{ "rekey", "NAME", "moves its memory to a fresh KeyID and key", 1, 1, true, run_rekey, NULL,
	  false },
	{ "reset", "NAME", "starts it again, with new keys", 1, 1, true, run_reset, NULL, false },
	{ "destroy", "NAME", "ends it at once and wipes its keys", 1, 1, true, run_destroy, NULL,
	  false },
	{ "nmi", "NAME", "sends an NMI to each of its vCPUs", 1, 1, true, run_nmi, NULL, false },
	{ "regs", "NAME [VCPU]", "registers of a vCPU, to the log", 1, 2, true, run_regs, NULL,
	  true },
	{ "set", "NAME weight|affinity VALUE", "its share; the CPUs for it, such as 0,2-3", 3, 3,
	  true, run_set, NULL, true },
	{ "console", "[NAME]", "the VM's console; without a name, all of them", 0, 1, true,
	  run_console, NULL, false },
	{ "size", "[COLUMNS ROWS]", "the screen's, for guests; asks the terminal", 0, 2, false,
	  shell_run_size, NULL, false },
	{ "stats", "NAME", "exits by reason, faults, run and steal time", 1, 1, true,
	  shell_run_stats, NULL, false },
	{ "top", "", "CPU use, faults and I/O, each second", 0, 0, false, shell_run_top, NULL,
	  false },
	{ "log", "", "the log again", 0, 0, false, shell_run_log, NULL, false },
	{ "host", "", "what the machine offers", 0, 0, false, shell_run_host, NULL, false },
	{ "keys", "[--check]", "KeyIDs and owners; --check: no frame has two", 0, 1, false,
	  shell_run_keys, NULL, false },
	{ "peek", "ADDRESS [BYTES]", "what DRAM holds at a hex address", 1, 2, false,
	  shell_run_peek, NULL, false },
	{ "share", "[NAME [ACTION VM]]", "memory of several VMs; revoke, grant, grant-ro", 0, 3,
	  false, shell_run_share, NULL, false },
	{ "poweroff", "[now]", "turns the machine off", 0, 1, false, run_poweroff, NULL, false },
	{ "reboot", "[now]", "resets the machine", 0, 1, false, run_reboot, NULL, false },
};
const size_t shell_command_count = ARRAY_COUNT(shell_commands);
