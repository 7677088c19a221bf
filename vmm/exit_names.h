/* SPDX-License-Identifier: Apache-2.0 */
/* Names of exit reasons, for logs. */
#ifndef UMBRA_VMM_EXIT_NAMES_H
#define UMBRA_VMM_EXIT_NAMES_H

#include "vmm/base/types.h"

/* The name of a basic exit reason (SDM vol. 3, appendix "VMX Basic Exit Reasons"), or "exit". */
const char *exit_name(uint32_t reason);

#endif
