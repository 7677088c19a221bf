/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the instructions for one 4 KiB page of AES-256-XTS, in the objects that are linked into
 * the product: a child encrypts and decrypts pages while its parent single-steps it. It guards the
 * compiler flags: without -fbuiltin the count trebles. Exits with 0 when it is within the limit.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/aes_xts.h"
#include "tests/unit/steps.h"

#define LIMIT 45000l

static uint8_t page[4096];
static struct aes_xts_key key;

/* Stops before and after each of the two operations. */
static void child(void)
{
	uint8_t bytes[64], tweak[16] = { 1 };

	for (unsigned i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)i;
	}
	if (aes_xts_set_key(&key, bytes, sizeof(bytes)) != 0) {
		_exit(1);
	}
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	__asm__ volatile("int3");
	aes_xts_encrypt(&key, tweak, page, page, sizeof(page));
	__asm__ volatile("int3");
	aes_xts_decrypt(&key, tweak, page, page, sizeof(page));
	__asm__ volatile("int3");
	_exit(0);
}

int main(void)
{
	long encrypt, decrypt;
	int status;
	pid_t pid;

	if (!aes_has_hardware()) {
		printf("not run: the cost of a page: this host has no AES-NI\n");
		return 0;
	}
	pid = fork();
	if (pid == 0) {
		child();
	}
	waitpid(pid, &status, 0);
	if (to_breakpoint(pid, PTRACE_CONT) < 0) {
		printf("this host does not let a process trace its child\n");
		return 1;
	}
	encrypt = to_breakpoint(pid, PTRACE_SINGLESTEP);
	decrypt = to_breakpoint(pid, PTRACE_SINGLESTEP);
	kill(pid, SIGKILL);
	printf("AES-256-XTS of 4 KiB: %ld instructions to encrypt, %ld to decrypt (limit %ld)\n",
	       encrypt, decrypt, LIMIT);
	if (encrypt < 4096 / 16 || decrypt < 4096 / 16 || encrypt > LIMIT || decrypt > LIMIT) {
		printf("[  FAILED  ] xts_cost\n");
		return 1;
	}
	printf("[  PASSED  ] 1 test(s).\n");
	return 0;
}
