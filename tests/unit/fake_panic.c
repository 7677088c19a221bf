/* SPDX-License-Identifier: Apache-2.0 */
/* A panic returns to the test that expects it, or else fails the test. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_base.h"
#include "vmm/base/panic.h"

jmp_buf fake_panic_jump;
bool fake_panic_expected;

static char panic_text[512];

/* cmocka's function; missing in fuzzers. */
extern void _fail(const char *file, int line) __attribute__((weak));

_Noreturn void fake_fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	if (_fail != NULL) {
		_fail(__FILE__, __LINE__); /* does not return */
	}
	abort();
}

_Noreturn void panic(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(panic_text, sizeof(panic_text), fmt, args);
	va_end(args);
	if (!fake_panic_expected) {
		fake_fail("panic: %s", panic_text);
	}
	fake_panic_expected = false;
	longjmp(fake_panic_jump, 1);
}

#pragma weak fake_lock_reset
void fake_panic_check(const char *text)
{
	if (fake_lock_reset != NULL) {
		fake_lock_reset(); /* code that panicked still has its locks */
	}
	if (strstr(panic_text, text) == NULL) {
		fake_fail("panic says \"%s\", not \"%s\"", panic_text, text);
	}
}

__attribute__((weak)) _Noreturn void panic_exception(struct idt_frame *frame)
{
	panic("an exception");
}
