/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/console/screen.c: the content of a framebuffer after text, control sequences and junk. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "vmm/base/err.h"
#include "vmm/console/console.h"
#include "vmm/console/screen.h"

#define WIDTH  320u /* 40 columns */
#define HEIGHT 112u /* 7 rows of 16 lines */
#define PITCH  336u
#define COLS   40u
#define ROWS   7u

static const struct console_sink *sink;

/* Time passes at every read of the clock. */
uint64_t fake_rdtsc(void)
{
	return fake_tsc += 1000;
}

int console_add_sink(const struct console_sink *added)
{
	sink = added;
	return 0;
}

/*
 * Framebuffers are not freed until the end: a later screen_init must leave the earlier one alone.
 */
static uint32_t *pixels;

static int init(uint32_t width, uint32_t height, uint32_t pitch)
{
	struct screen_mode mode = {
		.width = width,
		.height = height,
		.pixels_per_line = pitch,
		.red_mask = 0xff0000,
		.green_mask = 0xff00,
		.blue_mask = 0xff,
	};

	free(pixels);
	pixels = malloc((size_t)pitch * height * sizeof(*pixels));
	memset(pixels, 0x5a, (size_t)pitch * height * sizeof(*pixels));
	mode.base = hpa((uintptr_t)pixels);
	sink = NULL;
	return screen_init(&mode);
}

static int setup(void **state)
{
	fake_tsc += 1000;
	return init(WIDTH, HEIGHT, PITCH);
}

static int teardown(void **state)
{
	free(pixels);
	pixels = NULL;
	return 0;
}

static void type(const char *text)
{
	sink->write(text, strlen(text));
}

/* Does the cell show the glyph of c, pixel by pixel? The font is PSF 1: 4 bytes, then glyphs. */
static bool shows(uint32_t row, uint32_t col, char c)
{
	const uint8_t *glyph = screen_font + 4 + (size_t)(uint8_t)c * 16;

	for (uint32_t y = 0; y < 16; y++) {
		for (uint32_t x = 0; x < 8; x++) {
			uint32_t want = (glyph[y] >> (7 - x)) & 1 ? 0xffffff : 0;

			if (pixels[(row * 16 + y) * PITCH + col * 8 + x] != want) {
				return false;
			}
		}
	}
	return true;
}

static void expect(const char *const rows[ROWS])
{
	while (sink->flush(false)) {
		fake_tsc++;
	}
	for (uint32_t row = 0; row < ROWS; row++) {
		for (uint32_t col = 0; col < COLS; col++) {
			char c = rows[row] != NULL && col < strlen(rows[row]) ? rows[row][col]
									      : ' ';

			if (!shows(row, col, c)) {
				fail_msg("row %u, column %u is not '%c'", row, col, c);
			}
		}
	}
}

struct text_case {
	const char *text;
	const char *rows[ROWS];
};

static const struct text_case text_cases[] = {
	{ "", { NULL } },
	{ "ab\r\ncd", { "ab", "cd" } },
	{ "ab\ncd", { "ab", "  cd" } },
	{ "abc\rX", { "Xbc" } },
	{ "abc\b\bX\b\b\b\b\b\bY", { "YXc" } },
	{ "a\tb", { "a       b" } },
	{ "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8\r\n9", { "3", "4", "5", "6", "7", "8", "9" } },
	/* The line breaks only when more text follows. */
	{ "0123456789012345678901234567890123456789\r\nx",
	  { "0123456789012345678901234567890123456789", "x" } },
	{ "0123456789012345678901234567890123456789x",
	  { "0123456789012345678901234567890123456789", "x" } },
	{ "012345678901234567890123456789012345678\tx",
	  { "012345678901234567890123456789012345678 ", "x" } },
	/* Control sequences: erase, home, colours, titles, requests, character sets. */
	{ "abc\x1b[2Jd", { "   d" } },
	{ "abc\r\x1b[Kd", { "d" } },
	{ "ab\r\ncd\r\nef\x1b[H\x1b[J!", { "!" } },
	{ "ab\r\ncd\x1b[HX\x1b[Kx", { "Xx", "cd" } },
	{ "\x1b[1;31mred\x1b[0m \x1b[?25l\x1b[6n.", { "red ." } },
	{ "\x1b]0;title\a1\x1b]0;title\x1b\\2\x1b(B3\x1b=4", { "1234" } },
	{ "\x1b[999999999999999999999;1Hx", { "x" } },
	{ "\x1b\x1b[31mx", { "x" } },
	/* Bytes that are not text. UTF-8 shows one mark for each character. */
	{ "a\x01\x7f\xc3\xa4"
	  "b\xe2\x82\xac"
	  "c",
	  { "a?b?c" } },
};

TEST(texts, NULL, teardown)
{
	for (size_t i = 0; i < ARRAY_COUNT(text_cases); i++) {
		setup(state);
		type(text_cases[i].text);
		expect(text_cases[i].rows);
	}
}

/* Pixels outside of the grid (here: the end of each line) are black from the start and stay so. */
TEST(nothing_outside, setup, teardown)
{
	for (uint32_t i = 0; i < 1000; i++) {
		type("WWWWWWWWWWWWWWWWWWW\r\n");
	}
	sink->flush(false);
	for (uint32_t y = 0; y < HEIGHT; y++) {
		for (uint32_t x = WIDTH; x < PITCH; x++) {
			assert_int_equal(pixels[y * PITCH + x], 0);
		}
	}
}

/* Only changed cells are drawn, and then a pause follows that is proportional to the work. */
TEST(pace, setup, teardown)
{
	static const char *const rows[ROWS] = { "ab" };

	type("a");
	assert_false(sink->flush(false));
	memset(pixels, 0x11, (size_t)PITCH * HEIGHT * sizeof(*pixels));
	type("b");
	assert_true(sink->flush(false));
	assert_false(shows(0, 1, 'b'));
	assert_false(sink->flush(true)); /* a writer waits */
	assert_true(shows(0, 1, 'b'));
	assert_int_equal(pixels[0], 0x11111111);
	assert_false(sink->flush(false));

	/*
	 * While the framebuffer is being moved, nothing is drawn; later the missing cells are
	 * drawn.
	 */
	init(WIDTH, HEIGHT, PITCH);
	screen_move(NULL);
	type("ab");
	assert_false(sink->flush(false));
	assert_int_equal(pixels[0], 0);
	screen_move(pixels);
	expect(rows);
}

struct mode_case {
	uint32_t width, height, pitch;
	int result;
	uint64_t bytes;
};

static const struct mode_case mode_cases[] = {
	{ 0, 0, 0, ERR_UNSUPPORTED, 0 },
	{ 152, 112, 152, ERR_UNSUPPORTED, 0 }, /* 19 columns */
	{ 320, 63, 320, ERR_UNSUPPORTED, 0 },  /* 3 rows */
	{ 320, 112, 319, ERR_UNSUPPORTED, 0 },
	{ 65537, 112, 65537, ERR_UNSUPPORTED, 0 },
	{ 160, 64, 160, 0, 160 * 64 * 4 },
	{ 1024, 768, 1024, 0, 1024 * 768 * 4 },
	{ 2561, 1600, 2688, 0, 2688 * 1600 * 4 },
	{ 7680, 4320, 7680, 0, 7680ul * 4320 * 4 },
};

TEST(modes, NULL, teardown)
{
	static char junk[100000];
	uint32_t random = 1;

	for (size_t i = 0; i < ARRAY_COUNT(mode_cases); i++) {
		const struct mode_case *c = &mode_cases[i];

		fake_tsc += 1u << 30;
		assert_int_equal(init(c->width, c->height, c->pitch), c->result);
		assert_int_equal(screen_bytes(), c->bytes);
		if (c->result != 0) {
			assert_null(sink);
			continue;
		}
		for (size_t j = 0; j < sizeof(junk); j++) { /* ASan detects errors */
			random = random * 1664525 + 1013904223;
			junk[j] = (char)(random >> 24);
		}
		sink->write(junk, sizeof(junk));
		sink->flush(false);
	}
}
