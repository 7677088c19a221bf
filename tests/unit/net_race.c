/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs that send to each other while one of them is paused, reset by its driver, or destroyed and
 * built again, under ThreadSanitizer. CPU 0 is the boot processor, each other one runs a VM with
 * one vCPU. A VM's memory is read and written without atomics, so it is a data race if a CPU
 * touches it while the VM is paused, or if two CPUs touch it at once. In addition, each frame that
 * arrives must be one that was sent to this VM, unchanged.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/wipe.h"
#include "guest/dev/virtio_net.h"
#include "guest/dev/vlapic.h"
#include "guest/platform_state.h"
#include "tests/unit/race_cpus.h"
#include "vmm/base/err.h"

#define VMS	 3u /* VM n is on CPU n + 1 */
#define ROUNDS	 400u
#define SIZE	 16u
#define BUFFER	 0x400u
#define DESC(q)	 (0x1000u + 0x3000 * (q))
#define AVAIL(q) (DESC(q) + 0x1000)
#define USED(q)	 (DESC(q) + 0x2000)
#define DATA(q)	 (0x8000u + SIZE * BUFFER * (q))
#define MEMORY	 (0x8000u + 2 * SIZE * BUFFER)
#define FEATURES (NET_F_CSUM | NET_F_HOST_TSO4 | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_INDEX)

static struct side {
	struct vm vm;
	struct vcpu vcpu;
	struct platform platform;
	struct vm_config config;
	uint8_t memory[MEMORY] __attribute__((aligned(8)));
	/* Of its vCPU. */
	uint16_t offered[2], seen;
	uint32_t sent;
	bool starts; /* its driver has nothing yet */
	bool works;  /* there is device work */
	/* As in vm_pause, and in a CPU's claim of a vCPU. */
	bool stop, on_cpu;
} sides[VMS];

static bool over;
static uint64_t received, segments, resets, pauses, lives;

/* --- What the devices stand on --- */

static struct side *side_of(const struct gmem *gmem)
{
	return (struct side *)((uint8_t *)(uintptr_t)gmem - offsetof(struct vm, gmem) -
			       offsetof(struct side, vm));
}

int gmem_read(struct gmem *gmem, gpa_t gpa, void *buf, size_t bytes)
{
	const uint8_t *from = side_of(gmem)->memory + gpa.v;

	if (gpa.v + bytes > MEMORY) {
		return ERR_RANGE;
	}
	if (bytes == 2) {
		*(uint16_t *)buf = __atomic_load_n((const uint16_t *)(const void *)from,
						   __ATOMIC_SEQ_CST);
	} else {
		memcpy(buf, from, bytes);
	}
	return 0;
}

int gmem_write(struct gmem *gmem, gpa_t gpa, const void *buf, size_t bytes)
{
	uint8_t *to = side_of(gmem)->memory + gpa.v;

	if (gpa.v + bytes > MEMORY) {
		return ERR_RANGE;
	}
	if (bytes == 2) {
		__atomic_store_n((uint16_t *)(void *)to, *(const uint16_t *)buf, __ATOMIC_SEQ_CST);
	} else {
		memcpy(to, buf, bytes);
	}
	return 0;
}

void vcpu_add_work(struct vcpu *vcpu)
{
	((struct side *)((uint8_t *)vcpu - offsetof(struct side, vcpu)))->works = true;
}

/* --- Drivers --- */

static uint64_t touch(struct side *side, uint32_t offset, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	iobus_memory_access(&side->vm.iobus, 0xc0000000 + offset, &side->vcpu, &access);
	return access.value;
}

static void set(struct side *side, uint32_t offset, uint32_t size, uint64_t value)
{
	(void)touch(side, offset, size, true, value);
}

static void start(struct side *side)
{
	side->starts = false;
	memset(side->memory, 0, MEMORY);
	side->offered[0] = side->offered[1] = side->seen = 0;
	vpci_config_access(&side->platform.pci, NULL, 1 << 3, 4,
			   &(struct io_access){ .size = 2, .write = true, .value = 7 });
	set(side, 0x14, 1, 3);
	for (uint32_t half = 0; half < 2; half++) {
		set(side, 0x08, 4, half);
		set(side, 0x0c, 4, (uint32_t)(FEATURES >> 32 * half));
	}
	set(side, 0x14, 1, 0xb);
	for (uint32_t q = 0; q < 2; q++) {
		set(side, 0x16, 2, q);
		set(side, 0x18, 2, SIZE);
		set(side, 0x20, 4, DESC(q));
		set(side, 0x28, 4, AVAIL(q));
		set(side, 0x30, 4, USED(q));
		set(side, 0x1c, 2, 1);
	}
	set(side, 0x14, 1, 0xf);
}

static void do_work(struct side *side)
{
	atomic_store_relaxed(&side->vcpu.state, race_random(4) == 0 ? VCPU_RUNNABLE : VCPU_HALTED);
	side->works = side->works && virtio_work(&side->vcpu, false) != 0;
}

/*
 * The reset waits while a sender uses the receive queue. The turn that ends the wait may be this
 * VM's own, so it does its work meanwhile.
 */
static void reset(struct side *side)
{
	set(side, 0x14, 1, 0);
	while (touch(side, 0x14, 1, false, 0) != 0) {
		do_work(side);
		race_pause();
	}
	race_count(&resets);
	start(side);
}

static uint16_t used_index(struct side *side, uint32_t q)
{
	uint16_t index;

	(void)gmem_read(&side->vm.gmem, gpa(USED(q) + 2), &index, 2);
	return index;
}

static bool has_room(struct side *side, uint32_t q)
{
	return (uint16_t)(side->offered[q] - used_index(side, q)) < SIZE;
}

static uint8_t *data(struct side *side, uint32_t q, uint32_t slot)
{
	return side->memory + DATA(q) + slot * BUFFER;
}

/* The slot of the next chain, which begins in the buffer of the same number. */
static void offer(struct side *side, uint32_t q, uint32_t bytes, uint16_t flags)
{
	const uint16_t slot = side->offered[q] % SIZE;
	const struct {
		uint64_t address;
		uint32_t bytes;
		uint16_t flags, next;
	} desc = { DATA(q) + slot * BUFFER, bytes, flags, 0 };

	memcpy(side->memory + DESC(q) + 16 * slot, &desc, sizeof(desc));
	(void)gmem_write(&side->vm.gmem, gpa(AVAIL(q) + 4 + 2u * slot), &slot, 2);
	side->offered[q]++;
	(void)gmem_write(&side->vm.gmem, gpa(AVAIL(q) + 2), &side->offered[q], 2);
	set(side, 0x800 + 4 * q, 2, q);
}

#define IP	14u
#define TCP	34u
#define HEADERS 54u
#define PAYLOAD 900u
#define MSS	300u

/* Bytes that only this frame has; a segment's begin at its TCP sequence number. */
static uint8_t pattern(uint32_t from, uint32_t at)
{
	return (uint8_t)(from * 85 + at * 7);
}

static void send(struct side *side)
{
	const uint32_t from = (uint32_t)(side - sides), to = race_random(VMS + 2);
	uint8_t *buffer = data(side, 1, side->offered[1] % SIZE), *frame = buffer + 12;
	struct net_header header = { .gso_type = NET_GSO_NONE };

	if (!has_room(side, 1)) {
		return;
	}
	memset(frame, 0, HEADERS);
	frame[0] = 0x02;
	frame[5] = (uint8_t)to;
	if (to > VMS) {
		memset(frame, 0xff, 6);
	}
	frame[6] = 0x02;
	frame[11] = (uint8_t)from;
	memcpy(frame + 12, (uint8_t[]){ 8, 0, 0x45 }, 3);
	frame[IP + 9] = 6;
	frame[TCP + 12] = 0x50;
	for (uint32_t i = 0; i < PAYLOAD; i++) {
		frame[HEADERS + i] = pattern(from, i);
	}
	if (race_random(2) == 0) {
		header = (struct net_header){ 1, NET_GSO_TCPV4, 0, MSS, TCP, 16, 0 };
	}
	memcpy(buffer, &header, sizeof(header));
	side->sent++;
	offer(side, 1, 12 + HEADERS + PAYLOAD, 0);
}

static void check_frame(struct side *side, const uint8_t *frame, uint32_t bytes)
{
	const uint32_t from = frame[11], at = (uint32_t)frame[TCP + 6] << 8 | frame[TCP + 7];

	if (from >= VMS || &sides[from] == side || frame[6] != 0x02 ||
	    (frame[0] != 0xff && frame[5] != side - sides)) {
		race_broken("a frame from %u came to VM %u", from, (uint32_t)(side - sides));
	}
	if (bytes != HEADERS + PAYLOAD && bytes != HEADERS + MSS) {
		race_broken("a frame of %u bytes", bytes);
	}
	for (uint32_t i = 0; i < bytes - HEADERS; i++) {
		if (frame[HEADERS + i] != pattern(from, at + i)) {
			race_broken("a frame has bytes that were not sent");
		}
	}
	race_count(bytes == HEADERS + MSS ? &segments : &received);
}

static void receive(struct side *side)
{
	while (side->seen != used_index(side, 0)) {
		struct {
			uint32_t id, bytes;
		} used;

		memcpy(&used, side->memory + USED(0) + 4 + 8 * (side->seen % SIZE), sizeof(used));
		check_frame(side, data(side, 0, used.id) + 12, used.bytes - 12);
		side->seen++;
	}
	while ((uint16_t)(side->offered[0] - side->seen) < SIZE && race_random(8) != 0) {
		offer(side, 0, BUFFER, 2);
	}
}

static void step(struct side *side)
{
	if (side->starts) {
		start(side);
	}
	switch (race_random(8)) {
	case 0:
	case 1: receive(side); break;
	case 2:
		if (race_random(60) == 0) {
			reset(side);
		}
		break;
	case 3: (void)touch(side, 0x1000, 1, false, 0); break;
	default: send(side); break;
	}
	do_work(side);
}

static void run_vcpu(struct side *side)
{
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		__atomic_store_n(&side->on_cpu, true, __ATOMIC_SEQ_CST);
		if (!__atomic_load_n(&side->stop, __ATOMIC_SEQ_CST)) {
			step(side);
		}
		__atomic_store_n(&side->on_cpu, false, __ATOMIC_SEQ_CST);
		race_pause();
	}
}

/* --- The boot processor --- */

static void build(struct side *side)
{
	const uint32_t n = (uint32_t)(side - sides);

	memset(&side->vm, 0, sizeof(side->vm));
	memset(&side->platform, 0, sizeof(side->platform));
	side->vm.platform = &side->platform;
	side->vm.vcpu_count = 1;
	(void)snprintf(side->vm.name, sizeof(side->vm.name), "%u", n);
	side->vcpu = (struct vcpu){ .vm = &side->vm };
	side->platform.vm = &side->vm;
	side->platform.config = &side->config;
	side->config.nets[0] = (struct vm_net){ .name = "lan", .has_address = true };
	side->config.nets[0].address[0] = 0x02;
	side->config.nets[0].address[5] = (uint8_t)n;
	side->starts = true;
	side->works = false;
	if (vpci_init(&side->platform.pci, &side->vm, &side->platform.ioapic) != 0 ||
	    virtio_net_device.init(&side->platform) != 0) {
		race_broken("no device");
	}
}

static uint32_t sum(const struct side *side)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < MEMORY; i++) {
		total = total * 31 + side->memory[i];
	}
	return total;
}

static void look_at_paused(struct side *side)
{
	uint32_t before;

	virtio_pause(&side->vm, true);
	before = sum(side);
	for (uint32_t i = 0; i < 20; i++) {
		race_pause();
	}
	if (sum(side) != before) {
		race_broken("something came to a VM that is paused");
	}
	pauses++;
	virtio_pause(&side->vm, false);
}

static void build_again(struct side *side)
{
	virtio_net_device.destroy(&side->platform);
	memset(side->memory, 0xdd, MEMORY);
	lives++;
	build(side);
}

static void run_boot_processor(void)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct side *side = &sides[race_random(VMS)];

		__atomic_store_n(&side->stop, true, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&side->on_cpu, __ATOMIC_SEQ_CST)) {
			race_pause();
		}
		if (race_random(2) == 0) {
			look_at_paused(side);
		} else {
			build_again(side);
		}
		__atomic_store_n(&side->stop, false, __ATOMIC_SEQ_CST);
		for (uint32_t k = 0; k < 200; k++) {
			race_pause();
		}
	}
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
}

static void run(void)
{
	if (race_self == 0) {
		run_boot_processor();
	} else {
		run_vcpu(&sides[race_self - 1]);
	}
}

int main(void)
{
	for (uint32_t n = 0; n < VMS; n++) {
		build(&sides[n]);
	}
	race_run(run);
	printf("%lu frames and %lu segments received, %lu resets, %lu pauses, %lu lives, %lu "
	       "interrupts\n",
	       received, segments, resets, pauses, lives, race_messages + race_pins);
	if (received < 1000 || segments < 1000 || resets < 20 || pauses < 50 || lives < 50) {
		race_broken("too little happened");
	}
	return 0;
}
