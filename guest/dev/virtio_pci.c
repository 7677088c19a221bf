/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio over PCI (virtio 1.2, 4.1): capabilities, BARs and registers. The notification registers
 * are in an I/O BAR, because an access to a port needs no instruction decoding, and in the memory
 * BAR as well. The capability of the I/O BAR comes first. Configuration space has a third way to
 * reach the BARs (4.1.4.9).
 *
 * Only accesses with a register's full width have an effect; a 64-bit register is accessed in two
 * halves. Other accesses read all ones. The address of a notification says which queue it is for.
 */
#include "guest/dev/virtio.h"
#include "guest/platform_state.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"

#define VENDOR	      0x1af4
#define DEVICE_FIRST  0x1040 /* plus the device type */
#define REVISION      1
#define CAPABILITY_ID 0x09
#define NO_VECTOR     0xffff

#define MEMORY_BAR   0
#define MEMORY_BYTES 0x4000
#define IO_BAR	     4
#define IO_BYTES     32

/* Offsets in the memory BAR. */
#define AT_COMMON     0x0000
#define AT_NOTIFY     0x0800
#define AT_ISR	      0x1000
#define AT_DEVICE     0x2000
#define AT_TABLE      0x3000
#define AT_PENDING    0x3800
#define PART	      0x0800u /* each part has this size, or twice as much */
#define COMMON_BYTES  0x3a
#define NOTIFY_STRIDE 4
_Static_assert(VIRTIO_QUEUES_MAX *NOTIFY_STRIDE <= IO_BYTES, "a port for each queue");

enum capability_type {
	TYPE_COMMON = 1,
	TYPE_NOTIFY,
	TYPE_ISR,
	TYPE_DEVICE,
	TYPE_WINDOW,
};

/* 4.1.4.3 "Common configuration structure layout". */
enum common {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	DEVICE_STATUS = 0x14,
	CONFIG_GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	NOTIFY_DATA = 0x38,
};

static uint32_t width_of(uint32_t offset)
{
	switch (offset) {
	case DEVICE_FEATURE_SELECT:
	case DEVICE_FEATURE:
	case DRIVER_FEATURE_SELECT:
	case DRIVER_FEATURE:
	case QUEUE_DESC:
	case QUEUE_DESC + 4:
	case QUEUE_DRIVER:
	case QUEUE_DRIVER + 4:
	case QUEUE_DEVICE:
	case QUEUE_DEVICE + 4: return 4;
	case CONFIG_VECTOR:
	case NUM_QUEUES:
	case QUEUE_SELECT:
	case QUEUE_SIZE:
	case QUEUE_VECTOR:
	case QUEUE_ENABLE:
	case QUEUE_NOTIFY_OFF:
	case NOTIFY_DATA: return 2;
	case DEVICE_STATUS:
	case CONFIG_GENERATION: return 1;
	default: return 0;
	}
}

/* Returns the 64-bit register to which this offset belongs, or NULL. */
static uint64_t *address_register(struct virtio_queue *queue, uint32_t offset)
{
	switch (offset & ~7u) {
	case QUEUE_DESC: return &queue->descriptors;
	case QUEUE_DRIVER: return &queue->available;
	case QUEUE_DEVICE: return &queue->used;
	default: return NULL;
	}
}

static uint32_t half_of(uint64_t value, uint32_t high)
{
	return (uint32_t)(high != 0 ? value >> 32 : value);
}

static void set_half(uint64_t *value, uint32_t high, uint32_t half)
{
	const uint64_t kept = high != 0 ? *value & MASK(31, 0) : *value & MASK(63, 32);

	*value = kept | (uint64_t)half << (high != 0 ? 32 : 0);
}

/* Returns the selected queue, or NULL if the device does not have it. */
static struct virtio_queue *selected(struct virtio *device)
{
	return device->selected < device->ops->queues ? &device->queues[device->selected] : NULL;
}

static uint32_t read_queue(struct virtio *device, uint32_t offset)
{
	struct virtio_queue *queue = selected(device);
	const uint64_t *address;

	if (queue == NULL) {
		return 0; /* also the size: 0 says that the queue does not exist */
	}
	switch (offset) {
	case QUEUE_SIZE: return queue->size;
	case QUEUE_VECTOR: return atomic_load_relaxed(&queue->vector);
	case QUEUE_ENABLE: return atomic_load_relaxed(&queue->enabled);
	case QUEUE_NOTIFY_OFF: return device->selected;
	default: break;
	}
	address = address_register(queue, offset);
	return address != NULL ? half_of(*address, offset & 4) : 0;
}

static uint32_t read_common(struct virtio *device, uint32_t offset)
{
	const uint32_t *select = device->feature_select;

	switch (offset) {
	case DEVICE_FEATURE_SELECT: return select[0];
	case DEVICE_FEATURE: return select[0] < 2 ? half_of(device->features, select[0]) : 0;
	case DRIVER_FEATURE_SELECT: return select[1];
	case DRIVER_FEATURE: return select[1] < 2 ? half_of(device->accepted, select[1]) : 0;
	case CONFIG_VECTOR: return device->config_vector;
	case NUM_QUEUES: return device->ops->queues;
	case DEVICE_STATUS: return atomic_load_relaxed(&device->status);
	case CONFIG_GENERATION: return device->generation;
	case QUEUE_SELECT: return device->selected;
	default: return read_queue(device, offset);
	}
}

static uint16_t vector_or_none(const struct virtio *device, uint32_t vector)
{
	return vector < device->msix.count ? (uint16_t)vector : NO_VECTOR;
}

/*
 * After the queue is enabled, the driver can change only the vector: a turn may read the other
 * fields.
 */
static void write_queue(struct virtio *device, uint32_t offset, uint32_t value)
{
	struct virtio_queue *queue = selected(device);
	uint64_t *address;

	if (queue == NULL || (atomic_load_relaxed(&queue->enabled) && offset != QUEUE_VECTOR)) {
		return;
	}
	address = address_register(queue, offset);
	if (address != NULL) {
		set_half(address, offset & 4, value);
	} else if (offset == QUEUE_SIZE && value != 0 && value <= VRING_SIZE_MAX &&
		   (value & (value - 1)) == 0) {
		queue->size = (uint16_t)value;
	} else if (offset == QUEUE_VECTOR) {
		atomic_store_relaxed(&queue->vector, vector_or_none(device, value));
	} else if (offset == QUEUE_ENABLE && value == 1) {
		virtio_enable_queue(device, queue);
	}
}

static void write_common(struct virtio *device, uint32_t offset, uint32_t value)
{
	const uint32_t half = device->feature_select[1];

	switch (offset) {
	case DEVICE_FEATURE_SELECT: device->feature_select[0] = value; break;
	case DRIVER_FEATURE_SELECT: device->feature_select[1] = value; break;
	case DRIVER_FEATURE: virtio_accept(device, half, value); break;
	case CONFIG_VECTOR: device->config_vector = vector_or_none(device, value); break;
	case QUEUE_SELECT: device->selected = (uint16_t)value; break;
	default: write_queue(device, offset, value); break;
	}
}

static uint64_t all_ones(uint32_t size)
{
	return size < 8 ? MASK(8 * size - 1, 0) : UINT64_MAX;
}

static void access_common(struct virtio *device, struct vcpu *vcpu, uint32_t offset,
			  struct io_access *access)
{
	if (width_of(offset) != access->size) {
		access->value = all_ones(access->size);
	} else if (access->write && offset == DEVICE_STATUS) {
		if (virtio_write_status(device, (uint8_t)access->value)) {
			virtio_kick_all(device, vcpu);
		}
	} else {
		lock_take(&device->lock, LOCK_VIRTIO);
		if (access->write) {
			write_common(device, offset, (uint32_t)access->value);
		} else {
			access->value = read_common(device, offset);
		}
		lock_drop(&device->lock);
	}
}

/* Reading ISR clears it and deasserts the pin. */
static void access_isr(struct virtio *device, struct io_access *access)
{
	if (access->write) {
		return;
	}
	lock_take(&device->lock, LOCK_VIRTIO);
	access->value = device->isr;
	device->isr = 0;
	vpci_set_intx(&device->function, false);
	lock_drop(&device->lock);
}

static void access_config(struct virtio *device, uint32_t offset, struct io_access *access)
{
	uint64_t value = 0;

	lock_take(&device->lock, LOCK_VIRTIO);
	for (uint32_t i = 0; i < access->size && !access->write; i++) {
		if (offset + i < device->ops->config_bytes) {
			value |= (uint64_t)device->config[offset + i] << 8 * i;
		}
	}
	lock_drop(&device->lock);
	access->value = value;
}

static void access_notify(struct virtio *device, struct vcpu *vcpu, uint32_t offset,
			  struct io_access *access)
{
	if (access->write && offset % NOTIFY_STRIDE == 0) {
		virtio_kick(device, vcpu, offset / NOTIFY_STRIDE);
	} else if (!access->write) {
		access->value = 0;
	}
}

static void access_memory(void *opaque, struct vcpu *vcpu, struct io_access *access)
{
	struct virtio *device = opaque;
	const uint32_t offset = (uint32_t)access->offset;

	switch (offset & ~(PART - 1)) {
	case AT_COMMON: access_common(device, vcpu, offset, access); break;
	case AT_NOTIFY: access_notify(device, vcpu, offset - AT_NOTIFY, access); break;
	case AT_ISR: access_isr(device, access); break;
	case AT_DEVICE: access_config(device, offset - AT_DEVICE, access); break;
	case AT_TABLE: vmsix_table(&device->msix, offset - AT_TABLE, access); break;
	case AT_PENDING: vmsix_pending(&device->msix, offset - AT_PENDING, access); break;
	default: access->value = 0; break;
	}
}

static void access_port(void *opaque, struct vcpu *vcpu, struct io_access *access)
{
	access_notify(opaque, vcpu, (uint32_t)access->offset, access);
}

static const struct io_ops memory_ops = { .name = "virtio", .access = access_memory };
static const struct io_ops port_ops = { .name = "virtio notification", .access = access_port };

/* --- Configuration space --- */

/* 4.1.4 "Virtio Structure PCI Capabilities": the part after id and link. */
struct capability {
	uint8_t bytes, type, bar, id, padding[2];
	uint32_t offset, length;
	uint32_t last; /* for notify the stride, for the window the data */
} __attribute__((packed));
_Static_assert(sizeof(struct capability) == 18, "virtio 1.2, 4.1.4");

/* Offsets in the window's capability. */
#define WINDOW_BAR    4
#define WINDOW_OFFSET 8
#define WINDOW_LENGTH 12
#define WINDOW_DATA   16

static struct virtio *device_of(struct vpci_function *function)
{
	return (struct virtio *)((uint8_t *)function - offsetof(struct virtio, function));
}

static void written(struct vpci_function *function, uint32_t offset, uint32_t size)
{
	vmsix_written(&device_of(function)->msix, offset, size);
}

/*
 * While the function was not a bus master, vCPUs dropped the work whose turn came. So all queues
 * are looked at again.
 */
static void mastered(struct vpci_function *function, struct vcpu *vcpu)
{
	struct virtio *device = device_of(function);

	if (virtio_runs(device)) {
		virtio_kick_all(device, vcpu);
	}
}

static uint32_t config32(const struct vpci_function *function, uint32_t at)
{
	const uint8_t *bytes = &function->config[at];

	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

/*
 * 4.1.4.9 "PCI configuration access capability": an access to its data field is an access to the
 * BAR and offset that the capability's registers name, if they are valid.
 */
static bool access_window(struct vpci_function *function, struct vcpu *vcpu, uint32_t at,
			  struct io_access *access)
{
	struct virtio *device = device_of(function);
	uint32_t bar, offset, length, end;

	if (at != (uint32_t)device->window + WINDOW_DATA) {
		return false;
	}
	lock_take(&function->pci->lock, LOCK_PCI);
	bar = function->config[device->window + WINDOW_BAR];
	offset = config32(function, device->window + WINDOW_OFFSET);
	length = config32(function, device->window + WINDOW_LENGTH);
	lock_drop(&function->pci->lock);
	end = bar == MEMORY_BAR ? MEMORY_BYTES : bar == IO_BAR ? IO_BYTES : 0;
	if (length != access->size || offset >= end || (offset & (length - 1)) != 0) {
		return false;
	}
	access->offset = offset;
	if (bar == MEMORY_BAR) {
		access_memory(device, vcpu, access);
	} else {
		access_port(device, vcpu, access);
	}
	return true;
}

static uint8_t add_capability(struct virtio *device, enum capability_type type, uint8_t bar,
			      uint32_t offset, uint32_t length)
{
	const bool longer = type == TYPE_NOTIFY || type == TYPE_WINDOW;
	const size_t bytes = longer ? sizeof(struct capability) : offsetof(struct capability, last);
	const struct capability body = {
		.bytes = (uint8_t)(bytes + 2),
		.type = (uint8_t)type,
		.bar = bar,
		.offset = offset,
		.length = length,
		.last = type == TYPE_NOTIFY ? NOTIFY_STRIDE : 0,
	};

	return vpci_add_capability(&device->function, CAPABILITY_ID, &body, bytes);
}

/* A driver uses the first capability of each type that it supports. */
static void add_capabilities(struct virtio *device)
{
	const uint32_t notify_bytes = device->ops->queues * NOTIFY_STRIDE;

	(void)add_capability(device, TYPE_COMMON, MEMORY_BAR, AT_COMMON, COMMON_BYTES);
	(void)add_capability(device, TYPE_NOTIFY, IO_BAR, 0, notify_bytes);
	(void)add_capability(device, TYPE_NOTIFY, MEMORY_BAR, AT_NOTIFY, notify_bytes);
	(void)add_capability(device, TYPE_ISR, MEMORY_BAR, AT_ISR, 1);
	if (device->ops->config_bytes != 0) {
		(void)add_capability(device, TYPE_DEVICE, MEMORY_BAR, AT_DEVICE,
				     device->ops->config_bytes);
	}
	device->window = add_capability(device, TYPE_WINDOW, 0, 0, 0);
	device->function.writable[device->window + WINDOW_BAR] = 0xff;
	for (uint32_t i = WINDOW_OFFSET; i < WINDOW_DATA + 4; i++) {
		device->function.writable[device->window + i] = 0xff;
	}
	vmsix_init(&device->msix, &device->function, device->ops->queues + 1, MEMORY_BAR, AT_TABLE,
		   AT_PENDING);
}

static int add_function(struct virtio *device, struct vpci *pci)
{
	const struct vpci_identity identity = {
		.vendor = VENDOR,
		.device = (uint16_t)(DEVICE_FIRST + device->ops->type),
		.subsystem_vendor = VENDOR,
		.subsystem = (uint16_t)(DEVICE_FIRST + device->ops->type),
		.class_code = device->ops->class_code,
		.revision = REVISION,
		.interrupt_pin = 1,
	};
	int err = vpci_add(pci, device->number, &device->function, &device->function_ops,
			   &identity);

	if (err == 0) {
		err = vpci_add_bar(&device->function, MEMORY_BAR, VPCI_BAR_MEMORY64, MEMORY_BYTES,
				   &memory_ops, device);
	}
	if (err == 0) {
		err = vpci_add_bar(&device->function, IO_BAR, VPCI_BAR_IO, IO_BYTES, &port_ops,
				   device);
	}
	return err;
}

int virtio_add(struct virtio *device, struct platform *platform, const struct virtio_ops *ops)
{
	int err;

	if (platform->virtio_count == VIRTIO_MAX) {
		return ERR_NOMEM;
	}
	device->ops = ops;
	device->vm = platform->vm;
	device->index = platform->virtio_count;
	device->number = device->index + 1;
	device->features |= ops->features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT |
			    VIRTIO_F_EVENT_INDEX;
	device->function_ops = (struct vpci_function_ops){
		.name = ops->name,
		.written = written,
		.intercept = access_window,
		.mastered = mastered,
	};
	err = add_function(device, &platform->pci);
	if (err == 0) {
		add_capabilities(device);
		virtio_reset(device);
		platform->virtio[platform->virtio_count++] = device;
	}
	return err;
}
