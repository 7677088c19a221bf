/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/exits.c: debug exceptions, the end of an instruction, HLT, and exits without a row. */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/attention.h"
#include "vmm/base/x86.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/rip.h"
#include "vmm/sched_slice.h"
#include "vmm/vcpu_dump.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_private priv;
static unsigned nmi_calls, mc_calls, yields, halt_checks, works;
static uint64_t dr6;
static enum exit_result answer;

static const char *called;

#define STUB(name)                            \
	enum exit_result name(struct vcpu *v) \
	{                                     \
		assert_ptr_equal(v, &vcpu);   \
		called = #name;               \
		return answer;                \
	}
STUB(exit_cpuid)
STUB(exit_rdmsr)
STUB(exit_wrmsr)
STUB(exit_cr_access)
STUB(exit_xsetbv)
STUB(exit_io)
STUB(exit_ept_violation)
STUB(exit_ept_misconfig)
STUB(exit_apic_access)

void cpu_call_nmi_handler(void)
{
	nmi_calls++;
}

void cpu_call_mc_handler(void)
{
	mc_calls++;
}

void sched_yield(void)
{
	yields++;
}

void vcpu_add_work(struct vcpu *which)
{
	assert_int_equal(halt_checks, 0); /* else the VM may have ended without it */
	works++;
}

void vm_check_halted(struct vm *v)
{
	halt_checks++;
}

void vcpu_state_change_dr6(struct vcpu *v, uint64_t clear, uint64_t set)
{
	dr6 = (dr6 & ~clear) | set;
}

void inject_exception(struct vcpu *v, uint8_t vector, uint32_t error_code)
{
	v->event.info = (uint32_t)EVENT_VALID | EVENT_HW_EXCEPTION | vector;
	v->event.error_code = error_code;
}

void inject_ud(struct vcpu *v)
{
	inject_exception(v, VECTOR_UD, 0);
}

void inject_gp(struct vcpu *v)
{
	inject_exception(v, VECTOR_GP, 0);
}

void inject_again(struct vcpu *v, uint32_t info)
{
	v->event.info = info;
}

void inject_reblock_nmi(struct vcpu *v)
{
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, BLOCKING_BY_NMI);
}

static unsigned holes_closed;
static uint32_t eoi_vector, written_offset;

static void on_eoi(struct vcpu *v, uint8_t vector)
{
	eoi_vector = vector;
}

static void on_written(struct vcpu *v, uint32_t offset)
{
	written_offset = offset;
}

static const struct vm_hooks hooks = { .eoi = on_eoi, .apic_written = on_written };

void hole_close(struct vcpu *v)
{
	holes_closed++;
}

static int setup(void **state)
{
	fake_setup(state);
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&priv, 0, sizeof(priv));
	vcpu.vm = &vm;
	memset(&vm, 0, sizeof(vm));
	vm.vcpu_count = 1;
	vm.hooks = &hooks;
	called = NULL;
	eoi_vector = written_offset = 0;
	fake_interrupt_windows = 0;
	vcpu.priv = &priv;
	percpu_self()->vcpu = &vcpu;
	nmi_calls = mc_calls = yields = halt_checks = works = 0;
	dr6 = 0xffff0ff0;
	fake_vm_may_end(&vm);
	answer = EXIT_NEXT_INSN;
	vmwrite(VMCS_IDT_VECTORING_INFO, 0);
	vmwrite(VMCS_EXIT_QUALIFICATION, 0);
	vmwrite(VMCS_EXIT_INSTRUCTION_LENGTH, 2);
	vmwrite(VMCS_GUEST_RIP, 0x1000);
	vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_ONE | RFLAGS_IF);
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, 0);
	vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
	vmwrite(VMCS_GUEST_DEBUGCTL, 0);
	vmwrite(VMCS_GUEST_DR7, 0x400);
	vmwrite(VMCS_GUEST_EFER, EFER_LMA);
	vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, SEG_AR_L);
	return 0;
}

static enum exit_result dispatch(uint32_t reason)
{
	vmwrite(VMCS_EXIT_REASON, reason);
	return exit_dispatch(&vcpu);
}

static void exception(uint32_t type, uint8_t vector)
{
	vmwrite(VMCS_EXIT_INTERRUPTION_INFO, EVENT_VALID | type | vector);
	assert_int_equal(dispatch(EXIT_REASON_EXCEPTION_NMI), EXIT_RESUME);
}

/* How delivery changes the debug registers (SDM, "Debug Exceptions"). */
TEST(test_debug_exception, setup)
{
	dr6 = 0xffff0ff1;
	vmwrite(VMCS_EXIT_QUALIFICATION, DBQ_BS | 2);
	vmwrite(VMCS_GUEST_DR7, 0x2400);
	vmwrite(VMCS_GUEST_DEBUGCTL, DEBUGCTL_LBR | DEBUGCTL_BTF);
	exception(EVENT_HW_EXCEPTION, VECTOR_DB);
	assert_int_equal(vcpu.event.info, EVENT_VALID | EVENT_HW_EXCEPTION | VECTOR_DB);
	assert_int_equal(dr6, 0xffff4ff2 | DBQ_RTM);
	assert_int_equal(vmread(VMCS_GUEST_DR7), 0x400);
	assert_int_equal(vmread(VMCS_GUEST_DEBUGCTL), 0);
}

/*
 * With a key in the debug registers: the guest's DR7 is in memory, the VMCS keeps 400H, and
 * matches of addresses, which the CPU may report for disabled breakpoints too, are not passed on.
 */
TEST(test_debug_exception_with_kept_registers, setup)
{
	fake_caps.keeps_debug_registers = true;
	priv.dr7 = 0x2455;
	vmwrite(VMCS_EXIT_QUALIFICATION, DBQ_BS | 0xf);
	exception(EVENT_HW_EXCEPTION, VECTOR_DB);
	assert_int_equal(dr6, 0xffff4ff0 | DBQ_RTM);
	assert_int_equal(priv.dr7, 0x455);
	assert_int_equal(vmread(VMCS_GUEST_DR7), 0x400);
	fake_caps.keeps_debug_registers = false;
}

/* The IRET that faulted had unblocked NMIs; not if an event was being delivered, nor at #DF. */
TEST(test_nmi_unblocking, setup)
{
	static const struct {
		uint32_t unblocking;
		uint8_t vector;
		uint32_t event;
		uint64_t blocking;
	} rows[] = {
		{ EVENT_NMI_UNBLOCKING, VECTOR_AC, 0, BLOCKING_BY_NMI },
		{ 0, VECTOR_AC, 0, 0 },
		{ EVENT_NMI_UNBLOCKING, VECTOR_AC, EVENT_VALID | 0x50, 0 },
		{ EVENT_NMI_UNBLOCKING, VECTOR_DF, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		setup(state);
		vcpu.event.info = rows[i].event;
		exception(EVENT_HW_EXCEPTION | rows[i].unblocking, rows[i].vector);
		assert_int_equal(vmread(VMCS_GUEST_INTERRUPTIBILITY), rows[i].blocking);
	}
}

TEST(test_int1, setup)
{
	vmwrite(VMCS_EXIT_INSTRUCTION_LENGTH, 1);
	exception(EVENT_PRIV_SW_EXCEPTION, VECTOR_DB);
	assert_int_equal(vcpu.event.info, EVENT_VALID | EVENT_PRIV_SW_EXCEPTION | VECTOR_DB);
	assert_int_equal(vcpu.event.insn_length, 1);
	assert_int_equal(dr6, 0xffff0ff0);
}

TEST(test_host_events, setup)
{
	exception(EVENT_NMI, VECTOR_NMI);
	exception(EVENT_HW_EXCEPTION, VECTOR_MC);
	assert_int_equal(nmi_calls, 1);
	assert_int_equal(mc_calls, 1);
	assert_int_equal(vcpu.event.info, 0);
}

/* Blocking ends, RF is cleared, and a single step is due, unless only branches are stepped. */
TEST(test_end_of_instruction, setup)
{
	static const struct {
		uint64_t rflags, debugctl, blocking, pending;
	} cases[] = {
		{ 0, 0, 0, 0 },
		{ 0, 0, BLOCKING_BY_STI | BLOCKING_BY_NMI, 0 },
		{ RFLAGS_RF, 0, BLOCKING_BY_MOV_SS, 0 },
		{ RFLAGS_TF, 0, 0, PENDING_DEBUG_BS },
		{ RFLAGS_TF | RFLAGS_RF, 0, BLOCKING_BY_MOV_SS, PENDING_DEBUG_BS },
		{ RFLAGS_TF, DEBUGCTL_BTF, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		uint64_t kept = RFLAGS_ONE | RFLAGS_IF | (cases[i].rflags & RFLAGS_TF);

		for (unsigned round = 0; round < 2; round++) {
			setup(state);
			vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_ONE | RFLAGS_IF | cases[i].rflags);
			vmwrite(VMCS_GUEST_DEBUGCTL, cases[i].debugctl);
			vmwrite(VMCS_GUEST_INTERRUPTIBILITY, cases[i].blocking);
			if (round == 0) {
				assert_int_equal(dispatch(EXIT_REASON_CPUID), EXIT_RESUME);
			} else {
				rip_next_round();
			}
			/* An iteration with more to come leaves RIP unchanged and RF set. */
			assert_int_equal(vmread(VMCS_GUEST_RIP), round == 0 ? 0x1002 : 0x1000);
			assert_int_equal(vmread(VMCS_GUEST_RFLAGS),
					 kept | (round == 0 ? 0 : RFLAGS_RF));
			assert_int_equal(vmread(VMCS_GUEST_INTERRUPTIBILITY),
					 cases[i].blocking & BLOCKING_BY_NMI);
			assert_int_equal(vmread(VMCS_GUEST_PENDING_DEBUG), cases[i].pending);
		}
	}
}

/* RIP wraps at 4 GiB only outside of 64-bit mode. */
TEST(test_rip_wraps, setup)
{
	vmwrite(VMCS_GUEST_RIP, 0xffffffff);
	(void)dispatch(EXIT_REASON_CPUID);
	assert_int_equal(vmread(VMCS_GUEST_RIP), 0x100000001);
	vmwrite(VMCS_GUEST_CS_ACCESS_RIGHTS, 0);
	vmwrite(VMCS_GUEST_RIP, 0xffffffff);
	(void)dispatch(EXIT_REASON_CPUID);
	assert_int_equal(vmread(VMCS_GUEST_RIP), 1);
}

TEST(test_hlt, setup)
{
	assert_int_equal(dispatch(EXIT_REASON_HLT), EXIT_RESUME);
	assert_int_equal(vcpu.state.only, VCPU_HALTED);
	assert_true(priv.halted_if.only);
	assert_int_equal(halt_checks, 0);
	assert_int_equal(works, 0);
	/* A sibling may have put off what this vCPU waits for. */
	vm.gathering.only = 4;
	fake_tsc = 0x10ff;
	vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_ONE);
	(void)dispatch(EXIT_REASON_HLT);
	assert_int_equal(works, 1);
	assert_int_equal(vm.last_halt.only, 0); /* it has no sibling */
	assert_false(priv.halted_if.only);
	assert_int_equal(halt_checks, 1);
	/* Siblings learn when it halted. */
	vm.vcpu_count = 2;
	vcpu.id = 1;
	halt_checks = 0;
	(void)dispatch(EXIT_REASON_HLT);
	assert_int_equal(vm.last_halt.only, 0x10c1);
	assert_false(vcpu_sibling_halted(&vcpu, 0x10c0));
	vcpu.id = 0;
	assert_true(vcpu_sibling_halted(&vcpu, 0x10c1));
	assert_false(vcpu_sibling_halted(&vcpu, 0x10c2));
	/* A #DB that is due after the HLT ends it at once. */
	vcpu.state.only = VCPU_RUNNABLE;
	vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_ONE | RFLAGS_TF);
	(void)dispatch(EXIT_REASON_HLT);
	assert_int_equal(vcpu.state.only, VCPU_RUNNABLE);
	assert_int_equal(vmread(VMCS_GUEST_PENDING_DEBUG), PENDING_DEBUG_BS);
}

TEST(test_bus_lock_and_notify, setup)
{
	assert_int_equal(dispatch(EXIT_REASON_BUS_LOCK), EXIT_YIELD);
	assert_int_equal(yields, 1);
	assert_int_equal(vmread(VMCS_GUEST_RIP), 0x1000);
	/* Together with another reason this bit changes nothing. */
	assert_int_equal(dispatch((uint32_t)EXIT_REASON_BUS_LOCKED | EXIT_REASON_CPUID),
			 EXIT_RESUME);
	assert_int_equal(vmread(VMCS_GUEST_RIP), 0x1002);
	assert_int_equal(vcpu.exit_count[EXIT_REASON_CPUID], 1);
	vmwrite(VMCS_EXIT_QUALIFICATION, NOTIFYQ_NMI_UNBLOCKING);
	assert_int_equal(dispatch(EXIT_REASON_NOTIFY), EXIT_YIELD);
	assert_int_equal(vmread(VMCS_GUEST_INTERRUPTIBILITY), BLOCKING_BY_NMI);
	assert_int_equal(fake_end_reason, VM_END_NONE);
	vmwrite(VMCS_EXIT_QUALIFICATION, NOTIFYQ_INVALID);
	(void)dispatch(EXIT_REASON_NOTIFY);
	assert_int_equal(fake_end_reason, VM_END_UNHANDLED);
}

TEST(test_unhandled, setup)
{
	static const struct {
		uint32_t reason;
		enum vm_end_reason ended;
		const char *detail;
	} cases[] = {
		{ EXIT_REASON_TASK_SWITCH, VM_END_UNHANDLED,
		  "task-switch (reason 9) at RIP 0x1000" },
		{ EXIT_REASON_CPUID, VM_END_UNHANDLED, "cpuid (reason 10) at RIP 0x1000" },
		{ 200, VM_END_UNHANDLED, "exit (reason 200) at RIP 0x1000" },
		{ (uint32_t)EXIT_REASON_ENTRY_FAILURE | EXIT_REASON_ENTRY_GUEST_STATE,
		  VM_END_ENTRY_FAILED, "the CPU refused the guest's state, reason 33, 0" },
	};

	answer = EXIT_KILL_VM;
	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		assert_int_equal(dispatch(cases[i].reason), EXIT_RESUME);
		assert_int_equal(fake_end_reason, cases[i].ended);
		assert_string_equal(fake_end_detail, cases[i].detail);
	}
	assert_int_equal(mc_calls, 0);
	(void)dispatch((uint32_t)EXIT_REASON_ENTRY_FAILURE | EXIT_REASON_ENTRY_MACHINE_CHECK);
	assert_int_equal(mc_calls, 1);
	assert_int_equal(dispatch(EXIT_REASON_TRIPLE_FAULT), EXIT_RESUME);
	assert_int_equal(fake_end_reason, VM_END_TRIPLE_FAULT);
}

/* The dump of a VM that failed shows the values that a MOV would have given the guest. */
TEST(test_dump, setup)
{
	vmwrite(VMCS_GUEST_CR0, 0x80000031);
	vmwrite(VMCS_CR0_MASK, ~0x8005001ful);
	vmwrite(VMCS_CR0_READ_SHADOW, 0x60000012);
	vmwrite(VMCS_GUEST_CR4, 0x2020);
	vmwrite(VMCS_CR4_MASK, ~0x20ul);
	vmwrite(VMCS_CR4_READ_SHADOW, 0x600);
	vcpu_dump(&vcpu);
	assert_non_null(strstr(fake_log_text(), "CR0 80000031 (guest sees e0000011)"));
	assert_non_null(strstr(fake_log_text(), "CR4 2020 (guest sees 620)"));
}

/* An event whose delivery was broken off comes back; none can have been on its way at CPUID. */
TEST(test_vectoring, setup)
{
	answer = EXIT_RESUME;
	vmwrite(VMCS_IDT_VECTORING_INFO, EVENT_VALID | 0x50);
	(void)dispatch(EXIT_REASON_CPUID);
	assert_int_equal(vcpu.event.info, 0);
	(void)dispatch(EXIT_REASON_EPT_VIOLATION);
	assert_int_equal(vcpu.event.info, EVENT_VALID | 0x50);
}

/* The instruction that was lent memory is done; it is no instruction's exit. */
TEST(test_monitor_trap, setup)
{
	assert_int_equal(dispatch(EXIT_REASON_MONITOR_TRAP_FLAG), EXIT_RESUME);
	assert_int_equal(holes_closed, 1);
}

/* Reasons that another file handles reach that one, and no other. */
TEST(test_handlers_elsewhere, setup)
{
	static const struct {
		uint32_t reason;
		const char *name;
	} rows[] = {
		{ EXIT_REASON_CPUID, "exit_cpuid" },
		{ EXIT_REASON_IO, "exit_io" },
		{ EXIT_REASON_RDMSR, "exit_rdmsr" },
		{ EXIT_REASON_WRMSR, "exit_wrmsr" },
		{ EXIT_REASON_CR_ACCESS, "exit_cr_access" },
		{ EXIT_REASON_XSETBV, "exit_xsetbv" },
		{ EXIT_REASON_EPT_VIOLATION, "exit_ept_violation" },
		{ EXIT_REASON_EPT_MISCONFIG, "exit_ept_misconfig" },
		{ EXIT_REASON_APIC_ACCESS, "exit_apic_access" },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		(void)setup(state);
		assert_int_equal(dispatch(rows[i].reason), EXIT_RESUME);
		assert_string_equal(called, rows[i].name);
		assert_int_equal(vmread(VMCS_GUEST_RIP), 0x1002);
		assert_int_equal(vcpu.exit_count[rows[i].reason], 1);
	}
}

/* Instructions of features that are not shown fault, and stay where they are. */
TEST(test_instructions_that_fault, setup)
{
	static const uint32_t reasons[] = {
		EXIT_REASON_GETSEC,  EXIT_REASON_VMCALL,  EXIT_REASON_VMCLEAR, EXIT_REASON_VMLAUNCH,
		EXIT_REASON_VMPTRLD, EXIT_REASON_VMPTRST, EXIT_REASON_VMREAD,  EXIT_REASON_VMRESUME,
		EXIT_REASON_VMWRITE, EXIT_REASON_VMXOFF,  EXIT_REASON_VMXON,   EXIT_REASON_MWAIT,
		EXIT_REASON_MONITOR, EXIT_REASON_INVEPT,  EXIT_REASON_INVVPID, EXIT_REASON_INVPCID,
		EXIT_REASON_VMFUNC,  EXIT_REASON_ENCLS,	  EXIT_REASON_ENCLV,   EXIT_REASON_SEAMCALL,
		EXIT_REASON_TDCALL,  EXIT_REASON_RDPMC,
	};

	for (size_t i = 0; i < ARRAY_COUNT(reasons); i++) {
		const uint8_t vector = reasons[i] == EXIT_REASON_RDPMC ? VECTOR_GP : VECTOR_UD;

		(void)setup(state);
		assert_int_equal(dispatch(reasons[i]), EXIT_RESUME);
		assert_int_equal(vcpu.event.info, EVENT_VALID | EVENT_HW_EXCEPTION | vector);
		assert_int_equal(vmread(VMCS_GUEST_RIP), 0x1000);
		assert_int_equal(fake_end_reason, VM_END_NONE);
	}
}

/* What asks for another look before the next entry, for the CPU, or for neither. */
TEST(test_looks_and_turns, setup)
{
	static const struct {
		uint32_t reason;
		enum exit_result result;
		bool recheck;
		uint64_t rip;
		unsigned yields;
	} rows[] = {
		{ EXIT_REASON_EXTERNAL_INTERRUPT, EXIT_YIELD, true, 0x1000, 0 },
		{ EXIT_REASON_PREEMPTION_TIMER, EXIT_YIELD, true, 0x1000, 0 },
		{ EXIT_REASON_INTERRUPT_WINDOW, EXIT_RESUME, true, 0x1000, 0 },
		{ EXIT_REASON_NMI_WINDOW, EXIT_RESUME, true, 0x1000, 0 },
		{ EXIT_REASON_TPR_BELOW_THRESHOLD, EXIT_RESUME, true, 0x1000, 0 },
		{ EXIT_REASON_VIRTUALIZED_EOI, EXIT_RESUME, true, 0x1000, 0 },
		{ EXIT_REASON_APIC_WRITE, EXIT_RESUME, true, 0x1000, 0 },
		{ EXIT_REASON_PAUSE, EXIT_YIELD, false, 0x1002, 1 },
		{ EXIT_REASON_INVD, EXIT_RESUME, false, 0x1002, 0 },
		{ EXIT_REASON_WBINVD, EXIT_RESUME, false, 0x1002, 0 },
	};

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		(void)setup(state);
		vmwrite(VMCS_EXIT_QUALIFICATION, 0x51);
		assert_int_equal(dispatch(rows[i].reason), rows[i].result);
		assert_int_equal(attention_has(&vcpu, UINT32_MAX),
				 rows[i].recheck ? ATTENTION_EVENTS : 0);
		assert_int_equal(vmread(VMCS_GUEST_RIP), rows[i].rip);
		assert_int_equal(yields, rows[i].yields);
		assert_int_equal(fake_interrupt_windows,
				 rows[i].reason == EXIT_REASON_EXTERNAL_INTERRUPT);
		assert_int_equal(vcpu.event.info, 0);
		assert_int_equal(eoi_vector,
				 rows[i].reason == EXIT_REASON_VIRTUALIZED_EOI ? 0x51 : 0);
		assert_int_equal(written_offset,
				 rows[i].reason == EXIT_REASON_APIC_WRITE ? 0x51 : 0);
	}
}

/* The guest's own deadline alone is a reason to look for what it gets. */
TEST(test_timer_of_whom, setup)
{
	fake_tsc = 5000;
	priv.timer_deadline = 5001;
	assert_int_equal(dispatch(EXIT_REASON_PREEMPTION_TIMER), EXIT_YIELD);
	assert_int_equal(attention_has(&vcpu, UINT32_MAX), 0);
	fake_tsc = 5001;
	assert_int_equal(dispatch(EXIT_REASON_PREEMPTION_TIMER), EXIT_YIELD);
	assert_int_equal(attention_has(&vcpu, UINT32_MAX), ATTENTION_EVENTS);
}
