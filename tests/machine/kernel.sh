#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kernel.sh NAME DIR: leaves a stock Debian kernel in DIR/vmlinuz. bookworm-cloud also brings the
# modules that the file "modules" names, in DIR/modules.
set -eu
here=$(dirname "$0")
modules=
file='vmlinuz-*'
case $1 in
bookworm-cloud)
	suite=own package=linux-image-cloud-amd64
	modules=$(sed '/^#/d; s|.*|*/&.ko|' "$here/modules") ;;
bookworm-generic) suite=own package=linux-image-amd64 ;;
trixie-cloud) suite=trixie package=linux-image-cloud-amd64 ;;
memtest) suite=own package=memtest86+ file='memtest86+x64.bin' ;;
*)
	echo "set-up: no kernel is called $1" >&2
	exit 1 ;;
esac
set -f # the patterns are tar's
# shellcheck disable=SC2086 # one pattern per word
sh "$here/fetch.sh" deb $suite $package "$2" "./boot/$file" $modules
set +f
# shellcheck disable=SC2086 # a pattern
mv "$2"/boot/$file "$2/vmlinuz"
if [ -n "$modules" ]; then
	mkdir "$2/modules"
	find "$2/lib" -name '*.ko' -exec mv {} "$2/modules/" \;
fi
rm -rf "$2/boot" "$2/lib" "$2/usr"
