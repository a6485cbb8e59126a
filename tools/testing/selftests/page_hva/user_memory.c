// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel reads from user memory and writes to it, when that is gone.
 * Most objects lie across the border of two pages.
 */
#include <dirent.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#if __GLIBC_PREREQ(2, 35)
#include <sys/rseq.h>
#else
#include <linux/rseq.h>
#define RSEQ_SIG	0xb2ff0fff
#define __rseq_size	0
#define __rseq_offset	0
#endif
#include "../kselftest_harness.h"
#include "page_hva.h"

#define RAN	42	/* the exit status of this program if it is a child */

FIXTURE(user_memory)
{
	struct hva_file file;
	char *map;
	int ends[2];	/* of a pipe */
};

FIXTURE_VARIANT(user_memory)
{
	int flags;
};

FIXTURE_VARIANT_ADD(user_memory, shared) { .flags = MAP_SHARED };
FIXTURE_VARIANT_ADD(user_memory, private) { .flags = MAP_PRIVATE };

FIXTURE_SETUP(user_memory)
{
	hva_create(&self->file, HVA_FULL);
	self->map = hva_map(&self->file, HVA_RW, variant->flags);
	hva_must(pipe(self->ends));
}

FIXTURE_TEARDOWN(user_memory)
{
	hva_note(&self->file);
	hva_close(&self->file);
}

/* Where in the mapping an object is that goes from page n - 1 to page n. */
static size_t across(size_t size, int n)
{
	size_t before = (size / 2 + 7) / 8 * 8;

	return n * hva_page - (before < size ? before : size / 2);
}

/* Puts an object into the file, across a border, and gives its address. */
static void *put_object(struct hva_file *file, char *map, int n,
			const void *object, size_t size)
{
	hva_put(file, across(size, n), object, size);
	return map + across(size, n);
}

#define PUT(n, object, size)						\
	put_object(&self->file, self->map, n, object, size)
#define GONE()		hva_discard(&self->file, self->map)

TEST_F(user_memory, iovec)
{
	struct iovec iov[] = {
		{ self->map + 9 * hva_page - 5, 10 },
		{ self->map + 12 * hva_page, 3000 },
	}, *gone = PUT(3, iov, sizeof(iov));
	char *buffer = hva_anon(hva_page);
	int i;

	for (i = 0; i < 3; i++) {
		GONE();
		ASSERT_EQ(3010, writev(self->ends[1], gone, 2));
		ASSERT_EQ(3010, read(self->ends[0], buffer, hva_page));
		ASSERT_EQ(-1, hva_wrong_at(&self->file, buffer,
					   9 * hva_page - 5, 10));
		ASSERT_EQ(-1, hva_wrong_at(&self->file, buffer + 10,
					   12 * hva_page, 3000));
	}
}

TEST_F(user_memory, path)
{
	char *path = PUT(5, "/proc/self/status", 18);
	int i;

	for (i = 0; i < 3; i++) {
		GONE();
		ASSERT_LE(0, open(path, O_RDONLY));
		GONE();
		ASSERT_EQ(0, access(path, R_OK));
	}
}

/* The arrays, the strings and the name of the program. */
TEST_F(user_memory, argv)
{
	char *path = PUT(2, "/proc/self/exe", 15);
	char *option = PUT(4, "--child", 8), *argv[] = { path, option, NULL };
	char *variable = PUT(6, "PAGE_HVA=gone", 14), *envp[] = { variable, NULL };
	char **gone_argv = PUT(8, argv, sizeof(argv));
	char **gone_envp = PUT(10, envp, sizeof(envp));
	pid_t child;
	int i;

	for (i = 0; i < 3; i++) {
		child = hva_must(fork());
		if (!child) {
			GONE();
			execve(path, gone_argv, gone_envp);
			_exit(errno);
		}
		ASSERT_EQ(RAN, WEXITSTATUS(hva_wait(child)));
	}
}

static long futex(uint32_t *word, int op, uint32_t value,
		  const void *timeout, uint32_t *other, uint32_t value3)
{
	return syscall(__NR_futex, word, op, value, timeout, other, value3);
}

TEST_F(user_memory, futex)
{
	struct timespec soon = { .tv_nsec = 10000000 };
	struct timespec *gone = PUT(7, &soon, sizeof(soon));
	int flags[] = { 0, FUTEX_PRIVATE_FLAG }, i;
	uint32_t value = 77, *word;

	hva_put(&self->file, 5 * hva_page, &value, sizeof(value));
	word = (void *)self->map + 5 * hva_page;
	for (i = 0; i < 4; i++) {
		GONE();
		ASSERT_EQ(-1, futex(word, FUTEX_WAIT | flags[i % 2], value, gone,
				    NULL, 0));
		ASSERT_EQ(ETIMEDOUT, errno);
		GONE();
		ASSERT_EQ(-1, futex(word, FUTEX_WAIT | flags[i % 2], 78, gone,
				    NULL, 0));
		ASSERT_EQ(EAGAIN, errno);
	}
}

/* The kernel computes in a page that is gone, and may not sleep there. */
TEST_F(user_memory, futex_wake_op)
{
	int op = FUTEX_OP(FUTEX_OP_ADD, 5, FUTEX_OP_CMP_EQ, 1), i;
	uint32_t *first = (void *)self->map + 3 * hva_page;
	uint32_t *second = (void *)self->map + 4 * hva_page;
	uint32_t value = *(uint32_t *)(self->file.want + 4 * hva_page);

	for (i = 1; i < 5; i++) {
		GONE();
		ASSERT_EQ(0, futex(first, FUTEX_WAKE_OP, 1, NULL, second, op));
		ASSERT_EQ(value + i * 5, *second);
	}
	if (variant->flags != MAP_SHARED)
		return;
	value = *second;
	hva_expect(&self->file, 4 * hva_page, &value, sizeof(value));
	ASSERT_FILE(&self->file);
}

struct entry {
	struct robust_list list;
	uint32_t word;
};

struct dying {
	struct hva_file *file;
	char *map;
	struct robust_list_head *head;
	struct entry *entry;
};

/* Dies with a lock in the memory that it shares with its parent. */
static int die_with_lock(void *arg)
{
	struct dying *dying = arg;
	struct entry entry = {
		.list.next = &dying->head->list,
		.word = syscall(__NR_gettid),
	};
	struct robust_list_head head = {
		.list.next = &dying->entry->list,
		.futex_offset = offsetof(struct entry, word),
	};

	hva_put(dying->file, (char *)dying->entry - dying->map, &entry,
		sizeof(entry));
	hva_put(dying->file, (char *)dying->head - dying->map, &head,
		sizeof(head));
	hva_must(syscall(__NR_set_robust_list, dying->head, sizeof(head)));
	hva_discard(dying->file, dying->map);
	return 0;
}

/* The kernel walks the list of who died, and marks the word. */
TEST_F(user_memory, robust_list)
{
	struct dying dying = {
		.file = &self->file,
		.map = self->map,
		.head = (void *)self->map +
			across(sizeof(struct robust_list_head), 9),
		.entry = (void *)self->map + 6 * hva_page - 8,
	};
	char *stack = hva_anon(16 * hva_page);
	pid_t child = clone(die_with_lock, stack + 16 * hva_page,
			    CLONE_VM | SIGCHLD, &dying);

	ASSERT_LT(0, child);
	ASSERT_EQ(0, hva_wait(child));
	ASSERT_EQ(FUTEX_OWNER_DIED, dying.entry->word);
}

static struct rseq *libc_rseq(void)
{
	if (!__rseq_size)
		return NULL;
	return (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/*
 * The descriptor of a critical section, in which this is not, and the signature
 * before its abort handler: the kernel looks at both and forgets the section.
 */
TEST_F(user_memory, rseq_descriptor)
{
	struct rseq *rseq = libc_rseq();
	struct rseq_cs section = { .post_commit_offset = 8 }, *gone;
	uint32_t signature = RSEQ_SIG;
	int i;

	if (!rseq)
		SKIP(return, "no rseq, or not registered by the C library");
	section.start_ip = (uintptr_t)self->map + 18 * hva_page;
	section.abort_ip = (uintptr_t)self->map + 16 * hva_page;
	hva_put(&self->file, 16 * hva_page - 4, &signature, 4);
	hva_put(&self->file, 12 * hva_page - 32, &section, sizeof(section));
	gone = (void *)self->map + 12 * hva_page - 32;
	for (i = 0; i < 3; i++) {
		GONE();
		__atomic_store_n((uint64_t *)&rseq->rseq_cs, (uintptr_t)gone,
				 __ATOMIC_RELAXED);
		/* The kernel looks when the CPU had another task. */
		while (__atomic_load_n((uint64_t *)&rseq->rseq_cs,
				       __ATOMIC_RELAXED))
			sched_yield();
	}
}

/* The kernel stores the number of the CPU in a page that is gone. */
TEST_F(user_memory, rseq)
{
	struct rseq *old = libc_rseq(), *rseq;
	cpu_set_t allowed, one;
	int cpu, round;

	rseq = (void *)self->map + 8 * hva_page;
	memset(self->file.want + 8 * hva_page, 0, 64);
	hva_put(&self->file, 8 * hva_page, self->file.want + 8 * hva_page, 64);
	if (old && syscall(__NR_rseq, old, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG))
		SKIP(return, "the C library has registered it in another way");
	GONE();
	if (syscall(__NR_rseq, rseq, 32, 0, RSEQ_SIG)) {
		ASSERT_NE(EFAULT, errno);
		SKIP(return, "rseq: %s", strerror(errno));
	}
	hva_must(sched_getaffinity(0, sizeof(allowed), &allowed));
	for (round = 0; round < 3; round++)
		for (cpu = 0; cpu < 64; cpu++) {
			if (!CPU_ISSET(cpu, &allowed))
				continue;
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			GONE();
			hva_must(sched_setaffinity(0, sizeof(one), &one));
			ASSERT_EQ(cpu, __atomic_load_n(&rseq->cpu_id,
						       __ATOMIC_RELAXED));
		}
	hva_must(syscall(__NR_rseq, rseq, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG));
}

static char *on_stack;
static int handled;

static void handle(int signal)
{
	char here[64];

	snprintf(here, sizeof(here), "signal %d", signal);
	on_stack = here;
	__atomic_store_n(&handled, here[7] == '1', __ATOMIC_RELAXED);
}

/* The frame of the handler is written to pages that are gone. */
TEST_F(user_memory, sigaltstack)
{
	stack_t stack = {
		.ss_sp = self->map + 4 * hva_page,
		.ss_size = 12 * hva_page + 128,
	}, *gone = PUT(2, &stack, sizeof(stack));
	struct sigaction action = {
		.sa_handler = handle, .sa_flags = SA_ONSTACK,
	};
	int i;

	hva_must(sigaction(SIGUSR1, &action, NULL));
	GONE();
	ASSERT_EQ(0, sigaltstack(gone, NULL));
	for (i = 0; i < 4; i++) {
		handled = 0;
		GONE();
		raise(SIGUSR1);
		ASSERT_EQ(1, __atomic_load_n(&handled, __ATOMIC_RELAXED));
		ASSERT_TRUE(on_stack > (char *)stack.ss_sp &&
			    on_stack < (char *)stack.ss_sp + stack.ss_size);
	}
	stack.ss_flags = SS_DISABLE;
	ASSERT_EQ(0, sigaltstack(&stack, NULL));
}

TEST_F(user_memory, poll)
{
	struct pollfd fds[] = {
		{ .fd = self->ends[0], .events = POLLIN },
		{ .fd = self->ends[1], .events = POLLOUT },
		{ .fd = 999, .events = POLLIN },
	}, *gone = PUT(4, fds, sizeof(fds));
	int i;

	for (i = 0; i < 3; i++) {
		GONE();
		ASSERT_EQ(2, poll(gone, 3, 0));
		ASSERT_EQ(0, gone[0].revents);
		ASSERT_EQ(POLLOUT, gone[1].revents);
		ASSERT_EQ(POLLNVAL, gone[2].revents);
	}
}

TEST_F(user_memory, epoll)
{
	struct epoll_event event = { .events = EPOLLOUT, .data.u64 = 4711 };
	struct epoll_event *gone = PUT(4, &event, sizeof(event));
	int epoll = epoll_create1(0), i;

	if (epoll < 0)
		SKIP(return, "no epoll");
	GONE();
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->ends[1], gone));
	for (i = 0; i < 3; i++) {
		gone = (void *)self->map + across(sizeof(event), 8 + i);
		GONE();
		ASSERT_EQ(1, epoll_wait(epoll, gone, 1, 0));
		ASSERT_EQ(4711, gone->data.u64);
		ASSERT_EQ(EPOLLOUT, gone->events);
	}
}

TEST_F(user_memory, select)
{
	fd_set set, *gone, *out;
	struct timeval no_time = {};
	int i;

	for (i = 0; i < 3; i++) {
		FD_ZERO(&set);
		FD_SET(self->ends[0], &set);
		FD_SET(self->ends[1], &set);
		/* Into the file by the mapping, for what is private is so soon. */
		gone = (void *)self->map + across(sizeof(set), 4 + 4 * i);
		out = (void *)self->map + across(sizeof(set), 6 + 4 * i);
		hva_put(&self->file, (char *)gone - self->map, &set, sizeof(set));
		hva_put(&self->file, (char *)out - self->map, &set, sizeof(set));
		GONE();
		ASSERT_EQ(1, select(64, gone, out, NULL, &no_time));
		ASSERT_FALSE(FD_ISSET(self->ends[0], gone));
		ASSERT_FALSE(FD_ISSET(self->ends[0], out));
		ASSERT_TRUE(FD_ISSET(self->ends[1], out));
	}
}

TEST_F(user_memory, clone3)
{
	struct clone_args args = {
		.flags = CLONE_PARENT_SETTID,
		.parent_tid = (uintptr_t)self->map + 9 * hva_page,
		.exit_signal = SIGCHLD,
	};
	void *gone = PUT(3, &args, sizeof(args));
	pid_t child;
	int i;

	for (i = 0; i < 3; i++) {
		GONE();
		child = syscall(__NR_clone3, gone, sizeof(args));
		if (!child)
			_exit(0);
		if (child < 0 && errno != EFAULT)
			SKIP(return, "clone3: %s", strerror(errno));
		ASSERT_LT(0, child);
		ASSERT_EQ(0, hva_wait(child));
		ASSERT_EQ(child, *(pid_t *)(self->map + 9 * hva_page));
	}
}

/* A filter that lets everything pass, but for one system call. */
TEST_F(user_memory, sock_fprog)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {
		.len = ARRAY_SIZE(filter),
		.filter = PUT(3, filter, sizeof(filter)),
	}, *gone = PUT(7, &program, sizeof(program));
	pid_t child = hva_must(fork());
	int status;

	if (!child) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		GONE();
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, gone))
			_exit(errno);
		_exit(syscall(__NR_getppid) == -1 && errno == EXDEV ? RAN : 1);
	}
	status = WEXITSTATUS(hva_wait(child));
	if (status == EINVAL)
		SKIP(return, "no seccomp filters");
	ASSERT_EQ(RAN, status);
}

/* The header, the vector, the data, and what is received. */
TEST_F(user_memory, msghdr)
{
	struct iovec iov = { self->map + 9 * hva_page - 100, 200 };
	struct msghdr message = {
		.msg_iov = PUT(3, &iov, sizeof(iov)), .msg_iovlen = 1,
	}, *gone = PUT(6, &message, sizeof(message));
	char buffer[200];
	int ends[2], i;

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
		SKIP(return, "no unix sockets");
	for (i = 0; i < 3; i++) {
		GONE();
		ASSERT_EQ(200, sendmsg(ends[0], gone, 0));
		GONE();
		ASSERT_EQ(200, recvmsg(ends[1], gone, 0));
		memcpy(buffer, iov.iov_base, 200);
		ASSERT_EQ(-1, hva_wrong_at(&self->file, buffer,
					   9 * hva_page - 100, 200));
	}
}

/* A child that has the mapping, and is stopped by its parent. */
static pid_t traced(void)
{
	pid_t child = hva_must(fork());

	if (!child) {
		hva_must(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
		raise(SIGSTOP);
		_exit(0);
	}
	return WIFSTOPPED(hva_wait(child)) ? child : -1;
}

TEST_F(user_memory, peek_poke)
{
	pid_t child = traced();
	size_t at;
	long word;

	ASSERT_LT(0, child);
	GONE();
	for (at = 16; at < self->file.size; at += hva_page) {
		errno = 0;
		word = ptrace(PTRACE_PEEKDATA, child, self->map + at, NULL);
		ASSERT_EQ(0, errno);
		ASSERT_EQ(-1, hva_wrong_at(&self->file, &word, at, sizeof(word)));
	}
	GONE();
	for (at = 16; at < self->file.size; at += hva_page) {
		word = at * 0x100000001ul;
		ASSERT_EQ(0, ptrace(PTRACE_POKEDATA, child, self->map + at, word));
		ASSERT_EQ(word, ptrace(PTRACE_PEEKDATA, child, self->map + at, NULL));
		if (variant->flags == MAP_SHARED)
			hva_expect(&self->file, at, &word, sizeof(word));
	}
	kill(child, SIGKILL);
	hva_wait(child);
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

TEST_F(user_memory, proc_mem)
{
	char *buffer = hva_anon(self->file.size), name[32];
	size_t size = self->file.size;
	uintptr_t at = (uintptr_t)self->map;
	pid_t child = traced();
	int fd;

	ASSERT_LT(0, child);
	snprintf(name, sizeof(name), "/proc/%d/mem", child);
	fd = hva_must(open(name, O_RDWR));
	GONE();
	ASSERT_EQ(size, pread(fd, buffer, size, at));
	ASSERT_RIGHT(&self->file, buffer);
	GONE();
	memset(buffer, 'm', size);
	ASSERT_EQ(size - 20, pwrite(fd, buffer, size - 20, at + 10));
	if (variant->flags == MAP_SHARED)
		hva_expect(&self->file, 10, buffer, size - 20);
	else
		ASSERT_EQ(size - 20, pread(fd, buffer, size - 20, at + 10));
	ASSERT_EQ('m', buffer[size - 21]);
	kill(child, SIGKILL);
	hva_wait(child);
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

/* A core file in a directory of its own; its size, or 0, and its content. */
static size_t dump_core(struct hva_file *file, char *map, char **core)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	char name[4096];
	struct dirent *entry;
	ssize_t size = 0;
	pid_t child;
	DIR *dir;
	int fd;

	snprintf(name, sizeof(name), "%s/page_hva.XXXXXX", hva_dir);
	if (!mkdtemp(name))
		hva_die("mkdtemp");
	child = hva_must(fork());
	if (!child) {
		/* What is mapped, also of files without a name, but no private copies. */
		if (!hva_write_sysfs("/proc/self/coredump_filter", "0xe") ||
		    chdir(name) || setrlimit(RLIMIT_CORE, &limit))
			_exit(1);
		hva_discard(file, map);
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	hva_wait(child);
	dir = opendir(name);
	while (dir && (entry = readdir(dir))) {
		fd = openat(dirfd(dir), entry->d_name, O_RDONLY);
		if (entry->d_name[0] != '.' && fd >= 0) {
			size = hva_must(lseek(fd, 0, SEEK_END));
			*core = hva_anon(size + 1);
			if (pread(fd, *core, size, 0) != size)
				size = 0;
		}
		close(fd);
		unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
	hva_must(rmdir(name));
	return size;
}

TEST_F(user_memory, core)
{
	int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY);
	char pattern[128] = "", *core;
	size_t size;

	if (fd < 0 || read(fd, pattern, sizeof(pattern) - 1) <= 0)
		SKIP(return, "no core dumps");
	if (strpbrk(pattern, "|/"))
		SKIP(return, "core dumps go elsewhere");
	size = dump_core(&self->file, self->map, &core);
	if (!size)
		SKIP(return, "no core file was written");
	ASSERT_LT(self->file.size, size);
	ASSERT_NE(NULL, memmem(core, size, self->file.want, self->file.size));
	ASSERT_RIGHT(&self->file, self->map);
	ASSERT_FILE(&self->file);
}

int main(int argc, char **argv)
{
	const char *env = getenv("PAGE_HVA");

	if (argc > 1 && !strcmp(argv[1], "--child"))
		return env && !strcmp(env, "gone") ? RAN : 1;
	hva_start();
	return test_harness_run(argc, argv);
}
