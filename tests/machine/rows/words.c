/* SPDX-License-Identifier: Apache-2.0 */
/* The rows' output: text on COM1, checks with expected and actual values, verdicts. */
#include "rows.h"

#define BYTES_SHOWN 64u

static enum verdict verdict;
static const char *list;

static void put_text(const char *text)
{
	while (*text != 0) {
		put(*text++);
	}
}

static bool miss(bool good, enum verdict otherwise)
{
	put_text(good ? "" : otherwise == CORRUPT ? "  <-- CORRUPT" : "  <-- WRONG");
	put('\n');
	if (!good && otherwise > verdict) {
		verdict = otherwise;
	}
	return good;
}

bool check_equal(const char *what, uint64_t saw, uint64_t expected)
{
	print("  %s: expected %lx, saw %lx", what, expected, saw);
	return miss(saw == expected, FAIL);
}

bool check_differ(const char *what, uint64_t saw, uint64_t not_expected)
{
	print("  %s: expected other than %lx, saw %lx", what, not_expected, saw);
	return miss(saw != not_expected, FAIL);
}

static void put_bytes(const uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes && i < BYTES_SHOWN; i++) {
		put_number(data[i], 16, 2);
	}
	if (bytes > BYTES_SHOWN) {
		put_text("..");
	}
}

static bool equal(const void *a, const void *b, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (((const uint8_t *)a)[i] != ((const uint8_t *)b)[i]) {
			return false;
		}
	}
	return true;
}

/* How many 16-byte blocks are equal. */
static size_t same_blocks(const void *a, const void *b, size_t bytes)
{
	size_t same = 0;

	for (size_t i = 0; i < bytes; i += 16) {
		same += equal((const uint8_t *)a + i, (const uint8_t *)b + i, 16);
	}
	return same;
}

static bool compare(const char *what, const void *saw, const void *expected, size_t bytes,
		    enum verdict otherwise)
{
	print("  %s: expected ", what);
	put_bytes(expected, bytes);
	put_text(", saw ");
	put_bytes(saw, bytes);
	return miss(equal(saw, expected, bytes), otherwise);
}

bool check_bytes(const char *what, const void *saw, const void *expected, size_t bytes)
{
	return compare(what, saw, expected, bytes, FAIL);
}

bool check_intact(const char *what, const void *saw, const void *expected, size_t bytes)
{
	return compare(what, saw, expected, bytes, CORRUPT);
}

static bool unlike(const char *what, const void *saw, const void *plain, size_t bytes,
		   enum verdict otherwise)
{
	size_t same = same_blocks(saw, plain, bytes);

	print("  %s: expected 0 of %lu blocks like ", what, bytes / 16);
	put_bytes(plain, bytes);
	print(", saw %lu: ", same);
	put_bytes(saw, bytes);
	return miss(same == 0, otherwise);
}

bool check_garbage(const char *what, const void *saw, const void *plain, size_t bytes)
{
	return unlike(what, saw, plain, bytes, FAIL);
}

bool check_gone(const char *what, const void *saw, const void *secret, size_t bytes)
{
	return unlike(what, saw, secret, bytes, CORRUPT);
}

void cannot(const char *why)
{
	print("  cannot run here: %s\n", why);
	if (verdict < CANNOT) {
		verdict = CANNOT;
	}
}

bool word(const char *name)
{
	for (const char *at = list; *at != 0; at++) {
		const char *a = at, *n = name;

		if (at != list && at[-1] > ' ') {
			continue;
		}
		while (*n != 0 && *a == *n) {
			a++;
			n++;
		}
		if (*n == 0 && *a <= ' ') {
			return true;
		}
	}
	return false;
}

/* The profile is the first word. */
unsigned profile(void)
{
	const char *digit = list + 1;
	unsigned value = 0;

	for (; *list == 'P' && *digit >= '0' && *digit <= '9'; digit++) {
		value = value * 10 + (unsigned)(*digit - '0');
	}
	return value;
}

static void run_row(const struct row *row)
{
	static const char *const words[] = { "PASS", "CANNOT", "CORRUPT", "FAIL" };

	print("row %s:\n", row->name);
	verdict = PASS;
	evict_all();
	row->run();
	print("row %s: %s\n", row->name, words[verdict]);
}

void rows_words(const char *text)
{
	list = text;
}

void rows_run(void)
{
	static const struct row *const groups[] = { msr_rows, pconfig_rows, alias_rows,
						    guest_rows };
	unsigned count = 0;

	/* In the order of the tables: rows that change the machine for good come last there. */
	for (size_t group = 0; group < ARRAY_COUNT(groups); group++) {
		for (const struct row *row = groups[group]; row->name != NULL; row++) {
			if (word(row->name)) {
				run_row(row);
				count++;
			}
		}
	}
	print("rows: %u run, %u rule breaks reported\n", count, rule_breaks());
}
