/* SPDX-License-Identifier: Apache-2.0 */
/* Reads MADT, FADT and SRAT, and finds \_S5_ without an AML interpreter. */
#include "vmm/host/acpi_host.h"

#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/acpi_priv.h"

/* FADT (ACPI, "Fixed ACPI Description Table"): offsets of fields and of extended fields. */
#define FADT_DSDT	 40
#define FADT_PM1A_CNT	 64
#define FADT_PM1B_CNT	 68
#define FADT_PM_TMR	 76
#define FADT_PM_TMR_LEN	 91
#define FADT_FLAGS	 112
#define FADT_RESET_REG	 116
#define FADT_RESET_VALUE 128
#define FADT_X_DSDT	 140
#define FADT_X_PM1A_CNT	 172
#define FADT_X_PM1B_CNT	 184
#define FADT_X_PM_TMR	 208
#define FADT_V1_BYTES	 116

#define FADT_FLAG_RESET	     BIT(10)
#define FADT_FLAG_HW_REDUCED BIT(20)

/* MADT (ACPI, "Multiple APIC Description Table"). */
#define MADT_ENTRIES 44
#define MADT_LAPIC   0
#define MADT_X2APIC  9
#define MADT_ENABLED BIT(0)

/* SRAT (ACPI, "System Resource Affinity Table"). */
#define SRAT_ENTRIES	  48
#define SRAT_LAPIC	  0
#define SRAT_LAPIC_BYTES  16
#define SRAT_MEMORY	  1
#define SRAT_MEMORY_BYTES 40
#define SRAT_X2APIC	  2
#define SRAT_X2APIC_BYTES 24
#define SRAT_ENABLED	  BIT(0)

#define AML_ZERO_OP	0x00
#define AML_ONE_OP	0x01
#define AML_NAME_OP	0x08
#define AML_BYTE_PREFIX 0x0a
#define AML_PACKAGE_OP	0x12

static void add_cpu(struct acpi_facts *out, uint32_t apic_id)
{
	uint32_t i;

	for (i = 0; i < out->cpu_count; i++) {
		if (out->apic_ids[i] == apic_id) {
			return;
		}
	}
	if (out->cpu_count == CPU_MAX) {
		out->cpus_left_out++;
	} else {
		out->apic_ids[out->cpu_count++] = apic_id;
	}
}

static void read_madt_entry(const uint8_t *entry, uint32_t length, struct acpi_facts *out)
{
	if (entry[0] == MADT_LAPIC && length >= 8 && (entry[4] & MADT_ENABLED) != 0) {
		add_cpu(out, entry[3]);
	} else if (entry[0] == MADT_X2APIC && length >= 16 && (entry[8] & MADT_ENABLED) != 0) {
		add_cpu(out, (uint32_t)acpi_le(entry + 4, 4));
	}
}

static void add_near_cpu(struct acpi_affinity *out, uint32_t apic_id, uint32_t domain)
{
	if (out->cpu_count < ACPI_NEAR_CPUS_MAX) {
		out->cpus[out->cpu_count++] = (struct acpi_near_cpu){ apic_id, domain };
	}
}

static void add_near_memory(struct acpi_affinity *out, uint64_t base, uint64_t bytes,
			    uint32_t domain)
{
	uint64_t end;

	if (bytes == 0) {
		return;
	}
	if (out->memory_count == ACPI_NEAR_MEMORY_MAX ||
	    __builtin_add_overflow(base, bytes, &end)) {
		out->memory_left_out = true;
		return;
	}
	out->memory[out->memory_count++] = (struct acpi_near_memory){ hpa(base), bytes, domain };
}

static void read_srat_entry(const uint8_t *entry, uint32_t length, struct acpi_facts *out)
{
	struct acpi_affinity *near = &out->affinity;

	if (entry[0] == SRAT_LAPIC && length >= SRAT_LAPIC_BYTES &&
	    (entry[4] & SRAT_ENABLED) != 0) {
		add_near_cpu(near, entry[3], (uint32_t)acpi_le(entry + 9, 3) << 8 | entry[2]);
	} else if (entry[0] == SRAT_X2APIC && length >= SRAT_X2APIC_BYTES &&
		   (entry[12] & SRAT_ENABLED) != 0) {
		add_near_cpu(near, (uint32_t)acpi_le(entry + 8, 4),
			     (uint32_t)acpi_le(entry + 4, 4));
	} else if (entry[0] == SRAT_MEMORY && length >= SRAT_MEMORY_BYTES &&
		   (entry[28] & SRAT_ENABLED) != 0) {
		add_near_memory(near, acpi_le(entry + 8, 8), acpi_le(entry + 16, 8),
				(uint32_t)acpi_le(entry + 2, 4));
	}
}

/* Walks the entries of a MADT or SRAT. Each begins with a byte of type and a byte of length. */
static void read_entries(const struct acpi_table *t, const char *name, uint32_t offset,
			 void (*each)(const uint8_t *entry, uint32_t length,
				      struct acpi_facts *out),
			 struct acpi_facts *out)
{
	while (offset + 2 <= t->length) {
		const uint8_t *entry = t->bytes + offset;
		uint32_t length = entry[1];

		if (length < 2 || length > t->length - offset) {
			log_warn("ACPI: %s entry at offset %u has length %u; the rest is ignored",
				 name, offset, length);
			return;
		}
		each(entry, length, out);
		offset += length;
	}
}

/*
 * Returns a port in the FADT: that of the extended field if the table has this field and it names a
 * port, else that of the old field.
 */
static uint16_t fadt_port(const struct acpi_table *t, uint32_t old, uint32_t extended)
{
	uint64_t address = 0;

	if (t->length >= extended + ACPI_GAS_BYTES && t->bytes[extended] == ACPI_SPACE_IO) {
		address = acpi_le(t->bytes + extended + 4, 8);
	}
	if (address == 0) {
		address = acpi_le(t->bytes + old, 4);
	}
	return address <= UINT16_MAX - 4 ? (uint16_t)address : 0;
}

static void read_reset_register(const struct acpi_table *t, struct acpi_facts *out)
{
	uint8_t space;

	if (t->length <= FADT_RESET_VALUE) {
		return;
	}
	space = t->bytes[FADT_RESET_REG];
	out->reset_address = acpi_le(t->bytes + FADT_RESET_REG + 4, 8);
	out->reset_value = t->bytes[FADT_RESET_VALUE];
	out->reset_space = space == ACPI_SPACE_IO ? ACPI_SPACE_IO : ACPI_SPACE_MEMORY;
	out->has_reset = out->reset_address != 0 &&
			 ((space == ACPI_SPACE_IO && out->reset_address <= UINT16_MAX) ||
			  space == ACPI_SPACE_MEMORY);
}

/* Reads one element of the package, which must be a byte constant, and moves *p behind it. */
static bool aml_byte(const uint8_t **p, const uint8_t *end, uint8_t *value)
{
	if (*p < end && (**p == AML_ZERO_OP || **p == AML_ONE_OP)) {
		*value = *(*p)++;
		return true;
	}
	if (end - *p >= 2 && **p == AML_BYTE_PREFIX) {
		*value = (*p)[1];
		*p += 2;
		return true;
	}
	return false;
}

/* Reads what follows the name: Package (n) { SLP_TYPa, SLP_TYPb, ... }, with byte constants. */
static bool s5_package(const uint8_t *p, const uint8_t *end, struct acpi_facts *out)
{
	uint8_t a, b;
	unsigned length_bytes;

	if (end - p < 2 || *p++ != AML_PACKAGE_OP) {
		return false;
	}
	/* ACPI, "Package Length Encoding": the top two bits say how many bytes follow. */
	length_bytes = 1 + (*p >> 6);
	if ((size_t)(end - p) < length_bytes + 1u || p[length_bytes] < 1) {
		return false;
	}
	b = p[length_bytes]; /* number of elements */
	p += length_bytes + 1;
	if (!aml_byte(&p, end, &a)) {
		return false;
	}
	if (b < 2 || !aml_byte(&p, end, &b)) {
		b = a;
	}
	/* SLP_TYP has three bits (ACPI, "PM1 Control Registers"). */
	if (a > 7 || b > 7) {
		return false;
	}
	out->s5_type_a = a;
	out->s5_type_b = b;
	return true;
}

static void find_s5(const struct acpi_table *t, struct acpi_facts *out)
{
	const uint8_t *end = t->bytes + t->length;
	const uint8_t *p;

	for (p = t->bytes + ACPI_HEADER_BYTES; !out->has_s5 && end - p > 5; p++) {
		if (*p == AML_NAME_OP && memcmp(p + 1, "_S5_", 4) == 0) {
			out->has_s5 = s5_package(p + 5, end, out);
		} else if (*p == AML_NAME_OP && end - p > 6 && memcmp(p + 1, "\\_S5_", 5) == 0) {
			out->has_s5 = s5_package(p + 6, end, out);
		}
	}
}

static void read_fadt(const struct acpi_reader *reader, const struct acpi_table *t,
		      struct acpi_facts *out)
{
	struct acpi_table dsdt;
	uint64_t flags, address = 0;

	if (t->length < FADT_V1_BYTES) {
		log_warn("ACPI: FADT of %u bytes is too short", t->length);
		return;
	}
	flags = acpi_le(t->bytes + FADT_FLAGS, 4);
	if ((flags & FADT_FLAG_HW_REDUCED) == 0) {
		out->pm1a_control = fadt_port(t, FADT_PM1A_CNT, FADT_X_PM1A_CNT);
		out->pm1b_control = fadt_port(t, FADT_PM1B_CNT, FADT_X_PM1B_CNT);
		if (t->bytes[FADT_PM_TMR_LEN] == 4) {
			out->pm_timer_port = fadt_port(t, FADT_PM_TMR, FADT_X_PM_TMR);
		}
	}
	if ((flags & FADT_FLAG_RESET) != 0) {
		read_reset_register(t, out);
	}
	if (t->length >= FADT_X_DSDT + 8) {
		address = acpi_le(t->bytes + FADT_X_DSDT, 8);
	}
	if (address == 0) {
		address = acpi_le(t->bytes + FADT_DSDT, 4);
	}
	if (acpi_open_table(reader, address, "DSDT", &dsdt)) {
		find_s5(&dsdt, out);
	} else {
		log_warn("ACPI: no usable DSDT at 0x%lx", address);
	}
}

static void read_table(const struct acpi_reader *reader, uint64_t address, void *context)
{
	struct acpi_facts *out = context;
	const uint8_t *p = acpi_at(reader, address, ACPI_HEADER_BYTES);
	char signature[5] = { 0 };
	struct acpi_table t;

	if (p == NULL) {
		log_warn("ACPI: a table at 0x%lx is not in memory", address);
		return;
	}
	memcpy(signature, p, 4);
	if (strcmp(signature, "APIC") != 0 && strcmp(signature, "FACP") != 0 &&
	    strcmp(signature, "SRAT") != 0 && strcmp(signature, "SSDT") != 0) {
		return;
	}
	if (!acpi_open_table(reader, address, signature, &t)) {
		log_warn("ACPI: %s at 0x%lx is broken (length or checksum)", signature, address);
	} else if (signature[0] == 'A') {
		read_entries(&t, "MADT", MADT_ENTRIES, read_madt_entry, out);
	} else if (signature[1] == 'R') {
		read_entries(&t, "SRAT", SRAT_ENTRIES, read_srat_entry, out);
	} else if (signature[0] == 'F') {
		read_fadt(reader, &t, out);
	} else {
		find_s5(&t, out);
	}
}

int acpi_read(hpa_t rsdp, const struct acpi_reader *reader, struct acpi_facts *out)
{
	memset(out, 0, sizeof(*out));
	return acpi_for_each_table(reader, rsdp, read_table, out);
}
