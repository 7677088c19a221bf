/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLB shoot-down by generations. No lock: one atomic generation per root, per CPU a published "I am
 * in the guest with this root" (percpu.guest_root), and per root a mask of the CPUs that may
 * publish it, so that a shoot-down reads the lines of those alone.
 *
 * A CPU that enters does   J: join the mask      P: publish root
 *                          C: compare generation, INVEPT when behind
 * The CPU that shoots does A: advance it         M: read the mask
 *                          L: look who of the mask has published
 *
 * J and P come before C, and A before M and L: each is a store followed by a load of what the other
 * side stores. x86 lets a load pass an older store (SDM vol. 3, "Memory Ordering in P6 and More
 * Recent Processor Families"), so both sides have a full barrier between the two (a locked
 * instruction). Then either C sees the new generation and flushes, or M and L see the CPU and kick
 * it: to miss it, C would come before A, and M before J or L before P, which with J and P before C
 * and A before M and L is a circle.
 *
 * J is done once, not at each entry: nobody else takes a CPU's bit out of a mask. The CPU itself
 * does before it joins another, or when a vCPU leaves it, always in host mode; so whoever is in
 * the guest is in the mask.
 */
#include "ept/ept_tlb.h"
#include "ept/ept.h"
#include "ept/invept_priv.h"
#include "vmm/base/panic.h"
#include "vmm/base/smp.h"

static void flush(const struct ept_root *root)
{
	bool ok = ept_caps()->invept_single ? invept(INVEPT_SINGLE, root->eptp)
					    : invept(INVEPT_ALL, 0);

	CHECK(ok);
}

/*
 * The generation is from before the flush: an advance in between leaves us behind, and its sender
 * has seen us in guest_root, so that its kick ends this entry at once.
 */
void ept_tlb_catch_up(struct ept_root *root, uint64_t generation)
{
	flush(root);
	__atomic_store_n(&root->seen[percpu_self()->index], generation, __ATOMIC_RELEASE);
}

void ept_tlb_part(struct ept_root *root)
{
	struct percpu *cpu = percpu_self();

	CHECK(cpu->guest_root == NULL);
	if (cpu->joined_root == root) {
		cpu->joined_root = NULL;
		__atomic_and_fetch(&root->cpus[cpu->index / 64], ~BIT(cpu->index % 64),
				   __ATOMIC_SEQ_CST);
	}
}

void ept_tlb_join(struct ept_root *root)
{
	struct percpu *cpu = percpu_self();

	if (cpu->joined_root != NULL) {
		ept_tlb_part(cpu->joined_root);
	}
	cpu->joined_root = root;
	/* LOCK OR: the full barrier between J and C. */
	__atomic_or_fetch(&root->cpus[cpu->index / 64], BIT(cpu->index % 64), __ATOMIC_SEQ_CST);
}

/* True while that CPU may use translations older than the generation. */
static bool is_behind(const struct ept_root *root, const struct percpu *cpu, uint64_t generation)
{
	return __atomic_load_n(&cpu->guest_root, __ATOMIC_ACQUIRE) == root &&
	       __atomic_load_n(&root->seen[cpu->index], __ATOMIC_ACQUIRE) < generation;
}

void ept_tlb_shootdown(struct ept_root *root)
{
	/* LOCK XADD: the full barrier between A (and the changed entries before it) and M, L. */
	uint64_t generation = __atomic_add_fetch(&root->generation, 1, __ATOMIC_SEQ_CST);
	uint64_t behind[CPU_MAX / 64] = { 0 };

	/*
	 * All are kicked before any is waited for. This CPU is in host mode, hence never behind.
	 */
	for (uint32_t word = 0; word < ARRAY_COUNT(behind); word++) {
		uint64_t cpus = __atomic_load_n(&root->cpus[word], __ATOMIC_ACQUIRE);

		for (; cpus != 0; cpus &= cpus - 1) {
			uint32_t cpu = word * 64 + (uint32_t)__builtin_ctzll(cpus);

			if (is_behind(root, percpu_get(cpu), generation)) {
				behind[word] |= BIT(cpu % 64);
				smp_kick(cpu);
			}
		}
	}
	/*
	 * Who was not behind at the look will not be: it flushes before it is inside again (seen).
	 * So a CPU that is out only between two looks is not waited for a second time either.
	 */
	for (uint32_t word = 0; word < ARRAY_COUNT(behind); word++) {
		for (uint64_t cpus = behind[word]; cpus != 0; cpus &= cpus - 1) {
			const struct percpu *cpu = percpu_get(word * 64 +
							      (uint32_t)__builtin_ctzll(cpus));

			while (is_behind(root, cpu, generation)) {
				__builtin_ia32_pause();
			}
		}
	}
}
