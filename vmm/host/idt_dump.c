/* SPDX-License-Identifier: Apache-2.0 */
/* The dump of an exception in the hypervisor: what happened, where, registers, callers. */
#include "vmm/host/idt_dump.h"

#include "vmm/base/cpu.h"
#include "vmm/base/keyid.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/base/x86.h"
#include "vmm/console/log.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/image.h"
#include "vmm/host/symbols.h"

#define STACK_WORDS_MAX 512 /* of the stack, searched for return addresses */
#define CALLERS_MAX	16
#define CALL_MAX	7 /* bytes of the longest call without prefixes */

/* SDM vol. 3, "IA32_MCG_CAP MSR" and "IA32_MCi_STATUS MSRS". */
#define MCG_CAP_COUNT	MASK(7, 0)
#define MC_BANKS_MAX	32u /* more have no architectural registers */
#define MC_STATUS_VAL	BIT(63)
#define MC_STATUS_ADDRV BIT(58)

static const char *const exception_names[32] = {
	[VECTOR_DE] = "divide error (#DE)",
	[VECTOR_DB] = "debug exception (#DB)",
	[VECTOR_BP] = "breakpoint (#BP)",
	[VECTOR_OF] = "overflow (#OF)",
	[VECTOR_BR] = "bound range exceeded (#BR)",
	[VECTOR_UD] = "invalid opcode (#UD)",
	[VECTOR_NM] = "device not available (#NM)",
	[VECTOR_DF] = "double fault (#DF)",
	[VECTOR_TS] = "invalid TSS (#TS)",
	[VECTOR_NP] = "segment not present (#NP)",
	[VECTOR_SS] = "stack fault (#SS)",
	[VECTOR_GP] = "general protection fault (#GP)",
	[VECTOR_PF] = "page fault (#PF)",
	[VECTOR_MF] = "x87 error (#MF)",
	[VECTOR_AC] = "alignment check (#AC)",
	[VECTOR_MC] = "machine check (#MC): the hardware reports an error",
	[VECTOR_XM] = "SIMD error (#XM)",
	[VECTOR_VE] = "virtualization exception (#VE)",
	[VECTOR_CP] = "control protection exception (#CP)",
};

static bool in_text(uint64_t address)
{
	return address >= (uintptr_t)image_text_start && address < (uintptr_t)image_text_end;
}

static uint64_t in_image(uint64_t address)
{
	return address - (uintptr_t)image_start;
}

/*
 * Explains a page fault in a sentence. Also for #DF, most of which are page faults for which the
 * stack had no room.
 */
static void dump_page_fault(const struct idt_frame *f, uint64_t cr2)
{
	const char *what = "reading from";

	if (f->vector == VECTOR_DF) {
		if (host_paging_is_stack_area(cr2) && !host_paging_maps(cr2)) {
			log_error("  0x%lx is a guard page: a stack overflowed", cr2);
		}
		return;
	}
	if ((f->error_code & PF_FETCH) != 0) {
		what = "executing at";
	} else if ((f->error_code & PF_WRITE) != 0) {
		what = "writing to";
	}
	log_error("  %s 0x%lx: %s%s", what, cr2,
		  (f->error_code & PF_PRESENT) == 0 ? "nothing is mapped there"
		  : (f->error_code & PF_RSVD) != 0  ? "the page tables are corrupt"
						    : "the page does not allow it",
		  cr2 < PAGE_SIZE ? " (a null pointer)" : "");
}

/*
 * The banks of this CPU that hold an error. With TME-MK an address may have the bits of its KeyID
 * (Linux masks them as well: asm/mce.h, MCI_ADDR_PHYSADDR). They are shown apart, because no memory
 * module has such an address.
 */
static void dump_machine_check(void)
{
	const bool has_banks = (cpu_cpuid(1, 0).edx & CPUID_1_EDX_MCA) != 0;
	const uint64_t count = has_banks ? cpu_rdmsr(MSR_IA32_MCG_CAP) & MCG_CAP_COUNT : 0;

	for (uint32_t i = 0; i < MIN(count, MC_BANKS_MAX); i++) {
		const uint64_t status = cpu_rdmsr(MSR_IA32_MC0_STATUS + 4 * i);
		struct keyed_frame at;

		if ((status & MC_STATUS_VAL) == 0) {
			continue;
		}
		if ((status & MC_STATUS_ADDRV) == 0) {
			log_error("  bank %u: status %016lx", i, status);
			continue;
		}
		at = keyid_unpack(cpu_rdmsr(MSR_IA32_MC0_ADDR + 4 * i));
		log_error("  bank %u: status %016lx, address 0x%lx, KeyID %u", i, status,
			  at.frame.v, at.keyid);
	}
}

/* Before the hypervisor has page tables, its stacks are in the image. */
static bool may_read(uint64_t at)
{
	return host_paging_maps(at) ||
	       (at >= (uintptr_t)image_rw_start && at < (uintptr_t)image_rw_end);
}

static bool in_crypto(uint64_t address)
{
	return address >= (uintptr_t)image_crypto_start && address < (uintptr_t)image_crypto_end;
}

/*
 * Does code of crypto/ or mbedTLS run, or a function that it has called (memcpy, secure_zero)? The
 * log goes to a serial line and to firmware's variables, where part of a key would stay. Any word
 * on the stack that looks like a return address into that code counts, even of a call that is over:
 * it is better to show no registers than to show a key.
 */
static bool may_hold_secrets(const struct idt_frame *f)
{
	uint64_t at = ALIGN_UP(f->rsp, 8ul);
	bool found = in_crypto(f->rip);

	for (unsigned words = 0; words < STACK_WORDS_MAX && !found && may_read(at); words++) {
		found = in_crypto(*(const uint64_t *)(uintptr_t)at);
		at += 8;
	}
	return found;
}

void idt_forget_secrets(struct idt_frame *frame)
{
	if (in_crypto(frame->rip)) {
		secure_zero(frame, offsetof(struct idt_frame, vector));
	}
}

static void dump_general_registers(const struct idt_frame *f)
{
	log_error("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx", f->rax, f->rbx, f->rcx,
		  f->rdx);
	log_error("  rsi %016lx  rdi %016lx  rbp %016lx  rsp %016lx", f->rsi, f->rdi, f->rbp,
		  f->rsp);
	log_error("  r8  %016lx  r9  %016lx  r10 %016lx  r11 %016lx", f->r8, f->r9, f->r10, f->r11);
	log_error("  r12 %016lx  r13 %016lx  r14 %016lx  r15 %016lx", f->r12, f->r13, f->r14,
		  f->r15);
}

static void dump_registers(const struct idt_frame *f, uint64_t cr2)
{
	if (may_hold_secrets(f)) {
		log_error("  general registers are not shown: code of crypto/ ran, and they may "
			  "hold parts of keys");
		log_error("  rsp %016lx", f->rsp);
	} else {
		dump_general_registers(f);
	}
	log_error("  rip %016lx  cs %04lx  ss %04lx  rflags %08lx  error code %lx", f->rip, f->cs,
		  f->ss, f->rflags, f->error_code);
	log_error("  cr0 %08lx  cr2 %016lx  cr3 %016lx  cr4 %08lx", cpu_read_cr0(), cr2,
		  cpu_read_cr3(), cpu_read_cr4());
}

/*
 * Writes "exit_dispatch+0x1c", or nothing without a known symbol. For a return address pass back =
 * 1: it belongs to the call before it, and after a call that does not return another function may
 * begin.
 */
static void name_place(char *text, size_t bytes, uint64_t address, unsigned back)
{
	struct symbol symbol;

	text[0] = '\0';
	if (symbol_find(in_image(address) - back, &symbol)) {
		(void)str_printf(text, bytes, "%s+0x%lx", symbol.name,
				 in_image(address) - symbol.start); /* may cut the name */
	}
}

/* The start of the function that holds the address; 0 if unknown. */
static uint64_t function_of(uint64_t address)
{
	struct symbol symbol;

	return in_text(address) && symbol_find(in_image(address), &symbol)
		       ? (uintptr_t)image_start + symbol.start
		       : 0;
}

/*
 * SDM vol. 2, "ModR/M and SIB Bytes": the length of a call FF /2 with this ModRM byte and the byte
 * behind it; 0 if it is another instruction.
 */
static unsigned call_bytes(uint8_t modrm, uint8_t sib)
{
	const unsigned mod = modrm >> 6, rm = modrm & 7;
	const unsigned with_sib = mod != 3 && rm == 4 ? 1 : 0;

	if ((modrm >> 3 & 7) != 2) {
		return 0;
	}
	if (mod == 2 || (mod == 0 && (rm == 5 || (with_sib != 0 && (sib & 7) == 5)))) {
		return 6 + with_sib;
	}
	return (mod == 1 ? 3 : 2) + with_sib;
}

/*
 * Does a call end at address? Then *target is the function that it calls, or 0 if registers decide.
 */
static bool is_behind_call(uint64_t address, uint64_t *target)
{
	const uint8_t *end = (const void *)(uintptr_t)address;
	int32_t distance;

	if (!in_text(address) || !in_text(address - CALL_MAX)) {
		return false;
	}
	memcpy(&distance, end - sizeof(distance), sizeof(distance));
	*target = address + (uint64_t)(int64_t)distance;
	if (end[-5] == 0xe8 && in_text(*target)) {
		return true;
	}
	*target = 0;
	for (int bytes = 2; bytes <= CALL_MAX; bytes++) {
		if (end[-bytes] == 0xff &&
		    call_bytes(end[1 - bytes], end[2 - bytes]) == (unsigned)bytes) {
			return true;
		}
	}
	return false;
}

static void dump_callers(const struct idt_frame *f)
{
	uint64_t functions[CALLERS_MAX + 1] = { function_of(f->rip) };
	uint64_t at = ALIGN_UP(f->rsp, 8ul), target;
	/*
	 * functions[sure] is the last function that is certain to be a caller. Those behind it, up
	 * to functions[count], are perhaps callers. The next caller calls one of all these.
	 */
	unsigned sure = 0, count = 0;
	char name[80];

	if (host_paging_is_stack_area(at) && !host_paging_maps(at)) {
		at = ALIGN_UP(at, PAGE_SIZE); /* the stack ran into the guard page: go back up */
	}
	log_error("  called from (\"?\": perhaps)");
	for (unsigned words = 0; words < STACK_WORDS_MAX && count < CALLERS_MAX; words++, at += 8) {
		uint64_t address;
		bool known = false;

		if (!may_read(at)) {
			break;
		}
		address = *(const uint64_t *)(uintptr_t)at;
		if (!is_behind_call(address, &target)) {
			continue;
		}
		for (unsigned i = sure; i <= count; i++) {
			known |= target != 0 && functions[i] == target;
		}
		functions[++count] = function_of(address - 1);
		sure = known ? count : sure;
		name_place(name, sizeof(name), address, 1);
		log_error("  %6lx %s%s", in_image(address), known ? "" : "? ", name);
	}
}

void idt_dump_state(const struct idt_frame *frame)
{
	char name[80];

	if (in_text(frame->rip)) {
		name_place(name, sizeof(name), frame->rip, 0);
		log_error("  at 0x%lx of the image, which lies at 0x%lx: %s", in_image(frame->rip),
			  (uintptr_t)image_start, name);
	} else {
		log_error("  at 0x%lx, which is outside of the image's code (image at 0x%lx)",
			  frame->rip, (uintptr_t)image_start);
	}
	dump_registers(frame, cpu_read_cr2());
	dump_callers(frame);
}

void idt_dump(const struct idt_frame *frame)
{
	const char *name = frame->vector < 32 ? exception_names[frame->vector] : NULL;
	uint64_t cr2 = cpu_read_cr2();

	log_error("PANIC: CPU %u: %s in the hypervisor itself", percpu_self()->index,
		  name != NULL ? name : "an exception without a name");
	if (frame->vector == VECTOR_PF || frame->vector == VECTOR_DF) {
		dump_page_fault(frame, cr2);
	} else if (frame->vector == VECTOR_MC) {
		dump_machine_check();
	}
	idt_dump_state(frame);
}
