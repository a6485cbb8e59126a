// SPDX-License-Identifier: GPL-2.0
/* What operations do. Each compares what it reads; what it writes is applied to the model before. */
#include "fuzz.h"
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <glob.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#define COMPACT		"/proc/sys/vm/compact_memory"
#define SETTLE		"/sys/kernel/debug/page_hva/settle"
#define BLOCKS		"/sys/devices/system/memory/memory[1-9]*/state"
#define KEPT		SIZE_MAX_		/* bytes of a file that its lasting mappings reach */

static unsigned char *anon;			/* what may be swapped */
static unsigned char *buffer, *other_buffer;	/* for what is read */

/* What was read before must not pass for what is read now. */
static unsigned char *scrubbed(size_t len)
{
	return memset(buffer, 0xee, len);
}

/* Pages of a file at hand, and how to let go of them. */
struct view {
	unsigned char *p;
	unsigned char *map;
	size_t len;
};

/* The lasting mapping has page table entries from long ago, a new one has none. */
static struct view view(uint32_t f, uint32_t off, uint32_t len, bool lasting, int prot, int flags)
{
	struct view v = { .p = (flags == MAP_SHARED ? file[f].shared : file[f].private) + off };
	uint32_t in = off % PAGE;

	if (lasting && (flags == MAP_SHARED || prot == PROT_READ))
		return v;
	v.len = in + len;
	v.map = mmap(NULL, v.len, prot, flags, file[f].fd, off - in);
	must((intptr_t)v.map);
	v.p = v.map + in;
	return v;
}

static void let_go(struct view v)
{
	if (v.map)
		must(munmap(v.map, v.len));
}

static void read_all(int fd, unsigned char *p, uint32_t len, uint32_t off, uint32_t expected)
{
	ssize_t n = must(pread(fd, p, len, off));

	if (n != expected)
		fail("pread of %x+%x returns %zd instead of %u", off, len, n, expected);
}

static void write_all(int fd, const unsigned char *p, uint32_t len, uint32_t off)
{
	ssize_t n = must(pwrite(fd, p, len, off));

	if (n != len)
		fail("pwrite of %x+%x returns %zd", off, len, n);
}

static void act_read(const struct op *op)
{
	struct file *f = &file[op->file];
	unsigned char *p = scrubbed(op->len);
	uint32_t third = op->len / 3;
	struct iovec iov[3] = { { p, third }, { p + third, third }, { p + 2 * third, op->len - 2 * third } };
	ssize_t n = -1;

	switch (op->arg % 4) {
	case 0:
		n = must(preadv(f->fd, iov, 3, op->off));
		break;
	case 1:
		/* It may stop where it would have to wait. */
		n = preadv2(f->fd, iov, 3, op->off, RWF_NOWAIT);
		if (n < 0 && errno != EAGAIN && errno != EOPNOTSUPP)
			fail("preadv2: %m");
		if (n > 0)
			check(f, op->off, p, n < (ssize_t)left ? n : left, "preadv2");
		n = must(pread(f->fd, p, op->len, op->off));
		break;
	case 2:
		must(lseek(f->fd, op->off, SEEK_SET));
		n = must(read(f->fd, p, op->len));
		break;
	case 3:
		n = must(pread(f->fd, p, op->len, op->off));
	}
	if (n != left)
		fail("a read of %x+%x returns %zd instead of %u", op->off, op->len, n, left);
	check(f, op->off, p, left, "read");
}

static void act_read_direct(const struct op *op)
{
	read_all(file[op->file].direct, scrubbed(op->len), op->len, op->off, left);
	check(&file[op->file], op->off, buffer, left, "O_DIRECT");
}

static void act_map_read(const struct op *op)
{
	static const unsigned char zeros[PAGE];
	struct file *f = &file[op->file];
	const struct segment *last = last_segment(&ep->round[ep->rounds - 1], op->file);
	uint32_t end;
	struct view v;

	v = view(op->file, op->off, left, op->arg & 1, PROT_READ, op->arg & 2 ? MAP_SHARED : MAP_PRIVATE);
	check(f, op->off, v.p, left, op->arg & 2 ? "shared mapping" : "private mapping");
	end = op->off + left;
	/* Behind the end of a file its last page has zeros. */
	if (end == f->size && end % PAGE && op->off >= last->start && (last->owner == me || last->owner == NOBODY))
		check_memory("behind the end", end, zeros, v.p + left, PAGE - end % PAGE);
	let_go(v);
}

static void make_pipe(int p[2])
{
	must(pipe(p));
	fcntl(p[1], F_SETPIPE_SZ, 2 * BIG);
}

static void close_pipe(int p[2])
{
	close(p[0]);
	close(p[1]);
}

static void read_pipe(const struct op *op, int fd, uint32_t off, uint32_t len)
{
	scrubbed(len);
	for (ssize_t n, done = 0; done < len; done += n) {
		n = must(read(fd, buffer + done, len - done));
		if (!n)
			fail("the pipe ends %zd bytes early", len - done);
	}
	check(&file[op->file], off, buffer, len, "pipe");
}

/* The pages wait in the pipe while they are written back and dropped by name. */
static void act_splice_read(const struct op *op)
{
	struct file *f = &file[op->file];
	int p[2];

	make_pipe(p);
	for (ssize_t n, done = 0; done < left; done += n) {
		loff_t from = op->off + done;

		if (op->arg & 1)
			n = must(splice(f->fd, &from, p[1], NULL, left - done, 0));
		else
			n = must(sendfile(p[1], f->fd, &from, left - done < BIG ? left - done : BIG));
		if (!n)
			fail("splice ends %zd bytes early", left - done);
		if (op->arg & 2) {
			must(fdatasync(f->fd));
			posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
		}
		read_pipe(op, p[0], op->off + done, n);
	}
	close_pipe(p);
}

/* What is stored to a private mapping is nobody else's. */
static void act_cow(const struct op *op)
{
	struct file *f = &file[op->file];
	struct view v;

	v = view(op->file, op->off, left, false, RW, MAP_PRIVATE);
	if (op->arg & 1)
		check(f, op->off, v.p, left, "private mapping before the store");
	memcpy(buffer, f->want + op->off, left);
	for (uint32_t i = op->arg % 7; i < left; i += 1 + op->arg * 40) {
		buffer[i] ^= 0xff;
		v.p[i] = buffer[i];
	}
	check_memory("private copy", op->off, buffer, v.p, left);
	if (op->arg & 2)
		posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
	read_all(f->fd, other_buffer, left, op->off, left);
	check(f, op->off, other_buffer, left, "read beside a private copy");
	check_memory("private copy", op->off, buffer, v.p, left);
	let_go(v);
}

/* The kernel takes the page by itself. */
static void act_pin_read(const struct op *op)
{
	struct iovec to = { .iov_base = scrubbed(left), .iov_len = left }, from;
	struct view v;

	v = view(op->file, op->off, left, op->arg & 1, PROT_READ, op->arg & 2 ? MAP_SHARED : MAP_PRIVATE);
	from = (struct iovec){ v.p, left };
	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != left)
		fail("process_vm_readv: %m");
	check(&file[op->file], op->off, buffer, left, "process_vm_readv");
	let_go(v);
}

/* Meets whatever the others are doing; what it finds is not defined. */
static void act_peek(const struct op *op)
{
	int p[2];
	loff_t off = op->off;

	if (op->arg & 1) {
		must(pread(file[op->file].fd, buffer, op->len, op->off));
		return;
	}
	make_pipe(p);
	must(splice(file[op->file].fd, &off, p[1], NULL, op->len, 0));
	close_pipe(p);
}

static void act_write(const struct op *op)
{
	struct file *f = &file[op->file];
	unsigned char *p = f->want + op->off;
	uint32_t half = op->len / 2;
	struct iovec iov[2] = { { p, half }, { p + half, op->len - half } };
	ssize_t n = -1;

	switch (op->arg % 4) {
	case 0:
		n = must(pwritev(f->fd, iov, 2, op->off));
		break;
	case 1:
		n = must(pwritev2(f->fd, iov, 2, op->off, RWF_DSYNC));
		break;
	case 2:
		must(lseek(f->fd, op->off, SEEK_SET));
		n = must(write(f->fd, p, op->len));
		break;
	case 3:
		n = must(pwrite(f->fd, p, op->len, op->off));
	}
	if (n != op->len)
		fail("a write of %x+%x returns %zd", op->off, op->len, n);
}

static void act_write_direct(const struct op *op)
{
	write_all(file[op->file].direct, file[op->file].want + op->off, op->len, op->off);
}

/* Returns the error. */
static int tell(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), error = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		error = errno;
	close(fd);
	return error;
}

static void act_map_write(const struct op *op)
{
	static const int how[] = { 0, MS_ASYNC, MS_SYNC, MS_SYNC | MS_INVALIDATE };
	struct file *f = &file[op->file];
	struct view v;

	v = view(op->file, op->off, left, op->arg & 1, RW, MAP_SHARED);
	/* Entries that only allow to read, of pages that have been left alone since. */
	for (uint32_t i = 0; op->arg & 16 && i < left; i += PAGE)
		(void)*(volatile unsigned char *)(v.p + i);
	if (op->arg & 32)
		tell(SETTLE, "1");
	memcpy(v.p, f->want + op->off, left);
	/* Locked pages can not be invalidated. */
	if (op->arg & 2 && msync(v.p - op->off % PAGE, left + op->off % PAGE, how[op->arg >> 2 & 3]) && errno != EBUSY)
		fail("msync: %m");
	let_go(v);
}

/* Source is a mapped page. */
static void act_from_map(const struct op *op)
{
	bool direct = !strcmp(verbs[op->verb].name, "from-map-direct");
	struct view v;

	v = view(op->from, op->off2, left, op->arg & 1, PROT_READ, op->arg & 2 ? MAP_SHARED : MAP_PRIVATE);
	write_all(direct ? file[op->file].direct : file[op->file].fd, v.p, left, op->off);
	let_go(v);
}

static void act_from_anon(const struct op *op)
{
	write_all(file[op->file].fd, anon + op->off2, op->len, op->off);
}

/* Target is a mapped page. */
static void act_into_map(const struct op *op)
{
	bool direct = !strcmp(verbs[op->verb].name, "into-map-direct");
	struct view v;

	v = view(op->file, op->off, left, op->arg & 2, RW, MAP_SHARED);
	read_all(direct ? file[op->from].direct : file[op->from].fd, v.p, left, op->off2, left);
	let_go(v);
}

static void act_splice_copy(const struct op *op)
{
	int in = file[op->from].fd, out = file[op->file].fd, p[2];

	make_pipe(p);
	for (ssize_t n, m, done = 0; done < left; done += n) {
		loff_t from = op->off2 + done, to = op->off + done;

		n = must(splice(in, &from, p[1], NULL, left - done, 0));
		if (!n)
			fail("splice ends %zd bytes early", left - done);
		for (ssize_t inside = n; inside; inside -= m)
			m = must(splice(p[0], NULL, out, &to, inside, 0));
	}
	close_pipe(p);
}

static void act_sendfile_copy(const struct op *op)
{
	loff_t from = op->off2;

	must(lseek(file[op->file].fd, op->off, SEEK_SET));
	for (ssize_t n, done = 0; done < left; done += n) {
		n = must(sendfile(file[op->file].fd, file[op->from].fd, &from, left - done));
		if (!n)
			fail("sendfile ends %zd bytes early", left - done);
	}
}

static void act_copy(const struct op *op)
{
	loff_t from = op->off2, to = op->off;

	for (ssize_t n, done = 0; done < left; done += n) {
		n = must(copy_file_range(file[op->from].fd, &from, file[op->file].fd, &to, left - done, 0));
		if (!n)
			fail("copy_file_range ends %zd bytes early", left - done);
	}
}

static void act_clone(const struct op *op)
{
	struct file_clone_range range = { file[op->from].fd, op->off2, 0, op->off };

	range.src_length = left;
	must(ioctl(file[op->file].fd, FICLONERANGE, &range));
}

/* A copy that is then said to be one: the kernel compares. */
static void act_dedupe(const struct op *op)
{
	struct { struct file_dedupe_range head; struct file_dedupe_range_info info; } range = {
		{ .src_offset = op->off2, .dest_count = 1 },
		{ .dest_fd = file[op->file].fd, .dest_offset = op->off },
	};

	write_all(file[op->file].fd, file[op->file].want + op->off, left, op->off);
	range.head.src_length = left;
	must(ioctl(file[op->from].fd, FIDEDUPERANGE, &range));
	if (range.info.status != FILE_DEDUPE_RANGE_SAME || range.info.bytes_deduped != left)
		fail("FIDEDUPERANGE: status %d, %llu bytes of %u", range.info.status,
		     (unsigned long long)range.info.bytes_deduped, left);
}

static void act_fallocate(const struct op *op)
{
	const char *name = verbs[op->verb].name;
	int mode = !strcmp(name, "punch") ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE :
		   !strcmp(name, "collapse") ? FALLOC_FL_COLLAPSE_RANGE :
		   !strcmp(name, "insert") ? FALLOC_FL_INSERT_RANGE :
		   (!strcmp(name, "zero") ? FALLOC_FL_ZERO_RANGE : 0) | (op->arg & 1 ? FALLOC_FL_KEEP_SIZE : 0);

	must(fallocate(file[op->file].fd, mode, op->off, left));
}

static void act_truncate(const struct op *op)
{
	must(ftruncate(file[op->file].fd, op->off));
}

static void act_sync(const struct op *op)
{
	struct file *f = &file[op->file];

	switch (op->arg % 4) {
	case 0:
		must(fsync(f->fd));
		break;
	case 1:
		must(fdatasync(f->fd));
		break;
	case 2:
		must(msync(f->shared + op->off / PAGE * PAGE, op->len + op->off % PAGE, MS_SYNC));
		break;
	default:
		must(sync_file_range(f->fd, op->off, op->len, SYNC_FILE_RANGE_WAIT_BEFORE |
				     SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
	}
}

static void act_advise(const struct op *op)
{
	uint32_t start = op->off / PAGE * PAGE, len = (op->off + op->len + PAGE - 1) / PAGE * PAGE - start;
	int fd = file[op->file].fd;

	if (op->arg % 4 == 3)
		must(readahead(fd, start, len));
	else if ((errno = posix_fadvise(fd, start, len, op->arg % 4 == 2 ? POSIX_FADV_WILLNEED : POSIX_FADV_DONTNEED)))
		fail("fadvise: %m");
}

static void act_madvise(const struct op *op)
{
	static const int what[] = { MADV_DONTNEED, MADV_PAGEOUT, MADV_COLD, MADV_POPULATE_READ, MADV_WILLNEED };
	unsigned char *p = op->arg & 32 ? file[op->file].private : file[op->file].shared;
	int advice = what[op->arg % 5];

	/* Locked pages are not let go. */
	if (madvise(p + op->off / PAGE * PAGE, left + op->off % PAGE, advice) && errno != EINVAL)
		fail("madvise %d: %m", advice);
}

static void act_lock(const struct op *op)
{
	struct file *f = &file[op->file];

	if (op->arg & 1) {
		must(munlock(f->shared, KEPT));
		return;
	}
	must(mlock(f->shared + op->off / PAGE * PAGE, left + op->off % PAGE));
	check(f, op->off, f->shared + op->off, left, "locked mapping");
}

static void open_one(struct file *f)
{
	f->fd = must(open(f->name, O_RDWR));
	f->direct = open(f->name, O_RDWR | O_DIRECT);
	f->shared = mmap(NULL, KEPT, RW, MAP_SHARED, f->fd, 0);
	f->private = mmap(NULL, KEPT, PROT_READ, MAP_PRIVATE, f->fd, 0);
	if (f->shared == MAP_FAILED || f->private == MAP_FAILED)
		fail("mmap: %m");
}

static void close_one(struct file *f)
{
	must(munmap(f->shared, KEPT));
	must(munmap(f->private, KEPT));
	must(close(f->fd));
	if (f->direct >= 0)
		must(close(f->direct));
}

static void act_reopen(const struct op *op)
{
	close_one(&file[op->file]);
	open_one(&file[op->file]);
}

/* munmap() empties the lists of pages that wait, with a reference, to be put on the LRU. */
static void act_drain(const struct op *op)
{
	unsigned char *p = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)op;
	must((intptr_t)p);
	*p = 1;
	must(munmap(p, PAGE));
}

static void act_anon_store(const struct op *op)
{
	anon_content(me, op->off, op->len, anon + op->off);
}

static void act_anon_check(const struct op *op)
{
	anon_content(me, op->off, op->len, buffer);
	check_memory("anonymous memory", op->off, buffer, anon + op->off, op->len);
}

static void act_anon_out(const struct op *op)
{
	must(madvise(anon + op->off, op->len, op->arg & 1 ? MADV_PAGEOUT : MADV_COLD));
}

static void act_anon_drop(const struct op *op)
{
	must(madvise(anon + op->off, op->len, MADV_DONTNEED));
}

static void tell_or_fail(const char *path, const char *text)
{
	errno = tell(path, text);
	if (errno)
		fail("%s: %m", path);
}

static void act_drop(const struct op *op)
{
	tell_or_fail("/proc/sys/vm/drop_caches", op->arg & 1 ? "1" : "3");
}

static void act_compact(const struct op *op)
{
	(void)op;
	tell_or_fail(COMPACT, "1");
}

static void act_settle(const struct op *op)
{
	(void)op;
	tell_or_fail(SETTLE, "1");
}

static void act_reclaim(const struct op *op)
{
	char path[PATH_MAX], size[20];
	int error;

	snprintf(path, sizeof(path), "%s/memory.reclaim", group);
	snprintf(size, sizeof(size), "%uK", 64 << op->arg % 5);
	error = tell(path, size);
	if (error && error != EAGAIN)		/* there is less */
		fail("%s: %s", path, strerror(error));
}

/* What can not be moved stays. */
static void act_offline(const struct op *op)
{
	glob_t blocks;

	if (!glob(BLOCKS, 0, NULL, &blocks)) {
		const char *path = blocks.gl_pathv[op->arg % blocks.gl_pathc];

		if (!tell(path, "offline"))
			tell_or_fail(path, "online");
	}
	globfree(&blocks);
}

/* The host reads what we print, and takes pages. */
static void act_discard(const struct op *op)
{
	if (write(1, "discard\n", 8) != 8)
		fail("write: %m");
	usleep(op->arg * 50);
}

static bool offline_known(void)
{
	glob_t blocks;
	bool known = !glob(BLOCKS, 0, NULL, &blocks);

	globfree(&blocks);
	return known;
}

static bool compact_known(void)	{ return !access(COMPACT, W_OK); }
static bool settle_known(void)	{ return !access(SETTLE, W_OK); }
static bool drop_known(void)	{ return !access("/proc/sys/vm/drop_caches", W_OK); }
static bool reclaim_known(void)	{ return group; }
static bool discard_known(void)	{ return host_listens; }
static bool not_btrfs(void)	{ return !btrfs; }

/* With large folios a page that others store to may stay in the cache after a write around it; Linux does not promise more. */
static bool small_folios(void)
{
	return !big_folios;
}

/* Tried on a file of its own. */
static int try_fallocate(int mode)
{
	int fd = open("try", O_RDWR | O_CREAT | O_TRUNC, 0600), error;

	if (fd < 0 || ftruncate(fd, 8 * PAGE))
		refuse("a file to try things on: %m");
	error = fallocate(fd, mode, PAGE, PAGE);
	close(fd);
	return !error;
}

static bool punch_known(void)	{ return try_fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE); }
static bool zero_known(void)	{ return try_fallocate(FALLOC_FL_ZERO_RANGE); }
static bool allocate_known(void) { return try_fallocate(0); }
static bool collapse_known(void) { return try_fallocate(FALLOC_FL_COLLAPSE_RANGE); }
static bool insert_known(void)	{ return try_fallocate(FALLOC_FL_INSERT_RANGE); }

static bool clone_known(void)
{
	struct file_clone_range range = { .src_length = PAGE, .dest_offset = PAGE };
	int fd = open("try", O_RDWR | O_CREAT | O_TRUNC, 0600);
	bool known;

	range.src_fd = fd;
	if (fd < 0 || ftruncate(fd, 8 * PAGE))
		refuse("a file to try things on: %m");
	known = !ioctl(fd, FICLONERANGE, &range);
	close(fd);
	return known;
}

static bool direct_known(void)
{
	int fd = open("try", O_RDWR | O_CREAT | O_DIRECT, 0600);

	close(fd);
	return fd >= 0;
}

static bool direct_beside(void) { return direct_known() && small_folios(); }
static bool direct_into_map(void) { return direct_known() && not_btrfs(); }

#define ONE WRITES | PAGES
/* The first four are always in use. */
const struct verb verbs[] = {
	{ "read", act_read, READS, 12, NULL },
	{ "write", act_write, WRITES, 10, NULL },
	{ "sync", act_sync, HINTS, 2, NULL },
	{ "advise", act_advise, HINTS, 2, NULL },
	{ "drain", act_drain, SYSTEM, 1, NULL },
	{ "read-direct", act_read_direct, READS | PAGES, 4, direct_known },
	{ "map-read", act_map_read, READS, 10, NULL },
	{ "splice-read", act_splice_read, READS, 6, NULL },
	{ "cow", act_cow, READS, 5, NULL },
	{ "pin-read", act_pin_read, READS, 5, NULL },
	{ "peek", act_peek, HINTS, 3, NULL },
	{ "map-write", act_map_write, INSIDE | WRITES, 10, NULL },
	{ "write-direct", act_write_direct, ONE, 5, direct_beside },
	{ "write-direct-alone", act_write_direct, ONE | SIZES | ALONE, 4, direct_known },
	{ "from-map", act_from_map, WRITES | FROM, 6, NULL },
	{ "from-map-direct", act_from_map, ONE | FROM | OTHER, 4, direct_beside },
	{ "from-anon", act_from_anon, WRITES | FROM | ANON, 4, NULL },
	{ "into-map", act_into_map, INSIDE | WRITES | FROM, 5, NULL },
	{ "into-map-direct", act_into_map, INSIDE | ONE | FROM | OTHER, 4, direct_into_map },
	{ "splice-copy", act_splice_copy, WRITES | FROM, 5, NULL },
	{ "sendfile-copy", act_sendfile_copy, WRITES | FROM, 4, NULL },
	{ "copy", act_copy, WRITES | FROM, 4, NULL },
	{ "clone", act_clone, ONE | FROM, 6, clone_known },
	{ "dedupe", act_dedupe, ONE | FROM, 4, clone_known },
	{ "punch", act_fallocate, INSIDE | WRITES, 5, punch_known },
	{ "zero", act_fallocate, WRITES, 4, zero_known },
	{ "allocate", act_fallocate, WRITES, 2, allocate_known },
	{ "truncate", act_truncate, WRITES | SIZES, 6, NULL },
	{ "collapse", act_fallocate, ONE | SIZES | ALONE, 4, collapse_known },
	{ "insert", act_fallocate, ONE | SIZES | ALONE, 4, insert_known },
	{ "madvise", act_madvise, READS, 4, NULL },
	{ "lock", act_lock, READS, 3, NULL },
	{ "reopen", act_reopen, HINTS, 1, NULL },
	{ "anon-store", act_anon_store, ANON | PAGES, 4, NULL },
	{ "anon-check", act_anon_check, ANON | PAGES, 4, NULL },
	{ "anon-out", act_anon_out, ANON | PAGES, 3, NULL },
	{ "anon-drop", act_anon_drop, ANON | PAGES, 1, NULL },
	{ "drop", act_drop, SYSTEM, 2, drop_known },
	{ "compact", act_compact, SYSTEM, 1, compact_known },
	{ "settle", act_settle, SYSTEM, 2, settle_known },
	{ "reclaim", act_reclaim, SYSTEM, 2, reclaim_known },
	{ "offline", act_offline, SYSTEM, 1, offline_known },
	{ "discard", act_discard, SYSTEM, 5, discard_known },
};
uint32_t nverbs = sizeof(verbs) / sizeof(*verbs);

uint32_t find_verb(const char *name)
{
	for (uint32_t i = 0; i < nverbs; i++)
		if (!strcmp(verbs[i].name, name))
			return i;
	return NOT_FOUND;
}

void make_files(void)
{
	for (uint32_t i = 0; i < FILES; i++) {
		snprintf(file[i].name, sizeof(file[i].name), "f%u", i);
		unlink(file[i].name);
		close(must(open(file[i].name, O_RDWR | O_CREAT | O_EXCL, 0600)));
	}
}

static unsigned char *memory(size_t len)
{
	unsigned char *p = mmap(NULL, len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must((intptr_t)p);
	return p;
}

void open_files(void)
{
	anon = memory(ANON_PAGES * PAGE);
	buffer = memory(2 * BIG);
	other_buffer = memory(2 * BIG);
	for (uint32_t i = 0; i < FILES; i++)
		open_one(&file[i]);
}

void close_files(void)
{
	for (uint32_t i = 0; i < FILES; i++)
		close_one(&file[i]);
}

void check_sizes(void)
{
	for (uint32_t i = 0; i < FILES; i++) {
		off_t size = must(lseek(file[i].fd, 0, SEEK_END));

		if (size != file[i].size)
			fail("%s has %#llx bytes instead of %#x", file[i].name, (long long)size, file[i].size);
	}
}

/* At the end, all of it, as the page cache has it and as the disk has it. */
void check_everything(void)
{
	for (uint32_t i = 0; i < FILES; i++) {
		struct file *f = &file[i];
		uint32_t size = f->size;
		unsigned char *all;

		if (!size)
			continue;
		all = memory(size);
		check(f, 0, f->shared, size, "mapping at the end");
		read_all(f->fd, all, size, 0, size);
		check(f, 0, all, size, "read at the end");
		must(fsync(f->fd));
		posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
		check(f, 0, f->private, size, "private mapping at the end");
		read_all(f->fd, all, size, 0, size);
		check(f, 0, all, size, "second read at the end");
		munmap(all, size);
	}
	anon_content(me, 0, BIG, buffer);
	check_memory("anonymous memory", 0, buffer, anon, BIG);
}
