/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the tests of the pager: guests that access memory as a CPU does, and a cipher that
 * checks its calls. It fails the test when a page is still reachable at the moment at which it is
 * encrypted, or when a version is used twice. Each test has its own set-up and tear-down.
 */
#ifndef UMBRA_TESTS_PAGER_GUESTS_H
#define UMBRA_TESTS_PAGER_GUESTS_H

#include "ept/gmem.h"
#include "ept/pager_priv.h"

#define VMS	 2
#define VM_PAGES 300u
#define SPLIT	 123u /* two regions: pages below this number, and pages from it on */
#define FLOOR	 (PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES)

struct guest {
	struct gmem gmem;
	struct pager_vm *vm;
	/* Generation of the EPT when a TLB cached the page; 0: not cached. */
	uint64_t reached[VM_PAGES];
	uint64_t rip;
	uint8_t model[VM_PAGES][PAGE_SIZE]; /* for tests that use a model */
};

extern struct guest guests[VMS];
extern bool pager_tags; /* guests that are made have tags; false at the start of a test */
extern struct ept_caps pager_caps; /* change it, then call ept_configure */

struct stack_bytes {
	const volatile uint8_t *at;
	size_t count;
};

struct crypto_watch {
	uint64_t encryptions, decryptions;
	uint64_t exchanges; /* calls that encrypt one page and decrypt another */
	unsigned wipes;	    /* wipe_all was called */
	uint8_t secret;	    /* from which the last key was made */
	/* Addresses of secret, salt, key and tag key in the last calls of the KDF. */
	struct stack_bytes stack[4];
};
extern struct crypto_watch crypto;
/* Called in each encryption, after the checks. */
extern void (*crypto_hook)(struct guest *guest, uint32_t page);

int pager_setup(void **state);
int pager_teardown(void **state);

void make_window(uint64_t frames);
void make_guest(struct guest *guest, uint32_t vcpus);
void end_guest(struct guest *guest);

/* Guest-physical address of the page. */
uint64_t address_of(uint32_t page);
/* The 4 KiB entry, or NULL when a table is missing. */
uint64_t *raw_entry(const struct ept_root *root, uint64_t at);
bool is_mapped(const struct guest *guest, uint32_t page);

/*
 * What the CPU does: translates, sets accessed and dirty bits, else faults. Returns how many
 * faults.
 */
unsigned guest_access(struct guest *guest, uint32_t vcpu, uint64_t at, bool write, void *buf,
		      size_t bytes);
/* One instruction of vCPU 0 each, at its own place: eight bytes at offset 8 of the page. */
void guest_write(struct guest *guest, uint32_t page, uint64_t value);
uint64_t guest_read(struct guest *guest, uint32_t page);

/*
 * Opens other pages until this page is not in the window any more, through the
 * door, because that holds no frames.
 */
void press_out(struct guest *guest, uint32_t page);
struct pager_counters count(const struct guest *guest);
/* How many frames of the machine have this value at offset 8. */
unsigned frames_with(uint64_t value);

/* States for TEST: the guest's EPT has accessed and dirty bits, or not. */
extern const bool with_ad, without_ad;

#endif
