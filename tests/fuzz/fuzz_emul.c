/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an instruction: the decoder stays within them and gives only forms that exist. */
#include <stdlib.h>

#include "tests/unit/fake_base.h"
#include "vmm/emul.h"
#include "vmm/exits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* emul.c names it; nothing is executed here. */
void vcpu_device_access(struct vcpu *vcpu, gpa_t gpa, struct io_access *access)
{
	(void)vcpu;
	(void)gpa;
	(void)access;
	abort();
}

void vm_end(struct vm *vm, enum vm_end_reason reason, const char *detail)
{
	(void)vm;
	(void)reason;
	(void)detail;
	abort();
}

static void require(bool holds)
{
	if (!holds) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned modes[] = { 16, 32, 64 };
	struct emul_insn insn;
	uint8_t *bytes;
	size_t count;

	fake_reset();
	if (size < 2) {
		return 0;
	}
	count = MIN(size - 1, (size_t)EMUL_INSN_MAX);
	bytes = malloc(count); /* exactly as long, so that ASan sees one byte too far */
	require(bytes != NULL);
	for (size_t i = 0; i < count; i++) {
		bytes[i] = data[1 + i];
	}
	if (emul_decode(bytes, count, modes[data[0] % 3], &insn) == 0) {
		uint64_t rflags = 0;

		require(insn.length >= 1 && insn.length <= count);
		require(insn.size == 1 || insn.size == 2 || insn.size == 4 || insn.size == 8);
		require(insn.dest_size >= 1 && insn.dest_size <= 8);
		require(insn.op <= EMUL_MOVS && insn.reg < 16 && insn.segment < 6);
		require(insn.op != EMUL_ALU_MEM || insn.alu <= EMUL_TEST);
		(void)emul_compute(insn.alu, insn.imm, ~insn.imm, insn.size, &rflags);
	}
	free(bytes);
	return 0;
}
