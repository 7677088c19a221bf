/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C library functions that freestanding code and the compiler itself may call, plus the two
 * that secrets need. On the host (unit tests) the C library supplies the standard ones: these are
 * in str_std.c, the others in str.c.
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

/* Copies at most cap - 1 bytes and always terminates. Returns true when nothing was cut. */
bool str_copy(char *dst, size_t cap, const char *src);

/* Whether c is ASCII white space. */
bool str_is_space(char c);

/* ASCII only, no locale: equal without regard to case. */
bool str_equal_nocase(const char *a, const char *b);

/* printf into a buffer of cap bytes, always terminated. Returns the bytes written, < cap. */
size_t str_printf(char *buf, size_t cap, const char *fmt, ...) PRINTF_LIKE(3, 4);
size_t str_vprintf(char *buf, size_t cap, const char *fmt, __builtin_va_list args);

/*
 * Writes zeros that the compiler may not drop, and has them reach DRAM (cache_write_back): for keys
 * and whatever was derived from them.
 */
void secure_zero(void *p, size_t bytes);

/* True when equal, in a time that depends on the length alone. */
bool ct_equal(const void *a, const void *b, size_t bytes);

#endif
