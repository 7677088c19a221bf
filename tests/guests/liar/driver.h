/* SPDX-License-Identifier: Apache-2.0 */
/* A driver of virtio devices over PCI, which is honest; main.c changes what it does. */
#ifndef UMBRA_TEST_GUEST_LIAR_DRIVER_H
#define UMBRA_TEST_GUEST_LIAR_DRIVER_H

#include "tests/guests/common/guest.h"

#define RNG  1 /* numbers of the PCI devices */
#define DISK 2
#define HVC  3 /* the console: its transmit queue */
#define NET  4 /* its transmit queue */
#define PEER 5 /* its receive queue */

#define QUEUE	8
#define SECTORS 49152ull

#define DESC_NEXT     1
#define DESC_WRITE    2
#define DESC_INDIRECT 4

#define LOST	       0x4f /* device status */
#define USED_BY_DRIVER 0x0f

/* One ring for each device, and buffers. */
struct desc {
	uint64_t address;
	uint32_t bytes;
	uint16_t flags, next;
};

struct ring {
	struct desc desc[QUEUE] __attribute__((aligned(4096)));
	struct desc table[QUEUE + 2];
	struct {
		uint16_t flags, index, entry[QUEUE], event;
	} available __attribute__((aligned(4096)));
	struct {
		uint16_t flags, index;
		struct {
			uint32_t id, bytes;
		} entry[QUEUE];
		uint16_t event;
	} used __attribute__((aligned(4096)));
	uint8_t data[8192] __attribute__((aligned(4096)));
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	uint8_t status;
};
extern struct ring rings[6];

extern uint32_t device; /* the device that the lie is about */
extern struct ring *ring;

/* Dwords of a function's configuration space, and its memory BAR. */
uint32_t config(uint32_t which, uint32_t at);
void set_config(uint32_t which, uint32_t at, uint32_t value);
volatile uint8_t *bar_of(uint32_t which);

#define REG8(offset)  (*(bar_of(device) + (offset)))
#define REG16(offset) (*(volatile uint16_t *)(bar_of(device) + (offset)))
#define REG32(offset) (*(volatile uint32_t *)(bar_of(device) + (offset)))

/* Makes this device the one that the functions below are about. */
void choose(uint32_t which);
uint16_t queue(void);
/* Notifies the device, so that it looks at its queue. */
void notify(void);
/*
 * Waits until the request is done or the device is lost, at most a little longer than the 1 ms that
 * Umbra may wait for more frames of NET while this vCPU runs. Other devices work at once.
 */
void wait_for_turn(void);

/* The steps of a driver's start; drive() is all of them. */
void reset(void);
void accept(uint64_t features);
void set_up_queue(void);
void drive(void);

void set_desc(struct desc *desc, const volatile void *at, uint32_t bytes, uint16_t flags,
	      uint16_t next);
void offer(uint16_t head);
/* Puts a request into descriptors 0 to 2. */
void make_request(uint32_t type, uint64_t sector, uint32_t bytes, uint16_t data_flags);
/* Header, addresses and 60 bytes, in NET's data. */
#define FRAME 86u
void make_frame(void);

/* Starts the device and makes a request that it must serve. */
void be_honest(const char *lie);

#endif
