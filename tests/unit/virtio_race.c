/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs that use one virtio device at the same time, under ThreadSanitizer: they add requests to a
 * ring, notify, do the work, read registers and configuration space, mask vectors, take the bus
 * away from the device for a moment, change its configuration, lose it, and reset it in the middle
 * of others' turns. Two turns at once
 * are a data race on the counts in serve. In addition: no notification is lost, whichever vCPU does
 * the work; a reset ends; nothing is served twice.
 */
#include <stdio.h>
#include <string.h>

#include "guest/dev/virtio.h"
#include "guest/dev/vlapic.h"
#include "guest/platform_state.h"
#include "tests/unit/race_cpus.h"
#include "vmm/attention.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/tsc.h"
#include "vmm/console/log.h"

#define VCPUS RACE_CPUS
#define STEPS 30000u
#define SIZE  16u

#define DESC  0x1000u
#define AVAIL 0x2000u
#define USED  0x3000u

static struct vm vm;
static struct vcpu vcpus[VCPUS];
static struct platform platform;
static struct virtio device;
static uint8_t memory[0x4000] __attribute__((aligned(4096)));
static pthread_mutex_t driver = PTHREAD_MUTEX_INITIALIZER;
static uint16_t offered; /* since the last reset; under driver */
static uint64_t served;	 /* written only in turns */
static uint32_t resets;
static uint32_t flips_left; /* so many more reads of the driver's index return two values in turn */

/* --- What the device uses --- */

static uint32_t lost; /* how often "the device stops" was logged: only its first loss is */

void log_printf(enum log_level level, const char *fmt, ...)
{
	if (strstr(fmt, "the device stops") == NULL) {
		race_broken("%s", fmt);
	}
	lost++;
}

void vcpu_add_work(struct vcpu *vcpu)
{
	(void)attention_set(vcpu, ATTENTION_WORK);
}

/* Guest memory. Several CPUs write and read indices, with the memory order of x86. */
int gmem_read(struct gmem *gmem, gpa_t gpa, void *buf, size_t bytes)
{
	if (flips_left != 0 && gpa.v == AVAIL + 2) {
		*(uint16_t *)buf = --flips_left % 2;
	} else if (bytes == 2) {
		*(uint16_t *)buf = __atomic_load_n((uint16_t *)(void *)(memory + gpa.v),
						   __ATOMIC_SEQ_CST);
	} else {
		memcpy(buf, memory + gpa.v, bytes);
	}
	return 0;
}

int gmem_write(struct gmem *gmem, gpa_t gpa, const void *buf, size_t bytes)
{
	if (bytes == 2) {
		__atomic_store_n((uint16_t *)(void *)(memory + gpa.v), *(const uint16_t *)buf,
				 __ATOMIC_SEQ_CST);
	} else {
		memcpy(memory + gpa.v, buf, bytes);
	}
	return 0;
}

/* --- The device and its driver --- */

static enum virtio_step serve(struct virtio *which, uint32_t queue, struct virtio_turn *turn,
			      uint32_t *written)
{
	served++;
	turn->bytes -= MIN(turn->bytes, 16384);
	*written = 0;
	return served % 5 == 0 ? VIRTIO_MORE : VIRTIO_DONE;
}

static const struct virtio_ops ops = {
	.name = "race",
	.type = 4,
	.queues = 1,
	.config_bytes = 8,
	.serve = serve,
};

static uint64_t touch(struct vcpu *vcpu, uint32_t offset, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	iobus_memory_access(&vm.iobus, 0xc0000000 + offset, vcpu, &access);
	return access.value;
}

static void start(struct vcpu *vcpu)
{
	memset(memory, 0, sizeof(memory));
	offered = 0;
	touch(vcpu, 0x14, 1, true, 3);
	touch(vcpu, 0x08, 4, true, 1);
	touch(vcpu, 0x0c, 4, true, 1);
	touch(vcpu, 0x14, 1, true, 0xb);
	touch(vcpu, 0x16, 2, true, 0);
	touch(vcpu, 0x18, 2, true, SIZE);
	touch(vcpu, 0x1a, 2, true, 1);
	touch(vcpu, 0x20, 4, true, DESC);
	touch(vcpu, 0x28, 4, true, AVAIL);
	touch(vcpu, 0x30, 4, true, USED);
	touch(vcpu, 0x1c, 2, true, 1);
	touch(vcpu, 0x14, 1, true, 0xf);
}

static void do_work(struct vcpu *vcpu)
{
	if (attention_has(vcpu, ATTENTION_WORK) != 0 && !virtio_work(vcpu, false)) {
		(void)attention_clear(vcpu, ATTENTION_WORK);
	}
}

/* This thread's own next turn may be the one for which the reset waits. */
static void reset(struct vcpu *vcpu)
{
	touch(vcpu, 0x14, 1, true, 0);
	while (touch(vcpu, 0x14, 1, false, 0) != 0) {
		do_work(vcpu);
		race_pause();
	}
	resets++;
	start(vcpu);
}

static uint16_t used_index(void)
{
	uint16_t index;

	(void)gmem_read(&vm.gmem, gpa(USED + 2), &index, 2);
	return index;
}

static void offer(struct vcpu *vcpu)
{
	const uint16_t head = offered % SIZE;

	if ((uint16_t)(offered - used_index()) == SIZE) {
		return;
	}
	memory[DESC + 16 * head + 8] = 1;
	(void)gmem_write(&vm.gmem, gpa(AVAIL + 4 + 2u * head), &head, 2);
	offered++;
	(void)gmem_write(&vm.gmem, gpa(AVAIL + 2), &offered, 2);
	touch(vcpu, 0x800, 2, true, 0);
}

static void set_master(struct vcpu *vcpu, bool on)
{
	struct io_access access = { .size = 2, .write = true, .value = on ? 7 : 3 };

	vpci_config_access(&platform.pci, vcpu, 1 << 3, 4, &access);
}

/* The device's own configuration: its two words change together. */
static void use_config(struct vcpu *vcpu)
{
	const uint32_t word = race_random(4), words[] = { word, word };
	uint64_t read;

	virtio_set_config(&device, words, sizeof(words));
	read = touch(vcpu, 0x2000, 8, false, 0);
	if ((uint32_t)read != read >> 32) {
		race_broken("half of a configuration");
	}
}

static void step(struct vcpu *vcpu)
{
	struct io_access access = { .size = 4 };

	switch (race_random(14)) {
	case 0: touch(vcpu, 0x1000, 1, false, 0); break;
	case 1: touch(vcpu, 0x300c + 16 * race_random(2), 4, true, race_random(2)); break;
	case 2:
		access.offset = 0;
		vpci_config_access(&platform.pci, vcpu, 1 << 3, 4 * race_random(64), &access);
		break;
	case 3: touch(vcpu, 0x3800, 8, false, 0); break;
	case 4:
		access = (struct io_access){ .size = 2, .write = true };
		access.value = race_random(2) << 15;
		vpci_config_access(&platform.pci, vcpu, 1 << 3, device.msix.capability + 2u,
				   &access);
		break;
	case 5:
		if (race_random(40) == 0) {
			pthread_mutex_lock(&driver);
			if (race_random(2) == 0) {
				virtio_lose(&device, 0, "race");
			}
			reset(vcpu);
			pthread_mutex_unlock(&driver);
		}
		break;
	case 6:
		set_master(vcpu, false);
		do_work(vcpu);
		set_master(vcpu, true);
		break;
	case 7: use_config(vcpu); break;
	default:
		pthread_mutex_lock(&driver);
		offer(vcpu);
		pthread_mutex_unlock(&driver);
		break;
	}
	do_work(vcpu);
}

static void run(void)
{
	struct vcpu *vcpu = &vcpus[race_self];

	for (uint32_t i = 0; i < STEPS; i++) {
		step(vcpu);
	}
	while (attention_has(vcpu, ATTENTION_WORK) != 0) {
		do_work(vcpu);
	}
}

/* A driver whose index is another one at each look: the turn ends all the same. */
static void flip(void)
{
	const uint32_t looks = 1000001; /* take finds nothing, listen finds a chain */

	flips_left = looks;
	touch(&vcpus[0], 0x800, 2, true, 0);
	if (virtio_work(&vcpus[0], false) == 0 || looks - flips_left > 1000) {
		race_broken("a turn had no end");
	}
	flips_left = 0;
}

int main(void)
{
	vm.vcpu_count = VCPUS;
	vm.platform = &platform;
	platform.vm = &vm;
	if (vpci_init(&platform.pci, &vm, &platform.ioapic) != 0 ||
	    virtio_add(&device, &platform, &ops) != 0) {
		race_broken("no device");
	}
	for (uint32_t i = 0; i < VCPUS; i++) {
		vcpus[i] = (struct vcpu){ .vm = &vm, .id = i };
	}
	set_master(&vcpus[0], true);
	for (uint32_t i = 0; i < 2; i++) {
		touch(&vcpus[0], 0x3000 + 16 * i, 8, true, 0xfee00000);
	}
	start(&vcpus[0]);
	flip();
	race_run(run);
	printf("%lu served, %lu interrupts, %u resets\n", served, race_messages + race_pins,
	       resets);
	if (used_index() != offered) {
		race_broken("a request was forgotten, or served twice");
	}
	if (served < 1000 || race_messages + race_pins < 100 || resets < 20 || lost != 1) {
		race_broken("too little happened");
	}
	return 0;
}
