/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/platform.c with the real memory, bus, devices, tables and loader, and a fake vmm: a VM is
 * built; each reason to refuse is logged as a sentence; nothing is left behind.
 */
#include "tests/unit/test.h"
#include "tests/unit/platform_vmm.h"

#include "crypto/keyslot.h"
#include "guest/memmap.h"
#include "guest/shares.h"
#include "tests/unit/fake_keyslot.h"
#include "vmm/host/cache.h"

static uint8_t initrd[10000];

/*
 * The VM runs without a share for which there is no memory; it does not wait for the share's KeyID.
 */
TEST(test_share_without_memory, setup, fake_teardown)
{
	const struct share_config share = {
		.name = "pool",
		.bytes = SIZE_2M,
		.members = { { .vm = "alpha" } },
		.member_count = 1,
		.valid = true,
	};
	struct vm *vm;

	fake_keyslots = 2;
	tme.kind = TME_MK;
	keyid_configure(46, 4);
	cache_flush_all();
	fake_tsc += 2000000000;
	shares_init(&share, 1, &config, 1);
	assert_int_equal(start_vm(&vm), 0);
	assert_non_null(strstr(fake_log_text(), "share pool: its 2M could not be set up"));
	assert_non_null(strstr(fake_log_text(), "vm alpha: it gets no share pool"));
	platform_destroy_vm(vm);
	shares_init(NULL, 0, NULL, 0);
	fake_tsc += 2000000000;
	assert_true(fake_retire_all());
}

static void check_refused(int err, const char *words)
{
	struct vm *vm = NULL;
	const char *log;

	fake_log_reset();
	assert_int_equal(start_vm(&vm), err);
	assert_null(vm);
	assert_int_equal(started, 0);
	assert_int_equal(lapics, 0);
	assert_int_equal(fake_pages_live(), 0);
	assert_int_equal(fake_frames_live(), 0);
	/* The legacy devices also warn that there is no clock. */
	log = strstr(fake_log_text(), "error: ");
	if (log == NULL || strncmp(log, "error: umbra.conf:7: vm alpha: ", 31) != 0 ||
	    strstr(log, words) == NULL || strchr(log, '\n') != log + strlen(log) - 1) {
		fail_msg("wanted one line with '%s', got: %s", words, fake_log_text());
	}
}

TEST(test_starts, setup, fake_teardown)
{
	struct vm *vm = NULL;
	uint32_t regs[4] = { 0 };
	struct io_access lsr = { .size = 1 };

	config.initrd = (struct vm_file){ .path = "\\i", .data = initrd, .bytes = 10000 };
	billed = 0;
	assert_int_equal(start_vm(&vm), 0);
	assert_int_equal(started, 1);
	assert_int_equal(lapics, 2);
	assert_int_equal(vm->vcpu_count, 2);
	assert_int_equal(entry.rip, 0x1000200);
	assert_true(gmem_is_ram(&vm->gmem, gpa(0), 64 * MIB));
	assert_false(gmem_is_ram(&vm->gmem, gpa(64 * MIB), 1));
	iobus_port_access(&vm->iobus, PORT_COM1 + 5, vm->vcpus[0], &lsr);
	assert_int_equal(lsr.value, 0x60);
	hooks->cpuid(vm->vcpus[1], 0x40000000, 0, regs);
	assert_memory_equal(&regs[1], "KVMKVMKVM", 9);
	hooks->cpuid(vm->vcpus[1], 1, 0, regs);
	assert_int_equal(regs[1] >> 24, 1);
	assert_non_null(strstr(fake_log_text(), "64M of memory in clear"));
	platform_destroy_vm(vm);
	assert_int_equal(lapics, 0);
}

/* From the shell's command to the register that the guest reads. */
TEST(test_power_button, setup, fake_teardown)
{
	struct io_access enable = { .size = 1, .write = true, .value = 1 };
	struct io_access status = { .size = 1 };
	struct vm *vm = NULL;

	assert_int_equal(start_vm(&vm), 0);
	iobus_port_access(&vm->iobus, PORT_PM1_EVENT + 1, vm->vcpus[0], &status);
	assert_int_equal(status.value & 1, 0);
	assert_false(platform_press_power_button(vm)); /* the guest has not enabled it */
	iobus_port_access(&vm->iobus, PORT_PM1_EVENT + 1, vm->vcpus[0], &status);
	assert_int_equal(status.value & 1, 1);
	iobus_port_access(&vm->iobus, PORT_PM1_EVENT + 3, vm->vcpus[0], &enable);
	assert_true(platform_press_power_button(vm));
	platform_destroy_vm(vm);
}

TEST(test_memory_beyond_the_hole, setup, fake_teardown)
{
	struct vm *vm = NULL;

	config.memory_bytes = 3 * SIZE_1G + 16 * MIB;
	assert_int_equal(start_vm(&vm), 0);
	assert_true(gmem_is_ram(&vm->gmem, gpa(0), 3 * SIZE_1G));
	assert_false(gmem_is_ram(&vm->gmem, gpa(3 * SIZE_1G), 1));
	assert_true(gmem_is_ram(&vm->gmem, gpa(4 * SIZE_1G), 16 * MIB));
	platform_destroy_vm(vm);
}

TEST(test_console, setup, fake_teardown)
{
	struct vm *vm = NULL;
	struct io_access out = { .size = 1, .write = true, .value = 'u' };
	struct io_access in = { .size = 1 };

	assert_int_equal(start_vm(&vm), 0);
	iobus_port_access(&vm->iobus, PORT_COM1, vm->vcpus[0], &out);
	fake_console_type("k");
	assert_int_equal(vconsole_input(), -1);
	hooks->poll(vm);
	vconsole_show();
	assert_string_equal(fake_console_text(), "u");
	iobus_port_access(&vm->iobus, PORT_COM1, vm->vcpus[0], &out);
	assert_false(platform_finish_console(vm));
	vconsole_show();
	assert_true(platform_finish_console(vm));
	assert_string_equal(fake_console_text(), "uu\r\n");
	iobus_port_access(&vm->iobus, PORT_COM1, vm->vcpus[0], &in);
	assert_int_equal(in.value, 'k');
	platform_destroy_vm(vm);
}

static void write_port(struct vm *vm, uint16_t port, uint8_t value)
{
	struct io_access access = { .size = 1, .write = true, .value = value };

	iobus_port_access(&vm->iobus, port, vm->vcpus[1], &access);
}

/* A device's deadline is the VM's, not a vCPU's. */
TEST(test_clock, setup, fake_teardown)
{
	struct vm *vm = NULL;

	assert_int_equal(start_vm(&vm), 0);
	vm->clock_deadline.only = UINT64_MAX;
	lapic_deadline = UINT64_MAX;
	write_port(vm, PORT_PIT + 3, 0x30); /* counter 0, both bytes, mode 0: one interrupt */
	write_port(vm, PORT_PIT, 0xe8);
	assert_true(vm->clock_deadline.only == UINT64_MAX);
	write_port(vm, PORT_PIT, 0x03);
	assert_in_range(vm->clock_deadline.only, fake_tsc + 1, fake_tsc + fake_tsc_hz / 1000);
	assert_true(hooks->next_deadline(vm->vcpus[0]) == UINT64_MAX);
	fake_tsc = vm->clock_deadline.only;
	assert_int_equal(hooks->irq_pending(vm->vcpus[0]), -1);
	assert_int_equal(vm->clock_deadline.only, fake_tsc); /* no vCPU has to wake for it */
	hooks->clock(vm, fake_tsc);
	assert_true(vm->clock_deadline.only == UINT64_MAX);
	platform_destroy_vm(vm);
}

TEST(test_bad_files, setup, fake_teardown)
{
	config.kernel.data = NULL;
	config.kernel.error = "no such file";
	check_refused(ERR_NOTFOUND, "kernel \\umbra\\vmlinuz: no such file");
	config.kernel.error = NULL;
	check_refused(ERR_NOTFOUND, "kernel \\umbra\\vmlinuz: not read");
	config.kernel.data = kernel;
	config.kernel.bytes = sizeof(kernel) - 16;
	check_refused(ERR_FORMAT, "kernel \\umbra\\vmlinuz: truncated");
	config.kernel.bytes = sizeof(kernel);
	kernel[0x202] = 0;
	check_refused(ERR_FORMAT, "no bzImage");
	kernel[0x202] = 'H';
	strcpy(config.initrd.path, "\\umbra\\initrd.img");
	config.initrd.error = "no such file";
	check_refused(ERR_NOTFOUND, "initrd \\umbra\\initrd.img: no such file");
	config.initrd.data = initrd;
	check_refused(ERR_FORMAT, "initrd \\umbra\\initrd.img: is empty");
}

extern uint32_t fake_drain_s;

/* Both pieces of RAM use the engine, its name is logged, and its counters at the end. */
TEST(test_sealed, setup, fake_teardown)
{
	struct vm *vm = NULL;

	config.engine = VM_ENGINE_SOFTWARE;
	config.key.kind = VM_KEY_RANDOM;
	config.memory_bytes = 3 * SIZE_1G + 16 * MIB;
	config.drain_s = 10;
	assert_int_equal(start_vm(&vm), 0);
	assert_true(sealed);
	assert_int_equal(fake_drain_s, 10);
	assert_true(gmem_is_ram(&vm->gmem, gpa(4 * SIZE_1G), 16 * MIB));
	assert_non_null(strstr(fake_log_text(), "sealed by AES-256-XTS (engine = software, rot13"));
	assert_null(strstr(fake_log_text(), "in clear"));
	assert_non_null(strstr(fake_log_text(), "integrity off)"));
	assert_false(has_tags);
	fake_log_reset();
	platform_log_memory(vm);
	assert_string_equal(fake_log_text(), "info: figures\n");
	platform_destroy_vm(vm);

	config.engine = VM_ENGINE_AUTO;
	config.key.kind = VM_KEY_FILE;
	secret = config.key.secret;
	config.memory_bytes = 64 * MIB;
	sealed = false;
	tags_are_fast = true;
	assert_int_equal(start_vm(&vm), 0);
	assert_true(sealed && has_tags);
	assert_non_null(strstr(fake_log_text(), "integrity on)"));
	assert_non_null(
		strstr(fake_log_text(), "warning: vm alpha: engine = auto: no TME-MK on this"));
	platform_destroy_vm(vm);
	tme.kind = TME_MK;
	assert_int_equal(start_vm(&vm), 0);
	assert_non_null(strstr(fake_log_text(), "engine = auto: no KeyID of TME-MK is left"));
	platform_destroy_vm(vm);
	started = 0;
	fail_pager = ERR_RANGE;
	check_refused(ERR_RANGE, "it gets no share of the window");
	fail_pager = ERR_UNSUPPORTED;
	check_refused(ERR_UNSUPPORTED, "no source of random numbers");
	fail_pager = ERR_NOMEM;
	check_refused(ERR_NOMEM, "own memory is used up");
}

/* Checks what is logged of a VM's memory, and its KeyID. */
static void check_memory(const char *words, enum platform_memory memory, keyid_t keyid)
{
	struct vm *vm;

	fake_log_reset();
	assert_int_equal(start_vm(&vm), 0);
	if (strstr(fake_log_text(), words) == NULL) {
		fail_msg("%s is not in %s", words, fake_log_text());
	}
	assert_int_equal(platform_memory(vm), memory);
	assert_int_equal(vm->gmem.keyid, keyid);
	platform_destroy_vm(vm);
	fake_tsc += 2000000000;
	(void)fake_retire_all();
}

TEST(test_keyid, setup, fake_teardown)
{
	struct vm *first, *second;

	fake_keyslots = 1;
	tme.kind = TME_MK;
	tme.xts256 = true;
	keyid_configure(46, 4);
	cache_flush_all();
	fake_tsc += 2000000000;
	config.engine = VM_ENGINE_TME_MK;
	config.key.kind = VM_KEY_RANDOM;
	check_memory("under KeyID 1, encrypted by AES-XTS-256 (engine = tme-mk; key = random)",
		     PLATFORM_MEMORY_KEYED, 1);
	config.engine = VM_ENGINE_NONE;
	config.key.kind = VM_KEY_NONE;
	check_memory("in clear under KeyID 1 (engine = none)", PLATFORM_MEMORY_CLEAR, 1);
	tme.bypass = true;
	check_memory("in clear (engine = none)", PLATFORM_MEMORY_CLEAR, 0);
	tme.bypass = false;
	config.key.kind = VM_KEY_PLATFORM;
	check_memory("under the machine's own TME key", PLATFORM_MEMORY_PLATFORM, 0);

	/*
	 * The only KeyID is in use. Then it retires, and a VM that needs it waits without a log
	 * line.
	 */
	config.engine = VM_ENGINE_TME_MK;
	config.key.kind = VM_KEY_RANDOM;
	assert_int_equal(start_vm(&first), 0);
	assert_int_equal(start_vm(&second), ERR_UNSUPPORTED);
	assert_non_null(strstr(fake_log_text(), "no KeyID of TME-MK is left: start fewer"));
	platform_destroy_vm(first);
	fake_log_reset();
	assert_int_equal(start_vm(&second), ERR_AGAIN);
	assert_string_equal(fake_log_text(), "");
	fake_tsc += 2000000000;
	assert_true(fake_retire_all());
	assert_int_equal(start_vm(&second), 0);
	platform_destroy_vm(second);
	fake_tsc += 2000000000;
	assert_true(fake_retire_all());
}

/*
 * Free memory waits for a flush that is not allowed yet: no KeyID is taken only to be given up
 * again, and nothing is left behind that would have to be freed before the next try.
 */
TEST(test_keyid_after_the_flush, setup, fake_teardown)
{
	static const struct share_config share = { .name = "pool",
						   .bytes = SIZE_2M,
						   .members = { { .vm = "alpha" } },
						   .member_count = 1,
						   .valid = true };
	struct keyslot_info slot;
	struct vm *vm;
	hpa_t frame;

	fake_keyslots = 1;
	tme.kind = TME_MK;
	tme.bypass = true;
	keyid_configure(46, 4);
	for (unsigned shared = 0; shared < 2; shared++) {
		config.engine = shared != 0 ? VM_ENGINE_NONE : VM_ENGINE_TME_MK;
		config.key.kind = shared != 0 ? VM_KEY_NONE : VM_KEY_RANDOM;
		shares_init(&share, shared, &config, shared);
		cache_flush_all();
		assert_int_equal(frames_alloc(1, 1, &frame), 0);
		frames_free(frame, 1);
		for (unsigned turn = 0; turn < 3; turn++) {
			assert_int_equal(platform_start_vm(&config, &vm), ERR_AGAIN);
			assert_false(retire_pending());
			fake_tsc += 100000000;
		}
		assert_int_equal(keyslot_get(1, &slot), 0);
		assert_int_equal(slot.generation, shared);
		fake_tsc += 2000000000;
		assert_int_equal(platform_start_vm(&config, &vm), 0);
		assert_int_equal(keyslot_get(1, &slot), 0);
		assert_int_equal(slot.generation, shared + 1);
		platform_destroy_vm(vm);
		fake_tsc += 2000000000;
		(void)fake_retire_all();
		assert_false(retire_pending());
	}
	shares_init(NULL, 0, NULL, 0);
}

/* The same for memory that is being freed: a start that has to wait takes nothing. */
TEST(test_memory_after_the_flush, setup, fake_teardown)
{
	struct share_config share = {
		.name = "pool", .members = { { .vm = "alpha" } }, .member_count = 1, .valid = true
	};
	uint64_t pages, more;
	struct vm *vm;

	fake_keyslots = 4;
	tme.kind = TME_MK;
	keyid_configure(46, 4);
	config.engine = VM_ENGINE_TME_MK;
	config.key.kind = VM_KEY_RANDOM;
	for (unsigned shared = 0; shared < 2; shared++) {
		cache_flush_all();
		fake_tsc += 2000000000;
		assert_int_equal(start_vm(&vm), 0);
		cache_flush_all();
		platform_destroy_vm(vm);
		assert_int_not_equal(fake_frames_live(), 0);
		more = ALIGN_UP((frames_free_count() + 1) * PAGE_SIZE, SIZE_2M);
		share.bytes = more;
		shares_init(&share, shared, &config, shared);
		config.memory_bytes = shared != 0 ? 64 * MIB : more;
		pages = fake_pages_live();
		for (unsigned turn = 0; turn < 3; turn++) {
			assert_false(retire_poll());
			assert_int_equal(platform_start_vm(&config, &vm), ERR_AGAIN);
			assert_int_equal(fake_pages_live(), pages);
			assert_false(retire_buries());
		}
		config.memory_bytes = 64 * MIB;
		shares_init(NULL, 0, NULL, 0);
		fake_tsc += 2000000000;
		assert_true(fake_retire_all());
	}
}

/* A range with clear is in clear if KeyID 0 is; under TME it is not, and the log says so. */
TEST(test_clear_range, setup, fake_teardown)
{
	static const struct {
		enum tme_kind kind;
		bool bypass;
		const char *words;
	} machines[] = {
		{ TME_NONE, false, "4096K at guest-physical 0x1000000 in clear, as clear says" },
		{ TME_MK, true, "under KeyID 0, as clear says: in clear" },
		{ TME_MK, false, "under KeyID 0, as clear says: encrypted by the machine's own" },
		{ TME_ONLY, false, "under KeyID 0, as clear says: encrypted by the machine's own" },
	};

	fake_keyslots = 1;
	keyid_configure(46, 4);
	config.engine = VM_ENGINE_AUTO;
	config.key.kind = VM_KEY_RANDOM;
	config.clear[0] = (struct vm_clear_range){ .base = 16 * MIB, .bytes = 4 * MIB };
	for (size_t i = 0; i < ARRAY_COUNT(machines); i++) {
		const bool keyed = machines[i].kind == TME_MK;

		tme.kind = machines[i].kind;
		tme.bypass = machines[i].bypass;
		cache_flush_all();
		check_memory(machines[i].words,
			     keyed ? PLATFORM_MEMORY_KEYED : PLATFORM_MEMORY_SEALED, keyed);
	}
}

TEST(test_bad_values, setup, fake_teardown)
{
	config.engine = VM_ENGINE_TME_MK;
	check_refused(ERR_UNSUPPORTED, "engine = tme-mk, key = none: without a key");
	config.key.kind = VM_KEY_FILE;
	check_refused(ERR_UNSUPPORTED, "engine = tme-mk, key = file: this machine has no TME-MK");
	tme.kind = TME_ONLY;
	check_refused(ERR_UNSUPPORTED, "engine = tme-mk, key = file: this machine has TME with");
	tme.kind = TME_MK;
	check_refused(ERR_UNSUPPORTED, "engine = tme-mk, key = file: no KeyID of TME-MK is left");
	config.key.kind = VM_KEY_NONE;
	config.engine = VM_ENGINE_NONE;
	config.vcpus = 0;
	check_refused(ERR_RANGE, "0 vCPUs");
	config.vcpus = VM_VCPU_MAX + 1;
	check_refused(ERR_RANGE, "65 vCPUs");
	config.vcpus = 1;
	config.affinity[0] = BIT(62);
	config.affinity[3] = BIT(63);
	check_refused(ERR_RANGE, "affinity: the machine has none of these CPUs; it has 0 to ");
	config.affinity[0] = BIT(0); /* one of these CPUs is enough, so the next check is reached */
	config.memory_bytes = 16 * MIB;
	check_refused(ERR_RANGE, "it needs 48 MiB of memory to start, the VM has 16 MiB");
	memset(config.cmdline, 'x', sizeof(config.cmdline) - 1);
	config.memory_bytes = 64 * MIB;
	kernel[0x238] = 0xff;
	kernel[0x239] = 0;
	check_refused(ERR_RANGE, "the command line has 2047 bytes, it takes 255");
}

TEST(test_too_much_memory, setup, fake_teardown)
{
	fake_frames_set_count(256 * 256);
	config.memory_bytes = 257 * MIB;
	check_refused(ERR_NOMEM, "memory = 257M is more than the machine has: 256M are left");
}

/* Which kind of memory was too small. */
TEST(test_too_little_own_memory, setup, fake_teardown)
{
	fake_frames_set_count(256 * 300);
	fake_pages_fail_after(4);
	check_refused(ERR_NOMEM, "its memory of 64M could not be set up (no memory): 300M are left "
				 "for VMs, and 255M of Umbra's own, where page tables lie");
	fake_pages_fail_after(-1);
}

/* Each allocation fails in turn, at any step: that is logged, and nothing is left behind. */
TEST(test_every_failure, setup, fake_teardown)
{
	struct vm *vm = NULL;
	int after = 0;

	fail_create = ERR_NOMEM;
	check_refused(ERR_NOMEM, "could not be created");
	fail_create = 0;
	fail_vcpu = ERR_NOMEM;
	check_refused(ERR_NOMEM, "vCPU 0 could not be set up: ");
	fail_vcpu = 0;
	fail_lapic = ERR_NOMEM;
	check_refused(ERR_NOMEM, "vCPU 0 could not be set up: ");
	fail_lapic = 0;
	config.engine = VM_ENGINE_SOFTWARE;
	config.key.kind = VM_KEY_RANDOM;
	for (;; after++) {
		const bool created = after == 1 || after == 2; /* failures in vm_create itself */

		fake_pages_fail_after(created ? 1000 : after);
		if (!created && start_vm(&vm) == 0) {
			break;
		}
		fake_pages_fail_after(-1);
		assert_int_equal(fake_pages_live(), 0);
		assert_int_equal(fake_frames_live(), 0);
	}
	assert_in_range(after, 4, 100);
	fake_pages_fail_after(-1);
	platform_destroy_vm(vm);
}
