/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MC146818 clock with its CMOS memory as pure logic (Motorola MC146818A datasheet; the
 * century byte as ACPI's FADT names it). Its time comes from TSC values that the caller passes
 * in. No locks.
 */
#ifndef UMBRA_GUEST_DEV_VRTC_H
#define UMBRA_GUEST_DEV_VRTC_H

#include "vmm/base/types.h"

#define VRTC_CENTURY 0x32 /* index of the century byte; the FADT has to say the same */
#define VRTC_BYTES   128

struct vrtc {
	int64_t base_seconds; /* since 1970-01-01 at base_tsc, in whatever zone the clock keeps */
	uint64_t base_tsc;
	int64_t seen_second; /* the last one that vrtc_update looked at */
	bool alarm_rang;     /* and vrtc_take_alarm has not reported it yet */
	uint8_t index;
	uint8_t cmos[VRTC_BYTES]; /* time bytes are current only while register B's SET is on */
};

/* seconds: the time of day at tsc. */
void vrtc_init(struct vrtc *rtc, int64_t seconds, uint64_t tsc);

/* Ports 70H and 71H as offset 0 and 1. */
uint8_t vrtc_read(struct vrtc *rtc, unsigned offset, uint64_t tsc);
void vrtc_write(struct vrtc *rtc, unsigned offset, uint8_t value, uint64_t tsc);

/*
 * Sets the update and alarm flags for the seconds that passed. Returns the level of the IRQ wire.
 */
bool vrtc_update(struct vrtc *rtc, uint64_t tsc);
/*
 * True once after each alarm that came with its interrupt enabled, whether or not register C was
 * read meanwhile: it is what sets RTC_STS (ACPI, "PM1 Status Registers").
 */
bool vrtc_take_alarm(struct vrtc *rtc);
/* TSC of the next second if an interrupt may come with it; UINT64_MAX: none is enabled. */
uint64_t vrtc_next_event(const struct vrtc *rtc, uint64_t tsc);

/*
 * Reads the machine's own clock. ERR_NOTFOUND when there is none or it holds nonsense. Waits at
 * most some milliseconds; one CPU at a time.
 */
int vrtc_read_machine(int64_t *seconds);

/* Days since 1970-01-01 of a date of the Gregorian calendar, and back. For tests as well. */
int64_t vrtc_days_from_date(int64_t year, unsigned month, unsigned day);
void vrtc_date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day);

#endif
