/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell on the machine's console, with which a person controls the VMs while they run. Boot
 * processor only, between two time slices.
 */
#ifndef UMBRA_BOOT_SHELL_H
#define UMBRA_BOOT_SHELL_H

#include "boot/boot_info.h"

/* Call once, before shell_poll. boot must stay valid. */
void shell_init(const struct boot_info *boot);

/*
 * Reads what was typed, passes it to the VM in front or to the shell, and runs commands. Never
 * waits.
 */
void shell_poll(void);

/* Runs one command line, and changes line. For shell_poll and tests. */
void shell_run(char *line);

#endif
