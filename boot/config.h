/* SPDX-License-Identifier: Apache-2.0 */
/* umbra.conf: an INI file (inih). Pure C, no firmware: text in, struct config and messages out. */
#ifndef UMBRA_BOOT_CONFIG_H
#define UMBRA_BOOT_CONFIG_H

#include "guest/share_config.h"
#include "guest/vm_config.h"
#include "vmm/base/log.h"
#include "vmm/base/serial.h"
#include "vmm/base/types.h"

#define CONFIG_WHY_MAX	      160 /* bytes for what is wrong with a value */
#define CONFIG_VM_MAX	      64
#define CONFIG_ESCAPE_DEFAULT 0x1e /* Ctrl-^ */
#define CONFIG_WINDOW_DEFAULT (16ull << 20)

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

/* "0,2-3" into a bit for each CPU, or false and a clause for people in why[CONFIG_WHY_MAX]. */
bool config_parse_affinity(const char *text, uint64_t affinity[CPU_MAX / 64], char *why);

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
