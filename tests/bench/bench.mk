# SPDX-License-Identifier: Apache-2.0
# make bench: what an exit and a boot cost, beside the anchors. See tests/bench/README.md.

BENCH_KERNEL := $(THIRD)/kernel/bookworm-cloud/vmlinuz

.PHONY: bench
bench: $(O)/BOOTX64.EFI $(CHAIN) $(O)/guests/bench.bin $(BENCH_KERNEL) $(INITRD_TEST) | $(BOCHS)
	@$(PYTHON) -B tests/bench/bench.py $(O)/bench $^
