/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structures and fields have the specification's names. Fields that an initialiser does not name
 * are zero. A string field holds the number of its string, from 1, in the list after its structure.
 */
#include "guest/smbios_build.h"

#include "guest/memmap.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/host/page_alloc.h"

enum smbios_type {
	SMBIOS_FIRMWARE = 0,
	SMBIOS_SYSTEM = 1,
	SMBIOS_CHASSIS = 3,
	SMBIOS_MEMORY_ARRAY = 16,
	SMBIOS_MEMORY_DEVICE = 17,
	SMBIOS_MEMORY_MAPPED = 19,
	SMBIOS_BOOT_STATUS = 32,
	SMBIOS_END = 127,
};

struct smbios_entry {
	char anchor[5];
	uint8_t checksum, length, major, minor, docrev, revision, reserved;
	uint32_t most_bytes;
	uint64_t table;
} __attribute__((packed));
_Static_assert(sizeof(struct smbios_entry) == 0x18, "DSP0134, 64-bit entry point");

struct smbios_header {
	uint8_t type, length;
	uint16_t handle;
} __attribute__((packed));

struct smbios_firmware {
	struct smbios_header header;
	uint8_t vendor, version;
	uint16_t segment;
	uint8_t date, rom_size;
	uint64_t characteristics;
	uint8_t more[2], major, minor, ec_major, ec_minor;
} __attribute__((packed));
_Static_assert(sizeof(struct smbios_firmware) == 0x18, "DSP0134, type 0");
#define FIRMWARE_NOT_SUPPORTED BIT(3) /* the characteristics are not given */
#define FIRMWARE_VIRTUAL       BIT(4) /* in more[1]: the tables describe a virtual machine */
#define FIRMWARE_NO_EC	       0xff

struct smbios_system {
	struct smbios_header header;
	uint8_t manufacturer, product, version, serial;
	uint8_t uuid[16];
	uint8_t wake_up, sku, family;
} __attribute__((packed));
_Static_assert(sizeof(struct smbios_system) == 0x1b, "DSP0134, type 1");
#define SYSTEM_NO_UUID	    0xff /* in each byte */
#define SYSTEM_POWER_SWITCH 6

struct smbios_chassis {
	struct smbios_header header;
	uint8_t manufacturer, kind, version, serial, asset;
	uint8_t boot_state, power_state, thermal_state, security;
	uint32_t oem;
	uint8_t height, cords, contained, contained_length, sku;
} __attribute__((packed));
_Static_assert(sizeof(struct smbios_chassis) == 0x16, "DSP0134, type 3");
#define CHASSIS_OTHER 1
#define CHASSIS_SAFE  3
#define CHASSIS_NONE  3 /* no security */

struct smbios_memory_array {
	struct smbios_header header;
	uint8_t location, use, correction;
	uint32_t capacity; /* KiB */
	uint16_t error_handle, devices;
	uint64_t extended_capacity; /* bytes */
} __attribute__((packed));
_Static_assert(sizeof(struct smbios_memory_array) == 0x17, "DSP0134, type 16");
#define ARRAY_OTHER	     1
#define ARRAY_SYSTEM_MEMORY  3
#define ARRAY_NO_CORRECTION  3
#define ARRAY_EXTENDED	     0x80000000u
#define MEMORY_NO_ERROR_INFO 0xfffe

struct smbios_memory_device {
	struct smbios_header header;
	uint16_t array, error_handle, total_width, data_width, size; /* size in MiB */
	uint8_t form, set, locator, bank, type;
	uint16_t detail, speed;
	uint8_t manufacturer, serial, asset, part, attributes;
	uint32_t extended_size; /* MiB */
	uint16_t configured_speed, least_voltage, most_voltage, voltage;
} __attribute__((packed));
_Static_assert(sizeof(struct smbios_memory_device) == 0x28, "DSP0134, type 17");
#define DEVICE_EXTENDED	     0x7fff
#define DEVICE_UNKNOWN_WIDTH 0xffff
#define DEVICE_OTHER	     1 /* value of form, and a bit of detail */
#define DEVICE_RAM	     7
#define DEVICE_DETAIL_OTHER  BIT(1)

struct smbios_memory_mapped {
	struct smbios_header header;
	uint32_t start, end; /* in KiB; end is inclusive */
	uint16_t array;
	uint8_t width;
	uint64_t extended_start, extended_end; /* in bytes, used if start is FFFFFFFFH */
} __attribute__((packed));
_Static_assert(sizeof(struct smbios_memory_mapped) == 0x1f, "DSP0134, type 19");

struct smbios_boot_status {
	struct smbios_header header;
	uint8_t reserved[6], status;
} __attribute__((packed));
_Static_assert(sizeof(struct smbios_boot_status) == 0x0b, "DSP0134, type 32");

#define HANDLE_ARRAY 0x1000

/* Where the next structure goes. After an overflow full stays set and nothing more is written. */
struct composer {
	uint8_t *area;
	size_t size, used;
	uint16_t next_handle;
	bool full;
};

static void append(struct composer *to, const void *bytes, size_t count)
{
	if (to->full || count > to->size - to->used) {
		to->full = true;
		return;
	}
	memcpy(to->area + to->used, bytes, count);
	to->used += count;
}

/* Adds the structure, its strings up to a NULL, and the final zero. */
static void add(struct composer *to, void *structure, uint8_t type, size_t bytes,
		const char *const strings[])
{
	struct smbios_header *header = structure;

	header->type = type;
	header->length = (uint8_t)bytes;
	header->handle = type == SMBIOS_MEMORY_ARRAY ? HANDLE_ARRAY : to->next_handle++;
	append(to, structure, bytes);
	for (size_t i = 0; strings[i] != NULL; i++) {
		append(to, strings[i], strlen(strings[i]) + 1);
	}
	append(to, "\0", strings[0] == NULL ? 2 : 1);
}

static const char *const no_strings[] = { NULL };

static void add_machine(struct composer *to, const char *name)
{
	const char *const firmware_strings[] = { "Umbra", UMBRA_VERSION, "01/01/2000", NULL };
	const char *const system_strings[] = { "Umbra", "Virtual Machine", UMBRA_VERSION, name,
					       NULL };
	const char *const chassis_strings[] = { "Umbra", NULL };
	struct smbios_firmware firmware = {
		.vendor = 1,
		.version = 2,
		.segment = MEMMAP_SMBIOS >> 4,
		.date = 3,
		.characteristics = FIRMWARE_NOT_SUPPORTED,
		.more = { 0, FIRMWARE_VIRTUAL },
		.ec_major = FIRMWARE_NO_EC,
		.ec_minor = FIRMWARE_NO_EC,
	};
	struct smbios_system system = {
		.manufacturer = 1,
		.product = 2,
		.version = 3,
		.wake_up = SYSTEM_POWER_SWITCH,
		.family = 4,
	};
	struct smbios_chassis chassis = {
		.manufacturer = 1,
		.kind = CHASSIS_OTHER,
		.boot_state = CHASSIS_SAFE,
		.power_state = CHASSIS_SAFE,
		.thermal_state = CHASSIS_SAFE,
		.security = CHASSIS_NONE,
	};

	memset(system.uuid, SYSTEM_NO_UUID, sizeof(system.uuid));
	add(to, &firmware, SMBIOS_FIRMWARE, sizeof(firmware), firmware_strings);
	add(to, &system, SMBIOS_SYSTEM, sizeof(system), system_strings);
	add(to, &chassis, SMBIOS_CHASSIS, sizeof(chassis), chassis_strings);
}

static void add_mapped(struct composer *to, uint64_t start, uint64_t bytes)
{
	struct smbios_memory_mapped mapped = {
		.start = (uint32_t)(start >> 10),
		.end = (uint32_t)((start + bytes - 1) >> 10),
		.array = HANDLE_ARRAY,
		.width = 1,
	};

	if ((start + bytes) >> 10 >= UINT32_MAX) {
		mapped.start = mapped.end = UINT32_MAX;
		mapped.extended_start = start;
		mapped.extended_end = start + bytes - 1;
	}
	add(to, &mapped, SMBIOS_MEMORY_MAPPED, sizeof(mapped), no_strings);
}

static void add_memory(struct composer *to, uint64_t bytes)
{
	const char *const device_strings[] = { "RAM", NULL };
	struct smbios_memory_array array = {
		.location = ARRAY_OTHER,
		.use = ARRAY_SYSTEM_MEMORY,
		.correction = ARRAY_NO_CORRECTION,
		.capacity = (uint32_t)(bytes >> 10),
		.error_handle = MEMORY_NO_ERROR_INFO,
		.devices = 1,
	};
	struct smbios_memory_device device = {
		.array = HANDLE_ARRAY,
		.error_handle = MEMORY_NO_ERROR_INFO,
		.total_width = DEVICE_UNKNOWN_WIDTH,
		.data_width = DEVICE_UNKNOWN_WIDTH,
		.size = (uint16_t)(bytes >> 20),
		.form = DEVICE_OTHER,
		.locator = 1,
		.type = DEVICE_RAM,
		.detail = DEVICE_DETAIL_OTHER,
	};

	if (bytes >> 10 >= ARRAY_EXTENDED) {
		array.capacity = ARRAY_EXTENDED;
		array.extended_capacity = bytes;
	}
	if (bytes >> 20 >= DEVICE_EXTENDED) {
		device.size = DEVICE_EXTENDED;
		device.extended_size = (uint32_t)(bytes >> 20);
	}
	add(to, &array, SMBIOS_MEMORY_ARRAY, sizeof(array), no_strings);
	add(to, &device, SMBIOS_MEMORY_DEVICE, sizeof(device), device_strings);
	add_mapped(to, 0, memmap_low_bytes(bytes));
	if (memmap_high_bytes(bytes) != 0) {
		add_mapped(to, MEMMAP_HIGH_RAM, memmap_high_bytes(bytes));
	}
}

static uint8_t checksum(const void *data, size_t bytes)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < bytes; i++) {
		sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
	}
	return (uint8_t)(0 - sum);
}

size_t smbios_compose(uint8_t *area, size_t area_bytes, uint64_t base, const char *name,
		      uint64_t memory_bytes)
{
	struct composer to = { .area = area, .size = area_bytes };
	struct smbios_entry entry = {
		.anchor = { '_', 'S', 'M', '3', '_' },
		.length = sizeof(entry),
		.major = 3,
		.revision = 1,
		.table = base + sizeof(entry),
	};
	struct smbios_boot_status status = { .status = 0 };
	struct smbios_header end;

	append(&to, &entry, sizeof(entry));
	add_machine(&to, name);
	add_memory(&to, memory_bytes);
	add(&to, &status, SMBIOS_BOOT_STATUS, sizeof(status), no_strings);
	add(&to, &end, SMBIOS_END, sizeof(end), no_strings);
	if (to.full) {
		return 0;
	}
	entry.most_bytes = (uint32_t)(to.used - sizeof(entry));
	entry.checksum = checksum(&entry, sizeof(entry));
	memcpy(area, &entry, sizeof(entry));
	return to.used;
}

int smbios_build(struct gmem *gmem, const char *name, uint64_t memory_bytes)
{
	uint8_t *area = page_alloc(1);
	size_t bytes;
	int err = ERR_RANGE;

	if (area == NULL) {
		return ERR_NOMEM;
	}
	bytes = smbios_compose(area, PAGE_SIZE, MEMMAP_SMBIOS, name, memory_bytes);
	if (bytes != 0) {
		err = gmem_write(gmem, gpa(MEMMAP_SMBIOS), area, bytes);
	}
	page_free(area, 1);
	return err;
}
