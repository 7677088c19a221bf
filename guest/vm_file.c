/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/vm_file.h"

#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "vmm/base/lock.h"
#include "vmm/base/str.h"

#define KEY_BYTES 64 /* AES-256-XTS */
#define BATCH	  16u

static struct page_key key;
/*
 * A decrypted page. page_lock is held while it is used, outside of any gmem's lock. A user zeroes
 * the page when it is done with its part of a file; meanwhile other users may overwrite it.
 */
static uint8_t page[PAGE_SIZE] __attribute__((aligned(64)));
static struct lock page_lock;

int vm_file_start(void)
{
	uint8_t bytes[KEY_BYTES];
	int err = wipe_register(&key, sizeof(key));

	if (err == 0) {
		err = wipe_register(page, sizeof(page));
	}
	if (err == 0) {
		err = rng_bytes(bytes, sizeof(bytes));
	}
	if (err == 0) {
		err = page_key_set(&key, bytes, sizeof(bytes));
	}
	secure_zero(bytes, sizeof(bytes));
	return err;
}

/* The key is for this run and each place is sealed only once, so no tweak is used twice. */
static void pack_tweak(uint64_t number, uint64_t index, uint8_t tweak[AES_XTS_TWEAK_BYTES])
{
	memcpy(tweak, &index, sizeof(index));
	memcpy(tweak + sizeof(index), &number, sizeof(number));
}

void vm_file_seal(struct vm_file *file, uint32_t number)
{
	uint8_t *at = (uint8_t *)(uintptr_t)file->data;
	uint64_t count = ALIGN_UP(file->bytes, PAGE_SIZE) / PAGE_SIZE;
	struct page_item items[BATCH];

	for (uint64_t first = 0; first < count; first += BATCH) {
		uint64_t now = MIN(count - first, BATCH);

		for (uint64_t i = 0; i < now; i++) {
			items[i].in = items[i].out = at + (first + i) * PAGE_SIZE;
			pack_tweak(number, first + i, items[i].tweak);
		}
		page_encrypt(&key, items, now);
	}
	file->seal = number;
}

void vm_file_page(const struct vm_file *file, uint64_t index, void *out)
{
	const uint8_t *at = (const uint8_t *)file->data + index * PAGE_SIZE;
	struct page_item item = { .in = at, .out = out };

	if (file->seal == 0) {
		memcpy(out, at, MIN(PAGE_SIZE, file->bytes - index * PAGE_SIZE));
		return;
	}
	pack_tweak(file->seal, index, item.tweak);
	page_decrypt(&key, &item, 1);
}

static void forget_page(void)
{
	lock_take(&page_lock, LOCK_FILE);
	secure_zero(page, sizeof(page));
	lock_drop(&page_lock);
}

void vm_file_read(const struct vm_file *file, uint64_t offset, void *buf, size_t bytes)
{
	uint8_t *to = buf;

	if (file->seal == 0) {
		memcpy(buf, (const uint8_t *)file->data + offset, bytes);
		return;
	}
	while (bytes != 0) {
		uint64_t within = offset % PAGE_SIZE;
		size_t now = MIN(PAGE_SIZE - within, bytes);

		lock_take(&page_lock, LOCK_FILE);
		vm_file_page(file, offset / PAGE_SIZE, page);
		memcpy(to, page + within, now);
		lock_drop(&page_lock);
		to += now;
		offset += now;
		bytes -= now;
	}
	forget_page();
}

int vm_file_copy(const struct vm_file *file, uint64_t offset, uint64_t bytes, struct gmem *gmem,
		 gpa_t to)
{
	int err = 0;

	if (file->seal == 0) {
		return gmem_write(gmem, to, (const uint8_t *)file->data + offset, bytes);
	}
	while (err == 0 && bytes != 0) {
		uint64_t within = offset % PAGE_SIZE;
		uint64_t now = MIN(PAGE_SIZE - within, bytes);

		lock_take(&page_lock, LOCK_FILE);
		vm_file_page(file, offset / PAGE_SIZE, page);
		err = gmem_write(gmem, to, page + within, now);
		lock_drop(&page_lock);
		to.v += now;
		offset += now;
		bytes -= now;
	}
	forget_page();
	return err;
}

void vm_cmdline_seal(struct vm_config *config, uint32_t number)
{
	uint8_t tweak[AES_XTS_TWEAK_BYTES];

	pack_tweak(number, 0, tweak);
	/* Cannot fail: the length is valid for XTS. */
	(void)aes_xts_encrypt(&key.xts, tweak, config->cmdline, config->cmdline,
			      sizeof(config->cmdline));
	config->cmdline_seal = number;
}

void vm_cmdline_read(const struct vm_config *config, char out[VM_CMDLINE_MAX])
{
	uint8_t tweak[AES_XTS_TWEAK_BYTES];

	if (config->cmdline_seal == 0) {
		memcpy(out, config->cmdline, sizeof(config->cmdline));
		return;
	}
	pack_tweak(config->cmdline_seal, 0, tweak);
	(void)aes_xts_decrypt(&key.xts, tweak, config->cmdline, out, sizeof(config->cmdline));
	out[VM_CMDLINE_MAX - 1] = '\0';
}
