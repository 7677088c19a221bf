/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/vm_file.c: a file is sealed in place, and can be read back in pieces of any size. No
 * plaintext is left behind.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "tests/unit/test.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "guest/vm_file.h"
#include "tests/unit/gmem_end.h"
#include "vmm/base/err.h"
#include "vmm/host/page_alloc.h"

#define PAGES 37u
#define BYTES (PAGES * PAGE_SIZE - 100)
#define RAM   (1ul << 20)
#define CPUS  3u

static uint8_t plain[PAGES * PAGE_SIZE];
static uint8_t *data;
static struct vm_file file;
static bool no_entropy;
static uint8_t seen_tweaks[2 * PAGES][AES_XTS_TWEAK_BYTES];
static size_t seen_count;
static uint8_t buffers[CPUS][PAGE_SIZE];
static const void *bounce;	/* where the last page was decrypted */
static void (*meanwhile)(void); /* what another CPU does while a page is in clear */

int rng_bytes(void *buf, size_t bytes)
{
	memset(buf, no_entropy ? 0 : 0x77, bytes);
	return no_entropy ? ERR_UNSUPPORTED : 0;
}

int page_key_set(struct page_key *out, const uint8_t *key, size_t bytes)
{
	assert_int_equal(bytes, 64);
	memset(out, 0, sizeof(*out));
	out->xts.opaque[0] = key[0];
	return 0;
}

/* The areas that are zeroed if the machine ends during a copy. */
static struct {
	const void *base;
	size_t bytes;
} wiped[8];
static size_t wiped_count;

int wipe_register(void *area, size_t bytes)
{
	wiped[wiped_count % ARRAY_COUNT(wiped)].base = area;
	wiped[wiped_count++ % ARRAY_COUNT(wiped)].bytes = bytes;
	return 0;
}

static bool is_wiped(const void *page)
{
	for (size_t i = 0; i < ARRAY_COUNT(wiped); i++) {
		const uint8_t *base = wiped[i].base, *p = page;

		if (base != NULL && p >= base && p + PAGE_SIZE <= base + wiped[i].bytes) {
			return true;
		}
	}
	return false;
}

static void mix(const struct page_item *item)
{
	for (size_t i = 0; i < PAGE_SIZE; i++) {
		((uint8_t *)item->out)[i] = ((const uint8_t *)item->in)[i] ^ 0x3a ^
					    item->tweak[i % 16] ^ (uint8_t)(i / 16);
	}
}

/* No tweak may be used twice. */
void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	assert_in_range(count, 1, 16);
	for (size_t i = 0; i < count; i++) {
		for (size_t s = 0; s < seen_count; s++) {
			assert_memory_not_equal(seen_tweaks[s], items[i].tweak, 16);
		}
		assert_true(seen_count < ARRAY_COUNT(seen_tweaks));
		memcpy(seen_tweaks[seen_count++], items[i].tweak, 16);
		mix(&items[i]);
	}
}

void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	assert_int_equal(count, 1);
	void (*other)(void) = meanwhile;

	mix(items);
	bounce = items[0].out;
	if (other != NULL) {
		meanwhile = NULL;
		other();
	}
}

static int setup(void **state)
{
	fake_setup(state);
	ept_configure(&(struct ept_caps){ .phys_bits = 40 });
	no_entropy = false;
	seen_count = 0;
	bounce = NULL;
	meanwhile = NULL;
	fake_set_cpu_count(CPUS);
	fake_set_cpu(1);
	data = aligned_alloc(PAGE_SIZE, sizeof(plain));
	for (size_t i = 0; i < sizeof(plain); i++) {
		plain[i] = (uint8_t)(i * 7 + i / 251);
	}
	memcpy(data, plain, sizeof(plain));
	file = (struct vm_file){ .data = data, .bytes = BYTES };
	return vm_file_start(buffers, CPUS, false);
}

static int teardown(void **state)
{
	free(data);
	return fake_teardown(state);
}

static void check_reads(bool sealed)
{
	static const uint8_t zero[PAGE_SIZE];
	static const struct {
		uint64_t offset;
		size_t bytes;
	} parts[] = {
		{ 0, 4 },	    { 0x1f1, 0x9f },	{ 4000, 200 }, { 4096, 4096 },
		{ 4097, 3 * 4096 }, { BYTES - 50, 50 }, { 0, BYTES },  { 100, 0 },
	};
	uint8_t *buf = malloc(BYTES);

	for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
		memset(buf, 0, BYTES);
		vm_file_read(&file, parts[i].offset, buf, parts[i].bytes);
		assert_memory_equal(buf, plain + parts[i].offset, parts[i].bytes);
		assert_int_equal(bounce != NULL, sealed);
		if (sealed) {
			assert_memory_equal(bounce, zero, PAGE_SIZE);
			assert_true(is_wiped(bounce));
		}
	}
	free(buf);
}

TEST(test_read, setup, teardown)
{
	check_reads(false);
	vm_file_seal(&file, 3);
	assert_int_equal(file.seal, 3);
	assert_int_equal(seen_count, PAGES); /* including all of the last page */
	for (size_t i = 0; i < PAGES; i++) {
		assert_memory_not_equal(data + i * PAGE_SIZE, plain + i * PAGE_SIZE, PAGE_SIZE);
	}
	check_reads(true);
	/* Another file has other tweaks. */
	vm_file_seal(&(struct vm_file){ .data = data, .bytes = BYTES }, 4);
}

TEST(test_copy, setup, teardown)
{
	static const uint8_t zero[PAGE_SIZE];
	uint8_t *buf = malloc(BYTES);
	struct gmem gmem;

	assert_int_equal(gmem_init(&gmem), 0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), RAM, PAGE_SIZE), 0);
	for (int sealed = 0; sealed < 2; sealed++) {
		const uint64_t from = 2560; /* like the kernel after a bzImage's setup code */

		assert_int_equal(vm_file_copy(&file, from, BYTES - from, &gmem, gpa(0x1300)), 0);
		assert_int_equal(gmem_read(&gmem, gpa(0x1300), buf, BYTES - from), 0);
		assert_memory_equal(buf, plain + from, BYTES - from);
		assert_int_equal(vm_file_copy(&file, 0, BYTES, &gmem, gpa(RAM - 9000)), ERR_RANGE);
		if (sealed == 0) {
			vm_file_seal(&file, 1);
		}
	}
	assert_memory_equal(bounce, zero, PAGE_SIZE);
	gmem_end(&gmem);
	free(buf);
}

/* CPU 2 reads the whole file while CPU 1 is in the middle of a page. Neither CPU waits. */
static void read_on_another(void)
{
	uint8_t *buf = malloc(BYTES);

	fake_set_cpu(2);
	vm_file_read(&file, 0, buf, BYTES);
	assert_memory_equal(buf, plain, BYTES);
	fake_set_cpu(1);
	free(buf);
}

TEST(test_two_cpus, setup, teardown)
{
	static const uint8_t zero[CPUS][PAGE_SIZE];
	uint8_t buf[300];
	struct gmem gmem;

	vm_file_seal(&file, 1);
	meanwhile = read_on_another;
	vm_file_read(&file, 4000, buf, sizeof(buf));
	assert_memory_equal(buf, plain + 4000, sizeof(buf));
	assert_int_equal(gmem_init(&gmem), 0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), RAM, PAGE_SIZE), 0);
	meanwhile = read_on_another;
	assert_int_equal(vm_file_copy(&file, 4000, sizeof(buf), &gmem, gpa(0x1300)), 0);
	assert_null(meanwhile); /* read_on_another was called */
	assert_int_equal(gmem_read(&gmem, gpa(0x1300), buf, sizeof(buf)), 0);
	assert_memory_equal(buf, plain + 4000, sizeof(buf));
	assert_memory_equal(buffers, zero, sizeof(zero));
	gmem_end(&gmem);
}

TEST(test_cmdline, setup, teardown)
{
	static struct vm_config config;
	char out[VM_CMDLINE_MAX];

	memset(&config, 0, sizeof(config));
	strcpy(config.cmdline, "console=ttyS0 secret=12345");
	vm_cmdline_read(&config, out);
	assert_string_equal(out, "console=ttyS0 secret=12345");
	vm_cmdline_seal(&config, 9);
	assert_null(memmem(&config, sizeof(config), "secret", 6));
	assert_null(memmem(&config, sizeof(config), "console", 7));
	vm_cmdline_read(&config, out);
	assert_string_equal(out, "console=ttyS0 secret=12345");
}

/* In a file with tags, each page that was changed, moved, or taken from another file is noticed. */
TEST(test_tags, setup, teardown)
{
	static uint8_t kept[PAGE_SIZE], all[BYTES];
	static const uint8_t zero[PAGE_SIZE];
	uint8_t out[PAGE_SIZE], *other = aligned_alloc(PAGE_SIZE, PAGES * PAGE_SIZE);
	struct vm_file second = { .data = other, .bytes = BYTES };
	uint8_t tag[PAGE_TAG_BYTES];
	struct gmem gmem;

	memcpy(other, plain, sizeof(plain));
	assert_int_equal(vm_file_start(buffers, CPUS, true), 0);
	assert_int_equal(vm_file_seal(&file, 1), 0);
	assert_int_equal(vm_file_seal(&second, 2), 0);
	assert_memory_not_equal(data, plain, PAGE_SIZE);
	assert_int_equal(vm_file_read(&file, 0, all, BYTES), 0);
	assert_memory_equal(all, plain, BYTES);
	for (size_t i = 0; i < PAGES; i++) {
		memcpy(kept, data + i * PAGE_SIZE, PAGE_SIZE);
		data[i * PAGE_SIZE + 100 * i % PAGE_SIZE] ^= 4;
		assert_int_equal(vm_file_page(&file, i, out), ERR_TAMPERED);
		assert_memory_equal(out, zero, sizeof(out));
		memcpy(data + i * PAGE_SIZE, data + (i + 1) % PAGES * PAGE_SIZE, PAGE_SIZE);
		assert_int_equal(vm_file_page(&file, i, out), ERR_TAMPERED);
		memcpy(tag, file.tags[i], sizeof(tag)); /* its own tag does not help it either */
		memcpy(file.tags[i], file.tags[(i + 1) % PAGES], sizeof(tag));
		assert_int_equal(vm_file_page(&file, i, out), ERR_TAMPERED);
		memcpy(file.tags[i], tag, sizeof(tag));
		memcpy(data + i * PAGE_SIZE, other + i * PAGE_SIZE, PAGE_SIZE);
		assert_int_equal(vm_file_page(&file, i, out), ERR_TAMPERED);
		memcpy(data + i * PAGE_SIZE, kept, PAGE_SIZE);
		assert_int_equal(vm_file_page(&file, i, out), 0);
		assert_memory_equal(out, plain + i * PAGE_SIZE, PAGE_SIZE);
	}
	data[5 * PAGE_SIZE] ^= 1;
	assert_int_equal(vm_file_read(&file, 4 * PAGE_SIZE, out, PAGE_SIZE), 0);
	assert_int_equal(vm_file_read(&file, 4 * PAGE_SIZE + 1, out, PAGE_SIZE), ERR_TAMPERED);
	assert_int_equal(gmem_init(&gmem), 0);
	assert_int_equal(gmem_add_ram_plain(&gmem, gpa(0), RAM, PAGE_SIZE), 0);
	assert_int_equal(vm_file_copy(&file, 4 * PAGE_SIZE, PAGE_SIZE, &gmem, gpa(0)), 0);
	assert_int_equal(vm_file_copy(&file, 0, BYTES, &gmem, gpa(0)), ERR_TAMPERED);
	gmem_end(&gmem);
	page_free(file.tags, 1);
	page_free(second.tags, 1);
	free(other);
}

/* Without memory for tags the file is sealed without tags, and the caller gets an error. */
TEST(test_no_room_for_tags, setup, teardown)
{
	assert_int_equal(vm_file_start(buffers, CPUS, true), 0);
	fake_pages_fail_after(0);
	assert_int_equal(vm_file_seal(&file, 1), ERR_NOMEM);
	assert_null(file.tags);
	check_reads(true);
}

/* An initrd may be an empty file. It has no pages, and so no tags. */
TEST(test_empty_file, setup, teardown)
{
	struct vm_file empty = { .path = "\\initrd", .data = data, .bytes = 0 };

	assert_int_equal(vm_file_start(buffers, CPUS, true), 0);
	assert_int_equal(vm_file_seal(&empty, 1), 0);
	assert_null(empty.tags);
}

static int started;

static void start(void)
{
	started = vm_file_start(buffers, CPUS, true);
}

/* The bytes of both keys do not stay on the stack. */
TEST(test_stack, setup, teardown)
{
	uint8_t key[32];

	memset(key, 0x77, sizeof(key));
	assert_false(fake_stack_keeps(start, key, sizeof(key)));
	assert_int_equal(started, 0);
}

TEST(test_no_entropy, setup, teardown)
{
	no_entropy = true;
	assert_int_equal(vm_file_start(buffers, CPUS, true), ERR_UNSUPPORTED);
}
