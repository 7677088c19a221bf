/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM gets from the stick: kernel, initrd, disks, command line. They are needed again when
 * the VM is reset. If they stayed in clear, they would show data that is encrypted in the VM's
 * memory. So they are kept in place as AES-256-XTS ciphertext, under a random key for this run.
 * With tags, a change of the ciphertext is noticed; a command line has no tag. Only the boot
 * processor seals; any CPU reads and copies, one page at a time, and waits for no other CPU.
 */
#ifndef UMBRA_GUEST_VM_FILE_H
#define UMBRA_GUEST_VM_FILE_H

#include "ept/gmem.h"
#include "guest/vm_config.h"

/*
 * Makes the random key, and with_tags the key of tags. Boot processor, once. buffers: zeroed pages
 * that stay for good, one for each CPU by its index. A CPU decrypts what it reads in its page and
 * zeroes the page after that; all are zeroed with the other secrets at the end of the machine.
 * Returns an error of rng_bytes, or ERR_NOMEM if no more memory with secrets can be registered for
 * wiping; then nothing can be sealed and the caller has the buffers back.
 */
int vm_file_start(uint8_t (*buffers)[PAGE_SIZE], uint32_t cpus, bool with_tags);

/*
 * Encrypts the file's pages in place, including the rest of the last page. They must be mapped
 * writable now. Any other struct vm_file with the same data must get the same seal and tags.
 * number: from 1, another for each call. Returns ERR_NOMEM if there was no memory for tags: then
 * the file is sealed without.
 */
int vm_file_seal(struct vm_file *file, uint32_t number);
/* Encrypts the command line. number: as for vm_file_seal. */
void vm_cmdline_seal(struct vm_config *config, uint32_t number);

/*
 * Copies the plaintext of the file's page number index to out, whether sealed or not. The last page
 * of an unsealed file is copied only to the file's end. Returns ERR_TAMPERED, with zeros in out, if
 * the page's tag is another one. Any CPU.
 */
int vm_file_page(const struct vm_file *file, uint64_t index, void *out);

/*
 * Copies the plaintext of a part of the file to buf. Returns ERR_TAMPERED as vm_file_page does. Any
 * CPU.
 */
int vm_file_read(const struct vm_file *file, uint64_t offset, void *buf, size_t bytes);
/*
 * Copies the plaintext of a part of the file to guest memory, page by page. Returns an error of
 * gmem_write, or ERR_TAMPERED. Any CPU.
 */
int vm_file_copy(const struct vm_file *file, uint64_t offset, uint64_t bytes, struct gmem *gmem,
		 gpa_t to);
/* Copies the plaintext of the command line, terminated. The caller wipes it. Any CPU. */
void vm_cmdline_read(const struct vm_config *config, char out[VM_CMDLINE_MAX]);

#endif
