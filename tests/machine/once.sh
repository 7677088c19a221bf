#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# once.sh LOCK TARGET [PREREQUISITE...] -- COMMAND...
# Runs COMMAND under LOCK, then marks TARGET as done; two makes at once do the work once. Does
# nothing when TARGET is there and newer than its prerequisites by the time the lock is held.
set -eu
lock=$1
target=$2
shift 2
mkdir -p "$(dirname "$lock")"
exec 9> "$lock"
flock 9
fresh=no
[ ! -e "$target" ] || fresh=yes
while [ "$1" != -- ]; do
	if [ "$1" -nt "$target" ]; then
		fresh=no
	fi
	shift
done
shift
[ $fresh = no ] || exit 0
"$@" 9>&- || exit 1
mkdir -p "$(dirname "$target")"
touch "$target"
