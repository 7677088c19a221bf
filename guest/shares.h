/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shares of the configuration, and the VMs that have them at the moment. A share is created
 * when its first member starts, and destroyed when its last member ends. Boot processor only,
 * unless a function's comment says otherwise.
 */
#ifndef UMBRA_GUEST_SHARES_H
#define UMBRA_GUEST_SHARES_H

#include "ept/pager.h"
#include "guest/share_config.h"
#include "vmm/vm.h"

/* A range that shares_ranges returns for a VM's E820 map. */
struct shares_range {
	uint64_t base, bytes;
	enum share_via via;
};

/* Call once, before the first VM starts. configs must stay valid. */
void shares_init(const struct share_config *configs, size_t count, const struct vm_config *vms,
		 size_t vm_count);

/*
 * Gives a VM that is being built all shares that list it as a member. pager: the VM's account if
 * its memory is sealed, else NULL. A share that cannot be created is logged and left out. Returns
 * 0, or ERR_AGAIN, without a log line, if what a share needs is being freed.
 */
int shares_attach(struct vm *vm, const struct vm_config *config, struct pager_vm *pager);

/* Whether the VM is a member of any valid share. */
bool shares_has(const struct vm_config *config);

/*
 * How many bytes of memory the shares of a VM need that are created when it starts, because they
 * have no member yet.
 */
uint64_t shares_bytes_to_create(const struct vm_config *config);

/*
 * Removes a VM that is destroyed, with its memory, from its shares. A share without members is
 * destroyed.
 */
void shares_detach(const struct vm *vm);

/* Fills out[SHARE_MAX] with the E820 ranges of the VM's shares. Returns how many there are. */
size_t shares_ranges(const struct vm *vm, struct shares_range *out);

/* A share that the VM finds as a PCI function. */
struct shares_pci {
	size_t index;
	uint32_t member; /* its number in the share's list, from 0 */
	const char *name;
	gpa_t first; /* where the VM joined it, for share_move */
	uint64_t bytes;
};

/*
 * Fills out[SHARE_MAX] with the PCI shares of a VM that is being built. Returns how many there are.
 * The guest may place them in [*window, *window + *window_bytes). This is twice what they take now,
 * and nothing else of the VM lies there. The caller reserves EPT tables for it.
 */
size_t shares_pci(const struct vm *vm, struct shares_pci *out, uint64_t *window,
		  uint64_t *window_bytes);

/* Whether this member runs and its share is not revoked. Any CPU. */
bool shares_is_joined(size_t index, uint32_t member);

size_t shares_count(void);
/* Prints a share, and a line on each member. */
void shares_print(size_t index, void (*print)(const char *fmt, ...));
/* Prints the shares of one VM. */
void shares_print_vm(const struct vm *vm, void (*print)(const char *fmt, ...));
/* The index of a share by name (in any case), or ERR_NOTFOUND. */
int shares_find(const char *name);

/*
 * Revoke takes a share from a running member, grant gives it back. Return ERR_NOTFOUND if vm is not
 * a running member, ERR_EXISTS if it is revoked or has the share already, ERR_NOMEM or ERR_AGAIN.
 */
int shares_revoke(size_t index, const struct vm *vm);
int shares_grant(size_t index, const struct vm *vm, bool read_only);

#endif
