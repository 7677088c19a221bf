/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included first in each source of a race test (-include). Renames what the host's headers name as
 * well. A thread that spins yields, because there may be fewer real CPUs than threads. With
 * RACE_SPINS = n it yields in every n-th turn only.
 */
#ifndef UMBRA_TEST_RACE_H
#define UMBRA_TEST_RACE_H

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <x86intrin.h> /* uses the builtin for PAUSE, which is renamed below */

static inline void race_pause(void)
{
#ifdef RACE_SPINS
	static _Thread_local unsigned spins;

	if (++spins % RACE_SPINS != 0) {
		_mm_pause();
		return;
	}
#endif
	(void)sched_yield();
}

#define sched_yield	     umbra_sched_yield
#define __builtin_ia32_pause race_pause

#endif
