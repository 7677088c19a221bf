/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the volume that BOOTX64.EFI was started from: the ESP of the stick. */
#include "boot/efi_priv.h"

#include "vmm/base/console.h"
#include "vmm/base/err.h"
#include "vmm/base/log.h"
#include "vmm/base/str.h"

#define INFO_BYTES 1024		/* EFI_FILE_INFO with a name of any length that FAT knows */
#define CHUNK	   (1ull << 20) /* some firmware's disk drivers fail on very large reads */
#define TOLD_FROM  (8ull << 20) /* files from this size on show their progress */

static EFI_FILE_HANDLE root;

int efi_volume_open(void)
{
	static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
	static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
	EFI_BOOT_SERVICES *bs = efi_system->BootServices;
	EFI_LOADED_IMAGE *loaded = NULL;
	EFI_FILE_IO_INTERFACE *fs = NULL;

	if (EFI_ERROR(bs->HandleProtocol(efi_image, &loaded_image_guid, (void **)&loaded)) ||
	    loaded->DeviceHandle == NULL ||
	    EFI_ERROR(bs->HandleProtocol(loaded->DeviceHandle, &file_system_guid, (void **)&fs)) ||
	    EFI_ERROR(fs->OpenVolume(fs, &root))) {
		log_error("the volume that Umbra was started from has no file system that "
			  "firmware can read; start it from a FAT volume");
		root = NULL;
		return ERR_IO;
	}
	return 0;
}

static EFI_STATUS open_path(const char *path, EFI_FILE_HANDLE *file)
{
	CHAR16 wide[VM_PATH_MAX];
	size_t i = 0;

	for (; path[i] != '\0' && i + 1 < VM_PATH_MAX; i++) {
		wide[i] = (CHAR16)path[i];
	}
	wide[i] = 0;
	return root->Open(root, file, wide, EFI_FILE_MODE_READ, 0);
}

/* The file's size, or what is wrong with it. */
static const char *check_size(EFI_FILE_HANDLE handle, uint64_t max, uint64_t *bytes)
{
	static EFI_GUID info_guid = EFI_FILE_INFO_ID;
	uint64_t buffer[INFO_BYTES / sizeof(uint64_t)];
	const EFI_FILE_INFO *info = (const void *)buffer;
	UINTN size = sizeof(buffer);

	if (EFI_ERROR(handle->GetInfo(handle, &info_guid, &size, buffer))) {
		return "firmware does not tell its size";
	}
	if ((info->Attribute & EFI_FILE_DIRECTORY) != 0) {
		return "this is a directory";
	}
	if (info->FileSize == 0) {
		return "the file is empty";
	}
	if (info->FileSize > max) {
		return "the file is too large";
	}
	*bytes = info->FileSize;
	return NULL;
}

/* On a line of its own, in steps of ten percent; told: the last step, 0 before the first. */
static void tell_progress(uint64_t done, uint64_t bytes, unsigned *told)
{
	const unsigned tenths = (unsigned)(done * 10 / bytes);
	char text[16];
	size_t length;

	if (bytes < TOLD_FROM || tenths == *told) {
		return;
	}
	*told = tenths;
	length = str_printf(text, sizeof(text), " %u%%%s", tenths * 10,
			    done == bytes ? "\r\n" : "");
	console_write(text, length);
	(void)console_flush(); /* the screen as well */
}

static const char *read_all(EFI_FILE_HANDLE handle, char *data, uint64_t bytes)
{
	uint64_t done = 0;
	unsigned told = 0;

	while (done < bytes) {
		UINTN now = MIN(bytes - done, CHUNK);

		if (EFI_ERROR(handle->Read(handle, &now, data + done))) {
			return "the disk failed while the file was read";
		}
		if (now == 0 || now > bytes - done) {
			return "the file is shorter than its directory entry says";
		}
		done += now;
		tell_progress(done, bytes, &told);
	}
	return NULL;
}

/* Says which file is being read, for a slow stick looks like a hang. */
static void tell_file(const char *path, uint64_t bytes)
{
	char text[VM_PATH_MAX + 40];
	size_t length = str_printf(text, sizeof(text), "umbra: reading %s, %llu KiB%s", path,
				   (unsigned long long)(bytes + 1023) >> 10,
				   bytes < TOLD_FROM ? "\r\n" : ":");

	console_write(text, length);
	(void)console_flush();
}

static const char *read_open_file(EFI_FILE_HANDLE handle, struct vm_file *file, uint64_t max)
{
	EFI_BOOT_SERVICES *bs = efi_system->BootServices;
	EFI_PHYSICAL_ADDRESS base = 0;
	uint64_t bytes = 0;
	uint64_t page_count;
	const char *error = check_size(handle, max, &bytes);

	if (error != NULL) {
		return error;
	}
	page_count = ALIGN_UP(bytes, PAGE_SIZE) / PAGE_SIZE;
	if (EFI_ERROR(bs->AllocatePages(AllocateAnyPages, EfiLoaderData, page_count, &base))) {
		return "there is not enough memory to read it";
	}
	tell_file(file->path, bytes);
	error = read_all(handle, (char *)(uintptr_t)base, bytes);
	if (error != NULL) {
		(void)bs->FreePages(base, page_count); /* lost pages would do no harm */
		return error;
	}
	file->data = (const void *)(uintptr_t)base;
	file->bytes = bytes;
	return NULL;
}

static int open_file(struct vm_file *file, EFI_FILE_HANDLE *handle)
{
	EFI_STATUS status;

	file->data = NULL;
	file->bytes = 0;
	file->error = "the volume is not readable";
	if (root == NULL) {
		return ERR_IO;
	}
	status = open_path(file->path, handle);
	if (EFI_ERROR(status)) {
		file->error = status == EFI_NOT_FOUND ? "there is no such file"
						      : "firmware cannot open it";
		return status == EFI_NOT_FOUND ? ERR_NOTFOUND : ERR_IO;
	}
	return 0;
}

int efi_file_read(struct vm_file *file, uint64_t max)
{
	EFI_FILE_HANDLE handle;
	int err = open_file(file, &handle);

	if (err != 0) {
		return err;
	}
	file->error = read_open_file(handle, file, max);
	(void)handle->Close(handle); /* cannot fail */
	return file->error == NULL ? 0 : ERR_IO;
}

static bool is_one_byte_repeated(const uint8_t *data, size_t bytes)
{
	return memcmp(data, data + 1, bytes - 1) == 0;
}

int efi_key_read(struct vm_key_source *key)
{
	struct vm_file *file = &key->file;
	EFI_FILE_HANDLE handle;
	uint64_t bytes = 0;
	int err = open_file(file, &handle);

	if (err != 0) {
		return err;
	}
	file->error = check_size(handle, UINT64_MAX, &bytes);
	if (file->error == NULL && bytes != VM_KEY_FILE_MIN && bytes != VM_KEY_FILE_MAX) {
		file->error = "a key file has exactly 32 or 64 bytes";
	}
	if (file->error == NULL) {
		file->error = read_all(handle, (char *)key->secret, bytes);
	}
	(void)handle->Close(handle); /* cannot fail */
	if (file->error == NULL && is_one_byte_repeated(key->secret, bytes)) {
		file->error = "this is no key: it is one byte repeated";
	}
	if (file->error != NULL) {
		secure_zero(key->secret, sizeof(key->secret));
		return ERR_FORMAT;
	}
	key->secret_bytes = bytes;
	return 0;
}
