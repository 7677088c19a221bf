/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vtd_model.h"

#include "tests/unit/test.h"

#define IOTLB_AT  0x400u
#define FAULTS_AT 0x200u
#define ADDRESS	  MASK(51, 12)

uint8_t model_memory[MODEL_PAGES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t written_back[MODEL_PAGES * PAGE_SIZE];
struct model model;

void fake_clflush(const void *address)
{
	const uintptr_t at = ALIGN_DOWN((uintptr_t)address, 64) - (uintptr_t)model_memory;

	if (at < sizeof(model_memory)) {
		memcpy(written_back + at, model_memory + at, 64);
	}
}

void model_reset(uint64_t cap, uint64_t ecap)
{
	memset(model_memory, 0, sizeof(model_memory));
	memset(written_back, 0xff, sizeof(written_back)); /* DRAM held something before */
	memset(&model, 0, sizeof(model));
	model.cap = cap | (uint64_t)(FAULTS_AT / 16) << 24 | (MODEL_FAULTS - 1ul) << 40;
	model.ecap = ecap | IOTLB_AT / 16 << 8;
	model.root = model.contexts_root = model.active_root = MODEL_FIRMWARE_ROOT;
	model.rtaddr = MODEL_FIRMWARE_ROOT;
	model.delay = 3;
}

/* --- What the unit reads of memory --- */

static uint64_t fetch(uint64_t address)
{
	const uintptr_t at = address - (uintptr_t)model_memory;
	const uint8_t *from = (model.ecap & ECAP_COHERENT) != 0 ? model_memory : written_back;
	uint64_t value;

	assert_true(at + 8 <= sizeof(model_memory));
	memcpy(&value, from + at, 8);
	return value;
}

static void invalidate_contexts(void)
{
	model.contexts_root = model.root;
}

static void invalidate_iotlb(void)
{
	model.active_root = model.contexts_root;
}

static void carry_out(void)
{
	const uint64_t at = (model.iqa & ADDRESS) + (model.iqh << 4);
	const uint64_t low = fetch(at), high = fetch(at + 8);

	model.iqh = (model.iqh + 1) % QUEUE_ENTRIES;
	model.last_was_wait = (low & 0xf) == 5;
	assert_true(model.last_was_wait || high == 0); /* the rest is reserved */
	switch (low & 0xf) {
	case 1: assert_int_equal(low, DO_CONTEXTS); return invalidate_contexts();
	case 2: assert_int_equal(low & 0x30, 0x10); return invalidate_iotlb();
	case 4: model.int_cached = 0; return;
	case 5:
		assert_int_equal(low & 0x70, 0x20);
		memcpy((void *)(uintptr_t)high, (const uint8_t *)&low + 4, 4);
		return;
	default: fail_msg("descriptor %#lx", low);
	}
}

static void run_queue(void)
{
	if (model.slow_queue != 0 && ++model.queue_reads % model.slow_queue != 0) {
		return;
	}
	while ((model.status & STATUS_QUEUE) != 0 && !model.stuck_queue &&
	       model.iqh != model.iqt >> QUEUE_SHIFT) {
		carry_out();
		if (model.slow_queue != 0) {
			return;
		}
	}
}

/* --- Registers --- */

static void settle(void)
{
	if (model.wait != 0 && --model.wait == 0) {
		model.status = (model.next_status & ~(uint64_t)model.stuck) |
			       (model.status & model.stuck);
	}
}

/* A command of one bit; the status shows it after some reads. */
static void gcmd(uint32_t value)
{
	const uint64_t once = value & ~STATUS_KEPT & ~STATUS_OLD_FORMAT;
	const uint64_t changed = (value ^ model.status) & STATUS_KEPT;

	assert_int_equal(model.wait, 0);
	assert_true(__builtin_popcountl(once | changed) <= 1);
	model.next_status = (model.status & ~STATUS_KEPT) | (value & STATUS_KEPT) |
			    (once & ~STATUS_WRITE_BUFFER);
	model.was_off += (changed & ~(uint64_t)value & STATUS_TRANSLATION) != 0;
	model.flushes += (once & STATUS_WRITE_BUFFER) != 0;
	if ((once & STATUS_ROOT) != 0) {
		assert_true((model.status & STATUS_TRANSLATION) == 0 ||
			    (model.cap & CAP_CHANGES_MODE) != 0 ||
			    (model.root & ROOT_MODE) == (model.rtaddr & ROOT_MODE));
		model.root = model.rtaddr;
	}
	if ((once & STATUS_INT_TABLE) != 0) {
		model.active_irta = model.irta;
		model.int_cached = 1;
	}
	if ((changed & STATUS_QUEUE) != 0) {
		assert_true((value & STATUS_QUEUE) != 0 || model.any_stop || model.last_was_wait);
		model.iqh = (value & STATUS_QUEUE) != 0 ? 0 : model.iqh;
	}
	model.wait = model.delay;
}

uint32_t vtd_read32(const struct vtd_unit *unit, uint32_t offset)
{
	assert_int_equal(unit->base, MODEL_BASE);
	settle();
	run_queue();
	switch (offset) {
	case VTD_VER: return model.version;
	case VTD_GSTS: return (uint32_t)model.status;
	case VTD_FSTS: return model.fsts;
	case VTD_PMEN: return model.pmen;
	default: fail_msg("read of %#x", offset);
	}
	return 0;
}

uint64_t vtd_read64(const struct vtd_unit *unit, uint32_t offset)
{
	settle();
	if (model.slow_queue != 0) {
		run_queue();
	}
	if (offset >= FAULTS_AT && offset < FAULTS_AT + 16 * MODEL_FAULTS) {
		return model.faults[(offset - FAULTS_AT) / 16][offset / 8 % 2];
	}
	switch (offset) {
	case VTD_CAP: return model.cap;
	case VTD_ECAP: return model.ecap;
	case VTD_RTADDR: return model.rtaddr;
	case VTD_CCMD: return model.ccmd;
	case IOTLB_AT + VTD_IOTLB: return model.iotlb;
	case VTD_IQH: return model.iqh << QUEUE_SHIFT;
	case VTD_IQT: return model.iqt;
	case VTD_IQA: return model.iqa;
	default: fail_msg("read of %#x", offset);
	}
	return 0;
}

void vtd_write32(const struct vtd_unit *unit, uint32_t offset, uint32_t value)
{
	if (offset >= FAULTS_AT && offset < FAULTS_AT + 16 * MODEL_FAULTS) {
		assert_int_equal(offset % 16, 12);
		model.faults[(offset - FAULTS_AT) / 16][1] &= ~((uint64_t)value << 32);
		model.fsts &= ~(uint32_t)FSTS_PENDING;
		for (unsigned i = 0; i < MODEL_FAULTS; i++) {
			model.fsts |= (model.faults[i][1] & FAULT_THERE) != 0 ? FSTS_PENDING : 0;
		}
		return;
	}
	switch (offset) {
	case VTD_GCMD: gcmd(value); return;
	case VTD_FSTS: model.fsts &= ~(value & (FSTS_QUEUE | FSTS_OVERFLOW)); return;
	case VTD_FECTL: model.fectl = value; return;
	case VTD_IECTL: model.iectl = value; return;
	case VTD_PMEN: model.pmen = value; return;
	default: fail_msg("write of %#x to %#x", value, offset);
	}
}

/* Orders through registers are undefined while the queue is on. */
void vtd_write64(const struct vtd_unit *unit, uint32_t offset, uint64_t value)
{
	switch (offset) {
	case VTD_RTADDR: model.rtaddr = value; return;
	case VTD_IQT: model.iqt = value; return;
	case VTD_IRTA: model.irta = value; return;
	case VTD_IQA:
		assert_int_equal(model.status & STATUS_QUEUE, 0);
		model.iqa = value;
		return;
	case VTD_CCMD:
		assert_int_equal(model.status & STATUS_QUEUE, 0);
		assert_int_equal(value, CCMD_BUSY | CCMD_ALL);
		invalidate_contexts();
		model.ccmd = model.stuck_ccmd ? value : value & ~CCMD_BUSY;
		return;
	case IOTLB_AT + VTD_IOTLB:
		assert_int_equal(model.status & STATUS_QUEUE, 0);
		assert_int_equal(value & IOTLB_ALL, IOTLB_ALL);
		invalidate_iotlb();
		model.iotlb = model.stuck_iotlb ? value : value & ~IOTLB_BUSY;
		return;
	default: fail_msg("write of %#lx to %#x", value, offset);
	}
}

/* --- Devices --- */

static bool record(uint16_t source, uint8_t reason, uint64_t low, bool read)
{
	for (unsigned i = 0; i < MODEL_FAULTS; i++) {
		if ((model.faults[i][1] & FAULT_THERE) == 0) {
			model.faults[i][0] = low;
			model.faults[i][1] = FAULT_THERE | (read ? FAULT_READ : 0) |
					     (uint64_t)reason << 32 | source;
			model.fsts |= FSTS_PENDING;
			return false;
		}
	}
	model.fsts |= FSTS_OVERFLOW;
	return false;
}

static bool walk(const uint64_t context[2], uint64_t address)
{
	unsigned level = (unsigned)(context[1] & 7) + 2;
	uint64_t entry = context[0];

	assert_true((CAP_WIDTHS(model.cap) & BIT(context[1] & 7)) != 0);
	assert_in_range(context[1] >> 8, 1, BIT(CAP_DOMAINS(model.cap)) - 1);
	if (address >> (12 + 9 * level) != 0) {
		return false;
	}
	for (; level > 0; level--) {
		entry = fetch((entry & ADDRESS) + 8 * (address >> (3 + 9 * level) & 0x1ff));
		if ((entry & 3) != 3) {
			return false;
		}
		if ((entry & 0x80) != 0) {
			assert_true(level == 2 && (model.cap & CAP_LEAF_2M) != 0);
			return (entry & ADDRESS) == ALIGN_DOWN(address, SIZE_2M);
		}
	}
	return (entry & ADDRESS) == ALIGN_DOWN(address, PAGE_SIZE);
}

bool model_dma(uint16_t source, uint64_t address, bool write)
{
	uint64_t entry, context[2];

	if ((model.status & STATUS_TRANSLATION) == 0 ||
	    (model.active_root & ADDRESS) == MODEL_FIRMWARE_ROOT) {
		return true;
	}
	assert_int_equal(model.active_root & ROOT_MODE, 0);
	entry = fetch(model.active_root + 16ul * (source >> 8));
	if ((entry & 1) == 0) {
		return record(source, 1, address & PAGE_MASK, !write);
	}
	context[0] = fetch((entry & ADDRESS) + 16ul * (source & 0xff));
	context[1] = fetch((entry & ADDRESS) + 16ul * (source & 0xff) + 8);
	if ((context[0] & 1) == 0) {
		return record(source, 2, address & PAGE_MASK, !write);
	}
	return walk(context, address) || record(source, write ? 5 : 6, address & PAGE_MASK, !write);
}

bool model_interrupt(uint16_t source, uint16_t index, bool old)
{
	uint64_t entry;

	if ((model.status & STATUS_INTERRUPTS) == 0 || model.int_cached != 0) {
		return true;
	}
	if (old) {
		return ((model.status & STATUS_OLD_FORMAT) != 0 &&
			(model.active_irta & IRTA_X2APIC) == 0) ||
		       record(source, 0x25, 0, false);
	}
	if (index >= 2u << (model.active_irta & 0xf)) {
		return record(source, 0x21, (uint64_t)index << 48, false);
	}
	entry = fetch((model.active_irta & ADDRESS) + 16ul * index);
	return (entry & 1) != 0 || record(source, 0x22, (uint64_t)index << 48, false);
}
