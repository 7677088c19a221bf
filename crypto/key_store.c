/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/key_store.h"

#include "crypto/kat_vectors.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/smp.h"

#define MASTER_WORDS 4

/* master_key.asm */
void master_set(const uint64_t key[MASTER_WORDS]);
void master_copy(uint64_t key[MASTER_WORDS]);

/* The master key on its way to the other CPUs, in a cache line of its own. */
static uint64_t passage[MASTER_WORDS] __attribute__((aligned(64)));

static int refuse(int err, const char *why)
{
	log_error("[host] key-store = registers: refused: %s", why);
	return err;
}

/* The check overwrites the debug registers: no VM has run yet. */
static int check_code(void)
{
	uint64_t key[MASTER_WORDS];
	int err;

	_Static_assert(sizeof(kat_wrap_master) == sizeof(key), "256 bits");
	memcpy(key, kat_wrap_master, sizeof(key));
	master_set(key);
	err = page_cipher_check_wrapping();
	cpu_clear_debug_registers();
	return err;
}

int key_store_use_registers(bool guests_kept_out)
{
	uint64_t key[MASTER_WORDS];
	int err;

	if ((cpu_cpuid(1, 0).ecx & CPUID_1_ECX_HYPERVISOR) != 0) {
		return refuse(ERR_UNSUPPORTED,
			      "another hypervisor runs this machine, and keeps its "
			      "debug registers in memory");
	}
	if (!guests_kept_out) {
		return refuse(ERR_UNSUPPORTED, "this CPU's VMX does not make MOV DR exit, so "
					       "guests could read debug registers");
	}
	err = check_code();
	if (err == ERR_UNSUPPORTED) {
		return refuse(err,
			      "it needs the page cipher vaes512 (AVX-512), which is not in use");
	}
	if (err != 0) {
		return refuse(err, err_name(err));
	}
	err = rng_bytes(key, sizeof(key));
	if (err != 0) {
		return refuse(err, "there are no random numbers for the master key");
	}
	master_set(key);
	secure_zero(key, sizeof(key));
	page_cipher_wrap_keys();
	log_info("crypto: page keys lie in memory wrapped; the key that unwraps them is in DR0 to "
		 "DR3 of each CPU. The keys of tags (integrity) lie in memory in clear");
	return 0;
}

static void take(void *arg)
{
	master_set(passage);
}

void key_store_spread(void)
{
	if (!page_cipher_wraps_keys()) {
		return;
	}
	CHECK(wipe_register(passage, sizeof(passage)) == 0); /* no VM has registered an area yet */
	master_copy(passage);
	smp_call_all(take, NULL);
	secure_zero(passage, sizeof(passage));
	wipe_unregister(passage);
}
