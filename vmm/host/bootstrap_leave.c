/* SPDX-License-Identifier: Apache-2.0 */
/* The last CPU leaves the hypervisor's own memory when the machine ends. */
#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/bootstrap_priv.h"
#include "vmm/host/idt.h"
#include "vmm/host/keyid_move.h"
#include "vmm/host/page_alloc.h"

/*
 * The image's data is at KeyID 0 again: descriptors, handlers and log work without another KeyID.
 */
static uint64_t leave_here(struct bootstrap *b, uint64_t unused)
{
	keyid_move_back(b);
	b->left = true;
	idt_load_this_cpu(&b->cpu);
	b->next();
	cpu_stop(); /* not reached */
}

static uint64_t pool_written(void)
{
	const struct mem_range written = page_pool_written();

	return written.base.v + written.page_count * PAGE_SIZE;
}

_Noreturn void bootstrap_leave(void (*next)(void))
{
	struct bootstrap *state = bootstrap_state();

	if (state != NULL && state->ready && !state->left) {
		bootstrap_quit_this_cpu();
		state->cpu = *percpu_self();
		state->cpu.tables = state->cpu_tables;
		state->next = next;
		state->move.pool_written = pool_written();
		bootstrap_run(state, bootstrap_main_stack(state), leave_here, 0);
	}
	next();
	cpu_stop(); /* not reached */
}
