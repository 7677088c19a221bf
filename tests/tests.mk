# SPDX-License-Identifier: Apache-2.0
# All kinds of tests; described in tests/README.md. Included by the top Makefile before it sets its
# own variables, so what comes from there is used in recipes and in second expansion only.

BUILD ?= build
O ?= $(BUILD)/out
THIRD ?= $(BUILD)/third
PYTHON := python3 -B

.SECONDEXPANSION:

# --- Unit tests: host programs under ASan and UBSan, with cmocka ---

include tests/unit/unit.mk

UNITS := $(sort $(patsubst UNIT_%,%,$(filter UNIT_%,$(.VARIABLES))))

# HOST_CC=clang works as well (with an O of its own).
HOST_CC ?= gcc
HOST_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
HOST_DEF = -std=gnu11 -g -O1 $(HOST_SANITIZE) -DUMBRA_HOST_TEST -DUMBRA_CHECKS $(INCLUDE) \
	-I$(THIRD)/zydis/src $(ZYDIS_DEF) $(MBEDTLS_DEF) -DUMBRA_VERSION='"test"'
HOST_WARN := -Wall -Wextra -Wshadow -Wno-unused-parameter -Werror
HOST_NASM = -I. -I$(GEN)/ -I$(THIRD)/font/ -DUMBRA_HOST_TEST
HOST_OBJ := $(O)/unit/obj

# $(call host_objects,DIR,SOURCES): a fake that is listed is dropped, for the archive has it.
host_objects = $(patsubst %,$1/%.o,$(basename \
	$(patsubst $(THIRD)/%,third/%,$(filter-out tests/unit/fake_%,$2))))

FAKE_LIB := $(O)/unit/libfake.a
FAKE_OBJ := $(patsubst %.c,$(HOST_OBJ)/%.o,$(sort $(wildcard tests/unit/fake_*.c)))

.PHONY: unit $(UNITS:%=unit-%)
unit: $(UNITS:%=$(O)/unit/%.passed)
# One test, always run: make unit-NAME
$(UNITS:%=unit-%): unit-%: $(O)/unit/%
	$<

# The limit is CPU time, so that no test fails because the host is busy. It ends a test that spins
# for ever; the limit of real time ends one that sleeps for ever.
LIMITED := ulimit -t 300; timeout 3000

$(O)/unit/%.passed: $(O)/unit/%
	@$(LIMITED) $< > $@.log 2>&1 || { status=$$?; cat $@.log; case $$status in \
		124|137|152) echo 'it runs or waits for ever';; esac; \
		echo 'unit test $*: FAILED'; exit 1; }
	@sed -n -e 's/^\[  PASSED  \] \([0-9]*\) test.*/unit $*: \1 passed/p' \
		-e 's/^not run: /unit $*: not run: /p' $@.log
	@touch $@

define unit_rule
$(O)/unit/$1: $(call host_objects,$(HOST_OBJ),tests/unit/test_$1.c tests/unit/main.c \
		$(UNIT_$1)) $(FAKE_LIB)
	@$$(HOST_CC) $$(HOST_SANITIZE) -o $$@ $$^ -lcmocka $$(UNIT_LIBS)
endef
$(foreach u,$(UNITS),$(eval $(call unit_rule,$u)))
$(O)/unit/secretscan: UNIT_LIBS := -lcrypto

$(FAKE_LIB): $(FAKE_OBJ)
	@rm -f $@
	@ar rcs $@ $^

$(HOST_OBJ)/third/%.o: $(THIRD)/%.c | $$(THIRD_PARTY)
	@mkdir -p $(@D)
	@echo "host cc $<"
	@$(HOST_CC) $(HOST_DEF) -w -MMD -MP -c -o $@ $<

$(HOST_OBJ)/%.o: %.c | $$(THIRD_PARTY) $$(GENERATED)
	@mkdir -p $(@D)
	@echo "host cc $<"
	@$(HOST_CC) $(HOST_DEF) $(HOST_WARN) -MMD -MP -c -o $@ $<

$(HOST_OBJ)/%.o: %.asm | $$(THIRD_PARTY) $$(GENERATED)
	@mkdir -p $(@D)
	@$(call assemble,$(HOST_NASM))

-include $(patsubst %.o,%.d,$(FAKE_OBJ) $(HOST_OBJ)/tests/unit/main.o $(foreach u,$(UNITS),\
	$(call host_objects,$(HOST_OBJ),tests/unit/test_$u.c $(UNIT_$u))))

# --- Fuzzers: libFuzzer, with the same fakes ---

include tests/fuzz/fuzz.mk

FUZZERS := $(sort $(patsubst FUZZ_%,%,$(filter FUZZ_%,$(.VARIABLES))))

FUZZING_OBJ := $(O)/fuzz/obj
FUZZING_FLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FUZZING_LIB := $(O)/fuzz/libfake.a
FUZZING_SMOKE_RUNS := 10000
smoke_runs = $(or $(FUZZING_SMOKE_RUNS_$1),$(FUZZING_SMOKE_RUNS))
FUZZING_SECONDS := 600

.PHONY: fuzz-smoke fuzz $(FUZZERS:%=fuzz-%)
fuzz-smoke: $(FUZZERS:%=$(O)/fuzz/%.passed)
# Each for FUZZING_SECONDS. New inputs, and what crashes, stay in $(O)/fuzz/corpus-NAME.
fuzz: $(FUZZERS:%=fuzz-%)
$(FUZZERS:%=fuzz-%): fuzz-%: $(O)/fuzz/%
	@mkdir -p $(O)/fuzz/corpus-$*
	$< -max_total_time=$(FUZZING_SECONDS) -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
		-artifact_prefix=$(O)/fuzz/corpus-$*/ $(O)/fuzz/corpus-$* tests/fuzz/corpus/$*

# Runs the corpus itself, then changed inputs (10,000 for most fuzzers), the same ones each time.
$(O)/fuzz/%.passed: $(O)/fuzz/% $$(wildcard tests/fuzz/corpus/$$*/*)
	@$(LIMITED) $< -runs=0 -artifact_prefix=$(O)/fuzz/$*- tests/fuzz/corpus/$* \
		> $@.log 2>&1 && \
		timeout 3000 $< -runs=$(call smoke_runs,$*) -seed=1 -timeout=10 \
		-artifact_prefix=$(O)/fuzz/$*- $$(mktemp -d -p $(O)/fuzz) \
		tests/fuzz/corpus/$* >> $@.log 2>&1 || \
		{ tail -n 60 $@.log; echo 'fuzzer $*: FAILED'; exit 1; }
	@echo 'fuzzer $*: $(call smoke_runs,$*) runs passed'
	@touch $@

define fuzz_rule
$(O)/fuzz/$1: $(call host_objects,$(FUZZING_OBJ),tests/fuzz/fuzz_$1.c $(FUZZ_$1)) $(FUZZING_LIB)
	@clang $$(FUZZING_FLAGS) -fsanitize=fuzzer -o $$@ $$^
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzz_rule,$f)))

$(FUZZING_LIB): $(FAKE_OBJ:$(HOST_OBJ)/%=$(FUZZING_OBJ)/%)
	@rm -f $@
	@ar rcs $@ $^

# --- What the seeds reach of the files under test: lines, by gcov ---

COVERAGE_OBJ := $(O)/fuzz-coverage/obj
COVERAGE_FLAGS := --coverage -O0
COVERAGE_LIB := $(O)/fuzz-coverage/libfake.a
COVERAGE_LEAST := 85

.PHONY: fuzz-coverage
fuzz-coverage: $(FUZZERS:%=$(O)/fuzz-coverage/%.passed)

# Neither third-party sources nor helpers (COVERAGE_BESIDE in fuzz.mk) are counted.
coverage_of = $(filter-out $(THIRD)/% $(COVERAGE_BESIDE) $(COVERAGE_BESIDE_$1),\
	$(filter %.c,$(FUZZ_$1)))

$(O)/fuzz-coverage/%.passed: $(O)/fuzz-coverage/% tests/fuzz/coverage.py \
		$$(wildcard tests/fuzz/corpus/$$*/*)
	@$(PYTHON) tests/fuzz/coverage.py $< $(COVERAGE_OBJ) tests/fuzz/corpus/$* \
		$(COVERAGE_LEAST) $(call coverage_of,$*)
	@touch $@

define coverage_rule
$(O)/fuzz-coverage/$1: $(call host_objects,$(COVERAGE_OBJ),tests/fuzz/fuzz_$1.c \
		tests/fuzz/replay.c $(FUZZ_$1)) $(COVERAGE_LIB)
	@$$(HOST_CC) $$(HOST_SANITIZE) --coverage -o $$@ $$^
endef
$(foreach f,$(FUZZERS),$(eval $(call coverage_rule,$f)))

$(COVERAGE_LIB): $(FAKE_OBJ:$(HOST_OBJ)/%=$(COVERAGE_OBJ)/%)
	@rm -f $@
	@ar rcs $@ $^

COVERAGE_DEF = $(filter-out -O1,$(HOST_DEF)) $(COVERAGE_FLAGS)

$(COVERAGE_OBJ)/third/%.o: $(THIRD)/%.c | $$(THIRD_PARTY)
	@mkdir -p $(@D)
	@$(HOST_CC) $(filter-out --coverage,$(COVERAGE_DEF)) -w -MMD -MP -c -o $@ $<

$(COVERAGE_OBJ)/%.o: %.c | $$(THIRD_PARTY) $$(GENERATED)
	@mkdir -p $(@D)
	@$(HOST_CC) $(COVERAGE_DEF) $(HOST_WARN) -MMD -MP -c -o $@ $<

$(COVERAGE_OBJ)/%.o: %.asm | $$(THIRD_PARTY) $$(GENERATED)
	@mkdir -p $(@D)
	@$(call assemble,$(HOST_NASM))

-include $(patsubst %.o,%.d,$(FAKE_OBJ:$(HOST_OBJ)/%=$(COVERAGE_OBJ)/%) $(foreach f,$(FUZZERS),\
	$(call host_objects,$(COVERAGE_OBJ),tests/fuzz/fuzz_$f.c tests/fuzz/replay.c $(FUZZ_$f))))

FUZZING_DEF = $(filter-out $(HOST_SANITIZE),$(HOST_DEF)) $(FUZZING_FLAGS)

$(FUZZING_OBJ)/third/%.o: $(THIRD)/%.c | $$(THIRD_PARTY)
	@echo "fuzz cc $<"
	@mkdir -p $(@D)
	@clang $(FUZZING_DEF) -w -MMD -MP -c -o $@ $<

$(FUZZING_OBJ)/%.o: %.c | $$(THIRD_PARTY) $$(GENERATED)
	@echo "fuzz cc $<"
	@mkdir -p $(@D)
	@clang $(FUZZING_DEF) $(HOST_WARN) -MMD -MP -c -o $@ $<

$(FUZZING_OBJ)/%.o: %.asm | $$(THIRD_PARTY) $$(GENERATED)
	@mkdir -p $(@D)
	@$(call assemble,$(HOST_NASM))

-include $(patsubst %.o,%.d,$(FAKE_OBJ:$(HOST_OBJ)/%=$(FUZZING_OBJ)/%) $(foreach f,$(FUZZERS),\
	$(call host_objects,$(FUZZING_OBJ),tests/fuzz/fuzz_$f.c $(FUZZ_$f))))

# --- Tiny guests: bzImages without an operating system ---

GUESTS := $(sort $(patsubst tests/guests/%/main.c,%,$(wildcard tests/guests/*/main.c)))
GUEST_DIR := $(O)/guests
GUEST_CFLAGS := -std=gnu11 -m64 -O2 -g -ffreestanding -fno-pic -no-pie -mcmodel=small \
	-mno-red-zone -mgeneral-regs-only -fno-stack-protector -fno-strict-aliasing \
	-fcf-protection=none \
	-fno-asynchronous-unwind-tables -Wall -Wextra -Wno-unused-parameter -Wshadow \
	-Wno-array-bounds -Werror -I.
GUEST_COMMON := $(GUEST_DIR)/common/entry.asm.o $(GUEST_DIR)/common/traps.asm.o \
	$(GUEST_DIR)/common/runtime.o $(GUEST_DIR)/common/print.o \
	$(GUEST_DIR)/common/ap.asm.o $(GUEST_DIR)/common/cpus.o \
	$(GUEST_DIR)/common/machine.o $(GUEST_DIR)/common/far.o $(GUEST_DIR)/common/vector.o \
	$(GUEST_DIR)/common/virtio.o \
	$(GUEST_DIR)/str_std.o

.PHONY: guests
.SECONDARY:
guests: $(GUESTS:%=$(GUEST_DIR)/%.bin)

# Beside main.c a test may have further .c and .asm files of its own.
$(GUEST_DIR)/%.bin: $(GUEST_DIR)/%/main.o $(GUEST_COMMON) tests/guests/common/guest.lds \
	$$(addsuffix .o,$$(subst tests/guests,$(GUEST_DIR),\
	$$(basename $$(wildcard tests/guests/$$*/*.c)) $$(wildcard tests/guests/$$*/*.asm)))
	@ld -nostdlib -no-pie -z noexecstack --no-warn-rwx-segments \
		-T tests/guests/common/guest.lds -o $(@:.bin=.elf) $(filter %.o,$^)
	@objcopy -O binary $(@:.bin=.elf) $@

$(GUEST_DIR)/%.o: tests/guests/%.c
	@mkdir -p $(@D)
	@gcc $(GUEST_CFLAGS) -MMD -MP -c -o $@ $<

$(GUEST_DIR)/str_std.o: vmm/base/str_std.c
	@mkdir -p $(@D)
	@gcc $(GUEST_CFLAGS) -fno-tree-loop-distribute-patterns -MMD -MP -c -o $@ $<

$(GUEST_DIR)/%.asm.o: tests/guests/%.asm
	@mkdir -p $(@D)
	@$(call assemble)

# Starts one of them on the machine itself, as an oracle.
BARE := $(O)/bare.efi
$(BARE): tests/guests/bare.c | $$(PACKAGES_DONE)
	@mkdir -p $(@D)
	@gcc -O2 -Wall -Wextra -Werror -I/usr/include/efi -I/usr/include/efi/x86_64 -fpic \
		-ffreestanding -fno-stack-protector -fshort-wchar -mno-red-zone \
		-maccumulate-outgoing-args \
		-DEFI_FUNCTION_WRAPPER -c $< -o $@.o
	@ld -nostdlib -znocombreloc -T /usr/lib/elf_x86_64_efi.lds -shared -Bsymbolic \
		/usr/lib/crt0-efi-x86_64.o $@.o -o $@.so -L /usr/lib -lefi -lgnuefi
	@objcopy -j .text -j .sdata -j .data -j .rodata -j .dynamic -j .dynsym -j '.rel*' \
		-j .reloc --target efi-app-x86_64 --subsystem=10 $@.so $@

-include $(GUEST_COMMON:.o=.d) $(GUESTS:%=$(GUEST_DIR)/%/main.d)

# For work on a guest test itself: on QEMU without the hypervisor. ARGS is its command line.
GUEST_ACCEL := tcg -cpu max
guest-%: $(GUEST_DIR)/%.bin
	timeout 120 qemu-system-x86_64 -M q35 -accel $(GUEST_ACCEL) -m 128 -display none \
		-monitor none -serial stdio -no-reboot -kernel $< -append '$(ARGS)' < /dev/null

# --- The scanner of DRAM dumps ---

DRAMSCAN := $(O)/dramscan
$(DRAMSCAN): $(addprefix tests/bus/,dramscan.c keyscan.c secretscan.c keyscan.h secretscan.h \
		marker.h)
	@mkdir -p $(@D)
	@$(HOST_CC) -std=gnu11 -D_GNU_SOURCE -O2 $(HOST_WARN) -I. -o $@ $(filter %.c,$^) -lcrypto

# --- Emulator cases: tests/cases.toml ---

# make case [CASE="guest-* linux-*"]: some cases by name; all of group "test" are part of make test.
CASE_NEEDS = $(O)/BOOTX64.EFI $(BARE) $(GUESTS:%=$(GUEST_DIR)/%.bin) $(BOCHS) $(KERNEL_FILES) \
	$(INITRDS) $(DISK_ROOT) $(NESTED) $(CHAIN) $(ODD) $(DRAMSCAN) $(STICK)
RUN_CASES = $(PYTHON) tests/run_cases.py --build $(BUILD) --efi $(O)/BOOTX64.EFI --bare $(BARE) \
	--guests $(GUEST_DIR) --out $(O)/cases --product $(O) --tally $(O)/tally/case

.PHONY: case test check soak soak-cases soak-fuzz
# For soak alone: the cases debian-*, whose system is made for them, and further kernels.
case: $$(CASE_NEEDS) $$(if $$(findstring debian,$$(CASE)),$$(DEBIAN)) \
		$$(if $$(findstring virtio-disk,$$(CASE)),$$(SOAK_NEEDS))
	@$(RUN_CASES) $(CASE)

# What attacks on memory under KeyIDs and on sealed pages give, each beside its negative control:
# two tables.
.PHONY: attacks
ATTACK_CASES := row-45-46-attacks row-27-45-control-one-key row-45-control-constant-tweak \
	sealed-attacks-on sealed-attacks-off
attacks: $$(CASE_NEEDS)
	@$(RUN_CASES) $(ATTACK_CASES) > $(O)/attacks.log || { cat $(O)/attacks.log; exit 1; }
	@python3 -B tests/bus/attacks.py $(O)/cases
	@python3 -B tests/bus/tampered.py $(O)/cases

# Quick, under 2 minutes once built.
check: lint unit fuzz-smoke fuzz-coverage
	@echo 'check: all passed'
# Runs every part, whatever became of the earlier ones; tally.py counts. A part is a goal of make,
# or several goals with + between them. These run beside each other, because none builds what
# another one needs: so no CPU idles at the end of a goal, or while it downloads. A part with a + at
# its end goes on beside the parts that follow, until the word "wait". Goals run in the background,
# where Ctrl-C does not reach them: the trap ends them. MODEST_PARTS take what CPU time the others
# leave.
PARALLEL = -j$(shell nproc)
run_parts = @trap 'kill 0' INT; start=$$(date +%s); for parts in $1; do \
		[ $$parts = wait ] && { wait; continue; }; \
		pids=; \
		for part in $$(echo $$parts | tr + ' '); do \
			case ' $(MODEST_PARTS) ' in \
				*" $$part "*) nice='nice -n 19';; *) nice=;; esac; \
			{ began=$$(date +%s); \
			$$nice $(MAKE) --no-print-directory -k $(PARALLEL) $$part CASE=; \
			echo "$$part=$$?=$$(($$(date +%s) - began))" >> $(O)/tally/ended; } & \
			pids="$$pids $$!"; \
		done; \
		case $$parts in *+) ;; *) wait $$pids;; esac; \
	done; wait; DL=$(BUILD)/dl $(FETCH_SH) versions $(MACHINE_DIR)/packages; \
	$(PYTHON) tests/tally.py $(O) $$(($$(date +%s) - start)) $$(cat $(O)/tally/ended)

# What the emulator cases need beside the product.
.PHONY: prepare
prepare: $$(BOCHS) $$(KERNEL_FILES) $$(INITRDS) $$(DISK_ROOT) $$(NESTED) $$(CHAIN) $$(ODD) $$(PROBE)
	@echo 'prepare: the emulated machine and its guests are there'

# Everything that fits into 35 minutes on two CPUs.
TEST_PARTS := prepare+ lint unit+fuzz-smoke wait $(TEST_PARTS) case
test: | $$(THIRD_PARTY)
	@rm -rf $(O)/tally $(O)/unit/*.passed* $(O)/fuzz/*.passed*
	@mkdir -p $(O)/tally
	$(call run_parts,$(TEST_PARTS))

# What takes long: the other cases, and an hour for each fuzzer, as many at once as there are CPUs.
SOAK_FUZZ_SECONDS := 3600
soak: | $$(THIRD_PARTY)
	@rm -rf $(O)/tally
	@mkdir -p $(O)/tally
	$(call run_parts,soak-cases soak-fuzz)
soak-cases: $$(CASE_NEEDS) $$(DEBIAN) $$(SOAK_NEEDS)
	@$(RUN_CASES:/case=/soak-cases) --group soak
soak-fuzz:
	@$(MAKE) --no-print-directory -k -j $$(nproc) -O fuzz FUZZING_SECONDS=$(SOAK_FUZZ_SECONDS)

# --- Lint ---

OUR_C := $(sort $(foreach d,vmm vmm/base vmm/console vmm/host crypto ept guest guest/dev boot \
	tests/unit tests/fuzz tests/lint tests/bus tests/machine/rows, \
	$(wildcard $d/*.[ch])) $(wildcard tests/guests/*/*.[ch]))

.PHONY: lint layers circles bootstrap-code headers sizes words noise rows-table branches format
.PHONY: format-check config-table config-table-check shell-table forbidden
lint: sizes words noise layers circles bootstrap-code headers rows-table config-table-check \
	shell-table forbidden branches format-check

# The table of umbra.conf's keys in boot/README.md comes from the rows of boot/config_keys.c.
CONFIG_TABLE := $(O)/config_table
CONFIG_TABLE_C := tests/lint/config_table.c $(CONFIG_KEYS_C) vmm/base/str.c
$(CONFIG_TABLE): $(call host_objects,$(HOST_OBJ),$(CONFIG_TABLE_C)) $(FAKE_LIB)
	@$(HOST_CC) $(HOST_SANITIZE) -o $@ $^

# Says, by the product's own code, what Umbra would read of a folder and measure: for make image and
# predict.
STICK_C := tests/machine/stick.c boot/launch.c guest/engine_policy.c boot/config.c \
	$(CONFIG_KEYS_C) crypto/verify.c crypto/mbedtls_port.c crypto/wipe.c vmm/base/str.c \
	$(MBEDTLS_C)
$(STICK): $(call host_objects,$(HOST_OBJ),$(STICK_C)) $(FAKE_LIB)
	@$(HOST_CC) $(HOST_SANITIZE) -o $@ $^

config-table-check: $(CONFIG_TABLE)
	@$(PYTHON) tests/lint/config_table.py $<
config-table: $(CONFIG_TABLE)
	@$(PYTHON) tests/lint/config_table.py $< --write

shell-table:
	@$(PYTHON) tests/lint/shell_table.py

forbidden:
	@$(PYTHON) tests/lint/forbidden.py

# No branch whose target a guest could have trained, but for four in assembler: three before any
# guest runs or when the machine ends, and one into firmware, which has such branches itself.
branches: $$(O)/BOOTX64.EFI
	@objdump -d --no-show-raw-insn $(O)/umbra.so | awk ' \
		/^[0-9a-f]+ </ { name = $$2 } \
		name ~ /<(boot_enter|host_paging_switch|bootstrap_run|firmware_call)>:/ { next } \
		/(call|jmp) +[*]/ { print "branches: an indirect one in " name; bad = 1 } \
		/<vmx_exit_entry>:/ { seen = 1 } \
		END { if (!seen) print "branches: nothing to look at"; exit bad || !seen }'
	@echo 'branches: none is indirect'

# The objects of the product show which function calls which.
layers: $$(LAYER_OBJ) $$(THIRD_OBJ)
	@$(PYTHON) tests/lint/layers.py $(OBJ)

# And which files need each other.
circles: $$(LAYER_OBJ) $$(THIRD_OBJ)
	@$(PYTHON) tests/lint/circles.py $(OBJ) $(LAYER_OBJ)

# Code that runs while the image's data is unmapped.
bootstrap-code: $$(LAYER_OBJ)
	@$(PYTHON) tests/lint/bootstrap.py $(OBJ)

headers: | $$(THIRD_PARTY) $$(GENERATED)
	@EFI_FLAGS='$(FLAGS_boot/efi)' sh tests/lint/headers.sh $(CC) $(CFLAGS_layer)

sizes:
	@$(PYTHON) tests/lint/sizes.py

words:
	@$(PYTHON) tests/lint/words.py

noise: $$(LAYER_OBJ) $$(THIRD_OBJ)
	@$(PYTHON) tests/lint/noise.py $(OBJ)

rows-table:
	@$(PYTHON) tests/lint/rows.py

format-check: | $$(PACKAGES_DONE)
	@clang-format --dry-run -Werror $(OUR_C)

# make format [FILES="..."]: rewrites them; all of them by default.
format: | $$(PACKAGES_DONE)
	clang-format -i $(or $(FILES),$(OUR_C))
