/* SPDX-License-Identifier: Apache-2.0 */
/* The files that the key `key` of umbra.conf names, as bytes. Pure C. They are not trusted. */
#ifndef UMBRA_BOOT_KEY_FILE_H
#define UMBRA_BOOT_KEY_FILE_H

#include "guest/vm_config.h"

/*
 * Takes the bytes of a key file into key->secret. They must be a key: VM_KEY_FILE_MIN or
 * VM_KEY_FILE_MAX bytes, and not one byte repeated. Returns NULL, or what is wrong.
 */
const char *key_file_take_raw(const uint8_t *data, size_t bytes, struct vm_key_source *key);

#define KEY_FILE_PASSPHRASE_MAX 512 /* bytes */
/*
 * Takes a passphrase file, which boot/passphrase.py makes, into key->passphrase, and locks the key.
 * The file is four lines of text. Returns NULL, or what is wrong.
 */
const char *key_file_take_passphrase(const char *text, size_t bytes, struct vm_key_source *key);

#endif
