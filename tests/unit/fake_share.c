/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests without shares: the configuration has none, and creating one fails for lack of memory.
 */
#include "ept/share.h"
#include "guest/shares.h"
#include "vmm/base/err.h"

int share_create_resident(uint64_t bytes, keyid_t keyid, struct share **out)
{
	return ERR_NOMEM;
}

int share_create_sealed(uint64_t bytes, struct pager_vm *pager, struct share **out)
{
	return ERR_NOMEM;
}

void share_destroy(struct share *share)
{
}

uint32_t share_member_count(const struct share *share)
{
	return 0;
}

keyid_t share_keyid(const struct share *share)
{
	return KEYID_PLATFORM;
}

bool share_pages(const struct share *share, struct pager_counters *out)
{
	return false;
}

int share_join(struct share *share, struct gmem *gmem, gpa_t base, bool read_only,
	       uint32_t first_hold)
{
	return ERR_NOMEM;
}

int share_revoke(struct share *share, struct gmem *gmem, gpa_t first, struct pager_vm *own)
{
	return ERR_NOMEM;
}

int share_grant(struct share *share, struct gmem *gmem, gpa_t base, bool read_only,
		uint32_t first_hold)
{
	return share_join(share, gmem, base, read_only, first_hold);
}

void share_move(struct gmem *gmem, gpa_t first, gpa_t to, bool on)
{
}
