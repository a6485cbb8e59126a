// SPDX-License-Identifier: GPL-2.0
/*
 * lockrace FILE SECONDS - lock a part of a large folio just as it is about to turn volatile
 *
 * Another process maps FILE thousands of times, so that whoever looks at all that map it is on
 * the way for long, after he has seen ours.  Ours begins and ends within large folios, and is
 * locked and unlocked again and again, while a thread lets what was unlocked turn volatile.
 * After mlock2() has returned and each page was touched, touching them must not fault.
 */
#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "clock.h"
#include "settle.h"

#define PAGE	4096l
#define MANY	20000
#define FIRST	3		/* page, and how many; no large folio ends there */
#define PAGES	10

#define must(call) ({ typeof(call) r_ = (call); if (r_ == (typeof(call))-1) err(2, #call); r_; })

static volatile bool ended;

static void *settler(void *arg)
{
	while (!ended)
		settle();
	return arg;
}

static long faults(void)
{
	struct rusage usage;

	must(getrusage(RUSAGE_THREAD, &usage));
	return usage.ru_minflt + usage.ru_majflt;
}

static void touch(volatile char *map)
{
	for (int i = 0; i < PAGES; i++)
		(void)map[i * PAGE];
}

int main(int argc, char **argv)
{
	unsigned long rounds = 0, bad = 0;
	unsigned int seed = 1;
	pthread_t thread;
	int fd, ready[2];
	int64_t end;
	pid_t child;
	char *map, byte;

	if (argc != 3)
		errx(2, "usage: lockrace FILE SECONDS");
	fd = must(open(argv[1], O_RDONLY));
	map = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, FIRST * PAGE);
	must((long)map);
	must(madvise(map, PAGES * PAGE, MADV_DONTFORK));
	must(pipe(ready));
	child = must(fork());
	if (!child) {
		/* They do not merge. */
		for (int i = 0; i < MANY; i++)
			must((long)mmap(NULL, PAGES * PAGE, i % 2 ? PROT_READ : PROT_NONE,
					MAP_SHARED, fd, FIRST * PAGE));
		must(write(ready[1], "", 1));
		pause();
	}
	must(read(ready[0], &byte, 1));
	pthread_create(&thread, NULL, settler, NULL);
	for (end = now_ms() + atoi(argv[2]) * 1000; now_ms() < end; rounds++) {
		long before;

		touch(map);
		usleep(rand_r(&seed) % 20000);
		must(mlock2(map, PAGES * PAGE, MLOCK_ONFAULT));
		touch(map);
		before = faults();
		for (int64_t until = now_ms() + 10; now_ms() < until;)
			touch(map);
		bad += faults() != before;
		must(munlock(map, PAGES * PAGE));
	}
	ended = true;
	pthread_join(thread, NULL);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	printf("%s%lu times locked, %lu times it faulted then\n", bad ? "FAIL " : "", rounds, bad);
	return bad ? 1 : 0;
}
