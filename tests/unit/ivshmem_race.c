/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest/dev/ivshmem.c under ThreadSanitizer: VMs that ring each other's doorbells while one of them
 * ends and starts again. It is a data race if a device is used while it is added or removed, or if
 * two CPUs use its registers without the doorbells' lock. Exits with 0 on success.
 *
 * CPU 0 and 1: vCPUs of VM 0. CPU 2: the vCPU of VM 1. CPU 3: the boot processor, which ends and
 * starts VM 2, and its vCPU.
 */
#include <stdio.h>
#include <string.h>

#include "ept/share.h"
#include "guest/dev/ivshmem.h"
#include "guest/dev/vlapic.h"
#include "guest/platform_state.h"
#include "guest/shares.h"
#include "tests/unit/race_cpus.h"

#define VMS   3u
#define STEPS 20000u
#define LIVES 400u
#define SLOT  31u

static struct vm vms[VMS];
static struct platform platforms[VMS];
static uint64_t lives;

/* --- What the device uses --- */

void share_move(struct gmem *gmem, gpa_t first, gpa_t to, bool on)
{
}

int ept_reserve(struct ept_root *root, gpa_t gpa, uint64_t bytes, uint64_t leaf)
{
	return 0;
}

size_t shares_pci(const struct vm *vm, struct shares_pci *out, uint64_t *window,
		  uint64_t *window_bytes)
{
	*window = 4 * SIZE_1G;
	*window_bytes = 2 * SIZE_2M;
	out[0] = (struct shares_pci){ .member = (uint32_t)(vm - vms),
				      .name = "race",
				      .first = gpa(*window),
				      .bytes = SIZE_2M };
	return 1;
}

bool shares_is_joined(size_t index, uint32_t member)
{
	return true;
}

/* --- VMs --- */

static uint64_t config(uint32_t v, uint32_t reg, uint32_t size, bool write, uint32_t value)
{
	struct io_access access = { .size = size, .write = write, .value = value };

	vpci_config_access(&platforms[v].pci, NULL, SLOT << 3, reg, &access);
	return access.value;
}

/* A dword of the memory of a BAR. */
static uint64_t touch(uint32_t v, uint32_t bar, uint32_t offset, bool write, uint32_t value)
{
	const uint64_t base = config(v, 0x10 + 4 * bar, 4, false, 0) & ~0xful;
	struct io_access access = { .size = 4, .write = write, .value = value };

	iobus_memory_access(&vms[v].iobus, base + offset, NULL, &access);
	return access.value;
}

static void start(uint32_t v)
{
	memset(&vms[v].iobus, 0, sizeof(vms[v].iobus));
	memset(&platforms[v], 0, sizeof(platforms[v]));
	platforms[v].vm = &vms[v];
	vms[v].platform = &platforms[v];
	if (vpci_init(&platforms[v].pci, &vms[v], &platforms[v].ioapic) != 0 ||
	    ivshmem_device.init(&platforms[v]) != 0) {
		race_broken("no device");
	}
	(void)config(v, 0x04, 2, true, 6); /* memory space, bus master */
}

/* Vector 0 of the VM is a message; else rings come by the pin. */
static void use_messages(uint32_t v)
{
	(void)touch(v, 1, 0, true, 0xfee00000);
	(void)touch(v, 1, 12, true, 0); /* not masked */
	(void)config(v, (uint32_t)config(v, 0x34, 1, false, 0) + 2, 2, true, 0x8000);
}

static void step(uint32_t v)
{
	switch (race_random(4)) {
	case 0: (void)touch(v, 0, 0x00, true, race_random(2)); break;
	case 1: (void)touch(v, 0, 0x04, false, 0); break;
	default: (void)touch(v, 0, 0x0c, true, race_random(VMS) << 16 | race_random(3)); break;
	}
	if (touch(v, 0, 0x08, false, 0) != v) {
		race_broken("VM %u is another member", v);
	}
}

static void run(void)
{
	const uint32_t v = race_self == 0 ? 0 : race_self - 1;

	for (uint32_t i = 0; i < STEPS; i++) {
		if (race_self == 3 && i % (STEPS / LIVES) == 0) {
			ivshmem_device.destroy(&platforms[v]);
			start(v);
			lives++;
		}
		step(v);
	}
}

int main(void)
{
	for (uint32_t v = 0; v < VMS; v++) {
		start(v);
	}
	use_messages(1);
	race_run(run);
	printf("%lu messages, %lu changes of pins, %lu lives\n", race_messages, race_pins, lives);
	if (race_pins < 1000 || race_messages < 1000) {
		race_broken("too little happened");
	}
	return 0;
}
