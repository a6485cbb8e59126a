// SPDX-License-Identifier: GPL-2.0
/*
 * locked - file pages that a process holds on to, for a host that wants them
 *
 * usage: locked start HOW FILE	writes FILE, reads it, holds its pages as HOW says, and
 *				prints the page frame numbers; a process stays behind
 *				that holds them and touches them all the time
 *        locked end HOW	lets go of them, unmaps them, reads FILE once more, and
 *				says what happened to them meanwhile
 *        locked list		names all HOW
 *
 * Whoever reads memory that is locked must not meet a page fault, and the content must be
 * right.  Exit status 0: it was so.  1 and a line that begins with FAIL: it was not.
 *
 * Two processes meet in files /tmp/locked.HOW*.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "settle.h"

#define PAGE	4096
#define PAGES	256			/* a huge page; a pipe has as many slots */
#define SIZE	(PAGES * PAGE)
#define WORDS	(PAGE / sizeof(uint64_t))

enum kind { LOCKED, PINNED, LOOSE };

static char *map;			/* where FILE is mapped */
static int file, ends[2];
static bool present[PAGES];		/* when the lock was set: these must stay */

static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("FAIL locked: ");
	vprintf(fmt, ap);
	printf(": %s\n", strerror(errno));
	va_end(ap);
	exit(1);
}

#define must(call) ({ typeof(call) r_ = (call); if (r_ == (typeof(call))-1) die("%s", #call); r_; })

static uint64_t word(size_t page, size_t n)
{
	return (page * WORDS + n + 1) * 0x9e3779b97f4a7c15ull;
}

static int wrong_pages(const char *p)
{
	int wrong = 0;

	for (size_t page = 0; page < PAGES; page++)
		for (size_t n = 0; n < WORDS; n++)
			if (((uint64_t *)p)[page * WORDS + n] != word(page, n)) {
				wrong++;
				break;
			}
	return wrong;
}

static void run_on(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	must(sched_setaffinity(0, sizeof(cpus), &cpus));
}

static void map_file(int more)
{
	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED | more, file, 0);
	must((intptr_t)map);
}

/* One access maps what is cached around it: pages that nobody had to wait for. */
static void touch_some(void)
{
	for (int page = 0; page < PAGES; page += 16)
		(void)*(volatile char *)(map + page * PAGE);
}

static void map_around(void)
{
	map_file(0);
	touch_some();
}

static void how_mlock(void)
{
	map_around();
	must(mlock(map, SIZE));
}

static void how_onfault(void)
{
	map_around();
	must(mlock2(map, SIZE, MLOCK_ONFAULT));
}

/*
 * Every other page, so that no large folio is mapped, or locked, as a whole.  The others
 * are not there: they are mapped anew.
 */
static void how_part(void)
{
	map_around();
	for (int page = 1; page < PAGES; page += 2) {
		char *at = map + page * PAGE;

		must((intptr_t)mmap(at, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file,
				    page * PAGE));
	}
	for (int page = 0; page < PAGES; page += 2)
		must(mlock2(map + page * PAGE, PAGE, MLOCK_ONFAULT));
}

static void how_mlockall(void)
{
	map_around();
	must(mlockall(MCL_CURRENT));
}

static void how_mlockall_onfault(void)
{
	map_around();
	must(mlockall(MCL_CURRENT | MCL_ONFAULT));
}

static void how_future(void)
{
	must(mlockall(MCL_FUTURE));
	map_file(0);
}

static void how_map_locked(void)
{
	map_file(MAP_LOCKED);
}

/* Not unlocked, only unmapped in the end. */
static void how_unmap(void)
{
	how_mlock();
}

/* Locked twice and unlocked once: it is still locked. */
static void how_twice(void)
{
	char *other;

	map_around();
	must(mlock(map, SIZE));
	other = map;
	map_around();
	must(mlock(map, SIZE));
	must(munlock(other, SIZE));
	must(munmap(other, SIZE));
}

/*
 * While the last pages still wait in a batch of this CPU to be counted as locked, another
 * process on another CPU locks and unlocks them.  The page flag is lost by that, and nobody
 * learns from references that the pages are in use.  The lock still holds.
 */
static void how_shared(void)
{
	pid_t pid;

	map_file(MAP_LOCKED);
	pid = must(fork());
	if (!pid) {
		run_on(1);
		for (int i = 0; i < 20; i++) {
			must(mlock(map, SIZE));
			must(munlock(map, SIZE));
		}
		_exit(0);
	}
	must(waitpid(pid, NULL, 0));
	must(madvise(map, SIZE, MADV_RANDOM));
}

static void how_populate(void)
{
	map_file(MAP_POPULATE);
}

/* Written to in the end: the kernel copies what is mapped, and perhaps gone. */
static void how_private(void)
{
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	must((intptr_t)map);
	touch_some();
}

static void to_pipe(void)
{
	struct iovec iov = { map, SIZE };

	must(pipe(ends));
	must(fcntl(ends[1], F_SETPIPE_SZ, SIZE));
	for (ssize_t n; iov.iov_len; iov.iov_base += n, iov.iov_len -= n)
		n = must(vmsplice(ends[1], &iov, 1, 0));
}

static int wrong_in_pipe(void)
{
	static char buf[SIZE];

	for (ssize_t n, got = 0; got < SIZE; got += n)
		n = must(read(ends[0], buf + got, SIZE - got));
	return wrong_pages(buf);
}

/* The pipe refers to the pages; they are not mapped any more. */
static void how_pipe(void)
{
	map_around();
	to_pipe();
}

/* One folio, mapped by one entry, where the file system and the kernel have that; volatile. */
static void map_huge(void)
{
	char *at = mmap(NULL, 2 * SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must((intptr_t)at);
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	map = mmap((void *)(((uintptr_t)at + SIZE - 1) & -SIZE), SIZE, PROT_READ,
		   MAP_SHARED | MAP_FIXED, file, 0);
	must((intptr_t)map);
	madvise(map, SIZE, MADV_HUGEPAGE);
	touch_some();
	if (!access("/sys/kernel/debug/page_hva/settle", F_OK))
		settle();
}

/* In the end it goes through a pipe: GUP of what may be gone, without a page table lock. */
static void how_huge_pipe(void)
{
	map_huge();
}

/* In the end another process might read it: the same with a page table lock. */
static void how_huge_readv(void)
{
	map_huge();
}

static int wrong_by_readv(void)
{
	static char buf[SIZE];
	struct iovec local = { buf, SIZE }, remote = { map, SIZE };

	if (must(process_vm_readv(getpid(), &local, 1, &remote, 1, 0)) != SIZE)
		die("short process_vm_readv");
	return wrong_pages(buf);
}

static const struct how {
	const char *name;
	void (*hold)(void);
	enum kind kind;
} hows[] = {
	{ "mlock", how_mlock, LOCKED },
	{ "mlock-onfault", how_onfault, LOCKED },
	{ "mlock-part", how_part, LOCKED },
	{ "mlock-munmap", how_unmap, LOCKED },
	{ "mlockall", how_mlockall, LOCKED },
	{ "mlockall-onfault", how_mlockall_onfault, LOCKED },
	{ "mlockall-future", how_future, LOCKED },
	{ "map-locked", how_map_locked, LOCKED },
	{ "locked-twice", how_twice, LOCKED },
	{ "locked-shared", how_shared, LOCKED },
	{ "pipe", how_pipe, PINNED },
	{ "map-populate", how_populate, LOOSE },
	{ "private-write", how_private, LOOSE },
	{ "huge-pipe", how_huge_pipe, LOOSE },
	{ "huge-readv", how_huge_readv, LOOSE },
	{ }
};

static const struct how *find(const char *name)
{
	const struct how *how = hows;

	while (how->name && strcmp(how->name, name))
		how++;
	if (!how->name)
		die("%s is not one of 'locked list'", name);
	return how;
}

static void make_file(const char *name)
{
	static uint64_t page[WORDS];
	int fd = must(open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600));

	for (size_t i = 0; i < PAGES; i++) {
		for (size_t n = 0; n < WORDS; n++)
			page[n] = word(i, n);
		must(write(fd, page, PAGE));
	}
	must(fsync(fd));
	errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (errno)
		die("fadvise");
	close(fd);
}

/* What is read is volatile, as far as the kernel can help it. */
static int read_file(void)
{
	static char buf[SIZE];

	if (must(pread(file, buf, SIZE, 0)) != SIZE)
		die("short read");
	return wrong_pages(buf);
}

/* Prints the frames of all pages that are mapped, and remembers which. */
static int show_frames(FILE *out)
{
	int fd = must(open("/proc/self/pagemap", O_RDONLY)), pages = 0;
	uint64_t entry[PAGES];

	if (must(pread(fd, entry, sizeof(entry), (uintptr_t)map / PAGE * 8)) != sizeof(entry))
		die("pagemap");
	close(fd);
	fprintf(out, "frames");
	for (int page = 0; page < PAGES; page++) {
		present[page] = entry[page] >> 63;
		pages += present[page];
		if (present[page])
			fprintf(out, " %llu", (unsigned long long)entry[page] << 9 >> 9);
	}
	fprintf(out, "\n");
	return pages;
}

static long faults(void)
{
	struct rusage usage;

	must(getrusage(RUSAGE_SELF, &usage));
	return usage.ru_minflt + usage.ru_majflt;
}

static volatile bool ended;

static void on_end(int sig)
{
	(void)sig;
	ended = true;
}

static void let_go(const struct how *how)
{
	if (how->hold == how_mlockall || how->hold == how_future ||
	    how->hold == how_mlockall_onfault)
		must(munlockall());
	else if (how->kind == LOCKED && how->hold != how_unmap)
		must(munlock(map, SIZE));
	if (how->kind != PINNED)
		must(munmap(map, SIZE));
}

/* The process that stays. */
static void holder(const struct how *how, const char *name, int tell)
{
	char result[64], done[64];
	int pages, wrong = 0, late;
	long before, met = 0;
	FILE *out;

	signal(SIGTERM, on_end);
	run_on(0);
	/* Its own text and stack are not what is looked at. */
	must(mlockall(MCL_CURRENT));
	file = must(open(name, O_RDONLY));
	for (int i = 0; i < 2; i++)
		wrong += read_file();
	if (!access("/sys/kernel/debug/page_hva/settle", F_OK))
		settle();
	how->hold();

	out = fdopen(tell, "w");
	fprintf(out, "pid %d\n", getpid());
	pages = show_frames(out);
	if (how->kind == PINNED)
		must(munmap(map, SIZE));
	fclose(out);
	before = faults();
	while (!ended) {
		if (how->kind == LOCKED)
			for (int page = 0; page < PAGES; page++)
				if (present[page])
					wrong += *(volatile uint64_t *)(map + page * PAGE) !=
						 word(page, 0);
		usleep(1000);
	}
	if (how->kind == LOCKED)
		met = faults() - before;

	/* Before anybody else looks at the pages. */
	if (how->hold == how_huge_pipe)
		to_pipe();
	if (how->hold == how_huge_readv)
		wrong += wrong_by_readv();
	if (how->kind == PINNED || how->hold == how_huge_pipe)
		wrong += wrong_in_pipe();
	if (how->kind != PINNED) {
		for (int page = 0; how->hold == how_private && page < PAGES; page++)
			*(volatile uint64_t *)(map + page * PAGE) = word(page, 0);
		wrong += wrong_pages(map);
	}
	let_go(how);
	late = read_file();

	snprintf(result, sizeof(result), "/tmp/locked.%s.result", how->name);
	snprintf(done, sizeof(done), "/tmp/locked.%s", how->name);
	out = fopen(result, "w");
	if (!out)
		die("%s", result);
	fprintf(out, "%s%s: %d pages were held, %ld page faults, %d wrong, and %d wrong afterwards\n",
		met || wrong || late || (how->kind != PINNED && !pages) ? "FAIL " : "", how->name,
		pages, met, wrong, late);
	fclose(out);
	must(rename(result, done));
	exit(0);
}

static int start(const struct how *how, const char *name)
{
	char line[4096], pidfile[64], done[64];
	int tell[2];
	FILE *in, *out;
	pid_t pid;

	make_file(name);
	snprintf(done, sizeof(done), "/tmp/locked.%s", how->name);
	unlink(done);
	must(pipe(tell));
	pid = must(fork());
	if (!pid) {
		close(tell[0]);
		setsid();
		holder(how, name, tell[1]);
	}
	close(tell[1]);
	snprintf(pidfile, sizeof(pidfile), "/tmp/locked.%s.pid", how->name);
	out = fopen(pidfile, "w");
	in = fdopen(tell[0], "r");
	if (!out || !in)
		die("%s", pidfile);
	fprintf(out, "%d\n", pid);
	fclose(out);
	if (!fgets(line, sizeof(line), in) || !fgets(line, sizeof(line), in))
		die("the process that should stay ended");
	fputs(line, stdout);
	return 0;
}

static int end(const struct how *how)
{
	char name[64], line[256];
	FILE *f;
	int pid;

	snprintf(name, sizeof(name), "/tmp/locked.%s.pid", how->name);
	f = fopen(name, "r");
	if (!f || fscanf(f, "%d", &pid) != 1)
		die("%s", name);
	fclose(f);
	must(kill(pid, SIGTERM));
	snprintf(name, sizeof(name), "/tmp/locked.%s", how->name);
	for (int tries = 0; (f = fopen(name, "r")) == NULL; tries++) {
		if (tries == 3000)
			die("no answer from process %d", pid);
		usleep(10000);
	}
	if (!fgets(line, sizeof(line), f))
		die("%s", name);
	fputs(line, stdout);
	return strncmp(line, "FAIL", 4) ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "list")) {
		for (const struct how *how = hows; how->name; how++)
			puts(how->name);
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "start"))
		return start(find(argv[2]), argv[3]);
	if (argc == 3 && !strcmp(argv[1], "end"))
		return end(find(argv[2]));
	fprintf(stderr, "usage: locked start HOW FILE | end HOW | list\n");
	return 2;
}
