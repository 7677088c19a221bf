/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/linux_load.c with any file. Input: 8 bytes of choices (memory size, initrd size), then the
 * kernel file. An image that loads must lie in RAM, above the first MiB, with the initrd above the
 * kernel.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "guest/linux_load.h"
#include "guest/vm_file.h"
#include "guest/memmap.h"
#include "tests/unit/gmem_end.h"
#include "tests/unit/load_all.h"

#define MIB (1ul << 20)

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

/* Seals the files as main.c does: the pieces that are read back must be the original bytes. */
static void seal(struct vm_file *kernel, const uint8_t *plain, struct vm_file *initrd,
		 const uint8_t *choices)
{
	static struct vm_config config;
	static uint8_t buffer[PAGE_SIZE];
	static bool started;
	char cmdline[VM_CMDLINE_MAX], before[VM_CMDLINE_MAX];
	uint8_t piece[3 * PAGE_SIZE];

	if (!started) {
		check(vm_file_start(&buffer, 1, true) == 0, "vm_file_start");
		started = true;
	}
	vm_file_seal(kernel, 1);
	if (initrd->bytes <= 64 * PAGE_SIZE) {
		vm_file_seal(initrd, 2);
	}
	for (unsigned i = 0; i < 4 && kernel->bytes != 0; i++) {
		uint64_t offset = choices[i] * 257u % kernel->bytes;
		size_t count = MIN(choices[i + 1] * 53u, kernel->bytes - offset);

		count = MIN(count, sizeof(piece));
		vm_file_read(kernel, offset, piece, count);
		check(memcmp(piece, plain + offset, count) == 0, "another piece than was sealed");
	}
	memset(config.cmdline, 0, sizeof(config.cmdline));
	memcpy(config.cmdline, choices, 5);
	config.cmdline_seal = 0;
	vm_cmdline_read(&config, before);
	vm_cmdline_seal(&config, 3);
	vm_cmdline_read(&config, cmdline);
	check(memcmp(before, cmdline, 6) == 0, "another command line than was sealed");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	static uint8_t initrd[2 * MIB];
	struct vm_file kernel_file = { 0 }, initrd_file = { .data = initrd };
	struct linux_source source = { .kernel = &kernel_file };
	struct vcpu_long_mode entry;
	struct linux_refusal refusal;
	struct gmem gmem;
	uint8_t *kernel;
	bool sealed;
	int err;

	if (bytes < 8) {
		return 0;
	}
	fake_reset();
	ept_configure(&(struct ept_caps){ .phys_bits = 40 });
	/* The file has its exact size on the heap, so that ASan detects a read beyond its end. */
	sealed = (data[4] & 2) != 0;
	kernel = malloc(sealed ? ALIGN_UP(bytes, PAGE_SIZE) : bytes - 8 + 1); /* whole pages */
	memcpy(kernel, data + 8, bytes - 8);
	kernel_file.data = kernel;
	kernel_file.bytes = bytes - 8;
	source.memory_bytes = (1 + data[0]) * MIB;
	initrd_file.bytes = (data[1] | data[2] << 8 | data[3] << 16) % sizeof(initrd);
	source.initrd = data[4] & 1 ? &initrd_file : NULL;
	if (sealed) {
		seal(&kernel_file, data + 8, &initrd_file, data);
	}
	memset(&gmem, 0, sizeof(gmem));
	check(gmem_init(&gmem) == 0, "gmem_init");
	check(gmem_add_ram_plain(&gmem, gpa(0), source.memory_bytes, PAGE_SIZE) == 0, "RAM");
	err = load_all(&gmem, &source, "console=ttyS0", NULL, &entry, &refusal);
	check((err == 0) == (refusal.why[0] == '\0'), "a refusal without its reason");
	if (err == 0) {
		check_loaded(&gmem, &source, &entry);
	}
	gmem_end(&gmem);
	free(kernel);
	return 0;
}
