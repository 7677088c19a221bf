/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds a VM from a section of the configuration, and destroys it. Boot processor only, except for
 * the hooks.
 */
#include "guest/platform.h"

#include "crypto/keyslot.h"
#include "crypto/tme.h"
#include "ept/retire.h"
#include "guest/acpi_build.h"
#include "guest/dev/vlapic.h"
#include "guest/engine_policy.h"
#include "guest/loading.h"
#include "guest/memmap.h"
#include "guest/platform_build.h"
#include "guest/platform_state.h"
#include "guest/rekey.h"
#include "guest/shares.h"
#include "guest/smbios_build.h"
#include "guest/vcpuid.h"
#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/console/log.h"
#include "vmm/host/page_alloc.h"

#define PLATFORM_PAGES (ALIGN_UP(sizeof(struct platform), PAGE_SIZE) / PAGE_SIZE)

/* --- Hooks: run on the vCPU's CPU --- */

static void platform_cpuid(struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	vcpuid_adjust(vcpu, platform_of(vcpu->vm)->signature, leaf, subleaf, regs);
}

static const struct vm_hooks platform_hooks = {
	.irq_pending = vlapic_irq_pending,
	.irq_accepted = vlapic_irq_accepted,
	.irr_highest = vlapic_irr_highest,
	.eoi = vlapic_eoi,
	.eoi_highest = vlapic_eoi_highest,
	.apic_written = vlapic_apic_written,
	.apic_access = vlapic_apic_access,
	.cr8_read = vlapic_cr8_read,
	.cr8_write = vlapic_cr8_write,
	.msr_read = vlapic_msr_read,
	.msr_write = vlapic_msr_write,
	.cpuid = platform_cpuid,
	.next_deadline = vlapic_next_deadline,
	.poll = devices_poll,
	.clock = devices_clock,
	.skip_time = devices_skip_time,
	.pause = virtio_pause,
	.work = virtio_work,
};

/* --- Building --- */

static uint64_t to_mib(uint64_t bytes)
{
	return bytes >> 20;
}

static int create_vm(struct build *build)
{
	int err;

	build->platform = page_alloc(PLATFORM_PAGES);
	if (build->platform == NULL) {
		return platform_refuse(build, ERR_NOMEM, "the hypervisor's own memory is used up");
	}
	err = vm_create(build->config->name, &platform_hooks, build->platform, &build->vm);
	if (err != 0) {
		page_free(build->platform, PLATFORM_PAGES);
		return platform_refuse(build, err, "it could not be created: %s", err_name(err));
	}
	atomic_store_relaxed(&build->vm->weight, build->config->weight);
	for (size_t i = 0; i < ARRAY_COUNT(build->vm->affinity); i++) {
		atomic_store_relaxed(&build->vm->affinity[i], build->config->affinity[i]);
	}
	build->platform->vm = build->vm;
	build->platform->config = build->config;
	build->platform->signature = build->config->signature;
	return 0;
}

/* Takes a KeyID with the kind of key that the policy says. */
static int claim_keyid(struct build *build)
{
	const struct vm_config *config = build->config;
	keyid_t *keyid = &build->platform->keyid;
	int err = build->policy->verdict == ENGINE_RUNS_NO_ENCRYPT
			  ? keyslot_take(KEYSLOT_NO_ENCRYPT, NULL, 0, config->name, keyid)
			  : rekey_take(config, keyid);

	if (err == 0) {
		gmem_use_keyid(&build->vm->gmem, build->platform->keyid);
	}
	return err;
}

/*
 * If no KeyID can be taken, applies the policy again, as for a machine without free KeyIDs: engine
 * = auto falls back to the software engine; other engines are refused or run under KeyID 0, as the
 * table says.
 */
static int claim_keyid_or_fall_back(struct build *build)
{
	int err = claim_keyid(build);

	if (err == 0) {
		return 0;
	}
	build->platform->keyid = KEYID_PLATFORM;
	if (err == ERR_NOMEM) {
		return platform_refuse(build, err, "the hypervisor's own memory is used up");
	}
	log_error("vm %s: no KeyID could be given a key: %s", build->config->name, err_name(err));
	return platform_apply_policy(build, false);
}

/* Reserves the VM's share of the software engine's window and makes its key. */
static int claim_window(struct build *build)
{
	const struct vm_config *config = build->config;
	const uint8_t *secret = config->key.kind == VM_KEY_FILE ? config->key.secret : NULL;
	int err = pager_vm_create(config->name, config->vcpus, secret,
				  engine_has_tags(config->integrity), &build->platform->pager);

	switch (err) {
	case 0: pager_set_drain(build->platform->pager, config->drain_s); return 0;
	case ERR_RANGE:
		return platform_refuse(build, err,
				       "it gets no share of the window, for the reason above");
	case ERR_NOMEM:
		return platform_refuse(build, err, "the hypervisor's own memory is used up");
	default:
		/* A key file needs random numbers as well, for the salt. */
		return platform_refuse(
			build, err,
			"key = %s: this machine has no source of random numbers that passes "
			"its tests; look for RDSEED or RDRAND in firmware's set-up",
			platform_key_word(&config->key));
	}
}

static int add_region(struct build *build, uint64_t base, uint64_t bytes)
{
	struct gmem *gmem = &build->vm->gmem;

	if (build->platform->pager != NULL) {
		return gmem_add_ram_sealed(gmem, build->platform->pager, gpa(base), bytes);
	}
	return gmem_add_ram_plain(gmem, gpa(base), bytes, build->config->max_leaf);
}

/* Logs how the memory of a `clear` range is stored. */
static void log_clear(const char *name, const struct vm_clear_range *range)
{
	const struct tme_state *tme = tme_state();
	const char *what = tme->kind == TME_NONE ? "in clear, as clear says"
			   : tme->bypass	 ? "under KeyID 0, as clear says: in clear"
						 : "under KeyID 0, as clear says: encrypted by the "
						   "machine's own TME key";

	log_info("vm %s: %luK at guest-physical %#lx %s", name, range->bytes >> 10, range->base,
		 what);
}

/* Adds the RAM of [base, end): `clear` ranges under KeyID 0, the rest as the engine stores it. */
static int add_ram(struct build *build, uint64_t base, uint64_t end)
{
	const struct vm_clear_range *range = build->config->clear;
	int err = 0;

	for (size_t i = 0; i < VM_CLEAR_MAX && err == 0; i++, range++) {
		if (range->bytes == 0 || range->base < base || range->base >= end) {
			continue;
		}
		if (range->base > base) {
			err = add_region(build, base, range->base - base);
		}
		if (err == 0) {
			err = gmem_add_ram_clear(&build->vm->gmem, gpa(range->base), range->bytes,
						 build->config->max_leaf);
		}
		base = range->base + range->bytes;
		log_clear(build->config->name, range);
	}
	return err == 0 && base < end ? add_region(build, base, end - base) : err;
}

/* Takes what the engine needs to encrypt the VM's memory. */
static int claim_engine(struct build *build)
{
	int err = 0;

	if (build->policy->verdict == ENGINE_RUNS_TME_MK ||
	    build->policy->verdict == ENGINE_RUNS_NO_ENCRYPT) {
		err = claim_keyid_or_fall_back(build);
	}
	if (err == 0 && build->policy->verdict == ENGINE_RUNS_SOFTWARE) {
		err = claim_window(build);
	}
	return err;
}

static int add_memory(struct build *build)
{
	uint64_t bytes = build->config->memory_bytes;
	uint64_t low = memmap_low_bytes(bytes), high = memmap_high_bytes(bytes);
	uint64_t left = frames_free_count() * PAGE_SIZE, own = page_left_count() * PAGE_SIZE;
	int err = 0;

	if (bytes > left) {
		return platform_refuse(
			build, ERR_NOMEM,
			"memory = %luM is more than the machine has: %luM are left for VMs",
			to_mib(bytes), to_mib(left));
	}
	err = claim_engine(build);
	if (err != 0) {
		return err;
	}
	err = add_ram(build, 0, low);
	if (err == 0 && high != 0) {
		err = add_ram(build, MEMMAP_HIGH_RAM, MEMMAP_HIGH_RAM + high);
	}
	if (err != 0 && (err == ERR_AGAIN || retire_pending())) {
		return ERR_AGAIN;
	}
	if (err != 0) {
		return platform_refuse(
			build, err,
			"its memory of %luM could not be set up (%s): %luM are left for "
			"VMs, and %luM of Umbra's own, where page tables lie",
			to_mib(bytes), err_name(err), to_mib(left), to_mib(own));
	}
	return 0;
}

static int add_shares(struct build *build)
{
	return shares_attach(build->vm, build->config, build->platform->pager);
}

static int add_devices(struct build *build)
{
	const char *failed;
	int err = devices_init(build->platform, &failed);

	if (err != 0 && err != ERR_AGAIN) {
		return platform_refuse(build, err, "its %s could not be set up: %s", failed,
				       err_name(err));
	}
	return err;
}

static int add_vcpus(struct build *build)
{
	for (uint32_t i = 0; i < build->config->vcpus; i++) {
		struct vcpu *vcpu;
		const char *failed = "state";
		int err = vm_add_vcpu(build->vm, &vcpu);

		if (err == 0) {
			err = devices_add_vcpu(vcpu, &failed);
		}
		if (err != 0) {
			return platform_refuse(build, err, "vCPU %u could not be set up: %s: %s", i,
					       failed, err_name(err));
		}
	}
	return 0;
}

static int add_acpi_tables(struct build *build)
{
	const struct vpci *pci = &build->platform->pci;
	const struct acpi_machine machine = {
		.vcpu_count = build->vm->vcpu_count,
		.window = pci->window,
		.window_bytes = pci->window_bytes,
	};
	int err = acpi_build(&build->vm->gmem, &machine);

	if (err == 0) {
		err = smbios_build(&build->vm->gmem, build->config->name,
				   build->config->memory_bytes);
	}
	if (err != 0) {
		return platform_refuse(build, err,
				       "its ACPI and SMBIOS tables could not be written: %s",
				       err_name(err));
	}
	return 0;
}

static int load_files(struct build *build)
{
	return loading_begin(build->vm, build->config);
}

static int announce(struct build *build)
{
	const struct vm_config *config = build->config;

	vconsole_attach(&build->platform->console, build->vm->name);
	platform_describe_engine(build->vm, build->policy);
	log_info("vm %s: starts with %luM of memory %s, %u vCPU%s, kernel %s", config->name,
		 to_mib(config->memory_bytes), build->platform->engine, config->vcpus,
		 config->vcpus == 1 ? "" : "s", config->kernel.path);
	return 0;
}

/* Each step logs why it failed. platform_destroy_vm undoes the steps that were done. */
static int (*const build_steps[])(struct build *build) = {
	platform_check_config,
	platform_wait_for_memory,
	platform_choose_engine,
	create_vm,
	add_memory,
	add_shares,
	add_devices,
	add_vcpus,
	add_acpi_tables,
	load_files,
	announce,
};

int platform_start_vm(const struct vm_config *config, struct vm **out)
{
	struct build build = { .config = config };

	for (size_t i = 0; i < ARRAY_COUNT(build_steps); i++) {
		int err = build_steps[i](&build);

		if (err != 0) {
			platform_destroy_vm(build.vm);
			return err;
		}
	}
	*out = build.vm;
	return 0;
}

int platform_start_loaded(struct vm *vm)
{
	int err = loading_poll(vm);

	if (err == 0) {
		vm_start(vm);
	} else if (err != ERR_AGAIN) {
		platform_destroy_vm(vm);
	}
	return err;
}

unsigned platform_percent_loaded(const struct vm *vm)
{
	return loading_percent(vm);
}

void platform_pause(struct vm *vm)
{
	vm_pause(vm);
	loading_hold(vm);
}

void platform_resume(struct vm *vm)
{
	vm_resume(vm);
	loading_go_on(vm);
}

bool platform_finish_console(struct vm *vm)
{
	return vconsole_finish(&platform_of(vm)->console);
}

uint64_t platform_device_bytes(const struct vm *vm)
{
	return virtio_bytes(vm);
}

void platform_print_devices(const struct vm *vm, void (*print)(const char *fmt, ...))
{
	virtio_print(vm, print);
}

void platform_keep_vm(struct vm *vm)
{
	vconsole_end(&platform_of(vm)->console);
	virtio_pause(vm, true);
	(void)platform_seal_vm(vm); /* a VM without an engine cannot be sealed and stays in clear */
}

bool platform_press_power_button(struct vm *vm)
{
	return vlegacy_press_power_button(&platform_of(vm)->legacy);
}

void platform_destroy_vm(struct vm *vm)
{
	struct platform *platform;

	if (vm == NULL) {
		return;
	}
	platform = platform_of(vm);
	loading_end(vm);
	vconsole_detach(&platform->console);
	devices_destroy(platform);
	vm_destroy(vm);
	shares_detach(vm);
	pager_vm_destroy(platform->pager); /* after the memory that it sealed */
	page_free(platform, PLATFORM_PAGES);
}
