/* SPDX-License-Identifier: Apache-2.0 */
/* Known-answer tests. They run at every boot, before any key exists. */
#ifndef UMBRA_CRYPTO_SELFTEST_H
#define UMBRA_CRYPTO_SELFTEST_H

#include "vmm/base/types.h"

/*
 * Runs every cipher, hash and generator that this build uses against published vectors. Logs one
 * line: what passed, or which algorithm failed. Returns ERR_SELFTEST on the first mismatch; the
 * machine must not go on then.
 */
int crypto_selftest(void);

#endif
