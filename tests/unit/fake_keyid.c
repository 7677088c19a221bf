/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses the real keyid.c, which has no hardware behind it. A test that configures it also undoes
 * that.
 */
#include "vmm/base/keyid.c"
