/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the table of umbra.conf's keys for boot/README.md, from the rows of boot/config_keys.c. */
#include <stdio.h>

#include "boot/config.h"

/* Escapes the characters that Markdown would interpret. */
static const char *escaped(const char *text)
{
	static char out[1024];
	size_t used = 0;

	for (; *text != '\0' && used + 2 < sizeof(out); text++) {
		if (*text == '\\') {
			out[used++] = '\\';
		}
		out[used++] = *text;
	}
	out[used] = '\0';
	return out;
}

int main(void)
{
	char allowed[CONFIG_ALLOWED_MAX];

	printf("| section | key | values | if absent | meaning |\n|---|---|---|---|---|\n");
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *key = &config_keys[i];
		const char *word = key->standard != NULL ? key->standard : key->absent;

		printf("| `%s` | `%s` | ", key->section, key->name);
		printf("%s | ", escaped(config_allowed(key, allowed)));
		printf("%s%s | ", word != NULL ? "" : "refused; as ",
		       escaped(word != NULL ? word : key->example));
		printf("%s%s |\n", escaped(key->help),
		       key->list ? " The key may be repeated." : "");
	}
	return 0;
}
