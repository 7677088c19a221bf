/* SPDX-License-Identifier: Apache-2.0 */
/* What a section of the configuration asks for: is it possible on this machine, and now? */
#include "guest/platform_build.h"

#include "crypto/tme.h"
#include "ept/extents.h"
#include "ept/retire.h"
#include "guest/engine_policy.h"
#include "guest/memmap.h"
#include "guest/platform.h"
#include "guest/platform_state.h"
#include "guest/shares.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/page_alloc.h"

int platform_refuse(const struct build *build, int err, const char *fmt, ...)
{
	char text[VM_PATH_MAX + 200];
	__builtin_va_list args;

	__builtin_va_start(args, fmt);
	str_vprintf(text, sizeof(text), fmt, args);
	__builtin_va_end(args);
	log_error("%s:%u: vm %s: %s", CONFIG_FILE, build->config->line, build->config->name, text);
	return err;
}

static int check_file(struct build *build, const char *what, const struct vm_file *file)
{
	if (file->data == NULL) {
		return platform_refuse(build, ERR_NOTFOUND, "%s %s: %s", what, file->path,
				       file->error != NULL ? file->error : "not read");
	}
	return 0;
}

static const char *const engine_words[VM_ENGINES] = { "auto", "tme-mk", "software", "none" };

int platform_apply_policy(struct build *build, bool keyid_left)
{
	const struct vm_config *config = build->config;

	build->policy = keyid_left ? engine_policy_now(config->engine, config->key.kind)
				   : engine_policy_without_keyid(config->engine, config->key.kind);
	if (build->policy->verdict == ENGINE_REFUSED) {
		return platform_refuse(build, ERR_UNSUPPORTED, "engine = %s, key = %s: %s",
				       engine_words[config->engine],
				       platform_key_word(&config->key), build->policy->words);
	}
	if (build->policy->words != NULL) {
		log_warn("vm %s: engine = %s: %s", config->name, engine_words[config->engine],
			 build->policy->words);
	}
	return 0;
}

int platform_wait_for_memory(struct build *build)
{
	const uint64_t bytes = build->config->memory_bytes + shares_bytes_to_create(build->config);

	return bytes > frames_free_count() * PAGE_SIZE && retire_pending() ? ERR_AGAIN : 0;
}

/* Whether the VM takes a KeyID, for itself or for a share that is created when it starts. */
static bool takes_keyid(const struct build *build)
{
	return build->policy->verdict == ENGINE_RUNS_TME_MK ||
	       build->policy->verdict == ENGINE_RUNS_NO_ENCRYPT ||
	       (tme_state()->kind == TME_MK && shares_has(build->config));
}

int platform_choose_engine(struct build *build)
{
	int err;

	/*
	 * A retiring KeyID will be free soon, so the VM waits for it instead of being refused or
	 * falling back.
	 */
	if (tme_state()->kind == TME_MK && !engine_keyid_is_left() && retire_pending()) {
		return ERR_AGAIN;
	}
	err = platform_apply_policy(build, engine_keyid_is_left());
	/*
	 * Checked before anything is allocated. If this failed later, a KeyID would be taken and
	 * given up again, which uses up a key on every package, and everything that was built would
	 * have to be freed. Such frees would also look like a reason to try again at once.
	 */
	return err == 0 && takes_keyid(build) && extents_wait() ? ERR_AGAIN : err;
}

/*
 * A VM with an affinity runs only on the CPUs that it names. It is enough if the machine has one of
 * them.
 */
static int check_affinity(struct build *build)
{
	const uint64_t *affinity = build->config->affinity;
	const uint32_t count = percpu_count();
	bool named = false;

	for (uint32_t i = 0; i < CPU_MAX; i++) {
		bool bit = (affinity[i / 64] & BIT(i % 64)) != 0;

		if (bit && i < count) {
			return 0;
		}
		named |= bit;
	}
	return named ? platform_refuse(
			       build, ERR_RANGE,
			       "affinity: the machine has none of these CPUs; it has 0 to %u",
			       count - 1)
		     : 0;
}

/* Checks that every range lies in one piece of the VM's RAM. */
static int check_clear(struct build *build)
{
	const uint64_t low = memmap_low_bytes(build->config->memory_bytes);
	const uint64_t high = memmap_high_bytes(build->config->memory_bytes);

	for (size_t i = 0; i < VM_CLEAR_MAX; i++) {
		const struct vm_clear_range *range = &build->config->clear[i];
		const uint64_t end = range->base + range->bytes;

		if (end > low && (range->base < MEMMAP_HIGH_RAM || end > MEMMAP_HIGH_RAM + high)) {
			return platform_refuse(build, ERR_RANGE,
					       "clear: %luK at %#lx is not all RAM",
					       range->bytes >> 10, range->base);
		}
	}
	return 0;
}

int platform_check_config(struct build *build)
{
	const struct vm_config *config = build->config;
	int err;

	if (config->vcpus == 0 || config->vcpus > VM_VCPU_MAX) {
		return platform_refuse(build, ERR_RANGE, "%u vCPUs; a VM has 1 to %u",
				       config->vcpus, VM_VCPU_MAX);
	}
	err = check_affinity(build);
	if (err == 0) {
		err = check_clear(build);
	}
	if (err == 0) {
		err = check_file(build, "kernel", &config->kernel);
	}
	if (err == 0 && config->initrd.path[0] != '\0') {
		err = check_file(build, "initrd", &config->initrd);
	}
	for (size_t i = 0; i < VM_DISKS_MAX && err == 0; i++) {
		if (config->disks[i].file.path[0] != '\0') {
			err = check_file(build, "disk", &config->disks[i].file);
		}
	}
	return err;
}
