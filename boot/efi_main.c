/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Firmware starts Umbra here. Everything that needs firmware is done here, in order: log a banner,
 * read the configuration and the files that it names, ask about the machine, end boot services.
 * Then boot/main.c takes over and does not return.
 */
#include "boot/efi_priv.h"

#include "vmm/base/console.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/screen.h"
#include "vmm/base/str.h"
#include "vmm/vmx.h"

#define CONFIG_PATH "\\umbra\\umbra.conf"
#define CONFIG_NAME "umbra.conf"
#define CONFIG_MAX  (64ul << 10)
#define FILE_MAX    (4ul << 30) /* the largest file of FAT */
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

/* Returns the same file as another VM has it, if it was read already, or NULL. */
static const struct vm_file *find_read(const struct vm_file *file)
{
	for (size_t i = 0; i < info.config.vm_count; i++) {
		for (size_t f = 0; f < VM_FILES; f++) {
			const struct vm_file *other = vm_config_file(&info.config.vms[i], f);

			if (other->data != NULL && other != file &&
			    str_equal_nocase(other->path, file->path)) {
				return other;
			}
		}
	}
	return NULL;
}

static void read_file(struct vm_config *vm, const char *key, struct vm_file *file)
{
	const struct vm_file *same = find_read(file);

	if (file->path[0] == '\0') {
		return; /* this VM has no such file */
	}
	if (same != NULL) {
		*file = *same;
	} else if (efi_file_read(file, FILE_MAX) != 0) {
		log_error("%s:%u: vm %s: %s = %s: %s; the VM is left out", CONFIG_NAME, vm->line,
			  vm->name, key, file->path, file->error);
		vm->valid = false;
	}
}

/* what is "vm" or "share". Returns false if a key file is named but has no valid key. */
static bool read_key(struct vm_key_source *key, const char *what, const char *name, uint32_t line)
{
	if (key->kind != VM_KEY_FILE || efi_key_read(key) == 0) {
		return true;
	}
	log_error("%s:%u: %s %s: key = file:%s: %s; the %s is left out", CONFIG_NAME, line, what,
		  name, key->file.path, key->file.error, strcmp(what, "vm") == 0 ? "VM" : "share");
	return false;
}

static void forget_keys(void)
{
	for (size_t i = 0; i < info.config.vm_count; i++) {
		secure_zero(info.config.vms[i].key.secret, sizeof(info.config.vms[i].key.secret));
	}
	for (size_t i = 0; i < info.config.share_count; i++) {
		secure_zero(info.config.shares[i].key.secret,
			    sizeof(info.config.shares[i].key.secret));
	}
}

static void read_config(void)
{
	struct vm_file file = { .path = CONFIG_PATH };

	if (efi_volume_open() != 0) {
		return;
	}
	if (efi_file_read(&file, CONFIG_MAX) != 0) {
		log_error("%s on the volume that Umbra was started from: %s", file.path,
			  file.error);
		return;
	}
	/* it has logged all errors */
	(void)config_parse(CONFIG_NAME, file.data, file.bytes, &info.config);
	/* Command lines may hold secrets. */
	secure_zero((void *)(uintptr_t)file.data, file.bytes);
	log_set_level(info.config.log_level);
	efi_serial_configure(&info.config.serial);
	for (size_t i = 0; i < info.config.vm_count; i++) {
		struct vm_config *vm = &info.config.vms[i];

		/* reading files from a stick may take minutes */
		vm->valid = vm->valid && info.can_run;
		if (vm->valid) {
			read_file(vm, "kernel", &vm->kernel);
			read_file(vm, "initrd", &vm->initrd);
			for (size_t d = 0; d < VM_DISKS_MAX; d++) {
				read_file(vm, "disk", &vm->disks[d].file);
			}
			vm->valid = read_key(&vm->key, "vm", vm->name, vm->line) && vm->valid;
		}
	}
	for (size_t i = 0; i < info.config.share_count; i++) {
		struct share_config *share = &info.config.shares[i];

		share->valid = share->valid &&
			       read_key(&share->key, "share", share->name, share->line);
	}
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
	int err;

	efi_image = image;
	efi_system = system;
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
	read_config();
	efi_request_memory_clear();
	efi_probe(&info);
	efi_text_close();
	err = efi_exit_boot_services(&info);
	if (err != 0) {
		forget_keys();
		log_error("Umbra cannot go on; switch the machine off, or reset it");
		console_drain();
		for (;;) {
			__asm__ volatile("cli; hlt");
		}
	}
	boot_enter(&info, stack + sizeof(stack), host_main);
}
