/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The emulated machine's additions to Bochs (see instrument.h and ../README.md).
 *
 * Environment:
 *   MACHINE_RESULT  file that takes the figures at the end of the run and at each mark
 *   MACHINE_RULES   file of rules, one a line: ACTION ARGUMENT PATTERN, the last two as
 *                   hexadecimal bytes ("-" for none). A rule fires once, when its pattern ends
 *                   the text that left the first serial port.
 *   MACHINE_BUS     number of a socket, on the other end of which a script gives orders: bus.py
 *   MACHINE_TICKS   ends the run after so many ticks of the machine's clock
 *   MACHINE_ARCH_CAP  what IA32_ARCH_CAPABILITIES reads as, in hex, in place of the model's value
 *   MACHINE_SEED    start of the sequence that RDRAND and RDSEED deliver
 *   MACHINE_UART    "line": a byte on the serial line takes its whole time
 */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <deque>
#include <string>
#include <vector>

#include "bochs.h"
#include "cpu/cpu.h"
#include "gui/siminterface.h"
#include "memory/memory-bochs.h"
#include "param_names.h"
#include "pc_system.h"

#define STATUS_FAILED  1
#define STATUS_TIMEOUT 124

/* A byte takes no longer on the serial line than this many ticks: what 115,200 baud is at
 * 50 million instructions a second. Otherwise a fast clock makes every boot wait for its log. */
#define SERIAL_TICKS_MAX 4340

#define PAGE_BYTES 4096

struct rule {
  void (*act)(const struct rule *rule);
  std::string argument;
  std::string pattern;
  bool ordered; /* waits for the ordered rules before it */
  bool fired;
};

#define KEYID_SHIFT  48
#define MASK_ADDRESS ((BX_CONST64(1) << KEYID_SHIFT) - 1)

/* What a script on the bus sends, in the byte order of this host. */
struct order {
  Bit64u action; /* 'r', 'a' (as a KeyID) read, 'k' count a KeyID's blocks, 'd' debug registers;
                    'w' write, 't' type, 'x' break a rule, 'u' run until: bytes or words follow */
  Bit64u address; /* bits 63:48: the KeyID of 'a' and 'k'. 'd': the CPU's index */
  Bit64u bytes;
};

struct machine_cpu machine_cpus[MACHINE_CPUS_MAX];

static const char *end_how = "emulator-stopped";
static int end_status = STATUS_FAILED;
static Bit64u resets;
static FILE *result;
static std::vector<struct rule> rules;
static std::string serial_tail;  /* what left the serial line last */
static size_t pattern_bytes_max; /* length of the longest pattern */
static std::deque<Bit8u> input;  /* to be typed on the first serial port */
static bool uart_real_time;      /* its bytes take the time that its divisor says */
static bool uart_stalled;        /* it takes in one more byte, and none leaves any more */
static int bus = -1;             /* socket to the script; -1: there is none, or it has ended */
static std::string bus_pattern;  /* what the script waits for */
static std::string bus_heard;    /* what left the serial line since it began to wait */

/* Basic exit reasons, in the order of the SDM's appendix "VMX Basic Exit Reasons". */
static const char *const exit_names[] = {
  "exception-or-nmi", "external-interrupt", "triple-fault", "init", "sipi", "io-smi", "smi",
  "interrupt-window", "nmi-window", "task-switch", "cpuid", "getsec", "hlt", "invd", "invlpg",
  "rdpmc", "rdtsc", "rsm", "vmcall", "vmclear", "vmlaunch", "vmptrld", "vmptrst", "vmread",
  "vmresume", "vmwrite", "vmxoff", "vmxon", "cr-access", "dr-access", "io", "rdmsr", "wrmsr",
  "entry-failed-state", "entry-failed-msr", "reason-35", "mwait", "monitor-trap", "reason-38",
  "monitor", "pause", "entry-failed-mce", "reason-42", "tpr-below-threshold", "apic-access",
  "virtual-eoi", "gdtr-idtr", "ldtr-tr", "ept-violation", "ept-misconfig", "invept", "rdtscp",
  "preemption-timer", "invvpid", "wbinvd", "xsetbv", "apic-write", "rdrand", "invpcid", "vmfunc",
  "encls", "rdseed", "pml-full", "xsaves", "xrstors", "pconfig", "spp", "umwait", "tpause",
  "loadiwkey", "enclv", "reason-71", "enqcmd-pasid", "enqcmds-pasid", "bus-lock", "notify",
};

static const char *exit_name(unsigned reason)
{
  return reason < sizeof(exit_names) / sizeof(exit_names[0]) ? exit_names[reason] : "unknown";
}

/* SDM vol. 3, "Guest Non-Register State", has these words, and MWAIT is Bochs' own. */
static const char *activity_name(unsigned state)
{
  static const char *const names[] = { "active", "hlt", "shutdown", "wait-for-sipi" };

  return state < sizeof(names) / sizeof(names[0]) ? names[state] : "mwait";
}

static Bit64u retired(unsigned cpu)
{
  return BX_CPU(cpu)->get_icount() - machine_cpus[cpu].not_retired;
}

static Bit64u retired_in_guest(unsigned cpu)
{
  const struct machine_cpu *m = &machine_cpus[cpu];
  Bit64u now = retired(cpu);

  /* "entered" counts the VM entry itself, which has not retired yet right after it. */
  return m->guest + (m->in_guest && now > m->entered ? now - m->entered : 0);
}

static void write_figures(const char *heading, const char *text)
{
  Bit64u dirty, lost;

  if (result == NULL) return;
  fprintf(result, "%s %s\nticks " FMT_LL "u\nresets " FMT_LL "u\n", heading, text,
          bx_pc_system.time_ticks(), resets);
  if (machine_tme && machine_tme_dirty(&dirty, &lost))
    fprintf(result, "dirty " FMT_LL "u\nlost " FMT_LL "u\n", dirty, lost);
  for (unsigned cpu = 0; cpu < BX_SMP_PROCESSORS; cpu++) {
    const struct machine_cpu *m = &machine_cpus[cpu];
    Bit64u all = retired(cpu), guest = retired_in_guest(cpu), exits = 0;
    for (unsigned reason = 0; reason < MACHINE_EXITS_MAX; reason++) exits += m->exits[reason];
    fprintf(result, "cpu %u retired " FMT_LL "u guest " FMT_LL "u root " FMT_LL "u entries "
            FMT_LL "u exits " FMT_LL "u\n", cpu, all, guest, all - guest, m->entries, exits);
    fprintf(result, "at cpu %u %s %s rip " FMT_LL "x if %u\n", cpu,
            BX_CPU(cpu)->in_vmx_guest ? "guest" : "root",
            activity_name(BX_CPU(cpu)->activity_state),
            (Bit64u) BX_CPU(cpu)->get_instruction_pointer(), BX_CPU(cpu)->get_IF() != 0);
    for (unsigned reason = 0; reason < MACHINE_EXITS_MAX; reason++)
      if (m->exits[reason] != 0)
        fprintf(result, "exit cpu %u reason %u %s " FMT_LL "u\n", cpu, reason,
                exit_name(reason), m->exits[reason]);
  }
  fflush(result);
}

void machine_stop(const char *how, int status)
{
  machine_end(how, status);
  bx_user_quit = 1;
  bx_stop_simulation();
}

static void on_terminate(int)
{
  machine_stop("timeout", STATUS_TIMEOUT);
}

static void on_ticks_used(void *)
{
  machine_stop("ticks-used-up", STATUS_TIMEOUT);
}

/* A DRAM page, as the memory modules hold it. */
static void dram_read(Bit64u page, Bit8u *text)
{
  if (machine_tme) machine_bus_read(page, text, PAGE_BYTES);
  else memcpy(text, BX_MEM(0)->get_vector(page), PAGE_BYTES);
}

/* Changes DRAM without the CPUs, which only drop what they have decoded from the page. The bytes
 * must lie in one page. */
static void dram_write(Bit64u address, const Bit8u *bytes, size_t count)
{
  pageWriteStampTable.decWriteStamp(address);
  if (machine_tme) machine_bus_write(address, bytes, count);
  else memcpy(BX_MEM(0)->get_vector(address), bytes, count);
}

/* Writes DRAM to the file that the rule names; pages of zeroes become holes. */
static void act_dump(const struct rule *rule)
{
  static const Bit8u zeroes[PAGE_BYTES] = { 0 };
  FILE *file = fopen(rule->argument.c_str(), "wb");
  Bit64u bytes = BX_MEM(0)->get_memory_len();
  bool failed = file == NULL;

  for (Bit64u at = 0; !failed && at < bytes; at += PAGE_BYTES) {
    Bit8u page[PAGE_BYTES];
    dram_read(at, page);
    if (memcmp(page, zeroes, PAGE_BYTES) == 0) continue;
    failed = fseeko(file, (off_t) at, SEEK_SET) != 0 || fwrite(page, PAGE_BYTES, 1, file) != 1;
  }
  if (file != NULL) {
    failed |= fflush(file) != 0 || ftruncate(fileno(file), (off_t) bytes) != 0;
    fclose(file);
  }
  if (failed)
    fprintf(stderr, "machine: DRAM could not be written to %s: %s\n", rule->argument.c_str(),
            strerror(errno));
}

static void act_mark(const struct rule *rule)
{
  write_figures("mark", rule->pattern.c_str());
}

static void act_type(const struct rule *rule)
{
  input.insert(input.end(), rule->argument.begin(), rule->argument.end());
}

static void act_stall(const struct rule *)
{
  uart_stalled = true;
}

static void act_stop(const struct rule *)
{
  machine_stop("pattern", 0);
}

static const struct {
  const char *name;
  void (*act)(const struct rule *rule);
  bool ordered;
} actions[] = {
  { "dump", act_dump, false },
  { "mark", act_mark, false },
  { "stall", act_stall, false },
  { "stop", act_stop, false },
  { "type", act_type, true },
};

static bool bus_send(const void *data, size_t bytes)
{
  for (const char *at = (const char *) data; bytes != 0;) {
    ssize_t sent = send(bus, at, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    bytes -= (size_t) sent;
  }
  return true;
}

static bool bus_receive(void *data, size_t bytes)
{
  for (char *at = (char *) data; bytes != 0;) {
    ssize_t got = recv(bus, at, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= (size_t) got;
  }
  return true;
}

/* Reads or changes DRAM for the script. */
static bool bus_transfer(const struct order *order)
{
  Bit64u all = BX_MEM(0)->get_memory_len(), at = order->address & MASK_ADDRESS;
  Bit64u end = at + order->bytes;
  Bit32u keyid = (Bit32u) (order->address >> KEYID_SHIFT);
  bool as_keyid = order->action == 'a' && machine_tme;
  bool good = at <= all && order->bytes <= all - at;

  while (good && at < end) {
    Bit64u in_page = at % PAGE_BYTES, bytes = PAGE_BYTES - in_page;
    if (bytes > end - at) bytes = end - at;
    Bit8u page[PAGE_BYTES];
    if (order->action == 'w') {
      good = bus_receive(page, bytes);
      if (good) dram_write(at, page, bytes);
    } else {
      if (as_keyid) machine_read_as(keyid, at - in_page, page, PAGE_BYTES);
      else dram_read(at - in_page, page);
      good = bus_send(page + in_page, bytes);
    }
    at += bytes;
  }
  return good;
}

static bool bus_count_blocks(const struct order *order)
{
  Bit64u count = 0;

  if (machine_tme) count = machine_encrypted_blocks((Bit32u) (order->address >> KEYID_SHIFT));
  return bus_send(&count, sizeof(count));
}

static bool bus_debug_registers(const struct order *order)
{
  Bit64u values[4];

  if (order->address >= BX_SMP_PROCESSORS) return false;
  for (unsigned i = 0; i < 4; i++) values[i] = BX_CPU(order->address)->dr[i];
  return bus_send(values, sizeof(values));
}

static bool bus_receive_text(size_t bytes, std::string *text)
{
  text->assign(bytes, 0);
  return bytes != 0 && bus_receive(&(*text)[0], bytes);
}

static bool bus_break(size_t bytes)
{
  std::string word;

  return bus_receive_text(bytes, &word) && machine_tme && machine_break_rule(word.c_str());
}

static bool bus_type(size_t bytes)
{
  std::string text;
  bool good = bus_receive_text(bytes, &text);

  if (good) input.insert(input.end(), text.begin(), text.end());
  return good;
}

/* The machine stands still and obeys the script, until the script waits for a pattern or has
 * ended. */
static void bus_obey(void)
{
  struct order order;
  bool good = true;

  while (good) {
    good = bus_receive(&order, sizeof(order));
    if (good && order.action == 'u') {
      bus_heard.clear();
      if (bus_receive_text(order.bytes, &bus_pattern)) return;
      good = false;
    }
    if (good && order.action == 'e') {
      if (machine_tme) machine_evict_all();
    } else if (good) {
      good = order.action == 't' ? bus_type(order.bytes) :
        order.action == 'x' ? bus_break(order.bytes) :
        order.action == 'k' ? bus_count_blocks(&order) :
        order.action == 'd' ? bus_debug_registers(&order) : bus_transfer(&order);
    }
  }
  close(bus);
  bus = -1;
}

static void bus_start(const char *number)
{
  Bit64u bytes = BX_MEM(0)->get_memory_len();

  bus = atoi(number);
  bus_send(&bytes, sizeof(bytes));
  bus_obey();
}

static void bus_hear(Bit8u byte)
{
  size_t bytes = bus_pattern.size();
  Bit64u heard;

  bus_heard.push_back((char) byte);
  if (bytes > bus_heard.size()) return;
  if (bus_heard.compare(bus_heard.size() - bytes, bytes, bus_pattern) != 0) return;
  heard = bus_heard.size();
  bus_send(&heard, sizeof(heard));
  bus_send(bus_heard.data(), bus_heard.size());
  bus_obey();
}

static bool unhex(const char *text, std::string *out)
{
  if (strcmp(text, "-") == 0) return true;
  for (; *text != 0; text += 2) {
    unsigned byte;
    if (text[1] == 0 || sscanf(text, "%2x", &byte) != 1) return false;
    out->push_back((char) byte);
  }
  return true;
}

static void refuse(const char *path, const char *why)
{
  fprintf(stderr, "machine: %s: %s\n", path, why);
  exit(STATUS_FAILED);
}

static void add_rule(const char *path, const char *action, const char *argument,
                     const char *pattern)
{
  struct rule rule = {};

  for (unsigned n = 0; n < sizeof(actions) / sizeof(actions[0]); n++) {
    if (strcmp(actions[n].name, action) != 0) continue;
    rule.act = actions[n].act;
    rule.ordered = actions[n].ordered;
  }
  if (rule.act == NULL || !unhex(argument, &rule.argument) || !unhex(pattern, &rule.pattern))
    refuse(path, "unknown action, or no hexadecimal bytes");
  if (rule.pattern.empty()) refuse(path, "a rule without a pattern");
  if (rule.pattern.size() > pattern_bytes_max) pattern_bytes_max = rule.pattern.size();
  rules.push_back(rule);
}

static void read_rules(const char *path)
{
  FILE *file = fopen(path, "r");
  char *line = NULL;
  size_t room = 0;

  if (file == NULL) refuse(path, strerror(errno));
  while (getline(&line, &room, file) > 0) {
    char *save = NULL;
    const char *action = strtok_r(line, " \n", &save);
    const char *argument = strtok_r(NULL, " \n", &save);
    const char *pattern = strtok_r(NULL, " \n", &save);
    if (pattern == NULL) refuse(path, "a line that is no rule");
    add_rule(path, action, argument, pattern);
  }
  free(line);
  fclose(file);
}

Bit64u machine_arch_cap;

void machine_init(void)
{
  const char *arch_cap = getenv("MACHINE_ARCH_CAP");
  const char *path = getenv("MACHINE_RESULT");

  if (path != NULL && (result = fopen(path, "w")) == NULL) refuse(path, strerror(errno));
  path = getenv("MACHINE_RULES");
  if (path != NULL) read_rules(path);
  if (arch_cap != NULL) machine_arch_cap = strtoull(arch_cap, NULL, 16);
  uart_real_time = getenv("MACHINE_UART") != NULL;
  machine_tme_init();
  machine_unlike_init();
  signal(SIGTERM, on_terminate);
}

void machine_init_cpu(unsigned cpu)
{
  const char *ticks = getenv("MACHINE_TICKS"), *script = getenv("MACHINE_BUS");

  if (cpu >= MACHINE_CPUS_MAX) refuse("cpu: count", "more CPUs than the machine counts");
  BX_CPU(cpu)->icount = 0;
  if (cpu == 0 && ticks != NULL)
    bx_pc_system.register_timer_ticks(NULL, on_ticks_used, strtoull(ticks, NULL, 0), false, true,
                                      "machine");
  if (cpu == 0 && script != NULL) bus_start(script);
}

/* Bochs has stopped for whatever reason, perhaps before there was a CPU. */
void machine_exit(void)
{
  bool complete = bx_cpu_array != NULL && BX_SMP_PROCESSORS > 0;

  for (unsigned cpu = 0; complete && cpu < BX_SMP_PROCESSORS; cpu++)
    complete = BX_CPU(cpu) != NULL;
  if (complete) write_figures("end", end_how);
  if (result != NULL) fclose(result);
  exit(end_status);
}

/* The first cause given is the one that is reported. */
void machine_end(const char *how, int status)
{
  static bool ended;

  if (ended) return;
  ended = true;
  end_how = how;
  end_status = status;
}

/* A hardware reset sets Bochs' counter to zero; ours goes on. */
void machine_count_restarts(unsigned cpu)
{
  static bool powered_on;

  machine_cpus[cpu].not_retired -= BX_CPU(cpu)->get_icount();
  machine_cpus[cpu].in_guest = false;
  if (cpu != 0) return;
  machine_tme_reset();
  machine_tpm_reset();
  if (powered_on) resets++;
  powered_on = true;
}

void machine_vmentry(unsigned cpu)
{
  struct machine_cpu *m = &machine_cpus[cpu];

  m->entered = retired(cpu) + 1; /* VMLAUNCH or VMRESUME itself belongs to root */
  m->in_guest = true;
  m->entries++;
}

/* Also called for failed VM entries, from root. */
void machine_vmexit(unsigned cpu, Bit32u reason)
{
  struct machine_cpu *m = &machine_cpus[cpu];

  m->guest = retired_in_guest(cpu);
  m->in_guest = false;
  reason &= 0xffff;
  m->exits[reason < MACHINE_EXITS_MAX ? reason : MACHINE_EXITS_MAX - 1]++;
}

static void run_rules(Bit8u byte)
{
  bool blocked = false;

  serial_tail.push_back((char) byte);
  if (serial_tail.size() > pattern_bytes_max) serial_tail.erase(0, 1);
  for (struct rule &rule : rules) {
    size_t bytes = rule.pattern.size();
    if (rule.fired || (rule.ordered && blocked)) continue;
    blocked |= rule.ordered;
    if (bytes > serial_tail.size()) continue;
    if (serial_tail.compare(serial_tail.size() - bytes, bytes, rule.pattern) != 0) continue;
    rule.fired = true;
    rule.act(&rule);
  }
}

void machine_serial_out(unsigned port, Bit8u byte)
{
  if (port != 0) return;
  if (!rules.empty()) run_rules(byte);
  if (bus >= 0) bus_hear(byte);
}

bool machine_serial_in(unsigned port, Bit8u *byte)
{
  if (port != 0 || input.empty()) return false;
  *byte = input.front();
  input.pop_front();
  return true;
}

static double ticks_per_usec(void)
{
  return SIM->get_param_num(BXPN_IPS)->get() / 1000000.0;
}

/* A read of the PM timer takes a microsecond, as through a real chipset. Firmware waits by reading
 * it in a loop, which would otherwise take a billion instructions. */
void machine_slow_read(void)
{
  BX_TICKN((Bit32u) ticks_per_usec());
}

int machine_serial_usec(int usec)
{
  int most = (int) (SERIAL_TICKS_MAX / ticks_per_usec());

  if (uart_stalled) return INT_MAX; /* 36 minutes */
  if (uart_real_time) return usec;
  if (most < 1) most = 1;
  return usec < most ? usec : most;
}

unsigned machine_seed(void)
{
  const char *seed = getenv("MACHINE_SEED");

  return seed != NULL ? (unsigned) strtoul(seed, NULL, 0) : 1;
}
