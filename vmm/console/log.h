/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor's log. Every line goes into a ring in memory and to every console that is attached
 * (console.h). Any CPU may call at any time, also with interrupts off; lines do not interleave.
 * Keys and whatever was derived from them never go into a log.
 */
#ifndef UMBRA_CONSOLE_LOG_H
#define UMBRA_CONSOLE_LOG_H

#include "vmm/base/types.h"

enum log_level {
	LOG_ERROR, /* the user must act: something that was asked for will not happen */
	LOG_WARN,  /* something is weaker or slower than the user may think */
	LOG_INFO,  /* what happens during the boot */
	LOG_DEBUG, /* for developers; off unless [host] log = debug */
};

/*
 * Logs one line; pass it without a newline. A line longer than 240 bytes is cut. Takes the console
 * lock.
 */
void log_printf(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Lines above this level are dropped. LOG_INFO at start. */
void log_set_level(enum log_level level);
/*
 * Logs lines up to this level even if log_set_level drops them. The shell uses it while a user
 * asks. LOG_ERROR at start.
 */
void log_show(enum log_level level);

#define log_error(...) log_printf(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_printf(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_printf(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_printf(LOG_DEBUG, __VA_ARGS__)

#endif
