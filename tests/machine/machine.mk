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
INIH_DONE := $(THIRD)/inih/.done
ZYCORE_DONE := $(THIRD)/zycore/.done
ZYDIS_DONE := $(THIRD)/zydis/.done
FONT_DONE := $(THIRD)/font/.done

# What the product is built from.
THIRD_PARTY := $(PACKAGES_DONE) $(MBEDTLS_DONE) $(INIH_DONE) $(ZYCORE_DONE) $(ZYDIS_DONE) \
	$(FONT_DONE)

.PHONY: packages third
packages: $(PACKAGES_DONE)
third: $(THIRD_PARTY)

$(PACKAGES_DONE): $(MACHINE_DIR)/packages
	$(ONCE) $(FETCH_SH) packages $<

$(MBEDTLS_DONE): | $(PACKAGES_DONE)
	$(ONCE) $(FETCH_SH) source mbedtls $(@D)

$(INIH_DONE): | $(PACKAGES_DONE)
	$(ONCE) $(FETCH_SH) source libinih $(@D)

$(ZYCORE_DONE): | $(PACKAGES_DONE)
	$(ONCE) $(FETCH_SH) source zycore-c $(@D)

$(ZYDIS_DONE): | $(PACKAGES_DONE)
	$(ONCE) $(FETCH_SH) source zydis $(@D)

# Uni2-Fixed16: the public-domain "fixed" font of X11, 8x16, 512 glyphs, PSF 1.
$(FONT_DONE): $(MACHINE_DIR)/font.sh | $(PACKAGES_DONE)
	$(ONCE) sh $(MACHINE_DIR)/font.sh $(@D)

$(THIRD)/inih/ini.c $(THIRD)/inih/ini.h: $(INIH_DONE) ;
$(THIRD)/font/font.psf: $(FONT_DONE) ;
