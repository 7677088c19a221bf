/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that are not like the others, as UNLIKE says (../README.md).
 *
 * Environment:
 *   MACHINE_UNLIKE  words CPU:WHAT:NUMBER with commas between them
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

#include "bochs.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"

struct lack {
  unsigned cpu;
  bool cpuid;     /* a register of a CPUID leaf; else an MSR */
  Bit32u index;   /* of the MSR, or the leaf; subleaf 0 */
  unsigned reg;   /* 0 to 3: EAX, EBX, ECX, EDX */
  Bit64u bits;    /* that read as 0 */
};

bool machine_unlike;

static std::vector<struct lack> lacks;
static Bit64u skews[MACHINE_CPUS_MAX];   /* of the TSC, that IA32_TSC_ADJUST does not show */
static Bit64u starts[MACHINE_CPUS_MAX];  /* of the TSC, that it shows, as if firmware had written it */
static Bit64u refused[MACHINE_CPUS_MAX]; /* number of the VM entry that fails, from 1 on */
static Bit64u entries[MACHINE_CPUS_MAX];

static void refuse(const char *word)
{
  fprintf(stderr, "machine: UNLIKE: %s is no CPU:WHAT:NUMBER\n", word);
  exit(1);
}

/* "msr-48b", "cpuid-7-ebx" */
static bool read_lack(const std::string &what, struct lack *lack)
{
  static const char *const names[] = { "eax", "ebx", "ecx", "edx" };
  char reg[4];
  int used = 0;

  if (sscanf(what.c_str(), "msr-%x%n", &lack->index, &used) == 1 && what[used] == 0) {
    lack->cpuid = false;
    return true;
  }
  if (sscanf(what.c_str(), "cpuid-%x-%3s%n", &lack->index, reg, &used) != 2 || what[used] != 0)
    return false;
  lack->cpuid = true;
  for (lack->reg = 0; lack->reg < 4; lack->reg++)
    if (strcmp(reg, names[lack->reg]) == 0) return true;
  return false;
}

static void read_word(const std::string &word)
{
  size_t first = word.find(':'), last = word.rfind(':');
  char *end;

  if (first == std::string::npos || first == last) refuse(word.c_str());
  unsigned long cpu = strtoul(word.c_str(), &end, 10);
  if (end != word.c_str() + first || cpu >= MACHINE_CPUS_MAX) refuse(word.c_str());
  Bit64u number = strtoull(word.c_str() + last + 1, &end, 0);
  if (*end != 0 || end == word.c_str() + last + 1) refuse(word.c_str());
  std::string what = word.substr(first + 1, last - first - 1);
  struct lack lack = { (unsigned) cpu, false, 0, 0, number };

  if (what == "tsc") skews[cpu] = number;
  else if (what == "tsc-adjust") starts[cpu] = number;
  else if (what == "entry") refused[cpu] = number;
  else if (read_lack(what, &lack)) lacks.push_back(lack);
  else refuse(word.c_str());
}

void machine_unlike_init(void)
{
  const char *words = getenv("MACHINE_UNLIKE");

  if (words == NULL) return;
  machine_unlike = true;
  std::string rest = words;
  for (size_t comma; (comma = rest.find(',')) != std::string::npos; rest = rest.substr(comma + 1))
    read_word(rest.substr(0, comma));
  read_word(rest);
}

Bit64u machine_tsc_skew(unsigned cpu)
{
  return skews[cpu];
}

Bit64u machine_tsc_start(unsigned cpu)
{
  return skews[cpu] + starts[cpu];
}

void machine_lack_msr(unsigned cpu, Bit32u index, Bit64u *value)
{
  for (const struct lack &lack : lacks)
    if (!lack.cpuid && lack.cpu == cpu && lack.index == index) *value &= ~lack.bits;
}

void machine_lack_cpuid(unsigned cpu, Bit32u leaf, Bit32u subleaf, struct cpuid_function_t *value)
{
  Bit32u *const regs[] = { &value->eax, &value->ebx, &value->ecx, &value->edx };

  for (const struct lack &lack : lacks)
    if (lack.cpuid && lack.cpu == cpu && lack.index == leaf && subleaf == 0)
      *regs[lack.reg] &= ~(Bit32u) lack.bits;
}

bool machine_refuse_entry(unsigned cpu)
{
  return ++entries[cpu] == refused[cpu];
}
