/* SPDX-License-Identifier: Apache-2.0 */
/* What the shell's commands use: their output, and what they ask of the loop in shell.c. */
#include "boot/shell.h"
#include "boot/shell_priv.h"
#include "vmm/base/str.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"

struct shell_state shell_state;
static const struct boot_info *boot;

void shell_init(const struct boot_info *info)
{
	boot = info;
}

const struct boot_info *shell_boot(void)
{
	return boot;
}

void shell_print(const char *fmt, ...)
{
	char text[240];
	__builtin_va_list args;
	size_t used;

	__builtin_va_start(args, fmt);
	used = str_vprintf(text, sizeof(text) - 2, fmt, args);
	__builtin_va_end(args);
	used = MIN(used, sizeof(text) - 3);
	text[used] = '\r';
	text[used + 1] = '\n';
	console_write(text, used + 2);
}

void shell_go_live(bool (*step)(void))
{
	shell_state.live = step;
}

void shell_ask(const char *prompt, bool (*feed)(uint8_t byte))
{
	shell_state.asking = feed;
	shell_state.asking_prompt = prompt;
}

/*
 * While the shell is active the log shows at least "info", because answers of some commands are
 * lines of the log and [host] log may have muted them.
 */
void shell_set_active(bool now)
{
	shell_state.active = now;
	log_show(now ? LOG_INFO : LOG_ERROR);
}

void shell_leave(void)
{
	shell_set_active(false);
}

struct vm *shell_present(const struct shell_call *call)
{
	if (call->vm->vm == NULL) {
		shell_print("vm %s is off; \"start %s\" starts it", call->vm->config->name,
			    call->vm->config->name);
	}
	return call->vm->vm;
}
