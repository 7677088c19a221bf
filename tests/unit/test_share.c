/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shares that stay in their frames (ept/share.c): one KeyID for all members, rights, revoke and
 * grant, the end. Row 39: the group's KeyID is not free while a member exists.
 */
#include "tests/unit/test.h"
#include "crypto/keyslot.h"
#include "ept/move.h"
#include "ept/retire.h"
#include "ept/share.h"
#include "tests/unit/fake_keyslot.h"
#include "vmm/base/err.h"
#include "vmm/host/cache.h"
#include "vmm/host/work.h"

#define SECOND 1000000000ul
#define BASE   0x100000000ul
#define BYTES  (2 * SIZE_2M)

static const struct ept_caps all_caps = {
	.page_2m = true,
	.page_1g = true,
	.accessed_dirty = true,
	.invept_single = true,
	.structures_wb = true,
	.phys_bits = 46,
};

static struct gmem alpha, beta;
static struct share *share;
static keyid_t group;

/* No share is sealed in this test. */
const struct region_ops pager_share_ops, pager_sealed_ops;

int pager_ram_create(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes,
		     uint8_t fill, struct gmem_region *out)
{
	fail();
	return ERR_NOMEM;
}

int pager_share_create(struct pager_vm *vm, uint64_t bytes, struct sealed_region **out)
{
	fail();
	return ERR_NOMEM;
}

int pager_share_join(struct sealed_region *sealed, struct gmem *gmem, gpa_t base, bool read_only,
		     uint32_t first_hold)
{
	fail();
	return ERR_NOMEM;
}

void pager_share_leave(struct sealed_region *sealed, struct gmem *gmem, bool live)
{
	fail();
}

uint32_t pager_share_members(const struct sealed_region *sealed)
{
	fail();
	return 0;
}

void pager_vm_destroy(struct pager_vm *vm)
{
	fail();
}

void pager_count(struct pager_vm *vm, struct pager_counters *out)
{
	fail();
}

static void make_vm(struct gmem *gmem, const char *name)
{
	keyid_t keyid;

	assert_int_equal(gmem_init(gmem), 0);
	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, name, &keyid), 0);
	gmem_use_keyid(gmem, keyid);
}

static int setup(void **state)
{
	(void)fake_setup(state);
	fake_keyslots = 15;
	keyid_configure(46, 4);
	ept_configure(&all_caps);
	fake_tsc = 10 * SECOND;
	cache_flush_all();
	fake_tsc += 2 * SECOND;
	make_vm(&alpha, "alpha");
	make_vm(&beta, "beta");
	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, "mailbox", &group), 0);
	assert_int_equal(share_create_resident(BYTES, group, &share), 0);
	assert_int_equal(share_join(share, &alpha, gpa(BASE), false, 0), 0);
	assert_int_equal(share_join(share, &beta, gpa(BASE), true, 1), 0);
	return 0;
}

static enum keyslot_state state_of(keyid_t keyid)
{
	struct keyslot_info info;

	assert_int_equal(keyslot_get(keyid, &info), 0);
	return info.state;
}

static struct ept_leaf touch(struct gmem *gmem, uint64_t at, unsigned access)
{
	struct ept_leaf leaf;

	assert_int_equal(gmem_fault(gmem, gpa(at), access, NULL), GMEM_FAULT_FIXED);
	assert_int_equal(ept_walk(&gmem->root, gpa(at), &leaf), 0);
	return leaf;
}

/* The members leave, and the share ends. */
static int teardown(void **state)
{
	uint64_t maps;

	gmem_destroy(&alpha);
	assert_int_equal(state_of(group), KEYSLOT_IN_USE);
	gmem_destroy(&beta);
	share_destroy(share);
	assert_int_equal(state_of(group), KEYSLOT_RETIRING);
	while (retire_buries()) {
		(void)work_some();
		(void)retire_poll(); /* the member's own memory of the time between */
	}
	maps = fake_temp_maps();
	fake_tsc += SECOND;
	assert_true(fake_retire_all());
	assert_int_equal(state_of(group), KEYSLOT_DEAD);
	assert_int_equal(fake_temp_maps(), maps); /* the key is dead: no page is accessed */
	return fake_teardown(state);
}

/* One frame and one KeyID for both members and for the door; zeros at first. */
TEST(test_row_39_one_keyid_for_the_group, setup, teardown)
{
	struct ept_leaf a, b;
	uint64_t word = 1;

	a = touch(&alpha, BASE + 0x5000, GMEM_ACCESS_WRITE);
	assert_int_equal(a.attr.keyid, group);
	assert_int_equal(a.attr.access, EPT_RWX);
	assert_int_equal(a.leaf_bytes, SIZE_2M);
	assert_int_equal(gmem_read(&alpha, gpa(BASE + 0x5008), &word, 8), 0);
	assert_int_equal(word, 0);
	assert_int_equal(fake_temp_keyid(), group);
	word = 77;
	assert_int_equal(gmem_write(&alpha, gpa(BASE + 0x5008), &word, 8), 0);
	b = touch(&beta, BASE + 0x5000, GMEM_ACCESS_READ); /* it is not zeroed again */
	assert_int_equal(b.hpa.v, a.hpa.v);
	assert_int_equal(b.attr.keyid, group);
	assert_int_equal(b.attr.access, EPT_READ | EPT_EXEC);
	assert_int_equal(gmem_read(&beta, gpa(BASE + 0x5008), &word, 8), 0);
	assert_int_equal(word, 77);
}

TEST(test_read_only, setup, teardown)
{
	uint64_t word = 5;

	assert_int_equal(gmem_fault(&beta, gpa(BASE), GMEM_ACCESS_WRITE, NULL), GMEM_FAULT_RIGHTS);
	(void)touch(&beta, BASE, GMEM_ACCESS_READ);
	assert_int_equal(gmem_fault(&beta, gpa(BASE), GMEM_ACCESS_WRITE, NULL), GMEM_FAULT_RIGHTS);
	assert_int_equal(gmem_write(&beta, gpa(BASE), &word, 8), ERR_RIGHTS);
	assert_int_equal(gmem_cmpxchg(&beta, gpa(BASE), &word, 6, 8), ERR_RIGHTS);
	assert_int_equal(gmem_read(&alpha, gpa(BASE), &word, 8), 0);
	assert_int_equal(word, 0);
}

/*
 * The member gets its own pages, all ones, writable, under its own KeyID; the other member goes on.
 */
TEST(test_revoke_and_grant, setup, teardown)
{
	const uint64_t generation = beta.root.generation.only;
	struct ept_leaf before = touch(&beta, BASE, GMEM_ACCESS_READ), own;
	unsigned flushes;
	uint64_t word = 9;

	assert_int_equal(gmem_write(&alpha, gpa(BASE), &word, 8), 0);
	assert_int_equal(share_revoke(share, &beta, gpa(BASE), NULL), 0);
	assert_int_equal(beta.root.generation.only, generation + 1);
	assert_int_equal(ept_walk(&beta.root, gpa(BASE), &own), ERR_NOTFOUND);
	assert_int_equal(share_member_count(share), 1);
	own = touch(&beta, BASE, GMEM_ACCESS_WRITE);
	assert_int_not_equal(own.hpa.v, before.hpa.v);
	assert_int_equal(own.attr.keyid, beta.keyid);
	assert_int_equal(own.attr.access, EPT_RWX);
	assert_int_equal(gmem_read(&beta, gpa(BASE + BYTES - 8), &word, 8), 0);
	assert_int_equal(word, ~0ul);
	assert_int_equal(gmem_read(&alpha, gpa(BASE), &word, 8), 0);
	assert_int_equal(word, 9);

	flushes = fake_wbinvd_count;
	assert_int_equal(share_grant(share, &beta, gpa(BASE), false, 1), 0);
	assert_true(fake_wbinvd_count > flushes); /* before its own frames are zeroed */
	assert_int_equal(ept_walk(&beta.root, gpa(BASE), &own), ERR_NOTFOUND);
	assert_int_equal(touch(&beta, BASE, GMEM_ACCESS_WRITE).hpa.v, before.hpa.v);
	assert_int_equal(gmem_read(&beta, gpa(BASE), &word, 8), 0);
	assert_int_equal(word, 9);
}

/*
 * A share is neither revoked nor granted while a member's memory moves, because memory in its place
 * moves too.
 */
TEST(test_not_while_it_moves, setup, teardown)
{
	struct ept_leaf own;
	keyid_t fresh;
	uint64_t word = 9;

	for (unsigned revoked = 0; revoked < 2; revoked++) {
		assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, "beta", &fresh), 0);
		assert_int_equal(move_to_keyid(&beta, fresh), 0);
		if (revoked != 0) {
			assert_int_equal(share_grant(share, &beta, gpa(BASE), false, 1), ERR_AGAIN);
		} else {
			assert_int_equal(share_revoke(share, &beta, gpa(BASE), NULL), ERR_AGAIN);
		}
		while (!move_step(&beta)) {
		}
		assert_int_equal(share_member_count(share), 2 - revoked);
		if (revoked == 0) {
			assert_int_equal(share_revoke(share, &beta, gpa(BASE), NULL), 0);
			assert_int_equal(gmem_write(&beta, gpa(BASE), &word, 8), 0);
		}
	}
	assert_int_equal(ept_walk(&beta.root, gpa(BASE), &own), 0);
	assert_int_equal(own.attr.keyid, fresh); /* its own memory stayed until then */
	assert_int_equal(gmem_read(&beta, gpa(BASE), &word, 8), 0);
	assert_int_equal(word, 9);
	assert_int_equal(share_grant(share, &beta, gpa(BASE), false, 1), 0);
}

#define TO (BASE + 16 * SIZE_2M)

static bool is_found(struct gmem *gmem, uint64_t at)
{
	return gmem_is_ram(gmem, gpa(at), 8);
}

/* The guest places it: the pages, and what they hold, are at the new address and there alone. */
TEST(test_move, setup, teardown)
{
	const uint64_t generation = beta.root.generation.only;
	struct ept_leaf before = touch(&beta, BASE, GMEM_ACCESS_READ), after;
	uint64_t word = 9;

	assert_int_equal(gmem_write(&alpha, gpa(BASE), &word, 8), 0);
	share_move(&beta, gpa(BASE), gpa(TO), true);
	assert_int_equal(beta.root.generation.only, generation + 1);
	assert_int_equal(ept_walk(&beta.root, gpa(BASE), &after), ERR_NOTFOUND);
	assert_int_equal(gmem_fault(&beta, gpa(BASE), GMEM_ACCESS_READ, NULL), GMEM_FAULT_MMIO);
	assert_int_equal(gmem_read(&beta, gpa(BASE), &word, 8), ERR_RANGE);
	assert_int_equal(touch(&beta, TO, GMEM_ACCESS_READ).hpa.v, before.hpa.v);
	assert_int_equal(gmem_read(&beta, gpa(TO), &word, 8), 0);
	assert_int_equal(word, 9);
	share_move(&beta, gpa(BASE), gpa(TO), true); /* it is there already */
	assert_int_equal(beta.root.generation.only, generation + 1);

	share_move(&beta, gpa(BASE), gpa(0), false); /* memory space is off */
	assert_false(is_found(&beta, TO) || is_found(&beta, BASE) || is_found(&beta, 0));
	assert_int_equal(ept_walk(&beta.root, gpa(TO), &after), ERR_NOTFOUND);
	share_move(&beta, gpa(BASE), gpa(BASE), true);
	assert_int_equal(touch(&beta, BASE, GMEM_ACCESS_READ).hpa.v, before.hpa.v);
	assert_true(is_found(&alpha, BASE)); /* another member's place is its own */
}

/* A frame of ones that was lent where the share comes to lie goes, and no CPU translates to it. */
TEST(test_move_over_a_hole, setup, teardown)
{
	const struct ept_attr attr = { .access = EPT_RWX, .memtype = EPT_MEMTYPE_WB };
	struct ept_leaf before = touch(&beta, BASE, GMEM_ACCESS_READ);
	struct gmem_lent lent[2] = { { .pages = { gpa(TO - PAGE_SIZE) }, .count = 1 },
				     { .pages = { gpa(0), gpa(TO + PAGE_SIZE) }, .count = 2 } };
	struct ept_leaf left;
	uint64_t generation;

	lent[0].next = &lent[1];
	beta.lent = &lent[0];
	for (uint64_t at = TO - PAGE_SIZE; at <= TO + PAGE_SIZE; at += 2 * PAGE_SIZE) {
		assert_int_equal(
			ept_map(&beta.root, gpa(at), hpa(0x7000), PAGE_SIZE, PAGE_SIZE, attr), 0);
	}
	share_move(&beta, gpa(BASE), gpa(BASE), false);
	generation = beta.root.generation.only;
	share_move(&beta, gpa(BASE), gpa(TO), true);
	assert_int_equal(beta.root.generation.only, generation + 1);
	assert_int_equal(touch(&beta, TO + PAGE_SIZE, GMEM_ACCESS_READ).hpa.v,
			 before.hpa.v + PAGE_SIZE);
	assert_int_equal(ept_walk(&beta.root, gpa(TO - PAGE_SIZE), &left), 0); /* beside it */
	beta.lent = NULL;
}

/* Over other memory of the VM it is nowhere, and that memory stays as it is. */
TEST(test_move_over_memory, setup, teardown)
{
	struct ept_leaf ram;
	uint64_t word = 5;

	assert_int_equal(gmem_add_ram_plain(&beta, gpa(TO), BYTES, SIZE_2M), 0);
	assert_int_equal(gmem_write(&beta, gpa(TO), &word, 8), 0);
	for (unsigned i = 0; i < 2; i++) { /* the second time it has no entries to lose */
		share_move(&beta, gpa(BASE), gpa(TO + i * SIZE_2M), true);
		assert_false(is_found(&beta, BASE));
		assert_int_equal(ept_walk(&beta.root, gpa(TO), &ram), 0);
		assert_int_equal(ram.attr.keyid, beta.keyid);
	}
	assert_int_equal(share_revoke(share, &beta, gpa(BASE), NULL), 0);
	assert_int_equal(ept_walk(&beta.root, gpa(TO), &ram), 0);
	assert_int_equal(share_grant(share, &beta, gpa(BASE), true, 1), 0);
	assert_int_equal(ept_walk(&beta.root, gpa(TO), &ram), 0);
	share_move(&beta, gpa(BASE), gpa(BASE), true);
	(void)touch(&beta, BASE, GMEM_ACCESS_READ);
	assert_int_equal(gmem_read(&beta, gpa(TO), &word, 8), 0);
	assert_int_equal(word, 5);
}

/*
 * What a member has of its own stays where it was; the share comes back where the guest wants it.
 */
TEST(test_move_while_revoked, setup, teardown)
{
	struct ept_leaf before = touch(&beta, BASE, GMEM_ACCESS_READ);
	uint64_t word = 4;

	assert_int_equal(share_revoke(share, &beta, gpa(BASE), NULL), 0);
	assert_int_equal(gmem_write(&beta, gpa(BASE), &word, 8), 0);
	share_move(&beta, gpa(BASE), gpa(TO), true);
	assert_false(is_found(&beta, TO));
	assert_int_equal(gmem_read(&beta, gpa(BASE), &word, 8), 0);
	assert_int_equal(word, 4);
	assert_int_equal(share_grant(share, &beta, gpa(BASE), true, 1), 0);
	assert_false(is_found(&beta, BASE));
	assert_int_equal(touch(&beta, TO, GMEM_ACCESS_READ).hpa.v, before.hpa.v);
	share_move(&beta, gpa(BASE), gpa(TO), false);
	assert_int_equal(share_revoke(share, &beta, gpa(BASE), NULL), 0);
	assert_false(is_found(&beta, TO)); /* its own pages are as little to be found */
	share_move(&beta, gpa(BASE), gpa(BASE), true);
	assert_int_equal(share_grant(share, &beta, gpa(BASE), true, 1), 0);
	assert_int_equal(touch(&beta, BASE, GMEM_ACCESS_READ).hpa.v, before.hpa.v);
}

/* Two members' own pages of two shares, in the reverse order of their regions: a move of the VM to
 * another KeyID finds both. */
TEST(test_keyid_move_finds_pages_out_of_order, setup, teardown)
{
	struct share *other;
	struct ept_leaf leaf;
	keyid_t fresh;
	uint64_t word = 1;

	assert_int_equal(share_create_resident(BYTES, KEYID_PLATFORM, &other), 0);
	assert_int_equal(share_join(other, &beta, gpa(TO), false, 3), 0);
	share_move(&beta, gpa(BASE), gpa(TO + 16 * SIZE_2M), true);
	assert_int_equal(share_revoke(share, &beta, gpa(BASE), NULL), 0);
	assert_int_equal(share_revoke(other, &beta, gpa(TO), NULL), 0);
	assert_int_equal(gmem_write(&beta, gpa(TO), &word, 8), 0);
	assert_int_equal(gmem_write(&beta, gpa(TO + 16 * SIZE_2M), &word, 8), 0);
	assert_int_equal(keyslot_take(KEYSLOT_RANDOM, NULL, 0, "beta", &fresh), 0);
	assert_int_equal(move_to_keyid(&beta, fresh), 0);
	while (!move_step(&beta)) {
	}
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ept_walk(&beta.root, gpa(TO + i * 16 * SIZE_2M), &leaf), 0);
		assert_int_equal(leaf.attr.keyid, fresh);
	}
	share_destroy(other);
	fake_tsc += SECOND;
	assert_true(fake_retire_all());
}

/* A member's end is its own: the other one has all it had. */
TEST(test_a_member_ends, setup, teardown)
{
	uint64_t word = 3;

	assert_int_equal(gmem_write(&alpha, gpa(BASE), &word, 8), 0);
	gmem_destroy(&beta);
	fake_tsc += SECOND;
	assert_true(fake_retire_all());
	assert_int_equal(state_of(group), KEYSLOT_IN_USE);
	assert_int_equal(share_member_count(share), 1);
	assert_int_equal(gmem_read(&alpha, gpa(BASE), &word, 8), 0);
	assert_int_equal(word, 3);
	make_vm(&beta, "beta");
	assert_int_equal(share_join(share, &beta, gpa(BASE), false, 1), 0);
	assert_int_equal(gmem_read(&beta, gpa(BASE), &word, 8), 0);
	assert_int_equal(word, 3);
}

/*
 * A share under KeyID 0 is zeroed at its end, and no line of it stays cached: no flush is needed.
 */
TEST(test_clear_leaves_no_lines, setup, teardown)
{
	const unsigned flushes = fake_wbinvd_count;
	struct gmem clear, next;
	struct share *open;
	uint64_t word = 3;

	assert_int_equal(gmem_init(&clear), 0);
	assert_int_equal(share_create_resident(BYTES, KEYID_PLATFORM, &open), 0);
	assert_int_equal(share_join(open, &clear, gpa(BASE), false, 2), 0);
	assert_int_equal(gmem_write(&clear, gpa(BASE), &word, 8), 0);
	gmem_destroy(&clear);
	share_destroy(open);
	assert_true(fake_retire_all());

	make_vm(&next, "next");
	assert_int_equal(gmem_add_ram_plain(&next, gpa(0), BYTES, SIZE_2M), 0);
	assert_int_equal(gmem_write(&next, gpa(0), &word, 8), 0);
	assert_int_equal(fake_wbinvd_count, flushes);
	gmem_destroy(&next);
}

/* A share without a leaf of 2 MiB: each page holds zeros at first, and is zeroed once. */
TEST(test_small_pages, setup, teardown)
{
	const uint64_t small = 130; /* pages: two words of bits, and some of a third */
	struct gmem clear;
	struct share *open;
	uint64_t word;

	assert_int_equal(gmem_init(&clear), 0);
	assert_int_equal(share_create_resident(small * PAGE_SIZE, KEYID_PLATFORM, &open), 0);
	assert_int_equal(share_join(open, &clear, gpa(BASE), false, 2), 0);
	for (uint64_t i = 0; i < 2 * small; i++) {
		const gpa_t at = gpa(BASE + i % small * PAGE_SIZE + 8);

		assert_int_equal(gmem_read(&clear, at, &word, 8), 0);
		assert_int_equal(word, i < small ? 0 : i - small + 1);
		word = i + 1;
		assert_int_equal(gmem_write(&clear, at, &word, 8), 0);
	}
	gmem_destroy(&clear);
	share_destroy(open);
	assert_true(fake_retire_all());
}

/* Where large leaves must not be executable, a fetch splits the leaf of the member that fetches. */
TEST(test_fetch_from_large_leaf, setup, teardown)
{
	struct ept_caps caps = all_caps;
	struct ept_leaf leaf;

	caps.no_large_exec = true;
	ept_configure(&caps);
	leaf = touch(&beta, BASE, GMEM_ACCESS_READ);
	assert_int_equal(leaf.leaf_bytes, SIZE_2M);
	assert_int_equal(leaf.attr.access, EPT_READ);
	leaf = touch(&alpha, BASE, GMEM_ACCESS_READ);
	assert_int_equal(leaf.attr.access, EPT_READ | EPT_WRITE);
	leaf = touch(&beta, BASE + 0x3000, GMEM_ACCESS_EXEC);
	assert_int_equal(leaf.leaf_bytes, PAGE_SIZE);
	assert_int_equal(leaf.attr.access, EPT_READ | EPT_EXEC);
	assert_int_equal(ept_walk(&alpha.root, gpa(BASE + 0x3000), &leaf), 0);
	assert_int_equal(leaf.leaf_bytes, SIZE_2M);
}
