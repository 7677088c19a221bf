/* SPDX-License-Identifier: Apache-2.0 */
/* A small bzImage for tests: the fields that the loader reads, and a payload of 4 KiB. */
#ifndef UMBRA_TESTS_BZIMAGE_H
#define UMBRA_TESTS_BZIMAGE_H

#include <stdint.h>
#include <string.h>

#define BZIMAGE_SETUP_BYTES   (5u * 512u)
#define BZIMAGE_PAYLOAD_BYTES 4096u
#define BZIMAGE_BYTES	      (BZIMAGE_SETUP_BYTES + BZIMAGE_PAYLOAD_BYTES)

static inline void bzimage_put(uint8_t *image, size_t offset, uint64_t value, size_t bytes)
{
	memcpy(image + offset, &value, bytes); /* tests run on x86, which is little-endian */
}

/* Like Debian's kernels: protocol 2.15, relocatable, prefers 16 MiB, needs 32 MiB there. */
static inline void bzimage_fill(uint8_t *image)
{
	memset(image, 0, BZIMAGE_SETUP_BYTES);
	for (size_t i = 0; i < BZIMAGE_PAYLOAD_BYTES; i++) {
		image[BZIMAGE_SETUP_BYTES + i] = (uint8_t)(i * 7 + (i >> 8));
	}
	bzimage_put(image, 0x1f1, 4, 1);			  /* setup_sects */
	bzimage_put(image, 0x1f4, BZIMAGE_PAYLOAD_BYTES / 16, 4); /* syssize */
	bzimage_put(image, 0x1fe, 0xaa55, 2);			  /* boot_flag */
	bzimage_put(image, 0x200, 0x6aeb, 2);			  /* jump over the header */
	memcpy(image + 0x202, "HdrS", 4);
	bzimage_put(image, 0x206, 0x020f, 2);	  /* version */
	bzimage_put(image, 0x211, 1, 1);	  /* loadflags: LOADED_HIGH */
	bzimage_put(image, 0x22c, 0x7fffffff, 4); /* initrd_addr_max */
	bzimage_put(image, 0x230, 0x200000, 4);	  /* kernel_alignment */
	bzimage_put(image, 0x234, 1, 1);	  /* relocatable_kernel */
	bzimage_put(image, 0x236, 0x003f, 2);	  /* xloadflags */
	bzimage_put(image, 0x238, 2047, 4);	  /* cmdline_size */
	bzimage_put(image, 0x258, 0x1000000, 8);  /* pref_address */
	bzimage_put(image, 0x260, 0x2000000, 4);  /* init_size */
}

#endif
