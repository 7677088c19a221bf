/* SPDX-License-Identifier: Apache-2.0 */
/* Error codes. A function that can fail returns int: 0, or one of these (all negative). */
#ifndef UMBRA_BASE_ERR_H
#define UMBRA_BASE_ERR_H

enum {
	ERR_INVAL = -1,	      /* a value that the caller must not pass */
	ERR_NOMEM = -2,	      /* no host page, frame or table slot left */
	ERR_RANGE = -3,	      /* an address or size outside of what exists */
	ERR_NOTFOUND = -4,    /* does not exist; for an MSR: inject #GP(0) */
	ERR_EXISTS = -5,      /* exists already, or overlaps something that exists */
	ERR_UNSUPPORTED = -6, /* the machine lacks a feature */
	ERR_FORMAT = -7,      /* malformed input */
	ERR_IO = -8,	      /* firmware or hardware reported a failure */
	ERR_TIMEOUT = -9,     /* hardware did not answer in time */
	ERR_SELFTEST = -10,   /* the result differs from the known answer */
	ERR_NOSPACE = -11,    /* all of a scarce resource of the machine (KeyIDs) is in use */
	ERR_AGAIN = -12,      /* try again: what is missing will be there soon */
	ERR_RIGHTS = -13,     /* the caller lacks the right to do that */
	ERR_TAMPERED = -14,   /* memory was changed by an attacker */
};

/* The code's name in lower case ("no memory"), or "unknown error". Never NULL. */
const char *err_name(int err);

#endif
