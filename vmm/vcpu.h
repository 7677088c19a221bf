/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual CPU: registers, VMCS, pending events, run state. */
#ifndef UMBRA_VMM_VCPU_H
#define UMBRA_VMM_VCPU_H

#include "vmm/base/atomic.h"
#include "vmm/base/types.h"
#include "vmm/vm.h"

/* In the order of the hardware's register numbers (0 = RAX ... 15 = R15). NASM uses the offsets. */
struct guest_regs {
	uint64_t gpr[16]; /* [4] is unused: the VMCS has RSP */
};

enum {
	GPR_RAX,
	GPR_RCX,
	GPR_RDX,
	GPR_RBX,
	GPR_RSP,
	GPR_RBP,
	GPR_RSI,
	GPR_RDI,
};

enum vcpu_run_state {
	VCPU_WAIT_SIPI,
	VCPU_RUNNABLE,
	VCPU_HALTED,
	VCPU_OFF,
};

#define VCPU_EXIT_REASONS 128
#define VCPU_NO_CPU	  UINT32_MAX

/* An event to inject, in the format of the VM-entry interruption-information field. */
struct vcpu_event {
	uint32_t info; /* 0: no event */
	uint32_t error_code;
	uint32_t insn_length;
};

struct vcpu {
	struct guest_regs regs; /* first, for vmx_entry.asm */
	struct vm *vm;
	uint32_t id;	      /* within the VM; also its APIC ID */
	ATOMIC(uint32_t) cpu; /* index of the host CPU that runs it, or VCPU_NO_CPU */
	uint16_t vpid;
	bool launched;
	ATOMIC(enum vcpu_run_state) state; /* only its own CPU writes it */
	void *vmcs;			   /* host page */
	void *apic_page; /* virtual-APIC page, a host page: the registers of the virtual LAPIC */
	void *platform;	 /* the vlapic of guest/ */
	struct vcpu_event event;		/* to inject at the next entry */
	ATOMIC(uint32_t) attention;		/* what to check before an entry: ATTENTION_x */
	uint64_t exit_count[VCPU_EXIT_REASONS]; /* by basic exit reason */
	struct vcpu_private *priv;		/* private data of vmm (vcpu_priv.h) */
};

/*
 * Entry in 64-bit mode by the Linux boot protocol: paging on with cr3, flat segments, RIP, RSI,
 * IF=0.
 */
struct vcpu_long_mode {
	uint64_t rip, rsp, rsi, cr3;
	gpa_t gdt; /* address of a GDT from the loader with selectors 0x10 (code) and 0x18 (data) */
	uint16_t gdt_bytes;
};
/* Only before vm_start. */
void vcpu_set_long_mode(struct vcpu *vcpu, const struct vcpu_long_mode *state);

/*
 * Sends a SIPI: reset state, real mode at vector << 12. Ignored unless the vCPU waits for it. Any
 * CPU.
 */
void vcpu_sipi(struct vcpu *vcpu, uint8_t vector);
/* Makes the vCPU's CPU log its registers soon, but not while its VM is paused. Any CPU. */
void vcpu_ask_dump(struct vcpu *vcpu);
/*
 * Clears what is cached of the vCPU's code, because its VM's memory has moved to another KeyID. The
 * VM is paused. Any CPU.
 */
void vcpu_forget_code(struct vcpu *vcpu);
/* Sends an INIT: the state becomes VCPU_WAIT_SIPI. Any CPU. */
void vcpu_init_signal(struct vcpu *vcpu);

/* Makes the run loop call vm_hooks.work before the vCPU's next entry. On the vCPU's CPU. */
void vcpu_add_work(struct vcpu *vcpu);
/* Was the VM's last HLT executed after this TSC, and by another vCPU? Any CPU. */
static inline bool vcpu_sibling_halted(const struct vcpu *vcpu, uint64_t since)
{
	const uint64_t last = atomic_load(&vcpu->vm->last_halt);

	return last % VM_VCPU_MAX != vcpu->id && last >= since;
}

/* Sends an NMI. It waits while NMIs are blocked; a third pending NMI is lost. Any CPU. */
void vcpu_nmi(struct vcpu *vcpu);

/*
 * For the vlapic: which vectors exit on EOI (virtual-interrupt delivery), 256 bits. Own CPU, or any
 * CPU before start.
 */
void vcpu_set_eoi_exit_bitmap(struct vcpu *vcpu, const uint64_t bitmap[4]);
/* For the vlapic, when its mode changes: updates controls and the MSR bitmap. */
enum vcpu_apic_mode { VCPU_APIC_OFF, VCPU_APIC_X, VCPU_APIC_X2 };
void vcpu_set_apic_mode(struct vcpu *vcpu, enum vcpu_apic_mode mode);
/*
 * True when the CPU virtualises interrupt delivery for this vCPU (RVI/SVI, TPR and EOI without
 * exit).
 */
bool vcpu_has_virtual_delivery(const struct vcpu *vcpu);
/*
 * Updates SVI after ISR in the virtual-APIC page was changed (virtual-interrupt delivery only). Own
 * CPU.
 */
void vcpu_set_svi(struct vcpu *vcpu, uint8_t vector);

/* The guest's TSC at a value of the host's TSC (TSC offsetting, no scaling). */
uint64_t vcpu_guest_tsc(const struct vcpu *vcpu, uint64_t host_tsc);

#endif
