/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share as an ivshmem function (via = pci, boot/README.md), which is PCI device 31 here. Two VMs,
 * members 0 and 1, hand a counter to and fro: each writes it to the shared memory and rings the
 * other's doorbell, which is a message (MSI-X), or with "pin" a level of the interrupt pin. With
 * "flood" one then rings without pause, while the other one has interrupts off and computes. With
 * "moves" one vCPU moves the memory while another one reads it. "outsider" is no member and has no
 * such device.
 */
#include "tests/guests/common/guest.h"

#define DEVICE	 31u
#define VECTOR	 0x51
#define MESSAGE	 2u /* the doorbell's vector */
#define BYTES	 (2 * SIZE_2M)
#define PATIENCE 60000 /* ms */
#define READY	 0x5245414459ull

enum { INTR_MASK, INTR_STATUS, IV_POSITION, DOORBELL };

static volatile uint32_t *registers;
static volatile uint64_t *words;
static uint64_t first; /* address of the memory at first */
static bool pin;

static uint32_t config(uint32_t at)
{
	out32(0xcf8, 0x80000000u | DEVICE << 11 | at);
	return in32(0xcfc);
}

static void set_config(uint32_t at, uint32_t value)
{
	out32(0xcf8, 0x80000000u | DEVICE << 11 | at);
	out32(0xcfc, value);
}

static void place(uint64_t base)
{
	set_config(0x18, (uint32_t)base);
	set_config(0x1c, (uint32_t)(base >> 32));
}

static void find_device(void)
{
	check_equal(config(0), 0x11101af4);
	first = (config(0x18) & ~0xfu) | (uint64_t)config(0x1c) << 32;
	words = (volatile uint64_t *)first;
	check_equal(words[0], ~0ull); /* memory space is off */
	set_config(0x04, 0x0006);
	registers = (volatile uint32_t *)(uintptr_t)(config(0x10) & ~0xfu);
}

static void interrupt(struct trap_frame *frame)
{
	if (pin) {
		check_equal(registers[INTR_STATUS], 1);
		check_equal(registers[INTR_STATUS], 0);
	}
	apic_write(APIC_EOI, 0);
}

static void use_message(void)
{
	volatile uint32_t *entry = (volatile uint32_t *)(uintptr_t)(config(0x14) & ~0xfu) +
				   4 * MESSAGE;

	entry[0] = 0xfee00000;
	entry[1] = 0;
	entry[2] = VECTOR;
	entry[3] = 0;
	set_config(config(0x34) & 0xff, 0x80000000); /* MSI-X Enable */
}

static void use_pin(void)
{
	volatile uint32_t *ioapic = (volatile uint32_t *)MEMMAP_IOAPIC;
	const uint32_t line = GSI_PCI + DEVICE % GSI_PCI_COUNT;

	ioapic[0] = 0x11 + 2 * line; /* the destination: APIC 0 */
	ioapic[4] = 0;
	ioapic[0] = 0x10 + 2 * line;
	ioapic[4] = VECTOR | 1u << 15; /* level */
	registers[INTR_MASK] = 1;
}

/*
 * Waits until the other VM has rung `count` times. Each HLT ends, because the timer interrupts
 * it.
 */
static void wait_for_doorbell(uint64_t count)
{
	const uint64_t end = rdtsc() + PATIENCE * (tsc_hz() / 1000);

	interrupts_off();
	while (trap_count[VECTOR] < count) {
		if (rdtsc() > end) {
			fail("the doorbell rang %lu times, not %lu", trap_count[VECTOR], count);
		}
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	}
}

static void wait_for_peer(uint64_t word)
{
	const uint64_t end = rdtsc() + PATIENCE * (tsc_hz() / 1000);

	while (words[word] != READY) {
		if (rdtsc() > end) {
			fail("the other VM is not there");
		}
		__asm__ volatile("pause");
	}
}

static void play(uint64_t rounds)
{
	const uint32_t mine = registers[IV_POSITION];
	const uint32_t bell = (1 - mine) << 16 | MESSAGE;

	check(mine < 2);
	registers[DOORBELL] = 7u << 16; /* there is no such member */
	registers[DOORBELL] = (1 - mine) << 16 | 99;
	words[1 + mine] = READY;
	wait_for_peer(2 - mine);
	for (uint64_t round = 1; round <= rounds; round++) {
		if (mine == 0) {
			words[8] = 2 * round;
			registers[DOORBELL] = bell;
		}
		wait_for_doorbell(round);
		check_equal(words[8], 2 * round + (mine == 0));
		if (mine != 0) {
			words[8] = 2 * round + 1;
			registers[DOORBELL] = bell;
		}
	}
	check_equal(trap_count[VECTOR], rounds);
	print("doorbell: %lu rounds\n", rounds);
}

/* --- Flood --- */

/* How often this vCPU gets round in 10 ms. */
static uint64_t compute(void)
{
	const uint64_t end = rdtsc() + tsc_hz() / 100;
	uint64_t times = 0;

	while (rdtsc() < end) {
		times++;
	}
	return times;
}

enum { BEGUN = 16, FLOOD, ENOUGH, OVER, COUNT };

/*
 * Until it is asked to flood, it rings a member that does not exist, which costs this VM as
 * much.
 */
static void ring_without_pause(uint32_t bell)
{
	while (words[ENOUGH] != READY) {
		const bool floods = words[FLOOD] == READY;

		registers[DOORBELL] = floods ? bell : 7u << 16;
		words[COUNT] += floods;
		words[BEGUN] = READY;
	}
	words[OVER] = READY;
}

/* All rings during the flood become one interrupt, and cost this vCPU hardly any time. */
static void bear_it(uint64_t rounds)
{
	uint64_t quiet, flooded;

	interrupts_off();
	wait_for_peer(BEGUN);
	quiet = compute();
	words[FLOOD] = READY;
	flooded = compute();
	words[ENOUGH] = READY;
	wait_for_peer(OVER);
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	check_equal(trap_count[VECTOR], rounds + 1);
	print("doorbell: it rang %lu times, and left %lu of 100 rounds\n", words[COUNT],
	      100 * flooded / quiet);
	check(words[COUNT] > 100 && flooded * 10 > quiet * 9);
}

/* --- Moves --- */

static volatile bool over;

static void mover(unsigned cpu)
{
	for (uint64_t i = 0; i < 200; i++) {
		place(first + (i % 2) * BYTES);
		if (i % 8 == 7) {
			set_config(0x04, 0);
			set_config(0x04, 2);
		}
	}
	over = true;
}

static void read_while_it_moves(void)
{
	uint64_t here = 0, nothing = 0;

	for (uint64_t i = 0; i < BYTES / 8; i += 512) {
		words[i] = i + 1;
	}
	for (uint64_t i = 0; i < BYTES / 8; i += 512) {
		check_equal(words[i], i + 1); /* also word 0, read before it was memory */
	}
	apic_start(false);
	cpu_start(1, mover);
	for (uint64_t i = 0; !over; i = (i + 512) % (BYTES / 8)) {
		const uint64_t seen = words[i + (random64() % 2) * (BYTES / 8)];

		if (seen != i + 1 && seen != ~0ull) {
			fail("word %lu is %lx", i, seen);
		}
		here += seen == i + 1;
		nothing += seen != i + 1;
	}
	check(here > 0 && nothing > 0);
	print("doorbell: read at %lu, nobody there at %lu\n", here, nothing);
}

/* A BAR that is placed over RAM, or outside of what the bridge passes on, shows no share there. */
static void place_badly(void)
{
	volatile uint64_t *ram = (volatile uint64_t *)FRESH_BASE;

	place(first);
	words[0] = 77;
	ram[0] = 55;
	place(FRESH_BASE);
	check_equal(ram[0], 55);
	check_equal(words[0], ~0ull);
	place(first + 16 * BYTES);
	check_equal(words[16 * BYTES / 8], ~0ull);
	place(first);
	check_equal(words[0], 77);
	check_equal(ram[0], 55);
}

void guest_main(void)
{
	if (arg("outsider")) {
		check_equal(config(0), 0xffffffff);
		return;
	}
	map_high();
	find_device();
	if (arg("moves")) {
		read_while_it_moves();
		place_badly();
		return;
	}
	pin = arg("pin");
	trap_handlers[VECTOR] = interrupt;
	apic_start(false);
	if (pin) {
		use_pin();
	} else {
		use_message();
	}
	play(arg_number("rounds", 200));
	if (arg("flood") && registers[IV_POSITION] == 0) {
		ring_without_pause(1u << 16 | MESSAGE);
	} else if (arg("flood")) {
		bear_it(arg_number("rounds", 200));
	}
}
