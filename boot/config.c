/* SPDX-License-Identifier: Apache-2.0 */
/*
 * umbra.conf. inih splits lines into sections, keys and values; everything else is here. The text
 * is whatever is on the stick: a line that inih must not see (control bytes, too long) is reported
 * by the reader below and replaced by an empty one.
 */
#include "boot/config_priv.h"

#include <ini.h>
#include <stdarg.h>

#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/sched.h"

#define MESSAGE_MAX  20u /* errors shown; the rest are counted */
#define LINE_MAX     (INI_MAX_LINE - 2)
#define QUOTE	     "%.48s" /* of a value, in a message */
#define HIDDEN_SPACE ((char)1)
#define HIDDEN_TAB   ((char)2)

struct parser {
	struct config *config;
	const char *file;
	const char *at; /* the rest of the text */
	size_t left;
	uint32_t line;
	uint32_t line_of_section;
	const char *section; /* "host", "vm", "share", or NULL: keys are skipped */
	struct vm_config *vm;
	struct share_config *share;
	bool damaged;  /* the section line that comes to inih is a stand-in */
	uint32_t seen; /* bit n: config_keys[n] was given in this section */
};

static void PRINTF_LIKE(3, 4) complain(struct parser *p, uint32_t line, const char *fmt, ...)
{
	char text[200];
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

/* What hide_spaces did. */
static void restore_spaces(char *value)
{
	for (; *value != '\0'; value++) {
		*value = *value == HIDDEN_SPACE ? ' ' : *value == HIDDEN_TAB ? '\t' : *value;
	}
}

static void handle_key(struct parser *p, const char *name, char *value)
{
	if (value != NULL) {
		restore_spaces(value);
	}
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		void *owner = p->vm != NULL	 ? (void *)p->vm
			      : p->share != NULL ? (void *)p->share
						 : (void *)p->config;
		char why[CONFIG_WHY_MAX];

		if (strcmp(key->section, p->section) != 0 || !str_equal_nocase(key->name, name)) {
			continue;
		}
		if ((p->seen & BIT(i)) != 0) {
			complain(p, p->line, "%s is given twice in this section", key->name);
		} else if (value == NULL || value[0] == '\0') {
			complain(p, p->line, "%s has no value", key->name);
		} else if (!key->parse(key, (char *)owner + key->offset, value, why)) {
			complain(p, p->line, "%s = " QUOTE " %s", key->name, value, why);
		}
		p->seen |= (uint32_t)BIT(i);
		return;
	}
	complain(p, p->line, "unknown key \"" QUOTE "\" in section [%s]", name, p->section);
}

/* --- Sections --- */

static bool name_is_good(const char *name)
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

static void end_share(struct parser *p)
{
	struct share_config *share = p->share;
	uint32_t line = p->line_of_section;

	if (share->key.kind == VM_KEY_DEFAULT) {
		share->key.kind = VM_KEY_RANDOM;
	}
	if (!share->valid) {
		return;
	}
	if (share->bytes == 0) {
		complain(p, line, "no size is given; write size = 2M");
	}
	if (share->via == SHARE_VIA_DAX && !IS_ALIGNED(share->bytes, SHARE_ALIGN)) {
		complain(p, line, "with via = dax the size must be a multiple of 2M");
	}
	if (share->member_count == 0) {
		complain(p, line, "no members are given; write members = alpha, beta:ro");
	}
	if (share->key.kind == VM_KEY_NONE) {
		complain(p, line, "key must be one of random, file:PATH, platform");
	}
}

/* What only shows when the section is complete. */
static void end_section(struct parser *p)
{
	struct vm_config *vm = p->vm;
	uint32_t line = p->line_of_section;

	if (p->share != NULL) {
		end_share(p);
	}
	if (vm == NULL) {
		return;
	}
	if (vm->key.kind == VM_KEY_DEFAULT) {
		vm->key.kind = vm->engine == VM_ENGINE_NONE ? VM_KEY_NONE : VM_KEY_RANDOM;
	}
	if (!vm->valid) {
		return;
	}
	if (vm->kernel.path[0] == '\0') {
		complain(p, line, "no kernel is given; write kernel = \\umbra\\vmlinuz");
	}
	if (vm->memory_bytes == 0) {
		complain(p, line, "no memory is given; write memory = 256M");
	}
}

static void begin_vm(struct parser *p, const char *name)
{
	struct config *config = p->config;
	struct vm_config *vm;

	if (!name_is_good(name)) {
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
	vm->vcpus = 1;
	vm->weight = SCHED_WEIGHT_DEFAULT;
	vm->engine = VM_ENGINE_AUTO;
	vm->key.kind = VM_KEY_DEFAULT;
	vm->max_leaf = SIZE_1G;
	vm->on_crash = VM_ON_END_DESTROY;
	vm->on_reboot = VM_ON_END_RESTART;
	vm->on_poweroff = VM_ON_END_DESTROY;
	vm->autostart = true;
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

	if (!name_is_good(name)) {
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
	share->key.kind = VM_KEY_DEFAULT;
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

/* Members are known when all sections are. */
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

static void leave_section(struct parser *p)
{
	end_section(p);
	p->section = NULL;
	p->vm = NULL;
	p->share = NULL;
	p->seen = 0;
}

/* What stands behind the word and spaces, whatever the word's case; NULL: another word. */
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

static void begin_section(struct parser *p, const char *section)
{
	const char *name;

	p->line_of_section = p->line;
	if (p->damaged) {
		p->damaged = false;
		complain(p, p->line, "the section line is damaged; what follows it is left out");
		return;
	}
	while (str_is_space(*section)) {
		section++;
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

/* inih's handler. Name NULL: a section begins. Value NULL: no "=" in the line. */
static int handle(void *user, const char *section, const char *name, const char *value, int line)
{
	struct parser *p = user;

	(void)line; /* ours counts the same lines */
	if (name == NULL) {
		begin_section(p, section);
	} else if (p->section != NULL) {
		handle_key(p, name, (char *)(uintptr_t)value); /* in inih's line, as we wrote it */
	} else if (p->line_of_section == 0) {
		complain(p, p->line, "\"" QUOTE "\" stands before the first section", name);
	}
	return 1;
}

/* --- Lines --- */

/* By inih's rules, in a line whose text begins at first. */
static bool begins_comment(const char *text, size_t first, size_t at)
{
	return (at == first && (text[at] == ';' || text[at] == '#')) ||
	       (text[at] == ';' && at > 0 && str_is_space(text[at - 1]));
}

/* Where the quotes that open at text[at] close; at itself when they do not. */
static size_t closing_quote(const char *text, size_t bytes, size_t at)
{
	for (size_t i = at + 1; i < bytes; i++) {
		if (text[i] == '"') {
			return i;
		}
	}
	return at;
}

/* Where the comment of a line begins, which it does not within quotes; bytes: nowhere. */
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

/*
 * inih knows no quotes. A space before a semicolon in front of the comment is one within quotes,
 * and stands as a byte that no line has (line_is_good) until restore_spaces.
 */
static void hide_spaces(char *text, size_t bytes)
{
	const size_t end = find_comment(text, bytes);

	for (size_t i = 1; i < end; i++) {
		if (text[i] == ';' && str_is_space(text[i - 1])) {
			text[i - 1] = text[i - 1] == ' ' ? HIDDEN_SPACE : HIDDEN_TAB;
		}
	}
}

/* Reports what is wrong with a line of bytes length and returns false. */
static bool line_is_good(struct parser *p, const char *text, size_t bytes)
{
	const size_t comment = find_comment(text, bytes);

	for (size_t i = 0; i < bytes; i++) {
		uint8_t c = (uint8_t)text[i];

		if (c == '\t' || (c == '\r' && i + 1 == bytes)) {
			continue;
		}
		if (c < ' ' || (c >= 0x7f && i < comment)) {
			complain(p, p->line, "byte %02x is no ASCII text; the line is left out", c);
			return false;
		}
	}
	if (bytes > LINE_MAX && comment > LINE_MAX) {
		complain(p, p->line, "the line is longer than %u characters and left out",
			 LINE_MAX);
		return false;
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

/* As inih looks for the bracket: not in a comment. */
static bool closes_section(const char *text, size_t bytes)
{
	size_t first = 0;

	while (text[first] != '[') {
		first++;
	}
	for (size_t i = first; i < bytes && !begins_comment(text, first, i); i++) {
		if (text[i] == ']') {
			return true;
		}
	}
	return false;
}

/* inih's reader: the next line with its line break into buf[cap], NULL at the end. */
static char *read_line(char *buf, int cap, void *stream)
{
	struct parser *p = stream;
	const char *text = p->at;
	size_t bytes = 0;
	bool opens, good;

	(void)cap; /* INI_MAX_LINE; line_is_good keeps lines below it */
	if (p->left == 0) {
		return NULL;
	}
	while (bytes < p->left && text[bytes] != '\n') {
		bytes++;
	}
	p->at += MIN(bytes + 1, p->left);
	p->left -= MIN(bytes + 1, p->left);
	p->line++;

	opens = opens_section(text, bytes);
	if (opens) {
		leave_section(p); /* what is wrong with the line is not that VM's fault */
	}
	good = line_is_good(p, text, bytes);
	if (opens && (!good || !closes_section(text, bytes))) {
		/* Keys that follow would land in the section before it. */
		p->damaged = true;
		text = "[]";
		bytes = 2;
	} else if (!good) {
		bytes = 0;
	}
	bytes = MIN(bytes, (size_t)LINE_MAX); /* only a comment is longer */
	memcpy(buf, text, bytes);
	if (!opens) {
		hide_spaces(buf, bytes);
	}
	buf[bytes] = '\n';
	buf[bytes + 1] = '\0';
	return buf;
}

void config_defaults(struct config *out)
{
	memset(out, 0, sizeof(*out));
	out->exit = CONFIG_EXIT_STAY;
	out->shell = true;
	out->escape_key = CONFIG_ESCAPE_DEFAULT;
	out->serial.kind = CONFIG_SERIAL_AUTO;
	out->serial.place.divisor = 1;
	out->on_panic = CONFIG_ON_PANIC_STAY;
	out->log_level = LOG_INFO;
	out->window_bytes = CONFIG_WINDOW_DEFAULT;
	out->engine_cipher = "auto";
}

int config_parse(const char *file, const char *text, size_t bytes, struct config *out)
{
	static const char utf16[2][2] = { { '\xff', '\xfe' }, { '\xfe', '\xff' } };
	static const char bom[] = { '\xef', '\xbb', '\xbf' };
	struct parser p = { .config = out, .file = file, .at = text, .left = bytes };

	config_defaults(out);
	if (bytes >= 2 && (memcmp(text, utf16[0], 2) == 0 || memcmp(text, utf16[1], 2) == 0)) {
		complain(&p, 1, "the file is UTF-16; save it as plain text (ASCII or UTF-8)");
		return ERR_FORMAT;
	}
	if (bytes >= sizeof(bom) && memcmp(text, bom, sizeof(bom)) == 0) {
		p.at += sizeof(bom);
		p.left -= sizeof(bom);
	}
	if (ini_parse_stream(read_line, &p, handle, &p) != 0) {
		complain(&p, p.line, "this line cannot be read; nothing from here on is");
	}
	end_section(&p);
	p.vm = NULL;
	check_members(&p);
	if (out->vm_count == 0) {
		complain(&p, p.line, "no VM is described; write a section [vm NAME]");
	}
	return out->error_count == 0 ? 0 : ERR_FORMAT;
}
