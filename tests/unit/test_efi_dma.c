/* SPDX-License-Identifier: Apache-2.0 */
/* boot/efi_dma.c with a fake firmware: which drivers it stops, when, and who is left out. */
#include "tests/unit/test.h"
#include "boot/efi_priv.h"

#include <efipciio.h>

#include "boot/dma.h"
#include "vmm/base/err.h"
#include "vmm/base/x86.h"

EFI_SYSTEM_TABLE *efi_system;
EFI_HANDLE efi_image;

/* The devices, by their class registers; all are handles with a driver. */
static const UINT32 classes[] = { 0x01060100, 0x02000000, 0x03000000, 0x0c033000,
				  0x06040000, 0x07800000, 0x0c040000, 0x01080200 };
#define BIT_OF(n) (1u << (n))
static EFI_PCI_IO_PROTOCOL devices[ARRAY_COUNT(classes)];
static EFI_HANDLE handles[ARRAY_COUNT(classes)];
static unsigned stopped, freed;	  /* stopped: bits of devices */
static unsigned stopped_at_block; /* what was so when DMA was shut out */
static bool on_at_block, closed_at_block, text_closed;
static bool will_block, enough, as_decided;
static struct dmar decided;
static const struct dma_firmware *given;
static int dmar_error;
static bool has_map, parse_fails;
static unsigned forgotten, left_out;
static struct boot_info info;

static EFI_STATUS EFIAPI locate(EFI_LOCATE_SEARCH_TYPE type, EFI_GUID *guid, void *key,
				UINTN *count, EFI_HANDLE **out)
{
	assert_int_equal(type, ByProtocol);
	assert_int_equal(guid->Data1, 0x4cf5b200);
	*count = ARRAY_COUNT(classes);
	*out = handles;
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI protocol(EFI_HANDLE handle, EFI_GUID *guid, void **out)
{
	*out = handle;
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_class(EFI_PCI_IO_PROTOCOL *device, EFI_PCI_IO_PROTOCOL_WIDTH width,
				    UINT32 offset, UINTN count, void *out)
{
	assert_int_equal(width, EfiPciIoWidthUint32);
	assert_int_equal(offset, 8);
	assert_int_equal(count, 1);
	*(UINT32 *)out = classes[device - devices];
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI disconnect(EFI_HANDLE handle, EFI_HANDLE driver, EFI_HANDLE child)
{
	const size_t n = (size_t)((EFI_PCI_IO_PROTOCOL *)handle - devices);

	assert_null(driver);
	assert_null(child);
	assert_true(fake_interrupts_on);
	if (n == 0) {
		return EFI_DEVICE_ERROR;
	}
	stopped |= BIT_OF(n);
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pool(void *buffer)
{
	assert_ptr_equal(buffer, handles);
	freed++;
	return EFI_SUCCESS;
}

void efi_text_close(void)
{
	text_closed = true;
}

bool efi_memory_look(void)
{
	return has_map;
}

int efi_find_dmar(struct acpi_table *out)
{
	*out = (struct acpi_table){ (const uint8_t *)"t", 1 };
	return dmar_error;
}

int dmar_parse(const uint8_t *table, uint32_t bytes, struct dmar *out)
{
	assert_int_equal(out->unit_count, 0);
	out->unit_count = parse_fails ? 0 : 3;
	out->units_left_out = parse_fails;
	return parse_fails ? ERR_FORMAT : 0;
}

void dma_decide(const struct dmar *dmar, enum config_iommu wanted, const struct screen_mode *screen,
		const struct dma_firmware *firmware)
{
	decided = *dmar;
	given = firmware;
	assert_non_null(firmware->is_firmwares);
}

bool dma_will_block(void)
{
	return will_block;
}

bool dma_block(void)
{
	stopped_at_block = stopped;
	on_at_block = fake_interrupts_on;
	closed_at_block = text_closed;
	return enough;
}

bool dma_block_again(void)
{
	return dma_block();
}

bool dma_is_as_decided(void)
{
	return as_decided;
}

bool efi_is_reserved(uint64_t base, uint64_t end)
{
	return false;
}

bool efi_is_firmwares(uint64_t base, uint64_t end)
{
	return false;
}

bool efi_is_memory(uint64_t base, uint64_t end)
{
	return false;
}

uint32_t pci_read(uint32_t function, uint32_t offset)
{
	return 0;
}

void efi_keys_forget(struct config *config)
{
	forgotten++;
}

void efi_leave_sealed_out(struct config *config, const char *why)
{
	assert_string_equal(why, "the IOMMU does not do what was measured");
	config->vms[1].valid = false;
	left_out++;
}

static int setup(void **state)
{
	static EFI_BOOT_SERVICES services = { .LocateHandleBuffer = locate,
					      .HandleProtocol = protocol,
					      .DisconnectController = disconnect,
					      .FreePool = free_pool };
	static EFI_SYSTEM_TABLE system = { .BootServices = &services };

	fake_setup(state);
	efi_system = &system;
	for (size_t i = 0; i < ARRAY_COUNT(devices); i++) {
		devices[i].Pci.Read = read_class;
		handles[i] = &devices[i];
	}
	stopped = freed = forgotten = left_out = 0;
	text_closed = closed_at_block = parse_fails = false;
	will_block = enough = as_decided = has_map = true;
	dmar_error = 0;
	fake_interrupts_on = true;
	memset(&info, 0, sizeof(info));
	info.config.vm_count = 2;
	info.config.share_count = 1;
	info.config.shares[0].valid = true;
	info.config.vms[0].valid = info.config.vms[1].valid = true;
	return 0;
}

/* Disks and networks, while DMA still works, and nothing that shows a picture or takes keys. */
TEST(drivers_are_stopped, setup, fake_teardown)
{
	efi_dma_block(&info);
	assert_int_equal(stopped_at_block, BIT_OF(1) | BIT_OF(6) | BIT_OF(7));
	assert_int_equal(stopped, stopped_at_block);
	assert_non_null(strstr(fake_log_text(), "3 drivers of firmware are stopped"));
	assert_int_equal(freed, 1);
	assert_true(closed_at_block);
}

/* If nothing is shut out, firmware goes on as it was. */
TEST(nothing_is_stopped, setup, fake_teardown)
{
	will_block = false;
	efi_dma_block(&info);
	assert_int_equal(stopped, 0);
	assert_false(text_closed);
}

/* Firmware's timers do not run while the units are set up, nor once boot services have ended. */
TEST(interrupts, setup, fake_teardown)
{
	efi_dma_block(&info);
	assert_false(on_at_block);
	assert_true(fake_interrupts_on);
	on_at_block = true;
	efi_dma_block_again(&info);
	assert_false(on_at_block || fake_interrupts_on);
}

TEST(tables, setup, fake_teardown)
{
	efi_dma_decide(&info);
	assert_int_equal(decided.unit_count, 3);
	dmar_error = ERR_NOTFOUND;
	efi_dma_decide(&info);
	assert_int_equal(decided.unit_count, 0);
	assert_false(decided.units_left_out);
	dmar_error = ERR_FORMAT; /* a table that is broken is not the same as none */
	efi_dma_decide(&info);
	assert_int_equal(decided.unit_count, 0);
	assert_true(decided.units_left_out);
	assert_non_null(strstr(fake_log_text(), "DMAR: the table is broken"));
	dmar_error = 0;
	parse_fails = true;
	efi_dma_decide(&info);
	assert_true(decided.units_left_out);
	parse_fails = false;
	has_map = false;
	efi_dma_decide(&info);
	assert_true(decided.units_left_out);
	info.config.iommu = CONFIG_IOMMU_OFF;
	efi_dma_decide(&info);
	assert_int_equal(decided.unit_count, 0);
	assert_false(decided.units_left_out);
}

/* Registers above 4 GiB are used if firmware's page tables map them, with pages of any size. */
TEST(mapped, setup, fake_teardown)
{
	static uint64_t tables[5][512] __attribute__((aligned(PAGE_SIZE)));
	const uint64_t at = 0x200ffffc0000;

	efi_dma_decide(&info);
	for (unsigned levels = 4; levels <= 5; levels++) {
		fake_cr4 = levels == 5 ? CR4_LA57 : 0;
		fake_cr3 = (uintptr_t)tables[levels - 1];
		for (unsigned last = 1; last < 4; last++) {
			const unsigned shift = 12 + 9 * (last - 1);
			uint64_t *entry = &tables[last - 1][at >> shift & 0x1ff];

			memset(tables, 0, sizeof(tables));
			for (unsigned n = last; n < levels; n++) {
				tables[n][at >> (12 + 9 * n) & 0x1ff] = (uintptr_t)tables[n - 1] |
									3;
			}
			assert_false(given->is_mapped(at, at + PAGE_SIZE));
			*entry = ALIGN_DOWN(at, 1ul << shift) | 3 | (last > 1 ? 0x80 : 0);
			assert_true(given->is_mapped(at, at + PAGE_SIZE));
			assert_int_equal(given->is_mapped(at, at + 2 * PAGE_SIZE), last > 1);
			*entry += 1ul << shift; /* another place */
			assert_false(given->is_mapped(at, at + PAGE_SIZE));
		}
	}
}

TEST(who_is_left_out, setup, fake_teardown)
{
	as_decided = false;
	efi_dma_block(&info);
	assert_true(info.config.vms[0].valid);
	assert_false(info.config.vms[1].valid);
	assert_int_equal(left_out, 1);
	assert_int_equal(forgotten, 0);
	enough = false;
	efi_dma_block_again(&info);
	assert_false(info.config.vms[0].valid);
	assert_false(info.config.shares[0].valid); /* or the TPM would open its key */
	assert_int_equal(left_out, 1);
	assert_int_equal(forgotten, 1);
}
