/* SPDX-License-Identifier: Apache-2.0 */
/* What vmx_start.c needs of vmx.c. */
#ifndef UMBRA_VMM_VMX_PRIV_H
#define UMBRA_VMM_VMX_PRIV_H

#include "vmm/flaws.h"
#include "vmm/vmx.h"

/* The part of vmx_choose that knows this CPU alone. */
void vmx_choose_controls(void);
/* Settles the capabilities that depend on the flaws of all CPUs. */
void vmx_settle_flaws(const struct flaw_facts *facts);
/* This CPU: IA32_FEATURE_CONTROL allows VMX, or is open. Else that is logged. */
bool vmx_feature_control_ok(void);

#endif
