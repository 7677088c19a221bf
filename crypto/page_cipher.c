/* SPDX-License-Identifier: Apache-2.0 */
/* The one global is the implementation in use. page_cipher_init sets it once. */
#include "crypto/page_cipher.h"
#include "crypto/kat_vectors.h"
#include "crypto/simd.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/page_alloc.h"

typedef void kernel_fn(const uint8_t *data_keys, const uint8_t *tweak_keys,
		       const struct page_item *items, size_t count, const struct page_item *ahead);

kernel_fn page_xts_aesni_enc_10, page_xts_aesni_enc_14;
kernel_fn page_xts_aesni_dec_10, page_xts_aesni_dec_14;
kernel_fn page_xts_vaes256_enc_10, page_xts_vaes256_enc_14;
kernel_fn page_xts_vaes256_dec_10, page_xts_vaes256_dec_14;
kernel_fn page_xts_vaes512_enc_10, page_xts_vaes512_enc_14;
kernel_fn page_xts_vaes512_dec_10, page_xts_vaes512_dec_14;

/* Encrypts or decrypts a page and makes its tag in one pass: see polyval.inc. */
typedef void tagged_fn(const uint8_t *data_keys, const uint8_t *tweak_keys,
		       struct page_mac_item *item, const struct page_mac_key *mac,
		       const uint8_t *mac_round_keys, const void *ahead);

tagged_fn page_tags_vaes256_enc_10, page_tags_vaes256_enc_14;
tagged_fn page_tags_vaes256_dec_10, page_tags_vaes256_dec_14;
tagged_fn page_tags_vaes512_enc_10, page_tags_vaes512_enc_14;
tagged_fn page_tags_vaes512_dec_10, page_tags_vaes512_dec_14;

/*
 * vaes512_wrapped.asm. The kernels take the wrapped key in place of the data keys; the tweak keys
 * are ignored. They return 0, having written nothing, if the master key did not wrap that key.
 */
typedef uint64_t wrapped_kernel_fn(const uint8_t *wrapped, const uint8_t *ignored,
				   const struct page_item *items, size_t count,
				   const struct page_item *ahead);

wrapped_kernel_fn page_xts_wrapped_enc, page_xts_wrapped_dec;
void page_key_wrap(const uint8_t key[PAGE_KEY_BYTES], uint8_t wrapped[PAGE_KEY_WRAPPED_BYTES]);

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
	tagged_fn *tagged[2][2]; /* as kernel; NULL: a page's tag is made in a pass of its own */
} ciphers[] = {
	{ "mbedtls", "nothing", has_mbedtls, false, { { NULL } }, { { NULL } } },
	{ "aesni",
	  "AES-NI and PCLMULQDQ",
	  has_aesni,
	  false,
	  { { page_xts_aesni_dec_10, page_xts_aesni_dec_14 },
	    { page_xts_aesni_enc_10, page_xts_aesni_enc_14 } },
	  { { NULL } } },
	{ "vaes256",
	  "AVX2, VAES and VPCLMULQDQ, and their state in XCR0",
	  has_vaes256,
	  true,
	  { { page_xts_vaes256_dec_10, page_xts_vaes256_dec_14 },
	    { page_xts_vaes256_enc_10, page_xts_vaes256_enc_14 } },
	  { { page_tags_vaes256_dec_10, page_tags_vaes256_dec_14 },
	    { page_tags_vaes256_enc_10, page_tags_vaes256_enc_14 } } },
	{ "vaes512",
	  "AVX-512 (F, BW, DQ), VAES and VPCLMULQDQ, and their state in XCR0",
	  has_vaes512,
	  true,
	  { { page_xts_vaes512_dec_10, page_xts_vaes512_dec_14 },
	    { page_xts_vaes512_enc_10, page_xts_vaes512_enc_14 } },
	  { { page_tags_vaes512_dec_10, page_tags_vaes512_dec_14 },
	    { page_tags_vaes512_enc_10, page_tags_vaes512_enc_14 } } },
};

/* The implementation in use. */
static struct engine {
	const struct cipher *cipher;
	struct simd_plan plan;
	bool wrapped; /* keys are in memory as the master key has wrapped them */
	bool refuses; /* page_cipher_refuse_keys */
} engine = { .cipher = &ciphers[0] };

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

static bool has_kernels(const struct engine *e)
{
	return e->cipher->kernel[0][0] != NULL;
}

static bool run_wrapped(const struct page_key *key, bool encrypt, const struct page_item *items,
			size_t count, const struct page_item *ahead)
{
	wrapped_kernel_fn *kernel = encrypt ? page_xts_wrapped_enc : page_xts_wrapped_dec;

	return kernel(key->wrapped, NULL, items, count, ahead) != 0;
}

/* A part of one call: pages under one key. ahead: the item whose page is fetched at the end. */
static void run(const struct engine *e, const struct page_key *key, bool encrypt,
		const struct page_item *items, size_t count, const struct page_item *ahead)
{
	struct aes_xts_schedule keys;

	if (e->wrapped) {
		if (!run_wrapped(key, encrypt, items, count, ahead)) {
			panic("a page key cannot be unwrapped: it was changed in memory, or DR0 to "
			      "DR3 were");
		}
		return;
	}
	keys = aes_xts_schedule(&key->xts, encrypt);
	if (has_kernels(e)) {
		e->cipher->kernel[encrypt][keys.rounds == 14](keys.data, keys.tweak, items, count,
							      ahead);
	} else {
		run_mbedtls(key, encrypt, items, count);
	}
}

static void make_tag(const struct engine *e, const struct page_mac_key *key,
		     struct page_mac_item *item, bool past_cache)
{
	page_mac_fn *kernel = past_cache ? page_mac_xmm_past : page_mac_xmm;

	if (has_kernels(e)) {
		kernel(key, page_mac_round_keys(key), item);
	} else {
		page_mac_portable(key, item);
	}
}

/* The guest's vector registers, while kernels use them. aes_xts.c saves them itself for mbedTLS. */
union bracket {
	struct simd_wide_save wide;
	struct simd_save narrow;
};

static void begin(const struct engine *e, union bracket *save)
{
	if (e->cipher->wide) {
		simd_begin_wide(&save->wide, &e->plan);
	} else if (has_kernels(e)) {
		simd_begin(&save->narrow);
	}
}

static void end(const struct engine *e, const union bracket *save)
{
	if (e->cipher->wide) {
		simd_end_wide(&save->wide, &e->plan);
	} else if (has_kernels(e)) {
		simd_end(&save->narrow);
	}
}

static int wrap_key(const struct engine *e, struct page_key *out, const uint8_t *key,
		    size_t key_bytes)
{
	union bracket save;

	secure_zero(out, sizeof(*out));
	if (key_bytes != PAGE_KEY_BYTES || ct_equal(key, key + key_bytes / 2, key_bytes / 2)) {
		return ERR_INVAL;
	}
	begin(e, &save);
	page_key_wrap(key, out->wrapped);
	end(e, &save);
	return 0;
}

static int set_key(const struct engine *e, struct page_key *out, const uint8_t *key,
		   size_t key_bytes)
{
	return e->wrapped ? wrap_key(e, out, key, key_bytes)
			  : aes_xts_set_key(&out->xts, key, key_bytes);
}

int page_key_set(struct page_key *out, const uint8_t *key, size_t key_bytes)
{
	if (engine.refuses) {
		secure_zero(out, sizeof(*out));
		log_error("crypto: a page key is refused: it would lie in memory in clear, which "
			  "[host] key-store rules out");
		return ERR_RIGHTS;
	}
	return set_key(&engine, out, key, key_bytes);
}

static void run_pages(const struct engine *e, const struct page_key *key, bool encrypt,
		      const struct page_item *items, size_t count)
{
	union bracket save;

	if (count != 0) {
		begin(e, &save);
		run(e, key, encrypt, items, count, items + count - 1);
		end(e, &save);
	}
}

void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	run_pages(&engine, key, true, items, count);
}

void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	run_pages(&engine, key, false, items, count);
}

static struct page_item item_of(const struct page_job *job, const void *in, void *out)
{
	struct page_item item = { .in = in, .out = out };

	memcpy(item.tweak, job->tweak, sizeof(item.tweak));
	return item;
}

static struct page_mac_item mac_item_of(const struct page_job *job, const void *in)
{
	struct page_mac_item item = { .in = in, .out = job->out, .bytes = PAGE_CIPHER_BYTES };

	memcpy(item.name, job->name, sizeof(item.name));
	memcpy(item.tweak, job->tweak, sizeof(item.tweak));
	return item;
}

/* Does one pass over a page encrypt or decrypt it and make its tag? Not with wrapped keys. */
static bool has_one_pass(const struct engine *e)
{
	return e->cipher->tagged[0][0] != NULL && !e->wrapped;
}

static void run_tagged(const struct engine *e, const struct page_job *job, bool encrypt,
		       struct page_mac_item *item, const void *ahead)
{
	struct aes_xts_schedule keys = aes_xts_schedule(&job->key->xts, encrypt);

	e->cipher->tagged[encrypt][keys.rounds == 14](keys.data, keys.tweak, item, job->mac,
						      page_mac_round_keys(job->mac), ahead);
}

/* ahead: the item whose page is fetched meanwhile, or NULL. */
static __attribute__((noinline)) void seal_with_tag(const struct engine *e, struct page_job *job,
						    const struct page_item *ahead)
{
	const bool one_pass = has_one_pass(e);
	struct page_mac_item mac = mac_item_of(job, one_pass ? job->in : job->scratch);

	if (one_pass) {
		run_tagged(e, job, true, &mac, ahead != NULL ? ahead->in : job->in);
	} else {
		const struct page_item item = item_of(job, job->in, job->scratch);

		run(e, job->key, true, &item, 1, ahead != NULL ? ahead : &item);
		make_tag(e, job->mac, &mac, true);
	}
	memcpy(job->tag, mac.tag, sizeof(job->tag));
}

static void seal_page(const struct engine *e, struct page_job *job, const struct page_item *ahead)
{
	if (job->mac != NULL) {
		seal_with_tag(e, job, ahead);
	} else {
		const struct page_item item = item_of(job, job->in, job->out);

		run(e, job->key, true, &item, 1, ahead != NULL ? ahead : &item);
	}
}

static __attribute__((noinline)) bool unseal_with_tag(const struct engine *e,
						      const struct page_job *job)
{
	const struct page_item copy = item_of(job, job->out, job->out);
	struct page_mac_item mac = mac_item_of(job, job->in);

	if (has_one_pass(e)) {
		run_tagged(e, job, false, &mac, job->in);
	} else {
		make_tag(e, job->mac, &mac, false);
	}
	if (!ct_equal(mac.tag, job->tag, sizeof(mac.tag))) {
		memset(job->out, 0, PAGE_CIPHER_BYTES);
		return false;
	}
	if (!has_one_pass(e)) {
		run(e, job->key, false, &copy, 1, &copy);
	}
	return true;
}

static bool unseal_page(const struct engine *e, const struct page_job *job)
{
	bool good = true;

	if (job->mac != NULL) {
		good = unseal_with_tag(e, job);
	} else {
		const struct page_item item = item_of(job, job->in, job->out);

		run(e, job->key, false, &item, 1, &item);
	}
	return good;
}

bool page_exchange(struct page_job *seal, struct page_job *open)
{
	const struct page_item next = open != NULL ? item_of(open, open->in, open->out)
						   : (struct page_item){ .in = NULL };
	bool good = true;
	union bracket save;

	begin(&engine, &save);
	if (seal != NULL) {
		seal_page(&engine, seal, open != NULL ? &next : NULL);
	}
	if (open != NULL) {
		good = unseal_page(&engine, open);
	}
	end(&engine, &save);
	return good;
}

/* Two blocks need no wide registers, whose saving would take longer. */
static void tag_name(const struct engine *e, const struct page_mac_key *mac,
		     const uint8_t name[PAGE_NAME_BYTES], uint8_t tag[PAGE_TAG_BYTES])
{
	struct page_mac_item item = { .bytes = 0 };

	memcpy(item.name, name, sizeof(item.name));
	if (has_kernels(e)) {
		struct simd_save save;

		simd_begin(&save);
		make_tag(e, mac, &item, false);
		simd_end(&save);
	} else {
		page_mac_portable(mac, &item);
	}
	memcpy(tag, item.tag, sizeof(item.tag));
}

void page_tag_name(const struct page_mac_key *mac, const uint8_t name[PAGE_NAME_BYTES],
		   uint8_t tag[PAGE_TAG_BYTES])
{
	tag_name(&engine, mac, name, tag);
}

/* Encrypts to another page, compares with mbedTLS, decrypts in place, compares with the input. */
static bool agrees(const struct engine *e, size_t key_bytes, uint8_t *pages)
{
	struct page_item items[CHECK_ITEMS], back[CHECK_ITEMS];
	uint8_t *expected = pages + 2 * CHECK_ITEMS * PAGE_CIPHER_BYTES;
	uint8_t bytes[PAGE_KEY_BYTES];
	struct aes_xts_key reference;
	struct page_key key;
	bool good;

	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(37 * i + key_bytes);
	}
	for (size_t i = 0; i < CHECK_ITEMS * PAGE_CIPHER_BYTES; i++) {
		pages[i] = (uint8_t)(i * i >> 7 ^ i);
	}
	good = aes_xts_set_key(&reference, bytes, key_bytes) == 0 &&
	       set_key(e, &key, bytes, key_bytes) == 0;
	for (size_t i = 0; i < CHECK_ITEMS; i++) {
		items[i].in = pages + i * PAGE_CIPHER_BYTES;
		items[i].out = pages + (CHECK_ITEMS + i) * PAGE_CIPHER_BYTES;
		memset(items[i].tweak, (int)(0x80 + 85 * i), sizeof(items[i].tweak));
		back[i] = items[i];
		back[i].in = back[i].out;
	}
	run_pages(e, &key, true, items, CHECK_ITEMS);
	for (size_t i = 0; i < CHECK_ITEMS; i++) {
		good = aes_xts_encrypt(&reference, items[i].tweak, items[i].in, expected,
				       PAGE_CIPHER_BYTES) == 0 &&
		       ct_equal(items[i].out, expected, PAGE_CIPHER_BYTES) && good;
	}
	run_pages(e, &key, false, back, CHECK_ITEMS);
	secure_zero(&key, sizeof(key));
	return good && ct_equal(pages, pages + CHECK_ITEMS * PAGE_CIPHER_BYTES,
				CHECK_ITEMS * PAGE_CIPHER_BYTES);
}

/*
 * Opens the first page as if it were ciphertext with the known tag, and seals the result: this must
 * give the same page and tag again. mbedTLS must encrypt the result to the same page, too.
 */
static bool tag_is(const struct engine *e, const struct page_job *known, uint8_t *pages)
{
	uint8_t *text = pages + PAGE_CIPHER_BYTES, *again = text + PAGE_CIPHER_BYTES;
	struct page_job open = *known, seal = *known;
	union bracket save;
	bool good;

	open.in = pages;
	open.out = text;
	seal.in = text;
	seal.out = again;
	seal.scratch = again + PAGE_CIPHER_BYTES;
	memset(seal.tag, 0, sizeof(seal.tag));
	begin(e, &save);
	good = unseal_page(e, &open);
	seal_page(e, &seal, NULL);
	end(e, &save);
	good = ct_equal(again, pages, PAGE_CIPHER_BYTES) && good;
	good = ct_equal(seal.tag, known->tag, sizeof(seal.tag)) && good;
	return aes_xts_encrypt(&known->key->xts, known->tweak, text, again, PAGE_CIPHER_BYTES) ==
		       0 &&
	       ct_equal(again, pages, PAGE_CIPHER_BYTES) && good;
}

/*
 * Compares with known tags: of a name alone and of a page with this name; with the shorter key, of
 * the page with a name of zeros.
 */
static bool tags_agree(const struct engine *e, size_t key_bytes, uint8_t *pages)
{
	struct page_mac_key mac;
	struct page_key key;
	struct page_job job = { .key = &key, .mac = &mac, .tweak = { 1 } };
	uint8_t bytes[64], tag[PAGE_TAG_BYTES];
	bool good;

	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)i;
	}
	for (size_t i = 0; i < PAGE_CIPHER_BYTES; i++) {
		pages[i] = (uint8_t)(7 * i + i / 256);
	}
	good = page_mac_key_set(&mac, kat_tag_key) == 0 && set_key(e, &key, bytes, key_bytes) == 0;
	tag_name(e, &mac, kat_tag_name, tag);
	good = ct_equal(tag, kat_tag_of_name, sizeof(tag)) && good;
	if (key_bytes == 64) {
		memcpy(job.name, kat_tag_name, sizeof(job.name));
		memcpy(job.tag, kat_tag_of_both, sizeof(job.tag));
	} else {
		memcpy(job.tag, kat_tag_of_page, sizeof(job.tag));
	}
	good = tag_is(e, &job, pages) && good;
	secure_zero(&mac, sizeof(mac));
	secure_zero(&key, sizeof(key));
	return good;
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
		/* The portable code is slow, and has no variants for key sizes. */
		if ((has_kernels(&e) && !tags_agree(&e, 32, pages)) || !tags_agree(&e, 64, pages)) {
			log_error("crypto: self-test failed: %s makes other tags of pages than the "
				  "known ones; this CPU or this image is broken",
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

/* A known answer, and a key that was changed. */
static bool wraps(const struct engine *e, uint8_t *page)
{
	const struct page_item item = { .in = page, .out = page };
	struct page_key key;
	union bracket save;
	bool good = wrap_key(e, &key, kat_wrap_key, sizeof(kat_wrap_key)) == 0 &&
		    ct_equal(key.wrapped, kat_wrapped_key, sizeof(kat_wrapped_key));

	key.wrapped[PAGE_KEY_WRAPPED_BYTES - 1] ^= 1;
	begin(e, &save);
	good = !run_wrapped(&key, false, &item, 1, &item) && good;
	end(e, &save);
	return good;
}

int page_cipher_check_wrapping(void)
{
	const struct engine trial = { engine.cipher, engine.plan, .wrapped = true };
	uint8_t *pages;
	bool good;

	if (engine.cipher != &ciphers[ARRAY_COUNT(ciphers) - 1]) {
		return ERR_UNSUPPORTED;
	}
	pages = page_alloc(CHECK_PAGES);
	if (pages == NULL) {
		return ERR_NOMEM;
	}
	good = wraps(&trial, pages) && agrees(&trial, PAGE_KEY_BYTES, pages);
	page_free(pages, CHECK_PAGES);
	return good ? 0 : ERR_SELFTEST;
}

void page_cipher_wrap_keys(void)
{
	engine.wrapped = true;
}

void page_cipher_refuse_keys(void)
{
	engine.refuses = true;
}

bool page_cipher_wraps_keys(void)
{
	return engine.wrapped;
}

bool page_tags_are_fast(void)
{
	return engine.cipher->wide;
}

const char *page_cipher_name(void)
{
	return engine.cipher->name;
}
