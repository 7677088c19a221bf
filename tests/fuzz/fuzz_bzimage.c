/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/linux_load.c with any file. Input: 8 bytes of choices (memory size, initrd size), then the
 * kernel file. What loads has to lie in RAM, above the first MiB, with the initrd above the kernel.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/linux_load.h"
#include "guest/memmap.h"
#include "tests/unit/fake_base.h"

#define MIB (1ull << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check(bool ok, const char *what)
{
	if (!ok) {
		fake_fail("%s", what);
	}
}

static void check_loaded(struct gmem *gmem, const struct linux_source *source,
			 const struct vcpu_long_mode *entry)
{
	uint32_t initrd = 0;
	uint64_t kernel = entry->rip - 0x200;

	check(kernel >= MEMMAP_KERNEL_MIN, "kernel below 1 MiB");
	check(kernel < source->memory_bytes, "kernel outside of RAM");
	check(gmem_read(gmem, gpa(MEMMAP_BOOT_PARAMS + 0x218), &initrd, sizeof(initrd)) == 0,
	      "boot_params outside of RAM");
	if (source->initrd != NULL) {
		check(initrd >= kernel, "initrd below the kernel");
		check(initrd + source->initrd->bytes <= source->memory_bytes, "initrd beyond RAM");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static uint8_t initrd[2 * MIB];
	struct vm_file kernel_file = { 0 }, initrd_file = { .data = initrd };
	struct linux_source source = { .cmdline = "console=ttyS0", .kernel = &kernel_file };
	struct vcpu_long_mode entry;
	struct linux_refusal refusal;
	struct gmem gmem;
	uint8_t *kernel;
	int err;

	if (bytes < 8) {
		return 0;
	}
	fake_reset();
	ept_configure(&(struct ept_caps){ .phys_bits = 40 });
	/* The exact size on the heap: ASan sees a read behind the file's end. */
	kernel = malloc(bytes - 8 + 1);
	memcpy(kernel, data + 8, bytes - 8);
	kernel_file.data = kernel;
	kernel_file.bytes = bytes - 8;
	source.memory_bytes = (1 + data[0]) * MIB;
	initrd_file.bytes = (data[1] | data[2] << 8 | data[3] << 16) % sizeof(initrd);
	source.initrd = data[4] & 1 ? &initrd_file : NULL;
	memset(&gmem, 0, sizeof(gmem));
	check(gmem_init(&gmem) == 0, "gmem_init");
	check(gmem_add_ram_plain(&gmem, gpa(0), source.memory_bytes, PAGE_SIZE) == 0, "RAM");
	err = linux_load(&gmem, &source, &entry, &refusal);
	check((err == 0) == (refusal.why[0] == '\0'), "a refusal without its reason");
	if (err == 0) {
		check_loaded(&gmem, &source, &entry);
	}
	gmem_destroy(&gmem);
	free(kernel);
	return 0;
}
