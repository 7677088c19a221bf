/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the model: from a physical address to bytes. Fast fidelity has no caches: each page is
 * stored as the plaintext of one KeyID, its owner, and is transformed when another one comes.
 */

#include <string.h>

#include "tme.h"

namespace tme {

unsigned Model::package_of_cpu(int cpu) const
{
  return cpu < 0 || config.packages == 1 ? 0 : (unsigned) cpu * config.packages / cpus;
}

/* The DRAM is split evenly; the last package has the highest addresses. */
unsigned Model::package_of_mem(uint64_t mem) const
{
  return mem < ram_bytes && config.packages != 1 ?
    (unsigned) (mem * config.packages / ram_bytes) : 0;
}

void Model::split(int cpu, uint64_t pa, uint32_t *keyid, uint64_t *mem) const
{
  const Package &package = packages[package_of_cpu(cpu)];
  unsigned k = (package.activate & 3) == 3 ? (package.activate >> 32) & 15 : 0;
  unsigned shift = config.width - k;

  *keyid = (uint32_t) (pa >> shift) & ((1u << k) - 1);
  *mem = pa & ((1ull << shift) - 1);
}

/* Not behind the engine are the legacy video and ROM window, and the last GiB below 4 GiB with
 * devices and firmware, however much memory there is. */
bool Model::holds(uint64_t mem) const
{
  return mem < ram_bytes && (mem < 0xa0000 || mem >= 0x100000) &&
         (mem < HOLE || mem >= HOLE_END);
}

/* The key that the engine uses; null: none. A KeyID without an entry behaves as KeyID 0. */
const Xts *Model::key_in(const std::vector<Package> &in, uint64_t mem, uint32_t keyid) const
{
  const Package &p = in[package_of_mem(mem)];
  uint64_t match = p.exclude_mask & ~(uint64_t) (PAGE - 1);

  if ((p.activate & 3) != 3) return NULL;
  if (keyid == 0 && (p.exclude_mask & 1 << 11) && (mem & match) == (p.exclude_base & match))
    return NULL;
  if (keyid == 0 || keyid > max_keys() || keyid >= p.table.size()) return p.tme_key.get();
  const Entry &entry = p.table[keyid];
  return entry.mode == Entry::TME ? p.tme_key.get() : entry.key.get();
}

uint32_t Model::generation_of(uint64_t mem, uint32_t keyid) const
{
  const Package &p = packages[package_of_mem(mem)];

  return keyid < p.generation.size() ? p.generation[keyid] : 0;
}

static void rekey(uint64_t mem, uint8_t *text, const Xts *from, const Xts *to)
{
  if (from == to) return;
  if (from != NULL) from->encrypt(mem, text, LINES);
  if (to != NULL) to->decrypt(mem, text, LINES);
}

void Model::change_keys(const std::vector<Package> &next, bool relabel)
{
  for (uint64_t mem = 0; mem < ram_bytes; mem += PAGE) {
    uint64_t n = mem / PAGE;
    uint32_t to = relabel ? 0 : owner[n];
    const Xts *from_key = key_in(packages, mem, owner[n]), *to_key = key_in(next, mem, to);
    owner[n] = (uint16_t) to;
    if (mode[n] == TRACKED || from_key == to_key || !holds(mem)) continue;
    rekey(mem, host.page(mem), from_key, to_key);
  }
  packages = next;
  host.forget_all();
}

void Model::own(uint64_t mem, uint32_t keyid)
{
  uint64_t page = mem & ~(uint64_t) (PAGE - 1), n = mem / PAGE;
  const Xts *from, *to;

  if (owner[n] == keyid) return;
  from = key_of(page, owner[n]);
  to = key_of(page, keyid);
  if (from != to) {
    host.forget(page);
    rekey(page, host.page(page), from, to);
  }
  owner[n] = (uint16_t) keyid;
}

void Model::begin(int cpu, uint64_t pa, uint32_t *keyid, uint64_t *mem)
{
  active_cpu = cpu;
  split(cpu, pa, keyid, mem);
  if (config.strict_9ff && *keyid != 0 && cpu >= 0 && !core_active[cpu])
    host.abort("a KeyID was used on a core where MSR 9FFH was not written");
}

/* Storage that holds what this KeyID sees in the page, or null. */
uint8_t *Model::plain_page(int cpu, uint64_t mem, uint32_t keyid, bool write)
{
  uint64_t page = mem & ~(uint64_t) (PAGE - 1);

  if (config.strict) return strict_page(cpu, page, keyid, write);
  own(page, keyid);
  return host.page(page);
}

uint8_t *Model::direct(int cpu, uint64_t pa, bool write)
{
  uint32_t keyid;
  uint64_t mem;
  uint8_t *page;

  begin(cpu, pa, &keyid, &mem);
  page = plain_page(cpu, mem, keyid, write);
  return page != NULL ? page + mem % PAGE : NULL;
}

const uint8_t *Model::fetch(int cpu, uint64_t pa)
{
  uint32_t keyid;
  uint64_t mem;
  uint8_t *page;

  begin(cpu, pa, &keyid, &mem);
  page = plain_page(cpu, mem, keyid, false);
  if (page != NULL) return page + mem % PAGE;
  std::unique_ptr<uint8_t[]> &copy = code[{ mem / PAGE, keyid }];
  if (copy == nullptr) copy.reset(new uint8_t[PAGE]);
  for (unsigned n = 0; n < LINES; n++)
    access_line(cpu, mem / PAGE * PAGE + n * LINE, keyid, 0, copy.get() + n * LINE, NULL, LINE);
  return copy.get() + mem % PAGE;
}

void Model::read(int cpu, uint64_t pa, void *data, size_t bytes)
{
  uint8_t *out = (uint8_t *) data, *page;
  uint32_t keyid;
  uint64_t mem;

  begin(cpu, pa, &keyid, &mem);
  page = plain_page(cpu, mem, keyid, false);
  if (page != NULL) {
    memcpy(out, page + mem % PAGE, bytes);
    return;
  }
  while (bytes != 0) {
    size_t offset = mem % LINE, part = bytes < LINE - offset ? bytes : LINE - offset;
    access_line(cpu, mem - offset, keyid, offset, out, NULL, part);
    mem += part;
    out += part;
    bytes -= part;
  }
}

void Model::write(int cpu, uint64_t pa, const void *data, size_t bytes)
{
  const uint8_t *in = (const uint8_t *) data;
  uint32_t keyid;
  uint64_t mem;
  uint8_t *page;

  begin(cpu, pa, &keyid, &mem);
  page = plain_page(cpu, mem, keyid, true);
  if (page != NULL) {
    memcpy(page + mem % PAGE, in, bytes);
    return;
  }
  while (bytes != 0) {
    size_t offset = mem % LINE, part = bytes < LINE - offset ? bytes : LINE - offset;
    access_line(cpu, mem - offset, keyid, offset, NULL, in, part);
    mem += part;
    in += part;
    bytes -= part;
  }
}

void Model::line_crypt(uint64_t line, uint32_t keyid, bool encrypt, uint8_t *text) const
{
  const Xts *key = key_of(line, keyid);

  if (key == NULL) return;
  if (encrypt) key->encrypt(line, text, 1);
  else key->decrypt(line, text, 1);
}

/* What is on the wires: of TRACKED pages that is what is stored, of others the ciphertext is
 * computed. */
void Model::bus_read(uint64_t mem, void *data, size_t bytes)
{
  uint8_t *out = (uint8_t *) data;

  if (mem % PAGE == 0 && bytes == PAGE) {
    const Xts *key = holds(mem) && mode[mem / PAGE] != TRACKED ? key_of(mem, owner[mem / PAGE])
                                                               : NULL;
    memcpy(out, host.page(mem), PAGE);
    if (key != NULL) key->encrypt(mem, out, LINES);
    return;
  }
  while (bytes != 0) {
    size_t offset = mem % LINE, part = bytes < LINE - offset ? bytes : LINE - offset;
    uint64_t line = mem - offset;
    uint8_t text[LINE];
    memcpy(text, host.page(line & ~(uint64_t) (PAGE - 1)) + line % PAGE, LINE);
    if (holds(line) && mode[mem / PAGE] != TRACKED)
      line_crypt(line, owner[mem / PAGE], true, text);
    memcpy(out, text + offset, part);
    mem += part;
    out += part;
    bytes -= part;
  }
}

void Model::read_as(uint32_t keyid, uint64_t mem, void *data, size_t bytes)
{
  uint64_t page = mem & ~(uint64_t) (PAGE - 1);
  const Xts *key = holds(page) ? key_of(page, keyid) : NULL;
  uint8_t text[PAGE];

  bus_read(page, text, PAGE);
  if (key != NULL) key->decrypt(page, text, LINES);
  memcpy(data, text + (mem - page), bytes);
}

/* A KeyID without a key of its own uses the TME key, so its blocks are counted for that. */
uint64_t &Model::blocks_of(Package *package, uint32_t keyid) const
{
  bool own = keyid < package->table.size() && package->table[keyid].mode != Entry::TME;

  return package->blocks[own ? keyid : 0];
}

uint64_t Model::encrypted_blocks(uint32_t keyid)
{
  uint64_t most = 0;

  for (Package &package : packages)
    if (blocks_of(&package, keyid) > most) most = blocks_of(&package, keyid);
  return most;
}

void Model::bus_write(uint64_t mem, const void *data, size_t bytes)
{
  const uint8_t *in = (const uint8_t *) data;

  while (bytes != 0) {
    size_t offset = mem % LINE, part = bytes < LINE - offset ? bytes : LINE - offset;
    uint64_t line = mem - offset, page = mem & ~(uint64_t) (PAGE - 1);
    uint8_t *text = host.page(page) + line % PAGE;
    if (config.strict && holds(line)) track(page);
    host.forget(page);
    if (!holds(line) || mode[mem / PAGE] == TRACKED) {
      memcpy(text + offset, in, part);
      if (mode[mem / PAGE] == TRACKED) {
        PageState &state = states[mem / PAGE];
        state.version[line % PAGE / LINE]++;
        state.writer[line % PAGE / LINE] = BUS_WRITER;
      }
    } else {
      line_crypt(line, owner[mem / PAGE], true, text);
      memcpy(text + offset, in, part);
      line_crypt(line, owner[mem / PAGE], false, text);
    }
    mem += part;
    in += part;
    bytes -= part;
  }
}

} // namespace tme
