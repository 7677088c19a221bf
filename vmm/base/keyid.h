/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KeyIDs of TME-MK (Intel Architecture Memory Encryption Technologies Specification, 336907,
 * "Multi-Key Total Memory Encryption"). The CPU uses k bits below bit m of a physical address as a
 * KeyID, which selects the key that the memory controller encrypts with. m is MAXPHYADDR.
 *
 * Umbra keeps an address and a KeyID apart, as a struct keyed_frame. Only keyid_pack makes one
 * number of them, where code fills in an entry or register of the hardware; keyid_unpack separates
 * them again. So no code takes a KeyID bit for a bit of an address.
 */
#ifndef UMBRA_BASE_KEYID_H
#define UMBRA_BASE_KEYID_H

#include "vmm/base/types.h"

typedef uint16_t keyid_t;

/* KeyID 0: the machine's own key (TME), or no encryption. */
#define KEYID_PLATFORM 0u

/* A page of RAM, and the KeyID under which it is used. */
struct keyed_frame {
	hpa_t frame;
	keyid_t keyid;
};

static inline struct keyed_frame keyed(hpa_t frame, keyid_t keyid)
{
	return (struct keyed_frame){ frame, keyid };
}

/* Set once by keyid_configure; only the inline functions below read it. */
struct keyid_layout {
	unsigned shift; /* lowest bit of the KeyID; 52 without KeyIDs */
	uint64_t mask;	/* all bits of the KeyID; 0 without KeyIDs */
};
extern struct keyid_layout keyid_layout;

/*
 * Sets where the KeyID lies. phys_bits is m (CPUID.80000008H:EAX[7:0], 12 to 52). keyid_bits is k
 * (IA32_TME_ACTIVATE[35:32], TDX's bits included, less than m - 12). Before the first call, and
 * with keyid_bits 0, there are no KeyIDs. Boot processor, before any KeyID is used.
 */
void keyid_configure(unsigned phys_bits, unsigned keyid_bits);

/* 2^(m-k): all addresses of RAM and devices lie below. 2^52 before keyid_configure. */
uint64_t keyid_address_end(void);

/* The number for page-table entries, EPT entries and registers. Any CPU, no locks. */
static inline uint64_t keyid_pack(struct keyed_frame page)
{
	return page.frame.v | (uint64_t)page.keyid << keyid_layout.shift;
}

/* The reverse of keyid_pack; number has no bits set outside of an address and its KeyID. */
static inline struct keyed_frame keyid_unpack(uint64_t number)
{
	return keyed(hpa(number & ~keyid_layout.mask),
		     (keyid_t)((number & keyid_layout.mask) >> keyid_layout.shift));
}

#endif
