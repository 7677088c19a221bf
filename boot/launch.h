/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a launch reads from the stick, and in which order; and what it measures into the PCRs of a
 * TPM. Pure C without firmware: `make predict` computes with the same code on the build host.
 */
#ifndef UMBRA_BOOT_LAUNCH_H
#define UMBRA_BOOT_LAUNCH_H

#include "boot/config.h"

#define LAUNCH_CONFIG	   "\\umbra\\umbra.conf"
#define LAUNCH_CONFIG_NAME "umbra.conf"
#define LAUNCH_CONFIG_MAX  (64ul << 10) /* bytes */
#define LAUNCH_MANIFEST	   "\\umbra\\manifest"
#define LAUNCH_SIGNATURE   "\\umbra\\manifest.sig"
#define LAUNCH_FILE_MAX	   (4ul << 30) /* the largest file of FAT */

/*
 * Reads the files that each valid VM names, in the order of the sections and in each: kernel,
 * initrd, disks. What another VM has read already is not read again. If read(file, max) fails, that
 * is logged with file->error, and the VM is no longer valid.
 */
void launch_read_files(struct config *config, int (*read)(struct vm_file *file, uint64_t max));

/* --- What is measured, in this order --- */

#define LAUNCH_PCR_FILES  11u /* kernels, initrds, images of disks */
#define LAUNCH_PCR_CONFIG 12u /* umbra.conf, names of key files, the state of the machine */
#define LAUNCH_WORDS_MAX  (VM_PATH_MAX + 64)

/* One step for a PCR: it becomes the hash of its old value and of the hash of the data. */
struct launch_event {
	uint32_t pcr;
	bool separator; /* nothing of the launch follows in this PCR */
	/* For readers of the event log. No command line and no key is in it. */
	const char *words;
	const void *data;
	size_t bytes;
};

/* Carries an event out. It logs its own errors. */
typedef void launch_extend(const struct launch_event *event);

/* The manifest of a signed image. First, and only for such an image. */
void launch_measure_manifest(uint32_t version, launch_extend *extend);
/*
 * A file of the stick as it is used: umbra.conf, then what launch_read_files reads, each file of
 * several in one path by itself. The path has path_bytes bytes.
 */
void launch_measure_file(const char *path, size_t path_bytes, const void *data, size_t bytes,
			 launch_extend *extend);
/*
 * The names of key files, the state of the machine (a line of launch_state), and the engine of each
 * VM: the one that it gets while KeyIDs are left; if they run out, engine = auto falls back to
 * software. Keys are sealed to what was measured up to here.
 */
void launch_measure_state(const struct config *config, const char *state, launch_extend *extend);
/* At last the sealed files of the keys that were opened, and the separators. */
void launch_measure_end(const struct config *config, launch_extend *extend);

/* What the machine was found to be. */
struct launch_state {
	bool secure_boot;
	const char *tme; /* "none", "tme" or "tme-mk" */
	unsigned keyid_bits;
	bool bypass;
	const char *iommu; /* what DMA can reach, as dma_words says */
};
/* Writes it as a line without newline, "secure-boot=on tme=none". Returns text. */
const char *launch_state_words(const struct launch_state *state, char text[LAUNCH_WORDS_MAX]);

#endif
