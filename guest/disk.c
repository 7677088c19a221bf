/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay is a separate guest-physical address space that no vCPU uses. ept/ reserves its
 * frames, allocates them at the first access and frees them. It holds, page-aligned:
 *
 *  map       a word for each block of the disk: MAP_IMAGE, MAP_ZEROS, or its slot + MAP_SLOT
 *  versions  eight bytes for each slot: the version under which it was encrypted; for a free
 *            slot, the number of the next free slot
 *  slots     blocks, as ciphertext
 */
#include "guest/disk.h"

#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "ept/gmem.h"
#include "ept/retire.h"
#include "guest/vm_file.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/page_alloc.h"

/* Words of the map. A slot's number is stored with MAP_SLOT added. */
#define MAP_IMAGE 0u
#define MAP_ZEROS 1u
#define MAP_SLOT  2u

#define NO_SLOT UINT32_MAX

struct disk_overlay {
	const struct vm_disk *of;
	struct gmem gmem;
	struct page_key key; /* secret */
	uint64_t version;    /* the last version that was used */
	uint64_t blocks;
	uint64_t versions, slots; /* the offsets of the areas */
	uint32_t slot_count;
	ATOMIC(uint32_t) used; /* slots in use; disk_usage reads it without the lock */
	uint32_t fresh;	       /* slots from this number on were never used */
	uint32_t first_free;   /* list of free slots; NO_SLOT: empty */
};
#define OVERLAY_PAGES (ALIGN_UP(sizeof(struct disk_overlay), PAGE_SIZE) / PAGE_SIZE)

static struct disk_overlay *overlays[VM_MAX * VM_DISKS_MAX];

static struct disk_overlay **find(const struct vm_disk *config)
{
	for (size_t i = 0; i < ARRAY_COUNT(overlays); i++) {
		if (overlays[i] != NULL && overlays[i]->of == config) {
			return &overlays[i];
		}
	}
	return NULL;
}

static void release(struct disk_overlay *overlay)
{
	if (overlay->gmem.grave != NULL) {
		gmem_destroy(&overlay->gmem);
	}
	secure_zero(&overlay->key, sizeof(overlay->key));
	wipe_unregister(&overlay->key);
	page_free(overlay, OVERLAY_PAGES);
}

static int make_key(struct disk_overlay *overlay)
{
	uint8_t bytes[64]; /* AES-256-XTS */
	int err = wipe_register(&overlay->key, sizeof(overlay->key));

	if (err == 0) {
		err = rng_bytes(bytes, sizeof(bytes));
	}
	if (err == 0) {
		err = page_key_set(&overlay->key, bytes, sizeof(bytes));
	}
	secure_zero(bytes, sizeof(bytes));
	return err;
}

static int reserve(struct disk_overlay *overlay)
{
	int err = gmem_init(&overlay->gmem);

	if (err == 0) {
		err = gmem_add_ram_plain(
			&overlay->gmem, gpa(0),
			overlay->slots + (uint64_t)overlay->slot_count * DISK_BLOCK, PAGE_SIZE);
	}
	return err == ERR_NOMEM && retire_pending() ? ERR_AGAIN : err;
}

static int make_overlay(const struct disk *disk, struct disk_overlay **out)
{
	struct disk_overlay *overlay = page_alloc(OVERLAY_PAGES);
	size_t i = 0;
	int err;

	if (overlay == NULL) {
		return ERR_NOMEM;
	}
	overlay->of = disk->config;
	overlay->blocks = (disk->sectors * DISK_SECTOR + DISK_BLOCK - 1) / DISK_BLOCK;
	overlay->slot_count = (uint32_t)(disk->config->cow_bytes / DISK_BLOCK);
	overlay->first_free = NO_SLOT;
	overlay->versions = ALIGN_UP(overlay->blocks * sizeof(uint32_t), PAGE_SIZE);
	overlay->slots = overlay->versions +
			 ALIGN_UP((uint64_t)overlay->slot_count * sizeof(uint64_t), PAGE_SIZE);
	err = make_key(overlay);
	if (err == 0) {
		err = reserve(overlay);
	}
	while (i < ARRAY_COUNT(overlays) && overlays[i] != NULL) {
		i++;
	}
	if (err == 0 && i == ARRAY_COUNT(overlays)) {
		err = ERR_NOMEM;
	}
	if (err != 0) {
		release(overlay);
		return err;
	}
	*out = overlays[i] = overlay;
	return 0;
}

int disk_open(const struct vm_disk *config, struct disk *out)
{
	struct disk_overlay **there = find(config);

	*out = (struct disk){
		.config = config,
		.sectors = config->file.bytes / DISK_SECTOR,
		.overlay = there != NULL ? *there : NULL,
	};
	return config->cow_bytes != 0 && there == NULL ? make_overlay(out, &out->overlay) : 0;
}

void disk_forget(const struct vm_config *config)
{
	for (size_t i = 0; i < VM_DISKS_MAX; i++) {
		struct disk_overlay **there = find(&config->disks[i]);

		if (there != NULL) {
			release(*there);
			*there = NULL;
		}
	}
}

/* --- Blocks --- */

static int read_map(const struct disk_overlay *overlay, uint64_t block, uint32_t *word)
{
	return gmem_read((struct gmem *)&overlay->gmem, gpa(block * sizeof(*word)), word,
			 sizeof(*word));
}

static int write_map(struct disk_overlay *overlay, uint64_t block, uint32_t word)
{
	return gmem_write(&overlay->gmem, gpa(block * sizeof(word)), &word, sizeof(word));
}

static gpa_t version_at(const struct disk_overlay *overlay, uint32_t slot)
{
	return gpa(overlay->versions + (uint64_t)slot * sizeof(uint64_t));
}

static gpa_t slot_at(const struct disk_overlay *overlay, uint32_t slot)
{
	return gpa(overlay->slots + (uint64_t)slot * DISK_BLOCK);
}

static struct page_item item_of(void *page, uint64_t version)
{
	struct page_item item = { .in = page, .out = page };

	memcpy(item.tweak, &version, sizeof(version));
	return item;
}

/* The file's last page may hold other bytes after the end of the image. These read as zeros. */
static int read_image(const struct disk *disk, uint64_t block, void *page)
{
	const uint64_t left = disk->config->file.bytes - block * DISK_BLOCK;
	const int err = vm_file_page(&disk->config->file, block, page);

	if (left < DISK_BLOCK) {
		memset((uint8_t *)page + left, 0, DISK_BLOCK - left);
	}
	return err;
}

int disk_read(const struct disk *disk, uint64_t block, void *page)
{
	struct disk_overlay *overlay = disk->overlay;
	uint32_t word = MAP_IMAGE;
	uint64_t version;
	struct page_item item;
	int err = overlay != NULL ? read_map(overlay, block, &word) : 0;

	if (err != 0) {
		return err;
	}
	if (word == MAP_IMAGE) {
		return read_image(disk, block, page);
	}
	if (word == MAP_ZEROS) {
		memset(page, 0, DISK_BLOCK);
		return 0;
	}
	err = gmem_read(&overlay->gmem, version_at(overlay, word - MAP_SLOT), &version,
			sizeof(version));
	if (err == 0) {
		err = gmem_read(&overlay->gmem, slot_at(overlay, word - MAP_SLOT), page,
				DISK_BLOCK);
	}
	if (err == 0) {
		item = item_of(page, version);
		page_decrypt(&overlay->key, &item, 1);
	}
	return err;
}

static int take_slot(struct disk_overlay *overlay, uint32_t *slot)
{
	uint64_t next = overlay->fresh + 1u;
	int err = 0;

	*slot = overlay->first_free;
	if (*slot == NO_SLOT && overlay->fresh == overlay->slot_count) {
		return ERR_NOSPACE;
	}
	if (*slot == NO_SLOT) {
		*slot = overlay->fresh++;
	} else {
		err = gmem_read(&overlay->gmem, version_at(overlay, *slot), &next, sizeof(next));
		overlay->first_free = err == 0 ? (uint32_t)next : *slot;
	}
	if (err == 0) {
		atomic_add_own(&overlay->used, 1);
	}
	return err;
}

static int free_slot(struct disk_overlay *overlay, uint32_t slot)
{
	const uint64_t next = overlay->first_free;
	int err = gmem_write(&overlay->gmem, version_at(overlay, slot), &next, sizeof(next));

	if (err == 0) {
		overlay->first_free = slot;
		atomic_store_relaxed(&overlay->used, atomic_load_relaxed(&overlay->used) - 1);
	}
	return err;
}

int disk_zero(const struct disk *disk, uint64_t block)
{
	struct disk_overlay *overlay = disk->overlay;
	uint32_t word;
	int err = read_map(overlay, block, &word);

	if (err == 0 && word != MAP_ZEROS) {
		err = write_map(overlay, block, MAP_ZEROS);
	}
	return err == 0 && word >= MAP_SLOT ? free_slot(overlay, word - MAP_SLOT) : err;
}

static bool is_zeros(const void *page)
{
	const uint64_t *words = page;
	uint64_t any = 0;

	for (size_t i = 0; i < DISK_BLOCK / sizeof(*words); i++) {
		any |= words[i];
	}
	return any == 0;
}

/*
 * Encrypts a block under a version that was never used before, also if the block has a slot
 * already.
 */
static int write_slot(struct disk_overlay *overlay, uint32_t slot, void *page)
{
	const uint64_t version = ++overlay->version;
	const struct page_item item = item_of(page, version);
	int err;

	page_encrypt(&overlay->key, &item, 1);
	err = gmem_write(&overlay->gmem, slot_at(overlay, slot), page, DISK_BLOCK);
	return err != 0 ? err
			: gmem_write(&overlay->gmem, version_at(overlay, slot), &version,
				     sizeof(version));
}

int disk_write(const struct disk *disk, uint64_t block, void *page)
{
	struct disk_overlay *overlay = disk->overlay;
	uint32_t word, slot;
	int err;

	if (is_zeros(page)) {
		return disk_zero(disk, block);
	}
	err = read_map(overlay, block, &word);
	slot = word - MAP_SLOT;
	if (err == 0 && word < MAP_SLOT) {
		err = take_slot(overlay, &slot);
	}
	if (err == 0) {
		err = write_slot(overlay, slot, page);
	}
	return err == 0 && word < MAP_SLOT ? write_map(overlay, block, slot + MAP_SLOT) : err;
}

void disk_usage(const struct disk *disk, uint64_t *used, uint64_t *bytes)
{
	*used = *bytes = 0;
	if (disk->overlay != NULL) {
		*used = (uint64_t)atomic_load_relaxed(&disk->overlay->used) * DISK_BLOCK;
		*bytes = (uint64_t)disk->overlay->slot_count * DISK_BLOCK;
	}
}
