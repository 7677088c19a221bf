/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constants of the processor, with the SDM's names and in the SDM's order. Constants of VMX are in
 * vmm/; constants that one file uses are in that file.
 */
#ifndef UMBRA_BASE_X86_H
#define UMBRA_BASE_X86_H

#include "vmm/base/types.h"

/* Exceptions (SDM vol. 3, "Exception and Interrupt Vectors"). */
#define VECTOR_DE  0
#define VECTOR_DB  1
#define VECTOR_NMI 2
#define VECTOR_BP  3
#define VECTOR_OF  4
#define VECTOR_BR  5
#define VECTOR_UD  6
#define VECTOR_NM  7
#define VECTOR_DF  8
#define VECTOR_TS  10
#define VECTOR_NP  11
#define VECTOR_SS  12
#define VECTOR_GP  13
#define VECTOR_PF  14
#define VECTOR_MF  16
#define VECTOR_AC  17
#define VECTOR_MC  18
#define VECTOR_XM  19
#define VECTOR_VE  20
#define VECTOR_CP  21

/* Page-fault error code (SDM vol. 3, "Page-Fault Exceptions"). */
#define PF_PRESENT BIT(0)
#define PF_WRITE   BIT(1)
#define PF_USER	   BIT(2)
#define PF_RSVD	   BIT(3)
#define PF_FETCH   BIT(4)

/* SDM vol. 1, "EFLAGS Register". */
#define RFLAGS_CF   BIT(0)
#define RFLAGS_ONE  BIT(1) /* always 1 */
#define RFLAGS_PF   BIT(2)
#define RFLAGS_AF   BIT(4)
#define RFLAGS_ZF   BIT(6)
#define RFLAGS_SF   BIT(7)
#define RFLAGS_TF   BIT(8)
#define RFLAGS_IF   BIT(9)
#define RFLAGS_DF   BIT(10)
#define RFLAGS_OF   BIT(11)
#define RFLAGS_IOPL MASK(13, 12)
#define RFLAGS_NT   BIT(14)
#define RFLAGS_RF   BIT(16)
#define RFLAGS_VM   BIT(17)
#define RFLAGS_AC   BIT(18)
#define RFLAGS_VIF  BIT(19)
#define RFLAGS_VIP  BIT(20)
#define RFLAGS_ID   BIT(21)

/* SDM vol. 3, "Control Registers". */
#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR3_PWT BIT(3)
#define CR3_PCD BIT(4)

#define CR4_VME	       BIT(0)
#define CR4_PVI	       BIT(1)
#define CR4_TSD	       BIT(2)
#define CR4_DE	       BIT(3)
#define CR4_PSE	       BIT(4)
#define CR4_PAE	       BIT(5)
#define CR4_MCE	       BIT(6)
#define CR4_PGE	       BIT(7)
#define CR4_PCE	       BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_LA57       BIT(12)
#define CR4_VMXE       BIT(13)
#define CR4_SMXE       BIT(14)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_KL	       BIT(19)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE	       BIT(22)
#define CR4_CET	       BIT(23)
#define CR4_PKS	       BIT(24)
#define CR4_UINTR      BIT(25)

/* SDM vol. 1, "XSAVE-Supported Features and State-Component Bitmaps". */
#define XCR0_X87       BIT(0)
#define XCR0_SSE       BIT(1)
#define XCR0_AVX       BIT(2)
#define XCR0_BNDREGS   BIT(3)
#define XCR0_BNDCSR    BIT(4)
#define XCR0_OPMASK    BIT(5)
#define XCR0_ZMM_HI256 BIT(6)
#define XCR0_HI16_ZMM  BIT(7)
#define XCR0_PKRU      BIT(9)
#define XCR0_TILECFG   BIT(17)
#define XCR0_TILEDATA  BIT(18)

/* SDM vol. 3, "Paging": bits of paging-structure entries. */
#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_USER     BIT(2)
#define PTE_PWT	     BIT(3)
#define PTE_PCD	     BIT(4)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7) /* PDE, PDPTE */
#define PTE_PAT	     BIT(7) /* PTE */
#define PTE_GLOBAL   BIT(8)
#define PTE_PAT_2M   BIT(12) /* PDE, PDPTE that map */
#define PTE_ADDRESS  MASK(51, 12)
#define PTE_NX	     BIT(63)

/* SDM vol. 4, "Model-Specific Registers", by number. */
#define MSR_IA32_TSC			 0x10
#define MSR_IA32_PLATFORM_ID		 0x17
#define MSR_IA32_APIC_BASE		 0x1b
#define MSR_IA32_FEATURE_CONTROL	 0x3a
#define MSR_IA32_TSC_ADJUST		 0x3b
#define MSR_IA32_SPEC_CTRL		 0x48
#define MSR_IA32_PRED_CMD		 0x49
#define MSR_IA32_BIOS_UPDT_TRIG		 0x79
#define MSR_IA32_BIOS_SIGN_ID		 0x8b
#define MSR_IA32_SMM_MONITOR_CTL	 0x9b
#define MSR_PLATFORM_INFO		 0xce
#define MSR_IA32_MTRRCAP		 0xfe
#define MSR_IA32_ARCH_CAPABILITIES	 0x10a
#define MSR_IA32_FLUSH_CMD		 0x10b
#define MSR_IA32_SYSENTER_CS		 0x174
#define MSR_IA32_SYSENTER_ESP		 0x175
#define MSR_IA32_SYSENTER_EIP		 0x176
#define MSR_IA32_MCG_CAP		 0x179
#define MSR_IA32_MCG_STATUS		 0x17a
#define MSR_IA32_MCG_CTL		 0x17b
#define MSR_IA32_PERF_STATUS		 0x198
#define MSR_IA32_MISC_ENABLE		 0x1a0
#define MSR_IA32_DEBUGCTL		 0x1d9
#define MSR_IA32_MTRR_PHYSBASE0		 0x200
#define MSR_IA32_MTRR_PHYSMASK0		 0x201
#define MSR_IA32_MTRR_FIX64K_00000	 0x250
#define MSR_IA32_MTRR_FIX16K_80000	 0x258
#define MSR_IA32_MTRR_FIX16K_A0000	 0x259
#define MSR_IA32_MTRR_FIX4K_C0000	 0x268
#define MSR_IA32_PAT			 0x277
#define MSR_IA32_MTRR_DEF_TYPE		 0x2ff
#define MSR_IA32_PERF_CAPABILITIES	 0x345
#define MSR_IA32_PERF_GLOBAL_CTRL	 0x38f
#define MSR_IA32_MC0_CTL		 0x400
#define MSR_IA32_MC0_STATUS		 0x401 /* of bank n: + 4 * n, as the next one */
#define MSR_IA32_MC0_ADDR		 0x402
#define MSR_IA32_VMX_BASIC		 0x480
#define MSR_IA32_VMX_PINBASED_CTLS	 0x481
#define MSR_IA32_VMX_PROCBASED_CTLS	 0x482
#define MSR_IA32_VMX_EXIT_CTLS		 0x483
#define MSR_IA32_VMX_ENTRY_CTLS		 0x484
#define MSR_IA32_VMX_MISC		 0x485
#define MSR_IA32_VMX_CR0_FIXED0		 0x486
#define MSR_IA32_VMX_CR0_FIXED1		 0x487
#define MSR_IA32_VMX_CR4_FIXED0		 0x488
#define MSR_IA32_VMX_CR4_FIXED1		 0x489
#define MSR_IA32_VMX_VMCS_ENUM		 0x48a
#define MSR_IA32_VMX_PROCBASED_CTLS2	 0x48b
#define MSR_IA32_VMX_EPT_VPID_CAP	 0x48c
#define MSR_IA32_VMX_TRUE_PINBASED_CTLS	 0x48d
#define MSR_IA32_VMX_TRUE_PROCBASED_CTLS 0x48e
#define MSR_IA32_VMX_TRUE_EXIT_CTLS	 0x48f
#define MSR_IA32_VMX_TRUE_ENTRY_CTLS	 0x490
#define MSR_IA32_VMX_VMFUNC		 0x491
#define MSR_IA32_TSC_DEADLINE		 0x6e0
#define MSR_IA32_X2APIC_FIRST		 0x800
#define MSR_X2APIC_TPR			 0x808
#define MSR_X2APIC_EOI			 0x80b
#define MSR_X2APIC_SELF_IPI		 0x83f
#define MSR_IA32_X2APIC_LAST		 0x8ff
#define MSR_IA32_TME_CAPABILITY		 0x981
#define MSR_IA32_TME_ACTIVATE		 0x982
#define MSR_IA32_TME_EXCLUDE_MASK	 0x983
#define MSR_IA32_TME_EXCLUDE_BASE	 0x984
#define MSR_IA32_XSS			 0xda0
#define MSR_IA32_EFER			 0xc0000080
#define MSR_IA32_STAR			 0xc0000081
#define MSR_IA32_LSTAR			 0xc0000082
#define MSR_IA32_CSTAR			 0xc0000083
#define MSR_IA32_FMASK			 0xc0000084
#define MSR_IA32_FS_BASE		 0xc0000100
#define MSR_IA32_GS_BASE		 0xc0000101
#define MSR_IA32_KERNEL_GS_BASE		 0xc0000102
#define MSR_IA32_TSC_AUX		 0xc0000103

/* IA32_APIC_BASE */
#define APIC_BASE_BSP	  BIT(8)
#define APIC_BASE_X2APIC  BIT(10)
#define APIC_BASE_ENABLE  BIT(11)
#define APIC_BASE_ADDRESS MASK(51, 12)

/* IA32_FEATURE_CONTROL */
#define FEATURE_CONTROL_LOCK	BIT(0)
#define FEATURE_CONTROL_VMX_SMX BIT(1)
#define FEATURE_CONTROL_VMX	BIT(2)

/* IA32_MISC_ENABLE */
#define MISC_ENABLE_FAST_STRINGS BIT(0)
#define MISC_ENABLE_BTS_UNAVAIL	 BIT(11)
#define MISC_ENABLE_PEBS_UNAVAIL BIT(12)
#define MISC_ENABLE_MONITOR	 BIT(18)
#define MISC_ENABLE_LIMIT_CPUID	 BIT(22)
#define MISC_ENABLE_XD_DISABLE	 BIT(34)

/* IA32_MTRRCAP and IA32_MTRR_DEF_TYPE */
#define MTRRCAP_VCNT	     MASK(7, 0)
#define MTRRCAP_FIX	     BIT(8)
#define MTRR_DEF_TYPE_FIX    BIT(10)
#define MTRR_DEF_TYPE_ENABLE BIT(11)
#define MTRR_PHYSMASK_VALID  BIT(11)

/* IA32_EFER */
#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

/* Memory types of MTRRs and PAT (SDM vol. 3, "Memory Types and Their Encoding"). */
#define MEMTYPE_UC	 0
#define MEMTYPE_WC	 1
#define MEMTYPE_WT	 4
#define MEMTYPE_WP	 5
#define MEMTYPE_WB	 6
#define MEMTYPE_UC_MINUS 7

/* CPUID (SDM vol. 2, "CPUID"): LEAF_REGISTER_NAME. */
#define CPUID_1_ECX_SSE3	 BIT(0)
#define CPUID_1_ECX_PCLMULQDQ	 BIT(1)
#define CPUID_1_ECX_DTES64	 BIT(2)
#define CPUID_1_ECX_MONITOR	 BIT(3)
#define CPUID_1_ECX_DS_CPL	 BIT(4)
#define CPUID_1_ECX_VMX		 BIT(5)
#define CPUID_1_ECX_SMX		 BIT(6)
#define CPUID_1_ECX_EST		 BIT(7)
#define CPUID_1_ECX_TM2		 BIT(8)
#define CPUID_1_ECX_SSSE3	 BIT(9)
#define CPUID_1_ECX_SDBG	 BIT(11)
#define CPUID_1_ECX_FMA		 BIT(12)
#define CPUID_1_ECX_CX16	 BIT(13)
#define CPUID_1_ECX_PDCM	 BIT(15)
#define CPUID_1_ECX_PCID	 BIT(17)
#define CPUID_1_ECX_DCA		 BIT(18)
#define CPUID_1_ECX_SSE4_1	 BIT(19)
#define CPUID_1_ECX_SSE4_2	 BIT(20)
#define CPUID_1_ECX_X2APIC	 BIT(21)
#define CPUID_1_ECX_MOVBE	 BIT(22)
#define CPUID_1_ECX_POPCNT	 BIT(23)
#define CPUID_1_ECX_TSC_DEADLINE BIT(24)
#define CPUID_1_ECX_AESNI	 BIT(25)
#define CPUID_1_ECX_XSAVE	 BIT(26)
#define CPUID_1_ECX_OSXSAVE	 BIT(27)
#define CPUID_1_ECX_AVX		 BIT(28)
#define CPUID_1_ECX_F16C	 BIT(29)
#define CPUID_1_ECX_RDRAND	 BIT(30)
#define CPUID_1_ECX_HYPERVISOR	 BIT(31)

#define CPUID_1_EDX_FPU	  BIT(0)
#define CPUID_1_EDX_VME	  BIT(1)
#define CPUID_1_EDX_DE	  BIT(2)
#define CPUID_1_EDX_PSE	  BIT(3)
#define CPUID_1_EDX_TSC	  BIT(4)
#define CPUID_1_EDX_MSR	  BIT(5)
#define CPUID_1_EDX_PAE	  BIT(6)
#define CPUID_1_EDX_MCE	  BIT(7)
#define CPUID_1_EDX_CX8	  BIT(8)
#define CPUID_1_EDX_APIC  BIT(9)
#define CPUID_1_EDX_SEP	  BIT(11)
#define CPUID_1_EDX_MTRR  BIT(12)
#define CPUID_1_EDX_PGE	  BIT(13)
#define CPUID_1_EDX_MCA	  BIT(14)
#define CPUID_1_EDX_CMOV  BIT(15)
#define CPUID_1_EDX_PAT	  BIT(16)
#define CPUID_1_EDX_PSE36 BIT(17)
#define CPUID_1_EDX_CLFSH BIT(19)
#define CPUID_1_EDX_DS	  BIT(21)
#define CPUID_1_EDX_ACPI  BIT(22)
#define CPUID_1_EDX_MMX	  BIT(23)
#define CPUID_1_EDX_FXSR  BIT(24)
#define CPUID_1_EDX_SSE	  BIT(25)
#define CPUID_1_EDX_SSE2  BIT(26)
#define CPUID_1_EDX_SS	  BIT(27)
#define CPUID_1_EDX_HTT	  BIT(28)
#define CPUID_1_EDX_TM	  BIT(29)
#define CPUID_1_EDX_PBE	  BIT(31)

#define CPUID_6_EAX_ARAT BIT(2)

#define CPUID_7_EBX_FSGSBASE   BIT(0)
#define CPUID_7_EBX_TSC_ADJUST BIT(1)
#define CPUID_7_EBX_SGX	       BIT(2)
#define CPUID_7_EBX_BMI1       BIT(3)
#define CPUID_7_EBX_HLE	       BIT(4)
#define CPUID_7_EBX_AVX2       BIT(5)
#define CPUID_7_EBX_FDP_EXCPTN BIT(6)
#define CPUID_7_EBX_SMEP       BIT(7)
#define CPUID_7_EBX_BMI2       BIT(8)
#define CPUID_7_EBX_ERMS       BIT(9)
#define CPUID_7_EBX_CLFLUSHOPT BIT(23)
#define CPUID_7_EBX_INVPCID    BIT(10)
#define CPUID_7_EBX_RTM	       BIT(11)
#define CPUID_7_EBX_PQM	       BIT(12)
#define CPUID_7_EBX_NO_FCS_FDS BIT(13)
#define CPUID_7_EBX_MPX	       BIT(14)
#define CPUID_7_EBX_PQE	       BIT(15)
#define CPUID_7_EBX_AVX512F    BIT(16)
#define CPUID_7_EBX_AVX512DQ   BIT(17)
#define CPUID_7_EBX_RDSEED     BIT(18)
#define CPUID_7_EBX_ADX	       BIT(19)
#define CPUID_7_EBX_SMAP       BIT(20)
#define CPUID_7_EBX_AVX512IFMA BIT(21)
#define CPUID_7_EBX_CLFLUSHOPT BIT(23)
#define CPUID_7_EBX_CLWB       BIT(24)
#define CPUID_7_EBX_PT	       BIT(25)
#define CPUID_7_EBX_AVX512CD   BIT(28)
#define CPUID_7_EBX_SHA	       BIT(29)
#define CPUID_7_EBX_AVX512BW   BIT(30)
#define CPUID_7_EBX_AVX512VL   BIT(31)

#define CPUID_7_ECX_AVX512VBMI	    BIT(1)
#define CPUID_7_ECX_UMIP	    BIT(2)
#define CPUID_7_ECX_PKU		    BIT(3)
#define CPUID_7_ECX_OSPKE	    BIT(4)
#define CPUID_7_ECX_WAITPKG	    BIT(5)
#define CPUID_7_ECX_AVX512VBMI2	    BIT(6)
#define CPUID_7_ECX_CET_SS	    BIT(7)
#define CPUID_7_ECX_GFNI	    BIT(8)
#define CPUID_7_ECX_VAES	    BIT(9)
#define CPUID_7_ECX_VPCLMULQDQ	    BIT(10)
#define CPUID_7_ECX_AVX512VNNI	    BIT(11)
#define CPUID_7_ECX_AVX512BITALG    BIT(12)
#define CPUID_7_ECX_TME		    BIT(13)
#define CPUID_7_ECX_AVX512VPOPCNTDQ BIT(14)
#define CPUID_7_ECX_LA57	    BIT(16)
#define CPUID_7_ECX_RDPID	    BIT(22)
#define CPUID_7_ECX_KL		    BIT(23)
#define CPUID_7_ECX_CLDEMOTE	    BIT(25)
#define CPUID_7_ECX_MOVDIRI	    BIT(27)
#define CPUID_7_ECX_MOVDIR64B	    BIT(28)
#define CPUID_7_ECX_ENQCMD	    BIT(29)
#define CPUID_7_ECX_SGX_LC	    BIT(30)
#define CPUID_7_ECX_PKS		    BIT(31)

#define CPUID_7_EDX_FSRM	       BIT(4)
#define CPUID_7_EDX_UINTR	       BIT(5)
#define CPUID_7_EDX_AVX512VP2INTERSECT BIT(8)
#define CPUID_7_EDX_MD_CLEAR	       BIT(10)
#define CPUID_7_EDX_SERIALIZE	       BIT(14)
#define CPUID_7_EDX_HYBRID	       BIT(15)
#define CPUID_7_EDX_PCONFIG	       BIT(18)
#define CPUID_7_EDX_ARCH_LBR	       BIT(19)
#define CPUID_7_EDX_CET_IBT	       BIT(20)
#define CPUID_7_EDX_AMX_BF16	       BIT(22)
#define CPUID_7_EDX_AVX512FP16	       BIT(23)
#define CPUID_7_EDX_AMX_TILE	       BIT(24)
#define CPUID_7_EDX_AMX_INT8	       BIT(25)
#define CPUID_7_EDX_IBRS_IBPB	       BIT(26)
#define CPUID_7_EDX_STIBP	       BIT(27)
#define CPUID_7_EDX_L1D_FLUSH	       BIT(28)
#define CPUID_7_EDX_ARCH_CAPS	       BIT(29)
#define CPUID_7_EDX_CORE_CAPS	       BIT(30)
#define CPUID_7_EDX_SSBD	       BIT(31)

/* CPUID.(0DH, 1):EAX */
#define CPUID_D_1_EAX_XSAVEOPT BIT(0)
#define CPUID_D_1_EAX_XSAVEC   BIT(1)
#define CPUID_D_1_EAX_XGETBV1  BIT(2)
#define CPUID_D_1_EAX_XSAVES   BIT(3)

#define CPUID_80000001_ECX_LAHF	     BIT(0)
#define CPUID_80000001_ECX_LZCNT     BIT(5)
#define CPUID_80000001_ECX_PREFETCHW BIT(8)
#define CPUID_80000001_EDX_SYSCALL   BIT(11)
#define CPUID_80000001_EDX_NX	     BIT(20)
#define CPUID_80000001_EDX_1G	     BIT(26)
#define CPUID_80000001_EDX_RDTSCP    BIT(27)
#define CPUID_80000001_EDX_LM	     BIT(29)

#define CPUID_80000007_EDX_INVARIANT_TSC BIT(8)

/*
 * The host's segment selectors, for the GDT that idt.c builds for each CPU. The TSS descriptor
 * takes two slots.
 */
#define HOST_CS_SELECTOR  0x08
#define HOST_DS_SELECTOR  0x10
#define HOST_TSS_SELECTOR 0x18

#endif
