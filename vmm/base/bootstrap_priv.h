/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in bootstrap memory. Code that runs on its tables while the image's data moves must
 * find all that it needs here: keyid_move.c and bootstrap.asm touch nothing else but code,
 * constants and their stack.
 */
#ifndef UMBRA_BASE_BOOTSTRAP_PRIV_H
#define UMBRA_BASE_BOOTSTRAP_PRIV_H

#include "vmm/base/cpu.h"
#include "vmm/base/idt.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/percpu.h"
#include "vmm/base/serial.h"

#define BOOTSTRAP_STACK_BYTES 512u /* of a CPU that only waits: a frame or two, and an NMI's */
#define BOOTSTRAP_IST_PAGES   2u

/* Page by page, from page_bootstrap() on. */
enum bootstrap_page {
	BOOTSTRAP_STATE,			   /* struct bootstrap */
	BOOTSTRAP_BOUNCE,			   /* one page on its way from KeyID to KeyID */
	BOOTSTRAP_SLOTS,			   /* two addresses; the pages are unused */
	BOOTSTRAP_GUARD = BOOTSTRAP_SLOTS + 2,	   /* not mapped */
	BOOTSTRAP_STACK,			   /* of the CPU that leads, or is the last */
	BOOTSTRAP_STACK_END = BOOTSTRAP_STACK + 8, /* then the other CPUs' stacks */
	BOOTSTRAP_IST = BOOTSTRAP_STACK_END + CPU_MAX * BOOTSTRAP_STACK_BYTES / PAGE_SIZE,
	BOOTSTRAP_TABLES = BOOTSTRAP_IST + IDT_IST_COUNT * BOOTSTRAP_IST_PAGES,
};
_Static_assert(BOOTSTRAP_TABLES + 100 <= PAGE_BOOTSTRAP, "room for tables");

/* A move of pages from one KeyID to another; see keyid_move.c. */
struct keyid_move {
	uint64_t from, to;	       /* the KeyIDs, packed with address 0; at first both 0 */
	uint64_t keyid_mask;	       /* of all KeyIDs */
	uint64_t root;		       /* the hypervisor's own top table, with the new KeyID */
	unsigned levels;	       /* of it */
	uint64_t pool_first, pool_end; /* addresses */
	uint64_t pool_written;	       /* where what was ever handed out of it ends, at the end */
	uint64_t data_first, data_end; /* the image's writable data */
	uint32_t others;	       /* CPUs that wait meanwhile */
	uint32_t arrived;	       /* of them, in the step that step names; atomic */
	uint32_t step;		       /* atomic */
};

struct bootstrap {
	struct cpu_table_register gdt, idt; /* first: bootstrap.asm */
	uint32_t reserved;
	uint64_t root;
	uint64_t *pml4;
	uint64_t gates[2 * 32];
	uint64_t cpu_tables[IDT_CPU_TABLES_BYTES / 8];
	uint64_t next_table, end_table; /* addresses */
	uint64_t data_bits;		/* of a leaf for writable data */
	uint8_t *bounce;
	uint8_t *slots[2];	   /* addresses; */
	uint64_t *slot_entries[2]; /* and their entries, 0 while unused */
	bool ready;		   /* bootstrap_ready */
	bool left;		   /* bootstrap_leave is through */
	struct keyid_move move;
	struct serial_place serial; /* where an exception is reported; address 0: nowhere */
	struct percpu cpu;	    /* of the last CPU: a copy, with cpu_tables */
	void (*next)(void);
	bool stopped[CPU_MAX]; /* atomic */
};
_Static_assert(sizeof(struct bootstrap) <= PAGE_SIZE, "one page");
_Static_assert(offsetof(struct bootstrap, root) == 24, "no hole before root");

struct bootstrap *bootstrap_state(void);

/* The tops of the stacks: of a CPU that waits or has stopped, and of the one that works. */
uint8_t *bootstrap_stack(struct bootstrap *b, uint32_t cpu_index);
uint8_t *bootstrap_main_stack(struct bootstrap *b);

/*
 * bootstrap.asm: goes to the bootstrap tables, GDT, IDT and the stack, drops all translations,
 * global ones too, and calls fn(b, arg). Comes back with the page tables that fn returns (a value
 * for CR3), and all else as before. Interrupts off.
 */
void bootstrap_run(struct bootstrap *b, void *stack_top,
		   uint64_t (*fn)(struct bootstrap *b, uint64_t arg), uint64_t arg);

/*
 * keyid_move.c: gives m->to to every entry of a table, and of those below it, that leads to a
 * table, or maps a page that moves. For its test.
 */
void keyid_move_rewrite(const struct keyid_move *m, uint64_t *table, unsigned level);

/* A leaf or table entry of the bootstrap tables, without making tables; NULL: there is none. */
uint64_t *bootstrap_entry(struct bootstrap *b, uint64_t address, unsigned level);

#endif
