// SPDX-License-Identifier: GPL-2.0
/* Pages of a file move through pipes; those that are gone must not. */
#include <sys/sendfile.h>
#include "../kselftest_harness.h"
#include "page_hva.h"

FIXTURE(splice)
{
	struct hva_file file, to;
	char *buffer;
	int ends[2];
};

FIXTURE_VARIANT(splice)
{
	enum hva_kind kind;
};

FIXTURE_VARIANT_ADD(splice, full) { .kind = HVA_FULL };
FIXTURE_VARIANT_ADD(splice, sparse) { .kind = HVA_SPARSE };
FIXTURE_VARIANT_ADD(splice, tail) { .kind = HVA_TAIL };

FIXTURE_SETUP(splice)
{
	hva_create(&self->file, variant->kind);
	hva_create(&self->to, HVA_FULL);
	self->buffer = hva_anon(HVA_PAGES * hva_page);
	hva_must(pipe(self->ends));
	hva_must(fcntl(self->ends[1], F_SETPIPE_SZ, HVA_PAGES * hva_page));
	hva_discard(&self->file, NULL);
}

FIXTURE_TEARDOWN(splice)
{
	hva_note(&self->file);
	hva_close(&self->to);
	hva_close(&self->file);
}

static ssize_t to_pipe(struct hva_file *file, int pipe)
{
	loff_t at = 0;

	while (at < file->size)
		if (splice(file->fd, &at, pipe, NULL, file->size - at, 0) <= 0)
			break;
	return at;
}

static ssize_t from_pipe(int pipe, char *to, size_t size)
{
	size_t at = 0;
	ssize_t n;

	while (at < size) {
		n = read(pipe, to + at, size - at);
		if (n <= 0)
			break;
		at += n;
	}
	return at;
}

/* The file is left alone while the pipe has its pages. */
TEST_F(splice, held)
{
	ASSERT_EQ(self->file.size, to_pipe(&self->file, self->ends[1]));
	hva_discard(&self->file, NULL);
	posix_fadvise(self->file.fd, 0, 0, POSIX_FADV_DONTNEED);
	ASSERT_EQ(self->file.size, from_pipe(self->ends[0], self->buffer,
					     self->file.size));
	ASSERT_RIGHT(&self->file, self->buffer);
	ASSERT_FILE(&self->file);
}

TEST_F(splice, to_file)
{
	loff_t at = 0;

	ASSERT_EQ(self->file.size, to_pipe(&self->file, self->ends[1]));
	hva_discard(&self->to, NULL);
	while (at < self->file.size)
		ASSERT_LT(0, splice(self->ends[0], NULL, self->to.fd, &at,
				    self->file.size - at, 0));
	hva_expect(&self->to, 0, self->file.want, self->file.size);
	ASSERT_FILE(&self->to);
}

TEST_F(splice, tee)
{
	int other[2];
	size_t at;

	hva_must(pipe(other));
	hva_must(fcntl(other[1], F_SETPIPE_SZ, HVA_PAGES * hva_page));
	ASSERT_EQ(self->file.size, to_pipe(&self->file, self->ends[1]));
	at = tee(self->ends[0], other[1], self->file.size, 0);
	ASSERT_EQ(self->file.size, at);
	hva_discard(&self->file, NULL);
	ASSERT_EQ(self->file.size, from_pipe(self->ends[0], self->buffer,
					     self->file.size));
	ASSERT_RIGHT(&self->file, self->buffer);
	memset(self->buffer, 0, self->file.size);
	ASSERT_EQ(self->file.size, from_pipe(other[0], self->buffer,
					     self->file.size));
	ASSERT_RIGHT(&self->file, self->buffer);
}

/* Odd offset and size: parts of pages at both ends. */
TEST_F(splice, sendfile)
{
	size_t size = self->file.size - 1500;
	off_t at = 1000;

	hva_discard(&self->to, NULL);
	hva_must(lseek(self->to.fd, 7, SEEK_SET));
	while (at < 1000 + size)
		ASSERT_LT(0, sendfile(self->to.fd, self->file.fd, &at,
				      1000 + size - at));
	hva_expect(&self->to, 7, self->file.want + 1000, size);
	ASSERT_FILE(&self->to);
	ASSERT_FILE(&self->file);
}

TEST_F(splice, copy_file_range)
{
	loff_t at = 0, to = 0;

	hva_discard(&self->to, NULL);
	while (at < self->file.size)
		ASSERT_LT(0, copy_file_range(self->file.fd, &at, self->to.fd,
					     &to, self->file.size - at, 0));
	hva_expect(&self->to, 0, self->file.want, self->file.size);
	ASSERT_FILE(&self->to);
	ASSERT_FILE(&self->file);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
