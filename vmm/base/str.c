/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text functions, and the two functions for secrets. Functions with a name of standard C are in
 * str_std.c; unit tests use the host's C library for them.
 */
#include "vmm/base/str.h"

#include "vmm/base/cache_lines.h"

#include <stdarg.h>

#define STB_SPRINTF_IMPLEMENTATION
#define STB_SPRINTF_STATIC
#define STB_SPRINTF_NOFLOAT
#define STB_SPRINTF_NOUNALIGNED
#include <stb/stb_sprintf.h>

static char lower(char c)
{
	return (c >= 'A' && c <= 'Z') ? (char)(c - 'A' + 'a') : c;
}

bool str_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

bool str_copy(char *dst, size_t cap, const char *src)
{
	size_t i = 0;

	if (cap == 0) {
		return false;
	}
	while (i + 1 < cap && src[i] != '\0') {
		dst[i] = src[i];
		i++;
	}
	dst[i] = '\0';
	return src[i] == '\0';
}

bool str_equal_nocase(const char *a, const char *b)
{
	while (*a != '\0' && lower(*a) == lower(*b)) {
		a++;
		b++;
	}
	return lower(*a) == lower(*b);
}

size_t str_vprintf(char *buf, size_t cap, const char *fmt, va_list args)
{
	if (cap == 0) {
		return 0;
	}
	/* stb's length is an int; no text here is that long. */
	(void)stbsp_vsnprintf(buf, (int)MIN(cap, (size_t)1 << 30), fmt, args);
	return strlen(buf);
}

size_t str_printf(char *buf, size_t cap, const char *fmt, ...)
{
	va_list args;
	size_t bytes;

	va_start(args, fmt);
	bytes = str_vprintf(buf, cap, fmt, args);
	va_end(args);
	return bytes;
}

void secure_zero(void *p, size_t bytes)
{
	memset(p, 0, bytes);
	/* Makes the compiler assume that the zeros are read. */
	__asm__ volatile("" : : "r"(p) : "memory");
	if (bytes != 0) {
		cache_write_back(p, bytes);
	}
}

bool ct_equal(const void *a, const void *b, size_t bytes)
{
	const volatile uint8_t *x = a;
	const volatile uint8_t *y = b;
	uint32_t diff = 0;

	for (size_t i = 0; i < bytes; i++) {
		diff |= (uint32_t)(x[i] ^ y[i]);
	}
	return diff == 0;
}
