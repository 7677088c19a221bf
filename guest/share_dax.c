/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/share_dax.h"

#include "ept/pager.h"
#include "vmm/base/str.h"

#define DAX_INFO PAGE_SIZE /* the information block, counted from the head's base */

/* Fletcher's checksum over 32-bit words, like Linux computes it (drivers/nvdimm/core.c). */
static uint64_t fletcher64(const void *page)
{
	uint32_t low = 0, word;
	uint64_t high = 0;

	for (size_t at = 0; at < PAGE_SIZE; at += sizeof(word)) {
		memcpy(&word, (const char *)page + at, sizeof(word));
		low += word;
		high += low;
	}
	return high << 32 | low;
}

/* The information block of a namespace in devdax mode (Linux: drivers/nvdimm/pfn.h). */
struct dax_info {
	char signature[16];
	uint8_t uuid[16], parent_uuid[16];
	uint32_t flags;
	uint16_t version_major, version_minor;
	uint64_t dataoff, npfns;
	uint32_t mode, start_pad, end_trunc, align, page_size;
	uint16_t page_struct_size;
	uint8_t reserved[3994];
	uint64_t checksum;
} __attribute__((packed));
_Static_assert(sizeof(struct dax_info) == PAGE_SIZE, "one page");

/* Each member has its own block in its own memory, so a member can only damage its own. */
static int write_dax_info(struct gmem *gmem, gpa_t base, uint64_t bytes)
{
	static struct dax_info info;
	int err;

	info = (struct dax_info){
		.signature = "NVDIMM_DAX_INFO",
		.uuid = { 'U', 'm', 'b', 'r', 'a' },
		.version_major = 1,
		.version_minor = 4,
		.dataoff = SHARE_DAX_HEAD,
		.npfns = bytes / PAGE_SIZE,
		.mode = 1, /* the guest keeps struct page in its RAM */
		.align = SIZE_2M,
		.page_size = PAGE_SIZE,
		.page_struct_size = 64,
	};
	info.checksum = fletcher64(&info);
	err = gmem_write(gmem, gpa(base.v + DAX_INFO), &info, sizeof(info));
	return err;
}

int share_dax_add_head(struct gmem *gmem, struct pager_vm *pager, gpa_t base, uint64_t bytes)
{
	int err = pager != NULL ? gmem_add_ram_sealed(gmem, pager, base, SHARE_DAX_HEAD)
				: gmem_add_ram_plain(gmem, base, SHARE_DAX_HEAD, SIZE_2M);

	return err == 0 ? write_dax_info(gmem, base, bytes) : err;
}
