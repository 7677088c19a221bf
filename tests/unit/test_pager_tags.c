/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ept/pager.c, store.c: what happens when an attacker changes sealed pages in memory. Tests whose
 * names end in "control" do the same in a guest whose pages have no tags.
 */
#include "tests/unit/test.h"
#include "ept/gmem_priv.h"
#include "tests/unit/pager_guests.h"
#include "vmm/base/err.h"

#define PAGE 7u

static struct gmem_tampered told;
static unsigned tellings;

static void tell(struct gmem *gmem, const struct gmem_tampered *what)
{
	assert_ptr_equal(gmem, &guests[0].gmem);
	told = *what;
	tellings++;
}

static struct sealed_region *region(void)
{
	return guests[0].gmem.regions[0].state;
}

static uint8_t *ciphertext(uint32_t page)
{
	return fake_frame(
		hpa(region()->chunks[page / CHUNK_PAGES].v + page % CHUNK_PAGES * PAGE_SIZE));
}

/* Makes a guest that has written PAGE once, and has the page sealed. */
static void sealed_page(bool tags)
{
	pager_tags = tags;
	make_window(FLOOR);
	make_guest(&guests[0], 1);
	guests[0].gmem.on_tampered = tell;
	tellings = 0;
	guest_write(&guests[0], PAGE, 0x1111);
	press_out(&guests[0], PAGE);
}

static enum gmem_fault_result fault(uint32_t page)
{
	const struct gmem_faulter by = { .vcpu = 0, .place = ++guests[0].rip };

	return gmem_fault(&guests[0].gmem, gpa(address_of(page)), GMEM_ACCESS_READ, &by);
}

/*
 * Asserts that neither a fault of the guest nor an access through the door opens the page, and that
 * each attempt is reported with the page's place and version. The window has nothing of the page.
 * Other pages still work.
 */
static void assert_refused(uint32_t page)
{
	const uint64_t clear = count(&guests[0]).clear_pages;
	uint64_t word;

	assert_int_equal(fault(page), GMEM_FAULT_TAMPERED);
	assert_int_equal(tellings, 1);
	assert_int_equal(told.region, 0);
	assert_int_equal(told.page, page);
	assert_int_equal(told.version, *store_version(region(), page));
	assert_false(is_mapped(&guests[0], page));
	assert_int_equal(*store_opened(region(), page), 0);
	assert_in_range(count(&guests[0]).clear_pages, clear - 1, clear);
	assert_int_equal(gmem_read(&guests[0].gmem, gpa(address_of(page)), &word, 8), ERR_TAMPERED);
	assert_int_equal(gmem_load(&guests[0].gmem, gpa(address_of(page)), &word, 8), ERR_TAMPERED);
	assert_int_equal(gmem_write(&guests[0].gmem, gpa(address_of(page)), &word, 8),
			 ERR_TAMPERED);
	assert_int_equal(tellings, 4);
	guest_write(&guests[0], page + 1, 0x2222);
	assert_int_equal(guest_read(&guests[0], page + 1), 0x2222);
}

TEST(changed_bit, pager_setup, pager_teardown)
{
	sealed_page(true);
	ciphertext(PAGE)[4095] ^= 0x80;
	assert_refused(PAGE);
	ciphertext(PAGE)[4095] ^= 0x80;
	assert_int_equal(guest_read(&guests[0], PAGE), 0x1111);
}

/* What the frame held before a page that does not open is zero in DRAM, too. */
TEST(the_victim_leaves_the_caches, pager_setup, pager_teardown)
{
	sealed_page(true);
	fake_clflush_count = 0;
	assert_int_equal(fault(PAGE), GMEM_FAULT_FIXED);
	assert_int_equal(fake_clflush_count, 0);
	press_out(&guests[0], PAGE);
	ciphertext(PAGE)[0] ^= 1;
	fake_clflush_count = 0;
	assert_int_equal(fault(PAGE), GMEM_FAULT_TAMPERED);
	assert_int_equal(fake_clflush_count, PAGE_SIZE / 64);
}

TEST(changed_bit_control, pager_setup, pager_teardown)
{
	uint8_t byte = 0;

	sealed_page(false);
	ciphertext(PAGE)[4095] ^= 0x80;
	assert_int_equal(gmem_read(&guests[0].gmem, gpa(address_of(PAGE) + 4095), &byte, 1), 0);
	assert_int_equal(byte, 0x80);
	assert_int_equal(tellings, 0);
}

/* Keeps a copy of the page's ciphertext, then has the page written and sealed again. */
static void older_version(uint8_t kept[PAGE_SIZE])
{
	memcpy(kept, ciphertext(PAGE), PAGE_SIZE);
	guest_write(&guests[0], PAGE, 0x3333);
	press_out(&guests[0], PAGE);
	assert_memory_not_equal(kept, ciphertext(PAGE), PAGE_SIZE);
}

TEST(older_version_put_back, pager_setup, pager_teardown)
{
	static uint8_t kept[PAGE_SIZE];

	sealed_page(true);
	older_version(kept);
	memcpy(ciphertext(PAGE), kept, PAGE_SIZE);
	assert_refused(PAGE);
}

/*
 * An attacker who can also write Umbra's own memory can put an older version back, with its tag and
 * its version number. Tags do not protect from this.
 */
TEST(older_version_with_its_metadata, pager_setup, pager_teardown)
{
	static uint8_t kept[PAGE_SIZE];
	uint8_t tag[PAGE_TAG_BYTES];
	uint64_t version;

	sealed_page(true);
	version = *store_version(region(), PAGE);
	memcpy(tag, store_tag(region(), PAGE), sizeof(tag));
	older_version(kept);
	memcpy(ciphertext(PAGE), kept, PAGE_SIZE);
	memcpy(store_tag(region(), PAGE), tag, sizeof(tag));
	*store_version(region(), PAGE) = version;
	assert_int_equal(guest_read(&guests[0], PAGE), 0x1111);
	assert_int_equal(tellings, 0);
}

TEST(moved_page, pager_setup, pager_teardown)
{
	sealed_page(true);
	guest_write(&guests[0], PAGE + 3, 0x1111);
	press_out(&guests[0], PAGE + 3);
	press_out(&guests[0], PAGE);
	memcpy(ciphertext(PAGE), ciphertext(PAGE + 3), PAGE_SIZE);
	/* The page is not even opened with the other page's tag and version. */
	memcpy(store_tag(region(), PAGE), store_tag(region(), PAGE + 3), PAGE_TAG_BYTES);
	*store_version(region(), PAGE) = *store_version(region(), PAGE + 3);
	assert_refused(PAGE);
}

TEST(spliced_halves, pager_setup, pager_teardown)
{
	static uint8_t kept[PAGE_SIZE];

	sealed_page(true);
	older_version(kept);
	memcpy(ciphertext(PAGE) + PAGE_SIZE / 2, kept + PAGE_SIZE / 2, PAGE_SIZE / 2);
	assert_refused(PAGE);
}

/* A page that is all zero again has a version and a tag. */
TEST(zeroed_page, pager_setup, pager_teardown)
{
	uint64_t version;

	sealed_page(true);
	version = *store_version(region(), PAGE);
	guest_write(&guests[0], PAGE, 0);
	press_out(&guests[0], PAGE);
	assert_int_equal(*store_kind(region(), PAGE), STORE_FILLED);
	assert_true(*store_version(region(), PAGE) > version);
	assert_int_equal(guest_read(&guests[0], PAGE), 0);
	press_out(&guests[0], PAGE); /* it was not written, so nothing changes */
	assert_int_equal(*store_kind(region(), PAGE), STORE_FILLED);
	/* The ciphertext that is left from before is not accepted as the page's content. */
	*store_kind(region(), PAGE) = STORE_SEALED;
	assert_int_equal(fault(PAGE), GMEM_FAULT_TAMPERED);
	*store_kind(region(), PAGE) = STORE_FILLED;
	*store_version(region(), PAGE) = version;
	assert_int_equal(fault(PAGE), GMEM_FAULT_TAMPERED);
}

/* The tag of a page without ciphertext covers all 16 bytes of it, as the cipher's does. */
TEST(zeroed_page_with_a_changed_tag, pager_setup, pager_teardown)
{
	sealed_page(true);
	guest_write(&guests[0], PAGE, 0);
	press_out(&guests[0], PAGE);
	for (uint32_t i = 0; i < PAGE_TAG_BYTES; i++) {
		store_tag(region(), PAGE)[i] ^= 0x10;
		assert_int_equal(fault(PAGE), GMEM_FAULT_TAMPERED);
		store_tag(region(), PAGE)[i] ^= 0x10;
	}
	assert_int_equal(guest_read(&guests[0], PAGE), 0);
}

/* Does the page open with this name? */
static bool opens_as(struct sealed_region *of, uint64_t page, const uint64_t name[4])
{
	static uint8_t out[PAGE_SIZE];
	const struct stored_page *stored = store_page(of, page);
	struct page_job job = { .key = &of->vm->key, .mac = &of->vm->mac_key, .out = out };

	job.in = fake_frame(hpa(of->chunks[page / CHUNK_PAGES].v + page % CHUNK_PAGES * PAGE_SIZE));
	memcpy(job.name, name, sizeof(job.name));
	memcpy(job.tag, stored->tag, sizeof(job.tag));
	return page_exchange(NULL, &job);
}

/* The names in crypto/README.md: kind, region, page and version, each in its place. */
TEST(names_in_tags, pager_setup, pager_teardown)
{
	struct sealed_region *other;
	uint64_t name[4] = { 1ul << 32 | 0, PAGE, 0, 0 };
	uint8_t tag[PAGE_TAG_BYTES];

	sealed_page(true);
	name[2] = *store_version(region(), PAGE);
	assert_true(opens_as(region(), PAGE, name));
	guest_write(&guests[0], SPLIT + PAGE, 0x2222);
	press_out(&guests[0], SPLIT + PAGE);
	other = guests[0].gmem.regions[1].state;
	name[0] = 1ul << 32 | 1;
	name[2] = *store_version(other, PAGE);
	assert_true(opens_as(other, PAGE, name));
	guest_write(&guests[0], SPLIT + PAGE, 0);
	press_out(&guests[0], SPLIT + PAGE);
	name[0] = 2ul << 32 | 1;
	name[2] = *store_version(other, PAGE);
	page_tag_name(&guests[0].vm->mac_key, (const uint8_t *)name, tag);
	assert_memory_equal(tag, store_tag(other, PAGE), sizeof(tag));
}

TEST(zeroed_page_control, pager_setup, pager_teardown)
{
	sealed_page(false);
	guest_write(&guests[0], PAGE, 0);
	press_out(&guests[0], PAGE);
	assert_int_equal(*store_kind(region(), PAGE), STORE_ABSENT);
	assert_int_equal(*store_version(region(), PAGE), 0);
}

/* A victim is sealed, and not lost, although the page that should replace it is not opened. */
TEST(victim_is_kept, pager_setup, pager_teardown)
{
	sealed_page(true);
	for (uint32_t i = 20; i < 20 + 2 * FLOOR; i++) {
		guest_write(&guests[0], i, i);
	}
	ciphertext(PAGE)[0] ^= 1;
	for (unsigned i = 0; i < 2 * FLOOR; i++) {
		assert_int_equal(fault(PAGE), GMEM_FAULT_TAMPERED);
	}
	for (uint32_t i = 20; i < 20 + 2 * FLOOR; i++) {
		assert_int_equal(guest_read(&guests[0], i), i);
	}
}

/* Opening a changed page ahead, as a guess, does not end the VM. The VM's own access does. */
TEST(guessed_page, pager_setup, pager_teardown)
{
	sealed_page(true);
	for (uint32_t i = 20; i < 30; i++) {
		guest_write(&guests[0], i, i);
	}
	for (uint32_t i = 20; i < 30; i++) {
		press_out(&guests[0], i);
	}
	pager_vm_seal(guests[0].vm);
	ciphertext(24)[77] ^= 2;
	for (uint32_t i = 20; i < 24; i++) {
		assert_int_equal(guest_read(&guests[0], i), i);
	}
	assert_true(count(&guests[0]).opened_ahead != 0);
	assert_int_equal(tellings, 0);
	assert_refused(24);
}

/* When a key has had this many pages, the log asks for a new key, once. */
static void asks_for_a_key_after(uint64_t pages, const char *words)
{
	fake_log_reset();
	atomic_store_relaxed(&guests[0].vm->version, pages - 2);
	*store_version(region(), PAGE) = 0; /* the fake cipher allows only small versions */
	*store_kind(region(), PAGE) = STORE_ABSENT;
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(strstr(fake_log_text(), words) != NULL, i == 2);
		guest_write(&guests[0], 40 + i, 1);
		guest_write(&guests[0], 40 + i, 0);
		press_out(&guests[0], 40 + i);
	}
	assert_non_null(strstr(fake_log_text(), words));
	assert_null(strstr(strstr(fake_log_text(), "its key has ") + 1, "its key has "));
}

TEST(much_under_one_key, pager_setup, pager_teardown)
{
	sealed_page(true);
	asks_for_a_key_after(PAGE_CIPHER_PAGES_MAX, "vm test: its key has encrypted 256 TiB");
	asks_for_a_key_after(PAGE_MAC_TAGS_MAX, "vm test: its key has made 2^40 tags");
}
