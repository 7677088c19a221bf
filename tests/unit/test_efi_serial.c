/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/efi_serial.c: which line is opened for each setting, and what is logged when it does not
 * exist.
 */
#include "tests/unit/test.h"
#include "boot/efi_priv.h"
#include "boot/pci_config.h"
#include "vmm/base/err.h"
#include "vmm/console/console.h"

#define open_at fake_serial_place /* address 0: closed */

static struct serial_place acpi; /* address 0: ACPI names no line */
static uint64_t answers[2];	 /* addresses of UARTs */
static unsigned opened;
static uint32_t config[64];
static bool pci_there;

const struct serial_place serial_com1 = { .divisor = 1, .address = 0x3f8 };

bool efi_find_serial(struct serial_place *out)
{
	*out = acpi;
	return acpi.address != 0;
}

int console_open_serial(const struct serial_place *place)
{
	open_at = (struct serial_place){ 0 };
	if (place->address != answers[0] && place->address != answers[1]) {
		return ERR_NOTFOUND;
	}
	open_at = *place;
	opened++;
	return 0;
}

void console_close_serial(void)
{
	open_at = (struct serial_place){ 0 };
}

bool pci_is_there(void)
{
	return pci_there;
}

uint32_t pci_read(uint32_t function, uint32_t offset)
{
	assert_int_equal(function, 0xb3);
	return config[offset / 4];
}

void pci_write16(uint32_t function, uint32_t offset, uint16_t value)
{
	assert_int_equal(function, 0xb3);
	config[offset / 4] = value;
}

static int setup(void **state)
{
	int err = fake_setup(state);

	memset(config, 0, sizeof(config));
	config[2] = 0x07000203;
	config[4] = 0xe001;
	acpi = (struct serial_place){ 0 };
	answers[0] = 0x3f8;
	answers[1] = 0;
	pci_there = true;
	assert_true(efi_serial_open());
	opened = 0;
	return err;
}

TEST(acpi_comes_first, setup, fake_teardown)
{
	acpi = (struct serial_place){ .address = 0x2f8, .divisor = 12 };
	answers[1] = 0x2f8;
	assert_true(efi_serial_open());
	assert_int_equal(open_at.address, 0x2f8);
	assert_int_equal(open_at.divisor, 12);
	answers[1] = 0; /* no UART answers */
	assert_true(efi_serial_open());
	assert_int_equal(open_at.address, 0x3f8);
	answers[0] = 0;
	assert_false(efi_serial_open());
}

TEST(wishes, setup, fake_teardown)
{
	struct config_serial wanted = { .kind = CONFIG_SERIAL_AUTO, .place = { .divisor = 1 } };

	efi_serial_configure(&wanted);
	assert_int_equal(opened, 0); /* the log is not shown twice */
	wanted.place.divisor = 2;
	wanted.speed_given = true;
	efi_serial_configure(&wanted);
	assert_int_equal(open_at.address, 0x3f8);
	assert_int_equal(open_at.divisor, 2);
	efi_serial_configure(&wanted);
	assert_int_equal(opened, 1);
	wanted.kind = CONFIG_SERIAL_PLACE;
	wanted.place.address = 0x2f8;
	answers[1] = 0x2f8;
	efi_serial_configure(&wanted);
	assert_int_equal(open_at.address, 0x2f8);
	assert_string_equal(fake_log_text(), "");
	answers[1] = 0;
	wanted.place.address = 0x3e8;
	efi_serial_configure(&wanted);
	assert_non_null(strstr(fake_log_text(), "error: [host] serial: no 16550 answers at port "
						"0x3e8"));
	assert_non_null(strstr(fake_log_text(), "the serial line is port 0x3f8 instead"));
	wanted.kind = CONFIG_SERIAL_NONE;
	efi_serial_configure(&wanted);
	assert_int_equal(open_at.address, 0);
}

TEST(pci, setup, fake_teardown)
{
	const struct config_serial wanted = { .kind = CONFIG_SERIAL_PCI,
					      .place = { .divisor = 1 },
					      .pci = 0xb3 };

	answers[1] = 0xe000;
	efi_serial_configure(&wanted);
	assert_int_equal(open_at.address, 0xe000);
	assert_false(open_at.memory);
	assert_int_equal(config[1] & 3, 3); /* decoding is enabled */
	config[4] = 0xfe034000;
	answers[1] = 0xfe034000;
	efi_serial_configure(&wanted);
	assert_true(open_at.memory);
	assert_string_equal(fake_log_text(), "");
	config[4] = 0xfe034004; /* 64 bits, and beyond what firmware maps */
	config[5] = 1;
	efi_serial_configure(&wanted);
	assert_true(open_at.address == 0xfe034000); /* the open line stays open */
	assert_non_null(strstr(fake_log_text(), "PCI 00:16.3 no address below 4 GiB"));
	config[2] = 0x02000000;
	fake_log_reset();
	efi_serial_configure(&wanted);
	assert_non_null(strstr(fake_log_text(), "there is no serial port at PCI 00:16.3"));
	config[2] = 0x07000203;
	pci_there = false;
	fake_log_reset();
	efi_serial_configure(&wanted);
	assert_non_null(strstr(fake_log_text(), "there is no serial port at PCI 00:16.3"));
}
