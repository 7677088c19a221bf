/* SPDX-License-Identifier: Apache-2.0 */
/* Counts instructions of a child process by single-stepping it from one INT3 to the next. */
#ifndef UMBRA_TESTS_UNIT_STEPS_H
#define UMBRA_TESTS_UNIT_STEPS_H

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>

/*
 * Runs to the next INT3, in single steps or at full speed. Returns the steps, or -1 when the child
 * has ended.
 */
static inline long to_breakpoint(pid_t pid, int request)
{
	siginfo_t info;
	long steps = 0;
	int status;

	for (;;) {
		if (ptrace(request, pid, NULL, NULL) != 0 || waitpid(pid, &status, 0) != pid ||
		    !WIFSTOPPED(status)) {
			return -1;
		}
		if (WSTOPSIG(status) != SIGTRAP ||
		    ptrace(PTRACE_GETSIGINFO, pid, NULL, &info) != 0) {
			return -1;
		}
		steps++;
		if (info.si_code == SI_KERNEL) {
			return steps;
		}
	}
}

#endif
