/* SPDX-License-Identifier: Apache-2.0 */
/* boot/host_key.c: when Umbra moves under a KeyID, and what it logs when it does not. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "boot/host_key.h"
#include "crypto/keyslot.h"
#include "crypto/tme.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/host/keyid_move.h"
#include "vmm/vmx_bits.h"

static int take_error;
static unsigned taken, used, moved; /* KeyIDs; 0: never called */

int keyslot_take(enum keyslot_mode mode, const uint8_t *secret, size_t secret_bytes,
		 const char *owner, keyid_t *keyid)
{
	assert_int_equal(mode, KEYSLOT_RANDOM);
	assert_null(secret);
	assert_int_equal(secret_bytes, 0);
	assert_string_equal(owner, "Umbra");
	*keyid = take_error == 0 ? 5 : KEYID_PLATFORM;
	taken = *keyid;
	return take_error;
}

void keyslot_use(keyid_t keyid)
{
	used = keyid;
}

void keyid_move_host(keyid_t keyid)
{
	assert_int_equal(used, keyid); /* no other user can give it up */
	moved = keyid;
}

static int setup(void **state)
{
	fake_setup(state);
	fake_tme = (struct tme_state){ .kind = TME_MK };
	take_error = 0;
	taken = used = moved = 0;
	fake_cpuid_set(1, 0, 0, 0, CPUID_1_ECX_VMX, 0);
	fake_msr_set(MSR_IA32_VMX_BASIC, 1);
	return 0;
}

static void expect(unsigned keyid, const char *words)
{
	fake_log_reset();
	host_key_start();
	assert_int_equal(moved, keyid);
	assert_int_equal(used, keyid);
	if (strstr(fake_log_text(), words) == NULL) {
		fail_msg("it says: %s", fake_log_text());
	}
}

TEST(test_moves, setup, fake_teardown)
{
	expect(5, "Umbra's own memory is under KeyID 5, with a random key of its own");
}

TEST(test_stays_at_0, setup, fake_teardown)
{
	take_error = ERR_IO;
	expect(0, "warning: Umbra's own memory stays under KeyID 0, the key of the whole machine");
	take_error = ERR_NOSPACE;
	fake_tme.bypass = true;
	expect(0, "stays under KeyID 0, in clear: ");
}

/*
 * The processor takes VMXON, VMCS and what they refer to at addresses without KeyID bits: no key is
 * made in vain.
 */
TEST(test_32_bit_vmx, setup, fake_teardown)
{
	fake_msr_set(MSR_IA32_VMX_BASIC, 1 | VMX_BASIC_32_BIT);
	expect(0, "IA32_VMX_BASIC bit 48");
	assert_int_equal(taken, 0);
	/* Without VMX the register does not exist, and its value does not matter. */
	fake_cpuid_set(1, 0, 0, 0, 0, 0);
	expect(5, "under KeyID 5");
}
