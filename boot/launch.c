/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/launch.h"

#include "guest/engine_policy.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

/* Returns a file with the same path that was read already, or NULL. */
static const struct vm_file *find_read(struct config *config, const struct vm_file *file)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		for (size_t f = 0; f < VM_FILES; f++) {
			const struct vm_file *other = vm_config_file(&config->vms[i], f);

			if (other->data != NULL && other != file &&
			    str_equal_nocase(other->path, file->path)) {
				return other;
			}
		}
	}
	return NULL;
}

static const char *key_of(size_t n)
{
	return n == 0 ? "kernel" : n == 1 ? "initrd" : "disk";
}

static void read_files_of(struct config *config, struct vm_config *vm,
			  int (*read)(struct vm_file *file, uint64_t max))
{
	for (size_t f = 0; f < VM_FILES; f++) {
		struct vm_file *file = vm_config_file(vm, f);
		const struct vm_file *same = find_read(config, file);

		if (file->path[0] == '\0') {
			continue; /* this VM has no such file */
		}
		if (same != NULL) {
			*file = *same;
		} else if (read(file, LAUNCH_FILE_MAX) != 0) {
			log_error("%s:%u: vm %s: %s = %s: %s; the VM is left out",
				  LAUNCH_CONFIG_NAME, vm->line, vm->name, key_of(f), file->path,
				  file->error);
			vm->valid = false;
		}
	}
}

void launch_read_files(struct config *config, int (*read)(struct vm_file *file, uint64_t max))
{
	for (size_t i = 0; i < config->vm_count; i++) {
		if (config->vms[i].valid) {
			read_files_of(config, &config->vms[i], read);
		}
	}
}

static bool is_config(const char *path, size_t path_bytes)
{
	return path_bytes == strlen(LAUNCH_CONFIG) && memcmp(path, LAUNCH_CONFIG, path_bytes) == 0;
}

/* Measures the words themselves: they are the event's data, and its text in the event log. */
static void measure_words(const char *words, launch_extend *extend)
{
	const struct launch_event event = {
		.pcr = LAUNCH_PCR_CONFIG,
		.words = words,
		.data = words,
		.bytes = strlen(words),
	};

	extend(&event);
}

void launch_measure_manifest(uint32_t version, launch_extend *extend)
{
	char words[LAUNCH_WORDS_MAX];

	(void)str_printf(words, sizeof(words), "manifest version %u", version); /* it fits */
	measure_words(words, extend);
}

void launch_measure_file(const char *path, size_t path_bytes, const void *data, size_t bytes,
			 launch_extend *extend)
{
	char words[LAUNCH_WORDS_MAX];
	const struct launch_event event = {
		.pcr = is_config(path, path_bytes) ? LAUNCH_PCR_CONFIG : LAUNCH_PCR_FILES,
		.words = words,
		.data = data,
		.bytes = bytes,
	};

	(void)str_printf(words, sizeof(words), "%.*s", (int)path_bytes, path); /* it fits */
	extend(&event);
}

static void measure_key(const char *what, const char *name, const struct vm_key_source *key,
			launch_extend *extend)
{
	char words[LAUNCH_WORDS_MAX];

	if (key->kind == VM_KEY_FILE) {
		(void)str_printf(words, sizeof(words), "%s %s key %s", what, name, key->file.path);
		measure_words(words, extend);
	}
}
_Static_assert(LAUNCH_WORDS_MAX >= VM_PATH_MAX + VM_NAME_MAX + sizeof("share  key "), "it fits");

/*
 * Returns whether the line (launch_state_words) contains `word` as a whole word. The caller puts a
 * blank before it.
 */
static bool says(const char *state, const char *word)
{
	const size_t bytes = strlen(word);

	for (; *state != '\0'; state++) {
		if (strncmp(state, word, bytes) == 0 &&
		    (state[bytes] == ' ' || state[bytes] == '\0')) {
			return true;
		}
	}
	return false;
}

/* Returns the kind of machine that `state` describes, assuming that KeyIDs are left. */
static enum engine_machine machine_of(const char *state)
{
	if (says(state, " tme=tme-mk")) {
		return says(state, " bypass=on") ? ENGINE_MACHINE_BYPASS : ENGINE_MACHINE_TME_MK;
	}
	return says(state, " tme=tme") ? ENGINE_MACHINE_TME : ENGINE_MACHINE_NO_TME;
}

static void measure_engine(const struct vm_config *vm, enum engine_machine machine,
			   launch_extend *extend)
{
	static const char *const names[] = {
		[ENGINE_REFUSED] = "refused",	   [ENGINE_RUNS_SOFTWARE] = "software",
		[ENGINE_RUNS_NONE] = "none",	   [ENGINE_RUNS_TME_MK] = "tme-mk",
		[ENGINE_RUNS_NO_ENCRYPT] = "none", [ENGINE_RUNS_PLATFORM] = "platform",
	};
	char words[LAUNCH_WORDS_MAX];

	if (vm->key.kind == VM_KEY_DEFAULT) {
		return; /* the section has an error, and the VM does not start */
	}
	/* the text fits */
	(void)str_printf(words, sizeof(words), "vm %s engine %s", vm->name,
			 names[engine_policy(vm->engine, vm->key.kind, machine)->verdict]);
	measure_words(words, extend);
}

void launch_measure_state(const struct config *config, const char *state, launch_extend *extend)
{
	for (size_t i = 0; i < config->vm_count; i++) {
		measure_key("vm", config->vms[i].name, &config->vms[i].key, extend);
	}
	for (size_t i = 0; i < config->share_count; i++) {
		measure_key("share", config->shares[i].name, &config->shares[i].key, extend);
	}
	measure_words(state, extend);
	for (size_t i = 0; i < config->vm_count; i++) {
		measure_engine(&config->vms[i], machine_of(state), extend);
	}
}

/*
 * Measures the hash of the sealed file that a key was opened from or was just sealed into. Measures
 * nothing if the file stayed shut.
 */
static void measure_opened(const char *what, const char *name, const struct vm_key_source *key,
			   launch_extend *extend)
{
	char words[LAUNCH_WORDS_MAX];
	const struct launch_event event = { .pcr = LAUNCH_PCR_CONFIG,
					    .words = words,
					    .data = key->tpm_hash,
					    .bytes = sizeof(key->tpm_hash) };

	if (key->tpm != VM_KEY_TPM_SHUT) {
		(void)str_printf(words, sizeof(words), "%s %s key %s %s", what, name,
				 key->tpm == VM_KEY_TPM_FRESH ? "fresh" : "opened", key->file.path);
		extend(&event);
	}
}
_Static_assert(LAUNCH_WORDS_MAX >= VM_PATH_MAX + VM_NAME_MAX + sizeof("share  key opened "),
	       "it fits");

void launch_measure_end(const struct config *config, launch_extend *extend)
{
	static const uint8_t separator[4] = { 0xff, 0xff, 0xff, 0xff };
	struct launch_event event = { .pcr = LAUNCH_PCR_FILES,
				      .separator = true,
				      .words = "separator",
				      .data = separator,
				      .bytes = sizeof(separator) };

	for (size_t i = 0; i < config->vm_count; i++) {
		measure_opened("vm", config->vms[i].name, &config->vms[i].key, extend);
	}
	for (size_t i = 0; i < config->share_count; i++) {
		measure_opened("share", config->shares[i].name, &config->shares[i].key, extend);
	}
	extend(&event);
	event.pcr = LAUNCH_PCR_CONFIG;
	extend(&event);
}

const char *launch_state_words(const struct launch_state *state, char text[LAUNCH_WORDS_MAX])
{
	size_t used = str_printf(text, LAUNCH_WORDS_MAX, "umbra=%s secure-boot=%s tme=%s",
				 UMBRA_VERSION, state->secure_boot ? "on" : "off", state->tme);

	if (state->keyid_bits != 0) {
		used += str_printf(text + used, LAUNCH_WORDS_MAX - used, " keyid-bits=%u bypass=%s",
				   state->keyid_bits, state->bypass ? "on" : "off");
	}
	/* the text fits */
	(void)str_printf(text + used, LAUNCH_WORDS_MAX - used, " iommu=%s", state->iommu);
	return text;
}
