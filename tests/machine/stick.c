/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Umbra would do with a stick that has this folder's content, by the product's own code on the
 * build host:
 *
 *	stick files DIR		the paths of all files that it reads, one a line, umbra.conf first
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "boot/launch.h"
#include "tests/unit/fake_base.h"

#define HOST_PATH_MAX 4096

static const char *stick; /* the folder */
static void (*take)(const char *path, size_t path_bytes, const void *data, size_t bytes);

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

/* Reads all, as Umbra does. */
static void walk(void)
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
}

int main(int count, char **words)
{
	if (count != 3 || strcmp(words[1], "files") != 0) {
		fprintf(stderr, "usage: stick files DIR\n");
		return 2;
	}
	stick = words[2];
	take = print_path;
	walk();
	return 0;
}
