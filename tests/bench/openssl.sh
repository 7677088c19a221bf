#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# openssl.sh DIR: builds libcrypto of OpenSSL 3.5 with its assembly code and little more than AES.
# Leaves DIR/libcrypto.a and DIR/include. Only `make bench` needs it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$1
work=$1.build

die() {
	echo "set-up: $*" >&2
	exit 1
}

without() {
	for part in "$@"; do
		printf 'no-%s ' "$part"
	done
}

sh "$here/../machine/fetch.sh" source openssl "$work"
cd "$work"
grep -qx 'MAJOR=3' VERSION.dat && grep -qx 'MINOR=5' VERSION.dat ||
	die "Debian's OpenSSL is no longer 3.5: tests/bench compares with that one"

echo "set-up: building OpenSSL's libcrypto (a minute or two)"
# Nothing of the make that called us: its flags and variables are not OpenSSL's.
clean() {
	env -i PATH="$PATH" LC_ALL=C "$@"
}
# shellcheck disable=SC2046 # one word per option
clean ./Configure linux-x86_64 -fPIC -O2 $(without shared docs tests apps module engine legacy dso \
	async autoload-config cms cmp ts ct ocsp sock http srp psk ssl tls dtls quic comp \
	ec dh dsa ml-kem ml-dsa slh-dsa aria bf camellia cast des idea md4 mdc2 rc2 rc4 rmd160 \
	seed siphash sm2 sm3 sm4 whirlpool blake2 argon2 scrypt chacha poly1305 ocb siv cmac gost) \
	> configure.log 2>&1 || die "OpenSSL's Configure failed: see $work/configure.log"
{ clean make build_generated && clean make -j"$(nproc)" libcrypto.a; } > make.log 2>&1 ||
	die "OpenSSL did not build: see $work/make.log"
cd - > /dev/null
rm -rf "$dir.part"
mkdir "$dir.part"
cp -r "$work/libcrypto.a" "$work/include" "$work/LICENSE.txt" "$dir.part/"
rm -rf "$dir"
mv "$dir.part" "$dir"
rm -rf "$work"
