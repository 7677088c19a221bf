/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the model share: a machine with ordinary memory, and short names for calls. */
#ifndef TME_TEST_H
#define TME_TEST_H

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <set>
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

/*
 * The machine under test. Each call of machine() makes a new one: its memory, what it reported, and
 * how often it aborted.
 */
extern std::vector<uint8_t> ram;
extern std::vector<std::string> lines;
extern unsigned aborts;
/* Pages whose pointers the model had dropped, and how often it had all of them dropped. */
extern std::set<uint64_t> forgotten;
extern unsigned forgotten_all;
extern const Host host;

inline std::unique_ptr<Model> machine(const char *words)
{
  Config config;
  std::string why;

  if (!config.parse(words, &why)) fail_msg("%s", why.c_str());
  ram.assign(RAM_BYTES, 0);
  lines.clear();
  aborts = 0;
  forgotten.clear();
  forgotten_all = 0;
  return std::unique_ptr<Model>(new Model(config, host, RAM_BYTES, CPUS));
}

/* Known answers of AES-XTS: 64 bytes of ciphertext each. */
#define KAT_128 \
  "f32a8219e7932a42dcf7e043aa9bc25f1d0806ce02527c0c6decc8c54174a72b" \
  "e3ef2afc353e81050419cfa378a09a781ac728098a0c71e2131587b283c9b02d"
#define KAT_128_NEXT \
  "2c1a50a8a291aaaa7d89ddb49d66b6989c2434dcf445061acc2314c563358642" \
  "0ac165180a55342ae08e02c43863d3434db369aab3fbb7d6dc5e5d1af74a6ae3"
#define KAT_128_ZERO \
  "e6fc83cc9131baea2d36add77b9aef521f23e9b448c38457911e378739b2e2b1" \
  "6a4f6a293a15bcc2dede93a3a18a176b7a1a988ad13236e8731c4dec077ad315"
#define KAT_256 \
  "0a7b660ff33d002aea307b4ed6e7953af10e041f979a8bee04425767bfba751b" \
  "252b5544d3c7ed907945a4ce47de44a50bc72998acb3f0a82872f26a9cc5f8c0"

inline std::vector<uint8_t> unhex(const char *text)
{
  std::vector<uint8_t> bytes;
  unsigned byte;

  for (; sscanf(text, "%2x", &byte) == 1; text += 2) bytes.push_back((uint8_t) byte);
  return bytes;
}

inline std::vector<uint8_t> count_from(unsigned first, size_t count)
{
  std::vector<uint8_t> bytes(count);

  for (size_t n = 0; n < count; n++) bytes[n] = (uint8_t) (first + n);
  return bytes;
}

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

inline int pconfig(Model &m, const Structure &s, unsigned cpu = 0)
{
  uint32_t result = 99;

  if (!m.pconfig_begin(cpu, 0, 0x1000)) return GP;
  return m.pconfig(cpu, s.bytes, &result) ? (int) result : GP;
}

inline int pconfig(Model &m, uint32_t keyid, uint32_t control, unsigned cpu = 0)
{
  return pconfig(m, Structure(keyid, control), cpu);
}

enum : uint32_t { DIRECT_128 = 0x100, DIRECT_256 = 0x400, RANDOM_128 = 0x101, CLEAR = 0x102,
  PLAIN = 0x103 };

inline uint64_t alias(const Model &m, uint32_t keyid, uint64_t mem)
{
  unsigned k = (unsigned) (m.config.activate[0] >> 32) & 15;

  return (uint64_t) keyid << (m.config.width - k) | mem;
}

static const char *const fidelities[] = { "FIDELITY=fast", "FIDELITY=strict" };

inline std::unique_ptr<Model> machine(const char *profile, const char *fidelity)
{
  return machine((std::string(profile) + " " + fidelity).c_str());
}

inline void put(Model &m, uint32_t keyid, uint64_t mem, const std::vector<uint8_t> &text,
                int cpu = 0)
{
  m.write(cpu, alias(m, keyid, mem), text.data(), text.size());
}

inline std::vector<uint8_t> get(Model &m, uint32_t keyid, uint64_t mem, int cpu = 0)
{
  std::vector<uint8_t> text(LINE);

  m.read(cpu, alias(m, keyid, mem), text.data(), LINE);
  return text;
}

inline std::vector<uint8_t> wire(Model &m, uint64_t mem)
{
  std::vector<uint8_t> text(LINE);

  m.bus_read(mem, text.data(), LINE);
  return text;
}

inline void flush_line(Model &m, uint32_t keyid, uint64_t mem)
{
  m.flush(0, alias(m, keyid, mem), false);
}

inline bool told(const char *kind)
{
  for (const std::string &line : lines)
    if (line.find(kind) != std::string::npos) return true;
  return false;
}

/* test_memory.cc */
void test_ciphertext(void **);
void test_page_digest(void **);
void test_modes(void **);
void test_random_key(void **);
void test_bus(void **);
void test_late_activation(void **);
void test_pointers_dropped(void **);
void test_core_9ff(void **);
void test_dropped(void **);
void test_hole(void **);
void test_constant_tweak(void **);

/* test_strict.cc */
void test_alias_incoherent(void **);
void test_late_evict(void **);
void test_wrong_alias(void **);
void test_left_dirty(void **);
void test_key_change(void **);
void test_clwb_and_wbinvd(void **);
void test_wbinvd_reach(void **);
void test_coherence(void **);
void test_encrypted_blocks(void **);
void test_keyid_zero_pages(void **);
void test_stale_tlb(void **);
void test_stale_combined(void **);
void test_agreement(void **);

#endif
