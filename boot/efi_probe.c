/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about the machine that only firmware knows: CPUs, randomness. For graphics see
 * efi_screen.c.
 */
#include "boot/efi_priv.h"

#include "vmm/base/cpu.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/image.h"

/*
 * The vector of a start-up IPI names a page below 1 MiB. A0H to BFH are reserved (SDM vol. 3,
 * "Interrupt Command Register (ICR)"), and low memory ends at 640 KiB anyway.
 */
#define TRAMPOLINE_MAX 0x9fffful

/* UEFI PI Specification vol. 2, "EFI_MP_SERVICES_PROTOCOL". */
#define MP_SERVICES_GUID                                               \
	{                                                              \
		0x3fdda605, 0xa76e, 0x4f46,                            \
		{                                                      \
			0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08 \
		}                                                      \
	}
#define MP_IS_ENABLED BIT(1)
#define MP_IS_HEALTHY BIT(2)

/* TCG PC Client Platform Reset Attack Mitigation Specification. */
#define MEMORY_OVERWRITE_GUID                                          \
	{                                                              \
		0xe20939be, 0x32d4, 0x41be,                            \
		{                                                      \
			0xa1, 0x50, 0x89, 0x7f, 0x85, 0xd4, 0x98, 0x29 \
		}                                                      \
	}
#define OVERWRITE_REQUEST BIT(0)

struct mp_processor {
	UINT64 apic_id;
	UINT32 status;
	UINT32 package, core, thread;
	UINT32 extended[6];
	UINT64 spare[2];
};
_Static_assert(offsetof(struct mp_processor, status) == 8, "EFI_PROCESSOR_INFORMATION");

struct mp_services {
	EFI_STATUS(EFIAPI *get_count)(struct mp_services *self, UINTN *all, UINTN *enabled);
	EFI_STATUS(EFIAPI *get_info)
	(struct mp_services *self, UINTN index, struct mp_processor *info);
};

static bool cpu_is_listed(const struct boot_info *info, uint32_t apic_id)
{
	for (size_t i = 0; i < info->cpu_count; i++) {
		if (info->apic_ids[i] == apic_id) {
			return true;
		}
	}
	return false;
}

/* SDM vol. 3, "Local APIC ID" and "Extended Topology Enumeration". */
static uint32_t own_apic_id(void)
{
	struct cpuid_regs topology = { 0, 0, 0, 0 };

	if (cpu_cpuid(0, 0).eax >= 0xb) {
		topology = cpu_cpuid(0xb, 0);
	}
	return topology.ebx != 0 ? topology.edx : cpu_cpuid(1, 0).ebx >> 24;
}

/* Lists the CPUs. The running one comes first. */
static void probe_cpus(struct boot_info *info)
{
	static const EFI_GUID guid = MP_SERVICES_GUID;
	struct mp_services *mp = efi_locate(&guid);
	UINTN all = 0, enabled = 0;

	info->apic_ids[0] = own_apic_id();
	info->cpu_count = 1;
	if (mp == NULL || EFI_ERROR(mp->get_count(mp, &all, &enabled))) {
		return;
	}
	info->cpu_source = "EFI MP services";
	for (UINTN i = 0; i < all && i < 65536; i++) {
		struct mp_processor cpu;
		const UINT32 good = MP_IS_ENABLED | MP_IS_HEALTHY;

		memset(&cpu, 0, sizeof(cpu));
		if (EFI_ERROR(mp->get_info(mp, i, &cpu)) || (cpu.status & good) != good ||
		    cpu.apic_id > UINT32_MAX || cpu_is_listed(info, (uint32_t)cpu.apic_id)) {
			continue;
		}
		if (info->cpu_count == CPU_MAX) {
			log_warn("the machine has %u CPUs; %u of them are used", (unsigned)all,
				 CPU_MAX);
			break;
		}
		info->apic_ids[info->cpu_count++] = (uint32_t)cpu.apic_id;
	}
}

static void probe_rng(struct boot_info *info)
{
	static const EFI_GUID guid = EFI_RNG_PROTOCOL_GUID;
	EFI_RNG_PROTOCOL *rng = efi_locate(&guid);
	const UINTN bytes = sizeof(info->efi_rng_seed);

	if (rng != NULL && !EFI_ERROR(rng->GetRNG(rng, NULL, bytes, info->efi_rng_seed))) {
		info->efi_rng_bytes = bytes;
	}
}

void efi_probe(struct boot_info *info)
{
	EFI_PHYSICAL_ADDRESS page = TRAMPOLINE_MAX;

	probe_cpus(info);
	probe_rng(info);
	info->services.reset_system = (void *)(uintptr_t)efi_system->RuntimeServices->ResetSystem;
	info->services.set_variable = (void *)(uintptr_t)efi_system->RuntimeServices->SetVariable;
	if (EFI_ERROR(efi_system->BootServices->AllocatePages(AllocateMaxAddress, EfiLoaderData, 1,
							      &page))) {
		log_warn("firmware has no page below 1 MiB left, where other CPUs would start: "
			 "Umbra runs on one CPU");
		page = 0;
	}
	info->trampoline = hpa(page);
	info->image = (struct mem_range){ hpa((uintptr_t)image_start),
					  (uint64_t)(image_end - image_start) / PAGE_SIZE };
}

void efi_request_memory_clear(void)
{
	static const EFI_GUID overwrite_guid = MEMORY_OVERWRITE_GUID;
	static CHAR16 name[] = L"MemoryOverwriteRequestControl";
	EFI_RUNTIME_SERVICES *rt = efi_system->RuntimeServices;
	EFI_GUID guid = overwrite_guid; /* GNU-EFI's prototypes have no const */
	UINT8 value = 0;
	UINT32 attributes = 0;
	UINTN bytes = sizeof(value);

	if (EFI_ERROR(rt->GetVariable(name, &guid, &attributes, &bytes, &value))) {
		log_info("firmware does not offer to clear memory at a reset");
		return;
	}
	value |= OVERWRITE_REQUEST;
	if (EFI_ERROR(rt->SetVariable(name, &guid, attributes, sizeof(value), &value))) {
		log_warn("firmware refuses the request to clear memory at the next reset");
		return;
	}
	log_info("firmware was asked to clear memory at the next reset");
}
