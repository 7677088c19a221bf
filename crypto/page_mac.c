/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/page_mac.h"
#include "crypto/simd.h"
#include "mbedtls/aes.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

_Static_assert(sizeof(mbedtls_aes_context) <= sizeof(((struct page_mac_key *)0)->aes),
	       "room for mbedTLS");

/* 128 bits. In POLYVAL the lowest bit of the first word is the coefficient of x^0. */
struct block {
	uint64_t low, high;
};

static mbedtls_aes_context *aes_of(const struct page_mac_key *key)
{
	return (mbedtls_aes_context *)(uintptr_t)key->aes;
}

/*
 * Returns the low half of the product of two polynomials, by multiplications of integers. In each
 * factor three of every four bits are zero. So carries reach only bits of the product that are
 * masked off. The time does not depend on data.
 */
static uint64_t multiply_low(uint64_t a, uint64_t b)
{
	uint64_t product = 0;

	for (unsigned i = 0; i < 4; i++) {
		uint64_t sum = 0;

		for (unsigned j = 0; j < 4; j++) {
			sum ^= (a & 0x1111111111111111ul << j) *
			       (b & 0x1111111111111111ul << (i - j) % 4);
		}
		product |= sum & 0x1111111111111111ul << i;
	}
	return product;
}

static uint64_t reverse_bits(uint64_t x)
{
	x = (x >> 1 & 0x5555555555555555ul) | (x & 0x5555555555555555ul) << 1;
	x = (x >> 2 & 0x3333333333333333ul) | (x & 0x3333333333333333ul) << 2;
	x = (x >> 4 & 0x0f0f0f0f0f0f0f0ful) | (x & 0x0f0f0f0f0f0f0f0ful) << 4;
	return __builtin_bswap64(x);
}

static struct block multiply(uint64_t a, uint64_t b)
{
	return (struct block){
		multiply_low(a, b),
		reverse_bits(multiply_low(reverse_bits(a), reverse_bits(b))) >> 1,
	};
}

/*
 * Multiplies by x^63 + x^62 + x^57. Times x^64, these are the middle terms of the field's
 * polynomial (see dot).
 */
static struct block fold(uint64_t a)
{
	return (struct block){ a << 63 ^ a << 62 ^ a << 57, a >> 1 ^ a >> 2 ^ a >> 7 };
}

/* RFC 8452, section 3: dot(a, b) = a * b * x^-128, modulo x^128 + x^127 + x^126 + x^121 + 1. */
static struct block dot(struct block a, struct block b)
{
	struct block low = multiply(a.low, b.low), high = multiply(a.high, b.high);
	struct block middle = multiply(a.low ^ a.high, b.low ^ b.high), part;

	middle.low ^= low.low ^ high.low;
	middle.high ^= low.high ^ high.high;
	low.high ^= middle.low;
	high.low ^= middle.high;
	/* Adds multiples of the polynomial that clear the lower 128 bits. */
	part = fold(low.low);
	low.high ^= part.low;
	high.low ^= low.low ^ part.high;
	part = fold(low.high);
	high.low ^= part.low;
	high.high ^= low.high ^ part.high;
	return high;
}

static struct block load(const void *from)
{
	struct block block;

	memcpy(&block, from, sizeof(block));
	return block;
}

static void add_block(struct block *sum, const void *from, struct block h)
{
	const struct block block = load(from);

	sum->low ^= block.low;
	sum->high ^= block.high;
	*sum = dot(*sum, h);
}

int page_mac_key_set(struct page_mac_key *out, const uint8_t key[PAGE_MAC_KEY_BYTES])
{
	const struct block h = load(key);
	struct block power = h;
	struct simd_save save;
	int ret;

	for (size_t i = PAGE_MAC_POWERS; i-- > 0; power = dot(power, h)) {
		out->power[i][0] = power.low;
		out->power[i][1] = power.high;
		out->halves[i][0] = out->halves[i][1] = power.low ^ power.high;
	}
	mbedtls_aes_init(aes_of(out));
	simd_begin(&save);
	ret = mbedtls_aes_setkey_enc(aes_of(out), key + 16, 256);
	simd_end(&save);
	if (ret != 0) {
		secure_zero(out, sizeof(*out));
		return ERR_INVAL;
	}
	return 0;
}

void page_mac_portable(const struct page_mac_key *key, struct page_mac_item *item)
{
	const struct block h = load(key->power[PAGE_MAC_POWERS - 1]);
	const uint8_t *in = item->in;
	uint8_t *out = item->out;
	struct block sum = { 0, 0 };
	struct simd_save save;

	add_block(&sum, item->name, h);
	add_block(&sum, item->name + 16, h);
	for (uint64_t at = 0; at < item->bytes; at += sizeof(sum)) {
		const struct block block = load(in + at);

		add_block(&sum, &block, h);
		memcpy(out + at, &block, sizeof(block));
	}
	simd_begin(&save);
	/*
	 * In place, so that no copy of the hash stays in memory. The call cannot fail, because its
	 * mode is valid.
	 */
	(void)mbedtls_aes_crypt_ecb(aes_of(key), MBEDTLS_AES_ENCRYPT, (const uint8_t *)&sum,
				    (uint8_t *)&sum);
	simd_end(&save);
	memcpy(item->tag, &sum, sizeof(item->tag));
}

const uint8_t *page_mac_round_keys(const struct page_mac_key *key)
{
	const mbedtls_aes_context *aes = aes_of(key);

	return (const uint8_t *)(aes->MBEDTLS_PRIVATE(buf) + aes->MBEDTLS_PRIVATE(rk_offset));
}
