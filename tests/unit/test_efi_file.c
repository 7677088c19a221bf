/* SPDX-License-Identifier: Apache-2.0 */
/* boot/efi_file.c with a fake file system: what is read, and what a user sees of it. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "boot/efi_priv.h"
#include "vmm/base/err.h"

#define MIB (1u << 20)

EFI_SYSTEM_TABLE *efi_system;
EFI_HANDLE efi_image = (EFI_HANDLE)0x1234;

static struct {
	uint64_t bytes;	   /* size in the directory entry */
	uint64_t there;	   /* real size */
	uint64_t at, most; /* position, and the largest read */
	EFI_STATUS status;
	void *pages;
	bool no_volume;
} disk;

static EFI_FILE file_handle, root_handle;

static EFI_STATUS EFIAPI open_file(EFI_FILE_HANDLE self, EFI_FILE_HANDLE *out, CHAR16 *name,
				   UINT64 mode, UINT64 attributes)
{
	assert_int_equal(mode, EFI_FILE_MODE_READ);
	*out = &file_handle;
	disk.at = 0;
	return name[1] == 'k' ? EFI_SUCCESS : EFI_NOT_FOUND;
}

static EFI_STATUS EFIAPI close_file(EFI_FILE_HANDLE self)
{
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_info(EFI_FILE_HANDLE self, EFI_GUID *type, UINTN *size, void *buffer)
{
	EFI_FILE_INFO *info = buffer;

	memset(info, 0, sizeof(*info));
	info->FileSize = disk.bytes;
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_file(EFI_FILE_HANDLE self, UINTN *size, void *buffer)
{
	const uint64_t now = MIN((uint64_t)*size, disk.there - disk.at);

	disk.most = MAX(disk.most, (uint64_t)*size);
	memset(buffer, 0x5a, now);
	disk.at += now;
	*size = now;
	return disk.status;
}

static EFI_STATUS EFIAPI open_volume(EFI_FILE_IO_INTERFACE *self, EFI_FILE_HANDLE *out)
{
	*out = &root_handle;
	return disk.no_volume ? EFI_NOT_FOUND : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **out)
{
	static EFI_LOADED_IMAGE image = { .DeviceHandle = (EFI_HANDLE)0x77 };
	static EFI_FILE_IO_INTERFACE fs = { .OpenVolume = open_volume };

	*out = handle == efi_image ? (void *)&image : (void *)&fs;
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate_pages(EFI_ALLOCATE_TYPE type, EFI_MEMORY_TYPE memory, UINTN count,
					EFI_PHYSICAL_ADDRESS *base)
{
	disk.pages = aligned_alloc(PAGE_SIZE, count * PAGE_SIZE);
	*base = (uintptr_t)disk.pages;
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pages(EFI_PHYSICAL_ADDRESS base, UINTN count)
{
	assert_ptr_equal((void *)(uintptr_t)base, disk.pages);
	free(disk.pages);
	disk.pages = NULL;
	return EFI_SUCCESS;
}

static int setup(void **state)
{
	static EFI_BOOT_SERVICES bs;
	static EFI_SYSTEM_TABLE table;
	int err = fake_setup(state);

	bs.HandleProtocol = handle_protocol;
	bs.AllocatePages = allocate_pages;
	bs.FreePages = free_pages;
	table.BootServices = &bs;
	efi_system = &table;
	root_handle.Open = open_file;
	file_handle.Close = close_file;
	file_handle.GetInfo = get_info;
	file_handle.Read = read_file;
	memset(&disk, 0, sizeof(disk));
	return err != 0 ? err : efi_volume_open();
}

static int read_one(const char *path, uint64_t bytes)
{
	struct vm_file file = { 0 };
	int err;

	strcpy(file.path, path);
	disk.bytes = bytes;
	disk.there = disk.there != 0 ? disk.there : bytes;
	err = efi_file_read(&file, 1ul << 30);
	assert_int_equal(err == 0, file.data != NULL);
	if (err == 0) {
		assert_int_equal(file.bytes, bytes);
		assert_int_equal(((const uint8_t *)file.data)[bytes - 1], 0x5a);
		free(disk.pages);
	}
	return err;
}

/* What came before a read failed may be a part of a key. */
TEST(a_key_that_cannot_be_read_leaves_nothing, setup, fake_teardown)
{
	static const uint8_t zero[64];
	struct vm_file file = { .path = "\\k" };
	uint8_t data[64] = { 1 };
	uint64_t bytes;

	disk.bytes = sizeof(data);
	disk.there = sizeof(data) / 2;
	assert_int_equal(efi_file_read_small(&file, data, sizeof(data), &bytes), ERR_IO);
	assert_memory_equal(data, zero, sizeof(data));
	assert_int_equal(bytes, 0);
}

/* --- A file that is written: what the medium has of it, and whether each call fails --- */

static struct {
	uint8_t data[64];
	bool flushed, deleted, closed;
	UINT64 mode, attributes;
	size_t room;
	EFI_STATUS open, flush, remove;
} written;

static EFI_STATUS EFIAPI open_to_write(EFI_FILE_HANDLE self, EFI_FILE_HANDLE *out, CHAR16 *name,
				       UINT64 mode, UINT64 attributes)
{
	*out = &file_handle;
	disk.at = 17; /* wherever it is */
	written.mode = mode;
	written.attributes = attributes;
	return written.open;
}

static EFI_STATUS EFIAPI set_position(EFI_FILE_HANDLE self, UINT64 at)
{
	disk.at = at;
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI write_file(EFI_FILE_HANDLE self, UINTN *size, void *buffer)
{
	assert_false(written.deleted);
	*size = MIN((uint64_t)*size, written.room);
	memcpy(written.data + disk.at, buffer, *size);
	return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI flush_file(EFI_FILE_HANDLE self)
{
	written.flushed = true;
	return written.flush;
}

static EFI_STATUS EFIAPI delete_file(EFI_FILE_HANDLE self)
{
	written.deleted = true;
	return written.remove;
}

static int setup_writing(void **state)
{
	int err = setup(state);

	root_handle.Open = open_to_write;
	file_handle.SetPosition = set_position;
	file_handle.Write = write_file;
	file_handle.Flush = flush_file;
	file_handle.Delete = delete_file;
	memset(&written, 0, sizeof(written));
	memset(written.data, 'k', sizeof(written.data));
	written.room = sizeof(written.data);
	return err;
}

TEST(a_new_file_is_written_or_not, setup_writing, fake_teardown)
{
	assert_int_equal(efi_file_write_new("\\new", "content", 7), 0);
	assert_memory_equal(written.data, "contentk", 8);
	assert_true(written.flushed);
	assert_true((written.mode & EFI_FILE_MODE_CREATE) != 0);
	written.room = 6; /* the medium is full */
	assert_int_equal(efi_file_write_new("\\new", "content", 7), ERR_IO);
	written.room = 64;
	written.flush = EFI_DEVICE_ERROR;
	assert_int_equal(efi_file_write_new("\\new", "content", 7), ERR_IO);
	written.open = EFI_WRITE_PROTECTED;
	assert_int_equal(efi_file_write_new("\\new", "content", 7), ERR_IO);
}

TEST(a_key_file_is_overwritten_before_it_is_removed, setup_writing, fake_teardown)
{
	static const uint8_t zeros[32];

	assert_int_equal(efi_file_destroy("\\key", 32), 0);
	assert_memory_equal(written.data, zeros, 32);
	assert_int_equal(written.data[32], 'k');
	assert_true(written.flushed && written.deleted);
	assert_true((written.mode & EFI_FILE_MODE_CREATE) == 0);
	written.deleted = false;
	written.remove = EFI_WARN_DELETE_FAILURE; /* which is no EFI_ERROR */
	assert_int_equal(efi_file_destroy("\\key", 32), ERR_EXISTS);
	written.deleted = false;
	written.remove = EFI_SUCCESS;
	written.room = 31;
	assert_int_equal(efi_file_destroy("\\key", 32), ERR_IO);
	assert_int_equal(efi_file_destroy("\\key", 65), ERR_IO);
	written.open = EFI_WRITE_PROTECTED;
	assert_int_equal(efi_file_destroy("\\key", 32), ERR_IO);
}

TEST(folders_are_made_and_files_removed, setup_writing, fake_teardown)
{
	assert_int_equal(efi_file_make_folder("\\folder"), 0);
	assert_true((written.mode & EFI_FILE_MODE_CREATE) != 0);
	assert_int_equal(written.attributes, EFI_FILE_DIRECTORY);
	assert_int_equal(efi_file_remove("\\old"), 0);
	assert_true(written.deleted && (written.mode & EFI_FILE_MODE_CREATE) == 0);
	written.remove = EFI_WARN_DELETE_FAILURE;
	assert_int_equal(efi_file_remove("\\old"), ERR_IO);
	written.open = EFI_NOT_FOUND; /* there is nothing to remove */
	assert_int_equal(efi_file_remove("\\old"), 0);
	written.open = EFI_WRITE_PROTECTED;
	assert_int_equal(efi_file_remove("\\old"), ERR_IO);
	assert_int_equal(efi_file_make_folder("\\folder"), ERR_IO);
}

TEST(a_small_file_is_named, setup, fake_teardown)
{
	assert_int_equal(read_one("\\kernel", 5000), 0);
	assert_string_equal(fake_console_text(), "umbra: reading \\kernel, 5 KiB\r\n");
}

TEST(a_large_one_shows_its_progress, setup, fake_teardown)
{
	assert_int_equal(read_one("\\k", 40 * MIB + 1), 0);
	assert_string_equal(fake_console_text(), "umbra: reading \\k, 40961 KiB: 10% 20% 30% 40% "
						 "50% 60% 70% 80% 90% 100%\r\n");
	assert_int_equal(disk.most, MIB);
}

/* The second file begins at a multiple of four bytes, with zeros before it. */
TEST(several_become_one, setup, fake_teardown)
{
	struct vm_file file = { .path = "\\k1,\\k2" };
	const uint8_t *data;

	disk.bytes = disk.there = 4097;
	assert_int_equal(efi_file_read(&file, 10000), 0);
	assert_int_equal(file.bytes, 4100 + 4097);
	data = file.data;
	assert_int_equal(data[4096], 0x5a);
	assert_int_equal(data[4097] | data[4098] | data[4099], 0);
	assert_int_equal(data[4100], 0x5a);
	assert_int_equal(data[8196], 0x5a);
	assert_int_equal(data[8197], 0);
	assert_string_equal(fake_console_text(), "umbra: reading \\k1, 5 KiB\r\n"
						 "umbra: reading \\k2, 5 KiB\r\n");
	free(disk.pages);
	assert_int_equal(efi_file_read(&file, 8196), ERR_IO);
	assert_string_equal(file.error, "the file is too large");
	strcpy(file.path, "\\k1,\\x");
	assert_int_equal(efi_file_read(&file, 10000), ERR_NOTFOUND);
	assert_null(file.data);
}

static const char *refuse_k2(const char *path, size_t path_bytes, const void *data, size_t bytes)
{
	assert_int_equal(bytes, 4097);
	assert_int_equal(path_bytes, 3);
	assert_int_equal(((const uint8_t *)data)[bytes - 1], 0x5a);
	return memcmp(path, "\\k2", 3) == 0 ? "it is not what was signed" : NULL;
}

/* Each of several files is checked by itself, and one that may not be used spoils all. */
TEST(what_the_check_refuses_is_not_used, setup, fake_teardown)
{
	struct vm_file file = { .path = "\\k1,\\k2" };

	disk.bytes = disk.there = 4097;
	efi_file_set_check(refuse_k2);
	assert_int_equal(read_one("\\k1", 4097), 0);
	assert_int_equal(efi_file_read(&file, 10000), ERR_IO);
	assert_null(file.data);
	assert_string_equal(file.error, "it is not what was signed");
	efi_file_set_check(NULL);
}

/* As on a machine that was started from the network: no file is there, and none is asked for. */
TEST(without_a_volume_there_is_no_file, setup, fake_teardown)
{
	struct vm_file file = { .path = "\\k" };
	uint8_t data[4];
	uint64_t bytes;

	disk.no_volume = true;
	assert_int_equal(efi_volume_open(), ERR_IO);
	assert_int_equal(efi_file_read_small(&file, data, sizeof(data), &bytes), ERR_NOTFOUND);
	assert_non_null(file.error);
}

/* The log puts an error message on its own line. */
TEST(failures, setup, fake_teardown)
{
	assert_int_equal(read_one("\\nothing", 5000), ERR_NOTFOUND);
	assert_string_equal(fake_console_text(), "");
	disk.there = 20 * MIB;
	assert_int_equal(read_one("\\k", 40 * MIB), ERR_IO);
	assert_non_null(strstr(fake_console_text(), " 40% 50%"));
	disk.status = EFI_DEVICE_ERROR;
	assert_int_equal(read_one("\\k", 5000), ERR_IO);
	assert_null(disk.pages);
}
