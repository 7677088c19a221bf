/* SPDX-License-Identifier: Apache-2.0 */
/* guest/loading.c: what happens to a VM while its kernel and initrd are being loaded. */
#include "tests/unit/test.h"
#include "tests/unit/platform_vmm.h"

#define PIECES 5u /* of an initrd, plus one for the kernel */

/* Starts a VM whose initrd takes several steps. */
static struct vm *begin(void)
{
	static uint8_t large[PIECES * LINUX_LOAD_STEP];
	struct vm *vm = NULL;

	memset(large, 0x69, sizeof(large));
	config.initrd = (struct vm_file){ .path = "\\i", .data = large, .bytes = sizeof(large) };
	assert_int_equal(platform_start_vm(&config, &vm), 0);
	assert_int_equal(platform_percent_loaded(vm), 0);
	return vm;
}

#define SECRET "0123456789abcdef"

static struct vm *loaded;
static uint8_t seed[LINUX_SEED_BYTES]; /* as the guest finds it */

static void load_all(void)
{
	loaded = begin();
	while (platform_start_loaded(loaded) == ERR_AGAIN) {
		(void)work_some();
	}
	(void)gmem_read(&loaded->gmem, gpa(MEMMAP_SETUP_DATA + 16), seed, sizeof(seed));
}

static void begin_only(void)
{
	loaded = begin();
}

/* Neither the command line, which may have a password, nor the guest's random seed. */
TEST(the_stack_keeps_no_secret, setup, fake_teardown)
{
	strcpy(config.cmdline, "key=" SECRET);
	assert_false(fake_stack_keeps(begin_only, SECRET, sizeof(SECRET) - 1));
	platform_destroy_vm(loaded);
	assert_false(fake_stack_keeps(load_all, SECRET, sizeof(SECRET) - 1));
	platform_destroy_vm(loaded);
	assert_false(fake_stack_keeps(load_all, seed, sizeof(seed)));
	assert_int_not_equal(seed[0], 0);
	platform_destroy_vm(loaded);
}

/* After any number of steps, destroying the VM frees all: memory, work, host pages. */
TEST(test_ends_while_it_loads, setup, fake_teardown)
{
	for (unsigned engine = 0; engine < 2; engine++) {
		config.engine = engine == 0 ? VM_ENGINE_NONE : VM_ENGINE_SOFTWARE;
		config.key.kind = engine == 0 ? VM_KEY_NONE : VM_KEY_RANDOM;
		for (unsigned steps = 0; steps <= PIECES + 1; steps++) {
			struct vm *vm = begin();

			for (unsigned i = 0; i < steps; i++) {
				assert_int_equal(platform_start_loaded(vm), ERR_AGAIN);
				assert_true(work_some());
			}
			assert_int_equal(work_waits(), steps <= PIECES);
			assert_int_equal(platform_percent_loaded(vm) == 100, steps == PIECES + 1);
			platform_destroy_vm(vm);
			assert_false(work_waits());
			assert_int_equal(started, 0);
			assert_int_equal(fake_pages_live(), 0);
			assert_int_equal(fake_frames_live(), 0);
		}
	}
}

/* A paused VM has no work. After it goes on it is loaded, and runs as usual. */
TEST(test_pauses_while_it_loads, setup, fake_teardown)
{
	struct vm *vm = begin();
	uint8_t last;

	assert_true(work_some());
	platform_pause(vm);
	platform_pause(vm);
	assert_false(work_some());
	assert_int_equal(platform_start_loaded(vm), ERR_AGAIN);
	platform_resume(vm);
	for (unsigned i = 0; i < PIECES; i++) {
		assert_int_equal(platform_start_loaded(vm), ERR_AGAIN);
		assert_true(work_some());
	}
	platform_pause(vm); /* after the last step, but before the boot processor noticed */
	platform_resume(vm);
	assert_false(work_some());
	assert_int_equal(platform_start_loaded(vm), 0);
	assert_int_equal(started, 1);
	assert_int_equal(gmem_read(&vm->gmem, gpa(64 * MIB - 1), &last, 1), 0);
	assert_int_equal(last, 0x69);
	platform_pause(vm);
	platform_destroy_vm(vm);

	vm = begin();
	platform_pause(vm);
	platform_destroy_vm(vm);
	assert_false(work_waits());
}

/* The time of a step is charged to the VM, whatever CPU does it. */
TEST(test_loading_is_billed, setup, fake_teardown)
{
	struct vm *vm = begin();

	fake_set_cpu_count(2);
	billed = 0;
	tsc_step = 100;
	for (unsigned i = 0; i <= PIECES; i++) {
		fake_set_cpu(i % 2);
		assert_true(work_some());
	}
	tsc_step = 0;
	fake_set_cpu(0);
	assert_int_equal(platform_start_loaded(vm), 0);
	assert_int_equal(billed, (PIECES + 1) * 100);
	platform_destroy_vm(vm);
}
