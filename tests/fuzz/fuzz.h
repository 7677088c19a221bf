/* SPDX-License-Identifier: Apache-2.0 */
/* What each fuzzer includes: the fake machine, libFuzzer's entry, and PROMISE. */
#ifndef UMBRA_TESTS_FUZZ_H
#define UMBRA_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "tests/unit/fake_base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Fails the run, with the condition as text, unless it is true. */
#define PROMISE(cond)                            \
	do {                                     \
		if (!(cond)) {                   \
			fake_fail("not " #cond); \
		}                                \
	} while (0)

#endif
