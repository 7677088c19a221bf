/* SPDX-License-Identifier: Apache-2.0 */
/* crypto/key_store.c: on which machines the master key is made, and its way to the other CPUs. */
#include "tests/unit/test.h"
#include "tests/unit/fake_base.h"
#include "crypto/kat_vectors.h"
#include "crypto/key_store.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"

static uint64_t registers[4];
static const uint64_t zeros[4];
static const uint64_t *passage; /* what master_set was given last */
static bool under_hypervisor, wraps;
static int check_result, rng_result;
static unsigned areas, sets;

void master_set(const uint64_t key[4]);
void master_copy(uint64_t key[4]);

void master_set(const uint64_t key[4])
{
	passage = key;
	sets++;
	memcpy(registers, key, sizeof(registers));
}

void master_copy(uint64_t key[4])
{
	assert_int_equal(areas, 1); /* where the key passes through is wiped at a panic */
	memcpy(key, registers, sizeof(registers));
}

void fake_clear_debug_registers(void)
{
	memset(registers, 0, sizeof(registers));
}

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	return (struct cpuid_regs){ .ecx = under_hypervisor ? CPUID_1_ECX_HYPERVISOR : 0 };
}

int page_cipher_check_wrapping(void)
{
	assert_memory_equal(registers, kat_wrap_master, sizeof(registers));
	return check_result;
}

void page_cipher_wrap_keys(void)
{
	assert_memory_equal(passage, zeros, sizeof(zeros)); /* no key is left on the stack */
	wraps = true;
}

bool page_cipher_wraps_keys(void)
{
	return wraps;
}

int rng_bytes(void *buf, size_t bytes)
{
	assert_int_equal(bytes, 32);
	memset(buf, rng_result == 0 ? 0x77 : 0, bytes);
	return rng_result;
}

int wipe_register(void *area, size_t bytes)
{
	assert_int_equal(bytes, 32);
	areas++;
	return 0;
}

void wipe_unregister(const void *area)
{
	assert_memory_equal(area, zeros, sizeof(zeros));
	areas--;
}

static int setup(void **state)
{
	fake_setup(state);
	under_hypervisor = wraps = false;
	check_result = rng_result = 0;
	areas = sets = 0;
	memset(registers, 0, sizeof(registers));
	return 0;
}

TEST(the_key_reaches_each_cpu, setup, fake_teardown)
{
	uint64_t key[4];

	memset(key, 0x77, sizeof(key));
	assert_int_equal(key_store_use_registers(true), 0);
	assert_true(wraps);
	assert_memory_equal(registers, key, sizeof(key));
	sets = 0;
	fake_set_cpu_count(3);
	key_store_spread();
	assert_int_equal(sets, 3);
	assert_memory_equal(registers, key, sizeof(key));
	assert_memory_equal(passage, zeros, sizeof(zeros));
	assert_int_equal(areas, 0);
}

TEST(nothing_is_spread_without_it, setup, fake_teardown)
{
	registers[0] = 5;
	key_store_spread();
	assert_int_equal(registers[0], 5);
}

TEST(refused_in_words, setup, fake_teardown)
{
	assert_int_equal(key_store_use_registers(false), ERR_UNSUPPORTED);
	assert_non_null(strstr(fake_log_text(), "refused: this CPU's VMX does not make MOV DR"));
	under_hypervisor = true;
	assert_int_equal(key_store_use_registers(true), ERR_UNSUPPORTED);
	assert_non_null(strstr(fake_log_text(), "refused: another hypervisor runs this machine"));
	under_hypervisor = false;
	check_result = ERR_UNSUPPORTED;
	assert_int_equal(key_store_use_registers(true), ERR_UNSUPPORTED);
	assert_non_null(strstr(fake_log_text(), "refused: it needs the page cipher vaes512"));
	check_result = ERR_SELFTEST;
	assert_int_equal(key_store_use_registers(true), ERR_SELFTEST);
	check_result = 0;
	rng_result = ERR_IO;
	assert_int_equal(key_store_use_registers(true), ERR_IO);
	assert_non_null(strstr(fake_log_text(), "refused: there are no random numbers"));
	assert_false(wraps);
	assert_memory_equal(registers, zeros, sizeof(zeros));
}
