/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/race_cpus.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/kdf.h"
#include "crypto/keyslot.h"
#include "crypto/page_cipher.h"
#include "crypto/page_mac.h"
#include "crypto/rng.h"
#include "crypto/simd.h"
#include "crypto/wipe.h"
#include "ept/move.h"
#include "ept/pager.h"
#include "guest/dev/vioapic.h"
#include "guest/dev/vlapic.h"
#include "vmm/base/cache_lines.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/tsc.h"
#include "vmm/console/log.h"
#include "vmm/host/cache.h"
#include "vmm/host/ending.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/smp.h"
#include "vmm/vm.h"

#define WEAK  __attribute__((weak))
#define TICKS 500 /* by which the TSC advances between two reads */

struct percpu race_cpus[RACE_CPUS];
bool race_kicked[RACE_CPUS];
uint64_t race_kicks;
uint64_t race_messages, race_pins;
_Thread_local uint32_t race_self;
static _Thread_local uint64_t random_state;
static uint64_t tsc;
static void (*work)(void);

_Noreturn void race_broken(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	vfprintf(stderr, fmt, args);
	fprintf(stderr, "\n");
	va_end(args);
	_exit(1);
}

uint32_t race_random(uint32_t limit)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % limit;
}

void race_count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

bool race_was_kicked(void)
{
	return __atomic_exchange_n(&race_kicked[race_self], false, __ATOMIC_SEQ_CST);
}

static void *start(void *cpu)
{
	race_self = (uint32_t)(uintptr_t)cpu;
	random_state = race_self + 1;
	work();
	return NULL;
}

void race_run(void (*run)(void))
{
	pthread_t threads[RACE_CPUS];

	alarm(600);
	work = run;
	for (uint32_t i = 0; i < RACE_CPUS; i++) {
		race_cpus[i] = (struct percpu){ .self = &race_cpus[i], .index = i };
	}
	for (uintptr_t i = 1; i < RACE_CPUS; i++) {
		if (pthread_create(&threads[i], NULL, start, (void *)i) != 0) {
			race_broken("no thread");
		}
	}
	(void)start(NULL);
	for (uint32_t i = 1; i < RACE_CPUS; i++) {
		pthread_join(threads[i], NULL);
	}
}

/* --- A machine --- */

WEAK uint32_t percpu_count(void)
{
	return RACE_CPUS;
}

WEAK struct percpu *percpu_get(uint32_t index)
{
	return &race_cpus[index];
}

WEAK struct percpu *percpu_fake_self(void)
{
	return &race_cpus[race_self];
}

WEAK void smp_kick(uint32_t cpu_index)
{
	__atomic_store_n(&race_kicked[cpu_index], true, __ATOMIC_SEQ_CST);
	race_count(&race_kicks);
}

WEAK uint64_t fake_rdtsc(void)
{
	return __atomic_add_fetch(&tsc, TICKS, __ATOMIC_RELAXED);
}

WEAK uint64_t tsc_hz(void)
{
	return 1000000000;
}

WEAK uint64_t tsc_from_us(uint64_t us)
{
	return us * 1000;
}

WEAK void fake_pause(void)
{
	race_pause();
}

WEAK bool fake_invept(uint64_t type, uint64_t eptp)
{
	return true;
}

WEAK void fake_wbinvd(void)
{
}

WEAK void *page_alloc(size_t pages)
{
	return calloc(pages, PAGE_SIZE);
}

WEAK void page_free(void *pages, size_t page_count)
{
	free(pages);
}

WEAK bool page_reserve(uint64_t count)
{
	return true;
}

WEAK void page_unreserve(uint64_t count)
{
}

WEAK void *page_alloc_reserved(void)
{
	return page_alloc(1);
}

WEAK void page_free_reserved(void *page)
{
}

WEAK keyid_t page_keyid_now;

/* Addresses are physical addresses: the programs lie low. */
WEAK hpa_t page_hpa(const void *page)
{
	return hpa((uintptr_t)page);
}

WEAK void *page_va(hpa_t page)
{
	return (void *)page.v;
}

WEAK void *host_temp_map(unsigned slot, struct keyed_frame page)
{
	return (void *)page.frame.v;
}

WEAK void host_temp_unmap(unsigned slot)
{
}

/* --- A machine without KeyIDs, whose memory modules and caches nobody examines --- */

WEAK void cache_copy_back(const void *area, size_t bytes)
{
}

WEAK void cache_write_back(const void *area, size_t bytes)
{
}

WEAK void cache_flush(const void *area, size_t bytes)
{
}

WEAK void cache_flush_all(void)
{
}

WEAK bool cache_may_flush(void)
{
	return true;
}

WEAK bool cache_can_flush_lines(void)
{
	return false;
}

WEAK uint64_t cache_epoch(void)
{
	return 1;
}

WEAK void keyslot_use(keyid_t keyid)
{
}

WEAK void keyslot_unuse(keyid_t keyid)
{
}

WEAK int keyslot_get(keyid_t keyid, struct keyslot_info *out)
{
	return ERR_NOTFOUND;
}

WEAK uint32_t keyslot_count_in(enum keyslot_state state)
{
	return 0;
}

WEAK void keyslot_kill_retired(bool lines, void (*done)(keyid_t keyid, bool quarantined))
{
}

/* --- A cipher and random numbers without any secrecy --- */

WEAK int rng_bytes(void *buf, size_t bytes)
{
	memset(buf, 1, bytes);
	return 0;
}

WEAK int kdf_derive(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt,
		    const char *label, uint8_t *out, size_t out_bytes)
{
	memset(out, 1, out_bytes);
	return 0;
}

WEAK int page_key_set(struct page_key *out, const uint8_t *key, size_t key_bytes)
{
	return 0;
}

WEAK int page_mac_key_set(struct page_mac_key *out, const uint8_t key[PAGE_MAC_KEY_BYTES])
{
	return 0;
}

WEAK int wipe_register(void *area, size_t bytes)
{
	return 0;
}

WEAK void wipe_unregister(const void *area)
{
}

WEAK void ending_set_wipe(void (*wipe)(void))
{
}

WEAK void simd_begin(struct simd_save *save)
{
}

WEAK void simd_end(const struct simd_save *save)
{
}

/* --- Guests: they count interrupts and do not end; nothing of theirs is sealed or moves --- */

WEAK bool vlapic_deliver(struct vm *to, const struct vlapic_msg *msg)
{
	race_count(&race_messages);
	return true;
}

WEAK void vioapic_set_line(struct vioapic *to, uint32_t pin, bool high)
{
	race_count(&race_pins);
}

WEAK void vm_end(struct vm *vm, enum vm_end_reason reason, const char *detail)
{
	race_broken("%s ended: %s", vm->name, detail);
}

WEAK void pager_vm_destroy(struct pager_vm *vm)
{
}

WEAK keyid_t move_abandon(struct gmem *gmem)
{
	return KEYID_PLATFORM;
}

/* --- What nobody reads --- */

WEAK void log_printf(enum log_level level, const char *fmt, ...)
{
}

WEAK _Noreturn void panic(const char *fmt, ...)
{
	race_broken("panic: %s", fmt);
}
