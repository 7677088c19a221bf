/* SPDX-License-Identifier: Apache-2.0 */
/* Between config.c (lines and sections), config_values.c (values) and config_keys.c (the rows). */
#ifndef UMBRA_BOOT_CONFIG_PRIV_H
#define UMBRA_BOOT_CONFIG_PRIV_H

#include "boot/config.h"

#define CONFIG_MEMORY_MAX (4ul << 40) /* what a VM or a share can have at most */

/*
 * Each stores the value of one key in its field, whose place and size come from the key's row, and
 * returns NULL. Otherwise it returns what is wrong, as a clause that follows "KEY = VALUE":
 * CONFIG_NOT_ALLOWED, which stands for "must be ..." in the words of config_allowed, or its own.
 */
typedef const char *config_parse_fn(const struct config_key *key, void *field, const char *text);
extern const char CONFIG_NOT_ALLOWED[];

config_parse_fn config_parse_choice; /* the value of the word, in key->bytes bytes */
config_parse_fn config_parse_word;   /* a pointer to the word itself */
config_parse_fn config_parse_number; /* key->min to key->max, in a uint32_t */
config_parse_fn config_parse_size;   /* the same in whole pages, in a uint64_t of bytes */
config_parse_fn config_parse_time;   /* 1 to key->max days in a uint32_t of seconds */
config_parse_fn config_parse_cpus;   /* a bit for each CPU */
config_parse_fn config_parse_text;   /* key->bytes with the NUL */
config_parse_fn config_parse_path;   /* struct vm_file */
config_parse_fn config_parse_paths;  /* the same, several behind commas */
config_parse_fn config_parse_disk;   /* one more of a VM's disks, or an option of the last */
config_parse_fn config_parse_source; /* struct vm_key_source; the words are key->choices */
config_parse_fn config_parse_range;  /* one more of a VM's clear ranges */
config_parse_fn config_parse_member; /* one more member of a struct share_config */
config_parse_fn config_parse_escape; /* a control character */
config_parse_fn config_parse_serial; /* struct config_serial */

/* A decimal number at text: its value, and where it ends. False: there is none, or over 2^64. */
bool config_read_number(const char *text, uint64_t *value, const char **end);

#endif
