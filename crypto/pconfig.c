/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only the boot processor fills the structure. The CPUs that execute PCONFIG read it at the same
 * time.
 */
#include "crypto/pconfig.h"

#include "crypto/tme.h"
#include "crypto/wipe.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/log.h"
#include "vmm/host/smp.h"

#define LEAF_MKTME_KEY_PROGRAM 0u
#define TRIES		       10u
#define WAIT_US		       20u

/*
 * What PCONFIG returns in RAX. Any value but 0 is a failure: older documents have codes for what is
 * #GP(0) today.
 */
#define RESULT_ENTROPY_ERROR 2u
#define RESULT_DEVICE_BUSY   5u

/* SDM: MKTME_KEY_PROGRAM_STRUCT. The alignment keeps it within one page. */
struct key_program {
	uint16_t keyid;
	uint8_t command;
	uint16_t algorithm; /* one bit */
	uint8_t zero;
	uint8_t ignored[58];
	uint8_t key_field_1[64]; /* the data key */
	uint8_t key_field_2[64]; /* the tweak key */
	uint8_t not_read[64];
} __attribute__((packed));
_Static_assert(sizeof(struct key_program) == 256, "SDM: 256 bytes");
_Static_assert(offsetof(struct key_program, key_field_1) == 64, "SDM: MKTME_KEY_PROGRAM_STRUCT");

static struct key_program program __attribute__((aligned(256)));

/* The result on each package, written by the first CPU of that package. */
struct outcome {
	int err;
	bool refused;
	uint64_t result;
};
static struct outcome outcomes[TME_PACKAGE_MAX];

int pconfig_init(void)
{
	return wipe_register(&program, sizeof(program));
}

static bool succeeded(const struct outcome *o)
{
	return o->err == 0 && !o->refused && o->result == 0;
}

/*
 * Runs on every CPU; only the first CPU of each package executes PCONFIG. Packages may share one
 * key table, and PCONFIG then answers BUSY while another package holds it, so the CPU waits and
 * tries again.
 */
static void execute(void *unused)
{
	const uint32_t cpu = percpu_self()->index;
	struct outcome *o = &outcomes[tme_package_of(cpu)];

	if (!tme_leads_package(cpu)) {
		return;
	}
	for (unsigned i = 0; i < TRIES; i++) {
		if (i != 0) {
			tsc_wait_us(WAIT_US);
		}
		o->err = pconfig_safe(LEAF_MKTME_KEY_PROGRAM, &program, &o->result, &o->refused);
		if (o->err != 0 ||
		    (o->result != RESULT_DEVICE_BUSY && o->result != RESULT_ENTROPY_ERROR)) {
			return;
		}
	}
}

static const char *outcome_words(const struct outcome *o)
{
	if (o->err != 0) {
		return "the CPU raised a fault";
	}
	switch (o->result) {
	case RESULT_DEVICE_BUSY: return "its table of keys was busy, time after time";
	case RESULT_ENTROPY_ERROR: return "it had no entropy, time after time";
	default: return "the CPU refused it";
	}
}

static uint64_t collect(keyid_t keyid)
{
	uint64_t packages = 0;

	for (uint32_t i = 0; i < tme_state()->package_count; i++) {
		if (succeeded(&outcomes[i])) {
			packages |= BIT(i);
			continue;
		}
		log_error("KeyID %u cannot be programmed on package %u: %s (code %lu)", keyid, i,
			  outcome_words(&outcomes[i]), outcomes[i].result);
	}
	return packages;
}

/* Checks all that the CPU would check, and the equal keys that the SDM leaves to software. */
static bool is_valid(keyid_t keyid, enum pconfig_command command, const struct pconfig_keys *keys)
{
	const struct tme_state *tme = tme_state();
	const size_t bytes = tme->xts256 ? 32 : 16;

	if (tme->kind != TME_MK || keyid == 0 || keyid > tme->keyid_count) {
		return false;
	}
	switch (command) {
	case PCONFIG_SET_KEY_DIRECT:
		return keys != NULL && !ct_equal(keys->data, keys->tweak, bytes);
	case PCONFIG_SET_KEY_RANDOM: return keys != NULL;
	case PCONFIG_NO_ENCRYPT: return keys == NULL;
	default: return false;
	}
}

static void fill(keyid_t keyid, enum pconfig_command command, const struct pconfig_keys *keys)
{
	const struct tme_state *tme = tme_state();
	const size_t bytes = tme->xts256 ? 32 : 16;

	memset(&program, 0, sizeof(program));
	program.keyid = keyid;
	program.command = (uint8_t)command;
	/* the CPU requires a valid algorithm even where it uses none */
	program.algorithm = tme->algorithm;
	if (keys != NULL) {
		memcpy(program.key_field_1, keys->data, bytes);
		memcpy(program.key_field_2, keys->tweak, bytes);
	}
}

int pconfig_program(keyid_t keyid, enum pconfig_command command, const struct pconfig_keys *keys,
		    uint64_t *packages)
{
	const uint32_t count = tme_state()->package_count; /* 64 at most where KeyIDs are used */

	*packages = 0;
	if (!is_valid(keyid, command, keys)) {
		return ERR_INVAL;
	}
	for (uint32_t i = 0; i < count; i++) {
		outcomes[i] = (struct outcome){ .err = ERR_IO }; /* until its CPU says otherwise */
	}
	fill(keyid, command, keys);
	smp_call_all(execute, NULL);
	/* the key must not stay in DRAM either: secure_zero also flushes */
	secure_zero(&program, sizeof(program));
	*packages = collect(keyid);
	return *packages == MASK(count - 1, 0) ? 0 : ERR_IO;
}
