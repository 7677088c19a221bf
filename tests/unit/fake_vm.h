/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of devices and exit handlers use of a VM and of VMX. A test may define a function of
 * its own in place of one here.
 */
#ifndef UMBRA_FAKE_VM_H
#define UMBRA_FAKE_VM_H

#include "ept/ept.h"
#include "vmm/vm.h"
#include "vmm/vmx.h"

/* fake_vmx.c: what vmx_caps and ept_caps return, and the questions that vmx.c answers from it. */
extern struct vmx_caps fake_caps;
extern struct ept_caps fake_ept_caps;

/*
 * fake_vm_end.c: vm_end fails the test, except for the VM that fake_vm_may_end has named last. That
 * call clears fake_end_reason and fake_end_detail; vm_end sets them.
 */
void fake_vm_may_end(const struct vm *vm);
extern enum vm_end_reason fake_end_reason;
extern char fake_end_detail[VM_DETAIL_MAX];

/* fake_interrupts.c: how often an interrupt pin rose, and how many messages came. */
extern unsigned fake_pin_rises, fake_messages;

#endif
