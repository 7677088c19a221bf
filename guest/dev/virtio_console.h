/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console (virtio 1.2, 5.3 "Console Device") with one port, Linux' /dev/hvc0. A VM has it if its
 * section says console = virtio. It and the UART write to the same console. Input goes to it once
 * its driver has supplied buffers, until the driver resets it; otherwise input goes to the UART.
 */
#ifndef UMBRA_GUEST_DEV_VIRTIO_CONSOLE_H
#define UMBRA_GUEST_DEV_VIRTIO_CONSOLE_H

#include "guest/dev/virtio.h"
#include "vmm/base/atomic.h"

struct vconsole;
struct vuart;

struct virtio_console {
	struct virtio virtio;
	struct vconsole *console;
	struct vuart *uart;
	ATOMIC(bool) listens; /* input goes to this device; poll reads it */
	ATOMIC(bool) waits;   /* output waits for room on the console; poll reads it */
};

extern const struct vdev_ops virtio_console_device;

#endif
