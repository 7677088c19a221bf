/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto/pconfig.c: what PCONFIG is given on each package, when it is tried again, and what is left
 * of the structure. row_NN_: the project's test matrix for TME-MK.
 */
#include "tests/unit/test.h"
#include "crypto/pconfig.h"
#include "crypto/tme.h"
#include "tests/unit/tme_machine.h"
#include "vmm/base/err.h"

static struct pconfig_keys keys;
static uint64_t packages;

static void machine(unsigned profile, unsigned cpus, unsigned package_count)
{
	tme_machine_set(profile, cpus, package_count);
	tme_expect(NULL, 0, NULL);
	tme_start(false, 1ul << 32);
	fake_log_reset();
	memset(keys.data, 0x11, sizeof(keys.data));
	memset(keys.tweak, 0x22, sizeof(keys.tweak));
}

static const struct tme_entry *entry(unsigned package, keyid_t keyid)
{
	return &tme_machine.package[package].table[keyid];
}

TEST(a_key_goes_to_every_package_once, fake_setup, fake_teardown)
{
	machine(4, 4, 2);
	assert_int_equal(pconfig_program(15, PCONFIG_SET_KEY_DIRECT, &keys, &packages), 0);
	assert_int_equal(packages, 3);
	assert_int_equal(tme_machine.pconfigs, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(entry(i, 15)->mode, ENTRY_KEY);
		assert_int_equal(entry(i, 15)->algorithm, 4);
		assert_memory_equal(entry(i, 15)->data, keys.data, 32);
		assert_memory_equal(entry(i, 15)->tweak, keys.tweak, 32);
	}
	tme_machine_check_wiped();
	assert_string_equal(fake_log_text(), "");
}

TEST(xts_128_is_given_16_bytes, fake_setup, fake_teardown)
{
	static const uint8_t zeros[16];

	machine(3, 1, 1);
	assert_int_equal(pconfig_program(63, PCONFIG_SET_KEY_DIRECT, &keys, &packages), 0);
	assert_int_equal(entry(0, 63)->algorithm, 1);
	assert_memory_equal(entry(0, 63)->data, keys.data, 16);
	assert_memory_equal(entry(0, 63)->data + 16, zeros, 16);
	assert_memory_equal(entry(0, 63)->tweak + 16, zeros, 16);
}

/* Each package has its own key, and no key is the entropy that the caller supplied. */
TEST(row_25_random_keys, fake_setup, fake_teardown)
{
	struct tme_entry first;

	machine(4, 2, 2);
	assert_int_equal(pconfig_program(1, PCONFIG_SET_KEY_RANDOM, &keys, &packages), 0);
	first = *entry(0, 1);
	assert_memory_not_equal(first.data, entry(1, 1)->data, 32);
	assert_memory_not_equal(first.data, keys.data, 32);
	assert_int_equal(pconfig_program(1, PCONFIG_SET_KEY_RANDOM, &keys, &packages), 0);
	assert_memory_not_equal(first.data, entry(0, 1)->data, 32);
	tme_machine_check_wiped();
}

/* ENC_ALG must name an allowed algorithm even if nothing is encrypted. */
TEST(row_20_28_no_encrypt_names_an_algorithm, fake_setup, fake_teardown)
{
	machine(4, 1, 1);
	assert_int_equal(pconfig_program(2, PCONFIG_NO_ENCRYPT, NULL, &packages), 0);
	assert_int_equal(entry(0, 2)->mode, ENTRY_CLEAR);
	assert_int_equal(entry(0, 2)->algorithm, 4);
}

TEST(row_19_21_nothing_invalid_is_executed, fake_setup, fake_teardown)
{
	static const struct {
		unsigned profile;
		keyid_t keyid;
	} cells[] = { { 3, 0 },	 { 3, 64 }, { 4, 16 }, { 11, 41 },
		      { 6, 32 }, { 7, 1 },  { 2, 1 },  { 1, 1 } };

	for (size_t i = 0; i < ARRAY_COUNT(cells); i++) {
		machine(cells[i].profile, 1, 1);
		assert_int_equal(
			pconfig_program(cells[i].keyid, PCONFIG_SET_KEY_RANDOM, &keys, &packages),
			ERR_INVAL);
		assert_int_equal(packages, 0);
	}
	machine(3, 1, 1);
	assert_int_equal(pconfig_program(1, 2, &keys, &packages), ERR_INVAL);
	assert_int_equal(pconfig_program(1, 4, &keys, &packages), ERR_INVAL);
	assert_int_equal(pconfig_program(1, PCONFIG_SET_KEY_RANDOM, NULL, &packages), ERR_INVAL);
	assert_int_equal(pconfig_program(1, PCONFIG_SET_KEY_DIRECT, NULL, &packages), ERR_INVAL);
	assert_int_equal(pconfig_program(1, PCONFIG_NO_ENCRYPT, &keys, &packages), ERR_INVAL);
	/* The halves are equal in the bytes that the algorithm uses. */
	memcpy(keys.tweak, keys.data, 16);
	assert_int_equal(pconfig_program(1, PCONFIG_SET_KEY_DIRECT, &keys, &packages), ERR_INVAL);
	assert_int_equal(tme_machine.pconfigs, 0);
}

TEST(row_24_busy_and_entropy_are_tried_again, fake_setup, fake_teardown)
{
	machine(3, 2, 2);
	tme_machine.package[0].busy = 3;
	tme_machine.package[1].no_entropy = 9;
	assert_int_equal(pconfig_program(1, PCONFIG_SET_KEY_DIRECT, &keys, &packages), 0);
	assert_int_equal(packages, 3);
	assert_int_equal(tme_machine.pconfigs, 4 + 10);
	assert_true(fake_tsc != 0); /* it waited */
	tme_machine_check_wiped();
}

TEST(row_24_but_not_for_ever, fake_setup, fake_teardown)
{
	machine(3, 2, 2);
	tme_machine.package[1].busy = 100;
	assert_int_equal(pconfig_program(1, PCONFIG_SET_KEY_DIRECT, &keys, &packages), ERR_IO);
	assert_int_equal(packages, 1);
	assert_int_equal(tme_machine.package[1].busy, 90);
	assert_int_equal(entry(1, 1)->programmed, 0);
	assert_non_null(strstr(fake_log_text(), "error: KeyID 1 cannot be programmed on package 1: "
						"its table of keys was busy, time after time"));
	tme_machine_check_wiped();
}

/*
 * A fault and the error codes of older documents are final; such a code is a failure even if ZF is
 * clear.
 */
TEST(what_the_cpu_refuses_is_not_tried_again, fake_setup, fake_teardown)
{
	machine(3, 2, 2);
	tme_machine.package[0].broken = true;
	tme_machine.package[1].legacy_code = 3;
	assert_int_equal(pconfig_program(1, PCONFIG_SET_KEY_DIRECT, &keys, &packages), ERR_IO);
	assert_int_equal(packages, 0);
	assert_int_equal(tme_machine.pconfigs, 2);
	assert_non_null(strstr(fake_log_text(), "package 0: the CPU raised a fault"));
	assert_non_null(strstr(fake_log_text(), "package 1: the CPU refused it (code 3)"));
	tme_machine_check_wiped();
}

TEST(zf_alone_is_a_failure_too, fake_setup, fake_teardown)
{
	machine(3, 1, 1);
	tme_machine.package[0].zf_alone = true;
	assert_int_equal(pconfig_program(1, PCONFIG_SET_KEY_DIRECT, &keys, &packages), ERR_IO);
	assert_int_equal(packages, 0);
}
