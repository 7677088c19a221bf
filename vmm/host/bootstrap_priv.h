/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of bootstrap memory. While the image's data moves, code that runs on the bootstrap
 * tables must find all that it needs here: keyid_move.c and bootstrap.asm use only this memory,
 * code, constants and their stack.
 */
#ifndef UMBRA_HOST_BOOTSTRAP_PRIV_H
#define UMBRA_HOST_BOOTSTRAP_PRIV_H

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/console/serial.h"
#include "vmm/host/idt.h"
#include "vmm/host/page_alloc.h"

#define BOOTSTRAP_STACK_BYTES 512u /* for a CPU that only waits: a frame or two, and one NMI */
#define BOOTSTRAP_IST_PAGES   2u

/* The pages in order, from page_bootstrap() on. */
enum bootstrap_page {
	BOOTSTRAP_STATE,			   /* struct bootstrap */
	BOOTSTRAP_BOUNCE,			   /* a copy of one page while its KeyID changes */
	BOOTSTRAP_SLOTS,			   /* two addresses; their own pages are unused */
	BOOTSTRAP_GUARD = BOOTSTRAP_SLOTS + 2,	   /* not mapped */
	BOOTSTRAP_STACK,			   /* of the CPU that leads the move, or is last */
	BOOTSTRAP_STACK_END = BOOTSTRAP_STACK + 8, /* the stacks of the other CPUs begin here */
	BOOTSTRAP_IST = BOOTSTRAP_STACK_END + CPU_MAX * BOOTSTRAP_STACK_BYTES / PAGE_SIZE,
	BOOTSTRAP_TABLES = BOOTSTRAP_IST + IDT_IST_COUNT * BOOTSTRAP_IST_PAGES,
};
_Static_assert(BOOTSTRAP_TABLES + 100 <= PAGE_BOOTSTRAP, "room for tables");

/* A move of pages from one KeyID to another; see keyid_move.c. */
struct keyid_move {
	uint64_t from, to;	       /* KeyIDs, packed with address 0; both are 0 at first */
	uint64_t keyid_mask;	       /* all bits of a KeyID */
	uint64_t root;		       /* the hypervisor's own top table, under the new KeyID */
	unsigned levels;	       /* of the hypervisor's own tables */
	uint64_t pool_first, pool_end; /* addresses */
	uint64_t pool_written;	       /* no page from here on was ever handed out */
	uint64_t data_first, data_end; /* the image's writable data */
	uint32_t others;	       /* how many CPUs wait during the move */
	ATOMIC(uint32_t) arrived;      /* how many of them have done `step` */
	ATOMIC(uint32_t) step;
};

struct bootstrap {
	struct cpu_table_register gdt, idt; /* first: bootstrap.asm uses the offsets */
	uint32_t reserved;
	uint64_t root;
	uint64_t *pml4;
	uint64_t gates[2 * 32];
	uint64_t cpu_tables[IDT_CPU_TABLES_BYTES / 8];
	uint64_t next_table, end_table; /* addresses of free pages for tables */
	uint64_t data_bits;		/* page-table bits of writable data */
	uint8_t *bounce;
	uint8_t *slots[2];	   /* addresses of the two slots */
	uint64_t *slot_entries[2]; /* their page-table entries, 0 while unused */
	bool ready;		   /* bootstrap_ready was called */
	bool left;		   /* bootstrap_leave has done its work */
	struct keyid_move move;
	struct serial_place serial; /* where an exception is reported; address 0: nowhere */
	struct percpu cpu;	    /* a copy of the last CPU's block; it uses cpu_tables */
	void (*next)(void);
	ATOMIC(bool) stopped[CPU_MAX];
};
_Static_assert(sizeof(struct bootstrap) <= PAGE_SIZE, "one page");
_Static_assert(offsetof(struct bootstrap, root) == 24, "no hole before root");

/* NULL before bootstrap_init. */
struct bootstrap *bootstrap_state(void);

/* Calls the function of bootstrap_at_end. */
void bootstrap_quit_this_cpu(void);

/*
 * The top of the stack of a CPU that waits or has stopped, and of the stack of the CPU that works.
 */
uint8_t *bootstrap_stack(struct bootstrap *b, uint32_t cpu_index);
uint8_t *bootstrap_main_stack(struct bootstrap *b);

/*
 * In bootstrap.asm: changes to the bootstrap tables, GDT, IDT and the given stack, flushes all TLB
 * entries, global ones too, and calls fn(b, arg). fn returns a value for CR3: bootstrap_run returns
 * on those page tables, with all else as before. Interrupts off.
 */
void bootstrap_run(struct bootstrap *b, void *stack_top,
		   uint64_t (*fn)(struct bootstrap *b, uint64_t arg), uint64_t arg);

/*
 * In keyid_move.c: sets the KeyID m->to in each entry of a table, and of the tables below it, that
 * refers to a table or maps a page that moves. Public for its unit test.
 */
void keyid_move_rewrite(const struct keyid_move *m, uint64_t *table, unsigned level);

/*
 * The entry for an address at a level of the bootstrap tables, or NULL when there is none. Makes no
 * tables.
 */
uint64_t *bootstrap_entry(struct bootstrap *b, uint64_t address, unsigned level);

#endif
