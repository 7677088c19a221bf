/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MC146818 clock with its CMOS memory as pure logic (Motorola MC146818A datasheet; ACPI's FADT
 * names the century byte). Time comes from the TSC values that the caller passes. No locks of its
 * own.
 */
#ifndef UMBRA_GUEST_DEV_VRTC_H
#define UMBRA_GUEST_DEV_VRTC_H

#include "vmm/base/types.h"

#define VRTC_CENTURY 0x32 /* index of the century byte; the FADT must agree */
#define VRTC_BYTES   128

struct vrtc {
	int64_t base_seconds; /* since 1970-01-01 at base_tsc, in the time zone of the clock */
	uint64_t base_tsc;
	int64_t seen_second; /* the last second that vrtc_update has checked */
	bool alarm_rang;     /* the alarm rang, and vrtc_take_alarm has not reported it yet */
	uint8_t index;
	uint8_t cmos[VRTC_BYTES]; /* the time bytes are current only while register B's SET is on */
};

/* Sets the power-up state. seconds is the time of day at tsc. */
void vrtc_init(struct vrtc *rtc, int64_t seconds, uint64_t tsc);

/* Access ports 70H and 71H as offsets 0 and 1. */
uint8_t vrtc_read(struct vrtc *rtc, unsigned offset, uint64_t tsc);
void vrtc_write(struct vrtc *rtc, unsigned offset, uint8_t value, uint64_t tsc);

/*
 * Sets the update and alarm flags for the seconds that passed. Returns the level of the IRQ wire.
 */
bool vrtc_update(struct vrtc *rtc, uint64_t tsc);
/*
 * Returns true once after each alarm whose interrupt was enabled, even if register C was read
 * meanwhile. It sets RTC_STS (ACPI, "PM1 Status Registers").
 */
bool vrtc_take_alarm(struct vrtc *rtc);
/* The TSC of the next second if an interrupt may come then; UINT64_MAX: no interrupt is enabled. */
uint64_t vrtc_next_event(const struct vrtc *rtc, uint64_t tsc);

/*
 * Reads the machine's own clock. Returns ERR_NOTFOUND if there is none or its bytes are not
 * consistent. Waits at most some milliseconds. Only one CPU at a time.
 */
int vrtc_read_machine(int64_t *seconds);

/*
 * Convert a date of the Gregorian calendar to days since 1970-01-01, and back. Public for tests as
 * well.
 */
int64_t vrtc_days_from_date(int64_t year, unsigned month, unsigned day);
void vrtc_date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day);

#endif
