# SPDX-License-Identifier: Apache-2.0
# The rows of TME-MK: an EFI program that links nothing of Umbra, and what boots it. README.md.

ROWS_DIR := $(MACHINE_DIR)/rows
ROWS := $(O)/rows/rows.efi
# Of the tiny guests' library, what does not use Umbra either.
ROWS_BARE := tests/guests/common
ROWS_OBJ := $(patsubst %,$(O)/rows/%.o,$(notdir $(wildcard $(ROWS_DIR)/*.c $(ROWS_DIR)/*.asm)) \
	print.c traps.asm)
ROWS_CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Wno-unused-parameter -Wshadow -Werror -I. \
	-isystem /usr/include/efi \
	-isystem /usr/include/efi/x86_64 -fpic -fvisibility=hidden -ffreestanding \
	-fno-stack-protector -fno-strict-aliasing -fshort-wchar -mno-red-zone -mgeneral-regs-only \
	-fcf-protection=none -maccumulate-outgoing-args -fno-tree-loop-distribute-patterns \
	-DGNU_EFI_USE_MS_ABI

define rows_rules
$(O)/rows/%.c.o: $1/%.c | $(PACKAGES_DONE)
	@mkdir -p $$(@D)
	@gcc $$(ROWS_CFLAGS) -MMD -MP -c -o $$@ $$<
$(O)/rows/%.asm.o: $1/%.asm | $(PACKAGES_DONE)
	@mkdir -p $$(@D)
	@nasm -f elf64 -Werror -o $$@ $$<
endef
$(foreach d,$(ROWS_DIR) $(ROWS_BARE),$(eval $(call rows_rules,$d)))

$(ROWS): $(ROWS_OBJ)
	@ld -nostdlib -znocombreloc -T /usr/lib/elf_x86_64_efi.lds -shared -Bsymbolic \
		/usr/lib/crt0-efi-x86_64.o $^ -o $(@:.efi=.so) -L /usr/lib -lefi -lgnuefi
	@objcopy -j .text -j .sdata -j .data -j .rodata -j .dynamic -j .dynsym -j '.rel*' \
		-j .reloc --target efi-app-x86_64 --subsystem=10 $(@:.efi=.so) $@

-include $(ROWS_OBJ:.o=.d)

# make rows [ROW="P3-fast P12-*"]: those boots of rows.toml, or all; part of make test.
.PHONY: rows
rows: $(ROWS) $(BOCHS) | $(PACKAGES_DONE)
	@python3 -B $(MACHINE_DIR)/run_rows.py --build $(BUILD) --program $(ROWS) \
		--out $(O)/rows/out --tally $(O)/tally/rows $(ROW)
