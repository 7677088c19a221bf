/* SPDX-License-Identifier: Apache-2.0 */
/* boot/launch.c: which files are read, in which order, and what is measured of a launch. */
#include <stdio.h>

#include "tests/unit/test.h"
#include "boot/launch.h"
#include "vmm/base/err.h"

static struct config config;
static char seen[2048];

static int read_file(struct vm_file *file, uint64_t max)
{
	strcat(seen, file->path);
	strcat(seen, " ");
	assert_int_equal(max, 4ul << 30);
	if (strstr(file->path, "missing") != NULL) {
		file->error = "there is no such file";
		return ERR_NOTFOUND;
	}
	file->data = "content";
	return 0;
}

static void extend(const struct launch_event *event)
{
	char line[256];

	snprintf(line, sizeof(line), "%u%s %s=%.*s\n", event->pcr, event->separator ? "!" : "",
		 event->words, (int)event->bytes, (const char *)event->data);
	strcat(seen, line);
}

static int setup(void **state)
{
	memset(&config, 0, sizeof(config));
	seen[0] = '\0';
	return fake_setup(state);
}

static struct vm_config *add_vm(const char *name, const char *kernel, const char *initrd)
{
	struct vm_config *vm = &config.vms[config.vm_count++];

	strcpy(vm->name, name);
	strcpy(vm->kernel.path, kernel);
	strcpy(vm->initrd.path, initrd);
	vm->valid = true;
	return vm;
}

TEST(each_file_is_read_once, setup, fake_teardown)
{
	struct vm_config *second;

	strcpy(add_vm("a", "\\k", "\\i")->disks[1].file.path, "\\d");
	second = add_vm("b", "\\K", "\\i,\\i2");
	add_vm("c", "\\unread", "")->valid = false;
	launch_read_files(&config, read_file);
	assert_string_equal(seen, "\\k \\i \\d \\i,\\i2 ");
	assert_string_equal(second->kernel.data, "content");
}

TEST(a_vm_with_a_missing_file_is_left_out, setup, fake_teardown)
{
	add_vm("a", "\\k", "\\missing")->line = 7;
	add_vm("b", "\\k2", "");
	launch_read_files(&config, read_file);
	assert_false(config.vms[0].valid);
	assert_true(config.vms[1].valid);
	assert_string_equal(fake_log_text(),
			    "error: umbra.conf:7: vm a: initrd = \\missing: there is no such file; "
			    "the VM is left out\n");
}

/* The configuration goes to one PCR and all other files to the other, whatever their names. */
TEST(files_are_measured_by_what_they_are, setup, fake_teardown)
{
	launch_measure_manifest(12, extend);
	launch_measure_file(LAUNCH_CONFIG, strlen(LAUNCH_CONFIG), "text", 4, extend);
	launch_measure_file("\\umbra\\umbra.conf2", 18, "k", 1, extend);
	launch_measure_file("\\a,\\b", 2, "initrd", 6, extend);
	assert_string_equal(seen, "12 manifest version 12=manifest version 12\n"
				  "12 \\umbra\\umbra.conf=text\n"
				  "11 \\umbra\\umbra.conf2=k\n"
				  "11 \\a=initrd\n");
}

TEST(the_rest_ends_with_separators, setup, fake_teardown)
{
	struct vm_config *vm = add_vm("a", "\\k", "");

	vm->key.kind = VM_KEY_FILE;
	strcpy(vm->key.file.path, "\\a.key");
	memset(vm->key.secret, 'S', sizeof(vm->key.secret));
	add_vm("b", "\\k", "")->key.kind = VM_KEY_RANDOM;
	config.share_count = 1;
	strcpy(config.shares[0].name, "box");
	config.shares[0].key.kind = VM_KEY_FILE;
	strcpy(config.shares[0].key.file.path, "\\box.key");
	launch_measure_state(&config, "the state", extend);
	assert_string_equal(seen, "12 vm a key \\a.key=vm a key \\a.key\n"
				  "12 share box key \\box.key=share box key \\box.key\n"
				  "12 the state=the state\n"
				  "12 vm a engine software=vm a engine software\n"
				  "12 vm b engine software=vm b engine software\n");
	seen[0] = '\0';
	launch_measure_end(&config, extend);
	assert_string_equal(seen, "11! separator=\xff\xff\xff\xff\n"
				  "12! separator=\xff\xff\xff\xff\n");
}

/*
 * Only keys that were opened or just sealed are measured, each with the hash of its file, and
 * before the separators.
 */
TEST(opened_keys_are_measured, setup, fake_teardown)
{
	static const enum vm_key_tpm results[] = { VM_KEY_TPM_OPENED, VM_KEY_TPM_SHUT,
						   VM_KEY_TPM_FRESH };

	for (size_t i = 0; i < ARRAY_COUNT(results); i++) {
		struct vm_key_source *key = &add_vm((const char *[]){ "a", "b", "c" }[i], "\\k", "")
						     ->key;

		*key = (struct vm_key_source){ .kind = VM_KEY_FILE,
					       .form = VM_KEY_FORM_TPM,
					       .tpm = results[i] };
		strcpy(key->file.path, "\\x.tpm");
		memset(key->tpm_hash, 'A' + (int)i, sizeof(key->tpm_hash));
	}
	launch_measure_end(&config, extend);
	assert_string_equal(seen, "12 vm a key opened \\x.tpm=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
				  "12 vm c key fresh \\x.tpm=CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC\n"
				  "11! separator=\xff\xff\xff\xff\n"
				  "12! separator=\xff\xff\xff\xff\n");
}

TEST(the_state_is_a_line, setup, fake_teardown)
{
	struct launch_state launch = { .secure_boot = true, .tme = "none", .iommu = "none" };
	char text[LAUNCH_WORDS_MAX];

	assert_string_equal(launch_state_words(&launch, text),
			    "umbra=test secure-boot=on tme=none iommu=none");
	launch = (struct launch_state){
		.tme = "tme-mk", .keyid_bits = 6, .bypass = true, .iommu = "on ir=on"
	};
	assert_string_equal(launch_state_words(&launch, text),
			    "umbra=test secure-boot=off tme=tme-mk keyid-bits=6 bypass=on "
			    "iommu=on ir=on");
}

/* The engine that each VM gets follows from its section and from the state of the machine. */
TEST(engines_are_measured, setup, fake_teardown)
{
	static const struct {
		const char *state, *engine;
	} rows[] = {
		{ "umbra=x tme=none iommu=none", "software" },
		{ "umbra=x tme=tme", "software" },
		{ "umbra=x tme=tme-mk keyid-bits=6 bypass=off", "tme-mk" },
		{ "umbra=x tme=tme-mk keyid-bits=6 bypass=on iommu=none", "tme-mk" },
	};
	struct vm_config *vm = add_vm("a", "\\k", "");

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		char line[64];

		seen[0] = '\0';
		vm->engine = VM_ENGINE_AUTO;
		vm->key.kind = VM_KEY_RANDOM;
		launch_measure_state(&config, rows[i].state, extend);
		snprintf(line, sizeof(line), "=vm a engine %s\n", rows[i].engine);
		assert_non_null(strstr(seen, line));
	}
	seen[0] = '\0';
	vm->engine = VM_ENGINE_NONE;
	vm->key.kind = VM_KEY_NONE;
	launch_measure_state(&config, "tme=tme-mk", extend); /* the first word is not looked at */
	assert_non_null(strstr(seen, "=vm a engine none\n"));
	seen[0] = '\0';
	launch_measure_state(&config, "x tme=tme", extend);
	assert_non_null(strstr(seen, "=vm a engine platform\n"));
	seen[0] = '\0';
	vm->key.kind = VM_KEY_PLATFORM;
	launch_measure_state(&config, "x tme=none", extend);
	assert_non_null(strstr(seen, "=vm a engine refused\n"));
	seen[0] = '\0';
	vm->key.kind = VM_KEY_DEFAULT;
	launch_measure_state(&config, "x tme=none", extend);
	assert_null(strstr(seen, "engine"));
}
