/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/vm_file.h"

#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/host/page_alloc.h"

#define BATCH	  16u
#define KIND_FILE 3 /* in a tag's name; never 0, so that its first block counts */

static struct page_key key;
static struct page_mac_key mac_key; /* only with has_tags */
static bool has_tags;
/*
 * Decrypted pages, one for each CPU. So a CPU that copies for one VM does not wait for a CPU that
 * copies for another VM, and that may first have to decrypt a page of that VM.
 */
static uint8_t (*pages)[PAGE_SIZE];

static int start_tags(void)
{
	uint8_t bytes[PAGE_MAC_KEY_BYTES];
	int err = wipe_register(&mac_key, sizeof(mac_key));

	if (err == 0) {
		err = rng_bytes(bytes, sizeof(bytes));
	}
	if (err == 0) {
		err = page_mac_key_set(&mac_key, bytes);
	}
	secure_zero(bytes, sizeof(bytes));
	has_tags = err == 0;
	return err;
}

int vm_file_start(uint8_t (*buffers)[PAGE_SIZE], uint32_t cpus, bool with_tags)
{
	uint8_t bytes[PAGE_KEY_BYTES];
	int err = wipe_register(&key, sizeof(key));

	has_tags = false;
	if (err == 0) {
		err = rng_bytes(bytes, sizeof(bytes));
	}
	if (err == 0) {
		err = page_key_set(&key, bytes, sizeof(bytes));
	}
	secure_zero(bytes, sizeof(bytes));
	if (err == 0 && with_tags) {
		err = start_tags();
	}
	if (err == 0) {
		err = wipe_register(buffers, cpus * sizeof(*buffers));
	}
	pages = err == 0 ? buffers : NULL;
	return err;
}

/* The key is for this run and each place is sealed only once, so no tweak is used twice. */
static void pack_tweak(uint64_t number, uint64_t index, uint8_t tweak[AES_XTS_TWEAK_BYTES])
{
	memcpy(tweak, &index, sizeof(index));
	memcpy(tweak + sizeof(index), &number, sizeof(number));
}

/* The job for a page, except for scratch and the tag. */
static struct page_job job_of(uint64_t number, uint64_t index, const void *in, void *out)
{
	const uint64_t words[] = { (uint64_t)KIND_FILE << 32 | number, index, 0, 0 };
	struct page_job job = { .key = &key, .mac = &mac_key, .in = in, .out = out };

	pack_tweak(number, index, job.tweak);
	_Static_assert(sizeof(words) == PAGE_NAME_BYTES, "two blocks");
	memcpy(job.name, words, sizeof(words));
	return job;
}

/* The ciphertext is made in this CPU's buffer. */
static void seal_with_tags(struct vm_file *file, uint64_t count, uint32_t number)
{
	for (uint64_t i = 0; i < count; i++) {
		uint8_t *at = (uint8_t *)(uintptr_t)file->data + i * PAGE_SIZE;
		struct page_job job = job_of(number, i, at, at);

		job.scratch = pages[percpu_self()->index];
		(void)page_exchange(&job, NULL);
		memcpy(file->tags[i], job.tag, sizeof(file->tags[i]));
	}
	file->seal = number;
}

int vm_file_seal(struct vm_file *file, uint32_t number)
{
	uint8_t *at = (uint8_t *)(uintptr_t)file->data;
	uint64_t count = ALIGN_UP(file->bytes, PAGE_SIZE) / PAGE_SIZE;
	const uint64_t tag_bytes = count * sizeof(file->tags[0]);
	const bool wants_tags = has_tags && count != 0; /* a file may be empty */
	struct page_item items[BATCH];

	if (wants_tags) {
		file->tags = page_alloc(ALIGN_UP(tag_bytes, PAGE_SIZE) / PAGE_SIZE);
	}
	if (file->tags != NULL) {
		seal_with_tags(file, count, number);
		return 0;
	}
	for (uint64_t first = 0; first < count; first += BATCH) {
		uint64_t now = MIN(count - first, BATCH);

		for (uint64_t i = 0; i < now; i++) {
			items[i].in = items[i].out = at + (first + i) * PAGE_SIZE;
			pack_tweak(number, first + i, items[i].tweak);
		}
		page_encrypt(&key, items, now);
	}
	file->seal = number;
	return wants_tags ? ERR_NOMEM : 0;
}

static bool open_with_tag(const struct vm_file *file, uint64_t index, const void *at, void *out)
{
	struct page_job job = job_of(file->seal, index, at, out);

	memcpy(job.tag, file->tags[index], sizeof(job.tag));
	return page_exchange(NULL, &job);
}

int vm_file_page(const struct vm_file *file, uint64_t index, void *out)
{
	const uint8_t *at = (const uint8_t *)file->data + index * PAGE_SIZE;
	struct page_item item = { .in = at, .out = out };

	if (file->seal == 0) {
		memcpy(out, at, MIN(PAGE_SIZE, file->bytes - index * PAGE_SIZE));
		return 0;
	}
	if (file->tags != NULL) {
		return open_with_tag(file, index, at, out) ? 0 : ERR_TAMPERED;
	}
	pack_tweak(file->seal, index, item.tweak);
	page_decrypt(&key, &item, 1);
	return 0;
}

int vm_file_read(const struct vm_file *file, uint64_t offset, void *buf, size_t bytes)
{
	uint8_t *to = buf, *page;
	int err = 0;

	if (file->seal == 0) {
		memcpy(buf, (const uint8_t *)file->data + offset, bytes);
		return 0;
	}
	page = pages[percpu_self()->index];
	while (bytes != 0) {
		uint64_t within = offset % PAGE_SIZE;
		size_t now = MIN(PAGE_SIZE - within, bytes);

		if (vm_file_page(file, offset / PAGE_SIZE, page) != 0) {
			err = ERR_TAMPERED; /* and the page holds zeros */
		}
		memcpy(to, page + within, now);
		to += now;
		offset += now;
		bytes -= now;
	}
	secure_zero(page, PAGE_SIZE);
	return err;
}

int vm_file_copy(const struct vm_file *file, uint64_t offset, uint64_t bytes, struct gmem *gmem,
		 gpa_t to)
{
	uint8_t *page;
	int err = 0;

	if (file->seal == 0) {
		return gmem_write(gmem, to, (const uint8_t *)file->data + offset, bytes);
	}
	page = pages[percpu_self()->index];
	while (err == 0 && bytes != 0) {
		uint64_t within = offset % PAGE_SIZE;
		uint64_t now = MIN(PAGE_SIZE - within, bytes);

		err = vm_file_page(file, offset / PAGE_SIZE, page);
		if (err == 0) {
			err = gmem_write(gmem, to, page + within, now);
		}
		to.v += now;
		offset += now;
		bytes -= now;
	}
	secure_zero(page, PAGE_SIZE);
	return err;
}

void vm_cmdline_seal(struct vm_config *config, uint32_t number)
{
	uint8_t *page = pages[percpu_self()->index];
	struct page_item item = { .in = page, .out = page };

	/* XTS encrypts each block alone, so a command line is the first part of a page. */
	memcpy(page, config->cmdline, sizeof(config->cmdline));
	pack_tweak(number, 0, item.tweak);
	page_encrypt(&key, &item, 1);
	memcpy(config->cmdline, page, sizeof(config->cmdline));
	secure_zero(page, PAGE_SIZE);
	config->cmdline_seal = number;
}

void vm_cmdline_read(const struct vm_config *config, char out[VM_CMDLINE_MAX])
{
	struct page_item item;
	uint8_t *page;

	if (config->cmdline_seal == 0) {
		memcpy(out, config->cmdline, sizeof(config->cmdline));
		return;
	}
	page = pages[percpu_self()->index];
	item = (struct page_item){ .in = page, .out = page };
	memcpy(page, config->cmdline, sizeof(config->cmdline));
	pack_tweak(config->cmdline_seal, 0, item.tweak);
	page_decrypt(&key, &item, 1);
	memcpy(out, page, VM_CMDLINE_MAX);
	secure_zero(page, PAGE_SIZE);
	out[VM_CMDLINE_MAX - 1] = '\0';
}
