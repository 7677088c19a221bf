/* SPDX-License-Identifier: Apache-2.0 */
/* umbra.conf with any content: whatever is accepted must be within what boot/config.h promises. */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "boot/config.h"

static struct config config;

static bool is_text(const char *s, size_t cap)
{
	size_t n = 0;

	for (; n < cap && s[n] != '\0'; n++) {
		if ((s[n] < ' ' && s[n] != '\t') || s[n] > '~') {
			return false;
		}
	}
	return n < cap;
}

/* Sorted and disjoint, with empty entries only at the end. */
static bool clear_is_sorted(const struct vm_config *vm)
{
	for (size_t i = 0; i + 1 < VM_CLEAR_MAX; i++) {
		const struct vm_clear_range *range = &vm->clear[i];

		if (range[1].bytes != 0 &&
		    (range[0].bytes == 0 || range[0].base + range[0].bytes > range[1].base)) {
			return false;
		}
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	int err;

	fake_reset();
	err = config_parse("umbra.conf", (const char *)data, bytes, &config);
	PROMISE((err == 0) == (config.error_count == 0));
	PROMISE(config.vm_count <= CONFIG_VM_MAX);
	PROMISE(config.exit <= CONFIG_EXIT_POWEROFF && config.log_level <= LOG_DEBUG);
	PROMISE(config.window_bytes == 0 || /* a value was wrong */
		config.window_bytes == CONFIG_WINDOW_AUTO ||
		(config.window_bytes >= 260 << 10 && config.window_bytes <= 64ul << 30 &&
		 IS_ALIGNED(config.window_bytes, PAGE_SIZE)));
	PROMISE(config.on_panic <= CONFIG_ON_PANIC_REBOOT);
	PROMISE(is_text(config.engine_cipher, 8) && config.engine_cipher[0] != '\0');
	PROMISE(config.share_count <= SHARE_MAX);
	for (size_t i = 0; i < config.share_count; i++) {
		const struct share_config *share = &config.shares[i];

		PROMISE(share->member_count <= SHARE_MEMBERS_MAX);
		for (uint32_t m = 0; m < share->member_count; m++) {
			PROMISE(is_text(share->members[m].vm, sizeof(share->members[m].vm)));
		}
		PROMISE(!share->valid || (share->bytes != 0 && share->member_count != 0 &&
					  IS_ALIGNED(share->bytes, PAGE_SIZE)));
	}
	for (size_t i = 0; i < config.vm_count; i++) {
		const struct vm_config *vm = &config.vms[i];

		PROMISE(err != 0 || vm->valid);
		PROMISE(is_text(vm->name, sizeof(vm->name)) && vm->name[0] != '\0');
		PROMISE(is_text(vm->cmdline, sizeof(vm->cmdline)));
		PROMISE(is_text(vm->kernel.path, sizeof(vm->kernel.path)));
		PROMISE(is_text(vm->initrd.path, sizeof(vm->initrd.path)));
		PROMISE(vm->max_leaf == PAGE_SIZE || vm->max_leaf == SIZE_2M ||
			vm->max_leaf == SIZE_1G);
		PROMISE(vm->on_crash <= VM_ON_END_KEEP && vm->on_reboot <= VM_ON_END_KEEP &&
			vm->on_poweroff <= VM_ON_END_KEEP);
		PROMISE(vm->engine <= VM_ENGINE_NONE && vm->signature <= VM_SIGNATURE_KVM);
		PROMISE(vm->key.kind < VM_KEYS);
		PROMISE(is_text(vm->key.file.path, sizeof(vm->key.file.path)));
		PROMISE(!vm->valid ||
			(vm->key.kind == VM_KEY_FILE) == (vm->key.file.path[0] == '\\'));
		PROMISE(!vm->valid || clear_is_sorted(vm));
		if (vm->valid) {
			PROMISE(vm->vcpus >= 1 && vm->vcpus <= VM_VCPU_MAX);
			PROMISE(vm->kernel.path[0] == '\\');
			PROMISE(vm->memory_bytes >= 1 << 20 && vm->memory_bytes <= 4ul << 40);
			PROMISE(IS_ALIGNED(vm->memory_bytes, PAGE_SIZE));
		}
		for (size_t other = 0; other < i; other++) {
			PROMISE(!vm->valid || strcmp(vm->name, config.vms[other].name) != 0);
		}
	}
	return 0;
}
