#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh KERNEL_DIR DIR: the nested machine's outer Linux: DIR/vmlinuz and DIR/initrd.img, an
# initramfs with KVM, this system's QEMU with the libraries it needs, and OVMF.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kernel=$1
dir=$2
qemu=$(command -v qemu-system-x86_64) || {
	echo "set-up: qemu-system-x86_64 is missing (package qemu-system-x86)" >&2
	exit 1
}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/usr/bin" \
	"$root/firmware" "$root/modules"
cp /bin/busybox "$root/bin/busybox"
cp "$here/../init/nested" "$root/init"
chmod 755 "$root" "$root/init"
gcc -O2 -static -o "$root/bin/machine-off" "$here/off.c"
cp "$kernel"/modules/*.ko "$root/modules/"
cp "$qemu" "$root/usr/bin/"
ldd "$qemu" | grep -o '/[^ ]*' | while read -r library; do
	mkdir -p "$root$(dirname "$library")"
	cp -L "$library" "$root$library"
done
cp /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_VARS_4M.fd "$root/firmware/"
cp -L /usr/share/seabios/kvmvapic.bin "$root/firmware/" 2>/dev/null ||
	cp -L /usr/share/qemu/kvmvapic.bin "$root/firmware/"
find "$root" -exec touch -h -d '2000-01-01 UTC' {} +
mkdir -p "$dir"
# Not compressed: unpacking costs more in the emulator than reading.
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R 0:0) \
	> "$dir/initrd.img"
cp "$kernel/vmlinuz" "$dir/vmlinuz"
