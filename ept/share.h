/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that several VMs see: a region whose frames belong to a group. It is under the group's own
 * KeyID of TME-MK, under KeyID 0, or sealed by the software engine under the group's key. Each
 * member has it in its own EPT, read-write or read-only.
 *
 * Only the boot processor calls these functions; faults of members run on any CPU.
 */
#ifndef UMBRA_EPT_SHARE_H
#define UMBRA_EPT_SHARE_H

#include "ept/gmem.h"
#include "ept/pager.h"

struct share;

/*
 * Makes a share that stays in its frames, under a KeyID from keyslot_take or under KeyID 0. The
 * share counts as a user of the KeyID. All pages read as zero. Returns ERR_NOMEM, or ERR_AGAIN as
 * gmem_add_ram_plain.
 */
int share_create_resident(uint64_t bytes, keyid_t keyid, struct share **out);

/*
 * Makes a sealed share. pager is an account for this share only, created for one vCPU more than all
 * members together have; the share then owns it. Returns ERR_NOMEM.
 */
int share_create_sealed(uint64_t bytes, struct pager_vm *pager, struct share **out);

/*
 * Destroys a share without members. Its content is lost: the KeyID retires (ept/retire.h), or the
 * key is wiped.
 */
void share_destroy(struct share *share);

uint32_t share_member_count(const struct share *share);

/* The share's KeyID; 0 when it is sealed or in clear. */
keyid_t share_keyid(const struct share *share);

/*
 * Copies the counters of a sealed share. Its pages are counted here, once for all members, and in
 * no VM's own account. Returns false for a share that stays in its frames.
 */
bool share_pages(const struct share *share, struct pager_counters *out);

/*
 * Makes a VM that is being built a member: the share appears at base, which is 2 MiB-aligned.
 * first_hold: how many vCPUs the earlier members have. Ended by share_revoke or gmem_destroy.
 * Returns ERR_NOMEM, ERR_EXISTS (base is in use), ERR_INVAL.
 */
int share_join(struct share *share, struct gmem *gmem, gpa_t base, bool read_only,
	       uint32_t first_hold);

/*
 * A member's guest places the share elsewhere (on), or nowhere: a base address register. first: the
 * base that the share was joined at, which names it. Tables for the new place must have been
 * reserved (ept_reserve), and both places lie at the same offset from a multiple of 2 MiB. Where
 * something else of the VM's memory lies, the share is nowhere. A member whose share was revoked
 * keeps its own pages where they are; once the share is granted again it lies where the guest
 * wants it. Other vCPUs may access both places meanwhile. On return none of them reaches the share
 * at the old one. Any CPU, a lock of a rank before LOCK_GMEM may be held.
 */
void share_move(struct gmem *gmem, gpa_t first, gpa_t to, bool on);

/*
 * Takes the share away from a member that may be running, and puts memory of its own there, each
 * byte FFH, so that no page is common to two VMs and nothing is killed. first: as for share_move.
 * own: the VM's account where its memory is sealed, else NULL. On return no CPU reaches the share
 * through the member's EPT. Returns ERR_NOMEM; ERR_AGAIN if the member's memory moves or is parked,
 * or the caches cannot be flushed yet. After an error it still is a member.
 */
int share_revoke(struct share *share, struct gmem *gmem, gpa_t first, struct pager_vm *own);

/*
 * Gives the share back to a VM after share_revoke. Returns ERR_NOMEM or ERR_AGAIN: the VM keeps its
 * own memory there.
 */
int share_grant(struct share *share, struct gmem *gmem, gpa_t first, bool read_only,
		uint32_t first_hold);

#endif
