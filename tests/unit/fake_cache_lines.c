/* SPDX-License-Identifier: Apache-2.0 */
/* The real thing: CLFLUSH is a fake already. */
#include "vmm/base/cache_lines.c"
