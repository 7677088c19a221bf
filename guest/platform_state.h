/* SPDX-License-Identifier: Apache-2.0 */
/* The state of a VM's platform, to which vm->platform points. Only for guest/. */
#ifndef UMBRA_GUEST_PLATFORM_STATE_H
#define UMBRA_GUEST_PLATFORM_STATE_H

#include "ept/pager.h"
#include "guest/dev/vioapic.h"
#include "guest/dev/virtio_blk.h"
#include "guest/dev/virtio_console.h"
#include "guest/dev/virtio_net.h"
#include "guest/dev/virtio_rng.h"
#include "guest/dev/vlegacy.h"
#include "guest/dev/vpci.h"
#include "guest/dev/vuart.h"
#include "guest/engine_policy.h"
#include "guest/loading.h"
#include "guest/platform.h"
#include "guest/share_config.h"
#include "guest/vconsole.h"
#include "guest/vdev.h"
#include "guest/vm_config.h"
#include "vmm/vm.h"

_Static_assert(VIRTIO_MAX >= 2 + VM_DISKS_MAX + VM_NETS_MAX,
	       "random numbers, console, disks, nets");
_Static_assert(1 + VIRTIO_MAX + SHARE_MAX <= VPCI_DEVICES, "a number on the PCI bus for each");

#define CONFIG_FILE "umbra.conf" /* for messages that name one of its lines */

struct platform {
	struct vm *vm;
	const struct vm_config *config;
	enum platform_memory memory;
	struct pager_vm *pager; /* only with PLATFORM_MEMORY_SEALED */
	keyid_t keyid;		/* the KeyID of the VM's memory */
	enum vm_signature signature;
	char engine[100];      /* the clause of platform_engine_words */
	char memory_name[12];  /* the word of platform_memory_name */
	uint32_t device_count; /* rows of guest/devices.c that were initialised */
	struct vioapic ioapic;
	struct vlegacy legacy;
	struct vuart com1;
	struct vpci pci;
	struct virtio *virtio[VIRTIO_MAX]; /* constant once the VM runs */
	uint32_t virtio_count;
	struct virtio_work virtio_work[VM_VCPU_MAX];
	struct virtio_rng rng;
	struct virtio_console hvc;		/* only used with console = virtio */
	struct virtio_blk *disks[VM_DISKS_MAX]; /* NULL: not configured */
	struct virtio_net *nets[VM_NETS_MAX];	/* likewise */
	struct ivshmem *ivshmem[SHARE_MAX];	/* constant once the VM runs */
	uint32_t ivshmem_count;
	struct vconsole console;
	struct loading loading;
};

/*
 * Set the words and state of a VM's memory: platform_describe_engine as the policy decided,
 * platform_describe_keyid for a VM that has its own KeyID or is parked.
 */
void platform_describe_engine(struct vm *vm, const struct engine_policy *policy);
void platform_describe_keyid(struct vm *vm);

const char *platform_key_word(const struct vm_key_source *key);

static inline struct platform *platform_of(const struct vm *vm)
{
	return vm->platform;
}

#endif
