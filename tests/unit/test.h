/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each unit test includes: cmocka with the headers that it needs, the fake machine, and TEST.
 * test_main.c has main.
 */
#ifndef UMBRA_TESTS_UNIT_TEST_H
#define UMBRA_TESTS_UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_base.h"

/*
 * TEST(what, setup, teardown, state) { ... } defines a test and adds it to this program's list; the
 * last three arguments may be left out. Tests run in the order of the file, because the priorities
 * of the constructors that add them are the numbers of their lines (after the compiler's own 100).
 */
#define TEST(what, ...)                  \
	static void what(void **state);  \
	TEST_AGAIN(what, ##__VA_ARGS__); \
	static void what(void **state)

/* Adds a test that is defined above once more, with another set-up or state. */
#define TEST_AGAIN(what, ...)	  TEST_ADD(what, __LINE__, ##__VA_ARGS__)
#define TEST_ADD(what, line, ...) TEST_ADD_AT(what, line, ##__VA_ARGS__)
#define TEST_ADD_AT(what, line, ...)                                                              \
	__attribute__((constructor(101 + (line)))) static void add_##what##_##line(void)          \
	{                                                                                         \
		test_add((struct CMUnitTest){ .name = #what, .test_func = what, ##__VA_ARGS__ }); \
	}                                                                                         \
	_Static_assert(true, "a semicolon follows")

/* For constructors that add tests from a table. */
void test_add(struct CMUnitTest test);

/*
 * How this program runs its list: what comes before the first test and after the last one, and
 * whether each test has a process of its own, because it leaves a state that nothing resets. A file
 * that needs it has TEST_RUN(.setup = ..., .teardown = ..., .apart = ...); in it.
 */
struct test_run {
	CMFixtureFunction setup, teardown;
	bool apart;
};
extern struct test_run test_run;
#define TEST_RUN(...)                                                    \
	__attribute__((constructor(101))) static void set_test_run(void) \
	{                                                                \
		test_run = (struct test_run){ __VA_ARGS__ };             \
	}                                                                \
	_Static_assert(true, "a semicolon follows")

#endif
