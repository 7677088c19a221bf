/* SPDX-License-Identifier: Apache-2.0 */
#include "ept/move.h"

#include "crypto/keyslot.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "ept/gmem_priv.h"
#include "vmm/base/cache_lines.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"

#define PARK_KEY_BYTES 64 /* AES-256-XTS */

enum cipher { CIPHER_NONE, CIPHER_SEAL, CIPHER_OPEN };

/* One host page. It exists while the memory moves or is parked. */
struct move {
	struct page_key key; /* the key of the sealed pages; registered to be wiped */
	enum cipher cipher;
	keyid_t from;
	bool parked;	 /* the memory is sealed under KeyID 0, and the move to there is finished */
	uint64_t next;	 /* guest-physical address of the next leaf to move */
	uint64_t split;	 /* address of a 1 GiB leaf that was split for the move; UINT64_MAX: none */
	uint8_t *bounce; /* a host page */
};
_Static_assert(sizeof(struct move) <= PAGE_SIZE, "one page");

/*
 * Moves a page that no CPU maps at the moment. The order matters (336907, "Assign"):
 *
 * 1. The page is read under its old KeyID.
 * 2. Its lines under that KeyID leave all caches, while nothing else maps them. CLFLUSHOPT reaches
 *     the caches of every CPU, but only for the KeyID in the address by which the line was
 *     cached. A dirty line that stayed would be written back later, over what step 3 writes.
 *     WBINVD would do this once for all pages, but it stops every CPU of the machine, and does
 *     nothing about lines that enter a cache after it.
 * 3. The whole page is written under the new KeyID, before anything reads it there.
 */
static void move_page(const struct move *move, uint64_t gpa, struct keyed_frame page, keyid_t to)
{
	struct page_item item = { .in = move->bounce };
	const uint64_t number = gpa / PAGE_SIZE;
	const uint8_t *old = host_temp_map(GMEM_SLOT_IN, page);

	memcpy(move->bounce, old, PAGE_SIZE);
	cache_write_back(old, PAGE_SIZE);
	host_temp_unmap(GMEM_SLOT_IN);

	item.out = host_temp_map(GMEM_SLOT_OUT, keyed(page.frame, to));
	/* The key is used for one parking only, so the address is enough for a tweak. */
	memcpy(item.tweak, &number, sizeof(number));
	switch (move->cipher) {
	case CIPHER_SEAL: page_encrypt(&move->key, &item, 1); break;
	case CIPHER_OPEN: page_decrypt(&move->key, &item, 1); break;
	case CIPHER_NONE:
	default: memcpy(item.out, move->bounce, PAGE_SIZE);
	}
	host_temp_unmap(GMEM_SLOT_OUT);
}

/* Called under gmem.lock. Changes the leaf's KeyID after all of its pages have moved. */
static void move_leaf(struct gmem *gmem, uint64_t at, const struct ept_leaf *leaf)
{
	for (uint64_t done = 0; done < leaf->leaf_bytes; done += PAGE_SIZE) {
		move_page(gmem->move, at + done, keyed(hpa(leaf->hpa.v + done), leaf->attr.keyid),
			  gmem->keyid);
	}
	ept_set_keyid(&gmem->root, gpa(at), gmem->keyid);
	gmem->moved_pages += leaf->leaf_bytes / PAGE_SIZE;
}

/*
 * Finds the first leaf at or above an address that moves with the VM's KeyID. False when there is
 * none.
 */
static bool find_leaf(struct gmem *gmem, uint64_t from, gpa_t *at, struct ept_leaf *leaf)
{
	*at = gpa(UINT64_MAX);
	*leaf = (struct ept_leaf){ 0 };
	/* All are asked: a region whose share the guest has moved is not in the list's order. */
	for (uint32_t i = 0; i < gmem->region_count; i++) {
		struct gmem_region *region = &gmem->regions[i];
		const uint64_t end = region->base.v + region->bytes;
		struct ept_leaf other;
		gpa_t other_at;

		if (from < end && region->base.v < at->v && region->ops->set_keyid != NULL &&
		    region->ops->set_keyid(region, gmem->keyid) &&
		    ept_next(&gmem->root, gpa(MAX(from, region->base.v)), end, &other_at, &other) ==
			    0) {
			*at = other_at;
			*leaf = other;
		}
	}
	return at->v != UINT64_MAX;
}

/* Merges a 1 GiB leaf that was split, after its last part has moved. */
static void merge_again(struct gmem *gmem, uint64_t next)
{
	struct move *move = gmem->move;

	if (move->split != UINT64_MAX && next >= move->split + SIZE_1G) {
		(void)ept_merge_1g(&gmem->root, gpa(move->split));
		move->split = UINT64_MAX;
	}
}

/* Another VM's device may look through the door at this moment. */
static void set_move(struct gmem *gmem, struct move *move)
{
	lock_take(&gmem->lock, LOCK_GMEM);
	gmem->move = move;
	lock_drop(&gmem->lock);
}

static void free_move(struct gmem *gmem)
{
	struct move *move = gmem->move;

	set_move(gmem, NULL);
	secure_zero(&move->key, sizeof(move->key));
	wipe_unregister(&move->key);
	page_free(move->bounce, 1); /* page_free zeroes it */
	page_free(move, 1);
}

/* All memory is under gmem->keyid now. */
static void finish(struct gmem *gmem)
{
	struct move *move = gmem->move;

	if (move->from != KEYID_PLATFORM) {
		keyslot_unuse(move->from);
	}
	move->from = KEYID_PLATFORM;
	if (move->cipher == CIPHER_SEAL) {
		move->parked = true;
	} else {
		free_move(gmem);
	}
}

bool move_step(struct gmem *gmem)
{
	struct move *move = gmem->move;
	struct ept_leaf leaf;
	bool done;
	gpa_t at;

	lock_take(&gmem->lock, LOCK_GMEM);
	done = !find_leaf(gmem, move->next, &at, &leaf);
	merge_again(gmem, done ? UINT64_MAX : at.v);
	if (!done && leaf.leaf_bytes > SIZE_2M) {
		/*
		 * Cannot fail: make_move has set a page for the table aside, and merge_again
		 * returns it.
		 */
		CHECK(ept_split(&gmem->root, gpa(at.v + SIZE_2M)) == 0);
		move->split = at.v;
	} else if (!done) {
		move_leaf(gmem, at.v, &leaf);
		move->next = at.v + leaf.leaf_bytes;
	}
	lock_drop(&gmem->lock);
	if (done) {
		finish(gmem);
	}
	return done;
}

/* --- Beginnings --- */

/*
 * No vCPU runs. CPUs hold translations of this EPT with the old KeyID: the shoot-down makes each
 * CPU flush them before it enters the guest again. From here on only move_step accesses the pages:
 * the regions have forgotten where pages lie, and the door returns ERR_AGAIN.
 */
static void begin(struct gmem *gmem, enum cipher cipher, keyid_t to)
{
	struct move *move = gmem->move;

	lock_take(&gmem->lock, LOCK_GMEM);
	ept_tlb_shootdown(&gmem->root);
	move->cipher = cipher;
	move->from = gmem->keyid;
	move->parked = false;
	move->next = 0;
	move->split = UINT64_MAX;
	gmem->keyid = to;
	gmem->moved_pages = 0;
	for (uint32_t i = 0; i < gmem->region_count; i++) {
		if (gmem->regions[i].ops->set_keyid != NULL) {
			(void)gmem->regions[i].ops->set_keyid(&gmem->regions[i], to);
		}
	}
	lock_drop(&gmem->lock);
	if (to != KEYID_PLATFORM) {
		keyslot_use(to);
	}
}

/*
 * Does all that can fail of a move, and of the way back from parking. If a move failed half-way for
 * want of a table, the VM would be under two KeyIDs, and could go neither on nor back.
 */
static int make_move(struct gmem *gmem)
{
	struct move *move = page_alloc(1);
	uint8_t *bounce = page_alloc(1);
	int err = move != NULL && bounce != NULL ? 0 : ERR_NOMEM;

	CHECK(gmem->move == NULL);
	if (err == 0) {
		lock_take(&gmem->lock, LOCK_GMEM);
		err = ept_reserve_split(&gmem->root);
		lock_drop(&gmem->lock);
	}
	if (err == 0) {
		err = wipe_register(&move->key, sizeof(move->key));
	}
	if (err != 0) {
		page_free(bounce, 1);
		page_free(move, 1);
		return err;
	}
	move->bounce = bounce;
	set_move(gmem, move);
	return 0;
}

int move_to_keyid(struct gmem *gmem, keyid_t to)
{
	int err = make_move(gmem);

	if (err == 0) {
		begin(gmem, CIPHER_NONE, to);
	}
	return err;
}

static int draw_key(struct page_key *key)
{
	uint8_t bytes[PARK_KEY_BYTES];
	int err = rng_bytes(bytes, sizeof(bytes));

	if (err == 0) {
		err = page_key_set(key, bytes, sizeof(bytes));
	}
	secure_zero(bytes, sizeof(bytes));
	return err;
}

int move_to_park(struct gmem *gmem)
{
	int err = make_move(gmem);

	if (err != 0) {
		return err;
	}
	err = draw_key(&gmem->move->key);
	if (err != 0) {
		free_move(gmem);
		return err;
	}
	begin(gmem, CIPHER_SEAL, KEYID_PLATFORM);
	return 0;
}

void move_from_park(struct gmem *gmem, keyid_t to)
{
	CHECK(move_is_parked(gmem));
	begin(gmem, CIPHER_OPEN, to);
}

/* --- For others --- */

bool move_is_on(const struct gmem *gmem)
{
	return gmem->move != NULL;
}

bool move_is_parked(const struct gmem *gmem)
{
	return gmem->move != NULL && gmem->move->parked;
}

uint64_t move_pages(const struct gmem *gmem)
{
	return gmem->moved_pages;
}

keyid_t move_abandon(struct gmem *gmem)
{
	keyid_t from = KEYID_PLATFORM;

	if (gmem->move != NULL) {
		from = gmem->move->from;
		free_move(gmem);
	}
	return from;
}
