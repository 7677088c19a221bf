/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where devices live: ranges of ports and of guest-physical addresses, each with one const ops
 * table. vmm never names a device; guest/ registers them while the VM is built. From then on only
 * the bases of movable ranges change, under a sequence counter, so a lookup takes no lock. Devices
 * lock themselves, and are freed with the VM alone: an access that was looked up before a move may
 * reach its device after it.
 */
#ifndef UMBRA_VMM_IOBUS_H
#define UMBRA_VMM_IOBUS_H

#include "vmm/base/atomic.h"
#include "vmm/base/lock.h"
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

/* A range that a guest places, as a PCI base address register does. */
struct iobus_movable {
	ATOMIC(uint64_t) base; /* it and on change under iobus.move_sequence */
	uint64_t length;
	const struct io_ops *ops;
	void *device;
	ATOMIC(bool) on;
};

#define IOBUS_MOVABLE_MAX 32

struct iobus {
	struct iobus_range ranges[2][IOBUS_RANGE_MAX]; /* by enum io_space, sorted by base */
	uint32_t range_count[2];
	uint8_t port_first[256]; /* by port / 256: index of the first range that ends there or later
				  */
	struct iobus_movable movable[2][IOBUS_MOVABLE_MAX]; /* by enum io_space, as added */
	uint32_t movable_count[2];
	struct lock move_lock;		/* one move at a time; a leaf */
	ATOMIC(uint32_t) move_sequence; /* odd while a range moves */
};

/* ERR_EXISTS on overlap, ERR_NOMEM when full, ERR_INVAL when empty or wrapping. */
int iobus_add(struct iobus *bus, enum io_space space, uint64_t base, uint64_t length,
	      const struct io_ops *ops, void *device);

/*
 * A range of that length that is nowhere yet. Only while the VM is built: NULL when the bus is
 * full. It lives as long as the bus.
 */
struct iobus_movable *iobus_add_movable(struct iobus *bus, enum io_space space, uint64_t length,
					const struct io_ops *ops, void *device);

/*
 * Moves a range of the bus, or takes it off. Where ranges overlap, a fixed one answers before a
 * movable one, and the movable one that was added first before others. A range that would wrap is
 * off. Any CPU, while others look up; takes move_lock.
 */
void iobus_move(struct iobus *bus, struct iobus_movable *range, uint64_t base, bool on);

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
 * For who keeps the range of one access for the next: the fixed range in which the address lies,
 * or NULL; it stays as it is while the VM lives. iobus_range_holds says whether it takes the whole
 * access.
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
