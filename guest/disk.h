/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM's disk holds: an image of the stick, which stays as it was read, and on top of it what
 * the VM has written (the overlay). The overlay's frames are reserved when it is made, so that a
 * VM that started never runs out of what it was promised. It lies in DRAM as AES-256-XTS
 * ciphertext under a key of its own, each block under a tweak that is used once. It stays when the
 * VM is reset, and ends with it.
 *
 * One user at a time: the device's turn, or the boot processor while no vCPU runs. Blocks of 4 KiB.
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
	struct disk_overlay *overlay; /* NULL: it is read-only */
};

/*
 * The disk of this configuration, with an overlay where it has `cow`: the one that is there since
 * an earlier start, else an empty one. ERR_NOMEM, ERR_AGAIN as gmem_add_ram_plain; what rng_bytes
 * says. Boot processor, while the VM is built.
 */
int disk_open(const struct vm_disk *config, struct disk *out);

/* The VMs of this configuration have ended for good: frees its overlays, wipes their keys. */
void disk_forget(const struct vm_config *config);

/*
 * A block that begins on the disk; what lies behind its end reads as zeros. ERR_NOMEM: a frame of
 * the overlay could not be had. page is aligned to 64 bytes.
 */
int disk_read(const struct disk *disk, uint64_t block, void *page);

/*
 * The same to an overlay; page holds ciphertext after it. A block of zeros takes no memory.
 * ERR_NOSPACE: the overlay is full, the block is as it was.
 */
int disk_write(const struct disk *disk, uint64_t block, void *page);

/* Makes a block zeros and frees what it took. Errors as disk_read. */
int disk_zero(const struct disk *disk, uint64_t block);

/* Bytes of the overlay that are in use, of how many; 0 of 0 without one. Any CPU. */
void disk_usage(const struct disk *disk, uint64_t *used, uint64_t *bytes);

#endif
