/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses the serial line: until umbra.conf is read, the line that ACPI names, or else COM1; then
 * the line that [host] serial names.
 */
#include "boot/efi_priv.h"

#include "boot/pci_config.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/console/serial.h"

#define CLASS_SERIAL   0x0700
#define COMMAND_DECODE 0x3 /* decode ports and memory */
#define BAR_IO	       BIT(0)
#define BAR_64	       0x4
#define BAR_TYPE       0x6

bool efi_serial_open(void)
{
	struct serial_place place;

	return (efi_find_serial(&place) && console_open_serial(&place) == 0) ||
	       console_open_serial(&serial_com1) == 0;
}

/* Finds the registers of a PCI serial port: its first BAR. */
static bool find_pci(uint32_t function, struct serial_place *place)
{
	uint32_t bar;

	if (!pci_is_there() || pci_read(function, PCI_CLASS) >> 16 != CLASS_SERIAL) {
		log_error("[host] serial: there is no serial port at PCI %02x:%02x.%x",
			  function >> 8, function >> 3 & 0x1f, function & 7);
		return false;
	}
	bar = pci_read(function, PCI_BAR0);
	place->memory = (bar & BAR_IO) == 0;
	place->stride = 1;
	place->address = bar & (place->memory ? ~0xfu : ~0x3u);
	if (place->memory && (bar & BAR_TYPE) == BAR_64 && pci_read(function, PCI_BAR0 + 4) != 0) {
		place->address = 0;
	}
	if (place->address == 0) {
		log_error("[host] serial: firmware gave the port at PCI %02x:%02x.%x no address "
			  "below 4 GiB",
			  function >> 8, function >> 3 & 0x1f, function & 7);
		return false;
	}
	pci_write16(function, PCI_COMMAND,
		    (uint16_t)(pci_read(function, PCI_COMMAND) | COMMAND_DECODE));
	return true;
}

void efi_serial_configure(const struct config_serial *wanted)
{
	struct serial_place place = *serial_where();

	switch (wanted->kind) {
	case CONFIG_SERIAL_NONE:
		log_info("the serial line is not used, as [host] serial says");
		console_close_serial();
		return;
	case CONFIG_SERIAL_AUTO:
		if (!wanted->speed_given || place.address == 0) {
			return;
		}
		break;
	case CONFIG_SERIAL_PLACE: place = wanted->place; break;
	case CONFIG_SERIAL_PCI:
	default:
		if (!find_pci(wanted->pci, &place)) {
			return; /* the open line stays in use */
		}
		break;
	}
	place.divisor = wanted->place.divisor;
	if (place.address == serial_where()->address && place.memory == serial_where()->memory &&
	    place.divisor == serial_where()->divisor) {
		return;
	}
	if (console_open_serial(&place) != 0) {
		log_error("[host] serial: no 16550 answers at %s 0x%lx",
			  place.memory ? "memory" : "port", place.address);
		if (efi_serial_open()) {
			log_warn("the serial line is %s 0x%lx instead",
				 serial_where()->memory ? "memory" : "port",
				 serial_where()->address);
		}
	}
}
