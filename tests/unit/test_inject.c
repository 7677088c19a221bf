/* SPDX-License-Identifier: Apache-2.0 */
/* Which event is injected at the next entry, and which window exit is requested instead. */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/attention.h"
#include "vmm/base/x86.h"
#include "vmm/inject.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

#define VALID	  ((uint32_t)EVENT_VALID)
#define HW(v)	  (VALID | EVENT_HW_EXCEPTION | (v))
#define HW_ERR(v) (HW(v) | (uint32_t)EVENT_ERROR_CODE)
#define EXT(v)	  (VALID | EVENT_EXTERNAL | (v))
#define NMI	  (VALID | EVENT_NMI | 2u)

static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_private priv;
static uint8_t apic_page[4096];
static uint64_t cr2;
static int pending, irr, accepted;

bool vcpu_has_virtual_delivery(const struct vcpu *v)
{
	return fake_caps.virtual_delivery;
}

void vcpu_state_set_cr2(uint64_t value)
{
	cr2 = value;
}

static int irq_pending(struct vcpu *v)
{
	return pending;
}

static int irr_highest(struct vcpu *v)
{
	return irr;
}

static void irq_accepted(struct vcpu *v, uint8_t vector)
{
	accepted = vector;
}

static uint64_t next_deadline(struct vcpu *v)
{
	return 4711;
}

static const struct vm_hooks hooks = {
	.irq_pending = irq_pending,
	.irr_highest = irr_highest,
	.irq_accepted = irq_accepted,
	.next_deadline = next_deadline,
};

static void start(void)
{
	memset(&fake_caps, 0, sizeof(fake_caps));
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&priv, 0, sizeof(priv));
	memset(apic_page, 0, sizeof(apic_page));
	vm.hooks = &hooks;
	vcpu.vm = &vm;
	vcpu.priv = &priv;
	vcpu.apic_page = apic_page;
	priv.apic_mode = VCPU_APIC_X;
	pending = irr = accepted = -1;
	fake_vm_may_end(&vm);
	cr2 = 0;
	vmwrite(VMCS_ENTRY_INTERRUPTION_INFO, 0);
	vmwrite(VMCS_ENTRY_EXCEPTION_ERROR_CODE, 0);
	vmwrite(VMCS_ENTRY_INSTRUCTION_LENGTH, 0);
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, 0);
	vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_IF | 2);
	vmwrite(VMCS_GUEST_CR0, CR0_PE);
	vmwrite(VMCS_GUEST_INTERRUPT_STATUS, 0);
	vmwrite(VMCS_TPR_THRESHOLD, 0);
	vmwrite(VMCS_CPU_CONTROLS, 0);
	vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
	vmwrite(VMCS_GUEST_DEBUGCTL, 0);
}

static int nmis_waiting(void)
{
	return __builtin_popcount(attention_has(&vcpu, ATTENTION_NMIS));
}

/* SDM, table "Conditions for Generating a Double Fault". */
static const struct {
	uint32_t first;
	uint8_t second;
	uint32_t expect; /* 0: triple fault */
	bool deferred, nmi;
} pairs[] = {
	{ 0, VECTOR_UD, HW(VECTOR_UD), false, false },
	{ 0, VECTOR_GP, HW_ERR(VECTOR_GP), false, false },
	{ HW(VECTOR_UD), VECTOR_GP, HW_ERR(VECTOR_GP), false, false },
	{ HW(VECTOR_DE), VECTOR_UD, HW(VECTOR_UD), false, false },
	{ HW(VECTOR_DE), VECTOR_GP, HW_ERR(VECTOR_DF), false, false },
	{ HW_ERR(VECTOR_GP), VECTOR_NP, HW_ERR(VECTOR_DF), false, false },
	{ HW_ERR(VECTOR_GP), VECTOR_PF, HW_ERR(VECTOR_PF), false, false },
	{ HW_ERR(VECTOR_PF), VECTOR_PF, HW_ERR(VECTOR_DF), false, false },
	{ HW_ERR(VECTOR_PF), VECTOR_SS, HW_ERR(VECTOR_DF), false, false },
	{ HW_ERR(VECTOR_PF), VECTOR_DB, HW(VECTOR_DB), false, false },
	{ HW_ERR(VECTOR_DF), VECTOR_PF, 0, false, false },
	{ HW_ERR(VECTOR_DF), VECTOR_GP, 0, false, false },
	{ HW_ERR(VECTOR_DF), VECTOR_DB, HW(VECTOR_DB), false, false },
	{ EXT(0x50), VECTOR_PF, HW_ERR(VECTOR_PF), true, false },
	{ NMI, VECTOR_AC, HW_ERR(VECTOR_AC), false, true },
	{ VALID | EVENT_SW_INTERRUPT | 0x80, VECTOR_GP, HW_ERR(VECTOR_GP), false, false },
	{ VALID | EVENT_SW_EXCEPTION | 3, VECTOR_PF, HW_ERR(VECTOR_PF), false, false },
};

TEST(test_double_faults)
{
	for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
		start();
		vcpu.event.info = pairs[i].first;
		inject_exception(&vcpu, pairs[i].second, 0);
		if (pairs[i].expect == 0) {
			assert_int_equal(fake_end_reason, VM_END_TRIPLE_FAULT);
			continue;
		}
		assert_int_equal(fake_end_reason, VM_END_NONE);
		assert_int_equal(vcpu.event.info, pairs[i].expect);
		assert_int_equal(priv.deferred_interrupt, pairs[i].deferred ? pairs[i].first : 0);
		assert_int_equal(nmis_waiting(), pairs[i].nmi);
	}
}

TEST(test_page_fault_sets_cr2)
{
	start();
	inject_page_fault(&vcpu, 6, 0x1234);
	inject_before_entry(&vcpu);
	assert_int_equal(cr2, 0x1234);
	assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), HW_ERR(VECTOR_PF));
	assert_int_equal(vmread(VMCS_ENTRY_EXCEPTION_ERROR_CODE), 6);
}

TEST(test_no_error_code_in_real_mode)
{
	start();
	vmwrite(VMCS_GUEST_CR0, 0);
	inject_gp(&vcpu);
	assert_int_equal(vcpu.event.info, HW(VECTOR_GP));
}

/*
 * Events with IDT-vectoring information are injected again unchanged; the length only for events of
 * instructions.
 */
static const struct {
	uint32_t info, error, length;
	uint32_t expect_length;
} vectored[] = {
	{ EXT(0x31), 0, 9, 0 },
	{ HW_ERR(VECTOR_PF), 0x15, 3, 0 },
	{ HW(VECTOR_DE), 0, 2, 0 },
	{ VALID | EVENT_SW_INTERRUPT | 0x80, 0, 2, 2 },
	{ VALID | EVENT_SW_EXCEPTION | 3, 0, 1, 1 },
	{ VALID | EVENT_PRIV_SW_EXCEPTION | 1, 0, 1, 1 },
	{ NMI, 0, 5, 0 },
};

TEST(test_reinjection)
{
	for (size_t i = 0; i < ARRAY_COUNT(vectored); i++) {
		start();
		vmwrite(VMCS_IDT_VECTORING_ERROR_CODE, vectored[i].error);
		vmwrite(VMCS_EXIT_INSTRUCTION_LENGTH, vectored[i].length);
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, BLOCKING_BY_NMI);
		/* Bit 12 of the field is undefined and must not be injected. */
		inject_again(&vcpu, vectored[i].info | (uint32_t)BIT(12));
		inject_before_entry(&vcpu);
		assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), vectored[i].info);
		assert_int_equal(vmread(VMCS_ENTRY_EXCEPTION_ERROR_CODE), vectored[i].error);
		assert_int_equal(vmread(VMCS_ENTRY_INSTRUCTION_LENGTH), vectored[i].expect_length);
		/* VM entry refuses an NMI while NMIs are blocked. */
		assert_int_equal(vmread(VMCS_GUEST_INTERRUPTIBILITY),
				 (vectored[i].info & EVENT_TYPE) == EVENT_NMI ? 0
									      : BLOCKING_BY_NMI);
		assert_int_equal(vcpu.event.info, 0);
	}
}

/*
 * An NMI-window exit may come at once while STI blocks NMIs, so then the interrupt window is used.
 * Other reasons that block the NMI block that exit as well.
 */
static const struct {
	uint64_t blocking;
	uint64_t pending_debug;
	uint32_t event;
	uint32_t window; /* 0: injected */
} nmis[] = {
	{ 0, 0, 0, 0 },
	{ BLOCKING_BY_NMI, 0, 0, CPU_NMI_WINDOW_EXITING },
	{ BLOCKING_BY_STI, 0, 0, CPU_INTERRUPT_WINDOW_EXITING },
	{ BLOCKING_BY_STI | BLOCKING_BY_NMI, 0, 0, CPU_NMI_WINDOW_EXITING },
	{ BLOCKING_BY_STI, 0, HW(VECTOR_DE), CPU_NMI_WINDOW_EXITING },
	{ BLOCKING_BY_MOV_SS, 0, 0, CPU_NMI_WINDOW_EXITING },
	{ 0, 0, HW(VECTOR_DE), CPU_NMI_WINDOW_EXITING },
	{ 0, PENDING_DEBUG_BS, 0, CPU_NMI_WINDOW_EXITING },
	{ 0, PENDING_DEBUG_ENABLED_BREAKPOINT | 1, 0, CPU_NMI_WINDOW_EXITING },
};

TEST(test_nmi)
{
	for (size_t i = 0; i < ARRAY_COUNT(nmis); i++) {
		bool injected = nmis[i].window == 0;

		start();
		vmwrite(VMCS_GUEST_RFLAGS, 2); /* IF does not affect an NMI */
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, nmis[i].blocking);
		vmwrite(VMCS_GUEST_PENDING_DEBUG, nmis[i].pending_debug);
		vcpu.event.info = nmis[i].event;
		attention_latch_nmi(&vcpu);
		inject_before_entry(&vcpu);
		assert_int_equal(nmis_waiting(), !injected);
		assert_int_equal(priv.cpu_controls, nmis[i].window);
		assert_int_equal(vmread(VMCS_CPU_CONTROLS), nmis[i].window);
		assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO),
				 injected ? NMI : nmis[i].event);
	}
	/* The window request is withdrawn. */
	start();
	priv.cpu_controls = CPU_NMI_WINDOW_EXITING;
	inject_before_entry(&vcpu);
	assert_int_equal(vmread(VMCS_CPU_CONTROLS), 0);
}

/*
 * Two NMIs before the first is delivered are both delivered; while one is handled only one is kept.
 */
TEST(test_two_nmis)
{
	start();
	for (unsigned i = 0; i < 3; i++) {
		attention_latch_nmi(&vcpu);
	}
	inject_before_entry(&vcpu);
	assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), NMI);
	assert_int_equal(priv.cpu_controls, CPU_NMI_WINDOW_EXITING);
	attention_latch_nmi(&vcpu);
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, BLOCKING_BY_NMI);
	inject_before_entry(&vcpu);
	assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), NMI); /* the first */
	assert_int_equal(nmis_waiting(), 1);
	vmwrite(VMCS_GUEST_INTERRUPTIBILITY, 0);
	vmwrite(VMCS_ENTRY_INTERRUPTION_INFO, 0);
	inject_before_entry(&vcpu);
	assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), NMI);
	assert_int_equal(nmis_waiting(), 0);
	assert_int_equal(priv.cpu_controls, 0);
	/* An exception in between does not lose an NMI. */
	attention_latch_nmi(&vcpu);
	inject_again(&vcpu, NMI);
	inject_exception(&vcpu, VECTOR_PF, 0);
	assert_int_equal(nmis_waiting(), 2);
}

static const struct {
	uint64_t rflags, blocking;
	uint32_t event;
	bool nmi, injected;
} interrupts[] = {
	{ RFLAGS_IF, 0, 0, false, true },
	{ 0, 0, 0, false, false },
	{ RFLAGS_IF, BLOCKING_BY_STI, 0, false, false },
	{ RFLAGS_IF, BLOCKING_BY_MOV_SS, 0, false, false },
	{ RFLAGS_IF, BLOCKING_BY_NMI, 0, false, true },
	{ RFLAGS_IF, 0, HW(VECTOR_DE), false, false },
	{ RFLAGS_IF, 0, 0, true, false }, /* the NMI comes first */
};

TEST(test_interrupt)
{
	for (size_t i = 0; i < ARRAY_COUNT(interrupts); i++) {
		start();
		pending = irr = 0x61;
		vmwrite(VMCS_GUEST_RFLAGS, interrupts[i].rflags);
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, interrupts[i].blocking);
		vcpu.event.info = interrupts[i].event;
		if (interrupts[i].nmi) {
			attention_latch_nmi(&vcpu);
		}
		inject_before_entry(&vcpu);
		assert_int_equal(accepted, interrupts[i].injected ? 0x61 : -1);
		assert_int_equal((priv.cpu_controls & CPU_INTERRUPT_WINDOW_EXITING) != 0,
				 !interrupts[i].injected);
		if (interrupts[i].injected) {
			assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), EXT(0x61));
		}
		assert_int_equal(priv.timer_deadline, 4711);
	}
}

/*
 * An interrupt that was displaced by an exception is injected later, before the APIC is asked for
 * another.
 */
TEST(test_deferred_interrupt)
{
	start();
	inject_again(&vcpu, EXT(0x50));
	inject_exception(&vcpu, VECTOR_AC, 0);
	pending = 0x61;
	inject_before_entry(&vcpu);
	assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), HW_ERR(VECTOR_AC));
	assert_true((priv.cpu_controls & CPU_INTERRUPT_WINDOW_EXITING) != 0);
	inject_before_entry(&vcpu);
	assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), EXT(0x50));
	assert_int_equal(accepted, -1);
	assert_true(attention_has(&vcpu, ATTENTION_EVENTS));
}

TEST(test_virtual_delivery)
{
	start();
	fake_caps.virtual_delivery = true;
	pending = irr = 0x61;
	vmwrite(VMCS_GUEST_INTERRUPT_STATUS, 0x3020);
	inject_before_entry(&vcpu);
	assert_int_equal(vmread(VMCS_GUEST_INTERRUPT_STATUS), 0x3061);
	assert_int_equal(accepted, -1);
	irr = -1;
	inject_before_entry(&vcpu);
	assert_int_equal(vmread(VMCS_GUEST_INTERRUPT_STATUS), 0x3000);
	assert_int_equal(priv.cpu_controls, 0);
}

static const struct {
	uint8_t tpr;
	int irr;
	enum vcpu_apic_mode mode;
	uint32_t threshold;
} thresholds[] = {
	{ 0x00, -1, VCPU_APIC_X, 0 },	 { 0x00, 0x61, VCPU_APIC_X, 0 },
	{ 0x50, 0x61, VCPU_APIC_X, 0 },	 { 0x60, 0x61, VCPU_APIC_X, 6 },
	{ 0xf0, 0x61, VCPU_APIC_X2, 6 }, { 0xf0, 0x61, VCPU_APIC_OFF, 0 },
};

TEST(test_tpr_threshold)
{
	for (size_t i = 0; i < ARRAY_COUNT(thresholds); i++) {
		start();
		fake_caps.tpr_shadow = true;
		apic_page[0x80] = thresholds[i].tpr;
		irr = thresholds[i].irr;
		priv.apic_mode = thresholds[i].mode;
		inject_before_entry(&vcpu);
		assert_int_equal(vmread(VMCS_TPR_THRESHOLD), thresholds[i].threshold);
	}
}

/* Faults push RF, so that an instruction breakpoint does not hit the instruction again. */
TEST(test_faults_push_rf)
{
	static const struct {
		uint8_t vector;
		bool fault;
	} cases[] = {
		{ VECTOR_UD, true },  { VECTOR_GP, true },  { VECTOR_PF, true },
		{ VECTOR_SS, true },  { VECTOR_AC, true },  { VECTOR_DB, false },
		{ VECTOR_DF, false }, { VECTOR_MC, false }, { VECTOR_BP, false },
	};

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		start();
		inject_exception(&vcpu, cases[i].vector, 0);
		assert_int_equal(vmread(VMCS_GUEST_RFLAGS),
				 RFLAGS_IF | 2 | (cases[i].fault ? RFLAGS_RF : 0));
	}
}

/*
 * SDM, "Checks on Guest Non-Register State": the four fields must agree, whatever event is
 * injected. After an exit by #DB they did not (XSA-308).
 */
TEST(test_single_step_agrees_with_blocking)
{
	static const uint64_t blockings[] = { 0, BLOCKING_BY_STI, BLOCKING_BY_MOV_SS };

	for (unsigned i = 0; i < ARRAY_COUNT(blockings) * 8; i++) {
		uint64_t blocking = blockings[i / 8], bs = (i & 1) != 0 ? PENDING_DEBUG_BS : 0;
		bool tf = (i & 2) != 0, btf = (i & 4) != 0;

		start();
		vmwrite(VMCS_GUEST_INTERRUPTIBILITY, blocking);
		vmwrite(VMCS_GUEST_PENDING_DEBUG, bs);
		vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_IF | 2 | (tf ? RFLAGS_TF : 0));
		vmwrite(VMCS_GUEST_DEBUGCTL, btf ? DEBUGCTL_BTF : 0);
		inject_exception(&vcpu, VECTOR_DB, 0);
		inject_before_entry(&vcpu);
		assert_int_equal(vmread(VMCS_ENTRY_INTERRUPTION_INFO), HW(VECTOR_DB));
		if (blocking != 0) {
			bs = tf && !btf ? PENDING_DEBUG_BS : 0;
		}
		assert_int_equal(vmread(VMCS_GUEST_PENDING_DEBUG), bs);
	}
}

/* An injected interrupt would lose a pending single step. */
TEST(test_interrupt_waits_for_debug_exception)
{
	start();
	pending = irr = 0x61;
	vmwrite(VMCS_GUEST_PENDING_DEBUG, PENDING_DEBUG_BS);
	inject_before_entry(&vcpu);
	assert_int_equal(accepted, -1);
	assert_int_equal(priv.cpu_controls, CPU_INTERRUPT_WINDOW_EXITING);
}

TEST(test_reblock_nmi)
{
	start();
	inject_reblock_nmi(&vcpu);
	assert_int_equal(vmread(VMCS_GUEST_INTERRUPTIBILITY), BLOCKING_BY_NMI);
}
