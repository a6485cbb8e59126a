// SPDX-License-Identifier: GPL-2.0
/* Parts of a file are cut off, punched out, moved; its pages are gone then. */
#include "../kselftest_harness.h"
#include "page_hva.h"

#ifndef FALLOC_FL_COLLAPSE_RANGE
#include <linux/falloc.h>
#endif

#define PUNCH	(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

FIXTURE(truncate)
{
	struct hva_file file;
	char *map;
};

FIXTURE_VARIANT(truncate)
{
	enum hva_kind kind;
	bool mapped;
};

FIXTURE_VARIANT_ADD(truncate, cached) { .mapped = false };
FIXTURE_VARIANT_ADD(truncate, mapped) { .mapped = true };
FIXTURE_VARIANT_ADD(truncate, sparse) {
	.mapped = true, .kind = HVA_SPARSE,
};

FIXTURE_SETUP(truncate)
{
	hva_create(&self->file, variant->kind);
	if (variant->mapped)
		self->map = hva_map(&self->file, HVA_RW, MAP_SHARED);
	hva_discard(&self->file, self->map);
}

FIXTURE_TEARDOWN(truncate)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

static void assert_all(struct __test_metadata *_metadata,
		       struct hva_file *file, char *map)
{
	if (map)
		ASSERT_RIGHT(file, map);
	ASSERT_FILE(file);
}

/* Whether the file system can do it. */
static bool change(struct __test_metadata *_metadata, struct hva_file *file,
		   int mode, size_t at, size_t size)
{
	if (!fallocate(file->fd, mode, at, size))
		return true;
	ASSERT_EQ(EOPNOTSUPP, errno);
	return false;
}

/* What was cut off within a page must read as zeros when the file grows again. */
TEST_F(truncate, cut)
{
	size_t end = 5 * hva_page + 100, all = self->file.size;

	hva_must(ftruncate(self->file.fd, end));
	hva_must(ftruncate(self->file.fd, all));
	memset(self->file.want + end, 0, all - end);
	assert_all(_metadata, &self->file, self->map);
	hva_discard(&self->file, self->map);
	assert_all(_metadata, &self->file, self->map);
}

TEST_F(truncate, cut_at_page)
{
	size_t end = 9 * hva_page, all = self->file.size;

	hva_must(ftruncate(self->file.fd, end));
	self->file.size = end;
	assert_all(_metadata, &self->file, self->map);
	hva_discard(&self->file, self->map);
	hva_must(ftruncate(self->file.fd, all));
	memset(self->file.want + end, 0, all - end);
	self->file.size = all;
	assert_all(_metadata, &self->file, self->map);
}

/*
 * The file ends; who has it mapped gets a signal, and does not see old data.  Two pages are
 * left, as each other one may have been dropped.
 */
TEST_F(truncate, beyond_the_end)
{
	pid_t child;
	int status;

	hva_must(ftruncate(self->file.fd, 2 * hva_page));
	child = hva_must(fork());
	if (!child) {
		if (!self->map)
			self->map = hva_map(&self->file, 0, MAP_SHARED);
		hva_must(mprotect(self->map, self->file.size, PROT_READ));
		hva_load(self->map + 3 * hva_page);
		_exit(0);
	}
	status = hva_wait(child);
	ASSERT_TRUE(WIFSIGNALED(status));
	ASSERT_EQ(SIGBUS, WTERMSIG(status));
	self->file.size = 2 * hva_page;
	assert_all(_metadata, &self->file, self->map);
}

/* Parts of two pages, and whole ones between them. */
TEST_F(truncate, punch)
{
	size_t at = 3 * hva_page + 1000, size = 7 * hva_page;

	if (!change(_metadata, &self->file, PUNCH, at, size))
		SKIP(return, "the file system cannot do it");
	memset(self->file.want + at, 0, size);
	assert_all(_metadata, &self->file, self->map);
}

/* Within one page. */
TEST_F(truncate, punch_inside)
{
	size_t at;

	for (at = 512; at < self->file.size; at += hva_page) {
		if (!change(_metadata, &self->file, PUNCH, at, 1024))
			SKIP(return, "the file system cannot do it");
		memset(self->file.want + at, 0, 1024);
	}
	assert_all(_metadata, &self->file, self->map);
}

TEST_F(truncate, zero)
{
	size_t at = 2 * hva_page - 10, size = 9 * hva_page + 20;

	if (!change(_metadata, &self->file, FALLOC_FL_ZERO_RANGE, at, size))
		SKIP(return, "the file system cannot do it");
	memset(self->file.want + at, 0, size);
	assert_all(_metadata, &self->file, self->map);
}

TEST_F(truncate, collapse)
{
	size_t at = 4 * hva_page, size = 8 * hva_page;

	if (!change(_metadata, &self->file, FALLOC_FL_COLLAPSE_RANGE, at, size))
		SKIP(return, "the file system cannot do it");
	hva_expect(&self->file, at, self->file.want + at + size,
		   self->file.size - at - size);
	self->file.size -= size;
	assert_all(_metadata, &self->file, self->map);
}

/* The file gets longer than what remembers its content: the end is cut off. */
TEST_F(truncate, insert)
{
	size_t at = 4 * hva_page, size = 8 * hva_page;

	if (!change(_metadata, &self->file, FALLOC_FL_INSERT_RANGE, at, size))
		SKIP(return, "the file system cannot do it");
	hva_must(ftruncate(self->file.fd, self->file.size));
	hva_expect(&self->file, at + size, self->file.want + at,
		   self->file.size - at - size);
	memset(self->file.want + at, 0, size);
	assert_all(_metadata, &self->file, self->map);
}

/* Blocks are there before anything is written to them. */
TEST_F(truncate, unwritten)
{
	size_t at = 5 * hva_page, size = 6 * hva_page;

	if (!change(_metadata, &self->file, PUNCH, at, size))
		SKIP(return, "the file system cannot do it");
	if (!change(_metadata, &self->file, 0, at, size))
		SKIP(return, "the file system cannot do it");
	memset(self->file.want + at, 0, size);
	hva_discard(&self->file, self->map);
	hva_put(&self->file, at + hva_page + 5, "written", 7);
	assert_all(_metadata, &self->file, self->map);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
