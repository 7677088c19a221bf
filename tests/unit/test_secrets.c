/* SPDX-License-Identifier: Apache-2.0 */
/* boot/secrets.c: nothing of a key file is left when the key is made, and who fails is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "boot/secrets.h"
#include "crypto/kdf.h"
#include "crypto/wipe.h"
#include "tests/unit/fake_base.h"
#include "vmm/base/err.h"

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

/* All bytes become their complement plus one; the content must be known to be wiped by now. */
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

static int setup(void **state)
{
	fake_setup(state);
	memset(&config, 0, sizeof(config));
	registered_count = 0;
	room = CONFIG_VM_MAX;
	fail_kdf = 0;
	config.vm_count = 3;
	for (size_t i = 0; i < config.vm_count; i++) {
		config.vms[i].valid = true;
	}
	strcpy(config.vms[1].name, "alpha");
	config.vms[1].key = VM_KEY_FILE;
	strcpy(config.vms[1].key_file.path, "\\a.key");
	memset(config.vms[1].secret, 0x55, VM_KEY_FILE_MAX);
	config.vms[1].secret_bytes = VM_KEY_FILE_MAX;
	return 0;
}

static void is_gone(const struct vm_config *vm)
{
	for (size_t i = 0; i < sizeof(vm->secret); i++) {
		assert_int_not_equal(vm->secret[i], 0x55);
	}
}

static void test_derives(void **state)
{
	const struct vm_config *vm = &config.vms[1];

	secrets_derive(&config);
	assert_true(vm->valid);
	assert_int_equal(vm->secret_bytes, VM_SECRET_BYTES);
	for (size_t i = 0; i < sizeof(vm->secret); i++) {
		assert_int_equal(vm->secret[i], i < VM_SECRET_BYTES ? 0xab : 0);
	}
	assert_int_equal(registered_count, 1); /* those without a file have nothing to wipe */
	assert_string_equal(fake_log_text(), "");
}

static void test_failures(void **state)
{
	fail_kdf = ERR_NOMEM;
	secrets_derive(&config);
	is_gone(&config.vms[1]);
	assert_false(config.vms[1].valid);
	assert_true(config.vms[0].valid && config.vms[2].valid);
	assert_int_equal(config.vms[1].secret_bytes, 0);
	assert_non_null(
		strstr(fake_log_text(), "error: vm alpha: no key can be made of \\a.key: "));

	setup(state);
	room = 0;
	secrets_derive(&config);
	is_gone(&config.vms[1]);
	assert_false(config.vms[1].valid);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_derives), TEST(test_failures) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
