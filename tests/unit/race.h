/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included first in each source of a race test (-include). The host has its own sched_yield. A
 * thread that spins yields, because there may be fewer real CPUs than threads; with RACE_SPINS only
 * each so many times.
 */
#ifndef UMBRA_TEST_RACE_H
#define UMBRA_TEST_RACE_H

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <x86intrin.h> /* before its name for PAUSE means another thing */

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
