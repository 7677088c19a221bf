/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot/efi_launch.c with a fake TPM: whichever measurement it refuses, before keys are opened or
 * after, no VM and no share with a key of the TPM starts.
 */
#include "tests/unit/test.h"
#include "boot/efi_priv.h"
#include "boot/manifest.h"
#include "crypto/tme.h"
#include "crypto/wipe.h"
#include "vmm/base/err.h"

/* --- Firmware --- */

static struct {
	UINT32 attributes;
	UINTN bytes;
	UINT8 value;
} secure_boot, setup_mode;

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes,
				      UINTN *bytes, void *value)
{
	const bool is_setup = name[1] == 'e' && name[2] == 't'; /* SetupMode, not SecureBoot */

	if ((is_setup ? setup_mode.bytes : secure_boot.bytes) == 0) {
		return EFI_NOT_FOUND;
	}
	*bytes = is_setup ? setup_mode.bytes : secure_boot.bytes;
	*(UINT8 *)value = is_setup ? setup_mode.value : secure_boot.value;
	if (attributes != NULL) {
		*attributes = is_setup ? setup_mode.attributes : secure_boot.attributes;
	}
	return EFI_SUCCESS;
}

static EFI_RUNTIME_SERVICES runtime = { .GetVariable = get_variable };
static EFI_SYSTEM_TABLE system_table = { .RuntimeServices = &runtime };
EFI_SYSTEM_TABLE *efi_system = &system_table;

int efi_file_read(struct vm_file *file, uint64_t max)
{
	return ERR_NOTFOUND;
}

static bool panics; /* while a key file is read */

/* A key file. */
int efi_file_read_small(struct vm_file *file, void *to, uint64_t max, uint64_t *bytes)
{
	for (size_t i = 0; i < VM_KEY_FILE_MAX; i++) {
		((uint8_t *)to)[i] = (uint8_t)i;
	}
	*bytes = VM_KEY_FILE_MAX;
	if (panics) {
		wipe_all();
		assert_int_equal(((uint8_t *)to)[5], 0);
	}
	return 0;
}

void efi_file_set_check(const char *(*check)(const char *path, size_t path_bytes, const void *data,
					     size_t bytes))
{
}

const char *dma_words(void)
{
	return "none";
}

void tme_look(void)
{
}

static bool report_asked, will_block; /* DMA will be shut out */
static int reports;
static const char *why_not;	   /* of the last report */
static unsigned extended, refuses; /* the number of events, and of the first that it refuses */
static unsigned before_report;	   /* the number of events */

bool dma_will_block(void)
{
	return will_block;
}

bool efi_attest_is_asked(void)
{
	return report_asked;
}

void efi_attest(const char *state, const char *why)
{
	reports++;
	why_not = why;
	before_report = extended;
}

const char *manifest_open(const uint8_t key[VERIFY_POINT_BYTES], const char *text, size_t bytes,
			  const uint8_t *signature, size_t signature_bytes, struct manifest *out)
{
	return "no manifest";
}

const char *manifest_check(const struct manifest *manifest, const char *path, size_t path_bytes,
			   const void *data, size_t bytes)
{
	return NULL;
}

/* --- The TPM --- */

bool efi_tpm_open(void)
{
	return true;
}

bool efi_tpm_works(void)
{
	return extended < refuses;
}

void efi_tpm_extend(const struct launch_event *event)
{
	if (efi_tpm_works()) {
		extended++;
	}
}

static int reports_before; /* how many reports for a nonce there were when efi_report was called */

void efi_report(const struct config *config, const char *state)
{
	assert_non_null(state);
	reports_before = reports;
}

void efi_tpm_report(const char *state)
{
}

static void open_key(struct vm_key_source *key)
{
	key->tpm = VM_KEY_TPM_OPENED;
	memset(key->secret, 's', sizeof(key->secret));
	key->secret_bytes = sizeof(key->secret);
}

void efi_seal_read(struct config *config, bool with_secure_boot)
{
	if (!efi_tpm_works()) {
		config->vms[0].valid = config->shares[0].valid = false;
	}
}

void efi_seal_open(struct config *config)
{
	if (config->vms[0].valid) {
		open_key(&config->vms[0].key);
		open_key(&config->shares[0].key);
	}
}

/* --- Tests --- */

static struct config config;

static void begin(unsigned refused)
{
	memset(&config, 0, sizeof(config));
	config.vm_count = 2;
	config.share_count = 1;
	config.vms[0].key.kind = config.vms[1].key.kind = config.shares[0].key.kind = VM_KEY_FILE;
	config.vms[0].key.form = config.shares[0].key.form = VM_KEY_FORM_TPM;
	config.vms[0].valid = config.vms[1].valid = config.shares[0].valid = true;
	open_key(&config.vms[1].key); /* a key file, which has nothing to do with the TPM */
	config.vms[1].key.tpm = VM_KEY_TPM_SHUT;
	extended = 0;
	refuses = refused;
	reports = 0;
	reports_before = -1;
	assert_true(efi_launch_open());
}

static void start(unsigned refused)
{
	begin(refused);
	config.attest_always = true;
	efi_launch_state(&config);
	if (!report_asked) {
		assert_int_equal(config.vms[0].key.secret_bytes, 0); /* DMA is not shut out yet */
	}
	assert_int_equal(reports, report_asked); /* while the stick can be written */
	/* Both ask for the event log, and firmware may log nothing after the first does. */
	assert_int_equal(reports_before, reports);
	efi_launch_close(&config);
	assert_int_equal(reports, report_asked);
}

static struct config held;

TEST(a_panic_wipes_key_files, fake_setup, fake_teardown)
{
	static const uint8_t nothing[VM_KEY_FILE_MAX];

	held.vm_count = 1;
	held.share_count = 1;
	held.vms[0].valid = held.shares[0].valid = true;
	held.vms[0].key.kind = held.shares[0].key.kind = VM_KEY_FILE;
	panics = true;
	efi_keys_read(&held);
	panics = false;
	held.vms[0].valid = held.shares[0].valid = true;
	efi_keys_read(&held);
	assert_true(held.vms[0].valid && held.shares[0].valid);
	assert_int_equal(held.vms[0].key.secret[5], 5);
	assert_int_equal(held.shares[0].key.secret[5], 5);
	wipe_all();
	assert_memory_equal(held.vms[0].key.secret, nothing, sizeof(nothing));
	assert_memory_equal(held.shares[0].key.secret, nothing, sizeof(nothing));
}

static void refuse_each(void)
{
	static const uint8_t nothing[VM_KEY_FILE_MAX];
	unsigned all;

	start(UINT32_MAX);
	all = extended;
	assert_in_range(all, 8, 20);
	assert_true(config.vms[0].valid && config.vms[1].valid && config.shares[0].valid);
	for (unsigned refused = 0; refused < all; refused++) {
		start(refused);
		assert_int_equal(extended, refused);
		assert_false(config.vms[0].valid || config.shares[0].valid);
		assert_memory_equal(config.vms[0].key.secret, nothing, sizeof(nothing));
		assert_memory_equal(config.shares[0].key.secret, nothing, sizeof(nothing));
		assert_true(config.vms[1].valid);
		assert_int_equal(config.vms[1].key.secret_bytes, sizeof(nothing));
	}
	/* After the keys were opened, the log says why they are not used. */
	assert_non_null(strstr(fake_log_text(),
			       "error: vm : the TPM did not take all measurements, "
			       "so a key of the TPM is not used; the vm is left "
			       "out"));
}

TEST(no_key_of_the_tpm_is_used_if_a_measurement_fails, fake_setup, fake_teardown)
{
	report_asked = false;
	refuse_each();
	assert_null(strstr(fake_log_text(), "a nonce asks for a report"));
}

/* A report is written to the stick, so keys are opened before DMA is shut out, which is said. */
TEST(the_same_with_a_report, fake_setup, fake_teardown)
{
	report_asked = will_block = true;
	refuse_each();
	assert_non_null(strstr(fake_log_text(), "warning: a nonce asks for a report"));
	report_asked = will_block = false;
}

/* Else a nonce on the stick would have keys opened where devices can read them. */
TEST(a_report_has_keys_opened_early_only_if_that_is_no_loss, fake_setup, fake_teardown)
{
	static const struct {
		bool has_key, will_block, always, early;
	} rows[] = {
		{ true, false, false, true },  { true, true, false, false },
		{ true, true, true, true },    { false, true, false, true },
		{ false, false, false, true },
	};
	unsigned all;

	start(UINT32_MAX);
	all = extended;
	report_asked = true;
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		begin(UINT32_MAX);
		config.attest_always = rows[i].always;
		will_block = rows[i].will_block;
		if (!rows[i].has_key) {
			config.vms[0].key.form = config.shares[0].key.form = VM_KEY_FORM_RAW;
		}
		efi_launch_state(&config);
		assert_int_equal(why_not == NULL, rows[i].early);
		assert_int_equal(before_report, extended); /* it is the last */
		assert_int_equal(extended == all, rows[i].early);
		assert_int_equal(config.vms[0].key.secret_bytes != 0, rows[i].early);
		efi_launch_close(&config);
		assert_int_equal(extended, all);
		assert_int_equal(config.vms[0].key.tpm, VM_KEY_TPM_OPENED);
		assert_int_equal(reports, 1);
	}
	report_asked = will_block = false;
}

/* What firmware keeps itself is lost with a reset. Anyone can write a variable that is not. */
TEST(secure_boot_is_what_firmware_says, fake_setup, fake_teardown)
{
	const UINT32 own = EFI_VARIABLE_BOOTSERVICE_ACCESS | EFI_VARIABLE_RUNTIME_ACCESS;
	const struct {
		UINT32 attributes;
		UINTN bytes;
		UINT8 value, setup;
		bool on;
	} rows[] = { { own, 1, 1, 0, true },  { own, 1, 0, 0, false },
		     { own, 1, 1, 1, false }, { own, 2, 1, 0, false },
		     { own, 0, 1, 0, false }, { own | EFI_VARIABLE_NON_VOLATILE, 1, 1, 0, false } };

	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		secure_boot.attributes = rows[i].attributes;
		secure_boot.bytes = rows[i].bytes;
		secure_boot.value = rows[i].value;
		setup_mode.attributes = own;
		setup_mode.bytes = 1;
		setup_mode.value = rows[i].setup;
		assert_int_equal(efi_secure_boot(), rows[i].on);
	}
	secure_boot.bytes = setup_mode.bytes = 0;
}
