/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/base/str.c, and str_std.c under other names compared with the host's C library. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "vmm/base/str.h"

/* The product's functions beside the host's. */
#define memcpy	own_memcpy
#define memmove own_memmove
#define memset	own_memset
#define memcmp	own_memcmp
#define strlen	own_strlen
#define strcmp	own_strcmp
#define strncmp own_strncmp
#define strchr	own_strchr
#define strstr	own_strstr
#undef UMBRA_BASE_STR_H
#include "vmm/base/str_std.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strstr

#define ROOM 700u

static uint8_t mine[ROOM], theirs[ROOM], source[ROOM];

static void fill(void)
{
	for (size_t i = 0; i < ROOM; i++) {
		source[i] = mine[i] = theirs[i] = (uint8_t)rand();
	}
}

TEST(copies)
{
	for (size_t bytes = 0; bytes < 300; bytes++) {
		for (size_t skew = 0; skew < 9; skew++) {
			fill();
			assert_ptr_equal(own_memcpy(mine + skew, source + 300, bytes), mine + skew);
			memcpy(theirs + skew, source + 300, bytes);
			assert_memory_equal(mine, theirs, ROOM);
			assert_ptr_equal(own_memset(mine + skew, 0x1c3, bytes), mine + skew);
			memset(theirs + skew, 0x1c3, bytes);
			assert_memory_equal(mine, theirs, ROOM);
		}
	}
}

TEST(moves)
{
	for (size_t bytes = 0; bytes < 300; bytes += 7) {
		for (size_t to = 0; to < 300; to += 13) {
			fill();
			assert_ptr_equal(own_memmove(mine + to, mine + 150, bytes), mine + to);
			memmove(theirs + to, theirs + 150, bytes);
			assert_memory_equal(mine, theirs, ROOM);
		}
	}
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

TEST(compares)
{
	static const char *const words[] = { "", "a", "ab", "abc", "b", "a\xff", "aab", "ABC" };

	for (size_t a = 0; a < ARRAY_COUNT(words); a++) {
		assert_int_equal(own_strlen(words[a]), strlen(words[a]));
		assert_ptr_equal(own_strchr(words[a], 'b'), strchr(words[a], 'b'));
		assert_ptr_equal(own_strchr(words[a], 0), strchr(words[a], 0));
		for (size_t b = 0; b < ARRAY_COUNT(words); b++) {
			const char *x = words[a];
			const char *y = words[b];

			assert_int_equal(sign(own_strcmp(x, y)), sign(strcmp(x, y)));
			assert_ptr_equal(own_strstr(x, y), strstr(x, y));
			for (size_t n = 0; n < 5; n++) {
				assert_int_equal(sign(own_strncmp(x, y, n)),
						 sign(strncmp(x, y, n)));
			}
			assert_int_equal(ct_equal(x, y, MIN(strlen(x), strlen(y))),
					 memcmp(x, y, MIN(strlen(x), strlen(y))) == 0);
			assert_int_equal(sign(own_memcmp(x, y, MIN(strlen(x), strlen(y)))),
					 sign(memcmp(x, y, MIN(strlen(x), strlen(y)))));
		}
	}
}

TEST(texts)
{
	char small[4];
	char text[64];
	size_t bytes;

	assert_true(str_copy(small, sizeof(small), "abc"));
	assert_string_equal(small, "abc");
	assert_false(str_copy(small, sizeof(small), "abcd"));
	assert_string_equal(small, "abc");
	assert_false(str_copy(small, 1, "x"));
	assert_string_equal(small, "");
	assert_false(str_copy(small, 0, "x"));

	assert_true(str_equal_nocase("4k", "4K"));
	assert_true(str_equal_nocase("", ""));
	assert_false(str_equal_nocase("a", "ab"));
	/* Differ in the bit in which upper and lower case differ. */
	assert_false(str_equal_nocase("[", "{"));
	assert_true(str_is_space('\t') && str_is_space(' ') && str_is_space('\r'));
	assert_false(str_is_space(0) || str_is_space('a') || str_is_space(-1));

	bytes = str_printf(text, sizeof(text), "%s %u %d %lx %c %p", "a", 1u, -2,
			   0x123456789abcdeful, 'z', NULL);
	assert_int_equal(bytes, strlen(text));
	assert_non_null(strstr(text, "a 1 -2 123456789abcdef z "));
	assert_int_equal(str_printf(small, sizeof(small), "%s", "longer"), 3);
	assert_string_equal(small, "lon");
	assert_int_equal(str_printf(small, 0, "x"), 0);
	assert_int_equal(str_printf(text, sizeof(text), "%08x|%-4s|%3u", 0xabcu, "l", 7u), 17);
	assert_string_equal(text, "00000abc|l   |  7");

	memset(text, 'x', sizeof(text));
	secure_zero(text + 1, 5);
	assert_memory_equal(text, "x\0\0\0\0\0x", 7);
}
