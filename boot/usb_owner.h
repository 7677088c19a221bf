/* SPDX-License-Identifier: Apache-2.0 */
/* Finds out whether firmware still drives a USB host controller after the end of boot services. */
#ifndef UMBRA_BOOT_USB_OWNER_H
#define UMBRA_BOOT_USB_OWNER_H

#include "vmm/base/types.h"

/*
 * Returns whether firmware uses the controller to emulate a PS/2 keyboard. The controller's legacy
 * semaphore shows that, or other bits on kinds without a semaphore. Returns false if the
 * registers cannot be read. function is as in pci_config.h, and has class 0C03H. The registers stay
 * mapped (host_map_io). Boot processor, on our page tables.
 */
bool usb_is_firmwares(uint32_t function);

#endif
