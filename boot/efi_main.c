/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firmware starts Umbra here. Everything that needs firmware is done here, in order: log a banner,
 * read the configuration and the files that it names, ask about the machine, shut DMA out, open the
 * keys that the TPM has sealed, end boot services. Then boot/main.c takes over and does not return.
 */
#include "boot/efi_priv.h"

#include "crypto/wipe.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/console/screen.h"
#include "vmm/vmx.h"

#define STACK_BYTES (64u << 10)

static struct boot_info info;
static uint8_t stack[STACK_BYTES] __attribute__((aligned(4096)));

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

/*
 * Opens the serial port and the screen, where they exist. A screen that Umbra draws on itself stays
 * usable after boot services have ended.
 */
static void open_consoles(void)
{
	const bool serial = efi_serial_open();

	efi_probe_screen(&info.screen);
	if (screen_init(&info.screen) != 0) {
		efi_text_open(serial);
	}
}

static void say_hello(void)
{
	char vendor[48] = "unknown firmware";
	const CHAR16 *wide = efi_system->FirmwareVendor;

	for (size_t i = 0; wide != NULL && i + 1 < sizeof(vendor); i++) {
		vendor[i] = (wide[i] >= 0x20 && wide[i] < 0x7f) || wide[i] == 0 ? (char)wide[i]
										: '?';
		vendor[i + 1] = '\0';
		if (wide[i] == 0) {
			break;
		}
	}
	log_info("Umbra %s, started by %s, UEFI %u.%u", UMBRA_VERSION, vendor,
		 efi_system->Hdr.Revision >> 16, (efi_system->Hdr.Revision & 0xffff) / 10);
}

static void read_config(void)
{
	struct vm_file file = { .path = LAUNCH_CONFIG };

	if (efi_volume_open() != 0 || !efi_launch_open()) {
		return;
	}
	if (efi_file_read(&file, LAUNCH_CONFIG_MAX) != 0) {
		log_error("%s on the volume that Umbra was started from: %s", file.path,
			  file.error);
		return;
	}
	/* it has logged all errors */
	(void)config_parse(LAUNCH_CONFIG_NAME, file.data, file.bytes, &info.config);
	/* Command lines may hold secrets. */
	secure_zero((void *)(uintptr_t)file.data, file.bytes);
	log_set_level(info.config.log_level);
	efi_serial_configure(&info.config.serial);
	/*
	 * A CPU that cannot run VMs needs no files, and reading them may take minutes. But if files
	 * are measured or compared, all are read, so that measurements do not depend on the CPU.
	 */
	if (info.can_run || efi_launch_wants_files()) {
		launch_read_files(&info.config, efi_file_read);
	}
	efi_keys_read(&info.config);
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	int err;

	efi_image = image;
	efi_system = system;
	wipe_init();		       /* keys are read soon */
	config_defaults(&info.config); /* used if there is no file to read */
	open_consoles();
	say_hello();
	efi_launch_report();
	efi_record_show();
	efi_time_read(info.began, sizeof(info.began));
	/* Firmware resets the machine if its boot program has not ended after five minutes. */
	/* some firmware has no watchdog */
	(void)system->BootServices->SetWatchdogTimer(0, 0, 0, NULL);
	info.can_run = vmx_preflight();
	efi_request_memory_clear(); /* before keys are read and opened */
	read_config();
	efi_probe(&info);
	efi_dma_decide(&info);
	efi_launch_state(&info.config);
	efi_dma_block(&info);
	efi_launch_close(&info.config);
	if (!info.can_run) {
		efi_leave_all_out(&info.config);
		efi_keys_forget(&info.config);
	}
	efi_text_close();
	err = efi_exit_boot_services();
	if (err != 0) {
		efi_keys_forget(&info.config);
		log_error("Umbra cannot go on; switch the machine off, or reset it");
		console_drain();
		for (;;) {
			__asm__ volatile("cli; hlt");
		}
	}
	efi_dma_block_again(&info);
	efi_take_memory(&info);
	boot_enter(&info, stack + sizeof(stack), host_main);
}
