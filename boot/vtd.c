/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/vtd.h"

#include "boot/vtd_regs.h"
#include "vmm/base/cache_lines.h"
#include "vmm/base/cpu.h"

/*
 * How often a register is read before a wait is given up. A read takes from 100 ns to a
 * microsecond, so that is at least a tenth of a second. There is no clock yet that can be trusted.
 */
#define POLLS 1000000u

const char *vtd_look(struct vtd_unit *unit)
{
	uint64_t end;

	unit->cap = vtd_read64(unit, VTD_CAP);
	unit->ecap = vtd_read64(unit, VTD_ECAP);
	if (unit->cap == UINT64_MAX || unit->ecap == UINT64_MAX || unit->cap == 0) {
		return "it does not answer";
	}
	end = MAX(CAP_FAULTS_AT(unit->cap) + 16 * CAP_FAULTS(unit->cap),
		  ECAP_IOTLB_AT(unit->ecap) + 16);
	unit->bytes = MAX(unit->bytes, ALIGN_UP(end, PAGE_SIZE));
	return NULL;
}

/* --- Steps. Those that return a text return NULL, or what is wrong. --- */

/* Waits until the bits of a register have a value. */
static bool wait32(const struct vtd_unit *unit, uint32_t offset, uint64_t mask, uint64_t value)
{
	for (unsigned i = 0; i < POLLS; i++) {
		if ((vtd_read32(unit, offset) & mask) == value) {
			return true;
		}
		cpu_pause();
	}
	return false;
}

static bool wait64(const struct vtd_unit *unit, uint32_t offset, uint64_t mask, uint64_t value)
{
	for (unsigned i = 0; i < POLLS; i++) {
		if ((vtd_read64(unit, offset) & mask) == value) {
			return true;
		}
		cpu_pause();
	}
	return false;
}

/*
 * Changes one bit of GCMD, and waits until GSTS shows it. GCMD cannot be read, and each write must
 * change one bit at most.
 */
static bool command(const struct vtd_unit *unit, uint64_t bit, bool on)
{
	const uint64_t kept = vtd_read32(unit, VTD_GSTS) & STATUS_KEPT;

	vtd_write32(unit, VTD_GCMD, (uint32_t)(on ? kept | bit : kept & ~bit));
	return wait32(unit, VTD_GSTS, bit, on ? bit : 0);
}

static const char *flush_write_buffer(const struct vtd_unit *unit)
{
	const uint64_t kept = vtd_read32(unit, VTD_GSTS) & STATUS_KEPT;

	if ((unit->cap & CAP_WRITE_BUFFER) == 0) {
		return NULL;
	}
	vtd_write32(unit, VTD_GCMD, (uint32_t)(kept | STATUS_WRITE_BUFFER));
	return wait32(unit, VTD_GSTS, STATUS_WRITE_BUFFER, 0)
		       ? NULL
		       : "it does not flush its write buffer";
}

/* Makes what this CPU wrote visible also to a unit that does not look into the CPU's caches. */
static void publish(const struct vtd_unit *unit, const volatile void *area, size_t bytes)
{
	if ((unit->ecap & ECAP_COHERENT) == 0) {
		cache_write_back((const void *)(uintptr_t)area, bytes);
	}
	cpu_fence();
}

static void put_descriptor(struct vtd_unit *unit, uint64_t low, uint64_t high)
{
	uint64_t *to = unit->queue + 2 * unit->tail;

	to[0] = low;
	to[1] = high;
	publish(unit, to, 2 * sizeof(*to));
	unit->tail = (unit->tail + 1) % QUEUE_ENTRIES;
}

/* Returns the order that makes the unit write the next number to unit->done. */
static uint64_t next_wait(struct vtd_unit *unit)
{
	return (uint64_t)++unit->waits << 32 | DO_WAIT;
}

static const char *await_queue(const struct vtd_unit *unit)
{
	for (unsigned i = 0; i < POLLS; i++) {
		if (*unit->done == unit->waits) {
			return NULL;
		}
		if ((vtd_read32(unit, VTD_FSTS) & FSTS_QUEUE) != 0) {
			return "it reports an error of its queue";
		}
		publish(unit, unit->done, sizeof(*unit->done)); /* drops the cache's line */
	}
	return "it does not carry out its queue";
}

/* Has the unit carry out what is in the queue. */
static const char *run_queue(struct vtd_unit *unit)
{
	put_descriptor(unit, next_wait(unit), (uintptr_t)unit->done);
	vtd_write64(unit, VTD_IQT, (uint64_t)unit->tail << QUEUE_SHIFT);
	return await_queue(unit);
}

/*
 * A queue may only be stopped when it is empty and its last order was to wait (VT-d specification,
 * "Queued Invalidation Interface"). So we add such an order after firmware's orders; if the unit
 * does not carry it out, the queue is stopped all the same. The order is only written if all of the
 * queue lies in memory of firmware, or if it is our own queue.
 */
static void end_queue(struct vtd_unit *unit)
{
	const uint64_t where = vtd_read64(unit, VTD_IQA);
	const uint64_t tail = vtd_read64(unit, VTD_IQT);
	const uint64_t base = where & IQA_ADDRESS;
	const uint64_t bytes = PAGE_SIZE << (where & IQA_SIZE);
	uint64_t *to = (uint64_t *)(base + tail);

	if ((where & IQA_WIDE) != 0 || tail >= bytes || !IS_ALIGNED(tail, 1ul << QUEUE_SHIFT) ||
	    (base != (uintptr_t)unit->queue && !unit->is_firmwares(base, base + bytes))) {
		return; /* a format of entries, or a place, that is not ours to write to */
	}
	(void)wait64(unit, VTD_IQH, UINT64_MAX,
		     tail); /* if the queue is stuck, await_queue sees it, too */
	to[0] = next_wait(unit);
	to[1] = (uintptr_t)unit->done;
	publish(unit, to, 2 * sizeof(*to));
	vtd_write64(unit, VTD_IQT, (tail + (1ul << QUEUE_SHIFT)) % bytes);
	(void)await_queue(unit);
}

/*
 * Gives the unit our queue. Firmware's driver may still believe that the unit uses its own queue,
 * and set the tail register to where that one ends. So each entry of ours is at first an order that
 * does no harm, and after which a queue may be stopped: to write a zero beside unit->done.
 */
static const char *start_queue(struct vtd_unit *unit)
{
	if (!unit->queued) {
		return NULL;
	}
	if ((vtd_read32(unit, VTD_GSTS) & STATUS_QUEUE) != 0) {
		end_queue(unit);
		if (!command(unit, STATUS_QUEUE, false)) {
			return "firmware's queue does not stop";
		}
	}
	for (unsigned i = 0; i < QUEUE_ENTRIES; i++) {
		unit->queue[2 * i] = DO_WAIT;
		unit->queue[2 * i + 1] = (uintptr_t)(unit->done + 1);
	}
	publish(unit, unit->queue, PAGE_SIZE);
	unit->tail = 0;
	vtd_write32(unit, VTD_FSTS, FSTS_QUEUE);
	vtd_write32(unit, VTD_IECTL, EVENT_MASKED);
	vtd_write64(unit, VTD_IQT, 0);
	vtd_write64(unit, VTD_IQA, (uintptr_t)unit->queue);
	return command(unit, STATUS_QUEUE, true) ? NULL : "its queue does not start";
}

/*
 * VT-d specification, "Set Root Table Pointer Operation": contexts first, then the IOTLB.
 * Firmware's tables may have left cached entries of PASIDs. They stay: our mode does not use them,
 * and an order to drop them may be an error in it.
 */
static const char *invalidate_by_queue(struct vtd_unit *unit)
{
	uint64_t iotlb = DO_IOTLB;

	iotlb |= (unit->cap & CAP_DRAIN_WRITES) != 0 ? DO_IOTLB_WRITES : 0;
	iotlb |= (unit->cap & CAP_DRAIN_READS) != 0 ? DO_IOTLB_READS : 0;
	put_descriptor(unit, DO_CONTEXTS, 0);
	put_descriptor(unit, iotlb, 0);
	return run_queue(unit);
}

static const char *invalidate_by_registers(const struct vtd_unit *unit)
{
	const uint32_t iotlb = ECAP_IOTLB_AT(unit->ecap) + VTD_IOTLB;
	uint64_t drain = 0;

	drain |= (unit->cap & CAP_DRAIN_WRITES) != 0 ? IOTLB_DRAIN_WRITES : 0;
	drain |= (unit->cap & CAP_DRAIN_READS) != 0 ? IOTLB_DRAIN_READS : 0;
	if (!wait64(unit, VTD_CCMD, CCMD_BUSY, 0)) {
		return "it does not finish what firmware ordered";
	}
	vtd_write64(unit, VTD_CCMD, CCMD_BUSY | CCMD_ALL);
	if (!wait64(unit, VTD_CCMD, CCMD_BUSY, 0)) {
		return "it does not drop old context entries";
	}
	if (!wait64(unit, iotlb, IOTLB_BUSY, 0)) {
		return "it does not finish what firmware ordered";
	}
	vtd_write64(unit, iotlb, IOTLB_BUSY | IOTLB_ALL | drain);
	return wait64(unit, iotlb, IOTLB_BUSY, 0) ? NULL : "it does not drop old translations";
}

/*
 * The mode of the tables must not change while translation is on, unless the unit says that it may
 * (VT-d specification, "Root Table Address Register", TTM).
 */
static const char *end_other_mode(struct vtd_unit *unit)
{
	if ((vtd_read32(unit, VTD_GSTS) & STATUS_TRANSLATION) == 0 ||
	    (vtd_read64(unit, VTD_RTADDR) & ROOT_MODE) == 0 ||
	    (unit->cap & CAP_CHANGES_MODE) != 0) {
		return NULL;
	}
	unit->paused = true;
	return command(unit, STATUS_TRANSLATION, false)
		       ? NULL
		       : "firmware's tables are of another mode, which does not end";
}

static const char *set_root(struct vtd_unit *unit)
{
	const char *error = end_other_mode(unit);

	if (error != NULL) {
		return error;
	}
	vtd_write64(unit, VTD_RTADDR, (uintptr_t)unit->root);
	if (!command(unit, STATUS_ROOT, true)) {
		return "it does not take the root table";
	}
	error = flush_write_buffer(unit);
	if (error == NULL) {
		error = unit->queued ? invalidate_by_queue(unit) : invalidate_by_registers(unit);
	}
	return error;
}

/* Switches off firmware's protected ranges, which would also stop what vtd_map allows. */
static void end_protected_ranges(const struct vtd_unit *unit)
{
	if ((unit->cap & (CAP_PMR_LOW | CAP_PMR_HIGH)) != 0 &&
	    (vtd_read32(unit, VTD_PMEN) & (PMEN_ENABLE | PMEN_STATUS)) != 0) {
		vtd_write32(unit, VTD_PMEN, 0);
		(void)wait32(unit, VTD_PMEN, PMEN_STATUS, 0); /* failure shuts out too much */
	}
}

/*
 * Whether orders may go through a queue (firmware_runs: boot/vtd.h). EDK2's driver uses registers
 * for units of versions below 6, and a queue for others (IntelVTdDxe, VtdReg.c). It gives orders
 * once more when boot services end, to drop old translations.
 */
static bool may_queue(const struct vtd_unit *unit, bool firmware_runs)
{
	return (unit->ecap & ECAP_QUEUE) != 0 &&
	       (!firmware_runs || (vtd_read32(unit, VTD_GSTS) & STATUS_QUEUE) != 0 ||
		VERSION_MAJOR(vtd_read32(unit, VTD_VER)) >= 6);
}

const char *vtd_block(struct vtd_unit *unit, bool firmware_runs)
{
	const char *error;

	unit->queued = may_queue(unit, firmware_runs);
	unit->paused = false;
	vtd_write32(unit, VTD_FECTL, EVENT_MASKED); /* faults are polled for, without interrupts */
	if ((vtd_read32(unit, VTD_GSTS) & STATUS_OLD_FAULT_LOG) != 0) {
		(void)command(unit, STATUS_OLD_FAULT_LOG, false); /* while it is on, no records */
	}
	error = flush_write_buffer(unit);
	if (error == NULL) {
		error = start_queue(unit);
	}
	if (error == NULL) {
		error = set_root(unit);
	}
	if (error == NULL && !command(unit, STATUS_TRANSLATION, true)) {
		error = "it does not switch translation on";
	}
	if (error == NULL) {
		end_protected_ranges(unit);
	}
	return error;
}

bool vtd_blocks(const struct vtd_unit *unit)
{
	return (vtd_read32(unit, VTD_GSTS) & STATUS_TRANSLATION) != 0 &&
	       vtd_read64(unit, VTD_RTADDR) == (uintptr_t)unit->root;
}

/* --- Interrupts --- */

bool vtd_has_interrupts(const struct vtd_unit *unit)
{
	/* Only through a queue can entries be dropped from the unit's cache of interrupts. */
	return (unit->ecap & ECAP_INTERRUPTS) != 0 && (unit->ecap & ECAP_QUEUE) != 0;
}

const char *vtd_block_interrupts(struct vtd_unit *unit, const void *table, bool x2apic)
{
	uint64_t address = (uintptr_t)table | IRTA_256;
	const char *error;

	if (x2apic && (unit->ecap & ECAP_X2APIC) != 0) {
		address |= IRTA_X2APIC;
	}
	publish(unit, table, PAGE_SIZE);
	vtd_write64(unit, VTD_IRTA, address);
	if (!command(unit, STATUS_INT_TABLE, true)) {
		return "it does not take the table of interrupts";
	}
	put_descriptor(unit, DO_INTERRUPTS, 0);
	error = run_queue(unit);
	if (error != NULL) {
		return error;
	}
	if (!command(unit, STATUS_INTERRUPTS, true)) {
		return "it does not switch the remapping of interrupts on";
	}
	return (vtd_read32(unit, VTD_GSTS) & STATUS_OLD_FORMAT) == 0 ||
			       command(unit, STATUS_OLD_FORMAT, false)
		       ? NULL
		       : "it lets interrupts in the old format pass";
}

/* --- Faults --- */

bool vtd_take_fault(struct vtd_unit *unit, struct vtd_fault *fault)
{
	const uint32_t status = vtd_read32(unit, VTD_FSTS);

	if (status == UINT32_MAX || (status & (FSTS_PENDING | FSTS_OVERFLOW)) == 0) {
		return false;
	}
	for (uint32_t i = 0; i < CAP_FAULTS(unit->cap); i++) {
		const uint32_t at = CAP_FAULTS_AT(unit->cap) + 16 * i;
		const uint64_t high = vtd_read64(unit, at + 8);
		const uint64_t low = vtd_read64(unit, at);

		if ((high & FAULT_THERE) == 0) {
			continue;
		}
		*fault = (struct vtd_fault){
			.source = (uint16_t)high,
			.reason = FAULT_REASON(high),
			.read = (high & FAULT_READ) != 0,
			.address = low & PAGE_MASK,
		};
		if (fault->reason >= FAULT_INTERRUPTS && fault->reason < FAULT_NO_MORE) {
			fault->interrupt = true;
			fault->address = low >> 48;
		}
		vtd_write32(unit, at + 12, (uint32_t)(FAULT_THERE >> 32));
		return true;
	}
	/* Until the overflow bit is cleared, the unit makes no records. */
	unit->overflows += (status & FSTS_OVERFLOW) != 0 ? 1 : 0;
	vtd_write32(unit, VTD_FSTS, FSTS_OVERFLOW);
	return false;
}

const char *vtd_reason(const struct vtd_fault *fault)
{
	if (fault->interrupt) {
		return "no device may raise interrupts";
	}
	switch (fault->reason) {
	case 1:
	case 2: return "it may reach no memory";
	case 5:
	case 6: return "it may reach other memory only";
	default: return "the unit gives another reason";
	}
}
