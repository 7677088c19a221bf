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
#   fetch.sh sources FILE               write a sources.list of the Debian release that this system
#                                       uses, with its updates and security; the release is first
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

# The suites that are asked, in this order, for what the archive has dropped from one.
next_suites() {
	case $1 in
	trixie) echo trixie-updates testing sid ;;
	*) echo testing sid ;;
	esac
}

# range SUITE PACKAGE: the least version and the first one that no longer fits what is built with it
# or tested by it. Nothing: no other suite is asked.
range() {
	case $1:$2 in
	*:bochs) echo '3.0 3.1~' ;;
	*:mbedtls) echo '3.6 3.7~' ;;
	*:zydis) echo '4.1 4.2~' ;;
	*:zycore-c) echo '1.5 1.6~' ;;
	*:openssl) echo '3.5 3.6~' ;;
	*:memtest86+) echo '6.10 8~' ;;
	trixie:linux-image-*) echo '6.12 6.13~' ;;
	esac
}

# fits VERSION LEAST BELOW: the version without its epoch.
fits() {
	bare=${1#*:}
	dpkg --compare-versions "$bare" ge "$2" && dpkg --compare-versions "$bare" lt "$3"
}

# fitting SUITE PACKAGE WORD LEAST BELOW: the highest version within the range of those that WORD
# (showsrc or show) prints, or nothing. A suite may list several sources of one package.
fitting() {
	best=
	for version in $(apt_for "$1" apt-cache "$3" "$2" 2>/dev/null |
		sed -n 's/^Version: //p'); do
		if fits "$version" "$4" "$5" && { [ -z "$best" ] ||
			dpkg --compare-versions "$version" gt "$best"; }; then
			best=$version
		fi
	done
	echo "$best"
}

# get_WORD SUITE PACKAGE [VERSION], into the folder of SUITE: the tarball of a source package; or a
# package, with its real name.
get_showsrc() {
	wanted=$2/$1
	[ -z "${3:-}" ] || wanted=$2=$3
	(cd "$DL/$1" && quietly apt_for "$1" apt-get source --tar-only "$wanted")
}

get_show() {
	real=$(real_name "$1" "$2")
	[ -n "$real" ] || return 1
	[ "$real" != "$2" ] || real=$2${3:+=$3}
	(cd "$DL/$1" && quietly apt_for "$1" apt-get download "$real") || return 1
	echo "${real%%=*}" > "$DL/$1/$2.name"
}

# elsewhere SUITE PACKAGE WORD: the same from the next suite that has a version within the range,
# into the folder of SUITE.
elsewhere() {
	bounds=$(range "$1" "$2")
	[ -n "$bounds" ] || return 1
	for other in $(next_suites "$1"); do
		(need_lists "$other") 2>/dev/null || continue
		# shellcheck disable=SC2086 # two words
		found=$(fitting "$other" "$2" "$3" $bounds)
		if [ -z "$found" ]; then
			echo "set-up: $other has no $2 from ${bounds% *} to below ${bounds#* }"
			continue
		fi
		mkdir -p "$DL/$other"
		if "get_$3" "$other" "$2" "$found"; then
			find "$DL/$other" -maxdepth 1 -type f \( -name '*.orig.tar.*' -o \
				-name '*.deb' -o -name "$2.name" \) -exec mv {} "$DL/$1/" \;
			echo "set-up: $2 $found comes from $other, for $1 has dropped its own"
			return 0
		fi
		echo "set-up: $other names $2 $found, and the archive does not have it"
	done
	return 1
}

# download SUITE PACKAGE WORD WHAT: as get_WORD; if it fails, once more with fresh lists, because an
# archive drops old versions, and then from the next suites.
download() {
	mkdir -p "$DL/$1"
	need_lists "$1"
	"get_$3" "$1" "$2" && return 0
	need_lists "$1" again
	"get_$3" "$1" "$2" && return 0
	cp "$DL/log" "$DL/log.first"
	elsewhere "$1" "$2" "$3" && return 0
	mv "$DL/log.first" "$DL/log"
	die_logged "$4 could not be downloaded from Debian ($1 suite, nor a version that fits" \
		"from the next; no network?)"
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
		download trixie "$1" showsrc "the source of $1"
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
		download "$suite" "$package" show "$package"
	fi
	deb=$(newest "$DL/$suite/$(cat "$note")"_*.deb)
	[ -n "$deb" ] || die "the download of $package left no .deb file"
	rm -rf "$dir" "$dir.part"
	mkdir -p "$dir.part"
	dpkg-deb --fsys-tarfile "$deb" | tar -C "$dir.part" -x --wildcards "$@" ||
		die "$deb is damaged: remove it and start again"
	mv "$dir.part" "$dir"
}

cmd_sources() {
	need_lists own
	[ -r "$KEYRING" ] || die "$KEYRING is missing (package debian-archive-keyring)"
	apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' \
		'Created-By: Packages' 'Origin: Debian' 'Component: main' |
		sed "s|.*|deb [signed-by=$KEYRING] &|" |
		awk '{ print ($4 ~ /-/) + 0, $0 }' | sort -u | cut -d ' ' -f 2- > "$1"
	[ -s "$1" ] || die "this system's apt configuration names no Debian archive"
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

[ $# -ge 2 ] || die "usage: fetch.sh packages|source|deb|sources|versions ..."
: "${DL:=build/dl}"
mkdir -p "$DL"
DL=$(cd "$DL" && pwd)
command=$1
shift
case $command in
packages) cmd_packages "$@" ;;
source) cmd_source "$@" ;;
deb) cmd_deb "$@" ;;
sources) cmd_sources "$@" ;;
versions) cmd_versions "$@" ;;
*) die "unknown command $command" ;;
esac
