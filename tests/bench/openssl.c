/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-XTS of one OpenSSL, called as an ordinary program calls it. Built twice, each time into a
 * shared object of its own, so that one process can have two versions. PEER is the name of the
 * struct below in that object.
 */
#include "tests/bench/openssl.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

static EVP_CIPHER_CTX *contexts[2];

static int peer_init(const uint8_t key[64])
{
	for (int encrypt = 0; encrypt < 2; encrypt++) {
		contexts[encrypt] = EVP_CIPHER_CTX_new();
		if (contexts[encrypt] == NULL ||
		    EVP_CipherInit_ex(contexts[encrypt], EVP_aes_256_xts(), NULL, key, NULL,
				      encrypt) != 1) {
			return -1;
		}
	}
	return 0;
}

static void peer_crypt(int encrypt, const uint8_t tweak[16], const void *in, void *out)
{
	int n;

	EVP_CipherInit_ex(contexts[encrypt], NULL, NULL, NULL, tweak, encrypt);
	EVP_CipherUpdate(contexts[encrypt], out, &n, in, 4096);
}

static const char *peer_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

__attribute__((visibility("default")))
const struct openssl_peer PEER = { peer_init, peer_crypt, peer_version };
