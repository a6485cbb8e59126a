// SPDX-License-Identifier: GPL-2.0
/*
 * swapper - memory that is swapped all the time and must keep its content
 *
 * usage: swapper DEVICE LIMIT MIB SECONDS SEED [STEPS MIX]
 *
 * Makes DEVICE a swap area and uses it.  Processes write, read, share by fork, copy on write,
 * give advice on and move pages of MIB MiB altogether, in a cgroup too small for them; LIMIT
 * is its memory.max.  In the end the limit is lifted and swap switched off, and every page
 * is looked at once more.  The content of each word depends on the process, the address and
 * how often it was written.
 *
 * With STEPS it is the same work each time, however long it takes: each process makes so many
 * steps.  MIX is "mixed", or "reading": most pages are only read, and some often.  Then it
 * says at each tenth of the work how far it is, marks begin and end for tests/plugin/count.c,
 * and prints what was swapped in between.
 *
 * Exit status 0: each word was right.  1 and a line that begins with FAIL: it was not.
 */
#include "mark.h"
#include "swapping.h"
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define PROCS	4

enum phase { WORK, WAIT, LOOK };

static struct {
	_Atomic int phase, filled, waiting;
	_Atomic unsigned long pages_read, pages_written, forks, steps;
} *all;

static uint64_t random_state;
static size_t pages;
static char *map;			/* private, then shared memory */
static uint32_t *generation;		/* of each page; 0: it is zero */
static int who;
static unsigned long steps;		/* of each process; 0: as long as time is */
static bool reading;

static size_t any(size_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

/* Some pages are all zero, others compress well, as real ones do. */
static uint64_t word(size_t page, size_t n)
{
	uint64_t g = generation[page];

	if (!g || g % 16 == 5)
		return 0;
	if (g % 4)
		n /= 64;
	return (((uint64_t)who << 56) + (g << 32) + page * WORDS + n) * 0x9e3779b97f4a7c15ull;
}

static uint64_t *at(size_t page)
{
	return (uint64_t *)(map + page * PAGE);
}

static void look_in(const uint64_t *p, size_t page, const char *how)
{
	for (size_t n = 0; n < WORDS; n++)
		if (p[n] != word(page, n))
			fail("%s: process %d page %zu word %zu is %lx instead of %lx, generation %u",
			     how, who, page, n, (long)p[n], (long)word(page, n),
			     generation[page]);
	all->pages_read++;
}

static void look(size_t page, const char *how)
{
	look_in(at(page), page, how);
}

static void fill(size_t page)
{
	generation[page]++;
	for (size_t n = 0; n < WORDS; n++)
		at(page)[n] = word(page, n);
	all->pages_written++;
}

static size_t range(size_t *first)
{
	size_t n = 1 + any(64);

	*first = any(pages - n);
	return n;
}

static void advise(int advice)
{
	size_t first, n = range(&first);

	/* A kernel that does not know it, or can not: nothing happens. */
	madvise(at(first), n * PAGE, advice);
	if (any(2))
		look(first + any(n), "after advice");
}

/* Faults as for stores, but nothing is stored. */
static void dirty_only(void)
{
	size_t first, n = range(&first);

	madvise(at(first), n * PAGE, MADV_PAGEOUT);
	madvise(at(first), n * PAGE, MADV_POPULATE_READ);
	madvise(at(first), n * PAGE, MADV_POPULATE_WRITE);
	madvise(at(first), n * PAGE, MADV_PAGEOUT);
	look(first + any(n), "after a fault without a store");
}

static void forget(void)
{
	size_t first, n = range(&first);

	if (first + n > pages / 2)	/* shared memory would keep it */
		return;
	must(madvise(at(first), n * PAGE, MADV_DONTNEED));
	memset(generation + first, 0, n * sizeof(*generation));
	for (size_t i = 0; i < n; i += 5)
		look(first + i, "after it was forgotten");
	for (size_t i = 0; i < n; i++)
		generation[first + i] = 16;
	for (size_t i = 0; i < n; i++)
		fill(first + i);
}

/* Free at leisure: each page is the old one or zero until it is written. */
static void release(void)
{
	size_t first, n = range(&first);

	if (first + n > pages / 2)
		return;
	must(madvise(at(first), n * PAGE, MADV_FREE));
	for (size_t i = 0; i < n; i++) {
		static uint64_t copy[WORDS];
		const volatile uint64_t *p = at(first + i);

		/* It may go while it is copied; the last word says if it has. */
		for (size_t w = 0; w < WORDS; w++)
			copy[w] = p[w];
		if (copy[WORDS - 1])
			look_in(copy, first + i, "after it was released");
	}
	for (size_t i = 0; i < n; i++)
		fill(first + i);
}

/* Read by the kernel: no page table, no fault. */
static void read_by_kernel(void)
{
	static uint64_t copy[WORDS];
	size_t page = any(pages);
	struct iovec to = { copy, PAGE }, from = { at(page), PAGE };

	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)PAGE)
		fail("process_vm_readv: %s", strerror(errno));
	look_in(copy, page, "process_vm_readv");
}

/* Written by the kernel, a page at a time through a pipe. */
static void write_by_kernel(void)
{
	static uint64_t copy[WORDS];
	size_t page = any(pages);
	int ends[2];

	generation[page]++;
	for (size_t n = 0; n < WORDS; n++)
		copy[n] = word(page, n);
	must(pipe(ends));
	must(write(ends[1], copy, PAGE));
	if (read(ends[0], at(page), PAGE) != (ssize_t)PAGE)
		fail("read from a pipe: %s", strerror(errno));
	close(ends[0]);
	close(ends[1]);
	look(page, "written by the kernel");
}

static void protect(void)
{
	size_t first, n = range(&first);

	must(mprotect(at(first), n * PAGE, PROT_READ));
	look(first, "after mprotect");
	must(mprotect(at(first), n * PAGE, PROT_READ | PROT_WRITE));
	fill(first);
}

/* Two processes with the same pages, both of them write. */
static void share(void)
{
	size_t first, n = range(&first);
	int status;
	pid_t pid;

	if (first + n > pages / 2)
		return;
	fflush(stdout);
	pid = must(fork());
	for (size_t i = 0; i < n; i++) {
		if (any(2))
			look(first + i, pid ? "parent" : "child");
		if (i % 2 == !pid)
			fill(first + i);
	}
	for (size_t i = 0; i < n; i++)
		look(first + i, pid ? "parent after" : "child after");
	if (!pid) {
		for (int i = 0; i < 200; i++)
			look(any(pages / 2), "child, anywhere");
		all->forks++;
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	if (status)
		fail("a child ends with status %x", status);
}

/* Atomic operations and comparisons of the kernel, which must not wait for the page. */
static void use_futex(void)
{
	size_t page = any(pages), other = any(pages);
	uint32_t *word_1 = (uint32_t *)at(page), *word_2 = (uint32_t *)at(other);
	struct timespec soon = { .tv_nsec = 1000 };

	if (any(2))
		madvise(word_2, PAGE, MADV_POPULATE_WRITE);
	/* Adds 0, and nobody waits. */
	if (syscall(SYS_futex, word_1, FUTEX_WAKE_OP_PRIVATE, 1, NULL, word_2,
		    FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0)) == -1)
		fail("FUTEX_WAKE_OP: %s", strerror(errno));
	/* Waits if the word is the right one. */
	if (syscall(SYS_futex, word_1, FUTEX_WAIT_PRIVATE, (uint32_t)(word(page, 0) >> 32),
		    &soon, NULL, 0) != -1 || errno != ETIMEDOUT)
		fail("FUTEX_WAIT: %s", strerror(errno));
	look(other, "after a futex operation");
}

/* Locked for a while; other processes keep the limit from being reached by that. */
static void lock(void)
{
	size_t first, n = range(&first);

	if (mlock(at(first), n * PAGE))
		return;			/* not allowed to lock so much */
	look(first + any(n), "locked");
	fill(first + any(n));
	must(munlock(at(first), n * PAGE));
}

/* A fifth of the pages is used most of the time. */
static void work_reading(void)
{
	size_t page = any(5) ? any(pages / 10) : any(pages / 2);

	if (any(16))
		look(page, "anywhere");
	else
		fill(page);
}

static void work(void)
{
	if (reading) {
		work_reading();
		return;
	}
	switch (any(26)) {
	case 0: case 1: case 2: case 3:
		fill(any(pages));
		break;
	case 4:
		advise(MADV_PAGEOUT);
		break;
	case 5:
		advise(MADV_COLD);
		break;
	case 6: case 7:
		advise(MADV_WILLNEED);
		break;
	case 8:
		forget();
		break;
	case 9:
		release();
		break;
	case 10:
		read_by_kernel();
		break;
	case 11:
		write_by_kernel();
		break;
	case 12:
		protect();
		break;
	case 13:
		share();
		break;
	case 14:
		advise(MADV_MERGEABLE);
		break;
	case 16:
		dirty_only();
		break;
	case 17:
		use_futex();
		break;
	case 18:
		lock();
		break;
	case 15: {
		size_t first, n = range(&first);

		while (n--)
			look(first + n, "in a row");
		break;
	}
	default:
		look(any(pages), "anywhere");
	}
}

static void process(int number, size_t my_pages, uint64_t seed)
{
	who = number;
	pages = my_pages;
	random_state = (seed + 1) * 0x9e3779b97f4a7c15ull + number;
	map = must(mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	must(mmap(at(pages / 2), (pages - pages / 2) * PAGE, PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	generation = must(mmap(NULL, pages * sizeof(*generation), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	for (size_t page = 0; page < pages; page++)
		fill(page);
	all->filled++;
	if (steps) {
		while (all->phase == WAIT)
			usleep(1000);
		for (unsigned long n = 0; n < steps; n++, all->steps++)
			work();
	} else {
		while (all->phase == WORK)
			work();
	}
	all->waiting++;
	while (all->phase != LOOK)
		usleep(10000);
	for (size_t page = 0; page < pages; page++)
		look(page, "in the end");
	exit(0);
}

/* The pages of the swap cache, how many of them are mapped, and what is volatile. */
static void swap_cache(const char *when)
{
	unsigned long flags[512], cached = 0, mapped = 0;
	int fd = open("/proc/kpageflags", O_RDONLY);
	ssize_t got;

	while (fd >= 0 && (got = read(fd, flags, sizeof(flags))) > 0)
		for (size_t i = 0; i < got / sizeof(*flags); i++)
			if (flags[i] >> 13 & 1) {
				cached++;
				mapped += flags[i] >> 11 & 1;
			}
	close(fd);
	printf("%s: swap cache %lu mapped %lu\n", when, cached, mapped);
	fflush(stdout);
	/* No file is cached that could be volatile. */
	if (system("grep volatile /sys/kernel/debug/page_hva/state"))
		printf("no states\n");
}

static void swapped(const char *when)
{
	printf("%s:\n", when);
	fflush(stdout);
	if (system("grep ^pswp /proc/vmstat"))
		fail("no /proc/vmstat");
}

/* A process that ends before the others. */
static bool one_failed(void)
{
	int status;

	if (!waitpid(-1, &status, WNOHANG))
		return false;
	fail("a process ends early with status %x", status);
	return true;
}

/* All steps of all processes; a line is seen when the next one begins. */
static void same_work(void)
{
	unsigned long tenth = 0;

	swapped("begin");
	BEGIN();
	all->phase = WORK;
	while (all->waiting < PROCS && !one_failed()) {
		usleep(1000);
		while (all->steps * 10 / (steps * PROCS) > tenth) {
			printf("tenth %lu\n.\n", ++tenth);
			fflush(stdout);
		}
	}
	END();
	swapped("end");
}

int main(int argc, char **argv)
{
	const char *device = argv[1], *limit = argv[2];
	pid_t pids[PROCS];
	int fd, bad = 0;
	time_t end;

	if (argc != 6 && argc != 8)
		fail("usage: swapper DEVICE LIMIT MIB SECONDS SEED [STEPS MIX]");
	make_swap_area(device);
	all = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	if (argc == 8) {
		steps = strtoul(argv[6], NULL, 0);
		reading = !strcmp(argv[7], "reading");
		all->phase = WAIT;
	}
	for (int i = 0; i < PROCS; i++) {
		pids[i] = must(fork());
		if (!pids[i])
			process(i, atoi(argv[3]) * 256ul / PROCS, atoi(argv[5]));
	}
	while (all->filled < PROCS && !one_failed())
		usleep(10000);
	if (steps) {
		same_work();
	} else {
		end = time(NULL) + atoi(argv[4]);
		while (time(NULL) < end && !one_failed())
			usleep(100000);
	}
	swap_cache("after the work");
	all->phase = WAIT;
	while (all->waiting < PROCS && !one_failed())
		usleep(10000);
	fd = must(open(limit, O_WRONLY));
	must(write(fd, "max", 3));
	close(fd);
	must(swapoff(device));
	all->phase = LOOK;
	for (int i = 0; i < PROCS; i++) {
		int status;

		if (waitpid(pids[i], &status, 0) != pids[i] || status)
			bad++;
	}
	if (bad)
		fail("%d processes failed", bad);
	printf("swapper: %lu pages read, %lu written, %lu forks\n", all->pages_read,
	       all->pages_written, all->forks);
	return 0;
}
