/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus: two sorted arrays of fixed ranges, and two short arrays of movable ranges, which are
 * searched after those. All are filled while a VM is built, and later read without a lock.
 */
#include "vmm/iobus.h"
#include "vmm/base/err.h"
#include "vmm/base/waits.h"

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

struct iobus_movable *iobus_add_movable(struct iobus *bus, enum io_space space, uint64_t length,
					const struct io_ops *ops, void *device)
{
	struct iobus_movable *range;

	if (length == 0 || bus->movable_count[space] == IOBUS_MOVABLE_MAX) {
		return NULL;
	}
	range = &bus->movable[space][bus->movable_count[space]++];
	*range = (struct iobus_movable){ .length = length, .ops = ops, .device = device };
	return range;
}

/*
 * Each store is a release. So a reader that sees (acquire) a new base or a new `on` finds the
 * counter odd, or changed, when it reads it the second time.
 */
void iobus_move(struct iobus *bus, struct iobus_movable *range, uint64_t base, bool on)
{
	uint64_t last;

	if (__builtin_add_overflow(base, range->length - 1, &last)) {
		on = false;
	}
	lock_take(&bus->move_lock, LOCK_IOBUS);
	atomic_add_own(&bus->move_sequence, 1);
	atomic_store_release(&range->base, base);
	atomic_store_release(&range->on, on);
	atomic_store_release(&bus->move_sequence, atomic_load_relaxed(&bus->move_sequence) + 1);
	lock_drop(&bus->move_lock);
}

/* The first movable range that has a byte of [first, last], with its current base; or NULL. */
static const struct iobus_movable *scan_movable(const struct iobus *bus, enum io_space space,
						uint64_t first, uint64_t last, uint64_t *base)
{
	const struct iobus_movable *range = bus->movable[space];
	const struct iobus_movable *end = range + bus->movable_count[space];

	for (; range < end; range++) {
		*base = atomic_load_acquire(&range->base);
		if (atomic_load_acquire(&range->on) && *base <= last &&
		    first <= *base + (range->length - 1)) {
			return range;
		}
	}
	return NULL;
}

/* Waits until no CPU moves a range, and returns the even number that the counter has then. */
static uint32_t wait_for_move(const struct iobus *bus)
{
	const uint64_t began = waits_begin();
	uint32_t sequence;

	do {
		__builtin_ia32_pause();
		sequence = atomic_load_acquire(&bus->move_sequence);
	} while ((sequence & 1) != 0);
	waits_end(WAIT_OTHER, began);
	return sequence;
}

/*
 * As scan_movable, but consistent. Without the counter a reader could pass range A before A moves
 * to an address, and range B after B has left that address: it would find no range, although at
 * each moment one was there. Moves are exits of vCPUs, so the loop ends soon.
 */
static __attribute__((noinline)) const struct iobus_movable *find_movable(
	const struct iobus *bus, enum io_space space, uint64_t first, uint64_t last, uint64_t *base)
{
	const struct iobus_movable *range;
	uint32_t sequence;

	do {
		sequence = atomic_load_acquire(&bus->move_sequence);
		if ((sequence & 1) != 0) {
			sequence = wait_for_move(bus);
		}
		range = scan_movable(bus, space, first, last, base);
	} while (atomic_load_relaxed(&bus->move_sequence) != sequence);
	return range;
}

/* The range that contains the address, or NULL. Searches from index `first` on. */
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

/* No fixed range contains the address: a movable range, or none. */
static __attribute__((noinline)) void access_movable(const struct iobus *bus, enum io_space space,
						     uint64_t address, struct vcpu *vcpu,
						     struct io_access *access)
{
	uint64_t base;
	const struct iobus_movable *range = find_movable(bus, space, address, address, &base);

	if (range != NULL && range->length - (address - base) >= access->size) {
		access->offset = address - base;
		range->ops->access(range->device, vcpu, access);
	} else if (!access->write) {
		access->value = MASK(8 * access->size - 1, 0);
	}
}

static inline void access_range(const struct iobus *bus, enum io_space space,
				const struct iobus_range *range, uint64_t address,
				struct vcpu *vcpu, struct io_access *access)
{
	if (range == NULL) {
		access_movable(bus, space, address, vcpu, access);
	} else if (iobus_range_holds(range, address, access->size)) {
		iobus_range_access(range, address, vcpu, access);
	} else if (!access->write) {
		access->value = MASK(8 * access->size - 1, 0);
	}
}

void iobus_port_access(const struct iobus *bus, uint16_t port, struct vcpu *vcpu,
		       struct io_access *access)
{
	uint32_t first = bus->port_first[port >> 8];

	access_range(bus, IO_SPACE_PORT, find(bus, IO_SPACE_PORT, first, port), port, vcpu, access);
}

void iobus_memory_access(const struct iobus *bus, uint64_t address, struct vcpu *vcpu,
			 struct io_access *access)
{
	access_range(bus, IO_SPACE_MEMORY, find(bus, IO_SPACE_MEMORY, 0, address), address, vcpu,
		     access);
}

bool iobus_memory_overlaps(const struct iobus *bus, uint64_t address, uint64_t bytes)
{
	const uint64_t last = address + bytes - 1;
	uint64_t base;

	return overlaps(bus, IO_SPACE_MEMORY, address, last) ||
	       find_movable(bus, IO_SPACE_MEMORY, address, last, &base) != NULL;
}

const struct iobus_range *iobus_memory_range(const struct iobus *bus, uint64_t address)
{
	return find(bus, IO_SPACE_MEMORY, 0, address);
}
