/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads a Linux bzImage with initrd and command line into a VM's memory, ready for the 64-bit entry
 * point of the boot protocol (Linux: Documentation/arch/x86/boot.rst). Kernel and initrd come from
 * the stick and are not trusted.
 *
 * Loading runs in steps, so that other VMs need not wait: linux_load_begin, then linux_load_some
 * until it returns 0, then linux_load_finish. linux_load_end may be called at any time. Calls for
 * one load must not overlap; no lock is taken. Any CPU; linux_load_begin and linux_load_end only
 * where page_alloc may be called.
 */
#ifndef UMBRA_GUEST_LINUX_LOAD_H
#define UMBRA_GUEST_LINUX_LOAD_H

#include "ept/gmem.h"
#include "guest/shares.h"
#include "guest/vm_config.h"
#include "vmm/vcpu.h"

struct linux_source {
	const struct vm_file *kernel;
	const struct vm_file *initrd; /* NULL: none. Both files must stay until linux_load_end */
	size_t cmdline_length;
	uint64_t memory_bytes; /* the VM's; gmem has its RAM, as guest/memmap.h describes */
	gpa_t rsdp;
	struct shares_range shares[SHARE_MAX];
	size_t share_count;
};

/* Which file is at fault, and why, as a clause to follow the file's name: "no bzImage: ...". */
struct linux_refusal {
	bool initrd;
	char why[160];
};

struct linux_load;

/*
 * Checks everything about the files that can be wrong, and writes no guest memory. Returns
 * ERR_FORMAT if the kernel is not of a kind that can boot, ERR_RANGE if something does not fit;
 * *refusal then has the reason. Returns ERR_NOMEM if no host page is left. gmem must stay until
 * linux_load_end.
 */
int linux_load_begin(struct gmem *gmem, const struct linux_source *source, struct linux_load **out,
		     struct linux_refusal *refusal);

/*
 * Writes at most the next LINUX_LOAD_STEP bytes of kernel or initrd. Returns ERR_AGAIN if there are
 * more, 0 if both are in place, or an error of gmem_write.
 */
#define LINUX_LOAD_STEP (64u << 10)
int linux_load_some(struct linux_load *load);

/* How much of kernel and initrd is in place, in percent. Any CPU. */
unsigned linux_load_percent(const struct linux_load *load);

/*
 * After kernel and initrd are in place: writes boot_params, command line, GDT, seed and page
 * tables, all below 1 MiB, and fills in *entry for the boot vCPU. cmdline must have the length that
 * linux_source had. seed has LINUX_SEED_BYTES random bytes for the kernel; NULL: none. Returns 0 or
 * an error of gmem_write.
 */
#define LINUX_SEED_BYTES 32
int linux_load_finish(struct linux_load *load, const char *cmdline, const uint8_t *seed,
		      struct vcpu_long_mode *entry);

/* Frees a load. Ignores NULL. */
void linux_load_end(struct linux_load *load);

#endif
