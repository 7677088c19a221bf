# SPDX-License-Identifier: Apache-2.0
# Read by scripts that build the initramfs of a Linux that runs KVM. make_root KERNEL_DIR INIT makes
# the folder $root with busybox, the kernel's modules, and this system's QEMU with the libraries it
# needs; add_program PATH adds another program; add_rom NAME... adds files of QEMU's firmware;
# pack_root FILE packs the folder. $nested is the folder of this file.
qemu=$(command -v qemu-system-x86_64) || {
	echo "set-up: qemu-system-x86_64 is missing (package qemu-system-x86)" >&2
	exit 1
}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

make_root() {
	mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/usr/bin" \
		"$root/firmware" "$root/modules"
	cp /bin/busybox "$root/bin/busybox"
	cp "$2" "$root/init"
	chmod 755 "$root" "$root/init"
	gcc -O2 -static -o "$root/bin/machine-off" "$nested/off.c"
	cp "$1"/modules/*.ko "$root/modules/"
	add_program "$qemu"
}

add_program() {
	cp "$1" "$root/usr/bin/"
	ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done
}

add_rom() {
	for rom; do
		cp -L "/usr/share/seabios/$rom" "$root/firmware/" 2> /dev/null ||
			cp -L "/usr/share/qemu/$rom" "$root/firmware/"
	done
}

# Not compressed: unpacking costs more in the emulator than reading.
pack_root() {
	find "$root" -exec touch -h -d '2000-01-01 UTC' {} +
	mkdir -p "$(dirname "$1")"
	(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R 0:0) \
		> "$1.part"
	mv "$1.part" "$1"
}
