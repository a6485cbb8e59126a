// SPDX-License-Identifier: GPL-2.0
/* Pages that go to a swap device, and come back. */
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

const struct load memory_loads[] = {
	{ "swap-zram", "page", 0, setup_zram, swap_zram },
	{ "swap-cache", "page", 0, setup_shared, swap_cache },
	{ }
};
