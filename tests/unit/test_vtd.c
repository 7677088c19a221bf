/* SPDX-License-Identifier: Apache-2.0 */
/* boot/vtd.c and vtd_tables.c against a model of a unit: vtd_model.h. */
#include "boot/vtd.h"
#include "tests/unit/test.h"
#include "tests/unit/vtd_model.h"
#include "vmm/base/cache_lines.h"

#define W39	 BIT(9) /* CAP: widths of addresses */
#define W48	 BIT(10)
#define W57	 BIT(11)
#define BITS(n)	 ((n)-1ul) << 16
#define CAP39	 (W39 | BITS(39))
#define DRAINS	 (CAP_DRAIN_WRITES | CAP_DRAIN_READS)
#define DISPLAY	 0x0010u
#define KEYBOARD 0x00a0u

static struct vtd_unit unit;
static struct vtd_memory memory;

static bool is_firmwares(uint64_t base, uint64_t end)
{
	return base >= (uintptr_t)model_memory &&
	       end <= (uintptr_t)model_memory + sizeof(model_memory);
}

/* Everything up to the tables. */
static void begin(uint64_t cap, uint64_t ecap)
{
	model_reset(cap, ecap);
	unit = (struct vtd_unit){ .base = MODEL_BASE,
				  .bytes = PAGE_SIZE,
				  .is_firmwares = is_firmwares };
	memory = (struct vtd_memory){ model_memory + 2 * PAGE_SIZE, MODEL_PAGES - 2 };
	assert_null(vtd_look(&unit));
	assert_true(vtd_prepare(&unit, &memory, model_memory + PAGE_SIZE));
}

static const char *block(void)
{
	cache_write_back(model_memory, sizeof(model_memory));
	return vtd_block(&unit, false);
}

static const uint64_t kinds[][2] = {
	{ CAP39, 0 },
	{ CAP39 | DRAINS, ECAP_COHERENT },
	{ W48 | BITS(48) | CAP_WRITE_BUFFER, ECAP_QUEUE },
	{ W39 | W48 | BITS(48) | DRAINS, ECAP_COHERENT | ECAP_QUEUE },
	{ W57 | BITS(57), ECAP_QUEUE | BIT(43) }, /* it also has the mode with PASIDs */
};

/* Nothing passes any more, on units of each kind; the records name who tried what. */
TEST(nothing_passes)
{
	struct vtd_fault fault;

	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		begin(kinds[i][0], kinds[i][1]);
		assert_true(model_dma(DISPLAY, 0x1000, true));
		assert_false(vtd_blocks(&unit));
		assert_null(block());
		assert_true(vtd_blocks(&unit));
		assert_false(model_dma(DISPLAY, 0x1234, true));
		assert_false(model_dma(0xff00, 0xfee00000, false));
		assert_true(vtd_take_fault(&unit, &fault));
		assert_int_equal(fault.source, DISPLAY);
		assert_int_equal(fault.address, 0x1000);
		assert_false(fault.read || fault.interrupt);
		assert_string_equal(vtd_reason(&fault), "it may reach no memory");
		assert_true(vtd_take_fault(&unit, &fault));
		assert_int_equal(fault.source, 0xff00);
		assert_true(fault.read);
		assert_false(vtd_take_fault(&unit, &fault));
		assert_int_equal(model.flushes != 0, (kinds[i][0] & CAP_WRITE_BUFFER) != 0);
		assert_int_equal(model.fectl, EVENT_MASKED);
	}
}

/* Firmware left translation on, with tables and a queue of its own: it is never off in between. */
TEST(taken_over)
{
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		begin(kinds[i][0] | CAP_PMR_LOW, kinds[i][1]);
		model.status = STATUS_TRANSLATION | STATUS_OLD_FAULT_LOG;
		model.pmen = PMEN_ENABLE;
		if ((kinds[i][1] & ECAP_QUEUE) != 0) {
			model.status |= STATUS_QUEUE;
			model.iqa = (uintptr_t)model_memory | (i == 4 ? IQA_WIDE : 0);
			((uint64_t *)model_memory)[0] = DO_CONTEXTS;
			model.iqt = 1 << QUEUE_SHIFT;
			model.any_stop = i == 4; /* entries of another size: left alone */
		}
		assert_true(model_dma(DISPLAY, 0x1000, true));
		assert_null(block());
		assert_int_equal(model.was_off, 0);
		assert_false(model_dma(DISPLAY, 0x1000, true));
		assert_int_equal(model.pmen, 0);
		assert_int_equal(model.status & STATUS_OLD_FAULT_LOG, 0);
	}
}

/*
 * Firmware's queue is full, and the unit is slow. With one more order its end would meet its
 * beginning, so that the unit takes it for empty: firmware's orders have to be carried out first.
 */
TEST(a_full_queue_of_firmware)
{
	begin(CAP39, ECAP_QUEUE | ECAP_COHERENT);
	model.status = STATUS_TRANSLATION | STATUS_QUEUE;
	model.iqa = (uintptr_t)model_memory;
	for (size_t i = 0; i < QUEUE_ENTRIES; i++) {
		((uint64_t *)model_memory)[2 * i] = DO_CONTEXTS;
	}
	model.iqh = 10;
	model.iqt = 9 << QUEUE_SHIFT;
	model.slow_queue = 64;
	assert_null(block()); /* the model checks that the queue's last order was to wait */
	assert_false(model_dma(DISPLAY, 0x1000, true));
}

/* A register that says that firmware's queue ends behind its memory: nothing is written there. */
TEST(an_end_outside_of_firmwares_queue)
{
	uint8_t *queue = model_memory + 40 * PAGE_SIZE, *behind = queue + PAGE_SIZE;
	static const uint8_t zeros[PAGE_SIZE];

	begin(CAP39, ECAP_QUEUE | ECAP_COHERENT);
	model.status = STATUS_QUEUE;
	model.iqa = (uintptr_t)queue;
	model.iqt = PAGE_SIZE;
	model.iqh = model.iqt >> QUEUE_SHIFT; /* the model runs nothing */
	model.any_stop = true;
	model.delay = 1;
	assert_null(block());
	assert_memory_equal(behind, zeros, sizeof(zeros));
	assert_false(model_dma(DISPLAY, 0x1000, true));
}

/*
 * While firmware runs, its driver may order through registers and wait: that is undefined with a
 * queue, so none is switched on that firmware does not use.
 */
TEST(firmware_orders_through_registers)
{
	static const struct {
		uint64_t status, ecap;
		uint32_t version;
		bool queued;
	} rows[] = {
		{ 0, ECAP_QUEUE, 0x10, false },
		{ STATUS_TRANSLATION, ECAP_QUEUE, 0x50, false },
		{ STATUS_QUEUE, ECAP_QUEUE, 0x10, true },
		{ 0, ECAP_QUEUE, 0x60, true },
		{ 0, 0, 0x60, false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		begin(CAP39, rows[i].ecap);
		cache_write_back(model_memory, sizeof(model_memory));
		model.status = rows[i].status;
		model.version = rows[i].version;
		model.any_stop = true;
		assert_null(vtd_block(&unit, true));
		assert_int_equal((model.status & STATUS_QUEUE) != 0, rows[i].queued);
		assert_true(vtd_blocks(&unit));
		assert_false(model_dma(DISPLAY, 0x1000, true));
		assert_null(vtd_block(&unit, false));
		assert_int_equal((model.status & STATUS_QUEUE) != 0, rows[i].ecap != 0);
		assert_int_equal(model.was_off, 0);
		assert_false(model_dma(DISPLAY, 0x1000, true));
	}
}

/* Firmware's driver still counts on its queue, and moves the end of ours: nothing bad is in it. */
TEST(firmware_moves_the_queue)
{
	begin(CAP39, ECAP_QUEUE | ECAP_COHERENT);
	assert_null(block());
	model.iqt = 200 << QUEUE_SHIFT;
	assert_true(vtd_blocks(&unit)); /* the model runs the queue */
	assert_int_equal(model.iqh, 200);
	assert_false(model_dma(DISPLAY, 0x1000, true));
	assert_null(block()); /* and it can be stopped after that */
	model.iqt = 7 << QUEUE_SHIFT;
	assert_true(vtd_blocks(&unit));
	model.stuck_queue = true;
	model.iqt = 9 << QUEUE_SHIFT;
	assert_non_null(block());
}

/* Firmware's queue may be anywhere: what is not firmware's own memory is not written to. */
TEST(firmwares_queue_lies_elsewhere)
{
	static uint64_t victim[PAGE_SIZE / 8] __attribute__((aligned(PAGE_SIZE)));
	const uint64_t rows[][2] = {
		{ (uintptr_t)victim, 0 },
		{ (uintptr_t)model_memory, PAGE_SIZE },	   /* the end of the queue is behind it */
		{ (uintptr_t)model_memory | IQA_SIZE, 0 }, /* it is larger than that memory */
		{ 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		begin(CAP39, ECAP_QUEUE);
		model.status = STATUS_TRANSLATION | STATUS_QUEUE;
		model.iqa = rows[i][0];
		model.iqt = rows[i][1];
		model.iqh = rows[i][1] >> QUEUE_SHIFT;
		model.any_stop = true;
		assert_null(block());
		assert_int_equal(victim[0], 0);
		assert_int_equal(*(uint64_t *)model_memory, 0);
		assert_false(model_dma(DISPLAY, 0x1000, true));
	}
}

/* Firmware's tables are of another mode: it changes while translation is off, or if it may. */
TEST(another_mode)
{
	for (unsigned may = 0; may < 2; may++) {
		for (uint64_t mode = 1; mode < 4; mode++) {
			begin(CAP39 | (may != 0 ? CAP_CHANGES_MODE : 0), ECAP_QUEUE | BIT(43));
			model.status = STATUS_TRANSLATION;
			model.rtaddr |= mode << 10;
			model.root = model.contexts_root = model.active_root = model.rtaddr;
			assert_null(block());
			assert_int_equal(model.was_off, may == 0);
			assert_int_equal(unit.paused, may == 0);
			assert_true(vtd_blocks(&unit));
			assert_false(model_dma(DISPLAY, 0x1000, true));
			assert_null(block()); /* now the mode is ours */
			assert_int_equal(model.was_off, may == 0);
			assert_false(unit.paused);
		}
	}
	begin(CAP39, 0);
	model.status = STATUS_TRANSLATION;
	model.rtaddr |= 1 << 10;
	model.stuck = (uint32_t)STATUS_TRANSLATION;
	assert_string_equal(block(), "firmware's tables are of another mode, which does not end");
}

/* Firmware switches the unit off, or gives it other tables: this is seen, and put right. */
TEST(switched_off)
{
	begin(CAP39, ECAP_QUEUE);
	assert_null(block());
	model.status &= ~STATUS_TRANSLATION;
	assert_false(vtd_blocks(&unit));
	assert_null(vtd_block(&unit, false));
	assert_false(model_dma(DISPLAY, 0x1000, true));
	model.rtaddr = model.root = model.active_root = MODEL_FIRMWARE_ROOT;
	assert_false(vtd_blocks(&unit));
	assert_null(vtd_block(&unit, false));
	assert_true(vtd_blocks(&unit));
	assert_false(model_dma(DISPLAY, 0x1000, true));
}

/* Ranges that overlap: a page is mapped already, by a leaf of 2 MiB, and no table is written to. */
TEST(ranges_that_overlap)
{
	for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
		size_t left;

		begin(kinds[i][0] | CAP_LEAF_2M, kinds[i][1]);
		assert_null(vtd_map(&unit, &memory, KEYBOARD, SIZE_2M, 2 * SIZE_2M));
		left = memory.left;
		assert_null(vtd_map(&unit, &memory, KEYBOARD, SIZE_2M + PAGE_SIZE, 2 * SIZE_2M));
		assert_int_equal(memory.left, left);
		assert_null(block());
		assert_true(model_dma(KEYBOARD, SIZE_2M, true));
		assert_true(model_dma(KEYBOARD, 2 * SIZE_2M - PAGE_SIZE, true));
		assert_false(model_dma(KEYBOARD, 2 * SIZE_2M, true));
	}
}

/* Exactly the ranges pass, for exactly their functions, with each width and size of leaves. */
TEST(ranges)
{
	const uint64_t base = 0x7a1ff000, end = 0x7a601000;
	struct vtd_fault fault;

	for (size_t i = 0; i < 2 * ARRAY_COUNT(kinds); i++) {
		const uint64_t *kind = kinds[i / 2];
		size_t left;

		begin(kind[0] | (i % 2 != 0 ? CAP_LEAF_2M : 0), kind[1]);
		left = memory.left;
		assert_null(vtd_map(&unit, &memory, KEYBOARD, base, end));
		assert_in_range(left - memory.left, 1, vtd_map_pages(&unit, base, end));
		left = memory.left;
		assert_null(vtd_map(&unit, &memory, KEYBOARD, 0x1000, 0x2000));
		assert_null(vtd_map(&unit, &memory, DISPLAY, 0x3fc0000000, 0x3fc0001000));
		assert_null(block());
		for (uint64_t at = base; at < end; at += PAGE_SIZE) {
			assert_true(model_dma(KEYBOARD, at, true));
			assert_false(model_dma(DISPLAY, at, true));
			assert_true(vtd_take_fault(&unit, &fault));
		}
		assert_true(model_dma(KEYBOARD, 0x1fff, false));
		assert_true(model_dma(DISPLAY, 0x3fc0000000, false));
		assert_false(model_dma(KEYBOARD, base - 1, true));
		assert_false(model_dma(KEYBOARD, end, true));
		assert_false(model_dma(KEYBOARD + 1, base, true));
		assert_true(vtd_take_fault(&unit, &fault));
		assert_string_equal(vtd_reason(&fault), "it may reach other memory only");
	}
}

TEST(ranges_that_do_not_fit)
{
	begin(CAP39, 0);
	assert_string_equal(vtd_map(&unit, &memory, 1, BIT(39) - PAGE_SIZE, BIT(39) + PAGE_SIZE),
			    "the unit cannot address it");
	begin(W48 | BITS(40), 0);
	assert_non_null(vtd_map(&unit, &memory, 1, BIT(40) - PAGE_SIZE, BIT(40) + PAGE_SIZE));
	assert_null(vtd_map(&unit, &memory, 1, BIT(40) - PAGE_SIZE, BIT(40)));
	begin(BITS(48), 0); /* no width that is known */
	assert_non_null(vtd_map(&unit, &memory, 1, 0x1000, 0x2000));
	begin(CAP39, 0); /* 16 domains, of which number 0 is not used */
	for (uint16_t n = 0; n < 15; n++) {
		memory.left = 8;
		assert_null(vtd_map(&unit, &memory, n, 0x1000, 0x2000));
	}
	assert_non_null(vtd_map(&unit, &memory, 15, 0x1000, 0x2000));
	for (size_t pages = 0; pages < 4; pages++) { /* the fifth would do */
		begin(CAP39, 0);
		memory.left = pages;
		assert_non_null(vtd_map(&unit, &memory, 1, 0x1000, 0x2000));
	}
	begin(CAP39, 0);
	memory.left = 1;
	assert_false(vtd_prepare(&unit, &memory, model_memory));
}

/* A unit that does not do one step: words, after a bounded time. */
TEST(broken_units)
{
	static const uint32_t bits[] = { (uint32_t)STATUS_TRANSLATION, STATUS_ROOT, STATUS_QUEUE };

	for (size_t i = 0; i < ARRAY_COUNT(bits); i++) {
		begin(CAP39, ECAP_QUEUE);
		model.stuck = bits[i];
		assert_non_null(block());
		assert_false(vtd_blocks(&unit));
	}
	begin(CAP39, ECAP_QUEUE);
	model.status = model.stuck = STATUS_QUEUE;
	model.any_stop = true;
	assert_string_equal(block(), "firmware's queue does not stop");
	begin(CAP39 | CAP_WRITE_BUFFER, 0);
	model.status = model.stuck = STATUS_WRITE_BUFFER;
	assert_string_equal(block(), "it does not flush its write buffer");
	begin(CAP39, ECAP_QUEUE);
	model.stuck_queue = true;
	assert_string_equal(block(), "it does not carry out its queue");
	begin(CAP39, 0);
	model.stuck_ccmd = true;
	assert_string_equal(block(), "it does not drop old context entries");
	assert_string_equal(block(), "it does not finish what firmware ordered");
	begin(CAP39, 0);
	model.stuck_iotlb = true;
	assert_string_equal(block(), "it does not drop old translations");
	begin(CAP39, ECAP_QUEUE);
	assert_null(block());
	model.stuck_queue = true;
	model.fsts = 0x10;
	assert_string_equal(vtd_block_interrupts(&unit, model_memory, false),
			    "it reports an error of its queue");
}

TEST(looks)
{
	begin(CAP39, 0);
	assert_null(vtd_look(&unit));
	assert_int_equal(unit.bytes, PAGE_SIZE);
	unit.bytes = 4 * PAGE_SIZE;
	assert_null(vtd_look(&unit));
	assert_int_equal(unit.bytes, 4 * PAGE_SIZE);
	unit.bytes = PAGE_SIZE;
	model.ecap = 0x100ul << 8; /* the IOTLB's registers lie behind */
	assert_null(vtd_look(&unit));
	assert_int_equal(unit.bytes, 2 * PAGE_SIZE);
	model.cap |= 0x3fful << 24 | 0xfful << 40; /* and fault records, as far as can be */
	assert_null(vtd_look(&unit));
	assert_int_equal(unit.bytes, 5 * PAGE_SIZE);
	model.cap = UINT64_MAX;
	assert_string_equal(vtd_look(&unit), "it does not answer");
	model.cap = 0;
	assert_string_equal(vtd_look(&unit), "it does not answer");
}

TEST(interrupts)
{
	struct vtd_fault fault;

	begin(CAP39, 0);
	assert_false(vtd_has_interrupts(&unit));
	begin(CAP39, ECAP_INTERRUPTS);
	assert_false(vtd_has_interrupts(&unit));
	for (unsigned i = 0; i < 4; i++) {
		begin(CAP39, ECAP_INTERRUPTS | ECAP_QUEUE | (i % 2 != 0 ? ECAP_X2APIC : 0));
		assert_true(vtd_has_interrupts(&unit));
		model.status = STATUS_OLD_FORMAT | (i < 2 ? STATUS_INTERRUPTS : 0);
		assert_null(block());
		assert_true(model_interrupt(DISPLAY, 0, true));
		assert_null(vtd_block_interrupts(&unit, model_memory, true));
		assert_int_equal(model.active_irta & IRTA_X2APIC, i % 2 != 0 ? IRTA_X2APIC : 0);
		assert_false(model_interrupt(DISPLAY, 0, true));
		assert_false(model_interrupt(DISPLAY, 7, false));
		assert_false(model_interrupt(DISPLAY, 255, false));
		assert_false(model_interrupt(DISPLAY, 0xffff, false));
		assert_true(vtd_take_fault(&unit, &fault));
		assert_true(vtd_take_fault(&unit, &fault));
		assert_true(fault.interrupt && !fault.read);
		assert_int_equal(fault.address, 7);
		assert_string_equal(vtd_reason(&fault), "no device may raise interrupts");
	}
	model.stuck = STATUS_INT_TABLE;
	model.status &= ~STATUS_INT_TABLE;
	assert_non_null(vtd_block_interrupts(&unit, model_memory, false));
	model.stuck = STATUS_INTERRUPTS;
	model.status &= ~STATUS_INTERRUPTS;
	assert_non_null(vtd_block_interrupts(&unit, model_memory, false));
	model.status |= STATUS_OLD_FORMAT;
	model.stuck = STATUS_OLD_FORMAT;
	assert_non_null(vtd_block_interrupts(&unit, model_memory, false));
}

/* More faults than records: those that were lost do not stop later ones from being recorded. */
TEST(many_faults)
{
	struct vtd_fault fault;

	begin(CAP39, ECAP_QUEUE);
	assert_null(block());
	for (uint16_t n = 0; n < MODEL_FAULTS + 2; n++) {
		assert_false(model_dma(n, 0x1000, true));
	}
	for (uint16_t n = 0; n < MODEL_FAULTS; n++) {
		assert_true(vtd_take_fault(&unit, &fault));
		assert_int_equal(fault.source, n);
	}
	assert_false(vtd_take_fault(&unit, &fault));
	assert_int_equal(model.fsts, 0);
	assert_int_equal(unit.overflows, 1);
	assert_false(vtd_take_fault(&unit, &fault));
	assert_int_equal(unit.overflows, 1);
	fault.reason = 0x99;
	assert_string_equal(vtd_reason(&fault), "the unit gives another reason");
	model.fsts = UINT32_MAX; /* the unit is gone */
	assert_false(vtd_take_fault(&unit, &fault));
}
