/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/dma.h"

#include "boot/dma_ranges.h"
#include "boot/vtd.h"
#include "vmm/base/cache_lines.h"
#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/host_paging.h"

#define POLL_US	    100000u
#define DEVICES_MAX 16u	    /* whose stopped accesses are counted apart */
#define MAPPED_END  BIT(32) /* firmware maps registers below this, but perhaps none above */

_Static_assert(DMAR_UNITS_MAX *VTD_DONE_BYTES == PAGE_SIZE, "a page has room for all units");

enum outcome {
	OUTCOME_NONE,	 /* there is no unit */
	OUTCOME_OFF,	 /* [host] iommu = off */
	OUTCOME_FAILED,	 /* no unit works */
	OUTCOME_PARTIAL, /* some units do */
	OUTCOME_ALL,
};

static struct {
	struct vtd_unit units[DMAR_UNITS_MAX];
	bool blocks[DMAR_UNITS_MAX];
	uint32_t count, blocking;
	enum outcome decided; /* what dma_words says */
	enum outcome outcome;
	enum config_iommu wanted;
	bool remaps_interrupts, units_left_out; /* as the table DMAR says */
	bool interrupts[DMAR_UNITS_MAX];	/* the unit shuts them out, or will */
	uint32_t interrupts_shut;		/* units that do */
	bool decided_interrupts;
	bool refused; /* it was logged that `require` is not met */
	const void *interrupt_table;
	size_t range_count;
	uint64_t range_bytes;
} dma;

/* What was stopped, by device and kind of access. */
static struct stopped {
	struct vtd_fault first; /* the first one */
	uint64_t count;
} stopped[DEVICES_MAX];
static size_t stopped_count;
static uint64_t stopped_beside; /* of devices for which there was no room */

/* --- Shutting out --- */

static void log_unit(uint32_t n, const char *error)
{
	log_error("DMA: unit %u of the IOMMU, at 0x%lx, cannot keep devices out of memory: %s", n,
		  dma.units[n].base, error);
}

/* Is anything else where the unit has its registers? */
static const char *look_for_others(const struct dmar *dmar, uint32_t n,
				   const struct dma_firmware *firmware)
{
	const struct vtd_unit *unit = &dma.units[n];
	const uint64_t end = unit->base + unit->bytes;

	if (end > MAPPED_END && !firmware->is_mapped(unit->base, end)) {
		return "its registers lie above 4 GiB, and firmware has not mapped them";
	}
	if (firmware->is_memory(unit->base, end)) {
		return "there is memory where its registers should be";
	}
	for (uint32_t i = 0; i < dmar->unit_count; i++) {
		if (i != n && unit->base < dmar->units[i].base + dmar->units[i].bytes &&
		    dmar->units[i].base < end) {
			return "another unit is where its registers should be";
		}
	}
	return NULL;
}

/* Finds the unit's registers, and what it can do. */
static const char *open_unit(const struct dmar *dmar, uint32_t n,
			     const struct dma_firmware *firmware)
{
	struct vtd_unit *unit = &dma.units[n];
	const char *error;

	*unit = (struct vtd_unit){ .base = dmar->units[n].base,
				   .bytes = dmar->units[n].bytes,
				   .is_firmwares = firmware->is_firmwares };
	error = look_for_others(dmar, n, firmware);
	if (error == NULL) {
		unit->registers = (volatile uint8_t *)unit->base;
		error = vtd_look(unit);
	}
	return error != NULL ? error : look_for_others(dmar, n, firmware); /* it may have grown */
}

static void open_units(const struct dmar *dmar, const struct dma_ranges *ranges,
		       const struct dma_firmware *firmware)
{
	dma.count = dmar->unit_count;
	for (uint32_t i = 0; i < dma.count; i++) {
		const char *error = open_unit(dmar, i, firmware);

		if (error == NULL && i == ranges->picture) {
			error = "the display would lose its picture, because firmware does not say "
				"which memory holds it; the unit is left as it is";
		}
		dma.blocks[i] = error == NULL;
		dma.interrupts[i] = error == NULL && dmar->remaps_interrupts &&
				    vtd_has_interrupts(&dma.units[i]);
		if (error != NULL) {
			log_unit(i, error);
		}
	}
}

/* Counts the table of interrupts, a page for waits, and the tables for all units and ranges. */
static size_t pages_needed(const struct dma_ranges *ranges)
{
	size_t pages = 2 + (size_t)VTD_UNIT_PAGES * dma.count;

	for (size_t i = 0; i < ranges->count; i++) {
		const struct dma_range *range = &ranges->list[i];

		if (dma.blocks[range->unit]) {
			pages += vtd_map_pages(&dma.units[range->unit], range->base, range->end);
		}
	}
	return pages;
}

static void map_range(const struct dma_range *range, struct vtd_memory *memory)
{
	const char *error = vtd_map(&dma.units[range->unit], memory, range->source, range->base,
				    range->end);

	if (error != NULL) {
		log_warn("DMA: the device %02x:%02x.%x does not reach 0x%lx to 0x%lx: %s",
			 range->source >> 8, range->source >> 3 & 0x1f, range->source & 7,
			 range->base, range->end - 1, error);
		if (range->picture) {
			dma.blocks[range->unit] = false;
			log_unit(range->unit, "the display would lose its picture; the unit is "
					      "left as it is");
		}
		return;
	}
	dma.range_count++;
	dma.range_bytes += range->end - range->base;
	log_info("DMA: the device %02x:%02x.%x still reaches 0x%lx to 0x%lx, for firmware",
		 range->source >> 8, range->source >> 3 & 0x1f, range->source & 7, range->base,
		 range->end - 1);
}

/* First maps those that hold a display's picture: without them their unit is not switched on. */
static void map_ranges(const struct dma_ranges *ranges, struct vtd_memory *memory)
{
	for (size_t i = 0; i < 2 * ranges->count; i++) {
		const struct dma_range *range = &ranges->list[i % ranges->count];

		if (range->picture == (i < ranges->count) && dma.blocks[range->unit]) {
			map_range(range, memory);
		}
	}
}

static void block_units(void)
{
	for (uint32_t i = 0; i < dma.count; i++) {
		const char *error = dma.blocks[i] ? vtd_block(&dma.units[i], true) : NULL;

		if (error != NULL) {
			dma.blocks[i] = false;
			log_unit(i, error);
		} else if (dma.blocks[i] && dma.units[i].paused) {
			log_warn("DMA: unit %u of the IOMMU was on with tables of another mode, "
				 "and had to be off for a moment",
				 i);
		}
	}
}

/* Computes the outcome, assuming that all units in dma.blocks will work. */
static void count_units(void)
{
	dma.blocking = 0;
	dma.interrupts_shut = 0;
	for (uint32_t i = 0; i < dma.count; i++) {
		dma.blocking += dma.blocks[i] ? 1 : 0;
		dma.interrupts[i] = dma.blocks[i] && dma.interrupts[i];
		dma.interrupts_shut += dma.interrupts[i] ? 1 : 0;
	}
	if (dma.blocking == 0) {
		dma.outcome = OUTCOME_FAILED;
	} else if (dma.blocking < dma.count || dma.units_left_out) {
		dma.outcome = OUTCOME_PARTIAL;
	} else {
		dma.outcome = OUTCOME_ALL;
	}
}

/* Do all units shut out both DMA and interrupts? */
static bool all_interrupts(void)
{
	return dma.outcome == OUTCOME_ALL && dma.interrupts_shut == dma.count;
}

/* Builds all tables. */
static void prepare_all(const struct dmar *dmar, const struct screen_mode *screen,
			const struct dma_firmware *firmware)
{
	static struct dma_ranges ranges;
	struct vtd_memory memory;
	size_t pages;
	uint8_t *done, *all;

	dma_choose_ranges(dmar, screen, firmware, &ranges);
	open_units(dmar, &ranges, firmware);
	pages = pages_needed(&ranges);
	all = firmware->take_pages(pages);
	if (all == NULL) {
		log_error("DMA: firmware has no %lu KiB left for the tables of the IOMMU",
			  pages * 4);
		memset(dma.blocks, 0, sizeof(dma.blocks));
		return;
	}
	dma.interrupt_table = all;
	done = all + PAGE_SIZE;
	memory = (struct vtd_memory){ all + 2 * PAGE_SIZE, pages - 2 };
	for (uint32_t i = 0; i < dma.count; i++) {
		dma.blocks[i] = dma.blocks[i] && vtd_prepare(&dma.units[i], &memory,
							     done + (size_t)i * VTD_DONE_BYTES);
	}
	map_ranges(&ranges, &memory);
	cache_write_back(all, pages * PAGE_SIZE);
}

static void report_interrupts(void)
{
	if (!dma.remaps_interrupts) {
		log_warn("DMA: devices can raise interrupts: firmware says that the IOMMU of this "
			 "machine cannot stop them");
		return;
	}
	for (uint32_t i = 0; i < dma.count; i++) {
		if (dma.blocks[i] && !dma.interrupts[i]) {
			log_warn("DMA: devices can raise interrupts: unit %u of the IOMMU cannot "
				 "stop them",
				 i);
		}
	}
}

static void report_outcome(void)
{
	if (dma.outcome == OUTCOME_ALL) {
		log_info("DMA: from now on no device reaches memory%s (units of the IOMMU: %u). "
			 "Until now all devices did, also files and keys that firmware has read",
			 dma.range_count != 0 ? " but the ranges above" : "", dma.count);
	} else if (dma.count == 0) {
		log_warn("DMA: all devices can reach memory: the table DMAR is broken");
	} else {
		log_warn("DMA: devices can reach memory: %u of %u units of the IOMMU shut them out",
			 dma.blocking, dma.count);
	}
	if (dma.blocking != 0) {
		log_info("DMA: if the machine stops before the next lines, a driver of its "
			 "firmware waits for DMA: set [host] iommu = off");
		report_interrupts();
	}
}

/* Whether VMs may run. */
static bool is_enough(void)
{
	if (dma.wanted != CONFIG_IOMMU_REQUIRE || all_interrupts()) {
		return true;
	}
	if (dma.refused) {
		return false; /* which was logged */
	}
	dma.refused = true;
	log_error("[host] iommu = require: devices can reach memory or raise interrupts, as logged "
		  "above; no VM starts");
	return false;
}

void dma_decide(const struct dmar *dmar, enum config_iommu wanted, const struct screen_mode *screen,
		const struct dma_firmware *firmware)
{
	memset(&dma, 0, sizeof(dma));
	dma.wanted = wanted;
	dma.remaps_interrupts = dmar->remaps_interrupts;
	dma.units_left_out = dmar->units_left_out;
	if (wanted == CONFIG_IOMMU_OFF) {
		dma.outcome = OUTCOME_OFF;
	} else if (dmar->unit_count != 0) {
		prepare_all(dmar, screen, firmware);
		count_units();
	} else if (dmar->units_left_out) {
		dma.outcome = OUTCOME_FAILED;
	}
	dma.decided = dma.outcome;
	dma.decided_interrupts = all_interrupts();
}

bool dma_will_block(void)
{
	return dma.blocking != 0;
}

bool dma_block(void)
{
	if (dma.outcome == OUTCOME_OFF) {
		log_warn("DMA: all devices can reach memory, as [host] iommu = off says");
		return true;
	}
	if (dma.outcome == OUTCOME_NONE) {
		log_info("DMA: all devices can reach memory: this machine shows no IOMMU (ACPI's "
			 "table DMAR)");
		return is_enough();
	}
	block_units();
	count_units();
	report_outcome();
	return is_enough();
}

bool dma_is_as_decided(void)
{
	return dma.outcome == dma.decided && all_interrupts() == dma.decided_interrupts;
}

const char *dma_words(void)
{
	switch (dma.decided) {
	case OUTCOME_OFF: return "off";
	case OUTCOME_FAILED: return "failed";
	case OUTCOME_PARTIAL: return "partial ir=off";
	case OUTCOME_ALL: return dma.decided_interrupts ? "on ir=on" : "on ir=off";
	default: return "none";
	}
}

/* --- After boot services --- */

static void block_interrupts(void)
{
	const bool x2apic = (cpu_rdmsr(MSR_IA32_APIC_BASE) & APIC_BASE_X2APIC) != 0;

	for (uint32_t i = 0; i < dma.count; i++) {
		const char *error = dma.interrupts[i]
					    ? vtd_block_interrupts(&dma.units[i],
								   dma.interrupt_table, x2apic)
					    : NULL;

		if (error != NULL) {
			log_error("DMA: unit %u of the IOMMU does not stop interrupts: %s", i,
				  error);
			dma.interrupts[i] = false;
		}
	}
	count_units();
	if (all_interrupts()) {
		log_info("DMA: no device can raise an interrupt");
	} else {
		log_warn("DMA: %u of %u units of the IOMMU stop interrupts of devices",
			 dma.interrupts_shut, dma.count);
	}
}

/*
 * Each unit is set up once more: firmware's driver may have switched it off, or given orders to its
 * queue, and the queue is needed for interrupts.
 */
bool dma_block_again(void)
{
	for (uint32_t i = 0; i < dma.count; i++) {
		const bool was_on = dma.blocks[i] && vtd_blocks(&dma.units[i]);
		const char *error = dma.blocks[i] ? vtd_block(&dma.units[i], false) : NULL;

		if (error != NULL) {
			log_unit(i, error);
			dma.blocks[i] = false;
		} else if (dma.blocks[i] && !was_on) {
			log_warn("DMA: firmware switched unit %u of the IOMMU off since Umbra "
				 "switched it on; it is on again, but devices could reach memory "
				 "for a moment",
				 i);
		}
	}
	if (dma.count != 0) {
		block_interrupts();
	}
	return is_enough();
}

/* --- What was stopped --- */

void dma_watch(void)
{
	for (uint32_t i = 0; i < dma.count; i++) {
		struct vtd_unit *unit = &dma.units[i];

		if (dma.blocks[i]) {
			unit->registers = host_map_io(hpa(unit->base), unit->bytes, HOST_CACHE_UC);
		}
		if (dma.blocks[i] && unit->registers == NULL) {
			log_warn(
				"DMA: the registers of unit %u of the IOMMU cannot be mapped; what "
				"it stops is not shown",
				i);
		}
	}
}

static const char *deed(const struct vtd_fault *fault)
{
	return fault->interrupt ? "an interrupt, entry" : fault->read ? "a read at" : "a write at";
}

/* Counts an access that was stopped. Returns true if it is the first of its device and kind. */
static bool count_fault(const struct vtd_fault *fault)
{
	for (size_t i = 0; i < stopped_count; i++) {
		const struct vtd_fault *first = &stopped[i].first;

		if (first->source == fault->source && first->read == fault->read &&
		    first->interrupt == fault->interrupt) {
			stopped[i].count++;
			return false;
		}
	}
	if (stopped_count == DEVICES_MAX) {
		stopped_beside++;
		return false;
	}
	stopped[stopped_count++] = (struct stopped){ *fault, 1 };
	return true;
}

static void poll_unit(struct vtd_unit *unit)
{
	struct vtd_fault fault;

	/* A device that tries again and again must not hold up this CPU. */
	for (unsigned i = 0; i < DEVICES_MAX && vtd_take_fault(unit, &fault); i++) {
		if (count_fault(&fault)) {
			log_warn("DMA: the device %02x:%02x.%x was stopped: %s 0x%lx (%s)",
				 fault.source >> 8, fault.source >> 3 & 0x1f, fault.source & 7,
				 deed(&fault), fault.address, vtd_reason(&fault));
		}
	}
}

void dma_poll(void)
{
	static uint64_t next;
	const uint64_t now = cpu_rdtsc();

	if (now < next) {
		return;
	}
	next = now + tsc_from_us(POLL_US);
	for (uint32_t i = 0; i < dma.count; i++) {
		if (dma.blocks[i] && dma.units[i].registers != NULL) {
			poll_unit(&dma.units[i]);
		}
	}
}

void dma_report(void (*print)(const char *fmt, ...))
{
	if (dma.outcome == OUTCOME_NONE) {
		print("  IOMMU: none (no table DMAR); devices can reach memory");
	} else if (dma.outcome == OUTCOME_OFF) {
		print("  IOMMU: off, as [host] iommu says; devices can reach memory");
	} else {
		print("  IOMMU: %u of %u units shut DMA out, and %u of them interrupts",
		      dma.blocking, dma.count, dma.interrupts_shut);
		print("  IOMMU: %lu ranges of %lu KiB in all are open for firmware's devices",
		      dma.range_count, dma.range_bytes >> 10);
	}
	for (size_t i = 0; i < stopped_count; i++) {
		const struct vtd_fault *first = &stopped[i].first;

		print("  IOMMU: %02x:%02x.%x was stopped %lu times, first %s 0x%lx (%s)",
		      first->source >> 8, first->source >> 3 & 0x1f, first->source & 7,
		      stopped[i].count, deed(first), first->address, vtd_reason(first));
	}
	if (stopped_beside != 0) {
		print("  IOMMU: other devices were stopped %lu times", stopped_beside);
	}
	for (uint32_t i = 0; i < dma.count; i++) {
		if (dma.units[i].overflows != 0) {
			print("  IOMMU: unit %u has stopped more than it could record, %u times", i,
			      dma.units[i].overflows);
		}
	}
}
