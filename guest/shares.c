/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/shares.h"

#include "crypto/keyslot.h"
#include "crypto/tme.h"
#include "ept/retire.h"
#include "ept/share.h"
#include "guest/engine_policy.h"
#include "guest/memmap.h"
#include "guest/share_dax.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

struct member {
	struct vm *vm; /* NULL: this member does not run */
	struct pager_vm *pager;
	gpa_t base; /* guest-physical address of the shared pages */
	uint32_t first_hold;
	ATOMIC(bool) joined; /* false: it was revoked, and the member has its own pages there */
	bool read_only;
};

_Static_assert(SHARE_MEMBERS_MAX == PAGER_MAPPINGS_MAX, "every member can join");

static struct shared {
	const struct share_config *config;
	struct share *share; /* NULL: no member runs */
	uint32_t vcpus;	     /* of all members together */
	bool has_tags;	     /* integrity is on for one of its members */
	struct member members[SHARE_MEMBERS_MAX];
} shares[SHARE_MAX];
static size_t share_count;

void shares_init(const struct share_config *configs, size_t count, const struct vm_config *vms,
		 size_t vm_count)
{
	share_count = count;
	memset(shares, 0, sizeof(shares));
	for (size_t i = 0; i < count; i++) {
		shares[i].config = &configs[i];
		for (uint32_t m = 0; m < configs[i].member_count; m++) {
			shares[i].members[m].first_hold = shares[i].vcpus;
			for (size_t v = 0; v < vm_count; v++) {
				if (str_equal_nocase(vms[v].name, configs[i].members[m].vm)) {
					shares[i].vcpus += vms[v].vcpus;
					shares[i].has_tags |= engine_has_tags(vms[v].integrity);
				}
			}
		}
	}
}

/* Only the boot processor writes `joined`, so its own reads may be relaxed. */
static void set_joined(struct member *member, bool joined)
{
	atomic_store_release(&member->joined, joined);
}

static int find_member(const struct share_config *config, const char *name)
{
	for (uint32_t m = 0; m < config->member_count; m++) {
		if (str_equal_nocase(config->members[m].vm, name)) {
			return (int)m;
		}
	}
	return ERR_NOTFOUND;
}

/* --- A share's life --- */

static int create_keyed(struct shared *shared)
{
	const struct vm_key_source *key = &shared->config->key;
	const bool direct = key->kind == VM_KEY_FILE;
	keyid_t keyid;
	int err = keyslot_take(direct ? KEYSLOT_DIRECT : KEYSLOT_RANDOM,
			       direct ? key->secret : NULL, direct ? key->secret_bytes : 0,
			       shared->config->name, &keyid);

	if (err == 0) {
		err = share_create_resident(shared->config->bytes, keyid, &shared->share);
		if (err != 0) {
			keyslot_unuse(keyid);
		}
	}
	return err;
}

static int create_sealed(struct shared *shared)
{
	const struct vm_key_source *key = &shared->config->key;
	struct pager_vm *pager;
	int err = pager_vm_create(shared->config->name, shared->vcpus + 1,
				  key->kind == VM_KEY_FILE ? key->secret : NULL, shared->has_tags,
				  &pager);

	if (err == 0) {
		err = share_create_sealed(shared->config->bytes, pager, &shared->share);
		if (err != 0) {
			pager_vm_destroy(pager);
		}
	}
	return err;
}

/* Creates a share's memory by the policy of engine = auto for a VM. */
static int create(struct shared *shared)
{
	const struct share_config *config = shared->config;
	/* Read first: if the share fails, its KeyID is given up and then retires as well. */
	const bool pending = retire_pending();
	const struct engine_policy *policy;
	int err;

	/* A retiring KeyID will be free soon, so the share waits for it instead of falling back. */
	if (tme_state()->kind == TME_MK && !engine_keyid_is_left() && pending) {
		return ERR_AGAIN;
	}
	policy = engine_policy_now(VM_ENGINE_AUTO, config->key.kind);

	if (policy->verdict == ENGINE_REFUSED) {
		log_error("share %s: %s", config->name, policy->words);
		return ERR_UNSUPPORTED;
	}
	switch (policy->verdict) {
	case ENGINE_RUNS_TME_MK: err = create_keyed(shared); break;
	case ENGINE_RUNS_PLATFORM:
		err = share_create_resident(config->bytes, KEYID_PLATFORM, &shared->share);
		break;
	default: err = create_sealed(shared);
	}
	if (err != 0) {
		shared->share = NULL;
		if (err == ERR_AGAIN || pending) {
			return ERR_AGAIN;
		}
		log_error("share %s: its %luM could not be set up: %s", config->name,
			  config->bytes >> 20, err_name(err));
		return err;
	}
	if (policy->words != NULL) {
		log_warn("share %s: %s", config->name, policy->words);
	}
	log_info("share %s: %luK of memory %s", config->name, config->bytes >> 10,
		 share_keyid(shared->share) != KEYID_PLATFORM ? "under a KeyID of its own"
		 : policy->verdict == ENGINE_RUNS_PLATFORM    ? "under the machine's own TME key"
							      : "sealed under a key of its own");
	return 0;
}

/* --- Members --- */

/*
 * A VM's shares lie one after the other above all its RAM. Those on PCI come last (shares_attach),
 * each at a multiple of its size.
 */
static gpa_t place(const struct vm *vm, const struct vm_config *config, uint64_t align)
{
	uint64_t end = MEMMAP_HIGH_RAM + memmap_high_bytes(config->memory_bytes);

	for (uint32_t i = 0; i < vm->gmem.region_count; i++) {
		end = MAX(end, vm->gmem.regions[i].base.v + vm->gmem.regions[i].bytes);
	}
	return gpa(ALIGN_UP(end, align));
}

/* A member from which the share was revoked counts: it may get the share back. */
static bool has_member(const struct shared *shared)
{
	for (uint32_t m = 0; m < shared->config->member_count; m++) {
		if (shared->members[m].vm != NULL) {
			return true;
		}
	}
	return false;
}

/* Destroys a share that has no member. Returns whether it did. */
static bool end_if_unused(struct shared *shared)
{
	if (shared->share == NULL || has_member(shared)) {
		return false;
	}
	share_destroy(shared->share);
	shared->share = NULL;
	return true;
}

static int attach(struct shared *shared, struct member *member, bool read_only, struct vm *vm,
		  const struct vm_config *config, struct pager_vm *pager)
{
	const enum share_via via = shared->config->via;
	const bool dax = via == SHARE_VIA_DAX;
	gpa_t base = place(vm, config,
			   via == SHARE_VIA_PCI ? MAX(SHARE_ALIGN, shared->config->bytes)
						: SHARE_ALIGN);
	int err = shared->share == NULL ? create(shared) : 0;

	if (err == 0 && dax) {
		err = share_dax_add_head(&vm->gmem, pager, base, shared->config->bytes);
		base.v += SHARE_DAX_HEAD;
	}
	if (err == 0) {
		err = share_join(shared->share, &vm->gmem, base, read_only, member->first_hold);
	}
	if (err != 0) {
		(void)end_if_unused(shared);
		return err;
	}
	member->vm = vm;
	member->pager = pager;
	member->base = base;
	set_joined(member, true);
	member->read_only = read_only;
	log_info("vm %s: share %s at guest-physical %#lx, %s, via %s", vm->name,
		 shared->config->name, base.v, read_only ? "read-only" : "for reading and writing",
		 dax			? "dax"
		 : via == SHARE_VIA_PCI ? "pci"
					: "reserved");
	return 0;
}

/*
 * Attaches the VM's shares that are on PCI, or its other shares. Returns ERR_AGAIN as
 * shares_attach.
 */
static int attach_all(struct vm *vm, const struct vm_config *config, struct pager_vm *pager,
		      bool pci)
{
	for (size_t i = 0; i < share_count; i++) {
		struct shared *shared = &shares[i];
		int m = find_member(shared->config, config->name), err;

		if (m < 0 || (shared->config->via == SHARE_VIA_PCI) != pci) {
			continue;
		}
		if (!shared->config->valid) {
			log_error("vm %s: it gets no share %s, for the reason above", config->name,
				  shared->config->name);
			continue;
		}
		err = attach(shared, &shared->members[m], shared->config->members[m].read_only, vm,
			     config, pager);
		if (err == ERR_AGAIN) {
			return err;
		}
		if (err != 0) {
			log_error("vm %s: it gets no share %s: %s", config->name,
				  shared->config->name, err_name(err));
		}
	}
	return 0;
}

int shares_attach(struct vm *vm, const struct vm_config *config, struct pager_vm *pager)
{
	int err = attach_all(vm, config, pager, false);

	return err == 0 ? attach_all(vm, config, pager, true) : err;
}

bool shares_has(const struct vm_config *config)
{
	for (size_t i = 0; i < share_count; i++) {
		if (shares[i].config->valid && find_member(shares[i].config, config->name) >= 0) {
			return true;
		}
	}
	return false;
}

uint64_t shares_bytes_to_create(const struct vm_config *config)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < share_count; i++) {
		if (shares[i].config->valid && shares[i].share == NULL &&
		    find_member(shares[i].config, config->name) >= 0) {
			bytes += shares[i].config->bytes;
		}
	}
	return bytes;
}

void shares_detach(const struct vm *vm)
{
	for (size_t i = 0; i < share_count; i++) {
		struct shared *shared = &shares[i];

		for (uint32_t m = 0; m < shared->config->member_count; m++) {
			if (shared->members[m].vm == vm) {
				shared->members[m].vm = NULL;
				set_joined(&shared->members[m], false);
			}
		}
		if (end_if_unused(shared)) {
			log_info("share %s: its last member is gone, and so is what it held",
				 shared->config->name);
		}
	}
}

size_t shares_ranges(const struct vm *vm, struct shares_range *out)
{
	size_t count = 0;

	for (size_t i = 0; i < share_count; i++) {
		const struct share_config *config = shares[i].config;
		const uint64_t head = config->via == SHARE_VIA_DAX ? SHARE_DAX_HEAD : 0;

		for (uint32_t m = 0; m < config->member_count; m++) {
			const struct member *member = &shares[i].members[m];

			if (member->vm == vm && config->via != SHARE_VIA_PCI) {
				out[count++] = (struct shares_range){ member->base.v - head,
								      head + config->bytes,
								      config->via };
			}
		}
	}
	return count;
}

size_t shares_pci(const struct vm *vm, struct shares_pci *out, uint64_t *window,
		  uint64_t *window_bytes)
{
	const uint64_t limit = BIT(MIN(EPT_GPA_BITS, ept_caps()->phys_bits));
	uint64_t low = UINT64_MAX, high = 0;
	size_t count = 0;

	for (size_t i = 0; i < share_count; i++) {
		const struct share_config *config = shares[i].config;

		for (uint32_t m = 0; m < config->member_count; m++) {
			const struct member *member = &shares[i].members[m];

			if (member->vm == vm && config->via == SHARE_VIA_PCI) {
				out[count++] = (struct shares_pci){ i, m, config->name,
								    member->base, config->bytes };
				low = MIN(low, member->base.v);
				high = MAX(high, member->base.v + config->bytes);
			}
		}
	}
	*window = count != 0 ? low : 0;
	*window_bytes = count != 0 ? MIN(2 * (high - low), limit - low) : 0;
	return count;
}

bool shares_is_joined(size_t index, uint32_t member)
{
	return member < shares[index].config->member_count &&
	       atomic_load_acquire(&shares[index].members[member].joined);
}

/* --- For the shell --- */

size_t shares_count(void)
{
	return share_count;
}

int shares_find(const char *name)
{
	for (size_t i = 0; i < share_count; i++) {
		if (str_equal_nocase(shares[i].config->name, name)) {
			return (int)i;
		}
	}
	return ERR_NOTFOUND;
}

static const char *state_of(const struct member *member)
{
	return member->vm == NULL		       ? "does not run"
	       : !atomic_load_relaxed(&member->joined) ? "revoked"
	       : member->read_only		       ? "read-only"
						       : "reads and writes";
}

void shares_print(size_t index, void (*print)(const char *fmt, ...))
{
	const struct shared *shared = &shares[index];
	struct pager_counters now;

	print("share %s: %luK, %s", shared->config->name, shared->config->bytes >> 10,
	      shared->share == NULL ? "no member runs" : "live");
	if (shared->share != NULL && share_keyid(shared->share) != KEYID_PLATFORM) {
		print("  under KeyID %u", share_keyid(shared->share));
	}
	if (shared->share != NULL && share_pages(shared->share, &now)) {
		print("  window: %lu pages in clear now, %lu on average, %lu at most so far; "
		      "the VMs' counts do not include them",
		      now.clear_pages, now.clear_mean, now.clear_peak);
	}
	for (uint32_t m = 0; m < shared->config->member_count; m++) {
		print("  %-16s %s", shared->config->members[m].vm, state_of(&shared->members[m]));
	}
}

void shares_print_vm(const struct vm *vm, void (*print)(const char *fmt, ...))
{
	for (size_t i = 0; i < share_count; i++) {
		for (uint32_t m = 0; m < shares[i].config->member_count; m++) {
			const struct member *member = &shares[i].members[m];

			if (member->vm == vm) {
				print("  share %s at guest-physical %#lx: %s",
				      shares[i].config->name, member->base.v, state_of(member));
			}
		}
	}
}

static struct member *running_member(size_t index, const struct vm *vm)
{
	for (uint32_t m = 0; m < shares[index].config->member_count; m++) {
		if (shares[index].members[m].vm == vm) {
			return &shares[index].members[m];
		}
	}
	return NULL;
}

int shares_revoke(size_t index, const struct vm *vm)
{
	struct member *member = running_member(index, vm);
	int err;

	if (member == NULL || !atomic_load_relaxed(&member->joined)) {
		return member == NULL ? ERR_NOTFOUND : ERR_EXISTS;
	}
	err = share_revoke(shares[index].share, &member->vm->gmem, member->base, member->pager);
	set_joined(member, err != 0);
	return err;
}

int shares_grant(size_t index, const struct vm *vm, bool read_only)
{
	struct member *member = running_member(index, vm);
	int err;

	if (member == NULL || atomic_load_relaxed(&member->joined)) {
		return member == NULL ? ERR_NOTFOUND : ERR_EXISTS;
	}
	err = share_grant(shares[index].share, &member->vm->gmem, member->base, read_only,
			  member->first_hold);
	if (err == 0) {
		set_joined(member, true);
		member->read_only = read_only;
	}
	return err;
}
