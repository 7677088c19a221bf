#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh KERNEL_DIR DIR: the nested machine's outer Linux: DIR/vmlinuz and DIR/initrd.img, an
# initramfs with KVM, this system's QEMU and swtpm with the libraries they need, and OVMF.
set -eu
nested=$(cd "$(dirname "$0")" && pwd)
. "$nested/root.sh"
make_root "$1" "$nested/../init/nested"
cp /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_VARS_4M.fd "$root/firmware/"
add_rom kvmvapic.bin
add_program "$(command -v swtpm)"
pack_root "$2/initrd.img"
cp "$1/vmlinuz" "$2/vmlinuz"
