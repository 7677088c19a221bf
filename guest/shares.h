/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shares of the configuration, and which VMs have them now. A share comes to life with the
 * first member that starts and ends with the last. Boot processor alone, where nothing else is
 * said.
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

/* Where the E820 map of the VM says that shares lie: at most SHARE_MAX. Returns how many. */
size_t shares_ranges(const struct vm *vm, struct shares_range *out);

/* A share that the VM finds as a PCI function. */
struct shares_pci {
	size_t index;
	uint32_t member; /* of its list, from 0 */
	const char *name;
	gpa_t first; /* where the VM joined it, for share_move */
	uint64_t bytes;
};

/*
 * Those of a VM that is being built: at most SHARE_MAX. Returns how many. The guest may place them
 * in [*window, *window + *window_bytes), twice what they take now: nothing else of the VM lies
 * there. The caller reserves tables of the EPT for it.
 */
size_t shares_pci(const struct vm *vm, struct shares_pci *out, uint64_t *window,
		  uint64_t *window_bytes);

/* Whether that member runs and its share is not revoked. Any CPU. */
bool shares_is_joined(size_t index, uint32_t member);

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
