/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "tests/unit/fake_base.h"
#include "tests/unit/fake_vm.h"

enum vm_end_reason fake_end_reason;
char fake_end_detail[VM_DETAIL_MAX];
static const struct vm *may_end;

void fake_vm_may_end(const struct vm *vm)
{
	may_end = vm;
	fake_end_reason = VM_END_NONE;
	fake_end_detail[0] = '\0';
}

void vm_end(struct vm *vm, enum vm_end_reason reason, const char *detail)
{
	if (may_end == NULL || vm != may_end) {
		fake_fail("a VM ends: reason %d: %s", reason, detail == NULL ? "" : detail);
	}
	fake_end_reason = reason;
	fake_end_detail[0] = '\0';
	strncat(fake_end_detail, detail == NULL ? "" : detail, sizeof(fake_end_detail) - 1);
}
