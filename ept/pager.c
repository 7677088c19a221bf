/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a page of sealed RAM: it is opened on a fault or for the door, and evicted when
 * its frame is wanted. The fault path runs under the VM's gmem.lock; everything here under
 * window_lock as well, so that evicting another VM's page needs no other VM's lock.
 */
#include "ept/pager.h"

#include "crypto/kdf.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/page_alloc.h"
#include "vmm/base/panic.h"
#include "vmm/base/smp.h"
#include "vmm/base/str.h"

#define PAGE_KEY_BYTES 64 /* AES-256-XTS */
#define PAGE_KEY_LABEL "umbra page key"

/* Burying looks at so many of the window's frames at most in one step. */
#define SWEEP_A_STEP 4096u

#define UNMAP_AHEAD 7 /* pages, at most, that share the shoot-down of one that is evicted */

/* What it took to have a page open. */
enum cost {
	COST_NONE, /* it was */
	COST_FIRST_TOUCH,
	COST_CLEAN,
	COST_DIRTY,
};

/* A region's mappings of which bits say something, lowest first: for (m = ...; bits != 0; ...). */
static uint32_t lowest(uint32_t bits)
{
	return (uint32_t)__builtin_ctz(bits);
}

/*
 * Takes the page out of all EPTs that have it. The frame keeps it in clear, and what the entries
 * said of writes. Returns the mappings, which the caller shoots down.
 */
static uint32_t take_entries(struct window_frame *frame)
{
	const uint32_t taken = frame->mapped;

	for (uint32_t bits = taken; bits != 0; bits &= bits - 1) {
		frame->dirty |= ept_entry_take(window_entry(frame, lowest(bits)));
	}
	frame->entry = NULL;
	frame->mapped = frame->writable = 0;
	return taken;
}

/*
 * Takes a page that is to be evicted out of the EPTs of all guests that map it. When this returns,
 * no CPU reads or writes the frame any more, and frame->dirty says whether any wrote. The order
 * carries the weight:
 *
 *  1. Each EPT entry goes to 0 in one exchange. No CPU starts a new translation from here on, and
 *     one that has the page as clean in its TLB cannot set the dirty bit any more: to set it the
 *     CPU looks at the entry again, so that its write faults and waits for window_lock. What the
 *     entry said is thus the last word: the page was written when its D bit was set, or when
 *     software's bit is, for the door sets no D bit. (D is never cleared while the page is mapped,
 *     so a write is never forgotten.)
 *  2. The shoot-down. Until it returns, a CPU that has the page as dirty in its TLB goes on
 *     writing to the frame: encrypting before would lose those bytes.
 *
 * A shoot-down costs as much for one page as for many: it flushes all that the CPUs know of this
 * VM and interrupts those that run it, and under another hypervisor an INVEPT costs more than all
 * else of a fault. So the pages of this VM whose turn comes next go with it. They stay in their
 * frames: a guest that wants one back meanwhile has it mapped again, and CLOCK knows that it is in
 * use.
 */
static void unmap(struct window_frame *frame)
{
	struct window_frame *next[UNMAP_AHEAD];
	uint32_t count = window_next_idle(frame, next, UNMAP_AHEAD);
	const struct sealed_region *region = frame->region;
	uint32_t taken = take_entries(frame);

	for (uint32_t i = 0; i < count; i++) {
		taken |= take_entries(next[i]);
	}
	for (; taken != 0; taken &= taken - 1) {
		ept_tlb_shootdown(&region->mappings[lowest(taken)].gmem->root);
		region->vm->counters.shoot_downs++;
	}
}

/* The region is dead: no CPU uses its EPT any more, and nobody wants what it held. */
static void forget(struct window_frame *frame)
{
	frame->mapped = frame->writable = 0;
	frame->entry = NULL;
	frame->dirty = false;
}

/*
 * Evicts the page that is in the frame, if there is one, and has another one take its place. True
 * when the old one had to be encrypted.
 *
 *  1. It is unmapped. From here on nobody can write.
 *  2. It is encrypted under a version that was never used before; or dropped, when nobody wrote,
 *     for the ciphertext that it was opened from is still good.
 *  3. The next page is decrypted over it, or zeros, when none comes (region NULL). The frame never
 *     holds more than one.
 */
static bool exchange(struct window_frame *frame, struct sealed_region *region, uint64_t page)
{
	struct sealed_page out = { .region = NULL }, in = { region, page };
	struct sealed_region *old = frame->region;
	struct pager_counters *counters = old != NULL ? &old->vm->counters : NULL;
	bool written, sealed;

	if (old != NULL && old->dead) {
		forget(frame);
	}
	if (frame->mapped != 0) {
		unmap(frame);
	}
	written = frame->dirty;
	if (written) {
		out = (struct sealed_page){ old, frame->page };
	}
	sealed = store_exchange(&out, &in, window_page(frame));
	if (old != NULL) {
		if (sealed) {
			counters->sealings++;
		} else if (written || *store_version(old, frame->page) == 0) {
			counters->zero_drops++;
		} else {
			counters->drops++;
		}
		*store_opened(old, frame->page) = 0;
		counters->clear_pages--;
	}
	return sealed;
}

/* Gives the page a frame of the window, with its content in clear. */
static enum cost open_page(struct sealed_region *region, uint64_t page, uint32_t *index)
{
	struct pager_counters *counters = &region->vm->counters;
	bool absent = *store_version(region, page) == 0, sealed;
	uint32_t *opened = store_opened(region, page);
	struct window_frame *frame;

	if (*opened != 0) {
		*index = *opened - 1;
		window_frame(*index)->referenced = true;
		return COST_NONE;
	}
	*index = window_take_free();
	if (*index == WINDOW_NONE) {
		*index = window_victim(region->vm);
	}
	frame = window_frame(*index);
	sealed = exchange(frame, region, page);
	*frame = (struct window_frame){
		.frame = frame->frame, .region = region, .page = page, .referenced = true
	};
	*opened = *index + 1;
	counters->opens += !absent;
	counters->clear_pages++;
	counters->clear_peak = MAX(counters->clear_peak, counters->clear_pages);
	return sealed ? COST_DIRTY : absent ? COST_FIRST_TOUCH : COST_CLEAN;
}

/*
 * Without dirty bits a page is mapped for reading first, and the fault of the first write makes it
 * writable: ept_entry_take then takes the right to write for the dirty bit.
 */
static int map_page(struct window_frame *frame, uint32_t m, unsigned access)
{
	const struct sealed_mapping *mapping = &frame->region->mappings[m];
	const uint32_t bit = (uint32_t)BIT(m);
	bool writable = !mapping->read_only && (ept_caps()->accessed_dirty || frame->dirty ||
						(access & GMEM_ACCESS_WRITE) != 0);
	const struct ept_attr attr = {
		.access = writable ? EPT_RWX : EPT_READ | EPT_EXEC,
		.memtype = EPT_MEMTYPE_WB,
		.ignore_pat = true,
		.keyid = page_keyid(),
	};
	uint64_t *entry;
	int err;

	if ((frame->mapped & bit) == 0) {
		err = ept_map_page(&mapping->gmem->root,
				   gpa(mapping->base.v + frame->page * PAGE_SIZE), frame->frame,
				   attr, &entry);
		if (err != 0) {
			return err;
		}
		frame->entry = m == 0 ? entry : frame->entry;
		frame->mapped |= bit;
		frame->writable |= writable ? bit : 0;
	} else if (writable && (frame->writable & bit) == 0) {
		ept_entry_allow_write(window_entry(frame, m));
		frame->writable |= bit;
	} /* else another vCPU was first */
	return 0;
}

/* The mapping of a gmem; it has one. */
static uint32_t mapping_of(const struct sealed_region *region, const struct gmem *gmem)
{
	uint32_t m = 0;

	while (region->mappings[m].gmem != gmem) {
		m++;
	}
	return m;
}

static void count_fault(struct pager_counters *counters, enum cost cost)
{
	switch (cost) {
	case COST_FIRST_TOUCH: counters->first_touches++; break;
	case COST_CLEAN: counters->clean_faults++; break;
	case COST_DIRTY: counters->dirty_faults++; break;
	case COST_NONE:
	default: counters->mapped_faults++;
	}
}

static int sealed_fault(struct gmem *gmem, struct gmem_region *region, gpa_t gpa, unsigned access,
			const struct gmem_faulter *by)
{
	struct sealed_region *sealed = region->state;
	const uint32_t m = mapping_of(sealed, gmem);
	uint64_t page = (gpa.v - region->base.v) / PAGE_SIZE;
	struct gmem_faulter holder;
	uint32_t index;
	int err;

	if (sealed->mappings[m].read_only && (access & GMEM_ACCESS_WRITE) != 0) {
		return ERR_RIGHTS;
	}
	if (by != NULL) {
		holder = *by;
		holder.vcpu += sealed->mappings[m].first_hold;
		by = &holder;
	}
	lock_take(&window_lock);
	if (by != NULL) {
		window_let_go(sealed->vm, by, *store_opened(sealed, page) == 0);
	}
	count_fault(&sealed->vm->counters, open_page(sealed, page, &index));
	err = map_page(window_frame(index), m, access);
	if (err == 0 && by != NULL) {
		window_hold(sealed->vm, by, index);
	}
	lock_drop(&window_lock);
	return err;
}

static int sealed_pin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool write,
		      struct keyed_frame *out)
{
	struct sealed_region *sealed = region->state;
	uint32_t index;

	if (write && sealed->mappings[mapping_of(sealed, gmem)].read_only) {
		return ERR_RIGHTS;
	} /* else unpin reports whether it was written */
	lock_take(&window_lock);
	if (open_page(sealed, (page.v - region->base.v) / PAGE_SIZE, &index) != COST_NONE) {
		sealed->vm->counters.door_opens++;
	}
	window_frame(index)->pins++;
	*out = window_page(window_frame(index));
	lock_drop(&window_lock);
	return 0;
}

static void sealed_unpin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool written)
{
	struct sealed_region *sealed = region->state;
	struct window_frame *frame;

	lock_take(&window_lock);
	frame = window_frame(*store_opened(sealed, (page.v - region->base.v) / PAGE_SIZE) - 1);
	frame->pins--;
	frame->dirty |= written;
	lock_drop(&window_lock);
}

/* No page is in clear, no region left, and the key is wiped. */
static void free_vm(struct pager_vm *vm)
{
	CHECK(vm->counters.clear_pages == 0);
	page_free(vm, vm->host_pages);
}

/*
 * No CPU translates to the region any more. Until it is buried its frames of the window are there
 * for whoever wants one.
 */
static void sealed_close(struct gmem_region *region)
{
	struct sealed_region *sealed = region->state;

	lock_take(&window_lock);
	window_let_vm_go(sealed->vm);
	sealed->dead = true;
	lock_drop(&window_lock);
}

/* A page at a time, for others wait for window_lock. False: the window has none of it any more. */
static bool wipe_some(struct sealed_region *sealed)
{
	uint32_t zeroed = 0;

	for (uint32_t looks = SWEEP_A_STEP; looks != 0 && zeroed < GMEM_STEP_BYTES / PAGE_SIZE;
	     looks--) {
		const uint32_t i = sealed->swept;

		if (i == window_frame_count()) {
			return false;
		}
		sealed->swept++;
		lock_take(&window_lock);
		if (window_frame(i)->region == sealed) {
			gmem_zero_frames(GMEM_SLOT_CLEAR, window_page(window_frame(i)), PAGE_SIZE);
			window_put_free(i);
			sealed->vm->counters.clear_pages--;
			zeroed++;
		}
		lock_drop(&window_lock);
	}
	return true;
}

/* The last one of its VM frees what stayed of that. */
static void drop_region(struct pager_vm *vm)
{
	bool last;

	lock_take(&window_lock);
	last = --vm->regions_left == 0 && vm->over;
	lock_drop(&window_lock);
	if (last) {
		free_vm(vm);
	}
}

/* What is in clear is wiped. */
static bool sealed_bury(const struct ept_root *root, struct gmem_region *region, enum gmem_bury how)
{
	struct sealed_region *sealed = region->state;
	struct pager_vm *vm = sealed->vm;

	if (wipe_some(sealed) || !store_free_some(sealed)) {
		return false;
	}
	drop_region(vm);
	return true;
}

const struct region_ops pager_sealed_ops = {
	.name = "sealed",
	.fault = sealed_fault,
	.pin = sealed_pin,
	.unpin = sealed_unpin,
	.close = sealed_close,
	.bury = sealed_bury,
};

int pager_ram_create(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes,
		     uint8_t fill, struct gmem_region *out)
{
	struct sealed_region *sealed;
	int err = store_create(bytes / PAGE_SIZE, &sealed);

	CHECK(vm->gmem == NULL || vm->gmem == gmem);
	if (err != 0) {
		return err;
	}
	vm->gmem = gmem;
	sealed->vm = vm;
	sealed->fill = fill * 0x0101010101010101ul;
	sealed->id = vm->region_count++;
	vm->regions_left++;
	sealed->mapping_count = 1;
	sealed->mappings[0] = (struct sealed_mapping){ .gmem = gmem, .base = base };
	*out = (struct gmem_region){
		.base = base, .bytes = bytes, .ops = &pager_sealed_ops, .state = sealed
	};
	return 0;
}

int gmem_add_ram_sealed(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes)
{
	struct gmem_region region;
	int err = gmem_region_check(gmem, base, bytes);

	if (err == 0) {
		err = ept_reserve(&gmem->root, base, bytes, PAGE_SIZE);
	}
	if (err == 0) {
		err = pager_ram_create(gmem, vm, base, bytes, 0, &region);
	}
	if (err == 0) {
		gmem_region_insert(gmem, &region);
	}
	return err;
}

/* --- Shares: regions of a group, with a mapping for each member --- */

int pager_share_create(struct pager_vm *vm, uint64_t bytes, struct sealed_region **out)
{
	int err = store_create(bytes / PAGE_SIZE, out);

	if (err == 0) {
		(*out)->vm = vm;
		(*out)->id = vm->region_count++;
		vm->regions_left++;
	}
	return err;
}

int pager_share_join(struct sealed_region *share, struct gmem *gmem, gpa_t base, bool read_only,
		     uint32_t first_hold)
{
	uint32_t m = 0;

	lock_take(&window_lock);
	while (m < share->mapping_count && share->mappings[m].gmem != NULL) {
		m++;
	}
	if (m < PAGER_MAPPINGS_MAX) {
		share->mappings[m] = (struct sealed_mapping){ gmem, base, read_only, first_hold };
		share->mapping_count = MAX(share->mapping_count, m + 1);
	}
	lock_drop(&window_lock);
	return m < PAGER_MAPPINGS_MAX ? 0 : ERR_NOMEM;
}

uint32_t pager_share_members(const struct sealed_region *share)
{
	uint32_t count = 0;

	for (uint32_t m = 0; m < share->mapping_count; m++) {
		count += share->mappings[m].gmem != NULL;
	}
	return count;
}

void pager_share_leave(struct sealed_region *share, struct gmem *gmem, bool live)
{
	const uint32_t m = mapping_of(share, gmem), bit = (uint32_t)BIT(m);

	lock_take(&window_lock);
	for (uint32_t i = 0; i < window_frame_count(); i++) {
		struct window_frame *frame = window_frame(i);

		if (frame->region == share && (frame->mapped & bit) != 0) {
			frame->dirty |= ept_entry_take(window_entry(frame, m));
			frame->entry = m == 0 ? NULL : frame->entry;
			frame->mapped &= ~bit;
			frame->writable &= ~bit;
		}
	}
	if (live) {
		ept_tlb_shootdown(&gmem->root);
	}
	share->mappings[m].gmem = NULL;
	lock_drop(&window_lock);
}

static void sealed_leave(struct gmem *gmem, struct gmem_region *region)
{
	pager_share_leave(region->state, gmem, false);
}

const struct region_ops pager_share_ops = {
	.name = "sealed share",
	.fault = sealed_fault,
	.pin = sealed_pin,
	.unpin = sealed_unpin,
	.leave = sealed_leave,
	.close = sealed_close,
	.bury = sealed_bury,
};

/* --- The window as a whole, and each VM's share --- */

int pager_init(uint64_t frame_count)
{
	return window_init(frame_count);
}

void pager_exit(void)
{
	window_exit();
}

static void write_back(void)
{
	cpu_wbinvd();
}

/*
 * The order carries the weight:
 *
 *  1. No CPU begins to encrypt any more, and one that does leaves a note of the page.
 *  2. The other CPUs stop. Guests that ran on would write to their pages again; and a cipher whose
 *     key schedule becomes zero under its hands reads a number of rounds that is 0, and runs off
 *     the end of the schedule.
 *  3. Keys are zeroed.
 *  4. So is the page that was half encrypted, by a CPU that did not stop in time: its rest may be
 *     under a key that everybody knows.
 *  5. And the window.
 *  6. What a reset leaves in DRAM is what was written back.
 */
void pager_wipe(void)
{
	static void (*const steps[])(void) = { store_close,	      smp_stop_others, wipe_all,
					       store_wipe_unfinished, window_wipe,     write_back };
	static size_t next;

	while (next < ARRAY_COUNT(steps)) {
		steps[next++](); /* counted before: one that fails does not come again */
	}
}

/*
 * Versions start at 1 with each share: were the key the same again, after a reset or in a second
 * VM with the same key file, two contents of a page would meet the same key and tweak, and
 * ciphertext would show where they are equal. The salt makes it another key each time.
 */
static int make_key(struct page_key *key, const uint8_t *given)
{
	uint8_t secret[KDF_SECRET_BYTES], salt[KDF_SALT_BYTES], bytes[PAGE_KEY_BYTES];
	int err = rng_bytes(salt, sizeof(salt));

	if (given != NULL) {
		memcpy(secret, given, sizeof(secret));
	} else if (err == 0) {
		err = rng_bytes(secret, sizeof(secret));
	}
	if (err == 0) {
		err = kdf_derive(secret, sizeof(secret), salt, PAGE_KEY_LABEL, bytes,
				 sizeof(bytes));
	}
	if (err == 0) {
		err = page_key_set(key, bytes, sizeof(bytes));
	}
	secure_zero(secret, sizeof(secret));
	secure_zero(salt, sizeof(salt));
	secure_zero(bytes, sizeof(bytes));
	return err;
}

static bool claim(const struct pager_vm *vm)
{
	uint64_t left;
	bool done;

	lock_take(&window_lock);
	left = window_unclaimed();
	done = window_claim(vm->floor);
	lock_drop(&window_lock);
	if (!done && window_frame_count() != 0) { /* else the reason why there is none was logged */
		log_error("vm %s: %u vCPU%s %luK of the window, and other VMs leave %luK of "
			  "%luK: make [host] window larger",
			  vm->name, vm->vcpu_count, vm->vcpu_count == 1 ? " needs" : "s need",
			  vm->floor * 4, left * 4, window_frame_count() * 4);
	}
	return done;
}

int pager_vm_create(const char *name, uint32_t vcpu_count, const uint8_t *secret,
		    struct pager_vm **out)
{
	uint64_t bytes = sizeof(struct pager_vm) + vcpu_count * sizeof(struct vcpu_hold);
	size_t host_pages = ALIGN_UP(bytes, PAGE_SIZE) / PAGE_SIZE;
	struct pager_vm *vm = page_alloc(host_pages);
	int err;

	if (vm == NULL) {
		return ERR_NOMEM;
	}
	vm->name = name;
	vm->vcpu_count = vcpu_count;
	vm->host_pages = host_pages;
	vm->floor = (uint64_t)vcpu_count * PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES;
	if (!claim(vm)) {
		page_free(vm, host_pages);
		return ERR_RANGE;
	}
	/* Registered before there is a secret in it. */
	err = wipe_register(&vm->key, sizeof(vm->key));
	if (err == 0) {
		err = make_key(&vm->key, secret);
	}
	if (err != 0) {
		pager_vm_destroy(vm);
		return err;
	}
	*out = vm;
	return 0;
}

void pager_vm_destroy(struct pager_vm *vm)
{
	bool buried;

	if (vm == NULL) {
		return;
	}
	/* Nothing is sealed or opened under it any more: its regions are dead. */
	secure_zero(&vm->key, sizeof(vm->key));
	wipe_unregister(&vm->key);
	lock_take(&window_lock);
	window_unclaim(vm->floor);
	vm->floor = 0; /* what it still has anybody may take */
	vm->over = true;
	buried = vm->regions_left == 0;
	lock_drop(&window_lock);
	if (buried) {
		free_vm(vm);
	}
}

/* A page at a time, for others wait for window_lock. */
void pager_vm_seal(struct pager_vm *vm)
{
	if (vm->gmem == NULL) {
		return; /* all of the VM's RAM is in clear, as it is configured */
	}
	lock_take(&vm->gmem->lock); /* the door is shut: nothing is pinned */
	lock_take(&window_lock);
	window_let_vm_go(vm); /* instructions under way fault again */
	lock_drop(&window_lock);
	for (uint32_t i = 0; i < window_frame_count(); i++) {
		struct window_frame *frame = window_frame(i);

		lock_take(&window_lock);
		if (frame->region != NULL && frame->region->vm == vm) {
			CHECK(frame->pins == 0);
			(void)exchange(frame, NULL, 0);
			window_put_free(i);
		}
		lock_drop(&window_lock);
	}
	lock_drop(&vm->gmem->lock);
}

void pager_window(uint64_t *frames, uint64_t *unclaimed)
{
	lock_take(&window_lock);
	*frames = window_frame_count();
	*unclaimed = window_unclaimed();
	lock_drop(&window_lock);
}

void pager_count(const struct pager_vm *vm, struct pager_counters *out)
{
	lock_take(&window_lock);
	*out = vm->counters;
	lock_drop(&window_lock);
}

void pager_log(const struct pager_vm *vm)
{
	struct pager_counters now;

	pager_count(vm, &now);
	log_info("vm %s: faults: %lu first touch, %lu clean, %lu dirty victim, %lu open "
		 "already; %lu opens by the hypervisor",
		 vm->name, now.first_touches, now.clean_faults, now.dirty_faults, now.mapped_faults,
		 now.door_opens);
	log_info("vm %s: pages: %lu opened, %lu sealed, %lu dropped clean, %lu dropped zero, "
		 "%lu shoot-downs; %lu in clear, at most %lu",
		 vm->name, now.opens, now.sealings, now.drops, now.zero_drops, now.shoot_downs,
		 now.clear_pages, now.clear_peak);
}
