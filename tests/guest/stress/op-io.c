// SPDX-License-Identifier: GPL-2.0
/* Operations on descriptors: read, write, splice, O_DIRECT, AIO, truncate. */
#include "stress.h"
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

static int read_sequential(void)
{
	struct area a = area_read(1, 4 * KIB64);
	size_t step = 1 + below(3 * PAGE);
	char *p = anon(step);

	must(lseek(a.fd, a.off, SEEK_SET));
	for (size_t done = 0; done < a.len; done += step) {
		size_t n = a.len - done < step ? a.len - done : step;

		if ((size_t)must(read(a.fd, p, n)) != n)
			fail("short read at %#llx", (unsigned long long)(a.off + done));
		check(a.f, a.off + done, p, n);
	}
	return 0;
}

static int read_positional(void)
{
	struct area a = area_read(1, 4 * KIB64);
	char *p = anon(a.len);

	for (int i = 0; i < 3; i++) {
		memset(p, 0xee, a.len);
		read_at(a.fd, p, a.len, a.off);
		check(a.f, a.off, p, a.len);
	}
	return 0;
}

/* Everything from the beginning to the end: readahead, and aging of what is older. */
static int scan(void)
{
	struct area a = { .f = &sh->ro[below(RO_FILES)] };
	char *p = anon(KIB64);

	a.len = a.f->size;
	a.fd = open_area(&a, O_RDONLY);
	if (chance(50)) {
		check(a.f, 0, map_area(&a, PROT_READ, MAP_SHARED), a.len);
		return 0;
	}
	for (a.off = 0; a.off < a.len; a.off += KIB64) {
		read_at(a.fd, p, KIB64, a.off);
		check(a.f, a.off, p, KIB64);
	}
	return 0;
}

static int read_nowait(void)
{
	struct area a = area_read(1, KIB64);
	char *p = anon(a.len), *q = anon(a.len);
	struct iovec iov[2] = { { p, a.len / 2 }, { q, a.len - a.len / 2 } };
	ssize_t n = preadv2(a.fd, iov, 2, a.off, RWF_NOWAIT);

	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		return errno;
	if (n < 0 && errno != EAGAIN)
		fail("preadv2(RWF_NOWAIT): %m");
	if (n < (ssize_t)a.len)			/* part of it would have had to wait */
		n = n < 0 ? 0 : n;
	check(a.f, a.off, p, (size_t)n < iov[0].iov_len ? (size_t)n : iov[0].iov_len);
	if ((size_t)n > iov[0].iov_len)
		check(a.f, a.off + iov[0].iov_len, q, n - iov[0].iov_len);
	must(preadv(a.fd, iov, 2, a.off));
	check(a.f, a.off, p, iov[0].iov_len);
	check(a.f, a.off + iov[0].iov_len, q, iov[1].iov_len);
	return 0;
}

/* Read s by fd into pages of d, shared ones or private ones that are copied first. */
static int read_to_mapped(struct area *s, struct area *d, int fd)
{
	bool shared = chance(60);
	char *p = map_area(d, RW, shared ? MAP_SHARED : MAP_PRIVATE);

	if (chance(50))
		check(d->f, d->off, p, d->len);
	if (chance(50))
		recycle_mapped(d, p);
	read_at(fd, p, s->len, s->off);
	check(s->f, s->off, p, s->len);
	if (shared)
		copy_content(d->f, d->off, s->f, s->off, s->len);
	verify(d);
	return 0;
}

/* Both the source and the target of the copy are pages of files. */
static int read_into_mapping(void)
{
	struct area s, d;

	area_pair(&s, &d, BLK, KIB64);
	return read_to_mapped(&s, &d, s.fd);
}

static int write_positional(void)
{
	struct area a = area_write(BLK, KIB64);
	char *p = anon(a.len);

	new_content(a.f, a.off, a.len);
	fill(a.f, a.off, a.len, p);
	/* Odd pieces: each merges with what the page held. */
	for (size_t n, done = 0; done < a.len; done += n) {
		n = chance(50) ? a.len - done : 1 + below(a.len - done);
		if (!sabotage("lost-write"))
			write_at(a.fd, p + done, n, a.off + done);
	}
	verify(&a);
	return 0;
}

static int write_from_mapping(void)
{
	struct area s, d;
	char *p;

	area_pair(&s, &d, BLK, KIB64);
	p = map_area(&s, PROT_READ, chance(50) ? MAP_SHARED : MAP_PRIVATE);
	if (chance(30))
		check(s.f, s.off, p, s.len);
	if (chance(50))
		recycle_mapped(&s, p);
	copy_content(d.f, d.off, s.f, s.off, s.len);
	write_at(d.fd, p, d.len, d.off);
	verify(&d);
	return 0;
}

/* A page is written from a mapping of itself: to the same place, and to its neighbour block. */
static int write_to_self(void)
{
	struct area a = area_inside(PAGE, 4 * PAGE);
	char *p = map_area(&a, PROT_READ, MAP_SHARED);

	recycle_mapped(&a, p);
	write_at(a.fd, p, a.len, a.off);
	check(a.f, a.off, p, a.len);
	recycle_mapped(&a, p);
	copy_content(a.f, a.off + 3 * BLK, a.f, a.off, BLK);
	write_at(a.fd, p, BLK, a.off + 3 * BLK);
	verify(&a);
	return 0;
}

static int append(void)
{
	struct area a = area_write(BLK, BLK);
	size_t len = 1 + below(3 * PAGE);
	char *p = anon(len);
	int fd;

	if (a.f->size + len > FILE_MAX)
		return NOT_NOW;
	fd = open_area(&a, O_WRONLY | O_APPEND);
	a.off = a.f->size;
	a.len = len;
	new_tail(a.f, len);
	fill(a.f, a.off, len, p);
	if ((size_t)must(write(fd, p, len)) != len)
		fail("short append");
	a.len += a.off % PAGE;			/* the beginning of that page, too */
	a.off -= a.off % PAGE;
	verify(&a);
	return 0;
}

/* The page at the new end is kept by a mapping: behind the end it must read as zeros. */
static int truncate_down(void)
{
	struct area a = area_inside(PAGE, PAGE);
	uint64_t size = a.off + below(PAGE + 1);
	char *p;

	p = map_area(&a, PROT_READ, MAP_SHARED);
	if (chance(70))
		check(a.f, a.off, p, PAGE);
	if (chance(50))
		recycle_mapped(&a, p);
	must(ftruncate(a.fd, size));
	set_size(a.f, size);
	if (size > a.off)
		check(a.f, a.off, p, PAGE);
	verify(&a);
	return 0;
}

static int truncate_up(void)
{
	struct area a = area_write(PAGE, PAGE);
	uint64_t size = a.f->size + below(KIB64);

	a.off = a.f->size / PAGE * PAGE;
	a.len = PAGE;
	if (chance(50))
		recycle(&a);
	if (size > FILE_MAX)
		size = FILE_MAX;
	must(ftruncate(a.fd, size));
	set_size(a.f, size);
	a.len = size - a.off;
	verify(&a);
	return 0;
}

/* Zeros begin and end inside a page. */
static int punch_hole(void)
{
	struct area a = area_inside(BLK, KIB64);

	/* tmpfs knows only the second way. */
	if ((chance(70) || fallocate(a.fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE, a.off, a.len)) &&
	    fallocate(a.fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, a.off, a.len)) {
		if (errno == EOPNOTSUPP)
			return errno;
		fail("fallocate: %m");
	}
	zero_content(a.f, a.off, a.len);
	verify(&a);
	return 0;
}

static void make_pipe(int p[2])
{
	must(pipe(p));
	keep_fd(p[0], "pipe");
	keep_fd(p[1], "pipe");
}

static void read_pipe(const struct area *a, uint64_t off, int fd, size_t len)
{
	char *p = anon(len);

	for (size_t n, done = 0; done < len; done += n) {
		n = must(read(fd, p + done, len - done));
		if (!n)
			fail("the pipe ended %zu bytes early", len - done);
	}
	check(a->f, off, p, len);
}

/* From file to file; the pages wait in the pipe while they are cleaned and dropped by name. */
static int splice_files(void)
{
	struct area s, d;
	int p[2];

	make_pipe(p);
	area_pair(&s, &d, BLK, KIB64);
	copy_content(d.f, d.off, s.f, s.off, s.len);
	for (size_t n, done = 0; done < s.len; done += n) {
		loff_t from = s.off + done, to = d.off + done;

		n = must(splice(s.fd, &from, p[1], NULL, s.len - done, 0));
		if (!n)
			fail("splice from the file ended early");
		if (chance(50))
			recycle(&s);
		for (size_t m, out = 0; out < n; out += m)
			m = must(splice(p[0], NULL, d.fd, &to, n - out, 0));
	}
	verify(&d);
	return 0;
}

static int splice_hold(void)
{
	struct area a = area_read(1, 8 * PAGE);
	loff_t from = a.off;
	size_t n;
	int p[2];

	make_pipe(p);
	n = must(splice(a.fd, &from, p[1], NULL, a.len, 0));
	recycle(&a);
	read_pipe(&a, a.off, p[0], n);
	return 0;
}

static int tee_pipes(void)
{
	struct area a = area_read(1, 8 * PAGE);
	loff_t from = a.off;
	int p[2], q[2];
	size_t n, m;

	make_pipe(p);
	make_pipe(q);
	n = must(splice(a.fd, &from, p[1], NULL, a.len, 0));
	m = must(tee(p[0], q[1], n, 0));
	if (chance(50))
		recycle(&a);
	read_pipe(&a, a.off, p[0], n);
	read_pipe(&a, a.off, q[0], m);
	return 0;
}

static int vmsplice_mapping(void)
{
	struct area a = area_read(1, 8 * PAGE);
	struct iovec iov = { .iov_len = a.len };
	char *m = map_area(&a, PROT_READ, chance(50) ? MAP_SHARED : MAP_PRIVATE);
	size_t n;
	int p[2];

	make_pipe(p);
	if (chance(50))
		recycle_mapped(&a, m);
	iov.iov_base = m;
	n = must(vmsplice(p[1], &iov, 1, 0));
	recycle_mapped(&a, m);
	read_pipe(&a, a.off, p[0], n);
	return 0;
}

static int send_file(void)
{
	struct area s, d;
	off_t from;
	int pair[2];

	/* A kernel need not have sockets. */
	if (chance(40) && !socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) {
		keep_fd(pair[0], "socket");
		keep_fd(pair[1], "socket");
		s = area_read(1, 8 * PAGE);
		from = s.off;
		read_pipe(&s, s.off, pair[1], must(sendfile(pair[0], s.fd, &from, s.len)));
		return 0;
	}
	area_pair(&s, &d, BLK, KIB64);
	from = s.off;
	must(lseek(d.fd, d.off, SEEK_SET));
	copy_content(d.f, d.off, s.f, s.off, s.len);
	for (size_t done = 0, n; done < s.len; done += n) {
		n = must(sendfile(d.fd, s.fd, &from, s.len - done));
		if (!n)
			fail("sendfile ended early");
	}
	verify(&d);
	return 0;
}

static int copy_range(void)
{
	struct area s, d;
	off_t from, to;

	area_pair(&s, &d, BLK, KIB64);
	from = s.off;
	to = d.off;
	for (size_t n, done = 0; done < s.len; done += n) {
		n = copy_file_range(s.fd, &from, d.fd, &to, s.len - done, 0);
		if (n == (size_t)-1 && !done && (errno == ENOSYS || errno == EOPNOTSUPP))
			return errno;
		if (n == (size_t)-1 && sh->outside && (errno == EXDEV || errno == EINVAL))
			return NOT_NOW;		/* from another file system, or from a device */
		if (n == (size_t)-1 || !n)
			fail("copy_file_range: %m");
	}
	copy_content(d.f, d.off, s.f, s.off, s.len);
	verify(&d);
	return 0;
}

/* 0, or the errno of a file system without O_DIRECT. */
static int open_direct(const struct area *a, int flags, int *fd)
{
	*fd = open(a->f->name, flags | O_DIRECT);
	if (*fd < 0 && errno == EINVAL)
		return errno;
	keep_fd(*fd, a->f->name);
	return 0;
}

static int direct_read(void)
{
	struct area a = area_read(BLK, 4 * KIB64);
	char *p = anon(a.len);
	int fd, err = open_direct(&a, O_RDONLY, &fd);

	if (err)
		return err;
	read_at(fd, p, a.len, a.off);
	check(a.f, a.off, p, a.len);
	return 0;
}

/* The device writes into pages of a file. */
static int direct_read_into_mapping(void)
{
	struct area s, d;
	int fd, err;

	area_pair(&s, &d, BLK, KIB64);
	err = open_direct(&s, O_RDONLY, &fd);
	return err ? err : read_to_mapped(&s, &d, fd);
}

static int direct_write(void)
{
	struct area a = area_inside(BLK, KIB64);
	int fd, err = open_direct(&a, O_WRONLY, &fd);
	char *p = anon(a.len);

	if (err)
		return err;
	if (a.off + a.len > a.f->size / PAGE * PAGE)	/* the last page of a file need not end with a sector */
		return NOT_NOW;
	new_content(a.f, a.off, a.len);
	fill(a.f, a.off, a.len, p);
	write_at(fd, p, a.len, a.off);
	verify(&a);
	return 0;
}

/* The device reads pages of a file that the program only mapped. */
static int direct_write_from_mapping(void)
{
	struct area s, d;
	int fd, err;
	char *p;

	area_pair(&s, &d, BLK, KIB64);
	err = open_direct(&d, O_WRONLY, &fd);
	if (err)
		return err;
	if (d.off + d.len > d.f->size / PAGE * PAGE)
		return NOT_NOW;
	p = map_area(&s, PROT_READ, chance(50) ? MAP_SHARED : MAP_PRIVATE);
	if (chance(30))
		check(s.f, s.off, p, s.len);
	if (chance(50))
		recycle_mapped(&s, p);
	copy_content(d.f, d.off, s.f, s.off, s.len);
	write_at(fd, p, d.len, d.off);
	verify(&d);
	return 0;
}

static int aio_read(void)
{
	struct area s, d;
	struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PREAD }, *list = &cb;
	struct io_event done;
	aio_context_t ctx = 0;
	int fd;
	long rc;
	char *p;

	area_pair(&s, &d, BLK, KIB64);
	if (open_direct(&s, O_RDONLY, &fd))
		fd = s.fd;
	p = map_area(&d, RW, MAP_PRIVATE);
	if (syscall(SYS_io_setup, 1, &ctx)) {
		if (errno == ENOSYS)
			return errno;
		fail("io_setup: %m");
	}
	cb.aio_fildes = fd;
	cb.aio_buf = (uintptr_t)p;
	cb.aio_nbytes = s.len;
	cb.aio_offset = s.off;
	must(syscall(SYS_io_submit, ctx, 1, &list));
	/*
	 * A ring that the io_uring operation closed is torn down later, by task
	 * work that interrupts whatever system call we are in then: no signal, but
	 * EINTR.
	 */
	do
		rc = syscall(SYS_io_getevents, ctx, 1, 1, &done, NULL);
	while (rc < 0 && errno == EINTR);
	must(rc);
	must(syscall(SYS_io_destroy, ctx));
	if (done.res != (long long)s.len)
		fail("AIO read %lld of %zu bytes", (long long)done.res, s.len);
	check(s.f, s.off, p, s.len);
	verify(&d);
	return 0;
}

static int write_back(void)
{
	struct area a = area_write(PAGE, 4 * KIB64);

	must(chance(70) ? fsync(a.fd) : chance(80) ? fdatasync(a.fd) : syncfs(a.fd));
	verify(&a);
	return 0;
}

static int read_ahead(void)
{
	struct area a = area_read(PAGE, 4 * KIB64);
	int advice[] = { POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL,
			 POSIX_FADV_NOREUSE };

	for (int i = 0; i < 3; i++) {
		if (chance(50))
			must(readahead(a.fd, a.off, a.len));
		errno = posix_fadvise(a.fd, a.off, a.len, advice[below(5)]);
		if (errno)
			fail("fadvise: %m");
		verify(&a);
	}
	return 0;
}

/* Many writers, one page: block n belongs to process n modulo the number of processes, and no lock is held. */
static int stripe_blocks(void)
{
	struct area a = { .f = &sh->stripes, .len = BLK };
	uint32_t rows = a.f->nblk / sh->procs;
	char *p = anon(BLK), *m;

	a.fd = open_area(&a, O_RDWR);
	for (int i = 0; i < 8; i++) {
		a.off = (below(rows) * sh->procs + my_number) * (uint64_t)BLK;
		if (chance(50))
			verify(&a);
		new_content(a.f, a.off, BLK);
		if (chance(50)) {
			fill(a.f, a.off, BLK, p);
			write_at(a.fd, p, BLK, a.off);
		} else {
			m = map_area(&a, RW, MAP_SHARED);
			fill(a.f, a.off, BLK, m);
			if (chance(50))
				must(msync(m - a.off % PAGE, PAGE, chance(50) ? MS_SYNC : MS_ASYNC));
		}
		verify(&a);
	}
	return 0;
}

const struct op io_ops[] = {
	{ "read", read_sequential, 10, false },
	{ "pread", read_positional, 10, false },
	{ "scan", scan, 1, false },
	{ "read-nowait", read_nowait, 5, false },
	{ "read-into-mapping", read_into_mapping, 8, false },
	{ "pwrite", write_positional, 10, false },
	{ "write-from-mapping", write_from_mapping, 8, false },
	{ "write-to-self", write_to_self, 4, false },
	{ "append", append, 5, false },
	{ "truncate-down", truncate_down, 4, false },
	{ "truncate-up", truncate_up, 4, false },
	{ "punch-hole", punch_hole, 4, false },
	{ "splice", splice_files, 8, false },
	{ "splice-hold", splice_hold, 6, false },
	{ "tee", tee_pipes, 4, false },
	{ "vmsplice", vmsplice_mapping, 6, false },
	{ "sendfile", send_file, 6, false },
	{ "copy-range", copy_range, 3, false },
	{ "direct-read", direct_read, 6, false },
	{ "direct-read-into-mapping", direct_read_into_mapping, 6, false },
	{ "direct-write", direct_write, 6, false },
	{ "direct-write-from-mapping", direct_write_from_mapping, 8, false },
	{ "aio", aio_read, 4, true },
	{ "fsync", write_back, 2, false },
	{ "readahead", read_ahead, 4, false },
	{ "stripes", stripe_blocks, 8, false },
	{ }
};
