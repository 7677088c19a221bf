/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constants of C code for NASM. The Makefile compiles this file to text and makes %define lines of
 * it.
 */
#include "vmm/base/err.h"
#include "vmm/base/types.h"
#include "vmm/base/x86.h"
#include "vmm/host/bootstrap_priv.h"
#include "vmm/host/idt_dump.h"
#include "vmm/host/smp_priv.h"

#define EMIT(name, value) __asm__ volatile("\n->" #name " %0" : : "i"(value))

void asm_offsets_host(void);

void asm_offsets_host(void)
{
	EMIT(ERR_NOTFOUND, ERR_NOTFOUND);
	EMIT(ERR_IO, ERR_IO);
	EMIT(HOST_CS_SELECTOR, HOST_CS_SELECTOR);
	EMIT(HOST_DS_SELECTOR, HOST_DS_SELECTOR);
	EMIT(FRAME_RIP, offsetof(struct idt_frame, rip));
	EMIT(FRAME_CS, offsetof(struct idt_frame, cs));
	EMIT(FRAME_RFLAGS, offsetof(struct idt_frame, rflags));
	EMIT(FRAME_RSP, offsetof(struct idt_frame, rsp));
	EMIT(FRAME_SS, offsetof(struct idt_frame, ss));
	EMIT(MSR_IA32_MISC_ENABLE, MSR_IA32_MISC_ENABLE);
	EMIT(MSR_IA32_EFER, MSR_IA32_EFER);
	EMIT(AP_GDT, offsetof(struct ap_params, gdt));
	EMIT(AP_GDT_REGISTER, offsetof(struct ap_params, gdt_register));
	EMIT(AP_ENTRY64, offsetof(struct ap_params, entry64));
	EMIT(AP_STAGE, offsetof(struct ap_params, stage));
	EMIT(AP_CR4, offsetof(struct ap_params, cr4));
	EMIT(AP_CR3, offsetof(struct ap_params, cr3));
	EMIT(AP_EFER, offsetof(struct ap_params, efer));
	EMIT(AP_CLEAR_XD, offsetof(struct ap_params, clear_xd));
	EMIT(AP_OWN_CR3, offsetof(struct ap_params, own_cr3));
	EMIT(AP_CR0, offsetof(struct ap_params, cr0));
	EMIT(AP_STACK, offsetof(struct ap_params, stack));
	EMIT(AP_CPU, offsetof(struct ap_params, cpu));
	EMIT(AP_MAIN, offsetof(struct ap_params, main));
	EMIT(AP_PARAMS_BYTES, sizeof(struct ap_params));
	EMIT(AP_STAGE_REAL, AP_STAGE_REAL);
	EMIT(AP_STAGE_LONG, AP_STAGE_LONG);
	EMIT(BOOTSTRAP_GDT, offsetof(struct bootstrap, gdt));
	EMIT(BOOTSTRAP_IDT, offsetof(struct bootstrap, idt));
	EMIT(BOOTSTRAP_ROOT, offsetof(struct bootstrap, root));
	EMIT(CR4_PGE, CR4_PGE);
}
