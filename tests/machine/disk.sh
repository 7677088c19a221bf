#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# disk.sh FILE: an ext4 file system of 24 MiB with 8 MiB of files and their checksums.
set -eu
file=$1
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$(dirname "$file")" "$root/files"
chmod 755 "$root" "$root/files"
for n in 1 2 3 4; do
	openssl enc -aes-128-ctr -nosalt -pass "pass:$n" -pbkdf2 < /dev/zero 2> /dev/null |
		head -c 2097152 > "$root/files/$n"
done
(cd "$root" && sha256sum files/* > sums)
find "$root" -exec touch -h -d '2000-01-01 UTC' {} +
truncate -s 24M "$file.part"
E2FSPROGS_FAKE_TIME=946684800 mke2fs -q -F -t ext4 -b 4096 -I 256 -m 0 \
	-U 6a4c8a2e-0f0e-4b52-9a0b-0d9f5b7a1c11 \
	-E hash_seed=6a4c8a2e-0f0e-4b52-9a0b-0d9f5b7a1c12,lazy_itable_init=0,root_owner=0:0 \
	-d "$root" "$file.part"
mv "$file.part" "$file"
