/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double figures[CASES][COMPETITORS][ROUNDS_MAX];
static unsigned rounds; /* of each that is present */
static unsigned musts, missed;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median_of(double *values, unsigned count)
{
	qsort(values, count, sizeof(values[0]), by_value);
	return values[count / 2];
}

void figure_add(enum cases test, enum competitors who, unsigned round, double nanoseconds)
{
	figures[test][who][round] = nanoseconds;
}

static int present(enum cases test, enum competitors who)
{
	return figures[test][who][0] > 0;
}

/*
 * The nanoseconds when nothing else uses the core or the bus: the fastest tenth of all rounds.
 * Other work on the same core halves the speed of a cipher that keeps the core busy, and does not
 * slow one that waits for memory.
 */
static double quiet(enum cases test, enum competitors who)
{
	double values[ROUNDS_MAX];

	memcpy(values, figures[test][who], rounds * sizeof(values[0]));
	qsort(values, rounds, sizeof(values[0]), by_value);
	return values[rounds / 10];
}

/* How many times as fast as `theirs` is `ours`? */
static double ratio(enum cases test, enum competitors ours, enum competitors theirs)
{
	return quiet(test, theirs) / quiet(test, ours);
}

/* The same ratio within single rounds, busy rounds included: its quartiles. */
static void spread(enum cases test, enum competitors ours, enum competitors theirs, double *low,
		   double *high)
{
	double values[ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++) {
		values[i] = figures[test][theirs][i] / figures[test][ours][i];
	}
	qsort(values, rounds, sizeof(values[0]), by_value);
	*low = values[rounds / 4];
	*high = values[rounds * 3 / 4];
}

static void print_head(const char *title)
{
	printf("\n%s\n%-22s", title, "");
	for (unsigned c = 0; c < COMPETITORS; c++) {
		printf(" %8s", competitor_name(c));
	}
	printf("\n");
}

void print_figures(unsigned count)
{
	rounds = count;
	print_head("Nanoseconds per page (of pairs: per pair), fastest tenth of rounds");
	for (unsigned t = 0; t < CASES; t++) {
		if (!present(t, MBEDTLS)) {
			continue;
		}
		printf("%-22s", case_name(t));
		for (unsigned c = 0; c < COMPETITORS; c++) {
			present(t, c) ? printf(" %8.0f", quiet(t, c)) : printf(" %8s", "-");
		}
		printf("\n");
	}
	print_head("Times as fast as");
	for (unsigned t = 0; t < CASES; t++) {
		for (unsigned ours = AESNI; ours <= VAES512; ours++) {
			if (!present(t, ours)) {
				continue;
			}
			printf("%-13s %-8s", case_name(t), competitor_name(ours));
			for (unsigned c = 0; c < COMPETITORS; c++) {
				present(t, c) ? printf(" %8.2f", ratio(t, ours, c))
					      : printf(" %8s", "-");
			}
			printf("\n");
		}
	}
}

static const char *verdict(int met)
{
	musts++;
	missed += !met;
	return met ? "met" : "MISSED";
}

static void goal(enum cases test, enum competitors ours, enum competitors theirs, double must,
		 double good)
{
	double times, low, high;

	if (!present(test, ours) || !present(test, theirs)) {
		return;
	}
	times = ratio(test, ours, theirs);
	spread(test, ours, theirs, &low, &high);
	printf("%-12s %-8s %6.2f times %-8s (%5.2f-%5.2f)  must %5.2f %-6s  good %5.2f %+4.0f %%\n",
	       case_name(test), competitor_name(ours), times, competitor_name(theirs), low, high,
	       must, verdict(times >= must), good, 100 * (times / good - 1));
}

/* The faster of the two passes that invert pages. */
static enum competitors best_xor(enum cases test)
{
	return quiet(test, XOR) < quiet(test, XOR_AHEAD) ? XOR : XOR_AHEAD;
}

void print_goals(void)
{
	printf("\nGoals: speed as a ratio, quiet rounds (and quartiles of all rounds)\n");
	for (unsigned v = VAES256; v <= VAES512; v++) {
		goal(HOT, v, MBEDTLS, 12, 16);
		goal(HOT, v, OPENSSL30, 1.5, 2.0);
		goal(HOT, v, OPENSSL35, 0.7, 0.95);
		goal(PAIR, v, MBEDTLS, 6, 8);
		goal(PAIR, v, OPENSSL35, 1.0, 1.25);
		goal(PAIR, v, XOR, 1 / 1.6, 1 / 1.2);
		goal(RANDOM8, v, best_xor(RANDOM8), 0.6, 0.8);
		goal(RANDOM8, v, MEMCPY, 0.8, 1.1);
		goal(RANDOM64, v, best_xor(RANDOM64), 0.6, 0.8);
		goal(RANDOM64, v, MEMCPY, 0.8, 1.1);
		goal(ADJACENT64, v, best_xor(ADJACENT64), 0.75, 0.9);
		goal(MOVED64, v, MEMCPY, 1.0, 1.3);
	}
	goal(HOT, AESNI, MBEDTLS, 5, 7);
	goal(HOT, AESNI, OPENSSL30, 0.7, 0.95);
	goal(PAIR, AESNI, MBEDTLS, 4, 5.3);
	goal(PAIR, AESNI, OPENSSL30, 1.0, 1.15);
}

void print_bracket(const char *registers, double nanoseconds)
{
	printf("save and restore of %s: %.1f ns  must 40 %s  good 10 %+.0f %%\n", registers,
	       nanoseconds, verdict(nanoseconds < 40), 100 * (nanoseconds / 10 - 1));
}

void print_verdict(void)
{
	if (missed != 0) {
		printf("%u of %u musts MISSED\n", missed, musts);
	} else {
		printf("all %u musts met\n", musts);
	}
}
