/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composes ACPI tables in a buffer, one after the other, each aligned to TABLE_ALIGN. Structures
 * and fields have the specification's names. Fields that an initialiser does not name are zero.
 */
#include "guest/acpi_build.h"

#include "guest/aml.h"
#include "guest/dev/vpci.h"
#include "guest/memmap.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/page_alloc.h"

#define TABLE_ALIGN 64u /* the alignment of the FACS */

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 5.2.6");

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* over the first RSDP_V1_BYTES */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address;
	uint32_t length;
	uint64_t xsdt_address;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 5.2.5.3");
#define RSDP_V1_BYTES 20

enum xsdt_entry {
	XSDT_FADT,
	XSDT_MADT,
	XSDT_MCFG,
	XSDT_SSDT,
	XSDT_ENTRY_COUNT,
};

struct acpi_xsdt {
	struct acpi_header header;
	uint64_t entry[XSDT_ENTRY_COUNT];
} __attribute__((packed));

/* Generic Address Structure; all of ours are I/O ports. */
struct acpi_gas {
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size; /* 1: byte, 2: word, 3: dword */
	uint64_t address;
} __attribute__((packed));
#define GAS_PORT(port, bits, access)                                                  \
	{                                                                             \
		.space = 1, .bit_width = bits, .access_size = access, .address = port \
	}

struct acpi_fadt {
	struct acpi_header header;
	uint32_t firmware_ctrl;
	uint32_t dsdt;
	uint8_t reserved_44;
	uint8_t preferred_pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk;
	uint32_t pm2_cnt_blk, pm_tmr_blk, gpe0_blk, gpe1_blk;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len;
	uint8_t gpe0_blk_len, gpe1_blk_len, gpe1_base, cst_cnt;
	uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
	uint16_t iapc_boot_arch;
	uint8_t reserved_111;
	uint32_t flags;
	struct acpi_gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct acpi_gas x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk;
	struct acpi_gas x_pm2_cnt_blk, x_pm_tmr_blk, x_gpe0_blk, x_gpe1_blk;
	struct acpi_gas sleep_control_reg, sleep_status_reg;
	char hypervisor_vendor[8];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_fadt) == 276, "ACPI 5.2.9");
_Static_assert(offsetof(struct acpi_fadt, flags) == 112, "ACPI 5.2.9");

/* FADT, iapc_boot_arch. The clear bit 1 says that there is no 8042. */
#define BOOT_ARCH_LEGACY_DEVICES BIT(0)
#define BOOT_ARCH_NO_VGA	 BIT(2)
#define BOOT_ARCH_NO_ASPM	 BIT(4)

/*
 * FADT, flags. The power button (bit 4) and the clock's alarm (bit 6) are clear, so both are fixed
 * hardware with a status and an enable bit in PM1. guest/dev/vlegacy.c implements both.
 */
#define FADT_WBINVD	   BIT(0)
#define FADT_PROC_C1	   BIT(2)
#define FADT_NO_SLP_BUTTON BIT(5)
#define FADT_TMR_VAL_EXT   BIT(8) /* 32-bit timer */
#define FADT_RESET_REG_SUP BIT(10)
#define NO_C2_LATENCY	   101
#define NO_C3_LATENCY	   1001
#define CMOS_CENTURY	   0x32

struct acpi_facs {
	char signature[4];
	uint32_t length;
	uint32_t hardware_signature;
	uint32_t firmware_waking_vector;
	uint32_t global_lock;
	uint32_t flags;
	uint64_t x_firmware_waking_vector;
	uint8_t version;
	uint8_t reserved[31];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_facs) == 64, "ACPI 5.2.10");

struct acpi_madt {
	struct acpi_header header;
	uint32_t lapic_address;
	uint32_t flags;
} __attribute__((packed));
#define MADT_PCAT_COMPAT BIT(0)

/* MADT, interrupt controller structures. */
struct madt_lapic {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} __attribute__((packed));

struct madt_x2apic {
	uint8_t type, length;
	uint16_t reserved;
	uint32_t apic_id, flags, uid;
} __attribute__((packed));

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

struct madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} __attribute__((packed));

struct madt_lapic_nmi {
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
} __attribute__((packed));

struct madt_x2apic_nmi {
	uint8_t type, length;
	uint16_t flags;
	uint32_t uid;
	uint8_t lint, reserved[3];
} __attribute__((packed));

/* PCI Firmware Specification 3.0, 4.1.2: the address of PCI configuration space in memory. */
struct acpi_mcfg {
	struct acpi_header header;
	uint8_t reserved[8];
	uint64_t base;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved_56;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_mcfg) == 60, "PCI Firmware Specification 3.0, 4.1.2");

#define MADT_ENABLED	 1u
#define MADT_HIGH_LEVEL	 0x000du /* MPS INTI flags: active high, level-triggered */
#define MADT_LAPIC_MAX	 254u	 /* APIC ID 255 and above need the x2APIC form */
#define MADT_ALL_UIDS	 0xffu
#define MADT_ALL_X2_UIDS 0xffffffffu

extern const uint8_t dsdt_aml[], dsdt_aml_end[];

/* Where the next table goes. After an overflow bytes.full stays set and nothing more is written. */
struct composer {
	struct aml bytes;
	uint32_t base;
};

static void append(struct composer *to, const void *bytes, size_t count)
{
	aml_append(&to->bytes, bytes, count);
}

/*
 * Aligns and returns the offset at which a table starts. Its guest address is this offset plus
 * base.
 */
static size_t begin_table(struct composer *to)
{
	static const uint8_t zeros[TABLE_ALIGN];

	append(to, zeros, ALIGN_UP(to->bytes.used, (size_t)TABLE_ALIGN) - to->bytes.used);
	return to->bytes.used;
}

static uint8_t checksum(const uint8_t *bytes, size_t count)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		sum = (uint8_t)(sum + bytes[i]);
	}
	return (uint8_t)(0 - sum);
}

/* Fills in length and checksum of the table that began at start; returns its guest address. */
static uint32_t end_table(struct composer *to, size_t start)
{
	struct acpi_header *header = (struct acpi_header *)(to->bytes.area + start);

	if (!to->bytes.full) {
		header->length = (uint32_t)(to->bytes.used - start);
		header->checksum = 0;
		header->checksum = checksum(to->bytes.area + start, header->length);
	}
	return to->base + (uint32_t)start;
}

static struct acpi_header make_header(const char *signature, uint8_t revision)
{
	struct acpi_header header = {
		.revision = revision,
		.oem_id = "UMBRA ",
		.oem_table_id = "UMBRA   ",
		.oem_revision = 1,
		.creator_id = "UMBR",
		.creator_revision = 1,
	};

	memcpy(header.signature, signature, sizeof(header.signature));
	return header;
}

static uint32_t add_dsdt(struct composer *to)
{
	size_t start = begin_table(to);

	append(to, dsdt_aml, (size_t)(dsdt_aml_end - dsdt_aml));
	return end_table(to, start);
}

static uint32_t add_facs(struct composer *to)
{
	static const struct acpi_facs facs = {
		.signature = "FACS",
		.length = sizeof(facs),
		.version = 2,
	};
	size_t start = begin_table(to);

	append(to, &facs, sizeof(facs));
	return to->base + (uint32_t)start;
}

static uint32_t add_fadt(struct composer *to, uint32_t dsdt, uint32_t facs)
{
	struct acpi_fadt fadt = {
		.header = make_header("FACP", 6),
		.firmware_ctrl = facs,
		.dsdt = dsdt,
		.sci_int = IRQ_SCI,
		.pm1a_evt_blk = PORT_PM1_EVENT,
		.pm1a_cnt_blk = PORT_PM1_CONTROL,
		.pm_tmr_blk = PORT_PM_TIMER,
		.pm1_evt_len = 4,
		.pm1_cnt_len = 2,
		.pm_tmr_len = 4,
		.p_lvl2_lat = NO_C2_LATENCY,
		.p_lvl3_lat = NO_C3_LATENCY,
		.century = CMOS_CENTURY,
		.iapc_boot_arch = BOOT_ARCH_LEGACY_DEVICES | BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_ASPM,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLP_BUTTON | FADT_TMR_VAL_EXT |
			 FADT_RESET_REG_SUP,
		.reset_reg = GAS_PORT(PORT_RESET, 8, 1),
		.reset_value = RESET_VALUE,
		.x_dsdt = dsdt,
		.x_pm1a_evt_blk = GAS_PORT(PORT_PM1_EVENT, 32, 2),
		.x_pm1a_cnt_blk = GAS_PORT(PORT_PM1_CONTROL, 16, 2),
		.x_pm_tmr_blk = GAS_PORT(PORT_PM_TIMER, 32, 3),
		.hypervisor_vendor = "Umbra",
	};
	size_t start = begin_table(to);

	append(to, &fadt, sizeof(fadt));
	return end_table(to, start);
}

static void add_madt_processor(struct composer *to, uint32_t id)
{
	struct madt_lapic lapic = { 0, sizeof(lapic), (uint8_t)id, (uint8_t)id, MADT_ENABLED };
	struct madt_x2apic x2apic = { 9, sizeof(x2apic), 0, id, MADT_ENABLED, id };

	if (id <= MADT_LAPIC_MAX) {
		append(to, &lapic, sizeof(lapic));
	} else {
		append(to, &x2apic, sizeof(x2apic));
	}
}

static uint32_t add_madt(struct composer *to, uint32_t vcpu_count)
{
	struct acpi_madt madt = { make_header("APIC", 5), (uint32_t)MEMMAP_LAPIC,
				  MADT_PCAT_COMPAT };
	struct madt_ioapic ioapic = { 1, sizeof(ioapic), 0, 0, (uint32_t)MEMMAP_IOAPIC, 0 };
	struct madt_override sci = { 2, sizeof(sci), 0, IRQ_SCI, IRQ_SCI, MADT_HIGH_LEVEL };
	struct madt_lapic_nmi nmi = { 4, sizeof(nmi), MADT_ALL_UIDS, 0, 1 };
	struct madt_x2apic_nmi x2_nmi = { 10, sizeof(x2_nmi), 0, MADT_ALL_X2_UIDS, 1, { 0 } };
	size_t start = begin_table(to);

	append(to, &madt, sizeof(madt));
	for (uint32_t id = 0; id < vcpu_count; id++) {
		add_madt_processor(to, id);
	}
	append(to, &ioapic, sizeof(ioapic));
	append(to, &sci, sizeof(sci));
	append(to, &nmi, sizeof(nmi));
	if (vcpu_count > MADT_LAPIC_MAX + 1) {
		append(to, &x2_nmi, sizeof(x2_nmi));
	}
	return end_table(to, start);
}

static uint32_t add_mcfg(struct composer *to)
{
	struct acpi_mcfg mcfg = { .header = make_header("MCFG", 1), .base = MEMMAP_ECAM };
	size_t start = begin_table(to);

	append(to, &mcfg, sizeof(mcfg));
	return end_table(to, start);
}

/*
 * Describes the root bridge. Linux uses configuration space in memory only if a motherboard
 * resource also reserves it (PCI Firmware Specification 3.0, 4.1.2), hence the device ECAM.
 */
static void add_aml_pci(struct aml *aml, const struct acpi_machine *machine)
{
	aml_begin_device(aml, "PCI0");
	aml_name_eisa_id(aml, "_HID", "PNP0A08");
	aml_name_eisa_id(aml, "_CID", "PNP0A03");
	aml_name_integer(aml, "_SEG", 0);
	aml_name_integer(aml, "_BBN", 0);
	aml_name_integer(aml, "_UID", 0);
	aml_name_integer(aml, "_CCA", 1);
	aml_begin_resources(aml);
	aml_window(aml, AML_WINDOW_BUS_NUMBERS, 0, 0);
	aml_io(aml, PORT_PCI_CONFIG, PORT_PCI_CONFIG_COUNT);
	aml_window(aml, AML_WINDOW_IO, 0, PORT_PCI_CONFIG - 1);
	aml_window(aml, AML_WINDOW_IO, PORT_PCI_WINDOW, UINT16_MAX);
	aml_window(aml, AML_WINDOW_MEMORY, MEMMAP_PCI_BARS, MEMMAP_ECAM - 1);
	if (machine->window_bytes != 0) {
		aml_window(aml, AML_WINDOW_PREFETCHABLE, machine->window,
			   machine->window + machine->window_bytes - 1);
	}
	aml_end_resources(aml);
	aml_begin_prt(aml, VPCI_DEVICES - 1);
	for (uint32_t device = 1; device < VPCI_DEVICES; device++) {
		aml_prt_entry(aml, device, 0, GSI_PCI + device % GSI_PCI_COUNT);
	}
	aml_end(aml);
	aml_end(aml);
	aml_begin_device(aml, "ECAM");
	aml_name_eisa_id(aml, "_HID", "PNP0C02");
	aml_name_integer(aml, "_UID", 0);
	aml_begin_resources(aml);
	aml_memory32_fixed(aml, (uint32_t)MEMMAP_ECAM, MEMMAP_ECAM_BYTES);
	aml_end_resources(aml);
	aml_end(aml);
}

static void add_aml_processor(struct aml *aml, uint32_t id)
{
	static const char digits[] = "0123456789ABCDEF";
	const char name[] = { 'C', digits[id >> 8 & 0xf], digits[id >> 4 & 0xf], digits[id & 0xf] };

	aml_begin_device(aml, name);
	aml_name_string(aml, "_HID", "ACPI0007");
	aml_name_integer(aml, "_UID", id);
	aml_end(aml);
}

static uint32_t add_ssdt(struct composer *to, const struct acpi_machine *machine)
{
	struct acpi_header header = make_header("SSDT", 2);
	size_t start = begin_table(to);

	append(to, &header, sizeof(header));
	aml_begin_scope(&to->bytes, "\\_SB_");
	add_aml_pci(&to->bytes, machine);
	for (uint32_t id = 0; id < machine->vcpu_count; id++) {
		add_aml_processor(&to->bytes, id);
	}
	aml_end(&to->bytes);
	return end_table(to, start);
}

static uint32_t add_xsdt(struct composer *to, const struct acpi_machine *machine)
{
	struct acpi_xsdt xsdt = { .header = make_header("XSDT", 1) };
	uint32_t dsdt = add_dsdt(to);
	size_t start;

	xsdt.entry[XSDT_FADT] = add_fadt(to, dsdt, add_facs(to));
	xsdt.entry[XSDT_MADT] = add_madt(to, machine->vcpu_count);
	xsdt.entry[XSDT_MCFG] = add_mcfg(to);
	xsdt.entry[XSDT_SSDT] = add_ssdt(to, machine);
	start = begin_table(to);
	append(to, &xsdt, sizeof(xsdt));
	return end_table(to, start);
}

size_t acpi_compose(uint8_t *area, size_t area_bytes, uint32_t base,
		    const struct acpi_machine *machine)
{
	struct composer to = { .bytes = { .area = area, .size = area_bytes }, .base = base };
	struct acpi_rsdp rsdp = {
		.signature = "RSD PTR ",
		.oem_id = "UMBRA ",
		.revision = 2,
		.length = sizeof(rsdp),
	};

	append(&to, &rsdp, sizeof(rsdp));
	rsdp.xsdt_address = add_xsdt(&to, machine);
	if (to.bytes.full) {
		return 0;
	}
	rsdp.checksum = checksum((const uint8_t *)&rsdp, RSDP_V1_BYTES);
	rsdp.extended_checksum = checksum((const uint8_t *)&rsdp, sizeof(rsdp));
	memcpy(area, &rsdp, sizeof(rsdp));
	return to.bytes.used;
}

int acpi_build(struct gmem *gmem, const struct acpi_machine *machine)
{
	const size_t most = MEMMAP_SMBIOS - MEMMAP_ACPI;
	uint8_t *area = page_alloc(most / PAGE_SIZE);
	size_t bytes;
	int err = ERR_RANGE;

	if (area == NULL) {
		return ERR_NOMEM;
	}
	bytes = acpi_compose(area, most, (uint32_t)MEMMAP_ACPI, machine);
	if (bytes != 0) {
		err = gmem_write(gmem, gpa(MEMMAP_ACPI), area, bytes);
	}
	page_free(area, most / PAGE_SIZE);
	return err;
}
