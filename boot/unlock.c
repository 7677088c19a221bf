/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check takes seconds, so idle CPUs do it in small steps (vmm/host/work.h). The boot processor
 * begins and ends it; in between, it and the CPU that does a step share only `done`.
 */
#include "boot/unlock.h"

#include "crypto/wipe.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/console/serial.h"
#include "vmm/host/work.h"

#define TYPED_MAX     127u
#define CTRL(letter)  ((letter)&0x1f)
#define KEY_BACKSPACE 0x7f
#define ESCAPE	      0x1b

static struct config *keys; /* the configuration whose keys are opened */
static void (*answer)(const char *fmt, ...);

/* The VM whose passphrase is typed or checked; NULL: none. */
static struct vm_config *asked;
static char prompt[VM_NAME_MAX + 32];
static char typed[TYPED_MAX + 1]; /* without a zero at its end */
static size_t typed_bytes;

/* A terminal sends an escape sequence for Delete or an arrow: it is not part of a passphrase. */
static enum { NO_SEQUENCE, AFTER_ESCAPE, IN_SEQUENCE } sequence;

static bool checks;
static ATOMIC(bool) done; /* the work has done its last step */

static bool step(void *context)
{
	const bool more = passphrase_step();

	if (!more) {
		atomic_store_release(&done, true);
	}
	return more;
}
static struct work work = { .step = step };

static void forget_typed(void)
{
	sequence = NO_SEQUENCE;
	secure_zero(typed, sizeof(typed));
	typed_bytes = 0;
}

void unlock_start(struct config *config)
{
	bool any = false;

	keys = config;
	(void)wipe_register(typed,
			    sizeof(typed)); /* if this fails, no key can be registered either */
	for (size_t i = 0; i < config->vm_count; i++) {
		struct vm_config *vm = &config->vms[i];

		if (!vm->valid || !vm->key.locked) {
			continue;
		}
		if (!config->shell) {
			log_error("vm %s: its passphrase is typed in the shell, which [host] shell "
				  "= off takes away; the VM is left out",
				  vm->name);
			vm->valid = false;
		} else if (wipe_register(vm->key.secret, sizeof(vm->key.secret)) != 0) {
			log_error("vm %s: the list of secrets is full; the VM is left out",
				  vm->name);
			vm->valid = false;
		} else {
			any = true;
		}
	}
	if (any && serial_where()->address != 0) {
		log_warn("a passphrase that is typed on the serial line is in clear on the cable, "
			 "and for whoever logs it; a keyboard at the machine is not");
	}
}

bool unlock_ask(const struct vm_config *vm, void (*say)(const char *fmt, ...))
{
	if (vm->key.form != VM_KEY_FORM_PASSPHRASE) {
		say("vm %s has no passphrase", vm->name);
		return false;
	}
	if (!vm->valid) {
		say("vm %s was refused at boot", vm->name);
		return false;
	}
	if (!vm->key.locked) {
		say("the key of vm %s is open already", vm->name);
		return false;
	}
	if (checks) {
		say("a passphrase is being checked; wait for the log's line");
		return false;
	}
	asked = &keys->vms[vm - keys->vms];
	answer = say;
	(void)str_printf(prompt, sizeof(prompt), "passphrase of vm %s: ", vm->name); /* it fits */
	forget_typed();
	return true;
}
_Static_assert(VM_NAME_MAX + sizeof("passphrase of vm : ") <= sizeof(prompt), "it fits");

const char *unlock_prompt(void)
{
	return prompt;
}

static void begin_check(void)
{
	int err = passphrase_begin(&asked->key.passphrase, typed, typed_bytes);

	forget_typed();
	if (err != 0) {
		answer("the passphrase cannot be checked: %s", err_name(err));
		return;
	}
	answer("it is checked (%u iterations); the log will say what comes out",
	       asked->key.passphrase.iterations);
	checks = true;
	atomic_store_relaxed(&done, false);
	work_add(&work);
}

/* The end of a line, or a character that ends the dialogue. */
static bool feed_control(uint8_t byte)
{
	switch (byte) {
	case CTRL('H'):
	case KEY_BACKSPACE:
		typed_bytes -= typed_bytes != 0 ? 1 : 0;
		typed[typed_bytes] = '\0';
		return true;
	case CTRL('U'): forget_typed(); return true;
	case ESCAPE: sequence = AFTER_ESCAPE; return true;
	case CTRL('C'):
	case CTRL('D'): answer("given up"); break;
	case '\r':
	case '\n':
		answer("%s", ""); /* ends the line of the prompt */
		if (typed_bytes > TYPED_MAX) {
			answer("a passphrase has at most %u characters; it was not checked",
			       TYPED_MAX);
		} else if (typed_bytes != 0) {
			begin_check();
			return false;
		}
		break;
	/*
	 * Tab and other keys of the shell do nothing. If they ended the dialogue, the rest of the
	 * passphrase would be shown and become a command.
	 */
	default: return true;
	}
	forget_typed();
	return false;
}

/* Returns whether the byte belongs to an escape sequence. A control character ends it. */
static bool skip_sequence(uint8_t byte)
{
	if (sequence == NO_SEQUENCE || byte < ' ' || byte == KEY_BACKSPACE) {
		sequence = NO_SEQUENCE;
		return false;
	}
	if (sequence == AFTER_ESCAPE) {
		sequence = byte == '[' || byte == 'O' ? IN_SEQUENCE : NO_SEQUENCE;
	} else if (byte >= '@') {
		sequence = NO_SEQUENCE; /* the final byte (ECMA-48, 5.4) */
	}
	return true;
}

bool unlock_feed(uint8_t byte)
{
	if (skip_sequence(byte)) {
		return true;
	}
	if (byte < ' ' || byte == KEY_BACKSPACE) {
		return feed_control(byte);
	}
	if (typed_bytes < sizeof(typed)) {
		typed[typed_bytes++] = (char)
			byte; /* one more than allowed shows that it is longer */
	}
	return true;
}
_Static_assert(sizeof(typed) == TYPED_MAX + 1, "one more than allowed");

void unlock_poll(void)
{
	uint8_t secret[KDF_SECRET_BYTES];
	int err;

	if (!checks || !atomic_load_acquire(&done)) {
		return;
	}
	checks = false;
	err = passphrase_end(secret);
	if (err == 0) {
		memcpy(asked->key.secret, secret, sizeof(secret));
		asked->key.secret_bytes = sizeof(secret);
		asked->key.locked = false;
		log_info("vm %s: the passphrase is right: its key is open", asked->name);
	} else if (err == ERR_RIGHTS) {
		log_error("vm %s: the passphrase is wrong; \"unlock %s\" asks again", asked->name,
			  asked->name);
	} else {
		log_error("vm %s: the passphrase could not be checked: %s", asked->name,
			  err_name(err));
	}
	secure_zero(secret, sizeof(secret));
}
