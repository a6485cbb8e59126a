// SPDX-License-Identifier: GPL-2.0
/* Reads of files whose pages are gone, by system calls and through mappings. */
#include <sys/uio.h>
#include "../kselftest_harness.h"
#include "page_hva.h"

FIXTURE(read)
{
	struct hva_file file;
	char *buffer;
};

FIXTURE_VARIANT(read)
{
	enum hva_kind kind;
};

FIXTURE_VARIANT_ADD(read, full) { .kind = HVA_FULL };
FIXTURE_VARIANT_ADD(read, sparse) { .kind = HVA_SPARSE };
FIXTURE_VARIANT_ADD(read, tail) { .kind = HVA_TAIL };

FIXTURE_SETUP(read)
{
	hva_create(&self->file, variant->kind);
	self->buffer = hva_anon((HVA_PAGES + 1) * hva_page);
	hva_discard(&self->file, NULL);
}

FIXTURE_TEARDOWN(read)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

/* Each read ends within a page, and most of them go over the border of one. */
TEST_F(read, read)
{
	size_t at = 0;
	ssize_t n;

	while ((n = read(self->file.fd, self->buffer + at, 3001)) > 0)
		at += n;
	ASSERT_EQ(self->file.size, at);
	ASSERT_RIGHT(&self->file, self->buffer);
	ASSERT_FILE(&self->file);
}

/* Backwards, so that there is no readahead. */
TEST_F(read, pread)
{
	size_t at, size = self->file.size, n;

	for (at = size / hva_page * hva_page;; at -= hva_page) {
		n = size - at < hva_page ? size - at : hva_page;
		ASSERT_EQ(n, pread(self->file.fd, self->buffer, hva_page, at));
		ASSERT_EQ(-1, hva_wrong_at(&self->file, self->buffer, at, n));
		if (!at)
			break;
	}
	ASSERT_EQ(0, pread(self->file.fd, self->buffer, 1, size));
}

TEST_F(read, readv)
{
	struct iovec iov[] = {
		{ self->buffer, 1 },
		{ self->buffer + 1, 2 * hva_page },
		{ self->buffer + 1 + 2 * hva_page, HVA_PAGES * hva_page },
	};

	ASSERT_EQ(self->file.size, readv(self->file.fd, iov, 3));
	ASSERT_RIGHT(&self->file, self->buffer);
	hva_discard(&self->file, NULL);
	ASSERT_EQ(self->file.size, preadv(self->file.fd, iov, 3, 0));
	ASSERT_RIGHT(&self->file, self->buffer);
}

/* Both pages of each copy are gone. */
TEST_F(read, to_mapping)
{
	struct hva_file to;
	char *map;

	hva_create(&to, HVA_FULL);
	map = hva_map(&to, HVA_RW, MAP_SHARED);
	hva_discard(&to, map);
	hva_discard(&self->file, NULL);
	ASSERT_EQ(self->file.size - 9,
		  pread(self->file.fd, map + 5, self->file.size - 9, 0));
	hva_expect(&to, 5, self->file.want, self->file.size - 9);
	ASSERT_RIGHT(&to, map);
	hva_discard(&to, map);
	ASSERT_RIGHT(&to, map);
	ASSERT_FILE(&to);
	hva_close(&to);
}

/* Written again after it was gone, and read while it may be under writeback. */
TEST_F(read, written)
{
	int i;

	for (i = 0; i < 3; i++) {
		hva_put(&self->file, i * hva_page + 7, "again", 5);
		ASSERT_FILE(&self->file);
	}
}

FIXTURE(map)
{
	struct hva_file file;
	char *map;
};

FIXTURE_VARIANT(map)
{
	enum hva_kind kind;
	int flags;
};

FIXTURE_VARIANT_ADD(map, shared) { .flags = MAP_SHARED };
FIXTURE_VARIANT_ADD(map, private) { .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(map, populate) { .flags = MAP_SHARED | MAP_POPULATE };
FIXTURE_VARIANT_ADD(map, sparse) {
	.flags = MAP_SHARED, .kind = HVA_SPARSE
};

FIXTURE_VARIANT_ADD(map, tail) { .flags = MAP_PRIVATE, .kind = HVA_TAIL };

FIXTURE_SETUP(map)
{
	hva_create(&self->file, variant->kind);
	self->map = hva_map(&self->file, PROT_READ, variant->flags);
	hva_discard(&self->file, self->map);
}

FIXTURE_TEARDOWN(map)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

TEST_F(map, load)
{
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_RIGHT(&self->file, self->map);
		hva_discard(&self->file, self->map);
	}
	ASSERT_FILE(&self->file);
}

/* One access to two pages. */
TEST_F(map, load_across)
{
	size_t at;

	for (at = hva_page; at < self->file.size; at += hva_page) {
		uint64_t word, want;

		memcpy(&want, self->file.want + at - 3, sizeof(want));
		word = __atomic_load_n((uint64_t *)(self->map + at - 3),
				       __ATOMIC_RELAXED);
		ASSERT_EQ(want, word);
	}
}

/* Without neighbours: neither readahead nor the mapping of what is cached. */
TEST_F(map, load_alone)
{
	size_t page, at;

	hva_must(madvise(self->map, self->file.size, MADV_RANDOM));
	for (page = 0; page < HVA_PAGES; page++) {
		at = page * 7 % HVA_PAGES * hva_page + 11;
		ASSERT_EQ(self->file.want[at], (unsigned char)self->map[at]);
	}
	ASSERT_RIGHT(&self->file, self->map);
}

/* Another mapping finds what is gone in the page cache. */
TEST_F(map, mapped_again)
{
	char *again = hva_map(&self->file, PROT_READ, MAP_SHARED);

	ASSERT_RIGHT(&self->file, again);
	ASSERT_RIGHT(&self->file, self->map);
}

/* Page table entries move, the pages that they have are gone. */
TEST_F(map, moved)
{
	char *to = hva_anon(self->file.size);

	to = hva_must(mremap(self->map, self->file.size, self->file.size,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	ASSERT_RIGHT(&self->file, to);
}

/* A mapping and system calls, both of which find that a page is gone. */
TEST_F(map, read)
{
	char *buffer = hva_anon(self->file.size);

	ASSERT_EQ(self->file.size,
		  pread(self->file.fd, buffer, self->file.size, 0));
	ASSERT_RIGHT(&self->file, buffer);
	ASSERT_RIGHT(&self->file, self->map);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
