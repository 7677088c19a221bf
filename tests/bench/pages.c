/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a page costs by each page cipher of the product, beside mbedTLS page by page, the host's
 * OpenSSL, a XOR pass and memcpy: hot, cold, two at a fault, and in batches. In each round every
 * competitor does every case once, so that all see the same machine; figures are medians.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "crypto/aes_xts.h"
#include "crypto/page_cipher.h"

#define POOL_PAGES (512u << 8) /* 512 MiB */
#define COLD_PAGES 4096u       /* of them in one slice */
#define HOT_PAGES  4000u
#define ROUNDS	   9
#define BATCH_MAX  64

void *page_alloc(size_t count);
void page_free(void *p, size_t count);
_Noreturn void panic(const char *fmt, ...);
void log_printf(int level, const char *fmt, ...);

void *page_alloc(size_t count)
{
	return aligned_alloc(4096, count * 4096);
}

void page_free(void *p, size_t count)
{
	(void)count;
	free(p);
}

_Noreturn void panic(const char *fmt, ...)
{
	(void)fmt;
	abort();
}

void log_printf(int level, const char *fmt, ...)
{
	(void)level;
	(void)fmt;
}

static struct page_key key;
static EVP_CIPHER_CTX *evp[2];
static uint8_t *pool;
static uint32_t *order; /* a random walk over the pool */
static uint32_t walk;

/* The page half a pool away: as cold, and beside its neighbours where the source is. */
static uint8_t *elsewhere(const void *page)
{
	size_t offset = (size_t)((const uint8_t *)page - pool);

	return pool + (offset + 4096ull * POOL_PAGES / 2) % (4096ull * POOL_PAGES);
}

/* --- Competitors: items in place, or elsewhere; direction as a flag --------------------------- */

typedef void work_fn(const struct page_item *items, size_t count, int encrypt);

static void by_product(const struct page_item *items, size_t count, int encrypt)
{
	(encrypt ? page_encrypt : page_decrypt)(&key, items, count);
}

static void by_openssl(const struct page_item *items, size_t count, int encrypt)
{
	int n;

	for (size_t i = 0; i < count; i++) {
		EVP_CipherInit_ex(evp[encrypt], NULL, NULL, NULL, items[i].tweak, encrypt);
		EVP_CipherUpdate(evp[encrypt], items[i].out, &n, items[i].in, 4096);
	}
}

typedef uint64_t wide __attribute__((vector_size(32), aligned(32)));

/* The least that a pass over pages can cost; ahead: with the next page fetched, as ours do. */
static inline void xor_pages(const struct page_item *items, size_t count, int ahead)
{
	for (size_t i = 0; i < count; i++) {
		const wide *in = items[i].in;
		const uint8_t *next = items[i + 1 < count ? i + 1 : i].in;
		wide *out = items[i].out;

		for (unsigned k = 0; k < 128; k += 4) {
			wide a = in[k], b = in[k + 1], c = in[k + 2], d = in[k + 3];

			if (ahead) {
				__builtin_prefetch(next + 32 * k, 1);
				__builtin_prefetch(next + 32 * k + 64, 1);
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
	(void)encrypt;
	xor_pages(items, count, 0);
}

static void by_xor_ahead(const struct page_item *items, size_t count, int encrypt)
{
	(void)encrypt;
	xor_pages(items, count, 1);
}

/* In place there is nothing to copy: it goes where the others put what they write elsewhere. */
static void by_memcpy(const struct page_item *items, size_t count, int encrypt)
{
	(void)encrypt;
	for (size_t i = 0; i < count; i++) {
		memcpy(elsewhere(items[i].in), items[i].in, 4096);
	}
}

static const struct competitor {
	const char *name;
	const char *cipher; /* NULL: not the product's */
	work_fn *work;
} competitors[] = {
	{ "mbedtls", "mbedtls", by_product }, { "aesni", "aesni", by_product },
	{ "vaes256", "vaes256", by_product }, { "vaes512", "vaes512", by_product },
	{ "openssl", NULL, by_openssl },      { "xor", NULL, by_xor },
	{ "xor+next", NULL, by_xor_ahead },   { "memcpy", NULL, by_memcpy },
};
#define COMPETITORS (sizeof(competitors) / sizeof(competitors[0]))
enum { MBEDTLS, AESNI, VAES256, VAES512, OPENSSL, XOR, XOR_AHEAD, MEMCPY };

/* --- Cases ------------------------------------------------------------------------------------ */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct page_item item_at(uint32_t page)
{
	uint8_t *p = pool + 4096ull * page;
	struct page_item item = { p, p, { 0 } };

	memcpy(item.tweak, &page, sizeof(page));
	return item;
}

static uint32_t next_page(void)
{
	walk = (walk + 1) % POOL_PAGES;
	return order[walk];
}

static double hot(const struct competitor *c)
{
	struct page_item item = item_at(0);
	double start = now();

	for (unsigned i = 0; i < HOT_PAGES; i++) {
		c->work(&item, 1, 1);
	}
	return (now() - start) / HOT_PAGES;
}

static double batches(const struct competitor *c, unsigned batch, int adjacent, int moved)
{
	struct page_item items[BATCH_MAX];
	double start = now();

	for (unsigned done = 0; done < COLD_PAGES; done += batch) {
		uint32_t first = next_page() / BATCH_MAX * BATCH_MAX;

		for (unsigned i = 0; i < batch; i++) {
			items[i] = item_at(adjacent ? first + i
					   : i == 0 ? order[walk]
						    : next_page());
			if (moved) {
				items[i].out = elsewhere(items[i].in);
			}
		}
		c->work(items, batch, 1);
	}
	return (now() - start) / COLD_PAGES;
}

static double cold(const struct competitor *c)
{
	return batches(c, 1, 0, 0);
}

static double random8(const struct competitor *c)
{
	return batches(c, 8, 0, 0);
}

static double random64(const struct competitor *c)
{
	return batches(c, 64, 0, 0);
}

static double adjacent64(const struct competitor *c)
{
	return batches(c, 64, 1, 0);
}

static double moved64(const struct competitor *c)
{
	return batches(c, 64, 1, 1);
}

/* Per pair: encrypts one cold page and decrypts another. */
static double fault_pair(const struct competitor *c)
{
	double start = now();

	for (unsigned done = 0; done < COLD_PAGES; done += 2) {
		struct page_item seal = item_at(next_page()), open = item_at(next_page());

		if (c->work == by_product) {
			page_exchange(&key, &seal, &key, &open);
		} else {
			c->work(&seal, 1, 1);
			c->work(&open, 1, 0);
		}
	}
	return (now() - start) / (COLD_PAGES / 2);
}

static const struct {
	const char *name;
	double (*run)(const struct competitor *c);
} cases[] = {
	{ "hot page", hot },	     { "cold page", cold },	{ "fault pair", fault_pair },
	{ "8 random", random8 },     { "64 random", random64 }, { "64 adjacent", adjacent64 },
	{ "64 elsewhere", moved64 },
};
#define CASES (sizeof(cases) / sizeof(cases[0]))
enum { HOT, COLD, PAIR, RANDOM8, RANDOM64, ADJACENT64, MOVED64 };

/* --- Figures ---------------------------------------------------------------------------------- */

static double figures[CASES][COMPETITORS][ROUNDS];
static int present[COMPETITORS];

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_ratio(unsigned test, unsigned a, unsigned b)
{
	double ratio[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		ratio[i] = figures[test][a][i] / figures[test][b][i];
	}
	qsort(ratio, ROUNDS, sizeof(ratio[0]), by_value);
	return ratio[ROUNDS / 2];
}

static double median(unsigned test, unsigned a)
{
	double values[ROUNDS];

	memcpy(values, figures[test][a], sizeof(values));
	qsort(values, ROUNDS, sizeof(values[0]), by_value);
	return values[ROUNDS / 2];
}

/* How much faster ours is than theirs, and what it has to be. Returns 1 when it is less. */
static int goal(unsigned test, unsigned ours, unsigned theirs, double must, double good)
{
	double ratio;

	if (!present[ours]) {
		return 0;
	}
	ratio = median_ratio(test, theirs, ours);
	printf("%-12s %-8s %6.2f times %-8s must %5.2f: %-6s good %5.2f: %+.0f %%\n",
	       cases[test].name, competitors[ours].name, ratio, competitors[theirs].name, must,
	       ratio >= must ? "met" : "MISSED", good, 100 * (ratio / good - 1));
	return ratio < must;
}

static int print_goals(void)
{
	int missed = 0;

	printf("\nGoals (AES-256, speed as a ratio in the same rounds):\n");
	for (unsigned v = VAES256; v <= VAES512; v++) {
		missed += goal(HOT, v, MBEDTLS, 12, 16) + goal(HOT, v, OPENSSL, 1.5, 2.0);
		missed += goal(PAIR, v, MBEDTLS, 6, 8) + goal(PAIR, v, XOR, 1 / 1.6, 1 / 1.2);
		for (unsigned x = XOR; x <= XOR_AHEAD; x++) {
			missed += goal(RANDOM8, v, x, 0.6, 0.8) + goal(RANDOM64, v, x, 0.6, 0.8);
			missed += goal(ADJACENT64, v, x, 0.75, 0.9);
		}
		missed += goal(RANDOM8, v, MEMCPY, 0.8, 1.1);
		missed += goal(MOVED64, v, MEMCPY, 1.0, 1.3);
	}
	missed += goal(HOT, AESNI, MBEDTLS, 5, 7) + goal(HOT, AESNI, OPENSSL, 0.7, 0.95);
	missed += goal(PAIR, AESNI, MBEDTLS, 4, 5.3) + goal(PAIR, AESNI, OPENSSL, 1.0, 1.15);
	return missed;
}

static void prepare(void)
{
	uint8_t bytes[64];

	pool = mmap(NULL, 4096ull * POOL_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	order = malloc(POOL_PAGES * sizeof(order[0]));
	if (pool == MAP_FAILED || order == NULL) {
		perror("pages");
		exit(1);
	}
	madvise(pool, 4096ull * POOL_PAGES, MADV_HUGEPAGE);
	memset(pool, 1, 4096ull * POOL_PAGES);
	srandom(1);
	for (uint32_t i = 0; i < POOL_PAGES; i++) {
		uint32_t j = (uint32_t)random() % (i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(i * 7 + 1);
	}
	if (page_key_set(&key, bytes, sizeof(bytes)) != 0) {
		exit(1);
	}
	for (int i = 0; i < 2; i++) {
		evp[i] = EVP_CIPHER_CTX_new();
		EVP_CipherInit_ex(evp[i], EVP_aes_256_xts(), NULL, bytes, NULL, i);
	}
}

int main(void)
{
	prepare();
	/* The first round warms up; its figures are overwritten. */
	for (unsigned round = 0; round <= ROUNDS; round++) {
		for (unsigned c = 0; c < COMPETITORS; c++) {
			const struct competitor *who = &competitors[c];

			if (who->cipher != NULL && page_cipher_init(who->cipher) != 0) {
				continue;
			}
			present[c] = 1;
			for (unsigned t = 0; t < CASES; t++) {
				figures[t][c][round % ROUNDS] = cases[t].run(who);
			}
		}
	}
	printf("ns per page (fault pair: per pair), AES-256-XTS, in place, %s\n%-12s",
	       OPENSSL_VERSION_TEXT, "");
	for (unsigned c = 0; c < COMPETITORS; c++) {
		printf(" %8s", competitors[c].name);
	}
	for (unsigned t = 0; t < CASES; t++) {
		printf("\n%-12s", cases[t].name);
		for (unsigned c = 0; c < COMPETITORS; c++) {
			printf(" %8.0f", present[c] ? median(t, c) : 0);
		}
	}
	printf("\n");
	return print_goals() == 0 ? 0 : 1;
}
