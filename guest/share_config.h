/* SPDX-License-Identifier: Apache-2.0 */
/* One section [share NAME] as the configuration has it: memory that several VMs see. */
#ifndef UMBRA_GUEST_SHARE_CONFIG_H
#define UMBRA_GUEST_SHARE_CONFIG_H

#include "guest/vm_config.h"

#define SHARE_MAX	  8
#define SHARE_MEMBERS_MAX 16 /* PAGER_MAPPINGS_MAX: what one page can be mapped by */
/*
 * Where a share begins is a multiple; with SHARE_VIA_DAX its size as well, for Linux wants that.
 * With SHARE_VIA_PCI it begins at a multiple of its own size.
 */
#define SHARE_ALIGN SIZE_2M

/* How a guest finds it. */
enum share_via {
	SHARE_VIA_RESERVED, /* a reserved range of the E820 map, for /dev/mem */
	SHARE_VIA_DAX,	    /* E820 type 12 with an information block: Linux makes /dev/dax of it */
	SHARE_VIA_PCI,	    /* an ivshmem function with doorbells; the size is a power of two */
};

struct share_member_config {
	char vm[VM_NAME_MAX];
	bool read_only;
};

struct share_config {
	char name[VM_NAME_MAX];
	uint32_t line; /* of its section in the file, for messages */
	uint64_t bytes;
	struct share_member_config members[SHARE_MEMBERS_MAX];
	uint32_t member_count;
	struct vm_key_source key;
	enum share_via via;
	bool valid; /* false: something was wrong and was said; no VM gets it */
};

#endif
