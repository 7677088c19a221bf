/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints, for each page cipher that this host can run, how many instructions the product's objects
 * take to encrypt a page, to decrypt one, and to do both in one call, out of and into a frame as
 * the pager does; then the same with tags. The vector registers are as a guest leaves them that
 * never used any.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/page_cipher.h"
#include "tests/unit/steps.h"

#define FIGURES 6 /* three without tags, three with tags */

static struct page_key key;
static struct page_mac_key mac;
static uint8_t frame[4096] __attribute__((aligned(4096)));
static uint8_t store[2][4096] __attribute__((aligned(4096)));

/* All vector state as after a reset; MXCSR has its default. */
static void forget_vectors(void)
{
	static uint8_t area[4096] __attribute__((aligned(64))) = { [24] = 0x80, [25] = 0x1f };

	__asm__ volatile("xrstor64 %0" : : "m"(area), "a"(0xe6), "d"(0));
}

/* What the parent counts: the instructions between the two breakpoints. */
static void count(struct page_job *seal, struct page_job *open)
{
	forget_vectors();
	__asm__ volatile("int3");
	if (!page_exchange(seal, open)) {
		_exit(1);
	}
	__asm__ volatile("int3");
}

static void child(void)
{
	struct page_job seal = { .key = &key, .in = frame, .out = store[0], .scratch = frame };
	struct page_job open = { .key = &key, .in = store[1], .out = frame };
	struct page_job make = {
		.key = &key, .mac = &mac, .in = frame, .out = store[1], .scratch = frame
	};
	uint8_t bytes[64];

	for (unsigned i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)i;
	}
	if (page_key_set(&key, bytes, sizeof(bytes)) != 0 || page_mac_key_set(&mac, bytes) != 0) {
		_exit(1);
	}
	(void)page_exchange(&make, NULL);
	memcpy(open.tag, make.tag, sizeof(open.tag));
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	for (unsigned tagged = 0; tagged < 2; tagged++) {
		seal.mac = open.mac = tagged != 0 ? &mac : NULL;
		count(&seal, NULL);
		count(NULL, &open);
		count(&seal, &open);
	}
	_exit(0);
}

int main(void)
{
	static const char *const ciphers[] = { "mbedtls", "aesni", "vaes256", "vaes512" };

	for (unsigned i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
		long steps[FIGURES];
		int status;
		pid_t pid;

		if (page_cipher_init(ciphers[i]) != 0) {
			continue;
		}
		pid = fork();
		if (pid == 0) {
			child();
		}
		waitpid(pid, &status, 0);
		for (unsigned n = 0; n < FIGURES; n++) {
			if (to_breakpoint(pid, PTRACE_CONT) < 0) {
				fprintf(stderr,
					"this host does not let a process trace its child\n");
				return 1;
			}
			steps[n] = to_breakpoint(pid, PTRACE_SINGLESTEP);
		}
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		printf("%s", ciphers[i]);
		for (unsigned n = 0; n < FIGURES; n++) {
			printf(" %ld", steps[n]);
		}
		printf("\n");
	}
	return 0;
}
