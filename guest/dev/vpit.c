/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No code steps a counter: its count and output are computed from the ticks since it was loaded.
 * The BCD bit is kept in the status byte, but counting is binary: no kernel uses BCD.
 */
#include "guest/dev/vpit.h"

#include "guest/dev/vclock.h"

#define OFFSET_CONTROL 3

/* Datasheet, "Control Word Format" and "Read-Back Command". */
#define CONTROL_SELECT_SHIFT 6
#define CONTROL_READ_BACK    3
#define CONTROL_ACCESS_SHIFT 4
#define CONTROL_MODE_SHIFT   1
#define CONTROL_BCD	     BIT(0)
#define READ_BACK_NO_COUNT   BIT(5)
#define READ_BACK_NO_STATUS  BIT(4)
#define STATUS_OUT	     BIT(7)
#define STATUS_NULL_COUNT    BIT(6)

enum {
	ACCESS_LATCH = 0,
	ACCESS_LOW = 1,
	ACCESS_HIGH = 2,
	ACCESS_BOTH = 3,
};

enum {
	MODE_TERMINAL_COUNT = 0,
	MODE_ONE_SHOT = 1,
	MODE_RATE = 2,
	MODE_SQUARE = 3,
	MODE_STROBE = 4,
	MODE_GATE_STROBE = 5,
};

#define RELOAD_MAX 0x10000u

static bool is_periodic(const struct vpit_channel *c)
{
	return c->mode == MODE_RATE || c->mode == MODE_SQUARE;
}

/* Whether a rising gate restarts the count in this mode; in other modes counting only continues. */
static bool gate_restarts(const struct vpit_channel *c)
{
	return c->mode != MODE_TERMINAL_COUNT && c->mode != MODE_STROBE;
}

/* Whether a low gate stops the count. Modes 1 and 5 go on after they were triggered. */
static bool gate_holds(const struct vpit_channel *c)
{
	return c->mode != MODE_ONE_SHOT && c->mode != MODE_GATE_STROBE;
}

static uint64_t elapsed(const struct vpit_channel *c, uint64_t tsc)
{
	if (!c->gate && gate_holds(c)) {
		return c->held_ticks;
	}
	return c->held_ticks + vclock_ticks(c->start_tsc, tsc, VPIT_HZ);
}

static uint16_t count_of(const struct vpit_channel *c, uint64_t tsc)
{
	uint64_t ticks;

	if (!c->loaded) {
		return (uint16_t)c->reload;
	}
	ticks = elapsed(c, tsc);
	if (c->mode == MODE_SQUARE) {
		return (uint16_t)(c->reload - 2 * ticks % c->reload);
	}
	if (c->mode == MODE_RATE) {
		return (uint16_t)(c->reload - ticks % c->reload);
	}
	return (uint16_t)(c->reload - ticks); /* wraps around at 0 */
}

static bool out_of(const struct vpit_channel *c, uint64_t tsc)
{
	uint64_t ticks;

	if (!c->loaded) {
		return c->mode != MODE_TERMINAL_COUNT;
	}
	ticks = elapsed(c, tsc);
	switch (c->mode) {
	case MODE_TERMINAL_COUNT:
	case MODE_ONE_SHOT: return ticks >= c->reload;
	case MODE_RATE: return !c->gate || ticks % c->reload != c->reload - 1;
	case MODE_SQUARE: return !c->gate || ticks % c->reload < (c->reload + 1) / 2;
	default: return ticks != c->reload;
	}
}

/* Rising edges of the output since the count was loaded. */
static uint64_t edges_of(const struct vpit_channel *c, uint64_t tsc)
{
	uint64_t ticks = c->loaded ? elapsed(c, tsc) : 0;

	if (is_periodic(c)) {
		return ticks / c->reload;
	}
	return ticks >= c->reload + (c->mode >= MODE_STROBE ? 1u : 0u) ? 1 : 0;
}

static void start_count(struct vpit_channel *c, uint64_t tsc)
{
	c->start_tsc = tsc;
	c->held_ticks = 0;
	c->loaded = true;
}

static void load_count(struct vpit *pit, struct vpit_channel *c, uint32_t count, uint64_t tsc)
{
	c->reload = count != 0 ? count : RELOAD_MAX;
	/*
	 * Modes 1 and 5 wait for the gate. A new periodic count starts at once, although hardware
	 * would finish the old one first.
	 */
	if (gate_holds(c)) {
		start_count(c, tsc);
	}
	if (c == &pit->channel[0]) {
		pit->irq_edges = 0;
	}
}

static void latch_count(struct vpit_channel *c, uint64_t tsc)
{
	if (!c->count_latched) {
		c->latched = count_of(c, tsc);
		c->count_latched = true;
	}
}

static void latch_status(struct vpit_channel *c, uint64_t tsc)
{
	if (c->status_latched) {
		return;
	}
	c->status = (uint8_t)((out_of(c, tsc) ? STATUS_OUT : 0) |
			      (c->loaded ? 0 : STATUS_NULL_COUNT) |
			      (uint64_t)c->access << CONTROL_ACCESS_SHIFT |
			      (uint64_t)c->mode << CONTROL_MODE_SHIFT | (c->bcd ? CONTROL_BCD : 0));
	c->status_latched = true;
}

static void read_back(struct vpit *pit, uint8_t command, uint64_t tsc)
{
	unsigned i;

	for (i = 0; i < VPIT_CHANNEL_COUNT; i++) {
		if ((command & BIT(i + 1)) == 0) {
			continue;
		}
		if ((command & READ_BACK_NO_COUNT) == 0) {
			latch_count(&pit->channel[i], tsc);
		}
		if ((command & READ_BACK_NO_STATUS) == 0) {
			latch_status(&pit->channel[i], tsc);
		}
	}
}

static void control(struct vpit *pit, uint8_t command, uint64_t tsc)
{
	unsigned index = command >> CONTROL_SELECT_SHIFT;
	uint8_t access = (command >> CONTROL_ACCESS_SHIFT) & 3;
	struct vpit_channel *c;

	if (index == CONTROL_READ_BACK) {
		read_back(pit, command, tsc);
		return;
	}
	c = &pit->channel[index];
	if (access == ACCESS_LATCH) {
		latch_count(c, tsc);
		return;
	}
	c->access = access;
	c->mode = (command >> CONTROL_MODE_SHIFT) & 7;
	if (c->mode > MODE_GATE_STROBE) {
		c->mode -= 4; /* datasheet: for modes 2 and 3 the third bit is ignored */
	}
	c->bcd = (command & CONTROL_BCD) != 0;
	c->loaded = false;
	c->held_ticks = 0;
	c->write_high = c->read_high = false;
	c->count_latched = c->status_latched = false;
	if (index == 0) {
		pit->irq_edges = 0;
	}
}

void vpit_init(struct vpit *pit, uint64_t tsc)
{
	unsigned i;

	*pit = (struct vpit){ 0 };
	for (i = 0; i < VPIT_CHANNEL_COUNT; i++) {
		pit->channel[i] = (struct vpit_channel){
			.start_tsc = tsc,
			.reload = RELOAD_MAX,
			.access = ACCESS_BOTH,
			.gate = i != 2, /* counter 2's gate is bit 0 of port 61H, off at reset */
		};
	}
}

uint8_t vpit_read(struct vpit *pit, unsigned offset, uint64_t tsc)
{
	struct vpit_channel *c;
	uint16_t count;
	bool high;

	if (offset >= OFFSET_CONTROL) {
		return 0xff; /* the control word cannot be read */
	}
	c = &pit->channel[offset];
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	count = c->count_latched ? c->latched : count_of(c, tsc);
	high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);
	if (c->access == ACCESS_BOTH) {
		c->read_high = !c->read_high;
	}
	if (c->access != ACCESS_BOTH || high) {
		c->count_latched = false;
	}
	return (uint8_t)(high ? count >> 8 : count);
}

void vpit_write(struct vpit *pit, unsigned offset, uint8_t value, uint64_t tsc)
{
	struct vpit_channel *c;

	if (offset >= OFFSET_CONTROL) {
		control(pit, value, tsc);
		return;
	}
	c = &pit->channel[offset];
	switch (c->access) {
	case ACCESS_LOW: load_count(pit, c, value, tsc); break;
	case ACCESS_HIGH: load_count(pit, c, (uint32_t)value << 8, tsc); break;
	default:
		if (c->write_high) {
			load_count(pit, c, (uint32_t)value << 8 | c->low_byte, tsc);
		} else {
			c->low_byte = value;
		}
		c->write_high = !c->write_high;
		break;
	}
}

void vpit_set_gate(struct vpit *pit, unsigned index, bool high, uint64_t tsc)
{
	struct vpit_channel *c = &pit->channel[index];

	if (high == c->gate) {
		return;
	}
	if (high) {
		c->start_tsc = tsc;
		if (gate_restarts(c) && (c->loaded || !gate_holds(c))) {
			start_count(c, tsc);
		}
	} else if (gate_holds(c)) {
		c->held_ticks = elapsed(c, tsc);
	}
	c->gate = high;
}

bool vpit_out(const struct vpit *pit, unsigned index, uint64_t tsc)
{
	return out_of(&pit->channel[index], tsc);
}

/* The earliest TSC at which a periodic counter's next edge may be reported. */
static uint64_t soonest(const struct vpit *pit)
{
	return is_periodic(&pit->channel[0]) && pit->irq_tsc != 0
		       ? pit->irq_tsc + tsc_hz() / VCLOCK_IRQS_PER_SECOND_MAX
		       : 0;
}

bool vpit_irq_edge(struct vpit *pit, uint64_t tsc)
{
	uint64_t edges = edges_of(&pit->channel[0], tsc);

	if (edges <= pit->irq_edges || tsc < soonest(pit)) {
		return false;
	}
	pit->irq_edges = edges;
	pit->irq_tsc = tsc;
	return true;
}

uint64_t vpit_next_edge(const struct vpit *pit)
{
	const struct vpit_channel *c = &pit->channel[0];
	uint64_t ticks;

	if (!c->loaded || (!is_periodic(c) && pit->irq_edges != 0)) {
		return UINT64_MAX;
	}
	ticks = is_periodic(c) ? (pit->irq_edges + 1) * c->reload
			       : c->reload + (c->mode >= MODE_STROBE ? 1u : 0u);
	return MAX(vclock_tsc_at(c->start_tsc, ticks, VPIT_HZ), soonest(pit));
}

void vpit_skip_time(struct vpit *pit, uint64_t ticks)
{
	for (unsigned i = 0; i < VPIT_CHANNEL_COUNT; i++) {
		pit->channel[i].start_tsc += ticks;
	}
}
