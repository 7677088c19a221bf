/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/ram.h"

#include "crypto/tme.h"
#include "ept/pager.h"
#include "vmm/console/log.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/topology.h"

uint64_t ram_count_pages(const struct mem_range *ranges, size_t count)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < count; i++) {
		pages += ranges[i].page_count;
	}
	return pages;
}

/*
 * The size of Umbra's own memory, as fractions of the memory for VMs. A VM reserves at its start
 * all of Umbra's memory that it may need later. So if VMs get all memory, there must be room for
 *  - EPT tables with leaves of 4 KiB: 8 bytes for each page, 0.2 %;
 *  - the software engine's data on each page: 1 %;
 *  - control structures and consoles of VMs and vCPUs: 0.1 %;
 *  - stacks and tables of each CPU;
 *  - the data on each frame of the window: 1/64 of the window.
 */
#define POOL_TABLES	 512u
#define POOL_REST	 1024u
#define POOL_WINDOW	 64u
#define POOL_LEAST_PAGES 4096u /* 16 MiB */
#define POOL_PER_CPU	 64u

#define WINDOW_LEAST	(16ul << 20)
#define WINDOW_FRACTION 8u /* of the memory */

void ram_choose_window(struct boot_info *boot)
{
	const uint64_t cache = topology_last_cache();
	const uint64_t most = ram_count_pages(boot->ranges, boot->range_count) / WINDOW_FRACTION *
			      PAGE_SIZE;

	if (boot->config.window_bytes != CONFIG_WINDOW_AUTO) {
		return;
	}
	boot->config.window_bytes = MIN(MAX(ALIGN_DOWN(cache, (uint64_t)PAGE_SIZE), WINDOW_LEAST),
					most);
	log_info("window: %luK are in clear at most, chosen for a last-level cache of %luK",
		 boot->config.window_bytes >> 10, cache >> 10);
}

struct page_pool_plan ram_plan_pool(const struct boot_info *boot, bool sealed, bool low)
{
	const uint64_t usable = ram_count_pages(boot->ranges, boot->range_count);
	const uint64_t window = MIN(boot->config.window_bytes / PAGE_SIZE, usable);
	const uint64_t cpus = boot->cpu_count * POOL_PER_CPU;
	uint64_t pages = usable / POOL_TABLES + usable / POOL_REST;

	if (sealed) {
		pages += usable * PAGER_PAGE_BYTES / PAGE_SIZE;
	}
	pages = MAX(pages, POOL_LEAST_PAGES) + cpus;
	return (struct page_pool_plan){
		.wanted = pages + (sealed ? window / POOL_WINDOW : 0),
		.least = POOL_LEAST_PAGES + cpus,
		.end = low ? BIT(32) : HOST_IDENTITY_END,
	};
}

/*
 * Removes the pages [first, end) from a list of ranges, and returns how many it removed. This is
 * for the range that firmware may have excluded from encryption: what is written there under KeyID
 * 0 is in clear in DRAM. So Umbra's own memory, files, and VMs under the machine's own key must not
 * lie there, and nobody else gets these pages either.
 */
static uint64_t cut(struct mem_range *ranges, size_t *count, uint64_t first, uint64_t end)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < *count; i++) {
		const uint64_t base = ranges[i].base.v / PAGE_SIZE;
		const uint64_t past = base + ranges[i].page_count;

		if (first >= past || end <= base) {
			continue;
		}
		pages += MIN(end, past) - MAX(first, base);
		ranges[i].page_count = first > base ? first - base : 0;
		if (end < past && first <= base) {
			ranges[i] = (struct mem_range){ hpa(end * PAGE_SIZE), past - end };
		} else if (end < past && *count < BOOT_RANGE_MAX) {
			ranges[(*count)++] = (struct mem_range){ hpa(end * PAGE_SIZE), past - end };
		}
	}
	return pages;
}

/* Gets the excluded range as page numbers. Returns false if there is none. */
static bool get_excluded(uint64_t *first, uint64_t *end)
{
	const struct tme_state *tme = tme_state();

	/* The mask has no gaps: only its low bits are zero. */
	*first = (tme->exclude_base & tme->exclude_mask) / PAGE_SIZE;
	*end = *first + (BIT(tme->phys_bits) - (tme->exclude_mask & ~(PAGE_SIZE - 1))) / PAGE_SIZE;
	return tme->has_exclusion;
}

static void leave_out_excluded(struct boot_info *boot)
{
	uint64_t first, end, pages;

	if (!get_excluded(&first, &end)) {
		return;
	}
	pages = cut(boot->ranges, &boot->range_count, first, end) +
		cut(boot->late, &boot->late_count, first, end);
	log_warn("memory: %lu KiB are not used: firmware excluded them from encryption (TME "
		 "exclusion range at 0x%lx)",
		 pages * 4, first * PAGE_SIZE);
}

/*
 * Row 10 of the decision table (crypto/README.md). Where firmware marks memory that can be
 * encrypted (EFI_MEMORY_CPU_CRYPTO), unmarked memory is not used if the machine has TME-MK or is
 * about to activate it. Without TME-MK it is used like any other memory.
 */
static void take_unmarked(struct boot_info *boot)
{
	const bool keyed = tme_state()->kind == TME_MK || boot->config.tme_activate;
	uint64_t pages = ram_count_pages(boot->unmarked, boot->unmarked_count);

	if (keyed && !boot->some_marked) {
		log_info("memory: firmware does not say which memory can be encrypted "
			 "(EFI_MEMORY_CPU_CRYPTO): all of it is used");
	}
	if (pages != 0 && keyed) {
		log_warn("memory: %lu KiB are not used: firmware says that they cannot be "
			 "encrypted",
			 pages * 4);
		return;
	}
	for (size_t i = 0; i < boot->unmarked_count && boot->late_count < BOOT_RANGE_MAX; i++) {
		boot->late[boot->late_count++] = boot->unmarked[i];
	}
}

static bool overlaps(const struct mem_range *ranges, size_t count, uint64_t base, uint64_t bytes)
{
	for (size_t i = 0; i < count; i++) {
		const uint64_t first = ranges[i].base.v;

		if (base < first + ranges[i].page_count * PAGE_SIZE && first < base + bytes) {
			return true;
		}
	}
	return false;
}

void ram_keep_near(struct boot_info *boot)
{
	struct acpi_affinity *affinity = &boot->acpi.affinity;

	for (uint32_t i = 0; i < affinity->memory_count; i++) {
		struct acpi_near_memory *near = &affinity->memory[i];

		if (!overlaps(boot->ranges, boot->range_count, near->base.v, near->bytes) &&
		    !overlaps(boot->late, boot->late_count, near->base.v, near->bytes)) {
			near->bytes = 0;
		}
	}
}

void ram_settle(struct boot_info *boot)
{
	take_unmarked(boot);
	leave_out_excluded(boot);
}

void ram_settle_packages(void)
{
	struct mem_range pool = page_pool();
	uint64_t first, end, pages;
	size_t one = 1;

	if (!get_excluded(&first, &end)) {
		return;
	}
	/*
	 * No frame is removed twice: ram_settle has removed what the boot processor's package
	 * excludes.
	 */
	pages = frames_remove((struct mem_range){ hpa(first * PAGE_SIZE), end - first });
	if (pages != 0) {
		log_warn("memory: %lu KiB more are not used: firmware excluded them from "
			 "encryption in another package (TME exclusion ranges, together at 0x%lx)",
			 pages * 4, first * PAGE_SIZE);
	}
	pages = cut(&pool, &one, first, end);
	if (pages != 0) {
		log_warn("memory: %lu KiB of Umbra's own memory lie in what firmware excluded "
			 "from encryption in another package: under KeyID 0 they are in clear",
			 pages * 4);
	}
}
