/* SPDX-License-Identifier: Apache-2.0 */
/* The shell's commands that show what the VMs and the machine do. */
#include "boot/host_report.h"
#include "boot/shell_priv.h"
#include "crypto/page_cipher.h"
#include "ept/pager.h"
#include "guest/platform.h"
#include "guest/shares.h"
#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/base/waits.h"
#include "vmm/console/console.h"
#include "vmm/sched.h"
#include "vmm/vcpu.h"
#define TOP_US 1000000u

static uint64_t to_ms(uint64_t ticks)
{
	return ticks / MAX(tsc_hz() / 1000, 1u);
}

static const char *state_name(const struct vms_entry *entry)
{
	if (entry->vm == NULL) {
		return entry->waits && entry->config->key.locked ? "locked"
		       : entry->waits				 ? "waits"
		       : entry->config->valid			 ? "off"
								 : "refused";
	}
	return entry->kept					      ? "kept"
	       : entry->loads					      ? "loading"
	       : entry->move != VMS_NO_MOVE && entry->move_begun      ? "moves"
	       : platform_memory(entry->vm) == PLATFORM_MEMORY_PARKED ? "parked"
	       : vm_is_paused(entry->vm)			      ? "paused"
								      : "running";
}

/* Returns the state's name; for a VM that is being loaded with its progress. */
static const char *state_words(const struct vms_entry *entry, char text[32])
{
	if (entry->vm == NULL || !entry->loads) {
		return state_name(entry);
	}
	(void)str_printf(text, 32, "loading %u%%", platform_percent_loaded(entry->vm));
	return text;
}

static void print_vm(const struct vms_entry *entry)
{
	struct sched_times times = { 0, 0 };
	char text[32];

	if (entry->vm != NULL) {
		sched_times(entry->vm, &times);
	}
	shell_print("  %-16s %-12s %5u %6luM  %-9s %10lu %10lu", entry->config->name,
		    state_words(entry, text), entry->config->vcpus,
		    entry->config->memory_bytes >> 20,
		    entry->vm != NULL ? platform_memory_name(entry->vm) : "-", to_ms(times.run),
		    to_ms(times.steal));
}

void shell_run_vms(const struct shell_call *call)
{
	shell_print("  NAME             STATE        VCPUS  MEMORY  PAGES      RUN ms    STEAL ms");
	for (size_t i = 0; i < vms_count(); i++) {
		print_vm(vms_get(i));
	}
}

static void print_memory(struct vm *vm)
{
	struct pager_counters now;
	uint64_t window, unclaimed;

	shell_print("  memory: %s", platform_engine_words(vm));
	shell_print_key(vm);
	shell_print_leaves(vm);
	shares_print_vm(vm, shell_print);
	platform_print_devices(vm, shell_print);
	if (!platform_count_memory(vm, &now)) {
		return;
	}
	pager_window(&window, &unclaimed);
	shell_print("  key: lives in Umbra's memory%s until the VM ends; no other VM or start has "
		    "the same",
		    page_cipher_wraps_keys() ? ", wrapped," : "");
	shell_print("  window: %lu pages in clear now, %lu on average, %lu at most so far; of %lu "
		    "frames of all VMs",
		    now.clear_pages, now.clear_mean, now.clear_peak, window);
}

void shell_run_vm(const struct shell_call *call)
{
	const struct vm_config *config = call->vm->config;
	struct vm *vm = call->vm->vm;
	char text[32];

	shell_print("%s: %s%s, %u vCPU%s, %luM of memory", config->name,
		    state_words(call->vm, text),
		    call->vm->loads && vm_is_paused(vm) ? " and paused" : "", config->vcpus,
		    config->vcpus == 1 ? "" : "s", config->memory_bytes >> 20);
	shell_print("  kernel %s%s%s", config->kernel.path,
		    config->initrd.path[0] != '\0' ? ", initrd " : "", config->initrd.path);
	if (vm == NULL) {
		return;
	}
	if (call->vm->kept) {
		shell_print("  ended: %s%s%s",
			    vm_end_reason_name(atomic_load_relaxed(&vm->end_reason)),
			    vm->end_detail[0] != '\0' ? ": " : "", vm->end_detail);
	}
	print_memory(vm);
	for (uint32_t i = 0; i < vm->vcpu_count && !call->vm->loads; i++) {
		static const char *const states[] = { "waits for SIPI", "runs", "halted", "off" };
		const struct vcpu *vcpu = vm->vcpus[i];
		uint32_t state = atomic_load_relaxed(&vcpu->state);

		shell_print("  vCPU %u: %s, %s CPU %u", i,
			    state < ARRAY_COUNT(states) ? states[state] : "?",
			    vm_is_paused(vm) || call->vm->kept ? "off the CPUs; last on" : "on",
			    atomic_load_relaxed(&vcpu->cpu));
	}
}

void shell_run_stats(const struct shell_call *call)
{
	struct vm *vm = shell_present(call);
	struct sched_times times;
	char waits[WAITS_WORDS_MAX];

	if (vm == NULL) {
		return;
	}
	waits_words(waits, sizeof(waits));
	vm_log_exits(vm);
	platform_log_memory(vm);
	platform_print_devices(vm, shell_print);
	sched_times(vm, &times);
	shell_print("  CPUs: it ran for %lu ms, and was ready for %lu ms more while others ran",
		    to_ms(times.run), to_ms(times.steal));
	shell_print("  of all VMs: %s", waits);
}

static struct {
	uint64_t due; /* TSC */
	uint64_t run[CONFIG_VM_MAX];
	uint64_t faults[CONFIG_VM_MAX];
	uint64_t bytes[CONFIG_VM_MAX];
} top;

/* Returns how many faults the engine has handled. *now gets its counters, or zeros. */
static uint64_t count_faults(const struct vms_entry *entry, struct pager_counters *now)
{
	*now = (struct pager_counters){ 0 };
	if (entry->vm == NULL || !platform_count_memory(entry->vm, now)) {
		return 0;
	}
	return now->first_touches + now->clean_faults + now->dirty_faults + now->mapped_faults;
}

/* Returns how many bytes the VM's virtio devices have moved. */
static uint64_t count_bytes(const struct vms_entry *entry)
{
	return entry->vm != NULL ? platform_device_bytes(entry->vm) : 0;
}

/*
 * Returns the increase since the last call, for each second. A VM that was started again may have
 * counted less.
 */
static uint64_t rate_of(uint64_t *last, uint64_t now, uint64_t elapsed)
{
	const uint64_t more = now - MIN(now, *last);

	*last = now;
	return more * (TOP_US / 1000) / MAX(elapsed / MAX(tsc_hz() / 1000, 1u), 1u);
}

static void top_row(const struct vms_entry *entry, size_t i, uint64_t elapsed)
{
	struct sched_times times = { 0, 0 };
	struct pager_counters now;
	uint64_t faults = count_faults(entry, &now);
	uint64_t used, rate, bytes;

	if (entry->vm != NULL) {
		sched_times(entry->vm, &times);
	}
	/* A VM that was started again may have run for less time than at the last step. */
	used = (times.run - MIN(times.run, top.run[i])) * 1000 / MAX(elapsed, 1u);
	rate = rate_of(&top.faults[i], faults, elapsed);
	bytes = rate_of(&top.bytes[i], count_bytes(entry), elapsed);
	top.run[i] = times.run;
	shell_print("  %-16s %-8s %4lu.%lu %5luM %5luK %5luK %5luK %8lu %7luK", entry->config->name,
		    state_name(entry), used / 10, used % 10, entry->config->memory_bytes >> 20,
		    now.clear_pages * 4, now.clear_mean * 4, now.clear_peak * 4, rate, bytes >> 10);
}

/*
 * Prints a table each second, in 80 columns. CPU use is in percent of one CPU since the last table.
 * CLEAR is what the VM has in clear now; MEAN and PEAK are that since the VM was created.
 */
static bool top_step(void)
{
	uint64_t now = cpu_rdtsc();

	if (now < top.due) {
		return true;
	}
	shell_print("  NAME             STATE     CPU %% MEMORY  CLEAR   MEAN   PEAK FAULTS/s "
		    "VIRTIO/s");
	for (size_t i = 0; i < vms_count(); i++) {
		top_row(vms_get(i), i, now - (top.due - tsc_from_us(TOP_US)));
	}
	top.due = now + tsc_from_us(TOP_US);
	return true;
}

void shell_run_top(const struct shell_call *call)
{
	for (size_t i = 0; i < vms_count(); i++) {
		struct sched_times times = { 0, 0 };
		struct pager_counters now;

		if (vms_get(i)->vm != NULL) {
			sched_times(vms_get(i)->vm, &times);
		}
		top.run[i] = times.run;
		top.faults[i] = count_faults(vms_get(i), &now);
		top.bytes[i] = count_bytes(vms_get(i));
	}
	top.due = cpu_rdtsc() + tsc_from_us(TOP_US);
	shell_print("  any key ends it");
	shell_go_live(top_step);
}

void shell_run_host(const struct shell_call *call)
{
	host_report(shell_boot(), shell_print);
}

void shell_run_log(const struct shell_call *call)
{
	console_replay();
}
