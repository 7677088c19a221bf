/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of the initramfs "doorbell": two VMs send each other data through a share on PCI, with
 * the drivers of stock Linux alone. "doorbell DIRECTORY MIB [watch]": the function's directory in
 * /sys/bus/pci/devices, and how much to send each way. Interrupts come by /dev/uio0
 * (uio_pci_generic), which wants Interrupt Disable cleared again after each. With watch it goes on
 * reading a word of the share until all its bits are ones: the share was taken away.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD  4096ul
#define PIECE (4ul << 20)
#define READY 0x5245414459u

enum { INTR_MASK, INTR_STATUS, IV_POSITION, DOORBELL };

static volatile uint32_t *registers;
static volatile uint64_t *head; /* [0], [1]: a member is ready; [2]: a sum */
static uint64_t *data;
static int uio, config;

static int open_in(const char *directory, const char *name)
{
	char path[256];
	int file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = open(path, O_RDWR);
	if (file < 0) {
		perror(path);
		exit(1);
	}
	return file;
}

static void *map(const char *directory, const char *name, size_t *bytes)
{
	const int file = open_in(directory, name);
	struct stat status;
	void *memory;

	fstat(file, &status);
	*bytes = (size_t)status.st_size;
	memory = mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (memory == MAP_FAILED) {
		perror(name);
		exit(1);
	}
	return memory;
}

static void allow_interrupts(void)
{
	uint8_t high;

	if (pread(config, &high, 1, 5) == 1) {
		high &= (uint8_t)~4u; /* Interrupt Disable */
		(void)!pwrite(config, &high, 1, 5);
	}
}

static void wait_for_doorbell(void)
{
	uint32_t count;

	(void)!read(uio, &count, sizeof(count));
	(void)registers[INTR_STATUS];
	allow_interrupts();
}

static void ring(void)
{
	registers[DOORBELL] = (1 - registers[IV_POSITION]) << 16;
}

static uint64_t sum_up(void)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < PIECE / 8; i++) {
		sum = (sum << 1 | sum >> 63) ^ data[i];
	}
	return sum;
}

static void send_piece(uint64_t seed)
{
	for (uint64_t i = 0; i < PIECE / 8; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		data[i] = seed;
	}
	head[2] = sum_up();
	ring();
	wait_for_doorbell(); /* it was read */
}

static void take_piece(void)
{
	wait_for_doorbell();
	if (sum_up() != head[2]) {
		printf("umbra-doorbell: FAIL: the sum is wrong\n");
		exit(1);
	}
	ring();
}

int main(int count, char **words)
{
	const size_t pieces = count > 2 ? strtoul(words[2], NULL, 10) * 1048576 / PIECE : 0;
	size_t bytes;
	uint32_t mine;

	if (pieces == 0) {
		fputs("doorbell: DIRECTORY MIB [watch]\n", stderr);
		return 2;
	}
	registers = map(words[1], "resource0", &bytes);
	head = map(words[1], "resource2", &bytes);
	data = (uint64_t *)head + HEAD / 8;
	config = open_in(words[1], "config");
	uio = open_in("/dev", "uio0");
	mine = registers[IV_POSITION];
	registers[INTR_MASK] = 1;
	allow_interrupts();
	head[mine] = READY;
	while (head[1 - mine] != READY) {
		usleep(10000);
	}
	for (unsigned half = 0; half < 2; half++) {
		for (size_t i = 0; i < pieces; i++) {
			if (half == mine) {
				send_piece(i + 1);
			} else {
				take_piece();
			}
		}
	}
	printf("umbra-doorbell: member %u: %zu MiB sent and %zu MiB taken, sums right\n", mine,
	       pieces * PIECE >> 20, pieces * PIECE >> 20);
	fflush(stdout);
	if (count > 3) {
		while (head[mine] == READY) {
			head[3]++;
		}
		printf("umbra-doorbell: now it reads %lx\n", (unsigned long)head[mine]);
	}
	return 0;
}
