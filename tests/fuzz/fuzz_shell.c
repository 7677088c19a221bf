/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any input typed at the shell, with its real commands and a model of three VMs: one runs, one is
 * off, one was refused; the first byte chooses more of their state. Only printable characters, line
 * breaks, backspaces and bells may go to the terminal. No command may do something to a VM that its
 * state does not allow, read memory other than RAM of VMs, turn the machine off while VMs run
 * without "now", or leave a user without an answer.
 */
#define _GNU_SOURCE /* strcasestr */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tests/fuzz/fuzz.h"
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
#include "guest/shares.h"
#include "tests/unit/fake_keyslot.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/power.h"
#include "vmm/sched.h"
#include "vmm/vcpu.h"
#include "vmm/vmx.h"

enum { ALPHA, BETA, REFUSED, VMS };

#define RAM_FIRST 0x40000000ul
#define RAM_PAGES 4u

static struct vm_config configs[VMS];
static struct vms_entry entries[VMS];
static struct vm vms[VMS];
static struct vconsole consoles[VMS];
static struct vcpu vcpu;
static struct boot_info boot;
static bool in_clear;
static unsigned acts;	 /* number of actions on VMs */
static const char *line; /* the command that runs; NULL: input was typed */
static jmp_buf machine_off;

/* --- The model --- */

static size_t index_of(const struct vms_entry *entry)
{
	PROMISE(entry >= entries && entry < entries + VMS);
	return (size_t)(entry - entries);
}

/* The VM must exist and be the one that is shown. */
static struct vms_entry *present(const struct vm *vm)
{
	struct vms_entry *entry = &entries[vm - vms];

	PROMISE(vm >= vms && vm < vms + VMS && entry->vm == vm);
	return entry;
}

unsigned platform_percent_loaded(const struct vm *vm)
{
	PROMISE(present(vm)->loads);
	return 42;
}

static void act_on(const struct vm *vm)
{
	PROMISE(!present(vm)->kept);
	acts++;
}

static void switch_on(size_t i)
{
	memset(&vms[i], 0, sizeof(vms[i]));
	memset(&consoles[i], 0, sizeof(consoles[i]));
	(void)snprintf(vms[i].name, sizeof(vms[i].name), "%s", configs[i].name);
	vms[i].vcpu_count = 1;
	vms[i].vcpus[0] = &vcpu;
	entries[i].vm = &vms[i];
	vconsole_attach(&consoles[i], vms[i].name);
}

static void switch_off(size_t i)
{
	vconsole_detach(&consoles[i]);
	entries[i].vm = NULL;
	entries[i].kept = entries[i].loads = false;
}

size_t vms_count(void)
{
	return VMS;
}

const struct vms_entry *vms_get(size_t index)
{
	PROMISE(index < VMS);
	return &entries[index];
}

int vms_power_on(const struct vms_entry *entry)
{
	PROMISE(entry->vm == NULL && entry->config->valid);
	acts++;
	switch_on(index_of(entry));
	return 0;
}

void vms_finish(void)
{
}

void vms_reset(const struct vms_entry *entry)
{
	size_t i = index_of(entry);

	PROMISE(entry->vm != NULL);
	acts++;
	switch_off(i);
	switch_on(i);
}

void vms_destroy(const struct vms_entry *entry)
{
	PROMISE(entry->vm != NULL);
	acts++;
	switch_off(index_of(entry));
}

void vms_rekey(const struct vms_entry *entry)
{
	PROMISE(entry->vm != NULL && !entry->kept && !entry->loads);
	acts++;
}

void vms_park(const struct vms_entry *entry)
{
	vms_rekey(entry);
}

void vms_unpark(const struct vms_entry *entry)
{
	vms_rekey(entry);
}

static bool asked;

bool unlock_ask(const struct vm_config *config, void (*say)(const char *fmt, ...))
{
	const bool asks = config == &configs[BETA];

	if (!asks) {
		say("vm %s has no passphrase", config->name);
	}
	asked |= asks; /* run_lines does not wait for the answer */
	return asks;
}

const char *unlock_prompt(void)
{
	PROMISE(asked);
	return "passphrase: ";
}

bool unlock_feed(uint8_t byte)
{
	PROMISE(asked);
	asked = byte >= ' ';
	return asked;
}

void platform_pause(struct vm *vm)
{
	act_on(vm);
	vm->paused.only = true;
}

void platform_resume(struct vm *vm)
{
	act_on(vm);
	PROMISE(vm->paused.only);
	vm->paused.only = false;
}

int platform_seal_vm(struct vm *vm)
{
	act_on(vm);
	PROMISE(vm->paused.only && !in_clear);
	return 0;
}

void vcpu_ask_dump(struct vcpu *which)
{
	acts++;
}

void sched_set_weight(struct vm *vm, uint32_t weight)
{
	act_on(vm);
}

void sched_set_affinity(struct vm *vm, const uint64_t affinity[CPU_MAX / 64])
{
	act_on(vm);
}

void vcpu_nmi(struct vcpu *which)
{
	acts++;
}

bool platform_press_power_button(struct vm *vm)
{
	PROMISE(!present(vm)->loads);
	act_on(vm);
	return true;
}

void vm_log_exits(const struct vm *vm)
{
	(void)present(vm);
	acts++;
}

void platform_log_memory(const struct vm *vm)
{
	(void)present(vm);
}

void sched_times(const struct vm *vm, struct sched_times *out)
{
	(void)present(vm);
	*out = (struct sched_times){ fake_tsc / 2, fake_tsc / 4 };
}

const char *vm_end_reason_name(enum vm_end_reason reason)
{
	return reason == VM_END_TRIPLE_FAULT ? "triple fault" : "another";
}

const char *platform_engine_words(const struct vm *vm)
{
	(void)present(vm);
	return "words";
}

uint64_t platform_device_bytes(const struct vm *vm)
{
	return present(vm)->rekey_since;
}

void platform_print_devices(const struct vm *vm, void (*print)(const char *fmt, ...))
{
	print("  a device of %s", present(vm)->config->name);
}

const char *platform_memory_name(const struct vm *vm)
{
	(void)present(vm);
	return "sealed";
}

enum platform_memory platform_memory(const struct vm *vm)
{
	(void)present(vm);
	return in_clear ? PLATFORM_MEMORY_CLEAR : PLATFORM_MEMORY_SEALED;
}

bool platform_count_memory(const struct vm *vm, struct pager_counters *out)
{
	(void)present(vm);
	*out = (struct pager_counters){ .clear_pages = 1, .clear_peak = 2 };
	return !in_clear;
}

void dma_report(void (*print)(const char *fmt, ...))
{
	print("  IOMMU: none");
}

bool page_cipher_wraps_keys(void)
{
	return false;
}

void pager_window(uint64_t *frames, uint64_t *unclaimed)
{
	*frames = 512;
	*unclaimed = 0;
}

/* Only for RAM of VMs. */
void gmem_peek(hpa_t at, void *out, size_t bytes)
{
	PROMISE(bytes != 0 && bytes <= 16 && at.v >= RAM_FIRST);
	PROMISE(at.v + bytes <= RAM_FIRST + RAM_PAGES * PAGE_SIZE);
	memset(out, (int)at.v, bytes);
}

/* One share, whose member is alpha until a command changes that. */
static bool has_share, shared;

size_t shares_count(void)
{
	return has_share;
}

int shares_find(const char *name)
{
	return has_share && str_equal_nocase(name, "mail") ? 0 : ERR_NOTFOUND;
}

void shares_print(size_t index, void (*print)(const char *fmt, ...))
{
	PROMISE(index < shares_count());
	print("  mail: %s", shared ? "alpha" : "nobody");
}

void shares_print_vm(const struct vm *vm, void (*print)(const char *fmt, ...))
{
	(void)present(vm);
	print("  share mail");
}

static int change_share(const struct vm *vm, bool to)
{
	(void)present(vm);
	PROMISE(has_share);
	acts++;
	if (vm != &vms[ALPHA]) {
		return to ? ERR_NOMEM : ERR_NOTFOUND;
	}
	if (shared == to) {
		return ERR_EXISTS;
	}
	shared = to;
	return 0;
}

int shares_revoke(size_t index, const struct vm *vm)
{
	PROMISE(index == 0);
	return change_share(vm, false);
}

int shares_grant(size_t index, const struct vm *vm, bool read_only)
{
	PROMISE(index == 0);
	return change_share(vm, true);
}

/* Only after "now", or while no VM runs. */
static _Noreturn void end_machine(void)
{
	for (size_t i = 0; i < VMS; i++) {
		PROMISE(line == NULL || !vms_runs(&entries[i]) || strcasestr(line, "now") != NULL);
	}
	longjmp(machine_off, 1);
}

_Noreturn void power_off(void)
{
	end_machine();
}

_Noreturn void power_reset(void)
{
	end_machine();
}

const char *page_cipher_name(void)
{
	return "a kernel";
}

const struct vmx_caps *vmx_caps(void)
{
	static const struct vmx_caps caps;

	return &caps;
}

const struct ept_caps *ept_caps(void)
{
	static const struct ept_caps caps;

	return &caps;
}

const struct tme_state *tme_state(void)
{
	static const struct tme_state tme;

	return &tme;
}

/* --- Typing --- */

static void begin(uint8_t what)
{
	static const char *const names[VMS] = { "alpha", "beta", "refused" };

	for (size_t i = 0; i < VMS; i++) {
		configs[i] = (struct vm_config){ .vcpus = 1, .valid = i != REFUSED };
		(void)snprintf(configs[i].name, sizeof(configs[i].name), "%s", names[i]);
		entries[i] = (struct vms_entry){ .config = &configs[i] };
	}
	boot.ranges[0] = (struct mem_range){ { RAM_FIRST }, RAM_PAGES };
	boot.range_count = 1;
	shell_init(&boot);
	switch_on(ALPHA);
	in_clear = (what & 1) != 0;
	vms[ALPHA].paused.only = (what & 2) != 0;
	if ((what & 4) != 0) {
		entries[ALPHA].kept = true;
		vms[ALPHA].end_reason.only = VM_END_TRIPLE_FAULT;
		vconsole_end(&consoles[ALPHA]);
	}
	if ((what & 8) != 0) {
		switch_on(BETA);
		entries[BETA].loads = (what & 32) != 0;
	}
	has_share = shared = (what & 16) != 0;
	fake_keyslots = (what & 16) != 0 ? 3 : 0;
	(void)keyslot_take(KEYSLOT_RANDOM, NULL, 0, "alpha", &vms[ALPHA].gmem.keyid);
}

/* The state of shell and editor outlives a run: resets all of it. */
static void end(void)
{
	for (size_t i = 0; i < VMS; i++) {
		if (entries[i].vm != NULL) {
			switch_off(i);
		}
	}
	fake_console_type("\x03\x03\x03");
	shell_poll();
	shell_poll();
}

static void type(const char *typed)
{
	line = NULL;
	fake_console_type(typed);
	shell_poll();
	fake_tsc += 2000000000; /* `top` refreshes */
	shell_poll();
}

static void look_at_screen(void)
{
	for (const char *shown = fake_console_text(); *shown != '\0'; shown++) {
		PROMISE((*shown >= ' ' && *shown <= '~') || strchr("\r\n\b\a", *shown) != NULL);
	}
}

/* Does the line need no answer? `top`, `console` and `unlock` show something later. */
static bool is_quiet(const char *text)
{
	while (str_is_space(*text)) {
		text++;
	}
	return *text == '\0' || strncasecmp(text, "top", 3) == 0 ||
	       strncasecmp(text, "console", 7) == 0 || strncasecmp(text, "unlock", 6) == 0;
}

/* Copies the part of a line that the editor accepts. */
static void as_edited(char *to, size_t bytes, const char *from)
{
	for (; *from != '\0' && bytes > 1; from++) {
		if (*from >= ' ' && *from <= '~') {
			*to++ = *from;
			bytes--;
		}
	}
	*to = '\0';
}

/* Runs each line again, as a whole command. */
static void run_lines(char *typed)
{
	for (line = strtok(typed, "\r\n"); line != NULL; line = strtok(NULL, "\r\n")) {
		char copy[LINE_EDIT_MAX + 1], whole[LINE_EDIT_MAX + 1];
		unsigned acted = acts;

		fake_log_reset();
		log_info("a line for `log`");
		as_edited(copy, sizeof(copy), line);
		line = strcpy(whole, copy);
		shell_run(copy);
		PROMISE(is_quiet(whole) || fake_console_text()[0] != '\0' || acts != acted);
		look_at_screen();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static bool begun;
	static char typed[2048];
	size_t count = MIN(bytes - (bytes != 0), sizeof(typed) - 1);

	fake_reset();
	if (!begun) {
		begun = true;
		end();
	}
	if (bytes == 0) {
		return 0;
	}
	begin(data[0]);
	memcpy(typed, data + 1, count);
	typed[count] = '\0'; /* a NUL ends it: terminals send none */
	if (setjmp(machine_off) == 0) {
		type(typed);
		look_at_screen();
		run_lines(typed);
	}
	end();
	return 0;
}
