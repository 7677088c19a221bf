/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock is a number of seconds and the TSC at which it was valid. The ten time bytes are
 * computed when they are read. Update and alarm interrupts work. There is no periodic interrupt
 * (register B's PIE reads 0): kernels use their timers instead.
 */
#include "guest/dev/vrtc.h"

#include "guest/dev/vclock.h"
#include "vmm/base/cpu.h"
#include "vmm/base/err.h"

#define INDEX_MASK 0x7f /* on a PC bit 7 of port 70H masks NMIs; here it has no effect */

/* Datasheet, "Address Map". */
enum {
	REG_SECONDS = 0x00,
	REG_SECONDS_ALARM = 0x01,
	REG_MINUTES = 0x02,
	REG_MINUTES_ALARM = 0x03,
	REG_HOURS = 0x04,
	REG_HOURS_ALARM = 0x05,
	REG_WEEKDAY = 0x06,
	REG_DAY = 0x07,
	REG_MONTH = 0x08,
	REG_YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
};

#define A_UIP	   BIT(7)
#define A_WRITABLE 0x7f
#define A_DEFAULT  0x26 /* 32,768 Hz crystal, 1,024 Hz rate */
#define B_SET	   BIT(7)
#define B_AIE	   BIT(5)
#define B_UIE	   BIT(4)
#define B_BINARY   BIT(2)
#define B_24_HOURS BIT(1)
#define B_WRITABLE 0xbf /* all bits but PIE */
#define C_IRQF	   BIT(7)
#define C_AF	   BIT(5)
#define C_UF	   BIT(4)
#define D_VALID	   BIT(7)
#define HOUR_PM	   BIT(7)
#define ALARM_ANY  0xc0 /* if both top bits are set, the alarm matches every value */

#define SECONDS_PER_DAY 86400
/* updates are announced 244 us ahead: the last of 4,096 parts of a second */
#define UIP_HZ 4096

/* Days are counted with March as the first month, so that the leap day is the last of a year. */
int64_t vrtc_days_from_date(int64_t year, unsigned month, unsigned day)
{
	int64_t y = year - (month <= 2 ? 1 : 0);
	int64_t m = (int64_t)(month + 9) % 12;

	return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + (int64_t)day - 1 - 719468;
}

void vrtc_date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	int64_t z = days + 719468; /* days since 0000-03-01; never negative here */
	int64_t era = z / 146097;
	int64_t of_era = z % 146097;
	int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * of_year + 2) / 153;

	*day = (unsigned)(of_year - (153 * m + 2) / 5 + 1);
	*month = (unsigned)(m < 10 ? m + 3 : m - 9);
	*year = y + era * 400 + (*month <= 2 ? 1 : 0);
}

static uint8_t encode(unsigned value, uint8_t reg_b)
{
	return (uint8_t)((reg_b & B_BINARY) != 0 ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(uint8_t value, uint8_t reg_b)
{
	return (reg_b & B_BINARY) != 0 ? value : (value >> 4) * 10u + (value & 15u);
}

static uint8_t encode_hour(unsigned hour, uint8_t reg_b)
{
	if ((reg_b & B_24_HOURS) != 0) {
		return encode(hour, reg_b);
	}
	return (uint8_t)(encode(hour % 12 == 0 ? 12 : hour % 12, reg_b) |
			 (hour >= 12 ? HOUR_PM : 0));
}

static unsigned decode_hour(uint8_t value, uint8_t reg_b)
{
	if ((reg_b & B_24_HOURS) != 0) {
		return decode(value, reg_b);
	}
	return decode(value & 0x7f, reg_b) % 12 + ((value & HOUR_PM) != 0 ? 12u : 0u);
}

static int64_t seconds_at(const struct vrtc *rtc, uint64_t tsc)
{
	return rtc->base_seconds + (int64_t)vclock_ticks(rtc->base_tsc, tsc, 1);
}

static void fill_time(struct vrtc *rtc, int64_t seconds)
{
	uint8_t b = rtc->cmos[REG_B];
	int64_t days = seconds / SECONDS_PER_DAY;
	unsigned in_day = (unsigned)(seconds % SECONDS_PER_DAY);
	unsigned month, day;
	int64_t year;

	vrtc_date_from_days(days, &year, &month, &day);
	rtc->cmos[REG_SECONDS] = encode(in_day % 60, b);
	rtc->cmos[REG_MINUTES] = encode(in_day / 60 % 60, b);
	rtc->cmos[REG_HOURS] = encode_hour(in_day / 3600, b);
	rtc->cmos[REG_WEEKDAY] = encode((unsigned)((days + 4) % 7) + 1,
					b); /* 1970-01-01: Thursday */
	rtc->cmos[REG_DAY] = encode(day, b);
	rtc->cmos[REG_MONTH] = encode(month, b);
	rtc->cmos[REG_YEAR] = encode((unsigned)(year % 100), b);
	rtc->cmos[VRTC_CENTURY] = encode((unsigned)(year / 100), b);
}

/*
 * Returns the seconds that the time bytes stand for. With any bytes, the result is not before 1970.
 */
static int64_t time_of_bytes(const uint8_t *cmos)
{
	uint8_t b = cmos[REG_B];
	unsigned month = decode(cmos[REG_MONTH], b);
	unsigned century = decode(cmos[VRTC_CENTURY], b);
	int64_t days;

	month = month < 1 || month > 12 ? 1 : month;
	century = century < 19 || century > 99 ? 20 : century;
	days = vrtc_days_from_date((int64_t)century * 100 + decode(cmos[REG_YEAR], b) % 100, month,
				   decode(cmos[REG_DAY], b));
	days = MAX(days, 0);
	return days * SECONDS_PER_DAY + (int64_t)decode_hour(cmos[REG_HOURS], b) * 3600 +
	       (int64_t)decode(cmos[REG_MINUTES], b) * 60 + decode(cmos[REG_SECONDS], b);
}

static bool is_time(unsigned index)
{
	return index == REG_SECONDS || index == REG_MINUTES || index == REG_HOURS ||
	       (index >= REG_WEEKDAY && index <= REG_YEAR) || index == VRTC_CENTURY;
}

static bool is_stopped(const struct vrtc *rtc)
{
	return (rtc->cmos[REG_B] & B_SET) != 0;
}

static void restart_from_bytes(struct vrtc *rtc, uint64_t tsc)
{
	rtc->base_seconds = time_of_bytes(rtc->cmos);
	rtc->base_tsc = tsc;
	rtc->seen_second = rtc->base_seconds;
}

void vrtc_init(struct vrtc *rtc, int64_t seconds, uint64_t tsc)
{
	*rtc = (struct vrtc){
		.base_seconds = seconds,
		.base_tsc = tsc,
		.seen_second = seconds,
	};
	rtc->cmos[REG_A] = A_DEFAULT;
	rtc->cmos[REG_B] = B_24_HOURS;
	rtc->cmos[REG_D] = D_VALID;
}

static bool update_near(const struct vrtc *rtc, uint64_t tsc)
{
	return !is_stopped(rtc) && vclock_ticks(rtc->base_tsc, tsc, UIP_HZ) % UIP_HZ == UIP_HZ - 1;
}

uint8_t vrtc_read(struct vrtc *rtc, unsigned offset, uint64_t tsc)
{
	unsigned index = rtc->index;
	uint8_t value;

	if (offset == 0) {
		return 0xff; /* the index cannot be read */
	}
	if (is_time(index) && !is_stopped(rtc)) {
		fill_time(rtc, seconds_at(rtc, tsc));
	}
	if (index == REG_C) {
		(void)vrtc_update(rtc, tsc); /* sets the flags; the wire is not needed */
	}
	value = rtc->cmos[index];
	if (index == REG_A && update_near(rtc, tsc)) {
		value |= A_UIP;
	}
	if (index == REG_C) {
		rtc->cmos[REG_C] = 0;
	}
	return value;
}

static void write_reg_b(struct vrtc *rtc, uint8_t value, uint64_t tsc)
{
	bool was_stopped = is_stopped(rtc);

	if (!was_stopped && (value & B_SET) != 0) {
		fill_time(rtc, seconds_at(rtc, tsc));
	}
	rtc->cmos[REG_B] = value & B_WRITABLE;
	if ((value & B_SET) != 0) {
		rtc->cmos[REG_B] &= (uint8_t)~B_UIE; /* datasheet: SET clears it */
	} else if (was_stopped) {
		restart_from_bytes(rtc, tsc);
	}
}

void vrtc_write(struct vrtc *rtc, unsigned offset, uint8_t value, uint64_t tsc)
{
	unsigned index = rtc->index;

	if (offset == 0) {
		rtc->index = value & INDEX_MASK;
	} else if (index == REG_A) {
		rtc->cmos[REG_A] = value & A_WRITABLE;
	} else if (index == REG_B) {
		write_reg_b(rtc, value, tsc);
	} else if (is_time(index)) {
		if (!is_stopped(rtc)) {
			fill_time(rtc, seconds_at(rtc, tsc));
		}
		rtc->cmos[index] = value;
		if (!is_stopped(rtc)) {
			restart_from_bytes(rtc, tsc);
		}
	} else if (index != REG_C && index != REG_D) {
		rtc->cmos[index] = value;
	}
}

static bool alarm_field_matches(uint8_t alarm, uint8_t time)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || alarm == time;
}

/*
 * Whether the alarm matches a second in (from, to]. Only the last day is checked, because the alarm
 * repeats each day.
 */
static bool alarm_between(struct vrtc *rtc, int64_t from, int64_t to)
{
	int64_t second = to - from > SECONDS_PER_DAY ? to - SECONDS_PER_DAY : from;

	while (++second <= to) {
		unsigned in_day = (unsigned)(second % SECONDS_PER_DAY);
		uint8_t b = rtc->cmos[REG_B];

		if (alarm_field_matches(rtc->cmos[REG_SECONDS_ALARM], encode(in_day % 60, b)) &&
		    alarm_field_matches(rtc->cmos[REG_MINUTES_ALARM],
					encode(in_day / 60 % 60, b)) &&
		    alarm_field_matches(rtc->cmos[REG_HOURS_ALARM],
					encode_hour(in_day / 3600, b))) {
			return true;
		}
	}
	return false;
}

bool vrtc_update(struct vrtc *rtc, uint64_t tsc)
{
	uint8_t enabled = rtc->cmos[REG_B] & (B_AIE | B_UIE);
	int64_t now = is_stopped(rtc) ? rtc->seen_second : seconds_at(rtc, tsc);

	if (now > rtc->seen_second) {
		rtc->cmos[REG_C] |= C_UF;
		if ((enabled & B_AIE) != 0 && alarm_between(rtc, rtc->seen_second, now)) {
			rtc->cmos[REG_C] |= C_AF;
			rtc->alarm_rang = true;
		}
		rtc->seen_second = now;
	}
	/* Datasheet, "Register C": a flag has the same bit as its enable in register B. */
	if ((rtc->cmos[REG_C] & enabled) != 0) {
		rtc->cmos[REG_C] |= C_IRQF;
	}
	return (rtc->cmos[REG_C] & C_IRQF) != 0;
}

bool vrtc_take_alarm(struct vrtc *rtc)
{
	bool rang = rtc->alarm_rang;

	rtc->alarm_rang = false;
	return rang;
}

uint64_t vrtc_next_event(const struct vrtc *rtc, uint64_t tsc)
{
	if (is_stopped(rtc) || (rtc->cmos[REG_B] & (B_AIE | B_UIE)) == 0) {
		return UINT64_MAX;
	}
	return vclock_tsc_at(rtc->base_tsc, vclock_ticks(rtc->base_tsc, tsc, 1) + 1, 1);
}

static uint8_t machine_reg(uint8_t index)
{
	cpu_out8(0x70, index);
	return cpu_in8(0x71);
}

static void machine_bytes(uint8_t cmos[VRTC_BYTES])
{
	static const uint8_t wanted[] = {
		REG_SECONDS, REG_MINUTES, REG_HOURS, REG_DAY,
		REG_MONTH,   REG_YEAR,	  REG_B,     VRTC_CENTURY,
	};
	size_t i;

	for (i = 0; i < sizeof(wanted); i++) {
		cmos[wanted[i]] = machine_reg(wanted[i]);
	}
}

int vrtc_read_machine(int64_t *seconds)
{
	uint8_t first[VRTC_BYTES] = { 0 };
	uint8_t second[VRTC_BYTES] = { 0 };
	unsigned i, j;

	if ((machine_reg(REG_D) & D_VALID) == 0 || machine_reg(REG_A) == 0xff) {
		return ERR_NOTFOUND;
	}
	/* During an update the bytes may be inconsistent, so two readings must agree. */
	for (i = 0; i < 10; i++) {
		for (j = 0; j < 3000 && (machine_reg(REG_A) & A_UIP) != 0; j++) {
			cpu_pause();
		}
		machine_bytes(first);
		machine_bytes(second);
		for (j = 0; j < VRTC_BYTES && first[j] == second[j]; j++) {
		}
		if (j == VRTC_BYTES) {
			*seconds = time_of_bytes(first);
			return 0;
		}
	}
	return ERR_NOTFOUND;
}
