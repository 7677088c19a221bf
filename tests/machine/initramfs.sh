#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# initramfs.sh INIT FILE [MODULE...]: an initramfs of busybox, the script INIT as /init, and kernel
# modules in /modules.
set -eu
init=$1
file=$2
shift 2
busybox=/bin/busybox

if ! [ -x $busybox ]; then
	echo "set-up: $busybox is missing (package busybox-static)" >&2
	exit 1
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/root" "$root/etc"
cp $busybox "$root/bin/busybox"
cp "$init" "$root/init"
chmod 755 "$root/init"
if [ $# -ne 0 ]; then
	mkdir "$root/modules"
	cp "$@" "$root/modules/"
fi
chmod 755 "$root"
# The same input gives the same file: no owner, date or order of this machine.
find "$root" -exec touch -h -d '2000-01-01 UTC' {} +
mkdir -p "$(dirname "$file")"
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R 0:0) \
	> "$file.part"
gzip -n -9 < "$file.part" > "$file"
rm "$file.part"
