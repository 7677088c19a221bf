/* SPDX-License-Identifier: Apache-2.0 */
/* A stack of its own for a function, and what the function leaves on it. */
#include <pthread.h>

#include "tests/unit/fake_base.h"

static uint8_t stack[1 << 20] __attribute__((aligned(4096)));
static void (*function)(void);

/* The end of a thread uses the upper part of its stack: the function gets the part below. */
static __attribute__((noinline)) void call_below(void)
{
	volatile uint8_t gap[128 << 10];

	gap[0] = 0;
	function();
	gap[sizeof(gap) - 1] = 0;
}

static void *call(void *unused)
{
	call_below();
	return NULL;
}

/* Without the functions of libc, whose reads AddressSanitizer checks. */
static __attribute__((no_sanitize_address)) bool holds(const volatile uint8_t *bytes, size_t count)
{
	size_t same;

	for (size_t at = 0; at + count <= sizeof(stack); at++) {
		for (same = 0; same < count && stack[at + same] == bytes[same]; same++) {
		}
		if (same == count) {
			return true;
		}
	}
	return false;
}

bool fake_stack_keeps(void (*fn)(void), const void *secret, size_t bytes)
{
	pthread_attr_t attr;
	pthread_t thread;

	function = fn;
	for (size_t i = 0; i < sizeof(stack); i++) {
		stack[i] = 0;
	}
	if (pthread_attr_init(&attr) != 0 ||
	    pthread_attr_setstack(&attr, stack, sizeof(stack)) != 0 ||
	    pthread_create(&thread, &attr, call, NULL) != 0) {
		fake_fail("no thread");
	}
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
	return holds(secret, bytes);
}
