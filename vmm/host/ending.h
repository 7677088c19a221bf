/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPU ends the machine, and the keys that are wiped first. */
#ifndef UMBRA_HOST_ENDING_H
#define UMBRA_HOST_ENDING_H

/*
 * Only one CPU ends the machine: the first that calls this. It may call it again. Any other CPU
 * that calls this waits for good, and an NMI of the first CPU stops it: if the other CPU went on,
 * it would send NMIs, too, and stop the first CPU while that wipes keys. Interrupts off.
 */
void ending_claim(void);

/*
 * Sets the function that panic, reset and power-off call first: it stops the other CPUs and wipes
 * keys. NULL until crypto/ sets it. An exception in this function leads to a panic, which calls it
 * again on the same CPU: it then continues behind the step that failed.
 */
void ending_set_wipe(void (*wipe)(void));
/*
 * Clears this CPU's DR0 to DR3 and, if XCR0 lets it, its zmm registers: they may hold keys
 * (crypto/key_store.h). Only on a CPU that runs no guest again. Interrupts off.
 */
void ending_clear_registers(void);
/*
 * Calls ending_claim, clears this CPU's registers, and calls that function, unless it has already
 * finished. Interrupts off.
 */
void ending_wipe(void);

#endif
