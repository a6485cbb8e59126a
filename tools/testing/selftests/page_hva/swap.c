// SPDX-License-Identifier: GPL-2.0
/* Anonymous memory: its copies in the swap cache are volatile while not mapped. */
#include <stdio.h>
#include <sys/swap.h>
#include <sys/uio.h>
#include "../kselftest_harness.h"
#include "page_hva.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

#define AREA	1024	/* pages of the swap area */
#define COUNTS	"/sys/kernel/debug/page_hva/"

FIXTURE(swap)
{
	struct hva_file content;
	char *map, name[4096];
	size_t size;
};

FIXTURE_VARIANT(swap)
{
	int flags;
};

FIXTURE_VARIANT_ADD(swap, private) { .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(swap, shmem) { .flags = MAP_SHARED };

/* What mkswap writes, to a file without holes that has to keep its name. */
static void make_area(char *name)
{
	uint32_t *page = hva_anon(hva_page);
	int fd, i;

	sprintf(name, "%.4000s/page_hva.XXXXXX", hva_dir);
	fd = hva_must(mkstemp(name));
	page[256] = 1;
	page[257] = AREA - 1;
	memcpy((char *)page + hva_page - 10, "SWAPSPACE2", 10);
	for (i = 0; i < AREA; i++) {
		if (hva_must(write(fd, page, hva_page)) != hva_page)
			hva_die("short write");
		memset(page, 0, hva_page);
	}
	hva_must(fsync(fd));
	hva_must(close(fd));
}

static unsigned long swap_count(const char *name)
{
	char path[96];
	unsigned long value = 0;
	FILE *file;

	snprintf(path, sizeof(path), COUNTS "%s", name);
	file = fopen(path, "r");
	if (file) {
		if (fscanf(file, "%lu", &value) != 1)
			value = 0;
		fclose(file);
	}
	return value;
}

FIXTURE_SETUP(swap)
{
	if (geteuid())
		SKIP(return, "not root");
	make_area(self->name);
	if (swapon(self->name, 0)) {
		unlink(self->name);
		SKIP(return, "swapon: %s", strerror(errno));
	}
	hva_create(&self->content, HVA_FULL);
	self->size = self->content.size;
	self->map = hva_must(mmap(NULL, self->size, HVA_RW,
				  variant->flags | MAP_ANONYMOUS, -1, 0));
	memcpy(self->map, self->content.want, self->size);
}

FIXTURE_TEARDOWN(swap)
{
	hva_note(&self->content);
	TH_LOG("since boot, %lu folios of the swap cache were made volatile, %lu were dropped",
	       swap_count("swap_made_volatile"), swap_count("swap_dropped"));
	EXPECT_EQ(0, swapoff(self->name));
	EXPECT_EQ(0, memcmp(self->map, self->content.want, self->size));
	hva_must(unlink(self->name));
	hva_close(&self->content);
}

/* Written out, and then read ahead by the look at one page of it. */
static void swap_out(char *map, size_t size)
{
	int i;

	for (i = 0; i < 2; i++) {
		hva_must(madvise(map, size, MADV_PAGEOUT));
		hva_load(map + size / 2);
		hva_settle();
	}
}

TEST_F(swap, load)
{
	int i;

	for (i = 0; i < 3; i++) {
		swap_out(self->map, self->size);
		ASSERT_RIGHT(&self->content, self->map);
	}
}

TEST_F(swap, store)
{
	size_t at;
	char byte;

	for (byte = 'a'; byte < 'd'; byte++) {
		swap_out(self->map, self->size);
		for (at = byte; at < self->size; at += hva_page) {
			hva_store(self->map + at, byte);
			hva_expect(&self->content, at, &byte, 1);
		}
	}
	ASSERT_RIGHT(&self->content, self->map);
}

TEST_F(swap, fork)
{
	pid_t child;
	size_t at;

	swap_out(self->map, self->size);
	child = hva_must(fork());
	if (!child) {
		if (hva_wrong(&self->content, self->map) != -1)
			_exit(1);
		for (at = 1; at < self->size; at += hva_page)
			if (variant->flags == MAP_PRIVATE)
				self->map[at] = 'c';
		swap_out(self->map, self->size);
		_exit(0);
	}
	ASSERT_EQ(0, hva_wait(child));
	ASSERT_RIGHT(&self->content, self->map);
}

TEST_F(swap, gup)
{
	char *buffer = hva_anon(self->size);
	struct iovec there = { self->map, self->size };
	struct iovec here = { buffer, self->size };
	int ends[2];

	swap_out(self->map, self->size);
	ASSERT_EQ(self->size, process_vm_readv(getpid(), &here, 1, &there, 1, 0));
	ASSERT_RIGHT(&self->content, buffer);
	swap_out(self->map, self->size);
	hva_must(pipe(ends));
	there.iov_len = self->size / 4;
	ASSERT_EQ(there.iov_len, vmsplice(ends[1], &there, 1, 0));
	swap_out(self->map, self->size);
	ASSERT_EQ(there.iov_len, read(ends[0], buffer, there.iov_len));
	ASSERT_EQ(-1, hva_wrong_at(&self->content, buffer, 0, there.iov_len));
	ASSERT_RIGHT(&self->content, self->map);
}

/* Everything is read back by swapoff(), which the end of each test does. */
TEST_F(swap, off)
{
	swap_out(self->map, self->size);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
