/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the product's own objects of the ciphers need of the rest of Umbra, for programs of the host
 * that link them: page_regs, xts_cost, and those of tests/bench.
 */
#include <stdlib.h>

void *page_alloc(size_t count);
void page_free(void *p, size_t count);
_Noreturn void panic(const char *fmt, ...);
int wipe_register(void *area, size_t bytes);
void log_printf(int level, const char *fmt, ...);

void *page_alloc(size_t count)
{
	return aligned_alloc(4096, count * 4096);
}

void page_free(void *p, size_t count)
{
	free(p);
}

_Noreturn void panic(const char *fmt, ...)
{
	abort();
}

int wipe_register(void *area, size_t bytes)
{
	return 0;
}

void log_printf(int level, const char *fmt, ...)
{
}
