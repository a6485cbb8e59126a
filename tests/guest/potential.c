// SPDX-License-Identifier: GPL-2.0
/*
 * potential - potentially volatile pages which the host takes at the worst moment
 *
 * usage: potential DEVICE CASE RECLAIM
 *        potential list		names all cases
 *
 * RECLAIM is memory.reclaim of the cgroup that it is in.
 * Makes DEVICE a swap area, and pages of its own that were swapped in potentially volatile.
 * Then it says "discard" and waits until the host has taken them, does what CASE says, and
 * looks at each page.  The kernel has to run with page_hva=on,p, and nobody else may swap.
 *
 * Exit status 0: all was right.  1 and a line that begins with FAIL: it was not.
 */
#include "settle.h"
#include "swapping.h"
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define PAGES	64ul
#define SIZE	(PAGES * PAGE)

static const char *device, *reclaim;
static char *map;
static uint64_t generation[PAGES];

static uint64_t word(size_t page, size_t n)
{
	return (generation[page] * SIZE + page * WORDS + n + 1) * 0x9e3779b97f4a7c15ull;
}

static uint64_t *at(size_t page)
{
	return (uint64_t *)(map + page * PAGE);
}

static void fill(size_t page)
{
	generation[page]++;
	for (size_t n = 0; n < WORDS; n++)
		at(page)[n] = word(page, n);
}

static void look_in(const uint64_t *p, size_t page, const char *who)
{
	for (size_t n = 0; n < WORDS; n++)
		if (p[n] != word(page, n))
			fail("%s: page %zu word %zu is %lx instead of %lx", who, page, n,
			     (long)p[n], (long)word(page, n));
}

static void look(const char *who)
{
	for (size_t page = 0; page < PAGES; page++)
		look_in(at(page), page, who);
}

static void run_on(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	must(sched_setaffinity(0, sizeof(cpus), &cpus));
}

static ssize_t try_write(const char *name, const char *text)
{
	int fd = must(open(name, O_WRONLY));
	ssize_t n = write(fd, text, strlen(text));

	close(fd);
	return n;
}

static void write_to(const char *name, const char *text)
{
	must(try_write(name, text));
}

static long number_after(const char *name, const char *word)
{
	char line[256];
	FILE *in = fopen(name, "r");
	long n = -1;

	if (!in)
		fail("%s: %s", name, strerror(errno));
	while (fgets(line, sizeof(line), in))
		if (!strncmp(line, word, strlen(word)))
			n = atol(line + strlen(word));
	fclose(in);
	return n;
}

static long potentially_volatile(void)
{
	return number_after("/sys/kernel/debug/page_hva/state", "potentially-volatile");
}

static long swap_cached(void)
{
	/* CPUs keep a part of the count to themselves. */
	number_after("/proc/sys/vm/stat_refresh", "");
	return number_after("/proc/meminfo", "SwapCached:") / 4;
}

/* How many of the pages have this bit in their pagemap entries. */
static size_t count(int bit)
{
	uint64_t entry[PAGES];
	int fd = must(open("/proc/self/pagemap", O_RDONLY));
	size_t pages = 0;

	if (must(pread(fd, entry, sizeof(entry), (uintptr_t)map / PAGE * 8)) != sizeof(entry))
		fail("pagemap");
	close(fd);
	for (size_t page = 0; page < PAGES; page++)
		pages += entry[page] >> bit & 1;
	return pages;
}

static void swap_out(void)
{
	for (int i = 0; count(62) < PAGES; i++) {
		if (i == 100)
			fail("only %zu of %lu pages are swapped out", count(62), PAGES);
		must(madvise(map, SIZE, MADV_PAGEOUT));
		usleep(10000);
	}
}

static void touch(void)
{
	for (size_t page = 0; page < PAGES; page++)
		(void)*(volatile char *)at(page);
}

/* Into the swap cache, without waiting; and then a page fault that need not wait. */
static void swap_in(void)
{
	must(madvise(map, SIZE, MADV_WILLNEED));
	usleep(200000);
	touch();
	settle();
}

static void new_pages(void)
{
	run_on(0);
	/* Readahead would meet pages that are gone before the case does. */
	write_to("/proc/sys/vm/page-cluster", "0");
	map = must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	madvise(map, SIZE, MADV_NOHUGEPAGE);
	for (size_t page = 0; page < PAGES; page++)
		fill(page);
	swap_out();
}

/* A line is seen when the next one begins. */
static void call_host(void)
{
	printf("discard\nnow\n");
	fflush(stdout);
}

/* The host takes them now. */
static void discard(void)
{
	long before = potentially_volatile(), now = before;

	if (before < (long)PAGES / 2)
		fail("only %ld of %lu pages are potentially volatile", before, PAGES);
	call_host();
	for (int i = 0; i < 200 && now; i++) {
		usleep(20000);
		now = potentially_volatile();
	}
	if (now)
		fail("the host leaves %ld of %ld pages", now, before);
}

static void case_read(void)
{
	new_pages();
	swap_in();
	discard();
}

static void case_write(void)
{
	new_pages();
	swap_in();
	discard();
	for (size_t page = 0; page < PAGES; page++)
		fill(page);
}

/* Changed before the host wants them: it has to keep those. */
static void case_changed(void)
{
	new_pages();
	swap_in();
	for (size_t page = 0; page < PAGES / 4; page++)
		fill(page);
	call_host();
	usleep(1000000);
}

/* The kernel reads them without page tables. */
static void case_vm_readv(void)
{
	static uint64_t copy[WORDS];

	new_pages();
	swap_in();
	discard();
	for (size_t page = 0; page < PAGES; page++) {
		struct iovec to = { copy, PAGE }, from = { at(page), PAGE };

		if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)PAGE)
			fail("process_vm_readv: %s", strerror(errno));
		look_in(copy, page, "process_vm_readv");
	}
}

static long futex(uint32_t *word, int op, uint32_t value, void *timeout, uint32_t *other,
		  uint32_t value3)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, timeout, other, value3);
}

/* Accesses of the kernel that must not sleep. */
static void case_futex(void)
{
	new_pages();
	swap_in();
	/* Page faults for stores, and no store: changed for page tables, not for the host. */
	must(madvise(map, SIZE / 2, MADV_POPULATE_WRITE));
	discard();
	for (size_t page = 0; page < PAGES; page += 4) {
		struct timespec soon = { .tv_nsec = 1000000 };
		uint32_t *word_3 = (uint32_t *)at(page + 3);

		/* It waits, so it has seen the right value. */
		if (futex((uint32_t *)at(page), FUTEX_WAIT, word(page, 0) >> 32, &soon,
			  NULL, 0) != -1 || errno != ETIMEDOUT)
			fail("FUTEX_WAIT: %s", strerror(errno));
		/* Adds 0 to the word in the next page. */
		must(futex((uint32_t *)at(page), FUTEX_WAKE_OP, 1, NULL,
			   (uint32_t *)at(page + 1),
			   FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0)));
		/* Compare and swap; it is not what it is compared with. */
		if (futex((uint32_t *)at(page + 2), FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0) != -1)
			fail("FUTEX_TRYLOCK_PI of a word that is not 0");
		fill(page + 2);		/* there is a waiter now */
		*word_3 = 0;
		must(futex(word_3, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
		if (*word_3 != (uint32_t)getpid())
			fail("FUTEX_LOCK_PI leaves %x", *word_3);
		must(futex(word_3, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
		fill(page + 3);
	}
}

static void must_end(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0));
	if (status)
		fail("a process ends with status %x", status);
}

/* Shared by fork when they are gone; both write. */
static void case_fork(void)
{
	pid_t pid;

	new_pages();
	swap_in();
	discard();
	pid = must(fork());
	for (size_t page = !pid; page < PAGES; page += 2)
		fill(page);
	look(pid ? "parent" : "child");
	if (!pid)
		_exit(0);
	must_end(pid);
}

static void case_mlock(void)
{
	new_pages();
	swap_in();
	must(madvise(map, SIZE / 2, MADV_POPULATE_WRITE));
	discard();
	must(mlock(map, SIZE));
	if (potentially_volatile())
		fail("locked pages are potentially volatile");
	look("locked");
	must(munlock(map, SIZE));
}

/* Written out again, although there is nothing to write. */
static void case_pageout(void)
{
	new_pages();
	swap_in();
	must(madvise(map, SIZE / 2, MADV_POPULATE_WRITE));
	discard();
	swap_out();
}

static void case_swapoff(void)
{
	pid_t pid;

	new_pages();
	swap_in();
	must(madvise(map, SIZE / 4, MADV_POPULATE_WRITE));
	discard();
	pid = must(fork());
	if (!pid) {
		run_on(1);
		for (size_t page = 0; page < PAGES; page += 5)
			fill(page);
		look("while swap goes");
		_exit(0);
	}
	must(swapoff(device));
	must_end(pid);
	look("after swapoff");
	must(swapon(device, 0));
}

/*
 * A child has the page, its parent a swap entry; the parent forgets it.  The kernel looks
 * up the folio under the lock of the page table that has the entry.
 */
static void case_zap(void)
{
	int go[2], gone[2];
	char byte = 0;
	pid_t pid;

	must(pipe(go));
	must(pipe(gone));
	new_pages();
	pid = must(fork());
	if (!pid) {
		swap_in();
		discard();
		must(write(go[1], &byte, 1));
		must(read(gone[0], &byte, 1));
		look("child");
		_exit(0);
	}
	must(read(go[0], &byte, 1));
	must(madvise(map, SIZE, MADV_DONTNEED));
	for (size_t page = 0; page < PAGES; page++)
		if (*at(page))
			fail("page %zu is still there", page);
	must(write(gone[1], &byte, 1));
	must_end(pid);
	for (size_t page = 0; page < PAGES; page++)
		fill(page);
}

/* Gone, and then in a batch of another CPU, which keeps a reference. */
static void case_batch(void)
{
	const size_t few = 7 * PAGE;	/* less than a batch has */

	new_pages();
	swap_in();
	discard();
	run_on(1);
	/* It is used often, or it is not used: either of the two reclaimers moves it. */
	for (int i = 0; i < 3; i++)
		must(madvise(map, few, MADV_POPULATE_READ));
	must(madvise(map, few, MADV_COLD));
	run_on(0);
	alarm(40);
	look("with references of another CPU");
	alarm(0);
}

/* The same, and who had them is gone as well; its parent has the swap entries. */
static void case_inherit(void)
{
	pid_t pid;

	new_pages();
	pid = must(fork());
	if (!pid) {
		swap_in();
		discard();
		run_on(1);
		for (int i = 0; i < 3; i++)
			must(madvise(map, 7 * PAGE, MADV_POPULATE_READ));
		must(madvise(map, 7 * PAGE, MADV_COLD));
		run_on(0);
		_exit(0);
	}
	must_end(pid);
	alarm(40);
	look("who inherits them");
	alarm(0);
}

/* Nobody has them any more: nothing of them may stay. */
static void case_forget(void)
{
	long cached;

	new_pages();
	swap_in();
	must(madvise(map, SIZE / 2, MADV_POPULATE_WRITE));
	discard();
	must(madvise(map, SIZE, MADV_DONTNEED));
	cached = swap_cached();
	if (cached > (long)PAGES / 4)
		fail("%ld pages without a user are in the swap cache", cached);
	for (size_t page = 0; page < PAGES; page++)
		fill(page);
}

static long swap_made_volatile(void)
{
	return number_after("/sys/kernel/debug/page_hva/swap_made_volatile", "");
}

static void shared_pages(void)
{
	map = must(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	for (size_t page = 0; page < PAGES; page++)
		fill(page);
}

static size_t resident(void)
{
	unsigned char in[PAGES];
	size_t pages = 0;

	must(mincore(map, SIZE, in));
	for (size_t page = 0; page < PAGES; page++)
		pages += in[page] & 1;
	return pages;
}

/* Shared memory stays stable on its way out and back: nothing is there to be taken. */
static void case_shmem(void)
{
	long before;

	/* Of the pages that are reclaimed none is to be private. */
	must(mlockall(MCL_CURRENT));
	before = swap_made_volatile();
	shared_pages();
	must(madvise(map, SIZE, MADV_PAGEOUT));
	usleep(200000);
	/* What was written is reclaimed now; there may be less than is asked for. */
	for (int i = 0; resident(); i++) {
		if (i == 100)
			fail("%zu of %lu pages are not swapped out", resident(), PAGES);
		try_write(reclaim, "1M");
	}
	must(madvise(map, SIZE, MADV_WILLNEED));
	usleep(200000);
	if (swap_cached() < (long)PAGES / 2)
		fail("%ld pages are in the swap cache after they were read", swap_cached());
	settle();
	if (swap_made_volatile() != before)
		fail("%ld pages of shmem became volatile", swap_made_volatile() - before);
	must(munlockall());
}

static const struct {
	const char *name;
	void (*act)(void);
} cases[] = {
	{ "read", case_read },
	{ "write", case_write },
	{ "changed", case_changed },
	{ "vm-readv", case_vm_readv },
	{ "futex", case_futex },
	{ "fork", case_fork },
	{ "mlock", case_mlock },
	{ "pageout", case_pageout },
	{ "swapoff", case_swapoff },
	{ "zap", case_zap },
	{ "batch", case_batch },
	{ "inherit", case_inherit },
	{ "forget", case_forget },
	{ "shmem", case_shmem },
	{ }
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "list")) {
		for (int i = 0; cases[i].name; i++)
			printf("%s\n", cases[i].name);
		return 0;
	}
	if (argc != 4)
		fail("usage: potential DEVICE CASE RECLAIM");
	device = argv[1];
	reclaim = argv[3];
	for (int i = 0; cases[i].name; i++)
		if (!strcmp(cases[i].name, argv[2])) {
			make_swap_area(device);
			cases[i].act();
			look("in the end");
			must(munmap(map, SIZE));
			must(swapoff(device));
			printf("potential %s: all is right\n", argv[2]);
			return 0;
		}
	fail("%s is not one of 'potential list'", argv[2]);
}
