// SPDX-License-Identifier: GPL-2.0
/* Stores and writes to pages of a file that are gone, and how they reach it. */
#include <sys/uio.h>
#include "../kselftest_harness.h"
#include "page_hva.h"

FIXTURE(shared)
{
	struct hva_file file;
	char *map;
};

FIXTURE_VARIANT(shared)
{
	enum hva_kind kind;
};

FIXTURE_VARIANT_ADD(shared, full) { .kind = HVA_FULL };
FIXTURE_VARIANT_ADD(shared, sparse) { .kind = HVA_SPARSE };
FIXTURE_VARIANT_ADD(shared, tail) { .kind = HVA_TAIL };

FIXTURE_SETUP(shared)
{
	hva_create(&self->file, variant->kind);
	self->map = hva_map(&self->file, HVA_RW, MAP_SHARED);
	hva_discard(&self->file, self->map);
}

FIXTURE_TEARDOWN(shared)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

/* Stores one byte to each page. */
static void store(struct hva_file *file, char *map, char byte)
{
	size_t at;

	for (at = byte; at < file->size; at += hva_page) {
		hva_store(map + at, byte);
		hva_expect(file, at, &byte, 1);
	}
}

/* The page is in the page tables, where a store is not allowed while it is clean. */
TEST_F(shared, store)
{
	char byte;

	for (byte = 'a'; byte < 'e'; byte++) {
		store(&self->file, self->map, byte);
		ASSERT_RIGHT(&self->file, self->map);
		hva_must(msync(self->map, self->file.size,
			       byte % 2 ? MS_SYNC : MS_ASYNC));
		hva_discard(&self->file, self->map);
	}
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

/* The page is only in the page cache. */
TEST_F(shared, store_first)
{
	char byte;

	for (byte = 'a'; byte < 'e'; byte++) {
		hva_must(madvise(self->map, self->file.size, MADV_DONTNEED));
		hva_discard(&self->file, NULL);
		store(&self->file, self->map, byte);
	}
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

TEST_F(shared, store_atomic)
{
	uint32_t *word;
	size_t at;

	for (at = 8; at + 4 < self->file.size; at += hva_page) {
		word = (uint32_t *)(self->file.want + at);
		ASSERT_EQ(*word, __sync_fetch_and_add((uint32_t *)
						      (self->map + at), 5));
		*word += 5;
	}
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

/* What another mapping stores is seen through this one. */
TEST_F(shared, store_beside)
{
	char *beside = hva_map(&self->file, HVA_RW, MAP_SHARED);
	char *private = hva_map(&self->file, PROT_READ, MAP_PRIVATE);

	hva_discard(&self->file, self->map);
	store(&self->file, beside, 'b');
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_RIGHT(&self->file, private);
	hva_discard(&self->file, self->map);
	store(&self->file, self->map, 'c');
	ASSERT_RIGHT(&self->file, beside);
	ASSERT_RIGHT(&self->file, private);
	ASSERT_FILE(&self->file);
}

/* Parts of pages, which have to be read before; nobody has them mapped. */
TEST_F(shared, write)
{
	size_t at;

	hva_must(munmap(self->map, self->file.size));
	hva_discard(&self->file, NULL);
	for (at = hva_page - 2; at + 5 < self->file.size; at += hva_page)
		hva_put(&self->file, at, "write", 5);
	ASSERT_FILE(&self->file);
}

TEST_F(shared, write_mapped)
{
	size_t at;

	for (at = 50; at + 5 < self->file.size; at += hva_page)
		hva_put(&self->file, at, "write", 5);
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

/* From pages that are gone, into pages that are gone. */
TEST_F(shared, write_from_mapping)
{
	struct hva_file from;
	struct iovec iov[2];
	char *map;

	hva_create(&from, HVA_SPARSE);
	map = hva_map(&from, PROT_READ, MAP_PRIVATE);
	hva_discard(&from, map);
	hva_discard(&self->file, self->map);
	iov[0] = (struct iovec){ map + 1, 5000 };
	iov[1] = (struct iovec){ map + 20001, 30000 };
	ASSERT_EQ(35000, pwritev(self->file.fd, iov, 2, 3));
	hva_expect(&self->file, 3, from.want + 1, 5000);
	hva_expect(&self->file, 5003, from.want + 20001, 30000);
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_RIGHT(&from, map);
	ASSERT_FILE(&self->file);
	hva_close(&from);
}

/* A page of the file into another one of the same file, and into itself. */
TEST_F(shared, write_from_itself)
{
	size_t from = 3 * hva_page, to = 9 * hva_page + 1, both = 6 * hva_page + 1;

	ASSERT_EQ(4000, pwrite(self->file.fd, self->map + from, 4000, to));
	hva_expect(&self->file, to, self->file.want + from, 4000);
	ASSERT_EQ(999, pwrite(self->file.fd, self->map + both, 999, both));
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

TEST_F(shared, append)
{
	size_t end = self->file.size;

	if (end == HVA_PAGES * hva_page)
		end -= hva_page / 2;
	hva_must(ftruncate(self->file.fd, end));
	self->file.size = end;
	hva_discard(&self->file, NULL);
	self->file.size += 100;
	hva_put(&self->file, end, self->file.want, 100);
	ASSERT_FILE(&self->file);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
