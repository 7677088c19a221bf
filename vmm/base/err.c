/* SPDX-License-Identifier: Apache-2.0 */
/* Names of error codes, for log lines. */
#include "vmm/base/err.h"
#include "vmm/base/types.h"

const char *err_name(int err)
{
	static const char *const names[] = {
		[0] = "success",
		[-ERR_INVAL] = "invalid value",
		[-ERR_NOMEM] = "no memory",
		[-ERR_RANGE] = "out of range",
		[-ERR_NOTFOUND] = "not found",
		[-ERR_EXISTS] = "exists already",
		[-ERR_UNSUPPORTED] = "not supported by this machine",
		[-ERR_FORMAT] = "malformed",
		[-ERR_IO] = "input/output failure",
		[-ERR_TIMEOUT] = "timed out",
		[-ERR_SELFTEST] = "self-test failed",
		[-ERR_NOSPACE] = "none left",
		[-ERR_AGAIN] = "not yet",
		[-ERR_RIGHTS] = "not allowed",
		[-ERR_TAMPERED] = "tampered with",
	};

	if (err > 0 || err <= -(int)ARRAY_COUNT(names)) {
		return "unknown error";
	}
	return names[-err];
}
