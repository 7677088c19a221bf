/* SPDX-License-Identifier: Apache-2.0 */
/* boot/launch.c: which files are read, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "boot/launch.h"
#include "tests/unit/fake_base.h"
#include "vmm/base/err.h"

static struct config config;
static char seen[2048];

static int read_file(struct vm_file *file, uint64_t max)
{
	strcat(seen, file->path);
	strcat(seen, " ");
	assert_int_equal(max, 4ul << 30);
	if (strstr(file->path, "missing") != NULL) {
		file->error = "there is no such file";
		return ERR_NOTFOUND;
	}
	file->data = "content";
	return 0;
}

static int setup(void **state)
{
	memset(&config, 0, sizeof(config));
	seen[0] = '\0';
	return fake_setup(state);
}

static struct vm_config *add_vm(const char *name, const char *kernel, const char *initrd)
{
	struct vm_config *vm = &config.vms[config.vm_count++];

	strcpy(vm->name, name);
	strcpy(vm->kernel.path, kernel);
	strcpy(vm->initrd.path, initrd);
	vm->valid = true;
	return vm;
}

static void each_file_is_read_once(void **state)
{
	struct vm_config *second;

	strcpy(add_vm("a", "\\k", "\\i")->disks[1].file.path, "\\d");
	second = add_vm("b", "\\K", "\\i,\\i2");
	add_vm("c", "\\unread", "")->valid = false;
	launch_read_files(&config, read_file);
	assert_string_equal(seen, "\\k \\i \\d \\i,\\i2 ");
	assert_string_equal(second->kernel.data, "content");
}

static void a_vm_with_a_missing_file_is_left_out(void **state)
{
	add_vm("a", "\\k", "\\missing")->line = 7;
	add_vm("b", "\\k2", "");
	launch_read_files(&config, read_file);
	assert_false(config.vms[0].valid);
	assert_true(config.vms[1].valid);
	assert_string_equal(fake_log_text(),
			    "error: umbra.conf:7: vm a: initrd = \\missing: there is no such file; "
			    "the VM is left out\n");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, fake_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(each_file_is_read_once),
		TEST(a_vm_with_a_missing_file_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
