# SPDX-License-Identifier: Apache-2.0
# make bench: what a page, an exit and a boot cost, beside KVM's figures (the anchors). See
# tests/bench/README.md.

BENCH_KERNEL := $(THIRD)/kernel/bookworm-cloud/vmlinuz
BENCH_CFLAGS := -std=gnu11 -O2 -mavx2 -Wall -Wextra -Wno-unused-parameter -Werror -I.

# Built when the bench first asks for it.
OPENSSL := $(THIRD)/openssl/.done
$(OPENSSL): tests/bench/openssl.sh | $(PACKAGES_DONE)
	$(ONCE) sh $< $(@D)
.PRECIOUS: $(OPENSSL)

.PHONY: bench bench-pages bench-faults bench-exits bench-devices
# One after the other: the first one measures time.
bench:
	@$(MAKE) --no-print-directory bench-pages
	@$(MAKE) --no-print-directory bench-faults
	@$(MAKE) --no-print-directory bench-exits
	@$(MAKE) --no-print-directory bench-devices

# Needs no emulator: the product's objects in a process of this host.
bench-pages: $(O)/bench/pages $(O)/bench/tags $(O)/bench/wrapped
	@$<
	@$(O)/bench/tags
	@$(O)/bench/wrapped
$(O)/bench/wrapped: tests/bench/wrapped.c $(PAGE_CIPHER_OBJ)
	@mkdir -p $(@D)
	@$(HOST_CC) $(BENCH_CFLAGS) -o $@ $^
$(O)/bench/tags: tests/bench/tags.c $(PAGE_CIPHER_OBJ)
	@mkdir -p $(@D)
	@$(HOST_CC) $(BENCH_CFLAGS) -o $@ $^
$(O)/bench/pages: tests/bench/pages.c tests/bench/figures.c $(PAGE_CIPHER_OBJ) \
		$(O)/bench/openssl_debian.so $(O)/bench/openssl_source.so
	@$(HOST_CC) $(BENCH_CFLAGS) -o $@ $^ -Wl,-rpath,'$$ORIGIN'
$(O)/bench/pages: tests/bench/figures.h tests/bench/openssl.h

# The pager with the product's ciphers, and threads in place of CPUs. make check links it.
BENCH_PAGER := $(addprefix ept/,pager.c pager_exchange.c pager_region.c pager_end.c pager_drain.c \
	pager_vm.c window.c store.c gmem.c ept.c ept_leaf.c ept_tlb.c) vmm/base/keyid.c \
	vmm/base/lock.c
bench-faults: $(O)/bench/faults
	@$<
check: $(O)/bench/faults
$(O)/bench/faults: tests/bench/faults.c tests/unit/race_cpus.c $(BENCH_PAGER) \
		$(filter-out tests/unit/cipher_host.c,$(PAGE_CIPHER_OBJ)) \
		$(wildcard tests/unit/race*.h ept/*.h vmm/*/*.h crypto/*.h)
	@mkdir -p $(@D)
	@$(HOST_CC) $(BENCH_CFLAGS) -no-pie -pthread -DUMBRA_HOST_TEST -DRACE_SPINS=200 \
		-include tests/unit/race.h $(INCLUDE) $(MBEDTLS_DEF) \
		-Wl,--wrap=store_exchange,--wrap=window_find -o $@ $(filter-out %.h,$^)

# Two OpenSSLs in one process: each behind one name, in an object of its own.
BENCH_OPENSSL = $(HOST_CC) $(BENCH_CFLAGS) -shared -fPIC -fvisibility=hidden -Wl,-Bsymbolic \
	-Wl,--exclude-libs,ALL -DPEER=$(basename $(@F)) -o $@ $<
$(O)/bench/openssl_debian.so: tests/bench/openssl.c tests/bench/openssl.h | $$(PACKAGES_DONE)
	@mkdir -p $(@D)
	@$(BENCH_OPENSSL) -lcrypto
# Where its source cannot be had, its column is left out. The object then gets an old date, so that
# the next bench tries again.
$(O)/bench/openssl_source.so: tests/bench/openssl.c tests/bench/openssl_absent.c \
		tests/bench/openssl.h $(wildcard $(OPENSSL)) | $$(PACKAGES_DONE)
	@mkdir -p $(@D)
	@if $(MAKE) --no-print-directory $(OPENSSL); then \
		$(BENCH_OPENSSL) -isystem $(THIRD)/openssl/include $(THIRD)/openssl/libcrypto.a; \
	else \
		echo 'bench: the column "ossl 3.5" is left out, for the reason above'; \
		$(patsubst tests/bench/openssl.c,tests/bench/openssl_absent.c,$(BENCH_OPENSSL)) && \
		touch -d 2000-01-01 $@; \
	fi

# make check links it, so that a change of the ciphers' objects does not break the bench unseen.
check: $(O)/bench/steps
$(O)/bench/steps: tests/bench/steps.c tests/unit/steps.h $(PAGE_CIPHER_OBJ)
	@mkdir -p $(@D)
	@$(HOST_CC) $(BENCH_CFLAGS) -o $@ $(filter-out %.h,$^)

bench-exits: $(O)/BOOTX64.EFI $(CHAIN) $(O)/guests/bench.bin \
		$(BENCH_KERNEL) $(INITRD_TEST) $(O)/bench/steps | $(BOCHS)
	@BUILD=$(BUILD) $(PYTHON) -B tests/bench/bench.py $(O)/bench $^

# Two guests with a disk and a net, by Umbra and by KVM, on the same emulated machine.
BENCH_GUEST := $(O)/bench/guest.img
BENCH_KVM := $(O)/bench/kvm.img
BENCH_CMDLINE := console=ttyS0 quiet mitigations=off nokaslr
$(O)/bench/devices: tests/bench/devices.c | $$(PACKAGES_DONE)
	@mkdir -p $(@D)
	@gcc -O2 -static -D_GNU_SOURCE -Wall -Wextra -Werror -o $@ $<
$(BENCH_GUEST): tests/bench/init_guest tests/machine/initramfs.sh $(O)/bench/devices $(BENCH_KERNEL)
	@sh tests/machine/initramfs.sh $< $@ $(O)/bench/devices $(addprefix \
		$(dir $(BENCH_KERNEL))modules/,virtio.ko virtio_ring.ko virtio_pci_legacy_dev.ko \
		virtio_pci_modern_dev.ko virtio_pci.ko virtio_blk.ko failover.ko net_failover.ko \
		virtio_net.ko)
$(BENCH_KVM): tests/bench/kvm.sh tests/machine/nested/root.sh tests/bench/init_kvm $(BENCH_GUEST) \
		$(DISK_ROOT)
	@sh $< $(dir $(BENCH_KERNEL)) $(BENCH_GUEST) $(DISK_ROOT) '$(BENCH_CMDLINE)' $@
bench-devices: $(O)/BOOTX64.EFI $(CHAIN) $(BENCH_KERNEL) $(BENCH_GUEST) $(BENCH_KVM) $(DISK_ROOT) \
		| $(BOCHS)
	@BUILD=$(BUILD) $(PYTHON) -B tests/bench/devices.py $(O)/bench/devices-runs \
		'$(BENCH_CMDLINE)' $^
