/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switches TME-MK on where firmware left IA32_TME_ACTIVATE open. All content of DRAM was written in
 * clear, this code included, and would be lost if KeyID 0 became encrypted. So this is only done
 * with bypass, which leaves KeyID 0 in clear and encrypts the other KeyIDs.
 */
#include "crypto/tme_priv.h"

#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/smp.h"

#define MSR_CORE_MKTME_ACTIVATION 0x9ffu
#define TRIES			  10u /* the CPU's generator may have no entropy at first */

/*
 * What the CPUs must write, and what happened. wanted is set before smp_call_all, the others are
 * read after it.
 */
static uint64_t wanted;
static bool open[CPU_MAX];    /* the register was not locked after this CPU's last write */
static bool refused[CPU_MAX]; /* the register has another value than wanted, or 9FFH was refused */

/* What holds on every CPU. */
struct common {
	uint64_t capability; /* the bits that all CPUs have; its KeyID fields are not valid */
	uint8_t keyid_bits, phys_bits;
	bool pconfig;
};

static struct common look(void)
{
	struct common c = { .capability = ~0ul, .keyid_bits = 15, .pconfig = true };

	c.phys_bits = tme_view(0)->phys_bits;
	for (uint32_t i = 0; i < percpu_count(); i++) {
		const struct tme_view *v = tme_view(i);

		c.capability &= v->capability;
		if (CAP_MAX_KEYS(v->capability) == 0) {
			c.keyid_bits = 0;
		} else if (CAP_KEYID_BITS(v->capability) < c.keyid_bits) {
			c.keyid_bits = CAP_KEYID_BITS(v->capability);
		}
		c.pconfig &= v->pconfig;
	}
	return c;
}

/* The largest number of KeyID bits that lie above all RAM and devices. */
static uint8_t fit(const struct common *c, uint64_t end)
{
	uint8_t bits = c->keyid_bits;

	while (bits != 0 && BIT(c->phys_bits - bits) < end) {
		bits--;
	}
	return bits;
}

static const char *why_not(const struct common *c, bool all_packages, uint64_t end)
{
	if (c->keyid_bits == 0) {
		return "this CPU has no KeyIDs";
	}
	if ((c->capability & CAP_BYPASS) == 0) {
		return "this CPU has no bypass, and without it all that DRAM holds would be lost";
	}
	if (!c->pconfig) {
		return "this CPU has no PCONFIG for TME-MK, so no key could be set";
	}
	if ((c->capability & ALGS_PLAIN) == 0) {
		return "this CPU has algorithms with integrity alone, which Umbra does not use";
	}
	if (!all_packages) {
		return "a package has no started CPU, and may have memory";
	}
	if (fit(c, end) == 0) {
		return "RAM or a device lies where KeyIDs would have their bits";
	}
	return NULL;
}

/*
 * The policy is an index of an algorithm. It has no effect with bypass, but must name one that
 * exists.
 */
static uint64_t activate_value(const struct common *c, uint64_t end)
{
	const uint64_t policy = (c->capability & ALG_XTS_256) != 0 ? 2 : 0;

	return ACTIVATE_ENABLE | ACTIVATE_BYPASS | policy << ACTIVATE_POLICY_SHIFT |
	       (uint64_t)fit(c, end) << ACTIVATE_KEYID_SHIFT |
	       (c->capability & ALGS_PLAIN) << ACTIVATE_ALGS_SHIFT;
}

static void flush(void *unused)
{
	cpu_wbinvd();
}

/*
 * Runs on every CPU; only the first of each package writes. A package without entropy leaves the
 * register as it was, unlocked. The first SMI locks it, so the code reads the register back.
 */
static void write_package(void *unused)
{
	const uint32_t cpu = percpu_self()->index;
	uint64_t value = 0;

	if (!tme_leads_package(cpu)) {
		return;
	}
	for (unsigned i = 0; i < TRIES && (value & ACTIVATE_LOCK) == 0; i++) {
		(void)msr_write_safe(MSR_IA32_TME_ACTIVATE, wanted);
		(void)msr_read_safe(MSR_IA32_TME_ACTIVATE, &value);
	}
	open[cpu] = (value & ACTIVATE_LOCK) == 0;
	refused[cpu] = value != (wanted | ACTIVATE_LOCK);
}

/*
 * Makes each core take over the KeyID width from its package. Every thread writes the register,
 * although a core needs one write: the second has no effect, and no core is left out where CPUID
 * reports cores as threads.
 */
static void write_core(void *unused)
{
	refused[percpu_self()->index] = msr_write_safe(MSR_CORE_MKTME_ACTIVATION, 0) != 0;
}

static bool any(const bool flags[CPU_MAX])
{
	for (uint32_t i = 0; i < percpu_count(); i++) {
		if (flags[i]) {
			return true;
		}
	}
	return false;
}

const char *tme_activate(bool dry, bool all_packages, uint64_t ram_and_mmio_end, bool *written)
{
	const struct common c = look();
	const char *why = why_not(&c, all_packages, ram_and_mmio_end);

	*written = false;
	if (why != NULL || dry) {
		return why;
	}
	wanted = activate_value(&c, ram_and_mmio_end);
	*written = true;
	log_info("memory encryption: Umbra switches TME-MK on now, with bypass: under KeyID 0 DRAM "
		 "stays as it is");
	smp_call_all(flush, NULL);
	smp_call_all(write_package, NULL);
	if (any(open)) {
		return "the CPU's generator gave no key, time after time";
	}
	if (any(refused)) {
		return "the register did not take the value";
	}
	smp_call_all(write_core, NULL);
	return any(refused) ? "a core refused to take over the width of the KeyID" : NULL;
}
