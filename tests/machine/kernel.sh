#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kernel.sh NAME DIR: leaves a stock Debian kernel in DIR/vmlinuz, and modules in DIR/modules: of
# bookworm-cloud those that the file "modules" names, of the others what a guest with a disk needs.
set -eu
here=$(dirname "$0")
modules=
file='vmlinuz-*'
case $1 in
bookworm-cloud)
	suite=own package=linux-image-cloud-amd64
	modules=$(sed '/^#/d' "$here/modules") ;;
bookworm-generic)
	suite=own package=linux-image-amd64
	modules='virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci
		virtio-rng virtio_blk virtio_console crc16 crc32c_generic mbcache jbd2 ext4' ;;
trixie-cloud)
	suite=trixie package=linux-image-cloud-amd64
	modules='virtio-rng virtio_blk' ;;
trixie-generic)
	suite=trixie package=linux-image-amd64
	modules='virtio-rng virtio_blk crc16 crc32c_generic mbcache jbd2 ext4' ;;
memtest) suite=own package=memtest86+ file='memtest86+x64.bin' ;;
*)
	echo "set-up: no kernel is called $1" >&2
	exit 1 ;;
esac
set -f # the patterns are tar's
patterns=
for module in $modules; do
	patterns="$patterns */kernel/*/$module.ko*"
done
# shellcheck disable=SC2086 # one pattern per word
sh "$here/fetch.sh" deb $suite $package "$2" "./boot/$file" $patterns
set +f
# shellcheck disable=SC2086 # a pattern
mv "$2"/boot/$file "$2/vmlinuz"
if [ -n "$modules" ]; then
	mkdir "$2/modules"
	find "$2" -path '*/kernel/*.ko*' -exec mv {} "$2/modules/" \;
	# Newer kernels have them compressed, which the insmod of busybox does not read.
	find "$2/modules" -name '*.ko.xz' -exec xz -d {} +
fi
rm -rf "$2/boot" "$2/lib" "$2/usr"
