/* SPDX-License-Identifier: Apache-2.0 */
/* The real thing: CPUID is a fake already. */
#include "vmm/base/topology.c"
