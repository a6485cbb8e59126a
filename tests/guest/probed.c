// SPDX-License-Identifier: GPL-2.0
/*
 * What probes count while the pages of a file are discarded.
 *
 * probed make FILE PAGES: write a file whose content is known.
 * probed pipe|pread|pwrite FILE PAGES: copy every other page, from a mapping through a pipe, by
 *	pread(), or from a mapping to FILE.copy; compare it, and print what /proc/vmstat and PROFILE
 *	have counted meanwhile.  The host discards the folios that are copied, but not those in
 *	between: so each meets a fault of its own.
 * probed offset: print the offsets of some functions in this program's file.
 * probed call TIMES: call each of them so often, or, with 0, until the file STOP exists; check
 *	what they return, and print how often that was.
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include "settle.h"

#define PROFILE "/sys/kernel/debug/tracing/kprobe_profile"
#define STOP "/tmp/stop"
#define PAGE 4096
#define WORDS (PAGE / 8)

struct sample {
	long faults, from, to, byte, missed, own;
};

static uint64_t buffer[WORDS], expected[WORDS];

static void content(uint64_t *page, long nr)
{
	int i;

	for (i = 0; i < WORDS; i++)
		page[i] = (nr * WORDS + i) * 0x9e3779b97f4a7c15;
}

static void take(struct sample *sample)
{
	char name[80];
	long hits, missed;
	struct rusage ru;
	FILE *file;

	memset(sample, 0, sizeof(*sample));
	file = fopen("/proc/vmstat", "r");
	if (!file)
		err(1, "vmstat");
	while (fscanf(file, "%79s %ld", name, &hits) == 2)
		if (!strcmp(name, "page_hva_faults_kernel"))
			sample->faults = hits;
	fclose(file);
	file = fopen(PROFILE, "r");
	if (!file)
		err(1, PROFILE);
	while (fscanf(file, "%79s %ld %ld", name, &hits, &missed) == 3) {
		if (!strncmp(name, "from", 4))
			sample->from += hits;
		else if (!strncmp(name, "byte", 4))
			sample->byte += hits;
		else
			sample->to += hits;
		sample->missed += missed;
	}
	fclose(file);
	getrusage(RUSAGE_SELF, &ru);
	sample->own = ru.ru_minflt + ru.ru_majflt;
}

static void compare(long nr)
{
	content(expected, nr);
	if (memcmp(buffer, expected, PAGE))
		errx(1, "page %ld is wrong: %lx", nr, (unsigned long)buffer[0]);
}

static void make(const char *path, long pages)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	long nr;

	for (nr = 0; nr < pages; nr++) {
		content(buffer, nr);
		if (write(fd, buffer, PAGE) != PAGE)
			err(1, "%s", path);
	}
	if (fsync(fd))
		err(1, "fsync");
}

static void copy(const char *way, const char *path, long pages)
{
	struct sample before, after;
	int fd, to = -1, ends[2];
	char name[200];
	volatile char *map;
	long nr;

	fd = open(path, O_RDONLY);
	map = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || pipe(ends) || posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) ||
	    madvise((void *)map, pages * PAGE, MADV_RANDOM))
		err(1, "%s", path);
	if (!strcmp(way, "pwrite")) {
		snprintf(name, sizeof(name), "%s.copy", path);
		to = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
		if (to < 0)
			err(1, "%s", name);
	}
	/* What was read may go. */
	for (nr = 1; nr < pages; nr += 2)
		(void)map[nr * PAGE];
	for (nr = 0; nr < pages; nr += 2) {
		if (pread(fd, buffer, PAGE, nr * PAGE) != PAGE)
			err(1, "page %ld", nr);
		compare(nr);
	}
	settle();
	/* Once more, so that a sample does not count itself. */
	take(&before);
	take(&before);
	for (nr = 0; nr < pages; nr += 2) {
		const char *from = (const char *)map + nr * PAGE;
		ssize_t done;

		if (!strcmp(way, "pipe")) {
			done = write(ends[1], from, PAGE);
			if (done == PAGE)
				done = read(ends[0], buffer, PAGE);
		} else if (to >= 0) {
			done = pwrite(to, from, PAGE, nr * PAGE);
			if (done == PAGE)
				done = pread(to, buffer, PAGE, nr * PAGE);
		} else {
			done = pread(fd, buffer, PAGE, nr * PAGE);
		}
		if (done < 0)
			err(1, "page %ld", nr);
		if (done != PAGE)
			errx(1, "page %ld: %zd bytes", nr, done);
		compare(nr);
	}
	take(&after);
	printf("discard %ld page %ld from %ld to %ld byte %ld missed %ld\n",
	       after.faults - before.faults, after.own - before.own, after.from - before.from,
	       after.to - before.to, after.byte - before.byte, after.missed - before.missed);
}

/* In pages of their own, so that a probe in one of them leaves the others alone. */
#define AWAY __attribute__((noinline, noclone, aligned(PAGE)))

static AWAY long add(long value)
{
	asm volatile("" : "+r" (value));
	return value + 3;
}

static AWAY long twice(long value)
{
	asm volatile("" : "+r" (value));
	return value * 2;
}

static AWAY long less(long value)
{
	asm volatile("" : "+r" (value));
	return value - 5;
}

static int find(struct dl_phdr_info *info, size_t size, void *address)
{
	uintptr_t wanted = (uintptr_t)address;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + p->p_vaddr;

		if (p->p_type == PT_LOAD && wanted >= start && wanted < start + p->p_filesz) {
			printf("0x%lx\n", (unsigned long)(wanted - start + p->p_offset));
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	long i, times;

	if (argc == 4 && !strcmp(argv[1], "make")) {
		make(argv[2], atol(argv[3]));
	} else if (argc == 4) {
		copy(argv[1], argv[2], atol(argv[3]));
	} else if (argc == 2 && !strcmp(argv[1], "offset")) {
		dl_iterate_phdr(find, add);
		dl_iterate_phdr(find, twice);
		dl_iterate_phdr(find, less);
	} else if (argc == 3 && !strcmp(argv[1], "call")) {
		times = atol(argv[2]);
		puts("begin");
		fflush(stdout);
		for (i = 0; times ? i < times : access(STOP, F_OK); i++)
			if (less(twice(add(i))) != (i + 3) * 2 - 5)
				errx(1, "call %ld is wrong", i);
		printf("%ld\n", i);
	} else {
		errx(2, "usage: probed make|pipe|pread|pwrite FILE PAGES, offset, call TIMES");
	}
	return 0;
}
