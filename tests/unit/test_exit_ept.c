/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/exit_ept.c: which exits are repaired, emulated, tried again, injected into the guest, or end
 * the VM.
 */
#include "tests/unit/test.h"
#include "tests/unit/fake_vm.h"
#include "vmm/apic_page.h"
#include "vmm/attention.h"
#include "vmm/device_access.h"
#include "vmm/base/x86.h"
#include "vmm/emul.h"
#include "vmm/exits.h"
#include "vmm/inject.h"
#include "vmm/rip.h"
#include "vmm/vcpu_dump.h"
#include "vmm/vcpu_priv.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"
#include "vmm/vmx_insn.h"

static struct vm vm;
static struct vm_hooks hooks;
static struct vcpu vcpu;
static struct vcpu_private priv;
static enum gmem_fault_result memory;
static enum emul_outcome outcome;
static struct emul_access asked;
static bool page_comes;
static char did[64], detail[VM_DETAIL_MAX];
static uint64_t place; /* place of the last fault */

static void note(const char *what)
{
	strcat(did, what);
}

static unsigned memory_asked;

enum gmem_fault_result gmem_fault(struct gmem *gmem, gpa_t at, unsigned access,
				  const struct gmem_faulter *by)
{
	memory_asked++;
	place = by->place;
	return memory;
}

static uint8_t fault_vector;

enum emul_outcome emul_mmio(struct vcpu *v, const struct emul_access *access, uint8_t *length,
			    struct gwalk_fault *fault)
{
	asked = *access;
	*length = 3;
	*fault = (struct gwalk_fault){ fault_vector, 6, 0x1234 };
	note("emul ");
	return outcome;
}

bool apic_page_map(struct vm *v, enum vcpu_apic_mode mode)
{
	note("page ");
	return page_comes;
}

static struct iobus_range device;
static unsigned lookups;

const struct iobus_range *iobus_memory_range(const struct iobus *bus, uint64_t address)
{
	lookups++;
	return address - device.base < device.length ? &device : NULL;
}

void iobus_memory_access(const struct iobus *bus, uint64_t address, struct vcpu *v,
			 struct io_access *access)
{
	access->value = 0x0b; /* the access went through the bus */
}

static bool nobody_there;

bool hole_open(struct vcpu *v, gpa_t at)
{
	note("hole ");
	return nobody_there;
}

void emul_log(struct vcpu *v, gpa_t at)
{
	note("log ");
}

void rip_skip(uint64_t length)
{
	assert_int_equal(length, 3);
	note("skip ");
}

void rip_next_round(void)
{
	note("round ");
}

void inject_page_fault(struct vcpu *v, uint32_t error_code, uint64_t cr2)
{
	assert_int_equal(cr2, 0x1234);
	note("#PF ");
}

static uint64_t injected; /* the last event: vector, with the error code above it */

void inject_exception(struct vcpu *v, uint8_t vector, uint32_t error_code)
{
	injected = vector | (uint64_t)error_code << 32;
	note("exception ");
}

void inject_reblock_nmi(struct vcpu *v)
{
	note("reblock ");
}

void vcpu_dump(const struct vcpu *v)
{
}

void vm_end(struct vm *v, enum vm_end_reason reason, const char *text)
{
	note(reason == VM_END_NO_MEMORY ? "no memory " : "end ");
	strcpy(detail, text == NULL ? "" : text);
}

static void eoi_highest(struct vcpu *v)
{
	note("EOI ");
}

#define DATA (EPTV_GLA_VALID | EPTV_FINAL)
#define APIC 0xfee00000ul

static const struct {
	uint64_t why, at;
	enum gmem_fault_result memory;
	enum emul_outcome outcome;
	uint32_t event;
	bool page;
	const char *did;
} violations[] = {
	{ DATA | EPTV_READ, 0x1000, GMEM_FAULT_FIXED, 0, 0, false, "" },
	{ DATA | EPTV_READ, 0x1000, GMEM_FAULT_NO_MEMORY, 0, 0, false, "no memory " },
	{ DATA | EPTV_READ, 0x1000, GMEM_FAULT_TAMPERED, 0, 0, false, "" },
	{ DATA | EPTV_READ, 0xfec00000, GMEM_FAULT_MMIO, EMUL_DONE, 0, false, "emul skip " },
	{ DATA | EPTV_WRITE, 0xfec00000, GMEM_FAULT_MMIO, EMUL_AGAIN, 0, false, "emul round " },
	{ DATA | EPTV_READ, 0xfec00000, GMEM_FAULT_MMIO, EMUL_RETRY, 0, false, "emul hole " },
	{ DATA | EPTV_READ, 0xfec00000, GMEM_FAULT_MMIO, EMUL_FAULTED, 0, false, "emul #PF " },
	{ DATA | EPTV_READ, 0xfec00000, GMEM_FAULT_MMIO, EMUL_UNKNOWN, 0, false,
	  "emul hole log exception " },
	{ DATA | EPTV_FETCH, 0xfec00000, GMEM_FAULT_MMIO, 0, 0, false, "hole log exception " },
	{ EPTV_GLA_VALID | EPTV_READ, 0xfec00000, GMEM_FAULT_MMIO, 0, 0, false,
	  "hole log exception " },
	{ DATA | EPTV_READ, 0xfec00000, GMEM_FAULT_MMIO, 0, EVENT_VALID, false,
	  "hole log exception " },
	{ DATA | EPTV_READ, APIC + 0x20, GMEM_FAULT_MMIO, EMUL_DONE, 0, true, "page " },
	{ DATA | EPTV_READ, APIC + 0x20, GMEM_FAULT_MMIO, EMUL_DONE, 0, false, "page emul skip " },
	{ DATA | EPTV_READ | EPTV_NMI_UNBLOCKING, 0x1000, GMEM_FAULT_FIXED, 0, 0, false,
	  "reblock " },
	{ DATA | EPTV_READ | EPTV_NMI_UNBLOCKING, 0x1000, GMEM_FAULT_FIXED, 0, EVENT_VALID, false,
	  "" },
};

static int setup(void **state)
{
	fake_setup(state);
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&priv, 0, sizeof(priv));
	memory_asked = lookups = 0;
	hooks.eoi_highest = eoi_highest;
	vm.hooks = &hooks;
	vcpu.vm = &vm;
	vcpu.priv = &priv;
	fake_caps.vpid = true;
	fake_invvpids = 0;
	did[0] = detail[0] = '\0';
	nobody_there = false;
	fault_vector = VECTOR_PF;
	injected = 0;
	vm.odd_access.only = false;
	return 0;
}

TEST(test_violations, setup)
{
	for (size_t i = 0; i < ARRAY_COUNT(violations); i++) {
		setup(state);
		memory = violations[i].memory;
		outcome = violations[i].outcome;
		page_comes = violations[i].page;
		vcpu.event.info = violations[i].event;
		vmwrite(VMCS_EXIT_QUALIFICATION, violations[i].why);
		vmwrite(VMCS_GUEST_PHYSICAL_ADDRESS, violations[i].at);
		assert_int_equal(exit_ept_violation(&vcpu), EXIT_RESUME);
		if (strcmp(did, violations[i].did) != 0) {
			fail_msg("row %zu: %s", i, did);
		}
		if (strstr(did, "emul") != NULL) {
			assert_int_equal(asked.gpa.v, violations[i].at);
			assert_int_equal(asked.kind, violations[i].why & 7);
			assert_true(asked.linear_known);
			/* An instruction that is tried again is translated again. */
			assert_int_equal(fake_invvpids, outcome == EMUL_RETRY);
		}
	}
}

/* At an address without a device the CPU completes the access: no fault, no log line. */
TEST(test_address_without_device, setup)
{
	static const struct {
		uint64_t why;
		enum emul_outcome outcome;
		uint32_t event;
		const char *did;
	} rows[] = {
		{ DATA | EPTV_READ, EMUL_DONE, 0, "emul skip " },
		{ DATA | EPTV_WRITE, EMUL_UNKNOWN, 0, "emul hole " },
		{ DATA | EPTV_WRITE, EMUL_RETRY, 0, "emul hole " },
		{ DATA | EPTV_FETCH, 0, 0, "hole " },
		{ EPTV_GLA_VALID | EPTV_READ, 0, 0, "hole " },
		{ EPTV_READ, 0, 0, "hole " },
		{ DATA | EPTV_READ, 0, EVENT_VALID, "hole " },
	};

	nobody_there = true;
	memory = GMEM_FAULT_MMIO;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		did[0] = '\0';
		fake_invvpids = 0;
		outcome = rows[i].outcome;
		vcpu.event.info = rows[i].event;
		vmwrite(VMCS_EXIT_QUALIFICATION, rows[i].why);
		vmwrite(VMCS_GUEST_PHYSICAL_ADDRESS, 0xd0000000);
		assert_int_equal(exit_ept_violation(&vcpu), EXIT_RESUME);
		assert_string_equal(did, rows[i].did);
		assert_int_equal(fake_invvpids, 0);
	}
}

/*
 * A guest that repeats this cannot fill the log. The reason for an end is not cut, even with the
 * longest address.
 */
TEST(test_words, setup)
{
	memory = GMEM_FAULT_MMIO;
	outcome = EMUL_UNKNOWN;
	vmwrite(VMCS_EXIT_QUALIFICATION, DATA | EPTV_READ);
	vmwrite(VMCS_GUEST_PHYSICAL_ADDRESS, 0xfedcba9876543210);
	(void)exit_ept_violation(&vcpu);
	(void)exit_ept_violation(&vcpu);
	assert_string_equal(did, "emul hole log exception emul hole exception ");
	(void)exit_ept_misconfig(&vcpu);
	assert_string_equal(detail, "malformed EPT entry at guest-physical 0xfedcba9876543210");
}

TEST(test_apic_access, setup)
{
	outcome = EMUL_DONE;
	vmwrite(VMCS_EXIT_QUALIFICATION, 0x80 | APICQ_LINEAR_READ << 12);
	assert_int_equal(exit_apic_access(&vcpu), EXIT_RESUME);
	assert_int_equal(asked.gpa.v, APIC + 0x80);
	assert_int_equal(asked.kind, GMEM_ACCESS_READ);
	assert_false(asked.linear_known);
	vmwrite(VMCS_EXIT_QUALIFICATION, 0x80 | APICQ_LINEAR_WRITE << 12);
	assert_int_equal(exit_apic_access(&vcpu), EXIT_RESUME);
	assert_int_equal(asked.kind, GMEM_ACCESS_WRITE);
	vmwrite(VMCS_EXIT_QUALIFICATION, APIC_OFFSET_EOI | APICQ_LINEAR_WRITE << 12);
	assert_int_equal(exit_apic_access(&vcpu), EXIT_NEXT_INSN);
	vmwrite(VMCS_EXIT_QUALIFICATION, 0x80 | 2 << 12); /* an instruction fetch */
	assert_int_equal(exit_apic_access(&vcpu), EXIT_RESUME);
	assert_string_equal(did, "emul skip emul skip EOI hole log exception ");
	/* Event delivery writes there: no EOI. */
	did[0] = '\0';
	vcpu.event.info = EVENT_VALID;
	vmwrite(VMCS_EXIT_QUALIFICATION, APIC_OFFSET_EOI | APICQ_LINEAR_WRITE << 12);
	assert_int_equal(exit_apic_access(&vcpu), EXIT_RESUME);
	assert_string_equal(did, "hole exception ");
}

/* A vCPU made progress if RIP or the registers of a string instruction changed; else it did not. */
TEST(test_places, setup)
{
	static const unsigned counted[] = { GPR_RCX, GPR_RSI, GPR_RDI };
	uint64_t before;

	memory = GMEM_FAULT_FIXED;
	vmwrite(VMCS_EXIT_QUALIFICATION, DATA | EPTV_READ);
	vmwrite(VMCS_GUEST_PHYSICAL_ADDRESS, 0x1000);
	vmwrite(VMCS_GUEST_RIP, 0x5000);
	(void)exit_ept_violation(&vcpu);
	for (size_t i = 0; i < ARRAY_COUNT(counted); i++) {
		before = place;
		(void)exit_ept_violation(&vcpu);
		assert_int_equal(place, before);
		vcpu.regs.gpr[counted[i]]++;
		(void)exit_ept_violation(&vcpu);
		assert_int_not_equal(place, before);
	}
	before = place;
	vmwrite(VMCS_GUEST_RIP, 0x5001);
	(void)exit_ept_violation(&vcpu);
	assert_int_not_equal(place, before);
}

/*
 * Memory is not asked for the last device's range, in which RAM never lies. It is asked again at an
 * address that had neither RAM nor a device: a guest may have placed a share there since.
 */
TEST(test_memory_is_asked_except_at_the_last_device, setup)
{
	static const struct {
		uint64_t why, at;
		enum gmem_fault_result memory;
		unsigned asked;
	} rows[] = {
		{ DATA | EPTV_READ, 0xfec00000, GMEM_FAULT_MMIO, 0 },
		{ DATA | EPTV_WRITE, 0xfec0000f, GMEM_FAULT_MMIO, 0 },
		{ DATA | EPTV_READ, 0xfec00010, GMEM_FAULT_MMIO, 1 }, /* behind it */
		{ DATA | EPTV_FETCH, 0xfec00000, GMEM_FAULT_MMIO, 2 },
		{ EPTV_GLA_VALID | EPTV_READ, 0xfec00000, GMEM_FAULT_MMIO, 3 },
		{ DATA | EPTV_READ, 0x100000000, GMEM_FAULT_MMIO, 4 },
		{ DATA | EPTV_READ, 0x100000000, GMEM_FAULT_MMIO, 5 },
		{ DATA | EPTV_WRITE, 0x100000000, GMEM_FAULT_FIXED, 6 },
		{ DATA | EPTV_READ, APIC, GMEM_FAULT_MMIO, 7 },
		{ DATA | EPTV_READ, APIC, GMEM_FAULT_MMIO, 8 },
	};

	outcome = EMUL_DONE;
	device = (struct iobus_range){ .base = 0xfec00000, .length = 16 };
	priv.device_range = &device;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		memory = rows[i].memory;
		asked.kind = 0;
		did[0] = '\0';
		vmwrite(VMCS_EXIT_QUALIFICATION, rows[i].why);
		vmwrite(VMCS_GUEST_PHYSICAL_ADDRESS, rows[i].at);
		assert_int_equal(exit_ept_violation(&vcpu), EXIT_RESUME);
		assert_int_equal(memory_asked, rows[i].asked);
		if (strstr(did, "emul") != NULL) {
			assert_int_equal(asked.gpa.v, rows[i].at);
			assert_int_equal(asked.kind, rows[i].why & 7);
		}
	}
}

static void answer(void *unused, struct vcpu *v, struct io_access *access)
{
	access->value = 0xde000000 + access->offset;
}

/*
 * The last device that answered is not looked up again; an access that does not lie wholly in it
 * goes to the bus.
 */
TEST(test_device_is_kept, setup)
{
	static const struct io_ops ops = { .access = answer };
	static const struct {
		uint64_t at;
		unsigned size;
		uint64_t value;
		unsigned lookups;
	} rows[] = {
		{ 0xfec0000c, 4, 0x0b, 1 },	  /* found through the bus */
		{ 0xfec0000c, 4, 0xde00000c, 1 }, /* cached */
		{ 0xfec0000d, 4, 0x0b, 2 },	  /* crosses its end */
		{ 0xfec00010, 1, 0x0b, 3 },	  /* behind it: no device */
		{ 0xfebfffff, 1, 0x0b, 4 },
		{ 0xfec00000, 8, 0xde000000, 4 }, /* and still cached */
	};

	device = (struct iobus_range){ .base = 0xfec00000, .length = 16, .ops = &ops };
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		struct io_access access = { .size = rows[i].size };

		vcpu_device_access(&vcpu, gpa(rows[i].at), &access);
		assert_int_equal(access.value, rows[i].value);
		assert_int_equal(lookups, rows[i].lookups);
	}
}

/* Faults of the instruction itself are injected unchanged. */
TEST(test_other_faults, setup)
{
	memory = GMEM_FAULT_MMIO;
	outcome = EMUL_FAULTED;
	fault_vector = VECTOR_SS;
	vmwrite(VMCS_EXIT_QUALIFICATION, DATA | EPTV_READ);
	vmwrite(VMCS_GUEST_PHYSICAL_ADDRESS, 0xfec00000);
	assert_int_equal(exit_ept_violation(&vcpu), EXIT_RESUME);
	assert_string_equal(did, "emul exception ");
	assert_int_equal(injected, VECTOR_SS | 6ul << 32);
}

/* #GP(0), and one log line for each VM, whatever its page walk or its stores do. */
TEST(test_read_only_memory, setup)
{
	vm.wrote_read_only.only = false;
	memory = GMEM_FAULT_RIGHTS;
	vmwrite(VMCS_GUEST_PHYSICAL_ADDRESS, 0x100001000);
	for (unsigned i = 0; i < 3; i++) {
		vmwrite(VMCS_EXIT_QUALIFICATION, (i == 0 ? EPTV_GLA_VALID : DATA) | EPTV_WRITE);
		injected = 0;
		assert_int_equal(exit_ept_violation(&vcpu), EXIT_RESUME);
		assert_int_equal(injected, VECTOR_GP);
	}
	assert_string_equal(did, "exception exception exception ");
	assert_non_null(strstr(fake_log_text(), "wrote to guest-physical 0x100001000, which it"));
	assert_string_equal(strchr(fake_log_text(), '\n'), "\n"); /* one line */
}

static void on_apic(struct vcpu *v, struct io_access *access)
{
	access->value = access->offset;
}

/* The page of the local APIC belongs to the vCPU, and is never cached as a device. */
TEST(test_apic_page, setup)
{
	struct io_access access = { .size = 4 };

	hooks.apic_access = on_apic;
	vcpu_device_access(&vcpu, gpa(APIC + 0x320), &access);
	assert_int_equal(access.value, 0x320);
	assert_true(attention_has(&vcpu, ATTENTION_EVENTS));
	assert_null(priv.device_range);
	assert_int_equal(lookups, 0);
}
