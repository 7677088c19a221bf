#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# headers.sh COMPILER FLAG...: does each header of the product compile with nothing before it?
set -u
bad=0
count=0
for header in $(find crypto ept vmm guest boot -name '*.h' | sort); do
	# Configuration headers that only their own library includes.
	case $header in
	*/mbedtls_config.h) continue ;;
	esac
	count=$((count + 1))
	echo "#include \"$header\"" | "$@" -fsyntax-only -x c - || {
		echo "$header does not compile alone"
		bad=$((bad + 1))
	}
done
[ $bad = 0 ] && echo "headers: $count compile alone"
