/* SPDX-License-Identifier: Apache-2.0 */
/* The shell's commands on memory: the KeyIDs and their owners, shares, and what DRAM holds. */
#include "boot/shell.h"
#include "boot/shell_priv.h"
#include "crypto/keyslot.h"
#include "crypto/tme.h"
#include "ept/audit.h"
#include "guest/shares.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/base/tsc.h"
#include "vmm/host/cache.h"
#include "vmm/host/page_alloc.h"

#define PEEK_BYTES     64u
#define PEEK_BYTES_MAX 4096u
#define PEEK_ROW       16u

static uint64_t to_seconds(uint64_t ticks)
{
	return ticks / MAX(tsc_hz(), 1u);
}

/* Prints the VM's KeyID of TME-MK, if it has one. */
void shell_print_key(const struct vm *vm)
{
	struct keyslot_info slot;

	if (keyslot_get(vm->gmem.keyid, &slot) != 0) {
		return;
	}
	shell_print("  key: KeyID %u, generation %u, mode %s, in use for %lu s", vm->gmem.keyid,
		    slot.generation, keyslot_mode_name(slot.mode),
		    to_seconds(cpu_rdtsc() - slot.since));
}

void shell_print_leaves(struct vm *vm)
{
	struct gmem_leaves leaves;
	uint64_t large, all;

	gmem_count_leaves(&vm->gmem, &leaves);
	large = leaves.in_1g + leaves.in_2m;
	all = large + leaves.in_4k;
	shell_print("  EPT: %lu leaves of 1G, %lu of 2M, %lu of 4K: %lu.%lu %% of the %lu "
		    "KiB that are mapped are in leaves of 2M or more",
		    leaves.in_1g / SIZE_1G, leaves.in_2m / SIZE_2M, leaves.in_4k / PAGE_SIZE,
		    large * 100 / MAX(all, 1u), large * 1000 / MAX(all, 1u) % 10, all >> 10);
}

/* Searches all page tables, ours and the VMs', for a frame that is live under two KeyIDs. */
static void check_frames(void)
{
	struct audit audit;
	uint64_t leaves;
	bool incomplete;
	keyid_t a, b;
	hpa_t at;

	if (audit_begin(&audit) != 0) {
		shell_print("  there is no memory for that");
		return;
	}
	audit_host(&audit);
	for (size_t i = 0; i < vms_count(); i++) {
		if (vms_get(i)->vm != NULL) {
			audit_gmem(&audit, &vms_get(i)->vm->gmem);
		}
	}
	leaves = audit.leaves;
	incomplete = audit.incomplete;
	if (!audit_end(&audit, &at, &a, &b)) {
		shell_print("  BROKEN: the frame at %#lx is live under KeyID %u and KeyID %u", at.v,
			    a, b);
	} else if (incomplete) {
		shell_print("  no conflict, but there was no memory to look at all leaves");
	} else {
		shell_print("  %lu leaves of all page tables: each frame is live under one KeyID",
			    leaves);
	}
}

void shell_run_keys(const struct shell_call *call)
{
	struct keyslot_info slot;

	if (call->count != 0) {
		if (str_equal_nocase(call->words[0], "--check")) {
			check_frames();
		} else {
			shell_print("usage: keys [--check]");
		}
		return;
	}
	shell_print("  %s", tme_state()->words);
	if (keyslot_count() == 0) {
		return;
	}
	shell_print("  KEYID STATE        MODE           GEN USERS  SECONDS OWNER");
	for (keyid_t i = 1; keyslot_get(i, &slot) == 0; i++) {
		if (slot.state == KEYSLOT_FREE) {
			continue;
		}
		shell_print("  %5u %-12s %-13s %4u %5u %8lu %s", i, keyslot_state_name(slot.state),
			    keyslot_mode_name(slot.mode), slot.generation, slot.users,
			    to_seconds(cpu_rdtsc() - slot.since), slot.owner);
	}
	shell_print("  %u of %u KeyIDs were never used", keyslot_count_in(KEYSLOT_FREE),
		    keyslot_count());
}

/* --- peek --- */

static bool parse_hex(const char *text, uint64_t *value)
{
	size_t digits = 0;

	text += text[0] == '0' && (text[1] | 0x20) == 'x' ? 2 : 0;
	for (*value = 0; text[digits] != '\0'; digits++) {
		const char c = (char)(text[digits] | (text[digits] >= 'A' ? 0x20 : 0));

		if (digits == 16 || !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
			return false;
		}
		*value = *value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return digits != 0;
}

static bool parse_count(const char *text, uint64_t *value)
{
	for (*value = 0; *text >= '0' && *text <= '9' && *value <= PEEK_BYTES_MAX; text++) {
		*value = *value * 10 + (uint64_t)(*text - '0');
	}
	return *text == '\0' && *value != 0 && *value <= PEEK_BYTES_MAX;
}

static bool is_in(const struct mem_range *ranges, size_t count, uint64_t first, uint64_t end)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t base = ranges[i].base.v;

		if (first >= base && end <= base + ranges[i].page_count * PAGE_SIZE) {
			return true;
		}
	}
	return false;
}

/*
 * Only RAM for VMs may be shown. Umbra's own memory holds keys, which must not appear on a
 * terminal.
 */
static bool may_peek(uint64_t first, uint64_t end)
{
	const struct boot_info *boot = shell_boot();

	if (end < first || (!is_in(boot->ranges, boot->range_count, first, end) &&
			    !is_in(boot->late, boot->late_count, first, end))) {
		shell_print("%#lx to %#lx is not all RAM that VMs use", first, end);
		return false;
	}
	if (page_is_own(first, end)) {
		shell_print("%#lx is Umbra's own memory, which may hold keys; it is not shown",
			    first);
		return false;
	}
	return true;
}

static void print_row(uint64_t at, size_t bytes)
{
	char text[PEEK_ROW * 4 + 4];
	uint8_t data[PEEK_ROW];
	size_t used = 0;

	gmem_peek(hpa(at), data, bytes);
	for (size_t i = 0; i < bytes; i++) {
		used += str_printf(text + used, sizeof(text) - used, "%02x ", data[i]);
	}
	for (size_t i = 0; i < bytes; i++) {
		bool plain = data[i] >= ' ' && data[i] < 0x7f;

		used += str_printf(text + used, sizeof(text) - used, "%c", plain ? data[i] : '.');
	}
	shell_print("  %012lx  %s", at, text);
}

void shell_run_peek(const struct shell_call *call)
{
	uint64_t at, bytes = PEEK_BYTES;

	if (!parse_hex(call->words[0], &at)) {
		shell_print("\"%.32s\" is not an address; write it in hex, such as 40001000",
			    call->words[0]);
		return;
	}
	if (call->count > 1 && !parse_count(call->words[1], &bytes)) {
		shell_print("\"%.32s\" is not a count; write 1 to %u", call->words[1],
			    PEEK_BYTES_MAX);
		return;
	}
	if (!may_peek(at, at + bytes)) {
		return;
	}
	if (tme_state()->kind == TME_MK) {
		/* so that DRAM holds what was written under the frame's own KeyID */
		cache_flush_all();
	}
	for (uint64_t end = at + bytes; at < end;) {
		uint64_t row = MIN(end, ALIGN_DOWN(at, PEEK_ROW) + PEEK_ROW) - at;

		print_row(at, row);
		at += row;
	}
}

static struct vm *find_running(const char *name)
{
	for (size_t i = 0; i < vms_count(); i++) {
		if (str_equal_nocase(vms_get(i)->config->name, name)) {
			return vms_runs(vms_get(i)) ? vms_get(i)->vm : NULL;
		}
	}
	return NULL;
}

/* Runs "revoke VM", "grant VM" or "grant-ro VM" on a share. */
static void change_share(size_t index, const char *what, const char *name)
{
	const bool revoke = str_equal_nocase(what, "revoke");
	const bool read_only = str_equal_nocase(what, "grant-ro");
	struct vm *vm = find_running(name);
	int err;

	if (!revoke && !read_only && !str_equal_nocase(what, "grant")) {
		shell_print("\"%.32s\" is not revoke, grant or grant-ro", what);
		return;
	}
	if (vm == NULL) {
		shell_print("no VM %.32s runs", name);
		return;
	}
	err = revoke ? shares_revoke(index, vm) : shares_grant(index, vm, read_only);
	switch (err) {
	case 0: shares_print(index, shell_print); break;
	case ERR_NOTFOUND: shell_print("vm %s is not a member of this share", vm->name); break;
	case ERR_EXISTS:
		shell_print("vm %s %s", vm->name,
			    revoke ? "was revoked already" : "has it already");
		break;
	default: shell_print("vm %s: that failed: %s", vm->name, err_name(err));
	}
}

void shell_run_share(const struct shell_call *call)
{
	int index = call->count != 0 ? shares_find(call->words[0]) : 0;

	if (call->count == 0) {
		for (size_t i = 0; i < shares_count(); i++) {
			shares_print(i, shell_print);
		}
		if (shares_count() == 0) {
			shell_print("there is no [share NAME] in umbra.conf");
		}
	} else if (index < 0) {
		shell_print("there is no share %.32s", call->words[0]);
	} else if (call->count == 1) {
		shares_print((size_t)index, shell_print);
	} else if (call->count == 3) {
		change_share((size_t)index, call->words[1], call->words[2]);
	} else {
		shell_print("usage: share NAME revoke|grant|grant-ro VM");
	}
}
