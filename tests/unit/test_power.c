/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/host/power.c: what is tried to end the machine, in which order, and that keys are wiped
 * first.
 */
#include <stdio.h>

#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/console/console.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/ending.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/interrupts.h"
#include "vmm/host/power.h"
#include "vmm/host/smp.h"

/* What happened, as one word for each event. */
static char story[1024];
static jmp_buf ended;

static void tell(const char *fmt, ...) PRINTF_LIKE(1, 2);

static void tell(const char *fmt, ...)
{
	size_t used = strlen(story);
	va_list args;

	va_start(args, fmt);
	vsnprintf(story + used, sizeof(story) - used, fmt, args);
	va_end(args);
}

/* --- The machine --- */

/* The clock of the fakes, defined here so that fake_cpus.c is not linked. */
uint64_t fake_tsc;
uint64_t fake_tsc_hz = 1000000000;

static uint16_t pm1_value;
static int firmware_result;
static bool firmware_ends_it;
static int map_error;
static uint8_t reset_byte;

int firmware_call(void *function, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	if (function == &map_error) {
		tell("keep(%lx,%lx,%lx,%lx,%lx) ", a, b, c, d, e);
		return firmware_result;
	}
	assert_ptr_equal(function, &firmware_result);
	assert_int_equal(b | c | d | e, 0);
	tell("firmware(%u) ", (unsigned)a);
	if (firmware_ends_it) {
		longjmp(ended, 1);
	}
	return firmware_result;
}

void smp_stop_others(void)
{
	tell("stop ");
}

/* Firmware is called on the bootstrap tables, so it is only mapped there. */
int host_map_bootstrap(hpa_t base, uint64_t bytes, enum host_access access, enum host_cache cache)
{
	static const char *const rights[] = { "r", "rw", "rx", "rwx" };

	tell("map(%lx,%lx,%s%s) ", base.v, bytes, rights[access],
	     cache == HOST_CACHE_UC ? ",uc" : "");
	return map_error;
}

_Noreturn void bootstrap_leave(void (*next)(void))
{
	tell("leave ");
	next();
	fake_fail("next returned");
}

void *host_map_io(hpa_t base, uint64_t bytes, enum host_cache cache)
{
	assert_int_equal(bytes, 1);
	assert_int_equal(cache, HOST_CACHE_UC);
	tell("io(%lx) ", base.v);
	return &reset_byte;
}

static uint32_t in(uint16_t port, unsigned size)
{
	assert_int_equal(size, 2);
	tell("in(%x) ", port);
	return pm1_value;
}

static void out(uint16_t port, unsigned size, uint32_t value)
{
	tell("out%u(%x,%x) ", 8 * size, port, value);
}

void fake_lidt(const struct cpu_table_register *table)
{
	assert_int_equal(table->limit, 0);
	tell("triple-fault ");
	longjmp(ended, 1);
}

void fake_hlt(void)
{
	tell("halt");
	longjmp(ended, 1);
}

static void wipe(void)
{
	tell("wipe ");
}

static int setup(void **state)
{
	fake_x86_reset();
	fake_log_reset();
	fake_in_hook = in;
	fake_out_hook = out;
	story[0] = '\0';
	firmware_ends_it = false;
	firmware_result = 0;
	map_error = 0;
	pm1_value = 0;
	reset_byte = 0;
	ending_set_wipe(wipe);
	return 0;
}

static const struct runtime_services services = { &firmware_result, &map_error };
static const struct runtime_services no_services;

static void run(void (*end)(void))
{
	story[0] = '\0';
	if (setjmp(ended) == 0) {
		end();
	}
}

static const struct runtime_range ranges[] = {
	{ { 0x1000 }, 2, true, false, false },
	{ { 0x5000 }, 1, false, true, false },
	{ { 0x7000 }, 3, true, true, true },
};

static struct acpi_facts q35(void)
{
	return (struct acpi_facts){
		.pm1a_control = 0x604,
		.has_s5 = true,
		.s5_type_a = 5,
		.s5_type_b = 6,
		.has_reset = true,
		.reset_space = ACPI_SPACE_IO,
		.reset_address = 0xcf9,
		.reset_value = 0x0f,
	};
}

/* --- Tests --- */

TEST(test_firmware, setup)
{
	struct acpi_facts acpi = q35();

	firmware_ends_it = true;
	power_init(&services, ranges, ARRAY_COUNT(ranges), &acpi);
	/* Nothing is writable and executable until the end. */
	assert_string_equal(story, "map(1000,2000,rx) map(5000,1000,rw) map(7000,3000,rx,uc) ");
	run(power_off);
	assert_string_equal(story, "wipe stop leave map(7000,3000,rwx,uc) firmware(2) ");
	ending_set_wipe(wipe);
	run(power_reset);
	assert_string_equal(story, "wipe stop leave map(7000,3000,rwx,uc) firmware(0) ");
}

TEST(test_firmware_fails, setup)
{
	struct acpi_facts acpi = q35();

	firmware_result = ERR_IO;
	pm1_value = 0x3c01; /* SCI_EN stays, SLP_TYP changes */
	acpi.pm1b_control = 0x704;
	power_init(&services, NULL, 0, &acpi);
	run(power_off);
	assert_string_equal(story,
			    "wipe stop leave firmware(2) in(704) out16(704,1801) out16(704,3801) "
			    "in(604) out16(604,1401) out16(604,3401) halt");
	assert_non_null(strstr(fake_log_text(), "ResetSystem failed"));
	assert_non_null(strstr(fake_log_text(), "by hand"));
	run(power_reset); /* keys are wiped once */
	assert_string_equal(story, "stop leave firmware(0) out8(cf9,f) out8(cf9,2) out8(cf9,6) "
				   "triple-fault ");
}

TEST(test_no_firmware, setup)
{
	struct acpi_facts acpi = q35();
	struct acpi_facts nothing = { 0 };

	power_init(&no_services, ranges, ARRAY_COUNT(ranges), &acpi);
	assert_string_equal(story, "");
	run(power_off);
	assert_string_equal(story, "wipe stop leave in(604) out16(604,1400) out16(604,3400) halt");
	power_init(&no_services, NULL, 0, &nothing);
	run(power_off);
	assert_string_equal(story, "stop leave halt");
	run(power_reset);
	assert_string_equal(story, "stop leave out8(cf9,2) out8(cf9,6) triple-fault ");
}

TEST(test_reset_in_memory, setup)
{
	struct acpi_facts acpi = q35();

	acpi.reset_space = ACPI_SPACE_MEMORY;
	acpi.reset_address = 0xfed01234;
	power_init(&no_services, NULL, 0, &acpi);
	assert_string_equal(story, "io(fed01234) ");
	run(power_reset);
	assert_int_equal(reset_byte, 0x0f);
}

/* A variable: firmware's code is made writable first, and its result is returned unchanged. */
TEST(test_variable, setup)
{
	struct acpi_facts acpi = q35();
	const uint16_t *name = (const void *)0x100;
	const void *guid = (const void *)0x200, *data = (const void *)0x300;

	power_init(&services, ranges, ARRAY_COUNT(ranges), &acpi);
	story[0] = '\0';
	assert_int_equal(power_store_variable(name, guid, 7, data, 0x40), 0);
	assert_string_equal(story, "map(7000,3000,rwx,uc) keep(100,200,7,40,300) ");
	firmware_result = 9;
	assert_int_equal(power_store_variable(name, guid, 7, data, 0x40), 9);
	firmware_result = ERR_IO;
	assert_int_equal(power_store_variable(name, guid, 7, data, 0x40), ERR_IO);
	power_init(&no_services, ranges, ARRAY_COUNT(ranges), &acpi);
	story[0] = '\0';
	assert_int_equal(power_store_variable(name, guid, 7, data, 0x40), ERR_NOTFOUND);
	map_error = ERR_EXISTS;
	power_init(&services, ranges, ARRAY_COUNT(ranges), &acpi);
	story[0] = '\0';
	assert_int_equal(power_store_variable(name, guid, 7, data, 0x40), ERR_NOTFOUND);
	assert_string_equal(story, "");
}

/* A range that cannot be mapped: firmware would fault, so it is never called. */
TEST(test_map_fails, setup)
{
	struct acpi_facts acpi = q35();
	struct runtime_range huge = { { 0x1000 }, 1ul << 53, true, false, false };

	power_init(&services, &huge, 1, &acpi);
	assert_string_equal(story, "");
	assert_non_null(strstr(fake_log_text(), "without firmware's help"));
	map_error = ERR_EXISTS;
	power_init(&services, ranges, ARRAY_COUNT(ranges), &acpi);
	run(power_off);
	assert_string_equal(story, "wipe stop leave in(604) out16(604,1400) out16(604,3400) halt");
}
