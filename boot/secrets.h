/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came from the stick and must not stay in clear: key files, kernels, initrds, disk images and
 * command lines.
 */
#ifndef UMBRA_BOOT_SECRETS_H
#define UMBRA_BOOT_SECRETS_H

#include "boot/config.h"

/*
 * Replaces the content of each key file by a derived secret of VM_SECRET_BYTES, in place, so that
 * the file's own bytes are gone. A VM or share whose secret cannot be derived is left out, which is
 * logged. Boot processor, once, after the self-test.
 */
void secrets_derive(struct config *config);

/*
 * Encrypts in place the kernels, initrds, disk images and command lines of VMs with an engine
 * (guest/vm_file.h). Wipes those of VMs that are left out, except files that another VM needs.
 * Without random numbers nothing is sealed and no VM with an engine starts, so their files are
 * wiped as well. Boot processor, once, before other CPUs run. cpus: at least the number of CPUs
 * that will run.
 */
void secrets_seal(struct config *config, uint32_t cpus);

#endif
