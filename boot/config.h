/* SPDX-License-Identifier: Apache-2.0 */
/* umbra.conf: an INI file. Pure C, no firmware: text in, struct config and messages out. */
#ifndef UMBRA_BOOT_CONFIG_H
#define UMBRA_BOOT_CONFIG_H

#include "guest/share_config.h"
#include "guest/vm_config.h"
#include "vmm/base/log.h"
#include "vmm/base/serial.h"
#include "vmm/base/types.h"

#define CONFIG_VM_MAX	   64
#define CONFIG_LINE_MAX	   4094 /* characters of a line, without its comment */
#define CONFIG_ALLOWED_MAX 160	/* bytes of config_allowed's text */

enum config_exit {
	CONFIG_EXIT_STAY, /* the last VM ended: say so and wait for a person */
	CONFIG_EXIT_POWEROFF,
};

/* [host] serial. */
enum config_serial_kind {
	CONFIG_SERIAL_AUTO, /* what ACPI names, else COM1 */
	CONFIG_SERIAL_NONE,
	CONFIG_SERIAL_PLACE,
	CONFIG_SERIAL_PCI,
};

struct config_serial {
	enum config_serial_kind kind;
	struct serial_place place; /* CONFIG_SERIAL_PLACE; its divisor for the others as well */
	uint32_t pci;		   /* CONFIG_SERIAL_PCI: bus << 8 | device << 3 | function */
	bool speed_given;
};

enum config_on_panic {
	CONFIG_ON_PANIC_STAY, /* the text stays on the screen */
	CONFIG_ON_PANIC_REBOOT,
};

struct config {
	enum config_exit exit;
	struct config_serial serial;
	uint8_t escape_key; /* a control character: from a VM to the shell and back */
	bool shell;	    /* false: nobody can reach it */
	enum config_on_panic on_panic;
	enum log_level log_level;
	uint64_t window_bytes;	   /* of the software engine: the plaintext of all VMs together */
	const char *engine_cipher; /* page_cipher_init's word */
	bool tme_activate;	   /* switch TME-MK on where firmware left that open */
	struct vm_config vms[CONFIG_VM_MAX];
	size_t vm_count;
	struct share_config shares[SHARE_MAX];
	size_t share_count;
	size_t error_count; /* messages that were logged */
};

/* A word of the file and what it means. */
struct config_choice {
	const char *word;
	uint64_t value;
};

/*
 * All that is known of a key: the parser, its messages, the table of boot/README.md and the shell's
 * `help config` come from these rows. Exactly one of standard, absent and example is given.
 */
struct config_key {
	const char *section; /* "host", "vm" or "share" */
	const char *name;
	const char *help; /* one or a few sentences of plain ASCII: what the key does */
	/* Stores a value in the field, or returns what is wrong with it (boot/config_priv.h). */
	const char *(*parse)(const struct config_key *key, void *field, const char *value);
	const struct config_choice *choices; /* the last has no word; NULL: see allowed */
	/* What may follow "must be"; %lu stands for max. NULL: the choices, or min to max. */
	const char *allowed;
	uint64_t min, max;    /* in bytes for a size, in days for a time */
	const char *standard; /* the value that holds when the key is absent, as it is written */
	const char *absent;   /* or, in words, what is so then */
	const char *example;  /* or the key must be given, and this is what it may look like */
	size_t offset;	      /* of the field in struct config, vm_config or share_config */
	size_t bytes;	      /* of the field */
	bool list;	      /* items behind commas, each of which is parsed; may be given again */
	bool zero_if_wrong;   /* a wrong value zeroes the field: the standard would grant more */
};

extern const struct config_key config_keys[];
extern const size_t config_key_count; /* at most 64 */

/* The next row of this name, whatever its case, behind `after` (NULL: from the first), or NULL. */
const struct config_key *config_find_key(const char *name, const struct config_key *after);

/* What the values of a key may be, as a clause that can follow "must be". Returns buf. */
const char *config_allowed(const struct config_key *key, char buf[CONFIG_ALLOWED_MAX]);

/* "0,2-3" into a bit for each CPU; false: it is not such a list, and affinity is as before. */
bool config_parse_affinity(const char *text, uint64_t affinity[CPU_MAX / 64]);

/* What holds where nothing is written: no VMs. */
void config_defaults(struct config *out);

/*
 * Parses text of bytes length (not terminated, may hold anything). Every problem is logged as
 * "file:line: what is wrong" and counted; a section of a VM or share with a problem is kept with
 * valid = false, so that the others still start. file is the name used in messages. Returns 0, or
 * ERR_FORMAT when there were errors.
 */
int config_parse(const char *file, const char *text, size_t bytes, struct config *out);

#endif
