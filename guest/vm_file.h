/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stick gave to a VM: kernel, initrd, disks, command line. They are needed again when the
 * VM is reset, and what is encrypted in its memory must not lie beside it in clear: so they are
 * kept as AES-256-XTS ciphertext in place, under a random key of this run. Sealing is the boot
 * processor's alone; any CPU reads and copies, one page at a time.
 */
#ifndef UMBRA_GUEST_VM_FILE_H
#define UMBRA_GUEST_VM_FILE_H

#include "ept/gmem.h"
#include "guest/vm_config.h"

/* Draws the key. What rng_bytes says, or ERR_NOMEM; then nothing can be sealed. Once. */
int vm_file_start(void);

/*
 * Encrypts the file's pages in place, the last one to its end; they must be writable now. Another
 * struct vm_file with the same data needs the same seal then. number: one for each, from 1 on.
 */
void vm_file_seal(struct vm_file *file, uint32_t number);
/* The same for the command line. */
void vm_cmdline_seal(struct vm_config *config, uint32_t number);

/* Sealed or not, the plaintext of the file's page number index, as far as it goes; any CPU. */
void vm_file_page(const struct vm_file *file, uint64_t index, void *out);

/* The same of a part that lies in the file: */
void vm_file_read(const struct vm_file *file, uint64_t offset, void *buf, size_t bytes);
/* to guest memory, page by page; what gmem_write says; */
int vm_file_copy(const struct vm_file *file, uint64_t offset, uint64_t bytes, struct gmem *gmem,
		 gpa_t to);
/* of the command line, terminated. The caller wipes it. */
void vm_cmdline_read(const struct vm_config *config, char out[VM_CMDLINE_MAX]);

#endif
