/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a launch reads from the stick, and in which order. Pure C without firmware: on the build
 * host, `make image` asks the same code.
 */
#ifndef UMBRA_BOOT_LAUNCH_H
#define UMBRA_BOOT_LAUNCH_H

#include "boot/config.h"

#define LAUNCH_CONFIG	   "\\umbra\\umbra.conf"
#define LAUNCH_CONFIG_NAME "umbra.conf"
#define LAUNCH_CONFIG_MAX  (64ul << 10) /* bytes */
#define LAUNCH_MANIFEST	   "\\umbra\\manifest"
#define LAUNCH_SIGNATURE   "\\umbra\\manifest.sig"
#define LAUNCH_FILE_MAX	   (4ul << 30) /* the largest file of FAT */

/*
 * Reads the files that each valid VM names, in the order of the sections and in each: kernel,
 * initrd, disks. What another VM has read already is not read again. If read(file, max) fails, that
 * is logged with file->error, and the VM is no longer valid.
 */
void launch_read_files(struct config *config, int (*read)(struct vm_file *file, uint64_t max));

#endif
