/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual CPU: registers, VMCS, pending events, run state. */
#ifndef UMBRA_VMM_VCPU_H
#define UMBRA_VMM_VCPU_H

#include "vmm/base/atomic.h"
#include "vmm/base/types.h"
#include "vmm/vm.h"

/* In the order of the hardware's register numbers (0 = RAX ... 15 = R15). Offsets go to NASM. */
struct guest_regs {
	uint64_t gpr[16]; /* [4] is unused: RSP lives in the VMCS */
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

/* An event on its way into the guest, in the format of the VM-entry interruption-information field.
 */
struct vcpu_event {
	uint32_t info; /* 0: none */
	uint32_t error_code;
	uint32_t insn_length;
};

struct vcpu {
	struct guest_regs regs; /* first: vmx_entry.asm */
	struct vm *vm;
	uint32_t id;	      /* within the VM; also its APIC ID */
	ATOMIC(uint32_t) cpu; /* index of the host CPU that runs it, or VCPU_NO_CPU */
	uint16_t vpid;
	bool launched;
	enum vcpu_run_state state; /* written by its own CPU alone */
	void *vmcs;		   /* host page */
	void *apic_page; /* virtual-APIC page, host page; the registers of the virtual LAPIC live
			    here */
	void *platform;	 /* guest/: the vlapic */
	struct vcpu_event event;		/* to inject at the next entry */
	ATOMIC(uint32_t) attention;		/* what to look at before an entry: ATTENTION_x */
	uint64_t exit_count[VCPU_EXIT_REASONS]; /* by basic exit reason */
	struct vcpu_private *priv;		/* vmm's own (vcpu_priv.h) */
};

/* 64-bit entry as the Linux boot protocol asks: paging on with cr3, flat segments, RIP, RSI, IF=0.
 */
struct vcpu_long_mode {
	uint64_t rip, rsp, rsi, cr3;
	gpa_t gdt; /* the loader has put a GDT with selectors 0x10 (code) and 0x18 (data) there */
	uint16_t gdt_bytes;
};
/* Before vm_start alone. */
void vcpu_set_long_mode(struct vcpu *vcpu, const struct vcpu_long_mode *state);

/* Reset state, real mode at vector << 12; ignored unless the vCPU waits for it. Any CPU. */
void vcpu_sipi(struct vcpu *vcpu, uint8_t vector);
/* Its registers to the log, soon, by the CPU that it is on; not while its VM is paused. Any CPU. */
void vcpu_ask_dump(struct vcpu *vcpu);
/* Its VM's memory has moved to another KeyID, so what it remembers of code is of no use. The VM is
 * paused. Any CPU. */
void vcpu_forget_code(struct vcpu *vcpu);
/* INIT: back to VCPU_WAIT_SIPI. Any CPU. */
void vcpu_init_signal(struct vcpu *vcpu);

/* vm_hooks.work is called before the vCPU's next entry. On the CPU that it is on. */
void vcpu_add_work(struct vcpu *vcpu);

/* Asks for an NMI; delivered under the blocking rules, of those that wait two count. Any CPU. */
void vcpu_nmi(struct vcpu *vcpu);

/* For the vlapic: which vectors exit on EOI (virtual-interrupt delivery), 256 bits. Own CPU, or any
 * before start. */
void vcpu_set_eoi_exit_bitmap(struct vcpu *vcpu, const uint64_t bitmap[4]);
/* For the vlapic: it switched between off, xAPIC and x2APIC; updates controls and the MSR bitmap.
 */
enum vcpu_apic_mode { VCPU_APIC_OFF, VCPU_APIC_X, VCPU_APIC_X2 };
void vcpu_set_apic_mode(struct vcpu *vcpu, enum vcpu_apic_mode mode);
/* True when the CPU virtualises interrupt delivery for this vCPU (RVI/SVI rule, TPR and EOI without
 * exit). */
bool vcpu_has_virtual_delivery(const struct vcpu *vcpu);
/* Own CPU. After changing ISR in the virtual-APIC page from outside: SVI (virtual-interrupt
 * delivery only). */
void vcpu_set_svi(struct vcpu *vcpu, uint8_t vector);

/* The guest's TSC at this moment of the host's (TSC offsetting, no scaling). */
uint64_t vcpu_guest_tsc(const struct vcpu *vcpu, uint64_t host_tsc);

#endif
