/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the keys of pages are kept: expanded in memory, or (key-store = registers) wrapped in
 * memory by a random master key of 256 bits, which only the debug registers DR0 to DR3 of each CPU
 * hold. Then no guest value is ever in these registers (vmm/exit_dr.c). crypto/README.md has what
 * stays in memory.
 */
#ifndef UMBRA_CRYPTO_KEY_STORE_H
#define UMBRA_CRYPTO_KEY_STORE_H

#include "vmm/base/types.h"

/*
 * Makes the master key on this CPU; from now on page_key_set wraps keys. guests_kept_out: no guest
 * can run, or vmx_can_keep_debug_registers. Returns ERR_UNSUPPORTED without that, under another
 * hypervisor, or without the page cipher vaes512; ERR_NOMEM; or what rng_bytes returns; the log
 * says which, and keys are made as before (the caller ends that: page_cipher_refuse_keys). Returns
 * ERR_SELFTEST if the code gives wrong bytes. Boot processor, after page_cipher_init and rng_init,
 * before the first page key.
 */
int key_store_use_registers(bool guests_kept_out);

/*
 * Copies the master key to every CPU, if there is one. It passes through memory once, and that is
 * zeroed and written back before this returns. Boot processor, after smp_start_all, before the
 * first VM; what smp_call_all demands.
 */
void key_store_spread(void);

#endif
