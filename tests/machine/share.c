/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of the initramfs "share". "share FILE OFFSET w TEXT" writes a text into shared memory
 * by mmap of a file (/dev/mem, /dev/dax0.0) at a hex offset. "share FILE OFFSET r" waits for such a
 * text.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (2ul << 20)
#define PLACE 0x1000
#define TRIES 600

int main(int count, char **words)
{
	const int writes = count == 5 && strcmp(words[3], "w") == 0;
	volatile char *memory;
	int file;

	if (count < 4) {
		fputs("share: FILE OFFSET r | FILE OFFSET w TEXT\n", stderr);
		return 2;
	}
	file = open(words[1], writes ? O_RDWR : O_RDONLY);
	memory = file < 0 ? MAP_FAILED
			  : mmap(NULL, BYTES, writes ? PROT_READ | PROT_WRITE : PROT_READ,
				 MAP_SHARED, file, (off_t)strtoul(words[2], NULL, 16));
	if (memory == MAP_FAILED) {
		perror(words[1]);
		return 1;
	}
	if (writes) {
		/* The first byte is written last. */
		for (size_t i = strlen(words[4]) + 1; i-- > 0;) {
			memory[PLACE + i] = words[4][i];
		}
		return 0;
	}
	for (int i = 0; i < TRIES && memory[PLACE] == 0; i++) {
		usleep(10000);
	}
	printf("umbra-share: %s: %s\n", words[1], (const char *)memory + PLACE);
	return memory[PLACE] == 0;
}
