/* SPDX-License-Identifier: Apache-2.0 */
/* boot/unlock.c: who may be asked, what is typed, and what comes of it. */
#include "tests/unit/test.h"
#include "boot/unlock.h"
#include "vmm/base/err.h"
#include "vmm/console/serial.h"
#include "vmm/host/work.h"

#include <stdarg.h>
#include <stdio.h>

static struct config config;
static char said[400];

/* --- crypto/passphrase.c: the passphrase is "open sesame", and takes three steps --- */

static bool right;
static unsigned steps_left, begun;
static const char *typed; /* where it is typed: 128 bytes */

int passphrase_begin(const struct passphrase *of, const char *text, size_t bytes)
{
	assert_ptr_equal(of, &config.vms[0].key.passphrase);
	typed = text;
	right = bytes == strlen("open sesame") && memcmp(text, "open sesame", bytes) == 0;
	steps_left = 3;
	begun++;
	return 0;
}

bool passphrase_step(void)
{
	assert_int_not_equal(steps_left, 0);
	return --steps_left != 0;
}

static const volatile uint8_t *ended; /* the secret, on the stack of passphrase_end's user */

int passphrase_end(uint8_t secret[KDF_SECRET_BYTES])
{
	assert_int_equal(steps_left, 0);
	ended = secret;
	if (right) {
		memset(secret, 0x5e, KDF_SECRET_BYTES);
	}
	return right ? 0 : ERR_RIGHTS;
}

static struct work *queued;

void work_add(struct work *work)
{
	assert_null(queued);
	queued = work;
}

static void one_step(void)
{
	if (!queued->step(queued->context)) {
		queued = NULL;
	}
}

static void say(const char *fmt, ...)
{
	char text[200];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	strcat(strcat(said, text), "|");
}

static int setup(void **state)
{
	memset(&config, 0, sizeof(config));
	config.shell = true;
	config.vm_count = 2;
	strcpy(config.vms[0].name, "alpha");
	config.vms[0].valid = true;
	config.vms[0].key = (struct vm_key_source){ .kind = VM_KEY_FILE,
						    .form = VM_KEY_FORM_PASSPHRASE,
						    .locked = true,
						    .passphrase.iterations = 10000 };
	strcpy(config.vms[1].name, "beta");
	config.vms[1].valid = true;
	said[0] = '\0';
	begun = 0;
	queued = NULL;
	return fake_setup(state);
}

/* Types a text. Returns false as soon as no more is wanted, which must be at its end. */
static bool type(const char *text)
{
	for (; *text != '\0'; text++) {
		if (!unlock_feed((uint8_t)*text)) {
			assert_int_equal(text[1], '\0');
			return false;
		}
	}
	return true;
}

/* All that is queued, with a look after each step. */
static void finish(void)
{
	const size_t before = strlen(fake_log_text());

	while (queued != NULL) {
		unlock_poll();
		assert_int_equal(strlen(fake_log_text()), before);
		one_step();
	}
	unlock_poll();
}

static void ask(void)
{
	assert_true(unlock_ask(&config.vms[0], say));
	assert_string_equal(unlock_prompt(), "passphrase of vm alpha: ");
}

TEST(the_right_one_opens_the_key, setup, fake_teardown)
{
	unlock_start(&config);
	assert_non_null(strstr(fake_log_text(), "warning: a passphrase that is typed on the serial "
						"line is in clear"));
	ask();
	assert_false(type("open sesame\r"));
	assert_string_equal(said, "|it is checked (10000 iterations); the log will say what comes "
				  "out|");
	for (size_t i = 0; i < 128; i++) {
		assert_int_equal(typed[i], 0);
	}
	unlock_poll(); /* nothing was computed yet */
	assert_true(config.vms[0].key.locked);
	assert_false(unlock_ask(&config.vms[0], say));
	assert_non_null(strstr(said, "is being checked"));
	finish();
	assert_int_equal(fake_left_on_stack(ended, KDF_SECRET_BYTES, 0x5e), 0);
	assert_false(config.vms[0].key.locked);
	assert_int_equal(config.vms[0].key.secret_bytes, VM_SECRET_BYTES);
	assert_int_equal(config.vms[0].key.secret[0], 0x5e);
	assert_non_null(strstr(fake_log_text(), "info: vm alpha: the passphrase is right"));
	assert_false(unlock_ask(&config.vms[0], say));
	assert_non_null(strstr(said, "is open already"));
}

TEST(a_wrong_one_is_refused_and_asked_for_again, setup, fake_teardown)
{
	unlock_start(&config);
	ask();
	assert_false(type("open sesamf\r"));
	finish();
	assert_true(config.vms[0].key.locked);
	assert_int_equal(config.vms[0].key.secret_bytes, 0);
	assert_non_null(strstr(fake_log_text(), "error: vm alpha: the passphrase is wrong; "
						"\"unlock alpha\" asks again"));
	ask();
	assert_false(type("open sesame\n"));
	finish();
	assert_false(config.vms[0].key.locked);
}

TEST(editing_and_giving_up, setup, fake_teardown)
{
	unlock_start(&config);
	ask();
	assert_false(type("nonsense\x15open sesamx\x7f"
			  "e\b\be\r") &&
		     right);
	assert_int_equal(begun, 1);
	assert_false(right); /* one letter too many was taken back */
	finish();
	ask();
	assert_true(type("nonononono\x15open\x7f\x7f\x7f\x7f\x7f\x7fopen sesame"));
	assert_false(unlock_feed('\r'));
	assert_true(right);
	finish();
	config.vms[0].key.locked = true;
	ask();
	assert_false(type("open sesame\x03")); /* Ctrl-C */
	ask();
	assert_false(type("\r"));
	ask();
	assert_false(type("open sesame\x04")); /* Ctrl-D */
	assert_int_equal(begun, 2);
	/* Keys that edit a line of the shell neither end this nor count as typed. */
	ask();
	assert_true(type("\topen\x1b[3~ ses\x1b[A\x1bOHame\x01\x17"));
	assert_false(unlock_feed('\r'));
	assert_true(right);
	finish();
	config.vms[0].key.locked = true;
	/* What was typed before it was given up is not part of the next. */
	ask();
	assert_false(type("open sesame\r"));
	assert_true(right);
	finish();
}

TEST(too_long, setup, fake_teardown)
{
	unlock_start(&config);
	ask();
	for (unsigned i = 0; i < 127; i++) {
		assert_true(unlock_feed('a'));
	}
	assert_false(unlock_feed('\r'));
	assert_int_equal(begun, 1);
	finish();
	ask();
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(unlock_feed('a'));
	}
	assert_false(unlock_feed('\r'));
	assert_int_equal(begun, 1);
	assert_non_null(strstr(said, "at most 127 characters"));
}

TEST(who_cannot_be_asked, setup, fake_teardown)
{
	config.vms[0].valid = false;
	unlock_start(&config);
	assert_string_equal(fake_log_text(), ""); /* nobody will type anything */
	config.vms[0].valid = true;
	assert_false(unlock_ask(&config.vms[1], say));
	assert_string_equal(said, "vm beta has no passphrase|");
	config.shell = false;
	unlock_start(&config);
	assert_false(config.vms[0].valid);
	assert_true(config.vms[1].valid);
	assert_non_null(strstr(fake_log_text(), "error: vm alpha: its passphrase is typed in the "
						"shell, which [host] shell = off takes away"));
	assert_false(unlock_ask(&config.vms[0], say));
	assert_non_null(strstr(said, "vm alpha was refused at boot|"));
}
