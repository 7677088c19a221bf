/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the race tests: threads that are CPUs, random numbers, and the smallest machine beneath
 * the product's sources. All in race_cpus.c is weak: a test may define its own.
 */
#ifndef UMBRA_TEST_RACE_CPUS_H
#define UMBRA_TEST_RACE_CPUS_H

#include "vmm/base/percpu.h"

#ifndef RACE_CPUS
#define RACE_CPUS 4u
#endif

extern struct percpu race_cpus[RACE_CPUS];
extern bool race_kicked[RACE_CPUS]; /* atomic: smp_kick sets it */
extern uint64_t race_kicks;
extern uint64_t race_messages, race_pins; /* interrupts of guests: messages, changes of a pin */

/* This thread's number, which percpu_self uses. */
extern _Thread_local uint32_t race_self;

/* Prints the sentence after the program's name, and ends the program as failed. */
_Noreturn void race_broken(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* 0 to limit - 1, pseudo-random: the same sequence for each CPU in each run. */
uint32_t race_random(uint32_t limit);

/* Was this CPU kicked since the last call? */
bool race_was_kicked(void);

/* Adds 1; several CPUs may call it at once. */
void race_count(uint64_t *counter);

/*
 * Calls run() on each CPU: on a thread each; CPU 0 is the caller. Returns when all have finished.
 * Ends the program as failed after 600 s, because that is a deadlock.
 */
void race_run(void (*run)(void));

#endif
