/* SPDX-License-Identifier: Apache-2.0 */
/* boot/efi_screen.c with a fake firmware that has several graphics outputs of all kinds. */
#include "tests/unit/test.h"
#include "boot/efi_priv.h"

#define OUTPUTS 4

EFI_SYSTEM_TABLE *efi_system;

static struct {
	EFI_GRAPHICS_OUTPUT_PROTOCOL gop;
	EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE mode;
	EFI_GRAPHICS_OUTPUT_MODE_INFORMATION info;
	bool console;
} outputs[OUTPUTS];
static size_t output_count;
static EFI_HANDLE handles[OUTPUTS];
static unsigned pools;

static EFI_STATUS EFIAPI locate_handles(EFI_LOCATE_SEARCH_TYPE type, EFI_GUID *guid, void *key,
					UINTN *count, EFI_HANDLE **out)
{
	assert_int_equal(type, ByProtocol);
	if (output_count == 0) {
		return EFI_NOT_FOUND;
	}
	for (size_t i = 0; i < output_count; i++) {
		handles[i] = (EFI_HANDLE)(uintptr_t)(i + 1);
	}
	*count = output_count;
	*out = handles;
	pools++;
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pool(void *pool)
{
	assert_ptr_equal(pool, handles);
	pools--;
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **out)
{
	static const EFI_GUID graphics = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
	const size_t i = (size_t)(uintptr_t)handle - 1;

	assert_in_range(i, 0, output_count - 1);
	if (memcmp(guid, &graphics, sizeof(graphics)) == 0) {
		*out = &outputs[i].gop;
		return EFI_SUCCESS;
	}
	assert_int_equal(guid->Data1, 0xd3b36f2c); /* EFI_CONSOLE_OUT_DEVICE_GUID */
	return outputs[i].console ? EFI_SUCCESS : EFI_UNSUPPORTED;
}

/* Adds an output, 1024 x 768, whose lines are 1040 pixels long. */
static void add(uint64_t base, EFI_GRAPHICS_PIXEL_FORMAT format, bool console)
{
	const size_t i = output_count++;

	outputs[i].info = (EFI_GRAPHICS_OUTPUT_MODE_INFORMATION){
		.HorizontalResolution = 1024,
		.VerticalResolution = 768,
		.PixelFormat = format,
		.PixelsPerScanLine = 1040,
	};
	outputs[i].mode.Info = &outputs[i].info;
	outputs[i].mode.FrameBufferBase = base;
	outputs[i].mode.FrameBufferSize = 1040 * 4 * 768;
	outputs[i].gop.Mode = &outputs[i].mode;
	outputs[i].console = console;
}

static struct screen_mode probe(void)
{
	struct screen_mode screen;

	memset(&screen, 0xcc, sizeof(screen));
	efi_probe_screen(&screen);
	assert_int_equal(pools, 0);
	return screen;
}

static int setup(void **state)
{
	static EFI_BOOT_SERVICES bs;
	static EFI_SYSTEM_TABLE table;

	bs.LocateHandleBuffer = locate_handles;
	bs.HandleProtocol = handle_protocol;
	bs.FreePool = free_pool;
	table.BootServices = &bs;
	efi_system = &table;
	output_count = pools = 0;
	memset(outputs, 0, sizeof(outputs));
	return fake_setup(state);
}

TEST(none, setup, fake_teardown)
{
	assert_int_equal(probe().base.v, 0);
	add(0, PixelBltOnly, true);
	assert_int_equal(probe().base.v, 0);
	outputs[0].gop.Mode = NULL;
	assert_int_equal(probe().base.v, 0);
}

TEST(one, setup, fake_teardown)
{
	struct screen_mode screen;

	add(0x80000000, PixelBlueGreenRedReserved8BitPerColor, false);
	screen = probe();
	assert_int_equal(screen.base.v, 0x80000000);
	assert_int_equal(screen.width, 1024);
	assert_int_equal(screen.height, 768);
	assert_int_equal(screen.pixels_per_line, 1040);
	assert_int_equal(screen.red_mask, 0xff0000);
	assert_int_equal(screen.green_mask, 0xff00);
	assert_int_equal(screen.blue_mask, 0xff);
	outputs[0].info.PixelFormat = PixelRedGreenBlueReserved8BitPerColor;
	assert_int_equal(probe().red_mask, 0xff);
}

TEST(those_without_a_buffer_are_skipped, setup, fake_teardown)
{
	add(0, PixelBltOnly, true);
	add(0x70000000, PixelBltOnly, true);
	add(0, PixelBlueGreenRedReserved8BitPerColor, true);
	add(0x90000000, PixelBlueGreenRedReserved8BitPerColor, false);
	assert_int_equal(probe().base.v, 0x90000000);
}

TEST(a_console_is_preferred, setup, fake_teardown)
{
	add(0x70000000, PixelBlueGreenRedReserved8BitPerColor, false);
	add(0x80000000, PixelBlueGreenRedReserved8BitPerColor, true);
	add(0x90000000, PixelBlueGreenRedReserved8BitPerColor, true);
	assert_int_equal(probe().base.v, 0x80000000);
	outputs[1].mode.FrameBufferSize = 0;
	outputs[2].console = false;
	assert_int_equal(probe().base.v, 0x70000000);
}

/* Nothing is drawn beyond the end of the frame buffer. */
TEST(sizes_are_checked, setup, fake_teardown)
{
	add(0x80000000, PixelBlueGreenRedReserved8BitPerColor, true);
	outputs[0].mode.FrameBufferSize = 1040 * 4 * 100 + 17;
	assert_int_equal(probe().height, 100);
	outputs[0].mode.FrameBufferSize = 1040 * 4 - 1;
	assert_int_equal(probe().height, 0);
	outputs[0].mode.FrameBufferSize = SIZE_1G;
	assert_int_equal(probe().height, 768);
	outputs[0].info.PixelsPerScanLine = 0;
	assert_int_equal(probe().pixels_per_line, 1024);
	outputs[0].info.HorizontalResolution = 0;
	assert_int_equal(probe().width, 0);
}

TEST(masks, setup, fake_teardown)
{
	add(0x80000000, PixelBitMask, true);
	outputs[0].info.PixelInformation = (EFI_PIXEL_BITMASK){ 0xf800, 0x7e0, 0x1f, 0 };
	assert_int_equal(probe().width, 0); /* 16 bits per pixel */
	outputs[0].info.PixelInformation = (EFI_PIXEL_BITMASK){ 0xff000000, 0xff0000, 0xff00,
								0xff };
	assert_int_equal(probe().red_mask, 0xff000000);
	assert_int_equal(probe().width, 1024);
	outputs[0].info.PixelInformation = (EFI_PIXEL_BITMASK){ 0xff, 0xff00, 0xff0000,
								0xff000000 };
	assert_int_equal(probe().blue_mask, 0xff0000);
}
