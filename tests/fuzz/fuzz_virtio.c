/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random accesses to configuration space, registers, rings and buffers of virtio devices, in any
 * order. Whatever a driver does: each turn is bounded, work ends, MSI-X messages go to local APICs,
 * the constant parts stay constant, and a lost device does nothing until its reset.
 */
#include "tests/fuzz/fuzz.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/base/err.h"
#include "vmm/console/console.h"

static void require(bool cond)
{
	if (!cond) {
		abort();
	}
}

#define IMAGE_BLOCKS 20

static uint8_t image[IMAGE_BLOCKS * 4096] __attribute__((aligned(4096)));
static struct vm_config the_config;
static bool rng_fails;

int rng_bytes(void *buf, size_t bytes)
{
	memset(buf, 0xa5, bytes);
	return rng_fails ? ERR_IO : 0;
}

/* A console that has room and input only at times. */
static uint32_t console_state;

bool vconsole_ready(const struct vconsole *console)
{
	require(console == &platform.console);
	return (console_state++ & 0x1f) != 0;
}

void vconsole_put(struct vconsole *console, uint8_t byte)
{
	require(console == &platform.console);
}

bool vconsole_has_input(const struct vconsole *console)
{
	require(console == &platform.console);
	return (console_state & 3) != 0;
}

int vconsole_get(struct vconsole *console)
{
	require(console == &platform.console);
	return (console_state & 3) == 0 ? -1 : (console_state++ & 7) == 1 ? CONSOLE_BREAK : 'k';
}

struct vconsole_size vconsole_size(void)
{
	return (struct vconsole_size){ console_state & 7, 24 };
}

void vuart_set_deaf(struct vuart *uart, bool deaf)
{
	require(uart == &platform.com1);
}

bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	require(to == vm && msg->dest <= 0xff && !msg->wide && !msg->level &&
		msg->mode < VLAPIC_EXTINT);
	return true;
}

void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
	require(to == &platform.ioapic && pin >= GSI_PCI && pin < GSI_COUNT);
}

void vm_end(struct vm *which, enum vm_end_reason reason, const char *detail)
{
	require(false);
}

/* One step of 8 bytes. */
struct __attribute__((packed)) input {
	uint8_t what;
	uint8_t where;
	uint16_t offset;
	uint32_t value;
};

static struct virtio *device_of(const struct input *in)
{
	return platform.virtio[(in->what >> 5) % platform.virtio_count];
}

/* Accesses an offset in the BAR of one of the devices, wherever the BAR is now. */
static void touch(const struct input *in, bool write)
{
	static const uint16_t parts[] = { 0, 0, 0, 0x800, 0x1000, 0x2000, 0x3000, 0x3800 };
	struct virtio *device = device_of(in);
	const struct io_ops *ops = device->function.bars[0].range->ops;
	struct io_access access = { .size = 1u << (in->where & 3), .write = write };

	access.offset = (parts[in->where >> 2 & 7] + (in->offset & 0x7fu)) & ~(access.size - 1u);
	access.value = write ? in->value &
				       (access.size < 4 ? MASK(8 * access.size - 1, 0) : UINT64_MAX)
			     : 0;
	ops->access(device, vm->vcpus[0], &access);
}

static void config_access(const struct input *in, bool write)
{
	struct io_access access = { .size = 1u << (in->where & 3) % 3, .write = write };

	access.value = in->value & MASK(8 * access.size - 1, 0);
	vpci_config_access(&platform.pci, vm->vcpus[0], device_of(in)->number << 3,
			   (in->offset & 0xfffu) & ~(access.size - 1u), &access);
}

/* All steps of a driver's start at once, so that the code behind it is reached. */
static void start(struct virtio *device, uint32_t features)
{
	const uint64_t accept = (device->features & features) | VIRTIO_F_VERSION_1;

	vpci_config_access(&platform.pci, vm->vcpus[0], device->number << 3, 4,
			   &(struct io_access){ .size = 2, .write = true, .value = 7 });
	(void)virtio_write_status(device, 0);
	device->accepted = accept;
	(void)virtio_write_status(device, 0xb);
	for (uint32_t i = 0; i < device->ops->queues; i++) {
		struct virtio_queue *queue = &device->queues[i];

		queue->size = QUEUE_LEN;
		queue->vector.only = (uint16_t)(i + 1);
		queue->descriptors = DESC(i);
		queue->available = AVAIL(i);
		queue->used = USED(i);
		virtio_enable_queue(device, queue);
		avail_index[i] = 0;
		poke16(AVAIL(i) + 2, 0);
	}
	(void)virtio_write_status(device, 0xf);
	virtio_kick_all(device, vm->vcpus[0]);
	for (uint32_t i = 0; i < device->msix.count && (features & 1) != 0; i++) {
		device->msix.entries[i] = (struct vmsix_entry){ 0xfee00000, 0x40 + i, 0 };
	}
	vpci_config_access(
		&platform.pci, vm->vcpus[0], device->number << 3, device->msix.capability + 2u,
		&(struct io_access){
			.size = 2, .write = true, .value = (features & 1) != 0 ? 0x8000 : 0 });
}

static void poke_memory(const struct input *in)
{
	const uint32_t queue = in->where & 1;
	const uint64_t at = (in->where & 2) != 0   ? AVAIL(queue)
			    : (in->where & 4) != 0 ? USED(queue)
			    : (in->where & 8) != 0 ? BUFFER
						   : DESC(queue);

	poke(at + (in->offset & 0xff), &in->value, sizeof(in->value));
}

/* A request to a disk with a valid form: header, data, status. */
static void request(const struct input *in)
{
	static const uint32_t types[] = { 0, 1, 1, 4, 8, 11, 13, 2 };
	const uint32_t type = types[in->where & 7];
	const uint64_t sector = in->offset & 0xff;
	const struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} range = { in->value & 0xff, in->value >> 8 & 0x3f, 0 };

	poke(BUFFER, &type, 4);
	poke(BUFFER + 8, &sector, 8);
	poke(BUFFER + 4096, &range, sizeof(range));
	poke(BUFFER + 8192 + (in->value & 0xfff), &in->value, 4);
	set_desc(DESC(0), 0, BUFFER, 16, F_NEXT, 1);
	set_desc(DESC(0), 1, BUFFER + (type > 8 ? 4096 : 8192),
		 type > 8 ? 16 : (in->offset >> 8) * 512,
		 F_NEXT | (type == 0 || type == 8 ? F_WRITE : 0), 2);
	set_desc(DESC(0), 2, BUFFER + 512, 1, F_WRITE, 0);
	offer(0, 0);
	virtio_kick(device_of(in), vm->vcpus[0], 0);
}

#define IP	14
#define FRAME	(BUFFER + 12)
#define RECEIVE (BUFFER + 0x8000)

/* A frame of one port, whose headers are those of TCP or nearly so, and what it asks for. */
static void send_frame(const struct input *in)
{
	struct virtio_net *net = platform.nets[in->where & 1];
	const bool v6 = (in->where & 2) != 0;
	const struct net_header header = {
		.flags = in->where >> 4 & 1,
		.gso_type = (in->where >> 5 & 1) == 0 ? NET_GSO_NONE
			    : v6		      ? NET_GSO_TCPV6
						      : NET_GSO_TCPV4,
		.gso_size = (uint16_t)(in->value & 0x7ff),
		.csum_start = (uint16_t)((in->where & 0x40) != 0 ? in->value >> 16
					 : v6			 ? IP + 40
								 : IP + 20),
		.csum_offset = 16,
	};
	uint8_t frame[IP + 60] = { 0 };

	memcpy(frame, platform.nets[in->where >> 3 & 1]->address, 6);
	if ((in->where & 4) != 0) {
		memset(frame, 0xff, 6);
	}
	memcpy(frame + 6, net->address, 6);
	frame[11] ^= in->where >> 7;
	frame[12] = v6 ? 0x86 : 8;
	frame[13] = v6 ? 0xdd : 0;
	frame[IP] = v6 ? 0x60 : 0x45;
	frame[IP + 9] = 6;
	frame[IP + (v6 ? 40 : 20) + 12] = (uint8_t)(in->value >> 24);
	poke(BUFFER, &header, sizeof(header));
	poke(FRAME, frame, sizeof(frame));
	set_desc(DESC(1), 0, BUFFER, 12u + in->offset % 0x5000, 0, 0);
	offer(1, 0);
	virtio_kick(&net->virtio, vm->vcpus[0], 1);
}

/* A buffer to receive into, for whichever port looks. */
static void listen(const struct input *in)
{
	const uint32_t slot = in->where & 7;

	set_desc(DESC(0), slot, RECEIVE + 0x1000 * slot, in->value & 0x3fff, F_WRITE, 0);
	offer(0, (uint16_t)slot);
}

/* A descriptor: with a short buffer in RAM, or with any values. */
static void describe(const struct input *in)
{
	const uint32_t queue = in->where & 1;
	const uint64_t address = (in->where & 0x80) != 0 ? (uint64_t)in->value << 12
							 : BUFFER + (in->value & 0xffff);

	set_desc(DESC(queue), in->where >> 1 & 7, address, in->value >> 16, in->offset & 7,
		 in->offset >> 8 & 7);
	if ((in->where & 0x40) != 0) {
		offer(queue, in->where >> 1 & 7);
	}
}

/* What a vCPU does that leaves its CPU, and then until no work is left; time advances. */
static void work_to_the_end(void)
{
	unsigned turns = 0;

	(void)virtio_work(vm->vcpus[0], true);
	while (virtio_work(vm->vcpus[0], false)) {
		fake_tsc += 1000;
		require(++turns < 100000);
	}
}

static void check(const struct virtio *device)
{
	const uint8_t *config = device->function.config;

	require(config[0] == 0xf4 && config[1] == 0x1a && config[0x3d] == 1);
	require(device->busy == 0 && !device->reset_waits.only);
	require((device->status.only & 0x4) == 0 || (device->status.only & 0x8) != 0);
	require((device->accepted & ~device->features) == 0 || (device->status.only & 0x8) == 0);
	for (uint32_t i = 0; i < device->ops->queues; i++) {
		require(device->queues[i].size <= VRING_SIZE_MAX && device->queues[i].size != 0);
		require(device->queues[i].chain.count <= VRING_SIZE_MAX);
	}
}

static void net_step(const struct input *in)
{
	switch (in->what & 3) {
	case 0: virtio_pause(vm, (in->value & 1) != 0); break;
	case 1: listen(in); break;
	default: send_frame(in); break;
	}
}

static void step(const struct input *in)
{
	struct virtio *device = device_of(in);
	const uint64_t requests = device->counters.requests.only;
	const bool lost = (device->status.only & 0x40) != 0;

	if ((in->what & 0x10) != 0) {
		net_step(in);
		return;
	}
	switch (in->what & 0xf) {
	case 0: config_access(in, true); break;
	case 1: config_access(in, false); break;
	case 2:
	case 3: touch(in, true); break;
	case 4: touch(in, false); break;
	case 5: poke_memory(in); break;
	case 6: start(device, in->value); break;
	case 7: virtio_kick(device, vm->vcpus[0], in->where); break;
	case 8:
		rng_fails = (in->value & 1) != 0;
		virtio_console_device.poll(&platform);
		work_to_the_end();
		require(!lost || requests == device->counters.requests.only);
		break;
	case 9:
	case 10: request(in); break;
	default: describe(in); break;
	}
	for (uint32_t i = 0; i < platform.virtio_count; i++) {
		check(platform.virtio[i]);
	}
}

static void print(const char *fmt, ...)
{
	require(strlen(fmt) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in;

	fake_reset();
	fake_tsc = 1000000;
	make_vm();
	the_config.disks[0].file = (struct vm_file){ .path = "\\i",
						     .data = image,
						     .bytes = sizeof(image) - 700 };
	the_config.disks[0].cow_bytes = 6 * 4096;
	the_config.disks[1].file = the_config.disks[0].file;
	platform.config = &the_config;
	rng_fails = false;
	require(virtio_rng_device.init(&platform) == 0);
	require(virtio_blk_device.init(&platform) == 0);
	the_config.virtio_console = true;
	console_state = 0;
	require(virtio_console_device.init(&platform) == 0);
	for (uint8_t i = 0; i < 2; i++) {
		the_config.nets[i] = (struct vm_net){ .name = "lan", .has_address = i == 0 };
	}
	the_config.nets[0].address[0] = 2;
	require(virtio_net_device.init(&platform) == 0);
	for (; bytes >= sizeof(in); data += sizeof(in), bytes -= sizeof(in)) {
		memcpy(&in, data, sizeof(in));
		step(&in);
	}
	work_to_the_end();
	(void)virtio_bytes(vm);
	virtio_print(vm, print);
	for (size_t i = 0; i < PAGE_SIZE; i++) {
		require(net_page()[i] == 0); /* nothing of a frame stays */
	}
	virtio_net_device.destroy(&platform);
	virtio_blk_device.destroy(&platform);
	disk_forget(&the_config);
	end_vm();
	for (size_t i = 0; i < sizeof(image); i++) {
		require(image[i] == 0); /* the image is never written */
	}
	return 0;
}
