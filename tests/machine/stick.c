/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Umbra would do with a stick that has this folder's content, by the product's own code on the
 * build host:
 *
 *	stick files DIR		the paths of all files that it reads, one a line, umbra.conf first
 *	stick predict DIR STATE	the values of PCR 11 and 12, for a machine in this state: those
 *				that keys are sealed to, and those when keys were opened
 *	stick predict DIR STATE fresh	the same for the boot that has sealed the keys
 *	stick steps DIR STATE	for seal.py: the PCR's number, its value and the words of each event
 *				before keys are opened
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "boot/launch.h"
#include "crypto/verify.h"
#include "tests/unit/fake_base.h"

#define HOST_PATH_MAX 4096

static const char *stick; /* the folder */
static void (*take)(const char *path, size_t path_bytes, const void *data, size_t bytes);
static uint8_t pcrs[24][VERIFY_HASH_BYTES];
static bool prints_steps;

/* Appends the name that the folder has for a name of FAT, where case does not matter. */
static bool append_name(char *path, const char *name, size_t bytes)
{
	const size_t used = strlen(path);
	DIR *folder = opendir(path);
	const struct dirent *entry;
	bool found = false;

	while (folder != NULL && !found && (entry = readdir(folder)) != NULL) {
		found = strlen(entry->d_name) == bytes &&
			strncasecmp(entry->d_name, name, bytes) == 0 &&
			snprintf(path + used, HOST_PATH_MAX - used, "/%s", entry->d_name) <
				(int)(HOST_PATH_MAX - used);
	}
	if (folder != NULL) {
		closedir(folder);
	}
	return found;
}

/* Opens the first of several paths, "\a,\b". */
static FILE *open_path(const char *path, size_t bytes)
{
	char host[HOST_PATH_MAX];
	size_t at = 0;

	snprintf(host, sizeof(host), "%s", stick);
	while (at < bytes) {
		size_t end = ++at; /* behind the backslash */

		while (end < bytes && path[end] != '\\') {
			end++;
		}
		if (!append_name(host, path + at, end - at)) {
			return NULL;
		}
		at = end;
	}
	return fopen(host, "rb");
}

/* Reads one file as a whole; NULL if that fails. The caller frees it. */
static char *read_whole(const char *path, size_t path_bytes, size_t *bytes)
{
	FILE *file = open_path(path, path_bytes);
	char *data = NULL;
	long size = -1;

	if (file != NULL && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0) {
		rewind(file);
		data = malloc((size_t)size);
		if (data != NULL && fread(data, 1, (size_t)size, file) != (size_t)size) {
			free(data);
			data = NULL;
		}
	}
	if (file != NULL) {
		fclose(file);
	}
	*bytes = (size_t)size;
	return data;
}

static void need(bool good, const char *path, size_t bytes, const char *why)
{
	if (!good) {
		fprintf(stderr, "stick: %s: %.*s: %s\n", stick, (int)bytes, path, why);
		exit(1);
	}
}

static int read_file(struct vm_file *file, uint64_t max)
{
	static const char done[] = "";

	for (const char *path = file->path; path != NULL;) {
		const char *next = strstr(path, ",\\");
		const size_t length = next != NULL ? (size_t)(next - path) : strlen(path);
		size_t bytes;
		char *data = read_whole(path, length, &bytes);

		need(data != NULL && bytes <= max, path, length, "it cannot be read");
		take(path, length, data, bytes);
		free(data);
		path = next != NULL ? next + 1 : NULL;
	}
	file->data = done; /* not read again for another VM */
	return 0;
}

static void print_path(const char *path, size_t path_bytes, const void *data, size_t bytes)
{
	printf("%.*s\n", (int)path_bytes, path);
}

static void print_value(uint32_t pcr)
{
	for (size_t i = 0; i < VERIFY_HASH_BYTES; i++) {
		printf("%02x", pcrs[pcr][i]);
	}
}

/*
 * TPM 2.0 Library, part 1, 11.2.3: the new value is the hash of the old value followed by the
 * digest.
 */
static void extend(const struct launch_event *event)
{
	uint8_t both[2 * VERIFY_HASH_BYTES];

	memcpy(both, pcrs[event->pcr], VERIFY_HASH_BYTES);
	if (verify_sha256(event->data, event->bytes, both + VERIFY_HASH_BYTES) != 0 ||
	    verify_sha256(both, sizeof(both), pcrs[event->pcr]) != 0) {
		abort();
	}
	if (prints_steps) {
		printf("%u ", event->pcr);
		print_value(event->pcr);
		printf(" %s\n", event->words);
	}
}

static void measure(const char *path, size_t path_bytes, const void *data, size_t bytes)
{
	launch_measure_file(path, path_bytes, data, bytes, extend);
}

static void print_pcr(const char *words, uint32_t pcr)
{
	printf("%s PCR %u is ", words, pcr);
	print_value(pcr);
	printf("\n");
}

/* Reads umbra.conf and all files that it names, as Umbra does. */
static struct config *walk(void)
{
	static struct config config;
	const size_t path_bytes = strlen(LAUNCH_CONFIG);
	size_t bytes;
	char *text = read_whole(LAUNCH_CONFIG, path_bytes, &bytes);

	need(text != NULL && bytes <= LAUNCH_CONFIG_MAX, LAUNCH_CONFIG, path_bytes,
	     "it cannot be read");
	take(LAUNCH_CONFIG, path_bytes, text, bytes);
	(void)config_parse(LAUNCH_CONFIG_NAME, text, bytes, &config); /* the log has its errors */
	fputs(fake_log_text(), stderr);
	free(text);
	launch_read_files(&config, read_file);
	return &config;
}

/* A folder with a manifest is one of a signed image, which measures the manifest's version. */
static void measure_version(void)
{
	size_t bytes;
	char *text = read_whole(LAUNCH_MANIFEST, strlen(LAUNCH_MANIFEST), &bytes);
	char start[64];
	unsigned version;

	if (text == NULL) {
		return;
	}
	snprintf(start, sizeof(start), "%.*s", (int)bytes, text);
	need(sscanf(start, "umbra-manifest 1\nversion %u\n", &version) == 1, LAUNCH_MANIFEST,
	     strlen(LAUNCH_MANIFEST), "this is no manifest");
	launch_measure_manifest(version, extend);
	free(text);
}

/* Supposes that the TPM opens a key, if its sealed form is there. */
static void suppose_opened(struct vm_key_source *key, enum vm_key_tpm how)
{
	const size_t path_bytes = strlen(key->file.path);
	size_t bytes;
	char *data;

	if (key->form != VM_KEY_FORM_TPM) {
		return;
	}
	data = read_whole(key->file.path, path_bytes, &bytes);
	if (data == NULL) {
		fprintf(stderr, "stick: %s: it is not there, so that its key is not opened\n",
			key->file.path);
		return;
	}
	if (verify_sha256(data, bytes, key->tpm_hash) != 0) {
		abort();
	}
	key->tpm = how;
	free(data);
}

/* Measures everything that keys are sealed to. */
static struct config *measure_launch(const char *state)
{
	struct config *config;

	take = measure;
	measure_version();
	config = walk();
	launch_measure_state(config, state, extend);
	return config;
}

static void predict(const char *state, enum vm_key_tpm how)
{
	struct config *config = measure_launch(state);

	print_pcr("keys are sealed to:", LAUNCH_PCR_FILES);
	print_pcr("keys are sealed to:", LAUNCH_PCR_CONFIG);
	for (size_t i = 0; i < config->vm_count; i++) {
		if (config->vms[i].valid) {
			suppose_opened(&config->vms[i].key, how);
		}
	}
	for (size_t i = 0; i < config->share_count; i++) {
		if (config->shares[i].valid) {
			suppose_opened(&config->shares[i].key, how);
		}
	}
	launch_measure_end(config, extend);
	print_pcr("at the end:", LAUNCH_PCR_FILES);
	print_pcr("at the end:", LAUNCH_PCR_CONFIG);
}

int main(int count, char **words)
{
	if (count == 3 && strcmp(words[1], "files") == 0) {
		stick = words[2];
		take = print_path;
		(void)walk();
		return 0;
	}
	if (count == 4 && strcmp(words[1], "steps") == 0) {
		stick = words[2];
		prints_steps = true;
		(void)measure_launch(words[3]);
		return 0;
	}
	if (count >= 4 && strcmp(words[1], "predict") == 0) {
		stick = words[2];
		if (count == 4) {
			predict(words[3], VM_KEY_TPM_OPENED);
			return 0;
		}
		if (count == 5 && strcmp(words[4], "fresh") == 0) {
			predict(words[3], VM_KEY_TPM_FRESH);
			return 0;
		}
	}
	fprintf(stderr, "usage: stick files DIR | stick predict DIR STATE [fresh] | "
			"stick steps DIR STATE\n");
	return 2;
}
