/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform under mbedTLS: wiping, and heap slots for its MD layer (one hash context and one
 * HMAC block pair each) and for the numbers of a signature that is checked. slot_lock
 * guards slot_used. No other lock is taken under it, except wipe_lock on the first call.
 */
#include "crypto/mbedtls_config.h"
#include "crypto/wipe.h"
#include "vmm/base/lock.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

#define SLOT_COUNT 64
#define SLOT_BYTES 256 /* SHA-512's context takes 216, its HMAC pads 256 */

static struct lock slot_lock;
static uint64_t slot_used; /* one bit each */
static bool registered;	   /* for wiping: the machine may stop in the middle of a key derivation */
static uint8_t slots[SLOT_COUNT][SLOT_BYTES] __attribute__((aligned(16)));

void mbedtls_platform_zeroize(void *buf, size_t len);

void mbedtls_platform_zeroize(void *buf, size_t len)
{
	if (len != 0) {
		secure_zero(buf, len);
	}
}

/* Returns zeroed memory. On NULL the mbedTLS function that called fails with an error. */
void *crypto_calloc(size_t count, size_t bytes)
{
	size_t total;
	uint32_t i = SLOT_COUNT;

	if (__builtin_mul_overflow(count, bytes, &total) || total == 0 || total > SLOT_BYTES) {
		return NULL;
	}
	lock_take(&slot_lock, LOCK_CIPHER_SLOT);
	if (!registered) {
		registered = true;
		/* the first allocation is early in boot, when the list of wipe.c has room */
		(void)wipe_register(slots, sizeof(slots));
	}
	for (i = 0; i < SLOT_COUNT && (slot_used & BIT(i)) != 0; i++) {
	}
	if (i < SLOT_COUNT) {
		slot_used |= BIT(i);
	}
	lock_drop(&slot_lock);
	return i < SLOT_COUNT ? slots[i] : NULL;
}

/* A free slot is always zero. */
void crypto_free(void *p)
{
	size_t i;

	if (p == NULL) {
		return;
	}
	i = (size_t)((uint8_t *)p - slots[0]) / SLOT_BYTES;
	CHECK(i < SLOT_COUNT && p == slots[i]);
	secure_zero(p, SLOT_BYTES);
	lock_take(&slot_lock, LOCK_CIPHER_SLOT);
	CHECK((slot_used & BIT(i)) != 0);
	slot_used &= ~BIT(i);
	lock_drop(&slot_lock);
}
