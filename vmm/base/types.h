/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Basic types for every file: integers, addresses and a few macros.
 *
 * Guest-physical and host-physical addresses are one-member structs, so that passing one for the
 * other is a compile error; the compiler generates the same code as for an integer.
 */
#ifndef UMBRA_BASE_TYPES_H
#define UMBRA_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* hpa_t is a physical address of the machine, gpa_t of a guest. Both count bytes. */
typedef struct {
	uint64_t v;
} hpa_t;

typedef struct {
	uint64_t v;
} gpa_t;

static inline hpa_t hpa(uint64_t v)
{
	return (hpa_t){ v };
}

static inline gpa_t gpa(uint64_t v)
{
	return (gpa_t){ v };
}

#define PAGE_SHIFT 12
#define PAGE_SIZE  4096ul
#define PAGE_MASK  (~(PAGE_SIZE - 1))

#define SIZE_2M (2ul << 20)
#define SIZE_1G (1ul << 30)

#define BIT(n)	     (1ul << (n))
#define MASK(hi, lo) ((~0ul >> (63 - (hi))) & (~0ul << (lo)))

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)      ((a) < (b) ? (a) : (b))
#define MAX(a, b)      ((a) > (b) ? (a) : (b))
/* The mask is as wide as the wider operand: a narrow mask would cut an address above 4 GiB. */
#define ALIGN_DOWN(v, a) ((v) & ~((__typeof__((v) + (a)))(a)-1))
#define ALIGN_UP(v, a)	 (((v) + (a)-1) & ~((__typeof__((v) + (a)))(a)-1))
#define IS_ALIGNED(v, a) (((v) & ((a)-1)) == 0)

_Static_assert(ALIGN_DOWN(0x123456789ul, 16u) == 0x123456780ul, "above 4 GiB");
_Static_assert(ALIGN_UP(0x123456781ul, 16u) == 0x123456790ul, "above 4 GiB");
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
