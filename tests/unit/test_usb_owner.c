/* SPDX-License-Identifier: Apache-2.0 */
/* boot/usb_owner.c with controllers of each kind, and with registers that hold nonsense. */
#include "tests/unit/test.h"
#include "boot/pci_config.h"
#include "boot/usb_owner.h"
#include "vmm/host/host_paging.h"

#define FUNCTION 0x1234u
#define OWNED	 (1u | BIT(16))

static uint32_t config[64];
static uint32_t registers[0x4000];
static uint64_t mapped_at;

uint32_t pci_read(uint32_t function, uint32_t offset)
{
	assert_int_equal(function, FUNCTION);
	assert_in_range(offset, 0, 0xfc);
	assert_int_equal(offset % 4, 0);
	return config[offset / 4];
}

void *host_map_io(hpa_t base, uint64_t bytes, enum host_cache cache)
{
	assert_in_range(bytes, 1, sizeof(registers));
	assert_int_equal(cache, HOST_CACHE_UC);
	mapped_at = base.v;
	return registers;
}

static void begin(uint32_t kind)
{
	memset(config, 0, sizeof(config));
	memset(registers, 0, sizeof(registers));
	mapped_at = 0;
	config[1] = 0x6;
	config[2] = 0x0c030000 | kind << 8;
	config[4] = 0xfe000000;
}

TEST(uhci)
{
	begin(0x00);
	config[4] = 0xe001;
	config[0xc0 / 4] = 0x2000; /* interrupts go to the PCI line: an operating system owns it */
	assert_false(usb_is_firmwares(FUNCTION));
	config[0xc0 / 4] = 0x2010;
	assert_true(usb_is_firmwares(FUNCTION));
	assert_int_equal(mapped_at, 0);
}

TEST(ohci)
{
	begin(0x10);
	assert_false(usb_is_firmwares(FUNCTION));
	registers[1] = 0x100;
	assert_true(usb_is_firmwares(FUNCTION));
	assert_int_equal(mapped_at, 0xfe000000);
}

TEST(ehci)
{
	begin(0x20);
	assert_false(usb_is_firmwares(FUNCTION)); /* no list */
	registers[2] = 0x6800;
	config[0x68 / 4] = 0x7002; /* another capability first */
	config[0x70 / 4] = OWNED;
	assert_true(usb_is_firmwares(FUNCTION));
	config[0x70 / 4] = 1u | BIT(24); /* an operating system owns it */
	assert_false(usb_is_firmwares(FUNCTION));
	config[0x70 / 4] = 0x6802; /* a loop */
	assert_false(usb_is_firmwares(FUNCTION));
}

TEST(xhci)
{
	begin(0x30);
	config[4] = 0xfe000004; /* 64 bits */
	config[5] = 0x12;
	assert_false(usb_is_firmwares(FUNCTION));
	assert_true(mapped_at == 0x12fe000000);
	registers[4] = 0x2000u << 16;
	registers[0x2000] = 0x0402; /* another capability, four dwords */
	registers[0x2004] = OWNED;
	assert_true(usb_is_firmwares(FUNCTION));
	registers[0x2004] = 1u | BIT(24);
	assert_false(usb_is_firmwares(FUNCTION));
	registers[0x2004] = 0xff02; /* and the next lies outside of what is mapped, or nowhere */
	assert_false(usb_is_firmwares(FUNCTION));
	registers[4] = 0xffffu << 16;
	assert_false(usb_is_firmwares(FUNCTION));
	registers[4] = ARRAY_COUNT(registers) << 16; /* just behind them */
	assert_false(usb_is_firmwares(FUNCTION));
}

/* Registers that cannot be read, or where no controller answers. */
TEST(absent)
{
	begin(0x30);
	registers[4] = 0x10u << 16;
	registers[0x10] = OWNED;
	assert_true(usb_is_firmwares(FUNCTION));
	config[1] = 0x4; /* memory space is disabled */
	assert_false(usb_is_firmwares(FUNCTION));
	config[1] = 0x6;
	config[4] = 0;
	assert_false(usb_is_firmwares(FUNCTION));
	config[4] = 0xe001;
	assert_false(usb_is_firmwares(FUNCTION));
	config[4] = 0xfe000000;
	config[2] = 0x0c03fe00; /* a USB device, not a host controller */
	assert_false(usb_is_firmwares(FUNCTION));
	config[2] = 0x0c033000;
	memset(registers, 0xff, sizeof(registers));
	assert_false(usb_is_firmwares(FUNCTION));
}
