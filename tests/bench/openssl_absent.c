/* SPDX-License-Identifier: Apache-2.0 */
/* In place of openssl.c where that OpenSSL cannot be had: its column is left out. */
#include <stddef.h>

#include "tests/bench/openssl.h"

static int absent_init(const uint8_t key[64])
{
	return 0;
}

static void absent_crypt(int encrypt, const uint8_t tweak[16], const void *in, void *out)
{
}

static const char *absent_version(void)
{
	return NULL;
}

__attribute__((visibility("default")))
const struct openssl_peer PEER = { absent_init, absent_crypt, absent_version };
