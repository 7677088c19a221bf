/* SPDX-License-Identifier: Apache-2.0 */
/* Guests and their memory: rows 29, 30, 32, 37 and 40. */
#include "rows.h"

#define PAGE	  10u /* the test page that guests see */
#define ONE	  2u  /* KeyIDs for which the rows set keys */
#define TWO	  3u
#define GUEST_GIB 0x87u /* page-table entry of 1 GiB: present, writable, user */

void insn_pconfig(void);

static uint8_t plain[LINE_BYTES], saw[LINE_BYTES];

static uint64_t guest_read(uint64_t at)
{
	return *(volatile uint64_t *)at;
}

static uint64_t guest_write(uint64_t at)
{
	for (unsigned i = 0; i < LINE_BYTES; i += 8) {
		((volatile uint64_t *)at)[i / 8] = 0x1111111111111111ull * (i / 8 + 1);
	}
	return 0;
}

static uint64_t guest_pconfig(uint64_t unused)
{
	insn_pconfig();
	return 0;
}

static uint64_t leaf(unsigned keyid, uint64_t address)
{
	return keyid_field(keyid) | address | EPT_RWX | EPT_WB;
}

static void guest_line(unsigned level, uint64_t base)
{
	volatile uint64_t *entry = ept_window(level, leaf(TWO, base));
	uint64_t at = test_page(PAGE), offset = at - base;
	struct exit exit;

	print("  leaf of level %u:\n", level);
	invept_all();
	exit = vm_run(guest_write, WINDOW_VA + offset);
	check_equal("  exit reason", exit.reason, EXIT_VMCALL);
	check_equal("  entry, accessed and dirty", *entry,
		    leaf(TWO, base) | (level > 1 ? EPT_LARGE : 0) | EPT_ACCESSED | EPT_DIRTY);
	clflush(alias(TWO, at), LINE_BYTES);
	bus_read(at, saw, LINE_BYTES);
	check_garbage("  DRAM", saw, plain, LINE_BYTES);
	copy(saw, alias(TWO, at), LINE_BYTES);
	check_bytes("  read with KeyID 3", saw, plain, LINE_BYTES);
	clflush(alias(TWO, at), LINE_BYTES);
	copy(saw, alias(0, at), LINE_BYTES);
	check_garbage("  read with KeyID 0", saw, plain, LINE_BYTES);
	evict_all();
}

/* 29: the guest's writes are encrypted with the key of the leaf's KeyID. */
static void row_29(void)
{
	struct vm vm = { 0 };

	for (unsigned i = 0; i < LINE_BYTES; i++) {
		plain[i] = (uint8_t)(0x11 * (i / 8 + 1));
	}
	set_key(TWO, 29);
	if (!vm_start(&vm)) {
		return;
	}
	guest_line(1, test_page(PAGE));
	guest_line(2, test_page(PAGE) >> 21 << 21);
	guest_line(3, test_page(PAGE) >> 30 << 30);
	vm_stop();
}

static void window_exit(const char *what, uint64_t entry, uint64_t reason)
{
	struct exit exit;

	ept_window(1, entry);
	invept_all();
	exit = vm_run(guest_read, WINDOW_VA);
	print("  %s, entry %lx:\n", what, entry);
	check_equal("  exit reason", exit.reason, reason);
	if (reason != EXIT_VMCALL) {
		check_equal("  guest-physical address", exit.gpa, WINDOW_GPA);
	}
}

/* 30: TDX bits, and bits above the physical width, cause EPT misconfigurations. */
static void row_30(void)
{
	unsigned m = physical_bits(), p = tdx_bits();
	struct vm vm = { 0 };
	uint64_t good = leaf(0, test_page(PAGE));

	if (m == 52 && p == 0) {
		cannot("no bit of an entry is reserved");
		return;
	}
	if (!vm_start(&vm)) {
		return;
	}
	window_exit("KeyID 0", good, EXIT_VMCALL);
	if (p != 0) {
		window_exit("highest TDX bit", good | BIT(m - 1), EXIT_EPT_MISCONFIG);
		window_exit("lowest TDX bit", good | BIT(m - p), EXIT_EPT_MISCONFIG);
	}
	if (m < 52) {
		window_exit("bit m", good | BIT(m), EXIT_EPT_MISCONFIG);
		window_exit("bit 51", good | BIT(51), EXIT_EPT_MISCONFIG);
	}
	if (keyid_bits() > p) {
		window_exit("KeyID 1", good | keyid_field(1), EXIT_VMCALL);
	}
	vm_stop();
}

/* 32: a guest's KeyID bits are bits of its guest-physical address. */
static void row_32(void)
{
	uint64_t at = test_page(PAGE), gpa = keyid_field(1) | at;
	struct vm vm = { 0 };
	struct exit exit;

	if (!vm_start(&vm)) {
		return;
	}
	set_key(1, 32);
	invept_all();
	exit = vm_run(guest_read, (uintptr_t)alias(1, at));
	check_equal("guest reads through KeyID 1 of its own: exit reason", exit.reason,
		    EXIT_EPT_VIOLATION);
	check_equal("guest-physical address", exit.gpa, gpa);
	vm_stop();
}

/* Puts a line that was written with that KeyID into the page. */
static void page_holds(unsigned keyid, unsigned seed)
{
	uint64_t at = test_page(PAGE);

	pattern(plain, seed, LINE_BYTES);
	evict(0, at);
	evict(ONE, at);
	copy(alias(keyid, at), plain, LINE_BYTES);
	evict(keyid, at);
}

static void guest_reads(void *argument)
{
	struct exit exit = vm_run(guest_read, WINDOW_VA);

	check_equal("exit reason", exit.reason, EXIT_VMCALL);
	*(uint64_t *)argument = exit.rax;
}

static const struct vm with_vpid = { .controls2 = CPU2_VPID, .vpid = 1 };

static void start_cpu1(void *argument)
{
	*(bool *)argument = vm_start(&with_vpid);
}

static void invept_cpu1(void *argument)
{
	invept_all();
}

static void stop_cpu1(void *argument)
{
	vm_stop();
}

static void no_invept(void)
{
}

/*
 * The guest has read its page with KeyID 2. Then the leaf changes to KeyID 3, and a write with
 * KeyID 3 fills the page.
 */
static void change_keyid(void (*reader)(void *), void (*invalidate_all)(void))
{
	uint64_t got, want;

	set_key(ONE, 47);
	set_key(TWO, 48);
	ept_window(1, leaf(ONE, test_page(PAGE)));
	invept_all();
	page_holds(ONE, 1);
	reader(&got);
	copy(&want, plain, 8);
	check_equal("guest reads through KeyID 2", got, want);
	ept_window(1, leaf(TWO, test_page(PAGE)));
	invalidate_all();
	page_holds(TWO, 2);
}

static void check_new(void (*reader)(void *), bool current)
{
	uint64_t got = 0;

	reader(&got);
	if (current) {
		check_intact("guest reads what was written with KeyID 3", &got, plain, 8);
		return;
	}
	check_differ("guest reads through the old KeyID", got, *(uint64_t *)(void *)plain);
}

/* 37: after INVEPT the guest uses the new KeyID ... */
static void row_37(void)
{
	if (!vm_start(&with_vpid)) {
		return;
	}
	change_keyid(guest_reads, invept_all);
	check_new(guest_reads, true);
	vm_stop();
}

/* ... without it the old KeyID (strict only). */
static void row_37_skip(void)
{
	if (!vm_start(&with_vpid)) {
		return;
	}
	change_keyid(guest_reads, no_invept);
	check_new(guest_reads, false);
	invept_all();
	vm_stop();
}

static void reads_on_cpu1(void *argument)
{
	on_cpu1(guest_reads, argument);
}

static void invept_everywhere(void)
{
	invept_all();
	on_cpu1(invept_cpu1, NULL);
}

static void row_37_on_cpu1(bool everywhere)
{
	bool started = false;

	if (!on_cpu1(start_cpu1, &started) || !started || !vm_start(&with_vpid)) {
		return;
	}
	change_keyid(reads_on_cpu1, everywhere ? invept_everywhere : invept_all);
	check_new(reads_on_cpu1, everywhere);
	on_cpu1(invept_cpu1, NULL);
	on_cpu1(stop_cpu1, NULL);
	vm_stop();
}

/* The guest is on CPU 1, the change on CPU 0: INVEPT on both ... */
static void row_37_cpu1(void)
{
	row_37_on_cpu1(true);
}

/* ... or on CPU 0 only (strict only). */
static void row_37_cpu1_skip(void)
{
	row_37_on_cpu1(false);
}

/*
 * The guest's own tables change: its address refers to a page of pattern, then to physical address
 * 0.
 */
static void remap(void (*invalidate_all)(void), bool current)
{
	volatile uint64_t *entry = scratch_entry();
	uint64_t at = test_page(PAGE), new_value = *(volatile uint64_t *)alias(0, 0);
	struct exit exit;

	if (!vm_start(&with_vpid)) {
		return;
	}
	evict_all();
	pattern((void *)at, 39, 8);
	ept_window(1, leaf(0, at));
	invept_all();
	invvpid_all();
	*entry = WINDOW_GPA | GUEST_GIB;
	exit = vm_run(guest_read, SCRATCH_VA);
	check_equal("guest reads the first page", exit.rax, *(uint64_t *)at);
	*entry = GUEST_GIB;
	invalidate_all();
	exit = vm_run(guest_read, SCRATCH_VA);
	if (current) {
		check_intact("guest reads the second", &exit.rax, &new_value, 8);
	} else {
		check_equal("guest still reads the first", exit.rax, *(uint64_t *)at);
	}
	*entry = 0;
	invept_all();
	vm_stop();
}

/*
 * 37 for INVVPID: combined mappings of a VPID outlive VM exits, so a VMM that changes a guest's
 * tables must invalidate them ...
 */
static void row_37_vpid(void)
{
	remap(invvpid_all, true);
}

/* ... or the guest uses the old mapping (strict only). */
static void row_37_vpid_skip(void)
{
	remap(no_invept, false);
}

/* 40, the part that depends on the machine: PCONFIG in a guest. */
static void row_40(void)
{
	struct vm vm = { 0 };
	struct exit exit;

	if (!vm_start(&vm)) {
		return;
	}
	exit = vm_run(guest_pconfig, 0);
	check_equal("control bit 27 = 0: exit reason", exit.reason, EXIT_EXCEPTION);
	check_equal("  vector", exit.interruption & 0xff, VECTOR_UD);
	vm = (struct vm){ .controls2 = CPU2_PCONFIG, .pconfig_bitmap = 1 };
	vm_start(&vm);
	exit = vm_run(guest_pconfig, 0);
	check_equal("bit 27 = 1, bitmap 1: exit reason", exit.reason, EXIT_PCONFIG);
	check_equal("  qualification", exit.qualification, 0);
	vm = (struct vm){ .controls2 = CPU2_PCONFIG, .pconfig_bitmap = ~1ull };
	vm_start(&vm);
	exit = vm_run(guest_pconfig, 0);
	check_equal("bit 27 = 1, leaf 0 not in the bitmap: exit reason", exit.reason,
		    EXIT_EXCEPTION);
	check_equal("  vector: it ran, with KeyID 0", exit.interruption & 0xff, VECTOR_GP);
	vm_stop();
}

const struct row guest_rows[] = {
	{ "29", row_29 },
	{ "30", row_30 },
	{ "32", row_32 },
	{ "37", row_37 },
	{ "37-skip", row_37_skip },
	{ "37-cpu1", row_37_cpu1 },
	{ "37-cpu1-skip", row_37_cpu1_skip },
	{ "37-vpid", row_37_vpid },
	{ "37-vpid-skip", row_37_vpid_skip },
	{ "40", row_40 },
	{ NULL, NULL },
};
