# SPDX-License-Identifier: Apache-2.0
# One line for each unit test: UNIT_X lists the sources that tests/unit/test_X.c is linked with. The
# fakes of fake_*.c are linked automatically, each in place of a source that is not listed.
UNIT_fakes :=

MBEDTLS_C := $(MBEDTLS_SRC:%=$(THIRD)/mbedtls/library/%)
UNIT_crypto := crypto/aes_xts.c crypto/kdf.c crypto/mbedtls_port.c crypto/noise.c crypto/simd.c \
	crypto/wipe.c vmm/base/str.c $(MBEDTLS_C)
PAGE_CIPHER_SRC := $(addprefix crypto/,page_cipher.c page_mac.c aes_xts.c simd.c mbedtls_port.c \
	aes_ni.asm vaes256.asm vaes512.asm vaes256_tags.asm vaes512_tags.asm \
	vaes512_wrapped.asm polyval.asm) vmm/base/str.c tests/unit/master_memory.c
UNIT_manifest := boot/manifest.c crypto/verify.c crypto/mbedtls_port.c crypto/wipe.c \
	vmm/base/str.c $(MBEDTLS_C)
UNIT_page_cipher := $(PAGE_CIPHER_SRC) $(MBEDTLS_C)
UNIT_keyscan := tests/bus/keyscan.c crypto/aes_xts.c crypto/mbedtls_port.c crypto/simd.c \
	vmm/base/str.c $(MBEDTLS_C)
UNIT_secretscan := tests/bus/secretscan.c tests/bus/keyscan.c
UNIT_rng := crypto/mbedtls_port.c crypto/noise.c crypto/wipe.c vmm/base/str.c \
	$(MBEDTLS_C)
TME_C := tests/unit/tme_machine.c crypto/tme.c crypto/tme_view.c crypto/tme_activate.c \
	vmm/host/topology.c vmm/base/str.c
UNIT_tme := $(TME_C)
UNIT_pconfig := crypto/pconfig.c $(TME_C)
UNIT_keyslot := crypto/pconfig.c crypto/kdf.c crypto/mbedtls_port.c crypto/simd.c $(TME_C) \
	$(MBEDTLS_C)
UNIT_topology := vmm/host/topology.c
UNIT_cache :=
# The test includes cache_lines.c, to forget what CPUID said.
UNIT_cache_lines :=
UNIT_interrupts := vmm/host/interrupts.c
UNIT_idt_stubs := vmm/host/idt_stubs.asm
UNIT_selftest := crypto/aes_xts.c crypto/mbedtls_port.c crypto/simd.c vmm/base/str.c $(MBEDTLS_C)

# Not a cmocka test: it counts instructions in the product's own objects.
unit: $(O)/unit/xts_cost.passed
$(O)/unit/xts_cost: tests/unit/xts_cost.c $(addprefix $(O)/obj/,crypto/aes_xts.o crypto/simd.o \
		crypto/mbedtls_port.o vmm/base/str.o vmm/base/cache_lines.o \
		$(MBEDTLS_SRC:%.c=third/mbedtls/library/%.o)) tests/unit/cipher_host.c
	@mkdir -p $(@D)
	@$(HOST_CC) -std=gnu11 -O1 -g -Wall -Wextra -Wno-unused-parameter -Werror -I. -o $@ $^

# Not a cmocka test either: it compares registers around calls of the product's own objects.
PAGE_CIPHER_OBJ := $(patsubst %.c,$(O)/obj/%.o,$(filter-out tests/%, \
		$(PAGE_CIPHER_SRC:%.asm=$(O)/obj/%.asm.o))) \
	tests/unit/master_memory.c \
	$(O)/obj/vmm/base/cache_lines.o \
	$(MBEDTLS_SRC:%.c=$(O)/obj/third/mbedtls/library/%.o) tests/unit/cipher_host.c
unit: $(O)/unit/page_regs.passed
$(O)/unit/page_regs: tests/unit/page_regs.c $(PAGE_CIPHER_OBJ)
	@mkdir -p $(@D)
	@$(HOST_CC) -std=gnu11 -O1 -g -mgeneral-regs-only -Wall -Wextra -Wno-unused-parameter \
		-Werror -I. -o $@ $^

# Not cmocka tests either: CPUs as threads, under ThreadSanitizer, which cannot be mixed with the
# other sanitizers.
RACE_CC = $(HOST_CC) -std=gnu11 -g -O1 -no-pie -fsanitize=thread -DUMBRA_HOST_TEST \
	-DUMBRA_CHECKS $(INCLUDE) $(MBEDTLS_DEF) $(HOST_WARN)
# $(call race_rule,NAME,SOURCES): tests/unit/NAME.c and the product's sources.
define race_rule
unit: $(O)/unit/$1.passed
$(O)/unit/$1: tests/unit/$1.c tests/unit/race_cpus.c tests/unit/fake_lock.c $2 \
		$(wildcard tests/unit/race*.h) \
		$(wildcard ept/*.h vmm/*.h vmm/*/*.h crypto/*.h guest/*.h guest/dev/*.h) \
		| $$$$(THIRD_PARTY)
	@mkdir -p $$(@D)
	@$$(RACE_CC) $$(RACE_FLAGS_$1) -include tests/unit/race.h -o $$@ \
		$$(filter-out $$(RACE_INCLUDED_$1),$$(filter %.c,$$^)) \
		-lpthread
endef
RACE_FLAGS_pager_race := -DRACE_CPUS=8u
$(eval $(call race_rule,pager_race,ept/pager.c ept/pager_exchange.c ept/pager_region.c \
	ept/pager_end.c ept/pager_drain.c ept/pager_vm.c \
	ept/window.c ept/store.c ept/gmem.c ept/ept.c ept/ept_leaf.c ept/ept_tlb.c \
	vmm/base/keyid.c))
$(eval $(call race_rule,pool_race,vmm/host/page_alloc.c vmm/host/frames.c vmm/base/keyid.c \
	vmm/base/str.c))
RACE_FLAGS_share_race := -DRACE_CPUS=6u
$(eval $(call race_rule,share_race,ept/share.c ept/gmem.c ept/ram_plain.c ept/extents.c \
	ept/retire.c ept/ept.c ept/ept_leaf.c ept/ept_tlb.c vmm/host/page_alloc.c \
	vmm/host/frames.c vmm/host/work.c vmm/base/keyid.c vmm/base/str.c))
# Without str.c and without inlining: ThreadSanitizer sees what libc's memset writes.
RACE_FLAGS_move_race := -fno-builtin
$(eval $(call race_rule,move_race,$(addprefix ept/,move.c audit.c gmem.c ram_plain.c extents.c \
	retire.c ept.c ept_leaf.c ept_tlb.c) vmm/apic_page.c vmm/hole.c \
	vmm/host/page_alloc.c vmm/host/frames.c vmm/host/work.c vmm/base/keyid.c))
$(eval $(call race_rule,rng_race,crypto/rng.c crypto/wipe.c vmm/base/str.c))
$(eval $(call race_rule,host_paging_race,vmm/host/host_paging.c vmm/host/paging_modes.c \
	vmm/base/keyid.c))
$(eval $(call race_rule,crypto_race,$(filter-out crypto/noise.c crypto/simd.c,$(UNIT_crypto))))
# The test includes iobus.c.
RACE_INCLUDED_iobus_race := vmm/iobus.c
$(eval $(call race_rule,iobus_race,$(RACE_INCLUDED_iobus_race)))
VCONSOLE_C := guest/vconsole.c guest/vconsole_line.c
$(eval $(call race_rule,console_race,$(VCONSOLE_C) $(addprefix vmm/console/,console.c serial.c \
	keyboard.c log.c) vmm/base/str.c vmm/base/err.c))
$(eval $(call race_rule,sched_race,$(addprefix vmm/,sched.c sched_slice.c sched_place.c \
	sched_time.c vcpu.c vcpu_run.c vcpu_tsc.c attention.c vm.c host/work.c base/str.c) \
	ept/ept_tlb.c))
$(eval $(call race_rule,work_race,vmm/host/work.c ept/retire.c guest/vm_file.c vmm/base/str.c))
$(eval $(call race_rule,dev_race,$(addprefix guest/dev/,vioapic.c vlapic.c vlapic_irq.c \
	vlapic_timer.c vlegacy.c vpci.c vpit.c vrtc.c vuart.c) $(VCONSOLE_C) vmm/iobus.c \
	vmm/base/str.c))
$(eval $(call race_rule,ivshmem_race,$(addprefix guest/dev/,ivshmem.c vmsix.c vpci.c) vmm/iobus.c \
	vmm/base/str.c))

VIRTIO_DEV_C := $(addprefix guest/dev/,virtio.c virtio_work.c virtio_pci.c vring.c vmsix.c vpci.c)
# The driver uses fences, which ThreadSanitizer does not see; the test's access to guest memory has
# the same order.
RACE_FLAGS_virtio_race := -DRACE_CPUS=3u -Wno-tsan
$(eval $(call race_rule,virtio_race,$(VIRTIO_DEV_C) vmm/iobus.c vmm/base/str.c))
NET_C := $(addprefix guest/dev/,virtio_net.c virtio_net_receive.c net_switch.c net_frame.c)
RACE_FLAGS_net_race := -Wno-tsan
$(eval $(call race_rule,net_race,$(NET_C) $(VIRTIO_DEV_C) vmm/iobus.c vmm/base/str.c))

GMEM_C := $(addprefix ept/,gmem.c ram_plain.c extents.c retire.c move.c ept.c ept_leaf.c \
	ept_tlb.c) \
	vmm/host/work.c vmm/base/str.c
PAGER_C := ept/pager.c ept/pager_exchange.c ept/pager_region.c ept/pager_end.c \
	ept/pager_drain.c ept/pager_vm.c ept/window.c ept/store.c $(GMEM_C)
UNIT_vm_file := guest/vm_file.c vmm/base/str.c $(GMEM_C)
UNIT_linux_load := guest/linux_load.c guest/vm_file.c vmm/base/str.c vmm/base/err.c $(GMEM_C)
UNIT_lock := vmm/base/lock_check.c vmm/base/lock.c vmm/base/waits.c vmm/base/str.c
UNIT_page_alloc := vmm/host/page_alloc.c vmm/host/frames.c vmm/base/str.c
UNIT_host_key := boot/host_key.c vmm/base/err.c
UNIT_ram := boot/ram.c
UNIT_host_paging := $(addprefix vmm/host/,host_paging.c paging_modes.c page_alloc.c frames.c \
	bootstrap.c bootstrap_leave.c keyid_move.c) vmm/base/str.c
UNIT_tsc := vmm/base/tsc.c
UNIT_work := vmm/host/work.c
UNIT_tsc_sync := vmm/host/tsc_sync.c
UNIT_lapic := vmm/host/lapic.c
UNIT_power := vmm/host/power.c vmm/base/err.c vmm/base/str.c
UNIT_panic := vmm/host/panic.c vmm/host/ending.c vmm/base/str.c
UNIT_mtrr := vmm/host/mtrr.c
UNIT_idt_dump := vmm/host/idt_dump.c vmm/host/symbols.c vmm/base/str.c
UNIT_crash_record := vmm/host/crash_record.c vmm/console/console.c vmm/console/keyboard.c \
	vmm/console/log.c vmm/console/serial.c vmm/base/str.c
UNIT_ept := ept/ept.c ept/ept_leaf.c ept/ept_tlb.c
UNIT_ept_tlb := ept/ept_tlb.c ept/ept.c ept/ept_leaf.c
UNIT_pager := tests/unit/pager_guests.c vmm/base/str.c $(PAGER_C)
UNIT_pager_end := $(UNIT_pager)
UNIT_pager_policy := $(UNIT_pager)
UNIT_pager_residue := $(UNIT_pager)
UNIT_pager_locks := $(UNIT_pager)
UNIT_pager_tags := $(UNIT_pager)
UNIT_window := $(UNIT_pager)
# The test includes window.c, to count its looks.
UNIT_window_looks := $(filter-out ept/window.c,$(UNIT_pager))
UNIT_pager_model := $(UNIT_pager)
UNIT_gmem := $(GMEM_C)
UNIT_retire := $(GMEM_C)
UNIT_move := $(GMEM_C)
UNIT_audit := ept/audit.c $(GMEM_C)
UNIT_share := ept/share.c $(GMEM_C)
UNIT_vuart := guest/dev/vuart.c $(VCONSOLE_C) vmm/base/str.c
UNIT_vconsole := $(VCONSOLE_C) vmm/base/str.c
UNIT_smbios_build := guest/smbios_build.c $(GMEM_C)
UNIT_cmdline := guest/cmdline.c vmm/base/str.c
UNIT_devices := guest/devices.c
UNIT_vpci := guest/dev/vpci.c vmm/iobus.c vmm/base/str.c
# The rows of umbra.conf and their values; config.c reads the file.
CONFIG_KEYS_C := boot/config_keys.c boot/config_values.c boot/config_console.c
UNIT_config := boot/config.c $(CONFIG_KEYS_C) vmm/base/str.c
UNIT_aml := guest/aml.c vmm/base/str.c
UNIT_acpi_build := guest/acpi_build.c guest/aml.c guest/dsdt.asm $(GMEM_C)
UNIT_engine_policy := guest/engine_policy.c
UNIT_vring := guest/dev/vring.c $(GMEM_C)
VIRTIO_C := $(VIRTIO_DEV_C) guest/dev/virtio_print.c vmm/iobus.c $(GMEM_C)
UNIT_virtio := $(VIRTIO_C)
UNIT_virtio_work := $(VIRTIO_C)
UNIT_virtio_blk := guest/dev/virtio_blk.c guest/disk.c guest/vm_file.c $(VIRTIO_C)
UNIT_disk := guest/disk.c guest/vm_file.c $(GMEM_C)
UNIT_virtio_console := guest/dev/virtio_console.c $(VIRTIO_C)
UNIT_virtio_net := $(NET_C) $(VIRTIO_C)
UNIT_virtio_net_frames := $(UNIT_virtio_net)
UNIT_virtio_net_pieces := $(UNIT_virtio_net)
UNIT_virtio_rng := guest/dev/virtio_rng.c $(VIRTIO_C)
UNIT_virtio_pieces := guest/dev/virtio_rng.c $(UNIT_virtio_blk)
UNIT_ivshmem := guest/dev/ivshmem.c guest/dev/vmsix.c guest/dev/vpci.c vmm/iobus.c \
	vmm/base/str.c
UNIT_vmsix := guest/dev/vmsix.c guest/dev/vpci.c vmm/iobus.c vmm/base/str.c
UNIT_vioapic := guest/dev/vioapic.c
UNIT_vlegacy := guest/dev/vlegacy.c guest/dev/vpit.c guest/dev/vrtc.c
UNIT_vpit := guest/dev/vpit.c
UNIT_vcpuid := guest/vcpuid.c
UNIT_platform := $(filter-out guest/dev/vlapic%,$(wildcard guest/*.c guest/dev/*.c)) \
	guest/dsdt.asm \
	vmm/iobus.c vmm/base/str.c vmm/base/err.c $(GMEM_C)
UNIT_loading := $(UNIT_platform)
UNIT_gwalk := vmm/gwalk.c $(GMEM_C)
UNIT_emul_decode := vmm/emul_alu.c vmm/emul_decode.c \
	$(addprefix $(THIRD)/zydis/src/,Decoder.c DecoderData.c SharedData.c Register.c Utils.c)
UNIT_emul := vmm/emul.c vmm/operand.c vmm/gwalk.c vmm/base/str.c $(GMEM_C) $(UNIT_emul_decode)
VLAPIC_C := guest/dev/vlapic.c guest/dev/vlapic_irq.c guest/dev/vlapic_timer.c
UNIT_vlapic := $(VLAPIC_C)
UNIT_vlapic_messages := $(VLAPIC_C)
UNIT_iobus := vmm/iobus.c
UNIT_dmar := boot/dmar.c vmm/base/str.c
UNIT_vtd := tests/unit/vtd_model.c boot/vtd.c boot/vtd_tables.c
UNIT_dma := boot/dma.c vmm/base/str.c
UNIT_dma_ranges := boot/dma_ranges.c vmm/base/str.c
UNIT_acpi_host := $(addprefix vmm/host/,acpi_host.c acpi_serial.c acpi_tables.c) vmm/base/str.c
UNIT_console := vmm/console/console.c vmm/console/keyboard.c \
	vmm/console/log.c vmm/console/serial.c vmm/base/str.c
UNIT_keyboard := vmm/console/keyboard.c
UNIT_screen := vmm/console/screen.c vmm/console/font.asm vmm/base/str.c
UNIT_str := vmm/base/str.c
UNIT_inject := vmm/inject.c
UNIT_exits := vmm/exits.c vmm/exit_dr.c vmm/exit_names.c vmm/rip.c vmm/vcpu_dump.c vmm/base/str.c
UNIT_exit_io := vmm/exit_io.c
UNIT_exit_ept := vmm/exit_ept.c vmm/device_access.c vmm/base/str.c
UNIT_sched := vmm/sched.c vmm/sched_slice.c vmm/sched_place.c vmm/sched_time.c vmm/host/work.c
UNIT_vmcs := vmm/vmcs.c vmm/base/str.c
UNIT_sched_clock := $(UNIT_sched)
UNIT_sched_work := $(UNIT_sched)
# The test includes sched_place.c, to count its reads.
UNIT_sched_looks := vmm/sched.c vmm/sched_slice.c vmm/host/work.c
UNIT_vcpu := $(addprefix vmm/,vcpu.c vcpu_run.c vcpu_tsc.c attention.c vcpu_state.c) vmm/base/str.c
UNIT_vcpu_work := $(UNIT_vcpu)
UNIT_cpuid := vmm/exit_cpuid.c vmm/cpuid_rows.c
UNIT_msr := vmm/exit_msr.c vmm/msr.c vmm/msr_types.c vmm/vcpu_tsc.c
UNIT_cr := vmm/exit_cr.c
UNIT_exit_dr := vmm/exit_dr.c
UNIT_key_store := crypto/key_store.c vmm/base/str.c vmm/base/err.c
UNIT_vmx := $(addprefix vmm/,vmx.c vmx_start.c flaws.c errata.c alike.c cpuid_rows.c) vmm/base/str.c
UNIT_alike := $(UNIT_vmx) vmm/exit_cpuid.c
UNIT_flaws := vmm/flaws.c
UNIT_efi_mem := boot/efi_mem.c
UNIT_efi_dma := boot/efi_dma.c
UNIT_efi_serial := boot/efi_serial.c
UNIT_efi_screen := boot/efi_screen.c
EFI_STICK_C := tests/unit/efi_stick.c vmm/base/str.c
UNIT_efi_seal := boot/efi_seal.c boot/key_file.c $(EFI_STICK_C)
UNIT_efi_launch := boot/efi_launch.c boot/efi_keys.c boot/key_file.c boot/launch.c \
	crypto/wipe.c guest/engine_policy.c vmm/base/str.c
UNIT_efi_report := boot/efi_report.c $(EFI_STICK_C)
UNIT_efi_file := boot/efi_file.c vmm/base/str.c
UNIT_launch := boot/launch.c guest/engine_policy.c vmm/base/str.c
UNIT_tpm := boot/tpm.c vmm/base/str.c
UNIT_seal := boot/seal.c boot/tpm_talk.c boot/tpm_seal.c boot/tpm.c vmm/base/str.c
UNIT_attest := boot/attest.c boot/tpm_attest.c boot/tpm_talk.c boot/tpm.c vmm/base/str.c
UNIT_event_log := boot/event_log.c vmm/base/str.c
UNIT_efi_attest := boot/efi_attest.c $(EFI_STICK_C)
UNIT_efi_tpm := boot/efi_tpm.c boot/event_log.c boot/seal.c boot/tpm_talk.c boot/tpm_seal.c \
	boot/tpm.c vmm/base/str.c
EFI_UNITS := attest dma file launch mem report screen seal serial tpm
$(addprefix $(O)/unit/obj/,$(EFI_UNITS:%=boot/efi_%.o) boot/efi_keys.o \
		tests/unit/efi_stick.o \
		$(EFI_UNITS:%=tests/unit/test_efi_%.o)): \
	HOST_DEF += -isystem /usr/include/efi -DGNU_EFI_USE_MS_ABI -fshort-wchar
UNIT_usb_owner := boot/usb_owner.c
UNIT_residue := boot/residue.c boot/pci_config.c vmm/base/str.c $(GMEM_C)
UNIT_passphrase := crypto/kdf.c crypto/mbedtls_port.c boot/key_file.c vmm/base/str.c $(MBEDTLS_C)
UNIT_unlock := boot/unlock.c vmm/base/str.c vmm/base/err.c
UNIT_secrets := boot/secrets.c vmm/base/err.c vmm/base/str.c
UNIT_vms := boot/vms.c boot/vms_keyid.c crypto/wipe.c vmm/base/str.c vmm/base/err.c
UNIT_apic_page := vmm/apic_page.c $(GMEM_C)
UNIT_hole := vmm/hole.c vmm/iobus.c $(GMEM_C)
UNIT_vm := vmm/vm.c vmm/attention.c vmm/base/str.c
UNIT_line_edit := boot/line_edit.c vmm/base/str.c
UNIT_shell_ask := boot/shell.c boot/shell_terminal.c boot/line_edit.c $(VCONSOLE_C) \
	vmm/base/str.c
UNIT_shell_size := boot/shell_size.c vmm/base/str.c
UNIT_host_report := boot/host_report.c vmm/flaws.c vmm/errata.c vmm/base/str.c
UNIT_shell := vmm/errata.c vmm/flaws.c boot/host_report.c boot/shell.c boot/shell_commands.c \
	boot/shell_help.c boot/shell_memory.c boot/shell_show.c boot/shell_size.c \
	boot/shell_terminal.c \
	boot/line_edit.c \
	$(CONFIG_KEYS_C) vmm/base/waits.c \
	$(VCONSOLE_C) vmm/base/str.c vmm/base/err.c
