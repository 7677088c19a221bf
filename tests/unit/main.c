/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the tests that the constructors of tests/unit/test.h have added. */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

static struct CMUnitTest tests[160];
static size_t count;

struct test_run test_run;

void test_add(struct CMUnitTest test)
{
	if (count == ARRAY_COUNT(tests)) {
		fake_fail("more than %zu tests", count);
	}
	tests[count++] = test;
}

/* What cmocka_run_group_tests calls; that one counts an array itself. */
static int run(const struct CMUnitTest *first, size_t how_many)
{
	return _cmocka_run_group_tests("tests", first, how_many, test_run.setup, test_run.teardown);
}

int main(void)
{
	int failed = 0, status;

	if (!test_run.apart) {
		return count == 0 ? 1 : run(tests, count);
	}
	for (size_t i = 0; i < count; i++) {
		const pid_t child = fork();

		if (child == 0) {
			return run(&tests[i], 1);
		}
		failed |= child < 0 || waitpid(child, &status, 0) != child || status != 0;
	}
	return failed;
}
