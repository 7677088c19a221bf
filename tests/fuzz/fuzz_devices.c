/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random accesses to ports, I/O APIC registers, interrupt lines, EOIs, console keys and time, with
 * the I/O APIC, the legacy devices, the UART and PCI configuration. Whatever a guest does:
 * redirection entries hold no bits that do not exist, a level-triggered line is never forgotten,
 * the clock shows a date, and deadlines lie in the future after they were handled.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "guest/dev/vlapic.h"
#include "guest/dev/vlegacy.h"
#include "guest/platform_state.h"

#define ENTRY_BITS 0xff0000000001effful
#define REMOTE_IRR BIT(14)
#define LEVEL	   BIT(15)
#define MASKED	   BIT(16)
#define RANGES_MAX 16
#define ECAM_RANGE (RANGES_MAX - 1) /* a separate number, so that old seeds keep their meaning */

static struct vm vm;
static struct platform platform;
static struct {
	enum io_space space;
	uint64_t base, length;
	const struct io_ops *ops;
	void *device;
} ranges[RANGES_MAX];
static unsigned range_count;
static struct vpci_function function;
static const struct vpci_identity identity = { .vendor = 0x1af4, .interrupt_pin = 1 };

static void require(bool cond)
{
	if (!cond) {
		abort();
	}
}

/* Memory BARs are placed only in the memory window of PCI. */
static void placed(struct vpci_function *which, uint64_t base, bool on)
{
	require(!on || base - which->pci->window < which->pci->window_bytes);
}

static const struct vpci_function_ops function_ops = { .name = "fuzzed", .placed = placed };

int iobus_add(struct iobus *bus, enum io_space space, uint64_t base, uint64_t length,
	      const struct io_ops *ops, void *device)
{
	const bool is_ecam = space == IO_SPACE_MEMORY && base == MEMMAP_ECAM;
	const unsigned at = is_ecam ? ECAM_RANGE : range_count++;

	require(range_count <= ECAM_RANGE);
	ranges[at].space = space;
	ranges[at].base = base;
	ranges[at].length = length;
	ranges[at].ops = ops;
	ranges[at].device = device;
	return 0;
}

/* A guest may place a BAR only at multiples of its size, and I/O ranges only within the ports. */
struct iobus_movable *iobus_add_movable(struct iobus *bus, enum io_space space, uint64_t length,
					const struct io_ops *ops, void *device)
{
	struct iobus_movable *range = &bus->movable[space][bus->movable_count[space]++];

	*range = (struct iobus_movable){ .length = length, .ops = ops, .device = device };
	return range;
}

void iobus_move(struct iobus *bus, struct iobus_movable *range, uint64_t base, bool on)
{
	require(!on || (base & (range->length - 1)) == 0);
	require(range < bus->movable[IO_SPACE_PORT] ||
		range >= &bus->movable[IO_SPACE_PORT][IOBUS_MOVABLE_MAX] ||
		base + range->length <= 0x10000);
	range->base.only = base;
	range->on.only = on;
}

/*
 * The constant parts of a function's header stay constant, and the enable bits show which BARs are
 * active.
 */
static void check_function(void)
{
	require(function.config[0] == 0xf4 && function.config[1] == 0x1a);
	require((function.config[4] & 0xf8) == 0 && (function.config[0x10] & 3) == 1);
	require((function.config[0x14] & 0xf) == 4);
	require(function.bars[0].range->on.only == ((function.config[4] & 1) != 0));
	require(function.bars[1].range->on.only == ((function.config[4] & 2) != 0));
}

bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	require(to == &vm && msg->dest <= 0xff && !msg->wide && msg->mode < VLAPIC_EXTINT);
	return true;
}

void vm_end(struct vm *which, enum vm_end_reason reason, const char *detail)
{
	require(which == &vm && (reason == VM_END_POWER_OFF || reason == VM_END_RESET ||
				 reason == VM_END_GUEST_PANIC));
}

static uint64_t touch(unsigned range, uint64_t offset, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .offset = offset, .size = size, .write = write };

	access.value = write && size < 8 ? value & MASK(8 * size - 1, 0) : write ? value : 0;
	ranges[range].ops->access(ranges[range].device, NULL, &access);
	require(size == 8 || access.value >> 8 * size == 0);
	return access.value;
}

static void check_ioapic(const struct vioapic *ioapic)
{
	for (unsigned pin = 0; pin < GSI_COUNT; pin++) {
		uint64_t entry = ioapic->entry[pin];
		unsigned mode = entry >> 8 & 7;
		bool level = (entry & LEVEL) != 0 && mode <= VLAPIC_LOWEST;

		require((entry & ~ENTRY_BITS) == 0);
		require((entry & REMOTE_IRR) == 0 || level);
		/* A line that is high and may interrupt must have done so. */
		require(!level || (entry & (MASKED | REMOTE_IRR)) != 0 ||
			(ioapic->lines & BIT(pin)) == 0);
	}
}

static void check_clock(void)
{
	struct vrtc rtc = platform.legacy.rtc;
	int64_t year;
	unsigned month, day;

	rtc.cmos[0x0b] = 0x06; /* running, binary, 24 hours */
	rtc.index = 8;
	month = vrtc_read(&rtc, 1, fake_tsc);
	require(month >= 1 && month <= 12);
	rtc.index = 7;
	day = vrtc_read(&rtc, 1, fake_tsc);
	require(day >= 1 && day <= 31);
	vrtc_date_from_days(rtc.base_seconds / 86400, &year, &month, &day);
	require(rtc.base_seconds >= 0 && year >= 1970 && month >= 1 && month <= 12);
}

/* The FIFO holds no more than it can, and the interrupt line agrees with the registers. */
static void check_uart(const struct vuart *uart)
{
	const struct vconsole *console = &platform.console;

	require(uart->rx_count <= (uart->fifo_on ? VUART_FIFO_BYTES : 1u));
	require(console->written.only - console->shown.only <= VCONSOLE_RING_BYTES);
	require(console->in_written.only - console->in_read.only <= VCONSOLE_INPUT_BYTES);
	require(uart->line == ((platform.ioapic.lines & BIT(IRQ_COM1)) != 0));
}

/* One step of 8 bytes. */
struct __attribute__((packed)) input {
	uint8_t what;
	uint8_t where;
	uint16_t offset;
	uint32_t value;
};

static void step(const struct input *in)
{
	unsigned range = in->where == UINT8_MAX ? ECAM_RANGE : in->where % range_count;
	uint32_t size = 1u << (in->what >> 5 & 3);

	switch (in->what & 7) {
	case 0:
		if (in->where != IRQ_COM1) { /* that one belongs to the UART */
			vioapic_set_line(&platform.ioapic, in->where, (in->value & 1) != 0);
		}
		break;
	case 1: vioapic_eoi(&vm, in->where); break;
	case 2: fake_tsc += (uint64_t)in->value << (in->where & 15); break;
	case 3:
		if ((in->value & 1) != 0) {
			fake_console_type("a key, or twenty of them");
		}
		vuart_poll(&platform.com1);
		if ((in->value & 2) != 0) {
			vconsole_show();
		}
		if ((in->value & 4) != 0) {
			vpci_set_intx(&function, (in->value & 8) != 0);
		}
		break;
	default:
		if (ranges[range].space == IO_SPACE_PORT && size == 8) {
			size = 4;
		}
		if (size <= ranges[range].length) {
			touch(range, in->offset % (ranges[range].length - size + 1), size,
			      (in->what & 0x80) == 0, in->value);
		}
		break;
	}
	if (fake_tsc >= vm.clock_deadline.only) {
		vm_forget_clock(&vm);
		vlegacy_clock(&platform.legacy, fake_tsc);
	}
	require(vm.clock_deadline.only > fake_tsc);
	check_ioapic(&platform.ioapic);
	check_function();
	check_clock();
	check_uart(&platform.com1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct input in;

	fake_reset();
	fake_tsc = 1000000;
	memset(&platform, 0, sizeof(platform));
	vm.platform = &platform;
	vm.clock_deadline.only = UINT64_MAX;
	memset(&vm.iobus, 0, sizeof(vm.iobus));
	range_count = 0;
	require(vioapic_init(&platform.ioapic, &vm) == 0);
	require(vlegacy_init(&platform.legacy, &vm, &platform.ioapic) == 0);
	require(vpci_init(&platform.pci, &vm, &platform.ioapic) == 0);
	require(vpci_add(&platform.pci, 1, &function, &function_ops, &identity) == 0);
	require(vpci_add_bar(&function, 0, VPCI_BAR_IO, 32, NULL, NULL) == 0);
	require(vpci_add_bar(&function, 1, VPCI_BAR_MEMORY64, 0x4000, NULL, NULL) == 0);
	platform.pci.window = 4 * SIZE_1G;
	platform.pci.window_bytes = SIZE_1G;
	require(vpci_add_memory(&function, 3, SIZE_2M, platform.pci.window) == 0);
	(void)vpci_add_capability(&function, 9, "fuzz", 4);
	vconsole_attach(&platform.console, "fuzz");
	require(vuart_init(&platform.com1, &vm, &platform.ioapic, &platform.console) == 0);
	for (; bytes >= sizeof(in); data += sizeof(in), bytes -= sizeof(in)) {
		memcpy(&in, data, sizeof(in));
		step(&in);
	}
	vconsole_detach(&platform.console);
	return 0;
}
