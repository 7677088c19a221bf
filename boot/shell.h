/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell on the machine's console: what a person does with the VMs while they run. The boot
 * processor alone, between two slices.
 */
#ifndef UMBRA_BOOT_SHELL_H
#define UMBRA_BOOT_SHELL_H

#include "boot/boot_info.h"

/* Once, before shell_poll. boot must stay. */
void shell_init(const struct boot_info *boot);

/* Takes what was typed to the VM in front or to the shell, and runs the commands. Never waits. */
void shell_poll(void);

/* One command line, for shell_poll and for tests. line is changed. */
void shell_run(char *line);

#endif
