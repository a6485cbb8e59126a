// SPDX-License-Identifier: GPL-2.0
/* Operations of one process on the memory of another, and futexes in files. */
#include "stress.h"
#include <linux/futex.h>
#include <signal.h>
#include <time.h>

/* A child that only keeps the mappings it was born with. */
static pid_t holder(void)
{
	pid_t pid = spawn();

	if (!pid)
		for (;;)
			pause();
	return pid;
}

static void end_holder(pid_t pid)
{
	int status;

	must(kill(pid, SIGKILL));
	must(waitpid(pid, &status, 0));
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail("a child of it ended with status %#x", status);
}

static void remote(bool write, pid_t pid, void *local, void *there, size_t len)
{
	struct iovec l = { local, len }, r = { there, len };
	ssize_t n = must((write ? process_vm_writev : process_vm_readv)(pid, &l, 1, &r, 1, 0));

	if ((size_t)n != len)
		fail("process_vm_%sv: %zd of %zu bytes", write ? "write" : "read", n, len);
}

static int vm_read(void)
{
	struct area a = area_read(1, KIB64);
	char *p = map_area(&a, PROT_READ, chance(50) ? MAP_SHARED : MAP_PRIVATE), *q = anon(a.len);
	pid_t pid;

	if (chance(30))
		check(a.f, a.off, p, a.len);
	pid = holder();
	for (int i = 0; i < 2; i++) {
		memset(q, 0xee, a.len);
		remote(false, pid, q, p, a.len);
		check(a.f, a.off, q, a.len);
		recycle_mapped(&a, p);
	}
	end_holder(pid);
	return 0;
}

/* From a mapping of one file into a mapping of another: shared, or to be copied in the other process. */
static int vm_write(void)
{
	struct area s, d;
	bool shared = chance(50);
	char *p, *q, *back;
	pid_t pid;

	area_pair(&s, &d, BLK, KIB64);
	p = map_area(&s, PROT_READ, MAP_SHARED);
	q = map_area(&d, RW, shared ? MAP_SHARED : MAP_PRIVATE);
	back = anon(s.len);
	pid = holder();
	recycle_mapped(&d, q);
	recycle_mapped(&s, p);
	if (shared)
		copy_content(d.f, d.off, s.f, s.off, s.len);
	remote(true, pid, p, q, s.len);
	remote(false, pid, back, q, s.len);
	check(s.f, s.off, back, s.len);
	check(d.f, d.off, q, d.len);
	end_holder(pid);
	verify(&d);
	return 0;
}

/* The debugger's way also writes where the process itself must not: into a copy. */
static int proc_mem(void)
{
	struct area a = area_read(1, KIB64);
	char *p = map_area(&a, PROT_READ, MAP_PRIVATE), *q = anon(a.len), *want = anon(a.len), name[40];
	pid_t pid = holder();
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/mem", pid);
	fd = keep_fd(open(name, O_RDWR), name);
	read_at(fd, q, a.len, (uintptr_t)p);
	check(a.f, a.off, q, a.len);
	recycle_mapped(&a, p);
	fill(a.f, a.off, a.len, want);
	for (size_t n = 0; n < a.len; n++)
		want[n] ^= n % 3 ? 0 : 0x5a;
	write_at(fd, want, a.len, (uintptr_t)p);
	read_at(fd, q, a.len, (uintptr_t)p);
	check_memory("/proc/PID/mem", want, q, a.len);
	check(a.f, a.off, p, a.len);
	end_holder(pid);
	verify(&a);
	return 0;
}

static long futex(void *word, int op, uint32_t value, const void *timeout, void *word2, uint32_t value3)
{
	return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

/* One word of a page that the operation owns. */
static struct area futex_area(bool write)
{
	struct area a = write ? area_inside(PAGE, PAGE) : area_read(PAGE, PAGE);

	a.len = PAGE;
	return a;
}

static int futex_wait(void)
{
	struct area a = futex_area(false);
	char *p = map_area(&a, PROT_READ, MAP_SHARED);
	uint32_t *word = (uint32_t *)p + below(PAGE / 4), value;
	int64_t until = now_ms() + sh->hang_ms;
	struct timespec limit = { .tv_sec = 2 * sh->hang_ms / 1000 };
	int status;
	pid_t pid;

	fill(a.f, a.off + ((char *)word - p), 4, &value);
	if (chance(50))
		recycle_mapped(&a, p);
	pid = spawn();
	if (!pid) {
		if (chance(50))
			recycle_mapped(&a, p);
		if (futex(word, FUTEX_WAIT, value, &limit, NULL, 0) && errno != EINTR)
			fail("FUTEX_WAIT of %#x in %s at %#llx: %m", value, a.f->name, (unsigned long long)a.off);
		check(a.f, a.off, p, PAGE);
		_exit(0);
	}
	/* It may not wait yet, or somebody else may wake it: until it ends. */
	while (!must(waitpid(pid, &status, WNOHANG))) {
		if (chance(20))
			recycle_mapped(&a, p);
		if (!sabotage("futex"))
			must(futex(word, FUTEX_WAKE, 1 << 30, NULL, NULL, 0));
		if (now_ms() > until)
			fail("a waiter on %s at %#llx is not woken", a.f->name, (unsigned long long)a.off);
		usleep(200);
	}
	if (status) {
		if (sh->failed)
			_exit(1);
		fail("the waiter ended with status %#x", status);
	}
	check(a.f, a.off, p, PAGE);
	return 0;
}

/* Write a page that is no content, and have it read again. */
static void place(const struct area *a, char *p)
{
	must(msync(p, PAGE, MS_SYNC));
	must(madvise(p, PAGE, MADV_DONTNEED));
	posix_fadvise(a->fd, a->off, PAGE, POSIX_FADV_DONTNEED);
	if (chance(70))
		readahead(a->fd, a->off, PAGE);
}

static void restore(const struct area *a, char *p)
{
	new_content(a->f, a->off, PAGE);
	fill(a->f, a->off, PAGE, p);
	verify(a);
}

/* The kernel computes in the page, with page faults disabled; the second time takes it back. */
static int futex_wake_op(void)
{
	struct area a = futex_area(true);
	char *p = map_area(&a, RW, MAP_SHARED), want[PAGE];
	uint32_t *word = (uint32_t *)p + below(PAGE / 4), flipped;
	int op = FUTEX_OP(FUTEX_OP_XOR, 0x5a5, FUTEX_OP_CMP_EQ, 1);

	recycle_mapped(&a, p);
	must(futex(p, FUTEX_WAKE_OP, 1, NULL, word, op));
	fill(a.f, a.off, PAGE, want);
	memcpy(&flipped, want + ((char *)word - p), 4);
	flipped ^= 0x5a5;
	memcpy(want + ((char *)word - p), &flipped, 4);
	check_memory("futex page", want, p, PAGE);
	place(&a, p);
	check_memory("futex page", want, p, PAGE);
	if (chance(50))
		place(&a, p);
	must(futex(p, FUTEX_WAKE_OP, 1, NULL, word, op));
	check(a.f, a.off, p, PAGE);
	verify(&a);
	return 0;
}

static int futex_pi(void)
{
	struct area a = futex_area(true);
	char *p = map_area(&a, RW, MAP_SHARED);
	uint32_t *word = (uint32_t *)p + below(PAGE / 4);

	*word = 0;
	place(&a, p);
	if (futex(word, FUTEX_LOCK_PI, 0, NULL, NULL, 0)) {
		if (errno == ENOSYS)
			return restore(&a, p), ENOSYS;
		fail("FUTEX_LOCK_PI: %m");
	}
	if (*word != (uint32_t)getpid())
		fail("FUTEX_LOCK_PI left %#x, not %#x", *word, getpid());
	place(&a, p);
	must(futex(word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
	if (*word)
		fail("FUTEX_UNLOCK_PI left %#x", *word);
	restore(&a, p);
	return 0;
}

/* A process dies with a lock in a file; the kernel walks its list through the page and marks the word. */
static int futex_robust(void)
{
	struct area a = futex_area(true);
	char *p = map_area(&a, RW, MAP_SHARED);
	struct robust_list_head *head = (void *)anon(PAGE);
	struct entry { struct robust_list list; uint32_t word; } *e = (void *)(p + below(PAGE / 16) * 16);
	pid_t pid = spawn();

	if (!pid) {
		head->list.next = &e->list;
		head->futex_offset = (char *)&e->word - (char *)&e->list;
		e->list.next = &head->list;
		e->word = getpid();
		must(syscall(SYS_set_robust_list, head, sizeof(*head)));
		place(&a, p);
		_exit(0);
	}
	reap(pid);
	if (e->word != FUTEX_OWNER_DIED)
		fail("the lock of a dead process holds %#x, not %#x", e->word, FUTEX_OWNER_DIED);
	restore(&a, p);
	return 0;
}

const struct op process_ops[] = {
	{ "vm-readv", vm_read, 6, false },
	{ "vm-writev", vm_write, 6, false },
	{ "proc-mem", proc_mem, 4, false },
	{ "futex-wait", futex_wait, 5, false },
	{ "futex-wake-op", futex_wake_op, 5, false },
	{ "futex-pi", futex_pi, 3, true },
	{ "futex-robust", futex_robust, 3, false },
	{ }
};
