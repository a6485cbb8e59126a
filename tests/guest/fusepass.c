// SPDX-License-Identifier: GPL-2.0
/*
 * fusepass [-w] SOURCE MOUNTPOINT - show a directory through FUSE
 *
 * The smallest server that the stress program is content with, without libfuse: one thread that speaks the protocol on
 * /dev/fuse and passes each request on to SOURCE. With -w the kernel caches writes. It goes on in the background, until
 * MOUNTPOINT is unmounted.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_WRITE (128 << 10)
#define NODES 4096

/* What the kernel knows: an O_PATH descriptor keeps the inode, whatever becomes of its name. */
struct node {
	int fd;
	ino_t ino;
	uint64_t lookups;
};

static struct node node[NODES];			/* the index is the node id; 0 is none */
static char in[MAX_WRITE + 4096] __attribute__((aligned(8)));
static char out[MAX_WRITE + 4096] __attribute__((aligned(8)));
static int dev;
static bool cache_writes;

static struct fuse_in_header *const head = (void *)in;
static char *const arg = in + sizeof(struct fuse_in_header);

static void die(const char *what)
{
	fprintf(stderr, "fusepass: %s: %m\n", what);
	exit(1);
}

static void reply(int error, const void *data, size_t len)
{
	struct fuse_out_header h = { sizeof(h) + len, -error, head->unique };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)data, len } };

	/* ENOENT: whoever asked was killed. */
	if (writev(dev, iov, len ? 2 : 1) < 0 && errno != ENOENT)
		die("reply");
}

static void reply_result(long result)
{
	reply(result < 0 ? errno : 0, NULL, 0);
}

static char *path_of(uint64_t id)
{
	static char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", node[id].fd);
	return path;
}

static struct fuse_attr attr_of(const struct stat *st)
{
	return (struct fuse_attr) {
		.ino = st->st_ino, .size = st->st_size, .blocks = st->st_blocks,
		.atime = st->st_atim.tv_sec, .atimensec = st->st_atim.tv_nsec,
		.mtime = st->st_mtim.tv_sec, .mtimensec = st->st_mtim.tv_nsec,
		.ctime = st->st_ctim.tv_sec, .ctimensec = st->st_ctim.tv_nsec,
		.mode = st->st_mode, .nlink = st->st_nlink, .uid = st->st_uid, .gid = st->st_gid,
		.blksize = 4096,
	};
}

static void reply_attr(uint64_t id)
{
	struct fuse_attr_out a = { .attr_valid = 1 };
	struct stat st;

	if (fstatat(node[id].fd, "", &st, AT_EMPTY_PATH))
		return reply(errno, NULL, 0);
	a.attr = attr_of(&st);
	reply(0, &a, sizeof(a));
}

/* Finds or makes the node of a name; false if an error was replied. */
static bool entry(uint64_t dir, const char *name, struct fuse_entry_out *e)
{
	int fd = openat(node[dir].fd, name, O_PATH | O_NOFOLLOW), id, unused = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		reply(errno, NULL, 0);
		return false;
	}
	for (id = NODES - 1; id > 0; id--) {
		if (node[id].lookups && node[id].ino == st.st_ino)
			break;
		if (!node[id].lookups)
			unused = id;
	}
	if (id) {
		close(fd);
	} else {
		id = unused;
		if (!id)
			die("nodes");
		node[id] = (struct node){ .fd = fd, .ino = st.st_ino };
	}
	node[id].lookups++;
	*e = (struct fuse_entry_out){ .nodeid = id, .entry_valid = 1, .attr_valid = 1, .attr = attr_of(&st) };
	return true;
}

static void reply_entry(long result, const char *name)
{
	struct fuse_entry_out e;

	if (result < 0)
		return reply(errno, NULL, 0);
	if (entry(head->nodeid, name, &e))
		reply(0, &e, sizeof(e));
}

static void forget(uint64_t id, uint64_t lookups)
{
	if (id == FUSE_ROOT_ID)
		return;
	node[id].lookups -= lookups;
	if (!node[id].lookups)
		close(node[id].fd);
}

/* The page cache reads what it writes in part, and puts appended bytes where they belong itself. */
static int flags_of(int flags)
{
	flags &= ~(O_DIRECT | O_CREAT | O_EXCL | O_NOFOLLOW | O_TRUNC);
	if (cache_writes) {
		flags &= ~O_APPEND;
		if ((flags & O_ACCMODE) == O_WRONLY)
			flags = (flags & ~O_ACCMODE) | O_RDWR;
	}
	return flags | O_CLOEXEC;
}

static void reply_open(int fd)
{
	struct fuse_open_out o = { .fh = fd, .open_flags = FOPEN_KEEP_CACHE };

	reply(fd < 0 ? errno : 0, &o, fd < 0 ? 0 : sizeof(o));
}

static void do_init(void)
{
	struct fuse_init_in *i = (void *)arg;
	struct fuse_init_out o = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = i->max_readahead, .max_background = 16, .max_write = MAX_WRITE,
		.max_pages = MAX_WRITE / 4096, .time_gran = 1,
		.flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS |
			 (cache_writes ? FUSE_WRITEBACK_CACHE : 0),
	};

	reply(0, &o, sizeof(o));
}

static void do_setattr(void)
{
	struct fuse_setattr_in *s = (void *)arg;
	struct timespec t[2] = { { s->atime, s->atimensec }, { s->mtime, s->mtimensec } };

	if (((s->valid & FATTR_SIZE) && truncate(path_of(head->nodeid), s->size)) ||
	    ((s->valid & FATTR_MODE) && chmod(path_of(head->nodeid), s->mode)))
		return reply(errno, NULL, 0);
	if (s->valid & (FATTR_ATIME | FATTR_MTIME)) {
		if (!(s->valid & FATTR_ATIME))
			t[0].tv_nsec = UTIME_OMIT;
		if (!(s->valid & FATTR_MTIME))
			t[1].tv_nsec = UTIME_OMIT;
		if (utimensat(AT_FDCWD, path_of(head->nodeid), t, 0))
			return reply(errno, NULL, 0);
	}
	reply_attr(head->nodeid);
}

static void do_create(void)
{
	struct fuse_create_in *c = (void *)arg;
	const char *name = arg + sizeof(*c);
	struct { struct fuse_entry_out e; struct fuse_open_out o; } r = { 0 };
	int fd = openat(node[head->nodeid].fd, name, flags_of(c->flags) | O_CREAT | (c->flags & (O_EXCL | O_TRUNC)),
			c->mode & ~c->umask);

	if (fd < 0)
		return reply(errno, NULL, 0);
	if (!entry(head->nodeid, name, &r.e)) {
		close(fd);
		return;
	}
	r.o.fh = fd;
	r.o.open_flags = FOPEN_KEEP_CACHE;
	reply(0, &r, sizeof(r));
}

static void do_read(void)
{
	struct fuse_read_in *r = (void *)arg;
	size_t done = 0;
	ssize_t n;

	while (done < r->size && (n = pread(r->fh, out + done, r->size - done, r->offset + done)) > 0)
		done += n;
	reply(!done && r->size && n < 0 ? errno : 0, out, done);
}

static void do_write(void)
{
	struct fuse_write_in *w = (void *)arg;
	struct fuse_write_out o = { 0 };
	ssize_t n = pwrite(w->fh, arg + sizeof(*w), w->size, w->offset);

	o.size = n;
	reply(n < 0 ? errno : 0, &o, n < 0 ? 0 : sizeof(o));
}

static void do_readdir(void)
{
	struct fuse_read_in *r = (void *)arg;
	char list[8192];
	size_t done = 0;
	long n;

	if (lseek(r->fh, r->offset, SEEK_SET) < 0)
		return reply(errno, NULL, 0);
	while ((n = syscall(SYS_getdents64, (int)r->fh, list, sizeof(list))) > 0)
		for (long at = 0; at < n; ) {
			struct dirent64 *d = (void *)(list + at);
			struct fuse_dirent *f = (void *)(out + done);
			size_t len = strlen(d->d_name);

			if (done + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + len) > r->size)
				return reply(0, out, done);
			*f = (struct fuse_dirent){ d->d_ino, d->d_off, len, d->d_type };
			memcpy(f->name, d->d_name, len);
			done += FUSE_DIRENT_SIZE(f);
			at += d->d_reclen;
		}
	reply(n < 0 ? errno : 0, out, done);
}

static void do_rename(uint64_t newdir, unsigned int flags, const char *from)
{
	reply_result(syscall(SYS_renameat2, node[head->nodeid].fd, from, node[newdir].fd, from + strlen(from) + 1,
			     flags));
}

static void do_statfs(void)
{
	struct fuse_statfs_out o = { 0 };
	struct statvfs st;

	if (fstatvfs(node[FUSE_ROOT_ID].fd, &st))
		return reply(errno, NULL, 0);
	o.st = (struct fuse_kstatfs){ st.f_blocks, st.f_bfree, st.f_bavail, st.f_files, st.f_ffree, st.f_bsize,
				      st.f_namemax, st.f_frsize, 0, { 0 } };
	reply(0, &o, sizeof(o));
}

static void do_batch_forget(void)
{
	struct fuse_batch_forget_in *b = (void *)arg;
	struct fuse_forget_one *f = (void *)(b + 1);

	for (uint32_t i = 0; i < b->count; i++)
		forget(f[i].nodeid, f[i].nlookup);
}

static void serve(void)
{
	int dir = node[head->nodeid < NODES ? head->nodeid : 0].fd;
	struct fuse_fallocate_in *a = (void *)arg;
	struct fuse_release_in *r = (void *)arg;
	struct fuse_fsync_in *s = (void *)arg;
	ssize_t n;

	switch (head->opcode) {
	case FUSE_INIT: return do_init();
	case FUSE_LOOKUP: return reply_entry(0, arg);
	case FUSE_FORGET: return forget(head->nodeid, ((struct fuse_forget_in *)arg)->nlookup);
	case FUSE_BATCH_FORGET: return do_batch_forget();
	case FUSE_GETATTR: return reply_attr(head->nodeid);
	case FUSE_SETATTR: return do_setattr();
	case FUSE_READLINK:
		n = readlinkat(dir, "", out, MAX_WRITE);
		return reply(n < 0 ? errno : 0, out, n < 0 ? 0 : n);
	case FUSE_SYMLINK: return reply_entry(symlinkat(arg + strlen(arg) + 1, dir, arg), arg);
	case FUSE_MKDIR:
		return reply_entry(mkdirat(dir, arg + 8, ((struct fuse_mkdir_in *)arg)->mode), arg + 8);
	case FUSE_UNLINK: return reply_result(unlinkat(dir, arg, 0));
	case FUSE_RMDIR: return reply_result(unlinkat(dir, arg, AT_REMOVEDIR));
	case FUSE_RENAME: return do_rename(((struct fuse_rename_in *)arg)->newdir, 0, arg + 8);
	case FUSE_RENAME2:
		return do_rename(((struct fuse_rename2_in *)arg)->newdir, ((struct fuse_rename2_in *)arg)->flags,
				 arg + 16);
	case FUSE_OPEN: return reply_open(open(path_of(head->nodeid), flags_of(((struct fuse_open_in *)arg)->flags)));
	case FUSE_OPENDIR: return reply_open(open(path_of(head->nodeid), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	case FUSE_CREATE: return do_create();
	case FUSE_READ: return do_read();
	case FUSE_WRITE: return do_write();
	case FUSE_READDIR: return do_readdir();
	case FUSE_STATFS: return do_statfs();
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR: return reply_result(close(r->fh));
	case FUSE_FLUSH: return reply(0, NULL, 0);
	case FUSE_FSYNC:
		return reply_result(s->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(s->fh) : fsync(s->fh));
	case FUSE_FALLOCATE: return reply_result(fallocate(a->fh, a->mode, a->offset, a->length));
	case FUSE_INTERRUPT: return;
	case FUSE_DESTROY: return reply(0, NULL, 0);
	default: return reply(ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	char options[100];
	ssize_t n;

	if (argc > 1 && !strcmp(argv[1], "-w")) {
		cache_writes = true;
		argv++;
		argc--;
	}
	if (argc != 3) {
		fprintf(stderr, "usage: fusepass [-w] SOURCE MOUNTPOINT\n");
		return 2;
	}
	umask(0);
	dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		die("/dev/fuse");
	node[FUSE_ROOT_ID].fd = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (node[FUSE_ROOT_ID].fd < 0)
		die(argv[1]);
	node[FUSE_ROOT_ID].lookups = 1;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions",
		 dev);
	if (mount("fusepass", argv[2], "fuse.fusepass", 0, options))
		die(argv[2]);
	if (daemon(0, 1))
		die("daemon");
	while ((n = read(dev, in, sizeof(in) - 1)) >= 0 || errno == EINTR || errno == EAGAIN || errno == ENOENT)
		if (n > 0) {
			in[n] = 0;
			serve();
		}
	return errno == ENODEV ? 0 : 1;
}
