/* SPDX-License-Identifier: Apache-2.0 */
/* The model by itself: known answers, registers, PCONFIG, memory in both fidelities. */

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

#include "tme.h"

extern "C" {
#include <cmocka.h>
}

using namespace tme;

#define RAM_BYTES   (32u << 20)
#define TEST_PAGE   0x1000000ull /* the KATs' address */
#define CPUS        4
#define ZF_CODES(r) ((int) (r))

static std::vector<uint8_t> ram;
static std::vector<std::string> lines;
static unsigned aborts;

static uint8_t *page(uint64_t mem)
{
  assert_true(mem % PAGE == 0 && mem < RAM_BYTES);
  return &ram[mem];
}

static void forget(uint64_t) {}
static void forget_all(void) {}
static void report(const char *line) { lines.push_back(line); }
static uint64_t rip(int cpu) { return 0x1000u + (unsigned) cpu; }
static void on_abort(const char *) { aborts++; }

static const Host host = { page, forget, forget_all, report, rip, on_abort };

static std::unique_ptr<Model> machine(const char *words)
{
  Config config;
  std::string why;

  if (!config.parse(words, &why)) fail_msg("%s", why.c_str());
  ram.assign(RAM_BYTES, 0);
  lines.clear();
  aborts = 0;
  return std::unique_ptr<Model>(new Model(config, host, RAM_BYTES, CPUS));
}

static bool refused(const char *words)
{
  Config config;
  std::string why;

  return !config.parse(words, &why) && !why.empty();
}

static std::vector<uint8_t> unhex(const char *text)
{
  std::vector<uint8_t> bytes;
  unsigned byte;

  for (; sscanf(text, "%2x", &byte) == 1; text += 2) bytes.push_back((uint8_t) byte);
  return bytes;
}

static std::vector<uint8_t> count_from(unsigned first, size_t count)
{
  std::vector<uint8_t> bytes(count);

  for (size_t n = 0; n < count; n++) bytes[n] = (uint8_t) (first + n);
  return bytes;
}

/* --- AES-XTS -----------------------------------------------------------------------------------*/

#define KAT_128 "f32a8219e7932a42dcf7e043aa9bc25f1d0806ce02527c0c6decc8c54174a72be3ef2afc353e8105" \
  "0419cfa378a09a781ac728098a0c71e2131587b283c9b02d"
#define KAT_128_NEXT "2c1a50a8a291aaaa7d89ddb49d66b6989c2434dcf445061acc2314c5633586420ac165180a5534" \
  "2ae08e02c43863d3434db369aab3fbb7d6dc5e5d1af74a6ae3"
#define KAT_128_ZERO "e6fc83cc9131baea2d36add77b9aef521f23e9b448c38457911e378739b2e2b16a4f6a293a15bc" \
  "c2dede93a3a18a176b7a1a988ad13236e8731c4dec077ad315"
#define KAT_256 "0a7b660ff33d002aea307b4ed6e7953af10e041f979a8bee04425767bfba751b252b5544d3c7ed90" \
  "7945a4ce47de44a50bc72998acb3f0a82872f26a9cc5f8c0"

static void check_kat(unsigned k1, unsigned k2, bool counting, size_t key_bytes, uint64_t mem,
                      std::vector<uint8_t> text, const char *expected)
{
  std::vector<uint8_t> data = counting ? count_from(k1, key_bytes)
                                       : std::vector<uint8_t>(key_bytes, (uint8_t) k1);
  std::vector<uint8_t> tweak = counting ? count_from(k2, key_bytes)
                                        : std::vector<uint8_t>(key_bytes, (uint8_t) k2);
  std::vector<uint8_t> plain = text, want = unhex(expected);
  Xts xts(data.data(), tweak.data(), key_bytes);

  xts.encrypt(mem, text.data(), 1);
  assert_memory_equal(text.data(), want.data(), want.size());
  xts.decrypt(mem, text.data(), 1);
  assert_memory_equal(text.data(), plain.data(), plain.size());
}

static void test_known_answers(void **)
{
  std::vector<uint8_t> zero(LINE), four(LINE, 0x44), count = count_from(0, LINE);

  /* IEEE 1619, vectors 1 and 2: they are 32 bytes, which are the first of a line of 64. */
  check_kat(0, 0, false, 16, 0, zero,
            "917cf69ebd68b2ec9b9fe9a3eadda692cd43d2f59598ed858c02c2652fbf922e");
  check_kat(0x11, 0x22, false, 16, 0x3333333333ull * LINE, four,
            "c454185e6a16936e39334038acef838bfb186fff7480adc4289382ecd6d394f0");
  check_kat(0, 0x10, true, 16, TEST_PAGE, count, KAT_128);
  check_kat(0, 0x10, true, 16, TEST_PAGE + LINE, count, KAT_128_NEXT);
  check_kat(0, 0x10, true, 16, TEST_PAGE, zero, KAT_128_ZERO);
  check_kat(0, 0x20, true, 32, TEST_PAGE, count, KAT_256);
}

/* A page at once equals OpenSSL's own XTS, line by line. */
static void test_against_openssl(void **)
{
  uint8_t key[64], text[PAGE], want[PAGE], unit[16];

  srand(1);
  for (unsigned round = 0; round < 200; round++) {
    size_t bytes = round & 1 ? 32 : 16;
    uint64_t mem = ((uint64_t) rand() << 12) + ((uint64_t) rand() << 30);
    mem &= ~(uint64_t) (PAGE - 1);
    for (uint8_t &b : key) b = (uint8_t) rand();
    for (uint8_t &b : text) b = (uint8_t) rand();
    for (unsigned n = 0; n < LINES; n++) {
      EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
      uint64_t number = mem / LINE + n;
      int out = 0;
      memset(unit, 0, sizeof(unit));
      memcpy(unit, &number, sizeof(number));
      assert_int_equal(EVP_EncryptInit_ex(ctx, bytes == 32 ? EVP_aes_256_xts() : EVP_aes_128_xts(),
                                          NULL, key, unit), 1);
      assert_int_equal(EVP_EncryptUpdate(ctx, want + n * LINE, &out, text + n * LINE, LINE), 1);
      EVP_CIPHER_CTX_free(ctx);
    }
    Xts(key, key + bytes, bytes).encrypt(mem, text, LINES);
    assert_memory_equal(text, want, PAGE);
  }
}

/* --- Registers ---------------------------------------------------------------------------------*/

static uint64_t msr(Model &m, uint32_t index, unsigned cpu = 0)
{
  uint64_t value = ~0ull;

  assert_int_equal(m.read_msr(cpu, index, &value), MSR_OK);
  return value;
}

static void test_profiles(void **)
{
  static const struct { const char *name; uint64_t cap, act; } made[] = {
    { "P2", 0x1, 0x3 }, { "P3", 0x3f680000001, 0x0001000600000003 },
    { "P4", 0xf480000004, 0x0004000400000023 }, { "P5", 0x7f780000005, 0x0004000700000023 },
    { "P6", 0x3f68000000f, 0x0001001680000003 }, { "P7", 0x3f68000000f, 0x0001006680000003 },
    { "P8", 0x3f680000005, 0x0005000680000003 }, { "P9", 0x3f680000005, 1 },
    { "P10", 0x3f680000005, 3 }, { "P11", 0x28680000001, 0x0001000600000003 },
    { "P12", 0x3f680000005, 0 },
  };

  for (const auto &p : made) {
    std::unique_ptr<Model> m = machine(p.name);
    assert_true(msr(*m, MSR_CAPABILITY) == p.cap && msr(*m, MSR_ACTIVATE) == p.act);
    assert_int_equal(m->write_msr(0, MSR_CAPABILITY, 0), MSR_GP);
  }
  uint64_t value;
  assert_int_equal(machine("P1")->read_msr(0, MSR_CAPABILITY, &value), MSR_GP);
  assert_int_equal(machine("P3")->read_msr(0, MSR_KEYID_PARTITIONING, &value), MSR_GP);
  assert_int_equal(machine("P3")->read_msr(0, 0x10, &value), MSR_UNKNOWN);
  assert_int_equal(machine("P2")->read_msr(0, MSR_CORE_ACTIVATE, &value), MSR_GP);
  assert_true(msr(*machine("P6"), MSR_KEYID_PARTITIONING) == 0x200000001full);
  assert_true(msr(*machine("P7"), MSR_KEYID_PARTITIONING) == 0x3f00000000ull);
  assert_true(msr(*machine("P12"), MSR_KEYID_PARTITIONING) == 0);
  assert_true(msr(*machine("P3"), MSR_CORE_ACTIVATE) == 6ull << 32);
}

static void test_words(void **)
{
  assert_true(refused("P13"));
  assert_true(refused(""));
  assert_true(refused("P3 FIDELITY=loose"));
  assert_true(refused("P3 DROP=clflush"));
  assert_true(refused("P3 FIDELITY=strict DROP=invlpg"));
  assert_true(refused("P3 PKGS=3"));
  assert_true(refused("P3 ACT=0001000700000003"));
  assert_true(refused("P3 SMI_LOCKS=1"));
  assert_false(refused("P3 FIDELITY=strict DROP=clflush,wbinvd,invept,invvpid SWAP=pconfig-flush ALIAS=0"));
}

static void check_reg(Model &m, uint32_t leaf, uint32_t subleaf, unsigned n, uint32_t want)
{
  uint32_t reg[4] = { 0x14, ~0u, ~0u, ~0u };

  m.cpuid(leaf, subleaf, reg);
  assert_int_equal(reg[n], want);
}

static void test_cpuid(void **)
{
  std::unique_ptr<Model> m = machine("P3");

  check_reg(*m, 0, 0, 0, 0x1b);
  check_reg(*m, 7, 0, 2, ~0u);
  check_reg(*m, 7, 0, 3, ~0u);
  check_reg(*m, 0x1b, 0, 0, 1);
  check_reg(*m, 0x1b, 0, 1, 1);
  check_reg(*m, 0x1b, 1, 0, 0);
  m = machine("P2");
  check_reg(*m, 7, 0, 2, ~0u);
  check_reg(*m, 7, 0, 3, ~(1u << 18));
  check_reg(*m, 0x1b, 0, 0, 0);
  m = machine("P1");
  check_reg(*m, 7, 0, 2, ~(1u << 13));
  m = machine("P3 TARGETS=1:2,1,0;0:0,0,0;1:1,0,0");
  check_reg(*m, 0x1b, 0, 2, 1);
  check_reg(*m, 0x1b, 2, 1, 1);
  assert_true(m->pconfig_begin(0, 0, 0x1000));
  assert_false(machine("P3 TARGETS=1:2,0,0")->pconfig_begin(0, 0, 0x1000));
  assert_false(machine("P3 TARGETS=0:1,0,0;1:1,0,0")->pconfig_begin(0, 0, 0x1000));
}

static void test_widths(void **)
{
  uint32_t keyid;
  uint64_t mem;

  assert_true(machine("P1")->reserved_bits() == ~((1ull << 39) - 1));
  assert_true(machine("P4")->reserved_bits() == ~((1ull << 46) - 1));
  assert_true(machine("P3")->reserved_bits() == ~((1ull << 52) - 1));
  assert_true(machine("P6")->reserved_bits() == ~((1ull << 51) - 1)); /* one TDX bit */
  assert_true(machine("P7")->reserved_bits() == ~((1ull << 46) - 1));
  machine("P4")->split(0, 5ull << 42 | 0x1234, &keyid, &mem);
  assert_true(keyid == 5 && mem == 0x1234);
  machine("P5")->split(DEVICE, 127ull << 45 | 0x5678, &keyid, &mem);
  assert_true(keyid == 127 && mem == 0x5678);
  machine("P10")->split(0, 1ull << 51 | 0x1000, &keyid, &mem);
  assert_true(keyid == 0 && mem == (1ull << 51 | 0x1000));
}

static void test_activate(void **)
{
  static const uint64_t bad[] = {
    0x0001000780000002, /* k above the maximum */
    0x0000000100000000, /* k without enable */
    0x0001010680000002, /* reserved bit 40 */
    0x0001000680000012, /* policy 1 */
    0x0001000680000052, /* policy 5 */
    0x0001007680000002, /* more TDX bits than KeyID bits */
    0x0010000680000002, /* algorithm bit 52 */
    0x0001000680000102, /* reserved bit 8 */
    0x0002000680000002, /* an algorithm that 981H lacks */
  };
  std::unique_ptr<Model> m = machine("P12");

  for (uint64_t value : bad) {
    assert_int_equal(m->write_msr(0, MSR_ACTIVATE, value), MSR_GP);
    assert_true(msr(*m, MSR_ACTIVATE) == 0);
  }
  assert_false(m->pconfig_begin(0, 0, 0x1000));
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x0001000680000002), MSR_OK);
  assert_true(msr(*m, MSR_ACTIVATE) == 0x0001000680000003);
  assert_true(m->pconfig_begin(0, 0, 0x1000));
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0), MSR_GP);

  m = machine("P12");
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0), MSR_OK);
  assert_true(msr(*m, MSR_ACTIVATE) == 1);
  assert_false(m->pconfig_begin(0, 0, 0x1000));

  m = machine("P12 CAP=000003f600000005"); /* no bypass */
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x0001000680000002), MSR_GP);
  m = machine("P3 LOCKED_WRITE=IGNORE");
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0), MSR_OK);
  assert_true(msr(*m, MSR_ACTIVATE) == 0x0001000600000003);
}

static void test_activate_entropy(void **)
{
  std::unique_ptr<Model> m = machine("P12 RNG_FAIL_N=1");

  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x22), MSR_OK);
  assert_true(msr(*m, MSR_ACTIVATE) == 0x20);
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x22), MSR_OK);
  assert_true(msr(*m, MSR_ACTIVATE) == 0x23);
  m = machine("P12 RNG_FAIL_N=1");
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x0001000680000022), MSR_OK);
  assert_true(msr(*m, MSR_ACTIVATE) == 0); /* not committed */
  m = machine("P12");
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 6), MSR_OK); /* restore: nothing was saved */
  assert_true(msr(*m, MSR_ACTIVATE) == 4);
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0xa), MSR_OK); /* save */
  m->reset();
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 6), MSR_OK);
  assert_true(msr(*m, MSR_ACTIVATE) == 7);
}

static void test_exclude_and_core(void **)
{
  std::unique_ptr<Model> m = machine("P12");

  assert_int_equal(m->write_msr(0, MSR_EXCLUDE_BASE, 1ull << 52), MSR_GP);
  assert_int_equal(m->write_msr(0, MSR_EXCLUDE_BASE, 0x800), MSR_GP);
  assert_int_equal(m->write_msr(0, MSR_EXCLUDE_BASE, 0x1000000), MSR_OK);
  assert_int_equal(m->write_msr(0, MSR_EXCLUDE_MASK, 0xfffffff000800 & ~0x10000000ull), MSR_GP);
  assert_int_equal(m->write_msr(0, MSR_EXCLUDE_MASK, 0xfffffffe00800), MSR_OK);
  assert_int_equal(m->write_msr(0, MSR_CORE_ACTIVATE, 1), MSR_GP);
  assert_true(msr(*m, MSR_CORE_ACTIVATE) == 0);
  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x0001000680000002), MSR_OK);
  assert_int_equal(m->write_msr(0, MSR_EXCLUDE_BASE, 0), MSR_GP);
  assert_int_equal(m->write_msr(0, MSR_EXCLUDE_MASK, 0), MSR_GP);
  assert_int_equal(m->write_msr(1, MSR_CORE_ACTIVATE, 0), MSR_OK);
  assert_true(msr(*m, MSR_CORE_ACTIVATE, 1) == 6ull << 32);
  assert_true(msr(*m, MSR_CORE_ACTIVATE, 0) == 0);
}

/* --- PCONFIG -----------------------------------------------------------------------------------*/

struct Structure {
  uint8_t bytes[KEY_STRUCT_BYTES];

  Structure(uint32_t keyid, uint32_t control)
  {
    memset(bytes, 0, sizeof(bytes));
    bytes[0] = (uint8_t) keyid;
    bytes[1] = (uint8_t) (keyid >> 8);
    memcpy(bytes + 2, &control, 4);
    for (unsigned n = 0; n < 32; n++) {
      bytes[64 + n] = (uint8_t) n;
      bytes[128 + n] = (uint8_t) (0x10 + n);
    }
  }
};

static const int GP = -1;

static int pconfig(Model &m, const Structure &s, unsigned cpu = 0)
{
  uint32_t result = 99;

  if (!m.pconfig_begin(cpu, 0, 0x1000)) return GP;
  return m.pconfig(cpu, s.bytes, &result) ? (int) result : GP;
}

static int pconfig(Model &m, uint32_t keyid, uint32_t control, unsigned cpu = 0)
{
  return pconfig(m, Structure(keyid, control), cpu);
}

enum : uint32_t { DIRECT_128 = 0x100, DIRECT_256 = 0x400, RANDOM_128 = 0x101, CLEAR = 0x102,
  PLAIN = 0x103 };

static void test_pconfig_checks(void **)
{
  std::unique_ptr<Model> m = machine("P3");

  assert_false(m->pconfig_begin(0, 1, 0x1000));
  assert_false(m->pconfig_begin(0, 0, 0x1040));
  assert_false(machine("P9")->pconfig_begin(0, 0, 0x1000));
  assert_false(machine("P10")->pconfig_begin(0, 0, 0x1000));
  assert_false(machine("P2")->pconfig_begin(0, 0, 0x1000));
  m = machine("P3");
  assert_int_equal(pconfig(*m, 0, DIRECT_128), GP);
  assert_int_equal(pconfig(*m, 64, DIRECT_128), GP);
  assert_int_equal(pconfig(*m, 63, DIRECT_128), PROG_SUCCESS);
  assert_int_equal(pconfig(*m, 1, 0), GP);
  assert_int_equal(pconfig(*m, 1, 0x500), GP);
  assert_int_equal(pconfig(*m, 1, DIRECT_256), GP);
  assert_int_equal(pconfig(*m, 1, 0x104), GP);
  assert_int_equal(pconfig(*m, 1, 0x01000100), GP);
  assert_int_equal(pconfig(*m, 1, 0x002), GP);
  assert_int_equal(pconfig(*m, 1, 0x003), GP);
  assert_int_equal(pconfig(*m, 1, CLEAR), PROG_SUCCESS);
  m = machine("P4");
  assert_int_equal(pconfig(*m, 1, DIRECT_128), GP);
  assert_int_equal(pconfig(*m, 15, DIRECT_256), PROG_SUCCESS);
  assert_int_equal(pconfig(*m, 16, DIRECT_256), GP);
  m = machine("P11");
  assert_int_equal(pconfig(*m, 40, DIRECT_128), PROG_SUCCESS);
  assert_int_equal(pconfig(*m, 41, DIRECT_128), GP);
  m = machine("P6");
  assert_int_equal(pconfig(*m, 31, DIRECT_128), PROG_SUCCESS);
  assert_int_equal(pconfig(*m, 32, DIRECT_128), GP);
  assert_int_equal(pconfig(*machine("P7"), 1, DIRECT_128), GP);
}

static void test_pconfig_ignored(void **)
{
  Structure s(1, DIRECT_128);
  std::unique_ptr<Model> m = machine("P3");

  memset(s.bytes + 6, 0xff, 58);
  memset(s.bytes + 80, 0xff, 48);
  memset(s.bytes + 144, 0xff, 48);
  assert_int_equal(pconfig(*m, s), PROG_SUCCESS);
  m = machine("P3 PCONFIG_LEGACY=on");
  assert_int_equal(pconfig(*m, s), GP);
  Structure clean(1, DIRECT_128);
  memset(clean.bytes + 80, 0, 16);
  memset(clean.bytes + 144, 0, 16);
  assert_int_equal(pconfig(*m, clean), PROG_SUCCESS);
  clean.bytes[2] = 4;
  assert_int_equal(pconfig(*m, clean), PROG_INVALID_COMMAND);
  clean.bytes[2] = 0;
  clean.bytes[0] = 0;
  assert_int_equal(pconfig(*m, clean), PROG_INVALID_KEYID);
  clean.bytes[0] = 1;
  clean.bytes[3] = 0;
  assert_int_equal(pconfig(*m, clean), PROG_INVALID_ALG);
}

static void test_pconfig_busy(void **)
{
  std::unique_ptr<Model> m = machine("P3 BUSY_N=2 RNG_FAIL_N=1");

  assert_int_equal(pconfig(*m, 1, RANDOM_128), PROG_DEVICE_BUSY);
  assert_int_equal(pconfig(*m, 0, RANDOM_128), GP); /* what is refused is not busy */
  assert_int_equal(pconfig(*m, 1, RANDOM_128), PROG_DEVICE_BUSY);
  assert_int_equal(pconfig(*m, 1, RANDOM_128), PROG_ENTROPY_ERROR);
  assert_int_equal(pconfig(*m, 1, RANDOM_128), PROG_SUCCESS);
}

/* --- Memory, what both fidelities do -----------------------------------------------------------*/

static uint64_t alias(const Model &m, uint32_t keyid, uint64_t mem)
{
  unsigned k = (unsigned) (m.config.activate[0] >> 32) & 15;

  return (uint64_t) keyid << (m.config.width - k) | mem;
}

static const char *const fidelities[] = { "FIDELITY=fast", "FIDELITY=strict" };

static std::unique_ptr<Model> machine(const char *profile, const char *fidelity)
{
  return machine((std::string(profile) + " " + fidelity).c_str());
}

static void put(Model &m, uint32_t keyid, uint64_t mem, const std::vector<uint8_t> &text,
                int cpu = 0)
{
  m.write(cpu, alias(m, keyid, mem), text.data(), text.size());
}

static std::vector<uint8_t> get(Model &m, uint32_t keyid, uint64_t mem, int cpu = 0)
{
  std::vector<uint8_t> text(LINE);

  m.read(cpu, alias(m, keyid, mem), text.data(), LINE);
  return text;
}

static std::vector<uint8_t> wire(Model &m, uint64_t mem)
{
  std::vector<uint8_t> text(LINE);

  m.bus_read(mem, text.data(), LINE);
  return text;
}

static void flush_line(Model &m, uint32_t keyid, uint64_t mem) { m.flush(0, alias(m, keyid, mem), false); }

static void test_ciphertext(void **)
{
  std::vector<uint8_t> text = count_from(0, LINE);

  for (const char *fidelity : fidelities) {
    std::unique_ptr<Model> m = machine("P3", fidelity);
    assert_int_equal(pconfig(*m, 3, DIRECT_128), PROG_SUCCESS);
    put(*m, 3, TEST_PAGE, text);
    flush_line(*m, 3, TEST_PAGE);
    assert_true(wire(*m, TEST_PAGE) == unhex(KAT_128));
    assert_true(get(*m, 0, TEST_PAGE) != text);
    flush_line(*m, 0, TEST_PAGE);
    assert_true(get(*m, 3, TEST_PAGE) == text);
    assert_int_equal(m->reports(), 0);
    m = machine("P4", fidelity);
    assert_int_equal(pconfig(*m, 3, DIRECT_256), PROG_SUCCESS);
    Structure s(3, DIRECT_256);
    for (unsigned n = 0; n < 32; n++) s.bytes[128 + n] = (uint8_t) (0x20 + n);
    assert_int_equal(pconfig(*m, s), PROG_SUCCESS);
    put(*m, 3, TEST_PAGE, text);
    flush_line(*m, 3, TEST_PAGE);
    assert_true(wire(*m, TEST_PAGE) == unhex(KAT_256));
  }
}

static void test_modes(void **)
{
  std::vector<uint8_t> text = count_from(7, LINE);

  for (const char *fidelity : fidelities) {
    std::unique_ptr<Model> m = machine("P3", fidelity);
    put(*m, 5, TEST_PAGE, text); /* never programmed: as KeyID 0 */
    flush_line(*m, 5, TEST_PAGE);
    assert_true(wire(*m, TEST_PAGE) != text);
    assert_true(get(*m, 0, TEST_PAGE) == text);
    m = machine("P8", fidelity); /* bypass */
    put(*m, 5, TEST_PAGE, text);
    flush_line(*m, 5, TEST_PAGE);
    assert_true(wire(*m, TEST_PAGE) == text);
    m = machine("P3", fidelity);
    assert_int_equal(pconfig(*m, 6, PLAIN), PROG_SUCCESS);
    put(*m, 6, TEST_PAGE, text);
    flush_line(*m, 6, TEST_PAGE);
    assert_true(wire(*m, TEST_PAGE) == text);
    m = machine("P3 EXCLUDE=1000000:ffffffffff000", fidelity);
    assert_int_equal(pconfig(*m, 3, DIRECT_128), PROG_SUCCESS);
    put(*m, 0, TEST_PAGE, text);
    flush_line(*m, 0, TEST_PAGE);
    assert_true(wire(*m, TEST_PAGE) == text);
    put(*m, 0, TEST_PAGE + PAGE, text);
    flush_line(*m, 0, TEST_PAGE + PAGE);
    assert_true(wire(*m, TEST_PAGE + PAGE) != text);
    for (unsigned n = 1; n < LINES; n++) flush_line(*m, 0, TEST_PAGE + n * LINE);
    put(*m, 3, TEST_PAGE, text);
    flush_line(*m, 3, TEST_PAGE);
    assert_true(wire(*m, TEST_PAGE) != text);
    assert_int_equal(m->reports(), 0);
  }
}

static void test_random_key(void **)
{
  std::vector<uint8_t> text = count_from(0, LINE);

  for (const char *fidelity : fidelities) {
    std::unique_ptr<Model> m = machine("P3 PKGS=2", fidelity);
    uint8_t mixed[2][64];
    std::vector<uint8_t> first, want = text;
    assert_int_equal(pconfig(*m, 3, RANDOM_128), PROG_SUCCESS);
    Structure s(3, RANDOM_128);
    for (unsigned n = 0; n < 64; n++) {
      mixed[0][n] = s.bytes[64 + n] ^ m->last_random()[n];
      mixed[1][n] = s.bytes[128 + n] ^ m->last_random()[64 + n];
    }
    Xts(mixed[0], mixed[1], 16).encrypt(0x800000, want.data(), 1);
    put(*m, 3, 0x800000, text); /* in the lower half: package 0 */
    flush_line(*m, 3, 0x800000);
    first = wire(*m, 0x800000);
    assert_true(first == want);
    assert_true(get(*m, 3, 0x800000) == text);
    flush_line(*m, 3, 0x800000);
    /* Package 1 still has the TME key there. */
    put(*m, 3, TEST_PAGE, text);
    flush_line(*m, 3, TEST_PAGE);
    assert_true(get(*m, 0, TEST_PAGE) == text);
    flush_line(*m, 0, TEST_PAGE);
    assert_int_equal(pconfig(*m, 3, RANDOM_128, CPUS - 1), PROG_SUCCESS);
    assert_true(get(*m, 3, TEST_PAGE) != text);
    assert_int_equal(pconfig(*m, 3, RANDOM_128), PROG_SUCCESS);
    assert_true(get(*m, 3, 0x800000) != text);
    assert_true(wire(*m, 0x800000) == first); /* PCONFIG leaves DRAM alone */
  }
}

static void test_bus(void **)
{
  std::vector<uint8_t> text = count_from(0, LINE), moved;

  for (const char *fidelity : fidelities) {
    std::unique_ptr<Model> m = machine("P3", fidelity);
    assert_int_equal(pconfig(*m, 3, DIRECT_128), PROG_SUCCESS);
    put(*m, 3, TEST_PAGE, text);
    flush_line(*m, 3, TEST_PAGE);
    moved = wire(*m, TEST_PAGE);
    m->bus_write(TEST_PAGE + PAGE, moved.data(), LINE);
    assert_true(get(*m, 3, TEST_PAGE + PAGE) != text); /* the address is in the tweak */
    moved[17] ^= 1;
    m->bus_write(TEST_PAGE, moved.data(), LINE);
    std::vector<uint8_t> back = get(*m, 3, TEST_PAGE);
    assert_memory_equal(back.data(), text.data(), 16);
    assert_memory_not_equal(back.data() + 16, text.data() + 16, 16);
    assert_memory_equal(back.data() + 32, text.data() + 32, 32);
    /* A device comes by KeyID 0. */
    assert_true(get(*m, 0, TEST_PAGE, DEVICE) != text);
    put(*m, 0, TEST_PAGE + 2 * PAGE, text, DEVICE);
    assert_true(get(*m, 0, TEST_PAGE + 2 * PAGE) == text);
    assert_true(wire(*m, TEST_PAGE + 2 * PAGE) != text);
  }
}

static void test_late_activation(void **)
{
  std::vector<uint8_t> text = count_from(0, LINE);

  for (const char *fidelity : fidelities) {
    std::unique_ptr<Model> m = machine("P12", fidelity);
    put(*m, 0, TEST_PAGE, text);
    m->flush_all(0, true);
    assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x0001000680000002), MSR_OK);
    assert_true(get(*m, 0, TEST_PAGE) == text); /* bypass: as before */
    m = machine("P12", fidelity);
    put(*m, 0, TEST_PAGE, text);
    m->flush_all(0, true);
    assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x0001000600000002), MSR_OK);
    assert_true(get(*m, 0, TEST_PAGE) != text);
    assert_true(wire(*m, TEST_PAGE) == text);
    m = machine("P3", fidelity);
    put(*m, 0, TEST_PAGE, text);
    m->flush_all(0, true);
    m->reset();
    assert_true(get(*m, 0, TEST_PAGE) != text); /* the TME key is a new one */
  }
}

static void test_core_9ff(void **)
{
  std::unique_ptr<Model> m = machine("P12 STRICT_9FF=1");
  uint8_t byte;

  assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x0001000680000002), MSR_OK);
  assert_int_equal(m->write_msr(0, MSR_CORE_ACTIVATE, 0), MSR_OK);
  m->read(0, 1ull << 46 | TEST_PAGE, &byte, 1);
  m->read(2, TEST_PAGE, &byte, 1);
  assert_int_equal(aborts, 0);
  m->read(2, 1ull << 46 | TEST_PAGE, &byte, 1);
  assert_int_equal(aborts, 1);
}

/* --- Strict alone ------------------------------------------------------------------------------*/

static bool told(const char *kind)
{
  for (const std::string &line : lines)
    if (line.find(kind) != std::string::npos) return true;
  return false;
}

/* A page that KeyIDs a and b have keys for, with nothing of it cached. */
static std::unique_ptr<Model> two_keys(const char *words)
{
  std::unique_ptr<Model> m = machine(words);

  assert_int_equal(pconfig(*m, 1, DIRECT_128), PROG_SUCCESS);
  assert_int_equal(pconfig(*m, 2, RANDOM_128), PROG_SUCCESS);
  return m;
}

#define STRICT "P3 FIDELITY=strict"

static void test_alias_incoherent(void **)
{
  std::vector<uint8_t> text = count_from(1, LINE), garbage;
  std::unique_ptr<Model> m = two_keys(STRICT);

  put(*m, 1, TEST_PAGE, text);
  garbage = get(*m, 2, TEST_PAGE);
  assert_true(garbage != text);
  assert_true(told("alias-dirty at PA 0x1000000: KeyID 1, KeyID 2:"));
  assert_true(told("CPU 0 RIP 0x1000: "));
  flush_line(*m, 1, TEST_PAGE);
  assert_true(get(*m, 2, TEST_PAGE) == garbage); /* its old line is still cached */
  assert_true(told("stale-read"));
  flush_line(*m, 2, TEST_PAGE);
  assert_true(get(*m, 2, TEST_PAGE) != text);
  assert_true(get(*m, 2, TEST_PAGE) != garbage);
}

static void test_late_evict(void **)
{
  std::vector<uint8_t> old = count_from(1, LINE), text = count_from(99, LINE);
  std::unique_ptr<Model> m = two_keys(STRICT);

  put(*m, 1, TEST_PAGE, old);
  put(*m, 2, TEST_PAGE, text);
  flush_line(*m, 2, TEST_PAGE); /* and then the cache gives up the old line */
  assert_true(told("late-evict"));
  assert_true(get(*m, 2, TEST_PAGE) != text);
  m = two_keys(STRICT);
  put(*m, 1, TEST_PAGE, old);
  flush_line(*m, 1, TEST_PAGE);
  put(*m, 2, TEST_PAGE, text);
  m->evict_all();
  assert_true(get(*m, 2, TEST_PAGE) == text);
  assert_int_equal(m->reports(), 0);
}

static void test_wrong_alias(void **)
{
  std::vector<uint8_t> text = count_from(1, LINE);
  std::unique_ptr<Model> m = two_keys(STRICT);

  put(*m, 1, TEST_PAGE, text);
  flush_line(*m, 0, TEST_PAGE);
  get(*m, 2, TEST_PAGE);
  assert_true(told("alias-dirty"));
  m = two_keys("P3 FIDELITY=strict ALIAS=0");
  put(*m, 1, TEST_PAGE, text);
  flush_line(*m, 1, TEST_PAGE); /* the machine makes KeyID 0 of it */
  get(*m, 2, TEST_PAGE);
  assert_true(told("alias-dirty"));
}

static void test_key_change(void **)
{
  std::vector<uint8_t> text = count_from(1, LINE);

  for (const char *words : { STRICT, "P3 FIDELITY=strict SWAP=pconfig-flush" }) {
    bool swap = words != std::string(STRICT);
    std::unique_ptr<Model> m = two_keys(words);
    put(*m, 1, TEST_PAGE, text);
    if (swap) flush_line(*m, 1, TEST_PAGE);
    assert_int_equal(pconfig(*m, 1, RANDOM_128), PROG_SUCCESS);
    if (!swap) flush_line(*m, 1, TEST_PAGE);
    assert_true(told("key-change"));
    assert_true(get(*m, 1, TEST_PAGE) == text); /* written with the new key: it leaks */
  }
  std::unique_ptr<Model> m = two_keys(STRICT);
  put(*m, 1, TEST_PAGE, text);
  flush_line(*m, 1, TEST_PAGE);
  assert_int_equal(pconfig(*m, 1, RANDOM_128), PROG_SUCCESS);
  assert_true(get(*m, 1, TEST_PAGE) != text);
  assert_int_equal(m->reports(), 0);
}

static void test_clwb_and_wbinvd(void **)
{
  std::vector<uint8_t> text = count_from(1, LINE);
  std::unique_ptr<Model> m = two_keys(STRICT);

  put(*m, 1, TEST_PAGE, text);
  m->flush(0, alias(*m, 1, TEST_PAGE), true);
  put(*m, 2, TEST_PAGE, count_from(9, LINE));
  flush_line(*m, 2, TEST_PAGE);
  assert_int_equal(m->reports(), 0);
  assert_true(get(*m, 1, TEST_PAGE) == text); /* clean, but still cached */
  assert_true(told("stale-read"));
  for (const char *words : { STRICT, "P3 FIDELITY=strict DROP=wbinvd" }) {
    m = two_keys(words);
    put(*m, 0, TEST_PAGE, text);
    put(*m, 1, TEST_PAGE + PAGE, text);
    m->flush_all(0, true);
    put(*m, 1, TEST_PAGE, text);
    put(*m, 2, TEST_PAGE + PAGE, text);
    assert_int_equal(m->reports() != 0, words != std::string(STRICT));
  }
  m = two_keys("P3 FIDELITY=strict PKGS=2");
  put(*m, 1, TEST_PAGE, text, CPUS - 1);
  m->flush_all(0, true); /* reaches the caches of its own package only */
  get(*m, 2, TEST_PAGE);
  assert_true(told("alias-dirty"));
}

static void test_keyid_zero_pages(void **)
{
  std::vector<uint8_t> text = count_from(1, LINE);
  std::unique_ptr<Model> m = two_keys(STRICT);

  /* Plain storage until something else comes. */
  assert_non_null(m->direct(0, TEST_PAGE, true));
  memcpy(m->direct(0, TEST_PAGE, true), text.data(), LINE);
  assert_null(m->direct(0, alias(*m, 1, TEST_PAGE), false));
  get(*m, 1, TEST_PAGE);
  assert_true(told("alias-dirty at PA 0x1000000: KeyID 0, KeyID 1:"));
  m = two_keys(STRICT);
  memcpy(m->direct(0, TEST_PAGE, true), text.data(), LINE);
  for (unsigned n = 0; n < LINES; n++) flush_line(*m, 0, TEST_PAGE + n * LINE);
  get(*m, 1, TEST_PAGE);
  assert_int_equal(m->reports(), 0);
  flush_line(*m, 1, TEST_PAGE);
  assert_memory_equal(m->direct(0, TEST_PAGE, false), text.data(), LINE);
  const uint8_t *code = m->fetch(0, alias(*m, 2, TEST_PAGE + PAGE));
  put(*m, 2, TEST_PAGE + PAGE + 128, text);
  assert_memory_equal(code + 128, text.data(), LINE);
}

static void test_stale_tlb(void **)
{
  std::unique_ptr<Model> m = two_keys(STRICT);
  uint64_t a = alias(*m, 1, 0x5000), b = alias(*m, 2, 0x5000), pa = a;

  assert_false(m->translate(0, 0x9000, 0x1000, 1, 7, false, &pa));
  pa = b;
  assert_true(m->translate(0, 0x9000, 0x1000, 1, 7, false, &pa));
  assert_true(pa == a);
  assert_true(told("stale-tlb at PA 0x5000: KeyID 1, KeyID 2:"));
  pa = b;
  assert_false(m->translate(1, 0x9000, 0x1000, 1, 7, false, &pa)); /* another CPU's TLB */
  assert_false(m->translate(0, 0xa000, 0x1000, 1, 7, false, &pa)); /* another EPT */
  m->invept(0, false, 0xa01e);
  assert_true(m->translate(0, 0x9000, 0x1000, 1, 7, true, &pa)); /* gone, and still used */
  m->invept(0, false, 0x901e);
  pa = b;
  assert_false(m->translate(0, 0x9000, 0x1000, 1, 7, false, &pa));
  m = two_keys("P3 FIDELITY=strict DROP=invept");
  pa = a;
  assert_false(m->translate(0, 0x9000, 0x1000, 1, 7, false, &pa));
  m->invept(0, true, 0);
  pa = b;
  assert_true(m->translate(0, 0x9000, 0x1000, 1, 7, false, &pa));
}

/* One VPID's combined translations stay until INVVPID or INVEPT, or until the guest drops them. */
static void test_stale_combined(void **)
{
  auto m = two_keys("P3 FIDELITY=strict");
  const uint64_t here = 0x1000, other = 0x2000;
  uint64_t pa = 0x5010;

  assert_false(m->combine(0, 1, 0x9000, here, false, &pa));
  pa = 0x6010;
  assert_true(m->combine(0, 1, 0x9000, here, false, &pa));
  assert_true(pa == 0x5010 && m->reports() == 1);
  pa = 0x6010;
  assert_false(m->combine(1, 1, 0x9000, here, false, &pa)); /* another CPU */
  assert_false(m->combine(0, 2, 0x9000, here, false, &pa)); /* another VPID */
  m->invvpid(0, 2, NULL);
  m->invvpid(0, 1, &other);
  assert_true(m->combine(0, 1, 0x9000, here, false, &pa));
  for (unsigned way = 0; way < 4; way++) {
    uint64_t next = 0x7010 + way * 0x1000;
    if (way == 0) m->invvpid(0, 1, &here);
    if (way == 1) m->invvpid(0, 0, NULL);
    if (way == 2) m->invept(0, false, 0x901e);
    if (way == 3) m->forget_combined(0, 1, NULL);
    pa = next;
    assert_false(m->combine(0, 1, 0x9000, here, false, &pa));
    assert_true(pa == next);
  }
  pa = 0x5010;
  assert_false(m->combine(0, 1, 0x9000, here, true, &pa)); /* a first write walks again */
  m = two_keys("P3 FIDELITY=strict DROP=invvpid");
  assert_false(m->combine(0, 1, 0x9000, here, false, &pa));
  m->invvpid(0, 0, NULL);
  pa = 0x6010;
  assert_true(m->combine(0, 1, 0x9000, here, false, &pa));
}

/* --- Both against each other -------------------------------------------------------------------*/

enum { PAGES = 16, KEYIDS = 6, STEPS = 100000 };

struct Step { unsigned what, page, keyid, offset, bytes; uint8_t value; };

static Step random_step(void)
{
  Step s;

  s.what = (unsigned) rand() % 100;
  s.page = (unsigned) rand() % PAGES;
  s.keyid = (unsigned) rand() % KEYIDS;
  s.offset = (unsigned) rand() % PAGE;
  s.bytes = 1 + (unsigned) rand() % 64;
  if (s.offset + s.bytes > PAGE) s.bytes = PAGE - s.offset;
  s.value = (uint8_t) rand();
  return s;
}

static void flush_page(Model &m, uint32_t keyid, unsigned n)
{
  for (unsigned line = 0; line < LINES; line++)
    flush_line(m, keyid, TEST_PAGE + n * PAGE + line * LINE);
}

/* The program: "owner" says which KeyID each page is used with. Returns what it read. */
static std::vector<uint8_t> run_program(Model &m, unsigned seed, bool follow_rules)
{
  uint32_t owner[PAGES] = { 0 };
  std::vector<uint8_t> seen;

  srand(seed);
  for (unsigned keyid = 1; keyid < KEYIDS; keyid++)
    assert_int_equal(pconfig(m, keyid, RANDOM_128), PROG_SUCCESS);
  for (unsigned step = 0; step < STEPS; step++) {
    Step s = random_step();
    uint64_t mem = TEST_PAGE + s.page * PAGE + s.offset;
    uint8_t text[64];
    bool keep_rule = follow_rules || rand() % 50 != 0;
    if (s.what < 45) {
      m.read(0, alias(m, owner[s.page], mem), text, s.bytes);
      seen.insert(seen.end(), text, text + s.bytes);
    } else if (s.what < 90) {
      memset(text, s.value, s.bytes);
      m.write(0, alias(m, owner[s.page], mem), text, s.bytes);
    } else if (s.what < 95) {
      flush_line(m, owner[s.page], mem);
    } else if (s.what < 98) { /* another KeyID takes the page; what it reads first is garbage */
      if (keep_rule) flush_page(m, owner[s.page], s.page);
      owner[s.page] = s.keyid;
    } else if (s.what < 99) {
      m.flush_all(0, true);
    } else if (s.keyid != 0) { /* a new key: flush first all pages that it has */
      for (unsigned n = 0; keep_rule && n < PAGES; n++)
        if (owner[n] == s.keyid) flush_page(m, s.keyid, n);
      assert_int_equal(pconfig(m, s.keyid, RANDOM_128), PROG_SUCCESS);
    }
  }
  m.flush_all(0, true);
  return seen;
}

static std::vector<uint8_t> dram(Model &m)
{
  std::vector<uint8_t> all(PAGES * PAGE);

  m.bus_read(TEST_PAGE, all.data(), all.size());
  return all;
}

static void test_agreement(void **)
{
  for (unsigned seed = 1; seed <= 3; seed++) {
    std::unique_ptr<Model> m = machine("P3 FIDELITY=fast");
    std::vector<uint8_t> fast = run_program(*m, seed, true), fast_dram = dram(*m);
    m = machine(STRICT);
    assert_true(run_program(*m, seed, true) == fast);
    assert_true(dram(*m) == fast_dram);
    assert_int_equal(m->reports(), 0);
    m = machine(STRICT);
    run_program(*m, seed, false);
    assert_true(m->reports() > 10);
    assert_true(told("alias-dirty") && told("late-evict"));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_known_answers), cmocka_unit_test(test_against_openssl),
    cmocka_unit_test(test_profiles), cmocka_unit_test(test_words), cmocka_unit_test(test_cpuid),
    cmocka_unit_test(test_widths), cmocka_unit_test(test_activate),
    cmocka_unit_test(test_activate_entropy), cmocka_unit_test(test_exclude_and_core),
    cmocka_unit_test(test_pconfig_checks), cmocka_unit_test(test_pconfig_ignored),
    cmocka_unit_test(test_pconfig_busy), cmocka_unit_test(test_ciphertext),
    cmocka_unit_test(test_modes), cmocka_unit_test(test_random_key), cmocka_unit_test(test_bus),
    cmocka_unit_test(test_late_activation), cmocka_unit_test(test_core_9ff),
    cmocka_unit_test(test_alias_incoherent), cmocka_unit_test(test_late_evict),
    cmocka_unit_test(test_wrong_alias), cmocka_unit_test(test_key_change),
    cmocka_unit_test(test_clwb_and_wbinvd), cmocka_unit_test(test_keyid_zero_pages),
    cmocka_unit_test(test_stale_tlb), cmocka_unit_test(test_stale_combined),
    cmocka_unit_test(test_agreement),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
