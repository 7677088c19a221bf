/* SPDX-License-Identifier: Apache-2.0 */
/* What strict alone reports: lines of aliases, late evictions, stale translations; and that both agree. */

#include "test_tme.h"

/* A page that KeyIDs a and b have keys for, with nothing of it cached. */
static std::unique_ptr<Model> two_keys(const char *words)
{
  std::unique_ptr<Model> m = machine(words);

  assert_int_equal(pconfig(*m, 1, DIRECT_128), PROG_SUCCESS);
  assert_int_equal(pconfig(*m, 2, RANDOM_128), PROG_SUCCESS);
  return m;
}

#define STRICT "P3 FIDELITY=strict"

void test_alias_incoherent(void **)
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

void test_late_evict(void **)
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

void test_wrong_alias(void **)
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
  m = two_keys("P3 FIDELITY=strict ALIAS=0 SWAP=pconfig-flush");
  put(*m, 1, TEST_PAGE, text);
  flush_line(*m, 1, TEST_PAGE);
  assert_int_equal(pconfig(*m, 3, DIRECT_128), PROG_SUCCESS); /* then the flush, of KeyID 0 */
  get(*m, 2, TEST_PAGE);
  assert_true(told("alias-dirty"));
}

/* What is dirty under a KeyID is counted, until it is flushed or a reset loses it. */
void test_left_dirty(void **)
{
  std::vector<uint8_t> text = count_from(1, LINE);
  std::unique_ptr<Model> m = two_keys(STRICT);

  put(*m, 0, TEST_PAGE, text);
  assert_int_equal(m->keyid_dirty(), 0);
  put(*m, 1, TEST_PAGE + PAGE, text);
  put(*m, 2, TEST_PAGE + 2 * PAGE, text);
  get(*m, 2, TEST_PAGE + 3 * PAGE);
  assert_int_equal(m->keyid_dirty(), 2);
  flush_line(*m, 1, TEST_PAGE + PAGE);
  assert_int_equal(m->keyid_dirty(), 1);
  assert_int_equal(m->keyid_lost(), 0);
  m->reset();
  assert_int_equal(m->keyid_dirty(), 0);
  assert_int_equal(m->keyid_lost(), 1);
}

void test_key_change(void **)
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

void test_clwb_and_wbinvd(void **)
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

/* WBINVD_REACH=core: a flush by another CPU leaves the line, whichever CPU's caches a package has. */
void test_wbinvd_reach(void **)
{
  std::vector<uint8_t> text = count_from(1, LINE);

  for (bool core : { false, true }) {
    const char *words = core ? STRICT " WBINVD_REACH=core" : STRICT " WBINVD_REACH=package";
    std::unique_ptr<Model> m = two_keys(words);
    put(*m, 1, TEST_PAGE, text, 1);
    m->flush_all(0, true);
    get(*m, 2, TEST_PAGE);
    assert_int_equal(m->reports() != 0, core);
    m = two_keys(words);
    put(*m, 1, TEST_PAGE, text, 0);
    put(*m, 1, TEST_PAGE, text, 1); /* the line moves to the CPU that writes to it last */
    m->flush_all(1, true);
    get(*m, 2, TEST_PAGE);
    assert_int_equal(m->reports(), 0);
    /* Plain storage of KeyID 0 counts as cached by all that had a pointer to it. */
    m = two_keys(words);
    memcpy(m->direct(0, TEST_PAGE, true), text.data(), LINE);
    m->direct(1, TEST_PAGE, false);
    m->flush_all(0, true);
    get(*m, 1, TEST_PAGE);
    assert_int_equal(m->reports() != 0, core);
    m = two_keys(words);
    memcpy(m->direct(0, TEST_PAGE, true), text.data(), LINE);
    m->direct(1, TEST_PAGE, false);
    for (int cpu = 0; cpu < CPUS; cpu++) m->flush_all(cpu, true);
    get(*m, 1, TEST_PAGE);
    assert_int_equal(m->reports(), 0);
  }
}

/* COHERENCE=evict: touching an alias evicts the other line, dirty or clean; it is reported as ever. */
void test_coherence(void **)
{
  std::vector<uint8_t> old = count_from(1, LINE), text = count_from(99, LINE);

  for (bool evict : { false, true }) {
    const char *words = evict ? STRICT " COHERENCE=evict" : STRICT " COHERENCE=incoherent";
    std::unique_ptr<Model> m = two_keys(words);
    put(*m, 1, TEST_PAGE, old);
    put(*m, 2, TEST_PAGE, text);
    assert_true(told("alias-dirty at PA 0x1000000: KeyID 1, KeyID 2:"));
    assert_int_equal(m->keyid_dirty(), evict ? 1 : 2);
    m->evict_all(); /* the older line last */
    assert_int_equal(told("late-evict"), !evict);
    assert_int_equal(get(*m, 2, TEST_PAGE) == text, evict);
    /* A clean line: it is kept, and stale, or it is read again. */
    m = two_keys(words);
    put(*m, 1, TEST_PAGE, old);
    m->flush(0, alias(*m, 1, TEST_PAGE), true);
    put(*m, 2, TEST_PAGE, text);
    flush_line(*m, 2, TEST_PAGE);
    assert_int_equal(get(*m, 1, TEST_PAGE) == old, !evict);
    assert_int_equal(m->reports() != 0, !evict);
    /* Plain storage of KeyID 0, line by line. */
    m = two_keys(words);
    memcpy(m->direct(0, TEST_PAGE, true), text.data(), LINE);
    put(*m, 1, TEST_PAGE + LINE, old);
    get(*m, 1, TEST_PAGE);
    assert_int_equal(m->keyid_dirty(), 1);
    assert_int_equal(get(*m, 0, TEST_PAGE) == text, true); /* its line, or from memory */
    assert_int_equal(get(*m, 0, TEST_PAGE + LINE) != old, true);
    assert_true(told("alias-dirty at PA 0x1000040: KeyID 1, KeyID 0:"));
  }
}

/* What a key has encrypted is counted line by line, until PCONFIG gives another. */
void test_encrypted_blocks(void **)
{
  std::vector<uint8_t> text = count_from(1, LINE);

  for (bool drop : { false, true }) {
    std::unique_ptr<Model> m = two_keys(drop ? STRICT " DROP=pconfig" : STRICT);
    put(*m, 1, TEST_PAGE, text);
    assert_int_equal(m->encrypted_blocks(1), 0);
    flush_line(*m, 1, TEST_PAGE);
    flush_line(*m, 1, TEST_PAGE);
    assert_int_equal(m->encrypted_blocks(1), 4);
    put(*m, 1, TEST_PAGE + 8 * LINE, text);
    put(*m, 2, TEST_PAGE + PAGE, text);
    m->flush_all(0, true);
    assert_int_equal(m->encrypted_blocks(1), drop ? 12 : 8); /* dropped: all have the TME key */
    assert_int_equal(m->encrypted_blocks(2), drop ? 12 : 4);
    assert_int_equal(m->encrypted_blocks(99), drop ? 12 : 0);
    assert_int_equal(pconfig(*m, 1, RANDOM_128), PROG_SUCCESS);
    assert_int_equal(m->encrypted_blocks(1), drop ? 12 : 0);
    assert_int_equal(m->encrypted_blocks(2), drop ? 12 : 4);
    m->reset();
    assert_int_equal(m->encrypted_blocks(2), 0);
  }
}

void test_keyid_zero_pages(void **)
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

void test_stale_tlb(void **)
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
void test_stale_combined(void **)
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

void test_agreement(void **)
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
