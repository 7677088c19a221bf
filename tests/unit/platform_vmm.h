/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of guest/platform.c: fakes of the vmm, the local APICs and the pager that it uses. */
#ifndef UMBRA_TEST_PLATFORM_VMM_H
#define UMBRA_TEST_PLATFORM_VMM_H

#include <stdlib.h>

#include "tests/unit/test.h"
#include "crypto/tme.h"
#include "ept/retire.h"
#include "guest/dev/vlapic.h"
#include "guest/platform.h"
#include "guest/platform_state.h"
#include "tests/unit/bzimage.h"
#include "tests/unit/gmem_end.h"
#include "vmm/base/err.h"
#include "vmm/console/log.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/work.h"
#include "vmm/sched.h"

#define MIB (1ul << 20)

static struct vm_config config;

/* --- The vmm and the vlapic: what platform.c calls --- */

static unsigned started, lapics;
static int fail_create, fail_vcpu, fail_lapic;
static struct vcpu_long_mode entry;
static const struct vm_hooks *hooks;

int vm_create(const char *name, const struct vm_hooks *given, void *platform, struct vm **out)
{
	struct vm *vm;

	if (fail_create != 0) {
		return fail_create;
	}
	vm = calloc(1, sizeof(*vm));
	strcpy(vm->name, name);
	vm->platform = platform;
	vm->hooks = hooks = given;
	assert_int_equal(gmem_init(&vm->gmem), 0);
	*out = vm;
	return 0;
}

int vm_add_vcpu(struct vm *vm, struct vcpu **out)
{
	if (fail_vcpu != 0) {
		return fail_vcpu;
	}
	*out = calloc(1, sizeof(**out));
	(*out)->vm = vm;
	(*out)->id = vm->vcpu_count;
	vm->vcpus[vm->vcpu_count++] = *out;
	return 0;
}

void vm_start(struct vm *vm)
{
	vm->state.only = VM_RUNNING;
	started++;
}

void vm_destroy(struct vm *vm)
{
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		assert_null(vm->vcpus[i]->platform); /* its APIC is destroyed first */
		free(vm->vcpus[i]);
	}
	gmem_end(&vm->gmem);
	free(vm);
}

void vm_end(struct vm *vm, enum vm_end_reason reason, const char *detail)
{
}

void vm_log_exits(const struct vm *vm)
{
}

void vm_pause(struct vm *vm)
{
	vm->paused.only = true;
}

void vm_resume(struct vm *vm)
{
	vm->paused.only = false;
}

static uint64_t billed, tsc_step;

uint64_t fake_rdtsc(void)
{
	return fake_tsc += tsc_step;
}

void sched_bill(struct vcpu *vcpu, uint64_t ticks)
{
	assert_int_equal(vcpu->id, 0);
	assert_int_equal(vcpu->vm->state.only, VM_BUILDING);
	billed = ticks;
}

void vcpu_set_long_mode(struct vcpu *vcpu, const struct vcpu_long_mode *state)
{
	assert_int_equal(vcpu->id, 0);
	entry = *state;
}

uint64_t vcpu_guest_tsc(const struct vcpu *vcpu, uint64_t host_tsc)
{
	return host_tsc;
}

int vlapic_create(struct vcpu *vcpu)
{
	if (fail_lapic != 0) {
		return fail_lapic;
	}
	vcpu->platform = vcpu;
	lapics++;
	return 0;
}

bool vlapic_is_on(const struct vcpu *vcpu)
{
	return true;
}

void vlapic_destroy(struct vcpu *vcpu)
{
	vcpu->platform = NULL;
	lapics--;
}

bool vlapic_deliver(struct vm *vm, const struct vlapic_msg *msg)
{
	return true;
}

static uint64_t lapic_deadline;

/* clang-format off: one line each */
int vlapic_irq_pending(struct vcpu *vcpu)
{
	return -1;
}
void vlapic_irq_accepted(struct vcpu *vcpu, uint8_t vector)
{
}
int vlapic_irr_highest(struct vcpu *vcpu)
{
	return -1;
}
void vlapic_eoi(struct vcpu *vcpu, uint8_t vector)
{
}
void vlapic_eoi_highest(struct vcpu *vcpu)
{
}
void vlapic_apic_written(struct vcpu *vcpu, uint32_t offset)
{
}
void vlapic_apic_access(struct vcpu *vcpu, struct io_access *access)
{
}
uint8_t vlapic_cr8_read(struct vcpu *vcpu)
{
	return 0;
}
void vlapic_cr8_write(struct vcpu *vcpu, uint8_t value)
{
}
void vlapic_skip_time(struct vcpu *vcpu, uint64_t ticks)
{
}

static void destroy_lapics(struct platform *platform)
{
	for (uint32_t i = 0; i < platform->vm->vcpu_count; i++) {
		if (platform->vm->vcpus[i]->platform != NULL) {
			vlapic_destroy(platform->vm->vcpus[i]);
		}
	}
}

const struct vdev_ops vlapic_device = {
	.name = "local APIC",
	.add_vcpu = vlapic_create,
	.destroy = destroy_lapics,
};

uint64_t vlapic_next_deadline(struct vcpu *vcpu)
{
	return lapic_deadline;
}
int vlapic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	return ERR_NOTFOUND;
}
int vlapic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	return ERR_NOTFOUND;
}
/* clang-format on */

/* --- The pager: an account is one host page, its memory is plain --- */

static int fail_pager;
static bool sealed;
static const uint8_t *secret; /* the key that pager_vm_create must get */
static struct tme_state tme;

const struct tme_state *tme_state(void)
{
	return &tme;
}

struct pager_vm {
	const struct gmem *gmem;
};

static bool tags_are_fast, has_tags; /* the account was made so */

bool page_tags_are_fast(void)
{
	return tags_are_fast;
}

int pager_vm_create(const char *name, uint32_t vcpu_count, const uint8_t *given, bool with_tags,
		    struct pager_vm **out)
{
	has_tags = with_tags;
	assert_ptr_equal(name, config.name); /* the name outlives the account */
	assert_int_equal(vcpu_count, config.vcpus);
	assert_ptr_equal(given, secret);
	*out = fail_pager == 0 ? page_alloc(1) : NULL;
	return fail_pager != 0 ? fail_pager : *out == NULL ? ERR_NOMEM : 0;
}

void pager_vm_destroy(struct pager_vm *pager)
{
	/* The memory is freed by now. */
	assert_true(pager == NULL || fake_frames_live() == 0);
	page_free(pager, 1);
}

int gmem_add_ram_sealed(struct gmem *gmem, struct pager_vm *pager, gpa_t base, uint64_t bytes)
{
	assert_true(pager->gmem == NULL || pager->gmem == gmem);
	pager->gmem = gmem;
	sealed = true;
	return gmem_add_ram_plain(gmem, base, bytes, PAGE_SIZE);
}

void pager_count(struct pager_vm *pager, struct pager_counters *out)
{
	memset(out, 0, sizeof(*out));
}

void pager_vm_seal(struct pager_vm *pager)
{
}

void pager_log(struct pager_vm *pager)
{
	assert_non_null(pager);
	log_info("figures");
}

const char *page_cipher_name(void)
{
	return "rot13";
}

/* --- For the tests --- */

/* Starts a VM and loads it completely, as boot/vms.c does. */
static inline int start_vm(struct vm **vm)
{
	int err = platform_start_vm(&config, vm);

	while (err == 0 && (err = platform_start_loaded(*vm)) == ERR_AGAIN) {
		err = work_some() ? 0 : ERR_TIMEOUT;
	}
	return err;
}

static uint8_t kernel[BZIMAGE_BYTES];
static int setup(void **state)
{
	fake_setup(state);
	ept_configure(&(struct ept_caps){ .phys_bits = 40, .page_2m = true, .page_1g = true });
	bzimage_fill(kernel);
	started = lapics = 0;
	fail_create = fail_vcpu = fail_lapic = fail_pager = 0;
	sealed = false;
	secret = NULL;
	memset(&tme, 0, sizeof(tme));
	config = (struct vm_config){
		.name = "alpha",
		.line = 7,
		.memory_bytes = 64 * MIB,
		.vcpus = 2,
		.kernel = { .path = "\\umbra\\vmlinuz", .data = kernel, .bytes = sizeof(kernel) },
		.cmdline = "console=ttyS0",
		.engine = VM_ENGINE_NONE,
		.key.kind = VM_KEY_NONE,
		.signature = VM_SIGNATURE_KVM,
		.max_leaf = SIZE_1G,
		.valid = true,
	};
	return 0;
}

#endif
