/* SPDX-License-Identifier: Apache-2.0 */
/* Parsers of the values of umbra.conf, one for each type. */
#include "boot/config_priv.h"

#include "vmm/base/str.h"

const char CONFIG_NOT_ALLOWED[] = "must be";

bool config_read_number(const char *text, uint64_t *value, const char **end)
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

static bool read_size(const char *text, uint64_t *value)
{
	static const char suffixes[] = "KMG";
	const char *end;
	bool ok = config_read_number(text, value, &end);

	if (ok && *end != '\0') {
		const char *suffix = strchr(suffixes, *end & ~0x20);

		ok = suffix != NULL && *suffix != '\0' && end[1] == '\0' &&
		     !__builtin_mul_overflow(*value, 1024ul << (10 * (suffix - suffixes)), value);
	}
	return ok;
}

const char *config_parse_size(const struct config_key *key, void *field, const char *text)
{
	uint64_t value;

	if (!read_size(text, &value) || value < key->min || value > key->max ||
	    !IS_ALIGNED(value, PAGE_SIZE)) {
		return CONFIG_NOT_ALLOWED;
	}
	memcpy(field, &value, key->bytes);
	return NULL;
}

const char *config_parse_window(const struct config_key *key, void *field, const char *text)
{
	static const uint64_t value = CONFIG_WINDOW_AUTO;

	if (strcmp(text, "auto") != 0) {
		return config_parse_size(key, field, text);
	}
	memcpy(field, &value, key->bytes);
	return NULL;
}

const char *config_parse_number(const struct config_key *key, void *field, const char *text)
{
	const char *end;
	uint64_t value;

	if (!config_read_number(text, &value, &end) || *end != '\0' || value < key->min ||
	    value > key->max) {
		return CONFIG_NOT_ALLOWED;
	}
	*(uint32_t *)field = (uint32_t)value;
	return NULL;
}

/* A number and a unit: seconds, minutes, hours or days. */
const char *config_parse_time(const struct config_key *key, void *field, const char *text)
{
	static const struct {
		char unit;
		uint32_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	const uint64_t most = key->max * 86400;
	uint64_t count;

	if (!config_read_number(text, &count, &text) || count == 0 || count > most ||
	    text[0] == '\0' || text[1] != '\0') {
		return CONFIG_NOT_ALLOWED;
	}
	for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
		if (text[0] == units[i].unit && count <= most / units[i].seconds) {
			*(uint32_t *)field = (uint32_t)count * units[i].seconds;
			return NULL;
		}
	}
	return CONFIG_NOT_ALLOWED;
}

bool config_parse_affinity(const char *text, uint64_t affinity[CPU_MAX / 64])
{
	uint64_t bits[CPU_MAX / 64] = { 0 };

	for (;;) {
		uint64_t first, last;
		bool ok = config_read_number(text, &first, &text);

		last = first;
		if (ok && *text == '-') {
			ok = config_read_number(text + 1, &last, &text);
		}
		if (!ok || last < first || last >= CPU_MAX || (*text != ',' && *text != '\0')) {
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

const char *config_parse_cpus(const struct config_key *key, void *field, const char *text)
{
	return config_parse_affinity(text, field) ? NULL : CONFIG_NOT_ALLOWED;
}

static const struct config_choice *find_choice(const struct config_key *key, const char *text)
{
	const struct config_choice *c = key->choices;

	while (c->word != NULL && !str_equal_nocase(c->word, text)) {
		c++;
	}
	return c->word != NULL ? c : NULL;
}

const char *config_parse_choice(const struct config_key *key, void *field, const char *text)
{
	const struct config_choice *choice = find_choice(key, text);

	if (choice == NULL) {
		return CONFIG_NOT_ALLOWED;
	}
	memcpy(field, &choice->value, key->bytes);
	return NULL;
}

const char *config_parse_word(const struct config_key *key, void *field, const char *text)
{
	const struct config_choice *choice = find_choice(key, text);

	if (choice == NULL) {
		return CONFIG_NOT_ALLOWED;
	}
	memcpy(field, &choice->word, key->bytes);
	return NULL;
}

const char *config_parse_text(const struct config_key *key, void *field, const char *text)
{
	return str_copy(field, key->bytes, text) ? NULL : CONFIG_NOT_ALLOWED;
}

/* Parses "name = value". Returns where the value begins, or NULL if the name or "=" is missing. */
static const char *option_value(const char *text, const char *name)
{
	const size_t bytes = strlen(name);
	char start[8];

	(void)str_copy(start, MIN(sizeof(start), bytes + 1), text);
	if (!str_equal_nocase(start, name)) {
		return NULL;
	}
	for (text += bytes; str_is_space(*text); text++) {
	}
	if (*text++ != '=') {
		return NULL;
	}
	for (; str_is_space(*text); text++) {
	}
	return text;
}

static const char *store_path(struct vm_file *file, const char *text)
{
	if (text[0] != '\\' && text[0] != '/') {
		return "must be a whole path, such as \\umbra\\vmlinuz";
	}
	if (!str_copy(file->path, VM_PATH_MAX, text)) {
		file->path[0] = '\0';
		return "is longer than 127 characters";
	}
	for (char *c = file->path; *c != '\0'; c++) {
		*c = *c == '/' ? '\\' : *c;
	}
	return NULL;
}
_Static_assert(VM_PATH_MAX == 128, "the message above says so");

const char *config_parse_path(const struct config_key *key, void *field, const char *text)
{
	struct vm_file *file = field;
	const char *why = store_path(file, text);

	if (why != NULL) {
		return why;
	}
	for (const char *c = file->path; *c != '\0'; c++) {
		if (c[0] == ',' && (c[1] == '\\' || c[1] == ' ')) {
			file->path[0] = '\0';
			return "is more than one path";
		}
	}
	return NULL;
}

/* Stores the paths with their commas, but without the spaces around them. */
const char *config_parse_paths(const struct config_key *key, void *field, const char *text)
{
	struct vm_file *file = field;
	const char *why = store_path(file, text);
	char *path = file->path;
	size_t used = 0;

	if (why != NULL) {
		return why;
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
	return NULL;
}

/*
 * Parses one item of a disk's line: an image, or an option of the last image. A VM's lines together
 * make one list of disks.
 */
const char *config_parse_disk(const struct config_key *key, void *field, const char *text)
{
	struct vm_disk *disks = field;
	const struct config_key size = {
		.min = PAGE_SIZE,
		.max = key->max,
		.bytes = sizeof(disks->cow_bytes),
	};
	size_t count = 0;
	const char *value;

	while (count < VM_DISKS_MAX && disks[count].file.path[0] != '\0') {
		count++;
	}
	if (text[0] == '\\' || text[0] == '/') {
		return count == VM_DISKS_MAX ? "is one disk too many; a VM has 4 at most"
					     : store_path(&disks[count].file, text);
	}
	if (count == 0) {
		return CONFIG_NOT_ALLOWED;
	}
	if (disks[count - 1].read_only || disks[count - 1].cow_bytes != 0) {
		return "is a second option; a disk has ro or cow, and only one of them";
	}
	if (str_equal_nocase(text, "ro")) {
		disks[count - 1].read_only = true;
		return NULL;
	}
	value = option_value(text, "cow");
	return value == NULL ? CONFIG_NOT_ALLOWED
			     : config_parse_size(&size, &disks[count - 1].cow_bytes, value);
}
_Static_assert(VM_DISKS_MAX == 4, "the message above says so");

bool config_name_is_good(const char *name)
{
	size_t n = 0;

	for (; name[n] != '\0'; n++) {
		char c = (char)(name[n] | 0x20);

		if (!(c >= 'a' && c <= 'z') && !(name[n] >= '0' && name[n] <= '9') &&
		    strchr("-_.", name[n]) == NULL) {
			return false;
		}
	}
	return n > 0 && n < VM_NAME_MAX;
}

/* Returns the value of a hexadecimal digit, or -1. */
static int hex_digit(char c)
{
	const char lower = (char)(c | 0x20);

	return c >= '0' && c <= '9'	      ? c - '0'
	       : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10
					      : -1;
}

/*
 * Parses "52:54:00:12:34:56". Returns false if it is not the address of one interface: malformed, a
 * group address, or all zeros.
 */
static bool read_address(const char *text, uint8_t address[6])
{
	uint8_t any = 0;

	for (size_t i = 0; i < 6; i++, text += 3) {
		const int high = hex_digit(text[0]), low = high < 0 ? -1 : hex_digit(text[1]);

		if (low < 0 || text[2] != (i < 5 ? ':' : '\0')) {
			return false;
		}
		address[i] = (uint8_t)(high << 4 | low);
		any |= address[i];
	}
	return any != 0 && (address[0] & 1) == 0;
}

static const char *parse_net_option(struct vm_net *net, const char *text)
{
	const char *value = option_value(text, "mac");

	if (value != NULL) {
		if (net->has_address) {
			return "is a second address of one port";
		}
		net->has_address = true;
		return read_address(value, net->address) ? NULL
							 : "is not the address of one interface, "
							   "as mac = 52:54:00:12:34:56";
	}
	value = option_value(text, "offload");
	if (value == NULL || net->has_offload) {
		return CONFIG_NOT_ALLOWED;
	}
	net->has_offload = true;
	net->offload_off = str_equal_nocase(value, "off");
	return net->offload_off || str_equal_nocase(value, "on") ? NULL : CONFIG_NOT_ALLOWED;
}

/*
 * Parses one item of a net's line, like config_parse_disk: a name, or an option of the last port.
 */
const char *config_parse_net(const struct config_key *key, void *field, const char *text)
{
	struct vm_net *nets = field;
	size_t count = 0;

	while (count < VM_NETS_MAX && nets[count].name[0] != '\0') {
		count++;
	}
	if (strchr(text, '=') != NULL) {
		return count == 0 ? CONFIG_NOT_ALLOWED : parse_net_option(&nets[count - 1], text);
	}
	if (count == VM_NETS_MAX) {
		return "is one net too many; a VM has 4 at most";
	}
	return config_name_is_good(text) && str_copy(nets[count].name, VM_NAME_MAX, text)
		       ? NULL
		       : CONFIG_NOT_ALLOWED;
}
_Static_assert(VM_NETS_MAX == 4, "the message above says so");

/* For a choice such as "file:PATH": the path in a text such as "file:\\umbra\\a.key", or NULL. */
static const char *path_after(const char *word, const char *text)
{
	const char *colon = strchr(word, ':');
	const size_t bytes = colon != NULL ? (size_t)(colon - word) + 1 : 0;
	char start[24], prefix[24];

	if (bytes == 0) {
		return NULL;
	}
	(void)str_copy(start, MIN(sizeof(start), bytes + 1), text);
	(void)str_copy(prefix, MIN(sizeof(prefix), bytes + 1), word);
	return str_equal_nocase(start, prefix) ? text + bytes : NULL;
}

/* Sealing needs the suffix: it finds the key file by replacing .tpm with .key. */
static bool is_tpm_path(const char *path)
{
	const size_t length = strlen(path);

	return length >= sizeof("\\a.tpm") - 1 && str_equal_nocase(path + length - 4, ".tpm");
}

static const char *parse_source_path(const struct config_key *key, struct vm_key_source *source,
				     const char *path)
{
	const char *why = config_parse_path(key, &source->file, path);

	if (why == NULL && source->form == VM_KEY_FORM_TPM && !is_tpm_path(source->file.path)) {
		source->file.path[0] = '\0';
		return "must end in .tpm, such as tpm:\\umbra\\alpha.tpm";
	}
	return why;
}

const char *config_parse_source(const struct config_key *key, void *field, const char *text)
{
	struct vm_key_source *source = field;

	for (const struct config_choice *c = key->choices; c->word != NULL; c++) {
		const char *path = path_after(c->word, text);

		if (path == NULL && !str_equal_nocase(c->word, text)) {
			continue;
		}
		source->kind = (enum vm_key)(c->value & (BIT(CONFIG_KEY_FORM_SHIFT) - 1));
		source->form = (enum vm_key_form)(c->value >> CONFIG_KEY_FORM_SHIFT);
		return path != NULL ? parse_source_path(key, source, path) : NULL;
	}
	return CONFIG_NOT_ALLOWED;
}

/*
 * Inserts a range into the sorted list. Returns false if the list is full or the range overlaps
 * another.
 */
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

/* Parses "16M@1G": size and guest-physical address. */
const char *config_parse_range(const struct config_key *key, void *field, const char *text)
{
	struct vm_clear_range range;
	char copy[48], *place;

	if (!str_copy(copy, sizeof(copy), text) || (place = strchr(copy, '@')) == NULL) {
		return CONFIG_NOT_ALLOWED;
	}
	*place++ = '\0';
	if (!read_size(copy, &range.bytes) || !read_size(place, &range.base) || range.bytes == 0 ||
	    !IS_ALIGNED(range.base | range.bytes, PAGE_SIZE) || range.base > CONFIG_MEMORY_MAX ||
	    range.bytes > CONFIG_MEMORY_MAX || !insert_clear(field, range)) {
		return CONFIG_NOT_ALLOWED;
	}
	return NULL;
}

/* Parses "NAME", "NAME:rw" or "NAME:ro". The field is the whole struct share_config. */
const char *config_parse_member(const struct config_key *key, void *field, const char *text)
{
	struct share_config *share = field;
	struct share_member_config *member = &share->members[share->member_count];
	const char *colon = strchr(text, ':');
	const size_t name = colon != NULL ? (size_t)(colon - text) : strlen(text);

	if (share->member_count == key->max || name == 0 || name >= sizeof(member->vm) ||
	    (colon != NULL && strcmp(colon, ":rw") != 0 && strcmp(colon, ":ro") != 0)) {
		return CONFIG_NOT_ALLOWED;
	}
	memcpy(member->vm, text, name);
	member->vm[name] = '\0';
	member->read_only = colon != NULL && colon[2] == 'o';
	for (uint32_t i = 0; i < share->member_count; i++) {
		if (str_equal_nocase(share->members[i].vm, member->vm)) {
			return "names a VM twice";
		}
	}
	share->member_count++;
	return NULL;
}
