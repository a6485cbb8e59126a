// SPDX-License-Identifier: GPL-2.0
/* Pages that go to a swap device and come back, and pages that move. */
#include "cost.h"

#define SWAP_PAGES	2048

static char *area;

static void setup_area(void)
{
	area = must(mmap(NULL, SWAP_PAGES * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	/* The same word all over a page is what zram stores quickly; write_pages() keeps it. */
	memset(area, 1, SWAP_PAGES * PAGE);
}

static void setup_zram(void)
{
	swapoff("/dev/zram0");		/* of another load, if there was one */
	make_swap_area("/dev/zram0");
	setup_area();
}

/* Out by advice, in by a fault. */
static unsigned long swap_zram(void)
{
	must(madvise(area, SWAP_PAGES * PAGE, MADV_PAGEOUT));
	write_pages(area, SWAP_PAGES * PAGE);
	return SWAP_PAGES;
}

/* Processes that share what is swapped, so that zram does not do without the swap cache. */
static void setup_shared(void)
{
	pid_t parent = getpid();

	setup_zram();
	if (must(fork()))
		return;
	while (getppid() == parent)
		sleep(1);
	_exit(0);
}

/* Out by reclaim, in by a fault; after the first time nothing has to be written. */
static unsigned long swap_cache(void)
{
	int f = must(open("/tmp/group/cost/memory.reclaim", O_WRONLY));

	/* It may reclaim a little less, and say so. */
	if (write(f, "8M", 2) < 0 && errno != EAGAIN)
		fail("memory.reclaim: %s", strerror(errno));
	close(f);
	read_pages(area, SWAP_PAGES * PAGE);
	return SWAP_PAGES;
}

static unsigned long migrated(void)
{
	unsigned long pages = 0;
	char line[128];
	FILE *file = fopen("/proc/vmstat", "r");

	if (!file)
		fail("/proc/vmstat: %s", strerror(errno));
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "pgmigrate_success %lu", &pages) == 1)
			break;
	fclose(file);
	return pages;
}

/* Every other page of the file is free: the others move together. */
static unsigned long migrate(void)
{
	unsigned long before;
	int f;

	END();
	for (size_t off = 0; off < length; off += MIB)
		all_of(pread(fd, buffer, MIB, off), MIB);
	for (size_t off = 0; off < length; off += 2 * PAGE)
		must(posix_fadvise(fd, off, PAGE, POSIX_FADV_DONTNEED));
	f = must(open("/proc/sys/vm/compact_memory", O_WRONLY));
	before = migrated();
	BEGIN();
	all_of(write(f, "1", 1), 1);
	END();
	before = migrated() - before;
	close(f);
	BEGIN();
	return before;
}

const struct load memory_loads[] = {
	{ "swap-zram", "page", 0, setup_zram, swap_zram },
	{ "swap-cache", "page", 0, setup_shared, swap_cache },
	{ "migrate", "page", 16 * MIB_PAGES, NULL, migrate },
	{ }
};
