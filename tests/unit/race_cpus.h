/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the race tests share: threads that are CPUs, chance, and the smallest machine beneath the
 * product's sources. All in race_cpus.c is weak: a test that has a better one just defines it.
 */
#ifndef UMBRA_TEST_RACE_CPUS_H
#define UMBRA_TEST_RACE_CPUS_H

#include "vmm/base/percpu.h"

#define RACE_CPUS 4u

extern struct percpu race_cpus[RACE_CPUS];
extern bool race_kicked[RACE_CPUS]; /* atomic: smp_kick sets it */
extern uint64_t race_kicks;

/* This thread's number; percpu_self is by it. */
extern _Thread_local uint32_t race_self;

/* Prints the sentence behind the program's name, and ends the program as failed. */
_Noreturn void race_broken(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* 0 to limit - 1, by chance: the same ones for each CPU in each run. */
uint32_t race_random(uint32_t limit);

/* Whether this CPU was kicked since the last look. */
bool race_was_kicked(void);

/* Counts from several CPUs. */
void race_count(uint64_t *counter);

/*
 * Runs run() on each CPU: a thread, CPU 0 is the caller's. Returns when all have. Ends the program
 * as failed after 200 s: a deadlock.
 */
void race_run(void (*run)(void));

#endif
