// SPDX-License-Identifier: GPL-2.0
/* Reads by io_uring: a page that has to be read is waited for by a callback, not by a sleeping process. */
#include "stress.h"
#include <linux/io_uring.h>

#define DEPTH 8

struct ring {
	int fd;
	char *rings;
	struct io_uring_sqe *sqe;
	struct io_uring_params params;
};

static uint32_t *word(struct ring *r, uint32_t off)
{
	return (uint32_t *)(r->rings + off);
}

/* 0, or the errno of a kernel without io_uring. */
static int make_ring(struct ring *r)
{
	struct area a = { .len = DEPTH * sizeof(*r->sqe) };
	struct io_uring_params *p = &r->params;
	size_t sq, cq;

	memset(r, 0, sizeof(*r));
	r->fd = syscall(SYS_io_uring_setup, DEPTH, p);
	if (r->fd < 0 && (errno == ENOSYS || errno == EPERM))
		return errno;
	a.fd = keep_fd(r->fd, "io_uring");
	r->sqe = (void *)(map_area(&(struct area){ .fd = r->fd, .off = IORING_OFF_SQES, .len = a.len },
				   RW, MAP_SHARED));
	sq = p->sq_off.array + p->sq_entries * 4;
	cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	/* Since 5.4 both rings are in one mapping. */
	a.off = IORING_OFF_SQ_RING;
	a.len = sq > cq ? sq : cq;
	r->rings = map_area(&a, RW, MAP_SHARED);
	return 0;
}

static int uring_read(void)
{
	struct area a = area_read(1, KIB64);
	size_t step = a.len / DEPTH + 1;
	uint32_t *tail, *head, pending = 0;
	struct ring r;
	char *p;
	int err = make_ring(&r);

	if (err)
		return err;
	p = anon(a.len);
	tail = word(&r, r.params.sq_off.tail);
	for (size_t off = 0; off < a.len; off += step, pending++) {
		r.sqe[pending] = (struct io_uring_sqe) {
			.opcode = IORING_OP_READ,
			.fd = a.fd,
			.off = a.off + off,
			.addr = (uintptr_t)p + off,
			.len = a.len - off < step ? a.len - off : step,
			.user_data = off,
		};
		word(&r, r.params.sq_off.array)[pending] = pending;
	}
	__atomic_store_n(tail, pending, __ATOMIC_RELEASE);
	if ((uint32_t)must(syscall(SYS_io_uring_enter, r.fd, pending, pending, IORING_ENTER_GETEVENTS, NULL, 0)) !=
	    pending)
		fail("io_uring took fewer than %u requests", pending);
	head = word(&r, r.params.cq_off.head);
	for (; pending; pending--, ++*head) {
		struct io_uring_cqe *cqe = (void *)word(&r, r.params.cq_off.cqes);
		size_t off, len;

		cqe += *head & (r.params.cq_entries - 1);
		off = cqe->user_data;
		len = a.len - off < step ? a.len - off : step;
		if (cqe->res != (int)len)
			fail("io_uring read %d of %zu bytes at %#llx", cqe->res, len, (unsigned long long)(a.off + off));
		check(a.f, a.off + off, p + off, len);
	}
	return 0;
}

const struct op uring_ops[] = {
	{ "io-uring", uring_read, 6, true },
	{ }
};
