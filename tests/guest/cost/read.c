// SPDX-License-Identifier: GPL-2.0
/* Reads. */
#include "cost.h"
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static size_t next;			/* page of the file */

static size_t next_page(void)
{
	size_t at = next * PAGE;

	next = (next + 1) % (length / PAGE);
	return at;
}

static unsigned long pread_page(void)
{
	all_of(pread(fd, buffer, PAGE, next_page()), PAGE);
	return 1;
}

static unsigned long pread_mib(void)
{
	all_of(pread(fd, buffer, MIB, 0), MIB);
	return MIB_PAGES;
}

/* A page to each of 16 places. */
static unsigned long readv_pages(void)
{
	struct iovec to[16];

	for (int i = 0; i < 16; i++)
		to[i] = (struct iovec){ buffer + i * 2 * PAGE, PAGE };
	all_of(preadv(fd, to, 16, 0), 16 * PAGE);
	return 16;
}

static struct {
	int fd;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	uint32_t *tail, *head, *array, entries;
} ring;

static void setup_uring(void)
{
	struct io_uring_params p = { 0 };
	size_t sq, cq;
	char *rings;

	ring.fd = must((int)syscall(SYS_io_uring_setup, 1, &p));
	sq = p.sq_off.array + p.sq_entries * 4;
	cq = p.cq_off.cqes + p.cq_entries * sizeof(*ring.cqe);
	rings = must(mmap(NULL, sq > cq ? sq : cq, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
			  IORING_OFF_SQ_RING));
	ring.sqe = must(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd,
			     IORING_OFF_SQES));
	ring.cqe = (void *)(rings + p.cq_off.cqes);
	ring.tail = (void *)(rings + p.sq_off.tail);
	ring.head = (void *)(rings + p.cq_off.head);
	ring.array = (void *)(rings + p.sq_off.array);
	ring.entries = p.cq_entries;
}

/* One request at a time. */
static unsigned long uring_page(void)
{
	struct io_uring_cqe *cqe = ring.cqe + (*ring.head & (ring.entries - 1));

	*ring.sqe = (struct io_uring_sqe) {
		.opcode = IORING_OP_READ,
		.fd = fd,
		.off = next_page(),
		.addr = (uintptr_t)buffer,
		.len = PAGE,
	};
	ring.array[0] = 0;
	__atomic_store_n(ring.tail, *ring.tail + 1, __ATOMIC_RELEASE);
	all_of(syscall(SYS_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), 1);
	if (cqe->res != (int)PAGE)
		fail("io_uring: %d", cqe->res);
	__atomic_store_n(ring.head, *ring.head + 1, __ATOMIC_RELEASE);
	return 1;
}

static unsigned long uncached_mib(void)
{
	all_of(posix_fadvise(fd, 0, MIB, POSIX_FADV_DONTNEED), 0);
	return pread_mib();
}

/* As what reads a small file of settings. */
static unsigned long open_read_close(void)
{
	char path[256];
	int f;

	snprintf(path, sizeof(path), "%s/cost-open", dir);
	f = must(open(path, O_RDONLY));
	all_of(read(f, buffer, 2 * PAGE), PAGE);
	close(f);
	return 1;
}

const struct load read_loads[] = {
	{ "pread-4k", "read", 16, NULL, pread_page },
	{ "pread-1m", "page", MIB_PAGES, NULL, pread_mib },
	{ "readv", "page", 16, NULL, readv_pages },
	{ "io-uring", "read", 16, setup_uring, uring_page },
	{ "uncached", "page", MIB_PAGES, NULL, uncached_mib },
	{ "open", "file", 1, NULL, open_read_close },
	{ }
};
