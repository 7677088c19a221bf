/* SPDX-License-Identifier: Apache-2.0 */
/* Output of bare programs, the tiny guests and machine/rows, on COM1. */
#include "tests/guests/common/cpu.h"

#include <stdbool.h>

#define COM1	 0x3f8
#define LSR	 5
#define LSR_THRE 0x20 /* the transmitter is empty */

void put(char c)
{
	if (c == '\n') {
		put('\r');
	}
	while (!(in8(COM1 + LSR) & LSR_THRE)) {
	}
	out8(COM1, (uint8_t)c);
}

void put_number(uint64_t value, unsigned base, unsigned width)
{
	char digits[24];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	while (n < width && n < sizeof(digits)) {
		digits[n++] = '0';
	}
	while (n > 0) {
		put(digits[--n]);
	}
}

void vprint(const char *fmt, __builtin_va_list args)
{
	for (; *fmt != '\0'; fmt++) {
		unsigned width = 0;
		bool wide = false;
		uint64_t value;

		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		for (fmt++; *fmt >= '0' && *fmt <= '9'; fmt++) {
			width = width * 10 + (unsigned)(*fmt - '0');
		}
		for (; *fmt == 'l'; fmt++) {
			wide = true;
		}
		if (*fmt == 's') {
			for (const char *s = __builtin_va_arg(args, const char *); *s; s++) {
				put(*s);
			}
			continue;
		}
		value = wide ? __builtin_va_arg(args, uint64_t) : __builtin_va_arg(args, uint32_t);
		if (*fmt == 'c') {
			put((char)value);
			continue;
		}
		if (*fmt == 'd' && (wide ? (int64_t)value : (int32_t)value) < 0) {
			put('-');
			value = wide ? -value : (uint32_t) - (uint32_t)value;
		}
		put_number(value, *fmt == 'x' ? 16 : 10, width);
	}
}

void print(const char *fmt, ...)
{
	__builtin_va_list args;

	__builtin_va_start(args, fmt);
	vprint(fmt, args);
	__builtin_va_end(args);
}
