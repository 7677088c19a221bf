/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This file is only compiled to assembly. Its marked lines become crypto/asm_offsets.inc for NASM.
 */
#include "crypto/page_cipher.h"
#include "crypto/page_mac.h"

#define DEFINE(name, value) __asm__ volatile("\n->" name " %c0" : : "i"(value))

void asm_offsets(void);
void asm_offsets(void)
{
	DEFINE("PAGE_CIPHER_BYTES", PAGE_CIPHER_BYTES);
	DEFINE("ITEM_IN", offsetof(struct page_item, in));
	DEFINE("ITEM_OUT", offsetof(struct page_item, out));
	DEFINE("ITEM_TWEAK", offsetof(struct page_item, tweak));
	DEFINE("ITEM_BYTES", sizeof(struct page_item));
	DEFINE("MAC_HALVES", offsetof(struct page_mac_key, halves));
	DEFINE("MAC_IN", offsetof(struct page_mac_item, in));
	DEFINE("MAC_OUT", offsetof(struct page_mac_item, out));
	DEFINE("MAC_TWEAK", offsetof(struct page_mac_item, tweak));
	DEFINE("MAC_BYTES", offsetof(struct page_mac_item, bytes));
	DEFINE("MAC_NAME", offsetof(struct page_mac_item, name));
	DEFINE("MAC_TAG", offsetof(struct page_mac_item, tag));
}
