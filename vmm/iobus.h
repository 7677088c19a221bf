/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where devices live: ranges of ports and of guest-physical addresses, each with one const ops
 * table. vmm never names a device; guest/ registers them while the VM is built, and the bus is
 * read-only from then on, so a lookup takes no lock. Devices lock themselves.
 */
#ifndef UMBRA_VMM_IOBUS_H
#define UMBRA_VMM_IOBUS_H

#include "vmm/base/types.h"

struct vcpu;

enum io_space {
	IO_SPACE_PORT,
	IO_SPACE_MEMORY,
};

/* One access, with the address already relative to the range. */
struct io_access {
	uint64_t offset;
	uint32_t size; /* 1, 2, 4 or 8 bytes; the access lies wholly within the range */
	bool write;
	uint64_t value; /* written (above size: zero), or filled in (above size: not looked at) */
};

struct io_ops {
	const char *name;
	/* Reads fill in access->value. Cannot fail: hardware answers something to everything. */
	void (*access)(void *device, struct vcpu *vcpu, struct io_access *access);
};

#define IOBUS_RANGE_MAX 32

struct iobus_range {
	uint64_t base;
	uint64_t length;
	const struct io_ops *ops;
	void *device;
};

struct iobus {
	struct iobus_range ranges[2][IOBUS_RANGE_MAX]; /* by enum io_space, sorted by base */
	uint32_t range_count[2];
	uint8_t port_first[256]; /* by port / 256: index of the first range that ends there or later
				  */
};

/* ERR_EXISTS on overlap, ERR_NOMEM when full, ERR_INVAL when empty or wrapping. */
int iobus_add(struct iobus *bus, enum io_space space, uint64_t base, uint64_t length,
	      const struct io_ops *ops, void *device);

/*
 * Does one access; access->offset is filled in here. One that nobody owns, or that crosses a
 * range's end, reads all ones and writes nothing.
 */
void iobus_port_access(const struct iobus *bus, uint16_t port, struct vcpu *vcpu,
		       struct io_access *access);
void iobus_memory_access(const struct iobus *bus, uint64_t address, struct vcpu *vcpu,
			 struct io_access *access);

/* Does a device own any byte of these, which do not wrap? */
bool iobus_memory_overlaps(const struct iobus *bus, uint64_t address, uint64_t bytes);

/*
 * For who keeps the range of one access for the next: where the address lies, or NULL; a range
 * stays as it is while the VM lives. iobus_range_holds says whether it takes the whole access.
 */
const struct iobus_range *iobus_memory_range(const struct iobus *bus, uint64_t address);

static inline bool iobus_range_holds(const struct iobus_range *range, uint64_t address,
				     uint32_t size)
{
	uint64_t offset = address - range->base;

	return offset < range->length && range->length - offset >= size;
}

static inline void iobus_range_access(const struct iobus_range *range, uint64_t address,
				      struct vcpu *vcpu, struct io_access *access)
{
	access->offset = address - range->base;
	range->ops->access(range->device, vcpu, access);
}

#endif
