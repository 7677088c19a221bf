/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resets all fakes, and checks for leaks. Weak references: a test may link the real module in place
 * of a fake, and then there is nothing to reset.
 */
#include "tests/unit/fake_base.h"

#pragma weak fake_log_reset
#pragma weak fake_pages_reset
#pragma weak fake_pages_live
#pragma weak fake_pages_reserved
#pragma weak fake_frames_live
#pragma weak fake_host_paging_reset
#pragma weak fake_temp_mapped
#pragma weak fake_cpus_reset
#pragma weak fake_x86_reset
#pragma weak fake_cache_reset
#pragma weak fake_keyslot_reset
#pragma weak fake_lock_reset

void fake_reset(void)
{
	void (*const resets[])(void) = { fake_log_reset,     fake_host_paging_reset,
					 fake_pages_reset,   fake_cpus_reset,
					 fake_x86_reset,     fake_cache_reset,
					 fake_keyslot_reset, fake_lock_reset };

	for (size_t i = 0; i < ARRAY_COUNT(resets); i++) {
		if (resets[i] != NULL) {
			resets[i]();
		}
	}
}

int fake_setup(void **state)
{
	fake_reset();
	return 0;
}

int fake_teardown(void **state)
{
	if (fake_temp_mapped != NULL && fake_temp_mapped() != 0) {
		fake_fail("%u slots are still mapped", fake_temp_mapped());
	}
	if (fake_pages_live != NULL && fake_pages_live() != 0) {
		fake_fail("%lu host pages leaked", fake_pages_live());
	}
	if (fake_pages_reserved != NULL && fake_pages_reserved() != 0) {
		fake_fail("%lu host pages are still set aside", fake_pages_reserved());
	}
	if (fake_frames_live != NULL && fake_frames_live() != 0) {
		fake_fail("%lu guest frames leaked", fake_frames_live());
	}
	return 0;
}

__attribute__((no_sanitize_address, noinline)) size_t fake_left_on_stack(const volatile uint8_t *at,
									 size_t count, uint8_t byte)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		left += at[i] == byte;
	}
	return left;
}
