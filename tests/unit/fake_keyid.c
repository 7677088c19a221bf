/* SPDX-License-Identifier: Apache-2.0 */
/* The real thing: it has no hardware behind it. A test configures it, and takes that back. */
#include "vmm/base/keyid.c"
