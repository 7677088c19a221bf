/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual local APIC's registers and modes: MMIO page, x2APIC MSRs, IA32_APIC_BASE. One
 * function does what a write causes, for every way in which a value can arrive.
 */
#include "guest/dev/vlapic.h"
#include "guest/dev/vlapic_priv.h"
#include "guest/platform_state.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/host/page_alloc.h"

/* Integrated APIC, LVT entries 0 to 5 (no CMCI), no suppression of EOI broadcasts. */
#define VERSION_VALUE 0x00050014u

/* SDM, "ICR" in x2APIC mode: all bits that are not reserved. */
#define ICR_X2_VALID (MASK(63, 32) | 0x000ccffful)

/*
 * How a register may be accessed. SDM, "Local APIC Register Address Map", "x2APIC Register Space".
 */
enum {
	REG_READ = 1,
	REG_WRITE = 2,
	REG_X = 4,  /* exists in xAPIC mode */
	REG_X2 = 8, /* exists in x2APIC mode */
	REG_X2_READ_ONLY = 16,
	REG_RW = REG_READ | REG_WRITE,
	REG_BOTH = REG_X | REG_X2,
};

struct apic_register {
	uint32_t kind;
	uint32_t writable; /* writable bits; the others are reserved, or read-only and 0 */
};

#define LVT_LINT_BITS 0x1a7ffu /* mask, trigger, polarity, delivery mode, vector */
#define LVT_MODE_BITS 0x107ffu

/* By offset / 16. An absent row is a reserved register. */
static const struct apic_register registers[0x40] = {
	[APIC_ID / 16] = { REG_READ | REG_BOTH, 0 },
	[APIC_VERSION / 16] = { REG_READ | REG_BOTH, 0 },
	[APIC_TPR / 16] = { REG_RW | REG_BOTH, 0xff },
	[APIC_APR / 16] = { REG_READ | REG_X, 0 },
	[APIC_PPR / 16] = { REG_READ | REG_BOTH, 0 },
	[APIC_EOI / 16] = { REG_WRITE | REG_BOTH, 0 },
	[APIC_RRD / 16] = { REG_READ | REG_X, 0 },
	[APIC_LDR / 16] = { REG_RW | REG_BOTH | REG_X2_READ_ONLY, 0xff000000 },
	[APIC_DFR / 16] = { REG_RW | REG_X, 0xf0000000 },
	[APIC_SVR / 16] = { REG_RW | REG_BOTH, 0x3ff },
	[APIC_ISR / 16 ... APIC_IRR / 16 + 7] = { REG_READ | REG_BOTH, 0 },
	[APIC_ESR / 16] = { REG_RW | REG_BOTH, 0 },
	[APIC_ICR_LOW / 16] = { REG_RW | REG_BOTH, 0x000ccfff },
	[APIC_ICR_HIGH / 16] = { REG_RW | REG_X, 0xff000000 },
	[APIC_LVT_TIMER / 16] = { REG_RW | REG_BOTH, 0x700ff },
	[APIC_LVT_THERMAL / 16] = { REG_RW | REG_BOTH, LVT_MODE_BITS },
	[APIC_LVT_PERF / 16] = { REG_RW | REG_BOTH, LVT_MODE_BITS },
	[APIC_LVT_LINT0 / 16] = { REG_RW | REG_BOTH, LVT_LINT_BITS },
	[APIC_LVT_LINT1 / 16] = { REG_RW | REG_BOTH, LVT_LINT_BITS },
	[APIC_LVT_ERROR / 16] = { REG_RW | REG_BOTH, 0x100ff },
	[APIC_INITIAL_COUNT / 16] = { REG_RW | REG_BOTH, 0xffffffff },
	[APIC_CURRENT_COUNT / 16] = { REG_READ | REG_BOTH, 0 },
	[APIC_DIVIDE / 16] = { REG_RW | REG_BOTH, 0xb },
	[APIC_SELF_IPI / 16] = { REG_WRITE | REG_X2, 0xff },
};

static const uint16_t lvt_offsets[] = {
	APIC_LVT_TIMER, APIC_LVT_THERMAL, APIC_LVT_PERF,
	APIC_LVT_LINT0, APIC_LVT_LINT1,	  APIC_LVT_ERROR,
};

/* ID and LDR depend on the mode (SDM, "Logical Destination Mode in x2APIC Mode"). */
static void set_identity(struct vlapic *v)
{
	uint32_t id = v->vcpu->id;

	if (is_x2apic(v)) {
		reg_set(v, APIC_ID, id);
		reg_set(v, APIC_LDR, id >> 4 << 16 | 1u << (id & 15));
	} else {
		reg_set(v, APIC_ID, id << 24);
		reg_set(v, APIC_LDR, 0);
	}
}

/* SDM, "Local APIC State After Power-Up or Reset". */
void vlapic_reset(struct vlapic *v)
{
	for (uint32_t offset = 0; offset < PAGE_SIZE; offset += 16) {
		reg_set(v, offset, 0);
	}
	set_identity(v);
	reg_set(v, APIC_VERSION, VERSION_VALUE);
	reg_set(v, APIC_DFR, UINT32_MAX);
	reg_set(v, APIC_SVR, 0xff);
	for (size_t i = 0; i < ARRAY_COUNT(lvt_offsets); i++) {
		reg_set(v, lvt_offsets[i], LVT_MASKED);
	}
	atomic_store_relaxed(&v->enabled, false);
	vlapic_timer_reset(v);
	vlapic_irq_reset(v);
}

static void change_mode(struct vlapic *v, enum vcpu_apic_mode mode)
{
	atomic_store_relaxed(&v->mode, (uint8_t)mode);
	vcpu_set_apic_mode(v->vcpu, mode);
	v->hardware = vcpu_has_virtual_delivery(v->vcpu);
}

int vlapic_create(struct vcpu *vcpu)
{
	struct vlapic *v = page_alloc(1);

	_Static_assert(sizeof(*v) <= PAGE_SIZE, "one host page");
	if (v == NULL) {
		return ERR_NOMEM;
	}
	v->vcpu = vcpu;
	v->page = vcpu->apic_page;
	v->base = VLAPIC_BASE | APIC_BASE_ENABLE | (vcpu->id == 0 ? APIC_BASE_BSP : 0);
	atomic_store_relaxed(&v->mode, VCPU_APIC_X);
	vlapic_reset(v);
	change_mode(v, VCPU_APIC_X); /* last, so that the reset does not reach hardware */
	vcpu->platform = v;
	return 0;
}

void vlapic_destroy(struct vcpu *vcpu)
{
	page_free(vcpu->platform, 1);
	vcpu->platform = NULL;
}

static uint32_t reg_read(struct vlapic *v, uint32_t offset)
{
	vlapic_update(v);
	switch (offset) {
	case APIC_APR:
	case APIC_PPR: return vlapic_ppr(v);
	case APIC_CURRENT_COUNT: return vlapic_timer_count(v);
	default: return reg_get(v, offset);
	}
}

static void write_svr(struct vlapic *v, uint32_t value)
{
	atomic_store_relaxed(&v->enabled, (value & SVR_ENABLE) != 0);
	/* SDM, "Local APIC State After It Has Been Software Disabled". */
	for (size_t i = 0; !atomic_load_relaxed(&v->enabled) && i < ARRAY_COUNT(lvt_offsets); i++) {
		reg_set(v, lvt_offsets[i], reg_get(v, lvt_offsets[i]) | LVT_MASKED);
	}
}

static void write_icr(struct vlapic *v, uint64_t icr)
{
	if (is_x2apic(v)) { /* one register of 64 bits, also for hardware */
		reg_set(v, APIC_ICR_LOW, (uint32_t)icr);
		reg_set(v, APIC_ICR_LOW + 4, (uint32_t)(icr >> 32));
		vlapic_icr_send(v, icr);
	} else {
		reg_set(v, APIC_ICR_LOW, (uint32_t)icr);
		vlapic_icr_send(v, (icr & UINT32_MAX) | (uint64_t)reg_get(v, APIC_ICR_HIGH) << 32);
	}
}

/*
 * Writes a register and does what follows from it. The guest must be allowed to write the register.
 */
static void reg_write(struct vlapic *v, uint32_t offset, uint32_t value)
{
	value &= registers[offset / 16].writable;
	switch (offset) {
	case APIC_EOI: vlapic_eoi_highest(v->vcpu); return;
	case APIC_ICR_LOW: write_icr(v, value); return;
	case APIC_SELF_IPI: vlapic_icr_send(v, value | 1ul << 18); return;
	case APIC_ESR: /* SDM, "Error Handling": a write latches the errors since the last write */
		reg_set(v, APIC_ESR, v->errors);
		v->errors = 0;
		return;
	case APIC_DFR: value |= 0x0fffffff; break;
	case APIC_LVT_TIMER ... APIC_LVT_ERROR:
		value |= atomic_load_relaxed(&v->enabled) ? 0 : LVT_MASKED;
		break;
	default: break;
	}
	reg_set(v, offset, value);
	switch (offset) {
	case APIC_SVR: write_svr(v, value); break;
	case APIC_LVT_TIMER: vlapic_timer_lvt_written(v); break;
	case APIC_INITIAL_COUNT: vlapic_timer_count_written(v); break;
	case APIC_DIVIDE: vlapic_timer_divide_written(v); break;
	default: break;
	}
}

bool vlapic_is_on(const struct vcpu *vcpu)
{
	return atomic_load_relaxed(&vlapic_of(vcpu)->mode) != VCPU_APIC_OFF;
}

/* --- Rows of struct vm_hooks --- */

void vlapic_apic_access(struct vcpu *vcpu, struct io_access *access)
{
	struct vlapic *v = vlapic_of(vcpu);
	uint32_t offset = (uint32_t)access->offset & 0xff0;
	uint32_t within = (uint32_t)access->offset & 0xf;
	uint32_t kind = offset < 0x400 ? registers[offset / 16].kind : 0;
	uint64_t mask = MASK(8 * access->size - 1, 0);
	uint64_t nothing = 0;

	if (atomic_load_relaxed(&v->mode) != VCPU_APIC_X) {
		kind = 0; /* the page is not an APIC then, and no other device is there */
		nothing = mask;
	} else if ((kind & REG_X) == 0) {
		vlapic_error(v, ESR_ILLEGAL_REGISTER);
		kind = 0;
	}
	/*
	 * SDM: only aligned 32-bit accesses are defined. Other loads get the bytes of the register.
	 */
	if (access->write) {
		if ((kind & REG_WRITE) != 0 && within == 0 && access->size == 4) {
			reg_write(v, offset, (uint32_t)access->value);
		}
	} else if ((kind & REG_READ) != 0 && within < 4) {
		access->value = reg_read(v, offset) >> 8 * within & mask;
	} else {
		access->value = nothing;
	}
}

void vlapic_apic_written(struct vcpu *vcpu, uint32_t offset)
{
	struct vlapic *v = vlapic_of(vcpu);

	offset &= 0xff0;
	if (is_x2apic(v) && offset == APIC_ICR_LOW) {
		write_icr(v, reg_get(v, APIC_ICR_LOW) | (uint64_t)reg_get(v, APIC_ICR_LOW + 4)
								<< 32);
	} else if (offset == APIC_ID) {
		reg_set(v, APIC_ID, v->vcpu->id << 24); /* read-only in this APIC */
	} else if (offset < 0x400 && (registers[offset / 16].kind & REG_WRITE) != 0) {
		reg_write(v, offset, reg_get(v, offset));
	}
}

uint8_t vlapic_cr8_read(struct vcpu *vcpu)
{
	return (uint8_t)(reg_get(vlapic_of(vcpu), APIC_TPR) >> 4 & 0xf);
}

void vlapic_cr8_write(struct vcpu *vcpu, uint8_t value)
{
	reg_set(vlapic_of(vcpu), APIC_TPR, (uint32_t)(value & 0xf) << 4);
}

/* SDM, "Local x2APIC State Transitions". Returns ERR_NOTFOUND for #GP. */
static int write_base(struct vlapic *v, uint64_t value)
{
	const uint64_t mode_bits = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
	uint64_t from = v->base & mode_bits, to = value & mode_bits;

	/*
	 * The page's address cannot change, the BSP flag belongs to vCPU 0, and the other bits are
	 * reserved.
	 */
	if (((value ^ v->base) & ~mode_bits) != 0 || to == APIC_BASE_X2APIC) {
		return ERR_NOTFOUND;
	}
	if (from == to) {
		return 0;
	}
	/* x2APIC mode can only be entered from xAPIC mode, and can only be left to "disabled". */
	if ((to == mode_bits && from != APIC_BASE_ENABLE) ||
	    (from == mode_bits && to == APIC_BASE_ENABLE)) {
		return ERR_NOTFOUND;
	}
	v->base = value;
	if (to == mode_bits) {
		change_mode(v, VCPU_APIC_X2);
		set_identity(v);
		reg_set(v, APIC_ICR_LOW + 4, reg_get(v, APIC_ICR_HIGH));
		vlapic_irq_sync(v);
	} else {
		change_mode(v, to == 0 ? VCPU_APIC_OFF : VCPU_APIC_X);
		vlapic_reset(v);
	}
	return 0;
}

static int x2apic_read(struct vlapic *v, uint32_t offset, uint64_t *value)
{
	uint32_t kind = offset < 0x400 ? registers[offset / 16].kind : 0;

	if (!is_x2apic(v) || (kind & REG_X2) == 0 || (kind & REG_READ) == 0) {
		return ERR_NOTFOUND;
	}
	*value = reg_read(v, offset);
	if (offset == APIC_ICR_LOW) {
		*value |= (uint64_t)reg_get(v, APIC_ICR_LOW + 4) << 32;
	}
	return 0;
}

/*
 * Read-only bits that a guest may write, without effect: at power-off Linux writes back what it has
 * read. They are not reserved.
 */
static uint32_t read_only_bits(uint32_t offset)
{
	switch (offset) {
	case APIC_LVT_LINT0:
	case APIC_LVT_LINT1: return LVT_DELIVERY_STATUS | LVT_REMOTE_IRR;
	case APIC_LVT_TIMER:
	case APIC_LVT_THERMAL:
	case APIC_LVT_PERF:
	case APIC_LVT_ERROR: return LVT_DELIVERY_STATUS;
	default: return 0;
	}
}

static int x2apic_write(struct vlapic *v, uint32_t offset, uint64_t value)
{
	const struct apic_register *reg = &registers[offset / 16 % ARRAY_COUNT(registers)];
	const uint32_t needed = REG_X2 | REG_WRITE;
	uint64_t valid = offset == APIC_ICR_LOW ? ICR_X2_VALID
						: reg->writable | read_only_bits(offset);

	if (!is_x2apic(v) || offset >= 0x400 ||
	    (reg->kind & (needed | REG_X2_READ_ONLY)) != needed || (value & ~valid) != 0) {
		return ERR_NOTFOUND;
	}
	if (offset == APIC_ICR_LOW) {
		write_icr(v, value);
	} else {
		reg_write(v, offset, (uint32_t)value);
	}
	return 0;
}

int vlapic_msr_read(struct vcpu *vcpu, uint32_t msr, uint64_t *value)
{
	struct vlapic *v = vlapic_of(vcpu);

	if (msr >= MSR_IA32_X2APIC_FIRST && msr <= MSR_IA32_X2APIC_LAST) {
		return x2apic_read(v, (msr - MSR_IA32_X2APIC_FIRST) * 16, value);
	}
	switch (msr) {
	case MSR_IA32_APIC_BASE: *value = v->base; return 0;
	case MSR_IA32_TSC_DEADLINE:
		vlapic_update(v); /* the value is 0 after the timer has fired */
		*value = v->tsc_deadline;
		return 0;
	default: return ERR_NOTFOUND;
	}
}

int vlapic_msr_write(struct vcpu *vcpu, uint32_t msr, uint64_t value)
{
	struct vlapic *v = vlapic_of(vcpu);

	if (msr >= MSR_IA32_X2APIC_FIRST && msr <= MSR_IA32_X2APIC_LAST) {
		return x2apic_write(v, (msr - MSR_IA32_X2APIC_FIRST) * 16, value);
	}
	switch (msr) {
	case MSR_IA32_APIC_BASE: return write_base(v, value);
	case MSR_IA32_TSC_DEADLINE: vlapic_timer_set_tsc_deadline(v, value); return 0;
	default: return ERR_NOTFOUND;
	}
}

static void skip_time(struct platform *platform, uint64_t ticks)
{
	struct vm *vm = platform->vm;

	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vlapic_skip_time(vm->vcpus[i], ticks);
	}
}

static void destroy(struct platform *platform)
{
	struct vm *vm = platform->vm;

	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		if (vm->vcpus[i]->platform != NULL) {
			vlapic_destroy(vm->vcpus[i]);
		}
	}
}

const struct vdev_ops vlapic_device = {
	.name = "local APIC",
	.add_vcpu = vlapic_create,
	.skip_time = skip_time,
	.destroy = destroy,
};
