/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wrapped [ROUNDS]: what key-store = registers adds: the page key is unwrapped and expanded once
 * for each batch. Batches of 1, 8 and 32 cold pages, decrypted in place at random places, and a
 * fault with a dirty victim (two batches of one page), in turn with vaes512 as it is otherwise.
 * The master key is in memory here, for a process cannot read debug registers: reading those adds
 * some 100 cycles or less. Figures are medians.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "crypto/page_cipher.h"

#define PAGE	   4096ull
#define POOL_PAGES (1u << 17) /* 512 MiB */
#define BATCH_MAX  32u
#define ROUNDS_MAX 20001u
#define WAYS	   2u
#define CASES	   4u

static const unsigned batches[CASES] = { 1, 8, 32, 0 }; /* 0: a fault */
static uint8_t *pool;
static struct page_key keys[WAYS];
static double figures[CASES][WAYS][ROUNDS_MAX];
static uint64_t random_state = 1;

static uint8_t *random_page(void)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return pool + ((random_state >> 32) * POOL_PAGES >> 32) * PAGE;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double measure(unsigned batch, const struct page_key *key)
{
	struct page_item items[BATCH_MAX] = { { 0 } };
	struct page_job seal = { .key = key, .in = random_page(), .out = random_page() };
	struct page_job open = { .key = key, .in = random_page(), .out = random_page() };
	double start;

	for (unsigned i = 0; i < batch; i++) {
		items[i].in = items[i].out = random_page();
	}
	start = nanoseconds();
	if (batch == 0) {
		(void)page_exchange(&seal, &open);
	} else {
		page_decrypt(key, items, batch);
	}
	return nanoseconds() - start;
}

static void take(unsigned way)
{
	if (page_cipher_init("vaes512") != 0) {
		printf("wrapped: not run: this host's CPU lacks vaes512\n");
		exit(0);
	}
	if (way != 0) {
		page_cipher_wrap_keys();
	}
}

int main(int argc, char **argv)
{
	const unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 3001;
	uint8_t bytes[PAGE_KEY_BYTES];

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: wrapped [ROUNDS (1..%u)]\n", ROUNDS_MAX);
		return 2;
	}
	pool = mmap(NULL, POOL_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (pool == MAP_FAILED) {
		perror("wrapped: memory");
		return 1;
	}
	(void)madvise(pool, POOL_PAGES * PAGE, MADV_HUGEPAGE); /* before it is touched */
	memset(pool, 1, POOL_PAGES * PAGE);
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(i * i + 1);
	}
	for (unsigned way = 0; way < WAYS; way++) {
		take(way);
		if (page_key_set(&keys[way], bytes, sizeof(bytes)) != 0) {
			return 1;
		}
	}
	for (unsigned n = 0; n < 16; n++) { /* in turn: other work on this host changes its speed */
		const unsigned way = n % WAYS;

		take(way);
		for (unsigned round = n / WAYS; round < rounds; round += 8) {
			for (unsigned c = 0; c < CASES; c++) {
				figures[c][way][round] = measure(batches[c], &keys[way]);
			}
		}
	}
	printf("key-store = registers beside memory, vaes512, cold pages, in ns\n");
	for (unsigned c = 0; c < CASES; c++) {
		for (unsigned way = 0; way < WAYS; way++) {
			qsort(figures[c][way], rounds, sizeof(double), compare);
		}
		if (batches[c] == 0) {
			printf("fault with a dirty victim");
		} else {
			printf("batch of %2u, each page   ", batches[c]);
		}
		for (unsigned way = 0; way < WAYS; way++) {
			figures[c][way][0] = figures[c][way][rounds / 2] /
					     (batches[c] == 0 ? 1 : batches[c]);
		}
		printf(": %5.0f memory, %5.0f registers: +%.0f %%\n", figures[c][0][0],
		       figures[c][1][0], 100 * (figures[c][1][0] / figures[c][0][0] - 1));
	}
	return 0;
}
