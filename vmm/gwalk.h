/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the guest's own page tables in software, for the few exits in which the hypervisor must
 * access memory at a guest-linear address (instruction bytes, string I/O). Follows SDM vol. 3,
 * "Paging": the guest gets the same faults and the same accessed and dirty bits as from its CPU.
 */
#ifndef UMBRA_VMM_GWALK_H
#define UMBRA_VMM_GWALK_H

#include "ept/gmem.h"
#include "vmm/base/types.h"

/* The registers that control the walk. gwalk_mode_read takes them from the current VMCS. */
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

/* The fault for the guest: a #PF, or a #GP(0) for an address that is not canonical. */
struct gwalk_fault {
	uint8_t vector;
	uint32_t error_code;
	uint64_t linear; /* CR2 of a #PF */
};

/*
 * Translates one address. Returns 0, or ERR_NOTFOUND with *fault. Takes the gmem lock for each
 * level.
 */
int gwalk_translate(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear,
		    enum gwalk_access access, gpa_t *out, struct gwalk_fault *fault);

/*
 * As gwalk_translate, and returns the entries that it followed (*count of them, 0 with paging off).
 * While they have the values in notes[] (gmem_holds), the same walk has the same result and sets no
 * bit.
 */
#define GWALK_LEVELS_MAX 5
int gwalk_translate_noted(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear,
			  enum gwalk_access access, gpa_t *out, struct gwalk_fault *fault,
			  struct gmem_expect notes[GWALK_LEVELS_MAX], uint8_t *count);

/*
 * Copies bytes from (GWALK_READ, GWALK_FETCH) or to (GWALK_WRITE) the guest-linear address.
 * Translates every page before the first byte moves. Returns ERR_INVAL for more than PAGE_SIZE
 * bytes, because it crosses at most one page boundary; ERR_NOTFOUND with *fault; ERR_RANGE when a
 * page is not RAM.
 */
int gwalk_copy(struct gmem *gmem, const struct gwalk_mode *mode, uint64_t linear, void *buf,
	       size_t bytes, enum gwalk_access access, struct gwalk_fault *fault);

#endif
