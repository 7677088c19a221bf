/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of our own image in memory, page-aligned; from boot/umbra.lds. */
#ifndef UMBRA_BASE_IMAGE_H
#define UMBRA_BASE_IMAGE_H

extern char image_start[]; /* what link addresses are relative to */
extern char image_text_start[], image_text_end[];
extern char image_crypto_start[], image_crypto_end[]; /* within it: crypto/ and mbedTLS */
extern char image_ro_start[], image_ro_end[];
extern const char image_symbols[], image_symbols_end[]; /* of symbols.c; empty in pass 1 */
extern char image_rw_start[], image_rw_end[];
extern char image_end[];

#endif
