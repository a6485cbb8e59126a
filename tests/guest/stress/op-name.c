// SPDX-License-Identifier: GPL-2.0
/* Operations on names, and execution of programs from the file system under test. */
#include "stress.h"
#include <dirent.h>
#include <limits.h>

#define SCRATCH (16 * PAGE)
#define MAX_LIBS 8

/* A file that only this operation knows. */
static struct area scratch(struct file *f, const char *stem, size_t len)
{
	struct area a = { .f = f, .len = len };
	char name[16];

	snprintf(name, sizeof(name), "%s.%d", stem, my_number);
	f->nblk = SCRATCH / BLK;
	f->blk = (struct blk *)anon(f->nblk * sizeof(*f->blk));
	f->fixed = false;
	make_file(f, name, len);
	a.fd = open_area(&a, O_RDWR);
	recycle(&a);
	return a;
}

/* A file takes the name of another, both open and mapped; in the end neither has a name. */
static int rename_unlink(void)
{
	struct file f, g;
	struct area a = scratch(&f, "a", BLK * (1 + below(SCRATCH / BLK))), b = scratch(&g, "b", SCRATCH), c;
	char *p = map_area(&a, PROT_READ, MAP_SHARED), *q = map_area(&b, RW, MAP_SHARED);

	if (chance(50))
		check(&f, 0, p, a.len);
	must(rename(f.name, g.name));
	c = a;
	c.fd = keep_fd(open(g.name, O_RDWR), g.name);
	verify(&c);
	recycle_mapped(&b, q);
	check(&g, 0, q, b.len);
	new_content(&g, 0, b.len);
	fill(&g, 0, b.len, q);
	must(unlink(g.name));
	recycle_mapped(&b, q);
	check(&g, 0, q, b.len);
	verify(&b);
	recycle_mapped(&a, p);
	check(&f, 0, p, a.len);
	verify(&a);
	forget_fd(a.fd);
	forget_fd(b.fd);
	forget_fd(c.fd);
	if (chance(50))
		must(madvise(p, a.len, MADV_DONTNEED));
	check(&f, 0, p, a.len);			/* only the mapping keeps it */
	return 0;
}

/* A chain of links, each too long to be kept in the inode. */
static int symlinks(void)
{
	struct area a = { .f = &sh->ro[below(RO_FILES)], .len = PAGE };
	char name[3][16], target[3][128], got[128];
	char *p = anon(PAGE);
	ssize_t n;

	for (int i = 0; i < 3; i++) {
		snprintf(name[i], sizeof(name[i]), "link%d.%d", i, my_number);
		snprintf(target[i], sizeof(target[i]), "%s%s",
			 "././././././././././././././././././././././././././././././././././././././",
			 i ? name[i - 1] : a.f->name);
		must(symlink(target[i], name[i]));
	}
	a.off = below(a.f->size / PAGE) * (uint64_t)PAGE;
	for (int i = 0; i < 3; i++) {
		a.fd = keep_fd(open(name[2], O_RDONLY), name[2]);
		read_at(a.fd, p, PAGE, a.off);
		check(a.f, a.off, p, PAGE);
	}
	for (int i = 0; i < 3; i++) {
		n = must(readlink(name[i], got, sizeof(got)));
		if ((size_t)n != strlen(target[i]) || memcmp(got, target[i], n))
			fail("link %s reads %.*s", name[i], (int)n, got);
		must(unlink(name[i]));
	}
	return 0;
}

static int directories(void)
{
	bool seen[200] = { false };
	int entries = 1 + below(200);
	char name[64], dir[16];
	struct dirent *d;
	DIR *list;

	snprintf(dir, sizeof(dir), "dir.%d", my_number);
	must(mkdir(dir, 0700));
	for (int i = 0; i < entries; i++) {
		snprintf(name, sizeof(name), "%s/a-name-of-some-length-%d", dir, i);
		must(close(must(open(name, O_CREAT | O_WRONLY | O_EXCL, 0600))));
	}
	list = opendir(dir);
	if (!list)
		fail("opendir: %m");
	while ((d = readdir(list))) {
		int i;

		if (d->d_name[0] == '.')
			continue;
		if (sscanf(d->d_name, "a-name-of-some-length-%d", &i) != 1 || i < 0 || i >= entries || seen[i])
			fail("directory %s shows %s", dir, d->d_name);
		seen[i] = true;
	}
	closedir(list);
	for (int i = 0; i < entries; i++) {
		if (!seen[i])
			fail("directory %s does not show entry %d", dir, i);
		snprintf(name, sizeof(name), "%s/a-name-of-some-length-%d", dir, i);
		must(unlink(name));
	}
	must(rmdir(dir));
	return 0;
}

/* The copy is on disk and no longer in memory: execution begins with reading. */
static void copy_program(const char *from, const char *to)
{
	int in = keep_fd(open(from, O_RDONLY), from), out;
	size_t size = must(lseek(in, 0, SEEK_END));
	char *p = anon(size);

	/* A program that is being executed cannot be written; a new file can take its name. */
	if (unlink(to) && errno != ENOENT)
		fail("unlink %s: %m", to);
	out = keep_fd(open(to, O_RDWR | O_CREAT | O_EXCL, 0700), to);
	read_at(in, p, size, 0);
	write_at(out, p, size, 0);
	must(fsync(out));
	forget_fd(in);
	forget_fd(out);
}

/* Forget the pages of the program. Whoever executes it at the moment keeps the mapped ones. */
static void drop_program(const char *name)
{
	int fd = keep_fd(open(name, O_RDONLY), name);

	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	forget_fd(fd);
}

/* For the self-test: what an undetected wrong page of a program would do. */
static void damage_program(const char *name)
{
	struct stat st;
	int fd = keep_fd(open(name, O_RDWR), name);
	char c;

	must(fstat(fd, &st));
	read_at(fd, &c, 1, st.st_size / 3);
	c ^= 1;
	write_at(fd, &c, 1, st.st_size / 3);
	forget_fd(fd);
}

static void run_and_compare(char *const argv[], char *const env[], const char *want)
{
	char got[256];
	size_t n = 0, m;
	pid_t pid;
	int p[2];

	must(pipe(p));
	keep_fd(p[0], "pipe");
	keep_fd(p[1], "pipe");
	pid = spawn();
	if (!pid) {
		must(dup2(p[1], 1));
		execve(argv[0], argv, env);
		dprintf(2, "exec %s: %m\n", argv[0]);
		_exit(127);
	}
	forget_fd(p[1]);
	while (n < sizeof(got) - 1 && (m = must(read(p[0], got + n, sizeof(got) - 1 - n))))
		n += m;
	got[n] = 0;
	reap(pid);
	if (strcmp(got, want))
		fail("%s printed \"%s\" instead of \"%s\"", argv[0], got, want);
}

/* A copy of this program, named or as the interpreter of a script, says what it finds in its own text. */
static int exec_static(void)
{
	static bool copied;
	char exe[24], script[16], line[64], number[24], want[64];
	char *argv[] = { exe, "--child", number, NULL }, *env[] = { NULL };
	uint64_t n = rnd();

	snprintf(exe, sizeof(exe), "./exe.%d", my_number);
	if (!copied || chance(10))
		copy_program("/proc/self/exe", exe);
	copied = true;
	if (sabotage("exec"))
		damage_program(exe);
	if (chance(50))
		drop_program(exe);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)n);
	snprintf(want, sizeof(want), "child %016llx\n", (unsigned long long)mix(sh->self_sum + n));
	run_and_compare(argv, env, want);
	if (chance(30)) {
		int fd;

		snprintf(script, sizeof(script), "./run.%d", my_number);
		snprintf(line, sizeof(line), "#!%s --script\n", exe);
		fd = keep_fd(open(script, O_WRONLY | O_CREAT | O_TRUNC, 0700), script);
		write_at(fd, line, strlen(line), 0);
		must(fsync(fd));
		forget_fd(fd);
		drop_program(script);
		argv[0] = script;
		argv[1] = number;
		argv[2] = NULL;
		run_and_compare(argv, env, want);
	}
	return 0;
}

/* The program, its loader and its libraries, all from the file system under test. */
static int exec_dynamic(void)
{
	static char lib[MAX_LIBS][96], exe[32], dir[16], env_line[48];
	static int nlibs, loader;
	char *env[] = { env_line, NULL }, number[24], want[80];
	uint64_t n = rnd(), mixed = 0;
	bool fresh = !exe[0];

	if (fresh) {
		char path[256], command[300];
		FILE *list;

		snprintf(dir, sizeof(dir), "lib.%d", my_number);
		snprintf(exe, sizeof(exe), "%s/hello", dir);
		snprintf(env_line, sizeof(env_line), "LD_LIBRARY_PATH=%s", dir);
		must(mkdir(dir, 0700));
		copy_program(sh->dynamic, exe);
		snprintf(command, sizeof(command), "%s --libs", sh->dynamic);
		list = popen(command, "r");
		while (list && nlibs < MAX_LIBS && fgets(path, sizeof(path), list)) {
			const char *base = strrchr(path, '/');

			path[strcspn(path, "\n")] = 0;
			if (strstr(base, "/ld"))
				loader = nlibs;
			snprintf(lib[nlibs], sizeof(lib[nlibs]), "%s%.60s", dir, base);
			copy_program(path, lib[nlibs++]);
		}
		if (!list || pclose(list) || nlibs < 2)
			fail("%s names %d libraries, at least 2 were expected", command, nlibs);
	}
	if (sabotage("library"))
		damage_program(lib[!loader]);
	if (chance(50)) {
		drop_program(exe);
		for (int i = 0; i < nlibs; i++)
			drop_program(lib[i]);
	}
	snprintf(number, sizeof(number), "%llu", (unsigned long long)n);
	for (int i = 0; i < HELLO_NUMBERS; i++)
		mixed += mix(n + i * GOLDEN);
	snprintf(want, sizeof(want), "dynamic-hello %016llx %016llx\n", (unsigned long long)mixed,
		 (unsigned long long)sh->dynamic_sum);
	if (chance(50)) {
		char *argv[] = { exe, number, NULL };

		run_and_compare(argv, env, want);
	} else {
		char *argv[] = { lib[loader], "--library-path", dir, exe, number, NULL };

		run_and_compare(argv, env, want);
	}
	return 0;
}

const struct op name_ops[] = {
	{ "rename-unlink", rename_unlink, 6, false },
	{ "symlink", symlinks, 2, false },
	{ "readdir", directories, 1, false },
	{ "exec-static", exec_static, 4, false },
	{ "exec-dynamic", exec_dynamic, 4, false },
	{ }
};
