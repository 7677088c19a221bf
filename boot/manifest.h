/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest of a signed stick: the SHA-256 of each file that Umbra reads from it. Pure C without
 * firmware. The text, which README.md describes:
 *
 *	umbra-manifest 1
 *	version 7
 *	sha256 <64 hexadecimal digits> \umbra\umbra.conf
 *
 * Its signature is a file of its own, of VERIFY_SIGNATURE_BYTES.
 */
#ifndef UMBRA_BOOT_MANIFEST_H
#define UMBRA_BOOT_MANIFEST_H

#include "crypto/verify.h"
#include "vmm/base/types.h"

#define MANIFEST_MAX (256u << 10) /* bytes of its text */

struct manifest {
	const char *text; /* the caller's; NULL: manifest_open has refused it */
	size_t bytes;
	uint32_t version;
};

/*
 * Checks the signature first and then every line, and fills in *out, which uses the text from then
 * on. Returns NULL, or what is wrong, as words that can follow "the manifest: "; then out->text is
 * NULL.
 */
const char *manifest_open(const uint8_t key[VERIFY_POINT_BYTES], const char *text, size_t bytes,
			  const uint8_t *signature, size_t signature_bytes, struct manifest *out);

/*
 * Compares a file with its line. The path has path_bytes bytes; case does not matter, as on FAT.
 * Returns NULL if the file is as it was signed, or why not, as words that can follow a path.
 */
const char *manifest_check(const struct manifest *manifest, const char *path, size_t path_bytes,
			   const void *data, size_t bytes);

#endif
