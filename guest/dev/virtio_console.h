/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console (virtio 1.2, 5.3 "Console Device") with one port, Linux' /dev/hvc0, where the VM's
 * section says console = virtio. It and the UART write to the same place. What is typed comes to
 * it from when its driver has given it buffers, until it is reset; else to the UART.
 */
#ifndef UMBRA_GUEST_DEV_VIRTIO_CONSOLE_H
#define UMBRA_GUEST_DEV_VIRTIO_CONSOLE_H

#include "guest/dev/virtio.h"

struct vconsole;
struct vuart;

struct virtio_console {
	struct virtio virtio;
	struct vconsole *console;
	struct vuart *uart;
	bool listens; /* what is typed is ours; atomic for poll */
	bool waits;   /* for room on the console; atomic */
};

extern const struct vdev_ops virtio_console_device;

#endif
