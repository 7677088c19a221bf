/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the model with MSR writes, PCONFIG structures and accesses that nobody checked. The input
 * is a profile, a fidelity, and then steps: a byte that chooses the operation, and its arguments.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "tme.h"

using namespace tme;

#define RAM_BYTES (16 * PAGE)
#define CPUS      2

static std::vector<uint8_t> ram;

static void must(bool ok)
{
  if (!ok) abort();
}

static uint8_t *page(uint64_t mem)
{
  must(mem % PAGE == 0 && mem < RAM_BYTES);
  return &ram[mem];
}

static void forget(uint64_t mem) { must(mem < RAM_BYTES); }
static void forget_all(void) {}
static void report(const char *line) { must(strncmp(line, "tme: CPU ", 9) == 0); }
static uint64_t rip(int cpu) { must(cpu >= 0 && cpu < CPUS); return 0; }
static void on_abort(const char *) {}

struct Input {
  const uint8_t *at;
  size_t left;

  void take(void *to, size_t bytes)
  {
    size_t part = bytes < left ? bytes : left;

    memset(to, 0, bytes);
    if (part != 0) memcpy(to, at, part);
    at += part;
    left -= part;
  }

  uint8_t byte(void)
  {
    uint8_t value;

    take(&value, 1);
    return value;
  }
};

/* An address in DRAM behind the engine, with a KeyID, that leaves room for a line. */
static uint64_t address(Input &in, const Model &m)
{
  uint32_t value;

  in.take(&value, sizeof(value));
  return (uint64_t) (value >> 24) << (m.config.width - 7) |
    (value & 0xffffff) % RAM_BYTES / LINE * LINE;
}

static void step_msr(Input &in, Model &m, unsigned cpu)
{
  static const uint32_t indexes[] = { MSR_KEYID_PARTITIONING, MSR_CAPABILITY, MSR_ACTIVATE,
    MSR_EXCLUDE_MASK, MSR_EXCLUDE_BASE, MSR_CORE_ACTIVATE, 0x980 };
  uint64_t before = 0, after = 0, value;
  uint32_t index = indexes[in.byte() % 7];
  bool there = m.read_msr(cpu, MSR_ACTIVATE, &before) == MSR_OK;

  in.take(&value, sizeof(value));
  Msr result = m.write_msr(cpu, index, value);
  if (!there) return;
  must(m.read_msr(cpu, MSR_ACTIVATE, &after) == MSR_OK);
  if (before & 1) must(after == before);                 /* locked is locked */
  if (result == MSR_GP) must(after == before);
  must(((after >> 36) & 15) <= ((after >> 32) & 15));
  must(!(after & 2) || (after & 1));                     /* an enabled 982H is locked */
  must(m.reserved_bits() >> 52 == 0xfff);
}

static void step_pconfig(Input &in, Model &m, unsigned cpu)
{
  uint8_t structure[KEY_STRUCT_BYTES];
  uint64_t activate = 0;
  uint32_t result = 99;

  in.take(structure, sizeof(structure));
  if (!m.pconfig_begin(cpu, 0, 0x1000) || !m.pconfig(cpu, structure, &result)) return;
  must(result <= PROG_DEVICE_BUSY);
  if (result != PROG_SUCCESS) return;
  must(m.read_msr(cpu, MSR_ACTIVATE, &activate) == MSR_OK && (activate & 3) == 3);
  must(structure[5] == 0 && structure[2] <= 3 && (structure[0] | structure[1]) != 0);
}

static void step(Input &in, Model &m)
{
  uint8_t what = in.byte(), line[LINE];
  unsigned cpu = what >> 7;
  uint64_t pa, mem;
  uint32_t keyid;

  switch (what & 15) {
  case 0: case 1: case 2: step_msr(in, m, cpu); return;
  case 3: case 4: case 5: step_pconfig(in, m, cpu); return;
  case 12: m.flush_all((int) cpu, what & 16); return;
  case 13: m.evict_all(); return;
  case 14: m.reset(); return;
  }
  pa = address(in, m);
  m.split((int) cpu, pa, &keyid, &mem);
  if (!m.holds(mem)) return; /* without TME-MK those are no KeyID bits */
  switch (what & 15) {
  case 6: m.read((int) cpu, pa, line, LINE); return;
  case 7:
    in.take(line, LINE);
    m.write((int) cpu, pa, line, LINE);
    return;
  case 8: m.flush((int) cpu, pa, what & 16); return;
  case 9: m.evict(pa); return;
  case 10: m.bus_read(mem, line, LINE); m.bus_write(mem, line, what & LINE - 1); return;
  case 11:
    if (what & 32) m.read(DEVICE, mem, line, LINE);
    if (what & 64) m.write(DEVICE, mem, line, LINE);
    m.direct((int) cpu, pa, what & 16); return;
  case 15:
    m.translate(cpu, (uint64_t) (what & 16) << 12, pa, 1, 7, what & 32, &pa);
    m.invept(cpu, what & 64, 0);
    return;
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char *const profiles[] = { "P1", "P2", "P3", "P4", "P6", "P8", "P11", "P12",
    "P12 RNG_FAIL_N=2", "P3 PKGS=2", "P12 PKGS=2", "P3 PCONFIG_LEGACY=on BUSY_N=1" };
  static const Host host = { page, forget, forget_all, report, rip, on_abort };
  Input in = { data, size };
  uint8_t which = in.byte();
  Config config;
  std::string why;

  must(config.parse(std::string(profiles[which % 12]) +
                    (which & 128 ? " FIDELITY=strict" : ""), &why));
  ram.assign(RAM_BYTES, 0);
  Model m(config, host, RAM_BYTES, CPUS);
  for (unsigned n = 0; n < 64 && in.left != 0; n++) step(in, m);
  return 0;
}
