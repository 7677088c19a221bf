# SPDX-License-Identifier: Apache-2.0
# Umbra, from a clean Debian 12 machine to the shell of a guest. `make help` lists targets.

BUILD ?= build
O ?= $(BUILD)/out
VERSION := 0.1

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# V=1 shows whole commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $1')

# Machine: packages, downloads, emulator, images. Tests: all kinds of them. Crypto: mbedTLS' files.
include tests/machine/machine.mk
include crypto/mbedtls.mk
include tests/tests.mk
include tests/bench/bench.mk

# --- What is compiled ---

LAYERS := vmm/base vmm/console vmm/host crypto ept vmm guest guest/dev boot
# CHECKS=1 (with an O of its own): the order of locks is checked while the machine runs.
LAYER_C := $(filter-out %/asm_offsets.c $(if $(CHECKS),,%/lock_check.c),\
	$(foreach l,$(LAYERS),$(sort $(wildcard $l/*.c))))
LAYER_ASM := $(foreach l,$(LAYERS),$(sort $(wildcard $l/*.asm)))
LAYER_OFFSETS := $(wildcard $(addsuffix /asm_offsets.c,$(LAYERS)))
LAYER_ASL := $(foreach l,$(LAYERS),$(wildcard $l/*.asl))

ZYDIS_SRC := Decoder DecoderData SharedData Register Utils Zydis
THIRD_C := $(ZYDIS_SRC:%=$(THIRD)/zydis/src/%.c) \
	$(MBEDTLS_SRC:%=$(THIRD)/mbedtls/library/%)

# They come with their package; machine.mk has the rules for that.
$(THIRD_C): | $(THIRD_PARTY) ;

GEN := $(O)/gen
GENERATED := $(LAYER_OFFSETS:%.c=$(GEN)/%.inc) $(LAYER_ASL:%.asl=$(GEN)/%.aml)

OBJ := $(O)/obj
LAYER_OBJ := $(LAYER_C:%.c=$(OBJ)/%.o) $(LAYER_ASM:%.asm=$(OBJ)/%.asm.o)
THIRD_OBJ := $(THIRD_C:$(THIRD)/%.c=$(OBJ)/third/%.o)

# --- How ---

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
NASM := nasm
# $(call assemble,FLAGS). Two runs: -MD of NASM 2.16 writes no included file to the list.
assemble = $(NASM) -f elf64 $1 -M -MP -MF $(@:.o=.d) -MT $@ $< && $(NASM) -f elf64 $1 -o $@ $<
IASL := iasl
EFI_LIB := /usr/lib
EFI_INC := /usr/include/efi

# The CPU may hold a guest's vector registers at any time: C uses none but the general ones.
TARGET := -m64 -std=c11 -ffreestanding -fPIC -fvisibility=hidden -fno-stack-protector \
	-fno-strict-aliasing -fno-asynchronous-unwind-tables -fcf-protection=none -mno-red-zone \
	-mgeneral-regs-only -ffunction-sections -fdata-sections -O2 -g
# A guest may have trained what the CPU predicts for indirect branches: the code has none, which
# `make lint` checks. clang's retpolines are the same, behind a call.
TARGET += -fno-jump-tables $(if $(findstring clang,$(CC)),-mretpoline,\
	-mindirect-branch=thunk-inline -mindirect-branch-register)
TARGET += $(if $(CHECKS),-DUMBRA_CHECKS)
WARN := -Wall -Wextra -Wno-unused-parameter -Wconversion -Wshadow -Wmissing-prototypes \
	-Wstrict-prototypes -Wvla -Werror
INCLUDE := -I. -I$(GEN) -isystem $(THIRD)/zydis/include \
	-isystem $(THIRD)/zycore/include -isystem $(THIRD)/mbedtls/include
ZYDIS_DEF := -DZYDIS_STATIC_BUILD -DZYCORE_STATIC_BUILD -DZYAN_NO_LIBC -DZYDIS_MINIMAL_MODE \
	-DZYDIS_DISABLE_FORMATTER -DZYDIS_DISABLE_ENCODER -DZYDIS_DISABLE_SEGMENT
MBEDTLS_DEF := -DMBEDTLS_CONFIG_FILE='"crypto/mbedtls_config.h"'

CFLAGS_layer := $(TARGET) $(WARN) $(INCLUDE) $(ZYDIS_DEF) $(MBEDTLS_DEF) \
	-DUMBRA_VERSION='"$(VERSION)"'
CFLAGS_third := $(TARGET) -w -I. $(INCLUDE) -I$(THIRD)/zydis/src $(ZYDIS_DEF) \
	$(MBEDTLS_DEF)

# Flags of single folders or files, appended last.
FLAGS_crypto := -fbuiltin
FLAGS_ept := -fbuiltin
# gcc would make memset's loop a call of memset.
FLAGS_vmm/base/str_std := $(if $(findstring clang,$(CC)),,-fno-tree-loop-distribute-patterns)
FLAGS_third/mbedtls := -fbuiltin
# UEFI: the Microsoft calling convention and 16-bit characters.
FLAGS_boot/efi := -isystem $(EFI_INC) -isystem $(EFI_INC)/x86_64 -DGNU_EFI_USE_MS_ABI -fshort-wchar

# --- Targets ---

.PHONY: all run debian esp help clean distclean
all: $(O)/BOOTX64.EFI

help:
	@echo 'make run              install, fetch and build what it needs; ends in a guest shell'
	@echo 'make run MACHINE=kvm  the same in QEMU on a host whose KVM offers nested VMX'
	@echo 'make debian           a Debian system with systemd on a disk; log in as root'
	@echo 'make all              build $(O)/BOOTX64.EFI'
	@echo 'make image ESP=DIR IMG=FILE         a bootable disk or USB stick image'
	@echo '    SIGN=KEY,CERT                   the same, signed, with a manifest of its files'
	@echo 'make predict ESP=DIR [STATE=TEXT] [FRESH=1]   the PCRs 11 and 12 of this stick'
	@echo 'make seal ESP=DIR KEY=FILE REPORT=DIR OUT=FILE.tpm [STATE=TEXT]'
	@echo '                      seals a key to the TPM of a machine that has written a report'
	@echo 'make passphrase FILE=FILE [ITERATIONS=n]   a file that recognises a passphrase'
	@echo 'make boot ESP=DIR [CPUS=n] [MEM=MiB] [CPU=model] [TIMEOUT=s] [OUT=DIR]'
	@echo 'make check            quick tests; make test: all of them; make soak: longer ones'
	@echo 'make bench, make fuzz figures; fuzzers'
	@echo 'make clean            remove what was built; make distclean: downloads as well'

$(O)/BOOTX64.EFI: $(O)/umbra.so
	$(call say,PE   $@)
	$(Q)objcopy --strip-all -j .text -j .rodata -j .dynamic -j .rela -j .reloc -j .sbat \
		-j .launch -j .data --target efi-app-x86_64 --subsystem=10 $< $@

LDFLAGS := -nostdlib -shared -Bsymbolic -z text -z defs -z noexecstack -z nocombreloc \
	-z noseparate-code --no-warn-rwx-segments --gc-sections --build-id=none -T boot/umbra.lds

LINKED := $(EFI_LIB)/crt0-efi-x86_64.o $(LAYER_OBJ) $(THIRD_OBJ)

# Linked twice: the second time with the table of the functions that the first one placed. The table
# lies behind the code, so the places stay, which is checked.
SYMBOLS := nm -n $(O)/umbra.so | $(PYTHON) vmm/host/symbols.py
$(O)/umbra.so: $(LAYER_OBJ) $(THIRD_OBJ) boot/umbra.lds vmm/host/symbols.py
	$(call say,LD   $@)
	$(Q)ld $(LDFLAGS) -o $@ $(LINKED) -L$(EFI_LIB) -lgnuefi
	$(Q)$(SYMBOLS) > $(O)/symbols.bin
	$(Q)objcopy -I binary -O elf64-x86-64 \
		--rename-section .data=.symbols,alloc,load,readonly,data,contents \
		$(O)/symbols.bin $(O)/symbols.o
	$(Q)ld $(LDFLAGS) -Map=$(O)/umbra.map -o $@ $(LINKED) $(O)/symbols.o -L$(EFI_LIB) -lgnuefi
	$(Q)$(SYMBOLS) | cmp - $(O)/symbols.bin

# $(call flags,NAME): what belongs to the file's folder, prefix or whole name.
flags = $(FLAGS_$(firstword $(subst /, ,$1))) $(FLAGS_$1) \
	$(if $(filter boot/efi_%,$1),$(FLAGS_boot/efi)) -MMD -MP

$(OBJ)/third/%.o: $(THIRD)/%.c Makefile | $(THIRD_PARTY)
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)$(CC) $(CFLAGS_third) $(call flags,third/$(firstword $(subst /, ,$*))) -c -o $@ $<

$(OBJ)/%.o: %.c Makefile | $(THIRD_PARTY) $(GENERATED)
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)$(CC) $(CFLAGS_layer) $(call flags,$*) -c -o $@ $<

$(OBJ)/%.asm.o: %.asm Makefile | $(THIRD_PARTY) $(GENERATED)
	@mkdir -p $(@D)
	$(call say,NASM $@)
	$(Q)$(call assemble,-Werror -g -F dwarf -I. -I$(GEN)/ -I$(THIRD)/font/)

# Structure offsets for NASM: lines "->NAME value" in the compiler's output become %define. clang
# would read them itself otherwise.
AS_TEXT := $(if $(findstring clang,$(CC)),-fno-integrated-as)
$(GEN)/%.inc: %.c Makefile | $(THIRD_PARTY)
	@mkdir -p $(@D)
	$(call say,GEN  $@)
	$(Q)$(CC) $(CFLAGS_layer) $(AS_TEXT) -MMD -MP -MT $@ -MF $(@:.inc=.d) -S \
		-o $(@:.inc=.s) $<
	$(Q)sed -n 's/^->\([A-Za-z0-9_]*\) [$$]*\([-0-9a-fx]*\).*/%define \1 \2/p' $(@:.inc=.s) > $@

$(GEN)/%.aml: %.asl | $(THIRD_PARTY)
	@mkdir -p $(@D)
	$(call say,IASL $@)
	$(Q)$(IASL) -vs -vr -p $(basename $@) $< > $(basename $@).log || \
		{ cat $(basename $@).log; exit 1; }

# The stick: the program, the shipped configuration, a stock kernel, a busybox initramfs.
ESP_DIR := $(O)/esp
ESP_FILES := $(addprefix $(ESP_DIR)/,EFI/BOOT/BOOTX64.EFI umbra/umbra.conf umbra/vmlinuz \
	umbra/initrd.img)
$(ESP_DIR)/EFI/BOOT/BOOTX64.EFI: $(O)/BOOTX64.EFI
$(ESP_DIR)/umbra/umbra.conf: boot/umbra.conf
$(ESP_DIR)/umbra/vmlinuz: $(THIRD)/kernel/bookworm-cloud/vmlinuz
$(ESP_DIR)/umbra/initrd.img: $(INITRD)
$(ESP_FILES):
	@mkdir -p $(@D)
	$(Q)cp $< $@

esp: $(ESP_FILES)
run: $(ESP_FILES) $(MACHINE_NEEDS_$(MACHINE))
	@ESP=$(ESP_DIR) OUT=$(O)/run INPUT=1 INPUT_AT='guest# ' \
		python3 $(MACHINE_DIR)/boot.py --env

# The same for a whole system: kernel and initrd of its own, and its disk.
DEBIAN_DIR := $(O)/debian-esp
DEBIAN_DISK := $(addprefix $(DEBIAN_DIR)/umbra/,vmlinuz initrd.img root.img)
DEBIAN_FILES := $(DEBIAN_DIR)/EFI/BOOT/BOOTX64.EFI $(DEBIAN_DIR)/umbra/umbra.conf
$(DEBIAN_DIR)/EFI/BOOT/BOOTX64.EFI: $(O)/BOOTX64.EFI
$(DEBIAN_DIR)/umbra/umbra.conf: boot/debian.conf
$(DEBIAN_FILES):
	@mkdir -p $(@D)
	$(Q)cp $< $@
$(DEBIAN_DISK): $(DEBIAN)
	@mkdir -p $(@D)
	$(Q)cp $(<D)/$(@F) $@
debian: $(DEBIAN_FILES) $(DEBIAN_DISK) $(MACHINE_NEEDS_$(MACHINE))
	@ESP=$(DEBIAN_DIR) OUT=$(O)/debian MEM=$(or $(MEM),2048) INPUT=1 INPUT_AT='login: ' \
		python3 $(MACHINE_DIR)/boot.py --env

-include $(LAYER_OBJ:.o=.d) $(THIRD_OBJ:.o=.d) $(LAYER_OFFSETS:%.c=$(GEN)/%.d)

clean:
	rm -rf $(O)

distclean:
	rm -rf $(BUILD)
