#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.sh DIR [FLAG...]: builds Bochs 3.0 with the project's additions, and with the compiler's
# FLAGs; DIR/bochs is the program. An older DIR stays in use until the new one is complete.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$1
work=$1.build
shift
flags="-O2 $*"

die() {
	echo "set-up: $*" >&2
	exit 1
}

sh "$here/../fetch.sh" source bochs "$work"
cd "$work"
patch -s -p1 < "$here/bochs.patch" || die "bochs.patch does not fit this version of Bochs"
mkdir instrument/umbra
cp "$here/instrument.h" "$here/machine_tme.cc" "$here/machine_tpm.cc" \
	"$here/machine_unlike.cc" "$here/../tme/tme.h" instrument/umbra/
cp "$here/machine.cc" instrument/umbra/instrument.cc
objects="instrument.o machine_tme.o machine_tpm.o machine_unlike.o"
for part in xts config regs memory strict; do
	cp "$here/../tme/$part.cc" "instrument/umbra/tme_$part.cc"
	objects="$objects tme_$part.o"
done
sed "s/^  instrument.o/  $objects/" instrument/stubs/Makefile.in > instrument/umbra/Makefile.in

echo "set-up: building Bochs (a minute or two)"
# Nothing of the make that called us: its flags and variables are not Bochs'.
clean() {
	env -i PATH="$PATH" LC_ALL=C "$@"
}
clean ./configure CFLAGS=-O2 CXXFLAGS="$flags" LIBS=-lcrypto \
	--enable-cpu-level=6 --enable-x86-64 --enable-vmx=2 --enable-smp --enable-avx \
	--enable-evex --enable-pci --enable-all-optimizations --enable-e1000 --enable-usb \
	--enable-usb-xhci --enable-large-ramfile \
	--enable-instrumentation=instrument/umbra --disable-show-ips --disable-docbook \
	--with-nogui > configure.log 2>&1 || die "Bochs' configure failed: see $work/configure.log"
clean make -j"$(nproc)" > make.log 2>&1 || die "Bochs did not build: see $work/make.log"
cd - > /dev/null
rm -rf "$dir.part"
mkdir "$dir.part"
cp "$work/bochs" "$work/COPYING" "$dir.part/"
rm -rf "$dir"
mv "$dir.part" "$dir"
rm -rf "$work"
