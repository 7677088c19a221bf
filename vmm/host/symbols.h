/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the hypervisor's functions, also of static ones and those in NASM files, for dumps. */
#ifndef UMBRA_HOST_SYMBOLS_H
#define UMBRA_HOST_SYMBOLS_H

#include "vmm/base/types.h"

struct symbol {
	const char *name;
	uint32_t start; /* of the function, as an offset in the image */
};

/*
 * Finds the function that holds the byte at this offset in the image's code: the last function that
 * starts at or before it. Returns false when the image has no table, or no function starts before
 * the offset. No locks.
 */
bool symbol_find(uint64_t offset, struct symbol *found);

#endif
