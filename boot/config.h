/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umbra.conf, an INI file. The parser turns its text into a struct config, and logs what is wrong
 * with it. It is pure C, which does not call firmware.
 */
#ifndef UMBRA_BOOT_CONFIG_H
#define UMBRA_BOOT_CONFIG_H

#include "guest/share_config.h"
#include "guest/vm_config.h"
#include "vmm/base/types.h"
#include "vmm/console/log.h"
#include "vmm/console/serial.h"

#define CONFIG_VM_MAX	   64
#define CONFIG_LINE_MAX	   4094 /* characters of a line, without its comment */
#define CONFIG_ALLOWED_MAX 160	/* bytes of config_allowed's text */

enum config_exit {
	CONFIG_EXIT_STAY, /* after the last VM has ended, log it and wait for a person */
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
	struct serial_place place; /* CONFIG_SERIAL_PLACE; other kinds use only its divisor */
	uint32_t pci;		   /* CONFIG_SERIAL_PCI: bus << 8 | device << 3 | function */
	bool speed_given;
};

enum config_on_panic {
	CONFIG_ON_PANIC_STAY, /* the text stays on the screen */
	CONFIG_ON_PANIC_REBOOT,
};

/* [host] iommu. */
enum config_iommu {
	CONFIG_IOMMU_REQUIRE, /* run no VM if a device can reach memory; also for a wrong word */
	CONFIG_IOMMU_AUTO,    /* shut out what can be shut out */
	CONFIG_IOMMU_OFF,     /* leave the IOMMU as firmware has set it up */
};

/* [host] tpm. In each case keys of tpm:PATH are opened. */
enum config_tpm {
	CONFIG_TPM_OPEN,
	CONFIG_TPM_SEAL,   /* seal key files whose sealed form is missing */
	CONFIG_TPM_REPORT, /* write what seal.py needs to seal keys elsewhere */
};

#define CONFIG_WINDOW_AUTO 1ul /* ram_choose_window replaces it by a size */

struct config {
	enum config_exit exit;
	struct config_serial serial;
	uint8_t escape_key; /* a control character; switches between VM and shell */
	bool shell;	    /* false: no key leads to the shell */
	enum config_on_panic on_panic;
	enum log_level log_level;
	/*
	 * Size of the window, which is memory in clear for all VMs of the software engine. It may
	 * be CONFIG_WINDOW_AUTO. 0: there is no window.
	 */
	uint64_t window_bytes;
	const char *engine_cipher; /* for page_cipher_init */
	bool keys_in_memory;	   /* key-store = memory; else, or for a wrong word, registers */
	enum config_tpm tpm;
	bool attest_always; /* report even if keys must then be opened before DMA is shut out */
	bool tme_activate;  /* switch TME-MK on where firmware left its register open */
	enum config_iommu iommu;
	struct vm_config vms[CONFIG_VM_MAX];
	size_t vm_count;
	struct share_config shares[SHARE_MAX];
	size_t share_count;
	size_t error_count; /* how many problems were found */
};

/* A word of the file and its value. */
struct config_choice {
	const char *word;
	uint64_t value;
};

/*
 * All facts about a key. The parser, its messages, the table of boot/README.md and the shell's
 * `help config` use these rows. Exactly one of standard, absent and example is given.
 */
struct config_key {
	const char *section; /* "host", "vm" or "share" */
	const char *name;
	const char *help; /* what the key does: one or a few sentences of plain ASCII */
	/*
	 * Stores a value in the field. Returns NULL, or what is wrong with the value
	 * (boot/config_priv.h).
	 */
	const char *(*parse)(const struct config_key *key, void *field, const char *value);
	const struct config_choice *choices; /* ends with a NULL word; NULL: see allowed */
	/* Text that can follow "must be"; %lu stands for max. NULL: the choices, or min to max. */
	const char *allowed;
	uint64_t min, max;    /* in bytes for a size, in days for a time */
	const char *standard; /* the default value, written as in the file */
	const char *absent;   /* or, without one, what holds if the key is absent */
	const char *example;  /* or, for a required key, an example of a value */
	size_t offset;	      /* of the field in struct config, vm_config or share_config */
	size_t bytes;	      /* of the field */
	bool list; /* items separated by commas, each parsed by itself; the key may be repeated */
	/*
	 * a wrong value, no value, or a second one zeroes the field, because the standard value or
	 * the first one would grant more
	 */
	bool zero_if_wrong;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count; /* at most 64 */

/*
 * Returns the next row with this name (in any case) after `after`, or from the first row if `after`
 * is NULL. Returns NULL if there is none.
 */
const struct config_key *config_find_key(const char *name, const struct config_key *after);

/* Writes the allowed values of a key, as a clause that can follow "must be". Returns buf. */
const char *config_allowed(const struct config_key *key, char buf[CONFIG_ALLOWED_MAX]);

/*
 * Parses a list of CPUs such as "0,2-3" into one bit for each CPU. Returns false, and keeps
 * affinity, if the text is not such a list.
 */
bool config_parse_affinity(const char *text, uint64_t affinity[CPU_MAX / 64]);

/* Fills *out with the standard values of [host]. Then it has no VMs and no shares. */
void config_defaults(struct config *out);

/*
 * Parses a text, whose length in bytes is given. It may hold any bytes and needs no terminating
 * NUL. file is its name in messages. Every problem is logged as "file:line: what is wrong" and
 * counted. A section of a VM or share with a problem stays in the list with valid = false, so that
 * the others still start. Returns 0, or ERR_FORMAT if there was a problem.
 */
int config_parse(const char *file, const char *text, size_t bytes, struct config *out);

#endif
