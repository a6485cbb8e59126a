// SPDX-License-Identifier: GPL-2.0
/* Operations on mappings: faults, copy on write, protection, locking, advice, migration. */
#include "stress.h"

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static int populated(void)
{
	return chance(20) ? MAP_POPULATE : 0;
}

/* The start of the first page and the length up to the end of the area, as the calls on mappings want them. */
static char *page_of(const struct area *a, char *p)
{
	return p - a->off % PAGE;
}

static size_t pages_of(const struct area *a)
{
	return a->len + a->off % PAGE;
}

/* Page by page in any order, so that faults do not only come in rows. */
static void check_scattered(const struct area *a, const char *p)
{
	uint32_t pages = a->len / PAGE + 1;

	for (uint32_t i = 0, n = below(pages); i < pages; i++, n = (n + 7919) % pages) {
		size_t off = (size_t)n * PAGE;

		if (off < a->len)
			check(a->f, a->off + off, p + off, a->len - off < PAGE ? a->len - off : PAGE);
	}
	check(a->f, a->off, p, a->len);
}

static int map_read(int flags)
{
	struct area a = area_read(1, 4 * KIB64);
	char *p = map_area(&a, PROT_READ, flags | populated());

	/* The rest of the last page belongs to nobody and reads as zeros. */
	if (a.off + a.len == a.f->size)
		check(a.f, a.off, p, (a.off + a.len + PAGE - 1) / PAGE * PAGE - a.off);
	check_scattered(&a, p);
	recycle_mapped(&a, p);
	check_scattered(&a, p);
	return 0;
}

static int map_shared_read(void)
{
	return map_read(MAP_SHARED);
}

static int map_private_read(void)
{
	return map_read(MAP_PRIVATE);
}

static int map_shared_write(void)
{
	struct area a = area_inside(BLK, KIB64);
	char *p = map_area(&a, RW, MAP_SHARED | populated());

	if (chance(50))
		check(a.f, a.off, p, a.len);
	if (chance(50))
		recycle_mapped(&a, p);
	if (chance(30))
		check(a.f, a.off, p, a.len);
	new_content(a.f, a.off, a.len);
	fill(a.f, a.off, a.len, p);
	if (chance(70))
		must(msync(page_of(&a, p), pages_of(&a), chance(50) ? MS_SYNC : MS_ASYNC));
	check(a.f, a.off, p, a.len);
	if (chance(50)) {				/* again, through entries that were write-protected */
		new_content(a.f, a.off, a.len);
		fill(a.f, a.off, a.len, p);
	}
	verify(&a);
	return 0;
}

/* Change some bytes of a private copy and of what it must be. */
static void scribble(char *want, char *p, size_t len)
{
	for (int i = 0; i < 20; i++) {
		size_t at = below(len);

		want[at] ^= 0x5a;
		p[at] = want[at];
	}
}

/* The copy is made from a page that is mapped to be read, that is only cached, or that has to be read. */
static int copy_on_write(void)
{
	struct area a = area_read(1, KIB64);
	char *p = map_area(&a, RW, MAP_PRIVATE), *want = anon(a.len);

	fill(a.f, a.off, a.len, want);
	if (chance(50)) {
		check(a.f, a.off, p, a.len);
		if (chance(50))
			recycle(&a);
	} else if (chance(70)) {
		recycle_mapped(&a, p);
	}
	scribble(want, p, a.len);
	if (sabotage("cow"))
		p[a.len / 2] ^= 1;
	check_memory("private copy", want, p, a.len);
	if (chance(50))
		recycle(&a);
	check_memory("private copy", want, p, a.len);
	if (chance(40)) {
		pid_t pid = spawn();

		if (!pid) {
			check_memory("private copy of the parent", want, p, a.len);
			scribble(want, p, a.len);
			check_memory("private copy of the child", want, p, a.len);
			_exit(0);
		}
		scribble(want, p, a.len);
		check_memory("private copy", want, p, a.len);
		reap(pid);
		check_memory("private copy", want, p, a.len);
	}
	if (chance(30)) {				/* without its copies it is the file again */
		must(madvise(page_of(&a, p), pages_of(&a), MADV_DONTNEED));
		check(a.f, a.off, p, a.len);
	}
	verify(&a);
	return 0;
}

static int populate(void)
{
	bool shared = chance(50), write = chance(50), late = chance(50);
	struct area a = shared && write ? area_inside(PAGE, KIB64) : area_read(PAGE, KIB64);
	char *p = map_area(&a, write ? RW : PROT_READ,
			   (shared ? MAP_SHARED : MAP_PRIVATE) | (late ? 0 : MAP_POPULATE));

	if (late && madvise(p, a.len, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ)) {
		if (errno == EINVAL)
			return errno;
		fail("MADV_POPULATE_%s: %m", write ? "WRITE" : "READ");
	}
	check(a.f, a.off, p, a.len);
	recycle(&a);
	check(a.f, a.off, p, a.len);
	if (shared && write) {
		new_content(a.f, a.off, a.len);
		fill(a.f, a.off, a.len, p);
	}
	verify(&a);
	return 0;
}

static int protect(void)
{
	struct area a = area_inside(PAGE, KIB64);
	char *p = map_area(&a, PROT_NONE, MAP_SHARED), *q = map_area(&a, PROT_READ, MAP_PRIVATE), *want = anon(a.len);

	fill(a.f, a.off, a.len, want);
	must(mprotect(p, a.len, PROT_READ));
	check(a.f, a.off, p, a.len);
	check(a.f, a.off, q, a.len);
	if (chance(50))
		recycle(&a);
	must(mprotect(q, a.len, RW));
	scribble(want, q, a.len);
	must(mprotect(p, a.len, RW));
	new_content(a.f, a.off, a.len);
	fill(a.f, a.off, a.len, p);
	must(mprotect(p, a.len, PROT_NONE));
	must(mprotect(q, a.len, PROT_NONE));
	if (chance(50))
		recycle(&a);
	must(mprotect(p, a.len, PROT_READ));
	must(mprotect(q, a.len, PROT_READ));
	check(a.f, a.off, p, a.len);
	/* Which other pages of the private mapping were copied before the file changed is nobody's business. */
	for (size_t n = 0; n < a.len; n += PAGE) {
		char page[PAGE];

		fill(a.f, a.off + n, PAGE, page);
		if (memcmp(q + n, page, PAGE))
			check_memory("private copy", want + n, q + n, PAGE);
	}
	verify(&a);
	return 0;
}

static void lock_and_check(const struct area *a, char *p, const char *want)
{
	int how = below(3);

	if (how == 0)
		must(mlock(page_of(a, p), pages_of(a)));
	else if (how == 1)
		must(syscall(SYS_mlock2, page_of(a, p), pages_of(a), MLOCK_ONFAULT));
	else
		must(mlockall(MCL_CURRENT | (chance(50) ? MCL_FUTURE : 0)));
	check_memory("locked memory", want, p, a->len);
	recycle(a);
	check_memory("locked memory", want, p, a->len);
	if (how == 2)
		must(munlockall());
	else
		must(munlock(page_of(a, p), pages_of(a)));
	check_memory("unlocked memory", want, p, a->len);
}

static int lock_memory(void)
{
	struct area a = area_read(1, KIB64);
	bool shared = chance(60);
	char *p = map_area(&a, shared ? PROT_READ : RW, shared ? MAP_SHARED : MAP_PRIVATE), *want = anon(a.len);
	pid_t pid = 0;

	fill(a.f, a.off, a.len, want);
	if (chance(50))
		recycle_mapped(&a, p);
	if (chance(30))
		pid = spawn();
	if (!shared && chance(50))
		scribble(want, p, a.len);
	lock_and_check(&a, p, want);
	if (chance(50))
		lock_and_check(&a, p, want);
	if (!pid && getpid() != me->pid)
		_exit(0);
	if (pid)
		reap(pid);
	verify(&a);
	return 0;
}

static int advise(void)
{
	static const int advice[] = { MADV_WILLNEED, MADV_DONTNEED, MADV_RANDOM, MADV_SEQUENTIAL, MADV_NORMAL, MADV_COLD,
				      MADV_PAGEOUT, MADV_COLLAPSE };
	struct area a = area_read(PAGE, 4 * KIB64);
	char *p = map_area(&a, PROT_READ, chance(50) ? MAP_SHARED : MAP_PRIVATE);

	for (int i = 0; i < 4; i++) {
		int which = advice[below(sizeof(advice) / sizeof(*advice))];

		/* The newer ones are not in every kernel, and need not succeed. */
		if (madvise(p, a.len, which) && which < MADV_COLD)
			fail("madvise(%d): %m", which);
		check_scattered(&a, p);
	}
	return 0;
}

/*
 * The kernel copies small pages to a large one, for the text of a program that nobody writes. It need not succeed;
 * the large page goes again, or the other operations would find no small ones.
 */
static int collapse(void)
{
	const size_t large = 1 << 20;			/* of s390 */
	struct area a = { .f = &sh->ro[below(RO_FILES)], .len = large };
	char *room = anon(2 * large), *p = room + (-(uintptr_t)room & (large - 1));

	a.off = below(a.f->size / large) * large;
	a.fd = open_area(&a, O_RDONLY);
	must((intptr_t)mmap(p, large, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, a.fd, a.off));
	for (int i = 0; i < 2; i++) {
		if (chance(70))
			recycle(&a);
		if (madvise(p, large, MADV_COLLAPSE) && errno == EINVAL && access("/sys/kernel/mm/transparent_hugepage", F_OK))
			return EINVAL;
		check(a.f, a.off, p, large);
	}
	must(madvise(p, large, MADV_DONTNEED));
	errno = posix_fadvise(a.fd, a.off, large, POSIX_FADV_DONTNEED);
	if (errno)
		fail("fadvise: %m");
	return 0;
}

static int residency(void)
{
	struct area a = area_read(PAGE, KIB64);
	char *p = map_area(&a, PROT_READ, MAP_SHARED);
	unsigned char in[16];

	must(mincore(p, a.len, in));
	check(a.f, a.off, p, a.len);
	must(mincore(p, a.len, in));
	check(a.f, a.off, p, a.len);
	return 0;
}

static int move_mapping(void)
{
	struct area a = area_read(PAGE, KIB64);
	bool copied = chance(50);
	char *want = anon(a.len), *p, *q = anon(2 * a.len);

	fill(a.f, a.off, a.len, want);
	p = mmap(NULL, a.len, copied ? RW : PROT_READ, MAP_PRIVATE, a.fd, a.off);
	must((intptr_t)p);
	if (copied)
		scribble(want, p, a.len);
	else
		check(a.f, a.off, p, a.len);
	if (chance(50))
		recycle(&a);
	must((intptr_t)mremap(p, a.len, a.len, MREMAP_MAYMOVE | MREMAP_FIXED, q + a.len));
	check_memory("moved mapping", want, q + a.len, a.len);
	verify(&a);
	return 0;
}

/* The child sees what the parent mapped, at the same time as the parent. */
static int fork_mapped(void)
{
	struct area a = area_inside(BLK, KIB64);
	char *p = map_area(&a, RW, MAP_SHARED), *q = map_area(&a, PROT_READ, MAP_PRIVATE);
	bool write = chance(50);
	pid_t pid;

	if (chance(50))
		check(a.f, a.off, p, a.len);
	if (chance(50))
		check(a.f, a.off, q, a.len);
	if (write)
		new_content(a.f, a.off, a.len);
	pid = spawn();
	if (!pid) {
		if (write)
			fill(a.f, a.off, a.len, p);
		check(a.f, a.off, p, a.len);
		check(a.f, a.off, q, a.len);
		recycle_mapped(&a, p);
		check(a.f, a.off, p, a.len);
		_exit(0);
	}
	if (!write) {
		recycle_mapped(&a, q);
		check(a.f, a.off, q, a.len);
		check(a.f, a.off, p, a.len);
	}
	reap(pid);
	check(a.f, a.off, p, a.len);
	check(a.f, a.off, q, a.len);
	verify(&a);
	return 0;
}

/* Tell the whole system, and look whether this mapping survives it. */
static int with_sysctl(const char *path, const char *values)
{
	struct area a = area_read(1, 4 * KIB64);
	char *p = map_area(&a, PROT_READ, chance(50) ? MAP_SHARED : MAP_PRIVATE);
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return errno;
	keep_fd(fd, path);
	check(a.f, a.off, p, a.len);
	if (chance(50))
		recycle(&a);
	for (; *values; values++)
		must(write(fd, values, 1));
	check_scattered(&a, p);
	verify(&a);
	return 0;
}

static int compact(void)
{
	return with_sysctl("/proc/sys/vm/compact_memory", "1");
}

static int drop_caches(void)
{
	/* 4: no messages. 1: the page cache. */
	return with_sysctl("/proc/sys/vm/drop_caches", "41");
}

const struct op map_ops[] = {
	{ "map-shared-read", map_shared_read, 10, false },
	{ "map-private-read", map_private_read, 10, false },
	{ "map-shared-write", map_shared_write, 10, false },
	{ "copy-on-write", copy_on_write, 12, false },
	{ "populate", populate, 6, false },
	{ "mprotect", protect, 5, false },
	{ "mlock", lock_memory, 6, false },
	{ "madvise", advise, 5, false },
	{ "collapse", collapse, 2, true },
	{ "mincore", residency, 2, false },
	{ "mremap", move_mapping, 4, false },
	{ "fork", fork_mapped, 6, false },
	{ "compact", compact, 1, true },
	{ "drop-caches", drop_caches, 1, true },
	{ }
};
