# SPDX-License-Identifier: Apache-2.0
# One line for each fuzzer: FUZZ_X lists the sources that tests/fuzz/fuzz_X.c is linked with, in
# addition to the fakes of tests/unit. Seeds are the files of tests/fuzz/corpus/X.
FUZZ_bzimage := guest/linux_load.c guest/vm_file.c vmm/base/str.c vmm/base/err.c $(GMEM_C)
FUZZ_config := boot/config.c $(CONFIG_KEYS_C) vmm/base/str.c
FUZZ_vlapic := guest/dev/vlapic.c guest/dev/vlapic_irq.c guest/dev/vlapic_timer.c
FUZZ_emul := vmm/emul.c vmm/emul_alu.c vmm/emul_decode.c vmm/operand.c vmm/gwalk.c \
	vmm/base/str.c $(GMEM_C) \
	$(addprefix $(THIRD)/zydis/src/,Decoder.c DecoderData.c SharedData.c Register.c Utils.c)
# Each of its inputs has up to 64 instructions.
FUZZING_SMOKE_RUNS_emul := 2000
FUZZ_manifest := boot/manifest.c vmm/base/str.c
FUZZ_key_file := boot/key_file.c vmm/base/str.c
FUZZ_tpm := boot/tpm.c boot/tpm_seal.c vmm/base/str.c
FUZZ_seal := boot/seal.c boot/tpm_talk.c boot/tpm_seal.c boot/tpm.c vmm/base/str.c
FUZZ_attest := boot/attest.c boot/tpm_attest.c boot/event_log.c boot/tpm_talk.c boot/tpm.c \
	vmm/base/str.c
FUZZ_dmar := boot/dmar.c vmm/base/str.c
FUZZ_acpi := $(addprefix vmm/host/,acpi_host.c acpi_serial.c acpi_tables.c) vmm/base/str.c
FUZZ_devices := guest/dev/vioapic.c guest/dev/vlegacy.c guest/dev/vpit.c guest/dev/vrtc.c \
	guest/dev/vuart.c guest/dev/vpci.c $(VCONSOLE_C) vmm/base/str.c
FUZZ_virtio := guest/dev/virtio_rng.c guest/dev/virtio_blk.c guest/dev/virtio_console.c \
	guest/disk.c guest/vm_file.c $(NET_C) $(VIRTIO_C)
FUZZING_SMOKE_RUNS_virtio := 2000
FUZZ_shell := vmm/errata.c vmm/flaws.c boot/host_report.c boot/shell.c boot/shell_commands.c \
	boot/shell_help.c boot/shell_memory.c boot/shell_show.c boot/shell_size.c \
	boot/shell_terminal.c \
	boot/line_edit.c vmm/base/waits.c \
	$(CONFIG_KEYS_C) \
	$(VCONSOLE_C) vmm/base/str.c vmm/base/err.c

# Helpers of the files under test: their coverage is not counted.
COVERAGE_BESIDE := vmm/base/str.c vmm/base/err.c $(GMEM_C)
COVERAGE_BESIDE_tpm := boot/tpm_seal.c
COVERAGE_BESIDE_attest := boot/tpm_talk.c boot/tpm.c
COVERAGE_BESIDE_devices := $(VCONSOLE_C)
COVERAGE_BESIDE_virtio := vmm/iobus.c guest/dev/vpci.c guest/vm_file.c
COVERAGE_BESIDE_shell := $(VCONSOLE_C) vmm/flaws.c $(CONFIG_KEYS_C) vmm/base/waits.c
