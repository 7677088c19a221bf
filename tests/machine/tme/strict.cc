/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict fidelity: a cache that holds a line for each KeyID it was touched with, and a CPU that
 * keeps a translation until INVEPT. The cache is the worst that the rules allow: it keeps a line
 * until it has to give it up, and writes a dirty one back after the line of a newer KeyID.
 *
 * Pages that KeyID 0 alone has touched are plain storage (DIRECT), or every firmware would crawl:
 * all their lines count as cached, and as dirty once there was a pointer to write by. A flush, or
 * another KeyID, makes a page TRACKED: its storage is then what DRAM holds.
 */

#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <iterator>

#include "tme.h"

namespace tme {

static uint64_t page_of(uint64_t mem) { return mem & ~(uint64_t) (PAGE - 1); }
static unsigned line_of(uint64_t mem) { return (unsigned) (mem % PAGE / LINE); }

static const uint64_t ALL_CPUS = ~0ull;

/* The CPU whose caches hold a line that those of any CPU of the set may hold. The last one, because
 * software most likely flushes on the first. */
static unsigned highest_of(uint64_t set)
{
  unsigned n = 0;

  while (set >>= 1) n++;
  return n;
}

/* One sentence: who, where, which KeyIDs, what. */
void Model::tell(const char *kind, int cpu, uint64_t mem, uint32_t a, uint32_t b,
                 const char *words)
{
  char text[256], other[16];

  report_count++;
  snprintf(other, sizeof(other), "%u", b);
  snprintf(text, sizeof(text), "tme: CPU %d RIP 0x%llx: %s at PA 0x%llx: KeyID %u, KeyID %s: %s",
           cpu, cpu < 0 ? 0ull : (unsigned long long) host.rip(cpu), kind,
           (unsigned long long) mem, a, b == BUS_WRITER ? "none (bus)" : other, words);
  host.report(text);
}

/* --- Pages -------------------------------------------------------------------------------------*/

uint8_t *Model::strict_page(int cpu, uint64_t page, uint32_t keyid, bool write)
{
  uint64_t n = page / PAGE;

  if (keyid != 0) {
    track(page);
    return NULL;
  }
  if (mode[n] == TRACKED) {
    std::unordered_map<uint64_t, PageState>::iterator state = states.find(n);
    if (state != states.end() && !state->second.lines.empty()) return NULL;
    /* Nothing of it is cached any more. */
    if (state != states.end()) {
      states.erase(state);
      recent[n % 64].state = NULL;
    }
    host.forget(page);
    if (key_of(page, 0) != NULL) key_of(page, 0)->decrypt(page, host.page(page), LINES);
    mode[n] = STORED;
  }
  if (cpu < 0) return host.page(page); /* a device leaves nothing in the cache */
  direct_cpus[n] |= 1ull << cpu;
  if (write) mode[n] = DIRECT_WRITTEN;
  else if (mode[n] == STORED) mode[n] = DIRECT;
  return host.page(page);
}

void Model::track(uint64_t page)
{
  uint64_t n = page / PAGE;

  if (mode[n] == TRACKED) return;
  uint8_t *text = host.page(page);
  host.forget(page);
  PageState &state = states[n];
  for (unsigned at = 0; mode[n] != STORED && at < LINES; at++) {
    LineState &line = state.lines[{ at, 0 }];
    state.only[at] = NULL;
    memcpy(line.data, text + at * LINE, LINE);
    line.dirty = mode[n] == DIRECT_WRITTEN;
    line.cpu = (uint8_t) highest_of(direct_cpus[n]);
  }
  if (key_of(page, 0) != NULL) key_of(page, 0)->encrypt(page, text, LINES);
  direct_cpus[n] = 0;
  mode[n] = TRACKED;
}

/* --- Lines -------------------------------------------------------------------------------------*/

PageState &Model::state_of(uint64_t n)
{
  auto &found = recent[n % 64];

  if (found.state == NULL || found.n != n) {
    found.n = n;
    found.state = &states[n]; /* stays there until it is erased */
  }
  return *found.state;
}

/* Dirty lines of other KeyIDs: what is read now is not what they hold. */
void Model::check_others(uint64_t line, uint32_t keyid)
{
  PageState &page = state_of(line / PAGE);
  unsigned at = line_of(line);

  for (auto it = page.lines.lower_bound({ at, 0 });
       it != page.lines.end() && it->first.first == at; ++it) {
    LineState &other = it->second;
    if (it->first.second == keyid || !other.dirty || other.told) continue;
    other.told = true;
    char words[96];
    snprintf(words, sizeof(words), "the first one's line is dirty since RIP 0x%llx, not flushed",
             (unsigned long long) other.rip);
    tell("alias-dirty", active_cpu, line, it->first.second, keyid, words);
  }
}

/*
 * COHERENCE=evict: processors force older lines of other KeyIDs out in some configurations (Intel,
 * "MKTME Side Channel Impact on Intel TDX"). Software must rely neither on it nor on its absence.
 */
void Model::evict_others(uint64_t line, uint32_t keyid)
{
  PageState &page = states[line / PAGE];
  unsigned at = line_of(line);
  std::vector<uint32_t> others;

  for (auto it = page.lines.lower_bound({ at, 0 });
       it != page.lines.end() && it->first.first == at; ++it)
    if (it->first.second != keyid) others.push_back(it->first.second);
  for (uint32_t other : others) drop_line(line, other, false);
}

/* Reports a clean line that is older than what DRAM holds. */
void Model::check_own(uint64_t line, uint32_t keyid, LineState &own)
{
  const PageState &page = state_of(line / PAGE);

  if (own.told || own.dirty) return;
  if (own.generation != generation_of(line, keyid))
    tell("key-change", active_cpu, line, keyid, keyid, "cached under the key of before PCONFIG");
  else if (own.version != page.version[line_of(line)])
    tell("stale-read", active_cpu, line, keyid, page.writer[line_of(line)],
         "the first one's cached line is older than what the second wrote to memory");
  else
    return;
  own.told = true;
}

typedef std::map<std::pair<unsigned, uint32_t>, LineState>::iterator LineIterator;

/* Is this line cached under no other KeyID? */
static bool is_alone(PageState &page, LineIterator it)
{
  unsigned at = it->first.first;
  LineIterator next = std::next(it);

  return (it == page.lines.begin() || std::prev(it)->first.first != at) &&
         (next == page.lines.end() || next->first.first != at);
}

LineState &Model::fill(int cpu, uint64_t line, uint32_t keyid)
{
  PageState &page = state_of(line / PAGE);
  unsigned at = line_of(line);
  std::pair<unsigned, uint32_t> name(at, keyid);
  LineIterator it;

  if (page.only[at] != NULL && page.only_keyid[at] == keyid) {
    check_own(line, keyid, *page.only[at]);
    page.only[at]->cpu = (uint8_t) (cpu < 0 ? 0 : cpu);
    return *page.only[at];
  }
  page.only[at] = NULL;
  it = page.lines.find(name);
  check_others(line, keyid);
  if (config.evict_aliases) evict_others(line, keyid);
  if (it != page.lines.end()) {
    check_own(line, keyid, it->second);
  } else {
    it = page.lines.emplace(name, LineState()).first;
    memcpy(it->second.data, host.page(page_of(line)) + line % PAGE, LINE);
    line_crypt(line, keyid, false, it->second.data);
    it->second.version = page.version[line_of(line)];
    it->second.generation = generation_of(line, keyid);
    if (keyid > max_keys())
      tell("keyid-range", cpu, line, keyid, max_keys(), "above the highest that 981H allows");
  }
  it->second.cpu = (uint8_t) (cpu < 0 ? 0 : cpu);
  if (is_alone(page, it)) {
    page.only[at] = &it->second;
    page.only_keyid[at] = keyid;
  }
  return it->second;
}

void Model::access_line(int cpu, uint64_t line, uint32_t keyid, size_t offset, void *out,
                        const void *in, size_t bytes)
{
  bool cached_before = cpu >= 0;

  if (cpu < 0) cached_before = states[line / PAGE].lines.count({ line_of(line), keyid }) != 0;
  LineState &state = fill(cpu, line, keyid);
  if (out != NULL) memcpy(out, state.data + offset, bytes);
  if (in != NULL) {
    memcpy(state.data + offset, in, bytes);
    if (!state.dirty) {
      state.dirty = true;
      state.told = false;
      state.age = ++clock;
      state.rip = cpu < 0 ? 0 : host.rip(cpu);
    }
    refresh_code(line, keyid, state);
  }
  /* A device sees what is cached, and leaves no line that was not there. */
  if (!cached_before) drop_line(line, keyid, false);
}

void Model::write_back(uint64_t line, uint32_t keyid, LineState &state)
{
  PageState &page = states[line / PAGE];
  unsigned at = line_of(line);
  uint8_t text[LINE];

  if (state.generation != generation_of(line, keyid))
    tell("key-change", active_cpu, line, keyid, keyid,
         "dirty before PCONFIG, written to memory with the key of after");
  else if (state.version != page.version[at])
    tell("late-evict", active_cpu, line, keyid, page.writer[at],
         "the first one's dirty line overwrites what the second wrote to memory");
  memcpy(text, state.data, LINE);
  line_crypt(line, keyid, true, text);
  blocks_of(&packages[package_of_mem(line)], keyid) += LINE / 16;
  memcpy(host.page(page_of(line)) + line % PAGE, text, LINE);
  state.version = ++page.version[at];
  state.generation = generation_of(line, keyid);
  page.writer[at] = keyid;
  state.dirty = false;
  settle_others(line, keyid, state.age);
}

/* Older dirty lines of other KeyIDs may be evicted at any time; now is the worst time. */
void Model::settle_others(uint64_t line, uint32_t keyid, uint64_t age)
{
  PageState &page = states[line / PAGE];
  unsigned at = line_of(line);

  for (auto it = page.lines.lower_bound({ at, 0 });
       it != page.lines.end() && it->first.first == at; ++it) {
    if (it->first.second != keyid && it->second.dirty && it->second.age < age)
      write_back(line, it->first.second, it->second);
  }
}

void Model::drop_line(uint64_t line, uint32_t keyid, bool keep)
{
  uint64_t n = line / PAGE;

  if (mode[n] != TRACKED) {
    if (keyid != 0 || mode[n] == STORED) return;
    track(page_of(line));
  }
  PageState &page = states[n];
  std::map<std::pair<unsigned, uint32_t>, LineState>::iterator it =
    page.lines.find({ line_of(line), keyid });
  if (it == page.lines.end()) return;
  if (it->second.dirty) write_back(line, keyid, it->second);
  if (keep) return;
  page.only[it->first.first] = NULL;
  page.lines.erase(it);
  forget_code(page_of(line));
}

/* Drops what the caches of these CPUs hold, the newest lines first: so of two lines of one address
 * the older one, which should not be there any more, is what stays in memory. */
void Model::drop_caches(uint64_t of_cpus, bool write_back_first)
{
  struct Found { uint64_t age, line; uint32_t keyid; };
  std::vector<Found> dirty;

  for (auto &page : states)
    for (auto &line : page.second.lines)
      if (line.second.dirty && of_cpus >> line.second.cpu & 1)
        dirty.push_back({ line.second.age, page.first * PAGE + line.first.first * LINE,
                          line.first.second });
  std::sort(dirty.begin(), dirty.end(), [](const Found &a, const Found &b) {
    return a.age != b.age ? a.age > b.age : a.line != b.line ? a.line < b.line : a.keyid > b.keyid;
  });
  for (const Found &found : dirty) {
    LineState &line = states[found.line / PAGE].lines[{ line_of(found.line), found.keyid }];
    if (write_back_first && line.dirty) write_back(found.line, found.keyid, line);
  }
  for (auto &page : states)
    for (auto it = page.second.lines.begin(); it != page.second.lines.end();)
      if (of_cpus >> it->second.cpu & 1) {
        page.second.only[it->first.first] = NULL;
        it = page.second.lines.erase(it);
      } else {
        ++it;
      }
  for (size_t n = 0; n < mode.size(); n++) {
    if (mode[n] != DIRECT && mode[n] != DIRECT_WRITTEN) continue;
    direct_cpus[n] &= ~of_cpus;
    if (direct_cpus[n] == 0) mode[n] = STORED;
  }
  host.forget_all();
}

uint64_t Model::keyid_dirty(void) const
{
  uint64_t count = 0;

  for (auto &page : states)
    for (auto &line : page.second.lines)
      if (line.first.second != 0 && line.second.dirty) count++;
  return count;
}

/* Power-on and reset. */
void Model::lose_caches(void)
{
  lost_dirty += keyid_dirty();
  if (config.strict && powered_on) drop_caches(ALL_CPUS, false);
  delayed.clear();
}

/* --- What software does ------------------------------------------------------------------------*/

void Model::flush(int cpu, uint64_t pa, bool keep)
{
  uint32_t keyid;
  uint64_t mem;

  if (!config.strict || config.drop_clflush) return;
  if (config.swap_pconfig_flush) {
    delayed.push_back({ pa, cpu, false, keep, true });
    return;
  }
  begin(cpu, pa, &keyid, &mem);
  if (holds(mem)) drop_line(mem & ~(uint64_t) (LINE - 1), config.no_alias ? 0 : keyid, keep);
}

uint64_t Model::wbinvd_reach(int cpu) const
{
  uint64_t reach = 0;

  for (unsigned n = 0; n < cpus; n++)
    if (config.wbinvd_core ? (int) n == cpu : package_of_cpu((int) n) == package_of_cpu(cpu))
      reach |= 1ull << n;
  return reach;
}

void Model::flush_all(int cpu, bool write_back)
{
  if (!config.strict || config.drop_wbinvd) return;
  active_cpu = cpu;
  if (config.swap_pconfig_flush) delayed.push_back({ 0, cpu, true, false, write_back });
  else drop_caches(wbinvd_reach(cpu), write_back);
}

/* SWAP=pconfig-flush: what came before PCONFIG happens after it. */
void Model::run_delayed(void)
{
  std::vector<Delayed> list;

  list.swap(delayed);
  for (const Delayed &d : list) {
    uint32_t keyid;
    uint64_t mem;
    begin(d.cpu, d.pa, &keyid, &mem);
    if (d.all) drop_caches(wbinvd_reach(d.cpu), d.write_back);
    else if (holds(mem))
      drop_line(mem & ~(uint64_t) (LINE - 1), config.no_alias ? 0 : keyid, d.keep);
  }
}

void Model::evict(uint64_t pa)
{
  uint32_t keyid;
  uint64_t mem;

  if (!config.strict) return;
  split(active_cpu, pa, &keyid, &mem);
  if (holds(mem)) drop_line(mem & ~(uint64_t) (LINE - 1), keyid, false);
}

void Model::evict_all(void)
{
  if (config.strict) drop_caches(ALL_CPUS, true);
}

/* --- Code --------------------------------------------------------------------------------------*/

void Model::refresh_code(uint64_t line, uint32_t keyid, const LineState &state)
{
  auto it = code.find({ line / PAGE, keyid });

  if (it != code.end()) memcpy(it->second.get() + line % PAGE, state.data, LINE);
}

/* The next fetch reads the page again. */
void Model::forget_code(uint64_t page)
{
  auto it = code.lower_bound({ page / PAGE, 0 });

  if (it != code.end() && it->first.first == page / PAGE) host.forget(page);
}

/* --- Cached translations -----------------------------------------------------------------------*/

bool Model::translate(unsigned cpu, uint64_t eptp, uint64_t gpa, uint32_t wanted, uint32_t rights,
                      bool refused, uint64_t *pa)
{
  std::pair<uint64_t, uint64_t> name(page_of(eptp), page_of(gpa));
  uint64_t now = page_of(*pa);

  if (!config.strict) return false;
  auto it = cached[cpu].find(name);
  if (it != cached[cpu].end() && (it->second.rights & wanted) == wanted) {
    Cached &entry = it->second;
    if (!refused && entry.mem_page == now) return false;
    uint32_t before, after;
    uint64_t mem, unused;
    split((int) cpu, entry.mem_page, &before, &mem);
    split((int) cpu, now, &after, &unused);
    if (refused) after = before;
    if (!entry.told)
      tell("stale-tlb", (int) cpu, mem, before, after, refused ?
           "translated by an EPT entry that is gone, without INVEPT since" :
           "translated by an EPT entry that was changed, without INVEPT since");
    entry.told = true;
    *pa = entry.mem_page | gpa % PAGE;
    return true;
  }
  if (it != cached[cpu].end()) cached[cpu].erase(it);
  if (!refused) cached[cpu][name] = { now, rights, false };
  return false;
}

void Model::invept(unsigned cpu, bool all, uint64_t eptp)
{
  if (config.drop_invept) return;
  for (auto it = combined[cpu].begin(); it != combined[cpu].end();)
    if (all || page_of(it->second.eptp) == page_of(eptp)) it = combined[cpu].erase(it);
    else ++it;
  if (all) {
    cached[cpu].clear();
    return;
  }
  auto from = cached[cpu].lower_bound({ page_of(eptp), 0 });
  auto to = cached[cpu].lower_bound({ page_of(eptp) + PAGE, 0 });
  cached[cpu].erase(from, to);
}

bool Model::combine(unsigned cpu, uint16_t vpid, uint64_t eptp, uint64_t address, bool write,
                    uint64_t *pa)
{
  uint64_t now = page_of(*pa), mem, unused;
  uint32_t before, after;

  if (!config.strict) return false;
  auto it = combined[cpu].find({ vpid, page_of(address) });
  /* A write through an entry that had none so far makes the CPU walk again. */
  if (it == combined[cpu].end() || (write && !it->second.written)) {
    combined[cpu][{ vpid, page_of(address) }] = { eptp, now, write, false };
    return false;
  }
  if (it->second.mem_page == now) return false;
  split((int) cpu, it->second.mem_page, &before, &mem);
  split((int) cpu, now, &after, &unused);
  if (!it->second.told)
    tell("stale-tlb", (int) cpu, mem, before, after,
         "translated by a guest's entry that was changed, without INVVPID since");
  it->second.told = true;
  *pa = it->second.mem_page | *pa % PAGE;
  return true;
}

void Model::forget_combined(unsigned cpu, uint16_t vpid, const uint64_t *address)
{
  for (auto it = combined[cpu].begin(); it != combined[cpu].end();)
    if ((vpid == 0 || it->first.first == vpid) &&
        (address == NULL || it->first.second == page_of(*address)))
      it = combined[cpu].erase(it);
    else
      ++it;
}

void Model::invvpid(unsigned cpu, uint16_t vpid, const uint64_t *address)
{
  if (!config.drop_invvpid) forget_combined(cpu, vpid, address);
}

} // namespace tme
