/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The boot processor and one AP take turns, and each reads its TSC when it sees that the turn has
 * come. A TSC read that causally follows another must show a larger value. The least difference
 * over many rounds, in each direction, is the time to pass the turn, plus or minus the difference
 * of the TSCs. A disturbance (an SMI, a hypervisor below) only makes a round longer.
 */
#include "vmm/host/tsc_sync.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"

#define ROUNDS 1000u
/*
 * So few rounds are enough after ROUNDS_US. If a hypervisor below runs both CPUs on one, a round
 * takes long.
 */
#define ROUNDS_MIN 16u
#define ROUNDS_US  20000u
/* The error of an estimate is half of the difference between the two directions. */
#define ESTIMATES 4u
#define ANSWER_US 100000u

enum order {
	ORDER_STAMP, /* the AP reads its TSC */
	ORDER_TELL,  /* the AP reports its IA32_TSC_ADJUST, if it has one */
	ORDER_MOVE,  /* the AP adds to its TSC */
	ORDER_STAY,
	ORDER_LEAVE,
};

static struct {
	ATOMIC(uint32_t) turn; /* odd: the AP's turn to carry out an order */
	uint32_t order;
	int64_t by;	/* for ORDER_MOVE */
	uint64_t stamp; /* result of ORDER_STAMP */
	uint64_t adjust;
	bool has_adjust;
} shared __attribute__((aligned(64)));

/* IA32_TSC_ADJUST of the last AP that was corrected: its neighbours need the same value. */
static uint64_t last_adjust;
static bool have_last;

/* Without the fence RDTSC could run before the load that saw the turn (SDM vol. 2, "RDTSC"). */
static uint64_t ordered_tsc(void)
{
	cpu_fence();
	return cpu_rdtsc();
}

static bool has_adjust(void)
{
	return cpu_cpuid(0, 0).eax >= 7 && (cpu_cpuid(7, 0).ebx & CPUID_7_EBX_TSC_ADJUST) != 0;
}

/* --- AP --- */

/*
 * SDM vol. 3, "IA32_TSC_ADJUST MSR": what is added to it is added to the TSC at the same instant.
 */
static void move(int64_t by)
{
	if (has_adjust()) {
		cpu_wrmsr(MSR_IA32_TSC_ADJUST, cpu_rdmsr(MSR_IA32_TSC_ADJUST) + (uint64_t)by);
	} else {
		cpu_wrmsr(MSR_IA32_TSC, cpu_rdtsc() + (uint64_t)by);
	}
}

bool tsc_sync_answer(void)
{
	uint32_t order;

	do {
		while ((atomic_load_acquire(&shared.turn) & 1) == 0) {
			cpu_pause();
		}
		order = shared.order;
		switch (order) {
		case ORDER_STAMP: shared.stamp = ordered_tsc(); break;
		case ORDER_MOVE: move(shared.by); break;
		case ORDER_TELL:
			shared.has_adjust = has_adjust();
			shared.adjust = shared.has_adjust ? cpu_rdmsr(MSR_IA32_TSC_ADJUST) : 0;
			break;
		default: break;
		}
		atomic_add(&shared.turn, 1);
	} while (order != ORDER_STAY && order != ORDER_LEAVE);
	return order == ORDER_STAY;
}

/* --- Boot processor --- */

/* Gives the AP an order. False when it does not answer. */
static bool ask(enum order order)
{
	uint64_t begin = cpu_rdtsc();
	uint64_t patience = tsc_from_us(ANSWER_US);

	shared.order = order;
	atomic_add(&shared.turn, 1);
	while ((atomic_load_acquire(&shared.turn) & 1) != 0) {
		if (cpu_rdtsc() - begin > patience) {
			return false;
		}
		cpu_pause();
	}
	return true;
}

/*
 * Measures by how much the AP is ahead; 0 when the difference is too small to be observed. False
 * when the AP does not answer.
 */
static bool measure(int64_t *ahead)
{
	uint64_t begin = cpu_rdtsc(), long_enough = tsc_from_us(ROUNDS_US);
	int64_t there = INT64_MAX, back = INT64_MAX;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint64_t sent = ordered_tsc();

		if (!ask(ORDER_STAMP)) {
			return false;
		}
		there = MIN(there, (int64_t)(shared.stamp - sent));
		back = MIN(back, (int64_t)(ordered_tsc() - shared.stamp));
		if (i >= ROUNDS_MIN && cpu_rdtsc() - begin > long_enough) {
			break;
		}
	}
	*ahead = there < 0 || back < 0 ? (there - back) / 2 : 0;
	return true;
}

static bool move_ap(int64_t by, int64_t *ahead)
{
	shared.by = by;
	return ask(ORDER_MOVE) && measure(ahead) && ask(ORDER_TELL);
}

/*
 * Tries three values. Firmware may have written one CPU's TSC (SMM code does, to hide its time):
 * then the boot processor's value of IA32_TSC_ADJUST is exact. Packages that left reset at
 * different times differ although that value is equal: then the last AP's value may be right, for
 * it may be in the same package. The estimate comes last: it is not exact, but the remaining
 * difference is too small to be observed.
 */
static bool correct(int64_t ahead)
{
	const uint64_t candidates[] = { has_adjust() ? cpu_rdmsr(MSR_IA32_TSC_ADJUST) : 0,
					last_adjust };
	const size_t count = have_last ? 2 : 1;

	if (!ask(ORDER_TELL)) {
		return false;
	}
	for (size_t i = 0; i < count && shared.has_adjust && has_adjust(); i++) {
		if (candidates[i] != shared.adjust &&
		    !move_ap((int64_t)(candidates[i] - shared.adjust), &ahead)) {
			return false;
		}
		if (ahead == 0) {
			return true;
		}
	}
	for (uint32_t i = 0; i < ESTIMATES && ahead != 0; i++) {
		if (!move_ap(-ahead, &ahead)) {
			return false;
		}
	}
	return ahead == 0;
}

enum tsc_sync tsc_sync_ask(int64_t *ahead)
{
	enum tsc_sync found = TSC_SYNC_GOOD;

	atomic_store_relaxed(&shared.turn, 0); /* may be odd since the last AP */
	*ahead = 0;
	if (!measure(ahead)) {
		return TSC_SYNC_APART;
	}
	if (*ahead != 0 && !correct(*ahead)) {
		(void)ask(ORDER_LEAVE); /* the AP may not answer any more */
		return TSC_SYNC_APART;
	}
	if (*ahead != 0) {
		have_last = true;
		last_adjust = shared.adjust;
		found = TSC_SYNC_CORRECTED;
	}
	return ask(ORDER_STAY) ? found : TSC_SYNC_APART;
}
