/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of a VM's disk: an image from the stick, which is never changed, and an overlay with
 * all that the VM has written. The overlay's frames are reserved when it is made, so that a VM that
 * has started never lacks them. The overlay lies in DRAM as AES-256-XTS ciphertext under its own
 * key, with a new tweak for each write of a block. It survives a reset of the VM and is freed when
 * the VM ends for good.
 *
 * There is one user at a time: the device's turn, or the boot processor while no vCPU runs. Blocks
 * have 4 KiB.
 */
#ifndef UMBRA_GUEST_DISK_H
#define UMBRA_GUEST_DISK_H

#include "guest/vm_config.h"

#define DISK_BLOCK  4096u
#define DISK_SECTOR 512u

struct disk_overlay;

struct disk {
	const struct vm_disk *config;
	uint64_t sectors;
	struct disk_overlay *overlay; /* NULL: the disk is read-only */
};

/*
 * Opens the disk of this configuration. With `cow` it has an overlay: the one of an earlier start,
 * or a new, empty one. Returns ERR_NOMEM if memory or a place in the table is lacking, ERR_AGAIN if
 * memory of a VM that ended will be free later, or an error of rng_bytes. Boot processor, while the
 * VM is built.
 */
int disk_open(const struct vm_disk *config, struct disk *out);

/*
 * Frees the overlays of this configuration and wipes their keys. For when its VM has ended for
 * good.
 */
void disk_forget(const struct vm_config *config);

/*
 * Reads a block that begins on the disk. Bytes beyond the disk's end read as zeros. page is aligned
 * to 64 bytes. Returns ERR_NOMEM if a frame of the overlay is not available.
 */
int disk_read(const struct disk *disk, uint64_t block, void *page);

/*
 * Writes a block to the overlay; page holds ciphertext afterwards. A block of zeros takes no
 * memory. Returns ERR_NOSPACE if the overlay is full (the block is then unchanged), or ERR_NOMEM as
 * disk_read.
 */
int disk_write(const struct disk *disk, uint64_t block, void *page);

/* Makes a block read as zeros and frees its slot. Errors as disk_read. */
int disk_zero(const struct disk *disk, uint64_t block);

/* Bytes of the overlay that are in use, and its size; both 0 without an overlay. Any CPU. */
void disk_usage(const struct disk *disk, uint64_t *used, uint64_t *bytes);

#endif
