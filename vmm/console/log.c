/* SPDX-License-Identifier: Apache-2.0 */
/* Formats log lines. console.c stores and shows them, under its lock. */
#include "vmm/console/log.h"

#include <stdarg.h>

#include "vmm/base/atomic.h"
#include "vmm/base/str.h"
#include "vmm/console/console.h"

#define LINE_MAX 240

/* Written once, by the boot processor, after it has read the configuration. */
static enum log_level max_level = LOG_INFO;

/* Atomic, because other CPUs log at the same time. */
static ATOMIC(enum log_level) shown_level = { LOG_ERROR };

static const char *const prefixes[] = {
	[LOG_ERROR] = "umbra: error: ",
	[LOG_WARN] = "umbra: warning: ",
	[LOG_INFO] = "umbra: ",
	[LOG_DEBUG] = "umbra: debug: ",
};

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_show(enum log_level level)
{
	atomic_store_relaxed(&shown_level, level);
}

void log_printf(enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX + 1];
	size_t bytes;
	va_list args;

	if (level > max_level && level > atomic_load_relaxed(&shown_level)) {
		return;
	}
	bytes = str_printf(line, sizeof(line), "%s", prefixes[level]);
	va_start(args, fmt);
	bytes += str_vprintf(line + bytes, sizeof(line) - bytes, fmt, args);
	va_end(args);

	console_write_line(line, bytes);
}
