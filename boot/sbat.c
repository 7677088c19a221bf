/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The section .sbat of the PE file: shim's "Secure Boot Advanced Targeting", a table in CSV. It
 * lets a loader refuse generations of a program that have a known hole, without a list of their
 * hashes. Each such hole found in Umbra raises the generation of umbra.
 */
#include "vmm/base/types.h"

#define SBAT_SELF "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n"
#define SBAT_OURS "umbra,1,Umbra,umbra," UMBRA_VERSION ",README.md of its source\n"

static const char sbat[] __attribute__((section(".sbat"), used)) = SBAT_SELF SBAT_OURS;
