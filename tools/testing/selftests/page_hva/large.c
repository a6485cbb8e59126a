// SPDX-License-Identifier: GPL-2.0
/* Large folios: how they come to be, and what takes them apart again. */
#include "../kselftest_harness.h"
#include "page_hva.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#define HUGE		0x100000ul	/* of s390 */
#define KPF_COMPOUND	0x18000		/* head or tail */

FIXTURE(large)
{
	struct hva_file file;
	char *map;
};

FIXTURE_VARIANT(large)
{
	bool collapse;	/* of small pages that are gone; or read as they come */
};

FIXTURE_VARIANT_ADD(large, collapsed) { .collapse = true };
FIXTURE_VARIANT_ADD(large, read_ahead) { .collapse = false };

/* How many pages of the mapping are a part of a large folio, or -1. */
static int large_pages(const char *map, size_t size)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	int flags = open("/proc/kpageflags", O_RDONLY), n = 0;
	uint64_t entry, word;
	size_t at;

	for (at = 0; at < size; at += hva_page) {
		if (pread(pagemap, &entry, 8, (uintptr_t)(map + at) /
			  hva_page * 8) != 8 || flags < 0) {
			n = -1;
			break;
		}
		if (!(entry >> 63))
			continue;
		if (pread(flags, &word, 8, (entry << 9 >> 9) * 8) == 8 &&
		    word & KPF_COMPOUND)
			n++;
	}
	close(pagemap);
	close(flags);
	return n;
}

/* At an address that may have a huge page. */
static char *map_aligned(struct hva_file *file, int prot)
{
	char *map = hva_anon(file->size + HUGE);

	map = (char *)(((uintptr_t)map + HUGE - 1) & -HUGE);
	return hva_must(mmap(map, file->size, prot, MAP_PRIVATE | MAP_FIXED,
			     file->fd, 0));
}

/* Makes it large once more; 0, or errno. */
static int enlarge(struct hva_file *file, char *map, bool collapse)
{
	static char buffer[65536];
	int tries;
	size_t at;

	hva_discard(file, map);
	/* The kernel gives up if a page is taken that it has just read. */
	for (tries = 0; collapse && tries < 20; tries++)
		if (!madvise(map, file->size, MADV_COLLAPSE))
			return 0;
	if (collapse)
		return errno;
	hva_must(madvise(map, file->size, MADV_DONTNEED));
	posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
	for (at = 0; at < file->size; at += sizeof(buffer))
		hva_must(pread(file->fd, buffer, sizeof(buffer), at));
	for (at = 0; at < file->size; at += 16 * hva_page)
		hva_load(map + at);
	return 0;
}

FIXTURE_SETUP(large)
{
	int fd, err, pages;

	hva_create_pages(&self->file, HVA_FULL, HUGE / hva_page);
	/* What somebody may write to does not become huge. */
	fd = hva_must(hva_reopen(&self->file, O_RDONLY));
	hva_must(close(self->file.fd));
	self->file.fd = fd;
	self->map = map_aligned(&self->file, PROT_READ | PROT_EXEC);
	hva_discard(&self->file, self->map);
	err = enlarge(&self->file, self->map, variant->collapse);
	if (err)
		SKIP(return, "MADV_COLLAPSE: %s", strerror(err));
	pages = large_pages(self->map, self->file.size);
	TH_LOG("%d of %zu pages are in large folios", pages,
	       self->file.size / hva_page);
}

FIXTURE_TEARDOWN(large)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

/* While it is mapped, and again when it is not. */
TEST_F(large, load)
{
	ASSERT_RIGHT(&self->file, self->map);
	hva_discard(&self->file, self->map);
	ASSERT_RIGHT(&self->file, self->map);
	hva_must(madvise(self->map, self->file.size, MADV_DONTNEED));
	hva_discard(&self->file, NULL);
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

/* A part of it stays mapped. */
TEST_F(large, part)
{
	size_t part = HUGE / 4;

	hva_must(munmap(self->map + part, 2 * part));
	hva_discard(&self->file, NULL);
	ASSERT_EQ(-1, hva_wrong_at(&self->file, self->map, 0, part));
	ASSERT_EQ(-1, hva_wrong_at(&self->file, self->map + 3 * part, 3 * part,
				   part));
	ASSERT_FILE(&self->file);
}

/* Who opens it for writing finds the pages of huge ones dropped. */
TEST_F(large, write)
{
	int fd;

	hva_must(madvise(self->map, self->file.size, MADV_DONTNEED));
	hva_discard(&self->file, NULL);
	fd = hva_must(hva_reopen(&self->file, O_RDWR));
	close(self->file.fd);
	self->file.fd = fd;
	hva_put(&self->file, HUGE / 2 - 3, "write", 5);
	hva_put(&self->file, hva_page * 7 + 9, "write", 5);
	ASSERT_FILE(&self->file);
}

/* It is gone when it has to be split. */
TEST_F(large, cut)
{
	size_t end = 3 * HUGE / 4 + 100;
	int fd;

	hva_must(munmap(self->map, self->file.size));
	hva_discard(&self->file, NULL);
	fd = hva_must(hva_reopen(&self->file, O_RDWR));
	close(self->file.fd);
	self->file.fd = fd;
	hva_must(ftruncate(fd, end));
	self->file.size = end;
	ASSERT_FILE(&self->file);
	hva_must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			   HUGE / 4 + 1, HUGE / 8));
	memset(self->file.want + HUGE / 4 + 1, 0, HUGE / 8);
	ASSERT_FILE(&self->file);
}

TEST_F(large, again)
{
	int i;

	for (i = 0; i < 3; i++) {
		hva_must(madvise(self->map, self->file.size, MADV_DONTNEED));
		hva_discard(&self->file, NULL);
		ASSERT_RIGHT(&self->file, self->map);
		ASSERT_EQ(0, enlarge(&self->file, self->map, variant->collapse));
		ASSERT_RIGHT(&self->file, self->map);
	}
	ASSERT_FILE(&self->file);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
