#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Everything the build takes from Debian goes through this script. DL names the folder that keeps
# downloads; what it holds is used again and not asked for a second time.
#
#   fetch.sh packages FILE              install those packages of FILE that are missing
#   fetch.sh source PACKAGE DIR         unpack the upstream tarball of a source package of Debian 13
#                                       into DIR; Debian's own changes are left out
#   fetch.sh deb SUITE PACKAGE DIR [PATTERN...]
#                                       unpack the files of a binary package that match (default:
#                                       all) into DIR. SUITE is "own" (what this system uses) or
#                                       "trixie". A package that only depends on the wanted one
#                                       (linux-image-amd64) stands for it.
#   fetch.sh versions FILE              print names and versions of all that was fetched or, being
#                                       named in FILE, installed
#
# DIR is replaced as a whole and last, so a DIR that exists is complete. Packages of Debian 13 come
# from the address that this system itself uses for Debian, through a package list of our own
# under DL, verified with the keys of debian-archive-keyring.
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

UPDATE='update -o DPkg::Lock::Timeout=600 -o Acquire::Retries=2 -o APT::Update::Error-Mode=any'
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

die() {
	echo "set-up: $*" >&2
	exit 1
}

# The same, after a command that was run quietly.
die_logged() {
	die "$* (its output: $DL/log)"
}

# Runs a command and keeps what it says in DL/log, so that the user reads one sentence from us.
quietly() {
	"$@" > "$DL/log" 2>&1
}

own_lists() {
	apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' 'Origin: Debian'
}

# The address that this system uses for its Debian release, not for updates or security.
own_site() {
	own_lists | awk '$2 !~ /-/ { print $1; exit }'
}

refresh_own_lists() {
	[ "$(id -u)" = 0 ] || return 1
	# shellcheck disable=SC2086 # several words
	quietly apt-get $UPDATE
}

cmd_packages() {
	missing=
	for package in $(grep -v '^#' "$1"); do
		status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || :)
		[ "$status" = installed ] || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] || die "these packages are missing and only root can install" \
		"them: apt-get install$missing"
	echo "set-up: installing$missing"
	refresh_own_lists || :
	# shellcheck disable=SC2086 # one word per package
	quietly apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=2 install -y \
		--no-install-recommends $missing ||
		die_logged "apt-get could not install:$missing (no network, or no such package?)"
}

# apt_for SUITE COMMAND ARG...: runs an apt command on the package lists of SUITE.
apt_for() {
	suite=$1
	command=$2
	shift 2
	if [ "$suite" = own ]; then
		"$command" "$@"
		return
	fi
	"$command" -o Dir::Etc::sourcelist="$DL/$suite/sources.list" \
		-o Dir::Etc::sourceparts=- -o Dir::State::Lists="$DL/$suite/lists" \
		-o APT::Sandbox::User=root "$@"
}

# Makes sure that the package lists of SUITE are there; "again" as second word renews them.
need_lists() {
	if [ "$1" = own ]; then
		if [ -z "$(own_lists)" ] || [ "${2:-}" = again ]; then
			refresh_own_lists || die_logged "the package lists of this system are" \
				"missing or old: run apt-get update as root, with a network"
		fi
		return
	fi
	[ ! -e "$DL/$1/lists/.complete" ] || [ "${2:-}" = again ] || return 0
	need_lists own
	[ -r "$KEYRING" ] || die "$KEYRING is missing (package debian-archive-keyring)"
	site=$(own_site)
	[ -n "$site" ] || die "this system's apt configuration names no Debian archive"
	mkdir -p "$DL/$1/lists/partial"
	for kind in deb deb-src; do
		echo "$kind [signed-by=$KEYRING] $site $1 main"
	done > "$DL/$1/sources.list"
	# shellcheck disable=SC2086 # several words
	quietly apt_for "$1" apt-get $UPDATE ||
		die_logged "the package lists of Debian's $1 could not be fetched (no network?)"
	touch "$DL/$1/lists/.complete"
}

# download SUITE WHAT COMMAND...: runs COMMAND in the folder of SUITE; if it fails, once more with
# fresh lists, because an archive drops old versions.
download() {
	from=$1
	what=$2
	shift 2
	mkdir -p "$DL/$from"
	need_lists "$from"
	(cd "$DL/$from" && quietly apt_for "$from" "$@") && return 0
	need_lists "$from" again
	(cd "$DL/$from" && quietly apt_for "$from" "$@") ||
		die_logged "$what could not be downloaded from Debian ($from suite; no network?)"
}

# The file that matches, or nothing. Of several, the newest.
newest() {
	# shellcheck disable=SC2012 # names are those of Debian packages
	ls -t "$@" 2>/dev/null | head -n 1
}

cmd_source() {
	tarball=$(newest "$DL/trixie/$1"_*.orig.tar.*)
	if [ -z "$tarball" ]; then
		echo "set-up: fetching the source of $1"
		download trixie "the source of $1" apt-get source --tar-only "$1/trixie"
		tarball=$(newest "$DL/trixie/$1"_*.orig.tar.*)
		[ -n "$tarball" ] || die "the source package $1 has no upstream tarball"
	fi
	rm -rf "$2" "$2.part"
	mkdir -p "$2.part"
	tar -C "$2.part" --strip-components=1 -xf "$tarball" ||
		die "$tarball is damaged: remove it and start again"
	mv "$2.part" "$2"
}

# Prints the package that SUITE's package NAME stands for: a kernel's meta package depends on it.
real_name() {
	case $2 in
	linux-image-amd64 | linux-image-cloud-amd64)
		apt_for "$1" apt-cache --no-all-versions show "$2" |
			sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n 1 ;;
	*) echo "$2" ;;
	esac
}

cmd_deb() {
	suite=$1
	package=$2
	dir=$3
	shift 3
	note=$DL/$suite/$package.name
	if [ ! -s "$note" ] || [ -z "$(newest "$DL/$suite/$(cat "$note")"_*.deb)" ]; then
		echo "set-up: fetching $package ($suite)"
		mkdir -p "$DL/$suite"
		need_lists "$suite"
		real=$(real_name "$suite" "$package")
		[ -n "$real" ] || die "Debian's $suite suite has no package $package"
		download "$suite" "$real" apt-get download "$real"
		echo "$real" > "$note"
	fi
	deb=$(newest "$DL/$suite/$(cat "$note")"_*.deb)
	[ -n "$deb" ] || die "the download of $package left no .deb file"
	rm -rf "$dir" "$dir.part"
	mkdir -p "$dir.part"
	dpkg-deb --fsys-tarfile "$deb" | tar -C "$dir.part" -x --wildcards "$@" ||
		die "$deb is damaged: remove it and start again"
	mv "$dir.part" "$dir"
}

cmd_versions() {
	echo 'fetched:'
	for file in "$DL"/*/*.deb "$DL"/*/*.orig.tar.*; do
		case $file in
		*.asc | *'*'*) ;;
		*) printf '  %s\n' "${file#"$DL"/}" ;;
		esac
	done
	echo 'installed:'
	# shellcheck disable=SC2046 # one word per package
	dpkg-query -W -f='  ${Package} ${Version}\n' $(grep -v '^#' "$1") 2> /dev/null || :
}

[ $# -ge 2 ] || die "usage: fetch.sh packages|source|deb|versions ..."
: "${DL:=build/dl}"
mkdir -p "$DL"
DL=$(cd "$DL" && pwd)
command=$1
shift
case $command in
packages) cmd_packages "$@" ;;
source) cmd_source "$@" ;;
deb) cmd_deb "$@" ;;
versions) cmd_versions "$@" ;;
*) die "unknown command $command" ;;
esac
