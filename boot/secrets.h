/* SPDX-License-Identifier: Apache-2.0 */
/* What the stick gave that must not stay in clear: key files, initrds, command lines. */
#ifndef UMBRA_BOOT_SECRETS_H
#define UMBRA_BOOT_SECRETS_H

#include "boot/config.h"

/*
 * Makes VM_SECRET_BYTES of each key file's content, in its place: the file's own bytes are nowhere
 * any more. A VM whose secret cannot be made is left out, and the log says why. Boot processor,
 * after wipe_init and the self-test, once.
 */
void secrets_derive(struct config *config);

/*
 * Seals in place (guest/vm_file.h) what VMs with an engine have of the stick: kernels, initrds and
 * command lines; and wipes what VMs that are left out have of it, unless another one needs it,
 * too. Without random numbers nothing is sealed, no VM with an engine starts, and theirs is wiped
 * as well. Boot processor, before the others run, once.
 */
void secrets_seal(struct config *config);

#endif
