/* SPDX-License-Identifier: Apache-2.0 */
/* Network devices of several VMs: who gets which frame, what is dropped and counted, and turns. */
#include <stdio.h>

#include "tests/unit/test.h"
#include "tests/unit/net_driver.h"

/* --- Who gets what --- */

TEST(a_frame_arrives, setup, teardown)
{
	static const uint8_t plain[12] = { [10] = 1 };

	for (unsigned i = 0; i < FRAME; i++) {
		frame[i] = (uint8_t)i;
	}
	address(0, 1);
	listen(1, 2, 1530);
	send_plain(0, FRAME);
	assert_int_equal(arrived(1), 1);
	assert_int_equal(take(1, 0, 0), 12 + FRAME);
	assert_memory_equal(got, plain, 12);
	assert_memory_equal(got + 12, frame, FRAME);
	assert_int_equal(messages[1], 1);
	use(0);
	assert_int_equal(used_index(TX), 1);
	assert_int_equal(port(0)->counters.sent.only, 1);
	assert_int_equal(port(0)->counters.sent_bytes.only, FRAME);
	assert_int_equal(port(1)->counters.received.only, 1);
	assert_int_equal(port(1)->counters.received_bytes.only, FRAME);
	assert_int_equal(arrived(2), 0);
	for (unsigned i = 0; i < PAGE_SIZE; i++) {
		assert_int_equal(net_page()[i], 0); /* nothing of it stays */
	}
	/* And back, in a chain whose header is cut in two. */
	listen(0, 1, 1530);
	address(1, 0);
	use(1);
	poke(BUFFER, (uint8_t[12]){ 0 }, 12);
	poke(BUFFER + 0x1000, frame, FRAME);
	set_desc(DESC(TX), 0, BUFFER, 5, F_NEXT, 1);
	set_desc(DESC(TX), 1, BUFFER + 5, 7, F_NEXT, 2);
	set_desc(DESC(TX), 2, BUFFER + 0x1000, FRAME, 0, 0);
	offer(TX, 0);
	notify(TX);
	(void)work();
	assert_int_equal(arrived(0), 1);
	assert_int_equal(take(0, 0, 0), 12 + FRAME);
	assert_memory_equal(got + 12, frame, FRAME);
}

TEST(what_the_driver_is_told, setup, teardown)
{
	use(1);
	assert_int_equal(reg(0x2000, 4), 0x5452);
	assert_int_equal(reg(0x2004, 2), 0x0100);
	assert_int_equal(reg(0x2006, 2), 1);	/* the link is up */
	assert_int_equal(reg(0x200a, 2), 1500); /* MTU */
	assert_int_equal(pci_config(0, 4, false, 0), 0x10411af4);
	assert_int_equal(pci_config(8, 4, false, 0) >> 8, 0x020000);
	assert_int_equal(port(1)->virtio.features & (ALL | NET_F_MAC | NET_F_MTU | NET_F_STATUS),
			 ALL | NET_F_MAC | NET_F_MTU | NET_F_STATUS);
	virtio_net_device.destroy(&platforms[1]);
	use(1);
	end_vm();
	furnish_vm(&vms[1], &platforms[1], "b");
	configs[1].nets[0].offload_off = true;
	platforms[1].config = &configs[1];
	assert_int_equal(virtio_net_device.init(&platforms[1]), 0);
	assert_int_equal(port(1)->virtio.features & ALL, NET_F_MRG_RXBUF);
	assert_non_null(strstr(fake_log_text(), "vm b: net lan 52:54:00:00:00:01, without"));
}

TEST(who_is_not_of_the_net_gets_nothing, setup, teardown)
{
	listen(1, 2, 1530);
	listen(2, 2, 1530);
	address(0, 2);
	send_plain(0, FRAME); /* it is there, on another net */
	assert_int_equal(port(0)->counters.nowhere.only, 1);
	address(0, 7);
	send_plain(0, FRAME);
	assert_int_equal(port(0)->counters.nowhere.only, 2);
	address(0, 0);
	send_plain(0, FRAME); /* to itself */
	assert_int_equal(port(0)->counters.nowhere.only, 3);
	address(2, 1);
	send_plain(0, FRAME);
	assert_int_equal(port(0)->counters.forged.only, 1);
	address(1, 1);
	send_plain(0, FRAME);
	assert_int_equal(port(0)->counters.forged.only, 2);
	address(2, 0);
	memset(frame, 0xff, 6);
	send_plain(2, FRAME); /* nobody else is there, which is no error */
	assert_int_equal(port(2)->counters.nowhere.only, 0);
	assert_int_equal(arrived(1) + arrived(2), 0);
	assert_int_equal(port(0)->counters.sent.only, 5);
	use(0);
	assert_int_equal(used_index(TX), 5);
}

TEST(two_nets_of_one_name, setup, teardown)
{
	virtio_net_device.destroy(&platforms[2]);
	use(2);
	end_vm();
	furnish_vm(&vms[2], &platforms[2], "c");
	assert_int_equal(plug(2, "LAN"), 0);
	drive_with(2, 0);
	listen(1, 4, 1530);
	listen(2, 4, 1530);
	address(0, 1);
	memset(frame, 0xff, 6);
	send_plain(0, FRAME); /* a broadcast */
	assert_int_equal(arrived(1), 1);
	assert_int_equal(arrived(2), 1);
	memcpy(frame, (uint8_t[]){ 0x33, 0x33, 0, 0, 0, 1 }, 6);
	send_plain(0, FRAME);
	assert_int_equal(arrived(1), 2);
	assert_int_equal(arrived(2), 2);
	address(0, 2);
	send_plain(0, FRAME);
	assert_int_equal(arrived(1), 2);
	assert_int_equal(arrived(2), 3);
	/* One of them has no buffer: the other one has its frame. */
	listen(2, 1, 1530);
	address(1, 0);
	memset(frame, 0xff, 6);
	send_plain(1, FRAME);
	assert_int_equal(arrived(2), 4);
	assert_int_equal(port(0)->counters.no_buffer.only, 1);
}

TEST(groups_have_a_limit, setup, teardown)
{
	unsigned sent = 0;

	address(0, 1);
	memset(frame, 0xff, 6);
	for (; port(0)->counters.limited.only == 0; sent++) {
		listen(1, 1, 1530);
		send_plain(0, FRAME);
		assert_in_range(sent, 0, 1000);
	}
	assert_int_equal(sent, 257);
	assert_int_equal(port(1)->counters.received.only, 256);
	drive_with(0, 0); /* its reset gives it no more */
	send_plain(0, FRAME);
	assert_int_equal(port(0)->counters.limited.only, 2);
	fake_tsc += tsc_from_us(2500);
	for (unsigned i = 0; i < 5; i++) {
		listen(1, 1, 1530);
		send_plain(0, FRAME);
	}
	assert_int_equal(port(0)->counters.limited.only, 5);
	assert_int_equal(port(1)->counters.received.only, 258);
	address(0, 1);
	listen(1, 1, 1530);
	send_plain(0, FRAME); /* others have none */
	assert_int_equal(port(1)->counters.received.only, 259);
	/* However long it was silent, no more than a burst. */
	fake_tsc += tsc_from_us(100000000);
	memset(frame, 0xff, 6);
	for (unsigned i = 0; i < 300; i++) {
		send_plain(0, FRAME);
	}
	assert_int_equal(port(0)->counters.limited.only, 5 + 300 - 256);
}

TEST(a_receiver_without_buffers_loses, setup, teardown)
{
	address(0, 1);
	send_plain(0, FRAME);
	assert_int_equal(port(1)->counters.no_buffer.only, 1);
	assert_int_equal(arrived(1), 0);
	use(0);
	assert_int_equal(used_index(TX), 1); /* the sender does not wait */
	listen(1, 1, 1530);
	assert_int_equal(arrived(1), 0); /* and nothing was kept */
	send_plain(0, FRAME);
	assert_int_equal(arrived(1), 1);
	/* One that is too short comes back empty, so that it is not in the way. */
	listen(1, 1, 12 + FRAME - 1);
	listen(1, 1, 11);
	listen(1, 1, 12 + FRAME);
	send_plain(0, FRAME);
	send_plain(0, FRAME);
	assert_int_equal(port(1)->counters.short_buffer.only, 2);
	assert_int_equal(take(1, 1, 0), 0);
	assert_int_equal(take(1, 2, 0), 0);
	send_plain(0, FRAME);
	assert_int_equal(take(1, 3, 0), 12 + FRAME);
	assert_int_equal(status(1), 0xf);
}

TEST(who_stands_still_receives_nothing, setup, teardown)
{
	listen(1, 4, 1530);
	address(0, 1);
	virtio_pause(&vms[1], true);
	send_plain(0, FRAME);
	assert_int_equal(port(1)->counters.closed.only, 1);
	virtio_pause(&vms[1], false);
	send_plain(0, FRAME);
	assert_int_equal(arrived(1), 1);
	use(1);
	pci_config(4, 2, true, 3); /* no bus master */
	send_plain(0, FRAME);
	use(1);
	pci_config(4, 2, true, 7);
	set_reg(0x14, 1, 0);
	send_plain(0, FRAME); /* no driver */
	assert_int_equal(port(1)->counters.closed.only, 3);
	use(1);
	drive(0, 0); /* a driver without queues */
	send_plain(0, FRAME);
	assert_int_equal(port(1)->counters.closed.only, 4);
	assert_int_equal(port(0)->counters.nowhere.only, 0);
}

/* --- Turns, claims, ends --- */

TEST(who_is_busy_is_tried_again, setup, teardown)
{
	listen(1, 2, 1530);
	address(0, 1);
	assert_int_equal(virtio_claim(&port(1)->virtio, RX), VIRTIO_CLAIMED);
	assert_int_equal(virtio_claim(&port(1)->virtio, RX), VIRTIO_BUSY);
	use(0);
	poke(BUFFER, (uint8_t[12]){ 0 }, 12);
	poke(BUFFER + 12, frame, FRAME);
	set_desc(DESC(TX), 0, BUFFER, 12 + FRAME, 0, 0);
	offer(TX, 0);
	notify(TX);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(virtio_work(&vcpus[0], false));
	}
	assert_int_equal(arrived(1), 0);
	assert_int_equal(port(1)->counters.closed.only, 0);
	virtio_release(&port(1)->virtio, RX);
	use(0);
	(void)work();
	assert_int_equal(arrived(1), 1);
	assert_int_equal(port(0)->counters.sent.only, 1);
}

/* Offers a plain frame from VM 0, and does not notify. */
static void offer_plain(uint16_t slot)
{
	const uint64_t at = BUFFER + 0x1000ul * slot;

	use(0);
	poke(at, (uint8_t[12]){ 0 }, 12);
	poke(at + 12, frame, FRAME);
	set_desc(DESC(TX), slot, at, 12 + FRAME, 0, 0);
	offer(TX, slot);
}

TEST(what_a_running_vcpu_sends_is_gathered, setup, teardown)
{
	struct virtio *sender = &port(0)->virtio;
	uint64_t turns, end;

	listen(1, 4, 1530);
	address(0, 1);
	messages[1] = 0;
	turns = atomic_load_relaxed(&sender->counters.turns);
	atomic_store_relaxed(&vcpus[0].state, VCPU_RUNNABLE);
	end = fake_tsc + tsc_from_us(NET_GATHER_US);
	offer_plain(0);
	notify(TX);
	assert_int_equal(virtio_work(&vcpus[0], false), end);
	fake_tsc = end - 1;
	offer_plain(1);
	notify(TX); /* does not begin the wait again */
	assert_int_equal(virtio_work(&vcpus[0], false), end);
	assert_int_equal(atomic_load_relaxed(&sender->counters.turns), turns);
	assert_int_equal(arrived(1), 0);
	fake_tsc = end;
	assert_int_equal(virtio_work(&vcpus[0], false), 0);
	assert_int_equal(atomic_load_relaxed(&sender->counters.turns), turns + 1);
	assert_int_equal(arrived(1), 2);
	/* It halts: nothing more will come. */
	offer_plain(2);
	notify(TX);
	assert_int_not_equal(virtio_work(&vcpus[0], false), 0);
	assert_int_equal(arrived(1), 2);
	atomic_store_relaxed(&vcpus[0].state, VCPU_HALTED);
	assert_int_equal(virtio_work(&vcpus[0], false), 0);
	assert_int_equal(arrived(1), 3);
}

/*
 * A frame waits until either vCPU may send: the notifier, or a sibling that added a frame without
 * notifying and then halts.
 */
TEST(siblings_do_not_wait_for_a_gathering, setup, teardown)
{
	struct vcpu sibling = { .vm = &vms[0], .id = 1, .state = { VCPU_RUNNABLE } };

	listen(1, 4, 1530);
	address(0, 1);
	atomic_store_relaxed(&vcpus[0].state, VCPU_RUNNABLE);
	vms[0].state.only = VM_RUNNING;
	for (unsigned i = 1; i <= 2; i++) {
		offer_plain(0);
		notify(TX);
		assert_int_not_equal(virtio_work(&vcpus[0], false), 0);
		offer_plain(1);
		assert_int_not_equal(vms[0].gathering.only, 0);
		/* While it runs it may add more. */
		atomic_store_relaxed(&sibling.state, VCPU_RUNNABLE);
		assert_int_equal(virtio_work(&sibling, false), 0);
		assert_int_equal(arrived(1), 2 * (i - 1));
		atomic_store_relaxed(&sibling.state, VCPU_HALTED);
		assert_int_equal(virtio_work(&sibling, i == 2), 0); /* also if it leaves its CPU */
		assert_int_equal(arrived(1), 2 * i);
		assert_int_equal(vms[0].gathering.only, 0);
	}
	/* The notifier finds nothing left to do. */
	assert_int_equal(virtio_work(&vcpus[0], false), 0);
}

/* A sibling added a frame without notifying, and had halted before the notification came. */
TEST(who_halted_just_before_does_not_wait, setup, teardown)
{
	const uint64_t moment = tsc_from_us(VIRTIO_NOTIFY_US);
	static const struct {
		uint32_t id; /* of the vCPU that halted */
		bool long_ago, leaves, comes;
	} rows[] = {
		{ 1, false, false, true },
		{ 1, false, true, true },
		{ 1, true, false, false },
		{ 0, false, false, false },
	};

	vms[0].state.only = VM_RUNNING;
	address(0, 1);
	for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
		listen(1, 1, 1530);
		fake_tsc = ALIGN_UP(fake_tsc, VM_VCPU_MAX);
		atomic_store_relaxed(&vcpus[0].state, VCPU_RUNNABLE);
		vms[0].last_halt.only = fake_tsc + rows[i].id;
		fake_tsc += moment + rows[i].long_ago * VM_VCPU_MAX;
		offer_plain(0);
		notify(TX);
		(void)virtio_work(&vcpus[0], rows[i].leaves);
		assert_int_equal(arrived(1), i + rows[i].comes);
		use(0);
		atomic_store_relaxed(&vcpus[0].state, VCPU_HALTED);
		(void)work();
		assert_int_equal(arrived(1), i + 1);
	}
}

/*
 * When the notifier leaves its CPU the frame is sent at once, because the slices of others may be
 * long.
 */
TEST(a_vcpu_that_leaves_sends, setup, teardown)
{
	listen(1, 4, 1530);
	address(0, 1);
	atomic_store_relaxed(&vcpus[0].state, VCPU_RUNNABLE);
	offer_plain(0);
	notify(TX);
	assert_int_not_equal(virtio_work(&vcpus[0], false), 0);
	assert_int_equal(arrived(1), 0);
	assert_int_equal(virtio_work(&vcpus[0], true), 0);
	assert_int_equal(arrived(1), 1);
	/* The next frame has the whole time again. */
	offer_plain(1);
	notify(TX);
	assert_int_equal(virtio_work(&vcpus[0], false), fake_tsc + tsc_from_us(NET_GATHER_US));
}

/* For how long a turn waits after a notification while the vCPU runs. */
static uint64_t wait_us(unsigned n)
{
	uint64_t us = 0, end;

	use(n);
	atomic_store_relaxed(&vcpus[n].state, VCPU_RUNNABLE);
	notify(TX);
	end = virtio_work(&vcpus[n], false);
	while (fake_tsc + tsc_from_us(us) < end) {
		us++;
	}
	atomic_store_relaxed(&vcpus[n].state, VCPU_HALTED);
	(void)work();
	return us;
}

static void send_large(void)
{
	send(0, (struct net_header){ 1, NET_GSO_TCPV4, 0, 1400, 34, 16, 0 }, 3000);
}

static void speak_tcp(void)
{
	drive_with(0, ALL);
	drive_with(1, ALL);
	memcpy(frame + 12, (uint8_t[]){ 8, 0, 0x45 }, 3); /* IPv4, TCP, headers of 20 bytes each */
	frame[14 + 9] = 6;
	frame[34 + 12] = 0x50;
	listen(1, 8, 0x4000);
}

/*
 * While a port sends a stream (frames larger than a segment) its turns wait longer, until it has
 * sent enough small frames.
 */
TEST(streams_are_gathered_longer, setup, teardown)
{
	speak_tcp();
	assert_int_equal(wait_us(0), NET_GATHER_US);
	address(1, 0);
	send_plain(1, FRAME);
	address(0, 1);
	send_large();
	assert_int_equal(wait_us(0), NET_STREAM_US);
	/*
	 * The port that acknowledges the stream waits as long, but only for its
	 * acknowledgements.
	 */
	assert_int_equal(wait_us(1), NET_STREAM_US);
	address(1, 0);
	send_plain(1, FRAME);
	assert_int_equal(wait_us(1), NET_GATHER_US);
	/* A frame to a group is not acknowledged, so no receiver waits longer. */
	address(0, 1);
	memset(frame, 0xff, 6);
	send_large();
	assert_int_equal(arrived(1), 2);
	assert_int_equal(wait_us(1), NET_GATHER_US);
	address(0, 1);
	for (unsigned i = 0; i < 7; i++) {
		send_plain(0, FRAME);
		assert_int_equal(wait_us(0), NET_STREAM_US);
	}
	send_plain(0, FRAME);
	assert_int_equal(wait_us(0), NET_GATHER_US);
	/* Its driver's next life begins as the first one did. */
	send_large();
	drive_with(0, ALL);
	assert_int_equal(wait_us(0), NET_GATHER_US);
}

/* A stream that comes in does not slow what the port sends to others. */
TEST(a_stream_slows_only_its_answers, setup, teardown)
{
	speak_tcp();
	address(0, 1);
	send_large();
	assert_int_equal(wait_us(1), NET_GATHER_US); /* nobody answers it */
	address(1, 2);
	send_plain(1, FRAME);
	address(0, 1);
	send_large();
	assert_int_equal(wait_us(1), NET_GATHER_US);
	/*
	 * A port that acknowledges, but has just sent to another port, may do that again: its wait
	 * stays short.
	 */
	address(1, 0);
	send_plain(1, FRAME);
	address(0, 1);
	send_large();
	assert_int_equal(wait_us(1), NET_GATHER_US);
	fake_tsc += tsc_from_us(NET_PAUSE_US);
	send_large();
	assert_int_equal(wait_us(1), NET_STREAM_US);
	/* Its next driver has not answered yet. */
	drive_with(1, ALL);
	listen(1, 8, 0x4000);
	address(0, 1);
	send_large();
	assert_int_equal(wait_us(1), NET_GATHER_US);
}

/* What comes after a pause is not part of the stream before it: a user may have typed it. */
TEST(a_stream_ends_with_a_pause, setup, teardown)
{
	speak_tcp();
	address(1, 0);
	send_plain(1, FRAME);
	address(0, 1);
	send_large();
	fake_tsc += tsc_from_us(NET_PAUSE_US) - 1;
	assert_int_equal(wait_us(0), NET_STREAM_US);
	assert_int_equal(wait_us(1), NET_STREAM_US);
	fake_tsc++;
	assert_int_equal(wait_us(0), NET_GATHER_US);
	assert_int_equal(wait_us(1), NET_GATHER_US);
	send_large();
	assert_int_equal(wait_us(0), NET_STREAM_US);
}

TEST(a_reset_waits_for_who_has_claimed, setup, teardown)
{
	listen(1, 2, 1530);
	assert_int_equal(virtio_claim(&port(1)->virtio, RX), VIRTIO_CLAIMED);
	use(1);
	set_reg(0x14, 1, 0);
	assert_int_equal(reg(0x14, 1), 0xf);
	/* Nothing new begins while the reset waits, not even turns of the device itself. */
	address(1, 0);
	listen(0, 1, 1530);
	send_plain(1, FRAME);
	assert_int_equal(arrived(0), 0);
	virtio_release(&port(1)->virtio, RX);
	assert_int_equal(status(1), 0);
	assert_int_equal(virtio_claim(&port(1)->virtio, RX), VIRTIO_CLOSED);
	/* Nor does a claim begin while the reset waits for a turn: it could wait for ever. */
	drive_with(1, 0);
	port(1)->virtio.busy = BIT(TX);
	set_reg(0x14, 1, 0);
	assert_int_equal(reg(0x14, 1), 0xf);
	assert_int_equal(virtio_claim(&port(1)->virtio, RX), VIRTIO_CLOSED);
	port(1)->virtio.busy = 0;
	port(1)->virtio.reset_waits.only = false;
}

TEST(addresses_of_ports, setup, teardown)
{
	uint8_t first[6], second[6], other[6];

	net_derive_address("alpha", 0, first);
	net_derive_address("alpha", 1, second);
	net_derive_address("beta", 0, other);
	assert_int_equal(first[0], 0x02);
	assert_memory_not_equal(first, second, 6);
	assert_memory_not_equal(first, other, 6);
	assert_memory_not_equal(second, other, 6);
	virtio_net_device.destroy(&platforms[2]);
	use(2);
	end_vm();
	furnish_vm(&vms[2], &platforms[2], "c");
	memcpy(configs[2].nets[0].address, configs[0].nets[0].address, 6);
	platforms[2].config = &configs[2];
	assert_int_equal(virtio_net_device.init(&platforms[2]), 0); /* on another net */
	virtio_net_device.destroy(&platforms[2]);
	end_vm();
	furnish_vm(&vms[2], &platforms[2], "c");
	strcpy(configs[2].nets[0].name, "lan");
	platforms[2].config = &configs[2];
	assert_int_equal(virtio_net_device.init(&platforms[2]), ERR_EXISTS);
	assert_non_null(strstr(fake_log_text(), "vm c: net lan 52:54:00:00:00:00: another port"));
	end_vm();
	furnish_vm(&vms[2], &platforms[2], "c");
	configs[2].nets[0].has_address = false;
	configs[2].nets[1] = configs[2].nets[0];
	platforms[2].config = &configs[2];
	assert_int_equal(virtio_net_device.init(&platforms[2]), 0);
	net_derive_address("c", 1, second);
	assert_memory_equal(platforms[2].nets[1]->address, second, 6);
}

TEST(no_memory_for_pages, setup, teardown)
{
	for (unsigned n = 0; n < VMS; n++) {
		virtio_net_device.destroy(&platforms[n]);
	}
	for (int after = 0; after < 2; after++) {
		use(0);
		end_vm();
		furnish_vm(&vms[0], &platforms[0], "a");
		fake_pages_fail_after(after);
		assert_int_equal(plug(0, "lan"), ERR_NOMEM);
		fake_pages_fail_after(-1);
	}
	assert_int_equal(platforms[0].nets[0], NULL);
}

/* What people read. */
static char printed[2000];

static void note(const char *fmt, ...)
{
	va_list args;
	const size_t used = strlen(printed);

	va_start(args, fmt);
	vsnprintf(printed + used, sizeof(printed) - used, fmt, args);
	va_end(args);
}

TEST(counters_are_shown, setup, teardown)
{
	listen(1, 1, 1530);
	address(0, 1);
	send_plain(0, 1500);
	send_plain(0, 1500);
	printed[0] = '\0';
	virtio_print(&vms[0], note);
	assert_non_null(strstr(printed, "virtio-net lan 52:54:00:00:00:00: in use"));
	assert_non_null(strstr(printed, "sent 2 frames, 2 KiB; dropped: 0 with a forged source"));
	virtio_print(&vms[1], note);
	assert_non_null(strstr(printed, "received 1 frames, 1 KiB; lost: 1 without a buffer"));
	assert_int_equal(virtio_bytes(&vms[0]), 3000);
	assert_int_equal(virtio_bytes(&vms[1]), 1500);
}
