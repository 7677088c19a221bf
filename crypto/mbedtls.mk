# SPDX-License-Identifier: Apache-2.0
# The files of mbedTLS 3.6 that crypto/mbedtls_config.h needs. The top Makefile includes this file
# and compiles them with the flags for third-party C plus -fbuiltin. With -ffreestanding alone,
# every 16-byte memcpy in the XTS loop is a call, and a page takes three times as long.

MBEDTLS_SRC := aes.c aesni.c asn1parse.c asn1write.c bignum.c bignum_core.c constant_time.c \
	ctr_drbg.c ecdsa.c ecp.c ecp_curves.c hkdf.c md.c platform_util.c sha256.c sha512.c

# The assembly in aesni.c names XMM registers, which -mgeneral-regs-only forbids; -msse2 after it
# allows them for this one file. Every call is between the save and restore of crypto/simd.h.
$(O)/obj/third/mbedtls/library/aesni.o: \
	FLAGS_third/mbedtls := -fbuiltin -msse2 -fno-tree-vectorize
