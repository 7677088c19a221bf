/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/exit_dr.c: MOV DR, where a guest's debug registers are kept in memory. */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

static struct vm vm = { .name = "one" };
static struct vcpu vcpu;
static struct vcpu_private priv;
static int vector;

void inject_exception(struct vcpu *v, uint8_t which, uint32_t error_code)
{
	assert_int_equal(error_code, 0);
	vector = which;
}

void inject_ud(struct vcpu *v)
{
	vector = VECTOR_UD;
}

void inject_gp(struct vcpu *v)
{
	vector = VECTOR_GP;
}

void vcpu_state_change_dr6(struct vcpu *v, uint64_t clear, uint64_t set)
{
	assert_ptr_equal(v, &vcpu);
	priv.dr6 = (priv.dr6 & ~clear) | set;
}

static int setup(void **state)
{
	fake_setup(state);
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&priv, 0, sizeof(priv));
	vcpu.vm = &vm;
	vcpu.priv = &priv;
	priv.dr6 = 0xffff0ff0;
	priv.dr7 = 0x400;
	fake_caps.keeps_debug_registers = true;
	vmwrite(VMCS_GUEST_DEBUGCTL, 0);
	vmwrite(VMCS_GUEST_EFER, EFER_LMA);
	vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, SEG_AR_L);
	vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, 0);
	vmwrite(VMCS_GUEST_CR4, 0);
	return 0;
}

/* Returns the vector of the exception, or -1 if the instruction is done. RBX is 3. */
static int access(bool from, unsigned number)
{
	enum exit_result result;

	vector = -1;
	vmwrite(VMCS_EXIT_QUALIFICATION, number | (from ? BIT(4) : 0) | 3 << 8);
	result = exit_dr_access(&vcpu);
	assert_int_equal(result, vector < 0 ? EXIT_NEXT_INSN : EXIT_RESUME);
	return vector;
}

static int write(unsigned number, uint64_t value)
{
	vcpu.regs.gpr[3] = value;
	return access(false, number);
}

static uint64_t read(unsigned number)
{
	vcpu.regs.gpr[3] = ~0ul;
	assert_int_equal(access(true, number), -1);
	return vcpu.regs.gpr[3];
}

TEST(values_are_kept, setup, fake_teardown)
{
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(write(i, 0x8123456789abcde0 + i), -1);
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(read(i), 0x8123456789abcde0 + i);
	}
	assert_int_equal(write(6, 0), -1);
	assert_int_equal(read(6), 0xffff0ff0);
	assert_int_equal(write(6, 0xffffffff), -1);
	assert_int_equal(read(4), 0xffffeff0 | 0xf);
	assert_int_equal(read(7), 0x400);
	assert_int_equal(write(5, 0x300), -1);
	assert_int_equal(read(7), 0x700);
	assert_int_equal(write(7, 0xffff0000), -1);
	assert_int_equal(read(5), 0xffff0400);
	assert_string_equal(fake_log_text(), "");
	assert_int_equal(write(7, 0xffffffff), -1); /* without RTM, and with GD */
	assert_int_equal(priv.dr7, 0xffff27ff);
}

/* Outside of 64-bit mode the upper half of the register does not count. */
TEST(half_registers, setup, fake_teardown)
{
	vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, 0);
	assert_int_equal(write(7, 0xabcdef0000000700), -1);
	assert_int_equal(priv.dr7, 0x700);
	assert_int_equal(write(0, 0xabcdef0012345678), -1);
	assert_int_equal(priv.dr[0], 0x12345678);
	assert_int_equal(read(0), 0x12345678);
}

TEST(faults, setup, fake_teardown)
{
	assert_int_equal(write(6, BIT(32)), VECTOR_GP);
	assert_int_equal(write(7, BIT(63)), VECTOR_GP);
	vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, 3 << 5);
	assert_int_equal(write(0, 1), VECTOR_GP);
	assert_int_equal(access(true, 6), VECTOR_GP);
	vmwrite(VMCS_GUEST_SS_ACCESS_RIGHTS, 0);
	vmwrite(VMCS_GUEST_CR4, CR4_DE);
	assert_int_equal(access(true, 4), VECTOR_UD);
	assert_int_equal(write(5, 0), VECTOR_UD);
	assert_int_equal(read(6), 0xffff0ff0);
	priv.dr7 |= DR7_GD;
	assert_int_equal(access(true, 2), VECTOR_DB);
	assert_int_equal(priv.dr6, 0xffff2ff0);
	assert_int_equal(priv.dr7, 0x400);
	priv.dr7 |= DR7_GD;
	assert_int_equal(write(0, 7), VECTOR_DB);
	assert_int_equal(priv.dr[0], 0);
}

TEST(breakpoints_are_told_once, setup, fake_teardown)
{
	assert_int_equal(write(7, 0x401), -1);
	assert_non_null(strstr(fake_log_text(),
			       "vm one: vCPU 0 sets a breakpoint in DR7, which will "
			       "never hit"));
	assert_int_equal(read(7), 0x401);
	fake_log_reset();
	assert_int_equal(write(7, 0x402), -1);
	assert_string_equal(fake_log_text(), "");
}
