/* SPDX-License-Identifier: Apache-2.0 */
/* guest/dev/vpci.c on the real bus: Linux' probe of mechanism #1, and the reset amid its ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "guest/dev/vpci.h"
#include "tests/unit/fake_base.h"

static struct vm vm;
static struct vpci pci;
static enum vm_end_reason ended;

void vm_end(struct vm *which, enum vm_end_reason reason, const char *detail)
{
	assert_ptr_equal(which, &vm);
	ended = reason;
}

static int setup(void **state)
{
	vm = (struct vm){ 0 };
	ended = VM_END_NONE;
	return vpci_init(&pci, &vm);
}

static uint64_t in(uint16_t port, uint32_t size)
{
	struct io_access access = { .size = size };

	iobus_port_access(&vm.iobus, port, NULL, &access);
	return access.value;
}

static void out(uint16_t port, uint32_t size, uint64_t value)
{
	struct io_access access = { .size = size, .write = true, .value = value };

	iobus_port_access(&vm.iobus, port, NULL, &access);
}

static void select_register(uint32_t address)
{
	out(0xcf8, 4, address);
}

static void test_probe(void **state)
{
	out(0xcfb, 1, 1);
	assert_int_equal(in(0xcf8, 4), 0);
	select_register(0x80000000);
	assert_int_equal(in(0xcf8, 4), 0x80000000);
	select_register(0x80000008);
	assert_int_equal(in(0xcfc + 2, 2), 0x0600); /* a host bridge */
	select_register(0xffffffff);
	assert_int_equal(in(0xcf8, 4), 0x80fffffc);
	assert_int_equal(ended, VM_END_NONE);
}

static void test_bridge(void **state)
{
	select_register(0x80000000);
	assert_int_equal(in(0xcfc, 4), 0x0d578086);
	assert_int_equal(in(0xcfe, 2), 0x0d57);
	assert_int_equal(in(0xcfd, 1), 0x80);
	out(0xcfc, 4, 0);
	assert_int_equal(in(0xcfc, 4), 0x0d578086);
	select_register(0x80000004); /* command and status */
	assert_int_equal(in(0xcfc, 4), 0);
	for (uint32_t reg = 12; reg < 256; reg += 4) {
		select_register(0x80000000 | reg);
		assert_int_equal(in(0xcfc, 4), 0);
	}
}

static void test_nobody_else(void **state)
{
	for (uint32_t function = 1; function < 65536; function++) {
		select_register(0x80000000 | function << 8);
		assert_int_equal(in(0xcfc, 4), 0xffffffff);
	}
	select_register(0); /* not enabled */
	assert_int_equal(in(0xcfc, 2), 0xffff);
}

static void test_reset(void **state)
{
	select_register(0x80000600); /* a byte of an address, and no reset */
	out(0xcf8, 2, 0x0600);
	out(0xcf9, 2, 0x0606);
	out(0xcf9, 1, 0x02);
	assert_int_equal(in(0xcf9, 1), 0xff);
	assert_int_equal(ended, VM_END_NONE);
	out(0xcf9, 1, 0x06);
	assert_int_equal(ended, VM_END_RESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_probe, setup),
		cmocka_unit_test_setup(test_bridge, setup),
		cmocka_unit_test_setup(test_nobody_else, setup),
		cmocka_unit_test_setup(test_reset, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
