/* SPDX-License-Identifier: Apache-2.0 */
/* PCONFIG, its structure, and the effect on a KeyID: rows 17 to 25. */
#include "rows.h"

#define LEAF_KEY_PROGRAM 0u
#define RFLAGS_PLAIN	 2ull
#define RFLAGS_BEFORE	 0xed7ull
#define RFLAGS_AFTER	 0x602ull
#define TRIES_MAX	 10u
#define FINGERPRINT_PAGE 1u
#define NON_CANONICAL	 0x8000000000000000ull

void insn_pconfig(void);
void insn_lock_pconfig(void);
void insn_66_pconfig(void);
void insn_f3_pconfig(void);
void insn_f2_pconfig(void);

struct pconfig_result pconfig(uint64_t rax, uint64_t rbx, uint64_t rflags)
{
	struct cpu *cpu = this_cpu();
	struct pconfig_result r = { .rax = rax, .rbx = rbx, .rcx = 0x1111, .rdx = 0x2222 };

	cpu->caught.vector = NO_TRAP;
	__asm__ volatile("leaq 1f(%%rip), %%r11\n\t"
			 "movq %%r11, %[catch]\n\t"
			 "pushq %[flags]\n\t"
			 "popfq\n\t"
			 ".byte 0x0f, 0x01, 0xc5\n"
			 "1:\tpushfq\n\t"
			 "cli\n\t"
			 "cld\n\t"
			 "popq %[flags]\n\t"
			 "movq $0, %[catch]"
			 : "+a"(r.rax), "+b"(r.rbx), "+c"(r.rcx),
			   "+d"(r.rdx), [flags] "+r"(rflags), [catch] "+m"(cpu->catch_rip)
			 :
			 : "r11", "memory", "cc");
	r.trap = (unsigned)cpu->caught.vector;
	r.rflags = rflags;
	return r;
}

unsigned algorithm(void)
{
	unsigned all = (unsigned)(rdmsr(MSR_TME_ACTIVATE) >> 48);

	return all & -all;
}

/* Seed 0 gives 00 01 02 .., the key of the known answers: data key, then tweak key. */
static void key_bytes(struct key_program *key, unsigned alg, unsigned seed)
{
	unsigned bytes = alg == ALG_XTS_256 ? 32 : 16;

	if (seed != 0) {
		pattern(key->field1, seed, bytes);
		pattern(key->field2, seed + 1000, bytes);
		return;
	}
	for (unsigned i = 0; i < bytes; i++) {
		key->field1[i] = (uint8_t)i;
		key->field2[i] = (uint8_t)(bytes + i);
	}
}

void program(struct key_program *key, unsigned keyid, unsigned command, unsigned alg, unsigned seed)
{
	fill(key, 0, sizeof(*key));
	key->keyid = (uint16_t)keyid;
	key->control = command | alg << 8;
	key_bytes(key, alg, seed);
}

struct pconfig_result pconfig_key(const struct key_program *key)
{
	return pconfig(LEAF_KEY_PROGRAM, (uintptr_t)key, RFLAGS_PLAIN);
}

static bool succeeded(const char *what, struct pconfig_result r)
{
	return check_equal(
		what, (r.trap != NO_TRAP ? r.trap << 16 : 0) | r.rax | (r.rflags & RFLAGS_ZF) << 8,
		0);
}

bool set_key(unsigned keyid, unsigned seed)
{
	struct key_program key;

	program(&key, keyid, SET_KEY_DIRECT, algorithm(), seed);
	return succeeded("PCONFIG of a direct key: #vector, ZF, RAX", pconfig_key(&key));
}

void fingerprint(unsigned keyid, uint8_t line[LINE_BYTES])
{
	uint64_t at = test_page(FINGERPRINT_PAGE);
	uint8_t plain[LINE_BYTES];

	pattern(plain, 77, LINE_BYTES);
	evict_all();
	copy(alias(keyid, at), plain, LINE_BYTES);
	evict(keyid, at);
	bus_read(at, line, LINE_BYTES);
}

static void faults(const char *what, const struct key_program *key)
{
	struct pconfig_result r = pconfig_key(key);

	if (check_equal(what, r.trap, VECTOR_GP)) {
		check_equal("  its error code", this_cpu()->caught.error, 0);
	}
}

/* 17: only a plain PCONFIG at CPL 0, on a CPU that has it, is valid. */
static void row_17(void)
{
	bool there = cpuid(7, 0).edx & BIT(18);

	if (there) {
		check_equal("PCONFIG at CPL 3: vector", try_user(insn_pconfig), VECTOR_UD);
		check_equal("LOCK PCONFIG", try_call(insn_lock_pconfig), VECTOR_UD);
		check_equal("66H PCONFIG", try_call(insn_66_pconfig), VECTOR_UD);
		check_equal("F3H PCONFIG", try_call(insn_f3_pconfig), VECTOR_UD);
		check_equal("F2H PCONFIG", try_call(insn_f2_pconfig), VECTOR_UD);
		/* At CPL 0 the same instruction gets as far as the check of KeyID 0. */
		check_equal("PCONFIG at CPL 0", try_call(insn_pconfig), VECTOR_GP);
		return;
	}
	check_equal("PCONFIG without its CPUID bit: vector", try_call(insn_pconfig), VECTOR_UD);
}

/* 18: valid addresses of the structure. */
static void row_18(void)
{
	static struct {
		struct key_program whole[2];
	} at;
	uintptr_t good = (uintptr_t)&at.whole[0];

	program(&at.whole[0], 1, SET_KEY_DIRECT, algorithm(), 3);
	copy((uint8_t *)good + 0x40, &at.whole[0], 192);
	check_equal("RBX + 40H: vector", pconfig(0, good + 0x40, 2).trap, VECTOR_GP);
	check_equal("RBX not canonical", pconfig(0, good | NON_CANONICAL, 2).trap, VECTOR_GP);
	check_equal("RBX not mapped", pconfig(0, UNMAPPED_VA, 2).trap, VECTOR_PF);
	check_equal("  its address", this_cpu()->caught.cr2, UNMAPPED_VA);
	check_equal("  its error code", this_cpu()->caught.error, 0);
	check_equal("RBX not mapped and + 40H", pconfig(0, UNMAPPED_VA + 0x40, 2).trap, VECTOR_GP);
	check_equal("leaf 1: vector", pconfig(1, good, 2).trap, VECTOR_GP);
	check_equal("leaf 3: vector", pconfig(3, good, 2).trap, VECTOR_GP);
}

/* Runs the calls and checks that KeyID 1 has not changed. */
static void unchanged(void (*calls)(void))
{
	uint8_t before[LINE_BYTES], now[LINE_BYTES];
	bool usable = keyid_bits() > tdx_bits();

	if (usable) {
		set_key(1, 5);
		fingerprint(1, before);
	}
	calls();
	if (usable) {
		fingerprint(1, now);
		check_bytes("KeyID 1 makes the same ciphertext as before", now, before, LINE_BYTES);
	}
}

static void bad_keyid(unsigned keyid)
{
	struct key_program key;

	program(&key, keyid, SET_KEY_DIRECT, algorithm(), 9);
	print("  KeyID %u:\n", keyid);
	faults("  vector", &key);
}

static void bad_keyids(void)
{
	unsigned k = keyid_bits(), p = tdx_bits();
	unsigned keys = rdmsr(MSR_TME_CAPABILITY) >> 36 & 0x7fff;

	bad_keyid(0);
	bad_keyid(1u << k);
	bad_keyid(0xffff);
	if (keys + 1 < 1u << k) {
		bad_keyid(keys + 1);
	}
	if (p != 0) {
		bad_keyid(1u << (k - p));
		bad_keyid((1u << k) - 1);
	}
}

/* 19: KeyIDs that do not exist. */
static void row_19(void)
{
	unchanged(bad_keyids);
}

static void bad_algorithms(void)
{
	static const unsigned tried[] = { 0, 1, 2, 3, 4, 5, 8, 0x10, 0x8000 };
	unsigned active = (unsigned)(rdmsr(MSR_TME_ACTIVATE) >> 48);
	struct key_program key;

	for (unsigned command = SET_KEY_DIRECT; command <= NO_ENCRYPT; command++) {
		for (size_t i = 0; i < ARRAY_COUNT(tried); i++) {
			unsigned alg = tried[i];

			if (alg != 0 && (alg & (alg - 1)) == 0 && (alg & active) != 0) {
				continue;
			}
			program(&key, 1, command, alg, 9);
			print("  command %u, ENC_ALG %x:\n", command, alg);
			faults("  vector", &key);
		}
	}
}

/* 20: ENC_ALG must have exactly one activated bit, even if no key is given. */
static void row_20(void)
{
	unchanged(bad_algorithms);
}

static void bad_commands(void)
{
	struct key_program key;

	program(&key, 1, 4, algorithm(), 9);
	faults("command 4: vector", &key);
	program(&key, 1, 0xff, algorithm(), 9);
	faults("command 255: vector", &key);
	for (unsigned bit = 24; bit < 32; bit++) {
		program(&key, 1, SET_KEY_DIRECT, algorithm(), 9);
		key.control |= 1u << bit;
		print("  KEYID_CTRL[%u]:\n", bit);
		faults("  vector", &key);
	}
}

/* 21: commands that do not exist, and reserved bits. */
static void row_21(void)
{
	unchanged(bad_commands);
}

static void stuffed(struct key_program *key, bool reserved, bool rest)
{
	unsigned used = algorithm() == ALG_XTS_256 ? 32 : 16;

	program(key, 1, SET_KEY_DIRECT, algorithm(), 6);
	if (reserved) {
		fill(key->ignored, 0xff, sizeof(key->ignored));
	}
	if (rest) {
		fill(key->field1 + used, 0xff, 64 - used);
		fill(key->field2 + used, 0xff, 64 - used);
		fill(key->unread, 0xff, sizeof(key->unread));
	}
}

/* 22: bytes 6 to 63, and key bytes beyond the key's length, are ignored. */
static void row_22(void)
{
	uint8_t plain_key[LINE_BYTES], now[LINE_BYTES];
	struct key_program key;

	set_key(1, 6);
	fingerprint(1, plain_key);
	set_key(1, 7);
	stuffed(&key, true, true);
	succeeded("with FFH in bytes 6-63 and above the keys: #vector, ZF, RAX", pconfig_key(&key));
	fingerprint(1, now);
	check_bytes("the key is that of the bytes in use", now, plain_key, LINE_BYTES);
}

static void legacy(const char *what, unsigned keyid, unsigned command, unsigned alg, uint64_t code)
{
	struct key_program key;
	struct pconfig_result r;

	program(&key, keyid, command, alg, 9);
	r = pconfig_key(&key);
	check_equal(what, r.trap != NO_TRAP ? r.trap << 16 : r.rax, code);
	check_equal("  ZF", r.rflags & RFLAGS_ZF, RFLAGS_ZF);
}

static void legacy_calls(void)
{
	struct key_program key;

	stuffed(&key, true, false);
	faults("FFH in bytes 6-63: vector", &key);
	stuffed(&key, false, true);
	faults("FFH above the keys: vector", &key);
	legacy("command 4: RAX", 1, 4, algorithm(), 1);
	legacy("KeyID 0: RAX", 0, SET_KEY_DIRECT, algorithm(), 3);
	legacy("KeyID 2^k: RAX", 1u << keyid_bits(), SET_KEY_DIRECT, algorithm(), 3);
	legacy("ENC_ALG 0: RAX", 1, SET_KEY_DIRECT, 0, 4);
}

/*
 * 22 as in older documents (PCONFIG_LEGACY=on): those bytes must be 0, and there are error codes.
 */
static void row_22_legacy(void)
{
	unchanged(legacy_calls);
}

/* 23: flags and registers after success. */
static void row_23(void)
{
	struct key_program key;
	struct pconfig_result r;

	program(&key, 1, SET_KEY_DIRECT, algorithm(), 8);
	r = pconfig(0xffffffff00000000ull, (uintptr_t)&key, RFLAGS_BEFORE);
	check_equal("trap", r.trap, NO_TRAP);
	check_equal("RAX (its upper half is ignored before)", r.rax, 0);
	check_equal("RFLAGS after ED7H", r.rflags, RFLAGS_AFTER);
	check_equal("RBX", r.rbx, (uintptr_t)&key);
	check_equal("RCX", r.rcx, 0x1111);
	check_equal("RDX", r.rdx, 0x2222);
}

/* As a driver does: tries again while busy, but not for ever. Returns the number of calls. */
static unsigned persist(const struct key_program *key, unsigned code, struct pconfig_result *last)
{
	unsigned calls = 0;

	do {
		*last = pconfig_key(key);
		calls++;
	} while (calls < TRIES_MAX && last->trap == NO_TRAP && (last->rflags & RFLAGS_ZF) &&
		 last->rax == code);
	return calls;
}

static void retried(unsigned command, unsigned code, unsigned failures)
{
	uint8_t before[LINE_BYTES], now[LINE_BYTES];
	struct key_program key;
	struct pconfig_result r;
	bool ends = failures < TRIES_MAX;

	fingerprint(1, before);
	program(&key, 1, command, algorithm(), 12);
	check_equal("calls", persist(&key, code, &r), ends ? failures + 1 : TRIES_MAX);
	check_equal("trap", r.trap, NO_TRAP);
	check_equal("RAX", r.rax, ends ? 0 : code);
	check_equal("ZF", r.rflags & RFLAGS_ZF, ends ? 0 : RFLAGS_ZF);
	check_equal("CF, PF, AF, SF, OF", r.rflags & 0x895, 0);
	fingerprint(1, now);
	if (ends) {
		check_garbage("KeyID 1 has another key", now, before, LINE_BYTES);
	} else {
		check_bytes("KeyID 1 is as before", now, before, LINE_BYTES);
	}
}

/* 24: BUSY_N=3 ends, at BUSY_N=100 it gives up, RNG_FAIL_N=1 ends. */
static void row_24_busy_3(void)
{
	retried(SET_KEY_DIRECT, DEVICE_BUSY, 3);
}

static void row_24_busy_100(void)
{
	retried(SET_KEY_DIRECT, DEVICE_BUSY, 100);
}

static void row_24_entropy(void)
{
	retried(SET_KEY_RANDOM, ENTROPY_ERROR, 1);
}

/* Programs KeyID 1 with a random key, and KeyID 2 with the key that this must be. */
static void random_key(uint8_t line[LINE_BYTES])
{
	uint8_t delivered[128], same[LINE_BYTES];
	struct key_program key;

	program(&key, 1, SET_KEY_RANDOM, algorithm(), 20);
	succeeded("PCONFIG of a random key: #vector, ZF, RAX", pconfig_key(&key));
	fingerprint(1, line);
	last_random(delivered);
	program(&key, 2, SET_KEY_DIRECT, algorithm(), 20);
	for (unsigned i = 0; i < 64; i++) {
		key.field1[i] ^= delivered[i];
		key.field2[i] ^= delivered[64 + i];
	}
	succeeded("PCONFIG of that key by hand: #vector, ZF, RAX", pconfig_key(&key));
	fingerprint(2, same);
	check_bytes("random key = generator XOR entropy field", line, same, LINE_BYTES);
}

/* 25: a random key is the generator's output XOR the field. */
static void row_25(void)
{
	uint8_t first[LINE_BYTES], second[LINE_BYTES], direct[LINE_BYTES];

	random_key(first);
	random_key(second);
	check_garbage("the second key is another", second, first, LINE_BYTES);
	set_key(1, 20);
	fingerprint(1, direct);
	check_garbage("and not the field alone", second, direct, LINE_BYTES);
}

const struct row pconfig_rows[] = {
	{ "17", row_17 },
	{ "18", row_18 },
	{ "19", row_19 },
	{ "20", row_20 },
	{ "21", row_21 },
	{ "22", row_22 },
	{ "22-legacy", row_22_legacy },
	{ "23", row_23 },
	{ "24-busy-3", row_24_busy_3 },
	{ "24-busy-100", row_24_busy_100 },
	{ "24-entropy", row_24_entropy },
	{ "25", row_25 },
	{ NULL, NULL },
};
