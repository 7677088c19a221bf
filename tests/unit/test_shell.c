/* SPDX-License-Identifier: Apache-2.0 */
/* boot/shell*.c: command lines as users type them. */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "boot/dma.h"
#include "boot/line_edit.h"
#include "boot/shell.h"
#include "boot/shell_priv.h"
#include "crypto/keyslot.h"
#include "crypto/page_cipher.h"
#include "crypto/tme.h"
#include "ept/ept.h"
#include "guest/platform.h"
#include "guest/vconsole.h"
#include "tests/unit/fake_keyslot.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/console/console.h"
#include "vmm/sched.h"
#include "vmm/vcpu.h"
#include "vmm/vmx.h"

static struct vm_config configs[2] = {
	{ .name = "alpha", .valid = true, .vcpus = 2, .memory_bytes = 64 << 20 },
	{ .name = "beta", .valid = true, .vcpus = 1, .memory_bytes = 32 << 20 },
};
static struct vm vm;
static struct vcpu vcpu;
static struct vms_entry entries[2];
static char did[200];
static int start_error;

static void note(const char *what, const char *name)
{
	strcat(strcat(strcat(did, what), " "), name);
	strcat(did, ";");
}

size_t vms_count(void)
{
	return 2;
}

const struct vms_entry *vms_get(size_t index)
{
	assert_in_range(index, 0, 1);
	return &entries[index];
}

int vms_power_on(const struct vms_entry *entry)
{
	note("start", entry->config->name);
	return start_error;
}

void platform_pause(struct vm *v)
{
	v->paused.only = true;
	note("pause", v->name);
}

void platform_resume(struct vm *v)
{
	v->paused.only = false;
	note("resume", v->name);
}

void vms_reset(const struct vms_entry *entry)
{
	note("reset", entry->config->name);
}

void vms_destroy(const struct vms_entry *entry)
{
	note("destroy", entry->config->name);
}

void vms_rekey(const struct vms_entry *entry)
{
	note("rekey", entry->config->name);
}

void vms_park(const struct vms_entry *entry)
{
	note("park", entry->config->name);
}

void vms_unpark(const struct vms_entry *entry)
{
	note("unpark", entry->config->name);
}

void vms_finish(void)
{
	note("finish", "keys");
}

bool unlock_ask(const struct vm_config *config, void (*say)(const char *fmt, ...))
{
	say("vm %s has no passphrase", config->name);
	return false;
}

const char *unlock_prompt(void) /* test_shell_ask tests how it is used */
{
	fail();
	return NULL;
}

bool unlock_feed(uint8_t byte)
{
	fail();
	return false;
}

static jmp_buf powered_off;

_Noreturn void power_off(void)
{
	note("power", "off");
	longjmp(powered_off, 1);
}

_Noreturn void power_reset(void)
{
	note("power", "reset");
	longjmp(powered_off, 1);
}

const char *vm_end_reason_name(enum vm_end_reason reason)
{
	assert_int_equal(reason, VM_END_TRIPLE_FAULT);
	return "triple fault";
}

unsigned platform_percent_loaded(const struct vm *v)
{
	assert_ptr_equal(v, &vm);
	return 42;
}

static bool in_clear;
static enum platform_memory kept_how = PLATFORM_MEMORY_SEALED;

const char *platform_engine_words(const struct vm *v)
{
	assert_non_null(v);
	return in_clear ? "in clear" : "sealed by a test";
}

bool platform_count_memory(const struct vm *v, struct pager_counters *out)
{
	assert_non_null(v);
	*out = (struct pager_counters){ .clear_pages = 17, .clear_peak = 23, .clear_mean = 19 };
	return !in_clear;
}

void dma_report(void (*print)(const char *fmt, ...))
{
	print("  IOMMU: this test has none");
}

static bool wraps_keys;

bool page_cipher_wraps_keys(void)
{
	return wraps_keys;
}

void pager_window(uint64_t *frames, uint64_t *unclaimed)
{
	*frames = 512;
	*unclaimed = 400;
}

enum platform_memory platform_memory(const struct vm *v)
{
	assert_non_null(v);
	return in_clear ? PLATFORM_MEMORY_CLEAR : kept_how;
}

int platform_seal_vm(struct vm *v)
{
	assert_true(v->paused.only && !in_clear);
	note("seal", v->name);
	return 0;
}

void vm_log_exits(const struct vm *v)
{
	note("exits", v->name);
}

void platform_log_memory(const struct vm *v)
{
	note("memory", v->name);
}

void vcpu_ask_dump(struct vcpu *v)
{
	assert_ptr_equal(v, &vcpu);
	note("regs", "vCPU");
}

void sched_set_weight(struct vm *v, uint32_t weight)
{
	assert_int_equal(weight, 250);
	note("weight", v->name);
}

void sched_set_affinity(struct vm *v, const uint64_t affinity[CPU_MAX / 64])
{
	assert_int_equal(affinity[0], 1);
	note("affinity", v->name);
}

void vcpu_nmi(struct vcpu *v)
{
	assert_ptr_equal(v, &vcpu);
	note("nmi", "vCPU");
}

static bool button_is_on;

bool platform_press_power_button(struct vm *v)
{
	note("button", v->name);
	return button_is_on;
}

static uint64_t device_bytes;

uint64_t platform_device_bytes(const struct vm *v)
{
	return device_bytes;
}

void platform_print_devices(const struct vm *v, void (*print)(const char *fmt, ...))
{
	print("  00:01.0: a device of %s", v->name);
}

const char *platform_memory_name(const struct vm *v)
{
	return "sealed";
}

void sched_times(const struct vm *v, struct sched_times *out)
{
	*out = (struct sched_times){ 500000000, 250000000 };
}

const char *page_cipher_name(void)
{
	return "a kernel";
}

const struct tme_state *tme_state(void)
{
	static const struct tme_state tme = { .words = "TME is on; all DRAM is under one key" };

	return &tme;
}

/* Host pages between pages of VMs, in one range of RAM, if a test made that range longer. */
#define POOL 0x40002000ul

struct mem_range page_pool(void)
{
	return (struct mem_range){ .base = hpa(POOL), .page_count = 1 };
}

void gmem_peek(hpa_t at, void *out, size_t bytes)
{
	assert_true(at.v >= 0x40000000 && at.v + bytes <= 0x40004000);
	assert_true(at.v + bytes <= POOL || at.v >= POOL + PAGE_SIZE);
	memset(out, 'a' + (int)(at.v / 16 % 16), bytes);
}

static struct boot_info boot;

static int setup(void **state)
{
	int err = fake_setup(state);

	memset(&vm, 0, sizeof(vm));
	fake_ept_caps.page_2m = true;
	strcpy(vm.name, "alpha");
	vm.vcpus[0] = &vcpu;
	vm.vcpu_count = 1;
	entries[0] = (struct vms_entry){ .config = &configs[0], .vm = &vm };
	entries[1] = (struct vms_entry){ .config = &configs[1] };
	fake_tsc = 1;
	did[0] = '\0';
	start_error = 0;
	boot.ranges[0] = (struct mem_range){ { 0x40000000 }, 2 };
	boot.range_count = 1;
	shell_init(&boot);
	return err;
}

static const char *run(const char *text)
{
	static size_t seen;
	char copy[LINE_EDIT_MAX + 1];

	seen = strlen(fake_console_text());
	strcpy(copy, text);
	shell_run(copy);
	return fake_console_text() + seen;
}

TEST(every_command_has_help, setup, fake_teardown)
{
	const char *help = run("help");

	for (size_t i = 0; i < shell_command_count; i++) {
		assert_non_null(strstr(help, shell_commands[i].name));
		assert_non_null(strstr(help, shell_commands[i].what));
	}
	for (const char *line = help; *line != '\0'; line = strchr(line, '\n') + 1) {
		/* On a terminal with 80 columns. */
		assert_in_range(strchr(line, '\r') - line, 1, 79);
	}
}

TEST(commands_do_what_they_say, setup, fake_teardown)
{
	const char *text;

	run("pause alpha");
	assert_non_null(strstr(run("vms"), "alpha            paused"));
	assert_non_null(strstr(run("pause --seal alpha"), "none of its pages is in clear"));
	assert_non_null(strstr(run("vm alpha"), "off the CPUs; last on CPU 0"));
	assert_string_equal(run("start alpha"), "vm alpha is paused; \"resume\" lets it go on\r\n");
	run("  RESUME\tAlpha  ");
	assert_string_equal(run("resume alpha"), "vm alpha is not paused\r\n");
	assert_non_null(strstr(run("vm alpha"), ", on CPU 0"));
	run("reset alpha");
	run("destroy alpha");
	assert_non_null(strstr(run("stop alpha"), "the guest has none switched on"));
	button_is_on = true;
	assert_non_null(strstr(run("stop alpha"), "ends a guest that ignores it"));
	percpu_get(0)->wait_ticks[WAIT_PAGE].only = 7000;
	text = run("stats alpha");
	assert_non_null(strstr(text, "it ran for 500 ms"));
	assert_non_null(
		strstr(text, "of all VMs: CPUs have waited 7 us for each other (the window's "));
	assert_non_null(strstr(text, "  00:01.0: a device of alpha\r\n"));
	assert_non_null(strstr(run("vm alpha"), "  00:01.0: a device of alpha\r\n"));
	run("start beta");
	assert_string_equal(did, "pause alpha;pause alpha;seal alpha;resume alpha;reset "
				 "alpha;destroy alpha;button alpha;button alpha;"
				 "exits alpha;memory alpha;start beta;");
	assert_non_null(strstr(run("vms"), "beta             off"));
	entries[1].waits = configs[1].key.locked = true;
	assert_non_null(strstr(run("vms"), "beta             locked"));
	configs[1].key.locked = false;
	assert_non_null(strstr(run("vms"), "beta             waits"));
	assert_non_null(strstr(run("vm alpha"), "64M of memory"));
	assert_non_null(
		strstr(run("vm alpha"), "17 pages in clear now, 19 on average, 23 at most"));
	assert_non_null(strstr(run("vm alpha"), "lives in Umbra's memory until"));
	wraps_keys = true;
	assert_non_null(strstr(run("vm alpha"), "lives in Umbra's memory, wrapped, until"));
	wraps_keys = false;
	assert_non_null(strstr(run("host"), "AES-256-XTS by a kernel"));
	assert_non_null(strstr(run("host"), "memory encryption: TME is on"));
	assert_non_null(strstr(run("host"), "IOMMU: this test has none"));
	assert_non_null(strstr(run("host"), "caches: flushed by WBINVD on all CPUs 0 times"));
	assert_string_equal(run("unlock beta"), "vm beta has no passphrase\r\n");
	assert_string_equal(run(""), "");
}

TEST(mistakes_get_a_sentence, setup, fake_teardown)
{
	const char *help;

	assert_string_equal(run("vmz"), "\"vmz\" is not a command; \"help\" lists them\r\n");
	assert_string_equal(run("pause"), "usage: pause [--seal|--park] NAME\r\n");
	assert_string_equal(run("pause alpha --seal"), "usage: pause [--seal|--park] NAME\r\n");
	assert_string_equal(run("pause --seal gamma"),
			    "there is no VM \"gamma\"; \"vms\" lists them\r\n");
	assert_string_equal(run("help config nothing"),
			    "umbra.conf has no key \"nothing\"; \"help config\" lists them\r\n");
	assert_string_equal(run("help config VCPUS"), "  [vm NAME] vcpus\r\n"
						      "    Must be a number from 1 to 64.\r\n"
						      "    If absent: 1.\r\n"
						      "    The VM's virtual CPUs.\r\n");
	help = run("help config key");
	assert_non_null(strstr(help, "[vm NAME] key\r\n"));
	assert_non_null(strstr(help, "[share NAME] key\r\n"));
	help = run("help config members");
	assert_non_null(strstr(help, "Must be given, such as alpha:rw, beta:ro."));
	assert_non_null(strstr(help, "the key may be repeated"));
	help = run("help config");
	assert_non_null(strstr(help, "[host]: exit, serial"));
	assert_non_null(strstr(help, "[share]: size, members, key, via\r\n"));
	for (const char *line = help; *line != '\0'; line = strchr(line, '\n') + 1) {
		assert_in_range(strcspn(line, "\r"), 1, 80);
	}
	assert_string_equal(run("help me"), "\"me\" is not a command; \"help\" lists them\r\n");
	assert_string_equal(run("vms a b c d e f"), "usage: vms\r\n");
	assert_string_equal(run("pause gamma"), "there is no VM \"gamma\"; \"vms\" lists them\r\n");
	assert_string_equal(run("pause beta"), "vm beta is off; \"start beta\" starts it\r\n");
	assert_string_equal(run("start alpha"), "vm alpha runs already\r\n");
	assert_non_null(strstr(run("poweroff"), "\"poweroff now\" does it all the same"));
	assert_string_equal(run("reboot soon"), "usage: reboot [now]\r\n");
	in_clear = true;
	assert_non_null(strstr(run("pause --seal alpha"), "no engine that could seal it"));
	in_clear = false;
	configs[1].valid = false;
	assert_non_null(strstr(run("start beta"), "has an error"));
	configs[1].valid = true;
	assert_string_equal(did, "");
}

TEST(peek_shows_only_ram_of_vms, setup, fake_teardown)
{
	assert_string_equal(run("peek 0x40000018 24"),
			    "  000040000018  62 62 62 62 62 62 62 62 bbbbbbbb\r\n"
			    "  000040000020  63 63 63 63 63 63 63 63 63 63 63 63 63 63 63 63 "
			    "cccccccccccccccc\r\n");
	assert_non_null(strstr(run("peek 40001fc1"), "is not all RAM"));
	assert_non_null(strstr(run("peek ffffffffffffffff"), "is not all RAM"));
	assert_non_null(strstr(run("peek 12345678901234567"), "is not an address"));
	assert_non_null(strstr(run("peek 0x"), "is not an address"));
	assert_non_null(strstr(run("peek zebra"), "is not an address"));
	assert_non_null(strstr(run("peek 40000000 0"), "is not a count"));
	assert_non_null(strstr(run("peek 40000000 4097"), "is not a count"));
	assert_non_null(strstr(run("peek 40000000 -1"), "is not a count"));
}

/* Even if it lies in the middle of RAM: from its first byte to its last. */
TEST(peek_hides_umbras_memory, setup, fake_teardown)
{
	static const struct {
		const char *line;
		bool hidden;
	} rows[] = {
		{ "peek 40001fc0 64", false },	{ "peek 40001fc1 64", true },
		{ "peek 40002000 1", true },	{ "peek 40002800", true },
		{ "peek 40002fff 64", true },	{ "peek 40003000 64", false },
		{ "peek 40001fff 4096", true }, { "peek 40002000 4096", true },
	};

	boot.ranges[0].page_count = 4;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		const char *said = run(rows[i].line);

		assert_int_equal(strstr(said, "is Umbra's own memory") != NULL, rows[i].hidden);
		assert_int_equal(strstr(said, "  00004000") == NULL, rows[i].hidden);
	}
}

/*
 * A VM with a KeyID gets a fresh one, or is parked; not a VM without a KeyID, and not during a
 * move.
 */
TEST(keyids_change, setup, fake_teardown)
{
	assert_non_null(strstr(run("rekey alpha"), "has no KeyID with a key of its own"));
	assert_non_null(strstr(run("pause --park alpha"), "has no KeyID with a key of its own"));
	kept_how = PLATFORM_MEMORY_KEYED;
	did[0] = '\0';
	(void)run("rekey alpha");
	(void)run("pause --park alpha");
	entries[0].move = VMS_REKEYS;
	assert_non_null(strstr(run("vms"), "running")); /* it waits for a KeyID */
	entries[0].move = VMS_PARKS;
	entries[0].move_begun = true;
	assert_non_null(strstr(run("vms"), "moves"));
	assert_non_null(strstr(run("resume alpha"), "is being moved"));
	assert_non_null(strstr(run("rekey alpha"), "is being moved"));
	assert_non_null(strstr(run("pause --seal alpha"), "is being moved"));
	entries[0].move = VMS_NO_MOVE;
	kept_how = PLATFORM_MEMORY_PARKED;
	vm.paused.only = true;
	assert_non_null(strstr(run("vms"), "parked"));
	assert_non_null(strstr(run("rekey alpha"), "is parked; \"resume\""));
	(void)run("resume alpha");
	kept_how = PLATFORM_MEMORY_SEALED;
	assert_string_equal(did, "rekey alpha;park alpha;unpark alpha;");
	assert_non_null(strstr(run("pause --parks alpha"), "usage"));
	assert_non_null(strstr(run("pause --see alpha"), "usage"));
}

/* All columns stand below their words, whatever a KeyID is used for. */
TEST(keyids_are_shown, setup, fake_teardown)
{
	static const struct {
		const char *owner;
		enum keyslot_mode mode;
	} slots[] = {
		{ "Umbra", KEYSLOT_RANDOM },
		{ "alpha", KEYSLOT_DIRECT },
		{ "open", KEYSLOT_NO_ENCRYPT },
	};
	const char *text, *line;
	keyid_t keyid;

	assert_null(strstr(run("keys"), "KEYID"));
	fake_keyslots = 15;
	for (unsigned i = 0; i < ARRAY_COUNT(slots); i++) {
		assert_int_equal(keyslot_take(slots[i].mode, NULL, 0, slots[i].owner, &keyid), 0);
		keyslot_use(keyid);
	}
	text = run("keys");
	assert_non_null(strstr(text, "  TME is on; all DRAM is under one key\r\n  KEYID STATE "));
	line = strchr(text, '\n') + 1;
	for (unsigned i = 0; i < ARRAY_COUNT(slots); i++) {
		const char *row = strstr(line, slots[i].owner);

		assert_non_null(row);
		while (row[-1] != '\n') {
			row--;
		}
		assert_int_equal(strstr(row, slots[i].owner) - row, strstr(line, "OWNER") - line);
		assert_int_equal(strstr(row, "in use") - row, strstr(line, "STATE") - line);
		assert_int_equal(strstr(row, keyslot_mode_name(slots[i].mode)) - row,
				 strstr(line, "MODE") - line);
	}
	assert_non_null(strstr(text, "  12 of 15 KeyIDs were never used\r\n"));
	assert_null(strstr(run("vm alpha"), "key: KeyID"));
	vm.gmem.keyid = 2;
	fake_tsc += 3 * fake_tsc_hz;
	assert_non_null(strstr(run("vm alpha"), "  key: KeyID 2, generation 1, mode tenant's key, "
						"in use for 3 s\r\n"));
}

/* The keys that wait are overwritten before the machine is turned off or reset. */
TEST(power_goes_when_keys_are_dead, setup, fake_teardown)
{
	entries[0].vm = NULL;
	if (setjmp(powered_off) == 0) {
		run("poweroff");
	}
	entries[0].vm = &vm;
	if (setjmp(powered_off) == 0) {
		run("reboot now");
	}
	assert_string_equal(did, "finish keys;power off;finish keys;power reset;");
}

/* A VM that has ended and is kept can be inspected, and nothing else. */
TEST(kept_ones_are_shown, setup, fake_teardown)
{
	static const char *const refused[] = {
		"pause alpha", "pause --seal alpha", "resume alpha", "stop alpha", "start alpha",
	};
	struct vconsole console = { .name = NULL };
	size_t before;

	vm.end_reason.only = VM_END_TRIPLE_FAULT;
	entries[0].kept = true;
	vconsole_attach(&console, "alpha");
	vconsole_put(&console, 'L');
	vconsole_put(&console, '\n');
	vconsole_end(&console);
	assert_non_null(strstr(run("vms"), "alpha            kept"));
	for (size_t i = 0; i < ARRAY_COUNT(refused); i++) {
		assert_non_null(strstr(run(refused[i]), "has ended (triple fault) and is kept"));
	}
	shell_poll();
	before = strlen(fake_console_text());
	(void)run("console alpha");
	shell_poll();
	assert_int_equal(strlen(fake_console_text()), before); /* until there is room */
	vconsole_show();
	shell_poll();
	assert_non_null(strstr(fake_console_text() + before, "[alpha] L\r\nvm alpha has ended"));
	assert_string_equal(did, "");
	assert_non_null(strstr(run("vm alpha"), "triple fault"));
	run("stats alpha");
	run("reset alpha");
	assert_non_null(strstr(run("destroy alpha"), "vm alpha is off"));
	assert_string_equal(did, "exits alpha;memory alpha;reset alpha;destroy alpha;");
	vconsole_detach(&console);
	run("console");
}

/* Ctrl-^ from the VM in view to the shell and back, and what is kept in between. */
TEST(views_change, setup, fake_teardown)
{
	struct vconsole console = { .name = NULL };

	vconsole_attach(&console, "alpha");
	vconsole_put(&console, 'r');
	vconsole_show();
	fake_console_type("ab");
	shell_poll();
	assert_int_equal(vconsole_get(&console), 'a');
	assert_int_equal(fake_log_shown, LOG_ERROR);
	fake_console_type("\x1evm");
	shell_poll();
	assert_int_equal(fake_log_shown, LOG_INFO); /* while a user asks, answers are shown */
	assert_int_equal(vconsole_get(&console), 'b');
	assert_int_equal(vconsole_get(&console), -1);
	assert_non_null(strstr(fake_console_text(), "umbra> vm"));
	vconsole_put(&console, 'K');
	vconsole_put(&console, '\n');
	vconsole_show();
	assert_null(strstr(fake_console_text(), "K"));
	fake_console_type("s\r");
	shell_poll();
	assert_non_null(strstr(fake_console_text(), "alpha            running"));
	fake_console_type("\x1ez");
	shell_poll();
	assert_int_equal(vconsole_get(&console), 'z');
	assert_int_equal(fake_log_shown, LOG_ERROR);
	vconsole_show();
	assert_non_null(strstr(fake_console_text(), "K\n"));
	/* The VM may have left colours set. */
	assert_string_equal(fake_console_controls, "\x1b[!p\x1b[m");
	fake_console_type("\x1e\x1e"); /* twice: one is for the VM */
	shell_poll();
	assert_false(vconsole_in_shell());
	assert_int_equal(vconsole_get(&console), 0x1e);
	assert_int_equal(vconsole_get(&console), -1);
	fake_console_type("\x1e");
	shell_poll();
	fake_tsc += 1100000000;
	fake_console_type("\x1e"); /* a second read of it is not a second key */
	shell_poll();
	assert_false(vconsole_in_shell());
	assert_int_equal(vconsole_get(&console), -1);
	vconsole_set_escape(0x01);
	assert_string_equal(vconsole_escape_name(), "Ctrl-A");
	fake_console_type("\x1e\x01");
	shell_poll();
	assert_true(vconsole_in_shell());
	assert_int_equal(vconsole_get(&console), 0x1e);
	vconsole_set_escape(VCONSOLE_ESCAPE_KEY);
	fake_console_type("console\r");
	shell_poll();
	fake_console_type("q");
	shell_poll();
	assert_int_equal(vconsole_get(&console), 'q');
	/* A ring that the guest does not empty: the bell rings, and the escape key still works. */
	for (unsigned i = 0; i < VCONSOLE_INPUT_BYTES + 1; i++) {
		fake_console_type("f");
		shell_poll();
	}
	assert_null(strchr(fake_console_text(), '\a'));
	fake_tsc += 2000000000;
	shell_poll();
	assert_non_null(strchr(fake_console_text(), '\a'));
	fake_console_type("\x1e");
	shell_poll();
	assert_true(vconsole_in_shell());
	vconsole_detach(&console);
}

TEST(top_goes_on_until_a_key, setup, fake_teardown)
{
	size_t before;

	fake_console_type("\rtop\r"); /* no VM's console: the first key wakes the shell */
	shell_poll();
	before = strlen(fake_console_text());
	shell_poll();
	assert_int_equal(strlen(fake_console_text()), before);
	fake_tsc += 1000000001;
	device_bytes += 5000 << 10;
	shell_poll();
	assert_non_null(strstr(fake_console_text() + before,
			       "alpha            running     0.0    64M "
			       "   68K    76K    92K        0    5000K"));
	fake_console_type(" ");
	shell_poll();
	before = strlen(fake_console_text());
	fake_tsc += 1000000001;
	shell_poll();
	assert_int_equal(strlen(fake_console_text()), before);
}

TEST(the_terminal_says_its_size, setup, fake_teardown)
{
	assert_non_null(strstr(run("size"), "size is not known"));
	fake_console_type("\x1b[24;80R");
	shell_poll();
	assert_int_equal(vconsole_size().columns, 80);
}

TEST(tab_knows_vms_and_options, setup, fake_teardown)
{
	fake_console_type("\rpause --s\tal\t\r"); /* the first key wakes the shell */
	shell_poll();
	fake_console_type("vm \t");
	shell_poll();
	assert_non_null(strstr(fake_console_text(), "alpha  beta"));
	assert_string_equal(did, "pause alpha;seal alpha;");
	fake_console_type("\x15VM AL\t\r");
	shell_poll();
	assert_non_null(strstr(fake_console_text(), "VM ALpha \r\nalpha: paused"));
	fake_console_type("help NM\t\r");
	shell_poll();
	assert_non_null(strstr(fake_console_text(), "  nmi NAME "));
	fake_console_type("\x15reset alpha \t\x15");
	shell_poll();
	assert_string_equal(did, "pause alpha;seal alpha;");
}

/* Typed fast, while a log line comes in between. */
TEST(a_line_outlives_the_log, setup, fake_teardown)
{
	fake_console_type("\rvm");
	shell_poll();
	console_write("umbra: news\r\n", 13);
	fake_console_type("s");
	shell_poll();
	assert_non_null(strstr(fake_console_text(), "news\r\numbra> vms"));
	fake_console_type("\x15");
	shell_poll();
}

/* A VM that is being loaded has no CPU yet; it can be paused, sealed, or ended. */
TEST(a_vm_is_being_loaded, setup, fake_teardown)
{
	static const char *const too_early[] = {
		"start alpha", "stop alpha",  "nmi alpha",
		"regs alpha",  "rekey alpha", "pause --park alpha"
	};

	entries[0].loads = true;
	kept_how = PLATFORM_MEMORY_KEYED;
	assert_non_null(strstr(run("vms"), "alpha            loading 42%"));
	assert_non_null(strstr(run("vm alpha"), "alpha: loading 42%, "));
	assert_null(strstr(run("vm alpha"), "on CPU"));
	for (size_t i = 0; i < ARRAY_COUNT(too_early); i++) {
		assert_string_equal(run(too_early[i]),
				    "vm alpha is being loaded (42 %); wait until it runs\r\n");
	}
	assert_string_equal(did, "");
	kept_how = PLATFORM_MEMORY_SEALED;
	run("pause --seal alpha");
	assert_non_null(strstr(run("vm alpha"), "alpha: loading 42% and paused, "));
	assert_non_null(strstr(run("start alpha"), "42 %), and paused: \"resume\" lets it go on"));
	run("resume alpha");
	run("destroy alpha");
	run("reset alpha");
	assert_string_equal(did, "pause alpha;seal alpha;resume alpha;destroy alpha;reset alpha;");
}

TEST(registers_and_shares, setup, fake_teardown)
{
	run("regs alpha");
	run("regs alpha 0");
	assert_non_null(strstr(run("regs alpha 1"), "has no vCPU \"1\"; it has 0 to 0"));
	assert_non_null(strstr(run("regs alpha x"), "has no vCPU \"x\""));
	assert_non_null(strstr(run("regs beta"), "is off"));
	assert_non_null(strstr(run("set alpha weight 250"), "weight is 250 from now on"));
	assert_non_null(strstr(run("set alpha affinity 0"), "affinity is 0 from now on"));
	assert_string_equal(did, "regs vCPU;regs vCPU;weight alpha;affinity alpha;");
	assert_non_null(strstr(run("set alpha weight 0"), "a number from 1 to 10000"));
	assert_non_null(strstr(run("set alpha weight 10001"), "a number from 1 to 10000"));
	assert_non_null(strstr(run("set alpha affinity 1-"), "affinity must be a list of CPUs"));
	assert_non_null(strstr(run("set alpha affinity 9"), "the machine has none of these CPUs"));
	assert_non_null(strstr(run("set alpha memory 1G"), "cannot be set"));
	assert_string_equal(run("set alpha weight"), "usage: set NAME weight|affinity VALUE\r\n");
	assert_non_null(strstr(run("set gamma weight 1"), "there is no VM \"gamma\""));
	vm.paused.only = true;
	assert_non_null(strstr(run("regs alpha"), "shown when it goes on"));
}

TEST(stop_waits, setup, fake_teardown)
{
	button_is_on = true;
	fake_console_type("\rstop --wait alpha\r");
	shell_poll();
	assert_string_equal(did, "button alpha;");
	shell_poll();
	assert_null(strstr(fake_console_text(), "has ended"));
	entries[0].vm = NULL;
	shell_poll();
	assert_non_null(strstr(fake_console_text(), "vm alpha has ended\r\numbra> "));
	entries[0].vm = &vm;
	fake_console_type("stop --wait alpha\r");
	shell_poll();
	entries[0].started++; /* it was reset: a new start */
	shell_poll();
	assert_non_null(strstr(strstr(fake_console_text(), "has ended") + 1, "vm alpha has ended"));
	fake_console_type("stop --wait alpha\r");
	shell_poll();
	fake_console_type("x"); /* the user does not wait any more */
	shell_poll();
	entries[0].vm = NULL;
	fake_console_type("\x15");
	shell_poll();
	assert_string_equal(run("nmi alpha"), "vm alpha is off; \"start alpha\" starts it\r\n");
	entries[0].vm = &vm;
	assert_string_equal(run("help NMI"),
			    "  nmi NAME                 sends an NMI to each of its "
			    "vCPUs\r\n");
	run("nmi alpha");
	assert_non_null(strstr(did, "nmi vCPU;"));
}
