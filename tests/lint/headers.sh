#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# headers.sh COMPILER FLAG...: does each header of the product compile with nothing before it?
# EFI_FLAGS are added for boot/efi_*.
set -u
bad=0
count=0
for header in $(find crypto ept vmm guest boot -name '*.h' | sort); do
	# Configuration headers that only their own library includes.
	case $header in
	*/mbedtls_config.h) continue ;;
	boot/efi_*) more=${EFI_FLAGS:-} ;;
	*) more= ;;
	esac
	count=$((count + 1))
	# shellcheck disable=SC2086 # several flags
	echo "#include \"$header\"" | "$@" $more -fsyntax-only -x c - || {
		echo "$header does not compile alone"
		bad=$((bad + 1))
	}
done
[ $bad = 0 ] && echo "headers: $count compile alone"
