/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks that a page cipher leaves the vector registers, the mask registers, MXCSR and x87
 * unchanged. Tests the objects that are linked into the product, with each cipher that this host
 * can run, and with upper halves in use or not. Exits with 0 on success.
 */
#include <cpuid.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/page_cipher.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"

#define AREA	  8192
#define MXCSR	  24
#define ST	  32
#define XMM	  160
#define XSTATE_BV 512
#define ALL	  0xe7ul /* x87, SSE, AVX, AVX-512 */

typedef uint8_t area_t[AREA] __attribute__((aligned(64)));

static area_t set, got;
static uint8_t pages[4][4096] __attribute__((aligned(4096)));
static struct page_key key;
static struct page_mac_key mac;
static bool broken; /* a tag was not what it should be */
static uint64_t mask, state = 1;

/* Loads every register from its first argument, calls the third, and saves all into the second. */
void registers_around(const uint8_t *from, uint8_t *to, void (*call)(void), uint64_t components);
__asm__(".globl registers_around\n"
	"registers_around:\n\t"
	"push %rbx\n\tpush %r12\n\tpush %r13\n\tsub $8256, %rsp\n\t"
	"lea 64(%rsp), %r13\n\tand $-64, %r13\n\t"
	"mov %rsi, %rbx\n\tmov %rdx, %r8\n\tmov %rcx, %r12\n\tmov %rcx, %rax\n\txor %edx, %edx\n\t"
	"movq $0, 512(%r13)\n\tmovq $0, 520(%r13)\n\tmovq $0, 528(%r13)\n\t"
	"movq $0, 536(%r13)\n\tmovq $0, 544(%r13)\n\tmovq $0, 552(%r13)\n\t"
	"movq $0, 560(%r13)\n\tmovq $0, 568(%r13)\n\t"
	"xsave64 (%r13)\n\t"
	"mov %r12, %rax\n\txor %edx, %edx\n\txrstor64 (%rdi)\n\t"
	"call *%r8\n\t"
	"mov %r12, %rax\n\txor %edx, %edx\n\txsave64 (%rbx)\n\t"
	"xrstor64 (%r13)\n\t"
	"add $8256, %rsp\n\tpop %r13\n\tpop %r12\n\tpop %rbx\n\tret\n");

static uint8_t random_byte(void)
{
	state = state * 6364136223846793005ul + 1442695040888963407ul;
	return (uint8_t)(state >> 56);
}

/* Random bits. The control word and MXCSR are valid; components that are not in use are zero. */
static void make_pattern(uint64_t in_use)
{
	unsigned a, b, c, d;

	memset(set, 0, sizeof(set));
	set[0] = 0x7f;
	set[1] = 0x03;
	set[4] = 0xff;
	set[MXCSR] = 0x80;
	set[MXCSR + 1] = 0x1f | (random_byte() & 0xe0);
	for (unsigned i = 0; i < 128; i++) {
		set[ST + i] = i % 16 < 10 ? random_byte() : 0;
	}
	for (unsigned i = 0; i < 256; i++) {
		set[XMM + i] = random_byte();
	}
	for (unsigned n = 2; n < 8; n++) {
		if ((in_use >> n & 1) != 0) {
			__cpuid_count(0xd, n, a, b, c, d);
			for (unsigned i = 0; i < a; i++) {
				set[b + i] = random_byte();
			}
		}
	}
	*(uint64_t *)(void *)(set + XSTATE_BV) = in_use;
}

static int differs(const char *what, uint64_t in_use, const char *part, unsigned from, unsigned n)
{
	if (memcmp(set + from, got + from, n) == 0) {
		return 0;
	}
	printf("%s by %s, components %#lx in use: %s is not what it was\n", what,
	       page_cipher_name(), in_use, part);
	return 1;
}

static int check(const char *what, void (*call)(void), uint64_t in_use)
{
	static const char *const part[] = { "", "", "YMM", "", "", "k", "ZMM", "ZMM16-31" };
	unsigned a, b, c, d;
	int bad;

	make_pattern(in_use);
	memset(got, 0, sizeof(got));
	registers_around(set, got, call, mask);
	bad = differs(what, in_use, "x87 control", 0, 5) +
	      differs(what, in_use, "MXCSR", MXCSR, 4) + differs(what, in_use, "x87", ST, 128) +
	      differs(what, in_use, "XMM", XMM, 256);
	for (unsigned n = 2; n < 8; n++) {
		if ((mask >> n & 1) != 0) {
			__cpuid_count(0xd, n, a, b, c, d);
			bad += differs(what, in_use, part[n], b, a);
		}
	}
	return bad;
}

static const struct page_item items[2] = { { pages[0], pages[0], { 1 } },
					   { pages[1], pages[2], { 2 } } };

static void encrypt(void)
{
	page_encrypt(&key, items, 2);
}

static void decrypt(void)
{
	page_decrypt(&key, items, 2);
}

static void exchange(void)
{
	struct page_job seal = { .key = &key, .in = pages[0], .out = pages[0] };
	struct page_job open = { .key = &key, .in = pages[1], .out = pages[2] };

	(void)page_exchange(&seal, &open);
}

static void tags(void)
{
	struct page_job seal = {
		.key = &key, .mac = &mac, .in = pages[0], .out = pages[1], .scratch = pages[0]
	};
	struct page_job open = { .key = &key, .mac = &mac, .in = pages[1], .out = pages[2] };
	uint8_t tag[PAGE_TAG_BYTES];

	(void)page_exchange(&seal, NULL);
	memcpy(open.tag, seal.tag, sizeof(open.tag));
	seal.out = pages[3];
	broken |= !page_exchange(&seal, &open);
	page_tag_name(&mac, open.name, tag);
}

static void nothing(void)
{
}

static void scramble(void)
{
	__asm__ volatile("pxor %xmm7, %xmm7");
}

uint64_t page_xts_wrapped_enc(const uint8_t *wrapped, const uint8_t *ignored,
			      const struct page_item *item, size_t count,
			      const struct page_item *ahead);
uint64_t page_xts_wrapped_dec(const uint8_t *wrapped, const uint8_t *ignored,
			      const struct page_item *item, size_t count,
			      const struct page_item *ahead);

static uint8_t changed[PAGE_KEY_WRAPPED_BYTES]; /* no key's wrapped form */

static void refused_enc(void)
{
	broken |= page_xts_wrapped_enc(changed, NULL, items, 1, items) != 0;
}

static void refused_dec(void)
{
	broken |= page_xts_wrapped_dec(changed, NULL, items, 1, items) != 0;
}

/* Before a panic no vector register has a piece of the master key. */
static int check_cleared(const char *what, void (*call)(void))
{
	static const area_t zeros;
	unsigned a, b, c, d;
	int bad;

	make_pattern(mask);
	memset(got, 0xff, sizeof(got));
	registers_around(set, got, call, mask);
	bad = memcmp(got + XMM, zeros, 256) != 0;
	for (unsigned n = 2; n < 8; n++) {
		if ((mask & 0xc4) >> n & 1) {
			__cpuid_count(0xd, n, a, b, c, d);
			bad |= (*(uint64_t *)(void *)(got + XSTATE_BV) >> n & 1) != 0 &&
			       memcmp(got + b, zeros, a) != 0;
		}
	}
	if (bad != 0) {
		printf("%s leaves something in vector registers\n", what);
	}
	return bad;
}

static int check_calls(unsigned *checks)
{
	static const uint64_t in_use[] = { 0x03, 0x07, 0xe7, 0x27, 0x47, 0x87, 0xc3, 0x67, 0xa7 };
	int bad = 0;

	for (unsigned i = 0; i < sizeof(in_use) / sizeof(in_use[0]); i++) {
		bad += check("page_encrypt", encrypt, in_use[i] & mask);
		bad += check("page_decrypt", decrypt, in_use[i] & mask);
		bad += check("page_exchange", exchange, in_use[i] & mask);
		bad += check("tags", tags, in_use[i] & mask);
		*checks += 4;
	}
	return bad;
}

int main(void)
{
	static const char *const names[] = { "mbedtls", "aesni", "vaes256", "vaes512" };
	uint8_t bytes[64];
	unsigned lo, hi, checks = 0;
	int bad = 0;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	mask = lo & ALL;
	for (unsigned i = 0; i < 64; i++) {
		bytes[i] = (uint8_t)i;
	}
	bad += check("a function that uses nothing", nothing, mask);
	printf("(expected: ) ");
	if (check("a function that uses XMM7", scramble, mask) != 1) {
		bad++;
	}
	for (unsigned size = 32; size <= 64; size += 32) {
		bad += page_key_set(&key, bytes, size) != 0;
		bad += page_mac_key_set(&mac, bytes) != 0;
		for (unsigned n = 0; n < 4; n++) {
			if (page_cipher_init(names[n]) != 0) {
				if (size == 32) {
					printf("not run: page cipher %s: this host's CPU lacks "
					       "it\n",
					       names[n]);
				}
				continue;
			}
			bad += check_calls(&checks);
		}
	}
	if (page_cipher_init("vaes512") == 0) {
		page_cipher_wrap_keys();
		bad += page_key_set(&key, bytes, sizeof(bytes)) != 0;
		bad += check_calls(&checks);
		bad += check_cleared("page_xts_wrapped_enc", refused_enc);
		bad += check_cleared("page_xts_wrapped_dec", refused_dec);
		bad += check_cleared("cpu_clear_vector_registers", cpu_clear_vector_registers);
	}
	printf("registers compared around %u calls\n", checks);
	if (bad != 0 || broken || checks == 0) {
		printf("[  FAILED  ] page_regs\n");
		return 1;
	}
	printf("[  PASSED  ] 1 test(s).\n");
	return 0;
}
