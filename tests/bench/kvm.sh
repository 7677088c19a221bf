#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kvm.sh KERNEL_DIR GUEST_INITRD DISK CMDLINE FILE: the initramfs of the Linux in which the bench of
# devices runs KVM: this system's QEMU with the libraries it needs, and the guests' files.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kernel=$1
guest=$2
disk=$3
cmdline=$4
file=$5
qemu=$(command -v qemu-system-x86_64)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/usr/bin" \
	"$root/firmware" "$root/modules"
cp /bin/busybox "$root/bin/busybox"
cp "$here/init_kvm" "$root/init"
chmod 755 "$root" "$root/init"
gcc -O2 -static -o "$root/bin/machine-off" "$here/../machine/nested/off.c"
cp "$kernel"/modules/*.ko "$root/modules/"
cp "$qemu" "$root/usr/bin/"
ldd "$qemu" | grep -o '/[^ ]*' | while read -r library; do
	mkdir -p "$root$(dirname "$library")"
	cp -L "$library" "$root$library"
done
cp /usr/share/seabios/bios-256k.bin "$root/firmware/"
for rom in linuxboot_dma.bin kvmvapic.bin; do
	cp -L "/usr/share/seabios/$rom" "$root/firmware/" 2> /dev/null ||
		cp -L "/usr/share/qemu/$rom" "$root/firmware/"
done
cp "$kernel/vmlinuz" "$root/vmlinuz"
cp "$guest" "$root/guest.img"
cp "$disk" "$root/disk.img"
echo "$cmdline" > "$root/cmdline"
find "$root" -exec touch -h -d '2000-01-01 UTC' {} +
mkdir -p "$(dirname "$file")"
# Not compressed: unpacking costs more in the emulator than reading.
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R 0:0) \
	> "$file.part"
mv "$file.part" "$file"
