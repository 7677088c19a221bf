/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines and sections of umbra.conf. The text comes from the stick and is not trusted: each line
 * is checked, copied and bounded before it is parsed. config_keys.c says what the keys mean.
 */
#include "boot/config.h"

#include <stdarg.h>

#include "boot/config_priv.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"

#define MESSAGE_MAX 20u	    /* errors shown; the rest are counted */
#define QUOTE	    "%.48s" /* of a value, in a message */

struct parser {
	struct config *config;
	const char *file;
	uint32_t line;
	uint32_t line_of_section; /* 0: before the first section */
	const char *section;	  /* "host", "vm" or "share"; NULL: keys are skipped */
	struct vm_config *vm;
	struct share_config *share;
	uint64_t seen;			/* bit n: config_keys[n] was given in this section */
	char text[CONFIG_LINE_MAX + 1]; /* the line, without its comment */
};

static void PRINTF_LIKE(3, 4) complain(struct parser *p, uint32_t line, const char *fmt, ...)
{
	char text[240];
	va_list args;
	const char *kind = p->vm != NULL ? "vm " : p->share != NULL ? "share " : "";
	const char *name = p->vm != NULL ? p->vm->name : p->share != NULL ? p->share->name : "";

	if (p->vm != NULL) {
		p->vm->valid = false;
	}
	if (p->share != NULL) {
		p->share->valid = false;
	}
	p->config->error_count++;
	if (p->config->error_count > MESSAGE_MAX) {
		return;
	}
	va_start(args, fmt);
	(void)str_vprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_error("%s:%u: %s%s%s%s", p->file, line, kind, name, name[0] != '\0' ? ": " : "", text);
	if (p->config->error_count == MESSAGE_MAX) {
		log_error("%s: further problems in this file are not shown", p->file);
	}
}

/* --- Keys --- */

static void *owner(const struct parser *p)
{
	return p->vm != NULL	  ? (void *)p->vm
	       : p->share != NULL ? (void *)p->share
				  : (void *)p->config;
}

/* No value counts where the standard value, or an earlier one, would grant more. */
static void zero_if_wrong(const struct parser *p, const struct config_key *key)
{
	if (key->zero_if_wrong) {
		memset((char *)owner(p) + key->offset, 0, key->bytes);
	}
}

/* Parses one value, or one item of a list. */
static void parse_value(struct parser *p, const struct config_key *key, const char *value)
{
	char *field = (char *)owner(p) + key->offset;
	char allowed[CONFIG_ALLOWED_MAX];
	const char *why = key->parse(key, field, value);

	if (why == NULL) {
		return;
	}
	zero_if_wrong(p, key);
	complain(p, p->line, "%s = " QUOTE " %s%s%s", key->name, value, why,
		 why == CONFIG_NOT_ALLOWED ? " " : "",
		 why == CONFIG_NOT_ALLOWED ? config_allowed(key, allowed) : "");
}

/* Removes the white space at both ends; changes the text. */
static char *trim(char *text)
{
	size_t bytes;

	while (str_is_space(*text)) {
		text++;
	}
	for (bytes = strlen(text); bytes != 0 && str_is_space(text[bytes - 1]); bytes--) {
	}
	text[bytes] = '\0';
	return text;
}

static void parse_list(struct parser *p, const struct config_key *key, char *value)
{
	while (value != NULL) {
		char *comma = strchr(value, ',');

		if (comma != NULL) {
			*comma++ = '\0';
		}
		parse_value(p, key, trim(value));
		value = comma;
	}
}

/* Returns the row of a key of this section, or NULL. */
static const struct config_key *find_key(const struct parser *p, const char *name)
{
	const struct config_key *key = config_find_key(name, NULL);

	while (key != NULL && strcmp(key->section, p->section) != 0) {
		key = config_find_key(name, key);
	}
	return key;
}

/* Parses a line that is neither empty nor the start of a section. */
static void take_key(struct parser *p, char *line)
{
	char *value = strchr(line, '=');
	const struct config_key *key;
	uint64_t seen;

	if (value != NULL) {
		*value++ = '\0';
		value = trim(value);
	}
	line = trim(line);
	if (p->section == NULL) {
		if (p->line_of_section == 0) {
			complain(p, p->line, "\"" QUOTE "\" stands before the first section", line);
		}
		return;
	}
	key = find_key(p, line);
	if (key == NULL) {
		complain(p, p->line, "unknown key \"" QUOTE "\" in section [%s]", line, p->section);
		return;
	}
	seen = BIT(key - config_keys);
	if ((p->seen & seen) != 0 && !key->list) {
		zero_if_wrong(p, key);
		complain(p, p->line, "%s is given twice in this section", key->name);
	} else if (value == NULL || value[0] == '\0') {
		zero_if_wrong(p, key);
		complain(p, p->line, "%s has no value", key->name);
	} else if (key->list) {
		parse_list(p, key, value);
	} else {
		parse_value(p, key, value);
	}
	p->seen |= seen;
}

/*
 * Sets the values of keys that the file may leave out. owner points to the struct that the section
 * fills.
 */
static void set_standards(const char *section, void *owner)
{
	for (const struct config_key *key = config_keys; key < config_keys + config_key_count;
	     key++) {
		if (strcmp(key->section, section) == 0 && key->standard != NULL) {
			(void)key->parse(key, (char *)owner + key->offset, key->standard);
		}
	}
}

/* --- Sections --- */

/* Checks what can only be checked when the section is complete. */
static void end_section(struct parser *p)
{
	struct vm_config *vm = p->vm;
	struct share_config *share = p->share;

	if (vm != NULL && vm->key.kind == VM_KEY_DEFAULT) {
		vm->key.kind = vm->engine == VM_ENGINE_NONE ? VM_KEY_NONE : VM_KEY_RANDOM;
	}
	if ((vm == NULL || !vm->valid) && (share == NULL || !share->valid)) {
		return; /* [host] has no required key */
	}
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];

		if (key->example != NULL && strcmp(key->section, p->section) == 0 &&
		    (p->seen & BIT(i)) == 0) {
			complain(p, p->line_of_section, "%s is missing; write %s = %s", key->name,
				 key->name, key->example);
		}
	}
	if (share != NULL && share->via == SHARE_VIA_DAX &&
	    !IS_ALIGNED(share->bytes, SHARE_ALIGN)) {
		complain(p, p->line_of_section, "with via = dax the size must be a multiple of 2M");
	}
	if (share != NULL && share->via == SHARE_VIA_PCI &&
	    (share->bytes & (share->bytes - 1)) != 0) {
		complain(p, p->line_of_section, "with via = pci the size must be a power of two");
	}
}

static void begin_vm(struct parser *p, const char *name)
{
	struct config *config = p->config;
	struct vm_config *vm;

	if (!config_name_is_good(name)) {
		complain(p, p->line,
			 "a VM's name is 1 to %u letters, digits, '-', '_' or '.': "
			 "[vm " QUOTE "]",
			 VM_NAME_MAX - 1, name);
		return;
	}
	if (config->vm_count == CONFIG_VM_MAX) {
		complain(p, p->line, "more than %u VMs; [vm %s] is left out", CONFIG_VM_MAX, name);
		return;
	}
	vm = &config->vms[config->vm_count++];
	(void)str_copy(vm->name, sizeof(vm->name), name);
	vm->line = p->line;
	vm->key.kind = VM_KEY_DEFAULT;
	set_standards("vm", vm);
	vm->valid = true;
	p->section = "vm";
	p->vm = vm;
	for (const struct vm_config *other = config->vms; other < vm; other++) {
		if (str_equal_nocase(other->name, name)) {
			complain(p, p->line,
				 "there is a VM of this name in line %u already; "
				 "this one is left out",
				 other->line);
			break;
		}
	}
}

static void begin_share(struct parser *p, const char *name)
{
	struct config *config = p->config;
	struct share_config *share;

	if (!config_name_is_good(name)) {
		complain(p, p->line,
			 "a share's name is 1 to %u letters, digits, '-', '_' or '.': "
			 "[share " QUOTE "]",
			 VM_NAME_MAX - 1, name);
		return;
	}
	if (config->share_count == SHARE_MAX) {
		complain(p, p->line, "more than %u shares; [share %s] is left out", SHARE_MAX,
			 name);
		return;
	}
	share = &config->shares[config->share_count++];
	(void)str_copy(share->name, sizeof(share->name), name);
	share->line = p->line;
	set_standards("share", share);
	share->valid = true;
	p->section = "share";
	p->share = share;
	for (const struct share_config *other = config->shares; other < share; other++) {
		if (str_equal_nocase(other->name, name)) {
			complain(p, p->line, "there is a share of this name in line %u already",
				 other->line);
			break;
		}
	}
}

/* The names of members can only be checked after all sections were read. */
static void check_members(struct parser *p)
{
	for (size_t i = 0; i < p->config->share_count; i++) {
		p->share = &p->config->shares[i];
		for (uint32_t m = 0; m < p->share->member_count; m++) {
			const char *name = p->share->members[m].vm;
			size_t v = 0;

			while (v < p->config->vm_count &&
			       !str_equal_nocase(p->config->vms[v].name, name)) {
				v++;
			}
			if (v == p->config->vm_count) {
				complain(p, p->share->line, "there is no VM %s", name);
			}
		}
	}
	p->share = NULL;
}

/* Refuses a port that has the same address as an earlier port of its net. */
static void check_nets(struct parser *p)
{
	struct vm_config *vms = p->config->vms;

	for (size_t i = 0; i < p->config->vm_count * VM_NETS_MAX; i++) {
		const struct vm_net *net = &vms[i / VM_NETS_MAX].nets[i % VM_NETS_MAX];

		p->vm = &vms[i / VM_NETS_MAX];
		for (size_t k = 0; k < i; k++) {
			const struct vm_config *other = &vms[k / VM_NETS_MAX];
			const struct vm_net *earlier = &other->nets[k % VM_NETS_MAX];

			if (net->has_address && earlier->has_address &&
			    str_equal_nocase(net->name, earlier->name) &&
			    memcmp(net->address, earlier->address, sizeof(net->address)) == 0) {
				complain(p, p->vm->line, "net = %s: VM %s has this mac already",
					 net->name, other->name);
			}
		}
	}
	p->vm = NULL;
}

static void leave_section(struct parser *p)
{
	end_section(p);
	p->section = NULL;
	p->vm = NULL;
	p->share = NULL;
	for (size_t i = 0; i < config_key_count; i++) {
		if (strcmp(config_keys[i].section, "host") != 0) { /* all [host] count as one */
			p->seen &= ~BIT(i);
		}
	}
}

/*
 * Returns the name after a word and spaces, with the word in any case. Returns NULL if section does
 * not begin with this word.
 */
static const char *name_behind(const char *section, const char *word)
{
	const size_t length = strlen(word);
	char start[8];

	(void)str_copy(start, MIN(sizeof(start), length + 1), section);
	if (!str_equal_nocase(start, word) || !str_is_space(section[length])) {
		return NULL;
	}
	for (section += length; str_is_space(*section); section++) {
	}
	return section;
}

/* Parses a line that begins with a bracket. */
static void take_section(struct parser *p, char *line)
{
	char *end = strchr(line, ']');
	const char *section, *name;

	if (end == NULL || end[1] != '\0') {
		complain(p, p->line, "the section line is damaged; what follows it is left out");
		return;
	}
	*end = '\0';
	for (section = line + 1; str_is_space(*section); section++) {
	}
	if ((name = name_behind(section, "vm")) != NULL) {
		begin_vm(p, name);
	} else if ((name = name_behind(section, "share")) != NULL) {
		begin_share(p, name);
	} else if (str_equal_nocase(section, "host")) {
		p->section = "host";
	} else {
		complain(p, p->line,
			 "unknown section [" QUOTE
			 "]; there are [host], [vm NAME] and [share NAME]",
			 section);
	}
}

/* --- Lines --- */

/* Whether a comment begins at text[at]. first: where the text of the line begins, after blanks. */
static bool begins_comment(const char *text, size_t first, size_t at)
{
	return (at == first && (text[at] == ';' || text[at] == '#')) ||
	       (text[at] == ';' && at > 0 && str_is_space(text[at - 1]));
}

/* Returns where the quotes that open at text[at] are closed, or at itself if they are not. */
static size_t closing_quote(const char *text, size_t bytes, size_t at)
{
	for (size_t i = at + 1; i < bytes; i++) {
		if (text[i] == '"') {
			return i;
		}
	}
	return at;
}

/*
 * Returns where the comment of a line begins, or bytes if there is none. A comment cannot begin
 * within quotes.
 */
static size_t find_comment(const char *text, size_t bytes)
{
	size_t first = 0;

	while (first < bytes && str_is_space(text[first])) {
		first++;
	}
	for (size_t i = first; i < bytes; i++) {
		if (begins_comment(text, first, i)) {
			return i;
		}
		i = text[i] == '"' ? closing_quote(text, bytes, i) : i;
	}
	return bytes;
}

/* Returns whether all bytes are text, and logs it if not. Only the comment may be UTF-8. */
static bool bytes_are_good(struct parser *p, const char *text, size_t bytes, size_t comment)
{
	for (size_t i = 0; i < bytes; i++) {
		uint8_t c = (uint8_t)text[i];

		if (c == '\t' || (c == '\r' && i + 1 == bytes)) {
			continue;
		}
		if (c < ' ' || (c >= 0x7f && i < comment)) {
			complain(p, p->line, "byte %02x is not ASCII text; the line is left out",
				 c);
			return false;
		}
	}
	return true;
}

static bool opens_section(const char *text, size_t bytes)
{
	size_t i = 0;

	while (i < bytes && str_is_space(text[i])) {
		i++;
	}
	return i < bytes && text[i] == '[';
}

/* Parses one line of the file, without its line feed. */
static void take_line(struct parser *p, const char *text, size_t bytes)
{
	const size_t comment = find_comment(text, bytes);
	const bool opens = opens_section(text, bytes);
	bool good;
	char *line;

	p->line++;
	if (opens) {
		leave_section(p); /* problems of this line do not count for the section before */
		p->line_of_section = p->line;
	}
	good = bytes_are_good(p, text, bytes, comment);
	if (good && comment > CONFIG_LINE_MAX) {
		complain(p, p->line, "the line is longer than %u characters and left out",
			 CONFIG_LINE_MAX);
		good = false;
	}
	memcpy(p->text, text, good ? comment : 0);
	p->text[good ? comment : 0] = '\0';
	line = trim(p->text);
	if (opens) {
		/* also with an empty line: the keys after it have no section */
		take_section(p, line);
	} else if (line[0] != '\0') {
		take_key(p, line);
	}
}

void config_defaults(struct config *out)
{
	memset(out, 0, sizeof(*out));
	set_standards("host", out);
}

int config_parse(const char *file, const char *text, size_t bytes, struct config *out)
{
	static const char utf16[2][2] = { { '\xff', '\xfe' }, { '\xfe', '\xff' } };
	static const char bom[] = { '\xef', '\xbb', '\xbf' };
	struct parser p = { .config = out, .file = file };

	config_defaults(out);
	if (bytes >= 2 && (memcmp(text, utf16[0], 2) == 0 || memcmp(text, utf16[1], 2) == 0)) {
		complain(&p, 1, "the file is UTF-16; save it as plain text (ASCII or UTF-8)");
		return ERR_FORMAT;
	}
	if (bytes >= sizeof(bom) && memcmp(text, bom, sizeof(bom)) == 0) {
		text += sizeof(bom);
		bytes -= sizeof(bom);
	}
	while (bytes != 0) {
		size_t length = 0;

		while (length < bytes && text[length] != '\n') {
			length++;
		}
		take_line(&p, text, length);
		length = MIN(length + 1, bytes);
		text += length;
		bytes -= length;
	}
	leave_section(&p);
	check_members(&p);
	check_nets(&p);
	if (out->vm_count == 0) {
		complain(&p, p.line, "no VM is described; write a section [vm NAME]");
	}
	return out->error_count == 0 ? 0 : ERR_FORMAT;
}
