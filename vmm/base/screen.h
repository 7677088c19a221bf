/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text on a linear framebuffer, with a font of our own, before and after ExitBootServices. Writing
 * only changes a grid of characters; console_flush draws the cells that differ, at a pace that
 * keeps drawing below a thirtieth of the time.
 */
#ifndef UMBRA_BASE_SCREEN_H
#define UMBRA_BASE_SCREEN_H

#include "vmm/base/types.h"

/* As firmware describes it. 32 bits per pixel. */
struct screen_mode {
	hpa_t base; /* 0: no graphics output */
	uint32_t width, height;
	uint32_t pixels_per_line;
	uint32_t red_mask, green_mask, blue_mask;
};

/*
 * Clears the screen and adds it as a console sink, which replays the log. The framebuffer has to be
 * mapped at its own address. ERR_UNSUPPORTED when there is none or it holds no text, ERR_FORMAT
 * when the font is damaged. Boot processor, once.
 */
int screen_init(const struct screen_mode *mode);

/* Bytes of the framebuffer that are drawn on; 0 without a screen. */
uint64_t screen_bytes(void);

/* From now on the framebuffer is mapped at pixels; NULL: nothing is drawn until the next call. */
void screen_move(void *pixels);

/* vmm/base/font.asm: a PSF font with the ASCII glyphs at their places. */
extern const uint8_t screen_font[];
extern const uint8_t screen_font_end[];

#endif
