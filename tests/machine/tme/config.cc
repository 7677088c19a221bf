/* SPDX-License-Identifier: Apache-2.0 */
/* The model's configuration: profiles, and the knobs that change them. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sstream>

#include "tme.h"

namespace tme {

/* Synthetic CPUs: values computed from the layouts of 981H and 982H, no dumps of real ones. */
static const struct profile {
  const char *name;
  unsigned width;
  bool tme, pconfig, partitioning;
  uint64_t capability, activate;
} profiles[] = {
  { "P1", 39, false, false, false, 0, 0 },
  { "P2", 39, true, false, false, 0x0000000000000001, 0x0000000000000003 },
  { "P3", 52, true, true, false, 0x000003f680000001, 0x0001000600000003 },
  { "P4", 46, true, true, false, 0x000000f480000004, 0x0004000400000023 },
  { "P5", 52, true, true, false, 0x000007f780000005, 0x0004000700000023 },
  { "P6", 52, true, true, true, 0x000003f68000000f, 0x0001001680000003 },
  { "P7", 52, true, true, true, 0x000003f68000000f, 0x0001006680000003 },
  { "P8", 52, true, true, false, 0x000003f680000005, 0x0005000680000003 },
  { "P9", 52, true, true, false, 0x000003f680000005, 0x0000000000000001 },
  { "P10", 52, true, true, false, 0x000003f680000005, 0x0000000000000003 },
  { "P11", 52, true, true, false, 0x0000028680000001, 0x0001000600000003 },
  { "P12", 52, true, true, true, 0x000003f680000005, 0 },
};

static bool number(const std::string &text, int base, uint64_t *value)
{
  char *end = NULL;

  errno = 0;
  *value = strtoull(text.c_str(), &end, base);
  return !text.empty() && *end == 0 && errno == 0 && text[0] != '-';
}

static bool set_profile(Config *c, const std::string &name)
{
  for (const struct profile &p : profiles) {
    if (name != p.name) continue;
    c->profile = name;
    c->width = p.width;
    c->tme = p.tme;
    c->pconfig = p.pconfig;
    c->partitioning = p.partitioning;
    c->capability = p.capability;
    for (uint64_t &activate : c->activate) activate = p.activate;
    if (p.pconfig) c->targets = { 1, 1, 0, 0 };
    return true;
  }
  return false;
}

/* "TYPE:EBX,ECX,EDX;..." as CPUID.1BH has to report, sub-leaf by sub-leaf. */
static bool set_targets(Config *c, const std::string &text)
{
  std::istringstream subleaves(text);
  std::string subleaf;

  if (text.find('-') != std::string::npos) return false; /* sscanf would take it */
  c->targets.clear();
  while (std::getline(subleaves, subleaf, ';')) {
    unsigned r[4];
    char more;
    if (sscanf(subleaf.c_str(), "%u:%u,%u,%u%c", &r[0], &r[1], &r[2], &r[3], &more) != 4)
      return false;
    c->targets.insert(c->targets.end(), r, r + 4);
  }
  return !c->targets.empty();
}

static bool one_of(const std::string &value, const char *yes, const char *no, bool *flag)
{
  *flag = value == yes;
  return *flag || value == no;
}

static bool set_drop(Config *c, const std::string &value)
{
  std::istringstream list(value);
  std::string what;

  while (std::getline(list, what, ',')) {
    if (what == "clflush") c->drop_clflush = true;
    else if (what == "wbinvd") c->drop_wbinvd = true;
    else if (what == "invept") c->drop_invept = true;
    else if (what == "invvpid") c->drop_invvpid = true;
    else if (what == "pconfig") c->drop_pconfig = true;
    else if (what == "9ff") c->drop_9ff = true;
    else if (what == "bypass") c->drop_bypass = true;
    else return false;
  }
  return true;
}

static bool set_exclude(Config *c, const std::string &value)
{
  size_t colon = value.find(':');

  if (colon == std::string::npos || !number(value.substr(0, colon), 16, &c->exclude_base) ||
      !number(value.substr(colon + 1), 16, &c->exclude_mask))
    return false;
  c->exclude_mask |= 1 << 11; /* enabled */
  return true;
}

static bool set_activate(Config *c, const std::string &value)
{
  uint64_t n;

  if (!number(value, 16, &n)) return false;
  for (uint64_t &activate : c->activate) activate = n;
  return true;
}

static bool set_alias(Config *c, const std::string &value)
{
  bool honest = false, ok = one_of(value, "1", "0", &honest);

  c->no_alias = !honest;
  return ok;
}

static bool set_packages(Config *c, const std::string &value)
{
  uint64_t n;

  if (!number(value, 10, &n) || n < 1 || n > PACKAGES_MAX) return false;
  c->packages = (unsigned) n;
  return true;
}

typedef const std::string &Value;
static const struct knob {
  const char *name, *allowed;
  bool (*set)(Config *c, Value value);
} knobs[] = {
  { "FIDELITY", "fast or strict",
    [](Config *c, Value v) { return one_of(v, "strict", "fast", &c->strict); } },
  { "LOCKED_WRITE", "GP or IGNORE",
    [](Config *c, Value v) { return one_of(v, "GP", "IGNORE", &c->locked_write_gp); } },
  { "PCONFIG_LEGACY", "on or off",
    [](Config *c, Value v) { return one_of(v, "on", "off", &c->legacy_pconfig); } },
  { "STRICT_9FF", "0 or 1",
    [](Config *c, Value v) { return one_of(v, "1", "0", &c->strict_9ff); } },
  { "DROP", "clflush, wbinvd, invept, invvpid, pconfig, 9ff, bypass, or several by commas",
    set_drop },
  { "SWAP", "pconfig-flush",
    [](Config *c, Value v) { return one_of(v, "pconfig-flush", "", &c->swap_pconfig_flush); } },
  { "ALIAS", "0 or 1", set_alias },
  { "COHERENCE", "incoherent or evict",
    [](Config *c, Value v) { return one_of(v, "evict", "incoherent", &c->evict_aliases); } },
  { "TWEAK", "address or constant",
    [](Config *c, Value v) { return one_of(v, "constant", "address", &c->constant_tweak); } },
  { "WBINVD_REACH", "package or core",
    [](Config *c, Value v) { return one_of(v, "core", "package", &c->wbinvd_core); } },
  { "EXCLUDE", "BASE:MASK in hex, as 984H and 983H take them", set_exclude },
  { "TARGETS", "TYPE:EBX,ECX,EDX;...", set_targets },
  { "CAP", "hex", [](Config *c, Value v) { return number(v, 16, &c->capability); } },
  { "ACT", "hex", set_activate },
  { "ACT1", "hex", [](Config *c, Value v) { return number(v, 16, &c->activate[1]); } },
  { "PKGS", "1 or 2", set_packages },
  { "RNG_FAIL_N", "a number", [](Config *c, Value v) { return number(v, 10, &c->rng_fail); } },
  { "BUSY_N", "a number", [](Config *c, Value v) { return number(v, 10, &c->busy); } },
  { "SEED", "a number", [](Config *c, Value v) { return number(v, 10, &c->seed); } },
};

static bool set_knob(Config *c, const std::string &word, std::string *why)
{
  size_t equals = word.find('=');
  std::string name = word.substr(0, equals);

  for (const struct knob &knob : knobs) {
    if (name != knob.name || equals == std::string::npos) continue;
    if (knob.set(c, word.substr(equals + 1))) return true;
    *why = word + ": has to be " + knob.allowed;
    return false;
  }
  *why = word + " is no setting of this machine";
  return false;
}

/* What WRMSR would not have taken, the firmware cannot have left. */
static bool registers_ok(const Config &c, std::string *why)
{
  if (!c.tme && (c.capability != 0 || c.activate[0] != 0 || c.activate[1] != 0 ||
                 c.exclude_mask != 0)) {
    *why = "CAP, ACT, ACT1 and EXCLUDE need a machine with TME: " + c.profile + " has none";
    return false;
  }
  for (uint64_t value : c.activate) {
    if (c.activate_reserved(value & ~1ull)) {
      *why = "982H cannot hold that value beside this 981H";
      return false;
    }
  }
  if (c.exclude_reserved(true, c.exclude_mask) || c.exclude_reserved(false, c.exclude_base)) {
    *why = "EXCLUDE: 983H or 984H cannot hold that value";
    return false;
  }
  return true;
}

bool Config::break_rule(const std::string &word, std::string *why)
{
  for (const char *name : { "DROP=", "SWAP=", "ALIAS=" })
    if (strict && word.compare(0, strlen(name), name) == 0) return set_knob(this, word, why);
  *why = word + ": DROP, SWAP or ALIAS, with FIDELITY=strict";
  return false;
}

bool Config::parse(const std::string &words, std::string *why)
{
  std::istringstream list(words);
  std::string word;

  if (!(list >> word) || !set_profile(this, word)) {
    *why = "TME=" + word + " is none of P1 to P12";
    return false;
  }
  while (list >> word)
    if (!set_knob(this, word, why)) return false;
  if (!strict && (drop_clflush || drop_wbinvd || drop_invept || drop_invvpid ||
                  swap_pconfig_flush || no_alias || wbinvd_core || evict_aliases)) {
    *why = "DROP=clflush, wbinvd, invept and invvpid, SWAP, ALIAS, COHERENCE=evict and "
           "WBINVD_REACH=core need FIDELITY=strict";
    return false;
  }
  return registers_ok(*this, why);
}

} // namespace tme
