/* SPDX-License-Identifier: Apache-2.0 */
/* guest/linux_load.c with real guest memory (ept/) on fake frames. */
#include <stdlib.h>

#include "tests/unit/test.h"
#include "guest/linux_load.h"
#include "guest/memmap.h"
#include "tests/unit/bzimage.h"
#include "tests/unit/gmem_end.h"
#include "tests/unit/load_all.h"
#include "vmm/base/err.h"

#define MIB (1ul << 20)

/* Differences from the good image; bytes == 0 ends the list. */
struct patch {
	uint16_t offset;
	uint16_t bytes;
	uint64_t value;
};

struct load_case {
	const char *name;
	struct patch patches[3];
	uint64_t memory;       /* 0: 64 MiB */
	uint64_t kernel_bytes; /* 0: the whole file */
	uint64_t initrd_bytes;
	int err;
	bool initrd_at_fault;
	const char *why;    /* part of the message */
	uint64_t rip;	    /* for an image that loads */
	uint64_t initrd_at; /* for an image that loads */
};

static const uint8_t *next_seed;

#define TOO_LATE 0x10000000ul

static const struct load_case cases[] = {
	{ .name = "good", .rip = 0x1000200 },
	{ .name = "good with initrd at the top",
	  .initrd_bytes = 5000,
	  .rip = 0x1000200,
	  .initrd_at = 62 * MIB + 0x1fe000 },
	{ .name = "initrd below its limit",
	  .patches = { { 0x22c, 4, 0x37fffff } },
	  .initrd_bytes = 4096,
	  .rip = 0x1000200,
	  .initrd_at = 0x37ff000 },
	{ .name = "initrd that ends where RAM ends",
	  .memory = 128 * MIB,
	  .initrd_bytes = MIB,
	  .rip = 0x1000200,
	  .initrd_at = 127 * MIB },
	{ .name = "setup_sects 0 means 4", .patches = { { 0x1f1, 1, 0 } }, .rip = 0x1000200 },
	{ .name = "preferred address is aligned up",
	  .patches = { { 0x258, 8, 0x1000001 } },
	  .rip = 0x1200200 },
	{ .name = "relocatable without a wish", .patches = { { 0x258, 8, 0 } }, .rip = 0x200200 },
	{ .name = "fixed address",
	  .patches = { { 0x234, 1, 0 }, { 0x230, 4, 0 }, { 0x258, 8, 0x123456 } },
	  .rip = 0x123656 },
	{ .name = "init_size smaller than the file",
	  .patches = { { 0x260, 4, 0 } },
	  .rip = 0x1000200 },
	{ .name = "the last 16 bytes are not full", /* memtest86+ has such an image */
	  .kernel_bytes = BZIMAGE_BYTES - 15,
	  .rip = 0x1000200 },
	{ .name = "exactly enough memory", .memory = 48 * MIB, .rip = 0x1000200 },

	{ .name = "empty",
	  .kernel_bytes = 1,
	  .err = ERR_FORMAT,
	  .why = "no bzImage: only 1 bytes" },
	{ .name = "too short for a header",
	  .kernel_bytes = 1023,
	  .err = ERR_FORMAT,
	  .why = "no bzImage" },
	{ .name = "no boot flag",
	  .patches = { { 0x1fe, 2, 0 } },
	  .err = ERR_FORMAT,
	  .why = "no bzImage" },
	{ .name = "no magic",
	  .patches = { { 0x202, 1, 'h' } },
	  .err = ERR_FORMAT,
	  .why = "'HdrS' is missing" },
	{ .name = "ELF",
	  .patches = { { 0, 4, 0x464c457f }, { 0x202, 4, 0 } },
	  .err = ERR_FORMAT,
	  .why = "ELF" },
	{ .name = "gzip",
	  .patches = { { 0, 2, 0x8b1f }, { 0x202, 4, 0 } },
	  .err = ERR_FORMAT,
	  .why = "gzip" },
	{ .name = "old protocol",
	  .patches = { { 0x206, 2, 0x020b } },
	  .err = ERR_FORMAT,
	  .why = "protocol 2.11" },
	{ .name = "short header",
	  .patches = { { 0x201, 1, 0x20 } },
	  .err = ERR_FORMAT,
	  .why = "header ends" },
	{ .name = "zImage", .patches = { { 0x211, 1, 0 } }, .err = ERR_FORMAT, .why = "zImage" },
	{ .name = "32-bit",
	  .patches = { { 0x236, 2, 0x3e } },
	  .err = ERR_FORMAT,
	  .why = "64-bit entry" },
	{ .name = "no payload",
	  .patches = { { 0x1f4, 4, 0 } },
	  .err = ERR_FORMAT,
	  .why = "nothing follows" },
	{ .name = "payload ends at the entry",
	  .patches = { { 0x1f4, 4, 0x20 } },
	  .err = ERR_FORMAT,
	  .why = "nothing follows" },
	{ .name = "truncated by 16 bytes, the unit of its size",
	  .kernel_bytes = BZIMAGE_BYTES - 16,
	  .err = ERR_FORMAT,
	  .why = "truncated: 6640 bytes of 6656" },
	{ .name = "more setup than file",
	  .patches = { { 0x1f1, 1, 0xff } },
	  .err = ERR_FORMAT,
	  .why = "truncated" },
	{ .name = "largest syssize",
	  .patches = { { 0x1f4, 4, 0xffffffff } },
	  .err = ERR_FORMAT,
	  .why = "truncated" },
	{ .name = "alignment 0",
	  .patches = { { 0x230, 4, 0 } },
	  .err = ERR_FORMAT,
	  .why = "alignment" },
	{ .name = "alignment 3",
	  .patches = { { 0x230, 4, 3 } },
	  .err = ERR_FORMAT,
	  .why = "alignment" },
	{ .name = "alignment 2 GiB",
	  .patches = { { 0x230, 4, 0x80000000 } },
	  .err = ERR_FORMAT,
	  .why = "alignment" },
	{ .name = "in the first MiB",
	  .patches = { { 0x234, 1, 0 }, { 0x258, 8, 0x1000 } },
	  .err = ERR_FORMAT,
	  .why = "no RAM" },
	{ .name = "in the hole",
	  .patches = { { 0x258, 8, 0xc0000000 } },
	  .err = ERR_FORMAT,
	  .why = "no RAM" },
	{ .name = "address wraps",
	  .patches = { { 0x258, 8, ~0ul } },
	  .err = ERR_FORMAT,
	  .why = "no RAM" },
	{ .name = "address wraps when aligned",
	  .patches = { { 0x258, 8, ~0xffful }, { 0x234, 1, 0 } },
	  .err = ERR_FORMAT,
	  .why = "no RAM" },
	{ .name = "a page too little memory",
	  .memory = 48 * MIB - 4096,
	  .err = ERR_RANGE,
	  .why = "it needs 48 MiB of memory to start, the VM has 48 MiB" },
	{ .name = "too little memory",
	  .memory = 32 * MIB,
	  .err = ERR_RANGE,
	  .why = "it needs 48 MiB of memory to start, the VM has 32 MiB" },
	{ .name = "largest init_size",
	  .patches = { { 0x260, 4, 0xffffffff } },
	  .err = ERR_RANGE,
	  .why = "it needs" },
	{ .name = "initrd too large",
	  .initrd_bytes = 16 * MIB + 1,
	  .err = ERR_RANGE,
	  .initrd_at_fault = true,
	  .why = "17 MiB do not fit" },
	{ .name = "initrd fills the gap",
	  .initrd_bytes = 16 * MIB,
	  .rip = 0x1000200,
	  .initrd_at = 48 * MIB },
	{ .name = "initrd limit too low",
	  .patches = { { 0x22c, 4, 0x2ffffff } },
	  .initrd_bytes = 1,
	  .err = ERR_RANGE,
	  .initrd_at_fault = true,
	  .why = "do not fit" },
	{ .name = "initrd limit 0",
	  .patches = { { 0x22c, 4, 0 } },
	  .initrd_bytes = 2,
	  .err = ERR_RANGE,
	  .initrd_at_fault = true,
	  .why = "do not fit" },
	{ .name = "empty initrd",
	  .initrd_bytes = TOO_LATE,
	  .err = ERR_FORMAT,
	  .initrd_at_fault = true,
	  .why = "is empty" },
	{ .name = "short command line",
	  .patches = { { 0x238, 4, 4 } },
	  .err = ERR_RANGE,
	  .why = "the command line has 13 bytes, it takes 4" },
};

static uint8_t image[BZIMAGE_BYTES];
static const char cmdline[] = "console=ttyS0";

struct loaded {
	struct gmem gmem;
	struct vcpu_long_mode entry;
	struct linux_refusal refusal;
	uint8_t *kernel, *initrd;
	uint64_t initrd_bytes;
};

/* The file is copied to the heap at its exact size, so that ASan detects a read beyond it. */
static int load(struct loaded *l, const struct load_case *c)
{
	uint64_t memory = c->memory == 0 ? 64 * MIB : c->memory;
	uint64_t kernel_bytes = c->kernel_bytes == 0 ? BZIMAGE_BYTES : c->kernel_bytes;
	struct vm_file kernel, initrd;
	struct linux_source source = { .memory_bytes = memory, .rsdp = gpa(MEMMAP_ACPI) };

	*l = (struct loaded){ .initrd_bytes = c->initrd_bytes == TOO_LATE ? 0 : c->initrd_bytes };
	bzimage_fill(image);
	for (size_t i = 0; i < ARRAY_COUNT(c->patches) && c->patches[i].bytes != 0; i++) {
		bzimage_put(image, c->patches[i].offset, c->patches[i].value, c->patches[i].bytes);
	}
	l->kernel = malloc(kernel_bytes);
	memcpy(l->kernel, image, kernel_bytes);
	kernel = (struct vm_file){ .data = l->kernel, .bytes = kernel_bytes };
	source.kernel = &kernel;
	if (c->initrd_bytes != 0) {
		l->initrd = malloc(l->initrd_bytes + 1);
		memset(l->initrd, 0x5a, l->initrd_bytes + 1);
		initrd = (struct vm_file){ .data = l->initrd, .bytes = l->initrd_bytes };
		source.initrd = &initrd;
	}
	ept_configure(&(struct ept_caps){ .phys_bits = 40 });
	assert_int_equal(gmem_init(&l->gmem), 0);
	assert_int_equal(gmem_add_ram_plain(&l->gmem, gpa(0), memory, PAGE_SIZE), 0);
	return load_all(&l->gmem, &source, cmdline, next_seed, &l->entry, &l->refusal);
}

static void unload(struct loaded *l)
{
	gmem_end(&l->gmem);
	free(l->kernel);
	free(l->initrd);
}

static uint64_t read_field(struct loaded *l, uint64_t address, size_t bytes)
{
	uint64_t value = 0;

	assert_int_equal(gmem_read(&l->gmem, gpa(address), &value, bytes), 0);
	return value;
}

static uint64_t param(struct loaded *l, uint64_t offset, size_t bytes)
{
	return read_field(l, MEMMAP_BOOT_PARAMS + offset, bytes);
}

/* Where the file ends early, memory is zero. */
static void check_payload(struct loaded *l, const struct load_case *c)
{
	const size_t missing = c->kernel_bytes != 0 ? BZIMAGE_BYTES - c->kernel_bytes : 0;
	uint8_t expected[BZIMAGE_PAYLOAD_BYTES];
	uint8_t copy[BZIMAGE_PAYLOAD_BYTES];

	memcpy(expected, image + BZIMAGE_SETUP_BYTES, sizeof(expected));
	memset(expected + sizeof(expected) - missing, 0, missing);
	assert_int_equal(gmem_read(&l->gmem, gpa(l->entry.rip - 0x200), copy, sizeof(copy)), 0);
	assert_memory_equal(copy, expected, sizeof(copy));
}

static void check_initrd(struct loaded *l, const struct load_case *c)
{
	assert_int_equal(param(l, 0x218, 4), c->initrd_at);
	assert_int_equal(param(l, 0x21c, 4), l->initrd_bytes);
	if (c->initrd_at != 0) {
		assert_int_equal(read_field(l, c->initrd_at, 1), 0x5a);
		assert_int_equal(read_field(l, c->initrd_at + l->initrd_bytes - 1, 1), 0x5a);
	}
}

TEST(test_cases, fake_setup, fake_teardown)
{
	struct loaded l;

	for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
		const struct load_case *c = &cases[i];
		int err = load(&l, c);

		if (err != c->err || (c->why != NULL && !strstr(l.refusal.why, c->why))) {
			fail_msg("%s: %d, '%s'", c->name, err, l.refusal.why);
		}
		if (err == 0) {
			assert_string_equal(l.refusal.why, "");
			if (l.entry.rip != c->rip) {
				fail_msg("%s: rip %#lx", c->name, l.entry.rip);
			}
			check_payload(&l, c);
			check_initrd(&l, c);
		}
		assert_int_equal(l.refusal.initrd, c->initrd_at_fault);
		unload(&l);
	}
}

TEST(test_seed, fake_setup, fake_teardown)
{
	static const struct load_case good = { .name = "good" };
	static uint8_t seed[LINUX_SEED_BYTES] = { 1, 2, [31] = 0xee };
	uint8_t copy[sizeof(seed)];
	struct loaded l;

	next_seed = seed;
	assert_int_equal(load(&l, &good), 0);
	next_seed = NULL;
	assert_int_equal(param(&l, 0x250, 8), MEMMAP_SETUP_DATA);
	assert_int_equal(read_field(&l, MEMMAP_SETUP_DATA, 8), 0);
	assert_int_equal(read_field(&l, MEMMAP_SETUP_DATA + 8, 4), 9);
	assert_int_equal(read_field(&l, MEMMAP_SETUP_DATA + 12, 4), 32);
	assert_int_equal(gmem_read(&l.gmem, gpa(MEMMAP_SETUP_DATA + 16), copy, sizeof(copy)), 0);
	assert_memory_equal(copy, seed, sizeof(copy));
	unload(&l);
}

TEST(test_boot_params, fake_setup, fake_teardown)
{
	static const struct load_case good = { .name = "good" };
	struct loaded l;
	char line[sizeof(cmdline)];

	assert_int_equal(load(&l, &good), 0);
	assert_int_equal(l.entry.rsi, MEMMAP_BOOT_PARAMS);
	assert_int_equal(param(&l, 0x70, 8), MEMMAP_ACPI);
	assert_int_equal(param(&l, 0x1ef, 1), 0); /* sentinel */
	assert_int_equal(param(&l, 0x202, 4), 0x53726448);
	assert_int_equal(param(&l, 0x210, 1), 0xff);
	assert_int_equal(param(&l, 0x250, 8), 0);
	assert_int_equal(param(&l, 0x228, 4), MEMMAP_CMDLINE);
	assert_int_equal(gmem_read(&l.gmem, gpa(MEMMAP_CMDLINE), line, sizeof(line)), 0);
	assert_string_equal(line, cmdline);
	unload(&l);
}

/* Bytes behind the header's own end are not passed on, nor is a setup_data in the file. */
TEST(test_header_end, fake_setup, fake_teardown)
{
	static const struct load_case c = {
		.name = "tail",
		.patches = { { 0x250, 8, 0x1234 }, { 0x26c, 8, ~0ul }, { 0x201, 1, 0x62 } },
	};
	struct loaded l;

	assert_int_equal(load(&l, &c), 0);
	assert_int_equal(param(&l, 0x250, 8), 0);
	assert_int_equal(param(&l, 0x26c, 8), 0);
	unload(&l);
}

struct e820_row {
	uint64_t base, bytes, type;
};

static void check_e820(struct loaded *l, const struct e820_row *rows, size_t count)
{
	assert_int_equal(param(l, 0x1e8, 1), count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(param(l, 0x2d0 + i * 20, 8), rows[i].base);
		assert_int_equal(param(l, 0x2d0 + i * 20 + 8, 8), rows[i].bytes);
		assert_int_equal(param(l, 0x2d0 + i * 20 + 16, 4), rows[i].type);
	}
}

TEST(test_e820, fake_setup, fake_teardown)
{
	static const struct e820_row small[] = {
		{ 0, 0x9f000, 1 },	   { 0x9f000, 0x41000, 2 },    { 0xe0000, 0x20000, 3 },
		{ 0x100000, 63 * MIB, 1 }, { 0xe0000000, 1 * MIB, 2 },
	};
	static const struct e820_row large[] = {
		{ 0, 0x9f000, 1 },	    { 0x9f000, 0x41000, 2 },
		{ 0xe0000, 0x20000, 3 },    { 0x100000, 3071 * MIB, 1 },
		{ 0xe0000000, 1 * MIB, 2 }, { 0x100000000, 1 * MIB, 1 },
	};
	static const struct load_case good = { .name = "good" };
	const struct vm_file kernel = { .data = image, .bytes = sizeof(image) };
	struct loaded l;
	struct linux_source source = { .kernel = &kernel, .memory_bytes = 3073 * MIB };

	assert_int_equal(load(&l, &good), 0);
	check_e820(&l, small, ARRAY_COUNT(small));
	/* The same memory, but claimed to be larger than the hole permits. */
	assert_int_equal(load_all(&l.gmem, &source, cmdline, NULL, &l.entry, &l.refusal), 0);
	check_e820(&l, large, ARRAY_COUNT(large));
	unload(&l);
}

/* Walks the tables as a CPU does. */
TEST(test_page_tables, fake_setup, fake_teardown)
{
	static const uint64_t probes[] = { 0, 0x11000, 0x1000200, 0xffffffff };
	static const struct load_case good = { .name = "good" };
	struct loaded l;

	assert_int_equal(load(&l, &good), 0);
	for (size_t i = 0; i < ARRAY_COUNT(probes); i++) {
		uint64_t a = probes[i];
		uint64_t e = read_field(&l, l.entry.cr3 + (a >> 39) * 8, 8);

		assert_int_equal(e & 0xfff, 3);
		e = read_field(&l, (e & ~0xffful) + (a >> 30 & 511) * 8, 8);
		assert_int_equal(e & 0xfff, 3);
		e = read_field(&l, (e & ~0xffful) + (a >> 21 & 511) * 8, 8);
		assert_int_equal(e, (a & ~(SIZE_2M - 1)) | 0x83);
	}
	assert_int_equal(read_field(&l, l.entry.cr3 + 8, 8), 0);
	assert_int_equal(read_field(&l, l.entry.cr3 + 0x1000 + 32, 8), 0);
	assert_int_equal(read_field(&l, l.entry.gdt.v + 0x10, 8) >> 53 & 1, 1); /* L */
	assert_int_equal(l.entry.gdt_bytes, 0x20);
	unload(&l);
}

/* Memory that does not exist is reported. */
TEST(test_write_fails, fake_setup, fake_teardown)
{
	const struct vm_file kernel = { .data = image, .bytes = sizeof(image) };
	struct linux_source source = { .kernel = &kernel, .memory_bytes = 128 * MIB };
	struct loaded l = { 0 };

	bzimage_fill(image);
	assert_int_equal(gmem_init(&l.gmem), 0);
	assert_int_equal(load_all(&l.gmem, &source, cmdline, NULL, &l.entry, &l.refusal),
			 ERR_RANGE);
	gmem_end(&l.gmem);
}

/*
 * A step writes a bounded piece, and the percentage follows. If loading ends after any step,
 * nothing is left behind.
 */
TEST(test_steps, fake_setup, fake_teardown)
{
	const size_t initrd_bytes = 3 * LINUX_LOAD_STEP + 1000;
	const uint64_t initrd_at = 64 * MIB - ALIGN_UP(initrd_bytes, PAGE_SIZE);
	uint8_t *initrd = malloc(initrd_bytes);
	const struct vm_file kernel = { .data = image, .bytes = sizeof(image) };
	const struct vm_file file = { .data = initrd, .bytes = initrd_bytes };
	const struct linux_source source = { .kernel = &kernel,
					     .initrd = &file,
					     .memory_bytes = 64 * MIB };
	struct linux_load *load;
	struct loaded l;

	bzimage_fill(image);
	memset(initrd, 0x5a, initrd_bytes);
	for (unsigned steps = 0; steps <= 5; steps++) {
		unsigned before = 0;

		assert_int_equal(gmem_init(&l.gmem), 0);
		assert_int_equal(gmem_add_ram_plain(&l.gmem, gpa(0), 64 * MIB, PAGE_SIZE), 0);
		assert_int_equal(linux_load_begin(&l.gmem, &source, &load, &l.refusal), 0);
		assert_int_equal(fake_temp_maps(), 0); /* nothing has been written yet */
		assert_int_equal(linux_load_percent(load), 0);
		for (unsigned i = 1; i <= steps; i++) {
			const uint64_t maps = fake_temp_maps();

			assert_int_equal(linux_load_some(load), i < 5 ? ERR_AGAIN : 0);
			/* Each page is zeroed, then written. */
			assert_in_range(fake_temp_maps() - maps, 1,
					2 * (LINUX_LOAD_STEP / PAGE_SIZE + 1));
			assert_in_range(linux_load_percent(load), before, 100);
			before = linux_load_percent(load);
		}
		assert_int_equal(before == 100, steps == 5);
		if (steps == 5) {
			assert_int_equal(read_field(&l, initrd_at, 1), 0x5a);
			assert_int_equal(read_field(&l, initrd_at + initrd_bytes - 1, 2), 0x5a);
		}
		linux_load_end(load);
		gmem_end(&l.gmem);
		assert_int_equal(fake_pages_live(), 0);
		assert_int_equal(fake_frames_live(), 0);
		fake_reset();
		ept_configure(&(struct ept_caps){ .phys_bits = 40 });
	}
	free(initrd);
}
