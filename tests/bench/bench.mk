# SPDX-License-Identifier: Apache-2.0
# make bench: what a page, an exit and a boot cost, beside the anchors. See tests/bench/README.md.

BENCH_KERNEL := $(THIRD)/kernel/bookworm-cloud/vmlinuz

.PHONY: bench bench-pages bench-exits
bench: bench-pages bench-exits

# Needs no emulator: the product's objects in a process of this host. Fails when a "must" is missed.
bench-pages: $(O)/bench/pages
	@$<
$(O)/bench/pages: tests/bench/pages.c $(PAGE_CIPHER_OBJ)
	@mkdir -p $(@D)
	@$(HOST_CC) -std=gnu11 -O2 -mavx2 -Wall -Wextra -Werror -I. -o $@ $^ -lcrypto

bench-exits: $(O)/BOOTX64.EFI $(CHAIN) $(O)/guests/bench.bin \
		$(BENCH_KERNEL) $(INITRD_TEST) | $(BOCHS)
	@$(PYTHON) -B tests/bench/bench.py $(O)/bench $^
