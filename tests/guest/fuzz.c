// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz - random operations on files by several processes, and what the files must hold known for each byte
 *
 * A seed makes a list of operations, which can be printed, repeated, and made smaller. It has rounds. In each round every
 * byte of a file has an owner, who alone writes it, or none, so that all may read it: so processes work on the same pages
 * at the same time, and what each must find is known nevertheless. The owner of the end of a file also moves it.
 *
 * usage: fuzz --dir DIR [--seed N] [--seconds S | --episodes N] [--procs P] [--group DIR] [--host] [--hang S]
 *        fuzz --dir DIR [--seed N] [--procs P] [--group DIR] [--host] --list
 *        fuzz --dir DIR --replay FILE [--only N-N,N...] [--tries N] [--group DIR] [--host]
 *
 *   --seed N       (1) of the first episode; the next one has N + 1, and so on
 *   --procs P      (4) at most; an episode has up to so many processes
 *   --group DIR    a memory cgroup that all of it is in, to reclaim from
 *   --host         somebody reads what is printed, and at each line "discard" takes volatile pages
 *   --hang S       (60) an operation that takes longer is a failure
 *   --list         print the list of the seed, as --replay takes it, and do nothing; the same options must be given
 *   --replay FILE  a list; lines "try N" and "op N" tell what is being done
 *   --only N-N,N   only the operations with these numbers
 *   --tries N      (1) repeat the list so often: how processes meet in time is not repeated
 *
 * Exit status 0 and a last line "PASS seed=N ...": all was right. 1 and a line "FAIL seed=N round=R op ...": it was not;
 * --seed N --episodes 1 repeats that list. 2: it could not start.
 */
#include "fuzz/fuzz.h"
#include "number.h"
#include "watched.h"
#include <getopt.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define XFS_MAGIC	0x58465342
#define BTRFS_MAGIC	0x9123683e
#define ROUNDS		10			/* of an episode; less than MAX_ROUNDS */

struct shared *sh;
struct episode *ep;
struct file file[FILES];
uint32_t me;
const struct op *doing;
uint32_t left;
const char *group;
bool host_listens, big_folios, btrfs;

static uint32_t procs = 4;
static bool replayed;				/* the list is there already */

void refuse(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "fuzz: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(2);
}

static void act(const struct op *op)
{
	const struct verb *v = &verbs[op->verb];

	doing = op;
	left = fits(op);
	sh->proc[me].op = op->number;
	sh->proc[me].beat = now_ms();
	if (replayed)
		dprintf(1, "op %u\n", op->number);
	/* What is written is taken from the model. */
	apply(op);
	if (left || v->kind & SYSTEM)
		v->act(op);
	sh->proc[me].ops++;
	doing = NULL;
}

static void meet(void)
{
	sh->proc[me].op = 0;
	sh->proc[me].beat = 0;
	pthread_barrier_wait(&sh->barrier);
	sh->proc[me].beat = now_ms();
}

static void play_round(const struct round *r)
{
	begin_round(r, !me);
	meet();
	for (uint32_t i = 0; i < r->ops; i++)
		if (r->op[i].proc == me)
			act(&r->op[i]);
	meet();
	for (uint32_t i = 0; i < r->ops; i++)
		if (r->op[i].proc != me)
			apply(&r->op[i]);
	/* Nobody but the first one changes it before all meet again. */
	if (!me)
		check_sizes();
}

/* What one process does. The model is empty: the parent never fills its copy. */
static void play(void)
{
	uint32_t rounds = replayed ? ep->rounds : ROUNDS;

	for (uint32_t f = 0; f < FILES; f++)
		must(mlock(file[f].want, ep->max + PAGE));
	open_files();
	if (replayed)
		ep->rounds = 0;
	for (uint32_t n = 0; n < rounds; n++) {
		if (replayed)
			ep->rounds++;
		else
			next_round();
		play_round(&ep->round[n]);
	}
	check_everything();
	meet();
	close_files();
}

static void start(uint32_t number)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		refuse("fork: %m");
	if (pid) {
		sh->proc[number].pid = pid;
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	me = number;
	watch_signals();
	play();
	sh->proc[me].finished = true;
	_exit(0);
}

static void show(pid_t pid, const char *what)
{
	char name[40], text[4096];
	FILE *in;
	size_t n;

	snprintf(name, sizeof(name), "/proc/%d/%s", pid, what);
	in = fopen(name, "r");
	n = in ? fread(text, 1, sizeof(text), in) : 0;
	if (in)
		fclose(in);
	printf("  %s of %d: %.*s%s", what, pid, (int)n, text, n && text[n - 1] == '\n' ? "" : "\n");
}

/* One episode by all of its processes. False, and it was said why, if it went wrong. */
static bool episode(void)
{
	pthread_barrierattr_t attr;
	uint32_t running = ep->procs;
	int status;
	pid_t pid;

	make_files();
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&sh->barrier, &attr, ep->procs);
	fflush(stdout);
	for (uint32_t n = 0; n < ep->procs; n++) {
		sh->proc[n].finished = false;
		sh->proc[n].beat = 0;
		start(n);
	}
	while (running && !sh->failed) {
		pid = waitpid(-1, &status, WNOHANG);
		if (pid > 0) {
			uint32_t n = 0;

			while (n + 1 < ep->procs && sh->proc[n].pid != pid)
				n++;
			running--;
			if (sh->failed || (!status && sh->proc[n].finished))
				continue;
			sh->failed = 1;
			printf("FAIL seed=%llu op %u p%u is lost: %s %d\n", (unsigned long long)ep->seed, sh->proc[n].op, n,
			       WIFSIGNALED(status) ? "signal" : "status",
			       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
			continue;
		}
		for (uint32_t n = 0; n < ep->procs && !sh->failed; n++) {
			int64_t beat = sh->proc[n].beat;

			if (sh->proc[n].finished || !beat || now_ms() - beat < sh->hang_ms)
				continue;
			printf("FAIL seed=%llu op %u p%u hang: no progress for %lld s\n", (unsigned long long)ep->seed,
			       sh->proc[n].op, n, (long long)sh->hang_ms / 1000);
			show(sh->proc[n].pid, "wchan");
			show(sh->proc[n].pid, "syscall");
			show(sh->proc[n].pid, "stack");
			sh->failed = 1;
		}
		usleep(2000);
	}
	fflush(stdout);
	if (!sh->failed)
		return true;
	/* Whoever cannot die is not waited for. */
	for (uint32_t n = 0; n < ep->procs; n++)
		kill(sh->proc[n].pid, SIGKILL);
	for (int64_t until = now_ms() + 3000; now_ms() < until && waitpid(-1, &status, WNOHANG) >= 0; )
		usleep(2000);
	return false;
}

static void list_only(uint64_t seed)
{
	start_episode(seed, procs);
	print_head(stdout);
	for (uint32_t n = 0; n < ROUNDS; n++) {
		next_round();
		print_round(stdout, n);
		begin_round(&ep->round[n], false);
		for (uint32_t i = 0; i < ep->round[n].ops; i++)
			apply(&ep->round[n].op[i]);
	}
}

/* Rounds without operations go as well, but for one: what is wrong may be so without any. */
static void keep_only(char *list)
{
	uint32_t kept = 0;
	bool *keep = calloc(ep->last_op + 1, sizeof(*keep));

	for (char *part = strtok(list, ","); part; part = strtok(NULL, ",")) {
		char *dash = strchr(part, '-');
		uint32_t first, last;

		if (dash)
			*dash = 0;
		first = last = number(part, ep->last_op);
		if (dash)
			last = number(dash + 1, ep->last_op);
		for (; first <= last; first++)
			keep[first] = true;
	}
	for (uint32_t n = 0; n < ep->rounds; n++) {
		struct round *r = &ep->round[n];
		uint32_t ops = 0;

		for (uint32_t i = 0; i < r->ops; i++)
			if (keep[r->op[i].number])
				r->op[ops++] = r->op[i];
		r->ops = ops;
		if (ops)
			ep->round[kept++] = *r;
	}
	if (!kept)
		ep->round[kept++].ops = 0;
	ep->rounds = kept;
	free(keep);
}

static void *shared_memory(size_t len)
{
	void *p = mmap(NULL, len, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mlock(p, len))
		refuse("memory: %m");
	return p;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", 1, 0, 'd' }, { "seed", 1, 0, 's' }, { "seconds", 1, 0, 't' }, { "episodes", 1, 0, 'e' },
		{ "procs", 1, 0, 'p' }, { "group", 1, 0, 'g' }, { "host", 0, 0, 'H' }, { "hang", 1, 0, 'h' },
		{ "list", 0, 0, 'l' }, { "replay", 1, 0, 'r' }, { "tries", 1, 0, 'n' }, { "only", 1, 0, 'o' },
		{ }
	};
	const char *dir = NULL, *replay = NULL;
	char *only = NULL;
	uint64_t seed = 1, first, operations = 0;
	uint32_t seconds = 10, episodes = 0, tries = 1, done = 0;
	int64_t started = now_ms(), said = started;
	struct statfs fs;
	bool list = false;
	FILE *in = NULL;
	int opt;

	sh = shared_memory(sizeof(*sh));
	sh->hang_ms = 60000;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'd': dir = optarg; break;
		case 's': seed = number(optarg, ~0ull >> 1); break;
		case 't': seconds = number(optarg, 1 << 20); break;
		case 'e': episodes = number(optarg, 1 << 30); break;
		case 'p': procs = number(optarg, MAX_PROCS); break;
		case 'g': group = optarg; break;
		case 'H': host_listens = true; break;
		case 'h': sh->hang_ms = number(optarg, 1 << 20) * 1000; break;
		case 'l': list = true; break;
		case 'r': replay = optarg; break;
		case 'o': only = optarg; break;
		case 'n': tries = number(optarg, 1 << 20); break;
		default: return 2;
		}
	}
	sh->hang_ms *= patience();
	if (!dir || optind < argc || !procs)
		refuse("usage: fuzz --dir DIR [--seed N] [--seconds S | --episodes N] [--procs P] [--group DIR] [--host] "
		       "[--hang S] [--list | --replay FILE [--only N-N,N...] [--tries N]]");
	if (replay) {
		in = fopen(replay, "r");
		if (!in)
			refuse("%s: %m", replay);
	}
	if (chdir(dir) || (mkdir("fuzz", 0700) && errno != EEXIST) || chdir("fuzz") || statfs(".", &fs))
		refuse("fuzz in %s: %m", dir);
	big_folios = fs.f_type == XFS_MAGIC;
	btrfs = (uint32_t)fs.f_type == BTRFS_MAGIC;
	ep = mmap(NULL, sizeof(*ep), RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ep == MAP_FAILED)
		refuse("memory: %m");
	for (uint32_t f = 0; f < FILES; f++) {
		file[f].want = mmap(NULL, SIZE_MAX_ + PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (file[f].want == MAP_FAILED)
			refuse("memory: %m");
	}
	if (list) {
		list_only(seed);
		return 0;
	}
	if (replay) {
		read_list(in);
		fclose(in);
		if (only)
			keep_only(only);
		replayed = true;
		episodes = tries;
		seed = ep->seed;
	}
	first = seed;
	for (; episodes ? done < episodes : now_ms() - started < seconds * 1000ll; done++) {
		if (!replayed) {
			start_episode(seed, procs);
			/* If the kernel dies it says no more, and this is what remains. */
			if (now_ms() - said > 0)
				printf("fuzz: seed=%llu, %u episodes\n", (unsigned long long)seed, done);
			said = now_ms();
			seed++;
		} else {
			printf("try %u\n", done + 1);
		}
		if (!episode())
			return 1;
	}
	for (uint32_t n = 0; n < MAX_PROCS; n++)
		operations += sh->proc[n].ops;
	printf("PASS seed=%llu episodes=%u ops=%llu\n", (unsigned long long)first, done, (unsigned long long)operations);
	return 0;
}
