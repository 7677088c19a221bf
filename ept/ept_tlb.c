/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLB shoot-down by generations. No lock: one atomic generation per root, and per CPU a published
 * "I am in the guest with this root" (percpu.guest_root).
 *
 * A CPU that enters does     P: publish root      C: compare generation, INVEPT when behind The
 * CPU that shoots does   A: advance it        L: look who has published
 *
 * Each pair is a store followed by a load of what the other side stores. x86 lets a load pass an
 * older store (SDM vol. 3, "Memory Ordering in P6 and More Recent Processor Families"), so both
 * sides have a full barrier between the two (a locked instruction). Then either C sees the new
 * generation and flushes, or L sees the CPU and kicks it: to miss both, C would come before A and
 * L before P, which with P before C and A before L is a circle.
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

/* True while that CPU may use translations older than the generation. */
static bool is_behind(const struct ept_root *root, const struct percpu *cpu, uint64_t generation)
{
	return __atomic_load_n(&cpu->guest_root, __ATOMIC_ACQUIRE) == root &&
	       __atomic_load_n(&root->seen[cpu->index], __ATOMIC_ACQUIRE) < generation;
}

void ept_tlb_shootdown(struct ept_root *root)
{
	/* LOCK XADD: the full barrier between A (and the changed entries before it) and L. */
	uint64_t generation = __atomic_add_fetch(&root->generation, 1, __ATOMIC_SEQ_CST);
	uint32_t count = percpu_count();

	/*
	 * All are kicked before any is waited for. This CPU is in host mode, hence never behind.
	 */
	for (uint32_t i = 0; i < count; i++) {
		if (is_behind(root, percpu_get(i), generation)) {
			smp_kick(i);
		}
	}
	/*
	 * One that left and came back has flushed (seen), so a CPU that is out only between two
	 * looks is not waited for a second time.
	 */
	for (uint32_t i = 0; i < count; i++) {
		while (is_behind(root, percpu_get(i), generation)) {
			__builtin_ia32_pause();
		}
	}
}
