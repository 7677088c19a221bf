/* SPDX-License-Identifier: Apache-2.0 */
/* A machine without memory encryption, but for what a test says. */
#include "crypto/tme.h"
#include "tests/unit/fake_base.h"

struct tme_state fake_tme;

const struct tme_state *tme_state(void)
{
	return &fake_tme;
}
