/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a Linux bzImage with initrd and command line into a VM's memory, ready for the 64-bit entry
 * of the boot protocol (Linux: Documentation/arch/x86/boot.rst). Kernel and initrd come from the
 * stick and may hold anything.
 *
 * In steps, for other VMs wait meanwhile: linux_load_begin, linux_load_some until it is over,
 * linux_load_finish; linux_load_end at any time. No lock is held, and no two calls of one load are
 * made at once. Any CPU; linux_load_begin and linux_load_end: who may call page_alloc.
 */
#ifndef UMBRA_GUEST_LINUX_LOAD_H
#define UMBRA_GUEST_LINUX_LOAD_H

#include "ept/gmem.h"
#include "guest/shares.h"
#include "guest/vm_config.h"
#include "vmm/vcpu.h"

struct linux_source {
	const struct vm_file *kernel;
	const struct vm_file *initrd; /* NULL: none. Both stay until linux_load_end */
	size_t cmdline_length;
	uint64_t
		memory_bytes; /* of the VM; its RAM has been added to gmem as guest/memmap.h says */
	gpa_t rsdp;
	struct shares_range shares[SHARE_MAX];
	size_t share_count;
};

/* Which file is at fault, and a clause for people that goes behind its name: "no bzImage: ...". */
struct linux_refusal {
	bool initrd;
	char why[160];
};

struct linux_load;

/*
 * Checks all that can be wrong with the files; writes nothing. ERR_FORMAT (no kernel of the kind we
 * boot), ERR_RANGE (does not fit): refusal says why. ERR_NOMEM: no host page is left. gmem stays
 * until linux_load_end.
 */
int linux_load_begin(struct gmem *gmem, const struct linux_source *source, struct linux_load **out,
		     struct linux_refusal *refusal);

/*
 * Writes the next LINUX_LOAD_STEP bytes of kernel or initrd at most. ERR_AGAIN: there are more. 0:
 * they are in place. Else what gmem_write returned.
 */
#define LINUX_LOAD_STEP (64u << 10)
int linux_load_some(struct linux_load *load);

/* How much of kernel and initrd is in place, of 100. A moment's reading, from any CPU. */
unsigned linux_load_percent(const struct linux_load *load);

/*
 * When both are: the small things, each below 1 MiB, and entry for the boot vCPU. cmdline has the
 * length that was given at first. seed: LINUX_SEED_BYTES of random numbers for the kernel; NULL:
 * none. What gmem_write returned.
 */
#define LINUX_SEED_BYTES 32
int linux_load_finish(struct linux_load *load, const char *cmdline, const uint8_t *seed,
		      struct vcpu_long_mode *entry);

/* NULL is ignored. */
void linux_load_end(struct linux_load *load);

#endif
