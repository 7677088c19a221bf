/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys that a person opens with a passphrase, while other VMs run already. What is typed is not
 * shown, is in no history, and is wiped when the check begins. Boot processor only.
 */
#ifndef UMBRA_BOOT_UNLOCK_H
#define UMBRA_BOOT_UNLOCK_H

#include "boot/config.h"

/*
 * Before VMs start: logs that a serial line is in clear, if a key is locked. Without the shell
 * nobody can type a passphrase, so that VMs with a locked key are left out, which is logged.
 */
void unlock_start(struct config *config);

/*
 * Begins to ask for the passphrase of a VM. Returns false, and says why, if its key is not locked
 * or if a passphrase is being checked. say prints a line for the person.
 */
bool unlock_ask(const struct vm_config *vm, void (*say)(const char *fmt, ...));
/* What stands before the passphrase. Valid while unlock_feed wants more. */
const char *unlock_prompt(void);
/*
 * Takes one byte from the terminal. Returns true while it wants more. At Return it begins the
 * check. Ctrl-C and Ctrl-D give up. Other control characters, and keys that a terminal sends as an
 * escape sequence, do nothing.
 */
bool unlock_feed(uint8_t byte);

/*
 * Ends a check that is done, and logs its result. If the passphrase was right, the VM's key is open
 * until the machine ends. Call between time slices.
 */
void unlock_poll(void);

#endif
