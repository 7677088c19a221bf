/* SPDX-License-Identifier: Apache-2.0 */
/* Describes how a VM's memory is stored in DRAM: in a word, in a clause for people, in numbers. */
#include "crypto/page_cipher.h"
#include "crypto/tme.h"
#include "ept/move.h"
#include "guest/platform_state.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

const char *platform_key_word(const struct vm_key_source *key)
{
	static const char *const words[VM_KEYS] = {
		[VM_KEY_RANDOM] = "random",
		[VM_KEY_PLATFORM] = "platform",
		[VM_KEY_NONE] = "none",
	};

	return key->kind == VM_KEY_FILE ? vm_key_form_word(key->form) : words[key->kind];
}

void platform_describe_keyid(struct vm *vm)
{
	struct platform *platform = platform_of(vm);
	char *text = platform->engine, *name = platform->memory_name;
	const size_t cap = sizeof(platform->engine), name_cap = sizeof(platform->memory_name);

	platform->keyid = vm->gmem.keyid;
	if (move_is_parked(&vm->gmem)) {
		platform->memory = PLATFORM_MEMORY_PARKED;
		(void)str_copy(name, name_cap, "parked");
		(void)str_copy(text, cap, "parked: sealed by AES-256-XTS, without a KeyID");
		return;
	}
	platform->memory = PLATFORM_MEMORY_KEYED;
	(void)str_printf(name, name_cap, "KeyID %u", platform->keyid);
	(void)str_printf(text, cap,
			 "under KeyID %u, encrypted by AES-XTS-%s (engine = tme-mk; key = %s)",
			 platform->keyid, tme_state()->xts256 ? "256" : "128",
			 platform_key_word(&platform->config->key));
}

void platform_describe_engine(struct vm *vm, const struct engine_policy *policy)
{
	struct platform *platform = platform_of(vm);
	char *text = platform->engine, *name = platform->memory_name;
	const size_t cap = sizeof(platform->engine), name_cap = sizeof(platform->memory_name);
	const char *key = platform_key_word(&platform->config->key);

	switch (policy->verdict) {
	case ENGINE_RUNS_TME_MK: platform_describe_keyid(vm); break;
	case ENGINE_RUNS_NO_ENCRYPT:
		platform->memory = PLATFORM_MEMORY_CLEAR;
		(void)str_copy(name, name_cap, "clear");
		(void)str_printf(text, cap, "in clear under KeyID %u (engine = none)",
				 platform->keyid);
		break;
	case ENGINE_RUNS_PLATFORM:
		platform->memory = PLATFORM_MEMORY_PLATFORM;
		(void)str_copy(name, name_cap, "platform");
		(void)str_copy(text, cap, "under the machine's own TME key (KeyID 0)");
		break;
	case ENGINE_RUNS_SOFTWARE:
		platform->memory = PLATFORM_MEMORY_SEALED;
		(void)str_copy(name, name_cap, "sealed");
		(void)str_printf(text, cap,
				 "sealed by AES-256-XTS (engine = software, %s; key = %s; "
				 "integrity %s)",
				 page_cipher_name(), key,
				 engine_has_tags(platform->config->integrity) ? "on" : "off");
		break;
	case ENGINE_REFUSED:
	case ENGINE_RUNS_NONE:
	default:
		platform->memory = PLATFORM_MEMORY_CLEAR;
		(void)str_copy(name, name_cap, "clear");
		(void)str_copy(text, cap, "in clear (engine = none)");
	}
}

void platform_log_memory(const struct vm *vm)
{
	if (platform_of(vm)->pager != NULL) {
		pager_log(platform_of(vm)->pager);
	}
}

bool platform_count_memory(const struct vm *vm, struct pager_counters *out)
{
	if (platform_of(vm)->pager == NULL) {
		return false;
	}
	pager_count(platform_of(vm)->pager, out);
	return true;
}

const char *platform_engine_words(const struct vm *vm)
{
	return platform_of(vm)->engine;
}

const char *platform_memory_name(const struct vm *vm)
{
	return platform_of(vm)->memory_name;
}

enum platform_memory platform_memory(const struct vm *vm)
{
	return platform_of(vm)->memory;
}

int platform_seal_vm(struct vm *vm)
{
	struct pager_vm *pager = platform_of(vm)->pager;

	if (pager == NULL) {
		return ERR_UNSUPPORTED;
	}
	pager_vm_seal(pager);
	return 0;
}
