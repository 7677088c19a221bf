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

/* Returns the median; sorts the values. */
double median_of(double *values, unsigned count);

/* Notes the nanoseconds of a round. A competitor without figures does not exist on this host. */
void figure_add(enum cases test, enum competitors who, unsigned round, double nanoseconds);

/*
 * Prints each figure as the fastest tenth of rounds, when the host was quiet; then the speed of
 * each of the product's ciphers relative to every competitor.
 */
void print_figures(unsigned rounds);
/* Prints for each goal whether its "must" is met, and how far the figure is from "good". */
void print_goals(void);
void print_bracket(const char *registers, double nanoseconds);
/* Prints how many of the printed "must" goals were missed. */
void print_verdict(void);

#endif
