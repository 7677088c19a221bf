/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits of VMX capability MSRs and VMCS fields: the SDM's names in the SDM's order; only those that
 * are used.
 */
#ifndef UMBRA_VMM_VMX_BITS_H
#define UMBRA_VMM_VMX_BITS_H

#include "vmm/base/types.h"

/* IA32_VMX_BASIC (SDM vol. 3, "Basic VMX Information"). */
#define VMX_BASIC_REVISION	MASK(30, 0)
#define VMX_BASIC_32_BIT	BIT(48) /* VMX structures must be below 4 GiB */
#define VMX_BASIC_MEMTYPE(b)	(((b) >> 50) & 15)
#define VMX_BASIC_INS_OUTS_INFO BIT(54)
#define VMX_BASIC_TRUE_CONTROLS BIT(55)

/* IA32_VMX_MISC (SDM vol. 3, "Miscellaneous Data"). */
#define VMX_MISC_TIMER_SHIFT(m)	    ((m)&31)
#define VMX_MISC_STORES_LMA	    BIT(5)
#define VMX_MISC_ACTIVITY_WAIT_SIPI BIT(8)

/* IA32_VMX_EPT_VPID_CAP (SDM vol. 3, "VPID and EPT Capabilities"). */
#define EPT_CAP_EXEC_ONLY      BIT(0)
#define EPT_CAP_WALK_4	       BIT(6)
#define EPT_CAP_UC	       BIT(8)
#define EPT_CAP_WB	       BIT(14)
#define EPT_CAP_2M	       BIT(16)
#define EPT_CAP_1G	       BIT(17)
#define EPT_CAP_INVEPT	       BIT(20)
#define EPT_CAP_ACCESSED_DIRTY BIT(21)
#define EPT_CAP_INVEPT_SINGLE  BIT(25)
#define EPT_CAP_INVEPT_ALL     BIT(26)
#define EPT_CAP_INVVPID	       BIT(32)
#define EPT_CAP_INVVPID_SINGLE BIT(41)
#define EPT_CAP_INVVPID_ALL    BIT(42)

/* Pin-based VM-execution controls. */
#define PIN_EXTERNAL_INTERRUPT_EXITING BIT(0)
#define PIN_NMI_EXITING		       BIT(3)
#define PIN_VIRTUAL_NMIS	       BIT(5)
#define PIN_PREEMPTION_TIMER	       BIT(6)

/* Primary processor-based VM-execution controls. */
#define CPU_INTERRUPT_WINDOW_EXITING BIT(2)
#define CPU_USE_TSC_OFFSETTING	     BIT(3)
#define CPU_HLT_EXITING		     BIT(7)
#define CPU_INVLPG_EXITING	     BIT(9)
#define CPU_MWAIT_EXITING	     BIT(10)
#define CPU_RDPMC_EXITING	     BIT(11)
#define CPU_RDTSC_EXITING	     BIT(12)
#define CPU_CR3_LOAD_EXITING	     BIT(15)
#define CPU_CR3_STORE_EXITING	     BIT(16)
#define CPU_CR8_LOAD_EXITING	     BIT(19)
#define CPU_CR8_STORE_EXITING	     BIT(20)
#define CPU_USE_TPR_SHADOW	     BIT(21)
#define CPU_NMI_WINDOW_EXITING	     BIT(22)
#define CPU_MOV_DR_EXITING	     BIT(23)
#define CPU_UNCONDITIONAL_IO_EXITING BIT(24)
#define CPU_MONITOR_TRAP_FLAG	     BIT(27)
#define CPU_USE_MSR_BITMAPS	     BIT(28)
#define CPU_MONITOR_EXITING	     BIT(29)
#define CPU_PAUSE_EXITING	     BIT(30)
#define CPU_SECONDARY_CONTROLS	     BIT(31)

/* Secondary processor-based VM-execution controls. */
#define CPU2_VIRTUALIZE_APIC_ACCESSES	  BIT(0)
#define CPU2_ENABLE_EPT			  BIT(1)
#define CPU2_ENABLE_RDTSCP		  BIT(3)
#define CPU2_VIRTUALIZE_X2APIC_MODE	  BIT(4)
#define CPU2_ENABLE_VPID		  BIT(5)
#define CPU2_WBINVD_EXITING		  BIT(6)
#define CPU2_UNRESTRICTED_GUEST		  BIT(7)
#define CPU2_APIC_REGISTER_VIRTUALIZATION BIT(8)
#define CPU2_VIRTUAL_INTERRUPT_DELIVERY	  BIT(9)
#define CPU2_PAUSE_LOOP_EXITING		  BIT(10)
#define CPU2_ENABLE_INVPCID		  BIT(12)
#define CPU2_ENCLS_EXITING		  BIT(15)
#define CPU2_ENABLE_XSAVES		  BIT(20)
#define CPU2_ENCLV_EXITING		  BIT(28)
#define CPU2_BUS_LOCK_DETECTION		  BIT(30)
#define CPU2_NOTIFY_WINDOW		  BIT(31)

/* VM-exit controls. */
#define EXIT_SAVE_DEBUG_CONTROLS     BIT(2)
#define EXIT_HOST_ADDRESS_SPACE_SIZE BIT(9)
#define EXIT_SAVE_EFER		     BIT(20)
#define EXIT_LOAD_EFER		     BIT(21)

/* VM-entry controls. */
#define ENTRY_LOAD_DEBUG_CONTROLS BIT(2)
#define ENTRY_IA32E_MODE_GUEST	  BIT(9)
#define ENTRY_LOAD_EFER		  BIT(15)

/* Basic exit reasons (SDM vol. 3, appendix "VMX Basic Exit Reasons"). */
#define EXIT_REASON_EXCEPTION_NMI	0
#define EXIT_REASON_EXTERNAL_INTERRUPT	1
#define EXIT_REASON_TRIPLE_FAULT	2
#define EXIT_REASON_INTERRUPT_WINDOW	7
#define EXIT_REASON_NMI_WINDOW		8
#define EXIT_REASON_TASK_SWITCH		9
#define EXIT_REASON_CPUID		10
#define EXIT_REASON_GETSEC		11
#define EXIT_REASON_HLT			12
#define EXIT_REASON_INVD		13
#define EXIT_REASON_RDPMC		15
#define EXIT_REASON_VMCALL		18
#define EXIT_REASON_VMCLEAR		19
#define EXIT_REASON_VMLAUNCH		20
#define EXIT_REASON_VMPTRLD		21
#define EXIT_REASON_VMPTRST		22
#define EXIT_REASON_VMREAD		23
#define EXIT_REASON_VMRESUME		24
#define EXIT_REASON_VMWRITE		25
#define EXIT_REASON_VMXOFF		26
#define EXIT_REASON_VMXON		27
#define EXIT_REASON_CR_ACCESS		28
#define EXIT_REASON_DR_ACCESS		29
#define EXIT_REASON_IO			30
#define EXIT_REASON_RDMSR		31
#define EXIT_REASON_WRMSR		32
#define EXIT_REASON_ENTRY_GUEST_STATE	33
#define EXIT_REASON_ENTRY_MSR_LOADING	34
#define EXIT_REASON_MWAIT		36
#define EXIT_REASON_MONITOR_TRAP_FLAG	37
#define EXIT_REASON_MONITOR		39
#define EXIT_REASON_PAUSE		40
#define EXIT_REASON_ENTRY_MACHINE_CHECK 41
#define EXIT_REASON_TPR_BELOW_THRESHOLD 43
#define EXIT_REASON_APIC_ACCESS		44
#define EXIT_REASON_VIRTUALIZED_EOI	45
#define EXIT_REASON_EPT_VIOLATION	48
#define EXIT_REASON_EPT_MISCONFIG	49
#define EXIT_REASON_INVEPT		50
#define EXIT_REASON_PREEMPTION_TIMER	52
#define EXIT_REASON_INVVPID		53
#define EXIT_REASON_WBINVD		54
#define EXIT_REASON_XSETBV		55
#define EXIT_REASON_APIC_WRITE		56
#define EXIT_REASON_INVPCID		58
#define EXIT_REASON_VMFUNC		59
#define EXIT_REASON_ENCLS		60
#define EXIT_REASON_ENCLV		70
#define EXIT_REASON_BUS_LOCK		74
#define EXIT_REASON_NOTIFY		75
#define EXIT_REASON_SEAMCALL		76
#define EXIT_REASON_TDCALL		77
#define EXIT_REASON_COUNT		80

#define EXIT_REASON_BUS_LOCKED	  BIT(26) /* set beside any reason: a bus lock was detected, too */
#define EXIT_REASON_ENTRY_FAILURE BIT(31)

/* Interruption information: the VM-entry, VM-exit and IDT-vectoring formats share these. */
#define EVENT_VECTOR		MASK(7, 0)
#define EVENT_TYPE		MASK(10, 8)
#define EVENT_EXTERNAL		(0u << 8)
#define EVENT_NMI		(2u << 8)
#define EVENT_HW_EXCEPTION	(3u << 8)
#define EVENT_SW_INTERRUPT	(4u << 8)
#define EVENT_PRIV_SW_EXCEPTION (5u << 8)
#define EVENT_SW_EXCEPTION	(6u << 8)
#define EVENT_ERROR_CODE	BIT(11)
#define EVENT_NMI_UNBLOCKING	BIT(12) /* only in the exit format: NMI unblocking due to IRET */
#define EVENT_VALID		BIT(31)

/* IA32_DEBUGCTL (SDM vol. 3, "IA32_DEBUGCTL MSR"). */
#define DEBUGCTL_LBR BIT(0)
#define DEBUGCTL_BTF BIT(1)

/* Guest interruptibility state. */
#define BLOCKING_BY_STI	   BIT(0)
#define BLOCKING_BY_MOV_SS BIT(1)
#define BLOCKING_BY_SMI	   BIT(2)
#define BLOCKING_BY_NMI	   BIT(3)

/* Pending debug exceptions; bits 3:0 and 14 also in the exit qualification of #DB. */
#define PENDING_DEBUG_ENABLED_BREAKPOINT BIT(12)
#define PENDING_DEBUG_BS		 BIT(14)

/* Exit qualification for debug exceptions. */
#define DBQ_B0_B3 MASK(3, 0)
#define DBQ_BD	  BIT(13)
#define DBQ_BS	  BIT(14)
#define DBQ_RTM	  BIT(16)

/* Exit qualification for control-register accesses. */
#define CRQ_NUMBER(q) ((q)&15)
#define CRQ_TYPE(q)   (((q) >> 4) & 3)
#define CRQ_GPR(q)    (((q) >> 8) & 15)
#define CRQ_MOV_TO    0
#define CRQ_MOV_FROM  1
#define CRQ_CLTS      2
#define CRQ_LMSW      3

/* Exit qualification for MOV DR; the general register as in CRQ_GPR. */
#define DRQ_NUMBER(q) ((unsigned)((q)&7))
#define DRQ_FROM(q)   (((q)&BIT(4)) != 0)

#define DR7_GD BIT(13)

/* Exit qualification for I/O instructions. */
#define IOQ_SIZE(q) ((uint32_t)((q)&7) + 1)
#define IOQ_IN	    BIT(3)
#define IOQ_STRING  BIT(4)
#define IOQ_REP	    BIT(5)
#define IOQ_PORT(q) ((uint16_t)((q) >> 16))

/* VM-exit instruction information for INS and OUTS. */
#define INSOUTS_ADDRESS_SIZE(i) (((i) >> 7) & 7) /* 0: 16 bits, 1: 32, 2: 64 */
#define INSOUTS_SEGMENT(i)	(((i) >> 15) & 7)

/* Exit qualification for EPT violations. */
#define EPTV_READ	    BIT(0)
#define EPTV_WRITE	    BIT(1)
#define EPTV_FETCH	    BIT(2)
#define EPTV_GLA_VALID	    BIT(7)
#define EPTV_FINAL	    BIT(8) /* the access itself, not a walk of the guest's page tables */
#define EPTV_NMI_UNBLOCKING BIT(12)

/* Exit qualification of notify-window exits. */
#define NOTIFYQ_INVALID	       BIT(0) /* the guest's state is corrupt */
#define NOTIFYQ_NMI_UNBLOCKING BIT(12)

/* Exit qualification for APIC accesses. */
#define APICQ_OFFSET(q)	   ((uint32_t)((q)&0xfff))
#define APICQ_TYPE(q)	   (((q) >> 12) & 15)
#define APICQ_LINEAR_READ  0
#define APICQ_LINEAR_WRITE 1
#define APIC_OFFSET_EOI	   0xb0

/* Segment access rights as the VMCS holds them. */
#define SEG_AR_TYPE	   MASK(3, 0)
#define SEG_AR_WRITABLE	   BIT(1) /* data: writable; code: readable */
#define SEG_AR_EXPAND_DOWN BIT(2)
#define SEG_AR_CODE	   BIT(3)
#define SEG_AR_S	   BIT(4)
#define SEG_AR_DPL(ar)	   (((ar) >> 5) & 3)
#define SEG_AR_L	   BIT(13)
#define SEG_AR_DB	   BIT(14)
#define SEG_AR_UNUSABLE	   BIT(16)

/* VM-instruction errors that a hostile guest or an unusual CPU could cause. */
#define VMX_ERROR_CONTROLS   7
#define VMX_ERROR_HOST_STATE 8

#endif
