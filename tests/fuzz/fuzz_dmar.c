/* SPDX-License-Identifier: Apache-2.0 */
/* An ACPI DMAR table with any content. What dmar_parse returns must be as boot/dmar.h promises. */
#include <stdlib.h>
#include <string.h>

#include "boot/dmar.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/base/err.h"

static void check_scopes(const struct dmar *dmar, const struct dmar_scopes *list)
{
	PROMISE(list->first + list->count <= dmar->scope_count);
	for (uint32_t i = list->first; i < list->first + (uint32_t)list->count; i++) {
		const struct dmar_scope *scope = &dmar->scopes[i];

		PROMISE(scope->kind >= DMAR_SCOPE_ENDPOINT && scope->kind <= DMAR_SCOPE_NAMED);
		PROMISE(scope->hops >= 1 && scope->hops <= DMAR_HOPS_MAX);
	}
}

static void check_unit(const struct dmar *dmar, uint32_t n)
{
	const struct dmar_unit *unit = &dmar->units[n];

	PROMISE(unit->base != 0 && IS_ALIGNED(unit->base, PAGE_SIZE));
	PROMISE(unit->bytes >= PAGE_SIZE && unit->base + unit->bytes > unit->base);
	check_scopes(dmar, &unit->scopes);
	for (uint32_t other = 0; other < n; other++) {
		PROMISE(unit->base >= dmar->units[other].base + dmar->units[other].bytes ||
			unit->base + unit->bytes <= dmar->units[other].base);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static struct dmar dmar;
	uint8_t *table = malloc(bytes);
	int err;

	fake_reset();
	memcpy(table, data, bytes);
	err = dmar_parse(table, (uint32_t)bytes, &dmar);
	free(table);
	PROMISE(err == 0 || err == ERR_FORMAT);
	PROMISE((err == 0) == (dmar.unit_count != 0));
	PROMISE(err == 0 || dmar.units_left_out);
	PROMISE(dmar.unit_count <= DMAR_UNITS_MAX && dmar.reserved_count <= DMAR_RESERVED_MAX &&
		dmar.scope_count <= DMAR_SCOPES_MAX);
	for (uint32_t i = 0; i < dmar.unit_count; i++) {
		check_unit(&dmar, i);
	}
	for (uint32_t i = 0; i < dmar.reserved_count; i++) {
		const struct dmar_reserved *range = &dmar.reserved[i];

		PROMISE(range->base != 0 && range->base < range->end);
		PROMISE(IS_ALIGNED(range->base | range->end, PAGE_SIZE));
		check_scopes(&dmar, &range->scopes);
	}
	return 0;
}
