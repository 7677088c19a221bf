/* SPDX-License-Identifier: Apache-2.0 */
/* A section [share NAME] of the configuration: memory that several VMs see. */
#ifndef UMBRA_GUEST_SHARE_CONFIG_H
#define UMBRA_GUEST_SHARE_CONFIG_H

#include "guest/vm_config.h"

#define SHARE_MAX	  8
#define SHARE_MEMBERS_MAX 16 /* PAGER_MAPPINGS_MAX: the most mappings of one page */
/*
 * The start of a share is a multiple of this. With SHARE_VIA_DAX its size is as well, because Linux
 * requires that. With SHARE_VIA_PCI the start is a multiple of the share's size.
 */
#define SHARE_ALIGN SIZE_2M

/* How a guest finds the share. */
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
	uint32_t line; /* line of its section in the file, for messages */
	uint64_t bytes;
	struct share_member_config members[SHARE_MEMBERS_MAX];
	uint32_t member_count;
	struct vm_key_source key;
	enum share_via via;
	bool valid; /* false: the section has an error, which was logged; no VM gets the share */
};

#endif
