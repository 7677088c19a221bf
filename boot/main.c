/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bring-up: host_main runs on firmware's page tables, bring_up on our own, then the scheduler
 * runs. If Umbra cannot run VMs, it logs the reason and ends in stay().
 */
#include "boot/boot_info.h"
#include "boot/dma.h"
#include "boot/host_key.h"
#include "boot/host_report.h"
#include "boot/ram.h"
#include "boot/residue.h"
#include "boot/secrets.h"
#include "boot/shell.h"
#include "boot/unlock.h"
#include "boot/vms.h"

#include "crypto/key_store.h"
#include "crypto/keyslot.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/selftest.h"
#include "crypto/tme.h"
#include "ept/pager.h"
#include "guest/vconsole.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/keyid.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/base/waits.h"
#include "vmm/console/console.h"
#include "vmm/console/keyboard.h"
#include "vmm/console/log.h"
#include "vmm/console/serial.h"
#include "vmm/host/cache.h"
#include "vmm/host/crash_record.h"
#include "vmm/host/ending.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/lapic.h"
#include "vmm/host/smp.h"
#include "vmm/alike.h"
#include "vmm/sched.h"
#include "vmm/vmx.h"

#define IDLE_US	     10000u
#define SERIAL_BYTES 32u /* eight registers, four bytes apart at most */
#define KEYS	     "the key o powers it off, r resets it"

static struct boot_info *boot;
static void *screen_mapped;
static bool cipher_ready;
static bool keys_ready; /* they can be kept where [host] key-store says */
static bool some_ran;	/* a VM has run, however short */

/* May a VM or a share be encrypted? A share always may: it is treated as engine = auto. */
static bool an_engine_is_needed(void)
{
	for (size_t i = 0; i < boot->config.share_count; i++) {
		if (boot->config.shares[i].valid) {
			return true;
		}
	}
	for (size_t i = 0; i < boot->config.vm_count; i++) {
		const struct vm_config *vm = &boot->config.vms[i];

		if (vm->valid && vm->engine != VM_ENGINE_NONE) {
			return true;
		}
	}
	return false;
}

static void make_pool(void)
{
	const bool low = host_key_vmx_is_32_bit();
	const struct page_pool_plan plan = ram_plan_pool(boot, an_engine_is_needed(), low);
	int err = frames_init(boot->ranges, boot->range_count, &plan);
	uint64_t pages;

	if (err != 0) {
		panic("Umbra cannot run in this machine's memory: it needs %lu MiB in one piece%s, "
		      "and %lu KiB below 4 GiB (%s)",
		      plan.least >> 8, low ? " below 4 GiB" : "", PAGE_BOOTSTRAP * 4,
		      err_name(err));
	}
	pages = page_pool().page_count;
	if (pages < plan.wanted) {
		log_warn(
			"memory: Umbra keeps %lu MiB for itself, because no piece of free memory%s "
			"is larger. VMs that use all of this machine's memory may need %lu MiB of "
			"it, and would not start",
			pages >> 8,
			low ? " below 4 GiB, where this CPU's VMX structures have to lie," : "",
			plan.wanted >> 8);
	}
}

/*
 * Kernels, initrds and disk images stay where firmware put them. If one cannot be mapped, only
 * its VM is left out.
 */
static void map_file(struct vm_config *vm, struct vm_file *file)
{
	int err = 0;

	if (file->data != NULL) {
		err = host_map_identity(hpa((uintptr_t)file->data), file->bytes, HOST_READ,
					HOST_CACHE_WB);
	}
	if (err != 0) {
		log_error("vm %s: %s cannot be mapped: %s", vm->name, file->path, err_name(err));
		vm->valid = false;
	}
}

static void map_what_stays(void)
{
	for (size_t i = 0; i < boot->config.vm_count; i++) {
		for (size_t f = 0; f < VM_FILES; f++) {
			map_file(&boot->config.vms[i], vm_config_file(&boot->config.vms[i], f));
		}
	}
	if (serial_where()->memory) {
		/*
		 * Mapped at its own address, because it is written to before and after each change
		 * of page tables.
		 */
		if (host_map_registers(hpa(serial_where()->address), SERIAL_BYTES) != 0) {
			console_close_serial();
			log_error("the serial line's registers cannot be mapped; it is not used");
		}
	}
	if (screen_bytes() != 0) {
		screen_mapped = host_map_io(boot->screen.base, screen_bytes(), HOST_CACHE_WC);
	}
	power_init(&boot->services, boot->runtime, boot->runtime_count, &boot->acpi);
}

static void report_machine(void)
{
	log_info("CPU: %s, TSC %lu.%03lu MHz by %s", host_cpu_name(), tsc_hz() / 1000000,
		 tsc_hz() / 1000 % 1000, tsc_source());
	log_info("memory: %lu MiB for VMs, %lu MiB for Umbra at 0x%lx", frames_free_count() >> 8,
		 page_pool().page_count >> 8, page_pool().base.v);
}

/* Returns whether page keys can be kept as the configuration wants; if not, that was logged. */
static bool start_key_store(void)
{
	int err;

	if (boot->config.keys_in_memory) {
		return true;
	}
	err = key_store_use_registers(!boot->can_run || vmx_can_keep_debug_registers());
	if (err == ERR_SELFTEST) {
		panic("the code that unwraps page keys gives wrong bytes; this machine must not "
		      "hold keys");
	}
	return err == 0;
}

static void start_crypto(void)
{
	int err;

	ending_set_wipe(pager_wipe); /* pager_wipe calls wipe_all and wipes the window as well */
	if (crypto_selftest() != 0) {
		panic("the cryptographic self-test failed; this machine must not hold keys");
	}
	err = page_cipher_init(boot->config.engine_cipher);
	if (err == ERR_SELFTEST) {
		panic("a page cipher gives wrong bytes; this machine must not hold keys");
	}
	cipher_ready = err == 0; /* on an error the reason was logged */
	secrets_derive(&boot->config);
	/* Without entropy nothing that needs a random key starts. rng_init has logged that. */
	(void)rng_init(boot->efi_rng_seed, boot->efi_rng_bytes);
	keys_ready = start_key_store();
	/* Firmware's list may lack this CPU. */
	secrets_seal(&boot->config, (uint32_t)MIN(boot->cpu_count + 1, CPU_MAX));
	if (!keys_ready) { /* only now: secrets_seal still needed a key for the files */
		page_cipher_refuse_keys();
	}
}

/* If this fails, VMs that need the window do not start; the others do. */
static void start_window(void)
{
	uint64_t bytes = boot->config.window_bytes;
	int err;

	if (!an_engine_is_needed()) {
		return;
	}
	if (!cipher_ready) {
		log_error(
			"[host] engine-cipher = %s does not run on this machine, as logged above; "
			"no VM can run with engine = software",
			boot->config.engine_cipher);
		return;
	}
	if (!keys_ready) {
		log_error("page keys cannot be kept in registers, as logged above; no VM can run "
			  "with engine = software");
		return;
	}
	if (bytes == 0) {
		log_error("there is no window, as logged above; no VM can run with engine = "
			  "software");
		return;
	}
	err = pager_init(bytes / PAGE_SIZE);
	if (err != 0) {
		log_error("the window of %luK does not fit into the memory of this machine (%s); "
			  "no VM can run with engine = software",
			  bytes >> 10, err_name(err));
	}
}

/* All known RAM and devices lie below this address. */
static uint64_t addresses_end(void)
{
	return MAX(boot->memory_end, boot->screen.base.v + screen_bytes());
}

/*
 * Decides on TME-MK, makes the slots of its KeyIDs, and moves Umbra to its own KeyID. Then flushes
 * all caches for the first time: they may hold any line that firmware or Umbra used under KeyID 0.
 * No page table maps memory of VMs at this point.
 */
static void start_tme(void)
{
	const struct tme_state *tme;

	ram_keep_near(boot);
	tme_expect(boot->apic_ids, boot->cpu_count, &boot->acpi.affinity);
	tme_start(boot->config.tme_activate, addresses_end());
	ram_settle_packages();
	tme = tme_state();
	keyid_configure(tme->phys_bits, tme->keyid_bits);
	if (tme->kind == TME_MK && keyslot_init() == 0) {
		cache_init();
		host_key_start();
		cache_flush_all();
	}
}

static void start_cpus(void)
{
	if (boot->can_run) {
		vmx_choose(page_cipher_wraps_keys());
	}
	if (boot->trampoline.v != 0) { /* without it a warning was logged */
		(void)smp_start_all(boot->apic_ids, boot->cpu_count, boot->trampoline,
				    boot->can_run ? alike_check : NULL);
	}
	for (uint32_t i = 0; i < percpu_count(); i++) {
		log_info("CPU %u: APIC ID %u is up", i, percpu_get(i)->apic_id);
	}
	key_store_spread();
	log_info("%u of %u CPUs are up (%s%s)", percpu_count(), (unsigned)boot->cpu_count,
		 boot->cpu_source != NULL ? "as listed by " : "firmware lists no others",
		 boot->cpu_source != NULL ? boot->cpu_source : "");
}

/* Handles a key while nothing runs and there is no shell. */
static void handle_key(int key)
{
	switch (key) {
	case 'o': vms_finish(); power_off();
	case 'r': vms_finish(); power_reset();
	default: break;
	}
}

/* Logs that nothing runs. Powers off if that is configured. */
static void nothing_runs(const char *why, const char *hint)
{
	char waits[WAITS_WORDS_MAX];

	waits_words(waits, sizeof(waits));
	log_info("%s", waits);
	if (boot->config.exit == CONFIG_EXIT_POWEROFF) {
		log_info("%s; the machine powers off, as [host] exit says", why);
		vms_finish();
		power_off();
	}
	log_info("%s; the machine stays on: %s", why, hint);
}

/* For when nothing runs and nothing will run. */
static _Noreturn void stay(const char *why)
{
	nothing_runs(why, KEYS);
	for (;;) {
		handle_key(console_getc());
		dma_poll();
		(void)console_flush(); /* called again after IDLE_US */
		lapic_idle_until(cpu_rdtsc() + tsc_from_us(IDLE_US));
	}
}

/*
 * The scheduler calls this between time slices. Returns whether there is work to continue at once.
 */
static bool between(void)
{
	static bool reported;
	bool some_run;
	int key;

	unlock_poll();
	some_run = vms_reap() != 0;
	some_ran |= some_run;
	dma_poll();
	if (!some_run && !reported && some_ran) {
		nothing_runs("all virtual machines have ended",
			     boot->config.shell ? "the shell has the console now" : KEYS);
	}
	reported = !some_run;
	if (boot->config.shell) {
		shell_poll();
	} else {
		while ((key = vconsole_input()) >= 0) {
			handle_key(key); /* a key that goes to a VM is not returned */
		}
	}
	vconsole_show();
	return vms_busy();
}

static void start_console(void)
{
	vconsole_set_escape(boot->config.escape_key);
	if (boot->config.shell) {
		shell_init(boot);
		return;
	}
	vconsole_no_shell();
	log_info("the shell is off, as [host] shell says: all that is typed goes to the first VM "
		 "that runs");
}

/* Whether a person can start a VM: there is one without autostart, and there is a shell. */
static bool somebody_waits(void)
{
	for (size_t i = 0; i < boot->config.vm_count; i++) {
		if (boot->config.vms[i].valid && !boot->config.vms[i].autostart) {
			return boot->config.shell;
		}
	}
	return false;
}

static void run_ap(void)
{
	sched_run(NULL);
}

static void bring_up(void)
{
	screen_move(screen_mapped);
	/* firmware's tables there are no longer in use */
	residue_clear(boot->late, boot->late_count);
	dma_watch();
	report_machine();
	if (keyboard_init() == 0) {
		log_info("keyboard: PS/2 (US layout) beside the serial line");
	}
	start_crypto();
	start_cpus();
	start_tme();
	if (!boot->can_run) { /* the reason was logged */
		stay("this machine cannot run virtual machines");
	}
	vmx_init();
	if (vmx_start_all() != 0) {
		stay("VMX does not start on every CPU");
	}
	start_window();
	unlock_start(&boot->config);
	some_ran = vms_start(&boot->config) != 0;
	if (!some_ran && !somebody_waits()) {
		stay("no virtual machine could be started");
	}
	start_console();
	console_stop_waiting();
	smp_release(run_ap);
	sched_run(between);
}

_Noreturn void host_main(struct boot_info *info)
{
	boot = info;
	tme_look();
	keyid_configure(tme_state()->phys_bits, tme_state()->keyid_bits);
	ram_settle(boot);
	if (an_engine_is_needed()) {
		ram_choose_window(boot);
	}
	make_pool();
	if (tsc_init(info->acpi.pm_timer_port) != 0) {
		log_error("the TSC's frequency cannot be found (no CPUID.15H or 16H, no PM timer, "
			  "no PIT): 1 GHz is assumed, so all times are wrong");
	}
	crash_record_init(info->began);
	panic_set_reboot(info->config.on_panic == CONFIG_ON_PANIC_REBOOT);
	if (host_paging_init() != 0) {
		panic("the page tables do not fit into the memory of this machine");
	}
	map_what_stays();
	/* no output on screen until bring_up: the address changes with the page tables */
	screen_move(NULL);
	(void)smp_enter_bsp(bring_up);
	panic("not enough memory for the boot processor's stacks and tables");
}
