// SPDX-License-Identifier: GPL-2.0
/*
 * mapped FILE read|again|write|hold|look PAGES GO: map a file privately, wait until the file GO
 * exists, access each page once, between marks for the plugin, and print the major and minor
 * faults.  read, again and write do so in no way that readahead likes; again has read the pages
 * before, so that they are mapped; hold maps it twice, which makes the pages more worth to reclaim, and
 * keeps the mappings until GO is gone.  look does so as well, and prints then how many pages are
 * in core by mincore() where they are mapped, and where they are not, and by cachestat() how
 * many are cached, and how many were evicted.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "mark.h"

static struct rusage usage(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru;
}

static long in_core(void *map, long pages)
{
	unsigned char vec[pages];
	long i, sum = 0;

	if (mincore(map, pages * 4096, vec))
		err(1, "mincore");
	for (i = 0; i < pages; i++)
		sum += vec[i] & 1;
	return sum;
}

static void look(int fd, void *map, long pages)
{
	struct { unsigned long long offset, length; } range = { 0, pages * 4096 };
	struct { unsigned long long cache, dirty, writeback, evicted, recently; } stat;
	void *untouched = mmap(NULL, pages * 4096, PROT_READ, MAP_PRIVATE, fd, 0);

	if (untouched == MAP_FAILED)
		err(1, "mmap");
	if (syscall(451 /* cachestat */, fd, &range, &stat, 0))
		err(1, "cachestat");
	printf("mapped %ld unmapped %ld cached %llu evicted %llu\n", in_core(map, pages),
	       in_core(untouched, pages), stat.cache, stat.evicted);
}

int main(int argc, char **argv)
{
	struct rusage before, after;
	volatile char *map, *again = NULL;
	unsigned char sum = 0;
	long i, pages;
	int fd, write, hold;

	if (argc != 5)
		errx(2, "usage: mapped FILE read|again|write|hold|look PAGES GO");
	write = !strcmp(argv[2], "write");
	hold = !strcmp(argv[2], "hold") || !strcmp(argv[2], "look");
	pages = atol(argv[3]);
	fd = open(argv[1], O_RDONLY);
	if (fd < 0)
		err(1, "%s", argv[1]);
	map = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED || (!hold && madvise((void *)map, pages * 4096, MADV_RANDOM)))
		err(1, "mmap");
	if (hold) {
		again = mmap(NULL, pages * 4096, PROT_READ, MAP_PRIVATE, fd, 0);
		if (again == MAP_FAILED)
			err(1, "mmap");
	}
	if (!strcmp(argv[2], "again"))
		for (i = 0; i < pages; i++)
			sum += map[i * 4096];
	while (access(argv[4], F_OK))
		usleep(10000);
	before = usage();
	BEGIN();
	for (i = 0; i < pages; i++) {
		if (write)
			map[i * 4096] = 1;
		else
			sum += map[i * 4096];
		if (again)
			sum += again[i * 4096];
	}
	END();
	after = usage();
	printf("major %ld minor %ld sum %u\n", after.ru_majflt - before.ru_majflt,
	       after.ru_minflt - before.ru_minflt, sum);
	fflush(stdout);
	while (hold && !access(argv[4], F_OK))
		usleep(10000);
	if (!strcmp(argv[2], "look"))
		look(fd, (void *)map, pages);
	return 0;
}
