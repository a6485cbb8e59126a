// SPDX-License-Identifier: GPL-2.0
/*
 * verity enable FILE: let fs-verity have a file.
 * verity flip FILE OFFSET DEVICE: change a byte of it on its disk, behind the file system.
 *
 * An offset behind the end of the file, at the next 64 KiB, is one of ext4's Merkle tree.
 */

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/fsverity.h>

#define PAGE 4096

static void enable(int fd)
{
	struct fsverity_enable_arg arg = {
		.version = 1,
		.hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
	};
	struct stat stat;

	if (fstat(fd, &stat))
		err(1, "fstat");
	arg.block_size = stat.st_blksize;	/* at most that of the file system */
	if (ioctl(fd, FS_IOC_ENABLE_VERITY, &arg))
		err(1, "FS_IOC_ENABLE_VERITY");
}

static off_t on_disk(int fd, off_t offset)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u = { .map = {
		.fm_start = offset, .fm_length = 1, .fm_flags = FIEMAP_FLAG_SYNC,
		.fm_extent_count = 1,
	} };
	const struct fiemap_extent *extent = u.map.fm_extents;

	if (ioctl(fd, FS_IOC_FIEMAP, &u))
		err(1, "FS_IOC_FIEMAP");
	if (u.map.fm_mapped_extents != 1)
		errx(1, "nothing is at %lld", (long long)offset);
	return extent->fe_physical + (offset - extent->fe_logical);
}

/* Past the page cache of the device, too. */
static void flip(const char *device, off_t at)
{
	static char page[PAGE] __attribute__((aligned(PAGE)));
	int fd = open(device, O_RDWR | O_DIRECT);

	if (fd < 0)
		err(1, "%s", device);
	if (pread(fd, page, PAGE, at & -PAGE) != PAGE)
		err(1, "read %s", device);
	page[at % PAGE] ^= 1;
	if (pwrite(fd, page, PAGE, at & -PAGE) != PAGE || fsync(fd))
		err(1, "write %s", device);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 3)
		errx(2, "usage: verity enable FILE | verity flip FILE OFFSET DEVICE");
	fd = open(argv[2], O_RDONLY);
	if (fd < 0)
		err(1, "%s", argv[2]);
	if (argc == 3 && !strcmp(argv[1], "enable"))
		enable(fd);
	else if (argc == 5 && !strcmp(argv[1], "flip"))
		flip(argv[4], on_disk(fd, atoll(argv[3])));
	else
		errx(2, "what is '%s'?", argv[1]);
	return 0;
}
