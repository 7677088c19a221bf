/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A remapping unit as the VT-d specification describes it, register by register, with its caches:
 * old tables hold until they are invalidated in the right order. Without coherence it sees only
 * what was written back from the CPU's caches.
 */
#ifndef UMBRA_TESTS_UNIT_VTD_MODEL_H
#define UMBRA_TESTS_UNIT_VTD_MODEL_H

#include "boot/vtd_regs.h"

#define MODEL_PAGES  64u
#define MODEL_FAULTS 4u
#define MODEL_BASE   0xfed90000ul /* of the registers */

/* Memory for tables, and firmware's root table, which lets everything through. */
extern uint8_t model_memory[MODEL_PAGES * PAGE_SIZE];
#define MODEL_FIRMWARE_ROOT 0x7000ul

struct model {
	uint64_t cap, ecap;
	uint64_t status, root, contexts_root, active_root; /* set, then dropped from each cache */
	uint64_t irta, active_irta, int_cached;
	uint64_t rtaddr, ccmd, iotlb, iqh, iqt, iqa;
	uint32_t version, fsts, fectl, iectl, pmen;
	uint64_t faults[MODEL_FAULTS][2];
	/* What the test sets. */
	uint32_t stuck;	     /* bits of GSTS that do not change any more */
	bool any_stop;	     /* the queue stops whatever its last order was */
	unsigned slow_queue; /* reads of registers until it carries out an order; 0: it is fast */
	bool stuck_queue, stuck_ccmd, stuck_iotlb;
	unsigned delay; /* reads until a change is seen */
	/* What was seen. */
	bool last_was_wait;
	unsigned wait, flushes, was_off, queue_reads;
	uint64_t next_status;
};
extern struct model model;

/* A unit with these features beyond those of every unit; off, as after a reset. */
void model_reset(uint64_t cap, uint64_t ecap);
/* Whether the unit lets this access of a device pass; records a fault if not. */
bool model_dma(uint16_t source, uint64_t address, bool write);
/* The same for an interrupt; old: in the format without a table. */
bool model_interrupt(uint16_t source, uint16_t index, bool old);

#endif
