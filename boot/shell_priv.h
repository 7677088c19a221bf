/* SPDX-License-Identifier: Apache-2.0 */
/* Between the shell's loop and its commands. */
#ifndef UMBRA_BOOT_SHELL_PRIV_H
#define UMBRA_BOOT_SHELL_PRIV_H

#include "boot/vms.h"

struct shell_call {
	char *words[3]; /* behind the command */
	size_t count;
	const struct vms_entry *vm; /* of the last word, where the command is about a VM */
};

struct shell_command {
	const char *name;
	const char *arguments; /* as help shows them */
	const char *what;
	uint8_t min, max; /* words behind it */
	bool about_vm;	  /* the last of them names a VM */
	void (*run)(const struct shell_call *call);
	const char *options; /* "--one|--other": what may stand before the name, or NULL */
	bool name_first;     /* it is the first word that names a VM */
};
extern const struct shell_command shell_commands[];
extern const size_t shell_command_count;
/* Whatever the case; NULL: there is none of this name. */
const struct shell_command *shell_find(const char *name);

/* What firmware reported; for commands. */
const struct boot_info *shell_boot(void);

/* shell_help.c: the list of commands, and the keys of umbra.conf. */
void shell_run_help(const struct shell_call *call);

/* shell_memory.c: the commands on memory; and a line on the VM's KeyID, if it has one. */
void shell_run_keys(const struct shell_call *call);
void shell_run_share(const struct shell_call *call);
void shell_run_peek(const struct shell_call *call);
void shell_print_key(const struct vm *vm);
/* How much of its memory the EPT maps, and in leaves of what size. */
void shell_print_leaves(struct vm *vm);

/* A line of at most 237 bytes. */
void shell_print(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Calls step now and then until it returns false or a key is pressed. */
void shell_go_live(bool (*step)(void));
/* The command has given the console to a VM. */
void shell_leave(void);

#endif
