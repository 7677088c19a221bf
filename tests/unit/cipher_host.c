/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the product's own objects of the ciphers need of the rest of Umbra, for programs of the host
 * that link them: page_regs, xts_cost, and those of tests/bench.
 */
#include <stdint.h>
#include <stdlib.h>

struct lock;
void lock_wait(const struct lock *l, uint32_t ticket, unsigned rank);
void *page_alloc(size_t count);
void page_free(void *p, size_t count);
_Noreturn void panic(const char *fmt, ...);
int wipe_register(void *area, size_t bytes);
void log_printf(int level, const char *fmt, ...);

/* One thread uses these locks, so none is ever held when it wants it. */
void lock_wait(const struct lock *l, uint32_t ticket, unsigned rank)
{
	abort();
}

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
