/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of umbra.conf and what their values may be. */
#include "boot/config_priv.h"

#include "vmm/base/str.h"
#include "vmm/sched.h"

#define MEMORY_MIN (1ull << 20)
#define MEMORY_MAX (4ull << 40)
#define WINDOW_MIN (260ull << 10) /* the floor of one VM with one vCPU (ept/pager.h) */
#define WINDOW_MAX (64ull << 30)

/* --- Values --- */

static bool parse_number(const char *text, uint64_t *value, const char **end)
{
	*value = 0;
	*end = text;
	for (; **end >= '0' && **end <= '9'; (*end)++) {
		if (__builtin_mul_overflow(*value, 10u, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(**end - '0'), value)) {
			return false;
		}
	}
	return *end != text;
}

static bool parse_size(const char *text, uint64_t *value, char *why)
{
	static const char suffixes[] = "KMG";
	const char *end;
	bool ok = parse_number(text, value, &end);

	if (ok && *end != '\0') {
		const char upper[2] = { (char)(*end & ~0x20), '\0' };
		const char *suffix = strchr(suffixes, upper[0]);

		ok = suffix != NULL && *suffix != '\0' && end[1] == '\0' &&
		     !__builtin_mul_overflow(*value, 1024ull << (10 * (suffix - suffixes)), value);
	}
	if (!ok) {
		str_printf(why, CONFIG_WHY_MAX,
			   "is no size; write a number with K, M or G, as 512M");
	}
	return ok;
}

static bool parse_memory(const struct config_key *key, void *field, const char *text, char *why)
{
	uint64_t value;

	if (!parse_size(text, &value, why)) {
		return false;
	}
	if (value < MEMORY_MIN || value > MEMORY_MAX || !IS_ALIGNED(value, PAGE_SIZE)) {
		str_printf(why, CONFIG_WHY_MAX, "must be 1M to 4096G and whole 4K pages");
		return false;
	}
	memcpy(field, &value, key->bytes);
	return true;
}

/*
 * After a wrong value there is no window: with the default, more might lie in clear than was
 * wanted.
 */
static bool parse_window(const struct config_key *key, void *field, const char *text, char *why)
{
	uint64_t value;
	bool ok = parse_size(text, &value, why);

	if (ok && (value < WINDOW_MIN || value > WINDOW_MAX || !IS_ALIGNED(value, PAGE_SIZE))) {
		str_printf(why, CONFIG_WHY_MAX, "must be 260K to 64G and whole 4K pages");
		ok = false;
	}
	if (!ok) {
		value = 0;
	}
	memcpy(field, &value, key->bytes);
	return ok;
}

/* 1 to most, into a uint32_t. */
static bool parse_up_to(uint32_t most, void *field, const char *text, char *why)
{
	const char *end;
	uint64_t value;
	uint32_t number;

	if (!parse_number(text, &value, &end) || *end != '\0' || value == 0 || value > most) {
		str_printf(why, CONFIG_WHY_MAX, "must be a number from 1 to %u", most);
		return false;
	}
	number = (uint32_t)value;
	memcpy(field, &number, sizeof(number));
	return true;
}

static bool parse_vcpus(const struct config_key *key, void *field, const char *text, char *why)
{
	(void)key;
	return parse_up_to(VM_VCPU_MAX, field, text, why);
}

static bool parse_weight(const struct config_key *key, void *field, const char *text, char *why)
{
	(void)key;
	return parse_up_to(SCHED_WEIGHT_MAX, field, text, why);
}

/* A number of seconds, minutes, hours or days. */
static bool parse_duration(const struct config_key *key, void *field, const char *text, char *why)
{
	static const struct {
		char unit;
		uint32_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	const uint32_t most = 365 * 86400;
	uint64_t count;

	(void)key;
	if (parse_number(text, &count, &text) && count != 0 && count <= most && text[0] != '\0' &&
	    text[1] == '\0') {
		for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
			if (text[0] == units[i].unit && count <= most / units[i].seconds) {
				*(uint32_t *)field = (uint32_t)count * units[i].seconds;
				return true;
			}
		}
	}
	str_printf(why, CONFIG_WHY_MAX,
		   "is not a time of at most 365 days; write it as 45m, 12h or 7d");
	return false;
}

bool config_parse_affinity(const char *text, uint64_t affinity[CPU_MAX / 64], char *why)
{
	uint64_t bits[CPU_MAX / 64] = { 0 };

	for (;;) {
		uint64_t first, last;
		bool ok = parse_number(text, &first, &text);

		last = first;
		if (ok && *text == '-') {
			ok = parse_number(text + 1, &last, &text);
		}
		if (!ok || last < first || last >= CPU_MAX || (*text != ',' && *text != '\0')) {
			str_printf(why, CONFIG_WHY_MAX,
				   "is not a list of CPUs below %u; write it as 0,2-3", CPU_MAX);
			return false;
		}
		for (; first <= last; first++) {
			bits[first / 64] |= BIT(first % 64);
		}
		if (*text++ == '\0') {
			break;
		}
	}
	memcpy(affinity, bits, sizeof(bits));
	return true;
}

static bool parse_affinity(const struct config_key *key, void *field, const char *text, char *why)
{
	(void)key;
	return config_parse_affinity(text, field, why);
}

static const struct config_choice *find_choice(const struct config_key *key, const char *text,
					       char *why)
{
	size_t used;

	for (const struct config_choice *c = key->choices; c->word != NULL; c++) {
		if (str_equal_nocase(c->word, text)) {
			return c;
		}
	}
	used = str_printf(why, CONFIG_WHY_MAX, "must be one of");
	for (const struct config_choice *c = key->choices; c->word != NULL; c++) {
		used += str_printf(why + used, CONFIG_WHY_MAX - used, "%s %s",
				   c == key->choices ? "" : ",", c->word);
	}
	return NULL;
}

static bool parse_choice(const struct config_key *key, void *field, const char *text, char *why)
{
	const struct config_choice *choice = find_choice(key, text, why);

	if (choice != NULL) {
		memcpy(field, &choice->value, key->bytes);
	}
	return choice != NULL;
}

/* The word itself, as it stands in the list. */
static bool parse_word(const struct config_key *key, void *field, const char *text, char *why)
{
	const struct config_choice *choice = find_choice(key, text, why);

	if (choice != NULL) {
		memcpy(field, &choice->word, key->bytes);
	}
	return choice != NULL;
}

static bool parse_text(const struct config_key *key, void *field, const char *text, char *why)
{
	if (!str_copy(field, key->bytes, text)) {
		str_printf(why, CONFIG_WHY_MAX, "is longer than %u characters",
			   (unsigned)key->bytes - 1);
		return false;
	}
	return true;
}

static bool store_path(const struct config_key *key, void *field, const char *text, char *why)
{
	char *path = ((struct vm_file *)field)->path;

	(void)key;
	if (text[0] != '\\' && text[0] != '/') {
		str_printf(why, CONFIG_WHY_MAX, "must be a whole path, as \\umbra\\vmlinuz");
		return false;
	}
	if (!str_copy(path, VM_PATH_MAX, text)) {
		path[0] = '\0';
		str_printf(why, CONFIG_WHY_MAX, "is longer than %u characters", VM_PATH_MAX - 1);
		return false;
	}
	for (char *c = path; *c != '\0'; c++) {
		*c = *c == '/' ? '\\' : *c;
	}
	return true;
}

static bool parse_path(const struct config_key *key, void *field, const char *text, char *why)
{
	char *path = ((struct vm_file *)field)->path;

	if (!store_path(key, field, text, why)) {
		return false;
	}
	for (const char *c = path; *c != '\0'; c++) {
		if (c[0] == ',' && (c[1] == '\\' || c[1] == ' ')) {
			path[0] = '\0';
			str_printf(why, CONFIG_WHY_MAX, "is more than one path");
			return false;
		}
	}
	return true;
}

/* One path, or several behind commas: their spaces go, and the commas stay. */
static bool parse_paths(const struct config_key *key, void *field, const char *text, char *why)
{
	char *path = ((struct vm_file *)field)->path;
	size_t used = 0;

	if (!store_path(key, field, text, why)) {
		return false;
	}
	for (const char *c = path; *c != '\0'; c++) {
		const char *next = c + 1;

		path[used++] = *c;
		while (*c == ',' && str_is_space(*next)) {
			next++;
		}
		if (*c == ',' && *next == '\\') {
			while (used > 1 && str_is_space(path[used - 2])) {
				path[used - 2] = ',';
				used--;
			}
			c = next - 1;
		}
	}
	path[used] = '\0';
	return true;
}

static bool parse_key(const struct config_key *key, void *field, const char *text, char *why)
{
	static const char file[] = "file:";
	static const struct config_choice words[] = { { "random", VM_KEY_RANDOM },
						      { "platform", VM_KEY_PLATFORM },
						      { "none", VM_KEY_NONE },
						      { NULL, 0 } };
	struct vm_key_source *source = field;
	char start[sizeof(file)];

	(void)str_copy(start, sizeof(start), text);
	if (str_equal_nocase(start, file)) {
		source->kind = VM_KEY_FILE;
		return parse_path(key, &source->file, text + sizeof(file) - 1, why);
	}
	for (const struct config_choice *c = words; c->word != NULL; c++) {
		if (str_equal_nocase(c->word, text)) {
			source->kind = (enum vm_key)c->value;
			return true;
		}
	}
	str_printf(why, CONFIG_WHY_MAX, "must be one of random, file:PATH, platform, none");
	return false;
}

/* How much of the text belongs to the first item of a list. */
static size_t item_length(const char *text)
{
	size_t length = 0;

	while (text[length] != '\0' && text[length] != ',') {
		length++;
	}
	return length;
}

static bool parse_share_size(const struct config_key *key, void *field, const char *text, char *why)
{
	uint64_t value;

	if (!parse_size(text, &value, why)) {
		return false;
	}
	if (value < PAGE_SIZE || value > MEMORY_MAX || !IS_ALIGNED(value, PAGE_SIZE)) {
		str_printf(why, CONFIG_WHY_MAX, "must be 4K to 4096G and whole 4K pages");
		return false;
	}
	memcpy(field, &value, key->bytes);
	return true;
}

/* Puts a range into its place in the sorted list. False: it is full, or the range overlaps. */
static bool insert_clear(struct vm_clear_range *list, struct vm_clear_range range)
{
	size_t at = VM_CLEAR_MAX - 1;

	if (list[at].bytes != 0) {
		return false;
	}
	for (; at > 0 && (list[at - 1].bytes == 0 || list[at - 1].base > range.base); at--) {
		list[at] = list[at - 1];
	}
	list[at] = range;
	return (at == 0 || list[at - 1].base + list[at - 1].bytes <= range.base) &&
	       (at + 1 == VM_CLEAR_MAX || list[at + 1].bytes == 0 ||
		range.base + range.bytes <= list[at + 1].base);
}

/* "16M@1G, 64K@2M": size and guest-physical address of each range. */
static bool parse_clear(const struct config_key *key, void *field, const char *text, char *why)
{
	struct vm_clear_range list[VM_CLEAR_MAX] = { { 0, 0 } };
	char part[48], *place;

	for (;;) {
		struct vm_clear_range range;
		size_t bytes = item_length(text), used;

		while (bytes != 0 && str_is_space(*text)) {
			text++;
			bytes--;
		}
		used = bytes;
		while (used != 0 && str_is_space(text[used - 1])) {
			used--;
		}
		(void)str_copy(part, MIN(sizeof(part), used + 1), text);
		place = strchr(part, '@');
		if (place == NULL || used >= sizeof(part)) {
			str_printf(why, CONFIG_WHY_MAX,
				   "is not a list of ranges; write it as 16M@1G");
			return false;
		}
		*place++ = '\0';
		if (!parse_size(part, &range.bytes, why) || !parse_size(place, &range.base, why)) {
			return false;
		}
		if (range.bytes == 0 || !IS_ALIGNED(range.base | range.bytes, PAGE_SIZE) ||
		    range.base > MEMORY_MAX || range.bytes > MEMORY_MAX ||
		    !insert_clear(list, range)) {
			str_printf(
				why, CONFIG_WHY_MAX,
				"must be at most %u ranges of whole 4K pages that do not overlap",
				VM_CLEAR_MAX);
			return false;
		}
		text += bytes;
		if (*text == '\0') {
			break;
		}
		text++;
	}
	memcpy(field, list, key->bytes);
	return true;
}

/* "NAME", "NAME:rw" or "NAME:ro", `bytes` long. */
static bool parse_member(struct share_config *share, const char *text, size_t bytes, char *why)
{
	struct share_member_config *member = &share->members[share->member_count];
	size_t name = 0;

	if (share->member_count == SHARE_MEMBERS_MAX) {
		str_printf(why, CONFIG_WHY_MAX, "has more than %u names", SHARE_MEMBERS_MAX);
		return false;
	}
	while (name < bytes && text[name] != ':') {
		name++;
	}
	if (name == 0 || name >= sizeof(member->vm) ||
	    (name != bytes && (bytes - name != 3 || (memcmp(text + name, ":rw", 3) != 0 &&
						     memcmp(text + name, ":ro", 3) != 0)))) {
		str_printf(why, CONFIG_WHY_MAX,
			   "is not a list of VMs; write it as alpha:rw, beta:ro");
		return false;
	}
	memcpy(member->vm, text, name);
	member->vm[name] = '\0';
	member->read_only = name != bytes && text[name + 2] == 'o';
	for (uint32_t i = 0; i < share->member_count; i++) {
		if (str_equal_nocase(share->members[i].vm, member->vm)) {
			str_printf(why, CONFIG_WHY_MAX, "names a VM twice");
			return false;
		}
	}
	share->member_count++;
	return true;
}

/* The field is the whole struct share_config. */
static bool parse_members(const struct config_key *key, void *field, const char *text, char *why)
{
	(void)key;
	for (;;) {
		size_t bytes, used;

		while (str_is_space(*text)) {
			text++;
		}
		used = bytes = item_length(text);
		while (used != 0 && str_is_space(text[used - 1])) {
			used--;
		}
		if (!parse_member(field, text, used, why)) {
			return false;
		}
		if (text[bytes] == '\0') {
			return true;
		}
		text += bytes + 1;
	}
}

/* A control character that is no key of its own: not Tab, Return, Backspace, ESC. */
static bool parse_escape(const struct config_key *key, void *field, const char *text, char *why)
{
	static const char taken[] = "HIJM[@";
	const size_t length = strlen(text);
	char start[sizeof("ctrl-")];
	char c;

	(void)key;
	(void)str_copy(start, sizeof(start), text);
	c = length == sizeof(start) ? text[length - 1] : '@';
	c = (char)(c >= 'a' && c <= 'z' ? c & ~0x20 : c);
	if (!str_equal_nocase(start, "ctrl-") || c < '@' || c > '_' || strchr(taken, c) != NULL) {
		str_printf(
			why, CONFIG_WHY_MAX,
			"must be a key as ctrl-^ or ctrl-a, but h, i, j, m and [ have other uses");
		return false;
	}
	*(uint8_t *)field = (uint8_t)(c - '@');
	return true;
}

/* --- The serial line --- */

/* Hex digits at *text, with or without 0x; moves *text behind them. At most max. */
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

/* "BB:DD.F", as lspci writes it. */
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

/* True and moves *text on when it begins with word, whatever the case. */
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

/* Where, and behind a comma how fast. */
static bool parse_serial(const struct config_key *key, void *field, const char *text, char *why)
{
	struct config_serial serial = { .kind = CONFIG_SERIAL_NONE, .place = { .divisor = 1 } };
	uint64_t speed = 115200;
	bool ok = str_equal_nocase(text, "none") || parse_place(&text, &serial);

	if (ok && serial.kind != CONFIG_SERIAL_NONE && *text == ',') {
		ok = parse_number(text + 1, &speed, &text) && speed >= 300 && speed <= 115200 &&
		     115200 % speed == 0;
		serial.speed_given = ok;
	}
	if (!ok || (serial.kind != CONFIG_SERIAL_NONE && *text != '\0')) {
		str_printf(why, CONFIG_WHY_MAX,
			   "must be auto, none, com1 to com4, port:3f8, mmio:ADDRESS, "
			   "mmio32:ADDRESS or pci:00:16.3, and may end in a speed, as ,9600");
		return false;
	}
	serial.place.divisor = (uint16_t)(115200 / speed);
	memcpy(field, &serial, key->bytes);
	return true;
}

/* --- Keys --- */

static const struct config_choice exits[] = { { "stay", CONFIG_EXIT_STAY },
					      { "poweroff", CONFIG_EXIT_POWEROFF },
					      { NULL, 0 } };
static const struct config_choice on_off[] = { { "on", true }, { "off", false }, { NULL, 0 } };
static const struct config_choice yes_no[] = { { "yes", true }, { "no", false }, { NULL, 0 } };
static const struct config_choice on_panics[] = { { "stay", CONFIG_ON_PANIC_STAY },
						  { "reboot", CONFIG_ON_PANIC_REBOOT },
						  { NULL, 0 } };
static const struct config_choice tme_words[] = { { "adopt", false },
						  { "activate", true },
						  { NULL, 0 } };
static const struct config_choice levels[] = { { "error", LOG_ERROR },
					       { "warn", LOG_WARN },
					       { "info", LOG_INFO },
					       { "debug", LOG_DEBUG },
					       { NULL, 0 } };
static const struct config_choice ciphers[] = { { "auto", 0 },	  { "mbedtls", 0 }, { "aesni", 0 },
						{ "vaes256", 0 }, { "vaes512", 0 }, { NULL, 0 } };
static const struct config_choice engines[] = { { "auto", VM_ENGINE_AUTO },
						{ "tme-mk", VM_ENGINE_TME_MK },
						{ "software", VM_ENGINE_SOFTWARE },
						{ "none", VM_ENGINE_NONE },
						{ NULL, 0 } };
static const struct config_choice signatures[] = { { "umbra", VM_SIGNATURE_UMBRA },
						   { "kvm", VM_SIGNATURE_KVM },
						   { NULL, 0 } };
static const struct config_choice on_end[] = { { "restart", VM_ON_END_RESTART },
					       { "destroy", VM_ON_END_DESTROY },
					       { "keep", VM_ON_END_KEEP },
					       { NULL, 0 } };
static const struct config_choice vias[] = { { "reserved", SHARE_VIA_RESERVED },
					     { "dax", SHARE_VIA_DAX },
					     { NULL, 0 } };
static const struct config_choice leaves[] = {
	{ "auto", SIZE_1G }, { "4K", PAGE_SIZE }, { "2M", SIZE_2M }, { "1G", SIZE_1G }, { NULL, 0 }
};

#define FIELD(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)

const struct config_key config_keys[] = {
	{ "host", "exit", parse_choice, FIELD(config, exit), exits },
	{ "host", "serial", parse_serial, FIELD(config, serial), NULL },
	{ "host", "escape-key", parse_escape, FIELD(config, escape_key), NULL },
	{ "host", "shell", parse_choice, FIELD(config, shell), on_off },
	{ "host", "on-panic", parse_choice, FIELD(config, on_panic), on_panics },
	{ "host", "log", parse_choice, FIELD(config, log_level), levels },
	{ "host", "window", parse_window, FIELD(config, window_bytes), NULL },
	{ "host", "engine-cipher", parse_word, FIELD(config, engine_cipher), ciphers },
	{ "host", "tme", parse_choice, FIELD(config, tme_activate), tme_words },
	{ "vm", "memory", parse_memory, FIELD(vm_config, memory_bytes), NULL },
	{ "vm", "vcpus", parse_vcpus, FIELD(vm_config, vcpus), NULL },
	{ "vm", "weight", parse_weight, FIELD(vm_config, weight), NULL },
	{ "vm", "affinity", parse_affinity, FIELD(vm_config, affinity), NULL },
	{ "vm", "kernel", parse_path, FIELD(vm_config, kernel), NULL },
	{ "vm", "initrd", parse_paths, FIELD(vm_config, initrd), NULL },
	{ "vm", "autostart", parse_choice, FIELD(vm_config, autostart), yes_no },
	{ "vm", "cmdline", parse_text, FIELD(vm_config, cmdline), NULL },
	{ "vm", "engine", parse_choice, FIELD(vm_config, engine), engines },
	{ "vm", "clear", parse_clear, FIELD(vm_config, clear), NULL },
	{ "vm", "key", parse_key, FIELD(vm_config, key), NULL },
	{ "vm", "rekey-after", parse_duration, FIELD(vm_config, rekey_after_s), NULL },
	{ "vm", "signature", parse_choice, FIELD(vm_config, signature), signatures },
	{ "vm", "leaf", parse_choice, FIELD(vm_config, max_leaf), leaves },
	{ "vm", "on-crash", parse_choice, FIELD(vm_config, on_crash), on_end },
	{ "vm", "on-reboot", parse_choice, FIELD(vm_config, on_reboot), on_end },
	{ "vm", "on-poweroff", parse_choice, FIELD(vm_config, on_poweroff), on_end },
	{ "share", "size", parse_share_size, FIELD(share_config, bytes), NULL },
	{ "share", "members", parse_members, 0, sizeof(struct share_config), NULL },
	{ "share", "key", parse_key, FIELD(share_config, key), NULL },
	{ "share", "via", parse_choice, FIELD(share_config, via), vias },
};
_Static_assert(ARRAY_COUNT(config_keys) <= 32, "parser.seen has a bit for each key");
const size_t config_key_count = ARRAY_COUNT(config_keys);
