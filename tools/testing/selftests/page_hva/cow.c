// SPDX-License-Identifier: GPL-2.0
/* Stores to private mappings: the page that is to be copied is gone. */
#include "../kselftest_harness.h"
#include "page_hva.h"

FIXTURE(cow)
{
	struct hva_file file;
	char *map;
	unsigned char *mine;	/* what is to be in the mapping */
};

FIXTURE_VARIANT(cow)
{
	enum hva_kind kind;
};

FIXTURE_VARIANT_ADD(cow, full) { .kind = HVA_FULL };
FIXTURE_VARIANT_ADD(cow, sparse) { .kind = HVA_SPARSE };
FIXTURE_VARIANT_ADD(cow, tail) { .kind = HVA_TAIL };

FIXTURE_SETUP(cow)
{
	hva_create(&self->file, variant->kind);
	self->map = hva_map(&self->file, HVA_RW, MAP_PRIVATE);
	hva_discard(&self->file, self->map);
	self->mine = hva_anon(HVA_PAGES * hva_page);
	memcpy(self->mine, self->file.want, self->file.size);
}

FIXTURE_TEARDOWN(cow)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

/* Stores one byte to each page, and to the copy of what is to be. */
static void store(unsigned char *map, unsigned char *mine, size_t size, char byte)
{
	size_t at;

	for (at = 100; at < size; at += hva_page) {
		hva_store(map + at, byte);
		mine[at] = byte;
	}
}

static void assert_mine(struct __test_metadata *_metadata,
			struct hva_file *file, const char *map,
			const unsigned char *mine)
{
	ASSERT_EQ(0, memcmp(map, mine, file->size));
	ASSERT_FILE(file);
}

/* The page is in the page tables. */
TEST_F(cow, store)
{
	store((void *)self->map, self->mine, self->file.size, 'm');
	assert_mine(_metadata, &self->file, self->map, self->mine);
	/* What is private does not vanish with the file's pages. */
	hva_discard(&self->file, self->map);
	assert_mine(_metadata, &self->file, self->map, self->mine);
}

/* The page is only in the page cache. */
TEST_F(cow, store_first)
{
	hva_must(madvise(self->map, self->file.size, MADV_DONTNEED));
	hva_discard(&self->file, NULL);
	store((void *)self->map, self->mine, self->file.size, 'f');
	assert_mine(_metadata, &self->file, self->map, self->mine);
}

/* The kernel stores, from a page that is gone as well. */
TEST_F(cow, store_by_read)
{
	struct hva_file from;
	size_t size = self->file.size - 9;

	hva_create(&from, HVA_FULL);
	hva_discard(&from, NULL);
	hva_discard(&self->file, self->map);
	ASSERT_EQ(size, pread(from.fd, self->map + 5, size, 0));
	memcpy(self->mine + 5, from.want, size);
	assert_mine(_metadata, &self->file, self->map, self->mine);
	hva_close(&from);
}

/* The kernel stores one byte, and the rest of the page has to be copied. */
TEST_F(cow, store_by_pipe)
{
	size_t at;
	int ends[2];

	hva_must(pipe(ends));
	for (at = 1; at < self->file.size; at += hva_page) {
		ASSERT_EQ(1, write(ends[1], "p", 1));
		ASSERT_EQ(1, read(ends[0], self->map + at, 1));
		self->mine[at] = 'p';
	}
	assert_mine(_metadata, &self->file, self->map, self->mine);
}

/* It may not be written to at first. */
TEST_F(cow, store_allowed)
{
	self->map = hva_map(&self->file, PROT_READ, MAP_PRIVATE);
	hva_discard(&self->file, self->map);
	hva_must(mprotect(self->map, self->file.size, HVA_RW));
	store((void *)self->map, self->mine, self->file.size, 'a');
	assert_mine(_metadata, &self->file, self->map, self->mine);
}

/* Parent and child have a copy of their own each. */
TEST_F(cow, store_and_fork)
{
	pid_t child;

	store((void *)self->map, self->mine, self->file.size / 2, 'b');
	hva_discard(&self->file, self->map);
	child = hva_must(fork());
	if (!child) {
		store((void *)self->map, self->mine, self->file.size, 'c');
		_exit(!!memcmp(self->map, self->mine, self->file.size));
	}
	store((void *)self->map + 1, self->mine + 1, self->file.size - 1, 'd');
	ASSERT_EQ(0, hva_wait(child));
	assert_mine(_metadata, &self->file, self->map, self->mine);
}

/* Another mapping of the page keeps it in use while it is copied. */
TEST_F(cow, store_beside)
{
	char *beside = hva_map(&self->file, PROT_READ, MAP_SHARED);

	hva_discard(&self->file, beside);
	store((void *)self->map, self->mine, self->file.size, 'e');
	ASSERT_RIGHT(&self->file, beside);
	assert_mine(_metadata, &self->file, self->map, self->mine);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
