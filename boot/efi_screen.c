/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses the graphics output to draw on. Several handles may have the protocol (UEFI, "Graphics
 * Output Protocol"): one for each display, and often a virtual one that repeats everything to all
 * displays and has no framebuffer.
 */
#include "boot/efi_priv.h"

#include "vmm/base/str.h"

/* EDK II installs this on the handles of displays that are consoles. */
#define CONSOLE_OUT_DEVICE_GUID                                        \
	{                                                              \
		0xd3b36f2c, 0xd551, 0x11d4,                            \
		{                                                      \
			0x9a, 0x46, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d \
		}                                                      \
	}

/* Returns false if the format has no linear framebuffer of 32 bits a pixel. */
static bool set_masks(const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode, struct screen_mode *screen)
{
	const EFI_PIXEL_BITMASK *mask = &mode->PixelInformation;

	screen->green_mask = 0xff00;
	switch (mode->PixelFormat) {
	case PixelRedGreenBlueReserved8BitPerColor:
		screen->red_mask = 0xff;
		screen->blue_mask = 0xff0000;
		return true;
	case PixelBlueGreenRedReserved8BitPerColor:
		screen->red_mask = 0xff0000;
		screen->blue_mask = 0xff;
		return true;
	case PixelBitMask:
		screen->red_mask = mask->RedMask;
		screen->green_mask = mask->GreenMask;
		screen->blue_mask = mask->BlueMask;
		/* The highest bit of all four masks gives the size of a pixel. */
		return ((mask->RedMask | mask->GreenMask | mask->BlueMask | mask->ReservedMask) &
			0xff000000) != 0;
	default: return false; /* PixelBltOnly and unknown formats */
	}
}

/* Fills in screen. Returns false if this output cannot be drawn on. */
static bool describe(const EFI_GRAPHICS_OUTPUT_PROTOCOL *gop, struct screen_mode *screen)
{
	const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode;
	uint64_t line_bytes, lines;

	memset(screen, 0, sizeof(*screen));
	if (gop == NULL || gop->Mode == NULL || gop->Mode->Info == NULL ||
	    gop->Mode->FrameBufferBase == 0) {
		return false;
	}
	mode = gop->Mode->Info;
	screen->pixels_per_line = MAX(mode->PixelsPerScanLine, mode->HorizontalResolution);
	line_bytes = screen->pixels_per_line * (uint64_t)sizeof(uint32_t);
	if (!set_masks(mode, screen) || line_bytes == 0) {
		return false;
	}
	/* The mode may claim lines beyond the framebuffer's end, which may be other memory. */
	lines = MIN((uint64_t)mode->VerticalResolution, gop->Mode->FrameBufferSize / line_bytes);
	screen->width = mode->HorizontalResolution;
	screen->height = (uint32_t)lines;
	screen->base = hpa(gop->Mode->FrameBufferBase);
	return screen->width != 0 && lines != 0;
}

static bool is_console(EFI_HANDLE handle)
{
	static EFI_GUID guid = CONSOLE_OUT_DEVICE_GUID;
	void *tag = NULL; /* may stay NULL: only the presence of the protocol counts */

	return !EFI_ERROR(efi_system->BootServices->HandleProtocol(handle, &guid, &tag));
}

void efi_probe_screen(struct screen_mode *screen)
{
	static EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
	EFI_BOOT_SERVICES *bs = efi_system->BootServices;
	EFI_HANDLE *handles = NULL;
	UINTN count = 0;
	bool found = false, preferred = false;

	memset(screen, 0, sizeof(*screen));
	if (EFI_ERROR(bs->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles))) {
		return;
	}
	for (UINTN i = 0; i < count && !preferred; i++) {
		EFI_GRAPHICS_OUTPUT_PROTOCOL *gop = NULL;
		struct screen_mode mode;

		if (EFI_ERROR(bs->HandleProtocol(handles[i], &guid, (void **)&gop)) ||
		    !describe(gop, &mode)) {
			continue;
		}
		preferred = is_console(handles[i]);
		if (!found || preferred) {
			*screen = mode;
			found = true;
		}
	}
	(void)bs->FreePool(handles); /* firmware allocated it for us */
}
