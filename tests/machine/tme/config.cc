/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's make: profiles, and the knobs that change them. */

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

/* "TYPE:EBX,ECX,EDX;..." as CPUID.1BH shall tell, sub-leaf by sub-leaf. */
static bool set_targets(Config *c, const std::string &text)
{
  std::istringstream subleaves(text);
  std::string subleaf;

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

static bool set_knob(Config *c, const std::string &key, const std::string &value)
{
  uint64_t n = 0;
  bool flag = false;

  if (key == "FIDELITY") return one_of(value, "strict", "fast", &c->strict);
  if (key == "LOCKED_WRITE") return one_of(value, "GP", "IGNORE", &c->locked_write_gp);
  if (key == "PCONFIG_LEGACY") return one_of(value, "on", "off", &c->legacy_pconfig);
  if (key == "STRICT_9FF") return one_of(value, "1", "0", &c->strict_9ff);
  if (key == "DROP") return set_drop(c, value);
  if (key == "SWAP") return one_of(value, "pconfig-flush", "", &c->swap_pconfig_flush);
  if (key == "EXCLUDE") return set_exclude(c, value);
  if (key == "TARGETS") return set_targets(c, value);
  if (key == "ALIAS") {
    bool ok = one_of(value, "1", "0", &flag);
    c->no_alias = !flag;
    return ok;
  }
  if (key == "CAP") return number(value, 16, &c->capability);
  if (key == "ACT") {
    if (!number(value, 16, &n)) return false;
    for (uint64_t &activate : c->activate) activate = n;
    return true;
  }
  if (key == "ACT1") return number(value, 16, &c->activate[1]);
  if (key == "PKGS") {
    bool ok = number(value, 10, &n) && n >= 1 && n <= PACKAGES_MAX;
    c->packages = (unsigned) n;
    return ok;
  }
  if (key == "RNG_FAIL_N") return number(value, 10, &c->rng_fail);
  if (key == "BUSY_N") return number(value, 10, &c->busy);
  if (key == "SEED") return number(value, 10, &c->seed);
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
  while (list >> word) {
    size_t equals = word.find('=');
    if (equals == std::string::npos ||
        !set_knob(this, word.substr(0, equals), word.substr(equals + 1))) {
      *why = word + " is no setting of this machine";
      return false;
    }
  }
  if (!strict && (drop_clflush || drop_wbinvd || drop_invept || drop_invvpid ||
                  swap_pconfig_flush || no_alias)) {
    *why = "DROP, SWAP and ALIAS need FIDELITY=strict";
    return false;
  }
  for (uint64_t value : activate) {
    unsigned k = (value >> 32) & 15, p = (value >> 36) & 15;
    if (k > ((capability >> 32) & 15) || p > k) {
      *why = "982H asks for more KeyID bits than 981H has";
      return false;
    }
  }
  return true;
}

} // namespace tme
