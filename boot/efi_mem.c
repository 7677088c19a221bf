/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory map and the end of boot services. The map comes from firmware and is not trusted:
 * descriptors may have any size, order and number; ranges that do not fit into the table are left
 * out and logged.
 */
#include "boot/efi_priv.h"

#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

#define EXACT_MAX  4096 /* entries of the memory attributes table; more are not plausible */
#define EXIT_TRIES 8
#define MAP_ROOM   (16ul << 10) /* the map grows when memory for it is allocated */
#define EFI_MEM_RO 0x20000ul	/* UEFI, EFI_MEMORY_RO */
/* EFI_MEMORY_SP: specific-purpose memory, not for general use */
#define EFI_MEM_SP	   0x40000ul
#define EFI_MEM_CPU_CRYPTO 0x80000ul /* EFI_MEMORY_CPU_CRYPTO: the CPU can encrypt this memory */
#define PAGE_COUNT_MAX	   BIT(40)

/* UEFI, "EFI Memory Attributes Table". */
#define MEMORY_ATTRIBUTES_GUID                                         \
	{                                                              \
		0xdcfa911d, 0x26eb, 0x469f,                            \
		{                                                      \
			0xa2, 0x20, 0x38, 0xb7, 0xdc, 0x46, 0x12, 0x20 \
		}                                                      \
	}
struct memory_attributes {
	UINT32 version;
	UINT32 entry_count;
	UINT32 entry_bytes;
	UINT32 reserved;
};
_Static_assert(sizeof(struct memory_attributes) == 16, "EFI_MEMORY_ATTRIBUTES_TABLE");

static struct {
	char *buffer;
	UINTN cap;
	UINTN bytes;
	UINTN key;
	UINTN entry_bytes;
} map;

/* Calls fn for each of count descriptors. They are entry_bytes apart. */
static void for_each(struct boot_info *info, const char *entries, uint64_t count,
		     uint64_t entry_bytes,
		     void (*fn)(struct boot_info *info, const EFI_MEMORY_DESCRIPTOR *d))
{
	for (uint64_t i = 0; i < count; i++) {
		const EFI_MEMORY_DESCRIPTOR *d = (const void *)(entries + i * entry_bytes);

		if (d->NumberOfPages != 0 && d->NumberOfPages < PAGE_COUNT_MAX) {
			fn(info, d);
		}
	}
}

/* Inserts a range into a sorted list and joins it with its neighbours. */
static void add_range(struct mem_range *list, size_t *count, hpa_t base, uint64_t page_count)
{
	size_t at = 0;

	while (at < *count && list[at].base.v < base.v) {
		at++;
	}
	if (at > 0 && list[at - 1].base.v + list[at - 1].page_count * PAGE_SIZE == base.v) {
		at--;
		list[at].page_count += page_count;
	} else if (*count == BOOT_RANGE_MAX) {
		log_warn("memory map: more than %u ranges; %lu KiB at 0x%lx are not used",
			 BOOT_RANGE_MAX, page_count * 4, base.v);
		return;
	} else {
		for (size_t i = *count; i > at; i--) {
			list[i] = list[i - 1];
		}
		list[at] = (struct mem_range){ base, page_count };
		(*count)++;
	}
	if (at + 1 < *count &&
	    list[at].base.v + list[at].page_count * PAGE_SIZE == list[at + 1].base.v) {
		list[at].page_count += list[at + 1].page_count;
		(*count)--;
		for (size_t i = at + 1; i < *count; i++) {
			list[i] = list[i + 1];
		}
	}
}

/*
 * The n-th of our own allocations, which stay in use although they lie in loader memory. Returns
 * false after the last one.
 */
static bool get_kept(const struct boot_info *info, size_t n, uint64_t *base, uint64_t *end)
{
	if (n < VM_FILES * info->config.vm_count) {
		const struct vm_file *file = vm_config_file(
			(struct vm_config *)&info->config.vms[n / VM_FILES], n % VM_FILES);

		*base = (uintptr_t)file->data;
		*end = *base + ALIGN_UP(file->bytes, PAGE_SIZE);
		return true;
	}
	n -= VM_FILES * info->config.vm_count;
	if (n == 0) {
		*base = info->image.base.v;
		*end = *base + info->image.page_count * PAGE_SIZE;
	} else if (n == 1) {
		*base = info->trampoline.v;
		*end = *base != 0 ? *base + PAGE_SIZE : 0; /* there may be none */
	} else {
		*base = info->dma_tables.base.v;
		*end = *base + info->dma_tables.page_count * PAGE_SIZE;
	}
	return n < 3;
}

/* Whether firmware marks some memory as encryptable, but not this memory. */
static bool is_unmarked(const struct boot_info *info, const EFI_MEMORY_DESCRIPTOR *d)
{
	return info->some_marked && (d->Attribute & EFI_MEM_CPU_CRYPTO) == 0;
}

static void add_late(struct boot_info *info, const EFI_MEMORY_DESCRIPTOR *d, uint64_t base,
		     uint64_t page_count)
{
	if (is_unmarked(info, d)) {
		add_range(info->unmarked, &info->unmarked_count, hpa(base), page_count);
	} else {
		add_range(info->late, &info->late_count, hpa(base), page_count);
	}
}

/*
 * Adds loader memory without our own allocations: the loader that started Umbra does not run again.
 */
static void add_loader(struct boot_info *info, const EFI_MEMORY_DESCRIPTOR *d)
{
	const uint64_t end = d->PhysicalStart + d->NumberOfPages * PAGE_SIZE;
	uint64_t at = d->PhysicalStart;

	while (at < end) {
		uint64_t stop = end, next = end; /* begin and end of the next part that is kept */
		uint64_t base, past;

		for (size_t n = 0; get_kept(info, n, &base, &past); n++) {
			if (past > at && base < stop) {
				stop = MAX(base, at);
				next = MIN(past, end);
			}
		}
		if (stop > at) {
			add_late(info, d, at, (stop - at) / PAGE_SIZE);
		}
		at = next;
	}
}

static bool is_ram(const EFI_MEMORY_DESCRIPTOR *d)
{
	return d->Type == EfiConventionalMemory || d->Type == EfiBootServicesCode ||
	       d->Type == EfiBootServicesData || d->Type == EfiLoaderCode ||
	       d->Type == EfiLoaderData;
}

/* Collects facts that need the whole map. */
static void look(struct boot_info *info, const EFI_MEMORY_DESCRIPTOR *d)
{
	const uint64_t end = d->PhysicalStart + d->NumberOfPages * PAGE_SIZE;

	info->memory_end = MAX(info->memory_end, end);
	info->some_marked |= is_ram(d) && (d->Attribute & EFI_MEM_CPU_CRYPTO) != 0;
}

static void add_usable(struct boot_info *info, const EFI_MEMORY_DESCRIPTOR *d)
{
	if ((d->Attribute & EFI_MEMORY_WB) == 0 || (d->Attribute & EFI_MEM_SP) != 0 ||
	    (d->Attribute & EFI_MEMORY_RUNTIME) != 0) {
		return;
	}
	if (d->Type == EfiConventionalMemory && !is_unmarked(info, d)) {
		add_range(info->ranges, &info->range_count, hpa(d->PhysicalStart),
			  d->NumberOfPages);
	} else if (d->Type == EfiConventionalMemory || d->Type == EfiBootServicesCode ||
		   d->Type == EfiBootServicesData) {
		add_late(info, d, d->PhysicalStart, d->NumberOfPages);
	} else if (d->Type == EfiLoaderCode || d->Type == EfiLoaderData) {
		add_loader(info, d);
	}
}

static void add_runtime_range(struct boot_info *info, struct runtime_range range)
{
	if (info->runtime_count == POWER_RANGE_MAX) {
		log_warn("firmware has more than %u runtime ranges; its services are not used",
			 POWER_RANGE_MAX);
		info->services = (struct runtime_services){ NULL, NULL };
		return;
	}
	info->runtime[info->runtime_count++] = range;
}

/*
 * Adds a range of the memory attributes table, which lists code and data apart, with exact rights.
 */
static void add_runtime_exact(struct boot_info *info, const EFI_MEMORY_DESCRIPTOR *d)
{
	const bool code = (d->Attribute & EFI_MEMORY_XP) == 0;

	add_runtime_range(info, (struct runtime_range){
					.base = hpa(d->PhysicalStart),
					.page_count = d->NumberOfPages,
					.code = code,
					.writable = (d->Attribute & EFI_MEM_RO) == 0,
				});
}

static void add_runtime_mapped(struct boot_info *info, const EFI_MEMORY_DESCRIPTOR *d)
{
	if ((d->Attribute & EFI_MEMORY_RUNTIME) != 0) {
		add_runtime_range(info, (struct runtime_range){
						.base = hpa(d->PhysicalStart),
						.page_count = d->NumberOfPages,
						.code = d->Type == EfiRuntimeServicesCode,
						.writable = true,
						.uncached = (d->Attribute & EFI_MEMORY_WB) == 0,
					});
	}
}

/* Adds runtime ranges that the attributes table does not list: devices such as flash. */
static void add_runtime_io(struct boot_info *info, const EFI_MEMORY_DESCRIPTOR *d)
{
	if (d->Type != EfiRuntimeServicesCode && d->Type != EfiRuntimeServicesData) {
		add_runtime_mapped(info, d);
	}
}

static void convert(struct boot_info *info)
{
	static const EFI_GUID guid = MEMORY_ATTRIBUTES_GUID;
	const struct memory_attributes *exact = efi_config_table(&guid);
	const uint64_t count = map.bytes / map.entry_bytes;

	info->some_marked = false;
	for_each(info, map.buffer, count, map.entry_bytes, look);
	for_each(info, map.buffer, count, map.entry_bytes, add_usable);
	if (exact == NULL || exact->entry_bytes < sizeof(EFI_MEMORY_DESCRIPTOR) ||
	    exact->entry_count > EXACT_MAX) {
		for_each(info, map.buffer, count, map.entry_bytes, add_runtime_mapped);
		return;
	}
	for_each(info, (const char *)(exact + 1), exact->entry_count, exact->entry_bytes,
		 add_runtime_exact);
	for_each(info, map.buffer, count, map.entry_bytes, add_runtime_io);
}

/* For acpi_read. Firmware's page tables are still loaded and map memory one to one. */
static const void *memory_at(void *context, hpa_t base, uint64_t bytes)
{
	uint64_t at = base.v;
	uint64_t end;

	if (bytes == 0 || __builtin_add_overflow(at, bytes, &end)) {
		return NULL;
	}
	/* The descriptors need not be sorted. Each round passes one descriptor, or fails. */
	for (UINTN i = 0; i < map.bytes; i += map.entry_bytes) {
		const EFI_MEMORY_DESCRIPTOR *d = (const void *)(map.buffer + i);
		const uint64_t past = at - d->PhysicalStart;

		if (at < d->PhysicalStart || past / PAGE_SIZE >= d->NumberOfPages ||
		    d->NumberOfPages >= PAGE_COUNT_MAX || d->Type == EfiUnusableMemory ||
		    d->Type == EfiMemoryMappedIO || d->Type == EfiMemoryMappedIOPortSpace) {
			continue;
		}
		if (end - at <= d->NumberOfPages * PAGE_SIZE - past) {
			return (const void *)(uintptr_t)base.v;
		}
		at = d->PhysicalStart + d->NumberOfPages * PAGE_SIZE;
		i = 0 - map.entry_bytes; /* search from the start for the next part */
	}
	return NULL;
}

static void read_acpi(struct boot_info *info)
{
	static const EFI_GUID guid = ACPI_20_TABLE_GUID;
	const struct acpi_reader reader = { .at = memory_at };
	const hpa_t rsdp = hpa((uintptr_t)efi_config_table(&guid));

	if (acpi_read(rsdp, &reader, &info->acpi) != 0) {
		log_info("firmware has no ACPI tables");
		return;
	}
	if (info->cpu_source == NULL && info->acpi.cpu_count != 0) {
		info->cpu_source = "ACPI";
		info->cpu_count = info->acpi.cpu_count;
		memcpy(info->apic_ids, info->acpi.apic_ids, sizeof(info->apic_ids));
	}
}

static EFI_STATUS get_map(void)
{
	UINT32 version;
	EFI_STATUS status;

	map.bytes = map.cap;
	status = efi_system->BootServices->GetMemoryMap(&map.bytes,
							(EFI_MEMORY_DESCRIPTOR *)map.buffer,
							&map.key, &map.entry_bytes, &version);
	if (!EFI_ERROR(status) &&
	    (map.entry_bytes < sizeof(EFI_MEMORY_DESCRIPTOR) || map.bytes > map.cap)) {
		return EFI_COMPROMISED_DATA;
	}
	return status;
}

static int allocate_map(void)
{
	EFI_PHYSICAL_ADDRESS base = 0;
	uint64_t page_count;

	map.cap = 0; /* the first call returns the size */
	if (get_map() != EFI_BUFFER_TOO_SMALL) {
		log_error("firmware gives no memory map");
		return ERR_IO;
	}
	page_count = ALIGN_UP(map.bytes + MAP_ROOM, PAGE_SIZE) / PAGE_SIZE;
	if (EFI_ERROR(efi_system->BootServices->AllocatePages(AllocateAnyPages, EfiLoaderData,
							      page_count, &base))) {
		log_error("not enough memory for firmware's memory map");
		return ERR_NOMEM;
	}
	map.buffer = (char *)(uintptr_t)base;
	map.cap = page_count * PAGE_SIZE;
	return 0;
}

bool efi_find_serial(struct serial_place *out)
{
	static const EFI_GUID guid = ACPI_20_TABLE_GUID;
	const struct acpi_reader reader = { .at = memory_at };
	struct serial_place found;

	if (allocate_map() != 0 || EFI_ERROR(get_map()) ||
	    acpi_find_serial(hpa((uintptr_t)efi_config_table(&guid)), &reader, &found) != 0) {
		return false;
	}
	/*
	 * Firmware maps the first 4 GiB one to one. The registers must not lie where the map lists
	 * memory.
	 */
	if (found.memory &&
	    (found.address >= BIT(32) || memory_at(NULL, hpa(found.address), 1) != NULL)) {
		log_warn("ACPI: there cannot be a serial port at 0x%lx", found.address);
		return false;
	}
	*out = found;
	return true;
}

/* --- For efi_dma.c --- */

bool efi_memory_look(void)
{
	return allocate_map() == 0 && !EFI_ERROR(get_map());
}

int efi_find_dmar(struct acpi_table *out)
{
	static const EFI_GUID guid = ACPI_20_TABLE_GUID;
	const struct acpi_reader reader = { .at = memory_at };

	return acpi_find_table(hpa((uintptr_t)efi_config_table(&guid)), &reader, "DMAR", out);
}

/* The part of [base, end) that a descriptor covers, in bytes. */
static uint64_t covered(const EFI_MEMORY_DESCRIPTOR *d, uint64_t base, uint64_t end)
{
	const uint64_t first = MAX(base, d->PhysicalStart);
	const uint64_t past = MIN(end, d->PhysicalStart + d->NumberOfPages * PAGE_SIZE);

	return d->NumberOfPages < PAGE_COUNT_MAX && first < past ? past - first : 0;
}

/* Is all of [base, end) memory of this kind? */
static bool is_all(uint64_t base, uint64_t end, bool (*is_kind)(const EFI_MEMORY_DESCRIPTOR *d))
{
	uint64_t bytes = 0;

	for (UINTN i = 0; i < map.bytes; i += map.entry_bytes) {
		const EFI_MEMORY_DESCRIPTOR *d = (const void *)(map.buffer + i);

		if (is_kind(d)) {
			bytes += covered(d, base, end);
		} else if (covered(d, base, end) != 0) {
			return false; /* descriptors of firmware may overlap */
		}
	}
	return bytes == end - base;
}

static bool is_reserved(const EFI_MEMORY_DESCRIPTOR *d)
{
	return d->Type == EfiReservedMemoryType && (d->Attribute & EFI_MEMORY_RUNTIME) == 0;
}

static bool is_firmwares(const EFI_MEMORY_DESCRIPTOR *d)
{
	return d->Type == EfiReservedMemoryType || d->Type == EfiBootServicesData ||
	       d->Type == EfiRuntimeServicesData || d->Type == EfiACPIMemoryNVS;
}

bool efi_is_reserved(uint64_t base, uint64_t end)
{
	return is_all(base, end, is_reserved);
}

bool efi_is_firmwares(uint64_t base, uint64_t end)
{
	return is_all(base, end, is_firmwares);
}

bool efi_is_memory(uint64_t base, uint64_t end)
{
	for (UINTN i = 0; i < map.bytes; i += map.entry_bytes) {
		const EFI_MEMORY_DESCRIPTOR *d = (const void *)(map.buffer + i);
		const bool used = is_ram(d) || d->Type == EfiRuntimeServicesCode ||
				  d->Type == EfiRuntimeServicesData ||
				  d->Type == EfiACPIReclaimMemory || d->Type == EfiACPIMemoryNVS;

		if (used && covered(d, base, end) != 0) {
			return true;
		}
	}
	return false;
}

int efi_exit_boot_services(void)
{
	EFI_STATUS status = EFI_SUCCESS;
	int err = allocate_map();

	if (err != 0) {
		return err;
	}
	/*
	 * A timer event may change the map between the two calls. The key is then stale, and
	 * GetMemoryMap is the only service that may still be called.
	 */
	for (int i = 0; i < EXIT_TRIES; i++) {
		status = get_map();
		if (EFI_ERROR(status)) {
			break;
		}
		status = efi_system->BootServices->ExitBootServices(efi_image, map.key);
		if (!EFI_ERROR(status)) {
			return 0;
		}
	}
	log_error("firmware does not end its boot services (status 0x%lx)", status);
	return ERR_IO;
}

void efi_take_memory(struct boot_info *info)
{
	convert(info);
	read_acpi(info);
}
