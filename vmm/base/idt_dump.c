/* SPDX-License-Identifier: Apache-2.0 */
/* The dump of an exception in the hypervisor: what, where, registers, who called. */
#include "vmm/base/cpu.h"
#include "vmm/base/host_paging.h"
#include "vmm/base/idt_dump.h"
#include "vmm/base/image.h"
#include "vmm/base/log.h"
#include "vmm/base/percpu.h"
#include "vmm/base/x86.h"

#define STACK_WORDS_MAX 512 /* searched for return addresses */
#define STACK_PER_LINE	4
#define STACK_LINES	4

typedef unsigned long long ull;

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

static ull in_image(uint64_t address)
{
	return address - (uintptr_t)image_start;
}

/* A page fault in a sentence; a double fault mostly is one that had no stack left to tell. */
static void dump_page_fault(const struct idt_frame *f, uint64_t cr2)
{
	const char *what = "reading from";

	if (f->vector == VECTOR_DF) {
		if (host_paging_is_stack_area(cr2) && !host_paging_maps(cr2)) {
			log_error("  0x%llx is a guard page: a stack overflowed", (ull)cr2);
		}
		return;
	}
	if ((f->error_code & PF_FETCH) != 0) {
		what = "executing at";
	} else if ((f->error_code & PF_WRITE) != 0) {
		what = "writing to";
	}
	log_error("  %s 0x%llx: %s%s", what, (ull)cr2,
		  (f->error_code & PF_PRESENT) == 0 ? "nothing is mapped there"
		  : (f->error_code & PF_RSVD) != 0  ? "the page tables are corrupt"
						    : "the page does not allow it",
		  cr2 < PAGE_SIZE ? " (a null pointer)" : "");
}

static void dump_registers(const struct idt_frame *f, uint64_t cr2)
{
	log_error("  rax %016llx  rbx %016llx  rcx %016llx  rdx %016llx", (ull)f->rax, (ull)f->rbx,
		  (ull)f->rcx, (ull)f->rdx);
	log_error("  rsi %016llx  rdi %016llx  rbp %016llx  rsp %016llx", (ull)f->rsi, (ull)f->rdi,
		  (ull)f->rbp, (ull)f->rsp);
	log_error("  r8  %016llx  r9  %016llx  r10 %016llx  r11 %016llx", (ull)f->r8, (ull)f->r9,
		  (ull)f->r10, (ull)f->r11);
	log_error("  r12 %016llx  r13 %016llx  r14 %016llx  r15 %016llx", (ull)f->r12, (ull)f->r13,
		  (ull)f->r14, (ull)f->r15);
	log_error("  rip %016llx  cs %04llx  ss %04llx  rflags %08llx  error code %llx",
		  (ull)f->rip, (ull)f->cs, (ull)f->ss, (ull)f->rflags, (ull)f->error_code);
	log_error("  cr0 %08llx  cr2 %016llx  cr3 %016llx  cr4 %08llx", (ull)cpu_read_cr0(),
		  (ull)cr2, (ull)cpu_read_cr3(), (ull)cpu_read_cr4());
}

/* Every word on the stack that points into our code: callers, and some that are left over. */
static void dump_stack(const struct idt_frame *f)
{
	uint64_t found[STACK_PER_LINE] = { 0 };
	uint64_t at = ALIGN_UP(f->rsp, 8ull);
	unsigned words, count = 0, lines = 0;

	if (host_paging_is_stack_area(at) && !host_paging_maps(at)) {
		at = ALIGN_UP(at, PAGE_SIZE); /* it ran into the guard page: go back up */
	}
	log_error("  return addresses on the stack, in the image:");
	for (words = 0; words < STACK_WORDS_MAX && lines < STACK_LINES; words++, at += 8) {
		if (!host_paging_maps(at)) {
			break;
		}
		if (in_text(*(const uint64_t *)(uintptr_t)at)) {
			found[count++] = *(const uint64_t *)(uintptr_t)at;
		}
		if (count == STACK_PER_LINE) {
			log_error("    %llx %llx %llx %llx", in_image(found[0]), in_image(found[1]),
				  in_image(found[2]), in_image(found[3]));
			count = 0;
			lines++;
		}
	}
	for (words = 0; words < count; words++) {
		log_error("    %llx", in_image(found[words]));
	}
}

void idt_dump(const struct idt_frame *frame)
{
	const char *name = frame->vector < 32 ? exception_names[frame->vector] : NULL;
	uint64_t cr2 = cpu_read_cr2();

	log_error("PANIC: CPU %u: %s in the hypervisor itself", percpu_self()->index,
		  name != NULL ? name : "an exception without a name");
	if (frame->vector == VECTOR_PF || frame->vector == VECTOR_DF) {
		dump_page_fault(frame, cr2);
	}
	if (in_text(frame->rip)) {
		log_error("  at 0x%llx of the image, which lies at 0x%llx", in_image(frame->rip),
			  (ull)(uintptr_t)image_start);
	} else {
		log_error("  at 0x%llx, which is outside of the image's code (image at 0x%llx)",
			  (ull)frame->rip, (ull)(uintptr_t)image_start);
	}
	dump_registers(frame, cr2);
	dump_stack(frame);
}
