/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of virtio devices, for tests: 1 MiB of guest memory, the VM's PCI bus, and a driver's
 * accesses to registers and rings. The file that includes this defines vlapic_deliver and
 * vioapic_set_line.
 */
#ifndef UMBRA_TESTS_VIRTIO_DRIVER_H
#define UMBRA_TESTS_VIRTIO_DRIVER_H

#include <stdlib.h>
#include <string.h>

#include "guest/dev/virtio.h"
#include "guest/platform_state.h"
#include "tests/unit/fake_base.h"
#include "tests/unit/fake_vcpu.h"
#include "tests/unit/gmem_end.h"

#define RAM_BYTES 0x100000ul
#define MEM_BAR	  0xc0000000ul
#define PORT_BAR  0x1000
#ifndef QUEUE_LEN
#define QUEUE_LEN 8
#endif

/* Addresses of queue q, and of buffers. */
#define DESC(q)	 (0x10000ul + 0x4000 * (q))
#define AVAIL(q) (DESC(q) + 0x1000)
#define USED(q)	 (DESC(q) + 0x2000)
#define BUFFER	 0x40000ul

#define F_NEXT	   1
#define F_WRITE	   2
#define F_INDIRECT 4

static struct platform platform;
static struct vm *vm;
static uint16_t avail_index[VIRTIO_QUEUES_MAX];

static inline void poke(uint64_t at, const void *bytes, size_t count)
{
	if (gmem_write(&vm->gmem, gpa(at), bytes, count) != 0) {
		abort();
	}
}

static inline void poke16(uint64_t at, uint16_t value)
{
	poke(at, &value, sizeof(value));
}

static inline uint64_t peek(uint64_t at, size_t count)
{
	uint64_t value = 0;

	if (gmem_read(&vm->gmem, gpa(at), &value, count) != 0) {
		abort();
	}
	return value;
}

static inline uint64_t memory(uint64_t offset, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	iobus_memory_access(&vm->iobus, MEM_BAR + offset, vm->vcpus[0], &access);
	return access.value;
}

static inline uint64_t reg(uint32_t offset, uint32_t size)
{
	return memory(offset, size, false, 0);
}

static inline void set_reg(uint32_t offset, uint32_t size, uint64_t value)
{
	(void)memory(offset, size, true, value);
}

static inline uint64_t pci_config(uint32_t at, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	vpci_config_access(&platform_of(vm)->pci, vm->vcpus[0], 1 << 3, at, &access);
	return access.value;
}

/* Notifies through the port. */
static inline void notify(uint32_t queue)
{
	struct io_access access = { .size = 2, .write = true, .value = queue };

	iobus_port_access(&vm->iobus, (uint16_t)(PORT_BAR + 4 * queue), vm->vcpus[0], &access);
}

static inline void set_desc(uint64_t table, uint32_t index, uint64_t address, uint32_t bytes,
			    uint16_t flags, uint16_t next)
{
	const uint64_t at = table + 16ul * index;

	poke(at, &address, 8);
	poke(at + 8, &bytes, 4);
	poke16(at + 12, flags);
	poke16(at + 14, next);
}

/* Makes the chain that begins at head available. */
static inline void offer(uint32_t queue, uint16_t head)
{
	poke16(AVAIL(queue) + 4 + 2ul * (avail_index[queue] % QUEUE_LEN), head);
	poke16(AVAIL(queue) + 2, ++avail_index[queue]);
}

static inline uint16_t used_index(uint32_t queue)
{
	return (uint16_t)peek(USED(queue) + 2, 2);
}

/* Works until nothing is left to do. Returns how many turns it took. */
static inline unsigned work(void)
{
	unsigned turns = 0;

	while (virtio_work(vm->vcpus[0], false)) {
		turns++;
	}
	return turns + 1;
}

static inline void set_up_queue(uint32_t queue)
{
	avail_index[queue] = 0;
	poke16(AVAIL(queue) + 2, 0);
	poke16(USED(queue) + 2, 0);
	set_reg(0x16, 2, queue);
	set_reg(0x18, 2, QUEUE_LEN);
	set_reg(0x1a, 2, queue + 1);
	set_reg(0x20, 4, DESC(queue));
	set_reg(0x28, 4, AVAIL(queue));
	set_reg(0x30, 4, USED(queue));
	set_reg(0x1c, 2, 1);
}

static inline void accept_features(uint64_t features)
{
	set_reg(0x14, 1, 1 | 2);
	for (uint32_t half = 0; half < 2; half++) {
		set_reg(0x08, 4, half);
		set_reg(0x0c, 4, (uint32_t)(features >> 32 * half));
	}
	set_reg(0x14, 1, 1 | 2 | 8);
}

/* Starts the device as a driver does; features in addition to VERSION_1. */
static inline void drive(uint64_t features, uint32_t queues)
{
	pci_config(4, 2, true, 7);
	accept_features(features | VIRTIO_F_VERSION_1);
	for (uint32_t i = 0; i < queues; i++) {
		set_up_queue(i);
	}
	set_reg(0x14, 1, 1 | 2 | 8 | 4);
	(void)work();
}

/* Programs each MSI-X vector n as interrupt 0x40 + n, and enables MSI-X. */
static inline void use_messages(const struct virtio *device)
{
	for (uint32_t i = 0; i < device->msix.count; i++) {
		set_reg(0x3000 + 16 * i, 8, 0xfee00000);
		set_reg(0x3000 + 16 * i + 8, 8, 0x40 + i);
	}
	pci_config(device->msix.capability + 2u, 2, true, 0x8000);
}

/*
 * Gives a VM of one vCPU its memory and bus, and makes it the VM that the functions of this file
 * access (`vm`).
 */
static inline void furnish_vm(struct vm *which, struct platform *with, const char *name)
{
	vm = which;
	memset(with, 0, sizeof(*with));
	memset(&vm->iobus, 0, sizeof(vm->iobus));
	strcpy(vm->name, name);
	vm->platform = with;
	with->vm = vm;
	ept_configure(&(struct ept_caps){ .phys_bits = 40 });
	if (gmem_init(&vm->gmem) != 0 ||
	    gmem_add_ram_plain(&vm->gmem, gpa(0), RAM_BYTES, PAGE_SIZE) != 0 ||
	    vpci_init(&with->pci, vm, &with->ioapic) != 0) {
		abort();
	}
}

/* An empty VM of one vCPU. */
static inline void make_vm(void)
{
	furnish_vm(fake_vm_make(1), &platform, "m");
}

static inline void end_vm(void)
{
	gmem_end(&vm->gmem);
}

#endif
