/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of a sealed region: frames for the ciphertext of all its pages, allocated in advance.
 * For each page it also has the version under which the page was encrypted, and a tag that shows
 * whether the ciphertext was changed. What is stored of a page belongs to the CPU that exchanges
 * it, and else to the holder of window_lock.
 */
#include "ept/gmem_priv.h"
#include "ept/pager_priv.h"
#include "vmm/base/atomic.h"
#include "vmm/base/cache_lines.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"

/* A call of store_free_some frees at most so many: 32 MiB, and 256 KiB that describe them. */
#define CHUNKS_A_STEP	  512u
#define HOST_PAGES_A_STEP 64u

/*
 * At the end of the machine keys are zeroed, perhaps while a CPU that did not stop is encrypting a
 * page. Part of this page may then be encrypted under a key of zeros, which everyone knows: it must
 * be wiped. A CPU encrypts one page at a time. It stores the page's frame in its `unfinished`
 * first, and reads `closed` before and after encrypting. So a page that is not in an `unfinished`
 * any more was encrypted before the store was closed, and therefore before keys were zeroed.
 */
static ATOMIC(bool) closed;
static struct {
	ATOMIC(uint64_t) frame; /* host-physical; 0: no page */
} __attribute__((aligned(64))) unfinished[CPU_MAX];

static uint64_t chunk_count(uint64_t page_count)
{
	return (page_count + CHUNK_PAGES - 1) / CHUNK_PAGES;
}

static uint64_t pages_in_chunk(uint64_t page_count, uint64_t chunk)
{
	return MIN(page_count - chunk * CHUNK_PAGES, CHUNK_PAGES);
}

int store_create(uint64_t page_count, struct sealed_region **out)
{
	uint64_t chunks = chunk_count(page_count);
	uint64_t bytes = sizeof(struct sealed_region) + page_count * sizeof(struct stored_page) +
			 chunks * sizeof(hpa_t);
	size_t host_pages = ALIGN_UP(bytes, PAGE_SIZE) / PAGE_SIZE;
	struct sealed_region *region = page_alloc(host_pages);

	if (region == NULL) {
		return ERR_NOMEM;
	}
	region->page_count = page_count;
	region->host_pages = host_pages;
	region->chunks_left = chunks;
	region->chunks = (hpa_t *)(void *)&region->pages[page_count];
	for (uint64_t i = 0; i < chunks; i++) {
		if (frames_alloc(pages_in_chunk(page_count, i), 1, &region->chunks[i]) != 0) {
			while (!store_free_some(region)) {
			}
			return ERR_NOMEM;
		}
	}
	*out = region;
	return 0;
}

/* How many bytes of the region are still needed to describe the chunks that have frames. */
static uint64_t bytes_needed(const struct sealed_region *region)
{
	const uint64_t chunks = region->chunks_left;

	return chunks == 0 ? 0 : (uintptr_t)&region->chunks[chunks] - (uintptr_t)region;
}

/*
 * Frees the frames, the last chunks first, and then the host pages that described all of them. Both
 * are too many to zero in one call. Ciphertext need not be wiped, because its key is wiped. A guest
 * never gets frame 0, so address 0 marks a chunk without frames.
 */
bool store_free_some(struct sealed_region *region)
{
	const uint64_t left = region->chunks_left - MIN(region->chunks_left, CHUNKS_A_STEP);
	size_t pages, gone;

	for (uint64_t i = region->chunks_left; i > left; i--) {
		if (region->chunks[i - 1].v != 0) {
			frames_free(region->chunks[i - 1],
				    pages_in_chunk(region->page_count, i - 1));
		}
	}
	region->chunks_left = left;
	pages = ALIGN_UP(bytes_needed(region), PAGE_SIZE) / PAGE_SIZE;
	gone = MIN(region->host_pages - pages, HOST_PAGES_A_STEP);
	pages = region->host_pages - gone;
	region->host_pages = pages;
	if (gone != 0) {
		page_free((uint8_t *)region + pages * PAGE_SIZE, gone);
	}
	return pages == 0;
}

static hpa_t store_frame(const struct sealed_region *region, uint64_t page)
{
	return hpa(region->chunks[page / CHUNK_PAGES].v + page % CHUNK_PAGES * PAGE_SIZE);
}

/*
 * A tag covers this name and the ciphertext. The name says which page this is, and which version of
 * it. It has the kind, so that a page without ciphertext never has the tag of a page with
 * ciphertext.
 */
static void pack_name(struct sealed_region *region, uint64_t page, uint8_t name[PAGE_NAME_BYTES])
{
	const struct stored_page *stored = store_page(region, page);
	const uint64_t words[] = { (uint64_t)stored->kind << 32 | region->id, page, stored->version,
				   0 };

	_Static_assert(sizeof(words) == PAGE_NAME_BYTES, "two blocks");
	memcpy(name, words, sizeof(words));
}

/*
 * Says under which key, tweak and name the page is stored, with the version that it has now. The
 * tweak is version (64 bits), page (48 bits) and region (16 bits). Under one key each version is
 * used once, so no two encryptions have the same tweak.
 */
static inline void describe(const struct sealed_page *what, uint64_t version, struct page_job *job)
{
	struct sealed_region *region = what->region;
	const uint64_t tweak[] = { version, (uint64_t)region->id << 48 | what->page };

	_Static_assert(sizeof(tweak) == AES_XTS_TWEAK_BYTES, "one block");
	memcpy(job->tweak, tweak, sizeof(tweak));
	job->key = &region->vm->key;
	job->mac = NULL;
	if (region->vm->has_tags) {
		job->mac = &region->vm->mac_key;
		pack_name(region, what->page, job->name);
	}
}

/* Reads a whole page, so what is done for a word counts: one OR. */
static __attribute__((noinline)) bool is_zero(const uint64_t *words)
{
	const uint64_t *end = words + PAGE_SIZE / sizeof(*words);

	for (; words < end; words += 16) {
		if ((words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] |
		     words[7] | words[8] | words[9] | words[10] | words[11] | words[12] |
		     words[13] | words[14] | words[15]) != 0) {
			return false;
		}
	}
	return true;
}

/* Nearly all regions are filled with zeros, and mostly the first word says that a page is not. */
static bool is_filled(const void *page, uint64_t fill)
{
	const uint64_t *words = page, *end = words + PAGE_SIZE / sizeof(*words);

	if (words[0] != fill) {
		return false;
	}
	if (fill == 0) {
		return is_zero(words);
	}
	for (; words < end; words++) {
		if (*words != fill) {
			return false;
		}
	}
	return true;
}

static void stop_if_closed(void)
{
	if (atomic_load(&closed)) {
		cpu_stop();
	}
}

/* Called for each multiple of the smaller limit, and for each version once. */
static __attribute__((noinline)) void warn_of_limit(const struct pager_vm *vm, uint64_t version)
{
	if (version == PAGE_CIPHER_PAGES_MAX) {
		log_warn("vm %s: its key has encrypted 256 TiB, which is the limit of IEEE Std "
			 "1619: reset the VM, which gives it a new key",
			 vm->name);
	} else if (version == PAGE_MAC_TAGS_MAX && vm->has_tags) {
		log_warn("vm %s: its key has made 2^40 tags, which is the limit: reset the VM, "
			 "which gives it a new key",
			 vm->name);
	}
}
_Static_assert(PAGE_MAC_TAGS_MAX % PAGE_CIPHER_PAGES_MAX == 0, "one comparison finds both");

/* A version cannot overflow: a fault takes more than 1 ns, and 2^64 ns are more than 500 years. */
static uint64_t next_version(struct pager_vm *vm)
{
	const uint64_t version = atomic_add(&vm->version, 1) + 1;

	if (__builtin_expect(version % PAGE_CIPHER_PAGES_MAX == 0, 0)) {
		warn_of_limit(vm, version);
	}
	return version;
}

/*
 * Stores a page that holds its region's pattern, and so needs no ciphertext. Without tags the page
 * becomes absent. With tags it gets a new version and a tag, to which its older ciphertext does not
 * belong.
 */
static void store_filled(const struct sealed_page *out)
{
	struct pager_vm *vm = out->region->vm;
	uint8_t name[PAGE_NAME_BYTES];

	if (!vm->has_tags) {
		/* vm->version is not changed, so that no version is used twice. */
		*store_version(out->region, out->page) = 0;
		*store_kind(out->region, out->page) = STORE_ABSENT;
		return;
	}
	*store_version(out->region, out->page) = next_version(vm);
	*store_kind(out->region, out->page) = STORE_FILLED;
	pack_name(out->region, out->page, name);
	page_tag_name(&vm->mac_key, name, store_tag(out->region, out->page));
}

/* Returns false when there is nothing to encrypt. */
static inline bool begin_seal(const struct sealed_page *out, const struct percpu *cpu, void *clear,
			      struct page_job *job)
{
	struct stored_page *stored;
	hpa_t frame;

	if (out->region == NULL) {
		return false;
	}
	if (is_filled(clear, out->region->fill)) {
		store_filled(out);
		return false;
	}
	stored = store_page(out->region, out->page);
	stored->version = next_version(out->region->vm);
	stored->kind = STORE_SEALED;
	frame = store_frame(out->region, out->page);
	atomic_store(&unfinished[cpu->index].frame, frame.v);
	stop_if_closed();
	describe(out, stored->version, job);
	job->in = job->scratch = clear;
	job->out = host_temps_map(host_temps(cpu), GMEM_SLOT_OUT, keyed(frame, KEYID_PLATFORM));
	return true;
}

static inline void end_seal(const struct sealed_page *out, const struct percpu *cpu,
			    const struct page_job *job)
{
	if (job->mac != NULL) {
		memcpy(store_tag(out->region, out->page), job->tag, PAGE_TAG_BYTES);
	}
	host_temps_unmap(host_temps(cpu), GMEM_SLOT_OUT);
	stop_if_closed();
	atomic_store_release(&unfinished[cpu->index].frame, 0);
}

/* Returns false when the page has no ciphertext. */
static inline bool begin_open(const struct sealed_page *in, const struct percpu *cpu, void *clear,
			      struct page_job *job)
{
	struct stored_page *stored;

	if (in->region == NULL) {
		return false;
	}
	stored = store_page(in->region, in->page);
	if (stored->kind != STORE_SEALED) {
		return false;
	}
	describe(in, stored->version, job);
	if (job->mac != NULL) {
		memcpy(job->tag, stored->tag, PAGE_TAG_BYTES);
	}
	job->in = host_temps_map(host_temps(cpu), GMEM_SLOT_IN,
				 keyed(store_frame(in->region, in->page), KEYID_PLATFORM));
	job->out = clear;
	return true;
}

/*
 * Fills the frame with what a page without ciphertext holds. Returns false if the page has a tag
 * that is wrong. A page that was never written has no tag: for such a page only its kind, which is
 * in Umbra's own memory, says that it has no content.
 */
static bool open_without_text(const struct sealed_page *in, void *clear, bool zeroed)
{
	uint64_t fill;
	uint8_t name[PAGE_NAME_BYTES], tag[PAGE_TAG_BYTES];
	bool good = true;

	if (in->region != NULL && *store_kind(in->region, in->page) == STORE_FILLED) {
		pack_name(in->region, in->page, name);
		page_tag_name(&in->region->vm->mac_key, name, tag);
		good = ct_equal(tag, store_tag(in->region, in->page), sizeof(tag));
	}
	fill = good && in->region != NULL ? in->region->fill : 0;
	if (!zeroed || fill != 0) {
		gmem_fill_page(clear, fill);
	}
	return good;
}

int store_exchange(struct sealed_page out, struct sealed_page in, struct keyed_frame frame,
		   bool zeroed, bool *sealed)
{
	const struct percpu *cpu = percpu_self();
	void *clear = host_temps_map(host_temps(cpu), GMEM_SLOT_CLEAR, frame);
	struct page_job seal, open;
	const bool seals = begin_seal(&out, cpu, clear, &seal);
	const bool opens = begin_open(&in, cpu, clear, &open);
	bool good = true;

	if (seals || opens) {
		good = page_exchange(seals ? &seal : NULL, opens ? &open : NULL);
	}
	cpu = percpu_self(); /* loaded again: that is less work than to keep it over the call */
	if (seals) {
		end_seal(&out, cpu, &seal);
	}
	if (opens) {
		host_temps_unmap(host_temps(cpu), GMEM_SLOT_IN);
	} else {
		good = open_without_text(&in, clear, zeroed);
	}
	if (in.region == NULL || !good) {
		cache_write_back(clear, PAGE_SIZE); /* else the old plaintext would stay in DRAM */
	}
	host_temps_unmap(host_temps(cpu), GMEM_SLOT_CLEAR);
	*sealed = seals;
	return good ? 0 : ERR_TAMPERED;
}

void store_close(void)
{
	atomic_store(&closed, true);
}

void store_wipe_unfinished(void)
{
	for (uint32_t cpu = 0; cpu < CPU_MAX; cpu++) {
		const hpa_t frame = { atomic_load_acquire(&unfinished[cpu].frame) };

		if (frame.v != 0) {
			gmem_zero_frames(GMEM_SLOT_WIPE, keyed(frame, KEYID_PLATFORM), PAGE_SIZE);
		}
	}
}
