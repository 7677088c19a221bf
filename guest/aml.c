/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes AML. Every PkgLength takes three bytes, whatever its value, so that it can be filled in
 * at the end of its object.
 */
#include "guest/aml.h"

#include "vmm/base/panic.h"
#include "vmm/base/str.h"

/* ACPI 6.5, "AML Byte Stream Byte Values". */
#define ZERO_OP	      0x00
#define ONE_OP	      0x01
#define NAME_OP	      0x08
#define BYTE_PREFIX   0x0a
#define WORD_PREFIX   0x0b
#define DWORD_PREFIX  0x0c
#define STRING_PREFIX 0x0d
#define QWORD_PREFIX  0x0e
#define SCOPE_OP      0x10
#define BUFFER_OP     0x11
#define PACKAGE_OP    0x12
#define EXT_PREFIX    0x5b
#define DEVICE_OP     0x82 /* after EXT_PREFIX */

#define PKG_LENGTH_BYTES 3
#define PKG_LENGTH_LEAD	 0x80 /* two more bytes follow; this byte has the low four bits */

#define NAME_CHARS 4

/* ACPI 6.5, "Resource Data Types for ACPI". */
#define IO_TAG		    0x47
#define IO_DECODE16	    1
#define MEMORY32_FIXED_TAG  0x86
#define MEMORY32_READ_WRITE 1
#define END_TAG		    0x79
#define QWORD_TAG	    0x8a
#define DWORD_TAG	    0x87
#define WORD_TAG	    0x88

/* "Address Space Descriptors": general flags. */
#define WINDOW_FIXED 0x0c /* _MIF and _MAF; resource producer, positive decoding */

static void append_le(struct aml *aml, uint64_t value, size_t bytes)
{
	uint8_t out[8];

	for (size_t i = 0; i < bytes; i++) {
		out[i] = (uint8_t)(value >> 8 * i);
	}
	aml_append(aml, out, bytes);
}

void aml_append(struct aml *aml, const void *bytes, size_t count)
{
	if (aml->full || count > aml->size - aml->used) {
		aml->full = true;
		return;
	}
	memcpy(aml->area + aml->used, bytes, count);
	aml->used += count;
}

static void begin(struct aml *aml)
{
	CHECK(aml->depth < AML_DEPTH_MAX);
	aml->begins[aml->depth++] = aml->used;
	append_le(aml, 0, PKG_LENGTH_BYTES);
}

/* The length includes its own bytes. */
void aml_end(struct aml *aml)
{
	const size_t at = aml->begins[--aml->depth];
	const size_t length = aml->used - at;

	if (aml->full || length >= BIT(20)) {
		aml->full = true;
		return;
	}
	aml->area[at] = (uint8_t)(PKG_LENGTH_LEAD | (length & 0xf));
	aml->area[at + 1] = (uint8_t)(length >> 4);
	aml->area[at + 2] = (uint8_t)(length >> 12);
}

void aml_begin_scope(struct aml *aml, const char *path)
{
	append_le(aml, SCOPE_OP, 1);
	begin(aml);
	aml_append(aml, path, path[0] == '\\' ? 1 + NAME_CHARS : NAME_CHARS);
}

void aml_begin_device(struct aml *aml, const char *name)
{
	append_le(aml, EXT_PREFIX | DEVICE_OP << 8, 2);
	begin(aml);
	aml_append(aml, name, NAME_CHARS);
}

static void append_integer(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		append_le(aml, value == 0 ? ZERO_OP : ONE_OP, 1);
	} else if (value <= UINT8_MAX) {
		append_le(aml, BYTE_PREFIX, 1);
		append_le(aml, value, 1);
	} else if (value <= UINT16_MAX) {
		append_le(aml, WORD_PREFIX, 1);
		append_le(aml, value, 2);
	} else if (value <= UINT32_MAX) {
		append_le(aml, DWORD_PREFIX, 1);
		append_le(aml, value, 4);
	} else {
		append_le(aml, QWORD_PREFIX, 1);
		append_le(aml, value, 8);
	}
}

static void append_name(struct aml *aml, const char *name)
{
	append_le(aml, NAME_OP, 1);
	aml_append(aml, name, NAME_CHARS);
}

void aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
	append_name(aml, name);
	append_integer(aml, value);
}

void aml_name_string(struct aml *aml, const char *name, const char *text)
{
	append_name(aml, name);
	append_le(aml, STRING_PREFIX, 1);
	aml_append(aml, text, strlen(text) + 1);
}

static uint32_t hex_digit(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* ACPI 6.5, "EISAID": three letters of five bits and four digits, most significant byte first. */
void aml_name_eisa_id(struct aml *aml, const char *name, const char *id)
{
	uint32_t value = 0;

	for (int i = 0; i < 3; i++) {
		value = value << 5 | ((uint32_t)id[i] & 0x1f);
	}
	for (int i = 3; i < 7; i++) {
		value = value << 4 | hex_digit(id[i]);
	}
	append_name(aml, name);
	append_le(aml, DWORD_PREFIX, 1);
	append_le(aml, __builtin_bswap32(value), 4);
}

/* A buffer's length stands before its bytes. It is encoded as a word and filled in at the end. */
void aml_begin_resources(struct aml *aml)
{
	append_name(aml, "_CRS");
	append_le(aml, BUFFER_OP, 1);
	begin(aml);
	append_le(aml, WORD_PREFIX, 1);
	append_le(aml, 0, 2);
}

void aml_end_resources(struct aml *aml)
{
	const size_t at = aml->begins[aml->depth - 1] + PKG_LENGTH_BYTES + 1;
	size_t bytes;

	append_le(aml, END_TAG, 2); /* a checksum of 0 is accepted */
	if (!aml->full) {
		bytes = aml->used - at - 2;
		aml->area[at] = (uint8_t)bytes;
		aml->area[at + 1] = (uint8_t)(bytes >> 8);
	}
	aml_end(aml);
}

void aml_io(struct aml *aml, uint16_t base, uint8_t bytes)
{
	append_le(aml, IO_TAG | IO_DECODE16 << 8, 2);
	append_le(aml, base, 2);
	append_le(aml, base, 2);
	append_le(aml, 1, 1); /* alignment */
	append_le(aml, bytes, 1);
}

void aml_memory32_fixed(struct aml *aml, uint32_t base, uint32_t bytes)
{
	append_le(aml, MEMORY32_FIXED_TAG, 1);
	append_le(aml, 9, 2);
	append_le(aml, MEMORY32_READ_WRITE, 1);
	append_le(aml, base, 4);
	append_le(aml, bytes, 4);
}

/* By enum aml_window: the resource type and its flags. */
static const struct {
	uint8_t type, flags;
} windows[] = {
	[AML_WINDOW_MEMORY] = { 0, 1 }, /* read-write */
	[AML_WINDOW_IO] = { 1, 3 },	/* the entire range: ISA and other ports */
	[AML_WINDOW_BUS_NUMBERS] = { 2, 0 },
	[AML_WINDOW_PREFETCHABLE] = { 0, 7 }, /* read-write, prefetchable */
};

void aml_window(struct aml *aml, enum aml_window kind, uint64_t first, uint64_t last)
{
	const bool memory = windows[kind].type == 0;
	const size_t bytes = !memory ? 2 : last <= UINT32_MAX ? 4 : 8;

	append_le(aml, bytes == 2 ? WORD_TAG : bytes == 4 ? DWORD_TAG : QWORD_TAG, 1);
	append_le(aml, 3 + 5 * bytes, 2);
	append_le(aml, windows[kind].type, 1);
	append_le(aml, WINDOW_FIXED, 1);
	append_le(aml, windows[kind].flags, 1);
	append_le(aml, 0, bytes); /* granularity */
	append_le(aml, first, bytes);
	append_le(aml, last, bytes);
	append_le(aml, 0, bytes); /* translation */
	append_le(aml, last - first + 1, bytes);
}

static void begin_package(struct aml *aml, uint8_t count)
{
	append_le(aml, PACKAGE_OP, 1);
	begin(aml);
	append_le(aml, count, 1);
}

void aml_begin_prt(struct aml *aml, uint8_t count)
{
	append_name(aml, "_PRT");
	begin_package(aml, count);
}

/* The address covers all functions of the device. The source is zero: the number is a GSI. */
void aml_prt_entry(struct aml *aml, uint32_t device, uint8_t pin, uint32_t gsi)
{
	begin_package(aml, 4);
	append_integer(aml, (uint64_t)device << 16 | 0xffff);
	append_integer(aml, pin);
	append_integer(aml, 0);
	append_integer(aml, gsi);
	aml_end(aml);
}
