/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs with a network device each, for tests: two on one net, one on another; what their drivers do.
 */
#ifndef UMBRA_TESTS_NET_DRIVER_H
#define UMBRA_TESTS_NET_DRIVER_H

#include "tests/unit/test.h"
#include "guest/dev/vlapic.h"
#include "tests/unit/virtio_driver.h"
#include "vmm/base/err.h"
#include "vmm/base/tsc.h"

#define VMS	  3
#define RX	  NET_QUEUE_RECEIVE
#define TX	  NET_QUEUE_TRANSMIT
#define RX_BUFFER 0x60000ul
#define RX_STRIDE 0x4000ul
#define FRAME	  80u /* bytes of a frame whose length does not matter */
#define ALL                                                                                      \
	(NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_HOST_TSO4 | \
	 NET_F_HOST_TSO6 | NET_F_MRG_RXBUF)

static struct vm vms[VMS];
static struct vcpu vcpus[VMS];
static struct platform platforms[VMS];
static struct vm_config configs[VMS];
static uint16_t avail[VMS][VIRTIO_QUEUES_MAX];
static unsigned current, messages[VMS];
static uint8_t frame[NET_GSO_MAX], got[NET_GSO_MAX + 12];

bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	messages[to - vms]++;
	return true;
}

/* Called at each look at the clock, to change guest memory as another vCPU may. */
static void (*meanwhile)(void);

uint64_t fake_rdtsc(void)
{
	if (meanwhile != NULL) {
		meanwhile();
	}
	return fake_tsc;
}

/* --- Drivers --- */

/* The VM that is driven from here on. */
static inline void use(unsigned n)
{
	memcpy(avail[current], avail_index, sizeof(avail_index));
	current = n;
	memcpy(avail_index, avail[n], sizeof(avail_index));
	vm = &vms[n];
}

static inline struct virtio_net *port(unsigned n)
{
	return platforms[n].nets[0];
}

static inline void address_of(unsigned n, uint8_t *out)
{
	memcpy(out, (uint8_t[]){ 0x52, 0x54, 0, 0, 0, (uint8_t)n }, 6);
}

static inline int plug(unsigned n, const char *net)
{
	struct vm_config *config = &configs[n];

	memset(config, 0, sizeof(*config));
	strcpy(config->nets[0].name, net);
	config->nets[0].has_address = true;
	address_of(n, config->nets[0].address);
	platforms[n].config = config;
	return virtio_net_device.init(&platforms[n]);
}

static inline void drive_with(unsigned n, uint64_t features)
{
	use(n);
	set_reg(0x14, 1, 0);
	drive(features, 2);
	use_messages(&port(n)->virtio);
}

static inline int setup(void **state)
{
	int err = fake_setup(state);
	char name[2] = "a";

	meanwhile = NULL;
	for (unsigned n = 0; n < VMS; n++, name[0]++) {
		memset(&vms[n], 0, sizeof(vms[n]));
		vcpus[n] = (struct vcpu){ .vm = &vms[n] };
		vms[n].vcpus[0] = &vcpus[n];
		vms[n].vcpu_count = 1;
		furnish_vm(&vms[n], &platforms[n], name);
		err |= plug(n, n < 2 ? "lan" : "other");
		drive_with(n, 0);
		messages[n] = 0;
	}
	return err;
}

static inline int teardown(void **state)
{
	for (unsigned n = 0; n < VMS; n++) {
		virtio_net_device.destroy(&platforms[n]);
		use(n);
		end_vm();
	}
	return fake_teardown(state);
}

/* Buffers for n to receive into. */
static inline void listen(unsigned n, unsigned count, uint32_t bytes)
{
	use(n);
	for (unsigned i = 0; i < count; i++) {
		const uint16_t slot = avail_index[RX] % QUEUE_LEN;

		set_desc(DESC(RX), slot, RX_BUFFER + RX_STRIDE * slot, bytes, F_WRITE, 0);
		offer(RX, slot);
	}
	notify(RX);
	(void)work();
}

/* The frame's addresses, from n to this one. */
static inline void address(unsigned n, unsigned to)
{
	address_of(to, frame);
	address_of(n, frame + 6);
}

static inline void send(unsigned n, struct net_header header, uint32_t bytes)
{
	use(n);
	poke(BUFFER, &header, sizeof(header));
	poke(BUFFER + 12, frame, bytes);
	set_desc(DESC(TX), 0, BUFFER, 12 + bytes, 0, 0);
	offer(TX, 0);
	notify(TX);
	(void)work();
}

/* Sends a plain frame. */
static inline void send_plain(unsigned n, uint32_t bytes)
{
	send(n, (struct net_header){ .gso_type = NET_GSO_NONE }, bytes);
}

/* The nth used entry of n's receive queue; what its buffer holds is copied to got + at. */
static inline uint32_t take(unsigned n, unsigned entry, uint32_t at)
{
	const uint64_t used = USED(RX) + 4 + 8ul * (entry % QUEUE_LEN);
	uint32_t id, bytes;

	use(n);
	id = (uint32_t)peek(used, 4);
	bytes = (uint32_t)peek(used + 4, 4);
	assert_in_range(bytes, 0, sizeof(got) - at);
	if (gmem_read(&vm->gmem, gpa(RX_BUFFER + RX_STRIDE * id), got + at, bytes) != 0) {
		fail();
	}
	return bytes;
}

static inline unsigned arrived(unsigned n)
{
	use(n);
	return used_index(RX);
}

static inline uint32_t status(unsigned n)
{
	use(n);
	return (uint32_t)reg(0x14, 1);
}

#endif
