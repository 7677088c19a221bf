/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMX instructions. They check CF and ZF themselves: a failure is a bug of Umbra (a field that
 * this CPU lacks, no current VMCS) and panics with field and caller. VM entry is not here, because
 * its failure ends only one VM (vmx_entry.asm). In host tests the VMCS is an array of the tests.
 */
#ifndef UMBRA_VMM_VMX_INSN_H
#define UMBRA_VMM_VMX_INSN_H

#include "vmm/base/panic.h"
#include "vmm/base/types.h"
#include "vmm/vmcs_fields.h"

/* Panics. The message names the instruction, its operand and the caller. */
_Noreturn void vmx_insn_failed(const char *insn, uint64_t operand, const char *caller);

#ifdef UMBRA_HOST_TEST

uint64_t fake_vmread(uint32_t field);
void fake_vmwrite(uint32_t field, uint64_t value);
void fake_vmclear(hpa_t vmcs);
void fake_vmptrld(hpa_t vmcs);
bool fake_vmxon(hpa_t region);
void fake_vmxoff(void);
void fake_invvpid_single(uint16_t vpid);
extern unsigned fake_invvpids;		/* how many times it was called */
extern unsigned fake_interrupt_windows; /* how many times interrupts of the host were let in */
void fake_interrupt_window(void);
/* Defined by test_exits.c only. */
void cpu_call_nmi_handler(void);
void cpu_call_mc_handler(void);
/* Defined by test_vcpu.c only: the registers that stay in the CPU. */
extern uint64_t fake_dr[7];
void fake_fxsave(void *area);
void fake_fxrstor(const void *area);
void fake_xsave(void *area, uint64_t mask);
void fake_xrstor(const void *area, uint64_t mask);
void fake_verw(void);

#define vmread(field)	      fake_vmread(field)
#define vmwrite(field, value) fake_vmwrite(field, value)
#define vmclear		      fake_vmclear
#define vmptrld		      fake_vmptrld
#define vmxon		      fake_vmxon
#define vmxoff		      fake_vmxoff
#define invvpid_single	      fake_invvpid_single
#define cpu_interrupt_window  fake_interrupt_window
#define cpu_fxsave	      fake_fxsave
#define cpu_fxrstor	      fake_fxrstor
#define cpu_xsave	      fake_xsave
#define cpu_xrstor	      fake_xrstor
#define cpu_verw	      fake_verw

#define CPU_READ_DR(n, value)  ((value) = fake_dr[n])
#define CPU_WRITE_DR(n, value) (fake_dr[n] = (value))

#else

static inline uint64_t vmread_from(uint32_t field, const char *caller)
{
	uint64_t value;
	bool failed;

	__asm__ volatile("vmread %2, %0"
			 : "=r"(value), "=@ccbe"(failed)
			 : "r"((uint64_t)field)
			 : "memory");
	if (__builtin_expect(failed, 0)) {
		vmx_insn_failed("VMREAD", field, caller);
	}
	return value;
}
#define vmread(field)	      vmread_from(field, __func__)

static inline void vmwrite_from(uint32_t field, uint64_t value, const char *caller)
{
	bool failed;

	__asm__ volatile("vmwrite %1, %2"
			 : "=@ccbe"(failed)
			 : "r"(value), "r"((uint64_t)field)
			 : "memory");
	if (__builtin_expect(failed, 0)) {
		vmx_insn_failed("VMWRITE", field, caller);
	}
}
#define vmwrite(field, value) vmwrite_from(field, value, __func__)

static inline void vmclear(hpa_t vmcs)
{
	bool failed;

	__asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(vmcs.v) : "memory");
	if (failed) {
		vmx_insn_failed("VMCLEAR", vmcs.v, __func__);
	}
}

static inline void vmptrld(hpa_t vmcs)
{
	bool failed;

	__asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(vmcs.v) : "memory");
	if (failed) {
		vmx_insn_failed("VMPTRLD", vmcs.v, __func__);
	}
}

/* Returns false if the CPU refuses it. */
static inline bool vmxon(hpa_t region)
{
	bool failed;

	__asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region.v) : "memory");
	return !failed;
}

static inline void vmxoff(void)
{
	__asm__ volatile("vmxoff" : : : "cc", "memory");
}

/* SDM, "INVVPID": type 1, single context. */
static inline void invvpid_single(uint16_t vpid)
{
	struct {
		uint64_t vpid, linear;
	} descriptor = { vpid, 0 };
	bool failed;

	__asm__ volatile("invvpid %1, %2"
			 : "=@ccbe"(failed)
			 : "m"(descriptor), "r"(1ul)
			 : "memory");
	if (failed) {
		vmx_insn_failed("INVVPID", vpid, __func__);
	}
}

/* Instructions for the guest registers that stay in the CPU (vcpu_state.c). */

static inline void cpu_fxsave(void *area)
{
	__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

static inline void cpu_fxrstor(const void *area)
{
	__asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

static inline void cpu_xsave(void *area, uint64_t mask)
{
	__asm__ volatile("xsave64 (%0)"
			 :
			 : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
			 : "memory");
}

static inline void cpu_xrstor(const void *area, uint64_t mask)
{
	__asm__ volatile("xrstor64 (%0)"
			 :
			 : "r"(area), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
			 : "memory");
}

#define CPU_READ_DR(n, value)  __asm__ volatile("movq %%db" #n ", %0" : "=r"(value))
#define CPU_WRITE_DR(n, value) __asm__ volatile("movq %0, %%db" #n : : "r"(value))

/* Overwrites CPU buffers if microcode has given VERW that side effect (CPUID MD_CLEAR). */
static inline void cpu_verw(void)
{
	static const uint16_t selector = 0x10; /* any valid data segment: HOST_DS_SELECTOR */

	__asm__ volatile("verw %0" : : "m"(selector) : "cc");
}

/*
 * Lets pending interrupts of the host in, then disables interrupts again. The NOP is STI's shadow.
 */
static inline void cpu_interrupt_window(void)
{
	__asm__ volatile("sti\n\tnop\n\tcli" : : : "memory");
}

/* Calls the host's handlers for events that ended guest mode instead of being delivered. */
static inline void cpu_call_nmi_handler(void)
{
	__asm__ volatile("int $2" : : : "memory");
}

static inline void cpu_call_mc_handler(void)
{
	__asm__ volatile("int $18" : : : "memory");
}

#endif /* UMBRA_HOST_TEST */

#endif
