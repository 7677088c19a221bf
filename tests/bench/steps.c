/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints, for each page cipher that this host can run, how many instructions the product's objects
 * take to encrypt a page, to decrypt one, and to do both in one call, out of and into a frame as
 * the pager does; with the vector registers as a guest leaves them that never used any.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/page_cipher.h"
#include "tests/unit/steps.h"

static struct page_key key;
static uint8_t frame[4096] __attribute__((aligned(4096)));
static uint8_t store[2][4096] __attribute__((aligned(4096)));

/* All vector state as after a reset; MXCSR has its default. */
static void forget_vectors(void)
{
	static uint8_t area[4096] __attribute__((aligned(64))) = { [24] = 0x80, [25] = 0x1f };

	__asm__ volatile("xrstor64 %0" : : "m"(area), "a"(0xe6), "d"(0));
}

static void child(void)
{
	struct page_item seal = { frame, store[0], { 1 } }, open = { store[1], frame, { 2 } };
	uint8_t bytes[64];

	for (unsigned i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)i;
	}
	if (page_key_set(&key, bytes, sizeof(bytes)) != 0) {
		_exit(1);
	}
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	forget_vectors();
	__asm__ volatile("int3");
	page_encrypt(&key, &seal, 1);
	__asm__ volatile("int3");
	forget_vectors();
	__asm__ volatile("int3");
	page_decrypt(&key, &open, 1);
	__asm__ volatile("int3");
	forget_vectors();
	__asm__ volatile("int3");
	page_exchange(&key, &seal, &key, &open);
	__asm__ volatile("int3");
	_exit(0);
}

int main(void)
{
	static const char *const ciphers[] = { "mbedtls", "aesni", "vaes256", "vaes512" };

	for (unsigned i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
		long steps[3];
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
		for (unsigned n = 0; n < 3; n++) {
			if (to_breakpoint(pid, PTRACE_CONT) < 0) {
				fprintf(stderr,
					"this host does not let a process trace its child\n");
				return 1;
			}
			steps[n] = to_breakpoint(pid, PTRACE_SINGLESTEP);
		}
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		printf("%s %ld %ld %ld\n", ciphers[i], steps[0], steps[1], steps[2]);
	}
	return 0;
}
