/* SPDX-License-Identifier: Apache-2.0 */
/* Memory as both fidelities have it: ciphertext, modes, random keys, the bus. */

#include "test_tme.h"

void test_ciphertext(void **)
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

/* Row 44: a page's ciphertext, of which Umbra's software engine has the digests as well. */
void test_page_digest(void **)
{
  static const struct {
    const char *profile, *digest;
    uint32_t control;
  } cells[] = {
    { "P3", "f2f765d110b0218bfa9d2fe608317e05bb6408aac3dcbf0208bf6ba715d1c830", DIRECT_128 },
    { "P4", "16f66de949b964a5585cba784ec736f0401784b68934da3849f0f04cfee798fb", DIRECT_256 },
  };
  std::vector<uint8_t> text = count_from(0, PAGE), seen(PAGE), digest(32);

  for (const char *fidelity : fidelities) {
    for (const auto &cell : cells) {
      std::unique_ptr<Model> m = machine(cell.profile, fidelity);
      Structure s(3, cell.control);
      unsigned bytes = cell.control == DIRECT_256 ? 32 : 16, length = 0;
      for (unsigned n = 0; n < bytes; n++) s.bytes[128 + n] = (uint8_t) (bytes + n);
      assert_int_equal(pconfig(*m, s), PROG_SUCCESS);
      put(*m, 3, TEST_PAGE, text);
      m->flush_all(0, true);
      m->bus_read(TEST_PAGE, seen.data(), PAGE);
      EVP_Digest(seen.data(), PAGE, digest.data(), &length, EVP_sha256(), NULL);
      assert_true(digest == unhex(cell.digest));
    }
  }
}

void test_modes(void **)
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

void test_random_key(void **)
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

void test_bus(void **)
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

void test_late_activation(void **)
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

/* A CPU that keeps a pointer to a page would go on reading another KeyID's plaintext there. */
void test_pointers_dropped(void **)
{
  std::unique_ptr<Model> m = machine("P3");

  assert_int_equal(pconfig(*m, 3, DIRECT_128), PROG_SUCCESS);
  assert_int_equal(forgotten_all, 1);
  assert_non_null(m->direct(0, alias(*m, 3, TEST_PAGE), true));
  forgotten.clear();
  get(*m, 3, TEST_PAGE);
  assert_true(forgotten.empty());
  get(*m, 0, TEST_PAGE);
  assert_true(forgotten == std::set<uint64_t>{ TEST_PAGE });
  assert_int_equal(forgotten_all, 1);
  m->reset();
  assert_int_equal(forgotten_all, 2);
}

void test_core_9ff(void **)
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

/* DROP=pconfig, 9ff, bypass: nothing is refused, but what should have happened has not. */
void test_dropped(void **)
{
  std::vector<uint8_t> text = count_from(0, LINE);
  uint64_t value;
  uint8_t byte;

  for (const char *fidelity : fidelities) {
    std::unique_ptr<Model> m = machine("P3 DROP=pconfig", fidelity);
    assert_int_equal(pconfig(*m, 3, DIRECT_128), PROG_SUCCESS);
    put(*m, 3, TEST_PAGE, text);
    flush_line(*m, 3, TEST_PAGE);
    assert_true(get(*m, 0, TEST_PAGE) == text); /* KeyID 3 still has the TME key */
    m = machine("P12 DROP=bypass", fidelity);
    put(*m, 0, TEST_PAGE, text);
    m->flush_all(0, true);
    assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x0001000680000002), MSR_OK);
    assert_int_equal(m->read_msr(0, MSR_ACTIVATE, &value), MSR_OK);
    assert_true(value == 0x0001000680000003);
    assert_true(get(*m, 0, TEST_PAGE) != text);
    assert_true(wire(*m, TEST_PAGE) == text);
    m = machine("P12 STRICT_9FF=1 DROP=9ff", fidelity);
    assert_int_equal(m->write_msr(0, MSR_ACTIVATE, 0x0001000680000002), MSR_OK);
    assert_int_equal(m->write_msr(0, MSR_CORE_ACTIVATE, 0), MSR_OK);
    m->read(0, 1ull << 46 | TEST_PAGE, &byte, 1);
    assert_int_equal(aborts, 1);
  }
}

/* What is DRAM behind the engine on machines of more than 3 GiB: not devices, not firmware's ROM. */
void test_hole(void **)
{
  Config config;
  std::string why;

  assert_true(config.parse("P4", &why));
  for (uint64_t gib : { 2, 4, 6 }) {
    Model m(config, host, gib << 30, 1);
    assert_true(m.holds(0x100000) && !m.holds(0xfffff) && !m.holds(gib << 30));
    assert_int_equal(m.holds(0xbfffffff), gib > 2);
    assert_false(m.holds(0xc0000000) || m.holds(0xfee00000) || m.holds(0xffffffff));
    assert_int_equal(m.holds(0x100000000), gib > 4);
  }
}

/* TWEAK=constant: ciphertext can be moved, and equal lines are equal; read_as needs no cache. */
void test_constant_tweak(void **)
{
  std::vector<uint8_t> text = count_from(0, LINE), seen(LINE), moved;

  for (const char *fidelity : fidelities) {
    for (bool constant : { false, true }) {
      const char *words = constant ? "P3 TWEAK=constant" : "P3 TWEAK=address";
      std::unique_ptr<Model> m = machine(words, fidelity);
      assert_int_equal(pconfig(*m, 3, DIRECT_128), PROG_SUCCESS);
      put(*m, 3, TEST_PAGE, text);
      flush_line(*m, 3, TEST_PAGE);
      m->read_as(3, TEST_PAGE + 16, seen.data(), LINE - 16);
      assert_memory_equal(seen.data(), text.data() + 16, LINE - 16);
      m->read_as(0, TEST_PAGE, seen.data(), LINE);
      assert_true(seen != text);
      moved = wire(*m, TEST_PAGE);
      m->bus_write(TEST_PAGE + PAGE, moved.data(), LINE);
      assert_int_equal(get(*m, 3, TEST_PAGE + PAGE) == text, constant);
      put(*m, 3, TEST_PAGE + 2 * PAGE + LINE, text);
      flush_line(*m, 3, TEST_PAGE + 2 * PAGE + LINE);
      assert_int_equal(wire(*m, TEST_PAGE + 2 * PAGE + LINE) == moved, constant);
    }
  }
}
