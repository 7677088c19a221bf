/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INT n, INT3, INT1 and UD2 arrive once each with the right return address: behind the instruction,
 * but at it for UD2; also if the handler's stack is a page that is touched for the first time, so
 * that an EPT violation interrupts the delivery, which must be repeated whole (SDM vol. 3,
 * "Information for VM Exits That Occur During Event Delivery"). QEMU's TCG does not know INT1.
 */
#include "tests/guests/common/guest.h"

#define ROUNDS	   2500
#define COLD_ROUND 4 /* one in so many rounds uses untouched pages */
#define VECTOR	   0x77
#define COLD_IST   3

static volatile uint64_t taken;
static volatile uint64_t last_rip, last_vector;

static void on_event(struct trap_frame *frame)
{
	taken++;
	last_rip = frame->rip;
	last_vector = frame->vector;
	if (frame->vector == VECTOR_UD) {
		frame->rip += 2; /* UD2 is 2 bytes long */
	}
}

/* Executes the instruction; the result is the address to which it should return. */
#define EVENT(instruction)                                                       \
	({                                                                       \
		uint64_t behind;                                                 \
		__asm__ volatile("leaq 772f(%%rip), %0\n\t" instruction "\n772:" \
				 : "=&r"(behind)                                 \
				 :                                               \
				 : "memory");                                    \
		behind;                                                          \
	})

static void expect(uint64_t vector, uint64_t rip, uint64_t count)
{
	if (taken != count || last_vector != vector || last_rip != rip) {
		fail("event %lu: %lu of %lu taken, vector %lu, at %lx instead of %lx", vector,
		     taken, count, last_vector, last_rip, rip);
	}
}

void guest_main(void)
{
	static const uint8_t vectors[] = { VECTOR, VECTOR_BP, VECTOR_UD, VECTOR_DB };

	for (unsigned i = 0; i < sizeof(vectors); i++) {
		trap_handlers[vectors[i]] = on_event;
		idt[vectors[i]].type |= 0x60; /* DPL 3, which INT n from ring 3 would need */
	}
	for (uint64_t i = 0, n = 0; i < ROUNDS; i++) {
		bool cold = i % COLD_ROUND == 0;

		for (unsigned v = 0; v < sizeof(vectors); v++) {
			trap_use_ist(vectors[v], cold ? COLD_IST : 0);
		}
		if (cold) {
			make_ist_cold(COLD_IST);
		}
		expect(VECTOR, EVENT("int $0x77"), ++n);
		if (cold) {
			make_ist_cold(COLD_IST);
		}
		expect(VECTOR_BP, EVENT("int3"), ++n);
		if (cold) {
			make_ist_cold(COLD_IST);
		}
		expect(VECTOR_UD, EVENT("ud2") - 2, ++n);
		if (cold) {
			make_ist_cold(COLD_IST);
		}
		expect(VECTOR_DB, EVENT(".byte 0xf1"), ++n);
	}
	print("%lu events\n", taken);
}
