/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual local APIC's timer (SDM vol. 3, "APIC Timer"). Nothing runs periodically: a running
 * timer is a deadline in host TSC, which is compared before every VM entry. Counts are computed
 * when they are read.
 */
#include "guest/dev/vclock.h"
#include "guest/dev/vlapic_priv.h"
#include "vmm/base/tsc.h"

#define NEVER UINT64_MAX

/* TSC ticks of one count. */
static uint64_t count_ticks(const struct vlapic *v)
{
	return (uint64_t)VLAPIC_TSC_RATIO << v->divide_shift;
}

void vlapic_timer_reset(struct vlapic *v)
{
	v->deadline = NEVER;
	v->period = 0;
	v->tsc_deadline = 0;
	v->timer_mode = LVT_TIMER_ONE_SHOT;
	v->divide_shift = 1; /* divide register 0: by 2 */
}

void vlapic_timer_fire(struct vlapic *v, uint64_t now)
{
	uint32_t lvt = reg_get(v, APIC_LVT_TIMER);

	if (v->period != 0) {
		uint64_t soonest = now + tsc_hz() / VCLOCK_IRQS_PER_SECOND_MAX;

		/* Periods that passed unseen give one interrupt; the phase is kept. */
		v->deadline += v->period * ((now - v->deadline) / v->period + 1);
		v->deadline = MAX(v->deadline, v->period < soonest - now ? soonest : 0);
	} else {
		v->deadline = NEVER;
		v->tsc_deadline = 0;
	}
	if ((lvt & LVT_MASKED) == 0) {
		vlapic_raise(v, lvt & LVT_VECTOR);
	}
}

uint32_t vlapic_timer_count(const struct vlapic *v)
{
	uint64_t now = cpu_rdtsc();

	if (v->timer_mode == LVT_TIMER_TSC_DEADLINE || now >= v->deadline || v->deadline == NEVER) {
		return 0;
	}
	return (uint32_t)MIN((v->deadline - now) / count_ticks(v), UINT32_MAX);
}

/* Starts the timer from a count; 0 stops it. */
static void start(struct vlapic *v, uint32_t count)
{
	bool periodic = v->timer_mode == LVT_TIMER_PERIODIC;

	v->deadline = count == 0 ? NEVER : cpu_rdtsc() + count * count_ticks(v);
	v->period = periodic ? reg_get(v, APIC_INITIAL_COUNT) * count_ticks(v) : 0;
}

void vlapic_timer_count_written(struct vlapic *v)
{
	/* SDM, "TSC-Deadline Mode": writes to the initial-count register are ignored. */
	if (v->timer_mode == LVT_TIMER_TSC_DEADLINE) {
		reg_set(v, APIC_INITIAL_COUNT, 0);
	} else {
		start(v, reg_get(v, APIC_INITIAL_COUNT));
	}
}

void vlapic_timer_divide_written(struct vlapic *v)
{
	uint32_t value = reg_get(v, APIC_DIVIDE);
	uint32_t count = vlapic_timer_count(v);

	/* SDM, "Divide Configuration Register": bits 3, 1, 0; 111B divides by 1. */
	v->divide_shift = (((value & 3) | (value >> 1 & 4)) + 1) & 7;
	if (v->timer_mode != LVT_TIMER_TSC_DEADLINE && v->deadline != NEVER) {
		start(v, MAX(count, 1)); /* the remaining count goes on at the new rate */
	}
}

void vlapic_timer_lvt_written(struct vlapic *v)
{
	uint32_t mode = reg_get(v, APIC_LVT_TIMER) & LVT_TIMER_MODE;
	bool was_deadline = v->timer_mode == LVT_TIMER_TSC_DEADLINE;

	if (mode == v->timer_mode) {
		return;
	}
	v->timer_mode = mode;
	/* SDM, "TSC-Deadline Mode": a change to or from this mode disarms the timer. */
	if (was_deadline || mode == LVT_TIMER_TSC_DEADLINE) {
		v->deadline = NEVER;
		v->period = 0;
		v->tsc_deadline = 0;
		reg_set(v, APIC_INITIAL_COUNT, 0);
	} else if (v->deadline != NEVER) {
		v->period = mode == LVT_TIMER_PERIODIC
				    ? reg_get(v, APIC_INITIAL_COUNT) * count_ticks(v)
				    : 0;
	}
}

void vlapic_timer_set_tsc_deadline(struct vlapic *v, uint64_t guest_tsc)
{
	uint64_t now, guest_now;

	if (v->timer_mode != LVT_TIMER_TSC_DEADLINE) {
		return; /* SDM: the write is ignored */
	}
	v->tsc_deadline = guest_tsc;
	if (guest_tsc == 0) {
		v->deadline = NEVER;
		return;
	}
	/*
	 * Computed by a difference, because a deadline far in the guest's future may not fit into
	 * the host's counter.
	 */
	now = cpu_rdtsc();
	guest_now = vcpu_guest_tsc(v->vcpu, now);
	v->tsc_offset = guest_now - now;
	if (guest_tsc <= guest_now) {
		v->deadline = now; /* fires before the next VM entry */
	} else if (__builtin_add_overflow(now, guest_tsc - guest_now, &v->deadline)) {
		v->deadline = NEVER;
	}
}

uint64_t vlapic_next_deadline(struct vcpu *vcpu)
{
	struct vlapic *v = vlapic_of(vcpu);

	/* If the guest has changed its TSC, its deadline is at another host time. */
	if (__builtin_expect(v->tsc_deadline != 0 && vcpu_guest_tsc(vcpu, 0) != v->tsc_offset, 0)) {
		vlapic_timer_set_tsc_deadline(v, v->tsc_deadline);
	}
	return v->deadline;
}

void vlapic_skip_time(struct vcpu *vcpu, uint64_t ticks)
{
	struct vlapic *v = vlapic_of(vcpu);

	/* like the vCPU's own offset: the deadline in guest TSC stays the same */
	v->tsc_offset -= ticks;
	if (v->deadline != NEVER && __builtin_add_overflow(v->deadline, ticks, &v->deadline)) {
		v->deadline = NEVER;
	}
}
