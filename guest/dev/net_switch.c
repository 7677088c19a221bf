/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nets, and the ports of each. A net's lock is held while its list is read or changed, and
 * while a queue of one of its ports is claimed. So no CPU claims a queue of a port that has left
 * the net. The lock of a virtio device is taken after that of a net.
 */
#include "guest/dev/virtio_net.h"

#include "crypto/wipe.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/percpu.h"
#include "vmm/base/str.h"
#include "vmm/host/page_alloc.h"

struct net {
	char name[VM_NAME_MAX];
	struct lock lock;
	struct virtio_net *ports; /* by rising order; NULL: this entry is unused */
	uint64_t orders;	  /* the last order that a port was given */
};

/* Enough for every possible port to be alone in its net. */
static struct net nets[VM_MAX * VM_NETS_MAX];

/* Boot processor only. The pages of all CPUs exist while there is a port. */
static uint32_t port_count;
static uint8_t *pages;

uint8_t *net_page(void)
{
	return pages + percpu_self()->index * PAGE_SIZE;
}

/*
 * The hash is FNV-1a. In the first byte of an Ethernet address, bit 1 says that it was assigned
 * locally, and bit 0 that it is a group's.
 */
void net_derive_address(const char *vm, uint32_t n, uint8_t address[NET_ADDRESS])
{
	uint64_t hash = 0xcbf29ce484222325;

	for (const char *c = vm; *c != '\0'; c++) {
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3;
	}
	hash = (hash ^ n) * 0x100000001b3;
	hash ^= hash >> 40;
	address[0] = 0x02;
	for (uint32_t i = 1; i < NET_ADDRESS; i++) {
		address[i] = (uint8_t)(hash >> 8 * (i - 1));
	}
}

static int take_pages(void)
{
	if (port_count == 0) {
		pages = page_alloc(percpu_count());
		if (pages == NULL) {
			return ERR_NOMEM;
		}
		if (wipe_register(pages, percpu_count() * PAGE_SIZE) != 0) {
			page_free(pages, percpu_count());
			return ERR_NOMEM;
		}
	}
	port_count++;
	return 0;
}

static void drop_pages(void)
{
	if (--port_count == 0) {
		wipe_unregister(pages);
		page_free(pages, percpu_count());
	}
}

/* The net of this name, else an unused entry, which gets the name. Boot processor. */
static struct net *find_net(const char *name)
{
	struct net *unused = NULL;

	for (size_t i = 0; i < ARRAY_COUNT(nets); i++) {
		if (nets[i].ports == NULL) {
			unused = unused == NULL ? &nets[i] : unused;
		} else if (str_equal_nocase(nets[i].name, name)) {
			return &nets[i];
		}
	}
	if (unused != NULL) {
		(void)str_copy(unused->name, sizeof(unused->name), name);
	}
	return unused;
}

static bool is_address_of(const struct virtio_net *port, const uint8_t *address)
{
	return memcmp(port->address, address, NET_ADDRESS) == 0;
}

int net_join(struct virtio_net *port)
{
	struct net *net = find_net(port->config->name);
	struct virtio_net **end;
	int err;

	if (net == NULL) {
		return ERR_NOMEM;
	}
	for (const struct virtio_net *other = net->ports; other != NULL; other = other->next) {
		if (is_address_of(other, port->address)) {
			return ERR_EXISTS;
		}
	}
	err = take_pages();
	if (err != 0) {
		return err;
	}
	lock_take(&net->lock, LOCK_NET);
	for (end = &net->ports; *end != NULL; end = &(*end)->next) {
	}
	port->net = net;
	port->next = NULL;
	port->order = ++net->orders;
	*end = port;
	lock_drop(&net->lock);
	return 0;
}

void net_leave(struct virtio_net *port)
{
	struct net *net = port->net;
	struct virtio_net **link;

	if (net == NULL) {
		return;
	}
	lock_take(&net->lock, LOCK_NET);
	for (link = &net->ports; *link != port; link = &(*link)->next) {
	}
	*link = port->next;
	lock_drop(&net->lock);
	virtio_close(&port->virtio);
	port->net = NULL;
	drop_pages();
}

static enum net_found claim(struct virtio_net *port)
{
	switch (virtio_claim(&port->virtio, NET_QUEUE_RECEIVE)) {
	case VIRTIO_CLAIMED: return NET_CLAIMED;
	case VIRTIO_BUSY: return NET_BUSY;
	case VIRTIO_CLOSED:
	default: atomic_add(&port->counters.closed, 1); return NET_CLOSED;
	}
}

enum net_found net_find(const struct virtio_net *from, struct virtio_net **to, uint64_t *order)
{
	const uint8_t *address = from->sending.ethernet;
	const bool group = (address[0] & NET_GROUP_BIT) != 0;
	enum net_found found = NET_NO_PORT;
	struct net *net = from->net;

	lock_take(&net->lock, LOCK_NET);
	for (struct virtio_net *port = net->ports; port != NULL; port = port->next) {
		if (port->order > from->sending.after && port != from &&
		    (group || is_address_of(port, address))) {
			*to = port;
			*order = port->order;
			found = claim(port);
			break;
		}
	}
	lock_drop(&net->lock);
	return found;
}
