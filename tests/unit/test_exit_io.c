/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/exit_io.c: which port is accessed with which size, how registers change, and one element of
 * INS and OUTS for each exit.
 */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/operand.h"
#include "vmm/rip.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define OUTS_PORT 0x3f8u

static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_private priv;
static struct io_access done; /* the access that the device saw; size 0: none */
static uint16_t port;
static uint64_t answer, memory;
static unsigned rounds, seg;
static uint64_t offset;
static enum gwalk_access kind;
static uint8_t fault_vector; /* of the operand; 0: no fault */
static uint32_t injected;
static bool written;

void iobus_port_access(const struct iobus *bus, uint16_t at, struct vcpu *v,
		       struct io_access *access)
{
	assert_ptr_equal(bus, &vm.iobus);
	assert_ptr_equal(v, &vcpu);
	port = at;
	done = *access;
	if (!access->write) {
		access->value = answer;
	}
}

void gwalk_mode_read(struct gwalk_mode *mode)
{
	memset(mode, 0, sizeof(*mode));
}

int operand_in_segment(struct vcpu *v, const struct gwalk_mode *mode, unsigned in_seg, uint64_t at,
		       unsigned size, enum gwalk_access access, struct operand *out,
		       struct gwalk_fault *fault)
{
	assert_int_equal(done.size, 0); /* read before the port */
	seg = in_seg;
	offset = at;
	kind = access;
	*fault = (struct gwalk_fault){ fault_vector, 6, 0x1234 };
	return fault_vector == 0 ? 0 : ERR_NOTFOUND;
}

uint64_t operand_read(struct vcpu *v, const struct operand *operand)
{
	return memory;
}

void operand_write(struct vcpu *v, const struct operand *operand, uint64_t value)
{
	assert_int_not_equal(done.size, 0);
	memory = value;
	written = true;
}

void inject_page_fault(struct vcpu *v, uint32_t error_code, uint64_t cr2)
{
	assert_int_equal(error_code, 6);
	assert_int_equal(cr2, 0x1234);
	injected = VECTOR_PF;
}

void inject_exception(struct vcpu *v, uint8_t vector, uint32_t error_code)
{
	injected = vector;
}

void rip_next_round(void)
{
	rounds++;
}

static int start(void **state)
{
	fake_setup(state);
	memset(&vcpu, 0, sizeof(vcpu));
	fake_caps = (struct vmx_caps){ .ins_outs_info = true };
	vcpu.vm = &vm;
	vcpu.priv = &priv;
	done = (struct io_access){ 0 };
	rounds = injected = 0;
	fault_vector = 0;
	written = false;
	vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_ONE);
	vmwrite(VMCS_GUEST_EFER, EFER_LMA);
	vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, SEG_AR_L);
	return 0;
}

/* Size 1, 2 or 4, direction, whether by a string instruction and repeated, and the port. */
static uint64_t why(unsigned size, uint64_t flags)
{
	return (size - 1) | flags | (uint64_t)OUTS_PORT << 16;
}

static enum exit_result io(uint64_t qualification)
{
	vmwrite(VMCS_EXIT_QUALIFICATION, qualification);
	return exit_io(&vcpu);
}

TEST(test_in_and_out, start)
{
	static const struct {
		unsigned size;
		bool in;
		uint64_t rax, answer, sent, after;
	} rows[] = {
		{ 1, false, 0x1122334455667788, 0, 0x88, 0x1122334455667788 },
		{ 2, false, 0x1122334455667788, 0, 0x7788, 0x1122334455667788 },
		{ 4, false, 0x1122334455667788, 0, 0x55667788, 0x1122334455667788 },
		/* The device's upper bytes are ignored. */
		{ 1, true, 0x1122334455667788, 0xffffffffffffffab, 0, 0x11223344556677ab },
		{ 2, true, 0x1122334455667788, 0xffffffffffffabcd, 0, 0x112233445566abcd },
		{ 4, true, 0x1122334455667788, 0xffffffff89abcdef, 0, 0x89abcdef },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		start(state);
		vcpu.regs.gpr[GPR_RAX] = rows[i].rax;
		answer = rows[i].answer;
		assert_int_equal(io(why(rows[i].size, rows[i].in ? IOQ_IN : 0)), EXIT_NEXT_INSN);
		assert_int_equal(port, OUTS_PORT);
		assert_int_equal(done.size, rows[i].size);
		assert_int_equal(done.write, !rows[i].in);
		assert_int_equal(done.value, rows[i].sent);
		assert_int_equal(vcpu.regs.gpr[GPR_RAX], rows[i].after);
	}
}

/* INSTRUCTION_INFO: address size in bits 9:7, segment in bits 17:15. */
#define INFO(bytes, s) \
	((uint64_t)((bytes) == 2 ? 0 : (bytes) == 4 ? 1 : 2) << 7 | (uint64_t)(s) << 15)

TEST(test_strings, start)
{
	static const struct {
		uint64_t flags;
		unsigned size, address_bytes, seg;
		bool down;
		uint64_t index, rcx; /* RSI or RDI, and RCX */
		uint64_t offset, index_after, rcx_after;
		bool again; /* RIP does not change */
	} rows[] = {
		{ 0, 1, 8, SEG_DS, false, 0x1000, 5, 0x1000, 0x1001, 5, false },
		{ 0, 4, 8, SEG_FS, true, 0x1000, 5, 0x1000, 0xffc, 5, false },
		{ IOQ_IN, 2, 8, SEG_ES, false, 0x1000, 5, 0x1000, 0x1002, 5, false },
		{ IOQ_REP, 1, 8, SEG_DS, false, 0x1000, 2, 0x1000, 0x1001, 1, true },
		{ IOQ_REP, 1, 8, SEG_DS, false, 0x1000, 1, 0x1000, 0x1001, 0, false },
		{ IOQ_REP | IOQ_IN, 4, 8, SEG_ES, true, 0x1000, 3, 0x1000, 0xffc, 2, true },
		/*
		 * With 32 and 16 bits: count and index wrap at that size, and the bits above are
		 * cleared or kept.
		 */
		{ IOQ_REP, 1, 4, SEG_DS, false, 0x5ffffffff, 0x700000002, 0xffffffff, 0, 1, true },
		{ IOQ_REP, 1, 2, SEG_DS, false, 0x5ffff, 0x70001, 0xffff, 0x50000, 0x70000, false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		bool in = (rows[i].flags & IOQ_IN) != 0;
		unsigned index = in ? GPR_RDI : GPR_RSI;

		start(state);
		vmwrite(VMCS_EXIT_INSTRUCTION_INFO, INFO(rows[i].address_bytes, rows[i].seg));
		vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_ONE | (rows[i].down ? RFLAGS_DF : 0));
		vcpu.regs.gpr[index] = rows[i].index;
		vcpu.regs.gpr[GPR_RCX] = rows[i].rcx;
		memory = 0xabcd;
		answer = 0x1234;
		assert_int_equal(io(why(rows[i].size, IOQ_STRING | rows[i].flags)),
				 rows[i].again ? EXIT_RESUME : EXIT_NEXT_INSN);
		assert_int_equal(rounds, rows[i].again);
		assert_int_equal(seg, in ? SEG_ES : rows[i].seg);
		assert_int_equal(kind, in ? GWALK_WRITE : GWALK_READ);
		assert_int_equal(offset, rows[i].offset);
		assert_int_equal(done.size, rows[i].size);
		assert_int_equal(done.write, !in);
		assert_int_equal(done.value, in ? 0 : 0xabcd);
		assert_int_equal(memory, in ? 0x1234 : 0xabcd);
		assert_int_equal(vcpu.regs.gpr[index], rows[i].index_after);
		assert_int_equal(vcpu.regs.gpr[GPR_RCX], rows[i].rcx_after);
	}
}

/* A count of 0 moves nothing, and no device is accessed. */
TEST(test_nothing_to_do, start)
{
	vmwrite(VMCS_EXIT_INSTRUCTION_INFO, INFO(2, SEG_DS));
	vcpu.regs.gpr[GPR_RCX] = 0x10000; /* CX is 0 */
	assert_int_equal(io(why(1, IOQ_STRING | IOQ_REP)), EXIT_NEXT_INSN);
	assert_int_equal(done.size, 0);
	assert_int_equal(vcpu.regs.gpr[GPR_RCX], 0x10000);
}

/* Without INSTRUCTION_INFO the mode gives the size, and the segment is DS (SDM, IA32_VMX_BASIC). */
TEST(test_without_info, start)
{
	static const struct {
		uint64_t efer, rights, offset;
	} rows[] = {
		{ EFER_LMA, SEG_AR_L, 0x123456789 },
		{ EFER_LMA, SEG_AR_DB, 0x23456789 },
		{ 0, 0, 0x6789 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		start(state);
		fake_caps.ins_outs_info = false;
		vmwrite(VMCS_EXIT_INSTRUCTION_INFO, INFO(8, SEG_GS));
		vmwrite(VMCS_GUEST_EFER, rows[i].efer);
		vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, rows[i].rights);
		vcpu.regs.gpr[GPR_RSI] = 0x123456789;
		assert_int_equal(io(why(1, IOQ_STRING)), EXIT_NEXT_INSN);
		assert_int_equal(offset, rows[i].offset);
		assert_int_equal(seg, SEG_DS);
	}
}

/* A fault in place of the access: nothing has moved, and the port was not read. */
TEST(test_faults, start)
{
	static const uint8_t vectors[] = { VECTOR_PF, VECTOR_GP, VECTOR_SS };

	for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
		start(state);
		fault_vector = vectors[i];
		vmwrite(VMCS_EXIT_INSTRUCTION_INFO, INFO(8, SEG_DS));
		vcpu.regs.gpr[GPR_RDI] = 0x1000;
		vcpu.regs.gpr[GPR_RCX] = 2;
		assert_int_equal(io(why(1, IOQ_STRING | IOQ_REP | IOQ_IN)), EXIT_RESUME);
		assert_int_equal(injected, vectors[i]);
		assert_int_equal(done.size, 0);
		assert_false(written);
		assert_int_equal(rounds, 0);
		assert_int_equal(vcpu.regs.gpr[GPR_RDI], 0x1000);
		assert_int_equal(vcpu.regs.gpr[GPR_RCX], 2);
	}
}
