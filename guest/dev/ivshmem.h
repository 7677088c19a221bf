/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share as a PCI function, with doorbells: the registers of QEMU's inter-VM shared memory device,
 * revision 1 (QEMU, docs/specs/ivshmem-spec.rst). BAR 0 has the registers, BAR 1 the MSI-X table,
 * BAR 2 is the shared memory. A guest that does not switch MSI-X on gets its interrupts by the pin,
 * with the status and mask registers of revision 0: stock user space has no other way
 * (uio_pci_generic).
 *
 * A member's number in the list of the share is its IVPosition.
 */
#ifndef UMBRA_GUEST_DEV_IVSHMEM_H
#define UMBRA_GUEST_DEV_IVSHMEM_H

#include "guest/vdev.h"

extern const struct vdev_ops ivshmem_device;

#endif
