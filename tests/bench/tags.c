/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tags [ROUNDS]: what tags add to a fault with a dirty victim, for each kernel: a frame of a 16 MiB
 * window is encrypted to a cold page, another cold page is decrypted into the frame, alone after
 * 1.5 us of idling, with and without tags in turn. Figures are medians within a round; of rounds,
 * the fastest tenth counts, because other work shares cores, caches and the memory bus. Beside it,
 * what it takes to write back a frame whose page was just written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

#include "crypto/page_cipher.h"
#include "vmm/base/cache_lines.h"

#define PAGE	     4096ull
#define POOL_PAGES   (1u << 18) /* 1 GiB: the lower half is opened, the upper half sealed to */
#define HALF	     (POOL_PAGES / 2)
#define WINDOW_PAGES (1u << 12)
#define PAIRS	     33u
#define ROUNDS_MAX   2000u
#define IDLE_TICKS   4000

static struct page_key key;
static struct page_mac_key mac;
static uint8_t *pool, *window;
static uint8_t (*tags)[PAGE_TAG_BYTES]; /* of the lower half */
static uint64_t random_state = 1;
static double ticks_per_ns;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((random_state >> 32) * limit >> 32);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The figure below which a part of them lies: 0.5 is the median. */
static double part_of(double *figures, unsigned count, double part)
{
	qsort(figures, count, sizeof(*figures), compare);
	return figures[(unsigned)(part * (count - 1))];
}

static double clock_ratio(void)
{
	struct timespec a, b;
	uint64_t start, end;

	clock_gettime(CLOCK_MONOTONIC, &a);
	start = __rdtsc();
	do {
		end = __rdtsc();
		clock_gettime(CLOCK_MONOTONIC, &b);
	} while (b.tv_sec - a.tv_sec < 1);
	return (double)(end - start) /
	       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec));
}

static void *get_memory(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);

	if (memory == MAP_FAILED) {
		perror("tags: memory");
		exit(1);
	}
	(void)madvise(memory, bytes, MADV_HUGEPAGE); /* before it is touched */
	memset(memory, 1, bytes);
	return memory;
}

/*
 * Fills each page of the lower half with the ciphertext of a page, which differ only in their first
 * bytes.
 */
static void prepare(void)
{
	uint8_t bytes[64];

	for (unsigned i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(i * i + 1);
	}
	pool = get_memory(POOL_PAGES * PAGE);
	window = get_memory(WINDOW_PAGES * PAGE);
	tags = get_memory(HALF * sizeof(*tags));
	if (page_key_set(&key, bytes, sizeof(bytes)) != 0 || page_mac_key_set(&mac, bytes) != 0) {
		exit(1);
	}
	for (uint32_t i = 0; i < HALF; i++) {
		struct page_job job = {
			.key = &key, .mac = &mac, .in = window, .scratch = window + PAGE
		};

		memcpy(window, &i, sizeof(i));
		job.out = pool + i * PAGE;
		(void)page_exchange(&job, NULL);
		memcpy(tags[i], job.tag, sizeof(tags[i]));
	}
	ticks_per_ns = clock_ratio();
}

/* Waits, and returns the TSC afterwards. */
static uint64_t idle(void)
{
	const uint64_t start = __rdtsc();

	while (__rdtsc() - start < IDLE_TICKS) {
		_mm_pause();
	}
	_mm_mfence();
	_mm_lfence();
	return __rdtsc();
}

/* Writing back one frame, in nanoseconds. */
static double copy_back(void)
{
	uint8_t *frame = window + PAGE * random_below(WINDOW_PAGES);
	uint64_t start;
	unsigned aux;

	memset(frame, (int)random_below(256), PAGE);
	start = idle();
	cache_copy_back(frame, PAGE);
	return (double)(__rdtscp(&aux) - start) / ticks_per_ns;
}

static double median_of_copies(void)
{
	double figures[PAIRS];

	for (unsigned i = 0; i < PAIRS; i++) {
		figures[i] = copy_back();
	}
	return part_of(figures, PAIRS, 0.5);
}

/* One fault, in nanoseconds. */
static double fault(int tagged)
{
	const uint32_t from = random_below(HALF);
	uint8_t *frame = window + PAGE * random_below(WINDOW_PAGES);
	struct page_job seal = { .key = &key, .in = frame, .scratch = frame };
	struct page_job open = { .key = &key, .in = pool + PAGE * from, .out = frame };
	uint64_t start, ticks;
	unsigned aux;
	bool good;

	seal.out = pool + PAGE * (HALF + random_below(HALF));
	seal.mac = open.mac = tagged != 0 ? &mac : NULL;
	memcpy(open.tag, tags[from], sizeof(open.tag));
	start = idle();
	good = page_exchange(&seal, &open);
	_mm_mfence();
	ticks = __rdtscp(&aux) - start;
	if (!good) {
		fprintf(stderr, "tags: a page is not what was sealed\n");
		exit(1);
	}
	return (double)ticks / ticks_per_ns;
}

static double median_of_faults(int tagged)
{
	double figures[PAIRS];

	for (unsigned i = 0; i < PAIRS; i++) {
		figures[i] = fault(tagged);
	}
	return part_of(figures, PAIRS, 0.5);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *cipher, *registers;
		double goal;
	} kernels[] = { { "aesni", "xmm", 0.60 },
			{ "vaes256", "ymm", 0.40 },
			{ "vaes512", "zmm", 0.25 } };
	static double figures[3][2][ROUNDS_MAX], copies[ROUNDS_MAX];
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 501;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: tags [ROUNDS (1..%u)]\n", ROUNDS_MAX);
		return 2;
	}
	prepare();
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned n = 0; n < 6; n++) {
			const unsigned k = (n / 2 + round) % 3, tagged = (n + round / 3) % 2;

			if (page_cipher_init(kernels[k].cipher) == 0) {
				figures[k][tagged][round] = median_of_faults((int)tagged);
			}
		}
		copies[round] = median_of_copies();
	}
	printf("Tags beside a fault with a dirty victim, in ns (window pair; fastest tenth of %u "
	       "rounds)\n",
	       rounds);
	for (unsigned k = 0; k < 3; k++) {
		double without, with;

		if (page_cipher_init(kernels[k].cipher) != 0) {
			printf("%-8s not run: this host's CPU lacks it\n", kernels[k].cipher);
			continue;
		}
		without = part_of(figures[k][0], rounds, 0.1);
		with = part_of(figures[k][1], rounds, 0.1);
		printf("%-8s %s: %5.0f without, %5.0f with: +%2.0f %%, goal %2.0f %%: %s\n",
		       kernels[k].cipher, kernels[k].registers, without, with,
		       100 * (with / without - 1), 100 * kernels[k].goal,
		       with / without - 1 <= kernels[k].goal ? "met" : "MISSED");
	}
	printf("A frame's lines written back: %.0f\n", part_of(copies, rounds, 0.1));
	return 0;
}
