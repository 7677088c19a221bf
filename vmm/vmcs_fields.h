/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMCS field encodings (SDM vol. 3, appendix "Field Encoding in VMCS"), in its order; only fields
 * that are used.
 */
#ifndef UMBRA_VMM_VMCS_FIELDS_H
#define UMBRA_VMM_VMCS_FIELDS_H

/* 16-bit control, guest-state and host-state fields */
#define VMCS_VPID		    0x0000
#define VMCS_GUEST_ES_SELECTOR	    0x0800
#define VMCS_GUEST_CS_SELECTOR	    0x0802
#define VMCS_GUEST_SS_SELECTOR	    0x0804
#define VMCS_GUEST_DS_SELECTOR	    0x0806
#define VMCS_GUEST_FS_SELECTOR	    0x0808
#define VMCS_GUEST_GS_SELECTOR	    0x080a
#define VMCS_GUEST_LDTR_SELECTOR    0x080c
#define VMCS_GUEST_TR_SELECTOR	    0x080e
#define VMCS_GUEST_INTERRUPT_STATUS 0x0810
#define VMCS_HOST_ES_SELECTOR	    0x0c00
#define VMCS_HOST_CS_SELECTOR	    0x0c02
#define VMCS_HOST_SS_SELECTOR	    0x0c04
#define VMCS_HOST_DS_SELECTOR	    0x0c06
#define VMCS_HOST_FS_SELECTOR	    0x0c08
#define VMCS_HOST_GS_SELECTOR	    0x0c0a
#define VMCS_HOST_TR_SELECTOR	    0x0c0c

/* 64-bit control fields */
#define VMCS_MSR_BITMAP		    0x2004
#define VMCS_EXIT_MSR_STORE_ADDRESS 0x2006
#define VMCS_EXIT_MSR_LOAD_ADDRESS  0x2008
#define VMCS_ENTRY_MSR_LOAD_ADDRESS 0x200a
#define VMCS_EXECUTIVE_VMCS_POINTER 0x200c
#define VMCS_TSC_OFFSET		    0x2010
#define VMCS_VIRTUAL_APIC_ADDRESS   0x2012
#define VMCS_APIC_ACCESS_ADDRESS    0x2014
#define VMCS_EPT_POINTER	    0x201a
#define VMCS_EOI_EXIT_BITMAP0	    0x201c /* 1, 2, 3 follow in steps of 2 */
#define VMCS_XSS_EXITING_BITMAP	    0x202c
#define VMCS_ENCLS_EXITING_BITMAP   0x202e
#define VMCS_ENCLV_EXITING_BITMAP   0x2036

/* 64-bit read-only data field */
#define VMCS_GUEST_PHYSICAL_ADDRESS 0x2400

/* 64-bit guest-state fields */
#define VMCS_LINK_POINTER   0x2800
#define VMCS_GUEST_DEBUGCTL 0x2802
#define VMCS_GUEST_EFER	    0x2806
#define VMCS_GUEST_PDPTE0   0x280a /* 1, 2, 3 follow in steps of 2 */

/* 64-bit host-state fields */
#define VMCS_HOST_EFER 0x2c02

/* 32-bit control fields */
#define VMCS_PIN_CONTROLS		0x4000
#define VMCS_CPU_CONTROLS		0x4002
#define VMCS_EXCEPTION_BITMAP		0x4004
#define VMCS_PF_ERROR_CODE_MASK		0x4006
#define VMCS_PF_ERROR_CODE_MATCH	0x4008
#define VMCS_CR3_TARGET_COUNT		0x400a
#define VMCS_EXIT_CONTROLS		0x400c
#define VMCS_EXIT_MSR_STORE_COUNT	0x400e
#define VMCS_EXIT_MSR_LOAD_COUNT	0x4010
#define VMCS_ENTRY_CONTROLS		0x4012
#define VMCS_ENTRY_MSR_LOAD_COUNT	0x4014
#define VMCS_ENTRY_INTERRUPTION_INFO	0x4016
#define VMCS_ENTRY_EXCEPTION_ERROR_CODE 0x4018
#define VMCS_ENTRY_INSTRUCTION_LENGTH	0x401a
#define VMCS_TPR_THRESHOLD		0x401c
#define VMCS_CPU2_CONTROLS		0x401e
#define VMCS_PLE_GAP			0x4020
#define VMCS_PLE_WINDOW			0x4022
#define VMCS_NOTIFY_WINDOW		0x4024

/* 32-bit read-only data fields */
#define VMCS_INSTRUCTION_ERROR		  0x4400
#define VMCS_EXIT_REASON		  0x4402
#define VMCS_EXIT_INTERRUPTION_INFO	  0x4404
#define VMCS_EXIT_INTERRUPTION_ERROR_CODE 0x4406
#define VMCS_IDT_VECTORING_INFO		  0x4408
#define VMCS_IDT_VECTORING_ERROR_CODE	  0x440a
#define VMCS_EXIT_INSTRUCTION_LENGTH	  0x440c
#define VMCS_EXIT_INSTRUCTION_INFO	  0x440e

/* 32-bit guest-state fields */
#define VMCS_GUEST_ES_LIMIT	      0x4800
#define VMCS_GUEST_CS_LIMIT	      0x4802
#define VMCS_GUEST_SS_LIMIT	      0x4804
#define VMCS_GUEST_DS_LIMIT	      0x4806
#define VMCS_GUEST_FS_LIMIT	      0x4808
#define VMCS_GUEST_GS_LIMIT	      0x480a
#define VMCS_GUEST_LDTR_LIMIT	      0x480c
#define VMCS_GUEST_TR_LIMIT	      0x480e
#define VMCS_GUEST_GDTR_LIMIT	      0x4810
#define VMCS_GUEST_IDTR_LIMIT	      0x4812
#define VMCS_GUEST_ES_ACCESS_RIGHTS   0x4814
#define VMCS_GUEST_CS_ACCESS_RIGHTS   0x4816
#define VMCS_GUEST_SS_ACCESS_RIGHTS   0x4818
#define VMCS_GUEST_DS_ACCESS_RIGHTS   0x481a
#define VMCS_GUEST_FS_ACCESS_RIGHTS   0x481c
#define VMCS_GUEST_GS_ACCESS_RIGHTS   0x481e
#define VMCS_GUEST_LDTR_ACCESS_RIGHTS 0x4820
#define VMCS_GUEST_TR_ACCESS_RIGHTS   0x4822
#define VMCS_GUEST_INTERRUPTIBILITY   0x4824
#define VMCS_GUEST_ACTIVITY_STATE     0x4826
#define VMCS_GUEST_SYSENTER_CS	      0x482a
#define VMCS_PREEMPTION_TIMER_VALUE   0x482e

/* 32-bit host-state field */
#define VMCS_HOST_SYSENTER_CS 0x4c00

/* Natural-width control fields */
#define VMCS_CR0_MASK	     0x6000
#define VMCS_CR4_MASK	     0x6002
#define VMCS_CR0_READ_SHADOW 0x6004
#define VMCS_CR4_READ_SHADOW 0x6006

/* Natural-width read-only data fields */
#define VMCS_EXIT_QUALIFICATION	  0x6400
#define VMCS_GUEST_LINEAR_ADDRESS 0x640a

/* Natural-width guest-state fields */
#define VMCS_GUEST_CR0		 0x6800
#define VMCS_GUEST_CR3		 0x6802
#define VMCS_GUEST_CR4		 0x6804
#define VMCS_GUEST_ES_BASE	 0x6806
#define VMCS_GUEST_CS_BASE	 0x6808
#define VMCS_GUEST_SS_BASE	 0x680a
#define VMCS_GUEST_DS_BASE	 0x680c
#define VMCS_GUEST_FS_BASE	 0x680e
#define VMCS_GUEST_GS_BASE	 0x6810
#define VMCS_GUEST_LDTR_BASE	 0x6812
#define VMCS_GUEST_TR_BASE	 0x6814
#define VMCS_GUEST_GDTR_BASE	 0x6816
#define VMCS_GUEST_IDTR_BASE	 0x6818
#define VMCS_GUEST_DR7		 0x681a
#define VMCS_GUEST_RSP		 0x681c
#define VMCS_GUEST_RIP		 0x681e
#define VMCS_GUEST_RFLAGS	 0x6820
#define VMCS_GUEST_PENDING_DEBUG 0x6822
#define VMCS_GUEST_SYSENTER_ESP	 0x6824
#define VMCS_GUEST_SYSENTER_EIP	 0x6826

/* Natural-width host-state fields */
#define VMCS_HOST_CR0	       0x6c00
#define VMCS_HOST_CR3	       0x6c02
#define VMCS_HOST_CR4	       0x6c04
#define VMCS_HOST_FS_BASE      0x6c06
#define VMCS_HOST_GS_BASE      0x6c08
#define VMCS_HOST_TR_BASE      0x6c0a
#define VMCS_HOST_GDTR_BASE    0x6c0c
#define VMCS_HOST_IDTR_BASE    0x6c0e
#define VMCS_HOST_SYSENTER_ESP 0x6c10
#define VMCS_HOST_SYSENTER_EIP 0x6c12
#define VMCS_HOST_RSP	       0x6c14
#define VMCS_HOST_RIP	       0x6c16

/* The four fields of a segment register, by its number in the SDM's order (ES 0 ... GS 5). */
#define VMCS_GUEST_SELECTOR(seg)      (VMCS_GUEST_ES_SELECTOR + 2 * (uint32_t)(seg))
#define VMCS_GUEST_LIMIT(seg)	      (VMCS_GUEST_ES_LIMIT + 2 * (uint32_t)(seg))
#define VMCS_GUEST_ACCESS_RIGHTS(seg) (VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * (uint32_t)(seg))
#define VMCS_GUEST_BASE(seg)	      (VMCS_GUEST_ES_BASE + 2 * (uint32_t)(seg))

#define SEG_ES 0
#define SEG_CS 1
#define SEG_SS 2
#define SEG_DS 3
#define SEG_FS 4
#define SEG_GS 5

#endif
