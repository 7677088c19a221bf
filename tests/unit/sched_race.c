/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that run, move, pause and end vCPUs, under ThreadSanitizer: the product's scheduler, vCPUs
 * and VMs, with guests that halt, spin, wake and reset each other by chance. A vCPU's register is
 * plain memory. Its guest writes it at each entry, and the boot processor writes it while the VM is
 * paused. So it is a data race if a vCPU runs on two CPUs, or while its VM is paused, or if the
 * queues do not order their users. A lost kick leaves a CPU asleep for ever, because idle CPUs
 * other than the first wait only for kicks and near deadlines. Exits with 0 on success.
 */
#include <stdio.h>
#include <time.h>

#include "ept/ept.h"
#include "ept/invept_priv.h"
#include "tests/unit/race_cpus.h"
#include "vmm/apic_page.h"
#include "vmm/attention.h"
#include "vmm/exit_names.h"
#include "vmm/base/cpu.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"
#include "vmm/host/lapic.h"
#include "vmm/host/work.h"
#include "vmm/msr.h"
#include "vmm/exits.h"
#include "vmm/hole.h"
#include "vmm/inject.h"
#include "vmm/sched.h"
#include "vmm/sched_slice.h"
#include "vmm/vcpu_dump.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmcs.h"
#include "vmm/vmx.h"
#include "vmm/vmx_entry.h"

#define VMS	3u
#define VCPUS	3u
#define LIVES	150u /* VMs that begin and end in one run */
#define US	1000ul
#define NEAR_US 3000u

static bool over;
static uint64_t halts, moves, entries, pauses, clocks;

/* A fake virtual APIC: whether an interrupt is pending for a vCPU. By VM and vCPU. */
static struct platform {
	uint32_t pending[VCPUS];
	/* Used by the vCPU's CPU, or by the boot processor while the VM is paused. */
	uint64_t deadline[VCPUS];
	bool used;
} platforms[VMS];
static struct vm *vms[VMS];

/* --- A machine --- */

uint64_t fake_rdtsc(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Takes a pending interrupt. */
void fake_interrupt_window(void)
{
	(void)race_was_kicked();
}

/* A kick between the check and the HLT ends the HLT at once. */
void lapic_idle_until(uint64_t deadline)
{
	const bool near = race_self == 0 || deadline < fake_rdtsc() + tsc_from_us(NEAR_US);

	while (!race_was_kicked() && !__atomic_load_n(&over, __ATOMIC_ACQUIRE) &&
	       !(near && fake_rdtsc() >= deadline)) {
		race_pause();
	}
}

void lapic_timer_arm(uint64_t tsc_deadline)
{
}

bool console_flush(void)
{
	return false;
}

uint32_t console_listen_us(void)
{
	return 0;
}

void console_listen(void)
{
}

/* --- What a VM and a vCPU use --- */

int gmem_init(struct gmem *gmem)
{
	return 0;
}

void gmem_destroy(struct gmem *gmem)
{
}

int apic_page_alloc(struct vm *vm)
{
	return 0;
}

void apic_page_free(struct vm *vm)
{
}

void apic_page_mode_changed(struct vm *vm, enum vcpu_apic_mode from, enum vcpu_apic_mode to)
{
}

void hole_free(struct vm *vm)
{
}

void msr_reset(struct vcpu *vcpu)
{
}

int vcpu_state_alloc(struct vcpu *vcpu)
{
	return 0;
}

void vcpu_state_free(struct vcpu *vcpu)
{
}

/* Live registers: the CPU that gives them up writes them, the CPU that takes them reads them. */
void vcpu_state_switch(struct vcpu *from, struct vcpu *to)
{
	if (from != NULL) {
		from->priv->cr2++;
	}
	if (to != NULL && to->priv->cr2 == UINT64_MAX) {
		race_broken("nonsense in a register");
	}
}

void vcpu_state_reset(struct vcpu *vcpu)
{
}

void vcpu_dump(const struct vcpu *vcpu)
{
}

uint64_t fake_vmread(uint32_t field)
{
	return 0;
}

void fake_vmwrite(uint32_t field, uint64_t value)
{
}

/* The VMCS: a write to its page, as the processor may do. */
void fake_vmptrld(hpa_t vmcs)
{
	(*(uint64_t *)vmcs.v)++;
}

void fake_vmclear(hpa_t vmcs)
{
	(*(uint64_t *)vmcs.v)++;
	race_count(&moves);
}

const struct ept_caps *ept_caps(void)
{
	static const struct ept_caps caps = { .invept_single = true };

	return &caps;
}

void fake_invvpid_single(uint16_t vpid)
{
}

void fake_verw(void)
{
}

void fake_wrmsr(uint32_t msr, uint64_t value)
{
}

void vmcs_setup(struct vcpu *vcpu)
{
}

void vmcs_write_host(void)
{
}

void vmcs_set_long_mode(const struct vcpu_long_mode *start)
{
}

void vmcs_reset_guest(struct vcpu *vcpu, uint8_t vector)
{
	vcpu->regs.gpr[GPR_RDX] = vector;
	for (uint32_t i = race_random(4); i != 0; i--) {
		race_pause();
	}
}

void vmcs_write_apic_controls(struct vcpu *vcpu)
{
}

void vmx_fill_rsb(void)
{
}

const char *exit_name(uint32_t reason)
{
	return "";
}

const struct vmx_caps *vmx_caps(void)
{
	static const struct vmx_caps caps = { .preemption_timer = true };

	return &caps;
}

static struct platform *platform_of_vm(const struct vm *vm)
{
	return vm->platform;
}

/* --- A guest --- */

static int irq_pending(struct vcpu *vcpu)
{
	struct platform *platform = platform_of_vm(vcpu->vm);

	if (fake_rdtsc() >= platform->deadline[vcpu->id]) {
		platform->deadline[vcpu->id] = UINT64_MAX;
		__atomic_store_n(&platform->pending[vcpu->id], 1, __ATOMIC_RELAXED);
	}
	return __atomic_load_n(&platform->pending[vcpu->id], __ATOMIC_ACQUIRE) != 0 ? 0x40 : -1;
}

static uint64_t next_deadline(struct vcpu *vcpu)
{
	return platform_of_vm(vcpu->vm)->deadline[vcpu->id];
}

static void poll_devices(struct vm *vm)
{
}

static void interrupt(struct vm *vm, uint32_t to)
{
	__atomic_store_n(&platform_of_vm(vm)->pending[to], 1, __ATOMIC_RELEASE);
	vcpu_kick(vm->vcpus[to]);
}

/* Must not be called while the VM is paused, nor on two CPUs. */
static void clock_ticks(struct vm *vm, uint64_t tsc)
{
	if (tsc < atomic_load_relaxed(&vm->clock_deadline)) {
		race_broken("a clock that is early");
	}
	race_count(&clocks);
	atomic_store(&vm->clock_deadline, UINT64_MAX);
	interrupt(vm, race_random(vm->vcpu_count));
}

static void skip_time(struct vm *vm, uint64_t ticks)
{
}

static void on_pause(struct vm *vm, bool on)
{
}

static const struct vm_hooks hooks = { .irq_pending = irq_pending,
				       .next_deadline = next_deadline,
				       .poll = poll_devices,
				       .clock = clock_ticks,
				       .skip_time = skip_time,
				       .pause = on_pause };

void inject_before_entry(struct vcpu *vcpu)
{
	struct platform *platform = platform_of_vm(vcpu->vm);

	(void)irq_pending(vcpu);
	__atomic_store_n(&platform->pending[vcpu->id], 0, __ATOMIC_RELAXED);
	(void)attention_clear(vcpu, ATTENTION_NMIS | ATTENTION_EVENTS);
	vcpu->priv->timer_deadline = platform->deadline[vcpu->id];
}

/*
 * Some time in the guest, ended by an exit that exit_dispatch handles, by a kick or by the timer.
 */
uint32_t vmx_enter(struct vcpu *vcpu, struct vcpu_private *priv, bool launched)
{
	const uint32_t steps = race_random(40);

	race_count(&entries);
	for (uint32_t i = 0;
	     i < steps && !__atomic_load_n(&race_kicked[race_self], __ATOMIC_ACQUIRE); i++) {
		vcpu->regs.gpr[GPR_RAX]++;
		race_pause();
	}
	vcpu->regs.gpr[GPR_RCX] = race_random(200);
	return VMX_ENTER_EXITED;
}

static enum exit_result halt(struct vcpu *vcpu)
{
	race_count(&halts);
	/*
	 * The last vCPU to go to sleep would never be woken, so each has a timer, perhaps a late
	 * one.
	 */
	platform_of_vm(vcpu->vm)->deadline[vcpu->id] = fake_rdtsc() + (50 + race_random(2000)) * US;
	atomic_store_relaxed(&vcpu->priv->halted_if, true);
	vcpu_set_state(vcpu, VCPU_HALTED);
	(void)attention_set(vcpu, ATTENTION_EVENTS);
	return EXIT_RESUME;
}

/*
 * Resets a sibling, and sleeps with interrupts off until the sibling sends it an NMI. Not all vCPUs
 * ever sleep for ever at the same time.
 */
static enum exit_result reset_sibling(struct vcpu *vcpu, struct vcpu *sibling)
{
	vcpu_init_signal(sibling);
	vcpu_sipi(sibling, 1);
	if (sibling != vcpu) {
		atomic_store_relaxed(&vcpu->priv->halted_if, false);
		vcpu_set_state(vcpu, VCPU_HALTED);
		(void)attention_set(vcpu, ATTENTION_EVENTS);
		vm_check_halted(vcpu->vm);
	}
	return EXIT_RESUME;
}

enum exit_result exit_dispatch(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	const uint32_t to = race_random(vm->vcpu_count);

	fake_interrupt_window();
	vcpu->exit_count[0]++;
	if (vcpu->regs.gpr[GPR_RDX] != 0) {
		vcpu->regs.gpr[GPR_RDX] = 0;
		for (uint32_t i = 0; i < vm->vcpu_count; i++) {
			vcpu_nmi(vm->vcpus[i]);
		}
	}
	switch (vcpu->regs.gpr[GPR_RCX]) {
	case 0: return reset_sibling(vcpu, vm->vcpus[to]);
	case 1: vcpu_nmi(vm->vcpus[to]); return EXIT_RESUME;
	case 2:
		vm_end(vm, race_random(4) == 0 ? VM_END_POWER_OFF : VM_END_NONE, "by itself");
		return EXIT_RESUME;
	case 3: vm_set_clock(vm, fake_rdtsc() + race_random(500) * US); return EXIT_RESUME;
	case 4: umbra_sched_yield(); return EXIT_YIELD;
	default: break;
	}
	if (vcpu->regs.gpr[GPR_RCX] < 40) {
		interrupt(vm, to);
		return EXIT_RESUME;
	}
	return vcpu->regs.gpr[GPR_RCX] < 100 ? halt(vcpu) : EXIT_YIELD;
}

/* --- The boot processor --- */

/* Work that the boot processor adds and takes back. An idle CPU gets some of it soon. */
static struct {
	struct work work;
	uint64_t steps;
	bool over; /* atomic */
} chore;

static bool do_chore(void *context)
{
	chore.steps++;
	if (race_random(20) != 0) {
		return true;
	}
	__atomic_store_n(&chore.over, true, __ATOMIC_RELEASE);
	return false;
}

/* When the work is done, or taken back, it belongs to this CPU, which adds it again. */
static void look_after_chore(void)
{
	if (__atomic_load_n(&chore.over, __ATOMIC_ACQUIRE) || work_take_back(&chore.work)) {
		chore.over = false;
		chore.steps++;
		work_add(&chore.work);
		(void)sched_rouse_idle();
	}
}

static uint32_t lives;

static void start(uint32_t slot)
{
	struct platform *platform = &platforms[slot];
	struct vm *vm;
	struct vcpu *vcpu;

	*platform = (struct platform){ .used = true };
	if (vm_create("race", &hooks, platform, &vm) != 0) {
		race_broken("no VM");
	}
	for (uint32_t i = 0; i < 1 + race_random(VCPUS); i++) {
		platform->deadline[i] = UINT64_MAX;
		if (vm_add_vcpu(vm, &vcpu) != 0) {
			race_broken("no vCPU");
		}
		atomic_store_relaxed(&vcpu->state, VCPU_RUNNABLE);
	}
	vms[slot] = vm;
	lives++;
	if (race_random(4) != 0) {
		vm_start(vm);
		return;
	}
	vm_pause(vm); /* while it is being loaded */
	vm_start(vm);
	if (vm->vcpus[0]->regs.gpr[GPR_RAX]++ != 0) {
		race_broken("a VM runs that was paused before its start");
	}
	vm_resume(vm);
}

/* As the shell and a move of memory do: reads registers and cached state of a paused VM. */
static void pause_and_look(struct vm *vm)
{
	vm_pause(vm);
	race_count(&pauses);
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vm->vcpus[i]->regs.gpr[GPR_RBX] = vm->vcpus[i]->regs.gpr[GPR_RAX];
		vcpu_forget_code(vm->vcpus[i]);
		if (fake_rdtsc() < platform_of_vm(vm)->deadline[i]) {
			platform_of_vm(vm)->deadline[i] = fake_rdtsc();
		}
	}
	for (uint32_t i = race_random(20); i != 0; i--) {
		race_pause();
	}
	vm_resume(vm);
}

static void wish(struct vm *vm)
{
	const uint64_t affinity[CPU_MAX / 64] = { race_random(1u << RACE_CPUS) };

	sched_set_weight(vm, 1 + race_random(1000));
	sched_set_affinity(vm, affinity);
}

static bool between(void)
{
	const uint32_t slot = race_random(VMS);
	struct vm *vm = vms[slot];
	struct sched_times times;

	if (vm == NULL) {
		if (lives < LIVES) {
			start(slot);
		}
		return false;
	}
	if (vm_ended(vm)) {
		if (atomic_load_relaxed(&vm->end_reason) == VM_END_HALTED) {
			race_broken("a VM ended as halted for ever, and was not");
		}
		vm_destroy(vm);
		vms[slot] = NULL;
		return false;
	}
	switch (race_random(12)) {
	case 0: pause_and_look(vm); break;
	case 1: wish(vm); break;
	case 2: sched_times(vm, &times); break;
	case 3: vcpu_nmi(vm->vcpus[race_random(vm->vcpu_count)]); break;
	case 4:
		if (race_random(4) == 0 || lives == LIVES) {
			vm_end(vm, VM_END_DESTROYED, NULL);
		}
		break;
	case 5: vcpu_ask_dump(vm->vcpus[race_random(vm->vcpu_count)]); break;
	case 6: vm_set_clock(vm, fake_rdtsc() + race_random(500) * US); break;
	case 7: look_after_chore(); break;
	default: break;
	}
	return false;
}

static bool some_live(void)
{
	for (uint32_t i = 0; i < VMS; i++) {
		if (vms[i] != NULL) {
			return true;
		}
	}
	return lives < LIVES;
}

static void run(void)
{
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		sched_turn(race_self == 0 ? between : NULL);
		if (race_self == 0 && !some_live()) {
			__atomic_store_n(&over, true, __ATOMIC_RELEASE);
		}
	}
}

int main(void)
{
	chore.work.step = do_chore;
	work_add(&chore.work);
	race_run(run); /* a lost kick or a deadlock ends the program */
	printf("%u VMs, %lu entries, %lu halts, %lu moves and ends, %lu pauses, %lu clocks\n",
	       lives, entries, halts, moves, pauses, clocks);
	if (chore.steps < 1000) {
		race_broken("idle CPUs did little work");
	}
	if (entries < 10000 || halts < 1000 || moves < 2 * LIVES || pauses < 100 || clocks < 100) {
		race_broken("too little happened");
	}
	return 0;
}
