/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest-physical memory: the sorted list of regions, faults, and the door to the bytes.
 *
 * gmem.lock orders what changes pages or the EPT. (Entries of the pager's pages change under its
 * window_lock alone.) While gmem.lock is held, only the allocators' locks and the locks of kinds of
 * memory are taken (vmm/base/lock.h). The list of regions is complete before the VM starts, and
 * looking one up takes no lock. A share that the guest places may move after that, so code that
 * acts on a region looks again once it holds the lock (lock_region).
 */
#include "ept/gmem.h"
#include "crypto/keyslot.h"
#include "ept/gmem_priv.h"
#include "ept/retire.h"
#include "vmm/base/cache_lines.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"

static inline bool holds(const struct gmem_region *region, uint64_t at)
{
	return at - __atomic_load_n(&region->base.v, __ATOMIC_RELAXED) < region->bytes &&
	       !atomic_load_relaxed(&region->off);
}

/* The region that holds the address now; NULL when none does. Any CPU, no lock. */
static inline struct gmem_region *find_region(struct gmem *gmem, uint64_t at)
{
	struct gmem_region *region = gmem->regions;
	struct gmem_region *end = region + gmem->region_count;

	for (; region < end; region++) {
		if (holds(region, at)) {
			return region;
		}
	}
	return NULL;
}

/*
 * As find_region, and takes gmem.lock, under which the region stays there. Returns NULL, without
 * the lock, when no region holds the address, perhaps because it has just moved away.
 */
static inline struct gmem_region *lock_region(struct gmem *gmem, uint64_t at)
{
	struct gmem_region *region = find_region(gmem, at);

	if (region == NULL) {
		return NULL;
	}
	lock_take(&gmem->lock, LOCK_GMEM);
	if (!holds(region, at)) {
		lock_drop(&gmem->lock);
		return NULL;
	}
	return region;
}

int gmem_region_check(const struct gmem *gmem, gpa_t base, uint64_t bytes)
{
	uint64_t end;

	if (bytes == 0 || !IS_ALIGNED(base.v | bytes, PAGE_SIZE) ||
	    __builtin_add_overflow(base.v, bytes, &end) ||
	    end > 1ul << MIN(EPT_GPA_BITS, ept_caps()->phys_bits)) {
		return ERR_INVAL;
	}
	for (uint32_t i = 0; i < gmem->region_count; i++) {
		const struct gmem_region *other = &gmem->regions[i];

		if (other->base.v < end && base.v < other->base.v + other->bytes) {
			return ERR_EXISTS;
		}
	}
	return gmem->region_count < GMEM_REGION_MAX ? 0 : ERR_NOMEM;
}

void gmem_region_insert(struct gmem *gmem, const struct gmem_region *region)
{
	uint32_t at = gmem->region_count++;

	for (; at > 0 && gmem->regions[at - 1].base.v > region->base.v; at--) {
		gmem->regions[at] = gmem->regions[at - 1];
	}
	gmem->regions[at] = *region;
	gmem->regions[at].first = gmem->regions[at].wanted = region->base;
}

void gmem_zero_frames(unsigned slot, struct keyed_frame first, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes; done += PAGE_SIZE) {
		void *page = host_temp_map(slot, keyed(hpa(first.frame.v + done), first.keyid));

		gmem_fill_page(page, 0);
		cache_write_back(page, PAGE_SIZE);
		host_temp_unmap(slot);
	}
}

void gmem_fill_frames(unsigned slot, struct keyed_frame first, uint64_t bytes, uint64_t fill)
{
	for (uint64_t done = 0; done < bytes; done += PAGE_SIZE) {
		gmem_fill_page(host_temp_map(slot, keyed(hpa(first.frame.v + done), first.keyid)),
			       fill);
		host_temp_unmap(slot);
	}
}

void gmem_flush_frames(unsigned slot, struct keyed_frame first, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes; done += PAGE_SIZE) {
		const struct keyed_frame page = keyed(hpa(first.frame.v + done), first.keyid);

		cache_write_back(host_temp_map(slot, page), PAGE_SIZE);
		host_temp_unmap(slot);
	}
}

void gmem_scrub(hpa_t first, uint64_t bytes)
{
	gmem_zero_frames(GMEM_SLOT_CLEAR, keyed(first, KEYID_PLATFORM), bytes);
}

int gmem_init(struct gmem *gmem)
{
	int err = ERR_NOMEM;

	memset(gmem, 0, sizeof(*gmem));
	gmem->grave = page_alloc(1);
	if (gmem->grave != NULL) {
		err = ept_root_init(&gmem->root);
	}
	if (err != 0) {
		page_free(gmem->grave, 1);
		gmem->grave = NULL;
	}
	return err;
}

/* Removes this gmem from memory that other VMs use too. */
static void leave_shares(struct gmem *gmem)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < gmem->region_count; i++) {
		if (gmem->regions[i].ops->leave != NULL) {
			gmem->regions[i].ops->leave(gmem, &gmem->regions[i]);
		} else {
			gmem->regions[kept++] = gmem->regions[i];
		}
	}
	gmem->region_count = kept;
}

void gmem_destroy(struct gmem *gmem)
{
	if (gmem->grave == NULL) {
		return; /* gmem_init failed or was never called */
	}
	/*
	 * The order matters. No CPU may translate through the root before its frames are wiped, or
	 * a late write would land in a frame of another owner. The tables show which pages were
	 * touched, so they go last.
	 */
	ept_tlb_shootdown(&gmem->root);
	leave_shares(gmem);
	retire(gmem);
}

void gmem_use_keyid(struct gmem *gmem, keyid_t keyid)
{
	CHECK(gmem->region_count == 0 && !gmem->keyed);
	gmem->keyid = keyid;
	gmem->keyed = true;
	keyslot_use(keyid);
}

/* Drops the lock. If a page was found tampered with, calls on_tampered. Returns err. */
static int drop(struct gmem *gmem, int err)
{
	if (err == ERR_TAMPERED) {
		const struct gmem_tampered what = gmem->tampered;

		lock_drop(&gmem->lock);
		if (gmem->on_tampered != NULL) {
			gmem->on_tampered(gmem, &what);
		}
	} else {
		lock_drop(&gmem->lock);
	}
	return err;
}

enum gmem_fault_result gmem_fault(struct gmem *gmem, gpa_t gpa, unsigned access,
				  const struct gmem_faulter *by)
{
	struct gmem_region *region = lock_region(gmem, gpa.v);
	int err;

	if (region == NULL) {
		return GMEM_FAULT_MMIO;
	}
	gmem->fault_count++;
	err = region->ops->fault(gmem, region, gpa, access, by);
	if (err == REGION_UNLOCKED) {
		return GMEM_FAULT_FIXED;
	}
	switch (drop(gmem, err)) {
	case 0: return GMEM_FAULT_FIXED;
	case ERR_RIGHTS: return GMEM_FAULT_RIGHTS;
	case ERR_TAMPERED: return GMEM_FAULT_TAMPERED;
	default: return GMEM_FAULT_NO_MEMORY;
	}
}

static void count_leaf(void *context, struct keyed_frame page, uint64_t bytes)
{
	struct gmem_leaves *leaves = context;

	*(bytes == SIZE_1G   ? &leaves->in_1g
	  : bytes == SIZE_2M ? &leaves->in_2m
			     : &leaves->in_4k) += bytes;
}

void gmem_count_leaves(struct gmem *gmem, struct gmem_leaves *out)
{
	*out = (struct gmem_leaves){ 0 };
	lock_take(&gmem->lock, LOCK_GMEM);
	ept_visit(&gmem->root, count_leaf, out);
	lock_drop(&gmem->lock);
}

bool gmem_is_ram(struct gmem *gmem, gpa_t gpa, uint64_t bytes)
{
	uint64_t at = gpa.v, end;

	if (__builtin_add_overflow(at, bytes, &end)) {
		return false;
	}
	while (at < end) {
		const struct gmem_region *region = find_region(gmem, at);
		const uint64_t from = at;

		if (region == NULL) {
			return false;
		}
		/* The next region may touch this one, which may just have moved. */
		at = __atomic_load_n(&region->base.v, __ATOMIC_RELAXED) + region->bytes;
		if (at <= from) {
			return false;
		}
	}
	return true;
}

static inline void unpin(struct gmem *gmem, struct gmem_region *region, gpa_t page, bool written)
{
	if (region->ops->unpin != NULL) {
		region->ops->unpin(gmem, region, page, written);
	}
}

/* What to do with bytes of one page that is mapped now. */
struct door_job {
	enum { DOOR_READ, DOOR_WRITE, DOOR_FILL, DOOR_CMPXCHG } kind;
	uint8_t *buf; /* position for the next piece */
	int byte;
	uint64_t *expected;
	uint64_t desired;
};

static void do_cmpxchg(void *bytes, size_t count, struct door_job *job)
{
	if (count == 8) {
		(void)__atomic_compare_exchange_n((uint64_t *)bytes, job->expected, job->desired,
						  false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	} else {
		uint32_t expected = (uint32_t)*job->expected;

		(void)__atomic_compare_exchange_n((uint32_t *)bytes, &expected,
						  (uint32_t)job->desired, false, __ATOMIC_SEQ_CST,
						  __ATOMIC_SEQ_CST);
		*job->expected = expected;
	}
}

/* Two aligned bytes are one access: a vCPU may use the same index of a ring at this moment. */
static void copy_piece(void *to, const void *from, size_t count)
{
	if (count == sizeof(uint16_t) && (((uintptr_t)to | (uintptr_t)from) & 1) == 0) {
		__atomic_store_n((uint16_t *)to,
				 __atomic_load_n((const uint16_t *)from, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	} else {
		memcpy(to, from, count);
	}
}

static void do_piece(void *bytes, size_t count, struct door_job *job)
{
	switch (job->kind) {
	case DOOR_READ:
		copy_piece(job->buf, bytes, count);
		job->buf += count;
		break;
	case DOOR_WRITE:
		copy_piece(bytes, job->buf, count);
		job->buf += count;
		break;
	case DOOR_FILL: memset(bytes, job->byte, count); break;
	case DOOR_CMPXCHG: do_cmpxchg(bytes, count, job); break;
	}
}

/*
 * Pins the page, and takes gmem.lock if it can. *out is NULL, and the lock is not taken, with
 * ERR_RANGE.
 */
static inline int pin(struct gmem *gmem, gpa_t page, bool write, struct gmem_region **out,
		      struct keyed_frame *frame)
{
	int err;

	for (;;) {
		*out = lock_region(gmem, page.v);
		if (*out == NULL) {
			return ERR_RANGE;
		}
		err = (*out)->ops->pin(gmem, *out, page, write, frame);
		if (err != ERR_NOTFOUND) {
			return err;
		}
		lock_drop(&gmem->lock); /* the region moved meanwhile */
	}
}

/* Does the job for count bytes that lie in one page. */
static int open_page(struct gmem *gmem, uint64_t at, size_t count, struct door_job *job)
{
	gpa_t page = { at & PAGE_MASK };
	bool write = job->kind != DOOR_READ;
	struct gmem_region *region;
	struct keyed_frame frame;
	int err = pin(gmem, page, write, &region, &frame);

	if (region == NULL) {
		return err;
	}
	if (err == 0) {
		uint8_t *bytes = host_temp_map(GMEM_SLOT_DOOR, frame);

		do_piece(bytes + (at - page.v), count, job);
		host_temp_unmap(GMEM_SLOT_DOOR);
		unpin(gmem, region, page, write);
	}
	return drop(gmem, err);
}

static int through_door(struct gmem *gmem, gpa_t gpa, size_t bytes, struct door_job *job)
{
	/*
	 * For a piece within one page open_page looks up the region; more pages are checked here.
	 */
	if (bytes > PAGE_SIZE - gpa.v % PAGE_SIZE && !gmem_is_ram(gmem, gpa, bytes)) {
		return ERR_RANGE;
	}
	for (size_t done = 0; done < bytes;) {
		uint64_t at = gpa.v + done;
		size_t count = MIN(bytes - done, PAGE_SIZE - at % PAGE_SIZE);
		int err = open_page(gmem, at, count, job);

		if (err != 0) {
			return err;
		}
		done += count;
	}
	return 0;
}

int gmem_read(struct gmem *gmem, gpa_t gpa, void *buf, size_t bytes)
{
	struct door_job job = { .kind = DOOR_READ, .buf = buf };

	return through_door(gmem, gpa, bytes, &job);
}

int gmem_load(struct gmem *gmem, gpa_t gpa, uint64_t *value, size_t bytes)
{
	gpa_t page = { gpa.v & PAGE_MASK };
	struct gmem_region *region;
	struct keyed_frame frame;
	int err;

	if (gpa.v % bytes != 0) {
		return ERR_RANGE;
	}
	err = pin(gmem, page, false, &region, &frame);
	if (region == NULL) {
		return err;
	}
	if (err == 0) {
		const char *at = (const char *)host_temp_map(GMEM_SLOT_DOOR, frame) +
				 (gpa.v - page.v);

		*value = bytes == 8 ? __atomic_load_n((const uint64_t *)(const void *)at,
						      __ATOMIC_RELAXED)
				    : __atomic_load_n((const uint32_t *)(const void *)at,
						      __ATOMIC_RELAXED);
		host_temp_unmap(GMEM_SLOT_DOOR);
		unpin(gmem, region, page, false);
	}
	return drop(gmem, err);
}

void gmem_peek(hpa_t at, void *out, size_t bytes)
{
	const hpa_t frame = { at.v & PAGE_MASK };
	const char *page = host_temp_map(GMEM_SLOT_DOOR, keyed(frame, KEYID_PLATFORM));

	memcpy(out, page + (at.v - frame.v), bytes);
	cache_write_back(page, PAGE_SIZE);
	host_temp_unmap(GMEM_SLOT_DOOR);
}

/* The word's frame cannot be freed or replaced meanwhile. */
static inline bool frame_holds(const struct gmem_expect *word, struct keyed_frame frame)
{
	const char *bytes = host_temp_map(GMEM_SLOT_DOOR, frame);
	uint64_t found = __atomic_load_n(
		(const uint64_t *)(const void *)(bytes + word->at % PAGE_SIZE), __ATOMIC_RELAXED);

	host_temp_unmap(GMEM_SLOT_DOOR);
	return ((found ^ word->value) & word->mask) == 0;
}

/* Also finds the frame. Under the lock, which it may release and take again. */
static bool word_holds(struct gmem *gmem, struct gmem_expect *word)
{
	struct gmem_region *region = find_region(gmem, word->at);
	gpa_t page = { word->at & PAGE_MASK };
	struct keyed_frame frame;
	bool holds;

	if (region == NULL || region->ops->pin(gmem, region, page, false, &frame) != 0) {
		return false; /* who asked now reads the words one by one, and learns why */
	}
	holds = frame_holds(word, frame);
	unpin(gmem, region, page, false);
	if (region->ops->stays) {
		word->packed = keyid_pack(frame);
	}
	return holds;
}

static __attribute__((noinline)) bool words_hold(struct gmem *gmem, struct gmem_expect *words,
						 const struct gmem_expect *end)
{
	lock_take(&gmem->lock, LOCK_GMEM);
	for (; words < end; words++) {
		if (!word_holds(gmem, words)) {
			break;
		}
	}
	lock_drop(&gmem->lock);
	return words == end;
}

bool gmem_holds(struct gmem *gmem, struct gmem_expect *words, size_t count)
{
	const struct gmem_expect *end = words + count;
	const struct percpu *cpu = percpu_self();

	/* Frames that stay need no lock: only gmem_destroy frees them, when no vCPU runs. */
	host_temp_check(cpu, GMEM_SLOT_DOOR);
	for (; words < end && words->packed != 0; words++) {
		uint64_t found = host_temp_load(cpu, GMEM_SLOT_DOOR, words->packed,
						words->at % PAGE_SIZE);

		if (((found ^ words->value) & words->mask) != 0) {
			return false;
		}
	}
	return words == end || words_hold(gmem, words, end);
}

int gmem_write(struct gmem *gmem, gpa_t gpa, const void *buf, size_t bytes)
{
	struct door_job job = { .kind = DOOR_WRITE, .buf = (uint8_t *)(uintptr_t)buf };

	return through_door(gmem, gpa, bytes, &job);
}

int gmem_fill(struct gmem *gmem, gpa_t gpa, int byte, size_t bytes)
{
	struct door_job job = { .kind = DOOR_FILL, .byte = byte };

	return through_door(gmem, gpa, bytes, &job);
}

int gmem_cmpxchg(struct gmem *gmem, gpa_t gpa, uint64_t *expected, uint64_t desired, size_t bytes)
{
	struct door_job job = { .kind = DOOR_CMPXCHG, .expected = expected, .desired = desired };

	if ((bytes != 4 && bytes != 8) || gpa.v % bytes != 0) {
		return ERR_INVAL;
	}
	return through_door(gmem, gpa, bytes, &job);
}
