/* SPDX-License-Identifier: Apache-2.0 */
/* ept/audit.c finds a frame that is in use under two KeyIDs, wherever in a leaf it is. */
#include "tests/unit/test.h"
#include "ept/audit.h"
#include "tests/unit/gmem_end.h"

#define VMS 3

static const struct ept_caps all_caps = {
	.page_2m = true,
	.page_1g = true,
	.accessed_dirty = true,
	.invept_single = true,
	.structures_wb = true,
	.phys_bits = 46,
};
static struct gmem gmems[VMS];

static int setup(void **state)
{
	(void)fake_setup(state);
	keyid_configure(46, 4);
	ept_configure(&all_caps);
	for (size_t i = 0; i < VMS; i++) {
		assert_int_equal(gmem_init(&gmems[i]), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < VMS; i++) {
		gmem_end(&gmems[i]);
	}
	fake_host_leaf = keyed(hpa(0), 0);
	return fake_teardown(state);
}

static void map(size_t vm, uint64_t at, uint64_t frame, uint64_t bytes, keyid_t keyid)
{
	const struct ept_attr attr = { EPT_RWX, EPT_MEMTYPE_WB, true, keyid };

	assert_int_equal(ept_map(&gmems[vm].root, gpa(at), hpa(frame), bytes, SIZE_1G, attr), 0);
}

static bool is_good(hpa_t *at, keyid_t *a, keyid_t *b)
{
	struct audit audit;

	assert_int_equal(audit_begin(&audit), 0);
	audit_host(&audit);
	for (size_t i = 0; i < VMS; i++) {
		audit_gmem(&audit, &gmems[i]);
	}
	assert_false(audit.incomplete);
	return audit_end(&audit, at, a, b);
}

TEST(test_audit, setup, teardown)
{
	keyid_t a, b;
	hpa_t at;

	fake_host_leaf = keyed(hpa(0x7000), 1);
	map(0, 0, 4 * SIZE_1G, SIZE_1G, 2);
	map(1, 0, 5 * SIZE_1G, SIZE_2M, 3);
	map(1, SIZE_2M, 8 * SIZE_1G, PAGE_SIZE, 9); /* a share ... */
	map(2, 0, 8 * SIZE_1G, PAGE_SIZE, 9);	    /* ... of two */
	assert_true(is_good(&at, &a, &b));

	/* The last page of a 1 GiB leaf that begins long before. */
	map(2, SIZE_2M, 5 * SIZE_1G - PAGE_SIZE, PAGE_SIZE, 3);
	assert_false(is_good(&at, &a, &b));
	assert_int_equal(at.v, 5 * SIZE_1G - PAGE_SIZE);
	assert_int_equal(a + b, 5);
	assert_int_equal(ept_unmap(&gmems[2].root, gpa(SIZE_2M), PAGE_SIZE), 0);
	assert_true(is_good(&at, &a, &b));

	/* A page of the hypervisor itself. */
	map(2, SIZE_2M, 0x7000, PAGE_SIZE, 0);
	assert_false(is_good(&at, &a, &b));
	assert_int_equal(at.v, 0x7000);
}

/* More runs than fit into a page, in random order. */
TEST(test_many, setup, teardown)
{
	keyid_t a, b;
	hpa_t at;

	for (uint64_t i = 0; i < 1000; i++) {
		map(i % 2, i * PAGE_SIZE, 0x100000 + i * 37 % 1000 * 2 * PAGE_SIZE, PAGE_SIZE,
		    (keyid_t)(1 + i % 2));
	}
	assert_true(is_good(&at, &a, &b));
	map(2, 0, 0x100000 + 999 * 2 * PAGE_SIZE, PAGE_SIZE, 5);
	assert_false(is_good(&at, &a, &b));
}
