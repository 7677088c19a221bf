// SPDX-License-Identifier: Apache-2.0
/*
 * What the bench of devices runs in a guest; see README.md.
 *
 *   devices disk NAME DEPTH COUNT        COUNT reads of 4 KiB of /dev/vda, DEPTH at a time
 *   devices send NAME ADDRESS PORT MIB   sends so much over TCP, and waits until it has been read
 *   devices take PORT COUNT              reads what is sent by COUNT connections, one by one
 *
 * The first two say "bench: NAME begins" and "NAME ends", and, after as much time without any work,
 * "NAME rests".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BLOCK	  4096
#define DEPTH_MAX 64
#define PIECE	  65536

static const char *name;

static void die(const char *what)
{
	printf("bench: %s failed: %s: %s\n", name, what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void rest(uint64_t ns)
{
	const struct timespec time = { .tv_sec = (time_t)(ns / 1000000000),
				       .tv_nsec = (long)(ns % 1000000000) };

	nanosleep(&time, NULL);
}

/* Writes a line, and waits until the serial line has sent it. */
static void say(const char *what)
{
	printf("bench: %s %s\n", name, what);
	rest(100000000);
}

/* --- Disk --- */

static uint8_t *buffers;
static uint64_t blocks;

static struct iocb requests[DEPTH_MAX];
static struct iocb *list[DEPTH_MAX];
static unsigned listed;

static void prepare(int file, unsigned slot, uint64_t number)
{
	requests[slot] = (struct iocb){
		.aio_data = slot,
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)file,
		.aio_buf = (uintptr_t)buffers + slot * BLOCK,
		.aio_nbytes = BLOCK,
		.aio_offset = (int64_t)(number * 2654435761u % blocks * BLOCK),
	};
	list[listed++] = &requests[slot];
}

/* Submits all requests that were prepared, in one call. */
static void submit(aio_context_t context)
{
	if (listed != 0 && syscall(SYS_io_submit, context, listed, list) != listed) {
		die("io_submit");
	}
	listed = 0;
}

static void read_all(aio_context_t context, int file, unsigned depth, uint64_t count)
{
	uint64_t begun = 0, done = 0;

	for (; begun < depth && begun < count; begun++) {
		prepare(file, (unsigned)begun, begun);
	}
	submit(context);
	while (done < count) {
		struct io_event events[DEPTH_MAX];
		const long got = syscall(SYS_io_getevents, context, 1, depth, events, NULL);

		if (got < 1) {
			die("io_getevents");
		}
		for (long i = 0; i < got; i++, done++) {
			if (events[i].res != BLOCK) {
				die("a read");
			}
			if (begun < count) {
				prepare(file, (unsigned)events[i].data, begun++);
			}
		}
		submit(context);
	}
}

static void run_disk(unsigned depth, uint64_t count)
{
	const int file = open("/dev/vda", O_RDONLY | O_DIRECT);
	aio_context_t context = 0;
	uint64_t bytes = 0, begin, took;

	if (file < 0 || ioctl(file, BLKGETSIZE64, &bytes) != 0) {
		die("/dev/vda");
	}
	blocks = bytes / BLOCK;
	if (depth == 0 || depth > DEPTH_MAX || blocks == 0 ||
	    posix_memalign((void **)&buffers, BLOCK, depth * BLOCK) != 0 ||
	    syscall(SYS_io_setup, depth, &context) != 0) {
		die("preparation");
	}
	memset(buffers, 1, depth * BLOCK);
	read_all(context, file, depth, 200);
	say("begins");
	begin = now_ns();
	read_all(context, file, depth, count);
	took = now_ns() - begin;
	say("ends");
	rest(took);
	say("rests");
}

/* --- Network --- */

static uint8_t piece[PIECE];

static int make_socket(const char *address, const char *port, struct sockaddr_in *to)
{
	const int socket_ = socket(AF_INET, SOCK_STREAM, 0);

	*to = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = inet_addr(address),
	};
	if (socket_ < 0) {
		die("socket");
	}
	return socket_;
}

static void send_all(int to, uint64_t bytes)
{
	char done;

	for (uint64_t left = bytes; left != 0;) {
		const ssize_t sent = write(to, piece, left < PIECE ? left : PIECE);

		if (sent <= 0) {
			die("write");
		}
		left -= (uint64_t)sent;
	}
	shutdown(to, SHUT_WR);
	if (read(to, &done, 1) != 1) {
		die("the other's answer");
	}
	close(to);
}

static int reach(const char *address, const char *port)
{
	struct sockaddr_in to;
	int connection = make_socket(address, port, &to);

	while (connect(connection, (struct sockaddr *)&to, sizeof(to)) != 0) {
		close(connection);
		sleep(1);
		connection = make_socket(address, port, &to);
	}
	return connection;
}

static void run_send(const char *address, const char *port, uint64_t mib)
{
	uint64_t begin, took;
	int connection;

	send_all(reach(address, port), 1 << 20);
	connection = reach(address, port);
	say("begins");
	begin = now_ns();
	send_all(connection, mib << 20);
	took = now_ns() - begin;
	say("ends");
	rest(took);
	say("rests");
}

static void run_take(const char *port, unsigned count)
{
	struct sockaddr_in at;
	const int listener = make_socket("0.0.0.0", port, &at);

	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(listener, 4) != 0) {
		die("listen");
	}
	for (; count != 0; count--) {
		const int connection = accept(listener, NULL, NULL);

		while (read(connection, piece, PIECE) > 0) {
		}
		if (write(connection, "d", 1) != 1) {
			die("answer");
		}
		close(connection);
	}
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	name = argc > 2 ? argv[2] : "?";
	if (argc == 5 && strcmp(argv[1], "disk") == 0) {
		run_disk((unsigned)atoi(argv[3]), (uint64_t)atoi(argv[4]));
	} else if (argc == 6 && strcmp(argv[1], "send") == 0) {
		run_send(argv[3], argv[4], (uint64_t)atoi(argv[5]));
	} else if (argc == 4 && strcmp(argv[1], "take") == 0) {
		run_take(argv[2], (unsigned)atoi(argv[3]));
	} else {
		printf("bench: it was called in a wrong way\n");
		return 1;
	}
	return 0;
}
