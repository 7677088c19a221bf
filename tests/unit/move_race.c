/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changes a VM's EPT beside faults, under ThreadSanitizer: holes and the APIC-access page, the
 * audit, and memory that moves to another KeyID or is parked. Exits with 0 on success.
 *
 * CPU 0, the boot processor, moves and parks the memory of the second VM and audits both. CPU 1 and
 * 2: vCPUs of the first, which fault on its memory, open holes and change the mode of their APIC.
 * CPU 3: a peer, whose device reads and writes the second VM's memory. Each word has one writer,
 * which must find what it wrote.
 */
#include <stdio.h>
#include <string.h>

#include "crypto/keyslot.h"
#include "crypto/page_cipher.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "ept/audit.h"
#include "ept/invept_priv.h"
#include "ept/move.h"
#include "ept/pager.h"
#include "ept/retire.h"
#include "tests/unit/race_cpus.h"
#include "vmm/apic_page.h"
#include "vmm/base/err.h"
#include "vmm/host/cache.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/page_alloc.h"
#include "vmm/host/work.h"
#include "vmm/hole.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"
#include "vmm/vmx_insn.h"

#define PAGES	   12288u /* of the machine */
#define POOL_PAGES 1024u
#define RAM_PAGES  512u /* of each VM */
#define NOTHING	   0xd0000000ul
#define ROUNDS	   4u
#define MEET_LOOKS 200u
#define LATE	   SIZE_1G /* memory of the second VM, which gets a table at each first touch */
#define LATE_PARTS (3 * ROUNDS)

static uint8_t memory[PAGES][PAGE_SIZE] __attribute__((aligned(SIZE_2M)));
static struct vm vms[2];
static struct vcpu vcpus[2];
static struct vcpu_private privs[2];
static struct vmx_caps caps = { .monitor_trap = true, .apic_accesses = true };
static bool over, pausing;
static uint64_t faults, holes, apics, refused, moved, met, meetings;
static _Thread_local uint64_t written[RAM_PAGES];

/* --- What they use besides the linked sources --- */

const struct vmx_caps *vmx_caps(void)
{
	return &caps;
}

void fake_vmwrite(uint32_t field, uint64_t value)
{
}

bool iobus_memory_overlaps(const struct iobus *bus, uint64_t address, uint64_t bytes)
{
	return false;
}

/* A frame has one content, whatever the KeyID. */
void host_paging_visit(void (*fn)(void *context, struct keyed_frame page, uint64_t bytes),
		       void *context)
{
}

bool cache_can_flush_lines(void)
{
	return true;
}

void secure_zero(void *area, size_t bytes)
{
	memset(area, 0, bytes);
}

/*
 * Called while a move is being made. Waits, so that another CPU can take one of the tables that the
 * move has reserved.
 */
int wipe_register(void *area, size_t bytes)
{
	__atomic_store_n(&pausing, true, __ATOMIC_RELAXED);
	for (uint32_t n = 0; n < 400; n++) {
		race_pause();
	}
	return 0;
}

/* A cipher that can be seen: each byte is inverted. */
static void invert(const struct page_item *item)
{
	for (size_t i = 0; i < PAGE_SIZE; i++) {
		((uint8_t *)item->out)[i] = (uint8_t) ~((const uint8_t *)item->in)[i];
	}
}

void page_encrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	invert(items);
}

void page_decrypt(const struct page_key *key, const struct page_item *items, size_t count)
{
	invert(items);
}

/* --- CPUs --- */

/* This CPU's word of a page, through the door. `may_move`: the memory may be on its way. */
static void use_ram(struct gmem *gmem, bool may_move)
{
	const uint32_t page = race_random(RAM_PAGES);
	const gpa_t at = gpa(page * PAGE_SIZE + 64 * race_self);
	uint64_t value;
	int err = gmem_read(gmem, at, &value, sizeof(value));

	if (err == ERR_AGAIN && may_move) {
		race_count(&refused);
		race_pause();
		return;
	}
	if (err != 0 || value != written[page]) {
		race_broken("CPU %u, page %u: error %d; %lu was written, %lu is read", race_self,
			    page, err, written[page], value);
	}
	value++;
	err = gmem_write(gmem, at, &value, sizeof(value));
	if (err == 0) {
		written[page] = value;
	} else if (err != ERR_AGAIN || !may_move) {
		race_broken("CPU %u: the door returns %d", race_self, err);
	}
}

/*
 * Waits a moment for the other vCPU, so that both close their holes at once. Nothing is ordered by
 * the counter, which is relaxed: only hole_close's own lock orders what both write.
 */
static void meet(void)
{
	const uint64_t mine = __atomic_add_fetch(&met, 1, __ATOMIC_RELAXED);

	for (uint32_t n = 0; n < MEET_LOOKS && mine % 2 != 0; n++) {
		if (__atomic_load_n(&met, __ATOMIC_RELAXED) != mine) {
			race_count(&meetings);
			return;
		}
		race_pause();
	}
}

/* Once while each move is made. The flag is relaxed: it orders nothing. */
static void use_late(struct gmem *gmem)
{
	static uint32_t used;
	const uint64_t value = 1;

	if (used < LATE_PARTS && __atomic_exchange_n(&pausing, false, __ATOMIC_RELAXED) &&
	    gmem_write(gmem, gpa(LATE + used * SIZE_2M), &value, sizeof(value)) == 0) {
		used++;
	}
}

/* As gmem_read, but by gmem_holds. */
static void expect_word(struct gmem *gmem)
{
	const uint32_t page = race_random(RAM_PAGES);
	struct gmem_expect word = { .at = page * PAGE_SIZE + 64 * race_self,
				    .mask = UINT64_MAX,
				    .value = written[page] };

	if (!gmem_holds(gmem, &word, 1)) {
		race_broken("CPU %u, page %u: not what was written", race_self, page);
	}
}

static void use_hole(struct vcpu *vcpu)
{
	const uint32_t count = 1 + race_random(3);

	for (uint32_t i = 0; i < count; i++) {
		if (!hole_open(vcpu, gpa(NOTHING + race_random(4) * PAGE_SIZE))) {
			race_broken("CPU %u gets no hole", race_self);
		}
		race_count(&holes);
	}
	meet();
	hole_close(vcpu);
}

/* While another vCPU is in x2APIC mode the page must not be there, so no vCPU of this one may. */
static void use_apic(struct vm *vm)
{
	(void)apic_page_map(vm, VCPU_APIC_X);
	apic_page_mode_changed(vm, VCPU_APIC_X, VCPU_APIC_X2);
	if (apic_page_map(vm, VCPU_APIC_X)) {
		race_broken("the APIC page is mapped while CPU %u is in x2APIC mode", race_self);
	}
	race_pause();
	apic_page_mode_changed(vm, VCPU_APIC_X2, VCPU_APIC_X);
	race_count(&apics);
}

static void vcpu_step(struct vcpu *vcpu)
{
	struct gmem *gmem = &vcpu->vm->gmem;
	const gpa_t at = gpa(race_random(RAM_PAGES) * PAGE_SIZE);

	ept_tlb_enter(&gmem->root);
	(void)race_was_kicked();
	ept_tlb_leave();
	switch (race_random(5)) {
	case 0: use_hole(vcpu); break;
	case 3: expect_word(gmem); break;
	case 1: use_apic(vcpu->vm); break;
	case 2: use_ram(gmem, false); break;
	default:
		if (gmem_fault(gmem, at, GMEM_ACCESS_WRITE, NULL) != GMEM_FAULT_FIXED) {
			race_broken("CPU %u: a fault is not served", race_self);
		}
		race_count(&faults);
	}
}

static void audit(void)
{
	struct gmem_leaves leaves;
	struct audit audit;
	keyid_t a, b;
	hpa_t at;

	if (audit_begin(&audit) != 0) {
		race_broken("no memory for an audit");
	}
	audit_gmem(&audit, &vms[0].gmem);
	audit_gmem(&audit, &vms[1].gmem);
	gmem_count_leaves(&vms[0].gmem, &leaves);
	if (!audit_end(&audit, &at, &a, &b)) {
		race_broken("frame %#lx is used under KeyIDs %u and %u", at.v, a, b);
	}
}

static void finish_move(void)
{
	while (!move_step(&vms[1].gmem)) {
		if (race_random(16) == 0) {
			audit();
		}
	}
	moved += move_pages(&vms[1].gmem);
	for (uint32_t n = race_random(400); n != 0; n--) {
		race_pause();
	}
}

static void boot_processor(void)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		if (move_to_keyid(&vms[1].gmem, 2) != 0) {
			race_broken("no move");
		}
		finish_move();
		if (move_to_park(&vms[1].gmem) != 0) {
			race_broken("it is not parked");
		}
		finish_move();
		move_from_park(&vms[1].gmem, 1);
		finish_move();
		audit();
	}
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
}

static void run(void)
{
	if (race_self == 0) {
		boot_processor();
		return;
	}
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		if (race_self == 3) {
			use_ram(&vms[1].gmem, true);
			use_late(&vms[1].gmem);
		} else {
			vcpu_step(&vcpus[race_self - 1]);
		}
	}
}

static void set_up(void)
{
	for (keyid_t i = 0; i < 2; i++) {
		if (gmem_init(&vms[i].gmem) != 0) {
			race_broken("no VM");
		}
		gmem_use_keyid(&vms[i].gmem, i);
		if (gmem_add_ram_plain(&vms[i].gmem, gpa(0), RAM_PAGES * PAGE_SIZE, PAGE_SIZE) !=
			    0 ||
		    apic_page_alloc(&vms[i]) != 0) {
			race_broken("no memory for VM %u", i);
		}
		vcpus[i] = (struct vcpu){ .id = i, .vm = &vms[0], .priv = &privs[i] };
	}
	if (gmem_add_ram_plain(&vms[1].gmem, gpa(LATE), LATE_PARTS * SIZE_2M, PAGE_SIZE) != 0) {
		race_broken("no late memory");
	}
}

int main(void)
{
	const struct ept_caps ept = { .accessed_dirty = true,
				      .invept_single = true,
				      .structures_wb = true,
				      .phys_bits = 46 };
	const struct mem_range range = { hpa((uintptr_t)memory), PAGES };
	const struct page_pool_plan plan = { POOL_PAGES, POOL_PAGES, UINT64_MAX };
	uint64_t free_frames;

	keyid_configure(46, 6);
	ept_configure(&ept);
	if (frames_init(&range, 1, &plan) != 0) {
		race_broken("no memory");
	}
	free_frames = frames_free_count();
	set_up();
	race_run(run);
	printf("%lu faults, %lu holes, %lu closed by both at once, %lu changes of APIC modes, "
	       "%lu pages moved, %lu accesses refused\n",
	       faults, holes, meetings, apics, moved, refused);
	if (vms[0].apic_away != 0) {
		race_broken("%u vCPUs are left in x2APIC mode", vms[0].apic_away);
	}
	for (uint32_t i = 0; i < 2; i++) {
		gmem_destroy(&vms[i].gmem);
		hole_free(&vms[i]);
		apic_page_free(&vms[i]);
	}
	while (!retire_poll()) {
		(void)work_some();
	}
	if (frames_free_count() != free_frames) {
		race_broken("%lu frames are lost", free_frames - frames_free_count());
	}
	if (faults < 1000 || holes < 1000 || meetings < 200 || apics < 500 || moved < 3 * ROUNDS ||
	    refused == 0) {
		race_broken("too little happened");
	}
	return 0;
}
