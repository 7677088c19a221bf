/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share as a PCI function with doorbells. It has the registers of QEMU's inter-VM shared memory
 * device, revision 1 (QEMU, docs/specs/ivshmem-spec.rst). BAR 0 has the registers, BAR 1 the MSI-X
 * table, BAR 2 is the shared memory. While a guest has MSI-X disabled, it gets interrupts by the
 * pin, through the status and mask registers of revision 0: the user space of stock Linux has no
 * other way (uio_pci_generic).
 *
 * IVPosition is the number of the member in the list of the share, from 0.
 */
#ifndef UMBRA_GUEST_DEV_IVSHMEM_H
#define UMBRA_GUEST_DEV_IVSHMEM_H

#include "guest/vdev.h"

extern const struct vdev_ops ivshmem_device;

#endif
