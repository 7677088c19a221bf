/* SPDX-License-Identifier: Apache-2.0 */
/* Who drives a USB host controller once boot services have ended: nobody, or firmware. */
#ifndef UMBRA_BOOT_USB_OWNER_H
#define UMBRA_BOOT_USB_OWNER_H

#include "vmm/base/types.h"

/*
 * function: of class 0C03H, as in pci_config.h. True when firmware holds the controller's legacy
 * semaphore, or what older kinds have in its place: then it emulates a PS/2 keyboard by it. False
 * where that cannot be seen. Maps registers for good (host_map_io). Boot processor, on our page
 * tables.
 */
bool usb_is_firmwares(uint32_t function);

#endif
