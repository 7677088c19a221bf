/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of vmx.c for vmx_start.c. */
#ifndef UMBRA_VMM_VMX_PRIV_H
#define UMBRA_VMM_VMX_PRIV_H

#include "vmm/flaws.h"
#include "vmm/vmx.h"

/* The part of vmx_choose that depends only on this CPU. */
void vmx_choose_controls(bool keep_debug_registers);
/* Settles the capabilities that depend on the flaws of all CPUs. */
void vmx_settle_flaws(const struct flaw_facts *facts);
/* Is this CPU's IA32_FEATURE_CONTROL unlocked, or does it allow VMX? Logs an error if not. */
bool vmx_feature_control_ok(void);

#endif
