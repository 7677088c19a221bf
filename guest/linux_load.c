/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bzImage loader. It copies the setup header out of the file once and checks each field before
 * its first use. Only then does it write guest memory: kernel and initrd piece by piece, then
 * command line, boot_params, page tables and GDT. Fields have the names and offsets of the boot
 * protocol.
 */
#include "guest/linux_load.h"

#include "guest/memmap.h"
#include "guest/vm_file.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/host/page_alloc.h"

#define SECTOR_BYTES	    512u
#define SETUP_HEADER_OFFSET 0x1f1u
#define SETUP_HEADER_END    0x290u /* boot_params has no room for more */
#define SETUP_SECTS_DEFAULT 4u
#define BOOT_FLAG	    0xaa55u
#define HEADER_MAGIC	    0x53726448u /* "HdrS" */
#define VERSION_MIN	    0x020cu	/* 2.12 introduced xloadflags */
#define LOADED_HIGH	    BIT(0)
#define XLF_KERNEL_64	    BIT(0)
#define ENTRY_64_OFFSET	    0x200u
#define LOADER_UNDEFINED    0xffu
#define ALIGNMENT_MAX	    SIZE_1G
#define SYSSIZE_UNIT	    16u

struct setup_header {
	uint8_t setup_sects;
	uint16_t root_flags;
	uint32_t syssize; /* size of the part after the setup, in 16 bytes, rounded up */
	uint16_t ram_size;
	uint16_t vid_mode;
	uint16_t root_dev;
	uint16_t boot_flag;
	uint8_t jump_opcode;
	uint8_t jump_distance; /* the header ends this many bytes after this field */
	uint32_t header;
	uint16_t version;
	uint32_t realmode_swtch;
	uint16_t start_sys_seg;
	uint16_t kernel_version;
	uint8_t type_of_loader;
	uint8_t loadflags;
	uint16_t setup_move_size;
	uint32_t code32_start;
	uint32_t ramdisk_image;
	uint32_t ramdisk_size;
	uint32_t bootsect_kludge;
	uint16_t heap_end_ptr;
	uint8_t ext_loader_ver;
	uint8_t ext_loader_type;
	uint32_t cmd_line_ptr;
	uint32_t initrd_addr_max; /* the highest address of an initrd's last byte */
	uint32_t kernel_alignment;
	uint8_t relocatable_kernel;
	uint8_t min_alignment;
	uint16_t xloadflags;
	uint32_t cmdline_size; /* its maximum, without the final zero */
	uint32_t hardware_subarch;
	uint64_t hardware_subarch_data;
	uint32_t payload_offset;
	uint32_t payload_length;
	uint64_t setup_data;
	uint64_t pref_address;
	uint32_t init_size; /* memory that the kernel needs before it reads the E820 map */
	uint8_t newer[SETUP_HEADER_END - 0x264];
} __attribute__((packed));
_Static_assert(sizeof(struct setup_header) == SETUP_HEADER_END - SETUP_HEADER_OFFSET, "boot.rst");
_Static_assert(offsetof(struct setup_header, header) == 0x202 - SETUP_HEADER_OFFSET, "boot.rst");
_Static_assert(offsetof(struct setup_header, cmdline_size) == 0x238 - SETUP_HEADER_OFFSET,
	       "boot.rst");
_Static_assert(offsetof(struct setup_header, init_size) == 0x260 - SETUP_HEADER_OFFSET, "boot.rst");

#define E820_ENTRY_MAX 128
enum e820_type {
	E820_RAM = 1,
	E820_RESERVED = 2,
	E820_ACPI = 3,
	E820_PRAM = 12, /* Linux: "Persistent Memory (legacy)" */
};

struct e820_entry {
	uint64_t base;
	uint64_t bytes;
	uint32_t type;
} __attribute__((packed));

/* Linux: Documentation/arch/x86/zero-page.rst. */
struct boot_params {
	uint8_t screen_info[0x70]; /* zeros: no screen */
	uint64_t acpi_rsdp_addr;
	uint8_t unused_078[0x1e8 - 0x78];
	uint8_t e820_entries;
	uint8_t unused_1e9[SETUP_HEADER_OFFSET - 0x1e9];
	struct setup_header hdr;
	uint8_t unused_290[0x2d0 - SETUP_HEADER_END];
	struct e820_entry e820_table[E820_ENTRY_MAX];
	uint8_t unused_cd0[PAGE_SIZE - 0xcd0];
} __attribute__((packed));
_Static_assert(sizeof(struct boot_params) == PAGE_SIZE, "zero-page.rst");
_Static_assert(offsetof(struct boot_params, e820_entries) == 0x1e8, "zero-page.rst");
_Static_assert(offsetof(struct boot_params, e820_table) == 0x2d0, "zero-page.rst");

/* Linux: struct setup_data. Linux knows this type since 6.0; older kernels skip it. */
struct setup_seed {
	uint64_t next;
	uint32_t type, bytes;
	uint8_t seed[LINUX_SEED_BYTES];
} __attribute__((packed));
#define SETUP_RNG_SEED 9

/* Where everything goes. All of it was checked to lie in RAM below 4 GiB. */
struct layout {
	uint64_t setup_bytes;
	uint64_t payload_bytes;
	uint64_t kernel;
	uint64_t kernel_end; /* with the memory that it needs at run time */
	uint64_t initrd;
};

/* Takes one page of the host. Of the files it contains only the setup header. */
struct linux_load {
	struct gmem *gmem;
	struct linux_source source;
	struct linux_refusal *refusal; /* only valid during linux_load_begin */
	struct setup_header hdr;       /* our copy */
	struct layout at;
	ATOMIC(uint64_t) done; /* bytes of kernel and initrd */
	uint64_t all;
};
_Static_assert(sizeof(struct linux_load) <= PAGE_SIZE, "one page");

static int refuse(struct linux_load *load, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int refuse(struct linux_load *load, int err, const char *fmt, ...)
{
	__builtin_va_list args;

	__builtin_va_start(args, fmt);
	str_vprintf(load->refusal->why, sizeof(load->refusal->why), fmt, args);
	__builtin_va_end(args);
	return err;
}

static uint64_t to_mib(uint64_t bytes)
{
	return (bytes + (1u << 20) - 1) >> 20;
}

/* Recognises two common mistakes about the kernel file. */
static const char *other_kind(const struct vm_file *file)
{
	uint8_t magic[4];

	if (vm_file_read(file, 0, magic, sizeof(magic)) != 0) {
		return ""; /* read_header has read this page before */
	}
	if (memcmp(magic, "\177ELF", 4) == 0) {
		return " (it is an ELF file: vmlinux instead of vmlinuz?)";
	}
	if (magic[0] == 0x1f && magic[1] == 0x8b) {
		return " (it is compressed by gzip)";
	}
	return "";
}

/* Copies the header and checks that the file is a kernel with the 64-bit entry point. */
static int read_header(struct linux_load *load)
{
	const struct vm_file *file = load->source.kernel;
	struct setup_header *hdr = &load->hdr;
	size_t end;
	int err;

	if (load->source.kernel->bytes < 2 * SECTOR_BYTES) {
		return refuse(load, ERR_FORMAT, "no bzImage: only %lu bytes long",
			      load->source.kernel->bytes);
	}
	err = vm_file_read(file, SETUP_HEADER_OFFSET, hdr, sizeof(*hdr));
	if (err != 0) {
		return refuse(load, err,
			      "its first page was changed while it lay sealed in memory");
	}
	if (hdr->boot_flag != BOOT_FLAG || hdr->header != HEADER_MAGIC) {
		return refuse(load, ERR_FORMAT, "no bzImage: the mark 'HdrS' is missing%s",
			      other_kind(file));
	}
	if (hdr->version < VERSION_MIN) {
		return refuse(load, ERR_FORMAT, "boot protocol %u.%02u is older than 2.12",
			      hdr->version >> 8, hdr->version & 0xffu);
	}
	/*
	 * After the header's end there is code of the kernel's setup, which must not be passed to
	 * the kernel.
	 */
	end = 0x202u + hdr->jump_distance;
	if (end < 0x264u) {
		return refuse(load, ERR_FORMAT,
			      "no bzImage: its header ends at %#zx, within a field", end);
	}
	if (end < SETUP_HEADER_END) {
		memset((uint8_t *)hdr + (end - SETUP_HEADER_OFFSET), 0, SETUP_HEADER_END - end);
	}
	if (!(hdr->loadflags & LOADED_HIGH)) {
		return refuse(load, ERR_FORMAT, "no bzImage: a zImage that loads below 1 MiB");
	}
	if (!(hdr->xloadflags & XLF_KERNEL_64)) {
		return refuse(load, ERR_FORMAT, "it has no 64-bit entry point (a 32-bit kernel?)");
	}
	return 0;
}

/*
 * Checks that the file is as long as its header says. The header counts units of 16 bytes, so up to
 * 15 bytes of the last unit may be missing: Linux builds fill it up, memtest86+ does not.
 */
static int check_sizes(struct linux_load *load)
{
	uint32_t sects = load->hdr.setup_sects == 0 ? SETUP_SECTS_DEFAULT : load->hdr.setup_sects;
	uint64_t needed;

	load->at.setup_bytes = (sects + 1u) * (uint64_t)SECTOR_BYTES;
	load->at.payload_bytes = (uint64_t)load->hdr.syssize * SYSSIZE_UNIT;
	needed = load->at.setup_bytes + load->at.payload_bytes;
	if (load->at.payload_bytes <= ENTRY_64_OFFSET) {
		return refuse(load, ERR_FORMAT, "no bzImage: nothing follows its setup");
	}
	if (needed - SYSSIZE_UNIT >= load->source.kernel->bytes) {
		return refuse(load, ERR_FORMAT, "truncated: %lu bytes of %lu",
			      load->source.kernel->bytes, needed);
	}
	load->at.payload_bytes = MIN(needed, load->source.kernel->bytes) - load->at.setup_bytes;
	return 0;
}

static int place_kernel(struct linux_load *load)
{
	const struct setup_header *hdr = &load->hdr;
	uint64_t align = hdr->kernel_alignment;
	uint64_t low = memmap_low_bytes(load->source.memory_bytes);
	uint64_t start = hdr->pref_address;
	uint64_t bytes = MAX((uint64_t)hdr->init_size, load->at.payload_bytes);

	if (hdr->relocatable_kernel != 0) {
		if (align == 0 || (align & (align - 1)) != 0 || align > ALIGNMENT_MAX) {
			return refuse(load, ERR_FORMAT,
				      "no bzImage: its alignment %#lx is nonsense", align);
		}
		start = MAX(start, MEMMAP_KERNEL_MIN);
		/* a larger address is refused below; the test avoids an overflow */
		if (start < MEMMAP_HIGH_RAM) {
			start = ALIGN_UP(start, align);
		}
	}
	if (start < MEMMAP_KERNEL_MIN || start >= MEMMAP_HOLE) {
		return refuse(load, ERR_FORMAT, "it wants to run at %#lx, where no RAM can be",
			      start);
	}
	if (start + bytes > low) {
		return refuse(load, ERR_RANGE,
			      "it needs %lu MiB of memory to start, the VM has %lu MiB",
			      to_mib(start + bytes), to_mib(load->source.memory_bytes));
	}
	load->at.kernel = start;
	load->at.kernel_end = ALIGN_UP(start + bytes, PAGE_SIZE);
	return 0;
}

/* The initrd goes as high as the kernel allows, where it does not collide with other data. */
static int place_initrd(struct linux_load *load)
{
	uint64_t top = memmap_low_bytes(load->source.memory_bytes);
	uint64_t bytes;

	if (load->source.initrd == NULL) {
		return 0;
	}
	bytes = load->source.initrd->bytes;
	top = MIN(top, load->hdr.initrd_addr_max + 1ul);
	load->refusal->initrd = true;
	if (bytes == 0) {
		return refuse(load, ERR_FORMAT, "is empty");
	}
	if (top < bytes || ALIGN_DOWN(top - bytes, PAGE_SIZE) < load->at.kernel_end) {
		return refuse(load, ERR_RANGE,
			      "%lu MiB do not fit between the kernel's end at %lu MiB and %lu MiB",
			      to_mib(bytes), to_mib(load->at.kernel_end), top >> 20);
	}
	load->refusal->initrd = false;
	load->at.initrd = ALIGN_DOWN(top - bytes, PAGE_SIZE);
	return 0;
}

static int check_cmdline(struct linux_load *load)
{
	size_t length = load->source.cmdline_length;
	uint64_t most = MIN((uint64_t)load->hdr.cmdline_size, MEMMAP_CMDLINE_BYTES - 1);

	if (length > most) {
		return refuse(load, ERR_RANGE, "the command line has %zu bytes, it takes %lu",
			      length, most);
	}
	return 0;
}

static void add_e820(struct boot_params *params, uint64_t base, uint64_t end, enum e820_type type)
{
	if (end > base) {
		params->e820_table[params->e820_entries++] = (struct e820_entry){ base, end - base,
										  type };
	}
}

static void fill_boot_params(const struct linux_load *load, bool seeded, struct boot_params *params)
{
	uint64_t memory = load->source.memory_bytes;

	params->hdr = load->hdr;
	params->hdr.type_of_loader = LOADER_UNDEFINED;
	params->hdr.code32_start = (uint32_t)load->at.kernel;
	params->hdr.cmd_line_ptr = MEMMAP_CMDLINE;
	params->hdr.setup_data = seeded ? MEMMAP_SETUP_DATA : 0;
	if (load->source.initrd != NULL) {
		params->hdr.ramdisk_image = (uint32_t)load->at.initrd;
		params->hdr.ramdisk_size = (uint32_t)load->source.initrd->bytes;
	}
	params->acpi_rsdp_addr = load->source.rsdp.v;
	add_e820(params, 0, MEMMAP_LOW_RAM_END, E820_RAM);
	add_e820(params, MEMMAP_LOW_RAM_END, MEMMAP_ACPI, E820_RESERVED);
	add_e820(params, MEMMAP_ACPI, MEMMAP_ACPI + MEMMAP_ACPI_BYTES, E820_ACPI);
	add_e820(params, MEMMAP_KERNEL_MIN, memmap_low_bytes(memory), E820_RAM);
	add_e820(params, MEMMAP_ECAM, MEMMAP_ECAM + MEMMAP_ECAM_BYTES, E820_RESERVED);
	add_e820(params, MEMMAP_HIGH_RAM, MEMMAP_HIGH_RAM + memmap_high_bytes(memory), E820_RAM);
	for (size_t i = 0; i < load->source.share_count; i++) {
		const struct shares_range *range = &load->source.shares[i];

		add_e820(params, range->base, range->base + range->bytes,
			 range->via == SHARE_VIA_DAX ? E820_PRAM : E820_RESERVED);
	}
}

/*
 * Four page directories with 2 MiB pages, a page-directory-pointer table with four entries, and a
 * PML4 with one: they map the first 4 GiB one to one.
 */
static int write_page_tables(struct gmem *gmem)
{
	const uint64_t flags = PTE_PRESENT | PTE_WRITE;
	uint64_t pd = MEMMAP_PAGE_TABLES + 2 * PAGE_SIZE;
	uint64_t entries[64];
	int err;

	_Static_assert(MEMMAP_PAGE_TABLES + 6 * PAGE_SIZE == MEMMAP_LOADER_END, "six tables");
	err = gmem_fill(gmem, gpa(MEMMAP_PAGE_TABLES), 0, 2 * PAGE_SIZE);
	if (err != 0) {
		return err;
	}
	entries[0] = (MEMMAP_PAGE_TABLES + PAGE_SIZE) | flags;
	err = gmem_write(gmem, gpa(MEMMAP_PAGE_TABLES), entries, sizeof(entries[0]));
	for (uint64_t i = 0; i < 4; i++) {
		entries[i] = (pd + i * PAGE_SIZE) | flags;
	}
	if (err == 0) {
		err = gmem_write(gmem, gpa(MEMMAP_PAGE_TABLES + PAGE_SIZE), entries,
				 4 * sizeof(entries[0]));
	}
	for (uint64_t page = 0; err == 0 && page < 4 * 512; page += ARRAY_COUNT(entries)) {
		for (uint64_t i = 0; i < ARRAY_COUNT(entries); i++) {
			entries[i] = (page + i) * SIZE_2M | flags | PTE_LARGE;
		}
		err = gmem_write(gmem, gpa(pd + page * sizeof(entries[0])), entries,
				 sizeof(entries));
	}
	return err;
}

/* Selectors 10H and 18H are the protocol's __BOOT_CS and __BOOT_DS. */
static const uint64_t gdt[] = {
	0, 0, 0x00af9b000000ffff, /* code, 64-bit */
	0x00cf93000000ffff,	  /* data */
};

/* The kernel zeroes the seed after use. Our copies are wiped here. */
static int write_seed(struct linux_load *load, const uint8_t *seed)
{
	struct setup_seed data = { .type = SETUP_RNG_SEED, .bytes = LINUX_SEED_BYTES };
	int err;

	if (seed == NULL) {
		return 0;
	}
	memcpy(data.seed, seed, sizeof(data.seed));
	err = gmem_write(load->gmem, gpa(MEMMAP_SETUP_DATA), &data, sizeof(data));
	secure_zero(&data, sizeof(data));
	return err;
}

static int write_loader_area(struct linux_load *load, const char *cmdline, const uint8_t *seed)
{
	struct boot_params params;
	int err;

	memset(&params, 0, sizeof(params));
	fill_boot_params(load, seed != NULL, &params);
	err = gmem_write(load->gmem, gpa(MEMMAP_BOOT_PARAMS), &params, sizeof(params));
	if (err == 0) {
		err = gmem_write(load->gmem, gpa(MEMMAP_CMDLINE), cmdline,
				 load->source.cmdline_length + 1);
	}
	if (err == 0) {
		err = gmem_write(load->gmem, gpa(MEMMAP_GDT), gdt, sizeof(gdt));
	}
	if (err == 0) {
		err = write_seed(load, seed);
	}
	if (err == 0) {
		err = write_page_tables(load->gmem);
	}
	return err;
}

/* In this order, because later checks use what earlier ones have checked. */
static int (*const checks[])(struct linux_load *load) = {
	read_header, check_sizes, place_kernel, place_initrd, check_cmdline,
};

int linux_load_begin(struct gmem *gmem, const struct linux_source *source, struct linux_load **out,
		     struct linux_refusal *refusal)
{
	struct linux_load *load = page_alloc(1);

	*refusal = (struct linux_refusal){ 0 };
	if (load == NULL) {
		return ERR_NOMEM;
	}
	load->gmem = gmem;
	load->source = *source;
	load->refusal = refusal;
	for (size_t i = 0; i < ARRAY_COUNT(checks); i++) {
		int err = checks[i](load);

		if (err != 0) {
			page_free(load, 1);
			return err;
		}
	}
	load->all = load->at.payload_bytes + (source->initrd != NULL ? source->initrd->bytes : 0);
	*out = load;
	return 0;
}

int linux_load_some(struct linux_load *load)
{
	const uint64_t kernel_bytes = load->at.payload_bytes;
	const struct vm_file *file = load->source.kernel;
	uint64_t from = load->at.setup_bytes, to = load->at.kernel;
	uint64_t at = atomic_load_relaxed(&load->done), bytes = kernel_bytes;
	int err;

	if (at >= kernel_bytes) {
		file = load->source.initrd;
		from = 0;
		to = load->at.initrd;
		bytes = load->all - kernel_bytes;
		at -= kernel_bytes;
	}
	bytes = MIN(bytes - at, LINUX_LOAD_STEP);
	err = vm_file_copy(file, from + at, bytes, load->gmem, gpa(to + at));
	if (err != 0) {
		return err;
	}
	atomic_add_own(&load->done, bytes);
	return atomic_load_relaxed(&load->done) < load->all ? ERR_AGAIN : 0;
}

unsigned linux_load_percent(const struct linux_load *load)
{
	return (unsigned)(atomic_load_relaxed(&load->done) * 100 / load->all);
}

int linux_load_finish(struct linux_load *load, const char *cmdline, const uint8_t *seed,
		      struct vcpu_long_mode *entry)
{
	*entry = (struct vcpu_long_mode){
		.rip = load->at.kernel + ENTRY_64_OFFSET,
		.rsp = MEMMAP_LOW_RAM_END,
		.rsi = MEMMAP_BOOT_PARAMS,
		.cr3 = MEMMAP_PAGE_TABLES,
		.gdt = gpa(MEMMAP_GDT),
		.gdt_bytes = sizeof(gdt),
	};
	return write_loader_area(load, cmdline, seed);
}

void linux_load_end(struct linux_load *load)
{
	page_free(load, 1);
}
