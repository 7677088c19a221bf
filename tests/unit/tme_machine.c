/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tme_machine.h"

#include <string.h>

#include "tests/unit/fake_base.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/host/mtrr.h"

#define LOCK   BIT(0)
#define ENABLE BIT(1)
#define BYPASS BIT(31)

struct tme_machine tme_machine;

static bool flushed[CPU_MAX]; /* CPUs that have run WBINVD */
static uint64_t random_state;
static unsigned zero_lines; /* of the structure, written back as zeros */

static const struct {
	uint8_t phys_bits;
	bool pconfig;
	uint64_t capability, activate, partition; /* partition 0: the register does not exist */
} profiles[] = {
	[1] = { 39, false, 0, 0, 0 },
	[2] = { 39, false, 0x0000000000000001, 0x0000000000000003, 0 },
	[3] = { 52, true, 0x000003F680000001, 0x0001000600000003, 0 },
	[4] = { 46, true, 0x000000F480000004, 0x0004000400000023, 0 },
	[5] = { 52, true, 0x000007F780000005, 0x0004000700000023, 0 },
	[6] = { 52, true, 0x000003F68000000F, 0x0001001680000003, 0x000000200000001F },
	[7] = { 52, true, 0x000003F68000000F, 0x0001006680000003, 0x0000003F00000000 },
	[8] = { 52, true, 0x000003F680000005, 0x0005000680000003, 0 },
	[9] = { 52, true, 0x000003F680000005, 0x0000000000000001, 0 },
	[10] = { 52, true, 0x000003F680000005, 0x0000000000000003, 0 },
	[11] = { 52, true, 0x0000028680000001, 0x0001000600000003, 0 },
	[12] = { 52, true, 0x000003F680000005, 0, 0 },
};

static unsigned this_cpu(void)
{
	return percpu_fake_self()->index;
}

static unsigned package_index(unsigned cpu)
{
	return cpu * tme_machine.package_count / percpu_count();
}

static struct tme_package *this_package(void)
{
	return &tme_machine.package[package_index(this_cpu())];
}

void tme_machine_set(unsigned profile, unsigned cpus, unsigned packages)
{
	fake_set_cpu_count(cpus);
	memset(&tme_machine, 0, sizeof(tme_machine));
	memset(flushed, 0, sizeof(flushed));
	random_state = zero_lines = 0;
	tme_machine.phys_bits = profiles[profile].phys_bits;
	tme_machine.tme = profile != 1;
	tme_machine.pconfig = profiles[profile].pconfig;
	tme_machine.targets[0][0] = tme_machine.pconfig;
	tme_machine.targets[0][1] = 2;
	tme_machine.targets[0][2] = 1;
	tme_machine.package_count = packages;
	tme_machine.package_shift = 8;
	for (unsigned i = 0; i < packages; i++) {
		struct tme_package *p = &tme_machine.package[i];

		p->capability = profiles[profile].capability;
		p->activate = profiles[profile].activate;
		p->partition = profiles[profile].partition;
		p->has_partition = p->partition != 0;
	}
}

void tme_machine_activate(uint64_t value)
{
	for (unsigned i = 0; i < tme_machine.package_count; i++) {
		tme_machine.package[i].activate = value;
	}
}

/* --- CPUID --- */

static struct cpuid_regs topology(uint32_t subleaf)
{
	const unsigned cpu = this_cpu();
	struct cpuid_regs r = { 0, 1, subleaf, cpu | package_index(cpu) << 8 };

	if (subleaf == 0) {
		r.ecx |= 1 << 8;
	} else if (subleaf == 1) {
		r.eax = tme_machine.package_shift;
		r.ecx |= 2 << 8;
	}
	return r;
}

struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
	const struct tme_machine *m = &tme_machine;

	switch (leaf) {
	case 0: return (struct cpuid_regs){ .eax = 0x1f };
	case 1: return (struct cpuid_regs){ .ecx = (uint32_t)m->hypervisor << 31 };
	case 7:
		return (struct cpuid_regs){ .ecx = (uint32_t)m->tme << 13,
					    .edx = (uint32_t)m->pconfig << 18 };
	case 0x1b:
		return subleaf < 4 ? (struct cpuid_regs){ m->targets[subleaf][0],
							  m->targets[subleaf][1],
							  m->targets[subleaf][2],
							  m->targets[subleaf][3] }
				   : (struct cpuid_regs){ 0 };
	case 0x1f: return topology(subleaf);
	case 0x80000000: return (struct cpuid_regs){ .eax = 0x80000008 };
	case 0x80000008:
		return (struct cpuid_regs){ .eax = m->phys_bits -
						   package_index(this_cpu()) * m->phys_bits_less };
	default: return (struct cpuid_regs){ 0 };
	}
}

/* --- Registers --- */

static unsigned keyid_bits(uint64_t activate)
{
	return activate >> 32 & 15;
}

static uint64_t *find(uint32_t msr)
{
	struct tme_package *p = this_package();

	switch (msr) {
	case 0x981: return &p->capability;
	case 0x982: return &p->activate;
	case 0x983: return &p->exclude_mask;
	case 0x984: return &p->exclude_base;
	default: return NULL;
	}
}

int msr_read_safe(uint32_t msr, uint64_t *value)
{
	uint64_t *reg = find(msr);

	*value = 0;
	if (msr == 0x87) {
		*value = this_package()->partition;
		return this_package()->has_partition ? 0 : ERR_NOTFOUND;
	}
	if (reg == NULL || tme_machine.registers_missing) {
		return ERR_NOTFOUND;
	}
	if (!tme_machine.tme) {
		fake_fail("MSR %x is read, and CPUID does not show it", msr);
	}
	tme_machine.tme_reads++;
	*value = *reg;
	return 0;
}

uint64_t fake_rdmsr(uint32_t msr)
{
	uint64_t value;

	if (msr_read_safe(msr, &value) != 0) {
		fake_fail("RDMSR %x faults", msr);
	}
	return value;
}

void fake_wrmsr(uint32_t msr, uint64_t value)
{
	fake_fail("MSR %x is written, and a fault would not be caught", msr);
}

/* Bits that WRMSR refuses (336907, "IA32_TME_ACTIVATE"). */
static bool reserved(const struct tme_package *p, uint64_t v)
{
	const unsigned k = keyid_bits(v), policy = v >> 4 & 15;
	const uint64_t capability = p->capability;

	return (v & MASK(30, 8)) != 0 || (v & MASK(47, 40)) != 0 ||
	       ((v & BYPASS) != 0 && (capability & BYPASS) == 0) ||
	       ((v & ENABLE) != 0 &&
		((capability >> policy & 1) == 0 || policy > 3 || policy % 2 == 1)) ||
	       k > (capability >> 32 & 15) || (k != 0 && (v & ENABLE) == 0) || (v >> 36 & 15) > k ||
	       (v >> 48 & ~(capability & 15)) != 0;
}

static bool was_flushed(void)
{
	for (unsigned i = 0; i < percpu_count(); i++) {
		if (package_index(i) == package_index(this_cpu()) && flushed[i]) {
			return true;
		}
	}
	return false;
}

static int write_activate(struct tme_package *p, uint64_t v)
{
	if ((p->activate & LOCK) != 0) {
		return tme_machine.ignore_locked_write ? 0 : ERR_NOTFOUND;
	}
	if (reserved(p, v)) {
		return ERR_NOTFOUND;
	}
	if ((v & (ENABLE | BYPASS)) == ENABLE) {
		fake_fail("KeyID 0 is encrypted while code runs in DRAM");
	}
	if (p->activate_fails != 0) {
		p->activate_fails--;
		return 0;
	}
	p->written_flushed = was_flushed();
	p->activate = v | LOCK;
	return 0;
}

int msr_write_safe(uint32_t msr, uint64_t value)
{
	struct tme_package *p = this_package();

	if (msr == 0x982 && tme_machine.tme) {
		return write_activate(p, value);
	}
	if (msr == 0x9ff && tme_machine.tme && value == 0 &&
	    tme_machine.core_refuses != this_cpu() + 1) {
		tme_machine.core_active[this_cpu()] = (p->activate & LOCK) != 0;
		return 0;
	}
	return ERR_NOTFOUND;
}

void fake_wbinvd(void)
{
	flushed[this_cpu()] = true;
	fake_tsc += TME_MACHINE_WBINVD_TICKS;
}

/* test_tme defines its own MTRRs. */
__attribute__((weak)) bool mtrr_free_bits(uint64_t bits)
{
	return true;
}

__attribute__((weak)) bool mtrr_match_this_cpu(void)
{
	return false;
}

/* --- PCONFIG --- */

struct structure {
	uint16_t keyid;
	uint8_t command;
	uint16_t algorithm;
	uint8_t zero;
	uint8_t ignored[58];
	uint8_t data[64], tweak[64], not_read[64];
} __attribute__((packed));

static bool faults(const struct tme_package *p, uint32_t leaf, const struct structure *s)
{
	const unsigned k = keyid_bits(p->activate), tdx = p->activate >> 36 & 15;
	const uint16_t algorithm = s->algorithm;

	return p->broken || leaf != 0 || (p->activate & (LOCK | ENABLE)) != (LOCK | ENABLE) ||
	       k == 0 || (uintptr_t)s % 256 != 0 || s->zero != 0 || s->command > 3 ||
	       s->keyid == 0 || s->keyid > (p->capability >> 36 & 0x7fff) ||
	       s->keyid >> (k - tdx) != 0 || algorithm == 0 || (algorithm & (algorithm - 1)) != 0 ||
	       (algorithm & ~(p->activate >> 48)) != 0;
}

static void perform(struct tme_package *p, const struct structure *s)
{
	struct tme_entry *e = &p->table[s->keyid];

	e->programmed++;
	e->algorithm = s->algorithm;
	e->mode = s->command == 3 ? ENTRY_CLEAR : s->command == 2 ? ENTRY_TME : ENTRY_KEY;
	memcpy(e->data, s->data, sizeof(e->data));
	memcpy(e->tweak, s->tweak, sizeof(e->tweak));
	for (unsigned i = 0; s->command == 1 && i < sizeof(e->data); i++) {
		random_state = random_state * 6364136223846793005ul + 1442695040888963407ul;
		e->data[i] ^= (uint8_t)(random_state >> 40);
		e->tweak[i] ^= (uint8_t)(random_state >> 48);
	}
}

int pconfig_safe(uint32_t leaf, const void *structure, uint64_t *result, bool *refused)
{
	struct tme_package *p = this_package();

	if (!tme_machine.pconfig) {
		fake_fail("PCONFIG is executed, and CPUID does not show it");
	}
	tme_machine.pconfigs++;
	tme_machine.structure = structure;
	zero_lines = 0;
	*result = 0;
	*refused = true;
	if (faults(p, leaf, structure)) {
		return ERR_NOTFOUND;
	}
	if (p->busy != 0) {
		p->busy--;
		*result = 5;
		return 0;
	}
	if (p->no_entropy != 0) {
		p->no_entropy--;
		*result = 2;
		return 0;
	}
	*refused = p->zf_alone;
	*result = p->legacy_code;
	if (p->legacy_code == 0 && !p->zf_alone) {
		perform(p, structure);
	}
	return 0;
}

static bool all_zero(const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (bytes[i] != 0) {
			return false;
		}
	}
	return true;
}

void fake_clflush(const void *address)
{
	const uint64_t offset = (uintptr_t)address - (uintptr_t)tme_machine.structure;

	if (tme_machine.structure != NULL && offset < 256) {
		zero_lines += all_zero(address, 64);
	}
}

void tme_machine_check_wiped(void)
{
	if (tme_machine.structure == NULL || !all_zero(tme_machine.structure, 256)) {
		fake_fail("the structure of PCONFIG holds something still");
	}
	if (zero_lines < 4) {
		fake_fail("the structure of PCONFIG was not flushed after it was wiped");
	}
}
