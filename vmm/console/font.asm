; SPDX-License-Identifier: Apache-2.0
; The font of screen.c, fetched by the build.

section .rodata align=16

global screen_font:data hidden
global screen_font_end:data hidden
screen_font:
	incbin	"font.psf"
screen_font_end:

section .note.GNU-stack noalloc noexec nowrite progbits
