/* SPDX-License-Identifier: Apache-2.0 */
/* Between config.c (sections and lines) and config_keys.c (keys and values). */
#ifndef UMBRA_BOOT_CONFIG_PRIV_H
#define UMBRA_BOOT_CONFIG_PRIV_H

#include "boot/config.h"

/* A word of the file and what it means. */
struct config_choice {
	const char *word;
	uint64_t value;
};

struct config_key {
	const char *section; /* "host", "vm" or "share" */
	const char *name;
	/* Stores value in field, or returns false with a clause in why[CONFIG_WHY_MAX]. */
	bool (*parse)(const struct config_key *key, void *field, const char *value, char *why);
	size_t offset; /* of the field in struct config, struct vm_config or struct share_config */
	size_t bytes;
	const struct config_choice *choices;
};

/* At most 32. */
extern const struct config_key config_keys[];
extern const size_t config_key_count;

#endif
