/* SPDX-License-Identifier: Apache-2.0 */
/* Starting VMs, and what happens when they end. */
#include "boot/vms.h"

#include "guest/platform.h"
#include "vmm/base/console.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/tsc.h"
#include "vmm/base/cpu.h"
#include "vmm/vcpu.h"

/* A guest that resets sooner than this after its start, this often in a row, is left stopped. */
#define EARLY_RESET_US	5000000u
#define EARLY_RESET_MAX 5u

static struct vms_entry slots[CONFIG_VM_MAX];
static size_t slot_count;

static int start(struct vms_entry *slot)
{
	int err;

	slot->started = cpu_rdtsc();
	err = platform_start_vm(slot->config, &slot->vm);
	if (err != 0) {
		slot->vm = NULL; /* it has told why */
	}
	return err;
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
	slot->early_resets = 0;
	return start(slot);
}

size_t vms_start(const struct config *config)
{
	size_t running = 0;

	slot_count = config->vm_count;
	for (size_t i = 0; i < config->vm_count; i++) {
		slots[i] = (struct vms_entry){ .config = &config->vms[i] };
		if (!config->vms[i].valid) {
			log_warn("vm %s: not started, for the reason above", config->vms[i].name);
			continue;
		}
		(void)start(&slots[i]);
		running += slots[i].vm != NULL ? 1 : 0;
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

/* Says how it ended and frees it; returns why it ended. */
static enum vm_end_reason bury(struct vms_entry *slot)
{
	struct vm *vm = slot->vm;
	const enum vm_end_reason reason = vm->end_reason;
	const bool wanted = reason == VM_END_POWER_OFF || reason == VM_END_RESET ||
			    reason == VM_END_DESTROYED;
	const uint64_t ms = (cpu_rdtsc() - slot->started) / MAX(tsc_hz() / 1000, 1u);

	platform_flush_vm(vm); /* its last words come first */
	log_printf(wanted ? LOG_INFO : LOG_ERROR,
		   "vm %s: ended: %s%s%s (%llu.%03llu s, %llu exits)", vm->name,
		   vm_end_reason_name(reason), vm->end_detail[0] != '\0' ? ": " : "",
		   vm->end_detail, (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000),
		   (unsigned long long)count_exits(vm));
	platform_log_memory(vm);
	platform_destroy_vm(vm);
	slot->vm = NULL;
	return reason;
}

static void start_again(struct vms_entry *slot, bool early)
{
	slot->early_resets = early ? slot->early_resets + 1 : 0;
	if (slot->early_resets == EARLY_RESET_MAX) {
		log_error("vm %s: asked for a reset %u times in a row right after its start; it "
			  "stays off",
			  slot->config->name, EARLY_RESET_MAX);
		return;
	}
	(void)start(slot);
}

size_t vms_reap(void)
{
	size_t running = 0;

	for (size_t i = 0; i < CONFIG_VM_MAX; i++) {
		struct vms_entry *slot = &slots[i];

		if (slot->vm != NULL && vm_ended(slot->vm)) {
			bool early = cpu_rdtsc() - slot->started < tsc_from_us(EARLY_RESET_US);

			if (bury(slot) == VM_END_RESET) {
				start_again(slot, early);
			}
		}
		running += slot->vm != NULL ? 1 : 0;
	}
	return running;
}
