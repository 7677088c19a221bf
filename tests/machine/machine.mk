# SPDX-License-Identifier: Apache-2.0
# Rules for what comes from outside, and for the emulated machine. Included by the top Makefile.
# Everything is described in tests/machine/README.md.

BUILD ?= build
O ?= $(BUILD)/out

MACHINE_DIR := tests/machine
THIRD := $(BUILD)/third
ONCE = @DL=$(BUILD)/dl sh $(MACHINE_DIR)/once.sh $(BUILD)/.lock $@ $(filter-out %.sh,$^) --
FETCH_SH := sh $(MACHINE_DIR)/fetch.sh

PACKAGES_DONE := $(THIRD)/.packages
MBEDTLS_DONE := $(THIRD)/mbedtls/.done
ZYCORE_DONE := $(THIRD)/zycore/.done
ZYDIS_DONE := $(THIRD)/zydis/.done
FONT_DONE := $(THIRD)/font/.done

# What the product is built from.
THIRD_PARTY := $(PACKAGES_DONE) $(MBEDTLS_DONE) $(ZYCORE_DONE) $(ZYDIS_DONE) \
	$(FONT_DONE)

.PHONY: packages third
packages: $(PACKAGES_DONE)
third: $(THIRD_PARTY)

$(PACKAGES_DONE): $(MACHINE_DIR)/packages
	$(ONCE) $(FETCH_SH) packages $<

$(MBEDTLS_DONE): | $(PACKAGES_DONE)
	$(ONCE) $(FETCH_SH) source mbedtls $(@D)

$(ZYCORE_DONE): | $(PACKAGES_DONE)
	$(ONCE) $(FETCH_SH) source zycore-c $(@D)

$(ZYDIS_DONE): | $(PACKAGES_DONE)
	$(ONCE) $(FETCH_SH) source zydis $(@D)

# Uni2-Fixed16: the public-domain "fixed" font of X11, 8x16, 512 glyphs, PSF 1.
$(FONT_DONE): $(MACHINE_DIR)/font.sh | $(PACKAGES_DONE)
	$(ONCE) sh $(MACHINE_DIR)/font.sh $(@D)

$(THIRD)/font/font.psf: $(FONT_DONE) ;

# Its firmware: OVMF with fewer drivers, most of them not packed, so that it starts sooner.
FIRMWARE := $(THIRD)/firmware/rom.fd
# SEC takes a volume at a multiple of 4 KiB for its own.
FIRMWARE_AT := 0xffd40010
VOLUME := $(THIRD)/efi/volume.efi
$(FIRMWARE): $(MACHINE_DIR)/firmware.py $(VOLUME) | $(PACKAGES_DONE)
	@$(PYTHON) $< /usr/share/OVMF/OVMF_VARS_4M.fd /usr/share/OVMF/OVMF_CODE_4M.fd $(VOLUME) \
		$(FIRMWARE_AT) $@

# The emulated machine.
BOCHS := $(THIRD)/bochs/bochs
BOCHS_PARTS := $(addprefix $(MACHINE_DIR)/,$(addprefix bochs/,bochs.patch instrument.h machine.cc \
	machine_tme.cc machine_tpm.cc machine_unlike.cc build.sh) \
	$(addprefix tme/,tme.h xts.cc config.cc regs.cc memory.cc strict.cc))

.PHONY: bochs
bochs: $(BOCHS)
$(BOCHS): $(BOCHS_PARTS) | $(PACKAGES_DONE) $(FIRMWARE)
	$(ONCE) sh $(MACHINE_DIR)/bochs/build.sh $(@D)

# Stock kernels and the initramfs of the guests.
KERNELS := bookworm-cloud bookworm-generic trixie-cloud memtest
KERNEL_FILES := $(KERNELS:%=$(THIRD)/kernel/%/vmlinuz)
# For soak alone: one more kernel, and the initramfs of guests with disks for each.
KERNEL_SOAK := $(THIRD)/kernel/trixie-generic/vmlinuz
INITRDS_SOAK := $(patsubst %,$(THIRD)/initramfs/virtio-%.img,bookworm-generic trixie-cloud \
	trixie-generic)
SOAK_NEEDS := $(KERNEL_SOAK) $(INITRDS_SOAK)
INITRD := $(THIRD)/initramfs/initrd.img
INITRD_TEST := $(THIRD)/initramfs/test.img
INITRD_FILL := $(THIRD)/initramfs/fill.img
INITRD_WORK := $(THIRD)/initramfs/work.img
INITRD_SLEEP := $(THIRD)/initramfs/sleep.img
INITRD_PANIC := $(THIRD)/initramfs/panic.img
INITRD_PASTE := $(THIRD)/initramfs/paste.img
INITRD_SHARE := $(THIRD)/initramfs/share.img
INITRD_DOORBELL := $(THIRD)/initramfs/doorbell.img
INITRD_VIRTIO := $(THIRD)/initramfs/virtio.img
INITRD_NET := $(THIRD)/initramfs/net.img

.PHONY: kernels initramfs
kernels: $(KERNEL_FILES)
$(KERNEL_FILES) $(KERNEL_SOAK): $(THIRD)/kernel/%/vmlinuz: $(MACHINE_DIR)/modules | \
		$(PACKAGES_DONE)
	$(ONCE) sh $(MACHINE_DIR)/kernel.sh $* $(@D)

INITRDS := $(INITRD) $(INITRD_TEST) $(INITRD_FILL) $(INITRD_WORK) $(INITRD_SLEEP) \
	$(INITRD_PANIC) $(INITRD_PASTE) $(INITRD_SHARE) $(INITRD_DOORBELL) $(INITRD_VIRTIO) \
	$(INITRD_NET)
initramfs: $(INITRDS)
GUEST_MODULES := $(THIRD)/kernel/bookworm-cloud/modules
$(INITRD_SLEEP): INITRD_MODULES = $(addprefix $(GUEST_MODULES)/,button.ko evdev.ko)
$(INITRD_PANIC): INITRD_MODULES = $(addprefix $(GUEST_MODULES)/,pvpanic.ko pvpanic-mmio.ko)
SHARE_PROGRAM := $(THIRD)/initramfs/share
DOORBELL_PROGRAM := $(THIRD)/initramfs/doorbell
$(SHARE_PROGRAM) $(DOORBELL_PROGRAM): $(THIRD)/initramfs/%: $(MACHINE_DIR)/%.c | $(PACKAGES_DONE)
	@mkdir -p $(@D)
	@gcc -O1 -static -Wall -Wextra -Werror -o $@ $<
$(INITRD_SHARE): INITRD_MODULES = $(SHARE_PROGRAM) $(addprefix $(GUEST_MODULES)/,libnvdimm.ko \
	nd_btt.ko nd_pmem.ko nd_e820.ko dax_pmem.ko device_dax.ko)
$(INITRD_DOORBELL): INITRD_MODULES = $(DOORBELL_PROGRAM) $(addprefix $(GUEST_MODULES)/,uio.ko \
	uio_pci_generic.ko)
$(INITRD_SHARE): | $(SHARE_PROGRAM)
$(INITRD_DOORBELL): | $(DOORBELL_PROGRAM)
# The test of random bytes that Debian has (FIPS 140-2); of this system's libraries it needs libc.
RNGTEST := $(THIRD)/rngtest/usr/bin/rngtest
RNGTEST_NEEDS := /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2
$(RNGTEST): | $(PACKAGES_DONE)
	$(ONCE) $(FETCH_SH) deb own rng-tools5 $(THIRD)/rngtest ./usr/bin/rngtest
$(INITRD_VIRTIO): INITRD_MODULES = $(addprefix $(GUEST_MODULES)/,virtio.ko virtio_ring.ko \
	virtio_pci_legacy_dev.ko virtio_pci_modern_dev.ko virtio_pci.ko virtio-rng.ko \
	virtio_blk.ko virtio_console.ko) /sbin/e2fsck.static $(RNGTEST) $(RNGTEST_NEEDS)
$(INITRD_VIRTIO): | $(RNGTEST)
$(INITRD_NET): INITRD_MODULES = $(addprefix $(GUEST_MODULES)/,virtio.ko virtio_ring.ko \
	virtio_pci_legacy_dev.ko virtio_pci_modern_dev.ko virtio_pci.ko failover.ko \
	net_failover.ko virtio_net.ko)
$(INITRD_SLEEP) $(INITRD_PANIC) $(INITRD_SHARE) $(INITRD_DOORBELL) $(INITRD_VIRTIO) \
		$(INITRD_NET): \
		$(THIRD)/kernel/bookworm-cloud/vmlinuz
$(INITRDS): $(THIRD)/initramfs/%.img: $(MACHINE_DIR)/init/% \
		$(MACHINE_DIR)/initramfs.sh | $(PACKAGES_DONE)
	$(ONCE) sh $(MACHINE_DIR)/initramfs.sh $< $@ $(INITRD_MODULES)

$(INITRDS_SOAK): $(THIRD)/initramfs/virtio-%.img: $(MACHINE_DIR)/init/virtio \
		$(MACHINE_DIR)/initramfs.sh $(THIRD)/kernel/%/vmlinuz | $(PACKAGES_DONE) $(RNGTEST)
	$(ONCE) sh $(MACHINE_DIR)/initramfs.sh $< $@ $(THIRD)/kernel/$*/modules/*.ko \
		/sbin/e2fsck.static $(RNGTEST) $(RNGTEST_NEEDS)

# A file system for guests' disks: files and their checksums. The same each time.
DISK_ROOT := $(THIRD)/disk/root.img
$(DISK_ROOT): $(MACHINE_DIR)/disk.sh | $(PACKAGES_DONE)
	$(ONCE) sh $(MACHINE_DIR)/disk.sh $@

# A whole Debian system, as a disk and as an initramfs. Only when a goal needs it, it is made, and
# the further packages that this takes are installed.
DEBIAN := $(THIRD)/debian/.done
DEBIAN_PACKAGES := $(THIRD)/.packages-debian
$(DEBIAN_PACKAGES): $(MACHINE_DIR)/packages.debian | $(PACKAGES_DONE)
	$(ONCE) $(FETCH_SH) packages $<
$(DEBIAN): $(MACHINE_DIR)/rootfs.sh | $(DEBIAN_PACKAGES)
	$(ONCE) sh $(MACHINE_DIR)/rootfs.sh $(@D)

# EFI programs: one starts a kernel without Umbra, for comparison; one tries the machine itself; one
# makes firmware odd, and then starts Umbra.
CHAIN := $(THIRD)/efi/chain.efi
PROBE := $(THIRD)/efi/probe.efi
ODD := $(THIRD)/efi/odd.efi
$(ODD): tests/bus/marker.h
$(VOLUME): EFI_DEF = -DVOLUME_AT=$(FIRMWARE_AT)
$(VOLUME): EFI_SUBSYSTEM = 11
$(CHAIN) $(PROBE) $(ODD) $(VOLUME): $(THIRD)/efi/%.efi: $(MACHINE_DIR)/%.c | $(PACKAGES_DONE)
	@mkdir -p $(@D)
	@gcc -O2 -Wall $(EFI_DEF) -I. -I/usr/include/efi -I/usr/include/efi/x86_64 -fpic \
		-ffreestanding -fno-stack-protector -fshort-wchar -mno-red-zone \
		-DEFI_FUNCTION_WRAPPER -c $< -o $@.o
	@ld -nostdlib -znocombreloc -T /usr/lib/elf_x86_64_efi.lds -shared -Bsymbolic -L /usr/lib \
		/usr/lib/crt0-efi-x86_64.o $@.o -o $@.so -lefi -lgnuefi
	@objcopy -j .text -j .sdata -j .data -j .rodata -j .dynamic -j .dynsym -j '.rel*' \
		-j .reloc --target efi-app-x86_64 --subsystem=$(or $(EFI_SUBSYSTEM),10) $@.so $@

# The outer Linux of MACHINE=nested.
NESTED := $(THIRD)/nested/.done
NESTED_PARTS := $(addprefix $(MACHINE_DIR)/,nested/build.sh nested/root.sh nested/off.c \
	init/nested)
.PHONY: nested
nested: $(NESTED) $(CHAIN) $(BOCHS)
$(NESTED): $(NESTED_PARTS) $(THIRD)/kernel/bookworm-cloud/vmlinuz | $(PACKAGES_DONE)
	$(ONCE) sh $(MACHINE_DIR)/nested/build.sh $(THIRD)/kernel/bookworm-cloud $(@D)

# make image ESP=DIR IMG=FILE; make boot ESP=DIR [...]: see README.md.
.PHONY: image boot
# Before anything is built.
ifneq ($(filter image,$(MAKECMDGOALS)),)
$(if $(ESP),,$(error image: say which folder to make the image from: ESP=DIR))
$(if $(IMG),,$(error image: say which file to write: IMG=FILE))
endif
# With SIGN=KEY,CERT[,MANIFEST_KEY] the image is made from a signed copy of the folder, and make
# predict computes the PCRs that a folder gives: boot/README.md.
SIGNED := $(O)/signed
SIGN_VERSION ?= 1
STICK := $(O)/stick
image: $(if $(SIGN),$(STICK)) | $(PACKAGES_DONE)
	@$(if $(SIGN),$(PYTHON) boot/sign.py $(STICK) "$$ESP" $(SIGNED) "$$SIGN" $(SIGN_VERSION))
	@python3 $(MACHINE_DIR)/image.py $(if $(SIGN),$(SIGNED),"$$ESP") "$$IMG"

.PHONY: predict passphrase
STATE ?= umbra=$(VERSION) secure-boot=on tme=none iommu=none
predict: $(STICK)
	@$(STICK) predict "$$ESP" '$(STATE)' $(if $(FRESH),fresh)

# The file for `key = tpm:PATH`, for a machine that has written a report: boot/README.md.
.PHONY: seal
seal: $(STICK)
	@$(PYTHON) boot/seal.py $(STICK) "$(ESP)" "$(KEY)" "$(REPORT)" "$(OUT)" \
		$(if $(findstring file,$(origin STATE)),,'$(STATE)')

# The file for `key = passphrase:PATH`.
passphrase:
	@$(if $(FILE),,echo 'passphrase: say which file to write: FILE=PATH'; exit 1;) \
		$(PYTHON) boot/passphrase.py "$(FILE)" $(ITERATIONS)

MACHINE ?= bochs
MACHINE_NEEDS_bochs := $(BOCHS)
MACHINE_NEEDS_nested := $(BOCHS) $(NESTED) $(CHAIN)
export BUILD ESP IMG OUT MACHINE CPUS MEM CPU IPS SEED TIMEOUT TICKS DUMP MARK TYPE STOP INPUT
export USB SCREEN SCREEN_AT FEATURES BUS VARS UNLIKE UART STALL SECURE TPM KEEP SIGN
export TME FIDELITY LOCKED_WRITE PCONFIG_LEGACY RNG_FAIL_N
export BUSY_N STRICT_9FF PKGS DROP SWAP ALIAS CAP ACT ACT1 EXCLUDE TARGETS
export COHERENCE TWEAK WBINVD_REACH ARCH_CAP
boot: $(MACHINE_NEEDS_$(MACHINE)) | $(PACKAGES_DONE)
	@python3 $(MACHINE_DIR)/boot.py --env

include $(MACHINE_DIR)/rows/rows.mk
include $(MACHINE_DIR)/tme/tme.mk

# Tests of the machine itself: what needs no emulator is part of make check, the rest of make test.
.PHONY: machine-unit machine-test
# machine-test uses one CPU. It runs QEMU in real time, and QEMU has stalled beside other busy
# parts.
TEST_PARTS += rows+tme-linux machine-test+fuzz-coverage+machine-unit
MODEST_PARTS += fuzz-coverage machine-unit
check: machine-unit
machine-unit: | $(PACKAGES_DONE)
	@mkdir -p $(O)/tally
	@log=$(O)/machine-unit.log; tally=$(O)/tally/machine-unit; \
		python3 -B $(MACHINE_DIR)/test_machine.py TALLY=$$tally -b > $$log 2>&1 || \
		{ cat $$log; echo 'machine: FAILED'; exit 1; }; \
		sed 's/^\([0-9]*\) .*/machine: \1 tests passed/' $$tally
machine-test: $(BOCHS) $(PROBE) | $(PACKAGES_DONE)
	@mkdir -p $(O)/tally
	@python3 -B $(MACHINE_DIR)/test_machine.py BUILD=$(BUILD) OUT=$(O)/machine-test \
		TALLY=$(O)/tally/machine-test ProbeTest

# What was made stays when a make is interrupted: another make may have made it.
.PRECIOUS: $(THIRD_PARTY) $(BOCHS) $(RNGTEST) $(KERNEL_FILES) $(KERNEL_SOAK) \
	$(INITRDS) $(INITRDS_SOAK) $(CHAIN) $(PROBE) $(NESTED) \
	$(FIRMWARE) $(DEBIAN) $(DEBIAN_PACKAGES)
