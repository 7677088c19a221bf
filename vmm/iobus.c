/* SPDX-License-Identifier: Apache-2.0 */
/* The bus: two sorted arrays of ranges. Filled while a VM is built, read without a lock after. */
#include "vmm/iobus.h"
#include "vmm/base/err.h"

static void index_ports(struct iobus *bus)
{
	const struct iobus_range *ranges = bus->ranges[IO_SPACE_PORT];
	uint32_t at = 0;

	for (uint32_t page = 0; page < ARRAY_COUNT(bus->port_first); page++) {
		while (at < bus->range_count[IO_SPACE_PORT] &&
		       ranges[at].base + ranges[at].length <= page << 8) {
			at++;
		}
		bus->port_first[page] = (uint8_t)at;
	}
}

static bool overlaps(const struct iobus *bus, enum io_space space, uint64_t first, uint64_t last)
{
	const struct iobus_range *ranges = bus->ranges[space];

	for (uint32_t i = 0; i < bus->range_count[space]; i++) {
		if (ranges[i].base <= last && first <= ranges[i].base + ranges[i].length - 1) {
			return true;
		}
	}
	return false;
}

int iobus_add(struct iobus *bus, enum io_space space, uint64_t base, uint64_t length,
	      const struct io_ops *ops, void *device)
{
	struct iobus_range *ranges = bus->ranges[space];
	uint64_t last = base + length - 1;
	uint32_t at;

	if (length == 0 || last < base || (space == IO_SPACE_PORT && last > UINT16_MAX)) {
		return ERR_INVAL;
	}
	if (overlaps(bus, space, base, last)) {
		return ERR_EXISTS;
	}
	if (bus->range_count[space] == IOBUS_RANGE_MAX) {
		return ERR_NOMEM;
	}
	for (at = bus->range_count[space]++; at > 0 && ranges[at - 1].base > base; at--) {
		ranges[at] = ranges[at - 1];
	}
	ranges[at] = (struct iobus_range){ base, length, ops, device };
	index_ports(bus);
	return 0;
}

/* The range that holds the address, or NULL. Looks from the first-th range on. */
static inline const struct iobus_range *find(const struct iobus *bus, enum io_space space,
					     uint32_t first, uint64_t address)
{
	const struct iobus_range *range = bus->ranges[space] + first;
	const struct iobus_range *end = bus->ranges[space] + bus->range_count[space];

	for (; range < end && range->base <= address; range++) {
		if (address - range->base < range->length) {
			return range;
		}
	}
	return NULL;
}

static inline void access_range(const struct iobus_range *range, uint64_t address,
				struct vcpu *vcpu, struct io_access *access)
{
	if (range != NULL && iobus_range_holds(range, address, access->size)) {
		iobus_range_access(range, address, vcpu, access);
	} else if (!access->write) {
		access->value = MASK(8 * access->size - 1, 0);
	}
}

void iobus_port_access(const struct iobus *bus, uint16_t port, struct vcpu *vcpu,
		       struct io_access *access)
{
	uint32_t first = bus->port_first[port >> 8];

	access_range(find(bus, IO_SPACE_PORT, first, port), port, vcpu, access);
}

void iobus_memory_access(const struct iobus *bus, uint64_t address, struct vcpu *vcpu,
			 struct io_access *access)
{
	access_range(find(bus, IO_SPACE_MEMORY, 0, address), address, vcpu, access);
}

bool iobus_memory_overlaps(const struct iobus *bus, uint64_t address, uint64_t bytes)
{
	return overlaps(bus, IO_SPACE_MEMORY, address, address + bytes - 1);
}

const struct iobus_range *iobus_memory_range(const struct iobus *bus, uint64_t address)
{
	return find(bus, IO_SPACE_MEMORY, 0, address);
}
