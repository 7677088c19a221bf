/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a Linux bzImage with initrd and command line into a VM's memory, ready for the 64-bit entry
 * of the boot protocol (Linux: Documentation/arch/x86/boot.rst). Kernel and initrd come from the
 * stick and may hold anything.
 */
#ifndef UMBRA_GUEST_LINUX_LOAD_H
#define UMBRA_GUEST_LINUX_LOAD_H

#include "ept/gmem.h"
#include "guest/shares.h"
#include "guest/vm_config.h"
#include "vmm/vcpu.h"

struct linux_source {
	const struct vm_file *kernel;
	const struct vm_file *initrd; /* NULL: none */
	const char *cmdline;
	uint64_t
		memory_bytes; /* of the VM; its RAM has been added to gmem as guest/memmap.h says */
	gpa_t rsdp;
	struct shares_range shares[SHARE_MAX];
	size_t share_count;
	const uint8_t *seed; /* LINUX_SEED_BYTES of random numbers for the kernel; NULL: none */
};
#define LINUX_SEED_BYTES 32

/* Which file is at fault, and a clause for people that goes behind its name: "no bzImage: ...". */
struct linux_refusal {
	bool initrd;
	char why[160];
};

/*
 * Fills entry for the boot vCPU. On ERR_FORMAT (no kernel of the kind we boot), ERR_RANGE (does
 * not fit) or what gmem_write returned, refusal says why; guest memory may then hold part of it.
 */
int linux_load(struct gmem *gmem, const struct linux_source *source, struct vcpu_long_mode *entry,
	       struct linux_refusal *refusal);

#endif
