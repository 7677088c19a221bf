/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text on a linear framebuffer with a built-in font, before and after ExitBootServices. A write
 * only changes a grid of characters. console_flush draws the cells that changed, and limits drawing
 * to a thirtieth of the time.
 */
#ifndef UMBRA_CONSOLE_SCREEN_H
#define UMBRA_CONSOLE_SCREEN_H

#include "vmm/base/types.h"

/* The framebuffer as firmware describes it, with 32 bits per pixel. */
struct screen_mode {
	hpa_t base; /* 0: no graphics output */
	uint32_t width, height;
	uint32_t pixels_per_line;
	uint32_t red_mask, green_mask, blue_mask;
};

/*
 * Clears the screen and adds it as a console sink, which replays the log. The framebuffer must be
 * mapped at its own address. Returns ERR_UNSUPPORTED when there is none or it is too small for
 * text, ERR_FORMAT when the font is damaged. Boot processor, once.
 */
int screen_init(const struct screen_mode *mode);

/* Size in bytes of the part of the framebuffer that is drawn on; 0 without a screen. */
uint64_t screen_bytes(void);

/* From now on the framebuffer is mapped at pixels. NULL: draw nothing until the next call. */
void screen_move(void *pixels);

/* vmm/console/font.asm: a PSF font with the ASCII glyphs at their places. */
extern const uint8_t screen_font[];
extern const uint8_t screen_font_end[];

#endif
