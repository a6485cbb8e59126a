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

static void setup_disk(void)
{
	make_swap_area("/dev/swap-disk");
	setup_area();
}

/* In turn, in a cgroup too small for them. */
static unsigned long swap_disk(void)
{
	write_pages(area, SWAP_PAGES * PAGE);
	return SWAP_PAGES;
}

const struct load memory_loads[] = {
	{ "swap-zram", "page", 0, setup_zram, swap_zram },
	{ "swap-disk", "page", 0, setup_disk, swap_disk },
	{ }
};
