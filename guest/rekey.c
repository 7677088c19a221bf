/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/rekey.h"

#include "crypto/keyslot.h"
#include "ept/move.h"
#include "guest/platform_state.h"
#include "vmm/base/err.h"
#include "vmm/console/log.h"
#include "vmm/vcpu.h"

int rekey_take(const struct vm_config *config, keyid_t *keyid)
{
	const bool direct = config->key.kind == VM_KEY_FILE;

	return keyslot_take(direct ? KEYSLOT_DIRECT : KEYSLOT_RANDOM,
			    direct ? config->key.secret : NULL,
			    direct ? config->key.secret_bytes : 0, config->name, keyid);
}

/* What the vCPUs remember about the place of code contains the old KeyID. */
static void forget_code(struct vm *vm)
{
	for (uint32_t i = 0; i < vm->vcpu_count; i++) {
		vcpu_forget_code(vm->vcpus[i]);
	}
}

static int check(const struct vm *vm)
{
	if (platform_of(vm)->memory != PLATFORM_MEMORY_KEYED) {
		return ERR_UNSUPPORTED;
	}
	return move_is_on(&vm->gmem) ? ERR_EXISTS : 0;
}

int rekey_begin(struct vm *vm, const struct vm_config *config)
{
	int err = check(vm);
	keyid_t fresh;

	if (err == 0) {
		err = rekey_take(config, &fresh);
	}
	if (err != 0) {
		return err;
	}
	vm_pause(vm); /* paused only now, because waiting for a KeyID may take long */
	err = move_to_keyid(&vm->gmem, fresh);
	if (err != 0) {
		keyslot_unuse(fresh);
		return err;
	}
	forget_code(vm);
	log_info("vm %s: moves from KeyID %u to KeyID %u, which has a fresh key", vm->name,
		 platform_of(vm)->keyid, fresh);
	return 0;
}

int rekey_park(struct vm *vm)
{
	int err = check(vm);

	if (err == 0) {
		err = move_to_park(&vm->gmem);
	}
	if (err == 0) {
		forget_code(vm);
	}
	return err;
}

int rekey_unpark(struct vm *vm, const struct vm_config *config)
{
	keyid_t fresh;
	int err = move_is_parked(&vm->gmem) ? rekey_take(config, &fresh) : ERR_NOTFOUND;

	if (err == 0) {
		move_from_park(&vm->gmem, fresh);
	}
	return err;
}

bool rekey_step(struct vm *vm)
{
	const uint64_t pages = move_pages(&vm->gmem);

	if (!move_step(&vm->gmem)) {
		return false;
	}
	platform_describe_keyid(vm);
	log_info("vm %s: %lu pages were moved: its memory is %s now", vm->name, pages,
		 platform_engine_words(vm));
	return true;
}
