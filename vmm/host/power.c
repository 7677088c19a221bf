/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways to turn the machine off or reset it, the most orderly first. Each stops the other CPUs
 * and wipes keys, lets the consoles finish, changes to bootstrap memory, then tries one way after
 * the other. power_init fills in the data once.
 */
#include "vmm/host/power.h"

#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/console/console.h"
#include "vmm/console/log.h"
#include "vmm/host/bootstrap.h"
#include "vmm/host/ending.h"
#include "vmm/host/host_paging.h"
#include "vmm/host/interrupts.h"
#include "vmm/host/smp.h"

/* UEFI, "ResetSystem()". */
#define EFI_RESET_COLD	   0
#define EFI_RESET_SHUTDOWN 2

/* ACPI, "PM1 Control Registers". */
#define PM1_SLP_TYPE(t) ((uint16_t)((t) << 10))
#define PM1_SLP_MASK	PM1_SLP_TYPE(7)
#define PM1_SLP_EN	BIT(13)

#define RESET_PORT 0xcf9 /* of all chipsets since ICH; writing 2, then 6 is a full reset */
#define SETTLE_US  500000

static struct {
	struct runtime_services services;
	struct runtime_range late[POWER_RANGE_MAX]; /* ranges to make writable at the end */
	size_t late_count;
	struct acpi_facts acpi;
	volatile uint8_t *reset_memory; /* the reset register if it is in memory, else NULL */
} power;

static int map_range(const struct runtime_range *r, enum host_access access)
{
	uint64_t bytes;

	if (__builtin_mul_overflow(r->page_count, PAGE_SIZE, &bytes)) {
		return ERR_RANGE;
	}
	/*
	 * Only in the bootstrap tables: while the hypervisor runs on its own tables, no code of it
	 * can reach firmware.
	 */
	return host_map_bootstrap(r->base, bytes, access,
				  r->uncached ? HOST_CACHE_UC : HOST_CACHE_WB);
}

void power_init(const struct runtime_services *services, const struct runtime_range *ranges,
		size_t range_count, const struct acpi_facts *acpi)
{
	size_t i;

	memset(&power, 0, sizeof(power));
	power.services = *services;
	power.acpi = *acpi;
	if (acpi->has_reset && acpi->reset_space == ACPI_SPACE_MEMORY) {
		power.reset_memory = host_map_io(hpa(acpi->reset_address), 1, HOST_CACHE_UC);
	}
	for (i = 0; i < range_count && power.services.reset_system != NULL; i++) {
		const struct runtime_range *r = &ranges[i];
		int err = map_range(r, r->code ? HOST_READ_EXEC : HOST_READ_WRITE);

		if (err == 0 && r->code && r->writable) {
			if (power.late_count == POWER_RANGE_MAX) {
				err = ERR_NOMEM;
			} else {
				power.late[power.late_count++] = *r;
			}
		}
		if (err != 0) {
			log_warn("firmware's runtime memory at 0x%lx cannot be mapped (%s): the "
				 "machine will be turned off without firmware's help",
				 r->base.v, err_name(err));
			power.services = (struct runtime_services){ NULL, NULL };
		}
	}
}

/* Makes firmware's code writable. Keys are wiped and no other CPU runs, so that is safe now. */
static void open_firmware(void)
{
	size_t i;

	for (i = 0; i < power.late_count; i++) {
		/* Cannot fail: the tables exist. */
		(void)map_range(&power.late[i], HOST_READ_WRITE_EXEC);
	}
}

int power_store_variable(const uint16_t *name, const uint8_t *guid, uint32_t attributes,
			 const void *data, size_t bytes)
{
	if (power.services.set_variable == NULL) {
		return ERR_NOTFOUND;
	}
	open_firmware();
	return firmware_call(power.services.set_variable, (uintptr_t)name, (uintptr_t)guid,
			     attributes, bytes, (uintptr_t)data);
}

static void call_firmware(uint64_t reset_type)
{
	if (power.services.reset_system == NULL) {
		return;
	}
	open_firmware();
	if (firmware_call(power.services.reset_system, reset_type, 0, 0, 0, 0) == ERR_IO) {
		log_warn("firmware's ResetSystem failed: Umbra tries other ways");
	} else {
		log_warn("firmware's ResetSystem returned: Umbra tries other ways");
	}
	console_drain();
}

static void prepare_end(void)
{
	cpu_cli();
	ending_wipe();
	smp_stop_others();
	console_break_lock(); /* a stopped CPU may hold the lock */
	console_drain();
}

static void sleep_s5(uint16_t port, uint8_t type)
{
	if (port != 0) {
		uint16_t value = cpu_in16(port) & (uint16_t) ~(PM1_SLP_MASK | PM1_SLP_EN);

		value |= PM1_SLP_TYPE(type);
		cpu_out16(port, value);
		cpu_out16(port, value | (uint16_t)PM1_SLP_EN);
	}
}

static void switch_off(void)
{
	call_firmware(EFI_RESET_SHUTDOWN);
	if (power.acpi.has_s5) {
		/* PM1b first, because the machine may power off at the write to PM1a. */
		sleep_s5(power.acpi.pm1b_control, power.acpi.s5_type_b);
		sleep_s5(power.acpi.pm1a_control, power.acpi.s5_type_a);
		tsc_wait_us(SETTLE_US);
	}
	log_error("this machine cannot be switched off by software; do it by hand, it is safe now");
	console_drain();
	cpu_stop();
}

_Noreturn void power_off(void)
{
	prepare_end();
	bootstrap_leave(switch_off);
}

/* An exception without an IDT shuts the CPU down, and the chipset resets it. */
static void triple_fault(void)
{
	struct cpu_table_register nothing = { 0, 0 };

	cpu_lidt(&nothing);
	__builtin_trap();
}

static void reset(void)
{
	call_firmware(EFI_RESET_COLD);
	if (power.acpi.has_reset && power.acpi.reset_space == ACPI_SPACE_IO) {
		cpu_out8((uint16_t)power.acpi.reset_address, power.acpi.reset_value);
		tsc_wait_us(SETTLE_US);
	} else if (power.reset_memory != NULL) {
		*power.reset_memory = power.acpi.reset_value;
		tsc_wait_us(SETTLE_US);
	}
	cpu_out8(RESET_PORT, 0x02);
	tsc_wait_us(50);
	cpu_out8(RESET_PORT, 0x06);
	tsc_wait_us(SETTLE_US);
	triple_fault();
	cpu_stop();
}

_Noreturn void power_reset(void)
{
	prepare_end();
	bootstrap_leave(reset);
}
