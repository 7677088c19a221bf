/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The self-test at boot: it passes, and each comparison in it can make it fail. selftest.c is
 * included with a replaced comparison, which can be made to report a difference.
 */
#include "tests/unit/test.h"
#include "vmm/base/str.h"

static unsigned compare_count;
static unsigned compare_fails_at; /* which comparison fails, from 1; 0: none */

static bool compare(const void *a, const void *b, size_t bytes)
{
	return ++compare_count != compare_fails_at && memcmp(a, b, bytes) == 0;
}

#define ct_equal compare
#include "crypto/selftest.c"
#undef ct_equal

static int run(unsigned fails_at)
{
	fake_log_reset();
	compare_count = 0;
	compare_fails_at = fails_at;
	return crypto_selftest();
}

TEST(passes_and_names_what_it_tested, fake_setup, fake_teardown)
{
	assert_int_equal(run(0), 0);
	assert_int_equal(compare_count, 8);
	assert_non_null(strstr(fake_log_text(), "self-test passed (AES-128-XTS, AES-256-XTS, "
						"CTR_DRBG, SHA-256, SHA-512, HKDF-SHA-256)"));
}

TEST(each_difference_is_fatal_and_named, fake_setup, fake_teardown)
{
	static const char *const names[] = {
		"AES-128-XTS", "AES-128-XTS", "AES-256-XTS", "AES-256-XTS",
		"CTR_DRBG",    "SHA-256",     "SHA-512",     "HKDF-SHA-256",
	};

	for (unsigned i = 0; i < ARRAY_COUNT(names); i++) {
		assert_int_equal(run(i + 1), ERR_SELFTEST);
		assert_int_equal(compare_count, i + 1);
		assert_non_null(strstr(fake_log_text(), "error: crypto: self-test failed: "));
		assert_non_null(strstr(fake_log_text(), names[i]));
	}
}
