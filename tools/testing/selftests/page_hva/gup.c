// SPDX-License-Identifier: GPL-2.0
/* The kernel, and devices, take hold of pages of user memory that are gone. */
#include <sys/syscall.h>
#include <sys/uio.h>
#include <linux/io_uring.h>
#include "../kselftest_harness.h"
#include "page_hva.h"

FIXTURE(gup)
{
	struct hva_file file, other;
	char *map, *buffer;
};

FIXTURE_VARIANT(gup)
{
	enum hva_kind kind;
	int flags;
};

FIXTURE_VARIANT_ADD(gup, shared) { .flags = MAP_SHARED };
FIXTURE_VARIANT_ADD(gup, private) { .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(gup, sparse) { .flags = MAP_SHARED, .kind = HVA_SPARSE };

FIXTURE_SETUP(gup)
{
	hva_create(&self->file, variant->kind);
	hva_create(&self->other, HVA_FULL);
	self->map = hva_map(&self->file, HVA_RW, variant->flags);
	self->buffer = hva_anon(self->file.size);
	hva_discard(&self->file, self->map);
}

FIXTURE_TEARDOWN(gup)
{
	hva_note(&self->file);
	hva_close(&self->other);
	hva_close(&self->file);
}

/* A child that keeps the mappings it was born with. */
static pid_t holder(void)
{
	pid_t child = hva_must(fork());

	if (!child) {
		alarm(30);
		for (;;)
			pause();
	}
	return child;
}

static void end_holder(pid_t child)
{
	kill(child, SIGKILL);
	hva_wait(child);
}

/* What was put into the mapping is in the file, or in a copy. */
static void assert_put(struct __test_metadata *_metadata, struct hva_file *file,
		       const char *map, int flags, const void *data)
{
	ASSERT_EQ(0, memcmp(map, data, file->size));
	if (flags == MAP_SHARED)
		hva_expect(file, 0, data, file->size);
	ASSERT_FILE(file);
}

TEST_F(gup, vm_readv)
{
	struct iovec here = { self->buffer, self->file.size };
	struct iovec there = { self->map, self->file.size };
	pid_t child = holder();
	ssize_t n = process_vm_readv(child, &here, 1, &there, 1, 0);

	end_holder(child);
	if (n < 0 && errno != EFAULT)
		SKIP(return, "process_vm_readv: %s", strerror(errno));
	ASSERT_EQ(self->file.size, n);
	ASSERT_RIGHT(&self->file, self->buffer);
}

TEST_F(gup, vm_writev)
{
	struct iovec here = { self->other.want, self->file.size };
	struct iovec there = { self->map, self->file.size };
	ssize_t n = process_vm_writev(getpid(), &here, 1, &there, 1, 0);

	if (n < 0 && errno != EFAULT)
		SKIP(return, "process_vm_writev: %s", strerror(errno));
	ASSERT_EQ(self->file.size, n);
	assert_put(_metadata, &self->file, self->map, variant->flags,
		   self->other.want);
}

/* The pipe has the pages when nobody else has them any more. */
TEST_F(gup, vmsplice)
{
	size_t at = 0, half = self->file.size / 4;
	struct iovec iov = { self->map, half };
	int ends[2];
	ssize_t n;

	hva_must(pipe(ends));
	ASSERT_EQ(half, vmsplice(ends[1], &iov, 1, 0));
	hva_must(munmap(self->map, self->file.size));
	hva_discard(&self->file, NULL);
	while (at < half) {
		n = read(ends[0], self->buffer + at, half - at);
		ASSERT_LT(0, n);
		at += n;
	}
	ASSERT_EQ(-1, hva_wrong_at(&self->file, self->buffer, 0, half));
	ASSERT_FILE(&self->file);
}

/* A device reads from the mapping. */
TEST_F(gup, direct_write)
{
	int fd = hva_reopen(&self->other, O_RDWR | O_DIRECT);

	if (fd < 0)
		SKIP(return, "the file system has no O_DIRECT");
	ASSERT_EQ(self->file.size, pwrite(fd, self->map, self->file.size, 0));
	hva_expect(&self->other, 0, self->file.want, self->file.size);
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->other);
	ASSERT_FILE(&self->file);
}

/* A device stores to the mapping. */
TEST_F(gup, direct_read)
{
	int fd = hva_reopen(&self->other, O_RDWR | O_DIRECT);

	if (fd < 0)
		SKIP(return, "the file system has no O_DIRECT");
	ASSERT_EQ(self->file.size, pread(fd, self->map, self->file.size, 0));
	assert_put(_metadata, &self->file, self->map, variant->flags,
		   self->other.want);
}

/* Only half a page is stored to; the rest must have been there before. */
TEST_F(gup, direct_read_half)
{
	int fd = hva_reopen(&self->other, O_RDWR | O_DIRECT);
	size_t at, half = hva_page / 2;
	char *want = hva_anon(self->file.size);

	if (fd < 0)
		SKIP(return, "the file system has no O_DIRECT");
	memcpy(want, self->file.want, self->file.size);
	for (at = 0; at < self->file.size; at += hva_page) {
		ssize_t n = pread(fd, self->map + at + half, half, at);

		if (n < 0 && errno == EINVAL)
			SKIP(return, "O_DIRECT wants whole pages");
		ASSERT_EQ(half, n);
		memcpy(want + at + half, self->other.want + at, half);
	}
	assert_put(_metadata, &self->file, self->map, variant->flags,
		   want);
}

/*
 * Buffers that are registered stay pinned.  The kernel refuses those of a
 * shared mapping of a file; for a private one all pages are copied.
 */
TEST_F(gup, uring_fixed)
{
	struct io_uring_params params = {};
	struct iovec iov = { self->map, self->file.size };
	int ring = syscall(__NR_io_uring_setup, 2, &params);
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	char *rings;

	if (ring < 0)
		SKIP(return, "no io_uring");
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1)) {
		ASSERT_EQ(MAP_SHARED, variant->flags);
		/* It has been refused, and all is as it was. */
		ASSERT_RIGHT(&self->file, self->map);
		ASSERT_FILE(&self->file);
		return;
	}
	hva_discard(&self->file, self->map);
	sqe = hva_must(mmap(NULL, 2 * sizeof(*sqe), HVA_RW, MAP_SHARED, ring,
			    IORING_OFF_SQES));
	rings = hva_must(mmap(NULL, hva_page, HVA_RW, MAP_SHARED, ring,
			      IORING_OFF_SQ_RING));
	*sqe = (struct io_uring_sqe) {
		.opcode = IORING_OP_WRITE_FIXED,
		.fd = self->other.fd,
		.addr = (uintptr_t)self->map,
		.len = self->file.size,
	};
	((uint32_t *)(rings + params.sq_off.array))[0] = 0;
	__atomic_store_n((uint32_t *)(rings + params.sq_off.tail), 1,
			 __ATOMIC_RELEASE);
	ASSERT_EQ(1, syscall(__NR_io_uring_enter, ring, 1, 1,
			     IORING_ENTER_GETEVENTS, NULL, 0));
	cqe = (void *)(rings + params.cq_off.cqes);
	ASSERT_EQ(self->file.size, cqe->res);
	hva_expect(&self->other, 0, self->file.want, self->file.size);
	ASSERT_FILE(&self->other);
	ASSERT_RIGHT(&self->file, self->map);
	close(ring);
	ASSERT_FILE(&self->file);
}

int main(int argc, char **argv)
{
	hva_start();
	return test_harness_run(argc, argv);
}
