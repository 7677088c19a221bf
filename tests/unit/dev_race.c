/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs that use every device of their VM at once, while the boot processor polls the devices,
 * types and shows output, under ThreadSanitizer. It is a data race if two CPUs access a device's
 * state without its lock. In addition, for any order of events: a message between two local APICs
 * arrives, and typed input is read once and in order. Exits with 0 on success.
 *
 * CPU 0 to 2: a vCPU each. CPU 3: the boot processor.
 */
#include <stdio.h>

#include "guest/dev/vlapic.h"
#include "guest/memmap.h"
#include "guest/platform_state.h"
#include "tests/unit/race_cpus.h"
#include "vmm/base/cpu.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"
#include "vmm/vcpu.h"

#define VCPUS  3u
#define STEPS  20000u
#define TYPED  1000u
#define VECTOR 0x60u /* of messages; the sender's number is added */

static struct vm vm;
static struct vcpu vcpus[VCPUS];
static struct platform platform;
static uint8_t apic_pages[VCPUS][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint32_t running = VCPUS;
static uint64_t received, interrupts, shown;
/* Numbers of messages that were sent and taken, by sender and receiver. */
static uint32_t sent[VCPUS][VCPUS], taken[VCPUS][VCPUS];

/* --- What the devices use --- */

uint64_t tsc_mul_div(uint64_t a, uint64_t b, uint64_t c)
{
	return (uint64_t)((unsigned __int128)a * b / c);
}

uint8_t fake_in8(uint16_t port)
{
	return 0xff; /* this machine has no real-time clock */
}

void fake_out8(uint16_t port, uint8_t value)
{
}

bool console_has_room(void)
{
	return true;
}

bool console_at_line_start(void)
{
	return true;
}

void console_write(const char *text, size_t bytes)
{
	__atomic_add_fetch(&shown, bytes, __ATOMIC_RELAXED);
}

bool console_write_on(const char *text, size_t bytes)
{
	return true;
}

void console_control(const char *text, size_t bytes)
{
}

int console_getc(void)
{
	return -1;
}

void vm_set_clock(struct vm *of, uint64_t deadline)
{
	atomic_store(&of->clock_deadline, deadline);
}

/* Guests write to reset registers by chance here; ignore that. */
void vm_end(struct vm *of, enum vm_end_reason reason, const char *detail)
{
}

void vcpu_kick(struct vcpu *vcpu)
{
}

void vcpu_nmi(struct vcpu *vcpu)
{
}

void vcpu_init_signal(struct vcpu *vcpu)
{
}

void vcpu_sipi(struct vcpu *vcpu, uint8_t vector)
{
}

void vcpu_set_eoi_exit_bitmap(struct vcpu *vcpu, const uint64_t bitmap[4])
{
}

void vcpu_set_apic_mode(struct vcpu *vcpu, enum vcpu_apic_mode mode)
{
}

bool vcpu_has_virtual_delivery(const struct vcpu *vcpu)
{
	return false;
}

void vcpu_set_svi(struct vcpu *vcpu, uint8_t vector)
{
}

uint64_t vcpu_guest_tsc(const struct vcpu *vcpu, uint64_t host_tsc)
{
	return host_tsc;
}

/* --- A guest --- */

static uint64_t port(struct vcpu *vcpu, uint16_t number, uint32_t size, bool write, uint64_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	iobus_port_access(&vm.iobus, number, vcpu, &access);
	return access.value;
}

static void apic_write(struct vcpu *vcpu, uint32_t offset, uint32_t value)
{
	struct io_access access = { .offset = offset, .size = 4, .write = true, .value = value };

	vlapic_apic_access(vcpu, &access);
}

/*
 * Accesses any port; of COM1 only registers whose access does not disturb the reader of the input.
 */
static void any_port(struct vcpu *vcpu)
{
	static const uint16_t bases[] = { PORT_PIC_MASTER, PORT_PIT,	   PORT_SYSTEM_CONTROL,
					  PORT_RTC,	   PORT_PIC_SLAVE, PORT_PIC_EDGE_LEVEL,
					  PORT_PM1_EVENT,  PORT_PM_TIMER,  PORT_PCI_CONFIG,
					  PORT_PANIC,	   PORT_COM1 + 5 };
	const uint16_t base = bases[race_random(ARRAY_COUNT(bases))];

	(void)port(vcpu, (uint16_t)(base + race_random(4)), 1u << race_random(3),
		   race_random(2) == 0, race_random(256));
}

/* Programs the three registers of a pin: what it sends, its trigger, and whether it is masked. */
static void program_pin(struct vcpu *vcpu)
{
	struct io_access select = { .size = 4, .write = true, .value = 0x10 + race_random(48) };
	struct io_access value = { .size = 4, .write = race_random(4) != 0 };

	/* Fixed or lowest priority, physical or logical, edge or level, masked or not. */
	value.value = (0x30 + race_random(32)) | race_random(2) << 8 | race_random(2) << 11 |
		      race_random(2) << 15 | race_random(2) << 16;
	if (select.value % 2 != 0) {
		value.value = race_random(VCPUS) << 24;
	}
	iobus_memory_access(&vm.iobus, MEMMAP_IOAPIC, vcpu, &select);
	iobus_memory_access(&vm.iobus, MEMMAP_IOAPIC + 0x10, vcpu, &value);
}

static void send_message(struct vcpu *vcpu)
{
	const uint32_t to = race_random(VCPUS);
	/* Counts the message before it is sent. Two messages that meet in IRR become one. */
	uint32_t *count = &sent[race_self][to];

	if (to == race_self || __atomic_load_n(&taken[race_self][to], __ATOMIC_ACQUIRE) != *count) {
		return;
	}
	__atomic_store_n(count, *count + 1, __ATOMIC_RELEASE);
	apic_write(vcpu, 0x310, to << 24);
	apic_write(vcpu, 0x300, 0x4000 | (VECTOR + 16 * race_self));
}

static void take_interrupts(struct vcpu *vcpu)
{
	int vector;

	/*
	 * Bounded, because a level-triggered pin asserts its interrupt again while its line is
	 * high.
	 */
	for (int i = 0; i < 8 && (vector = vlapic_irq_pending(vcpu)) >= 0; i++) {
		vlapic_irq_accepted(vcpu, (uint8_t)vector);
		__atomic_add_fetch(&interrupts, 1, __ATOMIC_RELAXED);
		if (vector >= (int)VECTOR && (vector - (int)VECTOR) % 16 == 0) {
			const uint32_t from = ((uint32_t)vector - VECTOR) / 16;

			if (from < VCPUS) {
				__atomic_add_fetch(&taken[from][race_self], 1, __ATOMIC_ACQ_REL);
			}
		}
		vlapic_eoi_highest(vcpu);
	}
}

/* Only the first vCPU reads, so the order is known; the others write, and read LSR. */
static void use_com1(struct vcpu *vcpu)
{
	if (race_self != 0) {
		if ((port(vcpu, PORT_COM1 + 5, 1, false, 0) & 0x20) != 0) {
			(void)port(vcpu, PORT_COM1, 1, true, 'x');
		}
		(void)port(vcpu, PORT_COM1 + 2, 1, false, 0);
		return;
	}
	while ((port(vcpu, PORT_COM1 + 5, 1, false, 0) & 1) != 0) {
		if (port(vcpu, PORT_COM1, 1, false, 0) != 'a' + received % 26) {
			race_broken("what was typed is out of order");
		}
		received++;
	}
}

static void step(struct vcpu *vcpu)
{
	switch (race_random(10)) {
	case 0:
	case 1: any_port(vcpu); break;
	case 2: program_pin(vcpu); break;
	case 3:
	case 4: send_message(vcpu); break;
	case 5:
		/* The host bridge's configuration space. */
		(void)port(vcpu, PORT_PCI_CONFIG, 4, true, BIT(31) | 4 * race_random(64));
		(void)port(vcpu, PORT_PCI_CONFIG + 4, 4, race_random(2) == 0, race_random(1 << 16));
		apic_write(vcpu, 0x380, race_random(100000));
		apic_write(vcpu, 0xd0, race_random(8) << 24); /* logical ID */
		apic_write(vcpu, 0x310, 7u << 24);
		apic_write(vcpu, 0x300, 0x4900 | 0x51); /* lowest priority, logical */
		break;
	case 6:
		vlapic_cr8_write(vcpu, (uint8_t)race_random(4));
		(void)vlapic_next_deadline(vcpu);
		break;
	default: use_com1(vcpu); break;
	}
	take_interrupts(vcpu);
}

static void run_vcpu(struct vcpu *vcpu)
{
	for (uint32_t i = 0; i < STEPS; i++) {
		step(vcpu);
	}
	__atomic_sub_fetch(&running, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) != 0) {
		take_interrupts(vcpu); /* interrupts that others have sent */
		race_pause();
	}
	vlapic_cr8_write(vcpu, 0);
	take_interrupts(vcpu);
}

static void boot_processor(void)
{
	uint32_t typed = 0;

	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) != 0) {
		const struct vconsole *console = &platform.console;

		vlegacy_clock(&platform.legacy, fake_rdtsc());
		vuart_poll(&platform.com1);
		vconsole_show();
		if (typed < TYPED && atomic_load_relaxed(&console->in_written) -
						     atomic_load_acquire(&console->in_read) <
					     VCONSOLE_INPUT_BYTES) {
			vconsole_type((uint8_t)('a' + typed++ % 26));
		}
		(void)vlegacy_press_power_button(&platform.legacy);
		vlegacy_skip_time(&platform.legacy, race_random(2));
		vuart_set_deaf(&platform.com1, false);
	}
}

static void run(void)
{
	if (race_self == VCPUS) {
		boot_processor();
	} else {
		run_vcpu(&vcpus[race_self]);
	}
}

static void build(void)
{
	vm.vcpu_count = VCPUS;
	vm.platform = &platform;
	vm.clock_deadline.only = UINT64_MAX;
	vconsole_attach(&platform.console, "race");
	if (vioapic_init(&platform.ioapic, &vm) != 0 ||
	    vlegacy_init(&platform.legacy, &vm, &platform.ioapic) != 0 ||
	    vuart_init(&platform.com1, &vm, &platform.ioapic, &platform.console) != 0 ||
	    vpci_init(&platform.pci, &vm, &platform.ioapic) != 0) {
		race_broken("no devices");
	}
	for (uint32_t i = 0; i < VCPUS; i++) {
		vcpus[i] = (struct vcpu){ .vm = &vm, .id = i, .apic_page = apic_pages[i] };
		vm.vcpus[i] = &vcpus[i];
		if (vlapic_create(&vcpus[i]) != 0) {
			race_broken("no APIC");
		}
		apic_write(&vcpus[i], 0xf0, 0x1ff);    /* software enable */
		apic_write(&vcpus[i], 0x320, 0x20030); /* periodic timer */
		apic_write(&vcpus[i], 0x3e0, 0xb);
	}
	/* FIFO on, 8n1, interrupts of COM1 on. */
	(void)port(&vcpus[0], PORT_COM1 + 2, 1, true, 1);
	(void)port(&vcpus[0], PORT_COM1 + 3, 1, true, 3);
	(void)port(&vcpus[0], PORT_COM1 + 1, 1, true, 3);
}

int main(void)
{
	build();
	race_run(run);
	printf("%lu interrupts, %lu bytes read, %lu shown\n", interrupts, received, shown);
	for (uint32_t i = 0; i < VCPUS * VCPUS; i++) {
		if (sent[i / VCPUS][i % VCPUS] != taken[i / VCPUS][i % VCPUS]) {
			race_broken("a message between two local APICs was lost");
		}
	}
	if (interrupts < 1000 || received < 100 || shown < 1000) {
		race_broken("too little happened");
	}
	for (uint32_t i = 0; i < VCPUS; i++) {
		vlapic_destroy(&vcpus[i]);
	}
	return 0;
}
