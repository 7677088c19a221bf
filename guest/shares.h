/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shares of the configuration, and which VMs have them now. A share comes to life with the
 * first member that starts and ends with the last. Boot processor alone.
 */
#ifndef UMBRA_GUEST_SHARES_H
#define UMBRA_GUEST_SHARES_H

#include "ept/pager.h"
#include "guest/share_config.h"
#include "vmm/vm.h"

/* What shares_attach may put into a VM's E820 map. */
struct shares_range {
	uint64_t base, bytes;
	enum share_via via;
};

/* configs must stay. Once, before the first VM starts. */
void shares_init(const struct share_config *configs, size_t count, const struct vm_config *vms,
		 size_t vm_count);

/*
 * Gives a VM that is being built all shares in whose list it stands. pager: the VM's account where
 * its memory is sealed, else NULL. A share that cannot come to life is said in words and left out;
 * ERR_AGAIN: what it needs is being freed, nothing was logged.
 */
int shares_attach(struct vm *vm, const struct vm_config *config, struct pager_vm *pager);

/* Whether a VM stands in the list of a share. */
bool shares_has(const struct vm_config *config);

/* The VM is gone, with its memory. Shares without members end. */
void shares_detach(const struct vm *vm);

/* Where the VM finds shares: at most SHARE_MAX. Returns how many. */
size_t shares_ranges(const struct vm *vm, struct shares_range *out);

size_t shares_count(void);
/* One line of words on a share, and one on each member, by print. */
void shares_print(size_t index, void (*print)(const char *fmt, ...));
/* The shares of one VM. */
void shares_print_vm(const struct vm *vm, void (*print)(const char *fmt, ...));
/* Index of a share by name; ERR_NOTFOUND. */
int shares_find(const char *name);

/*
 * Takes a share away from a member that runs, or gives it back, at run time. ERR_NOTFOUND: it is
 * no member that runs; ERR_EXISTS: it is so already; ERR_NOMEM, ERR_AGAIN.
 */
int shares_revoke(size_t index, const struct vm *vm);
int shares_grant(size_t index, const struct vm *vm, bool read_only);

#endif
