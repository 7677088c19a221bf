/* SPDX-License-Identifier: Apache-2.0 */
/* What Linux reads in front of a share to make a DAX device of it. */
#ifndef UMBRA_GUEST_SHARE_DAX_H
#define UMBRA_GUEST_SHARE_DAX_H

#include "ept/gmem.h"

struct pager_vm;

/* The size of the head in front of the share's pages. */
#define SHARE_DAX_HEAD SIZE_2M

/*
 * Adds a head at `base`, in front of a share of so many bytes. The head is memory of this member
 * alone, sealed if `pager` is not NULL. Returns 0, or the error of gmem_add_ram_plain,
 * gmem_add_ram_sealed or gmem_write. While the VM is built.
 */
int share_dax_add_head(struct gmem *gmem, struct pager_vm *pager, gpa_t base, uint64_t bytes);

#endif
