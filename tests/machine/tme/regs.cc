/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of the model: CPUID, MSRs and PCONFIG. */

#include <string.h>

#include "tme.h"

namespace tme {

enum : uint64_t {
  ACTIVATE_LOCK = 1ull << 0,
  ACTIVATE_ENABLE = 1ull << 1,
  ACTIVATE_RESTORE = 1ull << 2,
  ACTIVATE_SAVE = 1ull << 3,
  ACTIVATE_BYPASS = 1ull << 31,
  EXCLUDE_ENABLE = 1ull << 11,
};

enum : uint32_t {
  COMMAND_SET_KEY_DIRECT,
  COMMAND_SET_KEY_RANDOM,
  COMMAND_CLEAR_KEY,
  COMMAND_NO_ENCRYPT,
};

enum : size_t { KEY_FIELD_BYTES = 64, DATA_KEY_AT = 64, TWEAK_KEY_AT = 128 };

static unsigned keyid_bits_of(uint64_t activate) { return (activate >> 32) & 15; }
static unsigned tdx_bits_of(uint64_t activate) { return (activate >> 36) & 15; }
static uint32_t algorithms_of(uint64_t activate) { return (uint32_t) (activate >> 48); }
static uint64_t bits_below(unsigned n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

static size_t key_bytes_of(uint32_t algorithm)
{
  return algorithm == CRYPTO_XTS_256 || algorithm == CRYPTO_XTS_256 << 1 ? 32 : 16;
}

/* --- Power-on ----------------------------------------------------------------------------------*/

Model::Model(const Config &make, const Host &around, uint64_t ram, unsigned cpu_count)
  : config(make), host(around), ram_bytes(ram), cpus(cpu_count), packages(make.packages),
    core_active(cpu_count), rng_state(make.seed), rng_fail(0), busy(0), random_bytes(),
    owner(ram / PAGE), mode(ram / PAGE), direct_cpus(ram / PAGE), cached(cpu_count),
    combined(cpu_count)
{
  reset();
}

void Model::reset(void)
{
  std::vector<Package> next(config.packages);

  rng_fail = 0;
  for (unsigned n = 0; n < config.packages; n++) {
    next[n].exclude_base = config.exclude_base;
    next[n].exclude_mask = config.exclude_mask;
    next[n].table.resize(1ull << ((config.capability >> 32) & 15));
    next[n].generation.resize(next[n].table.size());
    next[n].blocks.resize(next[n].table.size());
    next[n].activate = config.activate[n];
    if ((next[n].activate & ACTIVATE_ENABLE) && !(next[n].activate & ACTIVATE_BYPASS)) {
      random_key();
      next[n].tme_key = new_key(random_bytes, random_bytes + KEY_FIELD_BYTES,
                                key_bytes_of(1u << ((next[n].activate >> 4) & 15)));
    }
  }
  for (unsigned cpu = 0; cpu < cpus; cpu++) {
    core_active[cpu] = config.activate[0] & ACTIVATE_LOCK; /* the firmware did it */
    cached[cpu].clear();
    combined[cpu].clear();
  }
  lose_caches();
  /* Firmware's own accesses before the hand-over are not modelled: memory starts as zeros under
   * KeyID 0. */
  if (powered_on) change_keys(next, true);
  else packages = next;
  powered_on = true;
  memset(random_bytes, 0, sizeof(random_bytes));
  rng_fail = config.rng_fail;
  busy = config.busy;
}

/* SplitMix64: any generator does, for the keys guard nothing but the model's honesty. */
uint64_t Model::random_word(void)
{
  uint64_t z = (rng_state += 0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

Key Model::new_key(const uint8_t *data_key, const uint8_t *tweak_key, size_t key_bytes) const
{
  return std::make_shared<Xts>(data_key, tweak_key, key_bytes, config.constant_tweak);
}

bool Model::random_key(void)
{
  if (rng_fail != 0) {
    rng_fail--;
    return false;
  }
  for (size_t at = 0; at < sizeof(random_bytes); at += sizeof(uint64_t)) {
    uint64_t word = random_word();
    memcpy(random_bytes + at, &word, sizeof(word));
  }
  return true;
}

/* --- CPUID -------------------------------------------------------------------------------------*/

uint64_t Model::reserved_bits(void) const
{
  uint64_t activate = packages[0].activate;
  unsigned hidden = activate & ACTIVATE_LOCK ? tdx_bits_of(activate) : 0;

  return ~bits_below(config.width - hidden);
}

enum { EAX, EBX, ECX, EDX };

static unsigned bits_of_core(unsigned cpus_of_package)
{
  unsigned shift = 0;

  while (1u << shift < cpus_of_package) shift++;
  return shift;
}

/* One thread in each core. The bits of the APIC ID above the core's number are the package's. EDX
 * stays. */
static void topology(unsigned cpus_of_package, uint32_t subleaf, uint32_t reg[4])
{
  unsigned shift = bits_of_core(cpus_of_package);

  reg[EAX] = subleaf == 1 ? shift : 0;
  reg[EBX] = subleaf == 0 ? 1 : subleaf == 1 ? cpus_of_package : 0;
  reg[ECX] = subleaf | (subleaf < 2 ? (subleaf + 1) << 8 : 0);
}

/* Leaf 04H, one cache: a package's CPUs share the last level and no other. EDX[0]: WBINVD need not
 * reach the lower caches of other threads that share it. */
void Model::cpuid_caches(uint32_t reg[4]) const
{
  const uint32_t sharing = 0xfffu << 14; /* how many APIC IDs, less one */
  bool last_level = (reg[EAX] >> 5 & 7) == 3;

  if ((reg[EAX] & 31) == 0) return;
  if (config.packages > 1 && last_level)
    reg[EAX] = (reg[EAX] & ~sharing) | ((1u << bits_of_core(cpus / config.packages)) - 1) << 14;
  if ((config.packages > 1 || config.wbinvd_core) && !last_level) reg[EAX] &= ~sharing;
  if (config.wbinvd_core && last_level) reg[EDX] |= 1;
}

void Model::cpuid(uint32_t leaf, uint32_t subleaf, uint32_t reg[4]) const
{
  if (leaf == 0 && config.pconfig && reg[EAX] < 0x1b) reg[EAX] = 0x1b;
  if (leaf == 7 && subleaf == 0) {
    reg[ECX] = (reg[ECX] & ~(1u << 13)) | (uint32_t) config.tme << 13;
    reg[EDX] = (reg[EDX] & ~(1u << 18)) | (uint32_t) config.pconfig << 18;
  }
  if (leaf == 4) cpuid_caches(reg);
  if ((leaf == 0xb || leaf == 0x1f) && config.packages > 1)
    topology(cpus / config.packages, subleaf, reg);
  if (leaf == 0x1b) {
    for (unsigned n = 0; n < 4; n++)
      reg[n] = config.pconfig && subleaf < config.targets.size() / 4 ?
        config.targets[subleaf * 4 + n] : 0;
  }
}

/* Target 1 counts only before the first sub-leaf of type 0. */
bool Model::target_listed(void) const
{
  for (size_t at = 0; at < config.targets.size(); at += 4) {
    if ((config.targets[at] & 0xfff) == 0) return false;
    if ((config.targets[at] & 0xfff) != 1) continue;
    for (size_t n = 1; n < 4; n++)
      if (config.targets[at + n] == 1) return true;
  }
  return false;
}

/* --- MSRs --------------------------------------------------------------------------------------*/

static uint64_t partitioning_of(uint64_t activate, uint32_t max_keys)
{
  uint64_t all, shared;

  if (!(activate & ACTIVATE_LOCK) || keyid_bits_of(activate) == 0) return 0;
  all = bits_below(keyid_bits_of(activate));
  shared = bits_below(keyid_bits_of(activate) - tdx_bits_of(activate));
  if (all > max_keys) all = max_keys;
  if (shared > all) shared = all;
  return (all - shared) << 32 | shared;
}

Msr Model::read_msr(unsigned cpu, uint32_t index, uint64_t *value) const
{
  const Package &package = packages[package_of_cpu((int) cpu)];
  bool multi_key = (config.capability >> 32) & 15;

  switch (index) {
  case MSR_KEYID_PARTITIONING:
    if (!config.partitioning) return MSR_GP;
    *value = partitioning_of(package.activate, max_keys());
    return MSR_OK;
  case MSR_CAPABILITY:
  case MSR_ACTIVATE:
  case MSR_EXCLUDE_MASK:
  case MSR_EXCLUDE_BASE:
    if (!config.tme) return MSR_GP;
    *value = index == MSR_CAPABILITY ? config.capability :
      index == MSR_ACTIVATE ? package.activate :
      index == MSR_EXCLUDE_MASK ? package.exclude_mask : package.exclude_base;
    return MSR_OK;
  case MSR_CORE_ACTIVATE:
    if (!config.tme || !multi_key) return MSR_GP;
    *value = core_active[cpu] ? package.activate & 15ull << 32 : 0;
    return MSR_OK;
  }
  return MSR_UNKNOWN;
}

bool Config::activate_reserved(uint64_t value) const
{
  bool multi_key = (capability >> 32) & 15;
  uint64_t reserved = bits_below(31) & ~bits_below(8);
  unsigned k = keyid_bits_of(value), policy = (value >> 4) & 15;
  bool enable = value & ACTIVATE_ENABLE;

  reserved |= multi_key ? 0xffull << 40 : ~bits_below(32);
  if (!(capability & ACTIVATE_BYPASS)) reserved |= ACTIVATE_BYPASS;
  if (value & reserved) return true;
  if (enable && (!(capability >> policy & 1) || policy == 1 || policy == 3 || policy > 3))
    return true;
  if (k > ((capability >> 32) & 15) || (k != 0 && !enable)) return true;
  return tdx_bits_of(value) > k || (algorithms_of(value) & ~(uint32_t) (capability & 15));
}

/* Makes the keys; false: the generator failed, or there was no key to restore. */
bool Model::activate(unsigned n, uint64_t value)
{
  std::vector<Package> next = packages;
  size_t bytes = key_bytes_of(1u << ((value >> 4) & 15));
  Key key = saved_key;

  if (!(value & ACTIVATE_RESTORE)) {
    if (!random_key()) return false;
    key = new_key(random_bytes, random_bytes + KEY_FIELD_BYTES, bytes);
  }
  if (key == nullptr) return false;
  if (value & ACTIVATE_SAVE) saved_key = key;
  next[n].activate = value | ACTIVATE_LOCK;
  next[n].tme_key = (value & ACTIVATE_BYPASS) && !config.drop_bypass ? nullptr : key;
  for (unsigned cpu = 0; cpu < cpus; cpu++)
    if (package_of_cpu((int) cpu) == n) core_active[cpu] = false;
  change_keys(next, false);
  return true;
}

Msr Model::write_activate(unsigned cpu, uint64_t value)
{
  unsigned n = package_of_cpu((int) cpu);
  uint64_t keep = value & ~(ACTIVATE_LOCK | ACTIVATE_ENABLE | ACTIVATE_RESTORE);

  if (packages[n].activate & ACTIVATE_LOCK) return config.locked_write_gp ? MSR_GP : MSR_OK;
  if (config.activate_reserved(value)) return MSR_GP;
  if (!(value & ACTIVATE_ENABLE)) {
    packages[n].activate = keep | ACTIVATE_LOCK;
    return MSR_OK;
  }
  if (activate(n, value)) return MSR_OK;
  if (keyid_bits_of(value) == 0) packages[n].activate = keep | (value & ACTIVATE_RESTORE);
  return MSR_OK;
}

bool Config::exclude_reserved(bool mask, uint64_t value) const
{
  uint64_t field = bits_below(width) & ~bits_below(12), ones = value & field;

  if (value & ~(field | (mask ? (uint64_t) EXCLUDE_ENABLE : 0))) return true;
  /* Contiguous: ones from the highest bit down to some bit. */
  return mask && ones != 0 && ones != (field & ~((ones & -ones) - 1));
}

Msr Model::write_exclude(unsigned cpu, uint32_t index, uint64_t value)
{
  Package &package = packages[package_of_cpu((int) cpu)];
  bool mask = index == MSR_EXCLUDE_MASK;

  if (package.activate & ACTIVATE_LOCK) return MSR_GP;
  if (config.exclude_reserved(mask, value)) return MSR_GP;
  (mask ? package.exclude_mask : package.exclude_base) = value;
  return MSR_OK;
}

Msr Model::write_msr(unsigned cpu, uint32_t index, uint64_t value)
{
  switch (index) {
  case MSR_KEYID_PARTITIONING:
  case MSR_CAPABILITY:
    return MSR_GP;
  case MSR_ACTIVATE:
    return config.tme ? write_activate(cpu, value) : MSR_GP;
  case MSR_EXCLUDE_MASK:
  case MSR_EXCLUDE_BASE:
    return config.tme ? write_exclude(cpu, index, value) : MSR_GP;
  case MSR_CORE_ACTIVATE:
    if (!config.tme || ((config.capability >> 32) & 15) == 0 || value != 0) return MSR_GP;
    if (!config.drop_9ff)
      core_active[cpu] = packages[package_of_cpu((int) cpu)].activate & ACTIVATE_LOCK;
    return MSR_OK;
  }
  return MSR_UNKNOWN;
}

/* --- PCONFIG -----------------------------------------------------------------------------------*/

bool Model::pconfig_begin(unsigned cpu, uint32_t leaf, uint64_t address) const
{
  uint64_t on = packages[package_of_cpu((int) cpu)].activate;

  if (leaf != 0 || !target_listed()) return false;
  if (!(on & ACTIVATE_LOCK) || !(on & ACTIVATE_ENABLE) || keyid_bits_of(on) == 0) return false;
  return address % 256 == 0;
}

struct Request {
  uint32_t keyid, command, algorithm, must_be_zero;
  const uint8_t *data_key;

  explicit Request(const uint8_t *s)
    : keyid(s[0] | (uint32_t) s[1] << 8), command(s[2]), algorithm(s[3] | (uint32_t) s[4] << 8),
      must_be_zero(s[5]), data_key(s + DATA_KEY_AT) {}
};

static bool all_zero(const uint8_t *from, const uint8_t *to)
{
  while (from < to)
    if (*from++ != 0) return false;
  return true;
}

/* In older documents more bytes must be zero, and three refusals are codes instead of #GP(0). */
static bool legacy_fields_ok(const uint8_t *s, size_t key_bytes)
{
  return all_zero(s + 6, s + 64) &&
    all_zero(s + DATA_KEY_AT + key_bytes, s + DATA_KEY_AT + KEY_FIELD_BYTES) &&
    all_zero(s + TWEAK_KEY_AT + key_bytes, s + TWEAK_KEY_AT + KEY_FIELD_BYTES);
}

/* True: refused, with *result as the code for RAX, or 0 for #GP(0). */
bool Model::pconfig_refused(unsigned cpu, const uint8_t *structure, uint32_t *result) const
{
  const Request request(structure);
  uint64_t on = packages[package_of_cpu((int) cpu)].activate;
  unsigned k = keyid_bits_of(on), usable = k - tdx_bits_of(on);
  uint32_t alg = request.algorithm;
  bool old = config.legacy_pconfig;

  *result = 0;
  if (request.must_be_zero != 0) return true;
  if (old && !legacy_fields_ok(structure, key_bytes_of(alg))) return true;
  *result = old ? (uint32_t) PROG_INVALID_COMMAND : 0;
  if (request.command > COMMAND_NO_ENCRYPT) return true;
  *result = old ? (uint32_t) PROG_INVALID_KEYID : 0;
  if (request.keyid == 0 || request.keyid > max_keys()) return true;
  if (request.keyid >> k != 0 || request.keyid >> usable != 0) return true;
  *result = old ? (uint32_t) PROG_INVALID_ALG : 0;
  return alg == 0 || (alg & (alg - 1)) != 0 || (alg & ~algorithms_of(on)) != 0;
}

bool Model::pconfig(unsigned cpu, const uint8_t *structure, uint32_t *result)
{
  const Request request(structure);
  uint8_t keys[2 * KEY_FIELD_BYTES]; /* data, then tweak */
  Entry entry;

  if (pconfig_refused(cpu, structure, result)) return *result != 0;
  *result = PROG_DEVICE_BUSY;
  if (busy != 0) {
    busy--;
    return true;
  }
  memcpy(keys, request.data_key, sizeof(keys)); /* the fields are neighbours */
  if (request.command == COMMAND_SET_KEY_RANDOM) {
    *result = PROG_ENTROPY_ERROR;
    if (!random_key()) return true;
    for (size_t n = 0; n < sizeof(keys); n++) keys[n] ^= random_bytes[n];
  }
  entry.mode = request.command == COMMAND_CLEAR_KEY ? Entry::TME :
    request.command == COMMAND_NO_ENCRYPT ? Entry::NONE : Entry::KEY;
  if (entry.mode == Entry::KEY)
    entry.key = new_key(keys, keys + KEY_FIELD_BYTES, key_bytes_of(request.algorithm));
  active_cpu = (int) cpu;
  if (!config.drop_pconfig) program(package_of_cpu((int) cpu), request.keyid, entry);
  run_delayed();
  *result = PROG_SUCCESS;
  return true;
}

void Model::program(unsigned package, uint32_t keyid, const Entry &entry)
{
  std::vector<Package> next = packages;

  next[package].table[keyid] = entry;
  next[package].generation[keyid]++;
  next[package].blocks[keyid] = 0;
  change_keys(next, false);
}

} // namespace tme
