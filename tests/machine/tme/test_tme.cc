/* SPDX-License-Identifier: Apache-2.0 */
/* The model by itself: known answers, registers, PCONFIG; main. test_memory.cc, test_strict.cc: the rest. */

#include "test_tme.h"

std::vector<uint8_t> ram;
std::vector<std::string> lines;
unsigned aborts;
std::set<uint64_t> forgotten;
unsigned forgotten_all;

static uint8_t *page(uint64_t mem)
{
  assert_true(mem % PAGE == 0 && mem < RAM_BYTES);
  return &ram[mem];
}

static void forget(uint64_t mem) { forgotten.insert(mem); }
static void forget_all(void) { forgotten_all++; }
static void report(const char *line) { lines.push_back(line); }
static uint64_t rip(int cpu) { return 0x1000u + (unsigned) cpu; }
static void on_abort(const char *) { aborts++; }

const Host host = { page, forget, forget_all, report, rip, on_abort };

static bool refused(const char *words)
{
  Config config;
  std::string why;

  return !config.parse(words, &why) && !why.empty();
}

/* --- AES-XTS -----------------------------------------------------------------------------------*/

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

static void test_break_rule(void **)
{
  std::unique_ptr<Model> m = machine("P3 FIDELITY=strict");
  std::string why;

  assert_true(m->config.break_rule("DROP=wbinvd,pconfig", &why));
  assert_true(m->config.drop_wbinvd && m->config.drop_pconfig);
  assert_true(m->config.break_rule("ALIAS=0", &why) && m->config.no_alias);
  assert_false(m->config.break_rule("DROP=sleep", &why));
  assert_false(m->config.break_rule("CAP=1", &why));
  assert_false(machine("P3")->config.break_rule("DROP=wbinvd", &why));
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
  /* What no WRMSR would have left there. */
  assert_true(refused("P3 ACT=0001000600000103"));
  assert_true(refused("P3 ACT=0004000600000003"));
  assert_true(refused("P3 ACT=0001000600000023"));
  assert_true(refused("P3 EXCLUDE=1000001:ffffffffff000"));
  assert_true(refused("P3 EXCLUDE=1000000:ffffff0fff000"));
  assert_true(refused("P1 ACT=0001000600000003"));
  assert_true(refused("P1 EXCLUDE=1000000:7ffffff000"));
  assert_true(refused("P3 TARGETS=-1:1,0,0"));
  assert_false(refused("P3 FIDELITY=strict DROP=clflush,wbinvd,invept,invvpid,pconfig,9ff,bypass SWAP=pconfig-flush ALIAS=0"));
}

static void check_reg(Model &m, uint32_t leaf, uint32_t subleaf, unsigned n, uint32_t want)
{
  uint32_t reg[4] = { 0x14, ~0u, ~0u, ~0u };

  m.cpuid(leaf, subleaf, reg);
  assert_int_equal(reg[n], want);
}

/* Leaf 04H as Bochs' Ice Lake has it: what the packages and WBINVD_REACH change. */
static void test_cpuid_caches(void **)
{
  for (bool core : { false, true }) {
    const char *words = core ? "P3 FIDELITY=strict PKGS=2 WBINVD_REACH=core" : "P3";
    std::unique_ptr<Model> m = machine(words);
    uint32_t l1[4] = { 0x1c004121, 0x02c0003f, 0x3f, 0 };
    uint32_t l3[4] = { 0x1c03c163, 0x03c0003f, 0x1fff, 6 };
    uint32_t none[4] = { 0, 0, 0, 0 };
    m->cpuid(4, 0, l1);
    assert_int_equal(l1[0], core ? 0x1c000121 : 0x1c004121);
    assert_int_equal(l1[3], 0);
    m->cpuid(4, 3, l3);
    assert_int_equal(l3[0], core ? 0x1c004163 : 0x1c03c163); /* 2 of 4 CPUs, or what was there */
    assert_int_equal(l3[3], core ? 7 : 6);
    m->cpuid(4, 4, none);
    assert_int_equal(none[0] | none[3], 0);
  }
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
  check_reg(*m, 0xb, 0, 0, 0x14); /* one package: as the machine has it */
  m = machine("P3 PKGS=2");
  check_reg(*m, 0xb, 0, 2, 0x100);
  check_reg(*m, 0xb, 1, 0, CPUS == 4);
  check_reg(*m, 0x1f, 1, 1, CPUS / 2);
  check_reg(*m, 0x1f, 1, 2, 0x201);
  check_reg(*m, 0x1f, 1, 3, ~0u);
  check_reg(*m, 0xb, 2, 2, 2);
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

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_known_answers), cmocka_unit_test(test_against_openssl),
    cmocka_unit_test(test_profiles), cmocka_unit_test(test_words), cmocka_unit_test(test_break_rule), cmocka_unit_test(test_cpuid), cmocka_unit_test(test_cpuid_caches),
    cmocka_unit_test(test_widths), cmocka_unit_test(test_activate),
    cmocka_unit_test(test_activate_entropy), cmocka_unit_test(test_exclude_and_core),
    cmocka_unit_test(test_pconfig_checks), cmocka_unit_test(test_pconfig_ignored),
    cmocka_unit_test(test_pconfig_busy), cmocka_unit_test(test_ciphertext),
    cmocka_unit_test(test_page_digest), cmocka_unit_test(test_modes), cmocka_unit_test(test_random_key), cmocka_unit_test(test_bus),
    cmocka_unit_test(test_late_activation), cmocka_unit_test(test_core_9ff),
    cmocka_unit_test(test_pointers_dropped),
    cmocka_unit_test(test_dropped), cmocka_unit_test(test_constant_tweak),
    cmocka_unit_test(test_hole),
    cmocka_unit_test(test_alias_incoherent), cmocka_unit_test(test_late_evict),
    cmocka_unit_test(test_wrong_alias), cmocka_unit_test(test_left_dirty),
    cmocka_unit_test(test_key_change),
    cmocka_unit_test(test_clwb_and_wbinvd), cmocka_unit_test(test_wbinvd_reach),
    cmocka_unit_test(test_coherence), cmocka_unit_test(test_encrypted_blocks),
    cmocka_unit_test(test_keyid_zero_pages),
    cmocka_unit_test(test_stale_tlb), cmocka_unit_test(test_stale_combined),
    cmocka_unit_test(test_agreement),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
