// SPDX-License-Identifier: GPL-2.0
/*
 * latency FILE SECONDS SEED - reads of 4 KiB at random places of a file, for so long; prints how
 * many, and how many us the quickest of the slowest 50, 10, 1 and 0.1 % and the slowest took
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK	4096
#define STEPS	16			/* of each power of two */

static unsigned long seen[64 * STEPS];

static uint64_t ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* The steps below 16 ns are one each. */
static int step(uint64_t t)
{
	int power = 63 - __builtin_clzll(t | STEPS);

	return (power - 4) * STEPS + (t >> (power - 4));
}

static double from_us(int step)
{
	int power = step < 2 * STEPS ? 0 : step / STEPS - 1;

	return (double)((uint64_t)(step - power * STEPS) << power) / 1000;
}

int main(int argc, char **argv)
{
	static const double share[] = { 0.5, 0.1, 0.01, 0.001 };
	uint64_t end, slowest = 0;
	unsigned long count = 0;
	char buffer[BLOCK];
	struct stat st;
	int fd;

	if (argc != 4)
		errx(2, "usage: latency FILE SECONDS SEED");
	fd = open(argv[1], O_RDONLY);
	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", argv[1]);
	/* Or more than that page is read. */
	if (posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM))
		errx(1, "posix_fadvise");
	srandom(atoi(argv[3]));
	end = ns() + atof(argv[2]) * 1e9;
	for (uint64_t from = ns(), now; from < end; from = now) {
		off_t at = random() % (st.st_size / BLOCK) * BLOCK;

		from = ns();
		if (pread(fd, buffer, BLOCK, at) != BLOCK)
			err(1, "%s", argv[1]);
		now = ns();
		seen[step(now - from)]++;
		if (now - from > slowest)
			slowest = now - from;
		count++;
	}
	printf("reads %lu", count);
	for (int i = 0; i < 4; i++) {
		unsigned long above = 0;
		int at = 64 * STEPS;

		while (at && above < share[i] * count)
			above += seen[--at];
		printf(" %g %.1f", 100 * share[i], from_us(at));
	}
	printf(" slowest %.1f\n", slowest / 1e3);
	return 0;
}
