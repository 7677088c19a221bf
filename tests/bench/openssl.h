/* SPDX-License-Identifier: Apache-2.0 */
/* The two OpenSSLs that the bench compares with. */
#ifndef UMBRA_TESTS_BENCH_OPENSSL_H
#define UMBRA_TESTS_BENCH_OPENSSL_H

#include <stdint.h>

struct openssl_peer {
	/* key: data key, then tweak key. Returns -1 if this OpenSSL has no AES-256-XTS. */
	int (*init)(const uint8_t key[64]);
	/* One page of 4,096 bytes; in and out may be equal. */
	void (*crypt)(int encrypt, const uint8_t tweak[16], const void *in, void *out);
	const char *(*version)(void); /* NULL: this OpenSSL could not be had */
};

extern const struct openssl_peer openssl_debian, openssl_source;

#endif
