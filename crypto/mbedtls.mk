# SPDX-License-Identifier: Apache-2.0
# Which files of mbedTLS 3.6 crypto/mbedtls_config.h needs. Included by the top Makefile, which
# compiles them with the product's flags for C from outside plus -fbuiltin: -ffreestanding alone
# makes a call of every 16-byte memcpy in the XTS loop, and a page then costs three times as much.

MBEDTLS_SRC := aes.c aesni.c constant_time.c ctr_drbg.c hkdf.c md.c platform_util.c sha256.c \
	sha512.c

# Its assembly names XMM registers, which -mgeneral-regs-only forbids; -msse2 after it lifts that
# for this one file. crypto/simd.h brackets every call.
$(O)/obj/third/mbedtls/library/aesni.o: \
	FLAGS_third/mbedtls := -fbuiltin -msse2 -fno-tree-vectorize
