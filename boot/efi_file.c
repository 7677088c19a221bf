/* SPDX-License-Identifier: Apache-2.0 */
/* Reads files from the volume that BOOTX64.EFI was started from: the ESP of the stick. */
#include "boot/efi_priv.h"

#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"

#define INFO_BYTES 1024	       /* EFI_FILE_INFO with the longest name of FAT */
#define CHUNK	   (1ul << 20) /* what is read between two looks at the progress */
#define SHOWN_FROM (8ul << 20) /* files from this size on show their progress */

static EFI_FILE_HANDLE root;
static const char *(*check_file)(const char *path, size_t path_bytes, const void *data,
				 size_t bytes); /* NULL: every file may be used */

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

/* Length of the first of several paths, in bytes. */
static size_t path_length(const char *path)
{
	size_t i = 0;

	while (path[i] != '\0' && !(path[i] == ',' && path[i + 1] == '\\')) {
		i++;
	}
	return i;
}

/* Opens the first of several paths. mode: EFI_FILE_MODE_...; attributes: for what it creates. */
static EFI_STATUS open_path(const char *path, UINT64 mode, UINT64 attributes, EFI_FILE_HANDLE *file)
{
	const size_t length = path_length(path);
	CHAR16 wide[VM_PATH_MAX];
	size_t i = 0;

	for (; i < length && i + 1 < VM_PATH_MAX; i++) {
		wide[i] = (CHAR16)path[i];
	}
	wide[i] = 0;
	return root->Open(root, file, wide, mode, attributes);
}

/* Gets the file's size. Returns what is wrong with the file, or NULL. */
static const char *check_size(EFI_FILE_HANDLE handle, uint64_t max, uint64_t *bytes)
{
	static EFI_GUID info_guid = EFI_FILE_INFO_ID;
	uint64_t buffer[INFO_BYTES / sizeof(uint64_t)];
	const EFI_FILE_INFO *info = (const void *)buffer;
	UINTN size = sizeof(buffer);

	if (EFI_ERROR(handle->GetInfo(handle, &info_guid, &size, buffer))) {
		return "firmware does not give its size";
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

/*
 * Appends the progress, in steps of ten percent, to the line of tell_file. shown: the last step
 * that was logged, 0 before the first.
 */
static void log_progress(uint64_t done, uint64_t bytes, unsigned *shown)
{
	const unsigned tenths = (unsigned)(done * 10 / bytes);
	char text[16];
	size_t length;

	if (bytes < SHOWN_FROM || tenths == *shown) {
		return;
	}
	*shown = tenths;
	length = str_printf(text, sizeof(text), " %u%%%s", tenths * 10,
			    done == bytes ? "\r\n" : "");
	console_write(text, length);
}

static const char *read_all(EFI_FILE_HANDLE handle, char *data, uint64_t bytes)
{
	uint64_t done = 0;
	unsigned shown = 0;

	while (done < bytes) {
		UINTN now = MIN(bytes - done, CHUNK);

		if (EFI_ERROR(handle->Read(handle, &now, data + done))) {
			return "the disk failed while the file was read";
		}
		if (now == 0 || now > bytes - done) {
			return "the file is shorter than its directory entry says";
		}
		done += now;
		log_progress(done, bytes, &shown);
	}
	return NULL;
}

/* Logs which file is being read, because a slow stick looks like a hang. */
static void tell_file(const char *path, uint64_t bytes)
{
	char text[VM_PATH_MAX + 40];
	size_t length = str_printf(text, sizeof(text), "umbra: reading %.*s, %lu KiB%s",
				   (int)path_length(path), path, (bytes + 1023) >> 10,
				   bytes < SHOWN_FROM ? "\r\n" : ":");

	console_write(text, length);
}

/* Opens the first file of path. On failure file->error says why. */
static int open_one(struct vm_file *file, const char *path, EFI_FILE_HANDLE *handle)
{
	EFI_STATUS status = open_path(path, EFI_FILE_MODE_READ, 0, handle);

	if (EFI_ERROR(status)) {
		file->error = status == EFI_NOT_FOUND ? "there is no such file"
						      : "firmware cannot open it";
		return status == EFI_NOT_FOUND ? ERR_NOTFOUND : ERR_IO;
	}
	return 0;
}

/* Returns the next of several paths, or NULL. */
static const char *next_path(const char *path)
{
	path += path_length(path);
	return *path == ',' ? path + 1 : NULL;
}

/* Calls each for every file that file->path names. *at is the file's offset in the whole. */
static int for_each_file(struct vm_file *file, char *data, uint64_t *at, uint64_t max,
			 const char *(*each)(EFI_FILE_HANDLE handle, const char *path, char *data,
					     uint64_t *at, uint64_t max))
{
	for (const char *path = file->path; path != NULL; path = next_path(path)) {
		EFI_FILE_HANDLE handle;
		int err = open_one(file, path, &handle);

		if (err != 0) {
			return err;
		}
		*at = ALIGN_UP(*at, 4u);
		file->error = each(handle, path, data, at, max);
		(void)handle->Close(handle); /* cannot fail */
		if (file->error != NULL) {
			return ERR_IO;
		}
	}
	return 0;
}

static const char *measure_one(EFI_FILE_HANDLE handle, const char *path, char *data, uint64_t *at,
			       uint64_t max)
{
	uint64_t bytes = 0;
	const char *error = check_size(handle, max - MIN(max, *at), &bytes);

	*at += bytes;
	return error;
}

static const char *read_one(EFI_FILE_HANDLE handle, const char *path, char *data, uint64_t *at,
			    uint64_t max)
{
	uint64_t bytes = 0;
	const char *error = check_size(handle, max - MIN(max, *at), &bytes);

	if (error == NULL) {
		tell_file(path, bytes);
		error = read_all(handle, data + *at, bytes);
		/* Zeroes up to where the next file begins, which is within the allocated pages. */
		memset(data + *at + bytes, 0, ALIGN_UP(*at + bytes, 4u) - *at - bytes);
		if (error == NULL && check_file != NULL) {
			error = check_file(path, path_length(path), data + *at, bytes);
		}
	}
	*at += bytes;
	return error;
}

int efi_file_read(struct vm_file *file, uint64_t max)
{
	EFI_BOOT_SERVICES *bs = efi_system->BootServices;
	EFI_PHYSICAL_ADDRESS base = 0;
	uint64_t bytes = 0, done = 0;
	uint64_t page_count;
	int err;

	file->data = NULL;
	file->bytes = 0;
	file->error = "the volume is not readable";
	if (root == NULL) {
		return ERR_IO;
	}
	err = for_each_file(file, NULL, &bytes, max, measure_one);
	if (err != 0) {
		return err;
	}
	page_count = ALIGN_UP(bytes, PAGE_SIZE) / PAGE_SIZE;
	if (EFI_ERROR(bs->AllocatePages(AllocateAnyPages, EfiLoaderData, page_count, &base))) {
		file->error = "there is not enough memory to read it";
		return ERR_IO;
	}
	/* The files may have grown: read no more than was measured. */
	err = for_each_file(file, (char *)(uintptr_t)base, &done, bytes, read_one);
	if (err != 0) {
		(void)bs->FreePages(base, page_count); /* a failure would only lose pages */
		return err;
	}
	file->data = (const void *)(uintptr_t)base;
	file->bytes = bytes;
	return 0;
}

void efi_file_set_check(const char *(*check)(const char *path, size_t path_bytes, const void *data,
					     size_t bytes))
{
	check_file = check;
}

int efi_file_read_small(struct vm_file *file, void *to, uint64_t max, uint64_t *bytes)
{
	EFI_FILE_HANDLE handle;
	int err = ERR_NOTFOUND;

	file->data = NULL;
	file->bytes = 0;
	*bytes = 0;
	file->error = "the volume is not readable";
	if (root != NULL) {
		err = open_one(file, file->path, &handle);
	}
	if (err != 0) {
		return err;
	}
	file->error = check_size(handle, max, bytes);
	if (file->error == NULL) {
		file->error = read_all(handle, to, *bytes);
	}
	(void)handle->Close(handle); /* cannot fail */
	if (file->error != NULL) {
		secure_zero(to, max);
		*bytes = 0;
		return ERR_IO;
	}
	return 0;
}

/* Writes the bytes from the file's beginning on, and has firmware write them to the medium. */
static bool write_all(EFI_FILE_HANDLE handle, const void *data, uint64_t bytes)
{
	UINTN now = bytes;

	/* the prototype has no const */
	return !EFI_ERROR(handle->SetPosition(handle, 0)) &&
	       !EFI_ERROR(handle->Write(handle, &now, (void *)(uintptr_t)data)) && now == bytes &&
	       !EFI_ERROR(handle->Flush(handle));
}

int efi_file_write_new(const char *path, const void *data, uint64_t bytes)
{
	const UINT64 mode = EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE | EFI_FILE_MODE_CREATE;
	EFI_FILE_HANDLE handle;
	bool good;

	if (root == NULL || EFI_ERROR(open_path(path, mode, 0, &handle))) {
		return ERR_IO;
	}
	good = write_all(handle, data, bytes);
	if (EFI_ERROR(handle->Close(handle))) {
		good = false;
	}
	return good ? 0 : ERR_IO;
}

int efi_file_make_folder(const char *path)
{
	const UINT64 mode = EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE | EFI_FILE_MODE_CREATE;
	EFI_FILE_HANDLE handle;

	if (root == NULL || EFI_ERROR(open_path(path, mode, EFI_FILE_DIRECTORY, &handle))) {
		return ERR_IO;
	}
	return EFI_ERROR(handle->Close(handle)) ? ERR_IO : 0;
}

int efi_file_remove(const char *path)
{
	const UINT64 mode = EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE;
	EFI_FILE_HANDLE handle;
	EFI_STATUS status;

	if (root == NULL) {
		return ERR_IO;
	}
	status = open_path(path, mode, 0, &handle);
	if (EFI_ERROR(status)) {
		return status == EFI_NOT_FOUND ? 0 : ERR_IO;
	}
	/*
	 * Delete closes the file, whatever its result. It reports a failure as a warning, not an
	 * error.
	 */
	return handle->Delete(handle) == EFI_SUCCESS ? 0 : ERR_IO;
}

int efi_file_destroy(const char *path, uint64_t bytes)
{
	static const uint8_t zeros[VM_KEY_FILE_MAX];
	EFI_FILE_HANDLE handle;
	bool good, gone;

	if (root == NULL || bytes > sizeof(zeros) ||
	    EFI_ERROR(open_path(path, EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE, 0, &handle))) {
		return ERR_IO;
	}
	good = write_all(handle, zeros, bytes);
	/*
	 * Delete closes the file, whatever its result. It reports a failure as a warning, not an
	 * error.
	 */
	gone = handle->Delete(handle) == EFI_SUCCESS;
	return !good ? ERR_IO : gone ? 0 : ERR_EXISTS;
}
