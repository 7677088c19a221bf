/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One remapping unit of VT-d: its registers, its tables, and what it has stopped (Intel VT-d
 * specification, chapters "Register Descriptions" and "Software Usage Model"). Between dma.c, which
 * decides, and the hardware.
 *
 * Tables and queues stay at KeyID 0 for ever, because a unit knows no KeyID. Umbra writes them only
 * while firmware's page tables are loaded, which map all memory one to one.
 */
#ifndef UMBRA_BOOT_VTD_H
#define UMBRA_BOOT_VTD_H

#include "vmm/base/types.h"

/* Zeroed pages for tables, one after the other. */
struct vtd_memory {
	uint8_t *next;
	size_t left; /* pages */
};

struct vtd_unit {
	volatile uint8_t *registers; /* where they are mapped now */
	uint64_t base, bytes;	     /* of the registers, in physical memory */
	/* Whether all of [base, end) is memory that firmware alone uses. */
	bool (*is_firmwares)(uint64_t base, uint64_t end);
	uint64_t cap, ecap; /* CAP and ECAP; set by vtd_look */
	/* Tables and queue; all set by vtd_prepare. Physical addresses are equal. */
	uint64_t *root;
	uint64_t *queue;
	volatile uint32_t *done; /* the unit writes here that it has reached a place of the queue */
	unsigned tail;		 /* of the queue, in descriptors */
	uint32_t waits;		 /* how often the unit was waited for */
	uint16_t domains;	 /* that were given numbers */
	bool queued;		 /* orders go through the queue, not through registers */
	bool paused;		 /* vtd_block had to switch translation off for a moment */
	uint32_t overflows;	 /* how often the unit stopped more than it could record */
};

/* A unit needs this many pages besides those of vtd_map_pages. */
#define VTD_UNIT_PAGES 2u
/* Bytes at vtd_unit.done that belong to one unit: a line of the cache. */
#define VTD_DONE_BYTES 64u

/* All functions: boot processor, no lock. A text that is returned says what is wrong. */

/*
 * Reads what the unit can do; base, bytes, registers and is_firmwares are set. Many tables do not
 * have the field for the size of the registers yet: so bytes grows, to at most 20 KiB, if the unit
 * says that it has more. Refuses a unit that does not answer.
 */
const char *vtd_look(struct vtd_unit *unit);

/*
 * Gives the unit an empty root table, which lets nothing through, and a queue. done: VTD_DONE_BYTES
 * bytes. Returns false if the memory does not suffice.
 */
bool vtd_prepare(struct vtd_unit *unit, struct vtd_memory *memory, void *done);

/*
 * Lets one function (bus << 8 | device << 3 | function) reach a range of whole pages, at the same
 * addresses. After vtd_prepare, before vtd_block. vtd_map_pages: the most pages that it takes.
 */
const char *vtd_map(struct vtd_unit *unit, struct vtd_memory *memory, uint16_t source,
		    uint64_t base, uint64_t end);
size_t vtd_map_pages(const struct vtd_unit *unit, uint64_t base, uint64_t end);

/*
 * From now on devices reach what vtd_map let them reach, and no other memory. If firmware has left
 * the unit on, the tables are changed without switching it off. Only if firmware's tables are of
 * another mode, and the unit cannot change the mode while it is on, translation is off for a
 * moment, and unit->paused is set. Takes up to a second for each step if the unit does not answer.
 * Interrupts are off. The caller has written the pages of all tables back to memory
 * (cache_write_back). May be called again.
 *
 * firmware_runs: firmware's driver may still give orders to the unit and wait for them to be done.
 * Then a queue is switched on only if firmware uses one: with a queue on, orders through registers
 * have no defined effect, and a driver that uses them could wait for ever.
 */
const char *vtd_block(struct vtd_unit *unit, bool firmware_runs);
/* Whether the unit is still as vtd_block has left it: on, and with our tables. */
bool vtd_blocks(const struct vtd_unit *unit);

/* Whether the unit can remap interrupts. */
bool vtd_has_interrupts(const struct vtd_unit *unit);
/*
 * From now on no device raises an interrupt: table is a zeroed page. x2apic: this CPU's APIC is in
 * x2APIC mode. After vtd_block with firmware_runs false.
 */
const char *vtd_block_interrupts(struct vtd_unit *unit, const void *table, bool x2apic);

/* What a unit has stopped. */
struct vtd_fault {
	uint16_t source; /* bus << 8 | device << 3 | function, as the device said */
	uint8_t reason;	 /* VT-d specification, "Fault Reason Encodings" */
	bool read;	 /* of memory; else a write, or an interrupt */
	bool interrupt;
	uint64_t address; /* of the page; of an interrupt: the index of its entry */
};
/* Takes the next record out of the unit. Returns false if there is none; then counts overflows. */
bool vtd_take_fault(struct vtd_unit *unit, struct vtd_fault *fault);
/* The reason, as words. */
const char *vtd_reason(const struct vtd_fault *fault);

#endif
