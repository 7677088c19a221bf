/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C library functions that freestanding code and the compiler itself may call, and two
 * functions for secrets. In unit tests on a host the C library supplies the standard functions:
 * these are in str_std.c, the others in str.c.
 */
#ifndef UMBRA_BASE_STR_H
#define UMBRA_BASE_STR_H

#include "vmm/base/types.h"

void *memcpy(void *dst, const void *src, size_t bytes);
void *memmove(void *dst, const void *src, size_t bytes);
void *memset(void *dst, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t bytes);
char *strchr(const char *s, int c);
char *strstr(const char *s, const char *what);

/* Copies at most cap - 1 bytes and always terminates. Returns false when it cut the string. */
bool str_copy(char *dst, size_t cap, const char *src);

/* Is c ASCII white space? */
bool str_is_space(char c);

/* Are the strings equal apart from case? ASCII only, no locale. */
bool str_equal_nocase(const char *a, const char *b);

/*
 * printf into a buffer of cap bytes; always terminates. Returns the number of bytes written, < cap.
 */
size_t str_printf(char *buf, size_t cap, const char *fmt, ...) PRINTF_LIKE(3, 4);
size_t str_vprintf(char *buf, size_t cap, const char *fmt, __builtin_va_list args);

/*
 * Writes zeros that the compiler cannot optimise away, and writes them back to DRAM
 * (cache_write_back). For keys and everything derived from them.
 */
void secure_zero(void *p, size_t bytes);

/* Are the bytes equal? Takes a time that depends only on the length. */
bool ct_equal(const void *a, const void *b, size_t bytes);

#endif
