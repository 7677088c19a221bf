/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of ones for addresses without memory. One frame serves a whole VM. So the VM's other vCPUs
 * can read what was written to it until it is taken back; other VMs cannot. Lock: gmem.lock.
 */
#include "vmm/hole.h"

#include "ept/ept.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/host/page_alloc.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

/*
 * Limits the tables that a VM can cause by probing addresses, because a live EPT frees no table. A
 * table maps 2 MiB, so all addresses below 4 GiB that a machine uses need few.
 */
#define HOLE_TABLES_MAX	 128
#define TABLES_OF_A_PAGE 3

static void step_one(struct vcpu *vcpu, bool on)
{
	uint32_t value = vcpu->priv->cpu_controls & ~(uint32_t)CPU_MONITOR_TRAP_FLAG;

	value |= on ? (uint32_t)CPU_MONITOR_TRAP_FLAG : 0;
	if (value != vcpu->priv->cpu_controls) {
		vcpu->priv->cpu_controls = value;
		vmwrite(VMCS_CPU_CONTROLS, value);
	}
}

/* Makes the VM's frame of ones on its first use. */
static bool have_frame(struct vm *vm)
{
	if (vm->hole_page == NULL) {
		vm->hole_page = page_alloc(1);
		if (vm->hole_page != NULL) {
			memset(vm->hole_page, 0xff, PAGE_SIZE);
		}
	}
	return vm->hole_page != NULL;
}

/*
 * Reserves EPT tables for the page, in addition to those that are reserved for the VM's RAM: its
 * last page may need them later.
 */
static bool have_tables(struct vm *vm, gpa_t page)
{
	if (ept_page_entry(&vm->gmem.root, page) != NULL) {
		return true;
	}
	if (vm->hole_tables + TABLES_OF_A_PAGE > HOLE_TABLES_MAX ||
	    ept_reserve_tables(&vm->gmem.root, TABLES_OF_A_PAGE) != 0) {
		return false;
	}
	vm->hole_tables += TABLES_OF_A_PAGE; /* at most so many */
	return true;
}

/* Called under gmem.lock. */
static bool lend(struct vcpu *vcpu, gpa_t page)
{
	struct vm *vm = vcpu->vm;
	struct gmem_lent *lent = &vcpu->priv->lent;
	struct ept_attr attr = { .access = EPT_RWX, .memtype = EPT_MEMTYPE_WB, .ignore_pat = true };
	struct keyed_frame frame;
	struct ept_leaf leaf;

	if (gmem_is_ram(&vm->gmem, page, PAGE_SIZE)) {
		return true; /* a guest has placed a share there meanwhile */
	}
	if (ept_walk(&vm->gmem.root, page, &leaf) == 0) {
		return true; /* mapped for another vCPU, for one instruction of that */
	}
	if (lent->count == GMEM_LENT_MAX || !have_frame(vm) || !have_tables(vm, page)) {
		return false;
	}
	frame = keyid_unpack(page_hpa(vm->hole_page).v);
	attr.keyid = frame.keyid;
	if (ept_map(&vm->gmem.root, page, frame.frame, PAGE_SIZE, PAGE_SIZE, attr) != 0) {
		return false;
	}
	if (lent->count == 0) {
		lent->next = vm->gmem.lent;
		vm->gmem.lent = lent;
	}
	lent->pages[lent->count++] = page;
	return true;
}

bool hole_open(struct vcpu *vcpu, gpa_t gpa)
{
	struct vm *vm = vcpu->vm;
	gpa_t page = { gpa.v & PAGE_MASK };
	bool lent;

	if (!vmx_caps()->monitor_trap || page.v == VM_APIC_BASE ||
	    iobus_memory_overlaps(&vm->iobus, page.v, PAGE_SIZE)) {
		return false;
	}
	lock_take(&vm->gmem.lock, LOCK_GMEM);
	lent = lend(vcpu, page);
	lock_drop(&vm->gmem.lock);
	if (lent) {
		step_one(vcpu, true);
	}
	return lent;
}

/* Called under gmem.lock. Leaves the page alone if a guest has placed a share there meanwhile. */
static void take_back(struct vm *vm, gpa_t page)
{
	const uint64_t *entry = ept_page_entry(&vm->gmem.root, page);

	if (entry != NULL && ept_entry_maps(entry, keyid_unpack(page_hpa(vm->hole_page).v))) {
		/* One 4-KiB leaf: no split is needed, so this cannot fail. */
		CHECK(ept_unmap(&vm->gmem.root, page, PAGE_SIZE) == 0);
	}
}

/* Called under gmem.lock. */
static void forget(struct gmem *gmem, const struct gmem_lent *lent)
{
	struct gmem_lent **at = &gmem->lent;

	while (*at != lent) {
		at = &(*at)->next;
	}
	*at = lent->next;
}

void hole_close(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	struct gmem_lent *lent = &vcpu->priv->lent;

	step_one(vcpu, false);
	if (lent->count == 0) {
		return;
	}
	lock_take(&vm->gmem.lock, LOCK_GMEM);
	forget(&vm->gmem, lent);
	while (lent->count > 0) {
		take_back(vm, lent->pages[--lent->count]);
	}
	/*
	 * Before the frame is filled: a CPU that still translated to it could write to it
	 * afterwards.
	 */
	ept_tlb_shootdown(&vm->gmem.root);
	memset(vm->hole_page, 0xff, PAGE_SIZE);
	lock_drop(&vm->gmem.lock);
}

void hole_free(struct vm *vm)
{
	page_free(vm->hole_page, 1);
}
