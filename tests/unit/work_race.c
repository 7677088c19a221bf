/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that do steps of work, under ThreadSanitizer: a step changes plain memory, so it is a data
 * race if two CPUs do steps of one work, or if its owner gets it back too early. Three kinds of
 * work: one that is taken back again and again; copies out of sealed files, each CPU through a
 * buffer of its own; and burials, whose end the boot processor learns. Exits with 0 on success.
 *
 * CPU 0: the boot processor. The others idle.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/keyslot.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "ept/move.h"
#include "ept/retire.h"
#include "guest/vm_file.h"
#include "vmm/base/percpu.h"
#include "vmm/base/tsc.h"
#include "vmm/console/log.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/smp.h"
#include "vmm/host/work.h"

#define CPUS	   4
#define ROUNDS	   300u
#define FILES	   3u
#define FILE_PAGES 5u
#define GRAVES	   6u
#define PATIENCE   2000000u

static struct percpu cpus[CPUS];
static _Thread_local uint32_t self;
static bool over;
static uint64_t steps_of[CPUS];

static _Noreturn void broken(const char *why)
{
	printf("broken: %s\n", why);
	exit(1);
}

struct percpu *percpu_fake_self(void)
{
	return &cpus[self];
}

static void count_step(void)
{
	__atomic_add_fetch(&steps_of[self], 1, __ATOMIC_RELAXED);
}

/* --- A work that is taken back --- */

static struct {
	struct work work;
	uint64_t value;
	bool ended; /* atomic */
} counter;

static bool count_up(void *context)
{
	count_step();
	counter.value++;
	if (counter.value % 1000 != 0) {
		return true;
	}
	__atomic_store_n(&counter.ended, true, __ATOMIC_RELEASE);
	return false;
}

static bool ended(void)
{
	return __atomic_load_n(&counter.ended, __ATOMIC_ACQUIRE);
}

static void use_counter(void)
{
	while (!ended() && !work_take_back(&counter.work)) {
		race_pause();
	}
	counter.value += 10 - counter.value % 10; /* no other CPU does a step of it */
	counter.ended = false;
	work_add(&counter.work);
}

/* --- Files --- */

static uint8_t plain[FILE_PAGES * PAGE_SIZE], sealed[FILES][FILE_PAGES * PAGE_SIZE];

static struct file_job {
	struct work work;
	struct vm_file file;
	struct gmem gmem; /* its address identifies the VM */
	uint8_t memory[FILE_PAGES * PAGE_SIZE];
	uint64_t done;
	bool ended; /* atomic */
} jobs[FILES];

static void mix(const struct page_item *item)
{
	for (size_t i = 0; i < PAGE_SIZE; i++) {
		((uint8_t *)item->out)[i] = ((const uint8_t *)item->in)[i] ^ item->tweak[0] ^
					    item->tweak[8];
	}
}

void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	mix(items);
}

void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		page_decrypt(key, &items[i], 1);
	}
}

int gmem_write(struct gmem *gmem, gpa_t gpa, const void *buf, size_t bytes)
{
	struct file_job *job = (struct file_job *)(void *)((char *)gmem -
							   offsetof(struct file_job, gmem));

	memcpy(job->memory + gpa.v, buf, bytes);
	return 0;
}

static bool copy_some(void *context)
{
	struct file_job *job = context;
	const uint64_t bytes = MIN(PAGE_SIZE + 100, sizeof(job->memory) - job->done);

	count_step();
	(void)vm_file_copy(&job->file, job->done, bytes, &job->gmem, gpa(job->done));
	job->done += bytes;
	if (job->done < sizeof(job->memory)) {
		return true;
	}
	__atomic_store_n(&job->ended, true, __ATOMIC_RELEASE);
	return false;
}

static void begin_files(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		memset(jobs[i].memory, 0, sizeof(jobs[i].memory));
		jobs[i].done = 0;
		jobs[i].ended = false;
		jobs[i].work = (struct work){ .step = copy_some, .context = &jobs[i] };
		work_add(&jobs[i].work);
	}
}

static void look_at_files(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		uint8_t piece[200];

		vm_file_read(&jobs[i].file, PAGE_SIZE - 100, piece, sizeof(piece));
		if (memcmp(piece, plain + PAGE_SIZE - 100, sizeof(piece)) != 0) {
			broken("what was read is another's");
		}
		while (!__atomic_load_n(&jobs[i].ended, __ATOMIC_ACQUIRE)) {
			race_pause();
		}
		if (memcmp(jobs[i].memory, plain, sizeof(plain)) != 0) {
			broken("what was copied is another's");
		}
	}
}

static void make_files(void)
{
	static uint8_t buffers[CPUS][PAGE_SIZE];

	if (vm_file_start(buffers, CPUS, false) != 0) {
		broken("no key");
	}
	for (size_t i = 0; i < sizeof(plain); i++) {
		plain[i] = (uint8_t)(i * 7 + i / 251);
	}
	for (unsigned i = 0; i < FILES; i++) {
		memcpy(sealed[i], plain, sizeof(plain));
		jobs[i].file = (struct vm_file){ .data = sealed[i], .bytes = sizeof(plain) };
		vm_file_seal(&jobs[i].file, i + 1);
	}
}

/* --- Burials --- */

static uint64_t frames; /* not free yet; atomic, like the allocator's count */

static bool bury_page(const struct ept_root *root, struct gmem_region *region, enum gmem_bury how)
{
	count_step();
	region->bytes -= PAGE_SIZE;
	__atomic_sub_fetch(&frames, 1, __ATOMIC_RELAXED);
	return region->bytes == 0;
}

static const struct region_ops buried = { .name = "buried", .bury = bury_page };

bool ept_root_free_some(struct ept_root *root, size_t tables)
{
	return true;
}

static void begin_burials(void)
{
	for (unsigned i = 1; i <= GRAVES; i++) {
		const struct gmem_region region = { .bytes = i * PAGE_SIZE, .ops = &buried };

		__atomic_add_fetch(&frames, i, __ATOMIC_RELAXED);
		retire_region(calloc(1, PAGE_SIZE), KEYID_PLATFORM, &region, GMEM_BURY_TOUCHED);
	}
}

static void see_burials_end(void)
{
	for (unsigned looks = 0; !retire_poll(); looks++) {
		if (looks == PATIENCE) {
			broken("a burial does not end");
		}
		race_pause();
	}
	if (__atomic_load_n(&frames, __ATOMIC_RELAXED) != 0 || retire_buries()) {
		broken("a burial was reported as finished too early");
	}
}

/* --- The CPUs --- */

static void *idle(void *cpu)
{
	self = (uint32_t)(uintptr_t)cpu;
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		if (!work_some()) {
			race_pause();
		}
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[CPUS];

	for (uint32_t i = 0; i < CPUS; i++) {
		cpus[i].index = i;
	}
	make_files();
	counter.work.step = count_up;
	work_add(&counter.work);
	for (uintptr_t i = 1; i < CPUS; i++) {
		pthread_create(&threads[i], NULL, idle, (void *)i);
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		begin_burials();
		begin_files();
		use_counter();
		(void)work_some();
		look_at_files();
		use_counter();
		see_burials_end();
	}
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	for (uint32_t i = 1; i < CPUS; i++) {
		pthread_join(threads[i], NULL);
		if (steps_of[i] == 0) {
			broken("a CPU did nothing");
		}
	}
	return 0;
}

/* --- Functions that this test does not use --- */

/* The files here have no tags. */
void *page_alloc(size_t count)
{
	return NULL;
}

bool page_exchange(struct page_job *seal, struct page_job *open)
{
	abort();
}

int aes_xts_encrypt(const struct aes_xts_key *key, const uint8_t tweak[AES_XTS_TWEAK_BYTES],
		    const void *in, void *out, size_t bytes)
{
	memcpy(out, in, bytes);
	return 0;
}

int aes_xts_decrypt(const struct aes_xts_key *key, const uint8_t tweak[AES_XTS_TWEAK_BYTES],
		    const void *in, void *out, size_t bytes)
{
	return aes_xts_encrypt(key, tweak, in, out, bytes);
}

bool cache_may_flush(void)
{
	return false;
}
