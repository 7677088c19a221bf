/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI Local Bus Specification 3.0, "Configuration Mechanism #1": a dword at CF8H selects a dword,
 * and CFCH to CFFH are its bytes. The chipset's reset register lies between them, at CF9H; the
 * width of an access distinguishes it, because CONFIG_ADDRESS accepts only dwords. PCI Express 3.0,
 * 7.2.2 "Enhanced Configuration Access Mechanism": the same registers in memory.
 *
 * Each access to configuration space takes the lock of struct vpci, which comes after a device's
 * own lock. The locks of the interrupt lines, of iobus' moves and of the I/O APIC come after it.
 */
#include "guest/dev/vpci.h"

#include "guest/memmap.h"
#include "guest/platform_state.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"

#define CONFIG_ADDRESS 0 /* offsets from PORT_PCI_CONFIG */
#define CONFIG_DATA    4

/*
 * CONFIG_ADDRESS has bus, device and function in one field; its other bits are zero by the
 * specification.
 */
#define ADDRESS_ENABLE	 BIT(31)
#define ADDRESS_FUNCTION MASK(23, 8)
#define ADDRESS_REGISTER MASK(7, 2)
#define ADDRESS_BITS	 (ADDRESS_ENABLE | ADDRESS_FUNCTION | ADDRESS_REGISTER)

#define RESET_CPU BIT(2) /* in CF9H */

/* PCI 3.0, "Configuration Space Organization": the type 00H header. */
#define CONFIG_VENDOR		0x00
#define CONFIG_DEVICE		0x02
#define CONFIG_COMMAND		0x04
#define CONFIG_STATUS		0x06
#define CONFIG_REVISION		0x08 /* together with the class code in one dword */
#define CONFIG_BAR(n)		(0x10 + 4 * (n))
#define CONFIG_SUBSYSTEM_VENDOR 0x2c
#define CONFIG_SUBSYSTEM	0x2e
#define CONFIG_CAPABILITIES	0x34
#define CONFIG_INTERRUPT_LINE	0x3c
#define CONFIG_INTERRUPT_PIN	0x3d
#define CONFIG_HEADER_END	0x40

#define COMMAND_IO		  BIT(0)
#define COMMAND_MEMORY		  BIT(1)
#define COMMAND_BUS_MASTER	  BIT(2)
#define COMMAND_INTERRUPT_DISABLE BIT(10)

#define STATUS_INTERRUPT    BIT(3)
#define STATUS_CAPABILITIES BIT(4)

#define BAR_IO		 BIT(0)
#define BAR_IO_MASK	 0x0000fffcu /* x86 has no more ports, so the upper half is hardwired */
#define BAR_MEMORY_64	 BIT(2)
#define BAR_PREFETCHABLE BIT(3)
#define BAR_MEMORY_FLAGS 0xful
#define BAR_IO_BYTES_MAX 256

/*
 * The identity is that of an Intel host bridge to which no Linux driver binds and no quirk applies.
 * The bridge has no status, command, BARs or capabilities.
 */
static const struct vpci_identity bridge_identity = {
	.vendor = 0x8086,
	.device = 0x0d57,
	.class_code = 0x060000,
};

static const struct vpci_function_ops bridge_ops = { .name = "host bridge" };

static uint64_t get(const uint8_t *config, uint32_t offset, uint32_t size)
{
	uint64_t value = 0;

	for (uint32_t i = 0; i < size; i++) {
		value |= (uint64_t)config[offset + i] << 8 * i;
	}
	return value;
}

static void put(uint8_t *config, uint32_t offset, uint32_t size, uint64_t value)
{
	for (uint32_t i = 0; i < size; i++) {
		config[offset + i] = (uint8_t)(value >> 8 * i);
	}
}

/* The host bridge passes on what lies in its window alone, so memory is never laid over RAM. */
static void place_memory(struct vpci_function *function, const struct vpci_bar *bar, uint64_t base,
			 bool on)
{
	const struct vpci *pci = function->pci;
	const uint64_t offset = base - pci->window;

	function->ops->placed(function, base,
			      on && offset < pci->window_bytes &&
				      pci->window_bytes - offset >= bar->memory);
}

/*
 * Moves the ranges to where the registers say. A guest may place a BAR anywhere; RAM and the
 * platform's own devices have priority over it. While the guest writes the halves of a 64-bit
 * register with memory space enabled, the BAR is for a moment at an address with one old and one
 * new half, as on real hardware.
 */
static void place_bars(struct vpci_function *function)
{
	const uint64_t command = get(function->config, CONFIG_COMMAND, 2);

	for (uint32_t i = 0; i < VPCI_BARS; i++) {
		const struct vpci_bar *bar = &function->bars[i];
		bool wide = bar->kind == VPCI_BAR_MEMORY64;
		bool io = bar->kind == VPCI_BAR_IO;
		bool on = (command & (io ? COMMAND_IO : COMMAND_MEMORY)) != 0;
		uint64_t base = get(function->config, CONFIG_BAR(i), wide ? 8 : 4);

		base &= io ? BAR_IO_MASK : ~BAR_MEMORY_FLAGS;
		if (bar->memory != 0) {
			place_memory(function, bar, base, on);
		} else if (bar->range != NULL) {
			iobus_move(&function->pci->vm->iobus, bar->range, base, on);
		}
	}
}

/* Updates the function's part of its interrupt line. Under line_lock. */
static void update_line(struct vpci_function *function)
{
	struct vpci *pci = function->pci;
	uint32_t *asserted = &pci->asserted[function->device % GSI_PCI_COUNT];
	const uint32_t before = *asserted, mine = (uint32_t)BIT(function->device);
	const bool high = atomic_load_relaxed(&function->intx) && !function->quiet;

	*asserted = high ? before | mine : before & ~mine;
	if ((*asserted != 0) != (before != 0)) {
		vioapic_set_line(pci->ioapic, GSI_PCI + function->device % GSI_PCI_COUNT,
				 *asserted != 0);
	}
}

void vpci_set_intx(struct vpci_function *function, bool level)
{
	lock_take(&function->pci->line_lock, LOCK_PCI_LINE);
	atomic_store_relaxed(&function->intx, level);
	update_line(function);
	lock_drop(&function->pci->line_lock);
}

/* The guest has written the function's registers. Under the lock. */
static void update_quiet(struct vpci_function *function)
{
	const bool quiet = function->intx_off || (get(function->config, CONFIG_COMMAND, 2) &
						  COMMAND_INTERRUPT_DISABLE) != 0;

	lock_take(&function->pci->line_lock, LOCK_PCI_LINE);
	function->quiet = quiet;
	update_line(function);
	lock_drop(&function->pci->line_lock);
}

/* Reads the registers; the status register also shows the level of the pin. Under the lock. */
static uint64_t read_config(const struct vpci_function *function, uint32_t offset, uint32_t size)
{
	uint64_t value = get(function->config, offset, size);

	if (offset <= CONFIG_STATUS && offset + size > CONFIG_STATUS &&
	    atomic_load_relaxed(&function->intx)) {
		value |= STATUS_INTERRUPT << 8 * (CONFIG_STATUS - offset);
	}
	return value;
}

static void write_config(struct vpci_function *function, uint32_t offset, uint32_t size,
			 uint64_t value)
{
	for (uint32_t i = 0; i < size; i++) {
		uint8_t mask = function->writable[offset + i];
		uint8_t *byte = &function->config[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | ((value >> 8 * i) & mask));
	}
	if (offset < CONFIG_BAR(VPCI_BARS)) {
		place_bars(function);
		atomic_store_release(
			&function->bus_master,
			(get(function->config, CONFIG_COMMAND, 2) & COMMAND_BUS_MASTER) != 0);
	}
	if (function->ops->written != NULL) {
		function->ops->written(function, offset, size);
	}
	update_quiet(function);
}

void vpci_config_access(struct vpci *pci, struct vcpu *vcpu, uint32_t number, uint32_t offset,
			struct io_access *access)
{
	const uint32_t device = number >> 3;
	struct vpci_function *function = device < VPCI_DEVICES && (number & 7) == 0
						 ? pci->functions[device]
						 : NULL;
	bool mastered = false;

	if (function == NULL) {
		access->value = MASK(8 * access->size - 1, 0);
		return;
	}
	if (offset + access->size > VPCI_CONFIG_BYTES) {
		access->value = 0; /* PCI Express: there is no extended capability */
		return;
	}
	if (function->ops->intercept != NULL &&
	    function->ops->intercept(function, vcpu, offset, access)) {
		return;
	}
	lock_take(&pci->lock, LOCK_PCI);
	if (access->write) {
		mastered = !vpci_is_master(function);
		write_config(function, offset, access->size, access->value);
		mastered = mastered && vpci_is_master(function);
	} else {
		access->value = read_config(function, offset, access->size);
	}
	lock_drop(&pci->lock);
	if (mastered && function->ops->mastered != NULL) {
		function->ops->mastered(function, vcpu);
	}
}

int vpci_add(struct vpci *pci, uint32_t device, struct vpci_function *function,
	     const struct vpci_function_ops *ops, const struct vpci_identity *identity)
{
	if (device >= VPCI_DEVICES) {
		return ERR_INVAL;
	}
	if (pci->functions[device] != NULL) {
		return ERR_EXISTS;
	}
	*function = (struct vpci_function){
		.ops = ops,
		.pci = pci,
		.device = device,
		.capability_end = CONFIG_HEADER_END,
		.capability_link = CONFIG_CAPABILITIES,
	};
	put(function->config, CONFIG_VENDOR, 2, identity->vendor);
	put(function->config, CONFIG_DEVICE, 2, identity->device);
	put(function->config, CONFIG_REVISION, 4,
	    (uint64_t)identity->class_code << 8 | identity->revision);
	put(function->config, CONFIG_SUBSYSTEM_VENDOR, 2, identity->subsystem_vendor);
	put(function->config, CONFIG_SUBSYSTEM, 2, identity->subsystem);
	put(function->config, CONFIG_INTERRUPT_PIN, 1, identity->interrupt_pin);
	if (identity->interrupt_pin != 0) {
		/* scratch for the guest's software */
		put(function->writable, CONFIG_INTERRUPT_LINE, 1, 0xff);
		function->writable[CONFIG_COMMAND + 1] |= COMMAND_INTERRUPT_DISABLE >> 8;
	}
	pci->functions[device] = function;
	return 0;
}

static bool bar_fits(const struct vpci_function *function, uint32_t number, enum vpci_bar_kind kind,
		     uint64_t bytes)
{
	const uint32_t count = kind == VPCI_BAR_MEMORY64 ? 2 : 1;

	for (uint32_t i = number; i < number + count; i++) {
		if (i >= VPCI_BARS || function->bars[i].kind != VPCI_BAR_NONE) {
			return false;
		}
	}
	if (bytes == 0 || (bytes & (bytes - 1)) != 0 ||
	    (kind == VPCI_BAR_MEMORY32 && bytes > BIT(31))) {
		return false;
	}
	return kind == VPCI_BAR_IO ? bytes >= 4 && bytes <= BAR_IO_BYTES_MAX : bytes >= 16;
}

/*
 * Allocates an address in a window of the host bridge that no other BAR has. Returns 0 if there is
 * no room. Memory gets its own pages, so that a program that maps one function's registers does not
 * get those of another.
 */
static uint64_t find_address(struct vpci *pci, enum vpci_bar_kind kind, uint64_t bytes)
{
	uint64_t *next = kind == VPCI_BAR_IO ? &pci->next_port : &pci->next_memory;
	const uint64_t end = kind == VPCI_BAR_IO ? UINT16_MAX + 1ul : MEMMAP_ECAM;
	const uint64_t address = ALIGN_UP(*next,
					  kind == VPCI_BAR_IO ? bytes : MAX(bytes, PAGE_SIZE));

	if (bytes > end || address > end - bytes) {
		return 0;
	}
	*next = address + bytes;
	return address;
}

int vpci_add_bar(struct vpci_function *function, uint32_t number, enum vpci_bar_kind kind,
		 uint64_t bytes, const struct io_ops *ops, void *device)
{
	const enum io_space space = kind == VPCI_BAR_IO ? IO_SPACE_PORT : IO_SPACE_MEMORY;
	const uint32_t at = CONFIG_BAR(number);
	struct vpci_bar *bar;
	uint64_t address;

	if (kind == VPCI_BAR_NONE || !bar_fits(function, number, kind, bytes)) {
		return ERR_INVAL;
	}
	bar = &function->bars[number];
	bar->range = iobus_add_movable(&function->pci->vm->iobus, space, bytes, ops, device);
	if (bar->range == NULL) {
		return ERR_NOMEM;
	}
	bar->kind = kind;
	address = find_address(function->pci, kind, bytes);
	/* Bits below the size always read as zero; this is how a guest finds the size. */
	if (kind == VPCI_BAR_IO) {
		put(function->config, at, 4, address | BAR_IO);
		put(function->writable, at, 4, ~(bytes - 1) & BAR_IO_MASK);
		function->writable[CONFIG_COMMAND] |= COMMAND_IO | COMMAND_BUS_MASTER;
		return 0;
	}
	put(function->config, at, 4, address);
	put(function->writable, at, 4, ~(bytes - 1) & ~BAR_MEMORY_FLAGS);
	if (kind == VPCI_BAR_MEMORY64) {
		/* the upper half, which has no range of its own */
		function->bars[number + 1].kind = kind;
		put(function->config, at, 4, address | BAR_MEMORY_64);
		put(function->writable, at + 4, 4, ~(bytes - 1) >> 32);
	}
	function->writable[CONFIG_COMMAND] |= COMMAND_MEMORY | COMMAND_BUS_MASTER;
	return 0;
}

int vpci_add_memory(struct vpci_function *function, uint32_t number, uint64_t bytes,
		    uint64_t address)
{
	const uint32_t at = CONFIG_BAR(number);

	if (bytes < PAGE_SIZE || !bar_fits(function, number, VPCI_BAR_MEMORY64, bytes)) {
		return ERR_INVAL;
	}
	function->bars[number] = (struct vpci_bar){ VPCI_BAR_MEMORY64, NULL, bytes };
	function->bars[number + 1].kind = VPCI_BAR_MEMORY64;
	put(function->config, at, 8, address | BAR_MEMORY_64 | BAR_PREFETCHABLE);
	put(function->writable, at, 8, ~(bytes - 1));
	function->writable[CONFIG_COMMAND] |= COMMAND_MEMORY;
	return 0;
}

uint8_t vpci_add_capability(struct vpci_function *function, uint8_t id, const void *body,
			    size_t bytes)
{
	const uint8_t at = function->capability_end;

	CHECK(at + 2 + bytes <= VPCI_CONFIG_BYTES - 4);
	put(function->config, CONFIG_STATUS, 1, STATUS_CAPABILITIES);
	function->config[function->capability_link] = at;
	function->config[at] = id;
	memcpy(function->config + at + 2, body, bytes);
	function->capability_link = (uint8_t)(at + 1);
	function->capability_end = (uint8_t)ALIGN_UP(at + 2 + bytes, (size_t)4);
	return at;
}

/* CONFIG_ADDRESS selects function and dword, offset the byte within it. */
static void access_data(struct vpci *pci, struct vcpu *vcpu, uint32_t offset,
			struct io_access *access)
{
	uint32_t address = atomic_load_relaxed(&pci->address);

	if ((address & ADDRESS_ENABLE) == 0) {
		access->value = MASK(8 * access->size - 1, 0); /* no function is selected */
		return;
	}
	vpci_config_access(pci, vcpu, (address & ADDRESS_FUNCTION) >> 8,
			   (uint32_t)(address & ADDRESS_REGISTER) + offset, access);
}

static void write_port(struct vpci *pci, uint64_t offset, uint32_t size, uint64_t value)
{
	if (offset == CONFIG_ADDRESS && size == 4) {
		atomic_store_relaxed(&pci->address, (uint32_t)(value & ADDRESS_BITS));
	} else if (offset == PORT_RESET - PORT_PCI_CONFIG && size == 1 &&
		   (value & RESET_CPU) != 0) {
		vm_end(pci->vm, VM_END_RESET, "reset register");
	}
}

static void vpci_access(void *device, struct vcpu *vcpu, struct io_access *access)
{
	struct vpci *pci = device;

	if (access->offset >= CONFIG_DATA) {
		access_data(pci, vcpu, (uint32_t)access->offset - CONFIG_DATA, access);
	} else if (access->write) {
		write_port(pci, access->offset, access->size, access->value);
	} else if (access->offset == CONFIG_ADDRESS && access->size == 4) {
		access->value = atomic_load_relaxed(&pci->address);
	} else {
		access->value = MASK(8 * access->size - 1, 0);
	}
}

static const struct io_ops vpci_ops = { .name = "PCI configuration", .access = vpci_access };

/* An access is to one 4-byte register or a part of it; 8-byte registers do not exist. */
static void ecam_access(void *device, struct vcpu *vcpu, struct io_access *access)
{
	const uint32_t offset = (uint32_t)access->offset & (VPCI_EXTENDED_BYTES - 1);

	if (access->size > 4 || (offset & (access->size - 1)) != 0) {
		access->value = access->size < 8 ? MASK(8 * access->size - 1, 0) : UINT64_MAX;
		return;
	}
	vpci_config_access(device, vcpu, (uint32_t)(access->offset / VPCI_EXTENDED_BYTES), offset,
			   access);
}

static const struct io_ops ecam_ops = { .name = "PCI configuration", .access = ecam_access };

int vpci_init(struct vpci *pci, struct vm *vm, struct vioapic *ioapic)
{
	int err;

	*pci = (struct vpci){
		.vm = vm,
		.ioapic = ioapic,
		.next_port = PORT_PCI_BARS,
		.next_memory = MEMMAP_PCI_BARS,
	};
	/* cannot fail: the bus is empty */
	(void)vpci_add(pci, 0, &pci->bridge, &bridge_ops, &bridge_identity);
	err = iobus_add(&vm->iobus, IO_SPACE_PORT, PORT_PCI_CONFIG, PORT_PCI_CONFIG_COUNT,
			&vpci_ops, pci);
	return err != 0 ? err
			: iobus_add(&vm->iobus, IO_SPACE_MEMORY, MEMMAP_ECAM, MEMMAP_ECAM_BYTES,
				    &ecam_ops, pci);
}

static int init(struct platform *platform)
{
	return vpci_init(&platform->pci, platform->vm, &platform->ioapic);
}

const struct vdev_ops vpci_device = { .name = "PCI bus", .init = init };
