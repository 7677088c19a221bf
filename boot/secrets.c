/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/secrets.h"

#include "crypto/kdf.h"
#include "crypto/wipe.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

#define SECRET_LABEL "umbra key file"
_Static_assert(VM_SECRET_BYTES == KDF_SECRET_BYTES, "what pager_vm_create takes");

/* In two steps, this and a salt at each start: a VM that is reset needs its secret again. */
static int derive(struct vm_config *vm)
{
	uint8_t secret[VM_SECRET_BYTES];
	int err = wipe_register(vm->secret, sizeof(vm->secret));

	if (err == 0) {
		err = kdf_derive(vm->secret, vm->secret_bytes, NULL, SECRET_LABEL, secret,
				 sizeof(secret));
	}
	secure_zero(vm->secret, sizeof(vm->secret));
	vm->secret_bytes = 0;
	if (err == 0) {
		memcpy(vm->secret, secret, sizeof(secret));
		vm->secret_bytes = sizeof(secret);
		secure_zero(secret, sizeof(secret));
	}
	return err;
}

void secrets_derive(struct config *config)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		struct vm_config *vm = &config->vms[i];
		int err = vm->secret_bytes != 0 ? derive(vm) : 0;

		if (err != 0) {
			log_error("vm %s: no key can be made of %s: %s", vm->name,
				  vm->key_file.path, err_name(err));
			vm->valid = false;
		}
	}
}
