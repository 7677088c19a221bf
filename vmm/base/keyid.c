/* SPDX-License-Identifier: Apache-2.0 */
/* Where the KeyID of TME-MK lies in a physical address. */
#include "vmm/base/keyid.h"

#include "vmm/base/panic.h"

#define ADDRESS_BITS 52u /* the longest physical address of the architecture */

struct keyid_layout keyid_layout = { .shift = ADDRESS_BITS, .mask = 0 };

void keyid_configure(unsigned phys_bits, unsigned keyid_bits)
{
	CHECK(phys_bits <= ADDRESS_BITS && phys_bits > PAGE_SHIFT + keyid_bits);
	if (keyid_bits == 0) {
		keyid_layout = (struct keyid_layout){ .shift = ADDRESS_BITS, .mask = 0 };
		return;
	}
	keyid_layout = (struct keyid_layout){
		.shift = phys_bits - keyid_bits,
		.mask = MASK(phys_bits - 1, phys_bits - keyid_bits),
	};
}

uint64_t keyid_address_end(void)
{
	return BIT(keyid_layout.shift);
}
