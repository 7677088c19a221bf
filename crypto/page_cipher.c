/* SPDX-License-Identifier: Apache-2.0 */
/* The one global is the implementation in use. page_cipher_init sets it once. */
#include "crypto/page_cipher.h"
#include "crypto/simd.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"

typedef void kernel_fn(const uint8_t *data_keys, const uint8_t *tweak_keys,
		       const struct page_item *items, size_t count, const struct page_item *ahead);

kernel_fn page_xts_aesni_enc_10, page_xts_aesni_enc_14;
kernel_fn page_xts_aesni_dec_10, page_xts_aesni_dec_14;
kernel_fn page_xts_vaes256_enc_10, page_xts_vaes256_enc_14;
kernel_fn page_xts_vaes256_dec_10, page_xts_vaes256_dec_14;
kernel_fn page_xts_vaes512_enc_10, page_xts_vaes512_enc_14;
kernel_fn page_xts_vaes512_dec_10, page_xts_vaes512_dec_14;

#define CHECK_ITEMS 3
/* Inputs, outputs, and one page of what mbedTLS makes of an input. */
#define CHECK_PAGES (2 * CHECK_ITEMS + 1)

static bool has_mbedtls(struct simd_plan *plan)
{
	return true;
}

static bool has_aesni(struct simd_plan *plan)
{
	return aes_has_hardware() && (cpu_cpuid(1, 0).ecx & CPUID_1_ECX_PCLMULQDQ) != 0;
}

static bool has_vaes(struct simd_plan *plan, enum simd_set set, uint32_t features)
{
	const uint32_t vaes = CPUID_7_ECX_VAES | CPUID_7_ECX_VPCLMULQDQ;
	struct cpuid_regs seven;

	if (cpu_cpuid(0, 0).eax < 0xd || !aes_has_hardware()) {
		return false;
	}
	seven = cpu_cpuid(7, 0);
	return (cpu_cpuid(1, 0).ecx & CPUID_1_ECX_AVX) != 0 && (seven.ecx & vaes) == vaes &&
	       (seven.ebx & features) == features && simd_plan(plan, set) == 0;
}

static bool has_vaes256(struct simd_plan *plan)
{
	return has_vaes(plan, SIMD_YMM, CPUID_7_EBX_AVX2);
}

/* The 512-bit arithmetic is in F, the byte shifts in BW, the XOR by words in DQ. */
static bool has_vaes512(struct simd_plan *plan)
{
	return has_vaes(plan, SIMD_ZMM,
			CPUID_7_EBX_AVX2 | CPUID_7_EBX_AVX512F | CPUID_7_EBX_AVX512BW |
				CPUID_7_EBX_AVX512DQ);
}

/* From the slowest to the fastest. */
static const struct cipher {
	const char *name;
	const char *needs;
	bool (*usable)(struct simd_plan *plan);
	bool wide;
	kernel_fn *kernel[2][2]; /* [encrypt][AES-256]; NULL: mbedTLS */
} ciphers[] = {
	{ "mbedtls", "nothing", has_mbedtls, false, { { NULL } } },
	{ "aesni",
	  "AES-NI and PCLMULQDQ",
	  has_aesni,
	  false,
	  { { page_xts_aesni_dec_10, page_xts_aesni_dec_14 },
	    { page_xts_aesni_enc_10, page_xts_aesni_enc_14 } } },
	{ "vaes256",
	  "AVX2, VAES and VPCLMULQDQ, and their state in XCR0",
	  has_vaes256,
	  true,
	  { { page_xts_vaes256_dec_10, page_xts_vaes256_dec_14 },
	    { page_xts_vaes256_enc_10, page_xts_vaes256_enc_14 } } },
	{ "vaes512",
	  "AVX-512 (F, BW, DQ), VAES and VPCLMULQDQ, and their state in XCR0",
	  has_vaes512,
	  true,
	  { { page_xts_vaes512_dec_10, page_xts_vaes512_dec_14 },
	    { page_xts_vaes512_enc_10, page_xts_vaes512_enc_14 } } },
};

/* The implementation in use. */
static struct engine {
	const struct cipher *cipher;
	struct simd_plan plan;
} engine = { .cipher = &ciphers[0] };

int page_key_set(struct page_key *out, const uint8_t *key, size_t key_bytes)
{
	return aes_xts_set_key(&out->xts, key, key_bytes);
}

static void run_mbedtls(const struct page_key *key, bool encrypt, const struct page_item *items,
			size_t count)
{
	/* Both functions fail only for bad lengths. */
	for (size_t i = 0; i < count; i++) {
		if (encrypt) {
			(void)aes_xts_encrypt(&key->xts, items[i].tweak, items[i].in, items[i].out,
					      PAGE_CIPHER_BYTES);
		} else {
			(void)aes_xts_decrypt(&key->xts, items[i].tweak, items[i].in, items[i].out,
					      PAGE_CIPHER_BYTES);
		}
	}
}

static void run_kernel(const struct cipher *cipher, const struct page_key *key, bool encrypt,
		       const struct page_item *items, size_t count, const struct page_item *ahead)
{
	struct aes_xts_schedule keys = aes_xts_schedule(&key->xts, encrypt);

	cipher->kernel[encrypt][keys.rounds == 14](keys.data, keys.tweak, items, count, ahead);
}

/*
 * A part of one call. Two runs share one save and restore of the vector registers; the second may
 * be empty.
 */
struct run {
	const struct page_key *key;
	bool encrypt;
	const struct page_item *items;
	size_t count;
};

static void run_both(const struct engine *e, const struct run *run, const struct page_item *ahead)
{
	run_kernel(e->cipher, run[0].key, run[0].encrypt, run[0].items, run[0].count, ahead);
	if (run[1].count != 0) {
		run_kernel(e->cipher, run[1].key, run[1].encrypt, run[1].items, run[1].count,
			   run[1].items + run[1].count - 1);
	}
}

static void run_pages(const struct engine *e, const struct run run[2])
{
	const struct page_item *ahead;

	if (run[0].count == 0) {
		return;
	}
	ahead = run[1].count != 0 ? run[1].items : run[0].items + run[0].count - 1;
	if (e->cipher->kernel[0][0] == NULL) {
		run_mbedtls(run[0].key, run[0].encrypt, run[0].items, run[0].count);
		run_mbedtls(run[1].key, run[1].encrypt, run[1].items, run[1].count);
	} else if (e->cipher->wide) {
		struct simd_wide_save save;

		simd_begin_wide(&save, &e->plan);
		run_both(e, run, ahead);
		simd_end_wide(&save, &e->plan);
	} else {
		struct simd_save save;

		simd_begin(&save);
		run_both(e, run, ahead);
		simd_end(&save);
	}
}

void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	run_pages(&engine, (struct run[2]){ { key, true, items, count } });
}

void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	run_pages(&engine, (struct run[2]){ { key, false, items, count } });
}

void page_exchange(const struct page_key *seal_key, const struct page_item *seal,
		   const struct page_key *open_key, const struct page_item *open)
{
	run_pages(&engine,
		  (struct run[2]){ { seal_key, true, seal, 1 }, { open_key, false, open, 1 } });
}

/* Encrypts to another page, compares with mbedTLS, decrypts in place, compares with the input. */
static bool agrees(const struct engine *e, size_t key_bytes, uint8_t *pages)
{
	struct page_item items[CHECK_ITEMS], back[CHECK_ITEMS];
	uint8_t *expected = pages + 2 * CHECK_ITEMS * PAGE_CIPHER_BYTES;
	uint8_t bytes[64];
	struct page_key key;
	bool good;

	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(37 * i + key_bytes);
	}
	for (size_t i = 0; i < CHECK_ITEMS * PAGE_CIPHER_BYTES; i++) {
		pages[i] = (uint8_t)(i * i >> 7 ^ i);
	}
	good = page_key_set(&key, bytes, key_bytes) == 0;
	for (size_t i = 0; i < CHECK_ITEMS; i++) {
		items[i].in = pages + i * PAGE_CIPHER_BYTES;
		items[i].out = pages + (CHECK_ITEMS + i) * PAGE_CIPHER_BYTES;
		memset(items[i].tweak, (int)(0x80 + 85 * i), sizeof(items[i].tweak));
		back[i] = items[i];
		back[i].in = back[i].out;
	}
	run_pages(e, (struct run[2]){ { &key, true, items, CHECK_ITEMS } });
	for (size_t i = 0; i < CHECK_ITEMS; i++) {
		good = aes_xts_encrypt(&key.xts, items[i].tweak, items[i].in, expected,
				       PAGE_CIPHER_BYTES) == 0 &&
		       ct_equal(items[i].out, expected, PAGE_CIPHER_BYTES) && good;
	}
	run_pages(e, (struct run[2]){ { &key, false, back, CHECK_ITEMS } });
	secure_zero(&key, sizeof(key));
	return good && ct_equal(pages, pages + CHECK_ITEMS * PAGE_CIPHER_BYTES,
				CHECK_ITEMS * PAGE_CIPHER_BYTES);
}

/*
 * Checks each cipher that this CPU can run. Chooses the one that is named, or with any the fastest.
 */
static int choose(const char *wanted, bool any, uint8_t *pages, struct engine *chosen)
{
	for (size_t i = 0; i < ARRAY_COUNT(ciphers); i++) {
		struct engine e = { .cipher = &ciphers[i] };
		bool named = strcmp(wanted, ciphers[i].name) == 0;

		if (!ciphers[i].usable(&e.plan)) {
			if (named) {
				log_error("crypto: engine-cipher = %s: this CPU lacks some of what "
					  "it needs: %s",
					  wanted, ciphers[i].needs);
				return ERR_UNSUPPORTED;
			}
			continue;
		}
		if (!agrees(&e, 32, pages) || !agrees(&e, 64, pages)) {
			log_error("crypto: self-test failed: %s encrypts pages to other bytes "
				  "than mbedTLS; this CPU or this image is broken",
				  ciphers[i].name);
			return ERR_SELFTEST;
		}
		if (any || named) {
			*chosen = e;
		}
	}
	return 0;
}

int page_cipher_init(const char *wanted)
{
	bool any = strcmp(wanted, "auto") == 0;
	struct engine chosen = { .cipher = NULL };
	uint8_t *pages = page_alloc(CHECK_PAGES);
	int err;

	if (pages == NULL) {
		return ERR_NOMEM;
	}
	err = choose(wanted, any, pages, &chosen);
	page_free(pages, CHECK_PAGES);
	if (err != 0) {
		return err;
	}
	if (chosen.cipher == NULL) {
		log_error("crypto: engine-cipher = %s: not one of auto, mbedtls, aesni, vaes256, "
			  "vaes512",
			  wanted);
		return ERR_INVAL;
	}
	engine = chosen;
	log_info("crypto: pages are encrypted by %s", engine.cipher->name);
	return 0;
}

const char *page_cipher_name(void)
{
	return engine.cipher->name;
}
