/* SPDX-License-Identifier: Apache-2.0 */
/* boot/vms.c: which VMs start, what is logged when they end, and resets with and without an end. */
#include "tests/unit/test.h"
#include "boot/vms.h"
#include "crypto/keyslot.h"
#include "ept/pager.h"
#include "guest/platform.h"
#include "tests/unit/fake_keyslot.h"
#include "vmm/base/err.h"
#include "vmm/console/log.h"
#include "vmm/host/cache.h"
#include "vmm/host/work.h"
#include "vmm/sched.h"
#include "vmm/vcpu.h"

#define SECOND 1000000000ul

static struct config config;
static struct vm vm;
static struct vcpu vcpu;
static unsigned starts, destroys, keeps;
static bool start_fails;

int platform_start_vm(const struct vm_config *c, struct vm **out)
{
	assert_true(c->valid);
	starts++;
	if (start_fails) {
		return ERR_NOMEM;
	}
	memset(&vm, 0, sizeof(vm));
	memset(&vcpu, 0, sizeof(vcpu));
	strcpy(vm.name, c->name);
	vm.vcpus[0] = &vcpu;
	vm.vcpu_count = 1;
	vm.state.only = VM_BUILDING;
	*out = &vm;
	return 0;
}

static bool retiring, retiring_for_long;
static bool keyid_is_left;

bool engine_keyid_is_left(void)
{
	return keyid_is_left;
}

/* Steps of loading that the VM needs, and its result. */
static unsigned load_steps;
static int load_error;

int platform_start_loaded(struct vm *v)
{
	assert_ptr_equal(v, &vm);
	assert_int_equal(v->state.only, VM_BUILDING);
	if (load_steps != 0) {
		return ERR_AGAIN;
	}
	if (load_error == 0) {
		v->state.only = VM_RUNNING;
	}
	return load_error;
}

/* Steps of wiping that are left, and the duration of a step of any work. */
static unsigned wipe_steps;
static bool wiping; /* until retire_poll has reported the end */
#define STEP (SECOND / 3000)

bool work_waits(void)
{
	return wipe_steps + load_steps != 0;
}

bool work_some(void)
{
	if (!work_waits()) {
		return false;
	}
	*(wipe_steps != 0 ? &wipe_steps : &load_steps) -= 1;
	fake_tsc += STEP;
	return true;
}

static bool one_idles;
static unsigned roused;
static uint64_t exempt;

bool sched_rouse_idle(void)
{
	roused++;
	return one_idles;
}

void sched_exempt(uint64_t ticks)
{
	exempt += ticks;
}

bool retire_poll(void)
{
	const bool done = retiring || (wiping && wipe_steps == 0);

	retiring = false;
	wiping = wiping && !done;
	return done;
}

bool retire_pending(void)
{
	return retiring || retiring_for_long || wiping;
}

void retire_finish(void)
{
	retiring_for_long = false;
}

bool retire_buries(void)
{
	return wiping;
}

static bool console_is_slow;

bool platform_finish_console(struct vm *v)
{
	assert_ptr_equal(v, &vm);
	assert_int_equal(v->state.only, VM_ENDED);
	if (!console_is_slow) {
		log_info("last words");
	}
	return !console_is_slow;
}

void platform_log_memory(const struct vm *v)
{
	assert_ptr_equal(v, &vm);
	assert_int_equal(v->state.only, VM_ENDED);
	log_info("memory figures");
}

void platform_destroy_vm(struct vm *v)
{
	assert_ptr_equal(v, &vm);
	assert_int_equal(v->state.only, VM_ENDED);
	v->state.only = VM_BUILDING;
	destroys++;
}

static unsigned forgotten;

void disk_forget(const struct vm_config *of)
{
	assert_int_equal(vm.state.only, VM_BUILDING); /* its devices are destroyed */
	forgotten++;
}

void platform_keep_vm(struct vm *v)
{
	assert_ptr_equal(v, &vm);
	assert_int_equal(v->state.only, VM_ENDED);
	keeps++;
}

void vm_end(struct vm *v, enum vm_end_reason reason, const char *detail)
{
	assert_ptr_equal(v, &vm);
	if (v->state.only == VM_ENDED) {
		return; /* the first reason stays */
	}
	v->end_reason.only = reason;
	v->state.only = VM_ENDED;
	strcpy(v->end_detail, detail != NULL ? detail : "");
}

uint32_t vm_count(void)
{
	return starts - destroys;
}

void pager_window(uint64_t *frames, uint64_t *unclaimed)
{
	*frames = 512;
	*unclaimed = 512 - 65 * vm_count();
}

bool vm_ended(struct vm *v)
{
	return v->state.only == VM_ENDED;
}

/* --- Moves: three steps each, and what a user sees of them --- */

static enum platform_memory memory;
static unsigned steps_left;
static int begin_error;

static int begin(enum platform_memory after)
{
	if (begin_error == 0) {
		steps_left = 3;
		memory = after;
	}
	return begin_error;
}

int rekey_begin(struct vm *v, const struct vm_config *c)
{
	assert_ptr_equal(v, &vm);
	assert_string_equal(c->name, "good");
	if (begin_error == 0) {
		vm_pause(v); /* not before it has the KeyID */
	}
	return begin(PLATFORM_MEMORY_KEYED);
}

int rekey_park(struct vm *v)
{
	assert_ptr_equal(v, &vm);
	assert_true(v->paused.only);
	return begin(PLATFORM_MEMORY_PARKED);
}

int rekey_unpark(struct vm *v, const struct vm_config *c)
{
	assert_true(v->paused.only);
	return rekey_begin(v, c);
}

bool rekey_step(struct vm *v)
{
	assert_true(v->paused.only);
	assert_int_not_equal(steps_left, 0);
	fake_tsc += SECOND / 500; /* longer than a turn */
	return --steps_left == 0;
}

enum platform_memory platform_memory(const struct vm *v)
{
	assert_ptr_equal(v, &vm);
	return memory;
}

void vm_pause(struct vm *v)
{
	v->paused.only = true;
}

void vm_resume(struct vm *v)
{
	v->paused.only = false;
}

const char *vm_end_reason_name(enum vm_end_reason reason)
{
	return reason == VM_END_RESET ? "reset" : reason == VM_END_POWER_OFF ? "off" : "fault";
}

static int setup(void **state)
{
	fake_setup(state);
	memset(&config, 0, sizeof(config));
	config.vm_count = 2;
	strcpy(config.vms[0].name, "bad");
	strcpy(config.vms[1].name, "good");
	config.vms[1].valid = config.vms[1].autostart = true;
	config.vms[1].on_reboot = VM_ON_END_RESTART;
	starts = destroys = keeps = 0;
	begin_error = load_error = 0;
	exempt = wipe_steps = load_steps = roused = 0;
	start_fails = wiping = one_idles = retiring_for_long = false;
	keyid_is_left = true;
	memory = PLATFORM_MEMORY_KEYED;
	fake_tsc = 5 * SECOND;
	return 0;
}

static void end(enum vm_end_reason reason, const char *detail)
{
	vm.state.only = VM_ENDED;
	vm.end_reason.only = reason;
	strcpy(vm.end_detail, detail);
}

TEST(a_vm_without_autostart_waits_for_a_user, setup, fake_teardown)
{
	config.vms[1].autostart = false;
	assert_int_equal(vms_start(&config), 0);
	assert_int_equal(starts, 0);
	assert_non_null(strstr(fake_log_text(), "vm good: off, as autostart = no says"));
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(vms_power_on(vms_get(1)), 0);
	assert_int_equal(starts, 1);
	assert_int_equal(vms_reap(), 1);
	end(VM_END_POWER_OFF, "");
	assert_int_equal(vms_reap(), 0);
}

TEST(a_locked_vm_waits_for_its_passphrase, setup, fake_teardown)
{
	config.vms[1].key.locked = true;
	assert_int_equal(vms_start(&config), 1); /* the machine must not power off meanwhile */
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(vms_reap(), 1);
	}
	assert_int_equal(starts, 0);
	assert_ptr_equal(strstr(fake_log_text(), "waits for its passphrase: \"unlock good\""),
			 strrchr(fake_log_text(), 'w')); /* once */
	config.vms[1].key.locked = false;
	assert_int_equal(vms_reap(), 1);
	assert_int_equal(starts, 1);
	end(VM_END_RESET, "");
	assert_int_equal(vms_reap(), 1);
	assert_int_equal(starts, 2); /* its key stays open */
}

TEST(a_locked_vm_can_be_given_up, setup, fake_teardown)
{
	config.vms[1].key.locked = true;
	assert_int_equal(vms_start(&config), 1);
	vms_destroy(vms_get(1));
	assert_int_equal(vms_reap(), 0);
	config.vms[1].key.locked = false;
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(starts, 0);
}

TEST(one_life, setup, fake_teardown)
{
	assert_int_equal(vms_start(&config), 1);
	assert_int_equal(starts, 1);
	assert_non_null(strstr(fake_log_text(), "warning: vm bad: not started"));
	assert_int_equal(vms_reap(), 1);

	fake_tsc += 1234 * SECOND / 1000;
	vcpu.exit_count[10] = 40;
	vcpu.exit_count[ARRAY_COUNT(vcpu.exit_count) - 1] = 2;
	end(VM_END_POWER_OFF, "");
	console_is_slow = true;
	assert_int_equal(vms_reap(), 1); /* it exists until its last output is written */
	assert_null(strstr(fake_log_text(), "ended"));
	console_is_slow = false;
	assert_int_equal(vms_reap(), 0);
	assert_non_null(strstr(fake_log_text(), "last words\n"
						"info: vm good: ended: off (1.234 s, 42 exits)\n"
						"info: memory figures\n"
						"info: free: "));
	assert_int_equal(destroys, 1);
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(destroys, 1);
}

TEST(faults, setup, fake_teardown)
{
	assert_int_equal(vms_start(&config), 1);
	end(VM_END_TRIPLE_FAULT, "at 0x10");
	assert_int_equal(vms_reap(), 0);
	assert_non_null(strstr(fake_log_text(), "error: vm good: ended: fault: at 0x10 ("));
	assert_int_equal(starts, 1);
}

TEST(no_vm_starts, setup, fake_teardown)
{
	start_fails = true;
	assert_int_equal(vms_start(&config), 0);
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(destroys, 0);
}

TEST(resets, setup, fake_teardown)
{
	forgotten = 0;
	assert_int_equal(vms_start(&config), 1);
	/* A guest that runs for some time before each reset may reset any number of times. */
	for (unsigned i = 0; i < 20; i++) {
		fake_tsc += 10 * SECOND;
		end(VM_END_RESET, "");
		assert_int_equal(vms_reap(), 1);
		assert_int_equal(starts, 2 + i);
	}
	/* A guest that resets at once is stopped in the end, and that is logged. */
	for (unsigned i = 0; i < 4; i++) {
		end(VM_END_RESET, "");
		assert_int_equal(vms_reap(), 1);
	}
	end(VM_END_RESET, "");
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(starts, 25);
	assert_int_equal(destroys, 25);
	assert_non_null(strstr(fake_log_text(), "error: vm good: ended 5 times in a row"));
	assert_int_equal(forgotten, 1);

	/* If building it again fails, it ends. */
	assert_int_equal(vms_start(&config), 1);
	start_fails = true;
	fake_tsc += 10 * SECOND;
	end(VM_END_RESET, "");
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(forgotten, 2);
}

/* Every way to end with every policy for it. */
TEST(policies, setup, fake_teardown)
{
	static const enum vm_end_reason reasons[] = { VM_END_POWER_OFF, VM_END_RESET,
						      VM_END_TRIPLE_FAULT, VM_END_NO_MEMORY };
	static const enum vm_on_end answers[] = { VM_ON_END_DESTROY, VM_ON_END_RESTART,
						  VM_ON_END_KEEP };
	struct vm_config *good = &config.vms[1];

	for (size_t i = 0; i < ARRAY_COUNT(reasons) * ARRAY_COUNT(answers); i++) {
		enum vm_end_reason reason = reasons[i / ARRAY_COUNT(answers)];
		enum vm_on_end answer = answers[i % ARRAY_COUNT(answers)];
		enum vm_on_end other = answers[(i + 1) % ARRAY_COUNT(answers)];

		good->on_poweroff = reason == VM_END_POWER_OFF ? answer : other;
		good->on_reboot = reason == VM_END_RESET ? answer : other;
		good->on_crash = reason > VM_END_RESET ? answer : other;
		starts = destroys = keeps = forgotten = 0;
		assert_int_equal(vms_start(&config), 1);
		fake_tsc += 10 * SECOND;
		end(reason, "");
		assert_int_equal(vms_reap(), answer == VM_ON_END_RESTART);
		assert_int_equal(starts, answer == VM_ON_END_RESTART ? 2 : 1);
		assert_int_equal(destroys, answer != VM_ON_END_KEEP);
		assert_int_equal(keeps, answer == VM_ON_END_KEEP);
		assert_int_equal(forgotten, answer == VM_ON_END_DESTROY);
		assert_int_equal(vms_get(1)->kept, answer == VM_ON_END_KEEP);
	}
	assert_non_null(strstr(fake_log_text(), "vm good: is kept as it ended"));
}

TEST(a_kept_vm_waits_for_a_user, setup, fake_teardown)
{
	const struct vms_entry *good = vms_get(1);

	config.vms[1].on_crash = VM_ON_END_KEEP;
	assert_int_equal(vms_start(&config), 1);
	end(VM_END_TRIPLE_FAULT, "");
	assert_int_equal(vms_reap(), 0);
	assert_int_equal(vms_reap(), 0); /* once */
	assert_true(keeps == 1 && destroys == 0 && good->vm == &vm && !vms_runs(good));
	vms_reset(good);
	assert_true(starts == 2 && destroys == 1 && vms_runs(good));
	end(VM_END_TRIPLE_FAULT, "");
	assert_int_equal(vms_reap(), 0);
	vms_destroy(good);
	assert_true(starts == 2 && destroys == 2 && good->vm == NULL && !good->kept);
	assert_int_equal(vms_power_on(good), 0);
	assert_true(vms_runs(good));
	/* A user's command has priority over the section's policy. */
	vms_destroy(good);
	assert_int_equal(vms_reap(), 0);
	assert_true(keeps == 2 && good->vm == NULL);
	config.vms[1].on_reboot = VM_ON_END_DESTROY;
	for (unsigned i = 0; i < 20; i++) { /* and early ends are not counted */
		assert_int_equal(good->vm != NULL ? 0 : vms_power_on(good), 0);
		vms_reset(good);
		assert_int_equal(vms_reap(), 1);
	}
	end(VM_END_RESET, ""); /* the guest's own reset again */
	assert_int_equal(vms_reap(), 0);
	assert_null(good->vm);
}

/* The last command counts, whatever the VM does meanwhile. */
TEST(commands_are_not_lost, setup, fake_teardown)
{
	const struct vms_entry *good = vms_get(1);

	config.vms[1].on_poweroff = VM_ON_END_KEEP;
	assert_int_equal(vms_start(&config), 1);
	vms_reset(good);
	vms_destroy(good);
	assert_int_equal(vms_reap(), 0);
	assert_true(starts == 1 && destroys == 1 && good->vm == NULL);
	assert_int_equal(vms_power_on(good), 0);
	vms_destroy(good);
	vms_reset(good);
	assert_int_equal(vms_reap(), 1);
	assert_int_equal(starts, 3);
	end(VM_END_RESET, ""); /* its own reset, before the command is carried out */
	vms_destroy(good);
	assert_int_equal(vms_reap(), 0);
	assert_null(good->vm);
	assert_int_equal(vms_power_on(good), 0);
	end(VM_END_POWER_OFF, "");
	vms_destroy(good);
	assert_int_equal(vms_reap(), 0);
	assert_true(keeps == 0 && good->vm == NULL);
}

/* Where the machine has KeyIDs, all of them must be free again, too. */
TEST(keyids_are_counted, setup, fake_teardown)
{
	keyid_t keyid;

	(void)vms_start(&config);
	assert_null(strstr(fake_log_text(), "KeyID"));
	fake_keyslots = 15;
	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, "Umbra", &keyid), 0);
	(void)vms_start(&config);
	assert_non_null(strstr(fake_log_text(), "secrets are there; 14 of 15 KeyIDs are free\n"));
	keyslot_use(keyid);
	vms_finish();
	assert_non_null(strstr(fake_log_text(), "in use: 1; their keys end with the machine"));
	keyslot_unuse(keyid); /* its key exists until it is killed */
	fake_log_reset();
	(void)vms_start(&config);
	assert_non_null(strstr(fake_log_text(), "; 14 of 15 KeyIDs are free\n"));
	cache_flush_all();
	keyslot_kill_retired(false, NULL);
	(void)vms_start(&config);
	assert_non_null(strstr(fake_log_text(), "; 15 of 15 KeyIDs are free\n"));
}

/* If a VM crashes at once each time, it is not started again for ever. */
TEST(crashes_are_bounded, setup, fake_teardown)
{
	config.vms[1].on_crash = VM_ON_END_RESTART;
	assert_int_equal(vms_start(&config), 1);
	for (unsigned i = 0; i < 5; i++) {
		end(VM_END_TRIPLE_FAULT, "");
		assert_int_equal(vms_reap(), i < 4);
	}
	assert_int_equal(starts, 5);
	assert_int_equal(destroys, 5);
	assert_non_null(strstr(fake_log_text(), "ended 5 times in a row right after its start"));
	assert_null(strstr(fake_log_text(), "1 VMs and")); /* it is counted when it is gone */
	assert_non_null(strstr(fake_log_text(), "512 of the window's 512 frames; 0 VMs"));
}

/* One step in each reap after the first: other VMs have the CPU in between. */
static void finish_begun_move(void)
{
	for (unsigned step = 0; step < 3; step++) {
		assert_true(vms_busy());
		assert_true(vm.paused.only);
		(void)vms_reap();
	}
	assert_false(vms_busy());
	assert_int_equal(vms_get(1)->move, VMS_NO_MOVE);
}

static void finish_move(void)
{
	(void)vms_reap();
	finish_begun_move();
}

TEST(keyids_move, setup, fake_teardown)
{
	(void)vms_start(&config);
	(void)vms_reap();
	vms_rekey(vms_get(1));
	finish_move();
	assert_false(vm.paused.only);
	vm.paused.only = true; /* a VM that was paused stays paused */
	vms_rekey(vms_get(1));
	finish_move();
	assert_true(vm.paused.only);
	vms_park(vms_get(1));
	finish_move();
	assert_true(vm.paused.only);
	vms_unpark(vms_get(1));
	finish_move();
	assert_false(vm.paused.only);
}

/*
 * A KeyID that retires is waited for. If none is left, a parked VM stays parked, and a running VM
 * goes on.
 */
TEST(no_keyid_is_left, setup, fake_teardown)
{
	(void)vms_start(&config);
	(void)vms_reap();
	begin_error = ERR_NOSPACE;
	vms_rekey(vms_get(1));
	retiring = true;
	(void)vms_reap(); /* frees it; then no KeyID is retiring */
	assert_non_null(strstr(fake_log_text(), "rekey: no KeyID of TME-MK is left"));
	assert_false(vm.paused.only);
	vm.paused.only = true;
	vms_unpark(vms_get(1));
	(void)vms_reap();
	assert_non_null(strstr(fake_log_text(), "resume: no KeyID of TME-MK is left"));
	assert_true(vm.paused.only);
	assert_false(vms_busy());
}

TEST(an_old_key_goes, setup, fake_teardown)
{
	config.vms[1].rekey_after_s = 60;
	(void)vms_start(&config);
	(void)vms_reap();
	fake_tsc += 59 * SECOND;
	(void)vms_reap();
	assert_int_equal(vms_get(1)->move, VMS_NO_MOVE);
	fake_tsc += 2 * SECOND;
	(void)vms_reap();
	assert_int_equal(vms_get(1)->move, VMS_REKEYS);
	finish_begun_move();
	assert_false(vm.paused.only);
	fake_tsc += 59 * SECOND;
	(void)vms_reap();
	assert_int_equal(vms_get(1)->move, VMS_NO_MOVE);
}

/* The text is in the log exactly once. */
static void assert_said_once(const char *words)
{
	const char *at = strstr(fake_log_text(), words);

	assert_non_null(at);
	assert_null(strstr(at + 1, words));
}

/* While no KeyID is free, the VM runs on. */
TEST(no_vm_is_paused_while_no_keyid_is_free, setup, fake_teardown)
{
	config.vms[1].rekey_after_s = 60;
	(void)vms_start(&config);
	keyid_is_left = false;
	begin_error = ERR_NOSPACE;
	fake_tsc += 61 * SECOND;
	for (unsigned turn = 0; turn < 200; turn++) {
		(void)vms_reap();
		assert_false(vm.paused.only);
		assert_int_equal(vms_get(1)->move, VMS_NO_MOVE); /* a user may park it */
		fake_tsc += SECOND;
	}
	assert_said_once("vm good: its key is older than 60 s, as rekey-after says: it waits for a "
			 "KeyID and runs on");
	keyid_is_left = true;
	begin_error = 0;
	(void)vms_reap();
	finish_begun_move();
	assert_false(vm.paused.only);

	/* A user's command waits for a KeyID that retires, but the VM does not. */
	begin_error = ERR_NOSPACE;
	vms_rekey(vms_get(1));
	for (unsigned turn = 0; turn < 200; turn++) {
		retiring_for_long = true;
		(void)vms_reap();
		assert_false(vm.paused.only);
		assert_int_equal(vms_get(1)->move, VMS_REKEYS);
	}
	assert_said_once("vm good: rekey: waits for a KeyID that retires");
	begin_error = 0;
	finish_move();
	assert_false(vm.paused.only);
}

/* A VM that ends during a move starts again without the move. */
TEST(a_move_ends_with_its_vm, setup, fake_teardown)
{
	(void)vms_start(&config);
	(void)vms_reap();
	vms_rekey(vms_get(1));
	(void)vms_reap();
	vms_destroy(vms_get(1));
	(void)vms_reap();
	assert_null(vms_get(1)->vm);
	assert_int_equal(vms_get(1)->move, VMS_NO_MOVE);
	assert_false(vms_busy());
}

#define REST (SECOND / 250)

/*
 * Takes turns until everything is done. A turn lasts a millisecond and one step, no neighbour is
 * charged for it, and then the neighbours run, however short their slices are.
 */
static void take_turns(const unsigned *steps)
{
	for (unsigned turns = 0; turns < 25; turns++) {
		const uint64_t before = fake_tsc;

		assert_int_not_equal(*steps, 0);
		exempt = 0;
		(void)vms_reap();
		assert_in_range(fake_tsc - before, STEP, SECOND / 1000 + STEP);
		assert_int_equal(exempt, fake_tsc - before);
		/* A CPU with nothing else to do idles, and so does the work. */
		assert_false(vms_busy());
		for (unsigned slices = 0; slices < 4; slices++) {
			const unsigned left = *steps;

			fake_tsc += REST / 5;
			(void)vms_reap();
			assert_int_equal(*steps, left);
		}
		fake_tsc += REST / 5;
	}
	assert_int_equal(*steps, 0);
}

/* Wiping runs for a millisecond between two slices. The machine waits for it, and for keys. */
TEST(wiping_takes_turns, setup, fake_teardown)
{
	(void)vms_start(&config);
	(void)vms_reap();
	end(VM_END_POWER_OFF, "");
	wipe_steps = 100;
	wiping = true;
	take_turns(&wipe_steps);
	assert_non_null(strstr(fake_log_text(), "free: "));
	assert_int_equal(vms_reap(), 0);
	retiring_for_long = true;
	assert_int_equal(vms_reap(), 1);
	vms_finish();
	assert_int_equal(vms_reap(), 0);
}

/* A VM is loaded in the same way; it counts as running, and its time starts when it runs. */
TEST(loading_takes_turns, setup, fake_teardown)
{
	const struct vms_entry *good = vms_get(1);

	load_steps = 100;
	assert_int_equal(vms_start(&config), 1);
	assert_true(good->loads);
	take_turns(&load_steps);
	assert_true(!good->loads && vm.state.only == VM_RUNNING);
	fake_tsc += SECOND;
	end(VM_END_POWER_OFF, "");
	assert_int_equal(vms_reap(), 0);
	assert_non_null(strstr(fake_log_text(), "vm good: ended: off (1.004 s"));
}

/* If a CPU idles, the boot processor leaves the work to it. */
TEST(an_idle_cpu_works, setup, fake_teardown)
{
	uint64_t before;

	(void)vms_start(&config);
	(void)vms_reap();
	before = fake_tsc += REST;
	assert_int_equal(roused, 0); /* there is no work */
	one_idles = true;
	wipe_steps = 5;
	(void)vms_reap();
	assert_int_equal(roused, 1);
	assert_int_equal(wipe_steps, 5);
	assert_int_equal(fake_tsc, before);
	one_idles = false; /* now a guest runs there */
	(void)vms_reap();
	assert_in_range(wipe_steps, 0, 2);
}

/* A user may end it, or start it again, at any step; the section's policy is not used. */
TEST(a_vm_that_loads_is_ended, setup, fake_teardown)
{
	const struct vms_entry *good = vms_get(1);

	config.vms[1].on_crash = config.vms[1].on_poweroff = VM_ON_END_KEEP;
	load_steps = 100;
	one_idles = true; /* a slow one */
	(void)vms_start(&config);
	assert_int_equal(vms_reap(), 1);
	vms_destroy(good);
	load_steps = 0; /* the last step is done at the same time */
	assert_int_equal(vms_reap(), 0);
	assert_true(starts == 1 && destroys == 1 && good->vm == NULL && !good->loads);
	load_steps = 100;
	assert_int_equal(vms_power_on(good), 0);
	for (unsigned i = 0; i < 20; i++) {
		vms_reset(good);
		assert_int_equal(vms_reap(), 1);
		assert_true(good->loads);
	}
	assert_true(starts == 22 && destroys == 21 && keeps == 0);
	vms_reset(good);
	vms_destroy(good);
	assert_int_equal(vms_reap(), 0);
	assert_null(good->vm);
}

/* Its memory cannot be written: that is logged, the VM is gone, and it is not tried again. */
TEST(loading_fails, setup, fake_teardown)
{
	config.vms[1].on_crash = VM_ON_END_RESTART;
	load_error = ERR_NOMEM;
	assert_int_equal(vms_start(&config), 1);
	assert_int_equal(vms_reap(), 0);
	assert_true(starts == 1 && destroys == 0);
	assert_null(vms_get(1)->vm);
	assert_false(vms_get(1)->loads);
}
