// SPDX-License-Identifier: GPL-2.0
/*
 * gaps CPU GO - runs on that CPU as long as the file GO exists, reads the clock all the time,
 * and prints the longest time in us in which it did not get to, and how many took over 2 ms
 */
#include <err.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static uint64_t tod(void)
{
	uint64_t clock;

	/* STORE CLOCK FAST: no system call, and no page but ours */
	asm volatile("stckf %0" : "=Q" (clock) : : "cc");
	return clock;
}

int main(int argc, char **argv)
{
	uint64_t last, longest = 0, asked;
	unsigned long many = 0;
	cpu_set_t set;

	if (argc != 3)
		errx(2, "usage: gaps CPU GO");
	CPU_ZERO(&set);
	CPU_SET(atoi(argv[1]), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "CPU %s", argv[1]);
	/* What else the guest does on this CPU should not count. */
	if (setpriority(PRIO_PROCESS, 0, -20))
		err(1, "setpriority");
	last = asked = tod();
	do {
		uint64_t now = tod(), gap = (now - last) >> 12;

		last = now;
		if (gap > longest)
			longest = gap;
		many += gap > 2000;
		if ((now - asked) >> 12 > 20000) {
			if (access(argv[2], F_OK))
				break;
			last = asked = tod();
		}
	} while (1);
	printf("longest %lu over %lu\n", (unsigned long)longest, many);
	return 0;
}
