/* SPDX-License-Identifier: Apache-2.0 */
/* Calls a fuzzer's function with each file on the command line, without a fuzzer. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

int main(int argc, char **argv)
{
	static uint8_t input[1 << 20];

	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t size;
		uint8_t *exact;

		if (file == NULL) {
			perror(argv[i]);
			return 1;
		}
		size = fread(input, 1, sizeof(input), file);
		fclose(file);
		exact = malloc(size + 1);
		for (size_t k = 0; k < size; k++) {
			exact[k] = input[k];
		}
		(void)LLVMFuzzerTestOneInput(exact, size);
		free(exact);
	}
	return 0;
}
