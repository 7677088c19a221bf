/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ept/pager.c, store.c: the life of a page, the order of an eviction, what is left in DRAM,
 * failures, the end of the machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_base.h"
#include "tests/unit/pager_guests.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
<<<<<<< theirs
#include "vmm/base/str.h"

#define VMS	    2
#define VM_PAGES    300u
#define SPLIT	    123u /* two regions: pages below and from here on */
#define HIGH_BASE   0x40000000ull
#define FLOOR	    (PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES)
#define VERSION_MAX (1u << 20)

static struct ept_caps caps;
static struct guest {
	struct gmem gmem;
	struct pager_vm *vm;
	uint64_t reached[VM_PAGES]; /* generation of the EPT when a TLB took the page in; 0: none */
	uint64_t rip;
	uint8_t model[VM_PAGES][PAGE_SIZE];
} guests[VMS];

static struct {
	uint8_t next_key;
	uint8_t secret; /* that the last key was made of */
	uint64_t encryptions, decryptions;
	bool seen[256][VERSION_MAX];
	const void *wiped[8];
} crypto;

static uint64_t address_of(uint32_t page)
{
	return page < SPLIT ? page * PAGE_SIZE : HIGH_BASE + (page - SPLIT) * PAGE_SIZE;
}

/* The 4 KiB entry, or NULL when a table is missing. */
static uint64_t *raw_entry(const struct ept_root *root, uint64_t at)
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
	memset(buf, ++crypto.next_key, bytes);
	return 0;
}

int kdf_derive(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt, const char *label,
	       uint8_t *out, size_t out_bytes)
{
	assert_int_equal(secret_bytes, KDF_SECRET_BYTES);
	assert_string_equal(label, "umbra page key");
	assert_int_equal(salt[0], crypto.next_key - (secret[0] == crypto.next_key)); /* fresh */
	crypto.secret = secret[0];
	memset(out, salt[0], out_bytes);
	return 0;
}

int page_key_set(struct page_key *out, const uint8_t *key, size_t key_bytes)
{
	assert_int_equal(key_bytes, 64);
	memset(out, key[0], sizeof(*out));
	return 0;
}

int wipe_register(void *area, size_t bytes)
{
	assert_int_equal(bytes, sizeof(struct page_key));
	for (size_t i = 0; i < ARRAY_COUNT(crypto.wiped); i++) {
		if (crypto.wiped[i] == NULL) {
			crypto.wiped[i] = area;
			return 0;
		}
	}
	return ERR_NOMEM;
}

void wipe_unregister(const void *area)
{
	static const struct page_key zero;

	assert_memory_equal(area, &zero, sizeof(zero));
	for (size_t i = 0; i < ARRAY_COUNT(crypto.wiped); i++) {
		if (crypto.wiped[i] == area) {
			crypto.wiped[i] = NULL;
			return;
		}
	}
	fail_msg("an area that was not registered");
}

/* Every byte of a fake key is its number. */
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

/* The guest whose key it is; keys are numbered as the guests are made. */
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

void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	struct guest *guest = guest_of(key);

	const uint64_t *entry;
	uint64_t version, place;
	uint8_t number = key_number(key);
	uint32_t page;

	assert_int_equal(count, 1);
	memcpy(&version, items->tweak, 8);
	memcpy(&place, items->tweak + 8, 8);
	page = (uint32_t)(place & MASK(47, 0)) + (place >> 48 == 1 ? SPLIT : 0);
	entry = raw_entry(&guest->gmem.root, address_of(page));
	assert_true(page < VM_PAGES && place >> 48 < 2);
	if (entry != NULL && *entry != 0) {
		fail_msg("page %u is encrypted while it is mapped", page);
	}
	if (guest->reached[page] == guest->gmem.root.generation) {
		fail_msg("page %u is encrypted before the shoot-down", page);
	}
	guest->reached[page] = 0;
	assert_true(version != 0 && version < VERSION_MAX);
	if (crypto.seen[number][version]) {
		fail_msg("version %lu comes twice", (unsigned long)version);
	}
	crypto.seen[number][version] = true;
	crypto.encryptions++;
	crypt(key, items);
}

void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	assert_int_equal(count, 1);
	(void)guest_of(key);
	crypto.decryptions++;
	crypt(key, items);
}

/* --- Guests --- */

static void make_window(uint64_t frames)
{
	assert_int_equal(pager_init(frames), 0);
}

static void make_guest(struct guest *guest, uint32_t vcpus)
{
	assert_int_equal(gmem_init(&guest->gmem), 0);
	assert_int_equal(pager_vm_create("test", vcpus, NULL, &guest->vm), 0);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(0), SPLIT * PAGE_SIZE),
			 0);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(HIGH_BASE),
					     (VM_PAGES - SPLIT) * PAGE_SIZE),
			 0);
}

static void end_guest(struct guest *guest)
{
	gmem_destroy(&guest->gmem);
	pager_vm_destroy(guest->vm);
	guest->vm = NULL;
}

/* What the CPU does: translate, set accessed and dirty; else fault. Returns the faults. */
static unsigned guest_access(struct guest *guest, uint32_t vcpu, uint64_t at, bool write, void *buf,
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

			if (caps.accessed_dirty) {
				*entry |= write ? 0x300 : 0x100;
			}
			guest->reached[page] = guest->gmem.root.generation;
			memcpy(write ? byte : buf, write ? buf : byte, bytes);
			return faults;
		}
		assert_int_equal(gmem_fault(&guest->gmem, gpa(at), access, &by), GMEM_FAULT_FIXED);
	}
	fail_msg("guest-physical %#lx cannot be reached", (unsigned long)at);
	return 0;
}

static void guest_write(struct guest *guest, uint32_t page, uint64_t value)
{
	guest->rip++;
	(void)guest_access(guest, 0, address_of(page) + 8, true, &value, 8);
}

static uint64_t guest_read(struct guest *guest, uint32_t page)
{
	uint64_t value = 0;

	guest->rip++;
	(void)guest_access(guest, 0, address_of(page) + 8, false, &value, 8);
	return value;
}

static bool is_mapped(const struct guest *guest, uint32_t page)
{
	const uint64_t *entry = raw_entry(&guest->gmem.root, address_of(page));

	return entry != NULL && *entry != 0;
}

/* Opens others until the page is not in the window any more (door: it holds nothing). */
static void press_out(struct guest *guest, uint32_t page)
{
	struct gmem_faulter by = { .vcpu = 0, .place = ++guest->rip };
	uint8_t byte;

	/* Lets go of what was held. */
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

static struct pager_counters count(const struct guest *guest)
{
	struct pager_counters now;

	pager_count(guest->vm, &now);
	return now;
}

static int setup(void **state)
{
	fake_setup(state);
	fake_set_cpu_count(2);
	memset(&crypto, 0, sizeof(crypto));
	memset(guests, 0, sizeof(guests));
	caps = (struct ept_caps){
		.page_2m = true,
		.page_1g = true,
		.accessed_dirty = true,
		.invept_single = true,
		.structures_wb = true,
		.phys_bits = 46,
	};
	ept_configure(&caps);
	return 0;
}

static int teardown(void **state)
{
	fake_kick_hook = NULL;
	percpu_get(1)->guest_root = NULL;
	window_lock = (struct lock){ 0 }; /* a failure under the locks is to be told, not to hang */
	for (size_t i = 0; i < VMS; i++) {
		guests[i].gmem.lock = (struct lock){ 0 };
		if (guests[i].vm != NULL) {
			end_guest(&guests[i]);
		}
	}
	pager_exit();
	for (size_t i = 0; i < ARRAY_COUNT(crypto.wiped); i++) {
		assert_null(crypto.wiped[i]);
	}
	return fake_teardown(state);
}
=======
>>>>>>> mine

/* --- The life of a page --- */

static void test_states(void **state)
{
	struct guest *guest = &guests[0];
	struct pager_counters now;

	(void)state;
	make_window(FLOOR);
	make_guest(guest, 1);
	assert_int_equal(guest_read(guest, 7), 0); /* absent reads as zero */
	now = count(guest);
	assert_int_equal(now.first_touches, 1);
	assert_int_equal(now.clear_pages, 1);
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 0); /* never written: stays absent */
	guest_write(guest, 7, 0x1234);
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 1);
	assert_int_equal(guest_read(guest, 7), 0x1234);
	assert_int_equal(crypto.decryptions, 1);
	now = count(guest);
	assert_int_equal(now.clean_faults, 1);
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 1); /* clean: dropped */
	now = count(guest);
	assert_int_equal(now.drops, 1);
	assert_int_equal(guest_read(guest, 7), 0x1234);
	guest_write(guest, 7, 0); /* all zero again: owns nothing */
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 1);
	assert_int_equal(guest_read(guest, 7), 0);
	assert_int_equal(crypto.decryptions, 2);
	guest_write(guest, 7, 0x5678); /* the version goes on (page_encrypt looks) */
	press_out(guest, 7);
	assert_int_equal(crypto.encryptions, 2);
	assert_int_equal(guest_read(guest, 7), 0x5678);
	now = count(guest);
	assert_int_equal(now.sealings, 2);
	assert_int_equal(now.opens, crypto.decryptions);
	assert_int_equal(now.clear_peak, FLOOR);
	assert_true(now.shoot_downs >= 5 && now.door_opens > 0 && now.zero_drops > 0);
	pager_log(guest->vm);
	assert_non_null(strstr(fake_log_text(), "2 sealed"));
}

/* A fault whose victim has to be sealed is counted as such, with A/D bits and without. */
static void test_dirty_victims(void **state)
{
	struct guest *guest = &guests[0];
	struct pager_counters now;
	uint64_t before;

	pager_caps.accessed_dirty = *(const bool *)*state;
	ept_configure(&pager_caps);
	make_window(FLOOR);
	make_guest(guest, 1);
	for (uint32_t i = 0; i < FLOOR; i++) {
		guest_write(guest, i, i + 1);
	}
	now = count(guest);
	assert_int_equal(now.first_touches, FLOOR);
	for (uint32_t i = 0; i < FLOOR; i++) {
		(void)guest_read(guest, FLOOR + i);
	}
	now = count(guest);
	assert_int_equal(now.dirty_faults, now.sealings);
	assert_true(now.sealings >= FLOOR - 2);
	for (uint32_t i = 0; i < FLOOR; i++) {
		assert_int_equal(guest_read(guest, i), i + 1);
	}
	/* Read only so far: nothing is encrypted again. */
	before = crypto.encryptions;
	press_out(guest, 0);
	assert_int_equal(guest_read(guest, 0), 1);
	press_out(guest, 0);
	assert_true(crypto.encryptions <= before + 2);
}

/* The door's writes set no D bit: a page that the guest has only read must still be sealed. */
static void test_door_dirties(void **state)
{
	struct guest *guest = &guests[0];
	uint64_t value = 0xabcdef, expected = 0xabcdef;

	(void)state;
	make_window(FLOOR);
	make_guest(guest, 1);
	guest_write(guest, 3, 1);
	press_out(guest, 3);
	assert_int_equal(guest_read(guest, 3), 1); /* open, clean, mapped */
	assert_int_equal(gmem_write(&guest->gmem, gpa(address_of(3) + 8), &value, 8), 0);
	press_out(guest, 3);
	assert_int_equal(guest_read(guest, 3), 0xabcdef);
	press_out(guest, 3);
	assert_int_equal(gmem_cmpxchg(&guest->gmem, gpa(address_of(3) + 8), &expected, 0x777, 8),
			 0);
	press_out(guest, 3); /* never mapped meanwhile */
	assert_int_equal(guest_read(guest, 3), 0x777);
}

/* --- The order: CPU 1 runs the guest while CPU 0 evicts --- */

static struct {
	struct guest *guest;
	uint32_t page;
	hpa_t frame; /* where CPU 1's TLB says the page is */
	unsigned kicks;
} running;

/* The last moment before CPU 1 leaves: it still writes by what its TLB holds. */
static void late_write(uint32_t cpu)
{
	struct ept_root *root = &running.guest->gmem.root;

	assert_int_equal(cpu, 1);
	if (running.frame.v != 0 && !is_mapped(running.guest, running.page)) {
		uint64_t value = 0xdeadbeef;

		assert_int_equal(crypto.encryptions, 0);
		memcpy((uint8_t *)fake_frame(running.frame) + 8, &value, 8);
		running.frame = hpa(0);
		running.kicks++;
	}
	percpu_get(1)->guest_root = root; /* comes back at once, with what the TLB then holds */
	root->seen[1] = root->generation;
}

static void test_late_write(void **state)
{
	struct guest *guest = &guests[0];
	uint8_t byte;

	(void)state;
	make_window(FLOOR);
	make_guest(guest, 1);
	guest_write(guest, 5, 0x11);
	running.guest = guest;
	running.page = 5;
	running.kicks = 0;
	running.frame = hpa(*raw_entry(&guest->gmem.root, address_of(5)) & 0x3ffffffff000);
	guest->gmem.root.seen[1] = guest->gmem.root.generation;
	percpu_get(1)->guest_root = &guest->gmem.root;
	fake_kick_hook = late_write;
	(void)guest_read(guest, 299);
	for (uint32_t i = 10; i < VM_PAGES && running.kicks == 0; i++) {
		assert_int_equal(gmem_read(&guest->gmem, gpa(address_of(i)), &byte, 1), 0);
	}
	assert_int_equal(running.kicks, 1);
	percpu_get(1)->guest_root = NULL;
	assert_int_equal(crypto.encryptions, 1);
	assert_int_equal(guest_read(guest, 5), 0xdeadbeef);
}

<<<<<<< theirs
/* --- Floors and forward progress --- */

static void test_floor_in_words(void **state)
{
	struct guest *guest = &guests[0];
	struct pager_vm *none = NULL;

	(void)state;
	make_window(FLOOR + 2 * PAGER_VCPU_FRAMES);
	make_guest(guest, 1);
	assert_int_equal(pager_vm_create("greedy", 2, NULL, &none), ERR_RANGE);
	assert_null(none);
	assert_non_null(strstr(fake_log_text(), "2 vCPUs need 516K of the window, and other VMs "));
	assert_int_equal(pager_vm_create("modest", 1, (uint8_t[32]){ 0xee }, &none), 0);
	assert_int_equal(crypto.secret, 0xee);
	pager_vm_destroy(none);
	end_guest(guest); /* gives its floor back */
	assert_int_equal(pager_vm_create("greedy", 2, NULL, &none), 0);
	pager_vm_destroy(none);
}

static void test_floor_holds(void **state)
{
	(void)state;
	make_window(2 * FLOOR + 10);
	make_guest(&guests[0], 1);
	make_guest(&guests[1], 1);
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		guest_write(&guests[0], i, i + 1);
	}
	assert_int_equal(count(&guests[0]).clear_pages, 2 * FLOOR + 10); /* all that is free */
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			guest_write(&guests[1], i, i + 1);
			assert_true(count(&guests[0]).clear_pages >= FLOOR);
		}
	}
	assert_int_equal(count(&guests[0]).clear_pages, FLOOR);
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		assert_int_equal(guest_read(&guests[0], i), i + 1);
		assert_true(count(&guests[1]).clear_pages >= FLOOR);
	}
}

/* A held page stays whatever the door and other VMs do; at another place it may go. */
static void test_hold(void **state)
{
	struct guest *guest = &guests[0];
	uint64_t value = 1;
	uint8_t byte;

	(void)state;
	make_window(2 * FLOOR);
	make_guest(guest, 1);
	make_guest(&guests[1], 1);
	guest->rip = 0x1000;
	for (uint32_t i = 0; i < PAGER_VCPU_FRAMES - 1; i++) {
		(void)guest_access(guest, 0, address_of(i), true, &value, 1);
	}
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			(void)gmem_read(&guest->gmem, gpa(address_of(i)), &byte, 1);
			guest_write(&guests[1], i, 1);
		}
	}
	for (uint32_t i = 0; i < PAGER_VCPU_FRAMES - 1; i++) {
		assert_true(is_mapped(guest, i));
	}
	press_out(guest, 0);
	/* So does a pinned one. */
	const struct region_ops *ops = guest->gmem.regions[0].ops;
	hpa_t frame;
	assert_int_equal(ops->pin(&guest->gmem, guest->gmem.regions, gpa(0), false, &frame), 0);
	press_out(guest, 1);
	assert_int_equal(*(uint8_t *)fake_frame(frame), 1);
	ops->unpin(&guest->gmem, guest->gmem.regions, gpa(0), false);
}

/*
 * One instruction of each of two vCPUs in each of two VMs needs 64 pages at once, all sealed, at
 * exactly the floor: each ends within as many faults as it needs pages.
 */
static void test_forward_progress(void **state)
{
	unsigned faults[VMS][2] = { 0 };
	bool done[VMS][2] = { 0 };
	uint8_t byte;

	(void)state;
	make_window(2 * (2 * PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES));
	for (size_t v = 0; v < VMS; v++) {
		make_guest(&guests[v], 2);
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			guest_write(&guests[v], i, i + 1);
		}
		guests[v].rip = 0x77000;
	}
	for (unsigned step = 0; step < 4 * 2 * PAGER_VCPU_FRAMES; step++) {
		struct guest *guest = &guests[step % VMS];
		uint32_t vcpu = step / VMS % 2, i = 0;
		struct gmem_faulter by = { .vcpu = vcpu, .place = guest->rip };

		while (i < PAGER_VCPU_FRAMES && is_mapped(guest, vcpu * 100 + i)) {
			i++;
		}
		if (i == PAGER_VCPU_FRAMES) {
			done[step % VMS][vcpu] = true;
		} else if (!done[step % VMS][vcpu]) {
			faults[step % VMS][vcpu]++;
			assert_int_equal(gmem_fault(&guest->gmem, gpa(address_of(vcpu * 100 + i)),
						    GMEM_ACCESS_READ, &by),
					 GMEM_FAULT_FIXED);
		}
		(void)gmem_read(&guest->gmem, gpa(address_of(200 + step % 100)), &byte, 1);
	}
	for (size_t v = 0; v < VMS; v++) {
		for (size_t vcpu = 0; vcpu < 2; vcpu++) {
			assert_true(done[v][vcpu] && faults[v][vcpu] <= PAGER_VCPU_FRAMES);
		}
	}
}

/* --- Two VMs and a model --- */

static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % limit;
}

static void door_op(struct guest *guest, uint8_t *model, uint64_t at, size_t bytes)
{
	static uint8_t buf[3 * PAGE_SIZE];

	switch (random_below(4)) {
	case 0:
		for (size_t i = 0; i < bytes; i++) {
			buf[i] = (uint8_t)random_below(256);
		}
		assert_int_equal(gmem_write(&guest->gmem, gpa(at), buf, bytes), 0);
		memcpy(model, buf, bytes);
		break;
	case 1:
		assert_int_equal(gmem_fill(&guest->gmem, gpa(at), 0, bytes), 0);
		memset(model, 0, bytes);
		break;
	default:
		assert_int_equal(gmem_read(&guest->gmem, gpa(at), buf, bytes), 0);
		assert_memory_equal(buf, model, bytes);
	}
}

static void random_op(struct guest *guest)
{
	uint32_t page = random_below(random_below(3) == 0 ? VM_PAGES : 90);
	uint32_t offset = random_below(PAGE_SIZE / 8) * 8;
	uint64_t at = address_of(page) + offset, value = random_below(5);
	uint8_t *model = guest->model[page] + offset;
	uint32_t region_end = page < SPLIT ? SPLIT : VM_PAGES;

	guest->rip += random_below(2);
	switch (random_below(8)) {
	case 0: {
		size_t room = (region_end - page) * PAGE_SIZE - offset;
		size_t bytes = 1 + random_below(2 * PAGE_SIZE);

		door_op(guest, model, at, MIN(room, bytes));
		break;
	}
	case 1:
		if (random_below(2) == 0) { /* a whole page of zeros */
			assert_int_equal(
				gmem_fill(&guest->gmem, gpa(address_of(page)), 0, PAGE_SIZE), 0);
			memset(guest->model[page], 0, PAGE_SIZE);
		}
		break;
	case 2:
	case 3:
	case 4:
		(void)guest_access(guest, 0, at, true, &value, 8);
		memcpy(model, &value, 8);
		break;
	default:
		(void)guest_access(guest, 0, at, false, &value, 8);
		assert_memory_equal(&value, model, 8);
	}
}

static void test_model(void **state)
{
	uint64_t window = 2 * FLOOR + 20;

	random_state = 3;
	caps.accessed_dirty = *(const bool *)*state;
	ept_configure(&caps);
	make_window(window);
	make_guest(&guests[0], 1);
	make_guest(&guests[1], 1);
	for (unsigned op = 0; op < 30000; op++) {
		uint32_t who = random_below(VMS);
		uint64_t other = count(&guests[1 - who]).clear_pages;
		uint64_t after;

		random_op(&guests[who]);
		after = count(&guests[1 - who]).clear_pages;
		assert_true(after >= MIN(other, FLOOR));
		assert_true(after + count(&guests[who]).clear_pages <= window);
	}
	for (size_t v = 0; v < VMS; v++) {
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			static uint8_t page[PAGE_SIZE];

			assert_int_equal(
				gmem_read(&guests[v].gmem, gpa(address_of(i)), page, PAGE_SIZE), 0);
			assert_memory_equal(page, guests[v].model[i], PAGE_SIZE);
		}
		assert_true(count(&guests[v]).sealings > 500 && count(&guests[v]).drops > 100);
	}
	assert_int_equal(count(&guests[0]).opens + count(&guests[1]).opens, crypto.decryptions);
}

=======
>>>>>>> mine
/* --- What is left in DRAM, and failures --- */

static void test_residue(void **state)
{
	(void)state;
	make_window(FLOOR);
	make_guest(&guests[0], 1);
	for (uint32_t i = 0; i < VM_PAGES; i++) {
		guest_write(&guests[0], i, 0x6d61726b6572);
	}
	assert_int_equal(frames_with(0x6d61726b6572), FLOOR);
	end_guest(&guests[0]);
	assert_int_equal(frames_with(0x6d61726b6572), 0);
}

static void test_no_memory(void **state)
{
	struct gmem_faulter by = { 0, 1 };
	struct guest *guest = &guests[0];
	struct pager_vm *vm;

	(void)state;
	fake_frames_fail_after(3);
	assert_int_equal(pager_init(10), ERR_NOMEM);
	fake_frames_fail_after(-1);
	fake_pages_fail_after(0);
	assert_int_equal(pager_init(10), ERR_NOMEM);
	fake_pages_fail_after(-1);
	assert_int_equal(pager_init(0), ERR_RANGE);
	make_window(2 * FLOOR);
	make_guest(guest, 1);
	fake_pages_fail_after(0);
	assert_int_equal(pager_vm_create("x", 1, NULL, &vm), ERR_NOMEM);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(SIZE_1G * 4), SIZE_2M),
			 ERR_NOMEM);
	assert_int_equal(gmem_fault(&guest->gmem, gpa(0), GMEM_ACCESS_READ, &by),
			 GMEM_FAULT_NO_MEMORY); /* no EPT table */
	fake_pages_fail_after(-1);
	fake_frames_fail_after(3);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(SIZE_1G * 4), SIZE_2M),
			 ERR_NOMEM);
	fake_frames_fail_after(-1);
	assert_int_equal(gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(0x1000), SIZE_2M),
			 ERR_EXISTS);
	guest_write(guest, 0, 9);
	assert_int_equal(guest_read(guest, 0), 9);
}

static const bool with_ad = true, without_ad = false;

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_states),
		TEST_WITH(test_dirty_victims, with_ad),
		TEST_WITH(test_dirty_victims, without_ad),
		TEST(test_door_dirties),
		TEST(test_late_write),
		TEST(test_residue),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
