/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that change the hypervisor's page tables (vmm/host/host_paging.c) at the same time, under
 * ThreadSanitizer: device memory, stacks, and pages that are mapped one to one beside each other,
 * while other CPUs use their slots and read the tables. If two CPUs add the same table, one CPU's
 * mapping is lost. If two CPUs get the same address, a CHECK fails. Exits with 0 on success.
 */
#include <stdio.h>

#include "tests/unit/race_cpus.h"
#include "vmm/base/cpu.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"

#define PAGES	  8192u
#define STEPS	  4000u
#define IO_PAGES  2u
#define IDENTITY  0x100000000ul /* each 2 MiB from here on have one page of each CPU */
#define NEIGHBORS 1024u

/* An image of three parts of a page each, in the order of boot/umbra.lds. */
__asm__(".pushsection .fake_image,\"aw\"\n"
	".balign 4096\n"
	".globl image_start, image_text_start, image_text_end, image_ro_start, image_ro_end\n"
	".globl image_rw_start, image_rw_end, image_end\n"
	"image_start:\nimage_text_start: .skip 4096\n"
	"image_text_end:\nimage_ro_start: .skip 4096\n"
	"image_ro_end:\nimage_rw_start: .skip 4096\n"
	"image_rw_end:\nimage_end:\n"
	".popsection");

static uint8_t pages[PAGES][PAGE_SIZE] __attribute__((aligned(SIZE_2M)));
static uint32_t pages_taken;
static uint64_t bootstrap_bytes; /* plain: host_map_io adds to it under its lock */
static uint64_t maps[3], mapped;

/* --- Beneath host_paging.c --- */

/*
 * Without a lock, which would order CPUs that host_paging.c must order itself. Slow, so that
 * another CPU may make the same table meanwhile.
 */
void *page_alloc(size_t count)
{
	const uint32_t at = __atomic_fetch_add(&pages_taken, (uint32_t)count, __ATOMIC_RELAXED);

	if (at + count > PAGES) {
		race_broken("too few pages");
	}
	race_pause();
	return pages[at];
}

struct mem_range page_pool(void)
{
	return (struct mem_range){ hpa(SIZE_1G), 512 };
}

struct mem_range page_bootstrap(void)
{
	return (struct mem_range){ hpa(2 * SIZE_1G), 1 };
}

bool page_is_own(uint64_t first, uint64_t end)
{
	return false;
}

int bootstrap_init(void)
{
	return 0;
}

int bootstrap_map(uint64_t address, hpa_t physical, uint64_t bytes, enum host_access access,
		  enum host_cache cache)
{
	bootstrap_bytes += bytes;
	return 0;
}

void bootstrap_unmap(uint64_t address, uint64_t bytes)
{
}

bool bootstrap_maps(uint64_t address)
{
	return false;
}

bool bootstrap_has_left(void)
{
	return false;
}

void bootstrap_ready(void)
{
}

_Noreturn void host_paging_switch(uint64_t cr3, void *stack_top, void (*next)(void));

_Noreturn void host_paging_switch(uint64_t cr3, void *stack_top, void (*next)(void))
{
	race_broken("host_paging_switch");
}

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	return (struct cpuid_regs){ .edx = CPUID_80000001_EDX_NX };
}

uint64_t fake_rdmsr(uint32_t msr)
{
	return 0;
}

void fake_wrmsr(uint32_t msr, uint64_t value)
{
}

uint64_t fake_read_cr4(void)
{
	return 0;
}

void fake_write_cr0(uint64_t value)
{
}

void fake_write_cr3(uint64_t value)
{
}

void fake_write_cr4(uint64_t value)
{
}

void fake_invlpg(const void *address)
{
}

/* --- CPUs --- */

static void expect(uint64_t address, bool is_mapped)
{
	if (host_paging_maps(address) != is_mapped) {
		race_broken("CPU %u: %#lx is%s mapped", race_self, address,
			    is_mapped ? " not" : "");
	}
}

static void map_io(void)
{
	const uint64_t device = 0xf0000000 + race_random(64) * PAGE_SIZE;
	const uint64_t at = (uintptr_t)host_map_io(hpa(device), IO_PAGES * PAGE_SIZE,
						   HOST_CACHE_WB);

	expect(at, true);
	expect(at + (IO_PAGES - 1) * PAGE_SIZE, true);
	race_count(&maps[0]);
}

static void map_stack(void)
{
	const uint64_t top = (uintptr_t)host_map_stack(1);

	expect(top - 8, true);
	race_count(&maps[1]);
}

/*
 * Maps a page of this CPU, or removes it. All CPUs' pages are in the same tables, and several CPUs
 * need the next table at once.
 */
static void change_identity(void)
{
	static _Thread_local bool mine[NEIGHBORS];
	static uint32_t turn;
	const uint32_t i = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) / RACE_CPUS % NEIGHBORS;
	const hpa_t page = hpa(IDENTITY + i * SIZE_2M + race_self * PAGE_SIZE);

	expect(page.v, mine[i]);
	if (mine[i]) {
		host_unmap_identity(page, PAGE_SIZE);
		__atomic_fetch_sub(&mapped, 1, __ATOMIC_RELAXED);
	} else if (host_map_identity(page, PAGE_SIZE, HOST_READ, HOST_CACHE_WB) == 0) {
		race_count(&mapped);
	} else {
		race_broken("a page was not mapped");
	}
	mine[i] = !mine[i];
	expect(page.v, mine[i]);
	race_count(&maps[2]);
}

static void add(void *context, struct keyed_frame page, uint64_t bytes)
{
	*(uint64_t *)context += 1;
}

static void run(void)
{
	uint64_t seen = 0;

	host_slots_give(&race_cpus[race_self]);
	for (uint32_t i = 0; i < STEPS; i++) {
		switch (race_random(8)) {
		case 0: map_io(); break;
		case 1: map_stack(); break;
		case 2:
		case 3: change_identity(); break;
		default:
			host_slot_map(&race_cpus[race_self], 1, keyed(hpa(PAGE_SIZE), 0));
			host_slot_unmap(&race_cpus[race_self], 1);
		}
		if (i % 256 == 0) {
			host_paging_visit(add, &seen);
		}
	}
}

int main(void)
{
	uint64_t before = 0, after = 0;

	if (host_paging_init() != 0) {
		race_broken("no page tables");
	}
	host_paging_visit(add, &before);
	race_run(run);
	host_paging_visit(add, &after);
	mapped += before + IO_PAGES * maps[0] + maps[1];
	if (after != mapped || bootstrap_bytes != IO_PAGES * PAGE_SIZE * maps[0]) {
		race_broken("%lu mappings, not %lu; %lu bytes in the other tables", after, mapped,
			    bootstrap_bytes);
	}
	printf("%lu pieces of device memory, %lu stacks, %lu changes one to one\n", maps[0],
	       maps[1], maps[2]);
	return 0;
}
