/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model of Intel TME and TME-MK: registers, key tables, PCONFIG and memory that holds what the
 * DIMM would hold. It knows nothing of the emulator; ../bochs/machine_tme.cc ties it to Bochs.
 * README.md states each rule, its source and what was chosen where Intel's documents are silent.
 *
 * Addresses: "pa" is a physical address as it stands in a page table, with its KeyID; "mem" is one
 * without a KeyID: the place in DRAM. One thread; nothing here takes a lock.
 */

#ifndef MACHINE_TME_H
#define MACHINE_TME_H

#include <stddef.h>
#include <stdint.h>

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tme {

enum : unsigned {
  PAGE = 4096,
  LINE = 64,
  LINES = PAGE / LINE,
  CPUS_MAX = 64,
  PACKAGES_MAX = 2,
  KEY_STRUCT_BYTES = 192, /* what PCONFIG reads of its structure */
};

/* No memory is here, as on a PC with more than 3 GiB. */
enum : uint64_t { HOLE = 0xc0000000, HOLE_END = 0x100000000 };

/* Who touches memory when no CPU does: a device, with KeyID 0 unless its address carries one. */
enum : int { DEVICE = -1 };

enum : uint32_t {
  MSR_KEYID_PARTITIONING = 0x87,
  MSR_CAPABILITY = 0x981,
  MSR_ACTIVATE = 0x982,
  MSR_EXCLUDE_MASK = 0x983,
  MSR_EXCLUDE_BASE = 0x984,
  MSR_CORE_ACTIVATE = 0x9ff,
};

enum : uint32_t { CRYPTO_XTS_128 = 1 << 0, CRYPTO_XTS_256 = 1 << 2 }; /* as in ENC_ALG */

enum : uint32_t {
  PROG_SUCCESS = 0,
  PROG_INVALID_COMMAND = 1, /* with PCONFIG_LEGACY=on alone, as are the next two */
  PROG_ENTROPY_ERROR = 2,
  PROG_INVALID_KEYID = 3,
  PROG_INVALID_ALG = 4,
  PROG_DEVICE_BUSY = 5,
};

/* The model's configuration. parse() reads it from words as `make boot` takes them. */
struct Config {
  std::string profile = "P1";
  unsigned width = 39;     /* MAXPHYADDR: what CPUID.80000008H reports */
  bool tme = false;        /* CPUID.(7,0):ECX[13] */
  bool pconfig = false;    /* CPUID.(7,0):EDX[18] */
  bool partitioning = false; /* MSR 87H exists */
  uint64_t capability = 0; /* 981H */
  uint64_t activate[PACKAGES_MAX] = { 0, 0 }; /* 982H when the machine comes out of its firmware */
  uint64_t exclude_base = 0, exclude_mask = 0;
  bool strict = false;
  bool locked_write_gp = true;
  bool legacy_pconfig = false;
  bool strict_9ff = false;
  unsigned packages = 1;
  uint64_t rng_fail = 0, busy = 0; /* the next so many attempts fail */
  uint64_t seed = 1;
  bool drop_clflush = false, drop_wbinvd = false, drop_invept = false, drop_invvpid = false;
  bool drop_pconfig = false; /* it succeeds, and the key table stays as it was */
  bool drop_9ff = false;     /* a write to 9FFH is taken, and the core learns nothing */
  bool drop_bypass = false;  /* a 982H that is written with bypass encrypts KeyID 0 */
  bool swap_pconfig_flush = false;
  bool no_alias = false; /* ALIAS=0: a line flush reaches the KeyID-0 alias alone */
  bool evict_aliases = false; /* COHERENCE=evict: a line leaves when an alias of it is touched */
  bool constant_tweak = false; /* TWEAK=constant: every line is encrypted as line 0 */
  bool wbinvd_core = false; /* WBINVD_REACH=core: no other CPU's lines; else the package's */
  std::vector<uint32_t> targets; /* CPUID.1BH, four registers a sub-leaf */

  /* Takes "P3 FIDELITY=strict ..."; false with a sentence in *why. */
  bool parse(const std::string &words, std::string *why);
  /* Takes DROP=, SWAP= or ALIAS= while the machine runs: from then on the rule is broken. */
  bool break_rule(const std::string &word, std::string *why);
  /* What raises #GP when written to 982H, while that is not locked ... */
  bool activate_reserved(uint64_t value) const;
  /* ... and to 983H (mask) or 984H. */
  bool exclude_reserved(bool mask, uint64_t value) const;
};

/* What the model needs of the machine around it. */
struct Host {
  uint8_t *(*page)(uint64_t mem);       /* storage of a DRAM page; mem is a multiple of PAGE */
  void (*forget)(uint64_t mem);         /* drop pointers to this page and what was decoded of it */
  void (*forget_all)(void);             /* the same for every page */
  void (*report)(const char *line);     /* a rule was broken (strict) */
  uint64_t (*rip)(int cpu);             /* the instruction that CPU is at */
  void (*abort)(const char *why);       /* the machine ends: "model abort" */
};

/*
 * AES-XTS on whole lines: the data unit is one line, its number mem / 64, little-endian; or always
 * 0, with a constant tweak.
 */
class Xts {
public:
  /* key_bytes is 16 or 32: of each of the two keys. Equal keys are taken, as PCONFIG does. */
  Xts(const uint8_t *data_key, const uint8_t *tweak_key, size_t key_bytes,
      bool constant_tweak = false);
  ~Xts();
  Xts(const Xts &) = delete;
  Xts &operator=(const Xts &) = delete;
  /* "text" holds "lines" lines, at most LINES, the first of them that of mem. */
  void encrypt(uint64_t mem, uint8_t *text, size_t lines) const { crypt(true, mem, text, lines); }
  void decrypt(uint64_t mem, uint8_t *text, size_t lines) const { crypt(false, mem, text, lines); }
private:
  void crypt(bool encrypt, uint64_t mem, uint8_t *text, size_t lines) const;
  void *enc, *dec, *tweak; /* EVP_CIPHER_CTX */
  bool constant;
};
typedef std::shared_ptr<const Xts> Key; /* none: the engine is passed by */

/* A key table entry. */
struct Entry {
  enum { TME, KEY, NONE } mode = TME;
  Key key;
};

struct Package {
  uint64_t activate = 0, exclude_base = 0, exclude_mask = 0;
  Key tme_key; /* of KeyID 0; none while bypassed or off */
  std::vector<Entry> table;
  std::vector<uint32_t> generation; /* of each KeyID's key, counted up by PCONFIG */
  std::vector<uint64_t> blocks; /* of 16 bytes that its key encrypted, [0]: TME's; strict alone */
};

/* Translations that a CPU may have cached: see translate(). */
struct Cached {
  uint64_t mem_page; /* with KeyID */
  uint32_t rights;
  bool told; /* its staleness was reported */
};

/* Where a guest's linear address led, under its VPID: through its own tables and EPT. */
struct Combined {
  uint64_t eptp, mem_page; /* the latter with KeyID */
  bool written, told;
};

enum Msr { MSR_OK, MSR_GP, MSR_UNKNOWN };

struct LineState {
  uint8_t data[LINE];
  bool dirty = false;
  bool told = false;       /* reported already; cleared by the next fill */
  uint8_t cpu = 0;         /* whose caches hold it: who touched it last */
  uint32_t generation = 0; /* of the KeyID's key at the fill */
  uint32_t version = 0;    /* of DRAM at the fill or the last write-back */
  uint64_t age = 0;        /* when it became dirty */
  uint64_t rip = 0;        /* who made it dirty */
};

struct PageState {
  uint32_t version[LINES] = { 0 };     /* counts what was written to DRAM */
  uint32_t writer[LINES] = { 0 };      /* KeyID of the last write to DRAM, or BUS_WRITER */
  std::map<std::pair<unsigned, uint32_t>, LineState> lines; /* by line of the page and KeyID */
  /*
   * A shortcut for most accesses: the state of a line that is cached under one KeyID only, and that
   * KeyID. Null if that is not known, as after any change of "lines".
   */
  LineState *only[LINES] = { NULL };
  uint32_t only_keyid[LINES];
};

class Model {
public:
  Model(const Config &config, const Host &host, uint64_t ram_bytes, unsigned cpus);

  /* Power-on and hardware reset: registers and keys are new, DRAM keeps what it holds. */
  void reset(void);

  /* --- Registers (regs.cc) --- */
  uint64_t reserved_bits(void) const; /* of a physical address; follows 982H */
  void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t reg[4]) const;
  Msr read_msr(unsigned cpu, uint32_t index, uint64_t *value) const;
  Msr write_msr(unsigned cpu, uint32_t index, uint64_t value);

  /*
   * PCONFIG, after its checks for #UD and VM exits, in two halves. pconfig_begin: false means
   * #GP(0); else the caller reads KEY_STRUCT_BYTES at RBX. pconfig: false means #GP(0); else
   * *result is the new RAX, and the new ZF is whether *result is not 0.
   */
  bool pconfig_begin(unsigned cpu, uint32_t leaf, uint64_t address) const;
  bool pconfig(unsigned cpu, const uint8_t *structure, uint32_t *result);
  /* What the generator gave last: data key, then tweak key, 64 bytes each. */
  const uint8_t *last_random(void) const { return random_bytes; }

  /* --- Memory (memory.cc). No access may cross a page. --- */
  /* KeyID and DRAM address that a CPU's or device's physical address stands for. */
  void split(int cpu, uint64_t pa, uint32_t *keyid, uint64_t *mem) const;
  bool holds(uint64_t mem) const; /* is it DRAM behind the engine? */
  /* Storage of the page for plain access, or null: then read() and write() are the only way. */
  uint8_t *direct(int cpu, uint64_t pa, bool write);
  /* A copy of the page for instruction fetch; stays right until it is dropped. */
  const uint8_t *fetch(int cpu, uint64_t pa);
  void read(int cpu, uint64_t pa, void *data, size_t bytes);
  void write(int cpu, uint64_t pa, const void *data, size_t bytes);
  void flush(int cpu, uint64_t pa, bool keep); /* CLFLUSH; CLWB keeps the line */
  void flush_all(int cpu, bool write_back);    /* WBINVD; INVD loses what is dirty */
  /* Eviction as of a full cache, whatever DROP, SWAP and ALIAS say. */
  void evict(uint64_t pa);
  void evict_all(void);
  /* As on the wires of the DIMM. */
  void bus_read(uint64_t mem, void *data, size_t bytes);
  void bus_write(uint64_t mem, const void *data, size_t bytes);
  /* What a CPU that has nothing cached would read there with this KeyID. Within a page. */
  void read_as(uint32_t keyid, uint64_t mem, void *data, size_t bytes);
  /* How many blocks the present key of this KeyID has encrypted, on the package with the most. */
  uint64_t encrypted_blocks(uint32_t keyid);
  uint32_t reports(void) const { return report_count; }
  /*
   * Lines that are dirty in a cache under a KeyID other than 0; how many such lines resets have
   * lost.
   */
  uint64_t keyid_dirty(void) const;
  uint64_t keyid_lost(void) const { return lost_dirty; }

  /* --- Cached translations (strict.cc): strict alone --- */
  /*
   * Call it after the walk of "eptp" has led gpa to *pa with these rights, or (refused) to an EPT
   * violation. Returns true if the CPU had another translation cached: then *pa is what it uses.
   */
  bool translate(unsigned cpu, uint64_t eptp, uint64_t gpa, uint32_t wanted, uint32_t rights,
                 bool refused, uint64_t *pa);
  void invept(unsigned cpu, bool all, uint64_t eptp);
  /*
   * The same for the guest's own tables and EPT, which have led its address to *pa. "vpid" is not
   * 0, because without a VPID no such translation outlives a VM exit.
   */
  bool combine(unsigned cpu, uint16_t vpid, uint64_t eptp, uint64_t address, bool write,
               uint64_t *pa);
  /* INVVPID: of one VPID, or of all (0); of one page, or of all (nowhere). */
  void invvpid(unsigned cpu, uint16_t vpid, const uint64_t *address);
  /* What a guest does to its own: MOV CR, INVLPG. */
  void forget_combined(unsigned cpu, uint16_t vpid, const uint64_t *address);

  Config config; /* changed by break_rule alone */

private:
  enum PageMode : uint8_t { STORED, DIRECT, DIRECT_WRITTEN, TRACKED };
  enum : uint32_t { BUS_WRITER = 0xffffffff };

  unsigned package_of_cpu(int cpu) const;
  uint64_t &blocks_of(Package *package, uint32_t keyid) const;
  uint64_t wbinvd_reach(int cpu) const; /* the CPUs whose caches it flushes, a bit each */
  void cpuid_caches(uint32_t reg[4]) const;
  unsigned package_of_mem(uint64_t mem) const;
  unsigned keyid_bits(unsigned package) const { return (packages[package].activate >> 32) & 15; }
  uint32_t max_keys(void) const { return (config.capability >> 36) & 0x7fff; }
  bool target_listed(void) const;
  Msr write_activate(unsigned cpu, uint64_t value);
  Msr write_exclude(unsigned cpu, uint32_t index, uint64_t value);
  bool activate(unsigned package, uint64_t value);
  Key new_key(const uint8_t *data_key, const uint8_t *tweak_key, size_t key_bytes) const;
  bool random_key(void); /* fills random_bytes; false: no entropy */
  uint64_t random_word(void);
  /* Takes new key tables; DRAM keeps its bytes. "relabel": all pages count as KeyID 0's. */
  void change_keys(const std::vector<Package> &next, bool relabel);
  void program(unsigned package, uint32_t keyid, const Entry &entry);
  bool pconfig_refused(unsigned cpu, const uint8_t *structure, uint32_t *result) const;

  const Xts *key_in(const std::vector<Package> &in, uint64_t mem, uint32_t keyid) const;
  const Xts *key_of(uint64_t mem, uint32_t keyid) const { return key_in(packages, mem, keyid); }
  uint32_t generation_of(uint64_t mem, uint32_t keyid) const;
  void begin(int cpu, uint64_t pa, uint32_t *keyid, uint64_t *mem);
  void own(uint64_t mem, uint32_t keyid);
  uint8_t *plain_page(int cpu, uint64_t mem, uint32_t keyid, bool write);
  void line_crypt(uint64_t line, uint32_t keyid, bool encrypt, uint8_t *text) const;
  /* strict.cc: "line" is the DRAM address of a line. */
  uint8_t *strict_page(int cpu, uint64_t page, uint32_t keyid, bool write);
  void track(uint64_t page);
  PageState &state_of(uint64_t n);
  LineState &fill(int cpu, uint64_t line, uint32_t keyid);
  void check_others(uint64_t line, uint32_t keyid);
  void evict_others(uint64_t line, uint32_t keyid);
  void check_own(uint64_t line, uint32_t keyid, LineState &own);
  void access_line(int cpu, uint64_t line, uint32_t keyid, size_t offset, void *out,
                   const void *in, size_t bytes);
  void write_back(uint64_t line, uint32_t keyid, LineState &state);
  void settle_others(uint64_t line, uint32_t keyid, uint64_t age);
  void drop_line(uint64_t line, uint32_t keyid, bool keep);
  void drop_caches(uint64_t of_cpus, bool write_back_first);
  void lose_caches(void);
  uint64_t lost_dirty = 0;
  void refresh_code(uint64_t line, uint32_t keyid, const LineState &state);
  void forget_code(uint64_t page);
  void run_delayed(void);
  void tell(const char *kind, int cpu, uint64_t mem, uint32_t a, uint32_t b, const char *words);

  const Host host;
  const uint64_t ram_bytes;
  const unsigned cpus;
  std::vector<Package> packages;
  std::vector<bool> core_active; /* 9FFH was written */
  bool powered_on = false;
  Key saved_key;                 /* for standby: survives a reset */
  uint64_t rng_state, rng_fail, busy;
  uint8_t random_bytes[128];
  /* By page: STORED, DIRECT and all pages of fast fidelity hold the plaintext of "owner"; TRACKED
   * ones hold what is in DRAM. */
  std::vector<uint16_t> owner;
  std::vector<uint8_t> mode;
  std::vector<uint64_t> direct_cpus; /* which CPUs have had pointers to it, a bit each */
  std::unordered_map<uint64_t, PageState> states; /* of TRACKED pages */
  struct { uint64_t n; PageState *state; } recent[64] = {}; /* by the last bits of n */
  /* What is fetched from TRACKED pages. Never freed: a CPU may hold the pointer. */
  std::map<std::pair<uint64_t, uint32_t>, std::unique_ptr<uint8_t[]>> code;
  struct Delayed { uint64_t pa; int cpu; bool all, keep, write_back; };
  std::vector<Delayed> delayed;
  uint64_t clock = 0;
  int active_cpu = DEVICE;
  uint32_t report_count = 0;
  std::vector<std::map<std::pair<uint64_t, uint64_t>, Cached>> cached; /* by CPU; (EPTP, GPA) */
  std::vector<std::map<std::pair<uint16_t, uint64_t>, Combined>> combined; /* (VPID, linear) */
};

} // namespace tme

#endif
