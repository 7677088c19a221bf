/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each I/O APIC has one lock. Accesses of the guest, devices that change a wire, and EOIs take it.
 * It is taken after a device's own lock; under it only vlapic_deliver is called, which takes no
 * lock.
 */
#include "guest/dev/vioapic.h"
#include "guest/dev/vlapic.h"
#include "guest/platform_state.h"

/*
 * Datasheet, "Memory Mapped Registers for Accessing IOAPIC Registers"; EOI: ICH family
 * datasheets.
 */
#define OFFSET_SELECT 0x00
#define OFFSET_WINDOW 0x10
#define OFFSET_EOI    0x40
#define WINDOW_BYTES  0x1000ul

/* Datasheet, "IOAPIC Registers". */
#define INDEX_ID	  0x00
#define INDEX_VERSION	  0x01
#define INDEX_ARBITRATION 0x02
#define INDEX_REDIRECTION 0x10
#define INDEX_END	  (INDEX_REDIRECTION + 2 * GSI_COUNT)

#define VERSION_WITH_EOI 0x20
#define VERSION_VALUE	 (VERSION_WITH_EOI | (GSI_COUNT - 1) << 16)
#define ID_SHIFT	 24
#define ID_MASK		 0x0f

/* Datasheet, "I/O Redirection Table Registers". */
#define ENTRY_VECTOR	 MASK(7, 0)
#define ENTRY_MODE_SHIFT 8
#define ENTRY_MODE	 MASK(10, 8)
#define ENTRY_LOGICAL	 BIT(11)
#define ENTRY_ACTIVE_LOW BIT(13)
#define ENTRY_REMOTE_IRR BIT(14)
#define ENTRY_LEVEL	 BIT(15)
#define ENTRY_MASKED	 BIT(16)
#define ENTRY_DEST_SHIFT 56
#define ENTRY_DEST	 MASK(63, 56)
#define ENTRY_GUEST_WRITES                                                            \
	(ENTRY_VECTOR | ENTRY_MODE | ENTRY_LOGICAL | ENTRY_ACTIVE_LOW | ENTRY_LEVEL | \
	 ENTRY_MASKED | ENTRY_DEST)

/*
 * Only fixed and lowest-priority interrupts end with an EOI. NMI and INIT are edges even if the
 * entry says "level".
 */
static bool entry_is_level(uint64_t entry)
{
	unsigned mode = (unsigned)((entry & ENTRY_MODE) >> ENTRY_MODE_SHIFT);

	return (entry & ENTRY_LEVEL) != 0 && (mode == VLAPIC_FIXED || mode == VLAPIC_LOWEST);
}

/*
 * Sends the pin's message, and returns whether a local APIC accepted it. ExtINT is not sent,
 * because the virtual PIC never has a vector.
 */
static bool send(struct vioapic *ioapic, uint64_t entry)
{
	struct vlapic_msg msg = {
		.dest = (uint32_t)((entry & ENTRY_DEST) >> ENTRY_DEST_SHIFT),
		.logical = (entry & ENTRY_LOGICAL) != 0,
		.level = entry_is_level(entry),
		.mode = (uint8_t)((entry & ENTRY_MODE) >> ENTRY_MODE_SHIFT),
		.vector = (uint8_t)(entry & ENTRY_VECTOR),
	};

	return msg.mode != VLAPIC_EXTINT && vlapic_deliver(ioapic->vm, &msg);
}

/*
 * Sends for a level-triggered pin if its wire is high and it does not wait for an EOI. If no local
 * APIC accepts the message, it is tried again with the next event on the pin.
 */
static void send_level(struct vioapic *ioapic, unsigned pin)
{
	uint64_t entry = ioapic->entry[pin];

	if (entry_is_level(entry) && (entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)) == 0 &&
	    (ioapic->lines & BIT(pin)) != 0 && send(ioapic, entry)) {
		ioapic->entry[pin] |= ENTRY_REMOTE_IRR;
	}
}

static void end_of_interrupt(struct vioapic *ioapic, uint8_t vector)
{
	unsigned pin;

	for (pin = 0; pin < GSI_COUNT; pin++) {
		uint64_t entry = ioapic->entry[pin];

		if ((entry & ENTRY_REMOTE_IRR) != 0 && (entry & ENTRY_VECTOR) == vector) {
			ioapic->entry[pin] &= ~ENTRY_REMOTE_IRR;
			send_level(ioapic, pin);
		}
	}
}

static uint32_t register_read(const struct vioapic *ioapic)
{
	unsigned index = ioapic->select;

	if (index >= INDEX_REDIRECTION && index < INDEX_END) {
		uint64_t entry = ioapic->entry[(index - INDEX_REDIRECTION) / 2];

		return (uint32_t)(index % 2 != 0 ? entry >> 32 : entry);
	}
	switch (index) {
	case INDEX_ID:
	case INDEX_ARBITRATION: return (uint32_t)ioapic->id << ID_SHIFT;
	case INDEX_VERSION: return VERSION_VALUE;
	default: return 0;
	}
}

static void register_write(struct vioapic *ioapic, uint32_t value)
{
	unsigned index = ioapic->select;
	unsigned pin = (index - INDEX_REDIRECTION) / 2;
	uint64_t entry;

	if (index == INDEX_ID) {
		ioapic->id = (uint8_t)(value >> ID_SHIFT) & ID_MASK;
	}
	if (index < INDEX_REDIRECTION || index >= INDEX_END) {
		return;
	}
	entry = ioapic->entry[pin];
	if (index % 2 != 0) {
		entry = (entry & MASK(31, 0)) | (uint64_t)value << 32;
	} else {
		entry = (entry & MASK(63, 32)) | value;
	}
	/*
	 * The other bits are read-only. An entry that is no longer level-triggered waits for no
	 * EOI.
	 */
	entry &= ENTRY_GUEST_WRITES;
	if (entry_is_level(entry)) {
		entry |= ioapic->entry[pin] & ENTRY_REMOTE_IRR;
	}
	ioapic->entry[pin] = entry;
	send_level(ioapic, pin);
}

/* Registers have 32 bits. A guest can read parts of them, but must write all of a register. */
static uint64_t window_read(const struct vioapic *ioapic, const struct io_access *access)
{
	uint64_t value = 0;

	switch (access->offset & ~3ul) {
	case OFFSET_SELECT: value = ioapic->select; break;
	case OFFSET_WINDOW: value = register_read(ioapic); break;
	default: break;
	}
	value >>= 8 * (access->offset & 3);
	return access->size < 8 ? value & MASK(8 * access->size - 1, 0) : value;
}

static void window_write(struct vioapic *ioapic, const struct io_access *access)
{
	if (access->offset == OFFSET_SELECT) {
		ioapic->select = (uint8_t)access->value;
	} else if (access->size < 4) {
		return;
	} else if (access->offset == OFFSET_WINDOW) {
		register_write(ioapic, (uint32_t)access->value);
	} else if (access->offset == OFFSET_EOI) {
		end_of_interrupt(ioapic, (uint8_t)access->value);
	}
}

static void access_ioapic(void *device, struct vcpu *vcpu, struct io_access *access)
{
	struct vioapic *ioapic = device;

	lock_take(&ioapic->lock, LOCK_IOAPIC);
	if (access->write) {
		window_write(ioapic, access);
	} else {
		access->value = window_read(ioapic, access);
	}
	lock_drop(&ioapic->lock);
}

void vioapic_set_line(struct vioapic *ioapic, uint32_t pin, bool high)
{
	bool rises;
	uint64_t entry;

	if (pin >= GSI_COUNT) {
		return;
	}
	lock_take(&ioapic->lock, LOCK_IOAPIC);
	rises = high && (ioapic->lines & BIT(pin)) == 0;
	if (high) {
		ioapic->lines |= (uint32_t)BIT(pin);
	} else {
		ioapic->lines &= (uint32_t)~BIT(pin);
	}
	entry = ioapic->entry[pin];
	if (entry_is_level(entry)) {
		send_level(ioapic, pin);
	} else if (rises && (entry & ENTRY_MASKED) == 0) {
		/* Datasheet, "Interrupt Mask": an edge on a masked pin is lost. */
		(void)send(ioapic, entry);
	}
	lock_drop(&ioapic->lock);
}

void vioapic_eoi(struct vm *vm, uint8_t vector)
{
	struct vioapic *ioapic = &platform_of(vm)->ioapic;

	lock_take(&ioapic->lock, LOCK_IOAPIC);
	end_of_interrupt(ioapic, vector);
	lock_drop(&ioapic->lock);
}

static const struct io_ops ioapic_ops = {
	.name = "ioapic",
	.access = access_ioapic,
};

int vioapic_init(struct vioapic *ioapic, struct vm *vm)
{
	unsigned pin;

	*ioapic = (struct vioapic){ .vm = vm };
	for (pin = 0; pin < GSI_COUNT; pin++) {
		ioapic->entry[pin] = ENTRY_MASKED;
	}
	return iobus_add(&vm->iobus, IO_SPACE_MEMORY, MEMMAP_IOAPIC, WINDOW_BYTES, &ioapic_ops,
			 ioapic);
}

static int init(struct platform *platform)
{
	return vioapic_init(&platform->ioapic, platform->vm);
}

const struct vdev_ops vioapic_device = { .name = "I/O APIC", .init = init };
