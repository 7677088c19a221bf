/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of the stick may be used, and what is measured of them. The signature that
 * firmware checks covers only the program. The program holds the key that signs the manifest, and
 * the manifest has the hash of every file that Umbra reads.
 */
#include "boot/efi_priv.h"

#include "boot/dma.h"
#include "boot/launch.h"
#include "boot/manifest.h"
#include "crypto/tme.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"

/*
 * The section .launch, which sign.py fills in before it signs the program. sign.py
 * recognises the section by its mark.
 */
static const struct {
	char mark[15];
	uint8_t given; /* 1: the image demands a manifest, even with Secure Boot off */
	uint8_t point[VERIFY_POINT_BYTES];
} image_key __attribute__((section(".launch"), used)) = { .mark = "umbra-manifest" };

static struct manifest manifest;
static bool checks_files; /* the manifest is open: files that it does not name are not used */
static bool has_tpm;
static char state_words[LAUNCH_WORDS_MAX]; /* the state of the machine, as it was measured */
static bool closed;			   /* nothing is measured any more */

/*
 * Whether firmware has set a variable of one byte to 1 (UEFI, table 3-1). A non-volatile variable
 * does not count: where firmware has no Secure Boot, any program may have written one of that name.
 */
static bool firmware_says(const CHAR16 *name)
{
	EFI_GUID guid = EFI_GLOBAL_VARIABLE;
	UINT8 value = 0;
	UINT32 attributes = 0;
	UINTN bytes = sizeof(value);
	EFI_STATUS status;

	/* the prototype has no const */
	status = efi_system->RuntimeServices->GetVariable((CHAR16 *)(uintptr_t)name, &guid,
							  &attributes, &bytes, &value);
	return !EFI_ERROR(status) && bytes == sizeof(value) && value == 1 &&
	       (attributes & EFI_VARIABLE_NON_VOLATILE) == 0;
}

bool efi_secure_boot(void)
{
	/* In set-up mode everyone may enrol keys, and firmware checks nothing. */
	return firmware_says(L"SecureBoot") && !firmware_says(L"SetupMode");
}

void efi_launch_report(void)
{
	log_info("Secure Boot is %s", efi_secure_boot()
					      ? "on: firmware has checked who signed this program"
					      : "off: firmware starts any program");
}

/*
 * The key of this image, or NULL. The asm hides from the compiler that the section is still zero.
 */
static const uint8_t *manifest_key(void)
{
	const uint8_t *given = &image_key.given;

	__asm__ volatile("" : "+r"(given));
	return *given != 0 ? given + 1 : NULL;
}

/*
 * efi_file.c calls this for each file that was read. Measures the file and returns NULL, or returns
 * why the file may not be used.
 */
static const char *take_file(const char *path, size_t path_bytes, const void *data, size_t bytes)
{
	const char *error = checks_files ? manifest_check(&manifest, path, path_bytes, data, bytes)
					 : NULL;

	if (error == NULL) {
		launch_measure_file(path, path_bytes, data, bytes, efi_tpm_extend);
	}
	return error;
}

/* Returns false if this image demands a manifest, and the stick has no valid one. */
static bool open_manifest(void)
{
	struct vm_file text = { .path = LAUNCH_MANIFEST }, signature = { .path = LAUNCH_SIGNATURE };
	const uint8_t *key = manifest_key();
	const struct vm_file *file = &text;
	const char *error = NULL;

	if (key == NULL) {
		return true;
	}
	if (efi_file_read(&text, MANIFEST_MAX) != 0) {
		error = text.error;
	} else if (efi_file_read(&signature, PAGE_SIZE) != 0) {
		file = &signature;
		error = signature.error;
	} else {
		error = manifest_open(key, text.data, text.bytes, signature.data, signature.bytes,
				      &manifest);
	}
	if (error != NULL) {
		log_error("this image uses only files that a signed manifest names; %s: %s; no "
			  "file of the stick is used",
			  file->path, error);
		return false;
	}
	checks_files = true;
	launch_measure_manifest(manifest.version, efi_tpm_extend);
	log_info("the manifest is signed with the key of this image; its version is %u",
		 manifest.version);
	return true;
}

bool efi_launch_open(void)
{
	has_tpm = efi_tpm_open();
	if (!open_manifest()) {
		return false;
	}
	efi_file_set_check(take_file); /* the manifest itself was read without it */
	return true;
}

bool efi_launch_wants_files(void)
{
	return checks_files || has_tpm;
}

/* Ends the launch: opens the keys and measures the separators. Reads no file of the stick. */
static void open_keys(struct config *config)
{
	efi_seal_open(config);
	launch_measure_end(config, efi_tpm_extend);
	if (!efi_tpm_works()) {
		/* No separator has closed the PCRs: the TPM would open the keys once more. */
		efi_leave_sealed_out(config, "the TPM did not take all measurements");
	}
	efi_tpm_report(state_words);
}

/*
 * A report must come after the last measurement, and firmware's drivers must still be able to write
 * it. So the keys are opened now. But if a key needs the TPM, and DMA is to be shut out before it
 * is opened, no quote is made. Otherwise whoever can put a nonce on the stick could have the keys
 * opened while devices can read them. [host] attest = always accepts that.
 */
static void report(struct config *config)
{
	const bool loses = dma_will_block() && efi_keys_need_tpm(config);

	if (loses && !config->attest_always) {
		efi_attest(state_words,
			   "the TPM opens keys after DMA is shut out, and then firmware "
			   "cannot write a report; [host] attest = always opens them "
			   "before");
		return;
	}
	if (loses) {
		log_warn("a nonce asks for a report, and [host] attest = always: keys of the TPM "
			 "are opened while devices can still reach memory");
	}
	open_keys(config);
	closed = true;
	efi_attest(state_words, NULL);
}

void efi_launch_state(struct config *config)
{
	static const char *const kinds[] = {
		[TME_NONE] = "none",
		[TME_ONLY] = "tme",
		[TME_MK] = "tme-mk",
	};
	const struct tme_state *tme = tme_state();
	struct launch_state state = { .secure_boot = efi_secure_boot() };

	closed = false;
	if (!has_tpm) {
		efi_seal_read(config,
			      state.secure_boot); /* logs the lack of a TPM, if a key needs it */
		if (efi_attest_is_asked()) {
			efi_attest("not measured", "firmware offers no TPM 2.0");
		}
		efi_report(config, NULL);
		return;
	}
	tme_look();
	state.tme = kinds[tme->kind];
	state.keyid_bits = tme->keyid_bits;
	state.bypass = tme->bypass;
	state.iommu = dma_words();
	(void)launch_state_words(&state, state_words); /* it returns state_words */
	launch_measure_state(config, state_words, efi_tpm_extend);
	efi_seal_read(config, state.secure_boot);
	if (efi_attest_is_asked()) {
		report(config);
	}
	/*
	 * This must be last, because it asks for firmware's event log: some firmware adds nothing
	 * to the log after that, and efi_attest needs the events of opened keys in it.
	 */
	efi_report(config, state_words);
}

void efi_launch_close(struct config *config)
{
	if (has_tpm && !closed) {
		open_keys(config);
	}
}
