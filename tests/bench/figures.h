/* SPDX-License-Identifier: Apache-2.0 */
/* What the page bench measured, and what is made of it. */
#ifndef UMBRA_TESTS_BENCH_FIGURES_H
#define UMBRA_TESTS_BENCH_FIGURES_H

#define ROUNDS_MAX 2001u

enum competitors {
	MBEDTLS,
	AESNI,
	VAES256,
	VAES512,
	OPENSSL30,
	OPENSSL35,
	XOR,
	XOR_AHEAD,
	XOR_L2,
	MEMCPY,
	COMPETITORS
};

enum cases {
	HOT,
	COLD,
	PAIR,
	WINDOW_PAIR,
	RANDOM8,
	RANDOM64,
	ADJACENT8,
	ADJACENT64,
	MOVED64,
	CASES
};

const char *case_name(enum cases which);
const char *competitor_name(enum competitors which);

/* Sorts. */
double median_of(double *values, unsigned count);

/* Nanoseconds in a round; who gets no figure is not on this host. */
void figure_add(enum cases test, enum competitors who, unsigned round, double nanoseconds);

/* Nanoseconds when others were quiet, then each kernel's speed as a ratio to everybody's. */
void print_figures(unsigned rounds);
/* The "must" and "good" columns: what is met, how far it is. */
void print_goals(void);
void print_bracket(const char *registers, double nanoseconds);
/* How many musts were missed, of all that were printed. */
void print_verdict(void);

#endif
