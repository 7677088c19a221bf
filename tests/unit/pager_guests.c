/* SPDX-License-Identifier: Apache-2.0 */
/* Guests for the tests of the pager, and a cipher that records what it is called for. */
#include "tests/unit/pager_guests.h"

#include <stdlib.h>

#include "tests/unit/test.h"
#include "crypto/kdf.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "ept/retire.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/host/work.h"

const bool with_ad = true, without_ad = false;

#define HIGH_BASE   0x40000000ul
#define VERSION_MAX (1u << 20)

struct guest guests[VMS];
struct ept_caps pager_caps;
struct crypto_watch crypto;
void (*crypto_hook)(struct guest *guest, uint32_t page);
bool pager_tags;

static struct {
	uint8_t next_key;
	bool seen[256][VERSION_MAX];
	const void *wiped[8];
} fake;

uint64_t address_of(uint32_t page)
{
	return page < SPLIT ? page * PAGE_SIZE : HIGH_BASE + (page - SPLIT) * PAGE_SIZE;
}

uint64_t *raw_entry(const struct ept_root *root, uint64_t at)
{
	uint64_t *table = (uint64_t *)root->pml4.v;

	for (int shift = 39; shift > 12; shift -= 9) {
		uint64_t entry = table[(at >> shift) & 511];

		if ((entry & 7) == 0) {
			return NULL;
		}
		table = (uint64_t *)(entry & 0x3ffffffff000);
	}
	return &table[(at >> 12) & 511];
}

/* --- Fakes of crypto/ --- */

int rng_bytes(void *buf, size_t bytes)
{
	memset(buf, ++fake.next_key, bytes);
	return 0;
}

int kdf_derive(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt, const char *label,
	       uint8_t *out, size_t out_bytes)
{
	assert_int_equal(secret_bytes, KDF_SECRET_BYTES);
	crypto.secret = secret[0];
	if (strcmp(label, "umbra page tag key") == 0) {
		crypto.stack[3] = (struct stack_bytes){ out, out_bytes };
		memset(out, salt[0], out_bytes);
		return 0;
	}
	assert_string_equal(label, "umbra page key");
	crypto.stack[0] = (struct stack_bytes){ secret, KDF_SECRET_BYTES };
	crypto.stack[1] = (struct stack_bytes){ salt, KDF_SALT_BYTES };
	crypto.stack[2] = (struct stack_bytes){ out, out_bytes };
	memset(out, salt[0], out_bytes);
	return 0;
}

int page_key_set(struct page_key *out, const uint8_t *key, size_t key_bytes)
{
	assert_int_equal(key_bytes, 64);
	memset(out, key[0], sizeof(*out));
	return 0;
}

int page_mac_key_set(struct page_mac_key *out, const uint8_t key[PAGE_MAC_KEY_BYTES])
{
	memset(out, key[0], sizeof(*out));
	return 0;
}

#define KEYS_BYTES (sizeof(struct page_key) + sizeof(struct page_mac_key))

int wipe_register(void *area, size_t bytes)
{
	assert_int_equal(bytes, KEYS_BYTES);
	for (size_t i = 0; i < ARRAY_COUNT(fake.wiped); i++) {
		if (fake.wiped[i] == NULL) {
			fake.wiped[i] = area;
			return 0;
		}
	}
	return ERR_NOMEM;
}

void wipe_unregister(const void *area)
{
	static const uint8_t zero[KEYS_BYTES];

	assert_memory_equal(area, zero, sizeof(zero));
	for (size_t i = 0; i < ARRAY_COUNT(fake.wiped); i++) {
		if (fake.wiped[i] == area) {
			fake.wiped[i] = NULL;
			return;
		}
	}
	fail_msg("an area that was not registered");
}

/* Every byte of a fake key is the key's number. */
static uint8_t key_number(const struct page_key *key)
{
	return *(const uint8_t *)key;
}

static void crypt(const struct page_key *key, const struct page_item *item)
{
	uint64_t words[2], state;
	uint64_t *out = item->out;
	const uint64_t *in = item->in;

	memcpy(words, item->tweak, 16);
	state = words[0] * 0x9e3779b97f4a7c15 ^ words[1] * 0xbf58476d1ce4e5b9 ^ key_number(key);
	for (size_t i = 0; i < PAGE_SIZE / 8; i++) {
		state = (state + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
		out[i] = in[i] ^ state ^ state >> 31;
	}
}

/* The guest that has the key. Keys are numbered in the order in which guests are made. */
static struct guest *guest_of(const struct page_key *key)
{
	for (size_t i = 0; i < VMS; i++) {
		if (guests[i].vm != NULL && (const void *)guests[i].vm == (const void *)key) {
			return &guests[i];
		}
	}
	fail_msg("an unknown key");
	return NULL;
}

static struct page_item item_of(const struct page_job *job)
{
	struct page_item item = { .in = job->in, .out = job->out };

	memcpy(item.tweak, job->tweak, sizeof(item.tweak));
	return item;
}

static void watch(const struct page_key *key, const struct page_item *item)
{
	struct guest *guest = guest_of(key);
	const uint64_t *entry;
	uint64_t version, place;
	uint8_t number = key_number(key);
	uint32_t page;

	memcpy(&version, item->tweak, 8);
	memcpy(&place, item->tweak + 8, 8);
	page = (uint32_t)(place & MASK(47, 0)) + (place >> 48 == 1 ? SPLIT : 0);
	entry = raw_entry(&guest->gmem.root, address_of(page));
	assert_true(page < VM_PAGES && place >> 48 < 2);
	if (entry != NULL && *entry != 0) {
		fail_msg("page %u is encrypted while it is mapped", page);
	}
	if (guest->reached[page] == guest->gmem.root.generation.only) {
		fail_msg("page %u is encrypted before the shoot-down", page);
	}
	guest->reached[page] = 0;
	assert_true(version != 0 && version < VERSION_MAX);
	if (fake.seen[number][version]) {
		fail_msg("version %lu comes twice", version);
	}
	fake.seen[number][version] = true;
	crypto.encryptions++;
	if (crypto_hook != NULL) {
		crypto_hook(guest, page);
	}
}

/* Not secret, but each bit of the key, the name and the page counts. */
static void make_tag(const struct page_mac_key *key, const uint8_t *name, const void *page,
		     uint64_t tag[2])
{
	const uint64_t *words = page;

	tag[0] = *(const uint8_t *)key;
	tag[1] = 1;
	for (size_t i = 0; i < PAGE_NAME_BYTES / 8 + (page != NULL ? PAGE_SIZE / 8 : 0); i++) {
		uint64_t word;

		memcpy(&word, i < 4 ? name + 8 * i : (const void *)&words[i - 4], 8);
		tag[0] = (tag[0] ^ word) * 0x9e3779b97f4a7c15;
		tag[1] = (tag[1] + (word ^ tag[0] >> 29)) * 0xbf58476d1ce4e5b9;
	}
}

void page_tag_name(const struct page_mac_key *mac, const uint8_t name[PAGE_NAME_BYTES],
		   uint8_t tag[PAGE_TAG_BYTES])
{
	uint64_t words[2];

	make_tag(mac, name, NULL, words);
	memcpy(tag, words, sizeof(words));
}

static void seal_with_tag(struct page_job *seal)
{
	struct page_item item = item_of(seal);
	uint64_t tag[2];

	item.out = seal->scratch;
	crypt(seal->key, &item);
	make_tag(seal->mac, seal->name, seal->scratch, tag);
	memcpy(seal->tag, tag, sizeof(tag));
	memcpy(seal->out, seal->scratch, PAGE_SIZE);
}

static bool has_tag(const struct page_job *open)
{
	uint64_t tag[2];

	make_tag(open->mac, open->name, open->in, tag);
	return memcmp(tag, open->tag, sizeof(tag)) == 0;
}

bool page_exchange(struct page_job *seal, struct page_job *open)
{
	if (seal != NULL) {
		const struct page_item item = item_of(seal);

		watch(seal->key, &item);
		if (seal->mac != NULL) {
			seal_with_tag(seal);
		} else {
			crypt(seal->key, &item);
		}
	}
	if (open != NULL && open->mac != NULL && !has_tag(open)) {
		memset(open->out, 0, PAGE_SIZE);
		return false;
	}
	if (open != NULL) {
		const struct page_item item = item_of(open);

		assert_true(seal == NULL || seal->in == open->out);
		(void)guest_of(open->key);
		crypto.decryptions++;
		crypt(open->key, &item);
		crypto.exchanges += seal != NULL;
	}
	return true;
}

void wipe_all(void)
{
	for (size_t i = 0; i < ARRAY_COUNT(fake.wiped); i++) {
		if (fake.wiped[i] != NULL) {
			memset((void *)(uintptr_t)fake.wiped[i], 0, KEYS_BYTES);
		}
	}
	crypto.wipes++;
}

/* --- Guests --- */

void make_window(uint64_t frames)
{
	assert_int_equal(pager_init(frames), 0);
}

void make_guest(struct guest *guest, uint32_t vcpus)
{
	assert_int_equal(gmem_init(&guest->gmem), 0);
	assert_int_equal(pager_vm_create("test", vcpus, NULL, pager_tags, &guest->vm), 0);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(0), SPLIT * PAGE_SIZE),
			 0);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(HIGH_BASE),
					     (VM_PAGES - SPLIT) * PAGE_SIZE),
			 0);
}

void end_guest(struct guest *guest)
{
	gmem_destroy(&guest->gmem);
	pager_vm_destroy(guest->vm);
	guest->vm = NULL;
	while (retire_buries()) {
		(void)work_some();
		(void)retire_poll();
	}
}

unsigned guest_access(struct guest *guest, uint32_t vcpu, uint64_t at, bool write, void *buf,
		      size_t bytes)
{
	struct gmem_faulter by = { .vcpu = vcpu, .place = guest->rip };
	unsigned access = write ? GMEM_ACCESS_WRITE : GMEM_ACCESS_READ;

	for (unsigned faults = 0; faults < 3; faults++) {
		uint64_t *entry = raw_entry(&guest->gmem.root, at);

		if (entry != NULL && (*entry & access) != 0) {
			uint8_t *byte = fake_frame(hpa((*entry & 0x3ffffffff000) | at % PAGE_SIZE));
			uint32_t page = (uint32_t)(at < HIGH_BASE
							   ? at / PAGE_SIZE
							   : SPLIT + (at - HIGH_BASE) / PAGE_SIZE);

			if (pager_caps.accessed_dirty) {
				*entry |= write ? 0x300 : 0x100;
			}
			guest->reached[page] = guest->gmem.root.generation.only;
			memcpy(write ? byte : buf, write ? buf : byte, bytes);
			return faults;
		}
		assert_int_equal(gmem_fault(&guest->gmem, gpa(at), access, &by), GMEM_FAULT_FIXED);
	}
	fail_msg("guest-physical %#lx cannot be reached", at);
	return 0;
}

void guest_write(struct guest *guest, uint32_t page, uint64_t value)
{
	guest->rip++;
	(void)guest_access(guest, 0, address_of(page) + 8, true, &value, 8);
}

uint64_t guest_read(struct guest *guest, uint32_t page)
{
	uint64_t value = 0;

	guest->rip++;
	(void)guest_access(guest, 0, address_of(page) + 8, false, &value, 8);
	return value;
}

bool is_mapped(const struct guest *guest, uint32_t page)
{
	const uint64_t *entry = raw_entry(&guest->gmem.root, address_of(page));

	return entry != NULL && *entry != 0;
}

void press_out(struct guest *guest, uint32_t page)
{
	struct gmem_faulter by = { .vcpu = 0, .place = ++guest->rip };
	uint8_t byte;

	/* The fault at another place ends all holds. */
	assert_int_equal(
		gmem_fault(&guest->gmem, gpa(address_of(VM_PAGES - 1)), GMEM_ACCESS_READ, &by),
		GMEM_FAULT_FIXED);
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < VM_PAGES - 1; i++) {
			if (i != page) {
				assert_int_equal(
					gmem_read(&guest->gmem, gpa(address_of(i)), &byte, 1), 0);
			}
		}
	}
	assert_false(is_mapped(guest, page));
}

struct pager_counters count(const struct guest *guest)
{
	struct pager_counters now;

	pager_count(guest->vm, &now);
	return now;
}

int pager_setup(void **state)
{
	fake_setup(state);
	fake_set_cpu_count(2);
	window_lock = (struct lock){ 0 }; /* a test that failed may have left it locked */
	memset(&crypto, 0, sizeof(crypto));
	memset(&fake, 0, sizeof(fake));
	crypto_hook = NULL;
	pager_tags = false;
	memset(guests, 0, sizeof(guests));
	pager_caps = (struct ept_caps){
		.page_2m = true,
		.page_1g = true,
		.accessed_dirty = true,
		.invept_single = true,
		.structures_wb = true,
		.phys_bits = 46,
	};
	ept_configure(&pager_caps);
	return 0;
}

static void forget_exchanges(struct gmem *gmem)
{
	for (uint32_t i = 0; i < gmem->region_count; i++) {
		((struct sealed_region *)gmem->regions[i].state)->exchanges = 0;
	}
}

int pager_teardown(void **state)
{
	fake_kick_hook = NULL;
	percpu_get(1)->guest_root.only = NULL;
	/* Report a failure under the locks, or in an exchange, instead of hanging. */
	window_lock = (struct lock){ 0 };
	for (uint32_t i = 0; i < window_frame_count(); i++) {
		window_mark_busy(window_frame(i), false);
	}
	for (size_t i = 0; i < VMS; i++) {
		guests[i].gmem.lock = (struct lock){ 0 };
		forget_exchanges(&guests[i].gmem);
		if (guests[i].vm != NULL) {
			end_guest(&guests[i]);
		}
	}
	pager_exit();
	for (size_t i = 0; i < ARRAY_COUNT(fake.wiped); i++) {
		assert_null(fake.wiped[i]);
	}
	return fake_teardown(state);
}

unsigned frames_with(uint64_t value)
{
	unsigned found = 0;

	for (uint64_t i = 0; i < 4 * VM_PAGES; i++) {
		hpa_t frame = hpa(FAKE_FRAME_BASE + i * PAGE_SIZE);

		found += fake_frame_is_live(frame) &&
			 memcmp((uint8_t *)fake_frame(frame) + 8, &value, 8) == 0;
	}
	return found;
}
