/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every page cipher that this host can run, compared with mbedTLS; the conditions for using one;
 * XCR0.
 */
#include <cpuid.h>
#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>

#include <mbedtls/aes.h>
#include <mbedtls/sha256.h>

#include "tests/unit/test.h"
#include "crypto/aes_xts.h"
#include "crypto/kat_vectors.h"
#include "crypto/page_cipher.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"

#define MAX_ITEMS 9
#define AVX512	  (XCR0_OPMASK | XCR0_ZMM_HI256 | XCR0_HI16_ZMM)

static const char *const names[] = { "mbedtls", "aesni", "vaes256", "vaes512" };
static uint8_t plain[MAX_ITEMS][4096], out[MAX_ITEMS][4096] __attribute__((aligned(4096)));
static uint8_t expected[4096];
static uint64_t random_state = 1;
extern uint64_t fake_master[4]; /* master_memory.c */

/* Bits that a test hides from the host's CPUID. */
static uint32_t hide_1_ecx, hide_7_ecx, hide_7_ebx, hide_xcr0;

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r;

	__cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
	if (leaf == 1) {
		r.ecx &= ~hide_1_ecx;
	} else if (leaf == 7 && subleaf == 0) {
		r.ebx &= ~hide_7_ebx;
		r.ecx &= ~hide_7_ecx;
	} else if (leaf == 0xd && subleaf == 0) {
		r.eax &= ~hide_xcr0;
	} else if (leaf == 0xd && subleaf == 1) {
		r.eax &= ~(uint32_t)CPUID_D_1_EAX_XGETBV1;
	}
	return r;
}

/*
 * The test cannot write the real XCR0: this variable stands for a guest's, and takes what the
 * bracket writes.
 */
static uint64_t xcr0;
static uint64_t xsetbv_values[4];
static unsigned xsetbv_count;

uint64_t fake_xgetbv(uint32_t index)
{
	assert_int_equal(index, 0);
	return xcr0;
}

void fake_xsetbv(uint32_t index, uint64_t value)
{
	assert_int_equal(index, 0);
	assert_true(xsetbv_count < ARRAY_COUNT(xsetbv_values));
	xsetbv_values[xsetbv_count++] = value;
	xcr0 = value;
}

static int setup(void **state)
{
	hide_1_ecx = hide_7_ecx = hide_7_ebx = hide_xcr0 = 0;
	xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX | AVX512;
	xsetbv_count = 0;
	return fake_setup(state);
}

static void fill_random(void *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		random_state = random_state * 6364136223846793005ul + 1442695040888963407ul;
		((uint8_t *)p)[i] = (uint8_t)(random_state >> 56);
	}
}

/* Compares with the reference cipher, in place or not, for encryption and decryption. */
static void compare_batch(const uint8_t *key_bytes, size_t size, uint8_t tweaks[][16], size_t count,
			  bool in_place, size_t shift)
{
	static uint8_t area[MAX_ITEMS][4096 + 64] __attribute__((aligned(64)));
	struct page_item items[MAX_ITEMS], back[MAX_ITEMS];
	struct aes_xts_key reference;
	struct page_key key;

	assert_int_equal(page_key_set(&key, key_bytes, size), 0);
	assert_int_equal(aes_xts_set_key(&reference, key_bytes, size), 0);
	for (size_t i = 0; i < count; i++) {
		uint8_t *page = &area[i][shift];

		memcpy(page, plain[i], 4096);
		items[i].in = page;
		items[i].out = in_place ? page : out[i];
		memcpy(items[i].tweak, tweaks[i], 16);
		back[i] = items[i];
		back[i].in = items[i].out;
		back[i].out = page;
	}
	page_encrypt(&key, items, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(aes_xts_encrypt(&reference, tweaks[i], plain[i], expected, 4096),
				 0);
		assert_memory_equal(items[i].out, expected, 4096);
		if (!in_place) {
			assert_memory_equal(items[i].in, plain[i], 4096);
			memset(&area[i][shift], 0xee, 4096);
		}
	}
	page_decrypt(&key, back, count);
	for (size_t i = 0; i < count; i++) {
		assert_memory_equal(back[i].out, plain[i], 4096);
	}
}

/* Logs that this host's CPU cannot run a cipher. */
static bool take(const char *name)
{
	static const char *said;
	const int err = page_cipher_init(name);

	if (err == 0) {
		return true;
	}
	assert_int_equal(err, ERR_UNSUPPORTED);
	if (said != name) {
		said = name;
		printf("not run: page cipher %s: this host's CPU lacks it\n", name);
	}
	return false;
}

TEST(all_give_what_mbedtls_gives, setup, fake_teardown)
{
	uint8_t tweaks[MAX_ITEMS][16], key[64];

	for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
		if (!take(names[n])) {
			continue;
		}
		assert_string_equal(page_cipher_name(), names[n]);
		for (unsigned round = 0; round < 48; round++) {
			fill_random(plain, sizeof(plain));
			fill_random(key, sizeof(key));
			fill_random(tweaks, sizeof(tweaks));
			compare_batch(key, round % 2 != 0 ? 64 : 32, tweaks, 1 + round % MAX_ITEMS,
				      (round & 2) != 0, 16 * (round % 5));
		}
	}
}

/* Every single bit of the encrypted tweak that can carry, and the ends of the range. */
TEST(carries_of_the_tweak, setup, fake_teardown)
{
	static const uint8_t ends[] = { 0x00, 0xff, 0x80, 0x01 };
	uint8_t tweaks[MAX_ITEMS][16], key[64];

	fill_random(plain, sizeof(plain));
	fill_random(key, sizeof(key));
	for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
		if (!take(names[n])) {
			continue;
		}
		for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
			memset(tweaks[i], ends[i], 16);
		}
		compare_batch(key, 64, tweaks, ARRAY_COUNT(ends), true, 0);
		for (unsigned bit = 0; bit < 128; bit++) {
			memset(tweaks, 0, sizeof(tweaks));
			tweaks[0][bit / 8] = (uint8_t)(1u << bit % 8);
			compare_batch(key, 32, tweaks, 1, true, 0);
		}
	}
}

/* The published vectors have 512 bytes: the first of a page. */
TEST(published_ciphertext, setup, fake_teardown)
{
	static uint8_t page[4096] __attribute__((aligned(16)));
	struct page_item item = { page, page, { 0 } };
	struct page_key key;

	for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
		if (!take(names[n])) {
			continue;
		}
		for (size_t i = 0; i < sizeof(page); i++) {
			page[i] = (uint8_t)i;
		}
		assert_int_equal(page_key_set(&key, kat_xts128_key, sizeof(kat_xts128_key)), 0);
		memcpy(item.tweak, kat_xts128_tweak, 16);
		page_encrypt(&key, &item, 1);
		assert_memory_equal(page, kat_xts128_cipher, 512);
		page_decrypt(&key, &item, 1);
		assert_int_equal(page_key_set(&key, kat_xts256_key, sizeof(kat_xts256_key)), 0);
		memcpy(item.tweak, kat_xts256_tweak, 16);
		page_encrypt(&key, &item, 1);
		assert_memory_equal(page, kat_xts256_cipher, 512);
	}
}

/*
 * Row 44 of the project's test matrix for TME-MK: a page under the same key has the same ciphertext
 * from every implementation here and from the emulated TME-MK engine, where the data unit is a
 * line, numbered by its address. The engine's tests have the same digests (tests/machine/tme).
 */
TEST(row_44_as_the_engine_of_tme_mk, setup, fake_teardown)
{
	static const struct {
		size_t key_bytes;
		uint8_t sha256[32];
	} cells[] = {
		{ 32, { 0xf2, 0xf7, 0x65, 0xd1, 0x10, 0xb0, 0x21, 0x8b, 0xfa, 0x9d, 0x2f,
			0xe6, 0x08, 0x31, 0x7e, 0x05, 0xbb, 0x64, 0x08, 0xaa, 0xc3, 0xdc,
			0xbf, 0x02, 0x08, 0xbf, 0x6b, 0xa7, 0x15, 0xd1, 0xc8, 0x30 } },
		{ 64, { 0x16, 0xf6, 0x6d, 0xe9, 0x49, 0xb9, 0x64, 0xa5, 0x58, 0x5c, 0xba,
			0x78, 0x4e, 0xc7, 0x36, 0xf0, 0x40, 0x17, 0x84, 0xb6, 0x89, 0x34,
			0xda, 0x38, 0x49, 0xf0, 0xf0, 0x4c, 0xfe, 0xe7, 0x98, 0xfb } },
	};
	static uint8_t page[4096] __attribute__((aligned(64))), lines[4096];
	uint8_t key_bytes[64], digest[32];

	for (size_t i = 0; i < sizeof(key_bytes); i++) {
		key_bytes[i] = (uint8_t)i;
	}
	for (size_t n = 0; n < ARRAY_COUNT(names) * ARRAY_COUNT(cells); n++) {
		const size_t cell = n % ARRAY_COUNT(cells);
		struct page_key key;

		if (page_cipher_init(names[n / ARRAY_COUNT(cells)]) != 0) {
			continue;
		}
		assert_int_equal(page_key_set(&key, key_bytes, cells[cell].key_bytes), 0);
		for (size_t at = 0; at < sizeof(page); at += 64) {
			const uint64_t unit = (0x1000000 + at) / 64;
			struct page_item item = { page, page, { 0 } };

			for (size_t i = 0; i < sizeof(page); i++) {
				/* The line is the first of its data unit. */
				page[i] = (uint8_t)(at + i);
			}
			memcpy(item.tweak, &unit, sizeof(unit));
			page_encrypt(&key, &item, 1);
			memcpy(lines + at, page, 64);
		}
		assert_int_equal(mbedtls_sha256(lines, sizeof(lines), digest, 0), 0);
		assert_memory_equal(digest, cells[cell].sha256, sizeof(digest));
	}
}

/* With wrapped keys: the same bytes; other keys are refused; a key that was changed is noticed. */
TEST(wrapped_keys, setup, fake_teardown)
{
	uint8_t tweaks[MAX_ITEMS][16], key[64], wrapped[PAGE_KEY_WRAPPED_BYTES];
	struct page_item item = { plain[0], out[0], { 0 } };
	struct page_key page_key;

	assert_int_equal(page_cipher_init("mbedtls"), 0);
	assert_int_equal(page_cipher_check_wrapping(), ERR_UNSUPPORTED);
	if (!take("vaes512")) {
		return;
	}
	assert_int_equal(page_cipher_check_wrapping(), ERR_SELFTEST); /* another master key */
	memcpy(fake_master, kat_wrap_master, sizeof(fake_master));
	assert_int_equal(page_cipher_check_wrapping(), 0);
	assert_false(page_cipher_wraps_keys());
	page_cipher_wrap_keys();
	assert_true(page_cipher_wraps_keys());
	assert_int_equal(page_key_set(&page_key, kat_wrap_key, 32), ERR_INVAL);
	memset(key, 7, sizeof(key));
	assert_int_equal(page_key_set(&page_key, key, 64), ERR_INVAL);
	assert_int_equal(page_key_set(&page_key, kat_wrap_key, 64), 0);
	assert_memory_equal(page_key.wrapped, kat_wrapped_key, sizeof(kat_wrapped_key));
	memcpy(wrapped, page_key.wrapped, sizeof(wrapped));
	for (unsigned bit = 0; bit < 8 * sizeof(wrapped); bit += 7) {
		memset(out[0], 0x5a, 4096);
		page_key.wrapped[bit / 8] ^= (uint8_t)(1u << bit % 8);
		FAKE_EXPECT_PANIC(page_encrypt(&page_key, &item, 1), "cannot be unwrapped");
		FAKE_EXPECT_PANIC(page_decrypt(&page_key, &item, 1), "cannot be unwrapped");
		memset(expected, 0x5a, sizeof(expected));
		assert_memory_equal(out[0], expected, 4096);
		memcpy(page_key.wrapped, wrapped, sizeof(wrapped));
	}
	for (unsigned round = 0; round < 24; round++) {
		fill_random(plain, sizeof(plain));
		fill_random(key, sizeof(key));
		fill_random(tweaks, sizeof(tweaks));
		fill_random(fake_master, sizeof(fake_master));
		compare_batch(key, 64, tweaks, 1 + round % MAX_ITEMS, (round & 2) != 0,
			      16 * (round % 5));
	}
}

/* Keys are wanted wrapped and cannot be: no new one comes into memory. */
TEST(keys_refused, setup, fake_teardown)
{
	static const uint8_t zeros[sizeof(struct page_key)];
	struct page_item item = { plain[0], out[0], { 3 } };
	struct page_key page_key, kept;

	assert_int_equal(page_cipher_init("mbedtls"), 0);
	assert_int_equal(page_key_set(&kept, kat_xts256_key, 64), 0);
	page_cipher_refuse_keys();
	memset(&page_key, 0x5a, sizeof(page_key));
	assert_int_equal(page_key_set(&page_key, kat_xts256_key, 64), ERR_RIGHTS);
	assert_memory_equal(&page_key, zeros, sizeof(zeros));
	assert_non_null(strstr(fake_log_text(), "a page key is refused"));
	fill_random(plain, sizeof(plain));
	aes_xts_encrypt(&kept.xts, item.tweak, plain[0], expected, 4096);
	page_encrypt(&kept, &item, 1);
	assert_memory_equal(out[0], expected, 4096);
}

/* A page is encrypted out of a frame and another is decrypted into it; the key sizes differ. */
TEST(exchange_through_one_frame, setup, fake_teardown)
{
	static uint8_t frame[4096] __attribute__((aligned(64)));
	static uint8_t store[2][4096] __attribute__((aligned(64)));
	struct page_key one, two;
	struct page_job seal = { .key = &one, .in = frame, .out = store[0], .tweak = { 1 } };
	struct page_job open = { .key = &two, .in = store[1], .out = frame, .tweak = { 2 } };
	uint8_t key[64];

	for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
		if (!take(names[n])) {
			continue;
		}
		fill_random(key, sizeof(key));
		fill_random(plain, sizeof(plain));
		assert_int_equal(page_key_set(&one, key, 64), 0);
		assert_int_equal(page_key_set(&two, key, 32), 0);
		memcpy(frame, plain[0], 4096);
		aes_xts_encrypt(&two.xts, open.tweak, plain[1], store[1], 4096);
		assert_true(page_exchange(&seal, &open));
		assert_memory_equal(frame, plain[1], 4096);
		aes_xts_encrypt(&one.xts, seal.tweak, plain[0], expected, 4096);
		assert_memory_equal(store[0], expected, 4096);
		page_encrypt(&one, NULL, 0);
		page_decrypt(&one, NULL, 0);
	}
}

/* --- Tags --- */

/* RFC 8452, section 3, bit by bit: the field's elements are integers of 128 bits. */
static unsigned __int128 slow_dot(unsigned __int128 a, unsigned __int128 b)
{
	const unsigned __int128 low = (unsigned __int128)0xc2000000u << 96 | 1;
	unsigned __int128 sum = 0;

	for (unsigned bit = 0; bit < 128; bit++) {
		sum ^= (b >> bit & 1) != 0 ? a : 0;
		/* Divides by x: the polynomial is added if the lowest bit is set. */
		sum = (sum & 1) != 0 ? (sum ^ low) >> 1 | (unsigned __int128)1 << 127 : sum >> 1;
	}
	return sum;
}

static void slow_tag(const uint8_t key[PAGE_MAC_KEY_BYTES], const uint8_t *name, const void *page,
		     size_t bytes, uint8_t tag[PAGE_TAG_BYTES])
{
	unsigned __int128 h, block, sum = 0;
	mbedtls_aes_context aes;

	memcpy(&h, key, 16);
	for (size_t at = 0; at < PAGE_NAME_BYTES + bytes; at += 16) {
		memcpy(&block,
		       at < PAGE_NAME_BYTES ? name + at
					    : (const uint8_t *)page + at - PAGE_NAME_BYTES,
		       16);
		sum = slow_dot(sum ^ block, h);
	}
	mbedtls_aes_init(&aes);
	assert_int_equal(mbedtls_aes_setkey_enc(&aes, key + 16, 256), 0);
	assert_int_equal(
		mbedtls_aes_crypt_ecb(&aes, MBEDTLS_AES_ENCRYPT, (const uint8_t *)&sum, tag), 0);
	mbedtls_aes_free(&aes);
}

static struct page_key page_key;
static struct page_mac_key mac_key;
static uint8_t mac_bytes[PAGE_MAC_KEY_BYTES];
static uint8_t frame_page[4096] __attribute__((aligned(64)));
static uint8_t stored[4096] __attribute__((aligned(64)));

static void new_keys(void)
{
	uint8_t bytes[64];

	fill_random(bytes, sizeof(bytes));
	fill_random(mac_bytes, sizeof(mac_bytes));
	fill_random(plain, sizeof(plain));
	assert_int_equal(page_key_set(&page_key, bytes, sizeof(bytes)), 0);
	assert_int_equal(page_mac_key_set(&mac_key, mac_bytes), 0);
}

/* Seals plain[0] into stored. */
static struct page_job sealed_job(void)
{
	struct page_job seal = { .key = &page_key,
				 .mac = &mac_key,
				 .in = frame_page,
				 .out = stored,
				 .scratch = frame_page };

	fill_random(seal.tweak, sizeof(seal.tweak));
	fill_random(seal.name, sizeof(seal.name));
	memcpy(frame_page, plain[0], sizeof(frame_page));
	assert_true(page_exchange(&seal, NULL));
	return seal;
}

static struct page_job opening_of(const struct page_job *seal)
{
	struct page_job open = *seal;

	open.in = stored;
	open.out = frame_page;
	return open;
}

TEST(tags_are_as_the_slow_code_makes_them, setup, fake_teardown)
{
	uint8_t tag[PAGE_TAG_BYTES];

	for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
		if (!take(names[n])) {
			continue;
		}
		for (unsigned round = 0; round < 12; round++) {
			struct page_job seal, open;

			new_keys();
			seal = sealed_job();
			open = opening_of(&seal);
			aes_xts_encrypt(&page_key.xts, seal.tweak, plain[0], expected, 4096);
			assert_memory_equal(stored, expected, 4096);
			slow_tag(mac_bytes, seal.name, stored, sizeof(stored), tag);
			assert_memory_equal(seal.tag, tag, sizeof(tag));
			memset(frame_page, 0xee, sizeof(frame_page));
			assert_true(page_exchange(NULL, &open));
			assert_memory_equal(frame_page, plain[0], 4096);
			slow_tag(mac_bytes, seal.name, NULL, 0, tag);
			page_tag_name(&mac_key, seal.name, open.tag);
			assert_memory_equal(open.tag, tag, sizeof(tag));
		}
	}
}

/* Each bit of the page, the name and the tag counts. Nothing of such a page is in the frame. */
TEST(a_changed_bit_is_detected, setup, fake_teardown)
{
	static const uint8_t zeros[4096];

	for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
		struct page_job seal, open;

		if (!take(names[n])) {
			continue;
		}
		new_keys();
		seal = sealed_job();
		for (size_t bit = 0; bit < 8 * sizeof(stored); bit += n == 0 ? 1021 : 1) {
			open = opening_of(&seal);
			stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
			memset(frame_page, 0xee, sizeof(frame_page));
			assert_false(page_exchange(NULL, &open));
			assert_memory_equal(frame_page, zeros, sizeof(zeros));
			stored[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		for (size_t bit = 0; bit < 8 * PAGE_NAME_BYTES; bit++) {
			open = opening_of(&seal);
			open.name[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_false(page_exchange(NULL, &open));
		}
		for (size_t bit = 0; bit < 8 * PAGE_TAG_BYTES; bit++) {
			open = opening_of(&seal);
			open.tag[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_false(page_exchange(NULL, &open));
		}
		open = opening_of(&seal);
		assert_true(page_exchange(NULL, &open));
	}
}

static bool attacker_stops;

/* Changes a bit of a page in the store, again and again. Ends with the bit as it was. */
static void *change_a_bit(void *byte)
{
	while (!__atomic_load_n(&attacker_stops, __ATOMIC_RELAXED)) {
		(void)__atomic_fetch_xor((uint8_t *)byte, 4, __ATOMIC_RELAXED);
		(void)__atomic_fetch_xor((uint8_t *)byte, 4, __ATOMIC_RELAXED);
	}
	return NULL;
}

/*
 * The store is in memory that an attacker writes. The tag is that of the bytes that are decrypted,
 * or were encrypted, whatever the store holds a moment later.
 */
TEST(the_store_is_read_once, setup, fake_teardown)
{
	static const uint8_t zeros[4096];
	uint8_t tag[PAGE_TAG_BYTES];
	pthread_t attacker;

	for (size_t n = 0; n < ARRAY_COUNT(names); n++) {
		struct page_job seal, open;

		if (!take(names[n])) {
			continue;
		}
		new_keys();
		seal = sealed_job();
		memcpy(tag, seal.tag, sizeof(tag));
		attacker_stops = false;
		assert_int_equal(pthread_create(&attacker, NULL, change_a_bit, stored + 2000), 0);
		for (unsigned round = 0; round < 400; round++) {
			open = opening_of(&seal);
			assert_memory_equal(frame_page,
					    page_exchange(NULL, &open) ? plain[0] : zeros, 4096);
			memcpy(frame_page, plain[0], sizeof(frame_page));
			assert_true(page_exchange(&seal, NULL));
			assert_memory_equal(seal.tag, tag, sizeof(tag));
		}
		__atomic_store_n(&attacker_stops, true, __ATOMIC_RELAXED);
		pthread_join(attacker, NULL);
	}
}

/* In one call through one frame, one page with a tag and one without, or both with. */
TEST(exchange_with_tags, setup, fake_teardown)
{
	for (size_t n = 0; n < 4 * ARRAY_COUNT(names); n++) {
		static uint8_t other[4096] __attribute__((aligned(64)));
		struct page_job first, open, seal;
		uint8_t tag[PAGE_TAG_BYTES];

		if (!take(names[n / 4])) {
			continue;
		}
		new_keys();
		first = sealed_job();
		open = opening_of(&first);
		seal = (struct page_job){ .key = &page_key,
					  .mac = &mac_key,
					  .in = frame_page,
					  .out = other,
					  .scratch = frame_page };
		seal.mac = (n & 1) != 0 ? &mac_key : NULL;
		open.mac = (n & 2) != 0 ? &mac_key : NULL;
		memcpy(frame_page, plain[1], sizeof(frame_page));
		assert_true(page_exchange(&seal, &open));
		assert_memory_equal(frame_page, plain[0], 4096);
		aes_xts_encrypt(&page_key.xts, seal.tweak, plain[1], expected, 4096);
		assert_memory_equal(other, expected, 4096);
		slow_tag(mac_bytes, seal.name, other, sizeof(other), tag);
		assert_int_equal(memcmp(seal.tag, tag, sizeof(tag)) == 0, (n & 1) != 0);
	}
}

TEST(refuses_what_the_cpu_lacks, setup, fake_teardown)
{
	assert_int_equal(page_cipher_init("mbedtls"), 0);
	assert_int_equal(page_cipher_init("rot13"), ERR_INVAL);
	assert_non_null(strstr(fake_log_text(), "not one of auto, mbedtls"));
	hide_1_ecx = CPUID_1_ECX_AESNI;
	for (size_t n = 1; n < ARRAY_COUNT(names); n++) {
		assert_int_equal(page_cipher_init(names[n]), ERR_UNSUPPORTED);
	}
	assert_non_null(strstr(fake_log_text(), "this CPU lacks some of what it needs: AES-NI"));
	assert_int_equal(page_cipher_init("auto"), 0);
	assert_string_equal(page_cipher_name(), "mbedtls");
	hide_1_ecx = 0;
	if (page_cipher_init("vaes512") != 0) {
		return;
	}
	hide_xcr0 = XCR0_ZMM_HI256;
	assert_int_equal(page_cipher_init("vaes512"), ERR_UNSUPPORTED);
	hide_xcr0 = XCR0_AVX;
	assert_int_equal(page_cipher_init("vaes256"), ERR_UNSUPPORTED);
	hide_xcr0 = 0;
	hide_7_ecx = CPUID_7_ECX_VPCLMULQDQ;
	assert_int_equal(page_cipher_init("vaes256"), ERR_UNSUPPORTED);
	assert_int_equal(page_cipher_init("auto"), 0);
	assert_string_equal(page_cipher_name(), "aesni");
	assert_false(page_tags_are_fast());
	hide_7_ecx = 0;
	hide_7_ebx = CPUID_7_EBX_AVX512BW;
	assert_int_equal(page_cipher_init("auto"), 0);
	assert_string_equal(page_cipher_name(), "vaes256");
	assert_true(page_tags_are_fast());
	hide_1_ecx = CPUID_1_ECX_XSAVE;
	assert_int_equal(page_cipher_init("vaes256"), ERR_UNSUPPORTED);
	/* After a refusal the earlier cipher stays in use. */
	assert_string_equal(page_cipher_name(), "vaes256");
}

TEST(guest_xcr0_is_widened_and_put_back, setup, fake_teardown)
{
	static uint8_t page[4096] __attribute__((aligned(16)));
	struct page_item item = { page, page, { 0 } };
	struct page_key key;

	assert_int_equal(page_key_set(&key, kat_xts256_key, sizeof(kat_xts256_key)), 0);
	assert_int_equal(page_cipher_init("mbedtls"), 0);
	for (size_t n = 1; n < ARRAY_COUNT(names); n++) {
		xsetbv_count = 0;
		xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX | AVX512 | XCR0_PKRU;
		if (!take(names[n])) {
			continue;
		}
		page_encrypt(&key, &item, 1);
		assert_int_equal(xsetbv_count, 0);
		xcr0 = XCR0_X87 | XCR0_PKRU;
		page_encrypt(&key, &item, 1);
		assert_int_equal(xcr0, XCR0_X87 | XCR0_PKRU);
		assert_int_equal(xsetbv_count, n == 1 ? 0 : 2);
		if (n > 1) {
			uint64_t offered = fake_cpuid(0xd, 0).eax & (AVX512 | XCR0_AVX | XCR0_SSE);

			assert_int_equal(xsetbv_values[0], offered | XCR0_X87 | XCR0_PKRU);
		}
	}
}

TEST(bad_keys_and_no_memory, setup, fake_teardown)
{
	uint8_t same[64] = { 0 };
	struct page_key key;

	assert_int_equal(page_key_set(&key, same, 64), ERR_INVAL);
	assert_int_equal(page_key_set(&key, kat_xts256_key, 48), ERR_INVAL);
	fake_pages_fail_after(0);
	assert_int_equal(page_cipher_init("auto"), ERR_NOMEM);
}
