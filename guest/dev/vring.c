/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fields and flags have the names of virtio 1.2, 2.7.
 *
 * The order of accesses, against a driver on another CPU. vring_take reads the index before the
 * entry that it covers. vring_give writes the entry before the index. vring_listen writes the
 * event, then a full barrier, then reads the index again; the driver writes the index and then
 * reads the event. vring_wants_interrupt does the same with the roles exchanged. Each call of
 * gmem_read or gmem_write takes and drops a lock, which on x86 is an exchange and so a full
 * barrier; the fences here do not rely on that.
 */
#include "guest/dev/vring.h"

#include "vmm/base/err.h"

#define DESC_NEXT     BIT(0)
#define DESC_WRITE    BIT(1)
#define DESC_INDIRECT BIT(2)

#define AVAIL_NO_INTERRUPT BIT(0)

_Static_assert(sizeof(struct vring_descriptor) == 16, "virtio 1.2, 2.7.5");
_Static_assert(sizeof(struct vring_used) == 8, "virtio 1.2, 2.7.8");

/* Offsets in a ring: flags, idx, `size` entries, then the other side's event. */
#define RING_INDEX   2
#define RING_ENTRIES 4
#define AVAIL_ENTRY  2
#define USED_ENTRY   8

static int broken(const char **why, int err, const char *what)
{
	*why = what;
	return err;
}

static int load16(struct gmem *gmem, uint64_t at, uint16_t *value)
{
	return gmem_read(gmem, gpa(at), value, sizeof(*value));
}

static int add_segment(struct vring_chain *chain, const struct vring_descriptor *desc,
		       const char **why)
{
	if (chain->count == VRING_SIZE_MAX) {
		return broken(why, ERR_FORMAT, "a chain is longer than its queue");
	}
	if ((desc->flags & DESC_WRITE) != 0) {
		chain->write_bytes += desc->bytes;
	} else if (chain->readable != chain->count) {
		return broken(why, ERR_FORMAT,
			      "a buffer that the device reads comes after one that it writes");
	} else {
		chain->readable++;
		chain->read_bytes += desc->bytes;
	}
	chain->segments[chain->count++] = (struct vring_segment){ desc->address, desc->bytes };
	return 0;
}

/* How many descriptors of an indirect table are read at once. */
#define TABLE_AHEAD 8u

static bool find_near(const struct vring_near *near, uint32_t index, struct vring_descriptor *desc)
{
	if (index - near->first >= near->count) {
		return false;
	}
	*desc = near->descriptors[index - near->first];
	return true;
}

static int read_near(struct gmem *gmem, uint64_t table, uint32_t first, uint32_t count,
		     struct vring_near *near)
{
	const int err = gmem_read(gmem, gpa(table + first * sizeof(near->descriptors[0])),
				  near->descriptors, count * sizeof(near->descriptors[0]));

	near->first = first;
	near->count = err == 0 ? count : 0;
	return err;
}

/*
 * If the heads of this chain and of the next ones are neighbours in the table, upwards or
 * downwards, reads all their descriptors at once. All of these chains are available, so the driver
 * does not write to them now.
 */
static void read_heads(struct vring *ring, struct gmem *gmem, uint16_t head)
{
	const uint32_t at = (uint16_t)(ring->next_available - ring->heads_first);
	const uint16_t *heads = ring->heads + at;
	uint32_t count = 1;

	if (at + 1 >= ring->heads_count || (heads[1] != head + 1 && heads[1] + 1 != head)) {
		return;
	}
	while (at + count < ring->heads_count && heads[count] < ring->size &&
	       heads[count] - heads[count - 1] == heads[1] - head) {
		count++;
	}
	(void)read_near(gmem, ring->descriptors, MIN(head, heads[count - 1]), count, &ring->near);
}

struct table {
	uint64_t at;
	uint32_t count;
	uint32_t most; /* how many of its descriptors are read at once */
	struct vring_near *near;
};

static int read_descriptor(struct gmem *gmem, const struct table *table, uint32_t index,
			   struct vring_descriptor *desc)
{
	int err = 0;

	if (find_near(table->near, index, desc)) {
		return 0;
	}
	if (table->most == 1) {
		return gmem_read(gmem, gpa(table->at + index * sizeof(*desc)), desc, sizeof(*desc));
	}
	err = read_near(gmem, table->at, index, MIN(table->count - index, table->most),
			table->near);
	*desc = table->near->descriptors[0];
	return err;
}

/*
 * Follows the descriptors of a table, from index first on. Its count limits both indices and
 * steps, so a loop ends. If a descriptor names an indirect table, it is stored in *indirect and
 * must be the last of its chain.
 */
static int walk(struct gmem *gmem, const struct table *table, uint32_t first,
		struct vring_chain *chain, struct vring_descriptor *indirect, const char **why)
{
	struct vring_descriptor desc = { .flags = DESC_NEXT, .next = (uint16_t)first };
	int err = 0;

	for (uint32_t steps = 0; (desc.flags & DESC_NEXT) != 0; steps++) {
		if (desc.next >= table->count) {
			return broken(why, ERR_FORMAT, "a descriptor's index is past its table");
		}
		if (steps == table->count) {
			return broken(why, ERR_FORMAT, "a chain has a loop");
		}
		err = read_descriptor(gmem, table, desc.next, &desc);
		if (err != 0) {
			return broken(why, err, "its descriptors are not in RAM");
		}
		if ((desc.flags & DESC_INDIRECT) != 0) {
			if (indirect == NULL) {
				return broken(why, ERR_FORMAT,
					      "a descriptor names a table of others where that is "
					      "not allowed");
			}
			*indirect = desc;
			return (desc.flags & DESC_NEXT) == 0
				       ? 0
				       : broken(why, ERR_FORMAT,
						"a chain goes on after the descriptor of a table");
		}
		err = add_segment(chain, &desc, why);
		if (err != 0) {
			return err;
		}
	}
	return 0;
}

static int read_chain(struct vring *ring, struct gmem *gmem, struct vring_chain *chain,
		      const char **why)
{
	const struct table own = { ring->descriptors, ring->size, 1, &ring->near };
	struct vring_descriptor table = { .flags = 0 };
	struct vring_near near;
	int err;

	if (chain->head - ring->near.first >= ring->near.count) {
		read_heads(ring, gmem, chain->head);
	}
	err = walk(gmem, &own, chain->head, chain, ring->indirect ? &table : NULL, why);
	if (err != 0 || (table.flags & DESC_INDIRECT) == 0) {
		return err;
	}
	/* The table's address needs no alignment. The write flag is ignored here. */
	if (table.bytes == 0 || table.bytes % sizeof(table) != 0 ||
	    table.bytes / sizeof(table) > ring->size) {
		return broken(why, ERR_FORMAT, "a table's length is wrong");
	}
	near.first = near.count = 0;
	return walk(
		gmem,
		&(struct table){ table.address, table.bytes / sizeof(table), TABLE_AHEAD, &near },
		0, chain, NULL, why);
}

/* Finds the head of the next chain, which is available. */
static int next_head(struct vring *ring, struct gmem *gmem, uint16_t *head)
{
	const uint16_t at = ring->next_available & (ring->size - 1);
	uint16_t offset = (uint16_t)(ring->next_available - ring->heads_first);

	if (offset >= ring->heads_count) {
		const uint32_t waiting = (uint16_t)(ring->seen - ring->next_available);
		const uint32_t count = MIN(MIN(waiting, VRING_AHEAD), (uint32_t)ring->size - at);
		const int err = gmem_read(gmem,
					  gpa(ring->available + RING_ENTRIES + AVAIL_ENTRY * at),
					  ring->heads, count * AVAIL_ENTRY);

		ring->near.count = 0;
		ring->heads_first = ring->next_available;
		ring->heads_count = err == 0 ? (uint16_t)count : 0;
		offset = 0;
		if (err != 0) {
			return err;
		}
	}
	*head = ring->heads[offset];
	return 0;
}

/*
 * Reads the driver's index, but only once all chains up to the index that was read last are taken.
 */
static int look(struct vring *ring, struct gmem *gmem)
{
	int err;

	if (ring->seen != ring->next_available) {
		return 0;
	}
	err = load16(gmem, ring->available + RING_INDEX, &ring->seen);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return err;
}

int vring_take(struct vring *ring, struct gmem *gmem, struct vring_chain *chain, const char **why)
{
	int err = look(ring, gmem);

	if (err == 0 && ring->seen == ring->next_available) {
		return 0;
	}
	if (err == 0 && (uint16_t)(ring->seen - ring->next_available) > ring->size) {
		return broken(why, ERR_FORMAT, "its index has jumped");
	}
	chain->count = chain->readable = 0;
	chain->read_bytes = chain->write_bytes = 0;
	chain->near = 0;
	chain->near_offset = 0;
	if (err == 0) {
		err = next_head(ring, gmem, &chain->head);
	}
	if (err != 0) {
		return broken(why, err, "its available ring is not in RAM");
	}
	if (chain->head >= ring->size) {
		return broken(why, ERR_FORMAT, "a chain's head is past its queue");
	}
	err = read_chain(ring, gmem, chain, why);
	if (err != 0) {
		return err;
	}
	ring->next_available++;
	return 1;
}

bool vring_listen(struct vring *ring, struct gmem *gmem)
{
	const uint64_t event = ring->used + RING_ENTRIES + (uint64_t)USED_ENTRY * ring->size;
	uint16_t index;

	if (ring->event_index && gmem_write(gmem, gpa(event), &ring->next_available,
					    sizeof(ring->next_available)) != 0) {
		return false;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(gmem, ring->available + RING_INDEX, &index) == 0 &&
	       index != ring->next_available;
}

static int write_used(struct vring *ring, struct gmem *gmem, const char **why)
{
	const uint64_t at = ring->used + RING_ENTRIES + (uint64_t)USED_ENTRY * ring->put_at;
	const size_t bytes = ring->put_count * sizeof(ring->put[0]);
	const int err = bytes != 0 ? gmem_write(gmem, gpa(at), ring->put, bytes) : 0;

	ring->put_count = 0;
	return err != 0 ? broken(why, err, "its used ring is not in RAM") : 0;
}

int vring_put(struct vring *ring, struct gmem *gmem, uint16_t nth, uint16_t head, uint32_t written,
	      const char **why)
{
	const uint16_t at = (uint16_t)(ring->next_used + nth) & (ring->size - 1);
	int err = 0;

	if (ring->put_count == VRING_AHEAD || at == 0) {
		err = write_used(ring, gmem, why);
	}
	if (ring->put_count == 0) {
		ring->put_at = at;
	}
	ring->put[ring->put_count++] = (struct vring_used){ head, written };
	return err;
}

int vring_show(struct vring *ring, struct gmem *gmem, uint16_t count, const char **why)
{
	const uint16_t next = (uint16_t)(ring->next_used + count);
	int err = write_used(ring, gmem, why);

	if (err != 0) {
		return err;
	}
	__atomic_thread_fence(__ATOMIC_RELEASE);
	err = gmem_write(gmem, gpa(ring->used + RING_INDEX), &next, sizeof(next));
	if (err != 0) {
		return broken(why, err, "its used ring is not in RAM");
	}
	ring->next_used = next;
	return 0;
}

int vring_give(struct vring *ring, struct gmem *gmem, const struct vring_chain *chain,
	       uint32_t written, const char **why)
{
	int err = vring_put(ring, gmem, 0, chain->head, written, why);

	return err != 0 ? err : vring_show(ring, gmem, 1, why);
}

void vring_untake(struct vring *ring, uint16_t count)
{
	ring->next_available = (uint16_t)(ring->next_available - count);
	ring->put_count = 0;
}

bool vring_wants_interrupt(struct vring *ring, struct gmem *gmem)
{
	const uint64_t event = ring->available + RING_ENTRIES + (uint64_t)AVAIL_ENTRY * ring->size;
	const uint16_t before = ring->notified, now = ring->next_used;
	uint16_t word;

	if (before == now) {
		return false;
	}
	ring->notified = now;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (load16(gmem, ring->event_index ? event : ring->available, &word) != 0) {
		return false;
	}
	if (!ring->event_index) {
		return (word & AVAIL_NO_INTERRUPT) == 0;
	}
	/*
	 * virtio 1.2, 2.7.7.2: the driver wants an interrupt if its event index is among the
	 * entries that were given back.
	 */
	return (uint16_t)(now - word - 1) < (uint16_t)(now - before);
}

/*
 * Finds the segment, of those from first on, in which the byte at this offset lies, and the offset
 * at which it begins. Copies go up a chain, so the search begins where the last one ended.
 */
static size_t find(const struct vring_chain *chain, size_t first, size_t end, uint64_t offset,
		   uint64_t *begin)
{
	const bool goes_on = chain->near >= first && chain->near < end &&
			     chain->near_offset <= offset;
	size_t i = goes_on ? chain->near : first;

	*begin = goes_on ? chain->near_offset : 0;
	for (; i < end && offset - *begin >= chain->segments[i].bytes; i++) {
		*begin += chain->segments[i].bytes;
	}
	return i;
}

size_t vring_run(const struct vring_chain *chain, bool writable, uint64_t offset, size_t bytes)
{
	const size_t end = writable ? chain->count : chain->readable;
	uint64_t at;
	size_t i = find(chain, writable ? chain->readable : 0, end, offset, &at);
	const size_t last = MIN(end, i + VRING_RUN);

	for (; i < last && at < offset + bytes; i++) {
		at += chain->segments[i].bytes;
	}
	return at <= offset ? 0 : MIN(bytes, (size_t)(at - offset));
}

/* Copies bytes of the segments from first on. */
static int copy(struct vring_chain *chain, size_t first, size_t end, struct gmem *gmem,
		uint64_t offset, uint8_t *buf, size_t bytes, bool write)
{
	uint64_t begin;

	for (size_t i = find(chain, first, end, offset, &begin); i < end && bytes != 0; i++) {
		const struct vring_segment *segment = &chain->segments[i];
		uint64_t at;
		size_t now;
		int err;

		if (segment->bytes == 0) {
			continue;
		}
		chain->near = (uint16_t)i;
		chain->near_offset = begin;
		now = MIN(bytes, (size_t)(segment->bytes - (offset - begin)));
		if (__builtin_add_overflow(segment->address, offset - begin, &at)) {
			return ERR_RANGE;
		}
		err = write ? gmem_write(gmem, gpa(at), buf, now)
			    : gmem_read(gmem, gpa(at), buf, now);
		if (err != 0) {
			return err;
		}
		buf += now;
		bytes -= now;
		offset += now;
		begin += segment->bytes;
	}
	return bytes == 0 ? 0 : ERR_RANGE;
}

int vring_read(struct vring_chain *chain, struct gmem *gmem, uint64_t offset, void *buf,
	       size_t bytes)
{
	return copy(chain, 0, chain->readable, gmem, offset, buf, bytes, false);
}

int vring_write(struct vring_chain *chain, struct gmem *gmem, uint64_t offset, const void *buf,
		size_t bytes)
{
	return copy(chain, chain->readable, chain->count, gmem, offset, (uint8_t *)(uintptr_t)buf,
		    bytes, true);
}
