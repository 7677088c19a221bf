/* SPDX-License-Identifier: Apache-2.0 */
/* AES-XTS (IEEE 1619) for the model: AES is OpenSSL's, in whole pages at a time. */

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "tme.h"

namespace tme {

enum : size_t { BLOCK = 16, BLOCKS_IN_LINE = LINE / BLOCK, BLOCKS_MAX = PAGE / BLOCK };

/* Ends the program if OpenSSL fails, which happens only without memory. */
static void need(bool ok)
{
  if (!ok) abort();
}

static void *cipher(const uint8_t *key, size_t key_bytes, int encrypt)
{
  EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

  need(ctx != NULL);
  need(EVP_CipherInit_ex(ctx, key_bytes == 32 ? EVP_aes_256_ecb() : EVP_aes_128_ecb(), NULL, key,
                         NULL, encrypt) == 1);
  need(EVP_CIPHER_CTX_set_padding(ctx, 0) == 1);
  return ctx;
}

static void run(void *ctx, uint8_t *text, size_t bytes)
{
  int out = 0;

  need(EVP_CipherUpdate((EVP_CIPHER_CTX *) ctx, text, &out, text, (int) bytes) == 1);
  need((size_t) out == bytes);
}

Xts::Xts(const uint8_t *data_key, const uint8_t *tweak_key, size_t key_bytes, bool constant_tweak)
  : enc(cipher(data_key, key_bytes, 1)), dec(cipher(data_key, key_bytes, 0)),
    tweak(cipher(tweak_key, key_bytes, 1)), constant(constant_tweak)
{
}

Xts::~Xts()
{
  EVP_CIPHER_CTX_free((EVP_CIPHER_CTX *) enc);
  EVP_CIPHER_CTX_free((EVP_CIPHER_CTX *) dec);
  EVP_CIPHER_CTX_free((EVP_CIPHER_CTX *) tweak);
}

/* The tweak times alpha in GF(2^128), little-endian. */
static void times_alpha(uint64_t t[2])
{
  uint64_t carry = t[1] >> 63;

  t[1] = (t[1] << 1) | (t[0] >> 63);
  t[0] = (t[0] << 1) ^ (carry * 0x87);
}

static void exclusive_or(uint8_t *text, const uint64_t (*tweaks)[2], size_t blocks)
{
  for (size_t n = 0; n < blocks; n++) {
    uint64_t word[2];
    memcpy(word, text + n * BLOCK, BLOCK);
    word[0] ^= tweaks[n][0];
    word[1] ^= tweaks[n][1];
    memcpy(text + n * BLOCK, word, BLOCK);
  }
}

void Xts::crypt(bool encrypt, uint64_t mem, uint8_t *text, size_t lines) const
{
  uint64_t units[LINES][2], tweaks[BLOCKS_MAX][2];

  for (size_t n = 0; n < lines; n++) {
    units[n][0] = constant ? 0 : mem / LINE + n;
    units[n][1] = 0;
  }
  run(tweak, (uint8_t *) units, lines * BLOCK);
  for (size_t n = 0; n < lines; n++) {
    for (size_t block = 0; block < BLOCKS_IN_LINE; block++) {
      memcpy(tweaks[n * BLOCKS_IN_LINE + block], units[n], BLOCK);
      times_alpha(units[n]);
    }
  }
  exclusive_or(text, tweaks, lines * BLOCKS_IN_LINE);
  run(encrypt ? enc : dec, text, lines * LINE);
  exclusive_or(text, tweaks, lines * BLOCKS_IN_LINE);
}

} // namespace tme
