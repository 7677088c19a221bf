/* SPDX-License-Identifier: Apache-2.0 */
/* guest/engine_policy.c: each cell of engine x key x machine, its verdict and its words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "guest/engine_policy.h"

#define RUNS   ENGINE_RUNS_SOFTWARE
#define CLEAR  ENGINE_RUNS_NONE
#define REFUSE ENGINE_REFUSED

/* words is a part that says what matters; NULL: there must be none. */
struct cell {
	int verdict;
	const char *words;
};

struct row {
	enum vm_engine engine;
	enum vm_key key;
	struct cell machines[ENGINE_MACHINES];
};

static const struct row rows[] = {
	{ VM_ENGINE_AUTO,
	  VM_KEY_RANDOM,
	  { { RUNS, "no TME-MK on this machine: the software engine" },
	    { RUNS, "one TME key for all memory here, none for each VM: the software engine" },
	    { RUNS, "TME-MK is not used by this version yet: the software engine" },
	    { RUNS, "no KeyID of TME-MK is left: the software engine" } } },
	{ VM_ENGINE_AUTO,
	  VM_KEY_FILE,
	  { { RUNS, "no TME-MK on this machine: the software engine" },
	    { RUNS, "one TME key for all memory here, none for each VM: the software engine" },
	    { RUNS, "TME-MK is not used by this version yet: the software engine" },
	    { RUNS, "no KeyID of TME-MK is left: the software engine" } } },
	{ VM_ENGINE_AUTO,
	  VM_KEY_PLATFORM,
	  { { REFUSE, "no key of its own (TME is missing or off); write key = random" },
	    { REFUSE, "own key (TME) is not used by this version yet; write key = random" },
	    { REFUSE, "own key (TME) is not used by this version yet; write key = random" },
	    { REFUSE, "own key (TME) is not used by this version yet; write key = random" } } },
	{ VM_ENGINE_AUTO,
	  VM_KEY_NONE,
	  { { REFUSE, "has to be asked for: write engine = none" },
	    { REFUSE, "has to be asked for: write engine = none" },
	    { REFUSE, "has to be asked for: write engine = none" },
	    { REFUSE, "has to be asked for: write engine = none" } } },
	{ VM_ENGINE_TME_MK,
	  VM_KEY_RANDOM,
	  { { REFUSE, "this machine has no TME-MK: the CPU lacks it, or TME is off in firmware's" },
	    { REFUSE, "one key for all memory, no TME-MK: look for multi-key TME (TME-MT)" },
	    { REFUSE, "not used by this version yet; write engine = auto or engine = software" },
	    { REFUSE, "no KeyID of TME-MK is left: start fewer VMs with it, or write" } } },
	{ VM_ENGINE_TME_MK,
	  VM_KEY_FILE,
	  { { REFUSE, "this machine has no TME-MK: the CPU lacks it, or TME is off in firmware's" },
	    { REFUSE, "one key for all memory, no TME-MK: look for multi-key TME (TME-MT)" },
	    { REFUSE, "not used by this version yet; write engine = auto or engine = software" },
	    { REFUSE, "no KeyID of TME-MK is left: start fewer VMs with it, or write" } } },
	{ VM_ENGINE_TME_MK,
	  VM_KEY_PLATFORM,
	  { { REFUSE, "no key of its own (TME is missing or off); write key = random" },
	    { REFUSE, "own key (TME) is not used by this version yet; write key = random" },
	    { REFUSE, "own key (TME) is not used by this version yet; write key = random" },
	    { REFUSE, "own key (TME) is not used by this version yet; write key = random" } } },
	{ VM_ENGINE_TME_MK,
	  VM_KEY_NONE,
	  { { REFUSE, "without a key the memory is in clear; write key = random" },
	    { REFUSE, "without a key the memory is in clear; write key = random" },
	    { REFUSE, "without a key the memory is in clear; write key = random" },
	    { REFUSE, "without a key the memory is in clear; write key = random" } } },
	{ VM_ENGINE_SOFTWARE,
	  VM_KEY_RANDOM,
	  { { RUNS, NULL }, { RUNS, NULL }, { RUNS, NULL }, { RUNS, NULL } } },
	{ VM_ENGINE_SOFTWARE,
	  VM_KEY_FILE,
	  { { RUNS, NULL }, { RUNS, NULL }, { RUNS, NULL }, { RUNS, NULL } } },
	{ VM_ENGINE_SOFTWARE,
	  VM_KEY_PLATFORM,
	  { { REFUSE, "never leaves the memory controller; write key = random" },
	    { REFUSE, "never leaves the memory controller; write key = random" },
	    { REFUSE, "never leaves the memory controller; write key = random" },
	    { REFUSE, "never leaves the memory controller; write key = random" } } },
	{ VM_ENGINE_SOFTWARE,
	  VM_KEY_NONE,
	  { { REFUSE, "without a key the memory is in clear; write key = random" },
	    { REFUSE, "without a key the memory is in clear; write key = random" },
	    { REFUSE, "without a key the memory is in clear; write key = random" },
	    { REFUSE, "without a key the memory is in clear; write key = random" } } },
	{ VM_ENGINE_NONE,
	  VM_KEY_RANDOM,
	  { { REFUSE, "nothing is encrypted, so a key has no use" },
	    { REFUSE, "nothing is encrypted, so a key has no use" },
	    { REFUSE, "nothing is encrypted, so a key has no use" },
	    { REFUSE, "nothing is encrypted, so a key has no use" } } },
	{ VM_ENGINE_NONE,
	  VM_KEY_FILE,
	  { { REFUSE, "nothing is encrypted, so a key has no use" },
	    { REFUSE, "nothing is encrypted, so a key has no use" },
	    { REFUSE, "nothing is encrypted, so a key has no use" },
	    { REFUSE, "nothing is encrypted, so a key has no use" } } },
	{ VM_ENGINE_NONE,
	  VM_KEY_PLATFORM,
	  { { REFUSE, "no key of its own (TME is missing or off); write key = random" },
	    { REFUSE, "own key (TME) is not used by this version yet; write key = random" },
	    { REFUSE, "own key (TME) is not used by this version yet; write key = random" },
	    { REFUSE, "own key (TME) is not used by this version yet; write key = random" } } },
	{ VM_ENGINE_NONE,
	  VM_KEY_NONE,
	  { { CLEAR, NULL }, { CLEAR, NULL }, { CLEAR, NULL }, { CLEAR, NULL } } },
};

/* The state is the cell's row and column. */
static void test_cell(void **state)
{
	const size_t number = (size_t)*state;
	const struct row *row = &rows[number / ENGINE_MACHINES];
	const struct cell *want = &row->machines[number % ENGINE_MACHINES];
	const struct engine_policy *got = engine_policy(row->engine, row->key,
							(enum engine_machine)(number % 4));

	assert_non_null(got);
	assert_int_equal(got->verdict, want->verdict);
	if (want->words == NULL) {
		assert_null(got->words);
	} else {
		assert_non_null(got->words);
		assert_non_null(strstr(got->words, want->words));
	}
}

/* What must hold whatever the table says: clear only by both words, and no refusal unexplained. */
static void test_never_in_silence(void **state)
{
	for (int engine = 0; engine < VM_ENGINES; engine++) {
		for (int key = 0; key < VM_KEYS; key++) {
			for (int machine = 0; machine < ENGINE_MACHINES; machine++) {
				const struct engine_policy *p = engine_policy(engine, key, machine);
				const bool clear = engine == VM_ENGINE_NONE && key == VM_KEY_NONE;

				assert_int_equal(p->verdict == CLEAR, clear);
				assert_true(p->verdict != REFUSE || p->words != NULL);
				assert_true(engine != VM_ENGINE_AUTO || p->words != NULL);
			}
		}
	}
}

int main(void)
{
	static char names[ARRAY_COUNT(rows) * ENGINE_MACHINES][40];
	static struct CMUnitTest tests[ARRAY_COUNT(names) + 1];

	assert_int_equal(ARRAY_COUNT(rows), VM_ENGINES * VM_KEYS);
	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		const struct row *row = &rows[i / ENGINE_MACHINES];

		snprintf(names[i], sizeof(names[i]), "engine %d, key %d, machine %zu", row->engine,
			 row->key, i % ENGINE_MACHINES);
		tests[i] = (struct CMUnitTest){ names[i], test_cell, NULL, NULL, (void *)i };
	}
	tests[ARRAY_COUNT(names)] = (struct CMUnitTest)cmocka_unit_test(test_never_in_silence);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
