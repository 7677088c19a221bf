/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that the shell's loop and its commands share. */
#ifndef UMBRA_BOOT_SHELL_PRIV_H
#define UMBRA_BOOT_SHELL_PRIV_H

#include "boot/vms.h"

struct shell_command;
struct shell_call {
	char *words[3]; /* after the command */
	size_t count;
	const struct vms_entry *vm; /* the VM that the command names, if it is about a VM */
	const struct shell_command *commands; /* all of them, for help */
	size_t command_count;
};

struct shell_command {
	const char *name;
	const char *arguments; /* as help shows the arguments */
	const char *what;
	uint8_t min, max; /* how many words follow the command */
	bool about_vm;	  /* a word names a VM: the last one, unless name_first is set */
	void (*run)(const struct shell_call *call);
	const char *options; /* "--one|--other": options that may come before the name, or NULL */
	bool name_first;     /* for about_vm: the first word names the VM */
};
extern const struct shell_command shell_commands[];
extern const size_t shell_command_count;

/* For commands: returns what firmware reported at boot. */
const struct boot_info *shell_boot(void);

/*
 * Returns the VM of a command, which runs or is kept. Prints a message and returns NULL if it is
 * off.
 */
struct vm *shell_present(const struct shell_call *call);

/* In shell_show.c: the commands that show what the VMs and the machine do. */
void shell_run_vms(const struct shell_call *call);
void shell_run_vm(const struct shell_call *call);
void shell_run_stats(const struct shell_call *call);
void shell_run_top(const struct shell_call *call);
void shell_run_host(const struct shell_call *call);
void shell_run_log(const struct shell_call *call);

/* In shell_help.c: prints the list of commands, or the keys of umbra.conf. */
void shell_run_help(const struct shell_call *call);

/*
 * In shell_size.c. shell_run_size is the command "size": it asks the terminal for the place of the
 * last corner of the screen. shell_take_corner takes the answer, a report of the cursor's place. It
 * ignores reports that the command did not ask for.
 */
void shell_run_size(const struct shell_call *call);
void shell_take_corner(uint32_t row, uint32_t column);

/*
 * In shell_memory.c: the commands about memory. shell_print_key prints a line about the VM's KeyID,
 * if the VM has one.
 */
void shell_run_keys(const struct shell_call *call);
void shell_run_share(const struct shell_call *call);
void shell_run_peek(const struct shell_call *call);
void shell_print_key(const struct vm *vm);
/* Prints how much of the VM's memory the EPT maps, and in leaves of which size. */
void shell_print_leaves(struct vm *vm);

/* Prints a line of at most 237 bytes. */
void shell_print(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Calls step repeatedly until it returns false or a key is pressed. */
void shell_go_live(bool (*step)(void));
#define SHELL_GIVE_UP 0x03 /* Ctrl-C */
/*
 * Shows the prompt, which must stay valid, and gives each byte that is typed to feed, unseen, until
 * it returns false. The escape key is given as SHELL_GIVE_UP, at which feed must return false.
 */
void shell_ask(const char *prompt, bool (*feed)(uint8_t byte));
/* Call when the command has given the console to a VM. */
void shell_leave(void);

/* In shell_terminal.c, for shell.c: what commands have asked for. */
struct shell_state {
	bool active;	    /* the shell has the console */
	bool (*live)(void); /* of a command such as `top`: called until a key is pressed */
	/* Of a command that asks for something: gets each byte until it returns false. */
	bool (*asking)(uint8_t byte);
	const char *asking_prompt;
};
extern struct shell_state shell_state;
void shell_set_active(bool now);

#endif
