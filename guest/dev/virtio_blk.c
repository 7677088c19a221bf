/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request (virtio 1.2, 5.2.6 "Device Operation") has a header of 16 bytes, data, and a status
 * byte, in any split into buffers. The header is read once, when the request begins; each piece of
 * data is read once. Only one block at a time is in clear, in a page of Umbra's own memory, which
 * is zeroed when serve returns.
 */
#include "guest/dev/virtio_blk.h"

#include "crypto/wipe.h"
#include "guest/platform_state.h"
#include "vmm/base/atomic.h"
#include "vmm/base/err.h"
#include "vmm/base/str.h"
#include "vmm/console/log.h"
#include "vmm/host/page_alloc.h"

/* 5.2.3 "Feature bits". */
#define F_SEG_MAX      BIT(2)
#define F_RO	       BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH	       BIT(9)
#define F_TOPOLOGY     BIT(10)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

enum type {
	TYPE_IN = 0,
	TYPE_OUT = 1,
	TYPE_FLUSH = 4,
	TYPE_GET_ID = 8,
	TYPE_DISCARD = 11,
	TYPE_WRITE_ZEROES = 13,
};

enum status {
	STATUS_OK,
	STATUS_IOERR,
	STATUS_UNSUPP,
};

struct header {
	uint32_t type;
	uint32_t reserved;
	uint64_t sector;
};

/* One range of a discard or write-zeroes request. */
struct range {
	uint64_t sector;
	uint32_t sectors;
	uint32_t flags; /* bit 0: unmap */
};
#define RANGES_MAX	  16u
#define RANGE_SECTORS_MAX (32u << 10) /* 16 MiB */
#define RANGE_BLOCK_COST  64u /* bytes that a block which is not copied takes off a turn's budget */

#define ID_BYTES 20

/* 5.2.4 "Device configuration layout". */
struct config {
	uint64_t capacity;
	uint32_t size_max, seg_max;
	uint8_t geometry[4];
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
	uint8_t write_zeroes_may_unmap, unused1[3];
} __attribute__((packed));
_Static_assert(sizeof(struct config) == 60, "virtio 1.2, 5.2.4");
_Static_assert(sizeof(struct config) <= VIRTIO_CONFIG_BYTES, "struct virtio has room for it");

/* Ends the request with an I/O error. */
static void fail(struct virtio_blk *blk, int err)
{
	struct virtio *device = &blk->virtio;

	blk->status = STATUS_IOERR;
	if (err == ERR_NOSPACE && !blk->full) {
		blk->full = true;
		log_warn("vm %s: %s: the %lu KiB of cow are full: writes to further blocks fail; "
			 "further ones are not logged",
			 device->vm->name, blk->disk.config->file.path,
			 blk->disk.config->cow_bytes >> 10);
	}
}

static bool is_within(const struct virtio_blk *blk, uint64_t sector, uint64_t sectors)
{
	return sector <= blk->disk.sectors && sectors <= blk->disk.sectors - sector;
}

static bool writes(uint32_t type)
{
	return type == TYPE_OUT || type == TYPE_DISCARD || type == TYPE_WRITE_ZEROES;
}

/* Returns the error status of a request that must not begin, or STATUS_OK. */
static uint8_t check(const struct virtio_blk *blk, const struct header *header)
{
	switch (header->type) {
	case TYPE_IN:
	case TYPE_OUT:
		if (blk->bytes % DISK_SECTOR != 0 ||
		    !is_within(blk, header->sector, blk->bytes / DISK_SECTOR)) {
			return STATUS_IOERR;
		}
		break;
	case TYPE_DISCARD:
	case TYPE_WRITE_ZEROES:
		if (blk->bytes == 0 || blk->bytes % sizeof(struct range) != 0 ||
		    blk->bytes / sizeof(struct range) > RANGES_MAX) {
			return STATUS_IOERR;
		}
		break;
	case TYPE_FLUSH:
	case TYPE_GET_ID: break;
	default: return STATUS_UNSUPP;
	}
	return writes(header->type) && blk->disk.overlay == NULL ? STATUS_IOERR : STATUS_OK;
}

/*
 * Reads the header and begins the request. Returns false if the chain has no header or no room for
 * the status.
 */
static bool begin(struct virtio_blk *blk, struct virtio_queue *queue)
{
	struct vring_chain *chain = &queue->chain;
	struct header header;

	if (chain->read_bytes < sizeof(header) || chain->write_bytes == 0) {
		blk->virtio.why = "a request has no header, or no room for its status";
		return false;
	}
	if (vring_read(chain, &blk->virtio.vm->gmem, 0, &header, sizeof(header)) != 0) {
		blk->virtio.why = "a request's header is not in RAM";
		return false;
	}
	blk->begun = true;
	blk->type = header.type;
	blk->bytes = header.type == TYPE_IN ? chain->write_bytes - 1
					    : chain->read_bytes - sizeof(header);
	blk->status = check(blk, &header);
	blk->at = blk->status == STATUS_OK ? header.sector * DISK_SECTOR : 0;
	return true;
}

/* --- Data --- */

/*
 * Copies a part of one block between disk and chain. Returns an error of the chain; disk errors set
 * the status.
 */
static int move_piece(struct virtio_blk *blk, struct virtio_queue *queue, size_t bytes)
{
	const uint64_t at = blk->at + queue->chain_at, block = at / DISK_BLOCK;
	uint8_t *data = blk->page + at % DISK_BLOCK;
	struct gmem *gmem = &blk->virtio.vm->gmem;
	int err = 0;

	if (blk->type == TYPE_IN || bytes < DISK_BLOCK) {
		err = disk_read(&blk->disk, block, blk->page);
	}
	if (err != 0) {
		fail(blk, err);
		return 0;
	}
	if (blk->type == TYPE_IN) {
		return vring_write(&queue->chain, gmem, queue->chain_at, data, bytes);
	}
	err = vring_read(&queue->chain, gmem, sizeof(struct header) + queue->chain_at, data, bytes);
	if (err == 0) {
		int full = disk_write(&blk->disk, block, blk->page);

		if (full != 0) {
			fail(blk, full);
		}
	}
	return err;
}

/* How many bytes to move next: what lies in one block, and not in too many segments. */
static size_t piece(const struct virtio_blk *blk, const struct virtio_queue *queue)
{
	const uint64_t within = (blk->at + queue->chain_at) % DISK_BLOCK;
	const bool in = blk->type == TYPE_IN;

	return vring_run(&queue->chain, in, queue->chain_at + (in ? 0 : sizeof(struct header)),
			 MIN(DISK_BLOCK - within, blk->bytes - queue->chain_at));
}

static enum virtio_step move_data(struct virtio_blk *blk, struct virtio_queue *queue,
				  struct virtio_turn *turn)
{
	while (queue->chain_at < blk->bytes && blk->status == STATUS_OK) {
		const size_t bytes = piece(blk, queue);

		if (virtio_is_over(turn)) {
			return VIRTIO_MORE;
		}
		if (move_piece(blk, queue, bytes) != 0) {
			blk->virtio.why = "a buffer is not in RAM";
			return VIRTIO_BROKEN;
		}
		virtio_spend(turn, bytes);
		queue->chain_at += bytes;
		atomic_add(&blk->virtio.counters.bytes, bytes);
	}
	return VIRTIO_DONE;
}

/* Zeroes a part of one block. A discard only frees whole blocks. */
static int zero_piece(struct virtio_blk *blk, uint64_t at, size_t bytes)
{
	const uint64_t block = at / DISK_BLOCK;
	int err;

	if (bytes == DISK_BLOCK) {
		return disk_zero(&blk->disk, block);
	}
	if (blk->type == TYPE_DISCARD) {
		return 0;
	}
	err = disk_read(&blk->disk, block, blk->page);
	if (err == 0) {
		memset(blk->page + at % DISK_BLOCK, 0, bytes);
		err = disk_write(&blk->disk, block, blk->page);
	}
	return err;
}

/* Reads the next range. Returns an error of the chain. */
static int begin_range(struct virtio_blk *blk, struct virtio_queue *queue)
{
	struct range range;
	int err = vring_read(&queue->chain, &blk->virtio.vm->gmem,
			     sizeof(struct header) + queue->chain_at, &range, sizeof(range));

	if (err != 0) {
		return err;
	}
	if (range.sectors > RANGE_SECTORS_MAX || !is_within(blk, range.sector, range.sectors)) {
		fail(blk, ERR_RANGE);
		return 0;
	}
	queue->chain_at += sizeof(range);
	blk->at = range.sector * DISK_SECTOR;
	blk->range_left = (uint64_t)range.sectors * DISK_SECTOR;
	return 0;
}

/* Zeroes the range at blk->at. Returns false if the turn is over before the range's end. */
static bool zero_range(struct virtio_blk *blk, struct virtio_turn *turn)
{
	while (blk->range_left != 0 && blk->status == STATUS_OK) {
		const size_t bytes = MIN(DISK_BLOCK - blk->at % DISK_BLOCK, blk->range_left);
		int err;

		if (virtio_is_over(turn)) {
			return false;
		}
		err = zero_piece(blk, blk->at, bytes);
		if (err != 0) {
			fail(blk, err);
		}
		virtio_spend(turn, bytes == DISK_BLOCK ? RANGE_BLOCK_COST : DISK_BLOCK);
		blk->at += bytes;
		blk->range_left -= bytes;
	}
	return true;
}

static enum virtio_step zero_ranges(struct virtio_blk *blk, struct virtio_queue *queue,
				    struct virtio_turn *turn)
{
	for (;;) {
		if (!zero_range(blk, turn)) {
			return VIRTIO_MORE;
		}
		if (queue->chain_at == blk->bytes || blk->status != STATUS_OK) {
			blk->range_left = 0;
			return VIRTIO_DONE;
		}
		if (begin_range(blk, queue) != 0) {
			blk->virtio.why = "a range is not in RAM";
			return VIRTIO_BROKEN;
		}
	}
}

/* Writes the file's name without its folders, which Linux shows under /dev/disk/by-id. */
static enum virtio_step write_id(struct virtio_blk *blk, struct virtio_queue *queue)
{
	const char *name = blk->disk.config->file.path;
	char id[ID_BYTES] = { 0 };
	const size_t bytes = MIN(queue->chain.write_bytes - 1, sizeof(id));

	for (const char *c = name; *c != '\0'; c++) {
		name = *c == '\\' ? c + 1 : name;
	}
	memcpy(id, name, MIN(strlen(name), sizeof(id)));
	blk->bytes = bytes;
	if (vring_write(&queue->chain, &blk->virtio.vm->gmem, 0, id, bytes) != 0) {
		blk->virtio.why = "a buffer is not in RAM";
		return VIRTIO_BROKEN;
	}
	return VIRTIO_DONE;
}

static enum virtio_step go_on(struct virtio_blk *blk, struct virtio_queue *queue,
			      struct virtio_turn *turn)
{
	if (blk->status != STATUS_OK) {
		return VIRTIO_DONE;
	}
	switch (blk->type) {
	case TYPE_IN:
	case TYPE_OUT: return move_data(blk, queue, turn);
	case TYPE_DISCARD:
	case TYPE_WRITE_ZEROES: return zero_ranges(blk, queue, turn);
	case TYPE_GET_ID: return write_id(blk, queue);
	default: return VIRTIO_DONE;
	}
}

static enum virtio_step serve(struct virtio *device, uint32_t number, struct virtio_turn *turn,
			      uint32_t *written)
{
	struct virtio_blk *blk = (struct virtio_blk *)device;
	struct virtio_queue *queue = &device->queues[number];
	struct vring_chain *chain = &queue->chain;
	enum virtio_step step;
	bool gives;

	if (!blk->begun && !begin(blk, queue)) {
		return VIRTIO_BROKEN;
	}
	step = go_on(blk, queue, turn);
	secure_zero(blk->page, DISK_BLOCK);
	if (step != VIRTIO_DONE) {
		return step;
	}
	blk->begun = false;
	gives = blk->type == TYPE_IN || blk->type == TYPE_GET_ID;
	atomic_add(&device->counters.errors, blk->status != STATUS_OK);
	if (vring_write(chain, &device->vm->gmem, chain->write_bytes - 1, &blk->status, 1) != 0) {
		device->why = "a request's status is not in RAM";
		return VIRTIO_BROKEN;
	}
	*written = gives && blk->status == STATUS_OK ? (uint32_t)(blk->bytes + 1) : 1;
	return VIRTIO_DONE;
}

static void reset(struct virtio *device)
{
	struct virtio_blk *blk = (struct virtio_blk *)device;

	blk->begun = false;
	blk->range_left = 0;
}

static void describe(const struct virtio *device, char *buf, size_t bytes)
{
	const struct virtio_blk *blk = (const struct virtio_blk *)device;
	uint64_t used, cow;

	disk_usage(&blk->disk, &used, &cow);
	if (cow == 0) {
		(void)str_printf(buf, bytes, " %s, read-only", blk->disk.config->file.path);
	} else {
		(void)str_printf(buf, bytes, " %s, %lu of %lu KiB written",
				 blk->disk.config->file.path, used >> 10, cow >> 10);
	}
}

static const struct virtio_ops blk_ops = {
	.name = "virtio-blk",
	.type = 2,
	.class_code = 0x018000,
	.features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY,
	.queues = 1,
	.config_bytes = sizeof(struct config),
	.serve = serve,
	.reset = reset,
	.describe = describe,
};

static void configure(struct virtio_blk *blk)
{
	const struct config config = {
		.capacity = blk->disk.sectors,
		.seg_max = VRING_SIZE_MAX - 2,
		.blk_size = DISK_SECTOR,
		.physical_block_exp = 3,
		.min_io_size = DISK_BLOCK / DISK_SECTOR,
		.num_queues = 1,
		.max_discard_sectors = RANGE_SECTORS_MAX,
		.max_discard_seg = RANGES_MAX,
		.discard_sector_alignment = DISK_BLOCK / DISK_SECTOR,
		.max_write_zeroes_sectors = RANGE_SECTORS_MAX,
		.max_write_zeroes_seg = RANGES_MAX,
		.write_zeroes_may_unmap = 1,
	};

	memcpy(blk->virtio.config, &config, sizeof(config));
	blk->virtio.features = blk->disk.overlay != NULL ? F_DISCARD | F_WRITE_ZEROES : F_RO;
}

static int add_disk(struct platform *platform, const struct vm_disk *config, struct virtio_blk *blk)
{
	int err = disk_open(config, &blk->disk);

	if (err != 0) {
		return err;
	}
	blk->page = page_alloc(1);
	if (blk->page == NULL || wipe_register(blk->page, PAGE_SIZE) != 0) {
		return ERR_NOMEM;
	}
	configure(blk);
	err = virtio_add(&blk->virtio, platform, &blk_ops);
	if (err == 0) {
		log_info("vm %s: disk %s: %lu KiB, %s", platform->vm->name, config->file.path,
			 config->file.bytes >> 10,
			 config->cow_bytes != 0 ? "what is written is kept in memory until the VM "
						  "is destroyed"
						: "read-only");
	}
	return err;
}

#define BLK_PAGES (ALIGN_UP(sizeof(struct virtio_blk), PAGE_SIZE) / PAGE_SIZE)

static void destroy(struct platform *platform)
{
	for (size_t i = 0; i < VM_DISKS_MAX; i++) {
		struct virtio_blk *blk = platform->disks[i];

		if (blk != NULL && blk->page != NULL) {
			wipe_unregister(blk->page);
			page_free(blk->page, 1);
		}
		page_free(blk, BLK_PAGES);
		platform->disks[i] = NULL;
	}
}

static int init(struct platform *platform)
{
	int err = 0;

	for (size_t i = 0; i < VM_DISKS_MAX && err == 0; i++) {
		const struct vm_disk *config = &platform->config->disks[i];

		if (config->file.path[0] == '\0') {
			break;
		}
		platform->disks[i] = page_alloc(BLK_PAGES);
		err = platform->disks[i] == NULL ? ERR_NOMEM
						 : add_disk(platform, config, platform->disks[i]);
	}
	if (err != 0) {
		destroy(platform);
	}
	return err;
}

const struct vdev_ops virtio_blk_device = { .name = "disk", .init = init, .destroy = destroy };
