# SPDX-License-Identifier: Apache-2.0
# The model of TME-MK by itself: its unit test, under ASan and UBSan, and its fuzzer.

TME_DIR := $(MACHINE_DIR)/tme
TME_SRC := $(addprefix $(TME_DIR)/,xts.cc config.cc regs.cc memory.cc strict.cc)
TME_FLAGS := -std=c++11 -g -O1 -Wall -Wextra -Wshadow -Werror -fno-sanitize-recover=all

.PHONY: unit-tme_model fuzz-tme_model
unit: $(O)/unit/tme_model.passed
unit-tme_model: $(O)/unit/tme_model
	$<
TME_TEST := $(addprefix $(TME_DIR)/,test_tme.cc test_memory.cc test_strict.cc)
$(O)/unit/tme_model: $(TME_TEST) $(TME_SRC) $(TME_DIR)/test_tme.h $(TME_DIR)/tme.h \
		| $(PACKAGES_DONE)
	@mkdir -p $(@D)
	@echo "host c++ $<"
	@g++ $(TME_FLAGS) -fsanitize=address,undefined -o $@ $(filter %.cc,$^) -lcrypto -lcmocka

fuzz-smoke: $(O)/fuzz/tme_model.passed
fuzz: fuzz-tme_model
fuzz-tme_model: $(O)/fuzz/tme_model
	@mkdir -p $(O)/fuzz/corpus-tme_model
	$< -max_total_time=$(FUZZING_SECONDS) -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
		-artifact_prefix=$(O)/fuzz/corpus-tme_model/ $(O)/fuzz/corpus-tme_model \
		tests/fuzz/corpus/tme_model
$(O)/fuzz/tme_model: $(TME_DIR)/fuzz_tme.cc $(TME_SRC) $(TME_DIR)/tme.h | $(PACKAGES_DONE)
	@mkdir -p $(@D)
	@echo "fuzz c++ $<"
	@clang++ $(TME_FLAGS) -fsanitize=fuzzer,address,undefined -o $@ $(filter %.cc,$^) -lcrypto

# A stock Linux without Umbra under the profiles; part of make test.
.PHONY: tme-linux
tme-linux: $(BOCHS) $(CHAIN) $(THIRD)/kernel/bookworm-cloud/vmlinuz $(INITRD_TEST)
	@python3 -B $(TME_DIR)/linux.py $(BUILD) $(O)/tme-linux

# Does the model cost a machine that has none? Beside a Bochs that is built without its hooks.
BOCHS_NO_TME := $(THIRD)/bochs-no-tme/bochs
.PHONY: tme-ratio
tme-ratio: $(BOCHS) $(BOCHS_NO_TME) $(CHAIN) $(THIRD)/kernel/bookworm-cloud/vmlinuz $(INITRD_TEST)
	@python3 -B $(TME_DIR)/linux.py $(BUILD) $(O)/tme-ratio $(dir $(BOCHS_NO_TME))
$(BOCHS_NO_TME): $(BOCHS_PARTS) | $(PACKAGES_DONE)
	$(ONCE) sh $(MACHINE_DIR)/bochs/build.sh $(@D) -DMACHINE_NO_TME
