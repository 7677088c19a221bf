/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration without [share NAME]. */
#include "guest/shares.h"
#include "vmm/base/err.h"

void shares_init(const struct share_config *configs, size_t count, const struct vm_config *vms,
		 size_t vm_count)
{
}

size_t shares_count(void)
{
	return 0;
}

void shares_print(size_t index, void (*print)(const char *fmt, ...))
{
}

void shares_print_vm(const struct vm *vm, void (*print)(const char *fmt, ...))
{
}

int shares_find(const char *name)
{
	return ERR_NOTFOUND;
}

int shares_revoke(size_t index, const struct vm *vm)
{
	return ERR_NOTFOUND;
}

int shares_grant(size_t index, const struct vm *vm, bool read_only)
{
	return shares_revoke(index, vm);
}
