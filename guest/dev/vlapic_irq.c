/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual local APIC's interrupts: acceptance, priority, end of interrupt, and messages between
 * the APICs of a VM (SDM vol. 3, "Handling Interrupts" and "Issuing Interprocessor Interrupts").
 *
 * IRR, ISR and TMR belong to the vCPU's own CPU. Another CPU sets a bit in posted[], then
 * ATTENTION_POSTED, then kicks the vCPU. The own CPU reads ATTENTION_POSTED first and posted[]
 * second, so that no bit stays without attention.
 */
#include "guest/dev/vioapic.h"
#include "guest/dev/vlapic_priv.h"
#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"

static inline uint32_t word_offset(uint32_t set, uint32_t vector)
{
	return set + 16 * (vector / 32);
}

static inline bool vector_test(const struct vlapic *v, uint32_t set, uint32_t vector)
{
	return (reg_get(v, word_offset(set, vector)) >> vector % 32 & 1) != 0;
}

static inline void vector_set(struct vlapic *v, uint32_t set, uint32_t vector)
{
	uint32_t offset = word_offset(set, vector);

	reg_set(v, offset, reg_get(v, offset) | 1u << vector % 32);
}

static inline void vector_clear(struct vlapic *v, uint32_t set, uint32_t vector)
{
	uint32_t offset = word_offset(set, vector);

	reg_set(v, offset, reg_get(v, offset) & ~(1u << vector % 32));
}

/* Returns the highest vector of a set, or -1. Clears the bits of *words whose words are 0. */
static int highest(const struct vlapic *v, uint32_t set, uint8_t *words)
{
	while (*words != 0) {
		uint32_t word = 31 - (uint32_t)__builtin_clz(*words);
		uint32_t bits = reg_get(v, set + 16 * word);

		if (bits != 0) {
			return (int)(32 * word + 31 - (uint32_t)__builtin_clz(bits));
		}
		*words = (uint8_t)(*words & ~(1u << word));
	}
	return -1;
}

/*
 * If hardware delivers interrupts, a word can change whenever the guest runs, so all words are
 * read.
 */
static int highest_of_all(const struct vlapic *v, uint32_t set)
{
	for (uint32_t offset = 16 * APIC_VECTOR_WORDS; offset != 0; offset -= 16) {
		uint32_t bits = reg_get(v, set + offset - 16);

		if (bits != 0) {
			return (int)(2 * (offset - 16) + 31 - (uint32_t)__builtin_clz(bits));
		}
	}
	return -1;
}

static int highest_irr(struct vlapic *v)
{
	if (v->hardware) {
		return highest_of_all(v, APIC_IRR);
	}
	return highest(v, APIC_IRR, &v->irr_words);
}

static int highest_isr(struct vlapic *v)
{
	if (v->hardware) {
		return highest_of_all(v, APIC_ISR);
	}
	return highest(v, APIC_ISR, &v->isr_words);
}

uint32_t vlapic_ppr(struct vlapic *v)
{
	uint32_t tpr = reg_get(v, APIC_TPR) & 0xff;
	int in_service = highest_isr(v);

	return in_service >= 0 && (tpr & 0xf0) < ((uint32_t)in_service & 0xf0)
		       ? (uint32_t)in_service & 0xf0
		       : tpr;
}

void vlapic_irq_reset(struct vlapic *v)
{
	for (uint32_t i = 0; i < APIC_VECTOR_WORDS; i++) {
		reg_set(v, APIC_ISR + 16 * i, 0);
		reg_set(v, APIC_TMR + 16 * i, 0);
		reg_set(v, APIC_IRR + 16 * i, 0);
	}
	for (uint32_t i = 0; i < ARRAY_COUNT(v->posted); i++) {
		(void)atomic_xchg(&v->posted[i], 0);
	}
	(void)atomic_xchg(&v->posted_errors, 0);
	v->errors = 0;
	vlapic_irq_sync(v);
}

static void set_eoi_exits(struct vlapic *v)
{
	uint64_t bitmap[4];

	for (uint32_t i = 0; i < 4; i++) {
		bitmap[i] = reg_get(v, APIC_TMR + 32 * i) |
			    (uint64_t)reg_get(v, APIC_TMR + 32 * i + 16) << 32;
	}
	vcpu_set_eoi_exit_bitmap(v->vcpu, bitmap);
}

void vlapic_irq_sync(struct vlapic *v)
{
	v->irr_words = v->isr_words = 0xff; /* hardware may have changed any word */
	if (v->hardware) {
		int in_service = highest_isr(v);

		vcpu_set_svi(v->vcpu, in_service < 0 ? 0 : (uint8_t)in_service);
		set_eoi_exits(v);
	}
}

/* Accepts the interrupts of one word; bits in level are level-triggered. */
static void accept_word(struct vlapic *v, uint32_t word, uint32_t bits, uint32_t level)
{
	uint32_t offset = 16 * word;
	uint32_t tmr = reg_get(v, APIC_TMR + offset);
	uint32_t new_tmr = (tmr & ~bits) | (bits & level);

	reg_set(v, APIC_IRR + offset, reg_get(v, APIC_IRR + offset) | bits);
	v->irr_words = (uint8_t)(v->irr_words | 1u << word);
	if (new_tmr != tmr) {
		reg_set(v, APIC_TMR + offset, new_tmr);
		if (v->hardware) {
			/* EOIs of level-triggered vectors must exit, for the IOAPIC */
			set_eoi_exits(v);
		}
	}
}

void vlapic_raise(struct vlapic *v, uint32_t vector)
{
	if (vector < APIC_FIRST_VECTOR) {
		vlapic_error(v, ESR_RECEIVE_ILLEGAL_VECTOR);
	} else {
		accept_word(v, vector / 32, 1u << vector % 32, 0);
	}
}

void vlapic_error(struct vlapic *v, uint32_t error)
{
	uint32_t lvt = reg_get(v, APIC_LVT_ERROR);
	uint32_t vector = lvt & LVT_VECTOR;

	v->errors |= error;
	/*
	 * If the error LVT has an illegal vector, raising it would be another error, without end.
	 * Such an error only stays in ESR.
	 */
	if ((lvt & LVT_MASKED) == 0 && vector >= APIC_FIRST_VECTOR) {
		vlapic_raise(v, vector);
	}
}

void vlapic_merge(struct vlapic *v)
{
	/* Attention is cleared first: what is posted after this sets it again. */
	uint32_t attention = atomic_xchg(&v->attention, 0);
	uint32_t errors;

	if ((attention & ATTENTION_INIT) != 0) {
		vlapic_reset(v);
		return;
	}
	for (uint32_t i = 0; (attention & ATTENTION_POSTED) != 0 && i < 4; i++) {
		uint64_t bits = atomic_load_relaxed(&v->posted[i]);
		uint64_t level;

		if (bits == 0) {
			continue;
		}
		bits = atomic_xchg(&v->posted[i], 0);
		level = atomic_load_relaxed(&v->posted_level[i]);
		if ((uint32_t)bits != 0) {
			accept_word(v, 2 * i, (uint32_t)bits, (uint32_t)level);
		}
		if (bits >> 32 != 0) {
			accept_word(v, 2 * i + 1, (uint32_t)(bits >> 32), (uint32_t)(level >> 32));
		}
	}
	if ((attention & ATTENTION_ERRORS) != 0) {
		errors = atomic_xchg(&v->posted_errors, 0);
		vlapic_error(v, errors);
	}
}

static void raise_attention(struct vlapic *v, uint32_t attention)
{
	(void)atomic_or(&v->attention, attention);
	vcpu_kick(v->vcpu);
}

/*
 * Is the vector in IRR already? Then its handler has not begun and will see all that the sender
 * stored before, so a further message is the same interrupt, as in hardware, and is not posted.
 * Otherwise a sender without pause would cost the vCPU an exit for each message. Any CPU.
 */
static bool is_requested(const struct vlapic *v, uint32_t vector)
{
	cpu_fence(); /* what the sender has stored is visible before IRR is read */
	return vector_test(v, APIC_IRR, vector);
}

/* Posts an interrupt for another vCPU. Any CPU. */
static void post(struct vlapic *v, uint32_t vector, bool level)
{
	uint64_t bit = BIT(vector % 64);
	uint32_t word = vector / 64;
	bool was_level = (atomic_load_relaxed(&v->posted_level[word]) & bit) != 0;

	if (!level && is_requested(v, vector)) {
		return;
	}
	if (level && !was_level) {
		(void)atomic_or(&v->posted_level[word], bit);
	} else if (!level && was_level) {
		(void)atomic_and(&v->posted_level[word], ~bit);
	}
	(void)atomic_or(&v->posted[word], bit);
	raise_attention(v, ATTENTION_POSTED);
}

/* Delivers a message to one target. own: the target is the sender, and this is its CPU. */
static bool accept(struct vlapic *v, const struct vlapic_msg *msg, bool own)
{
	switch (msg->mode) {
	case VLAPIC_FIXED:
	case VLAPIC_LOWEST:
		/* SDM, "Local APIC State After It Has Been Software Disabled". */
		if (!atomic_load_relaxed(&v->enabled)) {
			return false;
		}
		if (own && !msg->level) {
			vlapic_raise(v, msg->vector);
		} else if (msg->vector >= APIC_FIRST_VECTOR) {
			post(v, msg->vector, msg->level);
		} else {
			(void)atomic_or(&v->posted_errors, ESR_RECEIVE_ILLEGAL_VECTOR);
			raise_attention(v, ATTENTION_ERRORS);
		}
		return true;
	case VLAPIC_NMI: vcpu_nmi(v->vcpu); return true;
	case VLAPIC_INIT:
		(void)atomic_or(&v->attention, ATTENTION_INIT);
		vcpu_init_signal(v->vcpu);
		return true;
	case VLAPIC_SIPI: vcpu_sipi(v->vcpu, msg->vector); return true;
	default: return false; /* SMI, ExtINT and reserved modes do nothing here */
	}
}

/* While a VM is built, some of its vCPUs may not have an APIC yet. */
static uint8_t mode_of(const struct vlapic *v)
{
	return v == NULL ? VCPU_APIC_OFF : atomic_load_relaxed(&v->mode);
}

/* SDM, "Determining IPI Destination" and "Logical Destination Mode in x2APIC Mode". */
static bool is_addressed(const struct vlapic *v, const struct vlapic_msg *msg)
{
	uint32_t ldr;

	if (mode_of(v) == VCPU_APIC_OFF) {
		return false;
	}
	if (msg->dest == (msg->wide ? UINT32_MAX : 0xff)) {
		return true;
	}
	if (!msg->logical) {
		return v->vcpu->id == msg->dest;
	}
	ldr = reg_get(v, APIC_LDR);
	if (mode_of(v) == VCPU_APIC_X2) {
		return ldr >> 16 == msg->dest >> 16 && (ldr & msg->dest & 0xffff) != 0;
	}
	if (msg->dest > 0xff) {
		return false;
	}
	ldr >>= 24;
	if (reg_get(v, APIC_DFR) >> 28 == 0xf) { /* flat model */
		return (ldr & msg->dest) != 0;
	}
	return ldr >> 4 == msg->dest >> 4 && (ldr & msg->dest & 0xf) != 0;
}

/*
 * Lowest priority: chooses the addressed vCPU with the lowest task priority, and takes turns among
 * equals (SDM, "Lowest Priority Delivery Mode", leaves this to the platform).
 */
static struct vlapic *arbitrate(const struct vm *vm, const struct vlapic_msg *msg,
				const struct vlapic *skip)
{
	/*
	 * Each VM counts its own turns: a shared counter would show a guest how busy other VMs are.
	 */
	struct vlapic *keeper = vlapic_of(vm->vcpus[0]);
	uint32_t start = keeper == NULL ? 0 : atomic_add(&keeper->turn, 1);
	uint32_t best_priority = UINT32_MAX;
	struct vlapic *best = NULL;

	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		struct vlapic *v = vlapic_of(vm->vcpus[(start + i) % vm->vcpu_count]);

		if (v != skip && is_addressed(v, msg) && atomic_load_relaxed(&v->enabled)) {
			uint32_t priority = reg_get(v, APIC_TPR) >> 4 & 0xf;

			best = priority < best_priority ? v : best;
			best_priority = MIN(priority, best_priority);
		}
	}
	return best;
}

/* sender is the vCPU of this CPU, or NULL. The message does not go to skip, which may be NULL. */
static bool deliver(const struct vm *vm, const struct vlapic_msg *msg, const struct vlapic *sender,
		    const struct vlapic *skip)
{
	bool accepted = false;

	if (msg->mode == VLAPIC_LOWEST) {
		struct vlapic *v = arbitrate(vm, msg, skip);

		return v != NULL && accept(v, msg, v == sender);
	}
	/* The common case needs no search, because a physical APIC ID is the vCPU's index. */
	if (!msg->logical && msg->dest < vm->vcpu_count) {
		struct vlapic *v = vlapic_of(vm->vcpus[msg->dest]);

		return mode_of(v) != VCPU_APIC_OFF && accept(v, msg, v == sender);
	}
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		struct vlapic *v = vlapic_of(vm->vcpus[i]);

		if (v != skip && is_addressed(v, msg)) {
			accepted |= accept(v, msg, v == sender);
		}
	}
	return accepted;
}

bool vlapic_deliver(struct vm *vm, const struct vlapic_msg *msg)
{
	return deliver(vm, msg, NULL, NULL);
}

/* SDM, "Interrupt Command Register (ICR)". */
#define ICR_LOGICAL    BIT(11)
#define ICR_ASSERT     BIT(14)
#define ICR_LEVEL      BIT(15)
#define ICR_SHORTHAND  MASK(19, 18)
#define ICR_SELF       (1ul << 18)
#define ICR_ALL	       (2ul << 18)
#define ICR_ALL_OTHERS (3ul << 18)

void vlapic_icr_send(struct vlapic *v, uint64_t icr)
{
	uint64_t shorthand = icr & ICR_SHORTHAND;
	const bool wide = is_x2apic(v);
	struct vlapic_msg msg = {
		.mode = (uint8_t)(icr >> 8 & 7),
		.vector = (uint8_t)icr,
		.logical = (icr & ICR_LOGICAL) != 0,
		.wide = wide,
		.dest = (uint32_t)(wide ? icr >> 32 : icr >> 56),
	};
	bool vectored = msg.mode == VLAPIC_FIXED || msg.mode == VLAPIC_LOWEST;

	if (vectored && msg.vector < APIC_FIRST_VECTOR) {
		vlapic_error(v, ESR_SEND_ILLEGAL_VECTOR);
		return;
	}
	if (msg.mode == VLAPIC_INIT && (icr & (ICR_LEVEL | ICR_ASSERT)) == ICR_LEVEL) {
		return; /* INIT level de-assert, which does nothing since the Pentium 4 */
	}
	if (shorthand == 0) {
		(void)deliver(v->vcpu->vm, &msg, v, NULL);
		return;
	}
	/*
	 * SDM, "Valid Combinations for the ... Local xAPIC ICR": only fixed interrupts may go to
	 * the sender itself.
	 */
	if (shorthand != ICR_ALL_OTHERS && msg.mode != VLAPIC_FIXED) {
		return;
	}
	if (shorthand == ICR_SELF) {
		(void)accept(v, &msg, true);
		return;
	}
	msg.logical = false;
	msg.wide = true;
	msg.dest = UINT32_MAX;
	(void)deliver(v->vcpu->vm, &msg, v, shorthand == ICR_ALL_OTHERS ? v : NULL);
}

/* --- Rows of struct vm_hooks --- */

int vlapic_irq_pending(struct vcpu *vcpu)
{
	struct vlapic *v = vlapic_of(vcpu);
	int vector;

	vlapic_update(v);
	if (v->irr_words == 0 && !v->hardware) {
		return -1;
	}
	vector = highest_irr(v);
	return vector >= 0 && (uint32_t)vector >> 4 > vlapic_ppr(v) >> 4 ? vector : -1;
}

int vlapic_irr_highest(struct vcpu *vcpu)
{
	struct vlapic *v = vlapic_of(vcpu);

	vlapic_update(v);
	return highest_irr(v);
}

void vlapic_irq_accepted(struct vcpu *vcpu, uint8_t vector)
{
	struct vlapic *v = vlapic_of(vcpu);

	vector_clear(v, APIC_IRR, vector);
	vector_set(v, APIC_ISR, vector);
	v->isr_words = (uint8_t)(v->isr_words | 1u << vector / 32);
}

void vlapic_eoi(struct vcpu *vcpu, uint8_t vector)
{
	if (vector_test(vlapic_of(vcpu), APIC_TMR, vector)) {
		vioapic_eoi(vcpu->vm, vector);
	}
}

void vlapic_eoi_highest(struct vcpu *vcpu)
{
	struct vlapic *v = vlapic_of(vcpu);
	int vector = highest_isr(v);

	if (vector < 0) {
		return; /* SDM: an EOI without an interrupt in service does nothing */
	}
	vector_clear(v, APIC_ISR, (uint32_t)vector);
	if (v->hardware) {
		int next = highest_isr(v);

		vcpu_set_svi(vcpu, next < 0 ? 0 : (uint8_t)next);
	}
	vlapic_eoi(vcpu, (uint8_t)vector);
}
