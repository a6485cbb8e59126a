// SPDX-License-Identifier: GPL-2.0
/* Parts of files to work on, and what an operation holds while it does. */
#include "stress.h"
#include <sys/prctl.h>
#include <signal.h>

#define KEPT 64

static pthread_rwlock_t *locks[4];
static struct { void *p; size_t len; } maps[KEPT];
static int fds[KEPT];
static unsigned int nlocks, nmaps, nfds;

int keep_fd(int fd, const char *what)
{
	if (fd < 0)
		fail("open %s: %m", what);
	if (nfds == KEPT)
		fail("stress itself is wrong: too many files in one operation");
	fds[nfds++] = fd;
	return fd;
}

/* Closes it now. */
void forget_fd(int fd)
{
	for (unsigned int i = 0; i < nfds; i++)
		if (fds[i] == fd) {
			fds[i] = fds[--nfds];
			must(close(fd));
			return;
		}
}

static char *keep_map(void *p, size_t len)
{
	if (p == MAP_FAILED)
		fail("mmap: %m");
	if (nmaps == KEPT)
		fail("stress itself is wrong: too many mappings in one operation");
	maps[nmaps].p = p;
	maps[nmaps++].len = len;
	return p;
}

static void close_all(void)
{
	while (nfds)
		close(fds[--nfds]);
}

/* A mapping may outlive its descriptor. */
void release_all(void)
{
	bool early = chance(50);

	if (early)
		close_all();
	while (nmaps) {
		nmaps--;
		must(munmap(maps[nmaps].p, maps[nmaps].len));
	}
	close_all();
	while (nlocks)
		pthread_rwlock_unlock(locks[--nlocks]);
}

char *anon(size_t len)
{
	return keep_map(mmap(NULL, len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), len);
}

/* A pointer to the first byte of the area, wherever that is in its page. */
char *map_area(const struct area *a, int prot, int flags)
{
	size_t in = a->off % PAGE, len = in + a->len;

	return keep_map(mmap(NULL, len, prot, flags, a->fd, a->off - in), len) + in;
}

int open_area(const struct area *a, int flags)
{
	return keep_fd(open(a->f->name, flags), a->f->name);
}

void write_at(int fd, const void *p, size_t len, uint64_t off)
{
	ssize_t n = must(pwrite(fd, p, len, off));

	if ((size_t)n != len)
		fail("short write at %#llx: %zd of %zu", (unsigned long long)off, n, len);
}

void read_at(int fd, void *p, size_t len, uint64_t off)
{
	ssize_t n = must(pread(fd, p, len, off));

	if ((size_t)n != len)
		fail("short read at %#llx: %zd of %zu", (unsigned long long)off, n, len);
}

/* Fresh content in a new file. */
void make_file(struct file *f, const char *name, size_t size)
{
	size_t step = 4 * KIB64;
	int fd = keep_fd(open(name, O_RDWR | O_CREAT | O_TRUNC, 0600), name);
	char *p = anon(step);

	snprintf(f->name, sizeof(f->name), "%s", name);
	f->size = 0;
	for (size_t off = 0; off < size; off += step) {
		size_t len = size - off < step ? size - off : step;

		new_content(f, off, len);
		fill(f, off, len, p);
		write_at(fd, p, len, off);
	}
	forget_fd(fd);
}

/* The same for a file that was made elsewhere, with the same choices. */
void expect_file(struct file *f, const char *name, size_t size)
{
	snprintf(f->name, sizeof(f->name), "%s", name);
	f->size = 0;
	new_content(f, 0, size);
	sh->outside = true;
}

/* Who finds every file taken waits outside the locks, so nobody can wait for each other. */
static struct file *take(bool write)
{
	for (unsigned int tries = 1; ; tries++) {
		struct file *f = &sh->file[below(sh->nfiles)];

		if (!(write ? pthread_rwlock_trywrlock : pthread_rwlock_tryrdlock)(&f->lock)) {
			locks[nlocks++] = &f->lock;
			return f;
		}
		if (tries % 16 == 0)
			usleep(500);
	}
}

static void give_back(void)
{
	pthread_rwlock_unlock(locks[--nlocks]);
}

static void choose(struct area *a, unsigned int align, size_t max, uint64_t end)
{
	if (chance(60) && max > 4 * PAGE)
		max = 4 * PAGE;
	if (max > end)
		max = end;
	a->len = (1 + below(max / align)) * align;
	if (a->len > end)
		a->len = end / align * align;
	a->off = below((end - a->len) / align + 1) * align;
}

static void open_it(struct area *a)
{
	a->fd = keep_fd(open(a->f->name, a->f->fixed ? O_RDONLY : O_RDWR), a->f->name);
}

/* Most operations begin with pages that have just been read, and with no other reference: the ones to lose. */
static void open_recycled(struct area *a)
{
	open_it(a);
	if (chance(60))
		recycle(a);
}

static void choose_read(struct area *a, unsigned int align, size_t max)
{
	a->f = NULL;
	if (chance(sh->outside ? 15 : 60)) {
		a->f = take(false);
		if (a->f->size < align) {
			give_back();
			a->f = NULL;
		}
	}
	if (!a->f)
		a->f = &sh->ro[below(RO_FILES)];
	choose(a, align, max, a->f->size);
}

struct area area_read(unsigned int align, size_t max)
{
	struct area a;

	choose_read(&a, align, max);
	open_recycled(&a);
	return a;
}

struct area area_write(unsigned int align, size_t max)
{
	struct area a = { .f = take(true) };
	uint64_t end = a.f->size + KIB64;

	choose(&a, align, max, end < FILE_MAX ? end : FILE_MAX);
	open_recycled(&a);
	return a;
}

struct area area_inside(unsigned int align, size_t max)
{
	struct area a = { .f = take(true) };

	open_it(&a);
	if (a.f->size < KIB64) {
		char *p = anon(2 * KIB64);

		new_content(a.f, 0, 2 * KIB64);
		fill(a.f, 0, 2 * KIB64, p);
		write_at(a.fd, p, 2 * KIB64, 0);
	}
	choose(&a, align, max, a.f->size);
	if (chance(60))
		recycle(&a);
	return a;
}

/* A source to read and a destination of the same length to write, which exists. */
void area_pair(struct area *s, struct area *d, unsigned int align, size_t max)
{
	*d = area_inside(align, max);
	choose_read(s, align, d->len);
	open_recycled(s);
	d->len = s->len;
}

static void drain_lru(void)
{
	/* munmap() empties the lists of pages that wait, with a reference, to be put on the LRU. */
	char *p = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must((intptr_t)p);
	*p = 1;
	must(munmap(p, PAGE));
}

/*
 * Make the pages clean, drop them and read them again. Pages that were written keep buffers of the file system,
 * only pages that came by reading have no owner but the page cache.
 */
void recycle(const struct area *a)
{
	uint64_t off = a->off / PAGE * PAGE, end = a->off + a->len;
	struct area whole = { a->f, a->fd, off, 0 };
	bool mine = a->f != &sh->stripes;	/* its pages also have blocks of other processes */
	char *p;

	if (end > a->f->size)
		end = a->f->size;
	if (off >= end)
		return;
	whole.len = end - off;
	if (!a->f->fixed) {
		if (chance(75))
			must(sync_file_range(a->fd, off, whole.len, SYNC_FILE_RANGE_WAIT_BEFORE |
					     SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
		else
			must(chance(50) ? fsync(a->fd) : fdatasync(a->fd));
	}
	if (chance(85)) {
		errno = posix_fadvise(a->fd, off, (whole.len + PAGE - 1) / PAGE * PAGE, POSIX_FADV_DONTNEED);
		if (errno)
			fail("fadvise: %m");
	}
	switch (below(8)) {
	case 0:
		break;
	case 1:
		must(readahead(a->fd, off, whole.len));
		break;
	case 2:
	case 3:
		p = mmap(NULL, whole.len, PROT_READ, MAP_SHARED, a->fd, off);
		must((intptr_t)p);
		for (size_t n = 0; n < whole.len; n += PAGE)
			(void)*(volatile char *)(p + n);
		if (mine)
			check(a->f, off, p, whole.len);
		must(munmap(p, whole.len));
		break;
	default:
		p = mmap(NULL, whole.len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must((intptr_t)p);
		/* The second read finds pages without the reference of the first. */
		for (int i = chance(50); i >= 0; i--) {
			read_at(a->fd, p, whole.len, off);
			if (mine)
				check(a->f, off, p, whole.len);
		}
		must(munmap(p, whole.len));
	}
	if (chance(70))
		drain_lru();
}

/*
 * The same under a mapping: without its page-table entries the pages can go. A single read afterwards maps what is
 * cached around it, so that the next access to those pages finds an entry, but perhaps no page.
 */
void recycle_mapped(const struct area *a, void *p)
{
	char *start = (char *)p - a->off % PAGE;

	if (chance(80))
		must(madvise(start, a->len + a->off % PAGE, MADV_DONTNEED));
	recycle(a);
	if (chance(40)) {
		uint64_t off = a->off + below(a->len);

		if (off < a->f->size)
			check(a->f, off, (char *)p + (off - a->off), 1);
	}
}

/* What was written is there, whichever way one looks, and is still there when it has to be read again. */
void verify(const struct area *a)
{
	struct area b = *a;
	char *p;

	if (b.off + b.len > b.f->size)
		b.len = b.off < b.f->size ? b.f->size - b.off : 0;
	if (!b.len)
		return;
	for (int i = 0; i < 2; i++) {
		if (chance(50)) {
			p = anon(b.len);
			read_at(b.fd, p, b.len, b.off);
		} else {
			p = map_area(&b, PROT_READ, chance(50) ? MAP_SHARED : MAP_PRIVATE);
		}
		check(b.f, b.off, p, b.len);
		if (chance(50))
			break;
		recycle(&b);
	}
}

/* A child for one operation. It dies with its parent, and says itself what is wrong. */
pid_t spawn(void)
{
	pid_t parent = getpid(), pid = must(fork());

	if (!pid) {
		must(prctl(PR_SET_PDEATHSIG, SIGKILL));
		if (getppid() != parent)
			_exit(1);
		seed_rnd(rnd());
		if (sabotage("child"))
			raise(SIGKILL);
	}
	return pid;
}

void reap(pid_t pid)
{
	int status;

	must(waitpid(pid, &status, 0));
	if (WIFSIGNALED(status))
		fail("a child of it was killed by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status)) {
		if (sh->failed)			/* it has said why */
			_exit(1);
		fail("a child of it ended with status %d", WEXITSTATUS(status));
	}
}
