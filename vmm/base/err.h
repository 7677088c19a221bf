/* SPDX-License-Identifier: Apache-2.0 */
/* Error codes. A function that can fail returns int: 0, or one of these (all negative). */
#ifndef UMBRA_BASE_ERR_H
#define UMBRA_BASE_ERR_H

enum {
	ERR_INVAL = -1,	      /* a value that the caller should not have passed */
	ERR_NOMEM = -2,	      /* no host page, frame or table slot left */
	ERR_RANGE = -3,	      /* an address or size outside of what exists */
	ERR_NOTFOUND = -4,    /* no such thing; for an MSR: inject #GP(0) */
	ERR_EXISTS = -5,      /* it is there already, or overlaps what is there */
	ERR_UNSUPPORTED = -6, /* the machine lacks a feature */
	ERR_FORMAT = -7,      /* malformed input */
	ERR_IO = -8,	      /* firmware or hardware reported a failure */
	ERR_TIMEOUT = -9,     /* hardware did not answer in time */
	ERR_SELFTEST = -10,   /* a known answer did not come out */
	ERR_NOSPACE = -11,    /* all of a thing that the machine has few of are in use: KeyIDs */
	ERR_AGAIN = -12,      /* not now: what it needs will be there soon */
	ERR_RIGHTS = -13,     /* who asks may not do that there */
};

/* The code's name in lower case ("no memory"), or "unknown error". Never NULL. */
const char *err_name(int err);

#endif
