// SPDX-License-Identifier: GPL-2.0
/*
 * How much of the clean file cache the host may discard, and why not more.
 *
 * cachemap: count the pages of all memory by /proc/kpageflags; prints "KEY... NUMBER" lines.
 * cachemap --drop PATH...: have the kernel give up what it caches of these files and of
 *	what is below these directories; what that changes in the counts was theirs.
 *
 * A page is of the clean file cache if it is uptodate, neither anonymous nor of shmem nor in
 * the hands of anybody but the page cache, not dirty, and not under writeback.  What file
 * systems have read of their metadata is in the cache of a block device ("buffers", in any
 * state), and most of it is not uptodate as folios, but in its buffer heads: "partly".
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* include/uapi/linux/kernel-page-flags.h and include/linux/kernel-page-flags.h */
#define LOCKED		(1ull << 0)
#define UPTODATE	(1ull << 3)
#define DIRTY		(1ull << 4)
#define LRU		(1ull << 5)
#define SLAB		(1ull << 7)
#define WRITEBACK	(1ull << 8)
#define BUDDY		(1ull << 10)
#define MMAP		(1ull << 11)
#define ANON		(1ull << 12)
#define SWAPBACKED	(1ull << 14)
#define HEAD		(1ull << 15)
#define TAIL		(1ull << 16)
#define HUGE		(1ull << 17)
#define UNEVICTABLE	(1ull << 18)
#define HWPOISON	(1ull << 19)
#define NOPAGE		(1ull << 20)
#define OFFLINE		(1ull << 23)
#define ZERO_PAGE	(1ull << 24)
#define PGTABLE		(1ull << 26)
#define RESERVED	(1ull << 32)
#define MLOCKED		(1ull << 33)
#define PRIVATE		(1ull << 35)
#define PRIVATE_2	(1ull << 36)
#define HVA_VOLATILE	(1ull << 43)

#define NOT_OF_FILES	(SLAB | BUDDY | ANON | SWAPBACKED | HUGE | HWPOISON | NOPAGE | \
			 OFFLINE | ZERO_PAGE | PGTABLE | RESERVED)

/* What keeps a page stable; the first that is true counts. */
enum why {
	WHY_VOLATILE, WHY_LOCKED_MEMORY, WHY_LOCKED, WHY_PRIVATE, WHY_LARGE, WHY_NO_LRU,
	WHY_OTHER, NR_WHYS
};

static const char *const whys[NR_WHYS] = {
	"volatile", "mlocked", "locked", "private", "large", "no-lru", "other"
};

static enum why why(uint64_t flags)
{
	if (flags & HVA_VOLATILE)
		return WHY_VOLATILE;
	if (flags & (MLOCKED | UNEVICTABLE))
		return WHY_LOCKED_MEMORY;
	if (flags & LOCKED)
		return WHY_LOCKED;
	if (flags & (PRIVATE | PRIVATE_2))
		return WHY_PRIVATE;
	/* A large folio is mapped if one of its pages is: the kernel says so for all. */
	if (flags & (HEAD | TAIL))
		return WHY_LARGE;
	if (!(flags & LRU))
		return WHY_NO_LRU;
	return WHY_OTHER;
}

static void count(void)
{
	static uint64_t flags[65536];
	static long clean[2][NR_WHYS];
	long pages = 0, large[2] = { 0, 0 }, dirty = 0, writeback = 0, shmem = 0, anon = 0;
	long partly = 0, buffers = 0;
	char line[200];
	int fd, mapped, i;
	ssize_t size;
	FILE *file;

	fd = open("/proc/kpageflags", O_RDONLY);
	if (fd < 0)
		err(1, "/proc/kpageflags");
	while ((size = read(fd, flags, sizeof(flags))) > 0) {
		for (i = 0; i < (int)(size / sizeof(flags[0])); i++) {
			uint64_t f = flags[i];

			if (f & NOPAGE)
				continue;
			pages++;
			if (f & BUDDY)
				continue;
			if (f & ANON)
				anon++;
			else if (f & SWAPBACKED && f & UPTODATE)
				shmem++;
			if (f & NOT_OF_FILES)
				continue;
			if (!(f & UPTODATE)) {
				partly += !!(f & LRU);
				continue;
			}
			if (f & DIRTY) {
				dirty++;
				continue;
			}
			if (f & WRITEBACK) {
				writeback++;
				continue;
			}
			mapped = !!(f & MMAP);
			clean[mapped][why(f)]++;
			if (f & (HEAD | TAIL))
				large[mapped]++;
		}
	}
	if (size < 0)
		err(1, "/proc/kpageflags");
	close(fd);

	file = fopen("/proc/meminfo", "r");
	if (!file)
		err(1, "/proc/meminfo");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Buffers: %ld kB", &buffers) == 1)
			break;
	fclose(file);

	for (mapped = 0; mapped < 2; mapped++) {
		for (i = 0; i < NR_WHYS; i++)
			printf("%s %s %ld\n", mapped ? "mapped" : "unmapped", whys[i],
			       clean[mapped][i]);
	}
	/* How many of these, volatile or not, are in large folios. */
	printf("folios large-unmapped %ld\nfolios large-mapped %ld\n", large[0], large[1]);
	printf("else dirty %ld\nelse writeback %ld\nelse shmem %ld\nelse anon %ld\n", dirty,
	       writeback, shmem, anon);
	printf("else partly %ld\nelse buffers %ld\nelse pages %ld\n", partly,
	       buffers * 1024 / getpagesize(), pages);
}

static int drop(const char *name, const struct stat *st, int type, struct FTW *where)
{
	int fd;

	(void)where;
	if (type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	fd = open(name, O_RDONLY | O_NOFOLLOW);
	if (fd < 0)
		err(1, "%s", name);
	errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (errno)
		err(1, "%s: posix_fadvise", name);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	int i;

	if (argc == 1) {
		count();
		return 0;
	}
	if (argc < 3 || strcmp(argv[1], "--drop"))
		errx(2, "usage: cachemap [--drop PATH...]");
	for (i = 2; i < argc; i++)
		if (nftw(argv[i], drop, 20, FTW_PHYS))
			err(1, "%s", argv[i]);
	return 0;
}
