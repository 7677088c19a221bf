/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/loading.h"

#include "crypto/rng.h"
#include "guest/cmdline.h"
#include "guest/memmap.h"
#include "guest/platform_state.h"
#include "guest/shares.h"
#include "guest/vm_file.h"
#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/sched.h"

static struct loading *loading_of(const struct vm *vm)
{
	return &platform_of(vm)->loading;
}

/* One step of the work. Any CPU. */
static bool load_some(void *context)
{
	struct loading *loading = context;
	const uint64_t begin = cpu_rdtsc();
	const int err = linux_load_some(loading->load);

	loading->ticks += cpu_rdtsc() - begin;
	if (err == ERR_AGAIN) {
		return true;
	}
	/* From here on the boot processor may free the load. */
	atomic_store_release(&loading->result, err);
	return false;
}

static int result_of(const struct loading *loading)
{
	return atomic_load_acquire(&loading->result);
}

static int refuse(const struct vm_config *config, int err, bool initrd, const char *why)
{
	log_error("%s:%u: vm %s: %s %s: %s", CONFIG_FILE, config->line, config->name,
		  initrd ? "initrd" : "kernel", initrd ? config->initrd.path : config->kernel.path,
		  why);
	return err;
}

/*
 * Checks the command line and returns its length. The command line is decrypted here and again when
 * it is written to the guest, so that it is in clear only for these moments.
 */
static size_t look_at_cmdline(const struct vm_config *config)
{
	char cmdline[VM_CMDLINE_MAX];
	size_t length;

	vm_cmdline_read(config, cmdline);
	cmdline_warn(config->name, cmdline);
	length = strlen(cmdline);
	secure_zero(cmdline, sizeof(cmdline));
	return length;
}

int loading_begin(struct vm *vm, const struct vm_config *config)
{
	struct loading *loading = loading_of(vm);
	struct linux_source source = {
		.kernel = &config->kernel,
		.initrd = config->initrd.path[0] != '\0' ? &config->initrd : NULL,
		.cmdline_length = look_at_cmdline(config),
		.memory_bytes = config->memory_bytes,
		.rsdp = gpa(MEMMAP_ACPI),
	};
	struct linux_refusal refusal;
	int err;

	source.share_count = shares_ranges(vm, source.shares);
	err = linux_load_begin(&vm->gmem, &source, &loading->load, &refusal);
	if (err != 0) {
		return refuse(config, err, refusal.initrd,
			      err == ERR_NOMEM ? "the hypervisor's own memory is used up"
					       : refusal.why);
	}
	loading->config = config;
	loading->ticks = 0;
	atomic_store_relaxed(&loading->result, ERR_AGAIN);
	loading->held = false;
	loading->work = (struct work){ .step = load_some, .context = loading };
	work_add(&loading->work);
	return 0;
}

static int finish(struct vm *vm)
{
	struct loading *loading = loading_of(vm);
	uint8_t seed[LINUX_SEED_BYTES];
	char cmdline[VM_CMDLINE_MAX];
	struct vcpu_long_mode entry;
	/* Without random numbers, which was logged, the guest must find its own. */
	const bool seeded = rng_bytes(seed, sizeof(seed)) == 0;
	int err;

	vm_cmdline_read(loading->config, cmdline);
	err = linux_load_finish(loading->load, cmdline, seeded ? seed : NULL, &entry);
	secure_zero(cmdline, sizeof(cmdline));
	secure_zero(seed, sizeof(seed));
	if (err == 0) {
		vcpu_set_long_mode(vm->vcpus[0], &entry);
		sched_bill(vm->vcpus[0], loading->ticks);
	}
	return err;
}

int loading_poll(struct vm *vm)
{
	struct loading *loading = loading_of(vm);
	int err = result_of(loading);

	if (err == 0) {
		err = finish(vm);
	}
	if (err == ERR_AGAIN) {
		return err;
	}
	if (err != 0) {
		log_error("vm %s: its memory could not be written: %s", vm->name,
			  err == ERR_TAMPERED ? "its kernel, its initrd or what was written of it "
						"was changed while it lay sealed"
					      : err_name(err));
	}
	loading_end(vm);
	return err;
}

void loading_hold(struct vm *vm)
{
	struct loading *loading = loading_of(vm);

	if (loading->load == NULL || loading->held) {
		return;
	}
	while (result_of(loading) == ERR_AGAIN && !work_take_back(&loading->work)) {
		cpu_pause(); /* until another CPU has finished a step */
	}
	loading->held = true;
}

void loading_go_on(struct vm *vm)
{
	struct loading *loading = loading_of(vm);

	if (loading->load == NULL || !loading->held) {
		return;
	}
	loading->held = false;
	if (result_of(loading) == ERR_AGAIN) {
		work_add(&loading->work);
	}
}

void loading_end(struct vm *vm)
{
	struct loading *loading = loading_of(vm);

	loading_hold(vm);
	linux_load_end(loading->load);
	loading->load = NULL;
}

unsigned loading_percent(const struct vm *vm)
{
	const struct loading *loading = loading_of(vm);

	return loading->load != NULL ? linux_load_percent(loading->load) : 100;
}
