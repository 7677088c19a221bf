/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firmware normally locks IA32_TME_ACTIVATE before Umbra runs; its value then holds until reset. So
 * this file compares what all CPUs report (tme_view.c). One table below decides what follows.
 */
#include "crypto/tme.h"

#include "crypto/tme_priv.h"
#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/mtrr.h"
#include "vmm/host/smp.h"

#define EXCLUDE_ENABLE BIT(11)

static struct tme_state decided;

const struct tme_state *tme_state(void)
{
	return &decided;
}

/* --- The decision --- */

/* Facts about the machine. Each is set only if it holds on every CPU. */
enum {
	SAME = 1 << 0,	  /* the CPUs agree on m and k, and on what is enabled and locked */
	PRESENT = 1 << 1, /* CPUID shows TME, and its registers can be read */
	LOCKED = 1 << 2,
	ENABLED = 1 << 3,
	ENCRYPTED = 1 << 4,  /* KeyID 0 is encrypted: locked, enabled, and no bypass */
	CAN_KEYIDS = 1 << 5, /* the CPU has KeyIDs and can hold keys for them */
	KEYID_BITS = 1 << 6, /* firmware gave address bits to KeyIDs */
	SHARED = 1 << 7,     /* TDX has left some KeyIDs to us */
	PCONFIG = 1 << 8,    /* the CPU has PCONFIG for TME-MK */
	ALGORITHM = 1 << 9,  /* firmware allows an algorithm that Umbra knows */
	PLAIN = 1 << 10,     /* firmware allows a known algorithm without integrity */
	BELOW = 1 << 11,     /* no RAM and no device has an address with KeyID bits */
	COMPLETE = 1 << 12,  /* each package has a started CPU */
	CORES = 1 << 13,     /* each core knows the width of a KeyID */
	FEW = 1 << 14,	     /* there are at most TME_PACKAGE_MAX packages */
	NEAR = 1 << 15,	     /* all RAM is near a package with a started CPU */
};

/* What the registers do not show. */
struct around {
	uint64_t end; /* above all RAM and devices */
	bool complete, cores, near;
};

/*
 * The decision table, rows 1 to 8. The first row with facts & mask == value decides. If it gives no
 * KeyIDs, memory is under one key if ENCRYPTED is set, and otherwise in clear. Rows 9 and 10 are
 * handled elsewhere: keyslot_take refuses when more VMs than KeyIDs want one, and boot/ram.c leaves
 * out RAM that firmware does not mark as encryptable.
 */
static const struct row {
	uint8_t number;
	uint16_t mask, value;
	bool keyids;
	enum log_level level;
	const char *words;
} rows[] = {
	{ 8, SAME, 0, false, LOG_WARN,
	  "the CPUs differ in their registers of TME, so no KeyID is used" },
	{ 1, PRESENT, 0, false, LOG_INFO, "this CPU has no TME, or a hypervisor hides it" },
	{ 2, LOCKED, 0, false, LOG_INFO, "TME is off, and firmware left its register open" },
	{ 5, ENABLED, 0, false, LOG_INFO,
	  "TME is off, and firmware locked it so: look for \"Total Memory Encryption (TME)\" in "
	  "firmware's set-up" },
	{ 4, CAN_KEYIDS, 0, false, LOG_INFO, "TME is on; this CPU has no KeyIDs" },
	{ 4, KEYID_BITS, 0, false, LOG_INFO,
	  "TME is on, without KeyIDs: look for \"TME-MT\" or \"Memory Encryption: Multiple Keys\" "
	  "in firmware's set-up" },
	{ 6, SHARED, 0, false, LOG_INFO,
	  "TME-MK is on, and TDX has all KeyIDs: look for \"TME-MT/TDX Key Split\" in firmware's "
	  "set-up" },
	{ 4, PCONFIG, 0, false, LOG_INFO,
	  "TME-MK is on, but this CPU has no PCONFIG for it, so no key can be set" },
	{ 4, ALGORITHM, 0, false, LOG_INFO,
	  "TME-MK is on, but firmware allows no algorithm that Umbra knows" },
	{ 4, PLAIN, 0, false, LOG_WARN,
	  "TME-MK is on, but firmware allows algorithms with integrity alone, which Umbra does not "
	  "use: look for \"Integrity\" in firmware's set-up" },
	{ 4, BELOW, 0, false, LOG_WARN,
	  "TME-MK is on, but there is RAM or a device at addresses that have KeyID bits, so no "
	  "KeyID is used" },
	{ 4, COMPLETE, 0, false, LOG_WARN,
	  "TME-MK is on, but a package has no started CPU: its keys cannot be set, and it may have "
	  "memory, so no KeyID is used" },
	{ 4, NEAR, 0, false, LOG_WARN,
	  "TME-MK is on, but firmware (ACPI SRAT) lists memory that is near no started CPU: its "
	  "keys cannot be set, so no KeyID is used" },
	{ 4, FEW, 0, false, LOG_WARN,
	  "TME-MK is on, but this machine has more packages than Umbra can keep account of, so no "
	  "KeyID is used" },
	{ 4, CORES, 0, false, LOG_WARN,
	  "TME-MK is on, but a core did not take over the width of KeyIDs, so none is used" },
	{ 7, ENCRYPTED, 0, true, LOG_INFO, "TME-MK is on" },
	{ 3, 0, 0, true, LOG_INFO, "TME-MK is on" },
};

/* The number of KeyIDs, from 1 on, that Umbra may use: TDX may have the upper ones, or all. */
static uint64_t count_keyids(const struct tme_view *v)
{
	const uint8_t bits = ACTIVATE_KEYID_BITS(v->activate);
	const uint8_t tdx = ACTIVATE_TDX_BITS(v->activate);
	uint64_t count;

	if (bits <= tdx) {
		return 0;
	}
	count = MIN(BIT(bits - tdx) - 1, CAP_MAX_KEYS(v->capability));
	/*
	 * The partitioning register is only valid if TDX has KeyID bits, and only CPUs with TDX
	 * have it.
	 */
	if (tdx != 0 && v->has_partition) {
		count = MIN(count, v->partition & UINT32_MAX);
	}
	return count;
}

static bool agree(const struct tme_view *a, const struct tme_view *b)
{
	const uint64_t mask = ACTIVATE_LOCK | ACTIVATE_ENABLE | 15ul << ACTIVATE_KEYID_SHIFT;

	return a->present == b->present && a->phys_bits == b->phys_bits &&
	       (a->activate & mask) == (b->activate & mask);
}

static unsigned facts_of(const struct tme_view *v)
{
	const uint64_t on = ACTIVATE_LOCK | ACTIVATE_ENABLE;
	const bool encrypted = (v->activate & (on | ACTIVATE_BYPASS)) == on;
	const bool keys = CAP_KEYID_BITS(v->capability) != 0 && CAP_MAX_KEYS(v->capability) != 0;
	unsigned facts = 0;

	facts |= v->present ? PRESENT : 0;
	facts |= (v->activate & ACTIVATE_LOCK) != 0 ? LOCKED : 0;
	facts |= (v->activate & ACTIVATE_ENABLE) != 0 ? ENABLED : 0;
	facts |= encrypted ? ENCRYPTED : 0;
	facts |= keys ? CAN_KEYIDS : 0;
	facts |= ACTIVATE_KEYID_BITS(v->activate) != 0 ? KEYID_BITS : 0;
	facts |= count_keyids(v) != 0 ? SHARED : 0;
	facts |= v->pconfig ? PCONFIG : 0;
	return facts;
}

/*
 * Extends an exclusion to the smallest range that holds both. The bits of a mask are ones from its
 * highest bit down to its lowest.
 */
static void exclude_too(struct tme_state *s, uint64_t base, uint64_t mask)
{
	if (s->has_exclusion) {
		mask &= s->exclude_mask;
		while (((base ^ s->exclude_base) & mask) != 0) {
			mask &= mask << 1;
		}
	}
	s->has_exclusion = true;
	s->exclude_base = base & mask;
	s->exclude_mask = mask;
}

/*
 * Merges what all CPUs report: the fewest KeyIDs, the common algorithms, the most KeyID bits.
 * Returns the facts.
 */
static unsigned merge(uint32_t cpu_count, const struct around *around, struct tme_state *s)
{
	unsigned facts = SAME | PRESENT | LOCKED | ENABLED | ENCRYPTED | CAN_KEYIDS | KEYID_BITS |
			 SHARED | PCONFIG;
	uint64_t algs = ALGS_KNOWN, count = UINT16_MAX;

	s->phys_bits = tme_view(0)->phys_bits;
	for (uint32_t i = 0; i < cpu_count; i++) {
		const struct tme_view *v = tme_view(i);
		const uint64_t field = MASK(v->phys_bits - 1, PAGE_SHIFT);

		facts &= facts_of(v) | SAME;
		facts &= agree(tme_view(0), v) ? ~0u : ~(unsigned)SAME;
		algs &= ACTIVATE_ALGS(v->activate);
		count = MIN(count, count_keyids(v));
		if ((facts_of(v) & (LOCKED | ENABLED)) == (LOCKED | ENABLED)) {
			s->keyid_bits = MAX(s->keyid_bits, ACTIVATE_KEYID_BITS(v->activate));
			s->tdx_bits = MAX(s->tdx_bits, ACTIVATE_TDX_BITS(v->activate));
			s->bypass |= (v->activate & ACTIVATE_BYPASS) != 0;
			s->standby |= (v->activate & ACTIVATE_SAVE) != 0;
		}
		if ((v->exclude_mask & EXCLUDE_ENABLE) != 0) {
			exclude_too(s, v->exclude_base & field, v->exclude_mask & field);
		}
	}
	facts |= algs != 0 ? ALGORITHM : 0;
	facts |= (algs & ALGS_PLAIN) != 0 ? PLAIN : 0;
	facts |= around->end <= BIT(s->phys_bits - s->keyid_bits) ? BELOW : 0;
	facts |= around->complete ? COMPLETE : 0;
	facts |= around->cores ? CORES : 0;
	facts |= around->near ? NEAR : 0;
	facts |= s->package_count <= TME_PACKAGE_MAX ? FEW : 0;
	s->keyid_count = (keyid_t)count;
	s->xts256 = (algs & ALG_XTS_256) != 0;
	return facts;
}

static const struct row *decide(uint32_t cpu_count, const struct around *around,
				struct tme_state *s)
{
	const unsigned facts = merge(cpu_count, around, s);
	const struct row *row = rows;

	while ((facts & row->mask) != row->value) {
		row++; /* the last row always fits */
	}
	s->row = row->number;
	if (row->keyids) {
		s->kind = TME_MK;
		s->algorithm = s->xts256 ? ALG_XTS_256 : ALG_XTS_128;
	} else {
		s->kind = (facts & ENCRYPTED) != 0 ? TME_ONLY : TME_NONE;
		s->keyid_count = 0;
		s->algorithm = 0;
		s->xts256 = false;
	}
	return row;
}

/* --- Words --- */

static void add_words(struct tme_state *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add_words(struct tme_state *s, const char *fmt, ...)
{
	const size_t used = strlen(s->words);
	__builtin_va_list args;

	__builtin_va_start(args, fmt);
	(void)str_vprintf(s->words + used, sizeof(s->words) - used, fmt, args);
	__builtin_va_end(args);
}

static void describe_keyids(struct tme_state *s, bool activated)
{
	add_words(s, ", %s: %u KeyID%s of AES-XTS-%u, address bits %u to %u",
		  activated ? "switched on by Umbra" : "locked by firmware", s->keyid_count,
		  s->keyid_count == 1 ? "" : "s", s->xts256 ? 256 : 128,
		  s->phys_bits - s->keyid_bits, s->phys_bits - 1);
	if (s->tdx_bits != 0) {
		add_words(s, " (the upper %u are TDX's)", s->tdx_bits);
	}
	if (s->package_count > 1) {
		add_words(s, ", on %u packages", s->package_count);
	}
}

/*
 * Writes the sentence. no_activation: why the open register was not written; NULL: activation would
 * be possible, but the configuration does not ask for it.
 */
static void describe(struct tme_state *s, const struct row *row, const char *no_activation,
		     bool activated)
{
	s->words[0] = '\0';
	add_words(s, "%s", row->words);
	if (row->keyids) {
		describe_keyids(s, activated);
	} else if (row->number == 2 && no_activation == NULL) {
		add_words(s, "; write [host] tme = activate to switch it on");
	} else if (row->number == 2) {
		add_words(s, "; it stays off: %s", no_activation);
	}
	switch (s->kind) {
	case TME_MK:
		add_words(s, s->bypass ? "; \"TME Bypass\" is on: KeyID 0 is in clear"
				       : "; KeyID 0 has the machine's own key");
		break;
	case TME_ONLY: add_words(s, "; all DRAM is under one key of the machine"); break;
	case TME_NONE:
	default:
		add_words(s, "; %sDRAM holds what CPUs write",
			  s->bypass ? "\"TME Bypass\" is on: " : "");
	}
}

static void log_notes(const struct tme_state *s)
{
	if (s->standby) {
		log_warn("memory encryption: firmware lets the CPU keep the key of TME over "
			 "standby");
	}
	if (s->has_exclusion && s->kind != TME_NONE) {
		const uint64_t bytes = s->exclude_mask & -s->exclude_mask;

		log_info("memory encryption: firmware excluded %lu KiB at 0x%lx from it, under "
			 "KeyID 0",
			 bytes >> 10, s->exclude_base);
	}
}

/* --- Interface --- */

bool tme_excludes(hpa_t base, uint64_t bytes)
{
	const uint64_t first = decided.exclude_base & decided.exclude_mask;
	const uint64_t size = decided.exclude_mask & -decided.exclude_mask;

	return decided.has_exclusion && bytes != 0 &&
	       (size == 0 || (base.v < first + size && base.v + bytes > first));
}

void tme_look(void)
{
	static const struct around unknown = {
		.end = 0, .complete = true, .cores = true, .near = true
	};
	struct tme_state s = { .package_count = 1 };
	const struct row *row;

	tme_view_first();
	row = decide(1, &unknown, &s);
	describe(&s, row, NULL, false);
	decided = s;
}

/* Reads the registers of all CPUs and decides. Returns the row. */
static const struct row *look_everywhere(struct around *around, struct tme_state *s)
{
	*s = (struct tme_state){ .package_count = tme_view_all() };
	around->complete = tme_view_has_packages();
	around->near = tme_view_has_memory();
	return decide(percpu_count(), around, s);
}

static void load_mtrrs(void *unused)
{
	(void)mtrr_match_this_cpu();
}

/*
 * The memory type must not depend on the KeyID. Where firmware left KeyID bits in the masks of the
 * variable MTRRs, this removes them on every CPU. No address with these bits has been used until
 * now, so no type changes on the way. Returns false if a range lies at such an address.
 */
static bool free_mtrrs(const struct tme_state *s)
{
	if (!mtrr_free_bits(MASK(s->phys_bits - 1, s->phys_bits - s->keyid_bits))) {
		return false;
	}
	smp_call_all(load_mtrrs, NULL);
	return true;
}

void tme_start(bool activate, uint64_t ram_and_mmio_end)
{
	struct around around = { .end = ram_and_mmio_end, .cores = true };
	struct tme_state s;
	const struct row *row = look_everywhere(&around, &s);
	const char *why = NULL;
	bool written = false;

	if (row->number == 2) {
		why = tme_activate(!activate, around.complete && around.near, around.end, &written);
		if (activate && why != NULL) {
			log_error("[host] tme = activate: %s", why);
		}
	}
	if (written) {
		around.cores = why == NULL;
		row = look_everywhere(&around, &s);
	}
	if (s.keyid_bits != 0 && !free_mtrrs(&s)) {
		around.end = UINT64_MAX; /* as if RAM lay there */
		row = decide(percpu_count(), &around, &s);
	}
	describe(&s, row, why, written);
	decided = s;
	log_printf(row->level, "memory encryption: %s", s.words);
	log_notes(&s);
}
