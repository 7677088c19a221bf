/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event injection. An event that hardware could not deliver (IDT-vectoring information) comes
 * first, because the guest must not lose it; then NMI; then the virtual APIC's interrupt. For
 * events that must wait, a window exit is requested. No locks: own CPU.
 */
#include "vmm/inject.h"

#include "vmm/attention.h"
#include "vmm/base/x86.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define BLOCKING_INTERRUPTS (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)

/* SDM, "Interrupt 8—Double Fault Exception (#DF)": classes of exceptions. */
enum exception_class {
	CLASS_BENIGN,
	CLASS_CONTRIBUTORY,
	CLASS_PAGE_FAULT,
	CLASS_DOUBLE_FAULT,
};

static const uint8_t exception_classes[32] = {
	[VECTOR_DE] = CLASS_CONTRIBUTORY, [VECTOR_DF] = CLASS_DOUBLE_FAULT,
	[VECTOR_TS] = CLASS_CONTRIBUTORY, [VECTOR_NP] = CLASS_CONTRIBUTORY,
	[VECTOR_SS] = CLASS_CONTRIBUTORY, [VECTOR_GP] = CLASS_CONTRIBUTORY,
	[VECTOR_PF] = CLASS_PAGE_FAULT,	  [VECTOR_VE] = CLASS_PAGE_FAULT,
	[VECTOR_CP] = CLASS_CONTRIBUTORY,
};

/* Exceptions that are not faults: traps, aborts, and #DB, which may be either (SDM, table 6-1). */
#define VECTORS_NO_FAULT                                                                       \
	(BIT(VECTOR_DB) | BIT(VECTOR_NMI) | BIT(VECTOR_BP) | BIT(VECTOR_OF) | BIT(VECTOR_DF) | \
	 BIT(VECTOR_MC))

#define VECTORS_WITH_ERROR_CODE                                                               \
	(BIT(VECTOR_DF) | BIT(VECTOR_TS) | BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP) | \
	 BIT(VECTOR_PF) | BIT(VECTOR_AC) | BIT(VECTOR_CP))

static void set_exception(struct vcpu *vcpu, uint8_t vector, uint32_t error_code)
{
	uint32_t info = (uint32_t)EVENT_VALID | EVENT_HW_EXCEPTION | vector;

	/* SDM, "Checks on VM-Entry Control Fields": no error codes in real mode. */
	if ((VECTORS_WITH_ERROR_CODE & BIT(vector)) != 0 &&
	    (vmread(VMCS_GUEST_CR0) & CR0_PE) != 0) {
		info |= EVENT_ERROR_CODE;
	}
	/*
	 * SDM, "Instruction-Breakpoint Exception Condition": a fault pushes RF as 1, so that its
	 * instruction does not hit a breakpoint twice. Injection pushes the RF of RFLAGS.
	 */
	if ((VECTORS_NO_FAULT & BIT(vector)) == 0) {
		vmwrite(VMCS_GUEST_RFLAGS, vmread(VMCS_GUEST_RFLAGS) | RFLAGS_RF);
	}
	vcpu->event = (struct vcpu_event){ .info = info, .error_code = error_code };
}

/* A fault replaces the waiting event. Keeps that event if the guest would not raise it again. */
static void displace(struct vcpu *vcpu)
{
	switch (vcpu->event.info & EVENT_TYPE) {
	case EVENT_EXTERNAL: vcpu->priv->deferred_interrupt = vcpu->event.info; break;
	case EVENT_NMI: attention_latch_nmi(vcpu); break;
	default: break; /* its instruction is executed again, and raises the event again */
	}
}

void inject_exception(struct vcpu *vcpu, uint8_t vector, uint32_t error_code)
{
	uint8_t class = exception_classes[vector & 31];
	uint8_t first = CLASS_BENIGN;

	if ((vcpu->event.info & EVENT_VALID) != 0) {
		if ((vcpu->event.info & EVENT_TYPE) == EVENT_HW_EXCEPTION) {
			first = exception_classes[vcpu->event.info & 31];
		} else {
			displace(vcpu);
		}
	}
	if (first == CLASS_DOUBLE_FAULT && class != CLASS_BENIGN) {
		vm_end(vcpu->vm, VM_END_TRIPLE_FAULT, "fault while delivering a double fault");
		return;
	}
	if ((first == CLASS_PAGE_FAULT && class != CLASS_BENIGN) ||
	    (first == CLASS_CONTRIBUTORY && class == CLASS_CONTRIBUTORY)) {
		set_exception(vcpu, VECTOR_DF, 0);
		return;
	}
	set_exception(vcpu, vector, error_code);
}

void inject_ud(struct vcpu *vcpu)
{
	inject_exception(vcpu, VECTOR_UD, 0);
}

void inject_gp(struct vcpu *vcpu)
{
	inject_exception(vcpu, VECTOR_GP, 0);
}

void inject_page_fault(struct vcpu *vcpu, uint32_t error_code, uint64_t cr2)
{
	vcpu_state_set_cr2(cr2);
	inject_exception(vcpu, VECTOR_PF, error_code);
}

static void block_nmi(bool blocked)
{
	uint64_t state = vmread(VMCS_GUEST_INTERRUPTIBILITY);
	uint64_t wanted = blocked ? state | BLOCKING_BY_NMI : state & ~BLOCKING_BY_NMI;

	if (wanted != state) {
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, wanted);
	}
}

void inject_reblock_nmi(struct vcpu *vcpu)
{
	block_nmi(true);
}

void inject_again(struct vcpu *vcpu, uint32_t info)
{
	uint32_t type = info & (uint32_t)EVENT_TYPE;
	struct vcpu_event event = {
		.info = info &
			(uint32_t)(EVENT_VALID | EVENT_ERROR_CODE | EVENT_TYPE | EVENT_VECTOR),
	};

	if ((info & EVENT_ERROR_CODE) != 0) {
		event.error_code = (uint32_t)vmread(VMCS_IDT_VECTORING_ERROR_CODE);
	}
	if (type == EVENT_SW_INTERRUPT || type == EVENT_SW_EXCEPTION ||
	    type == EVENT_PRIV_SW_EXCEPTION) {
		event.insn_length = (uint32_t)vmread(VMCS_EXIT_INSTRUCTION_LENGTH);
	}
	/*
	 * The delivery of the NMI had begun, so NMIs count as blocked, and VM entry would refuse to
	 * inject one.
	 */
	if (type == EVENT_NMI) {
		block_nmi(false);
	}
	vcpu->event = event;
}

static bool interrupts_open(void)
{
	return (vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF) != 0 &&
	       (vmread(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKING_INTERRUPTS) == 0;
}

/*
 * Does a pending debug exception come first? An injected interrupt or NMI would lose a pending
 * single step or breakpoint (SDM, "Delivery of Pending Debug Exceptions after VM Entry").
 */
static bool slot_taken(const struct vcpu *vcpu)
{
	return vcpu->event.info != 0 ||
	       (vmread(VMCS_GUEST_PENDING_DEBUG) &
		(PENDING_DEBUG_BS | PENDING_DEBUG_ENABLED_BREAKPOINT)) != 0;
}

/*
 * The window for which an NMI must wait, or 0. STI blocks NMIs on some CPUs, and on some it does
 * not block the NMI-window exit, which would then come at once, again and again (SDM, "NMI-Window
 * Exiting"). The interrupt window opens when STI's blocking ends.
 */
static uint32_t choose_nmi(struct vcpu *vcpu)
{
	const uint32_t waiting = attention_has(vcpu, ATTENTION_NMIS);
	const uint32_t one = (waiting & ATTENTION_SECOND_NMI) != 0 ? ATTENTION_SECOND_NMI
								   : ATTENTION_NMI;
	uint64_t blocking;

	if (waiting == 0) {
		return 0;
	}
	blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY);
	if (!slot_taken(vcpu) && (blocking & (BLOCKING_INTERRUPTS | BLOCKING_BY_NMI)) == 0) {
		vcpu->event.info = (uint32_t)EVENT_VALID | EVENT_NMI | VECTOR_NMI;
		/* Another NMI waits for the handler's IRET. */
		return (attention_clear(vcpu, one) & ATTENTION_NMIS & ~one) != 0
			       ? CPU_NMI_WINDOW_EXITING
			       : 0;
	}
	if ((blocking & BLOCKING_BY_NMI) != 0 && waiting == ATTENTION_NMIS) {
		/* One NMI is being handled, so a CPU would keep only one more. */
		(void)attention_clear(vcpu, ATTENTION_SECOND_NMI);
	}
	if (vcpu->event.info == 0 &&
	    (blocking & (BLOCKING_BY_STI | BLOCKING_BY_NMI)) == BLOCKING_BY_STI) {
		return CPU_INTERRUPT_WINDOW_EXITING;
	}
	return CPU_NMI_WINDOW_EXITING;
}

/*
 * Without virtual-interrupt delivery: does SDM, "Virtual-Interrupt Delivery" in software. Returns
 * the window for which an interrupt must wait, or 0.
 */
static uint32_t choose_interrupt(struct vcpu *vcpu)
{
	struct vcpu_private *priv = vcpu->priv;
	const struct vm_hooks *hooks = vcpu->vm->hooks;
	int vector = -1;

	if (priv->deferred_interrupt == 0 && !vcpu_has_virtual_delivery(vcpu)) {
		vector = hooks->irq_pending(vcpu);
	}
	if (priv->deferred_interrupt == 0 && vector < 0) {
		return 0;
	}
	if (slot_taken(vcpu) || !interrupts_open()) {
		return CPU_INTERRUPT_WINDOW_EXITING;
	}
	if (priv->deferred_interrupt != 0) {
		vcpu->event.info = (uint32_t)priv->deferred_interrupt;
		priv->deferred_interrupt = 0;
		(void)attention_set(vcpu, ATTENTION_EVENTS); /* another interrupt may be pending */
	} else {
		vcpu->event.info = (uint32_t)EVENT_VALID | EVENT_EXTERNAL | (uint32_t)vector;
		hooks->irq_accepted(vcpu, (uint8_t)vector);
	}
	return 0;
}

/* SDM, "TPR Virtualization": requests an exit when the guest lowers its TPR below what waits. */
static void set_tpr_threshold(struct vcpu *vcpu)
{
	const uint8_t *apic = vcpu->apic_page;
	int highest = vcpu->vm->hooks->irr_highest(vcpu);
	uint32_t class = highest < 0 ? 0 : (uint32_t)highest >> 4;
	uint32_t threshold = class > (uint32_t)apic[0x80] >> 4 ? 0 : class;

	if (vcpu->priv->apic_mode == VCPU_APIC_OFF) {
		threshold = 0;
	}
	if (threshold != vcpu->priv->tpr_threshold) {
		vcpu->priv->tpr_threshold = threshold;
		vmwrite(VMCS_TPR_THRESHOLD, threshold);
	}
}

/* With virtual-interrupt delivery: the CPU needs only RVI. */
static void set_rvi(struct vcpu *vcpu)
{
	int highest = vcpu->vm->hooks->irr_highest(vcpu);
	uint64_t status = vmread(VMCS_GUEST_INTERRUPT_STATUS);
	uint64_t wanted = (status & ~0xfful) | (highest < 0 ? 0 : (uint8_t)highest);

	if (wanted != status) {
		vmwrite(VMCS_GUEST_INTERRUPT_STATUS, wanted);
	}
}

/*
 * SDM, "Checks on Guest Non-Register State": while STI or MOV SS blocks, BS must say whether
 * RFLAGS.TF requests a single step, or VM entry fails. An exit by #DB clears BS in the field but
 * leaves the blocking. The injected event cancels pending debug exceptions, so no step comes twice.
 */
static void match_single_step(void)
{
	uint64_t pending, wanted;

	if ((vmread(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKING_INTERRUPTS) == 0) {
		return;
	}
	pending = vmread(VMCS_GUEST_PENDING_DEBUG);
	wanted = pending & ~PENDING_DEBUG_BS;
	if (vcpu_single_steps(vmread(VMCS_GUEST_RFLAGS))) {
		wanted |= PENDING_DEBUG_BS;
	}
	if (wanted != pending) {
		vmwrite(VMCS_GUEST_PENDING_DEBUG, wanted);
	}
}

static void write_event(struct vcpu *vcpu)
{
	const struct vcpu_event event = vcpu->event;

	match_single_step();
	vcpu->event.info = 0;
	vmwrite(VMCS_ENTRY_INTERRUPTION_INFO, event.info);
	if ((event.info & EVENT_ERROR_CODE) != 0) {
		vmwrite(VMCS_ENTRY_EXCEPTION_ERROR_CODE, event.error_code);
	}
	if (event.insn_length != 0) {
		vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, event.insn_length);
	}
}

/* The window exits that are on from now; CPU_INTERRUPT_WINDOW_EXITING, CPU_NMI_WINDOW_EXITING. */
static void set_windows(struct vcpu *vcpu, uint32_t windows)
{
	const uint32_t both = CPU_INTERRUPT_WINDOW_EXITING | CPU_NMI_WINDOW_EXITING;
	uint32_t value = (vcpu->priv->cpu_controls & ~both) | windows;

	if (value != vcpu->priv->cpu_controls) {
		vcpu->priv->cpu_controls = value;
		vmwrite(VMCS_CPU_CONTROLS, value);
	}
}

void inject_before_entry(struct vcpu *vcpu)
{
	struct vcpu_private *priv = vcpu->priv;
	uint32_t windows;

	(void)attention_clear(vcpu, ATTENTION_EVENTS);
	windows = choose_nmi(vcpu);
	windows |= choose_interrupt(vcpu);
	set_windows(vcpu, windows);
	if (vcpu_has_virtual_delivery(vcpu)) {
		set_rvi(vcpu);
	} else if (vmx_caps()->tpr_shadow) {
		set_tpr_threshold(vcpu);
	}
	priv->timer_deadline = vcpu->vm->hooks->next_deadline(vcpu);
	if (vcpu->event.info != 0) {
		write_event(vcpu);
	}
}
