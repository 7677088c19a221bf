/* SPDX-License-Identifier: Apache-2.0 */
/* Uses the real topology.c: CPUID is a fake already. */
#include "vmm/host/topology.c"
