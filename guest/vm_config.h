/* SPDX-License-Identifier: Apache-2.0 */
/* One VM as the configuration has it. Filled by boot/config.c, consumed by guest/platform.c. */
#ifndef UMBRA_GUEST_VM_CONFIG_H
#define UMBRA_GUEST_VM_CONFIG_H

#include "vmm/base/types.h"
#include "vmm/vm.h"

#define VM_PATH_MAX    128
#define VM_CMDLINE_MAX 2048

enum vm_engine {
	VM_ENGINE_AUTO,
	VM_ENGINE_TME_MK,
	VM_ENGINE_SOFTWARE,
	VM_ENGINE_NONE,
};
#define VM_ENGINES 4

/* Where the key of the memory comes from. */
enum vm_key {
	VM_KEY_RANDOM,	 /* drawn when the VM starts */
	VM_KEY_FILE,	 /* made of a file of the ESP, and drawn bytes */
	VM_KEY_PLATFORM, /* the machine's own, in the memory controller (TME) */
	VM_KEY_NONE,
	VM_KEY_DEFAULT, /* only while the section is read */
};
#define VM_KEYS		4
#define VM_SECRET_BYTES 32 /* KDF_SECRET_BYTES */
/* A key file has exactly one of these lengths. */
#define VM_KEY_FILE_MIN 32
#define VM_KEY_FILE_MAX 64

/* What CPUID 4000_0000H says. guest/README.md says why there are two. */
enum vm_signature {
	VM_SIGNATURE_UMBRA, /* "UmbraUmbraUm": Linux then uses the xAPIC */
	VM_SIGNATURE_KVM,   /* "KVMKVMKVM", no features: Linux then uses the x2APIC */
};

/* What becomes of a VM that has ended. */
enum vm_on_end {
	VM_ON_END_DESTROY,
	VM_ON_END_RESTART,
	VM_ON_END_KEEP, /* stopped for good, all sealed, to be looked at */
};

/*
 * A file of the ESP, in host memory that stays mapped read-only. vm_file.h reads it. An initrd may
 * be several, "\\a,\\b": each begins on a multiple of four bytes behind the one before, with zeros
 * between them (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
 */
struct vm_file {
	char path[VM_PATH_MAX]; /* empty: none */
	const void *data;	/* NULL: missing; `error` says why. Page-aligned */
	uint64_t bytes;
	uint32_t seal; /* 0: in clear */
	const char *error;
};

/* Where a key comes from, and what was read of it. */
struct vm_key_source {
	enum vm_key kind;
	struct vm_file file; /* its path: what it holds goes to secret at once */
	/* What the key file holds, until boot/secrets.c has made VM_SECRET_BYTES of it. Secret. */
	uint8_t secret[VM_KEY_FILE_MAX];
	size_t secret_bytes;
};

/* Guest-physical pages that no engine encrypts, for buffers that devices or others are to see. */
#define VM_CLEAR_MAX 4
struct vm_clear_range {
	uint64_t base;
	uint64_t bytes;
};

/* An image of the stick, and what may be written: nothing, or so much of it, kept in memory. */
#define VM_DISKS_MAX	4
#define VM_DISK_COW_MAX (1ul << 40)
struct vm_disk {
	struct vm_file file;
	bool read_only;	    /* it was written so */
	uint64_t cow_bytes; /* 0: read-only */
};

struct vm_config {
	char name[VM_NAME_MAX];
	uint32_t line; /* of its section in the file, for messages */
	uint64_t memory_bytes;
	uint32_t vcpus;
	uint32_t weight;		 /* share of a CPU beside others (vmm/sched.h) */
	uint64_t affinity[CPU_MAX / 64]; /* host CPUs that may run it; none set: all */
	struct vm_file kernel;
	struct vm_file initrd;
	struct vm_disk disks[VM_DISKS_MAX]; /* of no path behind the last */
	char cmdline[VM_CMDLINE_MAX];
	uint32_t cmdline_seal; /* 0: in clear, zeros behind its end */
	enum vm_engine engine;
	struct vm_clear_range
		clear[VM_CLEAR_MAX]; /* sorted, disjoint; of 0 bytes behind the last */
	struct vm_key_source key;
	uint32_t rekey_after_s; /* its KeyID gets a fresh key when the last is so old; 0: never */
	enum vm_signature signature;
	bool virtio_console; /* it has one, beside the UART */
	uint64_t max_leaf;   /* bytes: largest EPT leaf (key `leaf` = auto | 4K | 2M | 1G) */
	enum vm_on_end on_crash, on_reboot, on_poweroff;
	bool autostart; /* false: a person starts it */
	bool valid;	/* false: something was wrong and was said; the VM is not started */
};

/* The places of all files that a VM's configuration may name. */
#define VM_FILES (2 + VM_DISKS_MAX)
static inline struct vm_file *vm_config_file(struct vm_config *config, size_t n)
{
	return n == 0 ? &config->kernel : n == 1 ? &config->initrd : &config->disks[n - 2].file;
}

#endif
