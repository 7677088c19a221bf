/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the pager share: guests that touch memory as a CPU does, and a cipher that
 * watches. It fails the test when a page is still reachable at the moment it is encrypted, or when
 * a version comes twice. Set-up and tear-down are those of each test.
 */
#ifndef UMBRA_TESTS_PAGER_GUESTS_H
#define UMBRA_TESTS_PAGER_GUESTS_H

#include "ept/gmem.h"
#include "ept/pager_priv.h"

#define VMS	 2
#define VM_PAGES 300u
#define SPLIT	 123u /* two regions: pages below and from here on */
#define FLOOR	 (PAGER_VCPU_FRAMES + PAGER_PIN_FRAMES)

struct guest {
	struct gmem gmem;
	struct pager_vm *vm;
	uint64_t reached[VM_PAGES]; /* generation of the EPT when a TLB took the page in; 0: none */
	uint64_t rip;
	uint8_t model[VM_PAGES][PAGE_SIZE]; /* for tests that keep one */
};

extern struct guest guests[VMS];
extern struct ept_caps pager_caps; /* change, then ept_configure */

struct stack_bytes {
	const volatile uint8_t *at;
	size_t count;
};

struct crypto_watch {
	uint64_t encryptions, decryptions;
	uint64_t exchanges; /* of these, in one go */
	unsigned wipes;	    /* wipe_all was called */
	uint8_t secret;	    /* that the last key was made of */
	/* Where the last KDF found secret and salt, and put the key. */
	struct stack_bytes stack[3];
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

/* What the CPU does: translate, set accessed and dirty; else fault. Returns the faults. */
unsigned guest_access(struct guest *guest, uint32_t vcpu, uint64_t at, bool write, void *buf,
		      size_t bytes);
/* One instruction of vCPU 0 each, at a place of its own: eight bytes at offset 8 of the page. */
void guest_write(struct guest *guest, uint32_t page, uint64_t value);
uint64_t guest_read(struct guest *guest, uint32_t page);

/* Opens others until the page is not in the window any more (door: it holds nothing). */
void press_out(struct guest *guest, uint32_t page);
struct pager_counters count(const struct guest *guest);
/* How many frames of the machine have the value at offset 8. */
unsigned frames_with(uint64_t value);

#define TEST(f) cmocka_unit_test_setup_teardown(f, pager_setup, pager_teardown)
#define TEST_WITH(f, s)                                                 \
	{                                                               \
#f " " #s, f, pager_setup, pager_teardown, (void *)&(s) \
	}

#endif
