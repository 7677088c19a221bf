/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VM objects. Only the boot processor calls vm_create, vm_add_vcpu, vm_start, vm_ended and
 * vm_destroy. Any CPU may call vm_end (attention.c). state only moves forward; its first change
 * away from VM_RUNNING decides the reason. No locks.
 */
#include "vmm/vm.h"

#include "vmm/apic_page.h"
#include "vmm/attention.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/base/waits.h"
#include "vmm/console/log.h"
#include "vmm/host/page_alloc.h"
#include "vmm/exit_names.h"
#include "vmm/hole.h"
#include "vmm/sched.h"
#include "vmm/sched_slice.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_tsc.h"
#include "vmm/vmx.h"

#define VM_PAGES ((sizeof(struct vm) + PAGE_SIZE - 1) / PAGE_SIZE)

static uint64_t ids_in_use;
_Static_assert(VM_MAX == 64, "one bit for each VM");

static const char *const end_reasons[] = {
	[VM_END_NONE] = "not ended",
	[VM_END_POWER_OFF] = "powered off",
	[VM_END_RESET] = "reset",
	[VM_END_TRIPLE_FAULT] = "triple fault",
	[VM_END_ENTRY_FAILED] = "VM entry failed",
	[VM_END_UNHANDLED] = "did something that Umbra does not support",
	[VM_END_GUEST_PANIC] = "its kernel panicked",
	[VM_END_HALTED] = "halted with interrupts off: nothing can wake it",
	[VM_END_NO_MEMORY] = "the machine has no memory left for it",
	[VM_END_TAMPERED] = "tampered",
	[VM_END_ERROR] = "failure on the hypervisor's side",
	[VM_END_DESTROYED] = "destroyed",
};

const char *vm_end_reason_name(enum vm_end_reason reason)
{
	return reason < ARRAY_COUNT(end_reasons) ? end_reasons[reason] : "unknown";
}

static void end_tampered(struct gmem *gmem, const struct gmem_tampered *what)
{
	struct vm *vm = (struct vm *)(void *)((uint8_t *)gmem - offsetof(struct vm, gmem));
	char text[VM_DETAIL_MAX];

	str_printf(text, sizeof(text),
		   "region %u, page %lu, version %lu: its ciphertext is not "
		   "what Umbra stored",
		   what->region, what->page, what->version);
	vm_end(vm, VM_END_TAMPERED, text);
}

int vm_create(const char *name, const struct vm_hooks *hooks, void *platform, struct vm **out)
{
	struct vm *vm;
	int err;

	if (ids_in_use == UINT64_MAX) {
		return ERR_NOMEM;
	}
	vm = page_alloc(VM_PAGES);
	if (vm == NULL) {
		return ERR_NOMEM;
	}
	err = gmem_init(&vm->gmem);
	if (err != 0) {
		page_free(vm, VM_PAGES);
		return err;
	}
	vm->gmem.on_tampered = end_tampered;
	vm->id = (uint32_t)__builtin_ctzll(~ids_in_use);
	ids_in_use |= BIT(vm->id);
	(void)str_copy(vm->name, sizeof(vm->name), name); /* cut if it is too long */
	vm->hooks = hooks;
	atomic_store_relaxed(&vm->weight, SCHED_WEIGHT_DEFAULT);
	vm->platform = platform;
	vm->started_tsc = cpu_rdtsc();
	vm->tsc_offset = 0 - vm->started_tsc;
	atomic_store_relaxed(&vm->clock_deadline, UINT64_MAX);
	err = apic_page_alloc(vm);
	if (err != 0) {
		vm_destroy(vm);
		return err;
	}
	*out = vm;
	return 0;
}

int vm_add_vcpu(struct vm *vm, struct vcpu **out)
{
	int err;

	if (atomic_load_relaxed(&vm->state) != VM_BUILDING || vm->vcpu_count == VM_VCPU_MAX) {
		return ERR_NOMEM;
	}
	err = vcpu_create(vm, vm->vcpu_count, out);
	if (err == 0) {
		vm->vcpus[vm->vcpu_count++] = *out;
	}
	return err;
}

void vm_start(struct vm *vm)
{
	atomic_store_relaxed(&vm->running, vm->vcpu_count);
	atomic_store_release(&vm->state, VM_RUNNING);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		sched_add(vm->vcpus[i]);
	}
}

/*
 * A CPU that claims a vCPU sets on_cpu, then reads paused. This function sets paused, then reads
 * on_cpu. Each side has a full barrier in between, so at least one sees the other.
 */
void vm_pause(struct vm *vm)
{
	uint64_t began;

	if (vm_is_paused(vm)) {
		return;
	}
	atomic_store(&vm->paused, true);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vcpu_kick(vm->vcpus[i]);
	}
	began = waits_begin();
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		while (atomic_load(&vm->vcpus[i]->priv->sched.on_cpu) != 0) {
			__builtin_ia32_pause();
		}
	}
	waits_end(WAIT_OTHER, began);
	vm->hooks->pause(vm, true);
	vm->paused_tsc = cpu_rdtsc();
}

/* A CPU that claims a vCPU after the store to paused sees what was changed before it. */
void vm_resume(struct vm *vm)
{
	const uint64_t ticks = cpu_rdtsc() - vm->paused_tsc;

	if (!vm_is_paused(vm)) {
		return;
	}
	vm->tsc_offset -= ticks;
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vcpu_skip_time(vm->vcpus[i], ticks);
	}
	vm->hooks->skip_time(vm, ticks);
	vm->hooks->pause(vm, false);
	atomic_store(&vm->paused, false);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vcpu_rouse(vm->vcpus[i]);
	}
	/* While the VM was paused, the CPU that serves its clock has skipped it. */
	sched_clock_changed(vm);
}

/*
 * The CPU that serves the clock sleeps, or runs a guest, until the deadline that it knows. So this
 * stores the new deadline first, then kicks.
 */
void vm_set_clock(struct vm *vm, uint64_t deadline)
{
	uint64_t earliest = atomic_load(&vm->clock_deadline);

	while (deadline < earliest) {
		if (atomic_cas(&vm->clock_deadline, &earliest, deadline)) {
			sched_clock_changed(vm);
			return;
		}
	}
}

void vm_forget_clock(struct vm *vm)
{
	atomic_store(&vm->clock_deadline, UINT64_MAX);
}

uint32_t vm_count(void)
{
	uint32_t count = 0;

	for (uint64_t ids = ids_in_use; ids != 0; ids &= ids - 1) {
		count++;
	}
	return count;
}

bool vm_ended(struct vm *vm)
{
	if (atomic_load_acquire(&vm->state) == VM_ENDING &&
	    atomic_load_acquire(&vm->running) == 0) {
		atomic_store_relaxed(&vm->state, VM_ENDED);
	}
	return atomic_load_relaxed(&vm->state) == VM_ENDED;
}

void vm_destroy(struct vm *vm)
{
	const enum vm_state state = atomic_load_relaxed(&vm->state);

	CHECK(state == VM_BUILDING || state == VM_ENDED);
	gmem_destroy(&vm->gmem);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vcpu_destroy(vm->vcpus[i]);
	}
	apic_page_free(vm);
	hole_free(vm);
	ids_in_use &= ~BIT(vm->id);
	page_free(vm, VM_PAGES);
}

void vm_log_exits(const struct vm *vm)
{
	char line[200];
	size_t used = 0;
	uint64_t total = 0;

	line[0] = '\0';
	for (uint32_t reason = 0; reason < VCPU_EXIT_REASONS; reason++) {
		uint64_t count = 0;

		for (uint32_t i = 0; i < vm->vcpu_count; i++) {
			count += vm->vcpus[i]->exit_count[reason];
		}
		total += count;
		if (count == 0) {
			continue;
		}
		if (used > sizeof(line) - 48) {
			log_info("vm %s: exits:%s", vm->name, line);
			used = 0;
		}
		used += str_printf(line + used, sizeof(line) - used, " %s %lu", exit_name(reason),
				   count);
	}
	log_info("vm %s: exits:%s; total %lu", vm->name, line, total);
}
