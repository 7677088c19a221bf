/* SPDX-License-Identifier: Apache-2.0 */
/* Parsers of the console's values in umbra.conf: the escape key and the serial line. */
#include "boot/config_priv.h"

#include "vmm/base/str.h"

/* A control character, but not Tab, Return, Backspace or ESC, which are keys themselves. */
const char *config_parse_escape(const struct config_key *key, void *field, const char *text)
{
	static const char taken[] = "HIJM[@";
	const size_t length = strlen(text);
	char start[sizeof("ctrl-")];
	char c;

	(void)str_copy(start, sizeof(start), text);
	c = length == sizeof(start) ? text[length - 1] : '@';
	c = (char)(c >= 'a' && c <= 'z' ? c & ~0x20 : c);
	if (!str_equal_nocase(start, "ctrl-") || c < '@' || c > '_' || strchr(taken, c) != NULL) {
		return CONFIG_NOT_ALLOWED;
	}
	*(uint8_t *)field = (uint8_t)(c - '@');
	return NULL;
}

/*
 * Reads hex digits at *text, with or without 0x, and moves *text after them. Returns false if there
 * are none or the value is above max.
 */
static bool parse_hex(const char **text, uint64_t max, uint64_t *value)
{
	const char *at = *text;
	size_t digits = 0;

	at += at[0] == '0' && (at[1] | 0x20) == 'x' ? 2 : 0;
	for (*value = 0; digits < 16; digits++, at++) {
		const char c = (char)(*at >= 'A' && *at <= 'Z' ? *at | 0x20 : *at);

		if (c >= '0' && c <= '9') {
			*value = *value << 4 | (uint64_t)(c - '0');
		} else if (c >= 'a' && c <= 'f') {
			*value = *value << 4 | (uint64_t)(c - 'a' + 10);
		} else {
			break;
		}
	}
	*text = at;
	return digits != 0 && *value <= max;
}

/* Parses "BB:DD.F", as lspci writes it. */
static bool parse_function(const char **text, uint32_t *function)
{
	uint64_t bus, device, number;

	if (!parse_hex(text, 255, &bus) || *(*text)++ != ':' || !parse_hex(text, 31, &device) ||
	    *(*text)++ != '.' || !parse_hex(text, 7, &number)) {
		return false;
	}
	*function = (uint32_t)(bus << 8 | device << 3 | number);
	return true;
}

/* Returns whether *text begins with word, in any case, and then moves *text after it. */
static bool skip_word(const char **text, const char *word)
{
	char start[16];

	(void)str_copy(start, MIN(sizeof(start), strlen(word) + 1), *text);
	if (!str_equal_nocase(start, word)) {
		return false;
	}
	*text += strlen(word);
	return true;
}

static bool parse_place(const char **text, struct config_serial *serial)
{
	static const uint16_t coms[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
	struct serial_place *place = &serial->place;

	serial->kind = CONFIG_SERIAL_PLACE;
	place->stride = 1;
	if (skip_word(text, "auto")) {
		serial->kind = CONFIG_SERIAL_AUTO;
		return true;
	}
	if (skip_word(text, "com")) {
		const unsigned number = (unsigned)(**text - '1');

		place->address = number < ARRAY_COUNT(coms) ? coms[number] : 0;
		*text += number < ARRAY_COUNT(coms) ? 1 : 0;
		return place->address != 0;
	}
	if (skip_word(text, "port:")) {
		return parse_hex(text, UINT16_MAX - 8, &place->address) && place->address != 0;
	}
	if (skip_word(text, "pci:")) {
		serial->kind = CONFIG_SERIAL_PCI;
		return parse_function(text, &serial->pci);
	}
	place->memory = true;
	place->stride = skip_word(text, "mmio32:") ? 4 : 1;
	return (place->stride == 4 || skip_word(text, "mmio:")) &&
	       parse_hex(text, UINT32_MAX - PAGE_SIZE, &place->address) && place->address != 0 &&
	       place->address % place->stride == 0;
}

/* Parses the place of the line, and after a comma its speed. */
const char *config_parse_serial(const struct config_key *key, void *field, const char *text)
{
	struct config_serial serial = { .kind = CONFIG_SERIAL_NONE, .place = { .divisor = 1 } };
	uint64_t speed = 115200;
	bool ok = str_equal_nocase(text, "none") || parse_place(&text, &serial);

	if (ok && serial.kind != CONFIG_SERIAL_NONE && *text == ',') {
		ok = config_read_number(text + 1, &speed, &text) && speed >= 300 &&
		     speed <= 115200 && 115200 % speed == 0;
		serial.speed_given = ok;
	}
	if (!ok || (serial.kind != CONFIG_SERIAL_NONE && *text != '\0')) {
		return CONFIG_NOT_ALLOWED;
	}
	serial.place.divisor = (uint16_t)(115200 / speed);
	memcpy(field, &serial, key->bytes);
	return NULL;
}
