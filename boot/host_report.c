/* SPDX-License-Identifier: Apache-2.0 */
/* Describes the machine: CPU, memory, VMX, memory encryption, IOMMU, consoles. */
#include "boot/host_report.h"

#include "boot/dma.h"
#include "crypto/page_cipher.h"
#include "crypto/tme.h"
#include "ept/pager.h"
#include "vmm/base/cpu.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/serial.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"
#include "vmm/alike.h"
#include "vmm/errata.h"
#include "vmm/vmx.h"
#include "vmm/vmx_bits.h"

const char *host_cpu_name(void)
{
	static char text[3 * sizeof(struct cpuid_regs) + 1];
	struct cpuid_regs brand[3] = { { 0, 0, 0, 0 } };
	const char *name = text;

	if (cpu_cpuid(0x80000000, 0).eax >= 0x80000004) {
		for (uint32_t i = 0; i < 3; i++) {
			brand[i] = cpu_cpuid(0x80000002 + i, 0);
		}
	}
	memcpy(text, brand, sizeof(brand));
	while (*name == ' ') {
		name++;
	}
	return *name != '\0' ? name : "unnamed";
}

static const char *mark(bool there)
{
	return there ? "yes" : "no";
}

static void print_flaw(void *context, const char *name, bool open, const char *what)
{
	void (**print)(const char *fmt, ...) = context;

	(*print)("  %s: %s%s", name, open ? "NOT mitigated, the CPU or its microcode lacks " : "",
		 what);
}

/* CPUs that differ in these from the boot processor, which runs this, were left out. */
static void report_errata(void (*print)(const char *fmt, ...))
{
	const uint32_t found = errata_of_this_cpu();

	if ((found & ERRATUM_TIMER) != 0) {
		print("  erratum of this CPU: its preemption timer counts wrongly; not used");
	}
	if ((found & ERRATUM_EPT_AD) != 0) {
		print("  erratum of this CPU: accessed and dirty bits of EPT are unreliable; not "
		      "used");
	}
}

static void report_vmx(void (*print)(const char *fmt, ...))
{
	const struct vmx_caps *vmx = vmx_caps();
	const struct ept_caps *ept = ept_caps();

	print("  VMX: EPT (2M pages %s, 1G %s, accessed and dirty bits %s), VPID %s, unrestricted "
	      "guests yes",
	      mark(ept->page_2m), mark(ept->page_1g), mark(ept->accessed_dirty), mark(vmx->vpid));
	print("  interrupts: TPR shadow %s, APIC accesses %s, virtual delivery %s",
	      mark(vmx->tpr_shadow), mark(vmx->apic_accesses), mark(vmx->virtual_delivery));
	print("  time slices end by the %s; PAUSE-loop exits %s; XSAVES %s",
	      vmx->preemption_timer ? "preemption timer" : "APIC timer",
	      mark((vmx->cpu2 & CPU2_PAUSE_LOOP_EXITING) != 0), mark(vmx->xsaves));
	print("  bus locks end a guest's turn %s; so does a guest that lets no interrupt through "
	      "%s",
	      mark((vmx->cpu2 & CPU2_BUS_LOCK_DETECTION) != 0),
	      mark((vmx->cpu2 & CPU2_NOTIFY_WINDOW) != 0));
	report_errata(print);
	flaws_tell(alike_flaws(), print_flaw, &print);
}

/* Each flush stops all CPUs, so other VMs notice its time. */
static void report_flushes(void (*print)(const char *fmt, ...))
{
	print("  caches: flushed by WBINVD on all CPUs %lu times; the last took %lu TSC ticks, %lu "
	      "us",
	      cache_epoch(), cache_flush_ticks(),
	      cpu_mul_div(cache_flush_ticks(), 1000000, tsc_hz()));
}

void host_report(const struct boot_info *boot, void (*print)(const char *fmt, ...))
{
	uint64_t window, unclaimed;

	pager_window(&window, &unclaimed);
	print("  CPU: %s, %u of them, TSC %lu MHz by %s", host_cpu_name(), percpu_count(),
	      tsc_hz() / 1000000, tsc_source());
	print("  memory: %lu MiB free for VMs, %lu KiB of Umbra's own free",
	      frames_free_count() >> 8, page_free_count() * 4);
	print("  window: %lu frames of 4K, %lu of them reserved for no VM", window, unclaimed);
	report_vmx(print);
	print("  memory encryption: %s", tme_state()->words);
	report_flushes(print);
	print("  software engine: AES-256-XTS by %s; keys lie in Umbra's memory%s",
	      page_cipher_name(),
	      page_cipher_wraps_keys() ? " wrapped, under a key in debug registers" : "");
	dma_report(print);
	if (serial_where()->address != 0) {
		print("  serial line: 16550 at %s %#lx", serial_where()->memory ? "memory" : "port",
		      serial_where()->address);
	} else {
		print("  serial line: none");
	}
	if (boot->screen.base.v != 0) {
		print("  screen: %u x %u", boot->screen.width, boot->screen.height);
	} else {
		print("  screen: none");
	}
}
