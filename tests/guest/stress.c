// SPDX-License-Identifier: GPL-2.0
/*
 * stress - many ways to reach a page of a file, and every byte checked
 *
 * Several processes work on the same few files below DIR. The content of every block of 512 bytes is a function of a
 * key; the keys are kept in shared memory, changed together with the files under one lock for each file. Some files
 * never change and are read by all without a lock; in one the blocks belong to the processes in turn. Most operations
 * first write the pages back, drop them and read them again: pages of that kind are the ones that a host may take.
 *
 * usage: stress --dir DIR [--seed N] [--seconds S] [--procs P] [--only OP,OP] [--mem-pressure MB]
 *               [--hang SECONDS] [--dynamic PROGRAM] [--outside DIR]
 *        stress --list
 *        stress --selftest --dir DIR
 *
 *   --seed N           (1) repeats the choices of every process; how they meet in time is not repeated
 *   --seconds S        (10) but every operation is done at least once
 *   --procs P          (4)
 *   --mem-pressure MB  one process more, which fills that much anonymous memory again and again
 *   --hang SECONDS     (60) an operation that takes longer is a failure
 *   --dynamic PROGRAM  (dynamic-hello beside this program) a dynamic program for exec-dynamic to copy and run
 *   --outside DIR      if DIR has fixed0, fixed1, fixed2 or stripes, that file or block device is used instead of one in
 *                      --dir; the fixed ones already hold what the seed makes of them
 *   --selftest         plants defects, and passes if each of them is found
 *
 * Exit status 0 and a last line "PASS seed=N ...": all was right. 1 and a line "FAIL seed=N op=...": it was not, the
 * files are still in DIR/stress-N. 2: it could not start.
 */
#include "stress/stress.h"
#include "number.h"
#include "watched.h"
#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <ftw.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <time.h>

#define EXT4_MAGIC 0xef53

struct shared *sh;
struct worker *me;
int my_number;

static const struct op *ops[MAX_OPS];
static bool wanted[MAX_OPS];
static int nops, total_weight;
static size_t pressure_mb;

const char *op_name(void)
{
	return !me ? "setup" : me == &sh->worker[sh->procs] ? "mem-pressure" : ops[me->op]->name;
}

void refuse(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "stress: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(2);
}

static void collect_ops(void)
{
	const struct op *tables[] = { io_ops, uring_ops, loop_ops, map_ops, process_ops, name_ops };

	for (unsigned int i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct op *op = tables[i]; op->name; op++) {
			wanted[nops] = true;
			ops[nops++] = op;
			total_weight += op->weight;
		}
}

static void parse_only(char *list)
{
	memset(wanted, 0, sizeof(wanted));
	total_weight = 0;
	for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		int i = 0;

		while (i < nops && strcmp(ops[i]->name, name))
			i++;
		if (i == nops)
			refuse("there is no operation \"%s\"; --list shows all", name);
		if (!wanted[i])
			total_weight += ops[i]->weight;
		wanted[i] = true;
	}
}

static bool run_op(int i)
{
	int err;

	me->op = i;
	me->beat = now_ms();
	err = ops[i]->fn();
	release_all();
	if (err > 0)
		sh->unsupported[i] = err;
	else if (!err)
		me->count[i]++;
	return err != NOT_NOW;
}

static int pick_op(void)
{
	for (;;) {
		int left = below(total_weight);

		for (int i = 0; i < nops; i++) {
			if (!wanted[i])
				continue;
			left -= ops[i]->weight;
			if (left < 0) {
				if (!sh->unsupported[i])
					return i;
				break;
			}
		}
		if (now_ms() > sh->deadline)
			return -1;
	}
}

static void worker(void)
{
	int skip = sabotage("idle") ? 0 : -1, i;

	if (!my_number && sabotage("crash"))
		raise(SIGSEGV);
	if (!my_number && sabotage("vanish"))
		_exit(0);
	while (!my_number && sabotage("hang"))
		pause();

	/* The processes share out the operations, so that each is done soon and once at least. */
	for (i = my_number; i < nops; i += sh->procs)
		if (wanted[i] && i != skip)
			while (!run_op(i))
				;
	while (now_ms() < sh->deadline && !sh->failed) {
		i = pick_op();
		if (i >= 0 && i != skip)
			run_op(i);
	}
}

/* Memory that no host may take, filled and given back, so that the page cache shrinks and grows. */
static void pressure(void)
{
	size_t pages = pressure_mb * 256;
	char *p = anon(pages * PAGE);
	uint64_t want[2], zero[2] = { 0, 0 };

	for (uint64_t round = 1; now_ms() < sh->deadline && !sh->failed; round++) {
		for (int pass = 0; pass < 3; pass++)
			for (size_t n = 0; n < pages; n++) {
				char *word = p + n * PAGE + n % 250 * 16;

				if (n % 256 == 0)
					me->beat = now_ms();
				want[0] = mix(round + n * GOLDEN);
				want[1] = ~want[0];
				check_memory("anonymous memory", pass ? want : zero, word, 16);
				if (!pass)
					memcpy(word, want, 16);
				if (!pass && sabotage("pressure") && n == pages / 2)
					*word ^= 1;
			}
		must(madvise(p, pages * PAGE, MADV_DONTNEED));
		me->count[0]++;
		usleep(20000);
	}
}

static pid_t start(int number, void (*fn)(void))
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		refuse("fork: %m");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	my_number = number;
	me = &sh->worker[number];
	me->pid = getpid();
	me->beat = now_ms();
	seed_rnd(sh->seed * MAX_PROCS + number + 1);
	watch_signals();
	fn();
	me->finished = true;
	_exit(0);
}

/* Flips bits behind everybody's back. */
static void saboteur(void)
{
	while (now_ms() < sh->deadline + 5000) {
		struct file *f = sabotage("flip-fixed") ? &sh->ro[below(RO_FILES)] :
				 sabotage("flip-stripes") ? &sh->stripes : &sh->file[below(sh->nfiles)];
		int fd = open(f->name, O_RDWR);
		off_t off = below(f->size);
		char c;

		if (pread(fd, &c, 1, off) == 1) {
			c ^= 1;
			must(pwrite(fd, &c, 1, off));
		}
		close(fd);
		usleep(1000);
	}
}

static pid_t parent_of(pid_t pid)
{
	char name[40], text[512], *p;
	ssize_t n;
	int fd, parent = 0;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	fd = open(name, O_RDONLY);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	p = strrchr(text, ')');
	if (p)
		sscanf(p + 1, " %*c %d", &parent);
	return parent;
}

static void show(pid_t pid, const char *what)
{
	char name[40], text[4096];
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/%s", pid, what);
	fd = open(name, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return;
	text[n] = 0;
	printf("  %s: %s%s", what, text, text[n - 1] == '\n' ? "" : "\n");
}

/* Where is everybody? The worker itself may only wait for a child. */
static void show_processes(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;

	while (proc && (d = readdir(proc))) {
		pid_t pid = atoi(d->d_name), p = pid;

		while (p > 1 && p != getpid())
			p = parent_of(p);
		if (p != getpid() || pid == p)
			continue;
		printf("process %d, child of %d\n", pid, parent_of(pid));
		show(pid, "wchan");
		show(pid, "syscall");
		show(pid, "stack");
	}
	fflush(stdout);
}

/* True when all have ended well. */
static bool supervise(int count)
{
	int64_t started = now_ms(), report = started + 10000;
	int running = count, status;
	pid_t pid;

	while (running && !sh->failed) {
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			int n = 0;

			while (n < count && sh->worker[n].pid != pid)
				n++;
			running--;
			me = n < count ? &sh->worker[n] : NULL;
			if (sh->failed || (!status && me && me->finished))
				continue;
			sh->failed = 1;
			if (WIFSIGNALED(status))
				printf("FAIL seed=%llu op=%s process %d was killed by signal %d%s\n",
				       (unsigned long long)sh->seed, op_name(), pid, WTERMSIG(status),
				       WTERMSIG(status) == SIGKILL ? " (out of memory?)" : "");
			else
				printf("FAIL seed=%llu op=%s process %d is lost: status %d, but not finished\n",
				       (unsigned long long)sh->seed, op_name(), pid, WEXITSTATUS(status));
		}
		for (int n = 0; n < count && !sh->failed; n++) {
			me = &sh->worker[n];
			if (me->finished || !me->beat || now_ms() - me->beat < sh->hang_ms)
				continue;
			printf("FAIL seed=%llu op=%s pid=%d hang: no progress for %lld s\n",
			       (unsigned long long)sh->seed, op_name(), me->pid, (long long)sh->hang_ms / 1000);
			show_processes();
			sh->failed = 1;
		}
		if (now_ms() > report) {
			uint64_t sum = 0;

			for (int n = 0; n < sh->procs; n++)
				for (int i = 0; i < nops; i++)
					sum += sh->worker[n].count[i];
			printf("stress: %lld s, %llu operations\n", (long long)(now_ms() - started) / 1000,
			       (unsigned long long)sum);
			fflush(stdout);
			report += 10000;
		}
		usleep(20000);
	}
	fflush(stdout);
	if (!sh->failed)
		return true;
	/* Whoever cannot die is not waited for. */
	for (int n = 0; n < count; n++)
		if (sh->worker[n].pid)
			kill(sh->worker[n].pid, SIGKILL);
	for (int64_t until = now_ms() + 3000; now_ms() < until && waitpid(-1, &status, WNOHANG) >= 0; )
		usleep(20000);
	return false;
}

static bool summary(bool ext4)
{
	uint64_t sum = 0;
	bool good = true;

	for (int i = 0; i < nops; i++) {
		uint64_t count = 0;

		if (!wanted[i])
			continue;
		for (int n = 0; n < sh->procs; n++)
			count += sh->worker[n].count[i];
		sum += count;
		if (count) {
			printf("  %-26s %8llu\n", ops[i]->name, (unsigned long long)count);
		} else if (sh->unsupported[i] && (ops[i]->optional || !ext4)) {
			printf("  %-26s skipped: %s\n", ops[i]->name, strerror(sh->unsupported[i]));
		} else {
			printf("FAIL seed=%llu op=%s %s\n", (unsigned long long)sh->seed, ops[i]->name,
			       sh->unsupported[i] ? strerror(sh->unsupported[i]) : "never ran");
			good = false;
		}
	}
	if (pressure_mb)
		printf("  mem-pressure: %llu rounds over %zu MiB\n",
		       (unsigned long long)sh->worker[sh->procs].count[0], pressure_mb);
	if (good)
		printf("PASS seed=%llu procs=%d ops=%llu\n", (unsigned long long)sh->seed, sh->procs,
		       (unsigned long long)sum);
	return good;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* Our own directory below DIR, empty, and for one stress only. The lock lives as long as the descriptor. */
static void enter(const char *dir, char path[PATH_MAX])
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "stress-%llu", (unsigned long long)sh->seed);
	if (chdir(dir) || (mkdir(name, 0700) && errno != EEXIST) || !realpath(name, path))
		refuse("cannot create %s in %s: %m", name, dir);
	fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB))
		refuse("%s is used by another stress: choose another --dir", dir);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (mkdir(name, 0700) || chdir(name))
		refuse("cannot empty %s: %m", path);
}

static void find_dynamic(const char *given)
{
	char path[256], command[300];
	unsigned long long sum;
	FILE *out;
	ssize_t n;

	if (given) {
		snprintf(path, sizeof(path), "%s", given);
	} else {
		n = readlink("/proc/self/exe", path, sizeof(path) - 20);
		path[n > 0 ? n : 0] = 0;
		strcpy(strrchr(path, '/') ? strrchr(path, '/') + 1 : path, "dynamic-hello");
	}
	snprintf(command, sizeof(command), "%s 0", path);
	out = access(path, X_OK) ? NULL : popen(command, "r");
	if (!out || fscanf(out, "dynamic-hello %*x %llx", &sum) != 1 || pclose(out))
		refuse("cannot execute %s: put dynamic-hello there, or name it by --dynamic", path);
	sh->dynamic_sum = sum;
	if (!realpath(path, sh->dynamic))
		refuse("%s: %m", path);
}

static void init_file(struct file *f, uint64_t max)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_rwlock_init(&f->lock, &attr);
	f->nblk = max / BLK;
	f->blk = mmap(NULL, f->nblk * sizeof(*f->blk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must((intptr_t)f->blk);
}

/* Use a file of that name that is elsewhere, perhaps on a file system that cannot be written. */
static bool link_outside(const char *outside, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", outside ? outside : "", name);
	return outside && !access(path, F_OK) && !must(symlink(path, name));
}

static void make_files(const char *outside)
{
	char name[16];

	for (int i = 0; i < RO_FILES; i++) {
		snprintf(name, sizeof(name), "fixed%d", i);
		init_file(&sh->ro[i], RO_SIZE);
		if (link_outside(outside, name))
			expect_file(&sh->ro[i], name, RO_SIZE);
		else
			make_file(&sh->ro[i], name, RO_SIZE);
		sh->ro[i].fixed = true;
	}
	for (int i = 0; i < sh->nfiles; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		init_file(&sh->file[i], FILE_MAX);
		make_file(&sh->file[i], name, BLK * (1 + below(FILE_MAX / 2 / BLK)));
	}
	init_file(&sh->stripes, FILE_MAX / 4);
	link_outside(outside, "stripes");
	make_file(&sh->stripes, "stripes", FILE_MAX / 4);
	release_all();
	sync();
}

/* Start this program again with a defect, and see whether it says so. */
static bool self_test_one(const char *dir, const char *defect, const char *more, const char *expect)
{
	char args[512], *argv[20] = { "stress", "--dir", (char *)dir, "--seconds", "20", "--sabotage", (char *)defect };
	char text[65536];
	int n = 7, p[2], status;
	size_t len = 0;
	ssize_t got;
	pid_t pid;
	bool good;

	snprintf(args, sizeof(args), "%s", more);
	for (char *arg = strtok(args, " "); arg; arg = strtok(NULL, " "))
		argv[n++] = arg;
	must(pipe(p));
	pid = must(fork());
	if (!pid) {
		dup2(p[1], 1);
		dup2(p[1], 2);
		close(p[0]);
		close(p[1]);
		execv("/proc/self/exe", argv);
		_exit(127);
	}
	close(p[1]);
	while (len < sizeof(text) - 1 && (got = read(p[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += got;
	text[len] = 0;
	close(p[0]);
	must(waitpid(pid, &status, 0));
	good = strstr(text, expect) && WIFEXITED(status) &&
	       WEXITSTATUS(status) == (strncmp(expect, "PASS", 4) ? 1 : 0);
	printf("%s self-test %s: %s\n", good ? "ok" : "FAIL", defect, good ? "seen" : "not seen; it printed:");
	if (!good)
		printf("%s", text);
	fflush(stdout);
	return good;
}

static int self_test(const char *dir)
{
	static const struct { const char *defect, *more, *expect; } tests[] = {
		{ "none", "--seconds 1", "PASS" },
		{ "flip", "", "file=file" },
		{ "flip-fixed", "", "file=fixed" },
		{ "flip-stripes", "--only stripes", "file=stripes" },
		{ "lost-write", "--only pwrite", "file=file" },
		{ "cow", "--only copy-on-write", "file=private copy" },
		{ "child", "--only fork", "killed by signal 9" },
		{ "futex", "--only futex-wait --hang 2", "is not woken" },
		{ "exec", "--only exec-static", "FAIL" },
		{ "library", "--only exec-dynamic", "FAIL" },
		{ "pressure", "--mem-pressure 8", "file=anonymous memory" },
		{ "crash", "", "signal 11" },
		{ "vanish", "", "is lost" },
		{ "hang", "--hang 2", "no progress" },
		{ "idle", "--seconds 1", "never ran" },
	};
	int bad = 0;

	for (unsigned int i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		bad += !self_test_one(dir, tests[i].defect, tests[i].more, tests[i].expect);
	printf("%s self-test: %zu runs, %d without the result that was due\n", bad ? "FAIL" : "PASS",
	       sizeof(tests) / sizeof(*tests), bad);
	return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", 1, 0, 'd' }, { "seed", 1, 0, 's' }, { "seconds", 1, 0, 't' }, { "procs", 1, 0, 'p' },
		{ "only", 1, 0, 'o' }, { "mem-pressure", 1, 0, 'm' }, { "hang", 1, 0, 'h' }, { "dynamic", 1, 0, 'y' },
		{ "outside", 1, 0, 'u' }, { "sabotage", 1, 0, 'x' }, { "list", 0, 0, 'l' }, { "selftest", 0, 0, 'T' }, { }
	};
	const char *dir = NULL, *dynamic = NULL, *outside = NULL;
	int seconds = 10, count, opt;
	bool self = false, flips, good;
	char path[PATH_MAX];
	struct statfs fs;
	pid_t flipper = 0;

	if (argc > 2 && (!strcmp(argv[1], "--child") || !strcmp(argv[1], "--script"))) {
		/* A script puts its own name before what it was given. */
		const char *n = argv[1][2] == 's' && argc > 3 ? argv[3] : argv[2];

		printf("child %016llx\n", (unsigned long long)mix(text_sum() + strtoull(n, NULL, 0)));
		return 0;
	}
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED)
		refuse("mmap: %m");
	sh->seed = 1;
	sh->procs = 4;
	sh->hang_ms = 60000;
	collect_ops();
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'd': dir = optarg; break;
		case 's': sh->seed = number(optarg, ~0ull); break;
		case 't': seconds = number(optarg, 1 << 20); break;
		case 'p': sh->procs = number(optarg, MAX_PROCS); break;
		case 'o': parse_only(optarg); break;
		case 'm': pressure_mb = number(optarg, 1 << 20); break;
		case 'h': sh->hang_ms = number(optarg, 1 << 20) * 1000; break;
		case 'y': dynamic = optarg; break;
		case 'u': outside = optarg; break;
		case 'x': snprintf(sh->sabotage, sizeof(sh->sabotage), "%s", optarg); break;
		case 'T': self = true; break;
		case 'l':
			for (int i = 0; i < nops; i++)
				puts(ops[i]->name);
			return 0;
		default: return 2;
		}
	}
	sh->hang_ms *= patience();
	if (!dir || optind < argc || !sh->procs)
		refuse("usage: stress --dir DIR [--seed N] [--seconds S] [--procs P] [--only OP,OP] [--mem-pressure MB] "
		       "[--hang S] [--dynamic PROGRAM] [--outside DIR] | --list | --selftest --dir DIR");
	if (self)
		return self_test(dir);

	find_dynamic(dynamic);
	sh->self_sum = text_sum();
	sh->nfiles = 2 * sh->procs;
	seed_rnd(sh->seed);
	enter(dir, path);
	if (statfs(".", &fs))
		refuse("statfs: %m");
	watch_signals();
	make_files(outside);
	printf("stress: seed=%llu procs=%d seconds=%d in %s%s\n", (unsigned long long)sh->seed, sh->procs, seconds, path,
	       fs.f_type == EXT4_MAGIC ? " (ext4)" : "");
	fflush(stdout);
	sh->deadline = now_ms() + seconds * 1000ll;
	count = sh->procs + !!pressure_mb;
	for (int n = 0; n < count; n++)
		sh->worker[n].pid = start(n, n < sh->procs ? worker : pressure);
	flips = !strncmp(sh->sabotage, "flip", 4);
	if (flips) {
		flipper = fork();
		if (!flipper) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			saboteur();
			_exit(0);
		}
	}
	good = supervise(count) && summary(fs.f_type == EXT4_MAGIC);
	if (flipper)
		kill(flipper, SIGKILL);
	if (!good)
		return 1;
	if (chdir("/") || nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS))
		refuse("cannot remove %s: %m", path);
	return 0;
}
