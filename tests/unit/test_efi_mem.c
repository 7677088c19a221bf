/* SPDX-License-Identifier: Apache-2.0 */
/* boot/efi_mem.c with a fake firmware that returns memory maps of every kind. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "boot/efi_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

#define WB  0x8ul
#define UC  0x1ul
#define RT  0x8000000000000000ul
#define XP  0x4000ul
#define RO  0x20000ul
#define SP  0x40000ul
#define CC  0x80000ul /* EFI_MEMORY_CPU_CRYPTO */
#define GAP 8	      /* firmware's descriptors are larger than the structure */

EFI_SYSTEM_TABLE *efi_system;
EFI_HANDLE efi_image = (EFI_HANDLE)0x1234;

static struct {
	EFI_MEMORY_DESCRIPTOR d[1500];
	size_t count;
	UINTN key;
	unsigned stale; /* so many calls of ExitBootServices find the key stale */
	unsigned grow;	/* so many descriptors are added at each failed call */
	unsigned map_calls, exit_calls, other_calls_after_exit;
	void *attributes;
	UINTN entry_bytes;
	EFI_STATUS map_status;
} fw;

static struct boot_info info;
static void *map_pages;

static EFI_STATUS EFIAPI get_memory_map(UINTN *bytes, EFI_MEMORY_DESCRIPTOR *out, UINTN *key,
					UINTN *entry_bytes, UINT32 *version)
{
	const UINTN need = fw.count * (sizeof(*out) + GAP);

	fw.map_calls++;
	*entry_bytes = fw.entry_bytes;
	*version = 1;
	if (fw.map_status != EFI_SUCCESS && *bytes != 0) {
		return fw.map_status;
	}
	if (*bytes < need) {
		*bytes = need;
		return EFI_BUFFER_TOO_SMALL;
	}
	*bytes = need;
	for (size_t i = 0; i < fw.count; i++) {
		memcpy((char *)out + i * (sizeof(*out) + GAP), &fw.d[i], sizeof(*out));
	}
	*key = fw.key;
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI exit_boot_services(EFI_HANDLE image, UINTN key)
{
	fw.exit_calls++;
	assert_ptr_equal(image, efi_image);
	if (fw.stale > 0) {
		fw.stale--;
		fw.key++;
		for (unsigned i = 0; i < fw.grow; i++) {
			fw.d[fw.count] = fw.d[fw.count - 1];
			fw.d[fw.count++].PhysicalStart += 1 << 20;
		}
		return EFI_INVALID_PARAMETER;
	}
	assert_int_equal(key, fw.key);
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate_pages(EFI_ALLOCATE_TYPE type, EFI_MEMORY_TYPE memory,
					UINTN page_count, EFI_PHYSICAL_ADDRESS *base)
{
	assert_int_equal(type, AllocateAnyPages);
	assert_int_equal(memory, EfiLoaderData);
	if (fw.exit_calls != 0) {
		fw.other_calls_after_exit++;
	}
	map_pages = aligned_alloc(PAGE_SIZE, page_count * PAGE_SIZE);
	*base = (uintptr_t)map_pages;
	return EFI_SUCCESS;
}

void *efi_config_table(const EFI_GUID *guid)
{
	return guid->Data1 == 0xdcfa911d ? fw.attributes : NULL;
}

static const struct acpi_reader *reader;

static struct serial_place acpi_serial;

int acpi_find_serial(hpa_t rsdp, const struct acpi_reader *r, struct serial_place *out)
{
	assert_int_equal(rsdp.v, 0);
	*out = acpi_serial;
	return acpi_serial.address != 0 ? 0 : ERR_NOTFOUND;
}

/* The machine has this table if bytes are given. */
static struct acpi_table dmar_table;
static int dmar_error = ERR_NOTFOUND;

int acpi_find_table(hpa_t rsdp, const struct acpi_reader *r, const char *signature,
		    struct acpi_table *out)
{
	assert_string_equal(signature, "DMAR");
	*out = dmar_table;
	return dmar_table.bytes != NULL ? 0 : dmar_error;
}

int acpi_read(hpa_t rsdp, const struct acpi_reader *r, struct acpi_facts *out)
{
	assert_int_equal(rsdp.v, 0);
	reader = r;
	/* The reader is only valid during the call. */
	for (size_t i = 0; i < fw.count; i++) {
		const EFI_MEMORY_DESCRIPTOR *d = &fw.d[i];
		const uint64_t bytes = d->NumberOfPages * PAGE_SIZE;

		if (d->Type == EfiACPIReclaimMemory) {
			assert_ptr_equal(r->at(r->context, hpa(d->PhysicalStart + 8), bytes - 8),
					 d->PhysicalStart + 8);
			/* The next range is memory too; beyond it there is none. */
			assert_non_null(r->at(r->context, hpa(d->PhysicalStart), bytes + 4096));
			assert_null(r->at(r->context, hpa(d->PhysicalStart), bytes + 4097));
			assert_null(r->at(r->context, hpa(d->PhysicalStart), 0));
			assert_null(r->at(r->context, hpa(d->PhysicalStart - 1), 2));
			assert_null(r->at(r->context, hpa(UINT64_MAX - 4), 8));
		}
	}
	return ERR_NOTFOUND;
}

static void add(UINT32 type, uint64_t page, uint64_t pages, uint64_t attribute)
{
	fw.d[fw.count++] = (EFI_MEMORY_DESCRIPTOR){ .Type = type,
						    .PhysicalStart = page * PAGE_SIZE,
						    .NumberOfPages = pages,
						    .Attribute = attribute };
}

static int setup(void **state)
{
	static EFI_BOOT_SERVICES bs;
	static EFI_SYSTEM_TABLE table;

	fake_setup(state);
	bs.GetMemoryMap = get_memory_map;
	bs.ExitBootServices = exit_boot_services;
	bs.AllocatePages = allocate_pages;
	table.BootServices = &bs;
	efi_system = &table;
	memset(&fw, 0, sizeof(fw));
	fw.entry_bytes = sizeof(EFI_MEMORY_DESCRIPTOR) + GAP;
	memset(&info, 0, sizeof(info));
	info.services.reset_system = &info;
	info.cpu_source = "test";
	return 0;
}

static int teardown(void **state)
{
	free(map_pages);
	map_pages = NULL;
	return fake_teardown(state);
}

static void expect_range(const struct mem_range *r, uint64_t page, uint64_t pages)
{
	assert_int_equal(r->base.v, page * PAGE_SIZE);
	assert_int_equal(r->page_count, pages);
}

TEST(kinds, setup, teardown)
{
	/* Unsorted; adjacent ranges are joined within their list only. */
	add(EfiConventionalMemory, 0x300, 0x100, WB);
	add(EfiBootServicesData, 0x400, 0x10, WB);
	add(EfiConventionalMemory, 0x100, 0x100, WB | XP);
	add(EfiConventionalMemory, 0x200, 0x100, WB);
	add(EfiBootServicesCode, 0x410, 0x10, WB);
	add(EfiLoaderCode, 0x500, 0x10, WB);
	add(EfiLoaderData, 0x510, 0xf, WB);
	add(EfiACPIReclaimMemory, 0x520, 0x4, WB);
	add(EfiACPIMemoryNVS, 0x524, 0x1, WB);
	add(EfiUnusableMemory, 0x525, 0x1, WB);
	add(EfiReservedMemoryType, 0x550, 0x10, WB);
	add(EfiConventionalMemory, 0x600, 0x10, UC);	  /* not cached */
	add(EfiConventionalMemory, 0x700, 0x10, WB | SP); /* special-purpose memory */
	add(EfiConventionalMemory, 0x800, 0, WB);
	add(EfiConventionalMemory, 0x900, 1ul << 52, WB);
	add(14, 0xa00, 0x10, WB); /* persistent memory */
	assert_int_equal(efi_exit_boot_services(), 0);
	efi_take_memory(&info);
	assert_int_equal(info.range_count, 1);
	expect_range(&info.ranges[0], 0x100, 0x300);
	assert_int_equal(info.late_count, 2);
	expect_range(&info.late[0], 0x400, 0x20);
	expect_range(&info.late[1], 0x500, 0x1f);
	assert_int_equal(info.runtime_count, 0);
	assert_non_null(reader);
}

/* Memory of loaders becomes Umbra's, except what it uses itself: image, files, tables. */
TEST(loaders, setup, teardown)
{
	struct vm_config *vm = info.config.vms;

	info.config.vm_count = 3;
	info.image = (struct mem_range){ hpa(0x1008 * PAGE_SIZE), 0x10 };
	info.trampoline = hpa(0x9f * PAGE_SIZE);
	info.dma_tables = (struct mem_range){ hpa(0x3001 * PAGE_SIZE), 2 };
	vm[0].kernel = (struct vm_file){ .data = (void *)(0x1020 * PAGE_SIZE), .bytes = 0x2001 };
	vm[0].initrd = (struct vm_file){ .data = (void *)(0x1030 * PAGE_SIZE), .bytes = 0x10000 };
	vm[1].kernel = vm[0].kernel; /* read once for both */
	vm[1].initrd = (struct vm_file){ .data = (void *)(0x1023 * PAGE_SIZE), .bytes = 0x1000 };
	add(EfiLoaderData, 0x9e, 2, WB);
	add(EfiLoaderCode, 0x1000, 0x18, WB);
	add(EfiLoaderData, 0x101f, 0x11, WB);
	add(EfiLoaderData, 0x1030, 0x10, WB); /* used only here */
	add(EfiBootServicesData, 0x1040, 1, WB);
	add(EfiLoaderData, 0x2000, 1, UC);
	add(EfiLoaderData, 0x3000, 3, WB);
	assert_int_equal(efi_exit_boot_services(), 0);
	efi_take_memory(&info);
	assert_int_equal(info.range_count, 0);
	assert_int_equal(info.late_count, 6);
	expect_range(&info.late[5], 0x3000, 1);
	expect_range(&info.late[0], 0x9e, 1);
	expect_range(&info.late[1], 0x1000, 8);
	expect_range(&info.late[2], 0x101f, 1);
	expect_range(&info.late[3], 0x1024, 0xc);
	expect_range(&info.late[4], 0x1040, 1);
}

/* Row 10 of TME-MK: once any RAM has the mark, RAM of any kind without the mark is kept apart. */
TEST(marks, setup, teardown)
{
	info.image = (struct mem_range){ hpa(0x508 * PAGE_SIZE), 1 };
	add(EfiConventionalMemory, 0x100, 0x100, WB | CC);
	add(EfiConventionalMemory, 0x200, 0x100, WB);
	add(EfiBootServicesData, 0x400, 0x10, WB | CC);
	add(EfiBootServicesCode, 0x410, 0x10, WB);
	add(EfiLoaderCode, 0x500, 0x10, WB);
	add(EfiLoaderData, 0x510, 0x10, WB | CC);
	assert_int_equal(efi_exit_boot_services(), 0);
	efi_take_memory(&info);
	assert_true(info.some_marked);
	assert_int_equal(info.range_count, 1);
	expect_range(&info.ranges[0], 0x100, 0x100);
	assert_int_equal(info.late_count, 2);
	expect_range(&info.late[0], 0x400, 0x10);
	expect_range(&info.late[1], 0x510, 0x10);
	assert_int_equal(info.unmarked_count, 4);
	expect_range(&info.unmarked[0], 0x200, 0x100);
	expect_range(&info.unmarked[1], 0x410, 0x10);
	expect_range(&info.unmarked[2], 0x500, 8);
	expect_range(&info.unmarked[3], 0x509, 7);
	free(map_pages);
	/* A mark on a range that is not RAM says nothing about RAM. */
	(void)setup(state);
	add(EfiConventionalMemory, 0x200, 0x100, WB);
	add(EfiMemoryMappedIO, 0x100, 0x100, UC | CC);
	assert_int_equal(efi_exit_boot_services(), 0);
	efi_take_memory(&info);
	assert_false(info.some_marked);
	assert_int_equal(info.range_count, 1);
	assert_int_equal(info.unmarked_count, 0);
}

TEST(runtime_plain, setup, teardown)
{
	add(EfiRuntimeServicesCode, 0x100, 0x10, WB | RT);
	add(EfiRuntimeServicesData, 0x110, 0x20, WB | RT);
	add(EfiMemoryMappedIO, 0xffc00, 0x400, UC | RT);
	add(EfiConventionalMemory, 0x200, 0x20, WB | RT); /* an impossible combination: not used */
	assert_int_equal(efi_exit_boot_services(), 0);
	efi_take_memory(&info);
	assert_int_equal(info.range_count, 0);
	assert_int_equal(info.runtime_count, 4);
	assert_true(info.runtime[0].code && info.runtime[0].writable && !info.runtime[0].uncached);
	assert_true(!info.runtime[1].code && info.runtime[1].writable);
	assert_true(!info.runtime[2].code && info.runtime[2].uncached);
}

static struct {
	uint32_t version, count, bytes, reserved;
	EFI_MEMORY_DESCRIPTOR d[3];
} attributes = {
	1,
	3,
	sizeof(EFI_MEMORY_DESCRIPTOR),
	0,
	{ { .Type = EfiRuntimeServicesCode,
	    .PhysicalStart = 0x100000,
	    .NumberOfPages = 2,
	    .Attribute = RT | XP | RO },
	  { .Type = EfiRuntimeServicesCode,
	    .PhysicalStart = 0x102000,
	    .NumberOfPages = 6,
	    .Attribute = RT | RO },
	  { .Type = EfiRuntimeServicesCode,
	    .PhysicalStart = 0x108000,
	    .NumberOfPages = 8,
	    .Attribute = RT | XP } },
};

TEST(runtime_exact, setup, teardown)
{
	fw.attributes = &attributes;
	add(EfiRuntimeServicesCode, 0x100, 0x10, WB | RT);
	add(EfiMemoryMappedIO, 0xffc00, 0x400, UC | RT);
	assert_int_equal(efi_exit_boot_services(), 0);
	efi_take_memory(&info);
	assert_int_equal(info.runtime_count, 4);
	assert_true(!info.runtime[0].code && !info.runtime[0].writable);
	assert_true(info.runtime[1].code && !info.runtime[1].writable);
	assert_true(!info.runtime[2].code && info.runtime[2].writable);
	assert_true(info.runtime[3].uncached);

	/* A damaged table counts as no table. */
	setup(state);
	free(map_pages);
	fw.attributes = &attributes;
	attributes.bytes = 8;
	add(EfiRuntimeServicesCode, 0x100, 0x10, WB | RT);
	assert_int_equal(efi_exit_boot_services(), 0);
	efi_take_memory(&info);
	assert_int_equal(info.runtime_count, 1);
	assert_true(info.runtime[0].code && info.runtime[0].writable);
	attributes.bytes = sizeof(EFI_MEMORY_DESCRIPTOR);
}

TEST(too_many, setup, teardown)
{
	for (uint64_t i = 0; i < 300; i++) {
		add(EfiConventionalMemory, 0x1000 + 2 * (299 - i), 1, WB);
	}
	for (uint64_t i = 0; i < 300; i++) {
		add(EfiRuntimeServicesData, 0x5000 + i, 1, WB | RT);
	}
	assert_int_equal(efi_exit_boot_services(), 0);
	efi_take_memory(&info);
	assert_int_equal(info.range_count, BOOT_RANGE_MAX);
	for (size_t i = 1; i < info.range_count; i++) {
		assert_true(info.ranges[i - 1].base.v < info.ranges[i].base.v);
	}
	assert_int_equal(info.runtime_count, POWER_RANGE_MAX);
	assert_null(info.services.reset_system);
	assert_non_null(strstr(fake_log_text(), "memory map: more than 256 ranges; 4 KiB at"));
	assert_non_null(strstr(fake_log_text(), "firmware has more than 256 runtime ranges"));
}

/* A timer changed the map between the two calls. The map may grow; nothing may be allocated. */
TEST(stale_key, setup, teardown)
{
	add(EfiConventionalMemory, 0x1000, 1, WB);
	fw.stale = 5;
	fw.grow = 20;
	assert_int_equal(efi_exit_boot_services(), 0);
	efi_take_memory(&info);
	assert_int_equal(fw.exit_calls, 6);
	assert_int_equal(fw.other_calls_after_exit, 0);
	assert_int_equal(info.range_count, 101);
}

TEST(refusals, setup, teardown)
{
	add(EfiConventionalMemory, 0x1000, 1, WB);
	fw.stale = 1000;
	assert_int_equal(efi_exit_boot_services(), ERR_IO);
	assert_true(fw.exit_calls < 100);
	assert_non_null(strstr(fake_log_text(), "firmware does not end its boot services"));

	setup(state);
	free(map_pages);
	add(EfiConventionalMemory, 0x1000, 1, WB);
	fw.map_status = EFI_DEVICE_ERROR;
	assert_int_equal(efi_exit_boot_services(), ERR_IO);
	assert_int_equal(fw.exit_calls, 0);

	setup(state);
	free(map_pages);
	add(EfiConventionalMemory, 0x1000, 1, WB);
	fw.entry_bytes = 0;
	assert_int_equal(efi_exit_boot_services(), ERR_IO);
	assert_int_equal(fw.exit_calls, 0);
}

/* A serial line at an address of RAM, or of a range that firmware does not map, is refused. */
TEST(serial_lines, setup, teardown)
{
	struct serial_place found = { 0 };

	add(EfiConventionalMemory, 0x100, 0x7ff00, WB);
	acpi_serial = (struct serial_place){ 0 };
	assert_false(efi_find_serial(&found));
	free(map_pages);
	acpi_serial = (struct serial_place){ .address = 0x2f8 };
	assert_true(efi_find_serial(&found));
	free(map_pages);
	assert_int_equal(found.address, 0x2f8);
	acpi_serial = (struct serial_place){ .memory = true, .stride = 4, .address = 0xfe034000 };
	assert_true(efi_find_serial(&found));
	free(map_pages);
	assert_int_equal(found.stride, 4);
	acpi_serial.address = 0x200000;
	assert_false(efi_find_serial(&found));
	free(map_pages);
	acpi_serial.address = 0x1fe034000;
	assert_false(efi_find_serial(&found));
	assert_non_null(strstr(fake_log_text(), "there cannot be a serial port at 0x1fe034000"));
}

/* What efi_dma.c asks: the table, and what the map says of a range. */
TEST(iommu, setup, teardown)
{
	static uint8_t bytes[48];
	struct acpi_table table;

	add(EfiConventionalMemory, 0x100, 0x10, EFI_MEMORY_WB);
	add(EfiReservedMemoryType, 0x130, 0x10, EFI_MEMORY_WB);
	add(EfiReservedMemoryType, 0x120, 0x10, EFI_MEMORY_WB);
	add(EfiReservedMemoryType, 0x140, 0x10, EFI_MEMORY_WB | EFI_MEMORY_RUNTIME);
	add(EfiRuntimeServicesData, 0x160, 0x10, EFI_MEMORY_WB | EFI_MEMORY_RUNTIME);
	add(EfiMemoryMappedIO, 0x180, 0x10, EFI_MEMORY_UC);
	assert_true(efi_memory_look());
	assert_int_equal(efi_find_dmar(&table), ERR_NOTFOUND);
	dmar_error = ERR_FORMAT;
	assert_int_equal(efi_find_dmar(&table), ERR_FORMAT);
	dmar_table = (struct acpi_table){ bytes, sizeof(bytes) };
	assert_int_equal(efi_find_dmar(&table), 0);
	assert_ptr_equal(table.bytes, bytes);
	assert_true(efi_is_reserved(0x120000, 0x140000));
	assert_true(efi_is_reserved(0x12f000, 0x131000));
	assert_false(efi_is_reserved(0x11f000, 0x121000)); /* a page that nobody describes */
	assert_false(efi_is_reserved(0x13f000, 0x141000)); /* runtime services */
	assert_false(efi_is_reserved(0x160000, 0x161000));
	assert_false(efi_is_reserved(0x180000, 0x181000)); /* registers */
	assert_false(efi_is_reserved(0x10f000, 0x110000));
	assert_true(efi_is_firmwares(0x120000, 0x150000));
	assert_true(efi_is_firmwares(0x160000, 0x170000));
	assert_false(efi_is_firmwares(0x10f000, 0x110000)); /* anyone's */
	assert_false(efi_is_firmwares(0x14f000, 0x151000));
	assert_false(efi_is_firmwares(0x180000, 0x181000));
	assert_false(efi_is_firmwares(0, 0x1000));
	add(EfiBootServicesData, 0x121, 1, EFI_MEMORY_WB); /* and one that overlaps */
	free(map_pages);
	assert_true(efi_memory_look());
	assert_false(efi_is_reserved(0x120000, 0x140000));
	assert_true(efi_is_reserved(0x122000, 0x140000));
	assert_true(efi_is_memory(0x10f000, 0x111000));
	assert_true(efi_is_memory(0x160000, 0x161000));
	assert_false(efi_is_memory(0x110000, 0x111000));
	assert_false(efi_is_memory(0x180000, 0x181000));
	assert_false(efi_is_memory(0x130000, 0x131000)); /* firmware may list registers so */
}
