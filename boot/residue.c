/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/residue.h"

#include "boot/pci_config.h"
#include "boot/usb_owner.h"
#include "ept/gmem.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/smp.h"

/* PCI-to-PCI Bridge Architecture Specification, "Type 01h Configuration Space Header". */
#define BRIDGE_BUSES		0x18
#define BRIDGE_SECONDARY(reg)	((reg) >> 8 & 0xff)
#define BRIDGE_SUBORDINATE(reg) ((reg) >> 16 & 0xff)

#define COMMAND_MASTER	  BIT(2)
#define CLASS_DISPLAY	  0x03	 /* base class */
#define CLASS_HOST_BRIDGE 0x0600 /* base class and sub-class */
#define CLASS_ISA_BRIDGE  0x0601
#define CLASS_PCI_BRIDGE  0x0604
#define CLASS_USB	  0x0c03

/* Buses with a device that keeps Bus Master. The bridges to it must keep theirs, too. */
static uint8_t kept_buses[256 / 8];
static uint32_t stopped;

static bool is_kept(uint32_t bus)
{
	return (kept_buses[bus / 8] & BIT(bus % 8)) != 0;
}

static bool leads_to_kept(uint32_t function)
{
	const uint32_t buses = pci_read(function, BRIDGE_BUSES);

	for (uint32_t bus = BRIDGE_SECONDARY(buses); bus <= BRIDGE_SUBORDINATE(buses); bus++) {
		if (is_kept(bus)) {
			return true;
		}
	}
	return false;
}

/* A keyboard that firmware emulates is worth more to a person than stopping one more controller. */
static bool keep_usb(uint32_t function)
{
	const uint32_t bus = function >> 8;

	if (!usb_is_firmwares(function)) {
		return false;
	}
	log_warn("PCI: the USB controller %02x:%02x.%x may still write to memory: firmware drives "
		 "it, to make a PS/2 keyboard of a USB one",
		 bus, function >> 3 & 0x1f, function & 7);
	kept_buses[bus / 8] |= (uint8_t)BIT(bus % 8);
	return true;
}

static void stop_function(uint32_t function, uint32_t class)
{
	uint32_t command = pci_read(function, PCI_COMMAND) & 0xffff;

	if ((command & COMMAND_MASTER) == 0 || class >> 8 == CLASS_DISPLAY ||
	    class == CLASS_HOST_BRIDGE || class == CLASS_ISA_BRIDGE ||
	    (class == CLASS_USB && keep_usb(function)) ||
	    (class == CLASS_PCI_BRIDGE && leads_to_kept(function))) {
		return;
	}
	pci_write16(function, PCI_COMMAND, (uint16_t)(command & ~COMMAND_MASTER));
	stopped++;
}

static void stop_device(uint32_t function, uint32_t class)
{
	if (class != CLASS_PCI_BRIDGE) {
		stop_function(function, class);
	}
}

static void stop_bridge(uint32_t function, uint32_t class)
{
	if (class == CLASS_PCI_BRIDGE) {
		stop_function(function, class);
	}
}

void residue_stop_devices(void)
{
	stopped = 0;
	memset(kept_buses, 0, sizeof(kept_buses));
	if (!pci_is_there()) {
		return;
	}
	pci_walk(stop_device);
	pci_walk(stop_bridge);
	log_info("PCI: stopped %u function%s that could write to memory", stopped,
		 stopped == 1 ? "" : "s");
}

void residue_zero(const struct mem_range *ranges, size_t count)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t first = MAX(ranges[i].base.v, PAGE_SIZE);
		uint64_t end = ranges[i].base.v + ranges[i].page_count * PAGE_SIZE;

		if (first < end) {
			gmem_scrub(hpa(first), end - first);
			pages += (end - first) / PAGE_SIZE;
		}
	}
	log_info("memory: %lu KiB that firmware and its drivers used are zeroed", pages * 4);
}

/*
 * The order of these steps matters. Firmware may have parked the other CPUs in its own memory: in a
 * loop of HLT or MWAIT whose code, stack or page tables lie there. An NMI, an SMI or a store to the
 * monitored line can end that loop at any time. Devices may write to this memory, too. So CPUs and
 * devices are stopped before the memory is written, and it is zeroed before its frames can be
 * allocated.
 */
void residue_clear(const struct mem_range *ranges, size_t count)
{
	smp_park_others();
	residue_stop_devices();
	residue_zero(ranges, count);
	frames_add(ranges, count);
}
