/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fakes themselves: what they return, and that they detect the errors that they should detect.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/percpu.h"
#include "vmm/console/log.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/smp.h"

/* Does the function end its process? Runs it in a child whose output is discarded. */
static bool dies(void (*fn)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		close(STDERR_FILENO);
		fn();
		_exit(0);
	}
	waitpid(child, &status, 0);
	return status != 0;
}

static void read_past_page(void)
{
	volatile uint8_t *page = page_alloc(1);

	(void)page[PAGE_SIZE];
}

static void read_freed_page(void)
{
	volatile uint8_t *page = page_alloc(2);

	page_free((void *)page, 2);
	(void)page[PAGE_SIZE];
}

static void read_unmapped_frame(void)
{
	volatile uint8_t *at;
	hpa_t frame;

	assert_int_equal(frames_alloc(1, 1, &frame), 0);
	at = host_temp_map(0, keyed(frame, 0));
	host_temp_unmap(0);
	(void)at[0];
}

static void read_past_frame(void)
{
	volatile uint8_t *at;
	hpa_t frame;

	assert_int_equal(frames_alloc(2, 1, &frame), 0);
	at = host_temp_map(0, keyed(frame, 0));
	(void)at[PAGE_SIZE];
}

static void map_free_frame(void)
{
	hpa_t frame;

	assert_int_equal(frames_alloc(1, 1, &frame), 0);
	frames_free(frame, 1);
	(void)host_temp_map(0, keyed(frame, 0));
}

static void free_too_few(void)
{
	page_free(page_alloc(2), 1);
}

static void nothing_wrong(void)
{
	page_free(page_alloc(2), 2);
}

TEST(wrong_use_dies, fake_setup, fake_teardown)
{
	assert_false(dies(nothing_wrong));
	assert_true(dies(read_past_page));
	assert_true(dies(read_freed_page));
	assert_true(dies(read_unmapped_frame));
	assert_true(dies(read_past_frame));
	assert_true(dies(map_free_frame));
	assert_true(dies(free_too_few));
}

TEST(pages_are_zero_and_counted, fake_setup, fake_teardown)
{
	static const uint8_t zeros[PAGE_SIZE];
	uint8_t *page = page_alloc(3);

	assert_int_equal(fake_pages_live(), 3);
	assert_memory_equal(page + 2 * PAGE_SIZE, zeros, PAGE_SIZE);
	assert_int_equal(page_hpa(page).v, (uintptr_t)page);
	assert_ptr_equal(page_va(page_hpa(page)), page);
	page_free(page, 3);
	fake_pages_fail_after(1);
	page = page_alloc(1);
	assert_non_null(page);
	assert_null(page_alloc(1));
	page_free(page, 1);
}

TEST(frames_keep_their_bytes, fake_setup, fake_teardown)
{
	hpa_t first, other;
	uint8_t *at;

	fake_frames_set_count(1024);
	assert_int_equal(frames_alloc(1, 1, &first), 0);
	assert_int_equal(frames_alloc(512, 512, &other), 0);
	assert_true(IS_ALIGNED(other.v, SIZE_2M));
	assert_int_equal(frames_alloc(512, 512, &first), ERR_NOMEM);
	at = host_temp_map(1, keyed(other, 0));
	assert_int_equal(at[0], 0xa5);
	memset(at, 7, PAGE_SIZE);
	host_temp_unmap(1);
	assert_int_equal(((uint8_t *)fake_frame(other))[4095], 7);
	assert_int_equal(fake_temp_maps(), 1);
	frames_free(other, 512);
	frames_free(first, 1);
}

TEST(panics_and_log_lines_are_seen, fake_setup, fake_teardown)
{
	FAKE_EXPECT_PANIC(panic("key %d is gone", 7), "key 7");
	FAKE_EXPECT_PANIC(CHECK(fake_tsc == 1), "broken");
	log_error("disk %s", "full");
	assert_string_equal(fake_log_text(), "error: disk full\n");
}

static uint32_t kicked;

static void note_kick(uint32_t cpu)
{
	kicked = cpu;
}

TEST(cpus_take_turns, fake_setup, fake_teardown)
{
	fake_set_cpu_count(3);
	fake_set_cpu(2);
	assert_int_equal(percpu_self()->index, 2);
	fake_kick_hook = note_kick;
	smp_kick(1);
	assert_int_equal(kicked, 1);
	assert_int_equal(fake_kicks(1), 1);
	fake_cpuid_set(7, 0, 1, 2, 3, 4);
	assert_int_equal(cpu_cpuid(7, 0).edx, 4);
	assert_int_equal(cpu_cpuid(7, 1).edx, 0);
	fake_msr_set(0x1b, 5);
	cpu_wrmsr(0x1b, 6);
	assert_int_equal(cpu_rdmsr(0x1b), 6);
}
