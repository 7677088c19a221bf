/* SPDX-License-Identifier: Apache-2.0 */
/* Names of our own functions, static ones and those of NASM as well, for dumps. */
#ifndef UMBRA_BASE_SYMBOLS_H
#define UMBRA_BASE_SYMBOLS_H

#include "vmm/base/types.h"

struct symbol {
	const char *name;
	uint32_t start; /* of the function, from the start of the image */
};

/*
 * The function that holds the byte at this offset in the image's code: the last one that does not
 * start behind it. False when the image has no table, or nothing starts before. No locks.
 */
bool symbol_find(uint64_t offset, struct symbol *found);

#endif
