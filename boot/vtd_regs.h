/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of a remapping unit: VT-d specification, "Register Descriptions". */
#ifndef UMBRA_BOOT_VTD_REGS_H
#define UMBRA_BOOT_VTD_REGS_H

#include "boot/vtd.h"

/* Offsets. */
#define VTD_VER	      0x00u
#define VTD_CAP	      0x08u
#define VTD_ECAP      0x10u
#define VTD_GCMD      0x18u
#define VTD_GSTS      0x1cu
#define VTD_RTADDR    0x20u
#define VTD_CCMD      0x28u
#define VTD_FSTS      0x34u
#define VTD_FECTL     0x38u
#define VTD_PMEN      0x64u
#define VTD_IQH	      0x80u
#define VTD_IQT	      0x88u
#define VTD_IQA	      0x90u
#define VTD_IECTL     0xa0u
#define VTD_IRTA      0xb8u
#define VTD_FIXED_END 0xc0u /* of all above */
#define VTD_IOTLB     0x08u /* behind ECAP_IRO */

#define VERSION_MAJOR(ver) ((ver) >> 4 & 0xf)

/* CAP */
#define CAP_DOMAINS(cap)    (4u + 2u * (unsigned)((cap)&7)) /* bits of a domain's number */
#define CAP_WRITE_BUFFER    BIT(4)
#define CAP_PMR_LOW	    BIT(5)
#define CAP_PMR_HIGH	    BIT(6)
#define CAP_WIDTHS(cap)	    ((unsigned)((cap) >> 8 & 0x1f)) /* bit 1: 39 bits, 2: 48, 3: 57 */
#define CAP_GUEST_BITS(cap) ((unsigned)((cap) >> 16 & 0x3f) + 1)
#define CAP_FAULTS_AT(cap)  ((uint32_t)((cap) >> 24 & 0x3ff) * 16)
#define CAP_LEAF_2M	    BIT(34)
#define CAP_FAULTS(cap)	    ((uint32_t)((cap) >> 40 & 0xff) + 1)
#define CAP_DRAIN_WRITES    BIT(54)
#define CAP_DRAIN_READS	    BIT(55)
#define CAP_CHANGES_MODE    BIT(63) /* ESRTPS: ROOT_MODE may change while translation is on */

/* ECAP */
#define ECAP_COHERENT	    BIT(0)
#define ECAP_QUEUE	    BIT(1)
#define ECAP_INTERRUPTS	    BIT(3)
#define ECAP_X2APIC	    BIT(4)
#define ECAP_IOTLB_AT(ecap) ((uint32_t)((ecap) >> 8 & 0x3ff) * 16)

/* GCMD and GSTS have the same bits. Those of GCMD that start an action are not in STATUS_KEPT. */
#define STATUS_TRANSLATION   BIT(31)
#define STATUS_ROOT	     BIT(30)
#define STATUS_OLD_FAULT_LOG BIT(28)
#define STATUS_WRITE_BUFFER  BIT(27)
#define STATUS_QUEUE	     BIT(26)
#define STATUS_INTERRUPTS    BIT(25)
#define STATUS_INT_TABLE     BIT(24)
#define STATUS_OLD_FORMAT    BIT(23) /* interrupts in the format without a table pass */
#define STATUS_KEPT	     0x96fffffful

#define CCMD_BUSY	   BIT(63)
#define CCMD_ALL	   BIT(61)
#define IOTLB_BUSY	   BIT(63)
#define IOTLB_ALL	   BIT(60)
#define IOTLB_DRAIN_READS  BIT(49)
#define IOTLB_DRAIN_WRITES BIT(48)

#define FSTS_OVERFLOW BIT(0)
#define FSTS_PENDING  BIT(1)
#define FSTS_QUEUE    0x70u   /* errors of the queue, which stop it */
#define EVENT_MASKED  BIT(31) /* FECTL, IECTL */
#define PMEN_ENABLE   BIT(31)
#define PMEN_STATUS   BIT(0)
#define ROOT_MODE     0xc00ul /* RTADDR: 0 is the mode of this driver */
#define IRTA_X2APIC   BIT(11)
#define IRTA_256      7u /* entries of the table: 2 to the power of 7 + 1 */

/* A fault record has 16 bytes; these are bits of its upper half. */
#define FAULT_THERE	 BIT(63)
#define FAULT_READ	 BIT(62)
#define FAULT_REASON(hi) ((uint8_t)((hi) >> 32))
#define FAULT_INTERRUPTS 0x20u /* the first reason that is about an interrupt */
#define FAULT_NO_MORE	 0x30u /* the first reason after these */

/* Descriptors of the queue: two words of 64 bits. */
#define QUEUE_ENTRIES	256u
#define QUEUE_SHIFT	4u /* IQH and IQT hold the number of an entry above these bits */
#define DO_CONTEXTS	(1ul | 1ul << 4)
#define DO_IOTLB	(2ul | 1ul << 4)
#define DO_IOTLB_WRITES BIT(6)
#define DO_IOTLB_READS	BIT(7)
#define DO_INTERRUPTS	4ul
#define DO_WAIT		(5ul | 1ul << 5) /* the unit writes the upper half to an address */

#define IQA_ADDRESS MASK(51, 12)
#define IQA_WIDE    BIT(11) /* entries of 32 bytes */
#define IQA_SIZE    7u	    /* 4 KiB to the power of two */

#ifdef UMBRA_HOST_TEST
/* A model of a unit, in the test. */
uint32_t vtd_read32(const struct vtd_unit *unit, uint32_t offset);
uint64_t vtd_read64(const struct vtd_unit *unit, uint32_t offset);
void vtd_write32(const struct vtd_unit *unit, uint32_t offset, uint32_t value);
void vtd_write64(const struct vtd_unit *unit, uint32_t offset, uint64_t value);
#else
static inline uint32_t vtd_read32(const struct vtd_unit *unit, uint32_t offset)
{
	return *(volatile uint32_t *)(volatile void *)(unit->registers + offset);
}

static inline uint64_t vtd_read64(const struct vtd_unit *unit, uint32_t offset)
{
	return *(volatile uint64_t *)(volatile void *)(unit->registers + offset);
}

static inline void vtd_write32(const struct vtd_unit *unit, uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(volatile void *)(unit->registers + offset) = value;
}

static inline void vtd_write64(const struct vtd_unit *unit, uint32_t offset, uint64_t value)
{
	*(volatile uint64_t *)(volatile void *)(unit->registers + offset) = value;
}
#endif

#endif
