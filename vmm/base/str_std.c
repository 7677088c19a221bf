/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C library's functions that the compiler and third-party code call. String instructions are
 * short, and fast with "Fast Short REP MOVSB" and ERMSB (SDM vol. 1, "Fast-String Operation"). For
 * small sizes their start-up cost is high, so those are copied in words.
 */
#include "vmm/base/str.h"

typedef uint64_t __attribute__((may_alias, aligned(1))) word;

#define WORDS_MAX 128 /* bytes; larger sizes use REP MOVSB/STOSB */

void *memcpy(void *dst, const void *src, size_t bytes)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	if (bytes > WORDS_MAX) {
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(bytes) : : "memory");
		return dst;
	}
	for (; bytes >= 8; bytes -= 8, d += 8, s += 8) {
		*(word *)d = *(const word *)s;
	}
	for (; bytes != 0; bytes--) {
		*d++ = *s++;
	}
	return dst;
}

void *memmove(void *dst, const void *src, size_t bytes)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	if ((uintptr_t)d - (uintptr_t)s >= bytes) {
		return memcpy(dst, src, bytes);
	}
	while (bytes != 0) {
		bytes--;
		d[bytes] = s[bytes];
	}
	return dst;
}

void *memset(void *dst, int byte, size_t bytes)
{
	uint8_t *d = dst;
	uint64_t pattern = 0x0101010101010101ul * (uint8_t)byte;

	if (bytes > WORDS_MAX) {
		size_t words = bytes / 8;

		__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
		bytes %= 8;
	}
	for (; bytes >= 8; bytes -= 8, d += 8) {
		*(word *)d = pattern;
	}
	for (; bytes != 0; bytes--) {
		*d++ = (uint8_t)byte;
	}
	return dst;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
	const uint8_t *x = a;
	const uint8_t *y = b;

	for (size_t i = 0; i < bytes; i++) {
		if (x[i] != y[i]) {
			return x[i] - y[i];
		}
	}
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n] != '\0') {
		n++;
	}
	return n;
}

int strncmp(const char *a, const char *b, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (a[i] != b[i] || a[i] == '\0') {
			return (uint8_t)a[i] - (uint8_t)b[i];
		}
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c) {
			return (char *)(uintptr_t)s;
		}
		if (*s == '\0') {
			return NULL;
		}
	}
}

char *strstr(const char *s, const char *what)
{
	size_t bytes = strlen(what);

	for (; strncmp(s, what, bytes) != 0; s++) {
		if (*s == '\0') {
			return NULL;
		}
	}
	return (char *)(uintptr_t)s;
}
