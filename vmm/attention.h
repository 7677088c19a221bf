/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one CPU asks of a vCPU that another CPU runs. The rest of it is public: vcpu_kick, vcpu_nmi,
 * vcpu_init_signal, vcpu_sipi and vcpu_ask_dump (vcpu.h), vm_end (vm.h).
 */
#ifndef UMBRA_VMM_ATTENTION_H
#define UMBRA_VMM_ATTENTION_H

#include "vmm/vcpu.h"

/*
 * As vcpu_kick, and sends the interrupt even if a kick is on its way already. While a VM is paused
 * nobody takes the kicks of its vCPUs, so vcpu_kick, which sends one interrupt for all of them,
 * would send none. Any CPU.
 */
void vcpu_rouse(struct vcpu *vcpu);

/*
 * Ends the VM if no vCPU can run again: each halts with interrupts off or waits for SIPI, and no
 * NMI, INIT or SIPI is on its way. Any CPU, after it stored the state of its own vCPU.
 */
void vm_check_halted(struct vm *vm);

#endif
