/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out whether firmware still drives a USB host controller after the end of boot services. */
#ifndef UMBRA_BOOT_USB_OWNER_H
#define UMBRA_BOOT_USB_OWNER_H

#include "vmm/base/types.h"

/*
 * Returns whether firmware holds the controller's legacy semaphore, or its equivalent on older
 * kinds: it then emulates a PS/2 keyboard. Returns false if that cannot be seen. function has class
 * 0C03H; its form is that of pci_config.h. The mapping of the registers stays (host_map_io). Boot
 * processor, on our page tables.
 */
bool usb_is_firmwares(uint32_t function);

#endif
