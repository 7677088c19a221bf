/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages [ROUNDS [CASE]]: what a page costs by each page cipher of the product, beside mbedTLS,
 * Debian's OpenSSL, OpenSSL 3.5, passes that invert pages, and memcpy. Other work shares cores,
 * caches and the memory bus: each round gives each competitor a short slice of each case, in
 * a new order, and figures are those of the fastest tenth of rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

#include "crypto/page_cipher.h"
#include "crypto/simd.h"
#include "tests/bench/figures.h"
#include "tests/bench/openssl.h"

#define POOL_PAGES   (1u << 18) /* 1 GiB; a page comes again only after all others */
#define WINDOW_PAGES (1u << 12) /* 16 MiB */
#define BATCH_MAX    64u
#define HOT_PAGES    200u
#define COLD_PAGES   256u
#define PAIRS	     32u
#define IDLE_TICKS   4000 /* between pairs */

static struct page_key key;
static uint8_t *pool, *window;
static uint32_t order[POOL_PAGES], walk; /* a random walk over the pool */
static double ticks_per_ns;

/* The page half the pool away: as cold as this one. Adjacent pages map to adjacent pages. */
static uint8_t *elsewhere(const void *page)
{
	uint64_t offset = (uint64_t)((const uint8_t *)page - pool);

	return pool + (offset + 4096ull * POOL_PAGES / 2) % (4096ull * POOL_PAGES);
}

/* --- Competitors --- */

typedef void work_fn(const struct page_item *items, size_t count, int encrypt);

static void by_product(const struct page_item *items, size_t count, int encrypt)
{
	(encrypt ? page_encrypt : page_decrypt)(&key, items, count);
}

static void by_debian(const struct page_item *items, size_t count, int encrypt)
{
	for (size_t i = 0; i < count; i++) {
		openssl_debian.crypt(encrypt, items[i].tweak, items[i].in, items[i].out);
	}
}

static void by_source(const struct page_item *items, size_t count, int encrypt)
{
	for (size_t i = 0; i < count; i++) {
		openssl_source.crypt(encrypt, items[i].tweak, items[i].in, items[i].out);
	}
}

typedef uint64_t wide __attribute__((vector_size(32), aligned(32)));

/*
 * Inverts pages, the least that a pass over them can cost. ahead: the next page is fetched
 * meanwhile, to L1 or L2.
 */
enum ahead { NOT_AHEAD, TO_L1, TO_L2 };

static inline void xor_pages(const struct page_item *items, size_t count, enum ahead ahead)
{
	for (size_t i = 0; i < count; i++) {
		const wide *in = items[i].in;
		const uint8_t *next = items[i + 1 < count ? i + 1 : i].in;
		wide *out = items[i].out;

		for (unsigned k = 0; k < 128; k += 4) {
			wide a = in[k], b = in[k + 1], c = in[k + 2], d = in[k + 3];

			if (ahead == TO_L1) {
				__builtin_prefetch(next + 32 * k, 1);
				__builtin_prefetch(next + 32 * k + 64, 1);
			} else if (ahead == TO_L2) {
				_mm_prefetch(next + 32 * k, _MM_HINT_T1);
				_mm_prefetch(next + 32 * k + 64, _MM_HINT_T1);
			}
			out[k] = ~a;
			out[k + 1] = ~b;
			out[k + 2] = ~c;
			out[k + 3] = ~d;
		}
	}
}

static void by_xor(const struct page_item *items, size_t count, int encrypt)
{
	xor_pages(items, count, NOT_AHEAD);
}

static void by_xor_ahead(const struct page_item *items, size_t count, int encrypt)
{
	xor_pages(items, count, TO_L1);
}

static void by_xor_l2(const struct page_item *items, size_t count, int encrypt)
{
	xor_pages(items, count, TO_L2);
}

/* To copy in place would do nothing, so such a page is copied to elsewhere(). */
static void by_memcpy(const struct page_item *items, size_t count, int encrypt)
{
	for (size_t i = 0; i < count; i++) {
		memcpy(items[i].out == items[i].in ? elsewhere(items[i].in) : items[i].out,
		       items[i].in, 4096);
	}
}

static const struct {
	const char *name;
	const char *cipher; /* NULL: not the product's */
	work_fn *work;
} competitors[COMPETITORS] = {
	[MBEDTLS] = { "mbedtls", "mbedtls", by_product },
	[AESNI] = { "aesni", "aesni", by_product },
	[VAES256] = { "vaes256", "vaes256", by_product },
	[VAES512] = { "vaes512", "vaes512", by_product },
	[OPENSSL30] = { "openssl", NULL, by_debian },
	[OPENSSL35] = { "ossl 3.5", NULL, by_source },
	[XOR] = { "xor", NULL, by_xor },
	[XOR_AHEAD] = { "xor+next", NULL, by_xor_ahead },
	[XOR_L2] = { "xor+L2", NULL, by_xor_l2 },
	[MEMCPY] = { "memcpy", NULL, by_memcpy },
};

/* --- Cases: nanoseconds per page or pair --- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct page_item item_from_to(uint8_t *in, uint8_t *out, uint32_t number)
{
	struct page_item item = { in, out, { 0 } };

	memcpy(item.tweak, &number, sizeof(number));
	return item;
}

static uint32_t next_page(void)
{
	walk = (walk + 1) % POOL_PAGES;
	return order[walk];
}

static double hot(work_fn *work, unsigned batch, int adjacent, int moved)
{
	struct page_item item = item_from_to(pool, pool, 0);
	double start;

	work(&item, 1, 1);
	start = now();
	for (unsigned i = 0; i < HOT_PAGES; i++) {
		work(&item, 1, 1);
	}
	return (now() - start) / HOT_PAGES;
}

static double batches(work_fn *work, unsigned batch, int adjacent, int moved)
{
	struct page_item items[BATCH_MAX];
	double start = now();

	for (unsigned done = 0; done < COLD_PAGES; done += batch) {
		uint32_t first = next_page() / BATCH_MAX * BATCH_MAX;

		for (unsigned i = 0; i < batch; i++) {
			uint32_t page = adjacent ? first + i : i == 0 ? order[walk] : next_page();
			uint8_t *p = pool + 4096ull * page;

			items[i] = item_from_to(p, moved ? elsewhere(p) : p, page);
		}
		work(items, batch, 1);
	}
	return (now() - start) / COLD_PAGES;
}

static struct page_job job_of(const struct page_item *item)
{
	struct page_job job = { .key = &key, .in = item->in, .out = item->out };

	memcpy(job.tweak, item->tweak, sizeof(job.tweak));
	return job;
}

static void exchange(const struct page_item *seal, const struct page_item *open)
{
	struct page_job jobs[] = { job_of(seal), job_of(open) };

	(void)page_exchange(&jobs[0], &jobs[1]);
}

/*
 * A fault with a dirty victim: one page is encrypted, another decrypted. In place: two cold pages,
 * each where it is. Moved, as the product does it: a frame of the window is encrypted to a cold
 * page, and another cold page decrypted into the frame. The CPU idles before each pair, because
 * faults come one at a time. Returns the median of the slice.
 */
static double pairs(work_fn *work, unsigned batch, int adjacent, int moved)
{
	double figure[PAIRS];

	for (unsigned i = 0; i < PAIRS; i++) {
		uint8_t *a = pool + 4096ull * next_page(), *b = pool + 4096ull * next_page();
		uint8_t *frame = window + 4096ull * (walk % WINDOW_PAGES);
		struct page_item seal = item_from_to(moved ? frame : a, a, 1);
		struct page_item open = item_from_to(b, moved ? frame : b, 2);
		uint64_t start = __rdtsc();
		unsigned aux;

		while (__rdtsc() - start < IDLE_TICKS) {
			_mm_pause();
		}
		_mm_mfence();
		_mm_lfence();
		start = __rdtsc();
		if (work == by_product) {
			exchange(&seal, &open);
		} else {
			work(&seal, 1, 1);
			work(&open, 1, 0);
		}
		_mm_mfence();
		figure[i] = (double)(__rdtscp(&aux) - start) / ticks_per_ns;
	}
	return median_of(figure, PAIRS);
}

static const struct {
	const char *name;
	double (*run)(work_fn *work, unsigned batch, int adjacent, int moved);
	unsigned batch;
	int adjacent, moved;
} cases[CASES] = {
	[HOT] = { "hot page", hot, 1, 0, 0 },
	[COLD] = { "cold page", batches, 1, 0, 0 },
	[PAIR] = { "fault pair", pairs, 1, 0, 0 },
	[WINDOW_PAIR] = { "window pair", pairs, 1, 0, 1 },
	[RANDOM8] = { "8 random", batches, 8, 0, 0 },
	[RANDOM64] = { "64 random", batches, 64, 0, 0 },
	[ADJACENT8] = { "8 adjacent", batches, 8, 1, 0 },
	[ADJACENT64] = { "64 adjacent", batches, 64, 1, 0 },
	[MOVED64] = { "64 elsewhere", batches, 64, 1, 1 },
};

const char *case_name(enum cases which)
{
	return cases[which].name;
}

const char *competitor_name(enum competitors which)
{
	return competitors[which].name;
}

/* --- The run --- */

static uint64_t seed = 1;

static uint32_t below(uint32_t limit)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed >> 33) % limit);
}

static void shuffle(uint32_t *values, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		values[i] = i;
	}
	for (uint32_t i = count - 1; i > 0; i--) {
		uint32_t j = below(i + 1), swap = values[i];

		values[i] = values[j];
		values[j] = swap;
	}
}

static uint8_t *cold_memory(uint64_t bytes)
{
	uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("bench: memory for pages");
		exit(1);
	}
	madvise(p, bytes, MADV_HUGEPAGE);
	memset(p, 1, bytes);
	return p;
}

static void prepare(void)
{
	struct timespec a, b;
	uint64_t start = __rdtsc();
	uint8_t bytes[64];

	clock_gettime(CLOCK_MONOTONIC, &a);
	pool = cold_memory(4096ull * POOL_PAGES);
	window = cold_memory(4096ull * WINDOW_PAGES);
	shuffle(order, POOL_PAGES);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ticks_per_ns = (double)(__rdtsc() - start) /
		       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec));
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(i * 7 + 1);
	}
	if (page_key_set(&key, bytes, sizeof(bytes)) != 0 || openssl_debian.init(bytes) != 0 ||
	    openssl_source.init(bytes) != 0) {
		fprintf(stderr, "bench: a cipher does not take the key\n");
		exit(1);
	}
}

/* False for a cipher that this CPU cannot run, and for an OpenSSL that could not be fetched. */
static int is_there(unsigned c)
{
	if (competitors[c].work == by_source) {
		return openssl_source.version() != NULL;
	}
	return competitors[c].cipher == NULL || page_cipher_init(competitors[c].cipher) == 0;
}

static void run_case(unsigned test, unsigned round)
{
	uint32_t turn[COMPETITORS];

	shuffle(turn, COMPETITORS);
	for (unsigned i = 0; i < COMPETITORS; i++) {
		unsigned c = turn[i];

		if (!is_there(c)) {
			continue;
		}
		figure_add(test, c, round,
			   cases[test].run(competitors[c].work, cases[test].batch,
					   cases[test].adjacent, cases[test].moved));
	}
}

/* All ciphers give the same bytes, or their figures mean nothing. */
static void check_agreement(void)
{
	static uint8_t out[2][4096] __attribute__((aligned(64)));

	for (unsigned c = MBEDTLS; c <= OPENSSL35; c++) {
		struct page_item item = item_from_to(pool, out[c != MBEDTLS], 0x12345678);

		if (!is_there(c)) {
			continue;
		}
		competitors[c].work(&item, 1, 1);
		if (c != MBEDTLS && memcmp(out[0], out[1], sizeof(out[0])) != 0) {
			fprintf(stderr, "bench: %s gives other bytes\n", competitors[c].name);
			exit(1);
		}
	}
}

/* Saving and restoring the guest's registers around a cipher: part of the product's figures. */
static void time_brackets(void)
{
	static struct simd_wide_save save;
	static struct simd_save low;
	enum { TIMES = 1000 };
	double narrow[COLD_PAGES], wider[COLD_PAGES];
	struct simd_plan plan;

	if (simd_plan(&plan, SIMD_ZMM) != 0 && simd_plan(&plan, SIMD_YMM) != 0) {
		plan.xcr0 = 0;
	}
	for (unsigned round = 0; round < COLD_PAGES; round++) {
		uint64_t start = __rdtsc(), between;

		for (unsigned i = 0; i < TIMES; i++) {
			simd_begin(&low);
			simd_end(&low);
		}
		between = __rdtsc();
		for (unsigned i = 0; plan.xcr0 != 0 && i < TIMES; i++) {
			simd_begin_wide(&save, &plan);
			simd_end_wide(&save, &plan);
		}
		narrow[round] = (double)(between - start) / TIMES / ticks_per_ns;
		wider[round] = (double)(__rdtsc() - between) / TIMES / ticks_per_ns;
	}
	print_bracket("xmm", median_of(narrow, COLD_PAGES));
	if (plan.xcr0 != 0) {
		print_bracket(plan.high ? "zmm" : "ymm", median_of(wider, COLD_PAGES));
	}
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 501;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: pages [ROUNDS (1..%u) [CASE]]\n", ROUNDS_MAX);
		return 2;
	}
	prepare();
	check_agreement();
	/* The first round warms up; its figures are overwritten. */
	for (unsigned round = 0; round <= rounds; round++) {
		for (unsigned t = 0; t < CASES; t++) {
			if (argc < 3 || strstr(cases[t].name, argv[2]) != NULL) {
				run_case(t, round % rounds);
			}
		}
	}
	printf("AES-256-XTS on this host. openssl: %s; ossl 3.5: %s\n", openssl_debian.version(),
	       openssl_source.version() != NULL
		       ? openssl_source.version()
		       : "left out, for its source could not be fetched or built");
	print_figures(rounds);
	print_goals();
	time_brackets();
	print_verdict();
	return 0;
}
