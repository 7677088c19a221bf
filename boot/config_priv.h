/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by config.c (lines and sections), config_values.c and config_console.c (values), and
 * config_keys.c (the rows).
 */
#ifndef UMBRA_BOOT_CONFIG_PRIV_H
#define UMBRA_BOOT_CONFIG_PRIV_H

#include "boot/config.h"

#define CONFIG_MEMORY_MAX (4ul << 40) /* the largest memory of a VM or share */

/*
 * The parsers of values. Each parses the value of one key and stores it in the field that the key's
 * row describes. It returns NULL, or what is wrong as a clause that follows "KEY = VALUE". The
 * clause CONFIG_NOT_ALLOWED stands for "must be" and the text of config_allowed.
 */
typedef const char *config_parse_fn(const struct config_key *key, void *field, const char *text);
extern const char CONFIG_NOT_ALLOWED[];

config_parse_fn config_parse_choice; /* the value of a word, in key->bytes bytes */
config_parse_fn config_parse_word;   /* a pointer to the word itself */
config_parse_fn config_parse_number; /* key->min to key->max, in a uint32_t */
config_parse_fn config_parse_window; /* as config_parse_size, or auto: CONFIG_WINDOW_AUTO */
config_parse_fn config_parse_size; /* key->min to key->max in whole pages, in a uint64_t of bytes */
config_parse_fn config_parse_time; /* up to key->max days, in a uint32_t of seconds */
config_parse_fn config_parse_cpus; /* a bit for each CPU */
config_parse_fn config_parse_text; /* at most key->bytes with the NUL */
config_parse_fn config_parse_path; /* struct vm_file */
/* struct vm_file with one or several paths, separated by commas */
config_parse_fn config_parse_paths;
config_parse_fn config_parse_disk;   /* adds a disk to a VM, or an option to its last disk */
config_parse_fn config_parse_net;    /* adds a port to a VM, or an option to its last port */
config_parse_fn config_parse_source; /* struct vm_key_source; the words are key->choices */
config_parse_fn config_parse_range;  /* adds a range to a VM's clear ranges */
config_parse_fn config_parse_member; /* adds a member to a struct share_config */
config_parse_fn config_parse_escape; /* a control character */
config_parse_fn config_parse_serial; /* struct config_serial */

/*
 * The value of a choice for config_parse_source: a kind of key, or VM_KEY_FILE with the form of its
 * file. A word that ends with PATH stands for itself and a path.
 */
#define CONFIG_KEY_FORM_SHIFT 8
#define CONFIG_KEY_FORM(form) (VM_KEY_FILE | (uint64_t)(form) << CONFIG_KEY_FORM_SHIFT)

/* Whether a VM, a share or a net can have this name. */
bool config_name_is_good(const char *name);

/*
 * Reads a decimal number at text. *end is where it ends. Returns false if there is none, or if it
 * does not fit into 64 bits.
 */
bool config_read_number(const char *text, uint64_t *value, const char **end);

#endif
