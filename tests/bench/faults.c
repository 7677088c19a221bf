/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults [ROUNDS]: the software engine under VMs that thrash, with the product's page ciphers and
 * with threads in place of CPUs. Prints how many faults with a dirty victim it handles a second,
 * beside the cipher alone; what more CPUs would do, by a simulation from the times measured here;
 * and what the search for a victim takes in a small and in a large window.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

#include "crypto/kdf.h"
#include "crypto/page_cipher.h"
#include "ept/gmem_priv.h"
#include "ept/invept_priv.h"
#include "ept/pager_priv.h"
#include "ept/retire.h"
#include "tests/unit/race_cpus.h"
#include "tests/unit/race_ept.h"
#include "vmm/base/err.h"

#define THREADS	   RACE_CPUS
#define VM_PAGES   16384u /* 64 MiB */
#define WINDOW	   4096u  /* 16 MiB */
#define POOL_BYTES (2ul << 30)
#define POOL_AT	   BIT(44) /* within 46 bits, for EPT entries */
#define ROUNDS_MAX 99u
#define WARM_MS	   15u
#define COUNTED_MS 40u
#define SAMPLES	   8192u

static double ticks_per_ns;

/* --- What the pager uses, beside race_cpus.c --- */

static uint8_t *pool;
static uint64_t pool_used;

int frames_alloc(uint64_t page_count, uint64_t align_pages, hpa_t *first)
{
	*first = hpa((uintptr_t)pool + pool_used);
	pool_used += page_count * PAGE_SIZE;
	return pool_used <= POOL_BYTES ? 0 : ERR_NOMEM;
}

int frames_alloc_keyed(uint64_t page_count, uint64_t align_pages, hpa_t *first, bool *stale)
{
	*stale = false;
	return frames_alloc(page_count, align_pages, first);
}

void *page_alloc(size_t pages)
{
	hpa_t first;

	if (frames_alloc(pages, 1, &first) != 0) {
		return NULL;
	}
	return memset((void *)first.v, 0, pages * PAGE_SIZE);
}

void page_free(void *pages, size_t page_count)
{
}

void frames_free(hpa_t first, uint64_t page_count)
{
}

void frames_free_flushed(hpa_t first, uint64_t page_count)
{
}

void smp_stop_others(void)
{
}

int wipe_register(void *area, size_t bytes)
{
	return 0;
}

void wipe_unregister(const void *area)
{
}

void retire(struct gmem *gmem)
{
	for (uint32_t i = 0; i < gmem->region_count; i++) {
		gmem->regions[i].ops->close(&gmem->regions[i]);
		while (!gmem->regions[i].ops->bury(&gmem->root, &gmem->regions[i],
						   GMEM_BURY_TOUCHED)) {
		}
	}
	ept_root_free(&gmem->root);
	page_free(gmem->grave, 1);
}

/* There are no TLBs here. */
bool fake_invept(uint64_t type, uint64_t eptp)
{
	return true;
}

uint64_t fake_rdtsc(void)
{
	return __rdtsc();
}

void fake_wbinvd(void)
{
}

void fake_cli(void)
{
}

void fake_hlt(void)
{
	race_broken("a CPU stopped");
}

int rng_bytes(void *buf, size_t bytes)
{
	memset(buf, 1, bytes);
	return 0;
}

int kdf_derive(const uint8_t *secret, size_t secret_bytes, const uint8_t *salt, const char *label,
	       uint8_t *out, size_t out_bytes)
{
	for (size_t i = 0; i < out_bytes; i++) {
		out[i] = (uint8_t)(i * 7 + 1);
	}
	return 0;
}

void wipe_all(void)
{
}

/* --- What is timed inside of a fault (the linker's --wrap) --- */

static _Thread_local struct {
	uint64_t exchange_began, exchange_ended; /* of the last page */
	uint64_t victim_ticks;
	uint32_t victims;
} inside;

int __real_store_exchange(struct sealed_page out, struct sealed_page in, struct keyed_frame frame,
			  bool zeroed, bool *sealed);
int __wrap_store_exchange(struct sealed_page out, struct sealed_page in, struct keyed_frame frame,
			  bool zeroed, bool *sealed);
int __wrap_store_exchange(struct sealed_page out, struct sealed_page in, struct keyed_frame frame,
			  bool zeroed, bool *sealed)
{
	int err;

	inside.exchange_began = __rdtsc();
	err = __real_store_exchange(out, in, frame, zeroed, sealed);
	inside.exchange_ended = __rdtsc();
	return err;
}

uint32_t __real_window_find(struct pager_vm *vm);
uint32_t __wrap_window_find(struct pager_vm *vm);
uint32_t __wrap_window_find(struct pager_vm *vm)
{
	const uint64_t began = __rdtsc();
	const uint32_t victim = __real_window_find(vm);

	inside.victim_ticks += __rdtsc() - began;
	inside.victims++;
	return victim;
}

/* --- VMs --- */

struct guest {
	struct gmem gmem;
	struct pager_vm *vm;
	uint32_t pages;
};

static struct guest guests[THREADS + 1]; /* the last one has a vCPU on each CPU */

static void make_guest(struct guest *guest, uint32_t vcpus, uint32_t pages)
{
	guest->pages = pages;
	if (gmem_init(&guest->gmem) != 0 ||
	    pager_vm_create("bench", vcpus, NULL, false, &guest->vm) != 0 ||
	    gmem_add_ram_sealed(&guest->gmem, guest->vm, gpa(0), pages * PAGE_SIZE) != 0) {
		race_broken("no VM");
	}
}

static void end_guest(struct guest *guest)
{
	gmem_destroy(&guest->gmem);
	pager_vm_destroy(guest->vm);
}

/* No page is all zero, so each is encrypted. */
static void write_all(struct guest *guest)
{
	for (uint64_t i = 0; i < guest->pages; i++) {
		const uint64_t value = i + 1;

		if (gmem_write(&guest->gmem, gpa(i * PAGE_SIZE), &value, sizeof(value)) != 0) {
			race_broken("a page cannot be written");
		}
	}
}

/* A guest writes to a page, as hardware does it. Returns whether that was a fault. */
static bool touch(struct guest *guest, uint32_t vcpu, uint64_t place, uint64_t page)
{
	const struct gmem_faulter by = { .vcpu = vcpu, .place = place };
	uint64_t *entry = race_walk(&guest->gmem.root, page * PAGE_SIZE);
	bool faulted = false;

	if (race_was_kicked()) {
		ept_tlb_leave();
		ept_tlb_enter(&guest->gmem.root);
	}
	while (entry == NULL || race_mark(entry, RACE_WRITE, RACE_ACCESSED | RACE_DIRTY) == 0) {
		faulted = true;
		ept_tlb_leave();
		if (gmem_fault(&guest->gmem, gpa(page * PAGE_SIZE), GMEM_ACCESS_WRITE, &by) !=
		    GMEM_FAULT_FIXED) {
			race_broken("a fault failed");
		}
		ept_tlb_enter(&guest->gmem.root);
		entry = race_walk(&guest->gmem.root, page * PAGE_SIZE);
	}
	return faulted;
}

/* --- Faults a second --- */

enum kinds { CIPHER, APART, TOGETHER, KINDS };
static const char *const kind_names[KINDS] = {
	[CIPHER] = "the cipher alone",
	[APART] = "a VM for each CPU",
	[TOGETHER] = "vCPUs of one VM",
};

struct sample {
	uint32_t before, exchange, after; /* ticks: a fault up to, in and after store_exchange */
};

static struct {
	enum kinds kind;
	uint32_t threads;
	uint64_t began; /* TSC */
	bool sampling;
} job;

/* Of each thread in the counted time. */
static struct {
	uint64_t faults;
	double cpu_ns;
} done[THREADS] __attribute__((aligned(64)));

static struct sample samples[SAMPLES];
static uint32_t sample_count;

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void take_sample(uint64_t began)
{
	if (job.sampling && sample_count < SAMPLES) {
		samples[sample_count++] = (struct sample){
			(uint32_t)(inside.exchange_began - began),
			(uint32_t)(inside.exchange_ended - inside.exchange_began),
			(uint32_t)(__rdtsc() - inside.exchange_ended),
		};
	}
}

static bool fault_once(void)
{
	struct guest *guest = &guests[job.kind == APART ? race_self : THREADS];
	static _Thread_local uint64_t place;
	const uint64_t began = __rdtsc();

	if (!touch(guest, job.kind == APART ? 0 : race_self, place++, race_random(VM_PAGES))) {
		return false;
	}
	take_sample(began);
	return true;
}

/*
 * Does the cipher's work of a fault with a dirty victim: seals a frame of a window to a cold page,
 * and opens another cold page into it.
 */
static bool exchange_once(void)
{
	static struct page_key key __attribute__((aligned(64)));
	static uint8_t *memory;
	uint8_t *cold, *frame;
	struct page_job seal = { .key = &key }, open = { .key = &key };
	uint8_t bytes[64];

	if (memory == NULL) { /* the first call, by one thread */
		hpa_t first;

		(void)kdf_derive(NULL, 0, NULL, NULL, bytes, sizeof(bytes));
		if (frames_alloc(THREADS * VM_PAGES + WINDOW, 1, &first) != 0 ||
		    page_key_set(&key, bytes, sizeof(bytes)) != 0) {
			race_broken("no memory for the cipher");
		}
		memory = (uint8_t *)first.v;
		memset(memory, 1, (THREADS * VM_PAGES + WINDOW) * PAGE_SIZE);
	}
	cold = memory + race_self * VM_PAGES * PAGE_SIZE;
	frame = memory + (THREADS * VM_PAGES + race_self * (WINDOW / THREADS) +
			  race_random(WINDOW / THREADS)) *
				 PAGE_SIZE;
	seal.in = seal.scratch = open.out = frame;
	seal.out = cold + race_random(VM_PAGES) * PAGE_SIZE;
	open.in = cold + race_random(VM_PAGES) * PAGE_SIZE;
	(void)page_exchange(&seal, &open);
	return true;
}

static uint64_t to_ticks(uint64_t ms)
{
	return (uint64_t)((double)ms * 1e6 * ticks_per_ns);
}

static void work(void)
{
	const uint64_t warm = job.began + to_ticks(WARM_MS), end = warm + to_ticks(COUNTED_MS);
	struct guest *guest = &guests[job.kind == APART ? race_self : THREADS];
	uint64_t faults = 0, now = 0;
	double from = 0;

	done[race_self].faults = 0;
	done[race_self].cpu_ns = 0;
	if (race_self >= job.threads) {
		return;
	}
	if (job.kind != CIPHER) {
		ept_tlb_enter(&guest->gmem.root);
	}
	while (now < end) {
		const bool counts = job.kind == CIPHER ? exchange_once() : fault_once();

		if (now >= warm && from == 0) {
			from = cpu_ns();
		} else if (now >= warm) {
			faults += counts;
		}
		now = __rdtsc();
	}
	done[race_self].faults = faults;
	done[race_self].cpu_ns = cpu_ns() - from;
	if (job.kind != CIPHER) {
		ept_tlb_leave();
		ept_tlb_part(&guest->gmem.root);
	}
}

struct figure {
	double per_second, cpu_ns; /* faults in a second; CPU time of a fault, including waiting */
};

static struct figure run_job(enum kinds kind, uint32_t threads, bool sampling)
{
	uint64_t faults = 0;
	double ns = 0;

	job.kind = kind;
	job.threads = threads;
	job.sampling = sampling;
	job.began = __rdtsc();
	race_run(work);
	for (uint32_t i = 0; i < threads; i++) {
		faults += done[i].faults;
		ns += done[i].cpu_ns;
	}
	return (struct figure){ (double)faults * 1e3 / COUNTED_MS, ns / (double)faults };
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_of(double *values, uint32_t count)
{
	qsort(values, count, sizeof(values[0]), by_value);
	return values[count / 2];
}

static const uint32_t thread_counts[] = { 1, 2, 4 };
#define COUNTS ARRAY_COUNT(thread_counts)

static void print_rates(uint32_t rounds, double rate[KINDS][COUNTS][ROUNDS_MAX],
			double cpu[KINDS][COUNTS][ROUNDS_MAX])
{
	double rates[KINDS][COUNTS];

	printf("Faults with a dirty victim, random pages, window %u MiB; medians of %u rounds.\n"
	       "%-20s %8s %12s %10s %12s %12s\n",
	       WINDOW / 256, rounds, "", "threads", "a second", "of 1's", "of cipher's",
	       "CPU ns each");
	for (enum kinds k = 0; k < KINDS; k++) {
		for (uint32_t i = 0; i < COUNTS; i++) {
			rates[k][i] = median_of(rate[k][i], rounds);
			printf("%-20s %8u %12.0f %9.2fx %11.0f%% %12.0f\n", kind_names[k],
			       thread_counts[i], rates[k][i], rates[k][i] / rates[k][0],
			       100 * rates[k][i] / rates[CIPHER][i], median_of(cpu[k][i], rounds));
		}
	}
}

static void time_faults(uint32_t rounds)
{
	static double rate[KINDS][COUNTS][ROUNDS_MAX], cpu[KINDS][COUNTS][ROUNDS_MAX];
	struct pager_counters now;

	for (uint32_t i = 0; i <= THREADS; i++) {
		make_guest(&guests[i], i < THREADS ? 1 : THREADS, VM_PAGES);
		write_all(&guests[i]);
	}
	for (uint32_t round = 0; round < rounds; round++) {
		for (enum kinds k = 0; k < KINDS; k++) {
			for (uint32_t i = 0; i < COUNTS; i++) {
				const struct figure f = run_job(k, thread_counts[i],
								k == APART && i == 0);

				rate[k][i][round] = f.per_second;
				cpu[k][i][round] = f.cpu_ns;
			}
		}
	}
	print_rates(rounds, rate, cpu);
	pager_count(guests[0].vm, &now);
	if (now.dirty_faults * 10 < (now.dirty_faults + now.clean_faults) * 9) {
		race_broken("few faults had a dirty victim: %lu, and %lu clean ones",
			    now.dirty_faults, now.clean_faults);
	}
	for (uint32_t i = 0; i <= THREADS; i++) {
		end_guest(&guests[i]);
	}
}

/* --- More CPUs than there are here: a simulation from samples of one thread --- */

struct model {
	uint64_t at; /* when the next step begins */
	uint32_t step;
	struct sample fault;
};

/*
 * Simulates CPUs that fault all the time. one_piece: the lock is held over the whole fault,
 * store_exchange included. Else it is held before and after store_exchange, for all of that time,
 * which is the worst case. CPUs get the lock in the order of their requests. Returns faults a
 * second, and in *waiting the fraction of the CPUs' time that is spent waiting.
 */
static double simulate(uint32_t cpus, bool one_piece, double *waiting)
{
	static struct model models[128];
	uint64_t free_at = 0, waited = 0, faults = 0, end = 0, seed = 1;

	memset(models, 0, sizeof(models));
	while (faults < cpus * 400ul) {
		struct model *m = &models[0];

		for (uint32_t i = 1; i < cpus; i++) {
			m = models[i].at < m->at ? &models[i] : m;
		}
		end = m->at;
		if (m->step == 0) {
			seed = seed * 6364136223846793005 + 1442695040888963407;
			m->fault = samples[(seed >> 33) % sample_count];
		}
		if (m->step == 1) {
			m->at += one_piece ? 0 : m->fault.exchange;
		} else {
			waited += MAX(free_at, m->at) - m->at;
			m->at = MAX(free_at, m->at) +
				(m->step == 0 ? m->fault.before : m->fault.after) +
				(m->step == 0 && one_piece ? m->fault.exchange : 0);
			free_at = m->at;
		}
		faults += m->step == 2;
		m->step = (m->step + 1) % 3;
	}
	*waiting = (double)waited / ((double)end * cpus);
	return (double)faults / ((double)end / ticks_per_ns / 1e9);
}

/* Samples during which this thread was interrupted are left out. */
static void clean_samples(void)
{
	static double totals[SAMPLES];
	uint32_t kept = 0;
	double usual;

	for (uint32_t i = 0; i < sample_count; i++) {
		totals[i] = samples[i].before + (double)samples[i].exchange + samples[i].after;
	}
	usual = median_of(totals, sample_count);
	for (uint32_t i = 0; i < sample_count; i++) {
		if (samples[i].before + (double)samples[i].exchange + samples[i].after <
		    5 * usual) {
			samples[kept++] = samples[i];
		}
	}
	sample_count = kept;
}

static void print_simulation(void)
{
	static double rest[SAMPLES], exchange[SAMPLES];

	clean_samples();
	for (uint32_t i = 0; i < sample_count; i++) {
		rest[i] = (samples[i].before + (double)samples[i].after) / ticks_per_ns;
		exchange[i] = samples[i].exchange / ticks_per_ns;
	}
	printf("\nOf one thread's fault: %.0f ns to exchange the pages, %.0f ns all the rest, so "
	       "at "
	       "most\nso much is serial (goal: 400). Simulated from these samples, with guests "
	       "that "
	       "only fault:\n%8s %14s %10s   %s\n",
	       median_of(exchange, sample_count), median_of(rest, sample_count), "CPUs", "faults/s",
	       "waiting", "with the exchange under the lock too, as before");
	for (uint32_t cpus = 1; cpus <= 128; cpus *= 2) {
		double waiting, waiting_before;
		const double now = simulate(cpus, false, &waiting);
		const double before = simulate(cpus, true, &waiting_before);

		printf("%8u %14.0f %9.0f%%   %.0f, %.0f%%\n", cpus, now, 100 * waiting, before,
		       100 * waiting_before);
	}
}

/* --- The search for a victim --- */

#define VICTIMS 20000u

static uint32_t victim_frames;

struct victim_cost {
	double search_ns, fault_ns;
};

/*
 * The mean times of the fastest of some batches. They contain the time that it takes to read the
 * clock.
 */
static struct victim_cost time_victims(struct guest *guest, bool one_place)
{
	struct victim_cost best = { 1e9, 1e9 };
	static uint64_t place;

	ept_tlb_enter(&guest->gmem.root);
	for (uint32_t batch = 0; batch < 8; batch++) {
		struct victim_cost cost;
		uint64_t began;

		inside.victim_ticks = inside.victims = 0;
		began = __rdtsc();
		for (uint32_t faults = 0; faults < VICTIMS / 8;) {
			place += !one_place;
			faults += touch(guest, 0, place, race_random(guest->pages));
		}
		cost.fault_ns = (double)(__rdtsc() - began) / (VICTIMS / 8) / ticks_per_ns;
		cost.search_ns = (double)inside.victim_ticks / inside.victims / ticks_per_ns;
		best.search_ns = MIN(best.search_ns, cost.search_ns);
		best.fault_ns = MIN(best.fault_ns, cost.fault_ns);
	}
	ept_tlb_leave();
	ept_tlb_part(&guest->gmem.root);
	return best;
}

static struct victim_cost cost_thrashing, cost_holding;

/* One VM has the window alone. */
static void thrash(void)
{
	struct guest *guest = &guests[0];

	make_guest(guest, 1, 2 * victim_frames);
	write_all(guest);
	cost_thrashing = time_victims(guest, false);
	end_guest(guest);
}

/*
 * A large VM has all frames but the small VM's floor. It may keep them, because its own floor is as
 * large. The small VM holds all its frames but one, because an instruction of it needs many pages.
 */
static void hold(void)
{
	const uint32_t others = victim_frames - PAGER_VCPU_FRAMES - PAGER_PIN_FRAMES;
	struct guest *large = &guests[0], *small = &guests[1];

	make_guest(large, (others - PAGER_PIN_FRAMES) / PAGER_VCPU_FRAMES, others);
	write_all(large);
	make_guest(small, 1, 1024);
	write_all(small);
	cost_holding = time_victims(small, true);
	end_guest(small);
	end_guest(large);
}

static void print_victims(void)
{
	static const uint32_t windows[] = { 578, 65474 };
	struct victim_cost thrashing[2], holding[2];

	for (uint32_t i = 0; i < 2; i++) {
		victim_frames = windows[i];
		pool_used = 0;
		if (pager_init(victim_frames) != 0) {
			race_broken("no window");
		}
		thrash();
		hold();
		thrashing[i] = cost_thrashing;
		holding[i] = cost_holding;
		pager_exit();
	}
	printf("\nThe search for a victim, ns with the clock (in brackets the fault); goal: the "
	       "large "
	       "window within 1.5x\n%-44s %7u frames %10u frames\n",
	       "", windows[0], windows[1]);
	printf("%-44s %5.0f (%5.0f) %8.0f (%6.0f)  %.2fx\n", "a VM that has the window alone",
	       thrashing[0].search_ns, thrashing[0].fault_ns, thrashing[1].search_ns,
	       thrashing[1].fault_ns, thrashing[1].search_ns / thrashing[0].search_ns);
	printf("%-44s %5.0f (%5.0f) %8.0f (%6.0f)  %.2fx\n",
	       "a VM at its floor that holds all frames but one", holding[0].search_ns,
	       holding[0].fault_ns, holding[1].search_ns, holding[1].fault_ns,
	       holding[1].search_ns / holding[0].search_ns);
}

/* --- The run --- */

static void prepare(void)
{
	const struct ept_caps caps = {
		.accessed_dirty = true,
		.invept_single = true,
		.structures_wb = true,
		.phys_bits = 46,
	};
	struct timespec a, b;
	uint64_t start = __rdtsc();

	clock_gettime(CLOCK_MONOTONIC, &a);
	pool = mmap((void *)POOL_AT, POOL_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (pool == MAP_FAILED || page_cipher_init("auto") != 0) {
		race_broken("no memory, or no cipher");
	}
	madvise(pool, POOL_BYTES, MADV_HUGEPAGE);
	memset(pool, 0, POOL_BYTES / 2);
	ept_configure(&caps);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ticks_per_ns = (double)(__rdtsc() - start) /
		       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec));
}

int main(int argc, char **argv)
{
	const int rounds = argc > 1 ? atoi(argv[1]) : 15;

	if (rounds < 1 || rounds > (int)ROUNDS_MAX) {
		fprintf(stderr, "usage: faults [ROUNDS (1..%u)]\n", ROUNDS_MAX);
		return 2;
	}
	prepare();
	if (pager_init(WINDOW) != 0) {
		race_broken("no window");
	}
	time_faults((uint32_t)rounds);
	print_simulation();
	pager_exit();
	print_victims();
	return 0;
}
