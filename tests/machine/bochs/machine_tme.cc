/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ties the model of TME-MK (../tme) to Bochs: what bochs.patch calls, PCONFIG, and test ports.
 *
 * Environment:
 *   MACHINE_TME      the configuration, e.g. "P3 FIDELITY=strict"; without it there is no model
 *   MACHINE_TME_LOG  file that takes a line for each rule that was broken
 */

#define NEED_CPU_REG_SHORTCUTS 1
#include "bochs.h"
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "iodev/iodev.h"
#include "memory/memory-bochs.h"
#include "pc_system.h"

#include "tme.h"

/* Ports for programs that test the machine itself: see ../README.md. */
enum { PORT_LOW = 0x5e0, PORT_HIGH = 0x5e4, PORT_DATA = 0x5e8, PORT_COMMAND = 0x5ec };
enum { COMMAND_EVICT = 1, COMMAND_EVICT_ALL = 2, COMMAND_RANDOM = 3 };

/* Bochs decodes so many address bits; behind them there is nothing. */
#define DECODED_BITS 40

bool machine_tme, machine_pconfig;
unsigned machine_phy_width = DECODED_BITS;
Bit64u machine_phy_reserved = ~((BX_CONST64(1) << DECODED_BITS) - 1);

static tme::Config config;
static tme::Model *model;
static FILE *reports;
static Bit64u port_address;
static unsigned random_left; /* dwords of the last random key that PORT_DATA still gives */

/* --- What the model asks -----------------------------------------------------------------------*/

static uint8_t *host_page(uint64_t mem)
{
  return BX_MEM(0)->get_vector(mem);
}

static void forget_translations(void)
{
  for (unsigned cpu = 0; cpu < BX_SMP_PROCESSORS; cpu++) {
    BX_CPU(cpu)->TLB_flush();
    BX_CPU(cpu)->async_event |= BX_ASYNC_EVENT_STOP_TRACE;
  }
}

static void host_forget(uint64_t mem)
{
  bx_hostpageaddr_t page = (bx_hostpageaddr_t) BX_MEM(0)->get_vector(mem);

  forget_translations();
  pageWriteStampTable.decWriteStamp(mem);
  for (unsigned cpu = 0; cpu < BX_SMP_PROCESSORS; cpu++)
    if (BX_CPU(cpu)->vmcshostptr - page < tme::PAGE) BX_CPU(cpu)->vmcshostptr = 0;
}

static void host_forget_all(void)
{
  forget_translations();
  flushICaches();
  for (unsigned cpu = 0; cpu < BX_SMP_PROCESSORS; cpu++) BX_CPU(cpu)->vmcshostptr = 0;
}

static void host_report(const char *line)
{
  if (reports == NULL) return;
  fprintf(reports, "%s\n", line);
  fflush(reports);
}

static uint64_t host_rip(int cpu)
{
  return BX_CPU(cpu)->prev_rip;
}

static void host_abort(const char *why)
{
  fprintf(stderr, "machine: model abort: %s\n", why);
  machine_stop("model-abort", 1);
}

/* --- Power-on ----------------------------------------------------------------------------------*/

void machine_tme_init(void)
{
  const char *words = getenv("MACHINE_TME"), *log = getenv("MACHINE_TME_LOG");
  std::string why;

  if (words == NULL) return;
  if (!config.parse(words, &why)) {
    fprintf(stderr, "machine: %s\n", why.c_str());
    exit(1);
  }
  if (log != NULL && (reports = fopen(log, "w")) == NULL) {
    perror(log);
    exit(1);
  }
  machine_pconfig = config.pconfig;
  machine_phy_width = config.width;
}

static Bit32u port_read(void *, Bit32u address, unsigned)
{
  Bit32u value = 0;

  if (address == PORT_COMMAND) return model->reports();
  if (address != PORT_DATA) return 0xffffffff;
  if (random_left != 0) {
    memcpy(&value, model->last_random() + 128 - 4 * random_left--, sizeof(value));
    return value;
  }
  machine_bus_read(port_address, &value, sizeof(value));
  port_address += sizeof(value);
  return value;
}

void machine_evict_all(void)
{
  model->evict_all();
}

static void port_write(void *, Bit32u address, Bit32u value, unsigned)
{
  switch (address) {
  case PORT_LOW:
    port_address = (port_address & ~BX_CONST64(0xffffffff)) | value;
    break;
  case PORT_HIGH:
    port_address = (port_address & 0xffffffff) | (Bit64u) value << 32;
    break;
  case PORT_DATA:
    machine_bus_write(port_address, &value, sizeof(value));
    port_address += sizeof(value);
    break;
  case PORT_COMMAND:
    if (value == COMMAND_EVICT) model->evict(port_address);
    if (value == COMMAND_EVICT_ALL) model->evict_all();
    if (value == COMMAND_RANDOM) random_left = 32;
    break;
  }
}

static void add_ports(void)
{
  for (Bit32u port = PORT_LOW; port <= PORT_COMMAND; port += 4) {
    bx_devices.register_io_read_handler(NULL, port_read, port, "TME test port", 4);
    bx_devices.register_io_write_handler(NULL, port_write, port, "TME test port", 4);
  }
}

void machine_tme_reset(void)
{
  static const tme::Host host = {
    host_page, host_forget, host_forget_all, host_report, host_rip, host_abort,
  };

  if (getenv("MACHINE_TME") == NULL) return;
  if (model != NULL) {
    model->reset();
  } else {
    model = new tme::Model(config, host, BX_MEM(0)->get_memory_len(), BX_SMP_PROCESSORS);
    add_ports();
  }
  machine_tme = true;
  machine_phy_reserved = model->reserved_bits();
}

bool machine_tme_dirty(Bit64u *now, Bit64u *lost)
{
  if (model == NULL || !config.strict) return false;
  *now = model->keyid_dirty();
  *lost = model->keyid_lost();
  return true;
}

/* --- Registers ---------------------------------------------------------------------------------*/

/* Outside 64-bit mode the width is shown as 40 at most: the 32-bit phase of Debian 12's OVMF would
 * map all of it by pages of 2 MiB, which are half a gigabyte of tables at 47 bits. */
void machine_cpuid(bool long64, Bit32u leaf, Bit32u subleaf, struct cpuid_function_t *value)
{
  uint32_t reg[4] = { value->eax, value->ebx, value->ecx, value->edx };

  if (leaf == 0x80000008 && !long64 && (reg[0] & 0xff) > DECODED_BITS)
    reg[0] = (reg[0] & ~0xffu) | DECODED_BITS;

  model->cpuid(leaf, subleaf, reg);
  value->eax = reg[0];
  value->ebx = reg[1];
  value->ecx = reg[2];
  value->edx = reg[3];
}

static int msr_result(tme::Msr result)
{
  return result == tme::MSR_UNKNOWN ? -1 : result == tme::MSR_OK;
}

int machine_read_msr(unsigned cpu, Bit32u index, Bit64u *value)
{
  uint64_t v = 0;
  int result = msr_result(model->read_msr(cpu, index, &v));

  if (result == 1) *value = v;
  return result;
}

int machine_write_msr(unsigned cpu, Bit32u index, Bit64u value)
{
  int result = msr_result(model->write_msr(cpu, index, value));

  if (result == 1) machine_phy_reserved = model->reserved_bits();
  return result;
}

/* NP 0F 01 C5. The order of checks is the SDM's. */
void BX_CPP_AttrRegparmN(1) BX_CPU_C::PCONFIG(bxInstruction_c *i)
{
  uint8_t structure[tme::KEY_STRUCT_BYTES];
  bx_address address = RBX;
  Bit32u leaf = EAX, result;

  if (!machine_pconfig || model == NULL || CPL != 0) exception(BX_UD_EXCEPTION, 0);
  if (BX_CPU_THIS_PTR in_vmx_guest) {
    if (!BX_CPU_THIS_PTR vmcs.vmexec_ctrls2.PCONFIG_ENABLE()) exception(BX_UD_EXCEPTION, 0);
    Bit64u bitmap = VMread64(VMCS_64BIT_CONTROL_PCONFIG_EXITING_BITMAP);
    if (bitmap >> (leaf < 63 ? leaf : 63) & 1) VMexit(VMX_VMEXIT_PCONFIG, 0);
  }
  if (!long64_mode()) address = EBX;
  if (!model->pconfig_begin(BX_CPU_ID, leaf, address)) exception(BX_GP_EXCEPTION, 0);
  for (unsigned at = 0; at < sizeof(structure); at += 8) {
    Bit64u word = read_virtual_qword(BX_SEG_REG_DS, address + at);
    memcpy(structure + at, &word, 8);
  }
  if (!model->pconfig(BX_CPU_ID, structure, &result)) exception(BX_GP_EXCEPTION, 0);
  memset(structure, 0, sizeof(structure));
  clearEFlagsOSZAPC();
  if (result != 0) assert_ZF();
  RAX = result;

  BX_NEXT_TRACE(i);
}

/* --- Memory ------------------------------------------------------------------------------------*/

static int number_of(BX_CPU_C *cpu)
{
  return cpu != NULL ? (int) cpu->bx_cpuid : (int) tme::DEVICE;
}

/* Removes the KeyID from the address. Returns whether it is DRAM behind the engine. */
static bool to_memory(BX_CPU_C *cpu, Bit64u *address)
{
  uint32_t keyid;
  uint64_t mem;

  model->split(number_of(cpu), *address, &keyid, &mem);
  *address = mem;
  return model->holds(mem);
}

bool machine_mem_read(BX_CPU_C *cpu, Bit64u *address, unsigned len, void *data)
{
  Bit64u pa = A20ADDR(*address);

  if (to_memory(cpu, address)) {
    if (!config.strict) return model->direct(number_of(cpu), pa, false) == NULL;
    model->read(number_of(cpu), pa, data, len);
    return true;
  }
  if (*address >> DECODED_BITS == 0) return false;
  memset(data, 0xff, len);
  return true;
}

bool machine_mem_write(BX_CPU_C *cpu, Bit64u *address, unsigned len, const void *data)
{
  Bit64u pa = A20ADDR(*address);

  if (to_memory(cpu, address)) {
    if (!config.strict) return model->direct(number_of(cpu), pa, true) == NULL;
    BX_MEM(0)->check_monitor(*address, len);
    pageWriteStampTable.decWriteStamp(*address, len);
    model->write(number_of(cpu), pa, data, len);
    return true;
  }
  return *address >> DECODED_BITS != 0;
}

bool machine_mem_host(BX_CPU_C *cpu, Bit64u *address, unsigned rw, Bit8u **direct)
{
  static Bit8u nothing[tme::PAGE];
  Bit64u pa = A20ADDR(*address);

  if (to_memory(cpu, address)) {
    if (rw == BX_EXECUTE) *direct = (Bit8u *) model->fetch(number_of(cpu), pa);
    else *direct = model->direct(number_of(cpu), pa, rw & 1);
    /* False for a page that is plain storage: then Bochs itself makes the access, because it knows
     * which CPUs monitor the page or have decoded code of it. */
    return *direct != BX_MEM(0)->get_vector(*address);
  }
  if (*address >> DECODED_BITS == 0) return false;
  memset(nothing, 0xff, sizeof(nothing));
  *direct = rw & 1 ? NULL : nothing + *address % tme::PAGE;
  return true;
}

void machine_flush(unsigned cpu, Bit64u address, bool keep)
{
  model->flush((int) cpu, address, keep);
}

void machine_flush_all(unsigned cpu, bool write_back)
{
  model->flush_all((int) cpu, write_back);
}

void machine_bus_read(Bit64u mem, void *data, size_t bytes)
{
  if (mem + bytes <= BX_MEM(0)->get_memory_len()) model->bus_read(mem, data, bytes);
}

void machine_bus_write(Bit64u mem, const void *data, size_t bytes)
{
  if (mem + bytes <= BX_MEM(0)->get_memory_len()) model->bus_write(mem, data, bytes);
}

void machine_read_as(Bit32u keyid, Bit64u mem, void *data, size_t bytes)
{
  model->read_as(keyid, mem, data, bytes);
}

bool machine_break_rule(const char *word)
{
  std::string why;

  if (model->config.break_rule(word, &why)) return true;
  fprintf(stderr, "machine: %s\n", why.c_str());
  return false;
}

Bit64u machine_encrypted_blocks(Bit32u keyid)
{
  return model->encrypted_blocks(keyid);
}

/* --- Cached translations -----------------------------------------------------------------------*/

void machine_invept(unsigned cpu, bool all, Bit64u eptp)
{
  model->invept(cpu, all, eptp);
}

/* The VPID of the guest that runs on this CPU, or 0. */
static Bit16u vpid_of(unsigned cpu)
{
  if (!BX_CPU(cpu)->in_vmx_guest || !BX_CPU(cpu)->vmcs.vmexec_ctrls2.VPID_ENABLE()) return 0;
  return BX_CPU(cpu)->vmcs.vpid;
}

void machine_invvpid(unsigned cpu, Bit32u type, Bit16u vpid, Bit64u address)
{
  bool all = type == BX_INVEPT_INVVPID_ALL_CONTEXT_INVALIDATION;
  uint64_t page = address;

  model->invvpid(cpu, all ? 0 : vpid,
                 type == BX_INVEPT_INVVPID_INDIVIDUAL_ADDRESS_INVALIDATION ? &page : NULL);
}

/* A guest invalidates its own translations. */
void machine_tlb_control(unsigned cpu, unsigned what)
{
  if (vpid_of(cpu) != 0 && what != BX_INSTR_CONTEXT_SWITCH)
    model->forget_combined(cpu, vpid_of(cpu), NULL);
}

void machine_combined(unsigned cpu, Bit64u linear, bool write, Bit64u *address)
{
  uint64_t pa = *address;

  if (vpid_of(cpu) == 0 || !BX_CPU(cpu)->vmcs.vmexec_ctrls2.EPT_ENABLE()) return;
  if (model->combine(cpu, vpid_of(cpu), BX_CPU(cpu)->vmcs.eptptr, linear, write, &pa))
    *address = pa;
}

bool machine_ept_cached(unsigned cpu, Bit64u gpa, Bit32u wanted, Bit32u allowed, bool refused,
                        Bit64u *address)
{
  uint64_t pa = *address;
  bool cached = model->translate(cpu, BX_CPU(cpu)->vmcs.eptptr, gpa, wanted, allowed, refused, &pa);

  if (cached) *address = pa;
  return cached;
}
