#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kvm.sh KERNEL_DIR GUEST_INITRD DISK CMDLINE FILE: the initramfs of the Linux in which the bench of
# devices runs KVM: this system's QEMU with the libraries it needs, and the guests' files.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
nested=$here/../machine/nested
. "$nested/root.sh"
make_root "$1" "$here/init_kvm"
add_rom bios-256k.bin linuxboot_dma.bin kvmvapic.bin
cp "$1/vmlinuz" "$root/vmlinuz"
cp "$2" "$root/guest.img"
cp "$3" "$root/disk.img"
echo "$4" > "$root/cmdline"
pack_root "$5"
