/* SPDX-License-Identifier: Apache-2.0 */
/* The page-aligned parts of the hypervisor's image in memory, defined in boot/umbra.lds. */
#ifndef UMBRA_HOST_IMAGE_H
#define UMBRA_HOST_IMAGE_H

extern char image_start[]; /* link addresses are relative to this */
extern char image_text_start[], image_text_end[];
extern char image_crypto_start[], image_crypto_end[]; /* crypto/ and mbedTLS, within the text */
extern char image_ro_start[], image_ro_end[];
/* The table of symbols.c; empty in the first link. */
extern const char image_symbols[], image_symbols_end[];
extern char image_rw_start[], image_rw_end[];
extern char image_end[];

#endif
