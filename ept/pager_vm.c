/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's account in the software engine: its key, its floor of the window, and its counters.
 * window_lock guards it, but for the key, for what is constant after pager_vm_create or
 * pager_set_drain, and for the version, which is counted atomically.
 */
#include "ept/pager.h"

#include "crypto/kdf.h"
#include "crypto/rng.h"
#include "crypto/wipe.h"
#include "ept/pager_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/panic.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

#define PAGE_KEY_LABEL "umbra page key"
#define MAC_KEY_LABEL  "umbra page tag key"

/* Both keys are the first members. */
#define KEYS_BYTES (offsetof(struct pager_vm, mac_key) + sizeof(struct page_mac_key))
_Static_assert(offsetof(struct pager_vm, key) == 0 &&
		       offsetof(struct pager_vm, mac_key) == sizeof(struct page_key),
	       "one area to wipe");

/*
 * Versions start at 1 in each account. With the same key again (after a reset, or for a second VM
 * with the same key file) two contents of a page would have the same key and tweak, and the
 * ciphertext would show where they are equal. The salt makes the key a different one each time.
 */
static int make_keys(struct pager_vm *vm, const uint8_t *given)
{
	uint8_t secret[KDF_SECRET_BYTES], salt[KDF_SALT_BYTES], bytes[PAGE_KEY_BYTES];
	uint8_t mac_bytes[PAGE_MAC_KEY_BYTES];
	int err = rng_bytes(salt, sizeof(salt));

	if (given != NULL) {
		memcpy(secret, given, sizeof(secret));
	} else if (err == 0) {
		err = rng_bytes(secret, sizeof(secret));
	}
	if (err == 0) {
		err = kdf_derive(secret, sizeof(secret), salt, PAGE_KEY_LABEL, bytes,
				 sizeof(bytes));
	}
	if (err == 0) {
		err = page_key_set(&vm->key, bytes, sizeof(bytes));
	}
	if (err == 0 && vm->has_tags) {
		err = kdf_derive(secret, sizeof(secret), salt, MAC_KEY_LABEL, mac_bytes,
				 sizeof(mac_bytes));
	}
	if (err == 0 && vm->has_tags) {
		err = page_mac_key_set(&vm->mac_key, mac_bytes);
	}
	secure_zero(secret, sizeof(secret));
	secure_zero(salt, sizeof(salt));
	secure_zero(bytes, sizeof(bytes));
	secure_zero(mac_bytes, sizeof(mac_bytes));
	return err;
}

static bool claim(const struct pager_vm *vm)
{
	uint64_t left;
	bool done;

	lock_take(&window_lock, LOCK_WINDOW);
	left = window_unclaimed();
	done = window_claim(vm->floor);
	lock_drop(&window_lock);
	/* Else there is no window, and the reason was logged. */
	if (!done && window_frame_count() != 0) {
		log_error("vm %s: %u vCPU%s %luK of the window, and other VMs leave %luK of "
			  "%luK: make [host] window larger",
			  vm->name, vm->vcpu_count, vm->vcpu_count == 1 ? " needs" : "s need",
			  vm->floor * 4, left * 4, window_frame_count() * 4);
	}
	return done;
}

int pager_vm_create(const char *name, uint32_t vcpu_count, const uint8_t *secret, bool has_tags,
		    struct pager_vm **out)
{
	uint64_t bytes = sizeof(struct pager_vm) + vcpu_count * sizeof(struct vcpu_hold);
	size_t host_pages = ALIGN_UP(bytes, PAGE_SIZE) / PAGE_SIZE;
	struct pager_vm *vm = page_alloc(host_pages);
	int err;

	if (vm == NULL) {
		return ERR_NOMEM;
	}
	vm->name = name;
	vm->has_tags = has_tags;
	vm->vcpu_count = vcpu_count;
	vm->host_pages = host_pages;
	vm->created = pager_clock();
	vm->hand = WINDOW_NONE;
	vm->floor = (uint64_t)vcpu_count * PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES;
	if (!claim(vm)) {
		page_free(vm, host_pages);
		return ERR_RANGE;
	}
	/* Register the keys before they are secret. */
	err = wipe_register(vm, KEYS_BYTES);
	if (err == 0) {
		err = make_keys(vm, secret);
	}
	if (err != 0) {
		pager_vm_destroy(vm);
		return err;
	}
	*out = vm;
	return 0;
}

/* No page is in clear, no region is left, and the key is wiped. */
static void free_vm(struct pager_vm *vm)
{
	CHECK(vm->counters.clear_pages == 0 && vm->frames == 0);
	page_free(vm, vm->host_pages);
}

void pager_vm_destroy(struct pager_vm *vm)
{
	bool buried;

	if (vm == NULL) {
		return;
	}
	/* Nothing uses the key any more: its regions are dead. */
	secure_zero(vm, KEYS_BYTES);
	wipe_unregister(vm);
	lock_take(&window_lock, LOCK_WINDOW);
	window_drop_floor(vm);
	vm->over = true;
	buried = vm->regions_left == 0;
	lock_drop(&window_lock);
	if (buried) {
		free_vm(vm);
	}
}

void pager_vm_drop_region(struct pager_vm *vm)
{
	bool last;

	lock_take(&window_lock, LOCK_WINDOW);
	last = --vm->regions_left == 0 && vm->over;
	lock_drop(&window_lock);
	if (last) {
		free_vm(vm);
	}
}

/* The TSC of another CPU may be a little ahead, so that the sum or the time may seem negative. */
static uint64_t clear_mean(const struct pager_vm *vm)
{
	const uint64_t now = pager_clock();
	const int64_t sum = (int64_t)(vm->clear_sum + vm->counters.clear_pages * now);

	return sum > 0 && now > vm->created ? (uint64_t)sum / (now - vm->created) : 0;
}

void pager_count(struct pager_vm *vm, struct pager_counters *out)
{
	lock_take(&window_lock, LOCK_WINDOW);
	*out = vm->counters;
	out->clear_mean = clear_mean(vm);
	lock_drop(&window_lock);
}

void pager_log(struct pager_vm *vm)
{
	struct pager_counters now;

	pager_count(vm, &now);
	log_info("vm %s: faults: %lu first touch, %lu clean, %lu dirty victim, %lu open "
		 "already; %lu opens by the hypervisor, %lu ahead of sequential reads",
		 vm->name, now.first_touches, now.clean_faults, now.dirty_faults, now.mapped_faults,
		 now.door_opens, now.opened_ahead);
	if (vm->drain_s != 0) {
		log_info("vm %s: pages that were not used for %u s: %lu sealed or dropped",
			 vm->name, vm->drain_s, now.drained);
	}
	log_info("vm %s: pages: %lu opened, %lu sealed, %lu dropped clean, %lu dropped zero, "
		 "%lu shoot-downs, %lu in clear on average; %lu in clear, at most %lu",
		 vm->name, now.opens, now.sealings, now.drops, now.zero_drops, now.shoot_downs,
		 now.clear_mean, now.clear_pages, now.clear_peak);
}
