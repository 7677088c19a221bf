/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM's platform is made of; vm->platform points to it. For guest/ alone. */
#ifndef UMBRA_GUEST_PLATFORM_PRIV_H
#define UMBRA_GUEST_PLATFORM_PRIV_H

#include "ept/pager.h"
#include "guest/dev/vioapic.h"
#include "guest/dev/vlegacy.h"
#include "guest/dev/vpci.h"
#include "guest/dev/vuart.h"
#include "guest/vconsole.h"
#include "guest/vm_config.h"
#include "vmm/vm.h"

struct platform {
	struct vm *vm;
	struct pager_vm *pager; /* NULL: the memory is in clear */
	enum vm_signature signature;
	char engine[100]; /* who encrypts the memory, by what, under which key: for people */
	struct vioapic ioapic;
	struct vlegacy legacy;
	struct vuart com1;
	struct vpci pci;
	struct vconsole console;
};

static inline struct platform *platform_of(const struct vm *vm)
{
	return vm->platform;
}

#endif
