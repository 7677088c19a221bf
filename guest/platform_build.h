/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a VM: what platform.c, which has the list of steps, and platform_check.c share. Each
 * step logs why it failed. Boot processor only.
 */
#ifndef UMBRA_GUEST_PLATFORM_BUILD_H
#define UMBRA_GUEST_PLATFORM_BUILD_H

#include "guest/engine_policy.h"
#include "guest/vm_config.h"
#include "vmm/base/types.h"

/* The data that the steps share. */
struct build {
	const struct vm_config *config;
	struct platform *platform;
	struct vm *vm;
	const struct engine_policy *policy;
};

/* Logs the reason with the section's line and the VM's name. Returns err. */
int platform_refuse(const struct build *build, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Step: checks that numbers are within limits, files were read, and CPUs and clear ranges exist. */
int platform_check_config(struct build *build);
/*
 * Step: returns ERR_AGAIN while the VM needs memory that is being freed. Like
 * platform_choose_engine this comes before anything is allocated (platform_check.c says why).
 */
int platform_wait_for_memory(struct build *build);
/*
 * Step: sets the policy. Returns ERR_AGAIN while a KeyID retires that the VM can get, or memory is
 * freed.
 */
int platform_choose_engine(struct build *build);
/*
 * Applies the policy for a machine with or without a free KeyID, and logs its words. Returns
 * ERR_UNSUPPORTED if it refuses.
 */
int platform_apply_policy(struct build *build, bool keyid_left);

#endif
