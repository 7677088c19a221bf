/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that evict each other's pages, under ThreadSanitizer. Each thread is a CPU with its own TLB,
 * which it fills, uses and flushes as hardware does: it writes a page that it holds as dirty
 * without reading the EPT, until it is kicked out of guest mode. Guests write plain words, and the
 * cipher reads them the same way. So a write that is not ordered before the encryption of its page
 * is a data race, which ThreadSanitizer reports. Each word has one writer, which expects to read
 * what it wrote, so a lost write is detected too. Exits with 0 on success.
 *
 * It runs with eight CPUs and with four. The first half: vCPUs of VM 0. The others but the last:
 * vCPUs of VM 1. Both VMs are members of a share. The last CPU: a device of both VMs, and the boot
 * processor. It makes, seals and ends a third VM, takes the share from a VM and gives it back,
 * moves it, zeroes words of it, and replaces a sealed region of VM 1, which it then buries.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/kdf.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "ept/gmem.h"
#include "ept/gmem_priv.h"
#include "ept/invept_priv.h"
#include "crypto/keyslot.h"
#include "ept/pager_priv.h"
#include "ept/retire.h"
#include "tests/unit/race_cpus.h"
#include "tests/unit/race_ept.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/host/cache.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/smp.h"

#define VMS	 2
#define SHORT	 VMS /* number of the third VM */
#define VM_PAGES 500u
#define SHARED	 700u /* pages of the share, which lies behind a VM's own; more than its floor */
#define PAGES	 (VM_PAGES + SHARED)
/* Two VMs whose vCPUs are all CPUs but one, the third VM with one, the share with one for each. */
#define WINDOW(n)  (2 * (n)*PAGER_VCPU_FRAMES + (VMS + 2) * PAGER_PIN_FRAMES)
#define TLB_SIZE   32u
#define STEPS	   192000u /* of all CPUs */
#define LIVES	   12u
#define VERSIONS   (1u << 19)
#define PLACED	   16u /* pages of the region of VM 1 that is replaced; it lies behind the share */
#define PLACINGS   600u
#define FAR	   (PAGES + PLACED) /* where the share lies when it has moved */
#define POOL_PAGES (1000u + 2 * PLACINGS)
#define FRAMES	   (WINDOW(RACE_CPUS) + (VMS + LIVES) * VM_PAGES + SHARED + (PLACINGS + 1) * PLACED)

static uint32_t cpus; /* how many run now */
static struct gmem gmems[VMS + 1];
static struct pager_vm *vms[VMS + 1], *group;
static struct sealed_region *share;
static uint8_t seen[VMS][VERSIONS]; /* the versions that were used under the VM's key */

static struct translation {
	uint64_t *entry;
	uint64_t *page; /* NULL: empty */
	const struct gmem *gmem;
	uint32_t number;
	bool writable, dirty;
} tlbs[RACE_CPUS][TLB_SIZE];

/* The last words that this thread wrote, by VM and page. */
static _Thread_local uint64_t written[VMS + 1][PAGES];
static uint64_t late_dirties;

/*
 * A meeting: a vCPU of VM 0 stops while it seals a page of `owner` (for the share: while pages of
 * VM 1 are shot down). What the boot processor does meanwhile has to wait for it.
 */
static struct {
	const struct pager_vm *owner; /* NULL: no meeting is wanted */
	bool is_on;
} meeting;
static uint32_t meetings;

/* --- What the pager uses. Addresses are physical addresses; the program lies low. --- */

static uint8_t pool[POOL_PAGES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint8_t frames[FRAMES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static uint32_t pool_used, frames_used;

void *page_alloc(size_t count)
{
	uint32_t at = __atomic_fetch_add(&pool_used, (uint32_t)count, __ATOMIC_RELAXED);

	return at + count <= POOL_PAGES ? pool[at] : NULL;
}

/* A CPU that uses it after this races with the write. */
void page_free(void *pages, size_t count)
{
	memset(pages, 0, count * PAGE_SIZE);
}

int frames_alloc_keyed(uint64_t page_count, uint64_t align_pages, hpa_t *first, bool *stale)
{
	*stale = false;
	return frames_alloc(page_count, align_pages, first);
}

int frames_alloc(uint64_t page_count, uint64_t align_pages, hpa_t *first)
{
	uint32_t at = frames_used;

	frames_used += (uint32_t)page_count;
	if (frames_used > FRAMES) {
		return ERR_NOMEM;
	}
	*first = hpa((uintptr_t)frames[at]);
	return 0;
}

void frames_free(hpa_t first, uint64_t page_count)
{
}

void frames_free_flushed(hpa_t first, uint64_t page_count)
{
}

static void bury(struct gmem_region *region)
{
	while (!region->ops->bury(NULL, region, GMEM_BURY_TOUCHED)) {
	}
}

/* A region that is closed, and that any CPU may bury. */
enum grave_state { GRAVE_EMPTY, GRAVE_FULL, GRAVE_BUSY };
static struct {
	enum grave_state state; /* atomic */
	struct gmem_region region;
} grave;

static void bury_one(void)
{
	enum grave_state full = GRAVE_FULL;

	if (__atomic_compare_exchange_n(&grave.state, &full, GRAVE_BUSY, false, __ATOMIC_ACQUIRE,
					__ATOMIC_RELAXED)) {
		bury(&grave.region);
		__atomic_store_n(&grave.state, GRAVE_EMPTY, __ATOMIC_RELEASE);
	}
}

static void bury_all(void)
{
	do {
		bury_one();
	} while (__atomic_load_n(&grave.state, __ATOMIC_ACQUIRE) != GRAVE_EMPTY);
}

/* On the boot processor. */
static void end_region(struct gmem_region *region)
{
	region->ops->close(region);
	bury_all();
	grave.region = *region;
	__atomic_store_n(&grave.state, GRAVE_FULL, __ATOMIC_RELEASE);
}

/* As ept/retire.c: what is left is buried at some time, also after the VM's account has ended. */
void retire(struct gmem *gmem)
{
	for (uint32_t i = 0; i < gmem->region_count; i++) {
		end_region(&gmem->regions[i]);
	}
	ept_root_free(&gmem->root);
	page_free(gmem->grave, 1);
}

void smp_stop_others(void)
{
}

/* An interrupt takes a while: until then the CPU uses its TLB, and others run too. */
void smp_kick(uint32_t cpu_index)
{
	for (uint32_t i = race_random(16); i != 0; i--) {
		race_pause();
	}
	__atomic_store_n(&race_kicked[cpu_index], true, __ATOMIC_SEQ_CST);
	race_count(&race_kicks);
}

bool fake_invept(uint64_t type, uint64_t eptp)
{
	memset(tlbs[race_self], 0, sizeof(tlbs[race_self]));
	return true;
}

void fake_cli(void)
{
}

void fake_hlt(void)
{
	race_broken("a CPU stopped");
}

/* A second is over after a few turns of pager_drain. */
uint64_t tsc_hz(void)
{
	return 20000;
}

void wipe_all(void)
{
}

bool ct_equal(const void *a, const void *b, size_t bytes)
{
	return memcmp(a, b, bytes) == 0;
}

void secure_zero(void *p, size_t bytes)
{
	memset(p, 0, bytes);
}

/* No version is used twice. */
static void see_version(const struct page_job *seal)
{
	uint64_t version;

	memcpy(&version, seal->tweak, sizeof(version));
	for (uint32_t v = 0; v < VMS; v++) {
		if ((const void *)seal->key == (const void *)vms[v] &&
		    (version >= VERSIONS ||
		     __atomic_exchange_n(&seen[v][version], 1, __ATOMIC_RELAXED) != 0)) {
			race_broken("VM %u, version %lu comes twice", v, version);
		}
	}
}

/* Reads the key, as a cipher does. */
static void scramble(const struct page_job *job)
{
	uint64_t *out = job->out, words[2], key;
	const uint64_t *in = job->in;

	memcpy(words, job->tweak, sizeof(words));
	memcpy(&key, job->key, sizeof(key));
	words[0] ^= key;
	for (uint64_t i = 0; i < PAGE_SIZE / 8; i++) {
		out[i] = in[i] ^ (words[0] * 0x9e3779b97f4a7c15 + words[1] * 31 + i);
	}
}

/* The tag is the sum of the ciphertext's words and the name's. */
static uint64_t sum_of(const struct page_job *job, const uint64_t *page)
{
	uint64_t words[PAGE_NAME_BYTES / 8], sum = 0;

	memcpy(words, job->name, sizeof(words));
	for (uint64_t i = 0; i < PAGE_SIZE / 8; i++) {
		sum += page[i] ^ words[i % ARRAY_COUNT(words)];
	}
	return sum;
}

/* Other CPUs run in the middle of what this one does. */
static void be_slow(void)
{
	for (uint32_t i = race_random(4); i != 0; i--) {
		race_pause();
	}
}

static bool is_met(const struct page_job *seal)
{
	const struct pager_vm *owner = __atomic_load_n(&meeting.owner, __ATOMIC_ACQUIRE);
	bool met = false;

	if (race_self < cpus / 2 && seal != NULL && owner != NULL &&
	    (const void *)seal->key == (const void *)owner) {
		lock_take(&window_lock, LOCK_WINDOW);
		met = owner != group || share->mappings[1].shoot_downs != 0;
		lock_drop(&window_lock);
	}
	/* One CPU is enough. */
	return met && __atomic_exchange_n(&meeting.owner, NULL, __ATOMIC_ACQ_REL) != NULL;
}

/* The boot processor has time enough to do what it must not do now. */
static void meet(void)
{
	__atomic_store_n(&meeting.is_on, true, __ATOMIC_RELEASE);
	(void)usleep(100000);
	__atomic_store_n(&meeting.is_on, false, __ATOMIC_RELEASE);
}

/* Does another CPU have it as dirty? A guess, for that CPU may change its TLB meanwhile. */
static __attribute__((noinline, no_sanitize("thread"))) bool is_in_a_tlb(const void *page)
{
	for (uint32_t cpu = 0; cpu < RACE_CPUS; cpu++) {
		for (uint32_t i = 0; i < TLB_SIZE; i++) {
			if (cpu != race_self && tlbs[cpu][i].dirty && tlbs[cpu][i].page == page) {
				return true;
			}
		}
	}
	return false;
}

bool page_exchange(struct page_job *seal, struct page_job *open)
{
	uint64_t sum;

	be_slow();
	if (is_met(seal)) {
		meet();
	}
	if (seal != NULL && is_in_a_tlb(seal->in)) {
		(void)usleep(300); /* a guest that could still write to the page would do it now */
	}
	if (seal != NULL) {
		see_version(seal);
		scramble(seal);
		sum = sum_of(seal, seal->out);
		memcpy(seal->tag, &sum, sizeof(sum));
		be_slow();
	}
	if (open != NULL) {
		sum = sum_of(open, open->in);
		if (open->mac != NULL && memcmp(open->tag, &sum, sizeof(sum)) != 0) {
			return false; /* the fault that asked for it fails this test */
		}
		scramble(open);
	}
	return true;
}

void page_tag_name(const struct page_mac_key *mac, const uint8_t name[PAGE_NAME_BYTES],
		   uint8_t tag[PAGE_TAG_BYTES])
{
	memcpy(tag, name, PAGE_TAG_BYTES);
}

/* --- A CPU --- */

/* The page's bytes, translated through the TLB; NULL on an EPT violation. */
static uint64_t *translate(const struct gmem *gmem, uint32_t number, bool write)
{
	struct translation *t = &tlbs[race_self][number % TLB_SIZE];
	bool ad = ept_caps()->accessed_dirty;
	uint64_t value;

	if (t->page == NULL || t->gmem != gmem || t->number != number) {
		uint64_t *entry = race_walk(&gmem->root, number * PAGE_SIZE);

		value = entry != NULL ? race_mark(entry, RACE_READ, ad ? RACE_ACCESSED : 0) : 0;
		if (value == 0) {
			return NULL;
		}
		*t = (struct translation){
			.entry = entry,
			.page = (uint64_t *)(value & RACE_ADDRESS),
			.gmem = gmem,
			.number = number,
			.writable = (value & RACE_WRITE) != 0,
			.dirty = !ad || (value & RACE_DIRTY) != 0,
		};
	}
	if (write && !(t->dirty && t->writable)) {
		value = t->writable ? race_mark(t->entry, RACE_WRITE, RACE_DIRTY) : 0;
		if (value == 0 || (uint64_t *)(value & RACE_ADDRESS) != t->page) {
			t->page = NULL; /* an EPT violation drops the translation */
			race_count(&late_dirties);
			return NULL;
		}
		t->dirty = true;
	}
	return t->page;
}

/* The next page in sequence, or any. */
static uint32_t next_page(uint32_t last)
{
	if (race_random(2) == 0 && last + 1 < VM_PAGES) {
		return last + 1;
	}
	if (race_random(4) == 0) {
		return VM_PAGES + race_random(SHARED);
	}
	return race_random(race_random(4) == 0 ? VM_PAGES : 400);
}

/* The share is regions[1] of both VMs. While it is off, no fault or access finds it. */
static struct gmem_region *share_in(uint32_t vm)
{
	return &gmems[vm].regions[1];
}

/* Where the VM has a page now, as a number. */
static uint32_t place_of(uint32_t vm, uint32_t number)
{
	const uint64_t base = __atomic_load_n(&share_in(vm)->base.v, __ATOMIC_ACQUIRE);

	return number < VM_PAGES ? number : number - VM_PAGES + (uint32_t)(base / PAGE_SIZE);
}

/* One instruction: reads or writes this CPU's word of a page. */
static void step(uint32_t vm, uint32_t vcpu, uint32_t at, uint32_t number)
{
	bool write = race_random(3) == 0;
	struct gmem_faulter by = { .vcpu = vcpu, .place = at };
	struct gmem *gmem = &gmems[vm];
	enum gmem_fault_result result;
	uint64_t *page;

	for (;;) {
		const uint32_t place = place_of(vm, number);

		page = translate(gmem, place, write);
		if (page != NULL) {
			break;
		}
		ept_tlb_leave();
		result = gmem_fault(gmem, gpa(place * PAGE_SIZE), write ? RACE_WRITE : RACE_READ,
				    &by);
		if (result != GMEM_FAULT_FIXED &&
		    (result != GMEM_FAULT_MMIO || number < VM_PAGES)) {
			race_broken("no memory");
		}
		ept_tlb_enter(&gmem->root);
	}
	if (page[8 * race_self] != written[vm][number]) {
		race_broken("CPU %u, VM %u, page %u: %lu was written, %lu is read", race_self, vm,
			    number, written[vm][number], page[8 * race_self]);
	}
	if (write) {
		page[8 * race_self] = ++written[vm][number];
	}
}

/* Writes to a page of the region that is replaced: what was written before may be gone. */
static void use_placed(uint32_t at, uint32_t number)
{
	struct gmem_faulter by = { .vcpu = 0, .place = at };
	uint64_t *page;

	while ((page = translate(&gmems[1], number, true)) == NULL) {
		ept_tlb_leave();
		if (gmem_fault(&gmems[1], gpa(number * PAGE_SIZE), RACE_WRITE, &by) !=
		    GMEM_FAULT_FIXED) {
			race_broken("no memory");
		}
		ept_tlb_enter(&gmems[1].root);
	}
	page[8 * race_self] = at;
}

/* This CPU's word of a page holds what it wrote last; it writes another value. */
static void use_door(uint32_t vm, uint32_t number)
{
	gpa_t at = gpa(place_of(vm, number) * PAGE_SIZE + 64 * race_self);
	uint64_t value = ~0ul;

	if (gmem_read(&gmems[vm], at, &value, 8) != 0 || value != written[vm][number]) {
		race_broken("the door, VM %u, page %u: %lu was written, %lu is read", vm, number,
			    written[vm][number], value);
	}
	if (number >= VM_PAGES && race_random(2) == 0) {
		written[vm][number] = 0;
		(void)gmem_fill(&gmems[vm], at, 0, 8);
		return;
	}
	value = ++written[vm][number];
	(void)gmem_write(&gmems[vm], at, &value, 8);
}

/* As an exit handler does it. */
static void emulate(uint32_t vm)
{
	uint64_t value, count, unclaimed;
	struct pager_counters now;

	use_door(vm, race_random(VM_PAGES));
	bury_one();
	pager_count(vms[1 - vm], &now);
	pager_window(&count, &unclaimed);
	if (count != WINDOW(cpus) || unclaimed > count) {
		race_broken("a window of %lu frames, %lu of them unclaimed", count, unclaimed);
	}
	if (vm == 1 &&
	    gmem_read(&gmems[1], gpa((PAGES + race_random(PLACED)) * PAGE_SIZE), &value, 8) != 0) {
		race_broken("the door found no memory");
	}
}

static void run_vcpu(uint32_t vm, uint32_t vcpu)
{
	const uint32_t steps = STEPS / cpus;
	uint32_t page = 0;

	for (uint32_t i = 0; i < steps;) {
		ept_tlb_enter(&gmems[vm].root);
		for (; i < steps && !race_was_kicked() && race_random(32) != 0; i++) {
			if (vm == 1 && race_random(8) == 0) {
				use_placed(i, PAGES + race_random(PLACED));
				continue;
			}
			page = next_page(page);
			step(vm, vcpu, i, page);
			if (race_random(64) == 0) {
				race_pause(); /* in guest mode, so that others have to kick it */
			}
		}
		ept_tlb_leave();
		emulate(vm);
	}
}

static void make_vm(uint32_t v, uint32_t vcpus, bool has_tags)
{
	if (gmem_init(&gmems[v]) != 0 ||
	    pager_vm_create("race", vcpus, NULL, has_tags, &vms[v]) != 0 ||
	    gmem_add_ram_sealed(&gmems[v], vms[v], gpa(0), VM_PAGES * PAGE_SIZE) != 0) {
		race_broken("no VM");
	}
}

/* Nothing is mapped at a place where VM v has not got the share. */
static void check_gone(uint32_t v, uint64_t place)
{
	for (uint32_t i = 0; i < SHARED; i++) {
		const uint64_t *entry = race_walk(&gmems[v].root, (place + i) * PAGE_SIZE);

		if (entry != NULL && __atomic_load_n(entry, __ATOMIC_RELAXED) != 0) {
			race_broken("VM %u, page %u of the share: mapped where it is not", v, i);
		}
	}
}

/*
 * VM v has no share for a while; its vCPUs try again and again. The others still find their own
 * mappings.
 */
static void move_share(uint32_t v)
{
	struct gmem *gmem = &gmems[v];
	struct gmem_region *region = share_in(v);

	lock_take(&gmem->lock, LOCK_GMEM);
	atomic_store_release(&region->off, true);
	pager_share_leave(share, gmem, true);
	lock_take(&window_lock, LOCK_WINDOW);
	if (share->mappings[v].gmem != NULL || share->mappings[v].shoot_downs != 0) {
		race_broken("a CPU still uses the mapping that has gone");
	}
	lock_drop(&window_lock);
	lock_drop(&gmem->lock);
	for (uint32_t i = race_random(64); i != 0; i--) {
		race_pause(); /* faults that had begun before end now */
	}
	check_gone(v, region->base.v / PAGE_SIZE);
	lock_take(&gmem->lock, LOCK_GMEM);
	if (pager_share_join(share, gmem, region->base, false, cpus / 2 * v) != 0) {
		race_broken("the share is full");
	}
	atomic_store_release(&region->off, false);
	lock_drop(&gmem->lock);
}

/* As share_move does it. */
static void shift_share(uint32_t v)
{
	struct gmem *gmem = &gmems[v];
	struct gmem_region *region = share_in(v);
	const uint64_t from = region->base.v / PAGE_SIZE, to = from == FAR ? VM_PAGES : FAR;

	check_gone(v, to);
	lock_take(&gmem->lock, LOCK_GMEM);
	atomic_store_release(&region->off, true);
	pager_share_move(share, gmem, gpa(to * PAGE_SIZE));
	__atomic_store_n(&region->base.v, to * PAGE_SIZE, __ATOMIC_RELEASE);
	atomic_store_release(&region->off, false);
	lock_drop(&gmem->lock);
	for (uint32_t i = race_random(64); i != 0; i--) {
		race_pause();
	}
	check_gone(v, from);
}

static void make_placed(struct gmem_region *out)
{
	if (pager_ram_create(&gmems[1], vms[1], gpa(PAGES * PAGE_SIZE), PLACED * PAGE_SIZE, 0,
			     out) != 0) {
		race_broken("no region");
	}
}

/* As share_grant and share_revoke do it. A vCPU of VM 1 may be opening a page of it. */
static void replace_region(void)
{
	struct gmem *gmem = &gmems[1];
	struct gmem_region *region = &gmem->regions[2], old, fresh;

	make_placed(&fresh);
	lock_take(&gmem->lock, LOCK_GMEM);
	pager_share_leave(region->state, gmem, true);
	old = *region;
	region->state = fresh.state;
	lock_drop(&gmem->lock);
	end_region(&old);
}

/*
 * Does something that has to wait for the exchange of a page of this VM. (move_share itself checks
 * whether it waited, because it waits for some exchanges of the share alone.)
 */
static void meet_and(const struct pager_vm *owner, void (*what)(void))
{
	__atomic_store_n(&meeting.owner, owner, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < 1000; i++) {
		if (__atomic_load_n(&meeting.is_on, __ATOMIC_ACQUIRE)) {
			what();
			if (owner != group && __atomic_load_n(&meeting.is_on, __ATOMIC_ACQUIRE)) {
				race_broken("%s: did not wait for an exchange", owner->name);
			}
			meetings++;
			break;
		}
		(void)usleep(1000);
	}
	__atomic_store_n(&meeting.owner, NULL, __ATOMIC_RELEASE);
}

static void move_share_1(void)
{
	move_share(1);
}

static void seal_vm_1(void)
{
	pager_vm_seal(vms[1]);
}

/* The third VM: its pages are written, all sealed, read again, and it ends. */
static void live_shortly(void)
{
	struct pager_counters now;

	make_vm(SHORT, 1, true);
	memset(written[SHORT], 0, sizeof(written[SHORT]));
	for (uint32_t round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < VM_PAGES; i++) {
			use_door(SHORT, i);
		}
		if (round == 0) {
			pager_vm_seal(vms[SHORT]);
			pager_count(vms[SHORT], &now);
			if (now.clear_pages != 0) {
				race_broken("%lu pages are not sealed", now.clear_pages);
			}
		}
	}
	gmem_destroy(&gmems[SHORT]);
	pager_vm_destroy(vms[SHORT]);
}

static void run_device(void)
{
	const uint32_t steps = STEPS / 16;

	for (uint32_t i = 0; i < steps; i++) {
		use_door(race_random(VMS), race_random(VM_PAGES));
		if (i % 64 == 0) {
			use_door(0, VM_PAGES + race_random(SHARED));
			move_share(race_random(VMS));
			shift_share(race_random(VMS));
		}
		pager_drain(); /* as the boot processor does */
		if (i % (steps / PLACINGS) == 0) {
			replace_region();
		}
		if (i % (steps / LIVES) == 0) {
			live_shortly();
			seal_vm_1(); /* which is not paused: other CPUs are at its door */
		}
		if (i == 500 || i == 1000) {
			meet_and(group, move_share_1);
			meet_and(vms[1], seal_vm_1);
		}
	}
	bury_all();
}

static void run(void)
{
	memset(written, 0, sizeof(written));
	if (race_self == cpus - 1) {
		run_device();
	} else if (race_self < cpus) {
		run_vcpu(race_self / (cpus / 2), race_self % (cpus / 2));
	}
}

static void make_share(void)
{
	if (pager_vm_create("share", cpus, NULL, true, &group) != 0 ||
	    pager_share_create(group, SHARED * PAGE_SIZE, &share) != 0) {
		race_broken("no share");
	}
	for (uint32_t v = 0; v < VMS; v++) {
		const struct gmem_region region = {
			.base = gpa(VM_PAGES * PAGE_SIZE),
			.bytes = SHARED * PAGE_SIZE,
			.ops = &pager_share_ops,
			.state = share,
		};

		if (ept_reserve(&gmems[v].root, region.base, region.bytes, PAGE_SIZE) != 0 ||
		    ept_reserve(&gmems[v].root, gpa(FAR * PAGE_SIZE), region.bytes, PAGE_SIZE) !=
			    0 ||
		    pager_share_join(share, &gmems[v], region.base, false, cpus / 2 * v) != 0) {
			race_broken("the share has no room");
		}
		gmem_region_insert(&gmems[v], &region);
	}
}

static void end_share(void)
{
	struct gmem_region region = { .bytes = SHARED * PAGE_SIZE,
				      .ops = &pager_share_ops,
				      .state = share };

	end_region(&region);
	pager_vm_destroy(group);
	bury_all();
}

static void run_all(uint32_t cpu_count, bool accessed_dirty)
{
	const struct ept_caps caps = { .accessed_dirty = accessed_dirty,
				       .invept_single = true,
				       .structures_wb = true,
				       .phys_bits = 46 };
	struct gmem_region placed;

	memset(frames, 0, sizeof(frames));
	memset(pool, 0, sizeof(pool));
	memset(tlbs, 0, sizeof(tlbs));
	memset(seen, 0, sizeof(seen));
	pool_used = frames_used = 0;
	cpus = cpu_count;
	ept_configure(&caps);
	if (pager_init(WINDOW(cpus)) != 0) {
		race_broken("no window");
	}
	for (uint32_t v = 0; v < VMS; v++) {
		make_vm(v, cpus / 2 - v, v == 0);
		pager_set_drain(vms[v], 1);
	}
	make_share();
	make_placed(&placed);
	if (ept_reserve(&gmems[1].root, placed.base, placed.bytes, PAGE_SIZE) != 0) {
		race_broken("the region has no room");
	}
	gmem_region_insert(&gmems[1], &placed);
	meetings = 0;
	race_run(run);
	if (meetings == 0) {
		race_broken("no CPU was met");
	}
	for (uint32_t v = 0; v < VMS; v++) {
		struct pager_counters now;

		pager_count(vms[v], &now);
		printf("%u CPUs, A/D bits %d, VM %u: %lu opens, %lu of them ahead, %lu sealings, "
		       "%lu drops, %lu shoot-downs, %lu drained\n",
		       cpus, accessed_dirty, v, now.opens, now.opened_ahead, now.sealings,
		       now.drops, now.shoot_downs, now.drained);
		if (now.sealings < 1000 || now.opens < 1000 || now.opened_ahead < 100 ||
		    now.drained < 100) {
			race_broken("too little happened");
		}
		gmem_destroy(&gmems[v]);
		pager_vm_destroy(vms[v]);
	}
	end_share();
	pager_exit();
}

int main(void)
{
	run_all(8, true);
	run_all(4, false);
	printf("%lu kicks, %lu writes by stale or clean translations\n", race_kicks, late_dirties);
	return race_kicks == 0;
}
