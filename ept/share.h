/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that several VMs see: a region whose frames belong to a group. It lies under the group's
 * own KeyID of TME-MK, under KeyID 0, or sealed by the software engine under the group's key. Each
 * member has it in its own EPT, for reading and writing or for reading alone.
 *
 * Boot processor alone, but for what runs in a member's faults.
 */
#ifndef UMBRA_EPT_SHARE_H
#define UMBRA_EPT_SHARE_H

#include "ept/gmem.h"
#include "ept/pager.h"

struct share;

/*
 * Frames under a KeyID that keyslot_take has handed out, or under KeyID 0. The share counts as a
 * user of it. All pages read as zero. ERR_NOMEM; ERR_AGAIN as gmem_add_ram_plain.
 */
int share_create_resident(uint64_t bytes, keyid_t keyid, struct share **out);

/*
 * Sealed, in the account of a pager_vm that is created for it alone, with one vCPU more than all
 * members together have. The share owns it from here on. ERR_NOMEM.
 */
int share_create_sealed(uint64_t bytes, struct pager_vm *pager, struct share **out);

/*
 * The share has no members. Its content is lost: the KeyID retires (ept/retire.h), or the key is
 * wiped.
 */
void share_destroy(struct share *share);

uint32_t share_member_count(const struct share *share);

/* The KeyID; 0 where it is sealed, or lies under KeyID 0. */
keyid_t share_keyid(const struct share *share);

/*
 * A VM that is being built becomes a member: the share appears at base, which is 2 MiB-aligned.
 * first_hold: the vCPUs of the members before it. It leaves by share_revoke, or with gmem_destroy.
 * ERR_NOMEM; ERR_EXISTS (something is there), ERR_INVAL.
 */
int share_join(struct share *share, struct gmem *gmem, gpa_t base, bool read_only,
	       uint32_t first_hold);

/*
 * Takes the share away from a member that may be running, and puts memory of its own there, each
 * byte FFH, so that no page is common to two VMs and nothing is killed. own: the VM's account
 * where its memory is sealed, else NULL. On return no CPU reaches the share for it. ERR_NOMEM,
 * ERR_AGAIN (its memory moves or is parked, or
 * the caches cannot be flushed yet): it still is a member.
 */
int share_revoke(struct share *share, struct gmem *gmem, gpa_t base, struct pager_vm *own);

/* The reverse. ERR_NOMEM, ERR_AGAIN: it still has its own memory there. */
int share_grant(struct share *share, struct gmem *gmem, gpa_t base, bool read_only,
		uint32_t first_hold);

#endif
