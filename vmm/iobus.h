/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of ports and of guest-physical addresses that belong to devices, each with a const ops
 * table. vmm does not know the devices; guest/ registers them while the VM is built. After that
 * only the bases of movable ranges change, under a sequence counter, so a lookup takes no lock.
 * Devices lock themselves, and are freed only with the VM, because an access that was looked up
 * before a move may reach its device after the move.
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

/* One access, with an offset relative to the range. */
struct io_access {
	uint64_t offset;
	uint32_t size; /* 1, 2, 4 or 8 bytes; the access lies wholly within the range */
	bool write;
	/* The written value (zero above size), or the read value (bits above size are ignored). */
	uint64_t value;
};

struct io_ops {
	const char *name;
	/*
	 * Does the access; reads set access->value. Cannot fail, because hardware always answers.
	 */
	void (*access)(void *device, struct vcpu *vcpu, struct io_access *access);
};

#define IOBUS_RANGE_MAX 32

struct iobus_range {
	uint64_t base;
	uint64_t length;
	const struct io_ops *ops;
	void *device;
};

/* A range whose place the guest sets, as for a PCI base address register. */
struct iobus_movable {
	ATOMIC(uint64_t) base; /* base and on change under iobus.move_sequence */
	uint64_t length;
	const struct io_ops *ops;
	void *device;
	ATOMIC(bool) on;
};

#define IOBUS_MOVABLE_MAX 32

struct iobus {
	struct iobus_range ranges[2][IOBUS_RANGE_MAX]; /* by enum io_space, sorted by base */
	uint32_t range_count[2];
	uint8_t port_first[256]; /* by port / 256: index of the first range that ends there or
				  * later */
	/* By enum io_space, in the order in which they were added. */
	struct iobus_movable movable[2][IOBUS_MOVABLE_MAX];
	uint32_t movable_count[2];
	/* For one move at a time; no other lock is taken under it. */
	struct lock move_lock;
	ATOMIC(uint32_t) move_sequence; /* odd while a range moves */
};

/*
 * Adds a fixed range. Returns ERR_EXISTS on overlap, ERR_NOMEM when full, ERR_INVAL when empty or
 * wrapping.
 */
int iobus_add(struct iobus *bus, enum io_space space, uint64_t base, uint64_t length,
	      const struct io_ops *ops, void *device);

/*
 * Adds a movable range of that length, which has no place yet. Only while the VM is built. Returns
 * NULL when the bus is full. The range lives as long as the bus.
 */
struct iobus_movable *iobus_add_movable(struct iobus *bus, enum io_space space, uint64_t length,
					const struct io_ops *ops, void *device);

/*
 * Moves a range, or turns it off. Where ranges overlap, a fixed range answers before a movable one,
 * and a movable range that was added earlier before a later one. A range that would wrap is off.
 * Any CPU, while others look up; takes move_lock.
 */
void iobus_move(struct iobus *bus, struct iobus_movable *range, uint64_t base, bool on);

/*
 * Does one access, and sets access->offset. An access without a device, or one that crosses a
 * range's end, reads all ones and ignores writes.
 */
void iobus_port_access(const struct iobus *bus, uint16_t port, struct vcpu *vcpu,
		       struct io_access *access);
void iobus_memory_access(const struct iobus *bus, uint64_t address, struct vcpu *vcpu,
			 struct io_access *access);

/* Does any of these bytes belong to a device? The range does not wrap. */
bool iobus_memory_overlaps(const struct iobus *bus, uint64_t address, uint64_t bytes);

/*
 * For code that remembers the range of one access for the next. iobus_memory_range returns the
 * fixed range that contains the address, or NULL; it does not change while the VM lives.
 * iobus_range_holds: does the range contain the whole access?
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
