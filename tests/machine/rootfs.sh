#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# rootfs.sh DIR: a small system of the Debian release that this machine runs, made from Debian's
# packages alone: systemd, a stock kernel, a login as root without a password. Leaves in DIR
#   root.img       the file system: ext4, to be a disk
#   vmlinuz        the kernel, taken from it
#   initrd.img     its initrd, likewise
#   initramfs.img  the same tree as an initramfs; only /boot is not in it
#   packages       names and versions of what is in it
# Any user may run it; nothing is mounted. Downloads stay in DL/rootfs.
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
export SOURCE_DATE_EPOCH=946684800 E2FSPROGS_FAKE_TIME=946684800

# What a system is made of that boots from a disk; nothing else is asked for.
PACKAGES='systemd-sysv libpam-systemd dbus udev kmod login iproute2 e2fsprogs procps less nano
	linux-image-cloud-amd64 initramfs-tools zstd'

here=$(cd "$(dirname "$0")" && pwd)
dir=$1
: "${DL:=build/dl}"
mkdir -p "$DL/rootfs"
DL=$(cd "$DL" && pwd)
cache=$DL/rootfs

die() {
	echo "set-up: $*" >&2
	exit 1
}

# The second half, under fakeroot: TAR and DIR. Files have the owners that the tarball says.
if [ "${2:-}" = unpack ]; then
	tree=$dir/tree
	mkdir "$tree"
	tar -C "$tree" -xf "$dir/root.tar"
	rm "$dir/root.tar"
	cp "$tree"/boot/vmlinuz-* "$dir/vmlinuz"
	cp "$tree"/boot/initrd.img-* "$dir/initrd.img"
	# An eighth of it is free, and room for the journal.
	truncate -s $(($(du -sm "$tree" | cut -f 1) * 9 / 8 + 32))M "$dir/root.img"
	mke2fs -q -F -t ext4 -b 4096 -m 0 -L root -U 6a4c8a2e-0f0e-4b52-9a0b-0d9f5b7a1c13 \
		-E hash_seed=6a4c8a2e-0f0e-4b52-9a0b-0d9f5b7a1c14,lazy_itable_init=0 \
		-d "$tree" "$dir/root.img"
	rm -r "$tree"/boot/*
	(cd "$tree" && find . | sort | cpio -o -H newc --quiet --reproducible) |
		zstd -q -10 -T0 -o "$dir/initramfs.img"
	rm -r "$tree"
	exit 0
fi

echo "set-up: making a Debian root file system (some minutes)"
DL=$DL sh "$here/fetch.sh" sources "$cache/sources.list"
release=$(sed -n '1s/.* \([^ ]*\) main$/\1/p' "$cache/sources.list")
rm -rf "$dir" "$dir.part"
mkdir -p "$dir.part"
# shellcheck disable=SC2016,SC2086 # $1 is the tree, for the hooks; one word per package
mmdebstrap --variant=minbase --format=tar --include="$(echo $PACKAGES | tr ' ' ,)" \
	--aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
	--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --skip=essential/unlink \
	--setup-hook='mkdir -p "$1/var/cache/apt/archives"' \
	--setup-hook="sync-in '$cache' /var/cache/apt/archives" \
	--customize-hook="sync-out /var/cache/apt/archives '$cache'" \
	--customize-hook='chroot "$1" passwd --quiet --delete root' \
	--customize-hook='echo debian > "$1/etc/hostname"' \
	--customize-hook='printf "127.0.0.1 localhost\n127.0.1.1 debian\n" > "$1/etc/hosts"' \
	--customize-hook='rm -f "$1/etc/resolv.conf"' \
	--customize-hook=': > "$1/etc/machine-id"' \
	"$release" "$dir.part/root.tar" "$cache/sources.list" > "$DL/log" 2>&1 ||
	die "the root file system could not be made (no network? its output: $DL/log)"
tar -xOf "$dir.part/root.tar" ./var/lib/dpkg/status |
	sed -n 's/^Package: //p; s/^Version: /  /p' | paste -d '' - - > "$dir.part/packages"
DL=$DL fakeroot sh "$here/rootfs.sh" "$dir.part" unpack || die "root.img could not be made"
mv "$dir.part" "$dir"
