/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLB shoot-down by generations. No lock. There is one atomic generation per root, a published
 * "this CPU is in the guest with this root" per CPU (percpu.guest_root), and per root a mask of the
 * CPUs that may publish it, so that a shoot-down reads only those CPUs' cache lines.
 *
 * A CPU that enters       J: joins the mask       P: publishes the root
 *                         C: compares generations, INVEPT when behind
 * A CPU that shoots down  A: advances it          M: reads the mask
 *                         L: looks which CPUs of the mask have published
 *
 * J and P come before C, and A before M and L: each is a store followed by a load of what the other
 * side stores. x86 lets a load pass an older store (SDM vol. 3, "Memory Ordering in P6 and More
 * Recent Processor Families"), so both sides have a full barrier (a locked instruction) between the
 * two. Then either C sees the new generation and flushes, or M and L see the CPU and kick it. If
 * both missed, C would come before A, and M before J or L before P; together with J and P before C
 * and A before M and L that is a circle.
 *
 * J is done once, not at each entry, because only the CPU itself takes its bit out of a mask. It
 * does so before it joins another mask, or when a vCPU leaves it, and always in host mode. So a CPU
 * that is in the guest is in the mask.
 */
#include "ept/ept_tlb.h"
#include "ept/ept.h"
#include "ept/invept_priv.h"
#include "vmm/base/panic.h"
#include "vmm/base/waits.h"
#include "vmm/host/smp.h"

static void flush(const struct ept_root *root)
{
	bool ok = ept_caps()->invept_single ? invept(INVEPT_SINGLE, root->eptp)
					    : invept(INVEPT_ALL, 0);

	CHECK(ok);
}

/*
 * The generation was read before the flush. If it has advanced since, this CPU is behind again. But
 * the CPU that advanced it has seen guest_root, so its kick ends this VM entry at once.
 */
void ept_tlb_catch_up(struct ept_root *root, uint64_t generation)
{
	flush(root);
	atomic_store_release(&root->seen[percpu_self()->index], generation);
}

void ept_tlb_part(struct ept_root *root)
{
	struct percpu *cpu = percpu_self();

	CHECK(atomic_load_relaxed(&cpu->guest_root) == NULL);
	if (cpu->joined_root == root) {
		cpu->joined_root = NULL;
		(void)atomic_and(&root->cpus[cpu->index / 64], ~BIT(cpu->index % 64));
	}
}

void ept_tlb_join(struct ept_root *root)
{
	struct percpu *cpu = percpu_self();

	if (cpu->joined_root != NULL) {
		ept_tlb_part(cpu->joined_root);
	}
	cpu->joined_root = root;
	/* LOCK OR is the full barrier between J and C. */
	(void)atomic_or(&root->cpus[cpu->index / 64], BIT(cpu->index % 64));
}

/* May that CPU use translations older than the generation? */
static bool is_behind(const struct ept_root *root, const struct percpu *cpu, uint64_t generation)
{
	return atomic_load_acquire(&cpu->guest_root) == root &&
	       atomic_load_acquire(&root->seen[cpu->index]) < generation;
}

static __attribute__((noinline)) void wait_for(const struct ept_root *root,
					       const struct percpu *cpu, uint64_t generation)
{
	const uint64_t began = waits_begin();

	do {
		__builtin_ia32_pause();
	} while (is_behind(root, cpu, generation));
	waits_end(WAIT_SHOOTDOWN, began);
}

void ept_tlb_shootdown(struct ept_root *root)
{
	/*
	 * LOCK XADD is the full barrier between A, and the changed entries before it, and M and L.
	 */
	uint64_t generation = atomic_add(&root->generation, 1) + 1;
	uint64_t behind[CPU_MAX / 64] = { 0 };

	/*
	 * Kicks all of them before it waits for any. This CPU is in host mode, hence never behind.
	 */
	for (uint32_t word = 0; word < ARRAY_COUNT(behind); word++) {
		uint64_t cpus = atomic_load_acquire(&root->cpus[word]);

		for (; cpus != 0; cpus &= cpus - 1) {
			uint32_t cpu = word * 64 + (uint32_t)__builtin_ctzll(cpus);

			if (is_behind(root, percpu_get(cpu), generation)) {
				behind[word] |= BIT(cpu % 64);
				smp_kick(cpu);
			}
		}
	}
	/*
	 * A CPU that was not behind at the first look will not be: it flushes before it enters the
	 * guest again (seen). So a CPU that leaves the guest only for a moment is not waited for
	 * twice.
	 */
	for (uint32_t word = 0; word < ARRAY_COUNT(behind); word++) {
		for (uint64_t cpus = behind[word]; cpus != 0; cpus &= cpus - 1) {
			const struct percpu *cpu = percpu_get(word * 64 +
							      (uint32_t)__builtin_ctzll(cpus));

			if (is_behind(root, cpu, generation)) {
				wait_for(root, cpu, generation);
			}
		}
	}
}
