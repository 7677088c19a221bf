/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A very simple terminal. The text comes from the log and from guests, so every byte is hostile:
 * control sequences only move within the grid, or are ignored. Writing to the grid runs under the
 * console lock, drawing under console.c's device lock. So a row may change while it is drawn; it is
 * then drawn again, because `dirty` is set after each change.
 */
#include "vmm/console/screen.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/console.h"

#define COLS_MAX  320u
#define ROWS_MAX  128u
#define COLS_MIN  20u
#define ROWS_MIN  4u
#define GLYPH_W	  8u
#define GLYPH_MAX 32u	/* rows of the tallest glyph */
#define SCALE_AT  2560u /* pixels; on a wider screen letters are twice as large */
#define TAB	  8u
#define PACE	  32u /* ticks of rest for each tick of drawing */
#define PARAM_MAX 999u

/* The position in a control sequence (ECMA-48, "Control sequences"). */
enum escape {
	ESCAPE_NONE,
	ESCAPE_BEGAN,  /* after ESC */
	ESCAPE_CSI,    /* after ESC [, in the parameters */
	ESCAPE_STRING, /* after ESC ], until BEL or ST */
	ESCAPE_SKIP,   /* one more byte to ignore, as in ESC ( B */
};

static struct {
	const uint8_t *glyphs; /* for characters 0..255, height bytes each */
	uint32_t height;
} font;

/* A character on the screen: drawn by one CPU while another may write it. */
typedef ATOMIC(uint8_t) cell;

static struct {
	uint8_t *pixels;
	uint32_t bytes_per_line, lines;
	uint32_t scale, cols, rows;
	uint32_t ink[4][2]; /* two pixels for each two bits of a glyph, the left one first */
	/* A ring: row r of the screen is text[(top + r) % rows]. */
	cell text[ROWS_MAX][COLS_MAX];
	uint8_t drawn[ROWS_MAX][COLS_MAX]; /* the characters that the framebuffer shows */
	ATOMIC(uint32_t) top;
	uint32_t row, col;
	ATOMIC(bool) dirty;
	enum escape escape;
	uint32_t param;
	uint64_t rest_until; /* TSC; nothing is drawn until then */
} screen;

/* --- Font: PSF version 1 and 2 --- */

struct psf2_header {
	uint32_t magic, version, header_bytes, flags, glyph_count, glyph_bytes, height, width;
};
_Static_assert(sizeof(struct psf2_header) == 32, "PSF2 header");

static int font_load(const uint8_t *data, size_t bytes)
{
	struct psf2_header h;
	uint64_t end;

	if (bytes < sizeof(h)) {
		return ERR_FORMAT;
	}
	memcpy(&h, data, sizeof(h));
	if (h.magic == 0x864ab572) {
		end = h.header_bytes + 256ul * h.glyph_bytes;
	} else if ((h.magic & 0xffff) == 0x0436) {
		h.header_bytes = 4;
		h.height = h.glyph_bytes = data[3];
		h.glyph_count = 256;
		h.width = GLYPH_W;
		end = 4 + 256ul * h.glyph_bytes;
	} else {
		return ERR_FORMAT;
	}
	if (h.width != GLYPH_W || h.height == 0 || h.height > GLYPH_MAX || end > bytes ||
	    h.glyph_bytes != h.height || h.glyph_count < 256) {
		return ERR_FORMAT;
	}
	font.glyphs = data + h.header_bytes;
	font.height = h.height;
	return 0;
}

/* --- Drawing --- */

static void draw_cell(uint32_t row, uint32_t col, uint8_t c)
{
	const uint8_t *glyph = font.glyphs + (size_t)c * font.height;
	uint8_t *at = screen.pixels +
		      (size_t)row * font.height * screen.scale * screen.bytes_per_line +
		      (size_t)col * GLYPH_W * screen.scale * sizeof(uint32_t);

	for (uint32_t line = 0; line < font.height * screen.scale; line++) {
		uint32_t bits = glyph[line / screen.scale];
		volatile uint32_t *pixel = (volatile uint32_t *)(void *)at;

		if (screen.scale == 1) {
			for (int shift = 6; shift >= 0; shift -= 2) {
				const uint32_t *two = screen.ink[(bits >> shift) & 3];

				*pixel++ = two[0];
				*pixel++ = two[1];
			}
		} else {
			for (uint32_t x = 0; x < GLYPH_W * screen.scale; x++) {
				*pixel++ = screen.ink[(bits >> (7 - x / screen.scale)) & 1][1];
			}
		}
		at += screen.bytes_per_line;
	}
}

/* Another CPU may write meanwhile. A cell is one byte, and is read once. */
static void draw_changes(void)
{
	const uint32_t top = atomic_load_relaxed(&screen.top);

	for (uint32_t row = 0; row < screen.rows; row++) {
		const cell *text = screen.text[(top + row) % screen.rows];

		for (uint32_t col = 0; col < screen.cols; col++) {
			const uint8_t c = atomic_load_relaxed(&text[col]);

			if (c != screen.drawn[row][col]) {
				screen.drawn[row][col] = c;
				draw_cell(row, col, c);
			}
		}
	}
}

static bool screen_flush(bool somebody_waits)
{
	const uint64_t began = cpu_rdtsc();

	if (screen.pixels == NULL || !atomic_load_relaxed(&screen.dirty)) {
		return false;
	}
	if (began < screen.rest_until && !somebody_waits) {
		return true;
	}
	atomic_store(&screen.dirty, false);
	draw_changes();
	screen.rest_until = began + (cpu_rdtsc() - began) * (PACE + 1);
	return false;
}

/* --- Text --- */

static cell *line_at(uint32_t row)
{
	return screen.text[(atomic_load_relaxed(&screen.top) + row) % screen.rows];
}

static void clear(uint32_t row, uint32_t col, uint32_t cols)
{
	memset(line_at(row) + col, ' ', cols);
}

static void new_line(void)
{
	if (screen.row + 1 < screen.rows) {
		screen.row++;
		return;
	}
	atomic_store_relaxed(&screen.top, (atomic_load_relaxed(&screen.top) + 1) % screen.rows);
	clear(screen.row, 0, screen.cols);
}

static void put(uint8_t c)
{
	if (screen.col == screen.cols) {
		screen.col = 0;
		new_line();
	}
	atomic_store_relaxed(&line_at(screen.row)[screen.col++], c);
}

/* ESC [ param final: does the erasing that shells and kernels use, and "home"; ignores the rest. */
static void control_sequence(char final)
{
	const uint32_t col = MIN(screen.col, screen.cols - 1);

	if (final == 'K' && screen.param == 0) {
		clear(screen.row, col, screen.cols - col);
	} else if (final == 'J' && screen.param != 1) {
		uint32_t first = screen.param == 2 ? 0 : screen.row + 1;

		if (screen.param == 0) {
			clear(screen.row, col, screen.cols - col);
		}
		for (uint32_t row = first; row < screen.rows; row++) {
			clear(row, 0, screen.cols);
		}
	} else if (final == 'H' && screen.param <= 1) {
		screen.row = screen.col = 0;
	}
}

/* Handles a byte within a control sequence. */
static void escaped(char c)
{
	switch (screen.escape) {
	case ESCAPE_BEGAN:
		screen.param = 0;
		screen.escape = c == '['				   ? ESCAPE_CSI
				: c == ']'				   ? ESCAPE_STRING
				: strchr("()*+#%", c) != NULL && c != '\0' ? ESCAPE_SKIP
									   : ESCAPE_NONE;
		break;
	case ESCAPE_CSI:
		if (c >= '0' && c <= '9') {
			screen.param = MIN(screen.param * 10 + (uint32_t)(c - '0'), PARAM_MAX);
		} else if (c >= 0x40 && c <= 0x7e) {
			control_sequence(c);
			screen.escape = ESCAPE_NONE;
		}
		break;
	case ESCAPE_STRING:
		/* BEL ends it, or ESC and a backslash, which ESCAPE_BEGAN ignores. */
		screen.escape = c == '\a' ? ESCAPE_NONE : ESCAPE_STRING;
		break;
	default: screen.escape = ESCAPE_NONE; break;
	}
}

static void screen_byte(char c)
{
	if (c == '\x1b') {
		screen.escape = ESCAPE_BEGAN;
		return;
	}
	if (screen.escape != ESCAPE_NONE) {
		escaped(c);
		return;
	}
	switch (c) {
	case '\n': new_line(); break;
	case '\r': screen.col = 0; break;
	case '\b': screen.col -= screen.col > 0 ? 1 : 0; break;
	case '\t': do { put(' ');
		} while (screen.col % TAB != 0 && screen.col < screen.cols);
		break;
	default:
		if (c >= ' ' && c <= '~') {
			put((uint8_t)c);
		} else if ((uint8_t)c >= 0xc0) {
			/* The first byte of a UTF-8 character; its other bytes show nothing. */
			put('?');
		}
		break;
	}
}

static void screen_write(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		screen_byte(text[i]);
	}
	atomic_store_release(&screen.dirty, true); /* after the last change */
}

static const struct console_sink screen_sink = {
	.name = "screen",
	.write = screen_write,
	.flush = screen_flush,
};

/* --- Set-up --- */

uint64_t screen_bytes(void)
{
	return (uint64_t)screen.bytes_per_line * screen.lines;
}

void screen_move(void *pixels)
{
	screen.pixels = pixels;
}

/* Computes the sizes. False when they do not fit the tables. */
static bool set_geometry(const struct screen_mode *mode)
{
	uint32_t scale;

	if (mode->base.v == 0 || mode->width > 65536 || mode->height > 65536 ||
	    mode->pixels_per_line > 65536 || mode->pixels_per_line < mode->width) {
		return false;
	}
	scale = mode->width / (SCALE_AT + 1) + 1;
	screen.scale = scale;
	screen.cols = MIN(mode->width / (GLYPH_W * scale), COLS_MAX);
	screen.rows = MIN(mode->height / (font.height * scale), ROWS_MAX);
	screen.bytes_per_line = mode->pixels_per_line * (uint32_t)sizeof(uint32_t);
	screen.lines = mode->height;
	return screen.cols >= COLS_MIN && screen.rows >= ROWS_MIN;
}

int screen_init(const struct screen_mode *mode)
{
	const uint32_t white = mode->red_mask | mode->green_mask | mode->blue_mask;

	memset(&screen, 0, sizeof(screen));
	if (font_load(screen_font, (size_t)(screen_font_end - screen_font)) != 0) {
		return ERR_FORMAT;
	}
	if (!set_geometry(mode)) {
		screen.bytes_per_line = 0;
		return ERR_UNSUPPORTED;
	}
	for (uint32_t i = 0; i < 4; i++) {
		screen.ink[i][0] = (i & 2) != 0 ? white : 0;
		screen.ink[i][1] = (i & 1) != 0 ? white : 0;
	}
	memset(screen.text, ' ', sizeof(screen.text));
	memset(screen.drawn, ' ', sizeof(screen.drawn));
	screen.pixels = (uint8_t *)(uintptr_t)mode->base.v;
	memset(screen.pixels, 0, screen_bytes());
	return console_add_sink(&screen_sink);
}
