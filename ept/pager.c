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

#define UNMAP_AHEAD 7 /* pages, at most, that share the shoot-down of one that is evicted */

/* What it took to have a page open. */
enum cost {
	COST_NONE, /* it was */
	COST_FIRST_TOUCH,
	COST_CLEAN,
	COST_DIRTY,
};

static gpa_t page_address(const struct window_frame *frame)
{
	return gpa(frame->region->base.v + frame->page * PAGE_SIZE);
}

/* The frame keeps its page in clear, and what the entry said of writes. The caller shoots down. */
static void take_entry(struct window_frame *frame)
{
	frame->dirty |= ept_entry_take(frame->entry);
	frame->entry = NULL;
}

/*
 * Takes a page that is to be evicted out of its guest's EPT. When this returns, no CPU reads or
 * writes the frame any more, and frame->dirty says whether any wrote. The order carries the weight:
 *
 *  1. The EPT entry goes to 0 in one exchange. No CPU starts a new translation from here on, and
 *     one that has the page as clean in its TLB cannot set the dirty bit any more: to set it the
 *     CPU looks at the entry again, so that its write faults and waits for window_lock. What the
 *     entry said is thus the last word: the page was written when its D bit was set, or when
 *     software's bit is, for the door sets no D bit. (D is never cleared while the page is mapped,
 *     so a write is never forgotten.)
 *  2. The shoot-down. Until it returns, a CPU that has the page as dirty in its TLB goes on writing
 *     to the frame: encrypting before would lose those bytes.
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
	struct pager_vm *vm = frame->region->vm;

	take_entry(frame);
	for (uint32_t i = 0; i < count; i++) {
		take_entry(next[i]);
	}
	ept_tlb_shootdown(&vm->gmem->root);
	vm->counters.shoot_downs++;
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

	if (frame->entry != NULL) {
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
static int map_page(struct gmem *gmem, struct window_frame *frame, unsigned access)
{
	bool writable = ept_caps()->accessed_dirty || frame->dirty ||
			(access & GMEM_ACCESS_WRITE) != 0;
	const struct ept_attr attr = {
		.access = writable ? EPT_RWX : EPT_READ | EPT_EXEC,
		.memtype = EPT_MEMTYPE_WB,
		.ignore_pat = true,
		.keyid = page_keyid(),
	};
	uint64_t *entry;
	int err;

	if (frame->entry == NULL) {
		err = ept_map_page(&gmem->root, page_address(frame), frame->frame, attr, &entry);
		if (err != 0) {
			return err;
		}
		frame->entry = entry;
		frame->writable = writable;
	} else if (writable && !frame->writable) {
		ept_entry_allow_write(frame->entry);
		frame->writable = true;
	} /* else another vCPU was first */
	return 0;
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
	uint64_t page = (gpa.v - region->base.v) / PAGE_SIZE;
	uint32_t index;
	int err;

	lock_take(&window_lock);
	if (by != NULL) {
		window_let_go(sealed->vm, by, *store_opened(sealed, page) == 0);
	}
	count_fault(&sealed->vm->counters, open_page(sealed, page, &index));
	err = map_page(gmem, window_frame(index), access);
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

	(void)gmem;
	(void)write; /* unpin tells whether it was */
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

	(void)gmem;
	lock_take(&window_lock);
	frame = window_frame(*store_opened(sealed, (page.v - region->base.v) / PAGE_SIZE) - 1);
	frame->pins--;
	frame->dirty |= written;
	lock_drop(&window_lock);
}

/* No CPU translates through the root any more. What is in clear is wiped. */
static void sealed_destroy(struct gmem *gmem, struct gmem_region *region)
{
	struct sealed_region *sealed = region->state;

	(void)gmem;
	lock_take(&window_lock);
	window_let_vm_go(sealed->vm);
	for (uint32_t i = 0; i < window_frame_count(); i++) {
		if (window_frame(i)->region == sealed) {
			gmem_zero_frames(GMEM_SLOT_CLEAR, window_page(window_frame(i)), PAGE_SIZE);
			window_put_free(i);
			sealed->vm->counters.clear_pages--;
		}
	}
	lock_drop(&window_lock);
	store_destroy(sealed);
}

static const struct region_ops sealed_ops = {
	.name = "sealed",
	.fault = sealed_fault,
	.pin = sealed_pin,
	.unpin = sealed_unpin,
	.destroy = sealed_destroy,
};

int gmem_add_ram_sealed(struct gmem *gmem, struct pager_vm *vm, gpa_t base, uint64_t bytes)
{
	struct gmem_region region = { .base = base, .bytes = bytes, .ops = &sealed_ops };
	struct sealed_region *sealed;
	int err;

	CHECK(vm->gmem == NULL || vm->gmem == gmem);
	lock_take(&gmem->lock);
	err = gmem_region_check(gmem, base, bytes);
	if (err == 0) {
		err = store_create(bytes / PAGE_SIZE, &sealed);
	}
	if (err == 0) {
		vm->gmem = gmem;
		sealed->vm = vm;
		sealed->base = base;
		sealed->id = vm->region_count++;
		region.state = sealed;
		gmem_region_insert(gmem, &region);
	}
	lock_drop(&gmem->lock);
	return err;
}

/* --- The window as a whole, and each VM's share --- */

int pager_init(uint64_t frame_count)
{
	return window_init(frame_count);
}

void pager_exit(void)
{
	window_exit();
}

void pager_wipe(void)
{
	store_close();
	wipe_all();
	/* Guests that ran on would write to their pages anew. */
	smp_stop_others();
	store_wipe_unfinished();
	window_wipe();
	/* What a reset leaves in DRAM is what was written back. */
	cpu_wbinvd();
}

/*
 * Versions start at 1 with each share: were the key the same again, after a reset or in a second VM
 * with the same key file, two contents of a page would meet the same key and tweak, and ciphertext
 * would tell where they are equal. The salt makes it another key each time.
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
	if (!done && window_frame_count() != 0) { /* else it was told why there is none */
		log_error("vm %s: %u vCPU%s %lluK of the window, and other VMs leave %lluK of "
			  "%lluK: make [host] window larger",
			  vm->name, vm->vcpu_count, vm->vcpu_count == 1 ? " needs" : "s need",
			  (unsigned long long)vm->floor * 4, (unsigned long long)left * 4,
			  (unsigned long long)window_frame_count() * 4);
	}
	return done;
}

static void unclaim(const struct pager_vm *vm)
{
	lock_take(&window_lock);
	window_unclaim(vm->floor);
	lock_drop(&window_lock);
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
	if (vm == NULL) {
		return;
	}
	CHECK(vm->counters.clear_pages == 0);
	secure_zero(&vm->key, sizeof(vm->key));
	wipe_unregister(&vm->key);
	unclaim(vm);
	page_free(vm, vm->host_pages);
}

/* A page at a time, for others wait for window_lock. */
void pager_vm_seal(struct pager_vm *vm)
{
	lock_take(&vm->gmem->lock); /* the door is shut: nothing is pinned */
	lock_take(&window_lock);
	window_let_vm_go(vm); /* instructions under way fault anew */
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
	log_info("vm %s: faults: %llu first touch, %llu clean, %llu dirty victim, %llu open "
		 "already; %llu opens by the hypervisor",
		 vm->name, (unsigned long long)now.first_touches,
		 (unsigned long long)now.clean_faults, (unsigned long long)now.dirty_faults,
		 (unsigned long long)now.mapped_faults, (unsigned long long)now.door_opens);
	log_info("vm %s: pages: %llu opened, %llu sealed, %llu dropped clean, %llu dropped zero, "
		 "%llu shoot-downs; %llu in clear, at most %llu",
		 vm->name, (unsigned long long)now.opens, (unsigned long long)now.sealings,
		 (unsigned long long)now.drops, (unsigned long long)now.zero_drops,
		 (unsigned long long)now.shoot_downs, (unsigned long long)now.clear_pages,
		 (unsigned long long)now.clear_peak);
}
