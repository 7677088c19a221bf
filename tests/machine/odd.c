/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An EFI program that makes firmware behave as some machines' does, and then starts
 * \umbra\umbra.efi. \umbra\firmware.txt says what:
 *
 *   low      no page below 1 MiB is free
 *   parked   after ExitBootServices each other CPU loops and watches a page of boot-services
 *            data, like a CPU whose code, stack or page tables are there. When the page changes
 *            the CPU shuts the machine down. The serial line says how many CPUs do so.
 *   disk     it waits until a test has armed its device (tests/launch/dma.py). When boot services
 *            are to end, it reads a block of the disk first, as a driver that flushes its disk
 *            does, if there is still a driver. The serial line says whether the disk wrote to
 *            memory.
 *   iommu    the same; before that it leaves the IOMMU of MACHINE=qemu on, with tables that let
 *            everything through and a queue, and switches it off right after ExitBootServices, as
 *            the driver of EDK II does.
 *   stays    as iommu, and no driver can be stopped, as if each were in use
 *   markers  memory of each kind that boot services and loaders have, and of their pools, is full
 *            of markers (tests/bus/marker.h), as it may be of a password that a user typed. The
 *            serial line says how many pages.
 */
#include <efi.h>
#include <efilib.h>

#include "tests/bus/marker.h"

#define BELOW_1M   0xfffffull
#define MARK	   0x5aa5u
#define PAGE	   4096u
#define COM1	   0x3f8u
#define LAPIC_ICR  ((volatile UINT32 *)0xfee00300u)
#define ICR_OTHERS 0xc0000u /* all but the sender; edge */
#define ICR_INIT   0x4500u
#define ICR_SIPI   0x4600u
#define WAIT_TICKS 20000000ull

/* The code of a parked CPU, in real mode at the start of its page. */
__asm__(".pushsection .rodata\n"
	"park_begin:\n"
	".code16\n"
	"	cli\n"
	"	movw %cs:(park_segment - park_begin), %ax\n"
	"	movw %ax, %ds\n"
	"	lock incw %cs:(park_count - park_begin)\n"
	"1:	pause\n"
	"	cmpw $0x5aa5, 0\n"
	"	je 1b\n"
	"	lidtl %cs:(park_no_table - park_begin)\n"
	"	int3\n" /* no IDT: the double fault fails as well, so the CPU shuts down */
	"park_no_table:\n"
	"	.word 0, 0, 0\n"
	"park_segment:\n"
	"	.word 0\n"
	"park_count:\n"
	"	.word 0\n"
	".code64\n"
	"park_end:\n"
	".popsection\n");
extern const UINT8 park_begin[], park_segment[], park_count[], park_end[];

typedef EFI_STATUS(__attribute__((ms_abi)) * exit_fn)(EFI_HANDLE image, UINTN key);
static exit_fn firmwares_exit;
static UINT8 *parking; /* reserved: the code stays, whatever happens to other memory */

static void wait_a_little(void)
{
	const UINT64 begin = __builtin_ia32_rdtsc();

	while (__builtin_ia32_rdtsc() - begin < WAIT_TICKS) {
	}
}

static void say(const char *text)
{
	for (; *text != '\0'; text++) {
		UINT8 status = 0;

		while ((status & 0x20) == 0) {
			__asm__ volatile("inb %1, %0" : "=a"(status) : "Nd"((UINT16)(COM1 + 5)));
		}
		__asm__ volatile("outb %0, %1" : : "a"(*text), "Nd"((UINT16)COM1));
	}
}

static UINT16 *word(const UINT8 *label)
{
	return (UINT16 *)(void *)(parking + (label - park_begin));
}

static EFI_STATUS __attribute__((ms_abi)) exit_and_park(EFI_HANDLE image, UINTN key)
{
	const EFI_STATUS status = firmwares_exit(image, key);
	char text[] = "\r\nfirmware: 0 CPUs are parked in boot-services memory\r\n";

	if (EFI_ERROR(status)) {
		return status;
	}
	LAPIC_ICR[4] = 0;
	LAPIC_ICR[0] = ICR_OTHERS | ICR_INIT;
	wait_a_little();
	LAPIC_ICR[0] = ICR_OTHERS | ICR_SIPI | (UINT32)((UINTN)parking / PAGE);
	wait_a_little();
	text[12] = (char)('0' + *word(park_count));
	say(text);
	return status;
}

static EFI_STATUS park(void)
{
	EFI_PHYSICAL_ADDRESS code = BELOW_1M - 0x60000, watched = BELOW_1M - 0x60000;

	if (EFI_ERROR(uefi_call_wrapper(BS->AllocatePages, 4, AllocateMaxAddress,
					EfiReservedMemoryType, 1, &code)) ||
	    EFI_ERROR(uefi_call_wrapper(BS->AllocatePages, 4, AllocateMaxAddress,
					EfiBootServicesData, 1, &watched))) {
		return EFI_OUT_OF_RESOURCES;
	}
	parking = (UINT8 *)(UINTN)code;
	CopyMem(parking, (void *)park_begin, park_end - park_begin);
	*word(park_segment) = (UINT16)(watched >> 4);
	*(UINT16 *)(UINTN)watched = MARK;
	firmwares_exit = (exit_fn)(void *)BS->ExitBootServices;
	*(void **)&BS->ExitBootServices = (void *)exit_and_park;
	return EFI_SUCCESS;
}

static EFI_STATUS take_low(void)
{
	EFI_PHYSICAL_ADDRESS page = BELOW_1M;

	while (!EFI_ERROR(uefi_call_wrapper(BS->AllocatePages, 4, AllocateMaxAddress,
					    EfiReservedMemoryType, 1, &page))) {
		page = BELOW_1M;
	}
	return EFI_SUCCESS;
}

#define MARKED_PAGES 64u /* of each kind, and as many of its pool */

static void mark(UINT8 *area, UINT64 number)
{
	for (UINT64 page = 0; page < MARKED_PAGES; page++) {
		struct marker *block = (struct marker *)(void *)(area + page * PAGE);

		for (UINT64 i = 0; i < MARKER_PAGE_BLOCKS; i++) {
			block[i] = marker_make(number + page, i);
		}
	}
}

static EFI_STATUS leave_markers(void)
{
	static const EFI_MEMORY_TYPE kinds[] = { EfiLoaderCode, EfiLoaderData, EfiBootServicesCode,
						 EfiBootServicesData };
	UINT64 number = 0;

	for (UINTN i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		EFI_PHYSICAL_ADDRESS pages;
		void *pool;

		if (EFI_ERROR(uefi_call_wrapper(BS->AllocatePages, 4, AllocateAnyPages, kinds[i],
						MARKED_PAGES, &pages)) ||
		    EFI_ERROR(uefi_call_wrapper(BS->AllocatePool, 3, kinds[i], MARKED_PAGES * PAGE,
						&pool))) {
			return EFI_OUT_OF_RESOURCES;
		}
		mark((UINT8 *)(UINTN)pages, number);
		mark(pool, number + MARKED_PAGES);
		number += 2 * MARKED_PAGES;
	}
	say("\r\nfirmware: 512 pages are full of markers\r\n");
	return EFI_SUCCESS;
}

/* --- DMA --- */

#define UNIT		  0xfed90000u /* the registers of QEMU's VT-d */
#define GCMD		  0x18u
#define GSTS		  0x1cu
#define RTADDR		  0x20u
#define IQA		  0x90u
#define KEPT		  0x96ffffffu
#define TRANSLATION	  0x80000000u
#define SET_ROOT	  0x40000000u
#define QUEUE		  0x04000000u
#define PASS_THROUGH	  (1u | 2u << 2)
#define WIDTH_39_DOMAIN_1 0x101u
#define CANARY		  0xa5u
#define ATTACKER_READY	  0x50ffcu
#define ATTACKER_VALUE	  0x600d600du
#define ATTACKER_TRIES	  2000u
#define READ_TRIES	  100u
#define READ_TRY_US	  10000u

static EFI_HANDLE disk_device;
static EFI_BLOCK_IO2_PROTOCOL *disk;
static BOOLEAN has_iommu;
static UINT8 block[PAGE] __attribute__((aligned(4096)));

static volatile UINT32 *unit32(UINT32 offset)
{
	return (volatile UINT32 *)(UINTN)(UNIT + offset);
}

static void command(UINT32 bit, BOOLEAN on)
{
	const UINT32 kept = *unit32(GSTS) & KEPT;

	*unit32(GCMD) = on ? kept | bit : kept & ~bit;
	while (((*unit32(GSTS) & bit) != 0) != on) {
	}
}

static EFI_STATUS translate(void)
{
	EFI_PHYSICAL_ADDRESS pages;
	UINT64 *root, *contexts;

	if (EFI_ERROR(uefi_call_wrapper(BS->AllocatePages, 4, AllocateAnyPages, EfiBootServicesData,
					3, &pages))) {
		return EFI_OUT_OF_RESOURCES;
	}
	root = (UINT64 *)(UINTN)pages;
	contexts = root + PAGE / 8;
	ZeroMem(root, 3 * PAGE);
	for (UINTN i = 0; i < 256; i++) {
		root[2 * i] = (UINTN)contexts | 1;
		contexts[2 * i] = PASS_THROUGH;
		contexts[2 * i + 1] = WIDTH_39_DOMAIN_1;
	}
	*(volatile UINT64 *)(UINTN)(UNIT + RTADDR) = pages;
	command(SET_ROOT, TRUE);
	*(volatile UINT64 *)(UINTN)(UNIT + IQA) = pages + 2 * PAGE;
	command(QUEUE, TRUE);
	command(TRANSLATION, TRUE);
	say("\r\nfirmware: the IOMMU is on, and lets everything through\r\n");
	return EFI_SUCCESS;
}

static BOOLEAN is_full_of(UINT8 value)
{
	for (UINTN i = 0; i < disk->Media->BlockSize; i++) {
		if (block[i] != value) {
			return FALSE;
		}
	}
	return TRUE;
}

/*
 * Reads a block as firmware's drivers do, without waiting for them: if the disk is stopped, they
 * take a minute to give up.
 */
static void read_block(void)
{
	static EFI_BLOCK_IO2_TOKEN token;
	EFI_STATUS status;

	if (EFI_ERROR(uefi_call_wrapper(BS->HandleProtocol, 3, disk_device, &BlockIo2Protocol,
					(void **)&disk))) {
		say("\r\nfirmware: the driver of the disk was stopped\r\n");
		return;
	}
	SetMem(block, sizeof(block), CANARY);
	status = uefi_call_wrapper(BS->CreateEvent, 5, 0, 0, NULL, NULL, &token.Event);
	if (!EFI_ERROR(status)) {
		status = uefi_call_wrapper(disk->ReadBlocksEx, 6, disk, disk->Media->MediaId, 0,
					   &token, disk->Media->BlockSize, block);
	}
	for (UINTN i = 0; !EFI_ERROR(status) && i < READ_TRIES && is_full_of(CANARY); i++) {
		uefi_call_wrapper(BS->Stall, 1, READ_TRY_US);
	}
	if (EFI_ERROR(status)) {
		say("\r\nfirmware: the disk cannot be read\r\n");
	} else if (is_full_of(CANARY)) {
		say("\r\nfirmware: the disk has not written to memory\r\n");
	} else {
		say("\r\nfirmware: the disk has written to memory\r\n");
	}
}

static EFI_STATUS __attribute__((ms_abi)) read_and_exit(EFI_HANDLE image, UINTN key)
{
	static BOOLEAN has_read;
	EFI_STATUS status;

	if (!has_read) {
		has_read = TRUE;
		read_block();
	}
	status = firmwares_exit(image, key);
	if (!EFI_ERROR(status) && has_iommu) {
		command(TRANSLATION, FALSE);
		say("\r\nfirmware: the IOMMU is off\r\n");
	}
	return status;
}

/* The test says when it is ready, in memory that nothing else uses. */
static void await_attacker(void)
{
	volatile UINT32 *const go = (volatile UINT32 *)ATTACKER_READY;

	say("\r\nfirmware: it waits for the attacker\r\n");
	for (UINTN i = 0; i < ATTACKER_TRIES && *go != ATTACKER_VALUE; i++) {
		uefi_call_wrapper(BS->Stall, 1, READ_TRY_US);
	}
}

static EFI_STATUS __attribute__((ms_abi))
refuse_to_stop(EFI_HANDLE controller, EFI_HANDLE driver, EFI_HANDLE child)
{
	return EFI_DEVICE_ERROR;
}

static EFI_STATUS watch_disk(EFI_HANDLE device, BOOLEAN with_iommu)
{
	has_iommu = with_iommu;
	await_attacker();
	disk_device = device;
	if (EFI_ERROR(uefi_call_wrapper(BS->HandleProtocol, 3, device, &BlockIo2Protocol,
					(void **)&disk))) {
		return EFI_NOT_FOUND;
	}
	firmwares_exit = (exit_fn)(void *)BS->ExitBootServices;
	*(void **)&BS->ExitBootServices = (void *)read_and_exit;
	return with_iommu ? translate() : EFI_SUCCESS;
}

static EFI_STATUS do_what_is_said(EFI_HANDLE device)
{
	static CHAR8 text[64];
	UINTN bytes = sizeof(text) - 1;
	EFI_FILE_HANDLE root = LibOpenRoot(device);
	EFI_FILE_HANDLE file;

	if (root == NULL ||
	    EFI_ERROR(uefi_call_wrapper(root->Open, 5, root, &file, L"\\umbra\\firmware.txt",
					EFI_FILE_MODE_READ, 0)) ||
	    EFI_ERROR(uefi_call_wrapper(file->Read, 3, file, &bytes, text))) {
		return EFI_NOT_FOUND;
	}
	if (strncmpa(text, (CHAR8 *)"low", 3) == 0) {
		return take_low();
	}
	if (strncmpa(text, (CHAR8 *)"disk", 4) == 0 || strncmpa(text, (CHAR8 *)"iommu", 5) == 0) {
		return watch_disk(device, text[0] == 'i');
	}
	if (strncmpa(text, (CHAR8 *)"stays", 5) == 0) {
		*(void **)&BS->DisconnectController = (void *)refuse_to_stop;
		return watch_disk(device, TRUE);
	}
	if (strncmpa(text, (CHAR8 *)"markers", 7) == 0) {
		return leave_markers();
	}
	return strncmpa(text, (CHAR8 *)"parked", 6) == 0 ? park() : EFI_INVALID_PARAMETER;
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *table)
{
	EFI_LOADED_IMAGE *self;
	EFI_HANDLE umbra;
	EFI_STATUS status;

	InitializeLib(handle, table);
	uefi_call_wrapper(BS->HandleProtocol, 3, handle, &LoadedImageProtocol, (void **)&self);
	status = do_what_is_said(self->DeviceHandle);
	if (!EFI_ERROR(status)) {
		status = uefi_call_wrapper(
			BS->LoadImage, 6, FALSE, handle,
			FileDevicePath(self->DeviceHandle, L"\\umbra\\umbra.efi"), NULL, 0, &umbra);
	}
	if (EFI_ERROR(status)) {
		Print(L"odd firmware: %r\n", status);
		return status;
	}
	return uefi_call_wrapper(BS->StartImage, 3, umbra, NULL, NULL);
}
