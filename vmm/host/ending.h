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
/* Calls ending_claim, then that function, unless it has already finished. Interrupts off. */
void ending_wipe(void);

#endif
