/* SPDX-License-Identifier: Apache-2.0 */
/* The APIC-access page: it is in the EPT while all vCPUs are in xAPIC mode. Lock: gmem.lock. */
#include "vmm/apic_page.h"

#include "ept/ept.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/host/page_alloc.h"
#include "vmm/vmx.h"

int apic_page_alloc(struct vm *vm)
{
	if (!vmx_caps()->apic_accesses) {
		return 0;
	}
	vm->apic_access_page = page_alloc(1);
	if (vm->apic_access_page == NULL) {
		return ERR_NOMEM;
	}
	return ept_reserve(&vm->gmem.root, gpa(VM_APIC_BASE), PAGE_SIZE, PAGE_SIZE);
}

void apic_page_free(struct vm *vm)
{
	page_free(vm->apic_access_page, 1);
}

void apic_page_mode_changed(struct vm *vm, enum vcpu_apic_mode from, enum vcpu_apic_mode to)
{
	if ((from == VCPU_APIC_X) == (to == VCPU_APIC_X)) {
		return;
	}
	lock_take(&vm->gmem.lock, LOCK_GMEM);
	if (to == VCPU_APIC_X) {
		vm->apic_away--;
	} else {
		vm->apic_away++;
	}
	if (vm->apic_mapped) {
		/* One 4-KiB leaf: no split is needed, so this cannot fail. */
		CHECK(ept_unmap(&vm->gmem.root, gpa(VM_APIC_BASE), PAGE_SIZE) == 0);
		vm->apic_mapped = false;
		ept_tlb_shootdown(&vm->gmem.root);
	}
	lock_drop(&vm->gmem.lock);
}

/* The page's memory is never used: the CPU exits or virtualises an access. */
static bool map(struct vm *vm)
{
	struct keyed_frame page = keyid_unpack(page_hpa(vm->apic_access_page).v);
	struct ept_attr attr = { .access = EPT_READ | EPT_WRITE,
				 .memtype = EPT_MEMTYPE_WB,
				 .ignore_pat = true,
				 .keyid = page.keyid };

	return ept_map(&vm->gmem.root, gpa(VM_APIC_BASE), page.frame, PAGE_SIZE, PAGE_SIZE, attr) ==
	       0;
}

bool apic_page_map(struct vm *vm, enum vcpu_apic_mode mode)
{
	bool mapped;

	if (mode != VCPU_APIC_X || vm->apic_access_page == NULL) {
		return false;
	}
	lock_take(&vm->gmem.lock, LOCK_GMEM);
	if (!vm->apic_mapped && vm->apic_away == 0) {
		vm->apic_mapped = map(vm);
	}
	mapped = vm->apic_mapped; /* perhaps by another vCPU */
	lock_drop(&vm->gmem.lock);
	return mapped;
}
