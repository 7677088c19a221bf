/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory operands. If an operand crosses a page, both pages are translated with the guest's rights
 * before anything moves, and each part goes to its own page. No locks but gmem's own.
 */
#include "vmm/operand.h"

#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/device_access.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_regs.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

static bool segment_ok(unsigned seg, uint64_t offset, unsigned size, bool write)
{
	uint64_t rights = vmread(VMCS_GUEST_ACCESS_RIGHTS(seg));
	uint64_t limit = vmread(VMCS_GUEST_LIMIT(seg));
	uint64_t top = (rights & SEG_AR_DB) != 0 ? UINT32_MAX : 0xffff;
	bool code = (rights & SEG_AR_CODE) != 0;

	if ((rights & SEG_AR_UNUSABLE) != 0 ||
	    (write && (code || (rights & SEG_AR_WRITABLE) == 0)) ||
	    (!write && code && (rights & SEG_AR_WRITABLE) == 0)) {
		return false;
	}
	if (!code && (rights & SEG_AR_EXPAND_DOWN) != 0) {
		return offset > limit && offset + size - 1 <= top;
	}
	return offset + size - 1 <= limit;
}

int operand_at(struct vcpu *vcpu, const struct gwalk_mode *mode, uint64_t linear, unsigned size,
	       enum gwalk_access access, struct operand *out, struct gwalk_fault *fault)
{
	unsigned first = (unsigned)MIN((uint64_t)size, PAGE_SIZE - linear % PAGE_SIZE);

	out->bytes[0] = (uint8_t)first;
	out->bytes[1] = (uint8_t)(size - first);
	for (unsigned i = 0; i < 2 && out->bytes[i] != 0; i++) {
		int err = gwalk_translate(&vcpu->vm->gmem, mode, i == 0 ? linear : linear + first,
					  access, &out->part[i], fault);

		if (err != 0) {
			return err;
		}
	}
	return 0;
}

int operand_in_segment(struct vcpu *vcpu, const struct gwalk_mode *mode, unsigned seg,
		       uint64_t offset, unsigned size, enum gwalk_access access,
		       struct operand *out, struct gwalk_fault *fault)
{
	uint64_t base = vmread(VMCS_GUEST_BASE(seg));

	if (vcpu_in_64bit_mode()) {
		/* Only FS and GS have a base; gwalk.c checks whether the address is canonical. */
		offset += seg >= SEG_FS ? base : 0;
		return operand_at(vcpu, mode, offset, size, access, out, fault);
	}
	if (!segment_ok(seg, offset, size, access == GWALK_WRITE)) {
		*fault = (struct gwalk_fault){ seg == SEG_SS ? VECTOR_SS : VECTOR_GP, 0, 0 };
		return ERR_NOTFOUND;
	}
	return operand_at(vcpu, mode, (uint32_t)(base + offset), size, access, out, fault);
}

bool operand_holds(const struct operand *operand, gpa_t gpa)
{
	return gpa.v - operand->part[0].v < operand->bytes[0] ||
	       (operand->bytes[1] != 0 && gpa.v - operand->part[1].v < operand->bytes[1]);
}

static void device_access(struct vcpu *vcpu, gpa_t at, unsigned bytes, unsigned step, void *data,
			  bool write)
{
	for (unsigned i = 0; i < bytes; i += step) {
		struct io_access access = { .size = step, .write = write };
		uint8_t *from = (uint8_t *)data + i;

		for (unsigned k = 0; write && k < step; k++) {
			access.value |= (uint64_t)from[k] << 8 * k;
		}
		vcpu_device_access(vcpu, gpa(at.v + i), &access);
		for (unsigned k = 0; !write && k < step; k++) {
			from[k] = (uint8_t)(access.value >> 8 * k);
		}
	}
}

static void copy(struct vcpu *vcpu, const struct operand *operand, uint64_t *value, bool write)
{
	uint8_t *data = (uint8_t *)value; /* the first byte is the lowest, as in the guest */

	for (unsigned i = 0; i < 2 && operand->bytes[i] != 0; i++) {
		unsigned bytes = operand->bytes[i];
		unsigned step = operand->bytes[1] == 0 ? bytes : 1;
		struct gmem *gmem = &vcpu->vm->gmem;
		int err = write ? gmem_write(gmem, operand->part[i], data, bytes)
				: gmem_read(gmem, operand->part[i], data, bytes);

		if (err == ERR_RANGE) {
			device_access(vcpu, operand->part[i], bytes, step, data, write);
		} else if (err != 0 && err != ERR_TAMPERED && /* the VM ends already */
			   err != ERR_RIGHTS) { /* a store to a read-only share is ignored */
			vm_end(vcpu->vm, VM_END_NO_MEMORY, NULL);
		}
		data += bytes;
	}
}

uint64_t operand_read(struct vcpu *vcpu, const struct operand *operand)
{
	uint64_t value = 0;

	copy(vcpu, operand, &value, false);
	return value;
}

void operand_write(struct vcpu *vcpu, const struct operand *operand, uint64_t value)
{
	copy(vcpu, operand, &value, true);
}
