/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes AML (ACPI 6.5, "ACPI Machine Language (AML) Specification") into a buffer: scopes,
 * devices, names, resource templates and interrupt routing, as far as a VM's tables need them. Each
 * function appends. After an overflow full stays set and nothing more is written.
 */
#ifndef UMBRA_GUEST_AML_H
#define UMBRA_GUEST_AML_H

#include "vmm/base/types.h"

#define AML_DEPTH_MAX 8

/* The caller sets area and size and may read used and full. All other fields start as zero. */
struct aml {
	uint8_t *area;
	size_t size;
	size_t used;
	bool full;
	uint32_t depth;
	size_t begins[AML_DEPTH_MAX]; /* offsets of the lengths of open objects */
};

/* Appends any bytes. */
void aml_append(struct aml *aml, const void *bytes, size_t count);

/*
 * Begin a Scope (path) or a Device (name), which ends at the matching aml_end. A name has four
 * characters; the path is one name, with or without a backslash before it.
 */
void aml_begin_scope(struct aml *aml, const char *path);
void aml_begin_device(struct aml *aml, const char *name);
void aml_end(struct aml *aml);

/* Name (name, ...) with an integer in its shortest form, a string, or EisaId ("PNP0A08"). */
void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_name_string(struct aml *aml, const char *name, const char *text);
void aml_name_eisa_id(struct aml *aml, const char *name, const char *id);

/*
 * Begins Name (_CRS, ResourceTemplate () { ... }). Its descriptors follow until aml_end_resources.
 */
void aml_begin_resources(struct aml *aml);
void aml_end_resources(struct aml *aml);

/* ACPI 6.5, "I/O Port Descriptor" and "32-Bit Fixed Memory Range Descriptor" (read-write). */
void aml_io(struct aml *aml, uint16_t base, uint8_t bytes);
void aml_memory32_fixed(struct aml *aml, uint32_t base, uint32_t bytes);

/* The kinds of address ranges of a bridge. */
enum aml_window {
	AML_WINDOW_MEMORY,
	AML_WINDOW_IO,
	AML_WINDOW_BUS_NUMBERS,
	AML_WINDOW_PREFETCHABLE,
};

/*
 * "WORD/DWORD/QWORD Address Space Descriptor": a range that a bridge forwards, from first to last
 * inclusive, in the smallest descriptor that is possible (memory: DWORD or QWORD; else WORD).
 */
void aml_window(struct aml *aml, enum aml_window kind, uint64_t first, uint64_t last);

/*
 * Begins Name (_PRT, Package (count) { ... }). count entries follow until aml_end. count is at most
 * 255.
 */
void aml_begin_prt(struct aml *aml, uint8_t count);

/* "_PRT (PCI Routing Table)": connects pin 0 to 3 (INTA# to INTD#) of a device to a GSI. */
void aml_prt_entry(struct aml *aml, uint32_t device, uint8_t pin, uint32_t gsi);

#endif
