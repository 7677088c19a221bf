/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/dma_ranges.h"

#include "boot/pci_config.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

/* PCI-to-PCI Bridge Architecture Specification, "Type 01h Configuration Space Header". */
#define BRIDGE_BUSES		0x18u
#define BRIDGE_SECONDARY(reg)	((reg) >> 8 & 0xff)
#define BRIDGE_SUBORDINATE(reg) ((reg) >> 16 & 0xff)

#define TPM_BASE   0xfed40000ul /* TCG PC Client Platform TPM Profile: five localities */
#define TPM_END	   0xfed45000ul
#define LAPIC_BASE 0xfee00000ul /* a write there is an interrupt */
#define LAPIC_END  0xfef00000ul
#define RANGE_MAX  (4ul << 30)

/* The display of Intel's processors is always this function. */
#define DISPLAY	       0x0010u
#define INTEL	       0x8086u
#define CLASS_DISPLAY  0x03u
#define BAR_COUNT      6u
#define BAR_ADDRESS    0xfffffff0u
#define BAR_IO	       BIT(0)
#define BAR_TYPE       0x6u
#define BAR_64	       0x4u
#define APERTURE_MAX   (4ul << 30)
#define STOLEN_BASE    0x5cu /* BDSM: where the picture lies in memory, up to generation 10 */
#define STOLEN_BASE_64 0xc0u /* and later */
#define STOLEN_ADDRESS 0xfff00000u

struct choice {
	const struct dmar *dmar;
	const struct dma_firmware *firmware;
	struct dma_ranges *out;
};

/* Finds the function that a scope names. Returns false if there is none. */
static bool find_function(const struct choice *choice, const struct dmar_scope *scope,
			  uint16_t *source)
{
	uint32_t bus = scope->bus;

	for (uint32_t i = 0;; i++) {
		const uint32_t function = bus << 8 | scope->path[i];

		if ((choice->firmware->pci_read(function, PCI_ID) & 0xffff) == 0xffff) {
			return false;
		}
		if (i + 1u == scope->hops) {
			*source = (uint16_t)function;
			return true;
		}
		bus = BRIDGE_SECONDARY(choice->firmware->pci_read(function, BRIDGE_BUSES));
	}
}

/* Does the scope of a unit name this function? */
static bool is_in(const struct choice *choice, const struct dmar_scope *scope, uint16_t source)
{
	uint16_t found;
	uint32_t buses;

	if (!find_function(choice, scope, &found)) {
		return false;
	}
	if (scope->kind == DMAR_SCOPE_ENDPOINT || found == source) {
		return found == source;
	}
	if (scope->kind != DMAR_SCOPE_BRIDGE) {
		return false;
	}
	buses = choice->firmware->pci_read(found, BRIDGE_BUSES);
	return source >> 8 >= (int)BRIDGE_SECONDARY(buses) &&
	       source >> 8 <= (int)BRIDGE_SUBORDINATE(buses);
}

/* The unit that serves a function of segment 0, or DMAR_UNITS_MAX. */
static uint32_t unit_of(const struct choice *choice, uint16_t source)
{
	uint32_t other = DMAR_UNITS_MAX;

	for (uint32_t i = 0; i < choice->dmar->unit_count; i++) {
		const struct dmar_unit *unit = &choice->dmar->units[i];

		if (unit->segment != 0) {
			continue;
		}
		for (uint32_t n = 0; n < unit->scopes.count; n++) {
			if (is_in(choice, &choice->dmar->scopes[unit->scopes.first + n], source)) {
				return i;
			}
		}
		if (unit->all) {
			other = i;
		}
	}
	return other;
}

static bool overlaps(uint64_t base, uint64_t end, uint64_t other, uint64_t other_end)
{
	return base < other_end && other < end;
}

/* Why no device may reach this range, or NULL. */
static const char *why_not(const struct choice *choice, uint64_t base, uint64_t end)
{
	if (end - base > RANGE_MAX) {
		return "it is larger than 4 GiB";
	}
	if (overlaps(base, end, LAPIC_BASE, LAPIC_END)) {
		return "a write there is an interrupt";
	}
	if (overlaps(base, end, TPM_BASE, TPM_END)) {
		return "the TPM is there";
	}
	for (uint32_t i = 0; i < choice->dmar->unit_count; i++) {
		const struct dmar_unit *unit = &choice->dmar->units[i];

		if (overlaps(base, end, unit->base, unit->base + unit->bytes)) {
			return "registers of the IOMMU are there";
		}
	}
	return choice->firmware->is_reserved(base, end)
		       ? NULL
		       : "it is not memory that firmware has reserved for good";
}

/* Lets a function reach a range. Returns false, after it has logged why, if it may not. */
static bool allow(const struct choice *choice, uint16_t source, uint64_t base, uint64_t end)
{
	struct dma_ranges *out = choice->out;
	const char *error = why_not(choice, base, end);
	const uint32_t unit = unit_of(choice, source);

	if (error == NULL && unit == DMAR_UNITS_MAX) {
		error = "no unit serves it";
	}
	if (error == NULL && out->count == DMA_RANGES_MAX) {
		error = "there are too many ranges";
	}
	if (error != NULL) {
		log_warn(
			"DMA: firmware wants the device %02x:%02x.%x to reach 0x%lx to 0x%lx; this "
			"is refused: %s",
			source >> 8, source >> 3 & 0x1f, source & 7, base, end - 1, error);
		return false;
	}
	out->list[out->count++] = (struct dma_range){ base, end, source, (uint16_t)unit, false };
	return true;
}

static void allow_scopes(const struct choice *choice, const struct dmar_reserved *range)
{
	for (uint32_t n = 0; n < range->scopes.count; n++) {
		const struct dmar_scope *scope = &choice->dmar->scopes[range->scopes.first + n];
		uint16_t source;

		if (range->segment != 0) {
			log_warn("DMA: firmware wants a device of PCI segment %u to reach 0x%lx to "
				 "0x%lx; this is refused: Umbra knows segment 0 only",
				 range->segment, range->base, range->end - 1);
		} else if (find_function(choice, scope, &source)) {
			(void)allow(choice, source, range->base, range->end);
		}
	}
}

/* --- The picture --- */

/*
 * Does the frame buffer lie in a BAR of the display? *offset: its offset in the BAR. The size of a
 * BAR cannot be read while firmware uses the BAR, but the address is a multiple of the size.
 */
static bool is_in_bar(const struct choice *choice, uint64_t address, uint64_t *offset)
{
	for (uint32_t i = 0; i < BAR_COUNT; i++) {
		const uint32_t at = PCI_BAR0 + 4 * i;
		const uint32_t bar = choice->firmware->pci_read(DISPLAY, at);
		uint64_t base = bar & BAR_ADDRESS;

		if ((bar & BAR_IO) != 0) {
			continue;
		}
		if ((bar & BAR_TYPE) == BAR_64 && i + 1 < BAR_COUNT) {
			base |= (uint64_t)choice->firmware->pci_read(DISPLAY, at + 4) << 32;
			i++;
		}
		*offset = address - base;
		if (base != 0 && address >= base &&
		    *offset < MIN(APERTURE_MAX, base & (0 - base))) {
			return true;
		}
	}
	return false;
}

/* Does one range let the display reach [base, end)? If so, marks it: the picture depends on it. */
static bool display_reaches(const struct choice *choice, uint64_t base, uint64_t end)
{
	for (size_t i = 0; i < choice->out->count; i++) {
		struct dma_range *range = &choice->out->list[i];

		if (range->source == DISPLAY && range->base <= base && range->end >= end) {
			range->picture = true;
			return true;
		}
	}
	return false;
}

/*
 * Does the display reach the first bytes of the memory that the processor has set aside for its
 * picture? How much is set aside is not read: each generation of processors says it in another way.
 */
static bool reaches_stolen(const struct choice *choice, uint64_t bytes)
{
	const uint64_t old = choice->firmware->pci_read(DISPLAY, STOLEN_BASE) & STOLEN_ADDRESS;
	const uint64_t now = (choice->firmware->pci_read(DISPLAY, STOLEN_BASE_64) &
			      STOLEN_ADDRESS) |
			     (uint64_t)choice->firmware->pci_read(DISPLAY, STOLEN_BASE_64 + 4)
				     << 32;

	return (old != 0 && display_reaches(choice, old, old + bytes)) ||
	       (now != 0 && now < BIT(52) && display_reaches(choice, now, now + bytes));
}

/* Would the picture stay if the display reached nothing but what it was allowed? */
static bool picture_stays(const struct choice *choice, const struct screen_mode *screen)
{
	const uint64_t base = ALIGN_DOWN(screen->base.v, PAGE_SIZE);
	const uint64_t bytes = 4ul * screen->pixels_per_line * screen->height;
	const uint64_t end = ALIGN_UP(screen->base.v + bytes, PAGE_SIZE);
	const uint32_t id = choice->firmware->pci_read(DISPLAY, PCI_ID) & 0xffff;
	const uint32_t class = choice->firmware->pci_read(DISPLAY, PCI_CLASS) >> 24;
	uint64_t offset;

	if (screen->base.v == 0 || id != INTEL || class != CLASS_DISPLAY) {
		return true; /* the picture is in memory of a card */
	}
	if (is_in_bar(choice, screen->base.v, &offset)) {
		return reaches_stolen(choice, ALIGN_UP(offset + bytes, PAGE_SIZE));
	}
	if (!choice->firmware->is_reserved(base, end)) {
		return true; /* another display shows it */
	}
	return display_reaches(choice, base, end) ||
	       (allow(choice, DISPLAY, base, end) && display_reaches(choice, base, end));
}

void dma_choose_ranges(const struct dmar *dmar, const struct screen_mode *screen,
		       const struct dma_firmware *firmware, struct dma_ranges *out)
{
	const struct choice choice = { dmar, firmware, out };

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < dmar->reserved_count; i++) {
		allow_scopes(&choice, &dmar->reserved[i]);
	}
	out->picture = picture_stays(&choice, screen) ? DMAR_UNITS_MAX : unit_of(&choice, DISPLAY);
}
