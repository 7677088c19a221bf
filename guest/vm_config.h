/* SPDX-License-Identifier: Apache-2.0 */
/* One VM's section of the configuration. boot/config.c fills it, guest/platform.c uses it. */
#ifndef UMBRA_GUEST_VM_CONFIG_H
#define UMBRA_GUEST_VM_CONFIG_H

#include "crypto/passphrase.h"
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

/* Do sealed pages have tags, by which a change of the ciphertext is noticed? */
enum vm_integrity {
	VM_INTEGRITY_AUTO, /* where VPCLMULQDQ makes them */
	VM_INTEGRITY_ON,
	VM_INTEGRITY_OFF,
};

/* The source of the key of the VM's memory. */
enum vm_key {
	VM_KEY_RANDOM,	 /* drawn when the VM starts */
	VM_KEY_FILE,	 /* derived from a file of the ESP and from random bytes */
	VM_KEY_PLATFORM, /* the machine's own key in the memory controller (TME) */
	VM_KEY_NONE,
	VM_KEY_DEFAULT, /* only while the section is read */
};
#define VM_KEYS		4
#define VM_SECRET_BYTES 32 /* equal to KDF_SECRET_BYTES */
/* A key file has exactly one of these lengths. */
#define VM_KEY_FILE_MIN 32
#define VM_KEY_FILE_MAX 64

/* What the file of VM_KEY_FILE holds. */
enum vm_key_form {
	VM_KEY_FORM_RAW,	/* the secret itself, as it is */
	VM_KEY_FORM_PASSPHRASE, /* what recognises the passphrase that gives the secret */
	VM_KEY_FORM_TPM,	/* the secret, sealed by the machine's TPM */
};
/* What became of a secret that the TPM has sealed. */
enum vm_key_tpm {
	VM_KEY_TPM_SHUT,   /* it was not opened */
	VM_KEY_TPM_OPENED, /* opened from a sealed file on the stick */
	VM_KEY_TPM_FRESH,  /* this boot has sealed it */
};

static inline const char *vm_key_form_word(enum vm_key_form form)
{
	return form == VM_KEY_FORM_PASSPHRASE ? "passphrase"
	       : form == VM_KEY_FORM_TPM      ? "tpm"
					      : "file";
}

/* The signature in CPUID leaf 4000_0000H. guest/README.md explains why there are two. */
enum vm_signature {
	VM_SIGNATURE_UMBRA, /* "UmbraUmbraUm": Linux then uses the xAPIC */
	VM_SIGNATURE_KVM,   /* "KVMKVMKVM", no features: Linux then uses the x2APIC */
};

/* What happens to a VM that has ended. */
enum vm_on_end {
	VM_ON_END_DESTROY,
	VM_ON_END_RESTART,
	VM_ON_END_KEEP, /* stays as it ended, sealed, for inspection */
};

/*
 * A file of the ESP, in host memory that stays mapped read-only. vm_file.h reads it. An initrd may
 * be several files, "\\a,\\b": each begins at the next multiple of four bytes after the one before,
 * with zeros between (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
 */
struct vm_file {
	char path[VM_PATH_MAX]; /* empty: no file */
	const void *data;	/* NULL: missing, for the reason in `error`. Page-aligned */
	uint64_t bytes;
	uint32_t seal;	     /* 0: in clear */
	uint8_t (*tags)[16]; /* one for each page; NULL: no tags */
	const char *error;
};

/* The source of a key, and what was read from it. */
struct vm_key_source {
	enum vm_key kind;
	enum vm_key_form form; /* of VM_KEY_FILE */
	bool locked;	       /* there is no secret until a person types the passphrase */
	struct passphrase passphrase;
	enum vm_key_tpm tpm;
	uint8_t tpm_hash[32]; /* SHA-256 of the sealed file; only if tpm is not SHUT */
	struct vm_file file;  /* only path and error are used: the content is read into secret */
	/*
	 * The content of the key file, until boot/secrets.c replaces it by a derived secret of
	 * VM_SECRET_BYTES; or the secret that boot/unlock.c made of a passphrase. Secret.
	 */
	uint8_t secret[VM_KEY_FILE_MAX];
	size_t secret_bytes;
};

/*
 * A range of guest-physical pages that no engine encrypts, for buffers that devices or others must
 * see.
 */
#define VM_CLEAR_MAX 4
struct vm_clear_range {
	uint64_t base;
	uint64_t bytes;
};

/* A disk: an image from the stick, which may be read-only or have an overlay in memory. */
#define VM_DISKS_MAX	4
#define VM_DISK_COW_MAX (1ul << 40)
struct vm_disk {
	struct vm_file file;
	bool read_only;	    /* the configuration says ro */
	uint64_t cow_bytes; /* size of the overlay; 0: read-only */
};

/* A port of a switch between the VMs that name the same net. */
#define VM_NETS_MAX 4
struct vm_net {
	char name[VM_NAME_MAX]; /* of the net; empty: none */
	bool has_address;	/* else it is derived from the VM's name */
	uint8_t address[6];	/* Ethernet */
	bool has_offload;	/* `offload` was written */
	bool offload_off;	/* the device computes no checksums and makes no segments */
};

struct vm_config {
	char name[VM_NAME_MAX];
	uint32_t line; /* line of its section in the file, for messages */
	uint64_t memory_bytes;
	uint32_t vcpus;
	uint32_t weight;		 /* CPU time compared with other VMs (vmm/sched.h) */
	uint64_t affinity[CPU_MAX / 64]; /* host CPUs that may run it; no bit set: all */
	struct vm_file kernel;
	struct vm_file initrd;
	struct vm_disk disks[VM_DISKS_MAX]; /* entries after the last have no path */
	struct vm_net nets[VM_NETS_MAX];    /* entries after the last have no name */
	char cmdline[VM_CMDLINE_MAX];
	uint32_t cmdline_seal; /* 0: in clear, with zeros after its end */
	enum vm_engine engine;
	enum vm_integrity integrity; /* only for the software engine, and the VM's files */
	struct vm_clear_range
		clear[VM_CLEAR_MAX]; /* sorted, disjoint; entries after the last have 0 bytes */
	struct vm_key_source key;
	uint32_t drain_s;	/* software engine: pages unused for so long are sealed; 0: never */
	uint32_t rekey_after_s; /* the VM gets a fresh key when its key is this old; 0: never */
	enum vm_signature signature;
	bool virtio_console; /* the VM has a virtio console besides the UART */
	uint64_t max_leaf;   /* bytes: largest EPT leaf (key `leaf` = auto | 4K | 2M | 1G) */
	enum vm_on_end on_crash, on_reboot, on_poweroff;
	bool autostart; /* false: a person starts it */
	bool valid; /* false: the section has an error, which was logged; the VM is not started */
};

/* All files that a VM's configuration may name. */
#define VM_FILES (2 + VM_DISKS_MAX)
static inline struct vm_file *vm_config_file(struct vm_config *config, size_t n)
{
	return n == 0 ? &config->kernel : n == 1 ? &config->initrd : &config->disks[n - 2].file;
}

#endif
