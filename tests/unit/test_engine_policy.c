/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/engine_policy.c: each combination of engine, key and machine, with its verdict and its
 * message.
 */
#include <stdio.h>

#include "tests/unit/test.h"
#include "guest/engine_policy.h"

#define SOFT   ENGINE_RUNS_SOFTWARE
#define CLEAR  ENGINE_RUNS_NONE
#define KEYED  ENGINE_RUNS_TME_MK
#define BYPASS ENGINE_RUNS_NO_ENCRYPT
#define OWN    ENGINE_RUNS_PLATFORM
#define REFUSE ENGINE_REFUSED

/* words is the important part of the message; NULL: there must be no message. */
struct cell {
	int verdict;
	const char *words;
};

/*
 * The machines, in this order: no TME, TME with one key, KeyIDs, all KeyIDs in use; with bypass:
 * KeyIDs, all in use.
 */
struct row {
	enum vm_engine engine;
	enum vm_key key;
	struct cell machines[ENGINE_MACHINES];
};

#define ALL(verdict, words)                                                                     \
	{                                                                                       \
		{ verdict, words }, { verdict, words }, { verdict, words }, { verdict, words }, \
			{ verdict, words },                                                     \
		{                                                                               \
			verdict, words                                                          \
		}                                                                               \
	}
#define AUTO                                                                                   \
	{                                                                                      \
		{ SOFT, "no TME-MK on this machine: the software engine" },                    \
			{ SOFT,                                                                \
			  "one TME key for all memory here, none for each VM: the software" }, \
			{ KEYED, NULL },                                                       \
			{ SOFT, "no KeyID of TME-MK is left: the software engine" },           \
			{ KEYED, NULL },                                                       \
		{                                                                              \
			SOFT, "no KeyID of TME-MK is left: the software engine"                \
		}                                                                              \
	}
#define TME_MK                                                                                   \
	{                                                                                        \
		{ REFUSE, "has no TME-MK that can be used, for the reason in the log; write" },  \
			{ REFUSE, "one key for all memory, no TME-MK: look for multi-key TME" }, \
			{ KEYED, NULL },                                                         \
			{ REFUSE, "no KeyID of TME-MK is left: start fewer VMs with it, or" },   \
			{ KEYED, NULL },                                                         \
		{                                                                                \
			REFUSE, "no KeyID of TME-MK is left: start fewer VMs with it, or"        \
		}                                                                                \
	}
#define PLATFORM                                                                                   \
	{                                                                                          \
		{ REFUSE, "no key of its own that encrypts (TME is missing, off or bypassed, "     \
			  "as the log says); write key = random" },                                \
			{ OWN, NULL }, { OWN, NULL }, { OWN, NULL },                               \
			{ REFUSE, "switched TME bypass on, so that memory under it is in clear" }, \
		{                                                                                  \
			REFUSE, "switched TME bypass on, so that memory under it is in clear"      \
		}                                                                                  \
	}

static const struct row rows[] = {
	{ VM_ENGINE_AUTO, VM_KEY_RANDOM, AUTO },
	{ VM_ENGINE_AUTO, VM_KEY_FILE, AUTO },
	{ VM_ENGINE_AUTO, VM_KEY_PLATFORM, PLATFORM },
	{ VM_ENGINE_AUTO, VM_KEY_NONE, ALL(REFUSE, "has to be asked for: write engine = none") },
	{ VM_ENGINE_TME_MK, VM_KEY_RANDOM, TME_MK },
	{ VM_ENGINE_TME_MK, VM_KEY_FILE, TME_MK },
	{ VM_ENGINE_TME_MK, VM_KEY_PLATFORM, PLATFORM },
	{ VM_ENGINE_TME_MK, VM_KEY_NONE,
	  ALL(REFUSE, "without a key the memory is in clear; write") },
	{ VM_ENGINE_SOFTWARE, VM_KEY_RANDOM, ALL(SOFT, NULL) },
	{ VM_ENGINE_SOFTWARE, VM_KEY_FILE, ALL(SOFT, NULL) },
	{ VM_ENGINE_SOFTWARE, VM_KEY_PLATFORM, ALL(REFUSE, "never leaves the memory controller") },
	{ VM_ENGINE_SOFTWARE, VM_KEY_NONE, ALL(REFUSE, "without a key the memory is in clear") },
	{ VM_ENGINE_NONE, VM_KEY_RANDOM, ALL(REFUSE, "nothing is encrypted, so a key has no use") },
	{ VM_ENGINE_NONE, VM_KEY_FILE, ALL(REFUSE, "nothing is encrypted, so a key has no use") },
	{ VM_ENGINE_NONE, VM_KEY_PLATFORM, PLATFORM },
	{ VM_ENGINE_NONE,
	  VM_KEY_NONE,
	  { { CLEAR, NULL },
	    { OWN, "this VM's memory is under that key, too" },
	    { BYPASS, NULL },
	    { OWN, "this VM's memory is under that key, too" },
	    { CLEAR, NULL },
	    { CLEAR, NULL } } },
};

/* The state is a cell's row and column. */
static void test_cell(void **state)
{
	const size_t number = (size_t)*state;
	const struct row *row = &rows[number / ENGINE_MACHINES];
	const struct cell *want = &row->machines[number % ENGINE_MACHINES];
	const struct engine_policy *got = engine_policy(
		row->engine, row->key, (enum engine_machine)(number % ENGINE_MACHINES));

	assert_non_null(got);
	assert_int_equal(got->verdict, want->verdict);
	if (want->words == NULL) {
		assert_null(got->words);
	} else {
		assert_non_null(got->words);
		assert_non_null(strstr(got->words, want->words));
	}
}

/*
 * What must hold for every cell: clear memory only when `engine` and `key` both ask for it, and
 * no refusal without a message.
 */
TEST(test_never_in_silence)
{
	for (int engine = 0; engine < VM_ENGINES; engine++) {
		for (int key = 0; key < VM_KEYS; key++) {
			for (int machine = 0; machine < ENGINE_MACHINES; machine++) {
				const struct engine_policy *p = engine_policy(engine, key, machine);
				const bool clear = engine == VM_ENGINE_NONE && key == VM_KEY_NONE;

				assert_true(clear || (p->verdict != CLEAR && p->verdict != BYPASS));
				assert_true(p->verdict != REFUSE || p->words != NULL);
				assert_true(engine != VM_ENGINE_AUTO || p->verdict == KEYED ||
					    p->verdict == OWN || p->words != NULL);
			}
		}
	}
}

_Static_assert(ARRAY_COUNT(rows) == VM_ENGINES * VM_KEYS, "a row for each pair");

static __attribute__((constructor)) void add_cells(void)
{
	static char names[ARRAY_COUNT(rows) * ENGINE_MACHINES][40];

	for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
		const struct row *row = &rows[i / ENGINE_MACHINES];

		snprintf(names[i], sizeof(names[i]), "engine %d, key %d, machine %zu", row->engine,
			 row->key, i % ENGINE_MACHINES);
		test_add((struct CMUnitTest){ names[i], test_cell, NULL, NULL, (void *)i });
	}
}
