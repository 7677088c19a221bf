/* SPDX-License-Identifier: Apache-2.0 */
/* How CPUs start, and how they stop. */
#include "vmm/host/smp.h"

#include "vmm/base/atomic.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/idt.h"
#include "vmm/host/interrupts.h"
#include "vmm/host/lapic.h"
#include "vmm/host/mtrr.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/smp_priv.h"
#include "vmm/host/tsc_sync.h"

#define BSP_STACK_PAGES 16
#define AP_STACK_PAGES	8
#define IST_STACK_PAGES 2
#define START_WAIT_US	200000
#define INIT_WAIT_US	10000 /* SDM, "MP Initialization Protocol" */
#define WHY_MAX		160
#define STOP_WAIT_US	1000000 /* each CPU writes its caches back, which takes milliseconds */

/* The state of the AP that starts. Only one starts at a time. */
enum ap_state { AP_STARTS, AP_ARRIVED, AP_LEAVES };
static struct {
	ATOMIC(enum ap_state) state;
	bool (*fits)(char *why, size_t bytes);
	char why[WHY_MAX]; /* the reason when it leaves */
} starting;

static uint32_t tsc_corrections;

static void (*bsp_next)(void);
static ATOMIC(void (*)(void)) release_fn; /* what APs call; NULL: not set yet */

/* GDT and TSS, with stacks for the vectors that need one. */
static int prepare_tables(struct percpu *cpu)
{
	uint64_t ist_tops[IDT_IST_COUNT];

	cpu->tables = page_alloc(1);
	if (cpu->tables == NULL) {
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < IDT_IST_COUNT; i++) {
		void *top = host_map_stack(IST_STACK_PAGES);

		if (top == NULL) {
			return ERR_NOMEM;
		}
		ist_tops[i] = (uintptr_t)top;
	}
	idt_fill_cpu_tables(cpu->tables, ist_tops);
	return 0;
}

static struct percpu *prepare(uint32_t index, uint32_t apic_id, size_t stack_pages)
{
	struct percpu *cpu = page_alloc(1);

	_Static_assert(sizeof(*cpu) <= PAGE_SIZE, "one page each");
	if (cpu == NULL) {
		return NULL;
	}
	cpu->self = cpu;
	cpu->index = index;
	cpu->apic_id = apic_id;
	host_slots_give(cpu);
	cpu->stack_top = host_map_stack(stack_pages);
	if (cpu->stack_top == NULL || prepare_tables(cpu) != 0) {
		return NULL; /* frees nothing: the boot goes on without this CPU */
	}
	return cpu;
}

static void bsp_entered(void)
{
	struct percpu *cpu = percpu_self();

	lapic_init_this_cpu();
	cpu->apic_id = lapic_id();
	mtrr_capture();
	bsp_next();
}

int smp_enter_bsp(void (*next)(void))
{
	struct percpu *cpu = prepare(0, 0, BSP_STACK_PAGES);

	if (cpu == NULL) {
		return ERR_NOMEM;
	}
	bsp_next = next;
	percpu_register(cpu);
	idt_fill(idt_stubs);
	idt_load_this_cpu(cpu);
	host_paging_enter(cpu->stack_top, bsp_entered);
}

/* An AP waits here for smp_release. A kick ends the HLT. */
static _Noreturn void ap_wait(void)
{
	void (*fn)(void);

	while ((fn = atomic_load_acquire(&release_fn)) == NULL) {
		cpu_sti_hlt();
		cpu_cli();
	}
	fn();
	cpu_stop(); /* not reached: fn does not return */
}

/* The AP is left out. It writes its caches back, because the INIT that follows does not. */
static _Noreturn void leave(void)
{
	cpu_wbinvd();
	atomic_store_release(&starting.state, AP_LEAVES);
	cpu_stop();
}

/* The first C code of an AP, on its own stack and the hypervisor's page tables. */
static void ap_main(struct percpu *cpu)
{
	host_paging_load_this_cpu();
	idt_load_this_cpu(cpu);
	cpu->mtrrs_differed = mtrr_match_this_cpu();
	if (starting.fits != NULL && !starting.fits(starting.why, sizeof(starting.why))) {
		leave();
	}
	lapic_init_this_cpu();
	smp_call_skip();
	atomic_store_release(&starting.state, AP_ARRIVED);
	if (!tsc_sync_answer()) {
		leave();
	}
	ap_wait();
}

static struct ap_params *params_in(hpa_t trampoline)
{
	return (struct ap_params *)(uintptr_t)(trampoline.v +
					       (uint64_t)(ap_trampoline_params - ap_trampoline));
}

/* Copies the code, and sets the parameters that are the same for every AP. */
static int prepare_trampoline(hpa_t page)
{
	struct ap_params *params = params_in(page);
	uint64_t gdt = (uintptr_t)params->gdt;
	int err;

	CHECK((uint64_t)(ap_trampoline_end - ap_trampoline) <= PAGE_SIZE);
	if (!IS_ALIGNED(page.v, PAGE_SIZE) || page.v == 0 || page.v >= BIT(20)) {
		log_error("other CPUs cannot start: 0x%lx is not a page below 1 MiB", page.v);
		return ERR_INVAL;
	}
	/*
	 * Writable and executable, because parameters and code share the page. Unmapped afterwards.
	 */
	err = host_map_identity(page, PAGE_SIZE, HOST_READ_WRITE_EXEC, HOST_CACHE_WB);
	if (err == 0) {
		err = host_map_bootstrap(page, PAGE_SIZE, HOST_READ_WRITE_EXEC, HOST_CACHE_WB);
	}
	if (err != 0) {
		log_error(
			"other CPUs cannot start: their first code, at 0x%lx, cannot be mapped: %s",
			page.v, err_name(err));
		return err;
	}
	memcpy((void *)(uintptr_t)page.v, ap_trampoline,
	       (size_t)(ap_trampoline_end - ap_trampoline));
	params->gdt[HOST_CS_SELECTOR / 8] = 0x00af9b000000fffful;
	params->gdt[HOST_DS_SELECTOR / 8] = 0x00cf93000000fffful;
	params->gdt_register[0] = sizeof(params->gdt) - 1;
	params->gdt_register[1] = (uint16_t)gdt;
	params->gdt_register[2] = (uint16_t)(gdt >> 16);
	params->entry64[0] = (uint32_t)(page.v + (uint64_t)(ap_trampoline_long - ap_trampoline));
	params->entry64[1] = HOST_CS_SELECTOR;
	params->cr4 = CR4_PAE | (host_paging_la57() ? CR4_LA57 : 0);
	params->cr3 = (uint32_t)bootstrap_root().v;
	params->own_cr3 = host_paging_root().v;
	params->efer = EFER_LME | (uint32_t)(cpu_rdmsr(MSR_IA32_EFER) & EFER_NXE);
	params->clear_xd = host_paging_cleared_xd();
	params->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	params->main = ap_main;
	return 0;
}

/* Waits until the AP has left this state, or time is up. Returns the state. */
static enum ap_state wait_in_state(enum ap_state old, uint64_t us)
{
	uint64_t end = cpu_rdtsc() + tsc_from_us(us);
	enum ap_state state;

	while ((state = atomic_load_acquire(&starting.state)) == old && cpu_rdtsc() < end) {
		cpu_pause();
	}
	return state;
}

/* Returns NULL when the CPU joins the machine, else why it does not. */
static const char *take_in(struct percpu *cpu)
{
	int64_t ahead;
	enum tsc_sync sync = tsc_sync_ask(&ahead);

	if (sync == TSC_SYNC_APART) {
		/* Waits while the AP writes its caches back. */
		(void)wait_in_state(AP_ARRIVED, START_WAIT_US);
		return "its TSC cannot be set like the boot CPU's";
	}
	percpu_register(cpu);
	if (cpu->mtrrs_differed) {
		log_info("CPU with APIC ID %u had other MTRRs than the boot CPU: corrected",
			 cpu->apic_id);
	}
	if (sync == TSC_SYNC_CORRECTED) {
		tsc_corrections++;
		log_info("CPU with APIC ID %u: its TSC was %lu ticks %s the boot CPU's: corrected",
			 cpu->apic_id, ahead < 0 ? -(uint64_t)ahead : (uint64_t)ahead,
			 ahead < 0 ? "behind" : "ahead of");
	}
	return NULL;
}

static bool start_one(uint32_t apic_id, hpa_t trampoline)
{
	static const char *const where[] = {
		[AP_STAGE_NONE] = "it did not answer INIT-SIPI-SIPI",
		[AP_STAGE_REAL] = "it stopped on the way to long mode",
		[AP_STAGE_LONG] = "it stopped on the way into C",
	};
	volatile struct ap_params *params = params_in(trampoline);
	struct percpu *cpu = prepare(percpu_count(), apic_id, AP_STACK_PAGES);
	enum ap_state state;
	const char *why;
	uint32_t stage;

	if (cpu == NULL) {
		log_error("CPU with APIC ID %u is left out: no memory for its stacks", apic_id);
		return false;
	}
	atomic_store_relaxed(&starting.state, AP_STARTS);
	params->stage = AP_STAGE_NONE;
	params->stack = cpu->stack_top;
	params->cpu = cpu;
	lapic_send_init(apic_id);
	tsc_wait_us(INIT_WAIT_US);
	lapic_send_sipi(apic_id, (uint8_t)(trampoline.v >> PAGE_SHIFT));
	(void)wait_in_state(AP_STARTS, 300);
	if (params->stage == AP_STAGE_NONE) {
		lapic_send_sipi(apic_id, (uint8_t)(trampoline.v >> PAGE_SHIFT));
	}
	state = wait_in_state(AP_STARTS, START_WAIT_US);
	stage = params->stage;
	why = state == AP_LEAVES	   ? starting.why
	      : state == AP_ARRIVED	   ? take_in(cpu)
	      : stage < ARRAY_COUNT(where) ? where[stage]
					   : "it wrote nonsense";
	if (why == NULL) {
		return true;
	}
	/* Makes the AP wait for a SIPI again: if it came late, it would use the next AP's stack. */
	lapic_send_init(apic_id);
	tsc_wait_us(INIT_WAIT_US);
	log_error("CPU with APIC ID %u is left out: %s", apic_id, why);
	return false;
}

void smp_park_others(void)
{
	lapic_send_init_others();
	tsc_wait_us(INIT_WAIT_US);
}

static bool is_known(uint32_t apic_id)
{
	uint32_t i;

	for (i = 0; i < percpu_count(); i++) {
		if (percpu_get(i)->apic_id == apic_id) {
			return true;
		}
	}
	return false;
}

uint32_t smp_start_all(const uint32_t *apic_ids, size_t count, hpa_t trampoline,
		       bool (*fits)(char *why, size_t bytes))
{
	uint32_t started = 0;
	size_t i;

	starting.fits = fits;
	if (count == 0 || prepare_trampoline(trampoline) != 0) {
		return 0;
	}
	/* Before the first AP starts, because APs take over the APIC mode. */
	for (i = 0; i < count; i++) {
		(void)lapic_reaches(apic_ids[i]);
	}
	percpu_self()->apic_id = lapic_id();
	for (i = 0; i < count && percpu_count() < CPU_MAX; i++) {
		if (is_known(apic_ids[i])) {
			continue; /* this CPU, or an ID that firmware lists twice */
		}
		if (!lapic_reaches(apic_ids[i])) {
			log_error("CPU with APIC ID %u is left out: the boot CPU has no x2APIC",
				  apic_ids[i]);
			continue;
		}
		if (start_one(apic_ids[i], trampoline)) {
			started++;
		}
	}
	if (started != 0) {
		log_info("TSC: the same on %u CPUs, %u of which were corrected", percpu_count(),
			 tsc_corrections);
	}
	memset((void *)(uintptr_t)trampoline.v, 0, PAGE_SIZE);
	host_unmap_identity(trampoline, PAGE_SIZE);
	return started;
}

void smp_release(void (*fn)(void))
{
	CHECK(percpu_self()->index == 0);
	atomic_store_release(&release_fn, fn);
	smp_kick_others();
}

void smp_stop_others(void)
{
	uint64_t end;
	uint32_t i, self;

	if (percpu_count() <= 1 || bootstrap_has_left()) {
		return; /* no other CPUs run */
	}
	self = percpu_self()->index;
	interrupts_stop_on_nmi();
	for (i = 0; i < percpu_count(); i++) {
		if (i != self) {
			lapic_send_nmi(percpu_get(i)->apic_id);
		}
	}
	end = cpu_rdtsc() + tsc_from_us(STOP_WAIT_US);
	for (i = 0; i < percpu_count(); i++) {
		while (i != self && cpu_rdtsc() < end && !bootstrap_stopped(i)) {
			cpu_pause();
		}
	}
}
