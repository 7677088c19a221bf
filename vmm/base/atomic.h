/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields that several CPUs use at the same time. ATOMIC(type) is a struct of one member, so a plain
 * read or write of the field does not compile, and the name of each access says its memory order.
 * They are macros, because a field may be an integer of any size, an enum or a pointer.
 *
 * On x86 every load is a plain load, and every store but atomic_store is a plain store.
 * atomic_store and every read-modify-write are full barriers (SDM vol. 3, "Memory Ordering in P6
 * and More Recent Processor Families").
 */
#ifndef UMBRA_BASE_ATOMIC_H
#define UMBRA_BASE_ATOMIC_H

#define ATOMIC(type)                   \
	struct {                       \
		__typeof__(type) only; \
	}

/*
 * relaxed: only the value. acquire: later accesses see what was stored before the release of that
 * value.
 */
#define atomic_load_relaxed(field) __atomic_load_n(&(field)->only, __ATOMIC_RELAXED)
#define atomic_load_acquire(field) __atomic_load_n(&(field)->only, __ATOMIC_ACQUIRE)
/*
 * For the pattern in which each side stores its own field with atomic_store or a read-modify-write,
 * and then loads the other side's field with atomic_load: at least one side sees the other's store.
 */
#define atomic_load(field) __atomic_load_n(&(field)->only, __ATOMIC_SEQ_CST)

#define atomic_store_relaxed(field, value) \
	__atomic_store_n(&(field)->only, (value), __ATOMIC_RELAXED)
#define atomic_store_release(field, value) \
	__atomic_store_n(&(field)->only, (value), __ATOMIC_RELEASE)
#define atomic_store(field, value) __atomic_store_n(&(field)->only, (value), __ATOMIC_SEQ_CST)

/* Full barriers. All but atomic_cas return the field's old value. */
#define atomic_or(field, bits)	  __atomic_fetch_or(&(field)->only, (bits), __ATOMIC_SEQ_CST)
#define atomic_and(field, bits)	  __atomic_fetch_and(&(field)->only, (bits), __ATOMIC_SEQ_CST)
#define atomic_add(field, value)  __atomic_fetch_add(&(field)->only, (value), __ATOMIC_SEQ_CST)
#define atomic_sub(field, value)  __atomic_fetch_sub(&(field)->only, (value), __ATOMIC_SEQ_CST)
#define atomic_xchg(field, value) __atomic_exchange_n(&(field)->only, (value), __ATOMIC_SEQ_CST)
/*
 * For a counter that only one CPU writes, or only the holder of a lock, and that others read: no
 * barrier, and no locked instruction.
 */
#define atomic_add_own(field, value) \
	atomic_store_relaxed(field, atomic_load_relaxed(field) + (value))
/*
 * Returns true if the field was *expected and is now value; else false, with the field's value in
 * *expected.
 */
#define atomic_cas(field, expected, value)                                                    \
	__atomic_compare_exchange_n(&(field)->only, (expected), (value), 0, __ATOMIC_SEQ_CST, \
				    __ATOMIC_RELAXED)

#endif
