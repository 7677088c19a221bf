/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's own page tables, walked in software: for the few exits where the hypervisor has to
 * touch memory by a guest-linear address (instruction bytes, string I/O). Follows SDM vol. 3,
 * "Paging": the guest sees the fault, and the accessed and dirty bits, that its CPU would give.
 */
#ifndef UMBRA_VMM_GWALK_H
#define UMBRA_VMM_GWALK_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/* The registers that decide. gwalk_mode_read takes them from the current VMCS. */
struct gwalk_mode {
	uint64_t cr0, cr3, cr4, efer, rflags;
	bool user; /* CPL 3 */
};
void gwalk_mode_read(struct gwalk_mode *mode);

enum gwalk_access {
	GWALK_READ,
	GWALK_WRITE,
	GWALK_FETCH,
};

/* What the guest has to get: a #PF, or a #GP(0) for an address that is not canonical. */
struct gwalk_fault {
	uint8_t vector;
	uint32_t error_code;
	uint64_t linear; /* CR2 of a #PF */
};

/* One address. 0, or ERR_NOTFOUND with *fault filled in. Takes the gmem lock for each level. */
int gwalk_translate(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear,
		    enum gwalk_access access, gpa_t *out, struct gwalk_fault *fault);

/*
 * The same, and the entries it followed (*count of them, none with paging off). While they hold
 * what notes[] say (gmem_holds), the same question has the same answer and sets no bit.
 */
#define GWALK_LEVELS_MAX 5
int gwalk_translate_noted(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear,
			  enum gwalk_access access, gpa_t *out, struct gwalk_fault *fault,
			  struct gmem_expect notes[GWALK_LEVELS_MAX], uint8_t *count);

/*
 * Copies bytes from (GWALK_READ, GWALK_FETCH) or to (GWALK_WRITE) the guest-linear address. Every
 * page is translated before the first byte moves. At most one page boundary may be crossed:
 * ERR_INVAL for more than PAGE_SIZE bytes. ERR_NOTFOUND with *fault; ERR_RANGE when it is no RAM.
 */
int gwalk_copy(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear, void *buf,
	       size_t bytes, enum gwalk_access access, struct gwalk_fault *fault);

#endif
