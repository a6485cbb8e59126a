// SPDX-License-Identifier: GPL-2.0
/*
 * pinned DIR SECONDS - a device writes into mapped pages while they are synced and read
 *
 * O_DIRECT reads pin pages of a shared mapping and mark them dirty when they end. In the meantime others write the
 * pages back and read them, so that the file system sees clean pages with buffers that nobody seems to need. Each page
 * must hold what the device put there last, also when it is read from the disk again.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 16

#define must(call) ({ typeof(call) r_ = (call); if (r_ == (typeof(call))-1) fail(#call); r_; })

static int from, to;
static char *map;
static volatile bool end;
static unsigned char last[PAGES];
static unsigned long reads, syncs, looks;

static void fail(const char *what)
{
	printf("FAIL %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *device(void *arg)
{
	unsigned int seed = 1;

	(void)arg;
	while (!end) {
		unsigned int n = rand_r(&seed) % PAGES;

		last[n] = 1 + rand_r(&seed) % 255;
		if (must(pread(from, map + n * PAGE, PAGE, (off_t)last[n] * PAGE)) != PAGE)
			fail("short read");
		reads++;
	}
	return NULL;
}

static void *syncer(void *arg)
{
	(void)arg;
	for (; !end; syncs++)
		must(sync_file_range(to, 0, PAGES * PAGE, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				     SYNC_FILE_RANGE_WAIT_AFTER));
	return NULL;
}

static void *reader(void *arg)
{
	char page[PAGE];

	(void)arg;
	for (unsigned int n = 0; !end; n = (n + 1) % PAGES, looks++)
		must(pread(to, page, PAGE, (off_t)n * PAGE));
	return NULL;
}

static void check(const char *when)
{
	char want[PAGE], page[PAGE];

	for (unsigned int n = 0; n < PAGES; n++) {
		memset(want, last[n], PAGE);
		must(pread(to, page, PAGE, (off_t)n * PAGE));
		if (!memcmp(page, want, PAGE))
			continue;
		printf("FAIL %s page %u holds %#x, not %#x\n", when, n, page[0], last[n]);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	void *(*fn[])(void *) = { device, syncer, reader };
	pthread_t thread[3];
	char *page;

	if (argc != 3 || chdir(argv[1])) {
		fprintf(stderr, "usage: pinned DIR SECONDS\n");
		return 2;
	}
	must(posix_memalign((void **)&page, PAGE, PAGE) ? -1 : 0);
	from = must(open("pinned.from", O_RDWR | O_CREAT | O_TRUNC, 0600));
	to = must(open("pinned.to", O_RDWR | O_CREAT | O_TRUNC, 0600));
	for (int n = 0; n < 256; n++) {
		memset(page, n, PAGE);
		must(pwrite(from, page, PAGE, (off_t)n * PAGE));
	}
	must(ftruncate(to, PAGES * PAGE));
	must(fsync(from));
	close(from);
	from = must(open("pinned.from", O_RDONLY | O_DIRECT));
	map = must(mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, to, 0));
	for (int i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, fn[i], NULL);
	sleep(atoi(argv[2]));
	end = true;
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	check("in memory");
	must(munmap(map, PAGES * PAGE));
	must(fsync(to));
	posix_fadvise(to, 0, 0, POSIX_FADV_DONTNEED);
	check("on disk");
	unlink("pinned.from");
	unlink("pinned.to");
	printf("PASS %lu reads by the device, %lu syncs, %lu reads by the program\n", reads, syncs, looks);
	return 0;
}
