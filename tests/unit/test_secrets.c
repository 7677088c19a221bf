/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/secrets.c: nothing of a key file is left after the key was made, and a VM whose key fails is
 * not started.
 */
#include "tests/unit/test.h"
#include "boot/secrets.h"
#include "crypto/kdf.h"
#include "crypto/wipe.h"
#include "guest/vm_file.h"
#include "vmm/base/err.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"

static struct config config;
static const void *registered[CONFIG_VM_MAX];
static size_t registered_count, room;
static int fail_kdf;

int wipe_register(void *area, size_t bytes)
{
	assert_int_equal(bytes, VM_KEY_FILE_MAX);
	if (registered_count == room) {
		return ERR_NOMEM;
	}
	registered[registered_count++] = area;
	return 0;
}

/*
 * Every byte becomes its complement plus one; the caller must have registered the key for wiping.
 */
int kdf_derive(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt, const char *label,
	       uint8_t *out, size_t out_bytes)
{
	assert_ptr_equal(registered[registered_count - 1], secret);
	assert_int_equal(out_bytes, KDF_SECRET_BYTES);
	assert_null(salt);
	assert_string_equal(label, "umbra key file");
	for (size_t i = 0; i < out_bytes; i++) {
		out[i] = (uint8_t)(0 - secret[secret_bytes - 1 - i]);
	}
	return fail_kdf;
}

/* --- Sealing --- */

#define CPUS 3u

static int fail_start, fail_map;
static unsigned starts, cmdlines;
static void *last_buffers;   /* as vm_file_start got them */
static const void *writable; /* the file that is mapped writable */
static const void *done[2 * CONFIG_VM_MAX];
static uint32_t numbers[64];
static size_t done_count, number_count;

static void take_number(uint32_t number)
{
	assert_int_not_equal(number, 0);
	for (size_t i = 0; i < number_count; i++) {
		assert_int_not_equal(numbers[i], number);
	}
	numbers[number_count++] = number;
}

static bool tags_wanted, no_tags;

bool engine_has_tags(enum vm_integrity integrity)
{
	return integrity == VM_INTEGRITY_ON;
}

int vm_file_start(uint8_t (*buffers)[PAGE_SIZE], uint32_t cpus, bool with_tags)
{
	tags_wanted = with_tags;
	assert_int_equal(cpus, CPUS);
	memset(buffers, 0, CPUS * PAGE_SIZE); /* all of them are there */
	last_buffers = buffers;
	starts++;
	return fail_start;
}

int vm_file_seal(struct vm_file *file, uint32_t number)
{
	static uint8_t tags[16];

	assert_ptr_equal(writable, file->data);
	assert_int_equal(file->seal, 0);
	for (size_t i = 0; i < done_count; i++) {
		assert_ptr_not_equal(done[i], file->data); /* sealing twice would undo it */
	}
	done[done_count++] = file->data;
	take_number(number);
	file->seal = number;
	file->tags = no_tags ? NULL : &tags;
	return no_tags ? ERR_NOMEM : 0;
}

void vm_cmdline_seal(struct vm_config *vm, uint32_t number)
{
	take_number(number);
	vm->cmdline_seal = number;
	cmdlines++;
}

int host_map_identity(hpa_t base, uint64_t bytes, enum host_access access, enum host_cache cache)
{
	assert_int_not_equal(bytes, 0);
	assert_int_equal(cache, HOST_CACHE_WB);
	if (fail_map != 0) {
		return fail_map;
	}
	assert_true(access != HOST_READ_WRITE || writable == NULL); /* one file at a time */
	writable = access == HOST_READ_WRITE ? (void *)base.v : NULL;
	return 0;
}

static int setup(void **state)
{
	fake_setup(state);
	fail_start = fail_map = 0;
	starts = cmdlines = 0;
	done_count = number_count = 0;
	writable = NULL;
	memset(&config, 0, sizeof(config));
	registered_count = 0;
	room = CONFIG_VM_MAX;
	fail_kdf = 0;
	config.vm_count = 3;
	for (size_t i = 0; i < config.vm_count; i++) {
		config.vms[i].valid = true;
	}
	strcpy(config.vms[1].name, "alpha");
	config.vms[1].key.kind = VM_KEY_FILE;
	strcpy(config.vms[1].key.file.path, "\\a.key");
	memset(config.vms[1].key.secret, 0x55, VM_KEY_FILE_MAX);
	config.vms[1].key.secret_bytes = VM_KEY_FILE_MAX;
	return 0;
}

static void is_gone(const struct vm_config *vm)
{
	for (size_t i = 0; i < sizeof(vm->key.secret); i++) {
		assert_int_not_equal(vm->key.secret[i], 0x55);
	}
}

TEST(test_derives, setup, fake_teardown)
{
	const struct vm_config *vm = &config.vms[1];

	secrets_derive(&config);
	assert_true(vm->valid);
	assert_int_equal(vm->key.secret_bytes, VM_SECRET_BYTES);
	for (size_t i = 0; i < sizeof(vm->key.secret); i++) {
		assert_int_equal(vm->key.secret[i], i < VM_SECRET_BYTES ? 0xab : 0);
	}
	assert_int_equal(registered_count, 1); /* VMs without a file have nothing to wipe */
	assert_string_equal(fake_log_text(), "");
}

static void derive_all(void)
{
	secrets_derive(&config);
}

TEST(the_stack_keeps_no_secret, setup, fake_teardown)
{
	assert_false(fake_stack_keeps(derive_all, config.vms[1].key.secret, VM_SECRET_BYTES));
	assert_int_equal(config.vms[1].key.secret[0], 0xab);
}

TEST(test_failures, setup, fake_teardown)
{
	fail_kdf = ERR_NOMEM;
	secrets_derive(&config);
	is_gone(&config.vms[1]);
	assert_false(config.vms[1].valid);
	assert_true(config.vms[0].valid && config.vms[2].valid);
	assert_int_equal(config.vms[1].key.secret_bytes, 0);
	assert_non_null(
		strstr(fake_log_text(), "error: vm alpha: no key can be made of \\a.key: "));

	setup(state);
	room = 0;
	secrets_derive(&config);
	is_gone(&config.vms[1]);
	assert_false(config.vms[1].valid);
}

static uint8_t stick[5][2048];

static struct vm_file a_file(size_t number)
{
	memset(stick[number], 0x77, sizeof(stick[number]));
	return (struct vm_file){ .data = stick[number], .bytes = sizeof(stick[number]) };
}

static bool is_wiped(size_t number)
{
	for (size_t i = 0; i < sizeof(stick[number]); i++) {
		assert_int_equal(stick[number][i], stick[number][0]);
	}
	return stick[number][0] == 0;
}

/*
 * VM 0 has no engine. 1 and 2 share a kernel; 2's initrd is 0's kernel. 3 is not started; its
 * kernel is 1's, its initrd is used by no other VM.
 */
static void some_files(void)
{
	struct vm_config *vm = config.vms;

	config.vm_count = 4;
	vm[0].engine = VM_ENGINE_NONE;
	vm[0].kernel = a_file(1);
	vm[0].initrd = a_file(2);
	vm[1].engine = VM_ENGINE_AUTO;
	vm[1].kernel = a_file(3);
	vm[2].engine = VM_ENGINE_SOFTWARE;
	vm[2].kernel = a_file(3);
	vm[2].initrd = a_file(1);
	vm[3].valid = false;
	vm[3].engine = VM_ENGINE_AUTO;
	vm[3].kernel = a_file(3);
	vm[3].initrd = a_file(4);
	strcpy(vm[3].cmdline, "secret");
}

TEST(test_seals, setup, fake_teardown)
{
	static const char zero[VM_CMDLINE_MAX];
	const struct vm_config *vm = config.vms;

	some_files();
	secrets_seal(&config, CPUS);
	assert_int_equal(starts, 1);
	assert_int_equal(done_count, 2);
	assert_int_equal(cmdlines, 2);
	assert_null(writable);
	assert_true(vm[1].kernel.seal != 0 && vm[1].kernel.seal == vm[2].kernel.seal);
	assert_true(vm[2].initrd.seal != 0 && vm[2].initrd.seal == vm[0].kernel.seal);
	assert_true(vm[0].initrd.seal == 0 && vm[0].cmdline_seal == 0); /* not secret */
	assert_true(vm[1].cmdline_seal != 0 && vm[2].cmdline_seal != 0);
	assert_memory_equal(vm[3].cmdline, zero, sizeof(zero));
	assert_true(is_wiped(4));
	assert_false(is_wiped(1) || is_wiped(2) || is_wiped(3));
	assert_non_null(strstr(fake_log_text(), "files: 4 KiB of kernels, initrds and disks"));
	page_free(last_buffers, CPUS);
}

/* Tags are wanted if one VM wants them; its files' other names get them, too. */
TEST(test_tags, setup, fake_teardown)
{
	const struct vm_config *vm = config.vms;

	for (unsigned missing = 0; missing < 2; missing++) {
		setup(state);
		some_files();
		no_tags = missing != 0;
		config.vms[0].integrity = VM_INTEGRITY_ON; /* it has no engine */
		config.vms[2].integrity = missing != 0 ? VM_INTEGRITY_ON : VM_INTEGRITY_OFF;
		secrets_seal(&config, CPUS);
		assert_int_equal(tags_wanted, missing);
		assert_ptr_equal(vm[1].kernel.tags, vm[2].kernel.tags);
		assert_ptr_equal(vm[2].initrd.tags, vm[0].kernel.tags);
		assert_true((vm[1].kernel.tags == NULL) == no_tags);
		assert_true((strstr(fake_log_text(), "is kept without tags") != NULL) == no_tags);
		page_free(last_buffers, CPUS);
	}
	no_tags = false;
}

TEST(test_cannot_seal, setup, fake_teardown)
{
	some_files();
	strcpy(config.vms[1].cmdline, "secret");
	fail_start = ERR_UNSUPPORTED;
	secrets_seal(&config, CPUS);
	assert_int_equal(number_count, 0);
	assert_string_equal(fake_log_text(), "");
	assert_true(is_wiped(3) && is_wiped(4)); /* no VM that may start needs them */
	assert_false(is_wiped(1) || is_wiped(2));
	assert_string_equal(config.vms[1].cmdline, "");
	assert_null(writable);

	some_files();
	fail_start = 0;
	fail_map = ERR_NOMEM;
	secrets_seal(&config, CPUS);
	assert_int_equal(done_count, 0);
	assert_int_equal(config.vms[1].kernel.seal, 0);
	assert_false(is_wiped(4));
	assert_non_null(strstr(fake_log_text(), "stays in clear: it cannot be mapped"));
	page_free(last_buffers, CPUS);
}

TEST(test_no_memory, setup, fake_teardown)
{
	some_files();
	fake_pages_fail_after(0);
	secrets_seal(&config, CPUS);
	assert_int_equal(starts, 0);
	assert_int_equal(number_count, 0);
	assert_true(is_wiped(3) && is_wiped(4));
	assert_non_null(strstr(fake_log_text(), "no memory to open ciphertext in"));
}
