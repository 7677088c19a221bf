/* SPDX-License-Identifier: Apache-2.0 */
/* Bootstrap memory: its content, its page tables, and CPUs that stop on it. */
#include "vmm/host/bootstrap.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/host/bootstrap_priv.h"
#include "vmm/host/ending.h"
#include "vmm/host/idt.h"
#include "vmm/host/image.h"
#include "vmm/host/page_alloc.h"

/* serial.c has all registers of the UART. */
#define UART_DATA  0u
#define UART_LSR   5u
#define LSR_THRE   BIT(5)
#define SEND_TURNS 1000000u

static struct bootstrap *state;	      /* NULL: not made yet */
static ATOMIC(void (*)(void)) at_end; /* NULL: not set */

/* in bootstrap.asm */
extern const char bootstrap_nmi[], bootstrap_exception[];
_Noreturn void bootstrap_complain(const uint64_t *gates);

struct bootstrap *bootstrap_state(void)
{
	return state;
}

uint8_t *bootstrap_stack(struct bootstrap *b, uint32_t cpu_index)
{
	return (uint8_t *)b + BOOTSTRAP_STACK_END * PAGE_SIZE +
	       (cpu_index + 1) * BOOTSTRAP_STACK_BYTES;
}

uint8_t *bootstrap_main_stack(struct bootstrap *b)
{
	return (uint8_t *)b + BOOTSTRAP_STACK_END * PAGE_SIZE;
}

/* --- Tables --- */

static uint64_t *new_table(struct bootstrap *b)
{
	uint64_t at = b->next_table;

	if (at == b->end_table) {
		return NULL;
	}
	b->next_table += PAGE_SIZE;
	return (uint64_t *)at; /* zeroed by bootstrap_init, never freed */
}

static uint64_t *entry_of(struct bootstrap *b, uint64_t address, unsigned level, bool make)
{
	uint64_t *table = b->pml4;
	unsigned at;

	for (at = 4; at > level; at--) {
		uint64_t *entry = &table[(address >> (PAGE_SHIFT + 9 * (at - 1))) & 511];

		if ((*entry & PTE_PRESENT) == 0) {
			uint64_t *fresh = make ? new_table(b) : NULL;

			if (fresh == NULL) {
				return NULL;
			}
			*entry = (uintptr_t)fresh | PTE_PRESENT | PTE_WRITE | PTE_ACCESSED;
		} else if ((*entry & PTE_LARGE) != 0) {
			return NULL;
		}
		table = (uint64_t *)(*entry & PTE_ADDRESS);
	}
	return &table[(address >> (PAGE_SHIFT + 9 * (level - 1))) & 511];
}

uint64_t *bootstrap_entry(struct bootstrap *b, uint64_t address, unsigned level)
{
	return entry_of(b, address, level, false);
}

/* Uses 2 MiB pages where they fit: no caller maps a part of such a page again later. */
static int map(uint64_t address, uint64_t physical, uint64_t bytes, uint64_t bits, bool large)
{
	const uint64_t end = address + bytes;

	while (address != end) {
		const bool fits = large && IS_ALIGNED(address | physical, SIZE_2M) &&
				  end - address >= SIZE_2M;
		const uint64_t step = fits ? SIZE_2M : PAGE_SIZE;
		uint64_t *entry = entry_of(state, address, fits ? 2 : 1, true);

		if (entry == NULL) {
			return ERR_NOMEM;
		}
		*entry = physical | bits | (fits ? PTE_LARGE : 0);
		cpu_invlpg((const void *)(uintptr_t)address);
		address += step;
		physical += step;
	}
	return 0;
}

/* Without PTE_GLOBAL, so that a change of CR3 flushes all of these translations. */
static uint64_t bits_of(enum host_access access, enum host_cache cache)
{
	return host_leaf_bits(access, cache) & ~PTE_GLOBAL;
}

int bootstrap_map(uint64_t address, hpa_t physical, uint64_t bytes, enum host_access access,
		  enum host_cache cache)
{
	/* Parts of an identity mapping may get other rights later, so it uses 4 KiB pages. */
	return map(address, physical.v, bytes, bits_of(access, cache), address != physical.v);
}

void bootstrap_unmap(uint64_t address, uint64_t bytes)
{
	for (uint64_t at = address; at != address + bytes; at += PAGE_SIZE) {
		uint64_t *entry = entry_of(state, at, 1, false);

		if (entry != NULL) {
			*entry = 0;
			cpu_invlpg((const void *)(uintptr_t)at);
		}
	}
}

bool bootstrap_maps(uint64_t address)
{
	uint64_t *entry = entry_of(state, address, 2, false);

	if (entry != NULL && (*entry & PTE_LARGE) == 0) {
		entry = entry_of(state, address, 1, false);
	}
	return entry != NULL && (*entry & PTE_PRESENT) != 0;
}

hpa_t bootstrap_root(void)
{
	return hpa(state->root);
}

/* --- Set-up --- */

static int map_own(const char *from, const char *to, enum host_access access)
{
	return map((uintptr_t)from, (uintptr_t)from, (uint64_t)(to - from),
		   bits_of(access, HOST_CACHE_WB), false);
}

static int map_all(void)
{
	const struct mem_range pool = page_pool(), own = page_bootstrap();
	uint64_t guard = own.base.v + BOOTSTRAP_GUARD * PAGE_SIZE;
	int err = map_own(image_text_start, image_text_end, HOST_READ_EXEC);

	if (err == 0) {
		err = map_own(image_ro_start, image_ro_end, HOST_READ);
	}
	if (err == 0) {
		err = map_own(image_rw_start, image_rw_end, HOST_READ_WRITE);
	}
	if (err == 0) {
		err = map(pool.base.v, pool.base.v, pool.page_count * PAGE_SIZE, state->data_bits,
			  true);
	}
	if (err == 0) {
		err = map(own.base.v, own.base.v, own.page_count * PAGE_SIZE, state->data_bits,
			  false);
	}
	if (err == 0) {
		bootstrap_unmap(guard, PAGE_SIZE);
		for (size_t i = 0; i < ARRAY_COUNT(state->slots); i++) {
			state->slots[i] = (uint8_t *)state + (BOOTSTRAP_SLOTS + i) * PAGE_SIZE;
			bootstrap_unmap((uintptr_t)state->slots[i], PAGE_SIZE);
			state->slot_entries[i] = entry_of(state, (uintptr_t)state->slots[i], 1,
							  false);
		}
	}
	return err;
}

static void fill_descriptors(void)
{
	uint64_t ist[IDT_IST_COUNT];

	for (size_t i = 0; i < IDT_IST_COUNT; i++) {
		ist[i] = (uintptr_t)state +
			 (BOOTSTRAP_IST + (i + 1) * BOOTSTRAP_IST_PAGES) * PAGE_SIZE;
	}
	idt_fill_cpu_tables(state->cpu_tables, ist);
	idt_fill_gates(state->gates, sizeof(state->gates) / 16, (uintptr_t)bootstrap_exception,
		       (uintptr_t)bootstrap_nmi);
	state->gdt = idt_gdt_register(state->cpu_tables);
	state->idt = (struct cpu_table_register){ sizeof(state->gates) - 1,
						  (uintptr_t)state->gates };
}

int bootstrap_init(void)
{
	const struct mem_range own = page_bootstrap();
	uint64_t *top;

	state = (struct bootstrap *)(uintptr_t)own.base.v;
	memset(state, 0, own.page_count * PAGE_SIZE);
	state->next_table = own.base.v + BOOTSTRAP_TABLES * PAGE_SIZE;
	state->end_table = own.base.v + own.page_count * PAGE_SIZE;
	state->bounce = (uint8_t *)state + BOOTSTRAP_BOUNCE * PAGE_SIZE;
	state->data_bits = bits_of(HOST_READ_WRITE, HOST_CACHE_WB);
	state->pml4 = top = new_table(state);
	if (host_paging_la57()) {
		top = new_table(state);
		top[0] = (uintptr_t)state->pml4 | PTE_PRESENT | PTE_WRITE | PTE_ACCESSED;
		top[511] = top[0];
	}
	state->root = (uintptr_t)top;
	state->move.pool_first = page_pool().base.v;
	state->move.pool_end = page_pool().base.v + page_pool().page_count * PAGE_SIZE;
	state->move.data_first = (uintptr_t)image_rw_start;
	state->move.data_end = (uintptr_t)image_rw_end;
	fill_descriptors();
	return map_all();
}

/* --- On the bootstrap tables --- */

static uint8_t uart_read(const struct serial_place *at, unsigned reg)
{
	uint64_t address = at->address + reg * at->stride;

	if (!at->memory) {
		return cpu_in8((uint16_t)(at->address + reg));
	}
	return at->stride == 4 ? (uint8_t) * (const volatile uint32_t *)address
			       : *(const volatile uint8_t *)address;
}

static void uart_write(const struct serial_place *at, unsigned reg, uint8_t value)
{
	uint64_t address = at->address + reg * at->stride;

	if (!at->memory) {
		cpu_out8((uint16_t)(at->address + reg), value);
	} else if (at->stride == 4) {
		*(volatile uint32_t *)address = value;
	} else {
		*(volatile uint8_t *)address = value;
	}
}

/*
 * An exception on the bootstrap tables ends here, on the stack of the code that faulted. Only
 * constants are certain to be mapped, and struct bootstrap, whose gates led here.
 */
_Noreturn void bootstrap_complain(const uint64_t *gates)
{
	static const char text[] =
		"\r\numbra: error: an exception while the hypervisor ran on its bootstrap page "
		"tables; switch the machine off or reset it\r\n";
	const struct bootstrap *b = (const void *)((const char *)gates -
						   offsetof(struct bootstrap, gates));
	uint32_t turns = 0; /* bounds all waits together: the line may be dead */

	for (size_t i = 0; i < sizeof(text) - 1 && b->serial.address != 0; i++) {
		while ((uart_read(&b->serial, UART_LSR) & LSR_THRE) == 0 && turns < SEND_TURNS) {
			turns++;
		}
		uart_write(&b->serial, UART_DATA, (uint8_t)text[i]);
	}
	cpu_stop();
}

void bootstrap_ready(void)
{
	state->serial = *serial_where();
	state->ready = true;
}

static uint64_t stop_here(struct bootstrap *b, uint64_t cpu_index)
{
	cpu_wbinvd();
	atomic_store(&b->stopped[cpu_index], true);
	cpu_stop();
}

void bootstrap_at_end(void (*quit)(void))
{
	atomic_store_release(&at_end, quit);
}

void bootstrap_quit_this_cpu(void)
{
	void (*quit)(void) = atomic_load_acquire(&at_end);

	if (quit != NULL) {
		quit();
	}
}

_Noreturn void bootstrap_stop_this_cpu(void)
{
	const uint32_t self = percpu_self()->index;

	ending_clear_registers();
	bootstrap_quit_this_cpu();
	bootstrap_run(state, bootstrap_stack(state, self), stop_here, self);
	cpu_stop(); /* not reached */
}

bool bootstrap_stopped(uint32_t cpu_index)
{
	return atomic_load(&state->stopped[cpu_index]);
}

bool bootstrap_has_left(void)
{
	return state != NULL && state->left;
}
