/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields that several CPUs use at once. ATOMIC(type) is a struct of one member, so a plain read or
 * write of the field does not compile, and each access says its order by its name. All are macros,
 * for a field may be an integer of any size, an enum or a pointer.
 *
 * On x86 a load is a load and a store but atomic_store is a store; every read-modify-write, and
 * atomic_store, is a full barrier (SDM vol. 3, "Memory Ordering in P6 and More Recent Processor
 * Families").
 */
#ifndef UMBRA_BASE_ATOMIC_H
#define UMBRA_BASE_ATOMIC_H

#define ATOMIC(type)       \
	struct {           \
		type only; \
	}

/* The value alone, and what comes after sees what was stored before a release of that value. */
#define atomic_load_relaxed(field) __atomic_load_n(&(field)->only, __ATOMIC_RELAXED)
#define atomic_load_acquire(field) __atomic_load_n(&(field)->only, __ATOMIC_ACQUIRE)
/*
 * For the rule "each side stores its own field with atomic_store or a read-modify-write, then loads
 * the other's with atomic_load": at least one of the two sees what the other stored.
 */
#define atomic_load(field) __atomic_load_n(&(field)->only, __ATOMIC_SEQ_CST)

#define atomic_store_relaxed(field, value) \
	__atomic_store_n(&(field)->only, (value), __ATOMIC_RELAXED)
#define atomic_store_release(field, value) \
	__atomic_store_n(&(field)->only, (value), __ATOMIC_RELEASE)
#define atomic_store(field, value) __atomic_store_n(&(field)->only, (value), __ATOMIC_SEQ_CST)

/* Full barriers. All but atomic_cas return what the field was before. */
#define atomic_or(field, bits)	  __atomic_fetch_or(&(field)->only, (bits), __ATOMIC_SEQ_CST)
#define atomic_and(field, bits)	  __atomic_fetch_and(&(field)->only, (bits), __ATOMIC_SEQ_CST)
#define atomic_add(field, value)  __atomic_fetch_add(&(field)->only, (value), __ATOMIC_SEQ_CST)
#define atomic_sub(field, value)  __atomic_fetch_sub(&(field)->only, (value), __ATOMIC_SEQ_CST)
#define atomic_xchg(field, value) __atomic_exchange_n(&(field)->only, (value), __ATOMIC_SEQ_CST)
/*
 * For a counter that one CPU alone writes, or who holds a lock, and others read: no barrier, and no
 * locked instruction.
 */
#define atomic_add_own(field, value) \
	atomic_store_relaxed(field, atomic_load_relaxed(field) + (value))
/* True: the field was *expected and is value now. False: *expected is what it is. */
#define atomic_cas(field, expected, value)                                                    \
	__atomic_compare_exchange_n(&(field)->only, (expected), (value), 0, __ATOMIC_SEQ_CST, \
				    __ATOMIC_RELAXED)

#endif
