// SPDX-License-Identifier: GPL-2.0
/*
 * churn: what a compile run does to the page allocator, without a compiler
 *
 *   churn JOBS SOURCES WORK
 *
 * Two at a time, JOBS processes are forked and execute this program again.  Each
 * reads a file of the directory SOURCES, grows its heap page by page while it
 * "compiles" it, maps and unmaps scratch memory, writes an object file to the
 * directory WORK, reads it back as a linker does, and ends.  Every eighth job
 * is a linker: it reads and removes the object files of the others.
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define HEAP_PAGES 400
#define SCRATCH_PAGES 100
#define LINK_EVERY 8

static unsigned int hash = 2166136261u;

static void digest(const char *data, ssize_t size)
{
	while (size-- > 0)
		hash = (hash ^ (unsigned char)*data++) * 16777619u;
}

static void read_file(const char *path)
{
	char buffer[4 * PAGE];
	ssize_t got;
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		err(1, "%s", path);
	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		digest(buffer, got);
	if (got < 0)
		err(1, "%s", path);
	close(fd);
}

/* The path of the source file number @job, counted round. */
static void pick(char *path, size_t size, const char *sources, int job)
{
	DIR *dir = opendir(sources);
	struct dirent *entry;
	int files = 0, pass, left = 0;

	if (!dir)
		err(1, "%s", sources);
	for (pass = 0; pass < 2; pass++, rewinddir(dir)) {
		while ((entry = readdir(dir))) {
			if (entry->d_type != DT_REG)
				continue;
			if (!pass)
				files++;
			else if (!left--)
				snprintf(path, size, "%s/%s", sources, entry->d_name);
		}
		if (!files)
			errx(1, "%s has no files", sources);
		left = job % files;
	}
	closedir(dir);
}

static int compile(int job, const char *sources, const char *work)
{
	char path[4096], *end, *scratch;
	int i, fd;

	pick(path, sizeof(path), sources, job);
	read_file(path);
	for (i = 0; i < HEAP_PAGES; i++) {
		char *page = sbrk(PAGE);

		if (page == (void *)-1)
			err(1, "sbrk");
		memset(page, job + i, PAGE / 8);
	}
	for (i = 0; i < 2; i++) {
		scratch = mmap(NULL, SCRATCH_PAGES * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (scratch == MAP_FAILED)
			err(1, "mmap");
		for (end = scratch; end < scratch + SCRATCH_PAGES * PAGE; end += PAGE)
			*end = 1;
		munmap(scratch, SCRATCH_PAGES * PAGE);
	}
	snprintf(path, sizeof(path), "%s/%d.o", work, job);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		err(1, "%s", path);
	end = sbrk(0);
	if (write(fd, end - 16 * PAGE, 16 * PAGE) != 16 * PAGE)
		err(1, "%s", path);
	close(fd);
	read_file(path);
	return 0;
}

static int link_all(const char *work)
{
	DIR *dir = opendir(work);
	struct dirent *entry;
	char path[4096];

	if (!dir)
		err(1, "%s", work);
	while ((entry = readdir(dir))) {
		if (!strstr(entry->d_name, ".o"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", work, entry->d_name);
		read_file(path);
		unlink(path);
	}
	closedir(dir);
	return 0;
}

static void reap(void)
{
	int status;

	if (wait(&status) < 0)
		err(1, "wait");
	if (status)
		errx(1, "a job ended with status %x", status);
}

int main(int argc, char **argv)
{
	int job, jobs, running = 0;
	char number[16];

	if (argc != 4 && argc != 5)
		errx(2, "churn JOBS SOURCES WORK");
	jobs = atoi(argv[1]);
	if (argc == 5)
		return compile(jobs, argv[2], argv[3]);

	for (job = 0; job < jobs; job++) {
		int linker = job % LINK_EVERY == LINK_EVERY - 1;

		/* The linker has the machine for itself. */
		while (running > (linker ? 0 : 1)) {
			reap();
			running--;
		}
		if (linker) {
			link_all(argv[3]);
			continue;
		}
		snprintf(number, sizeof(number), "%d", job);
		switch (fork()) {
		case -1:
			err(1, "fork");
		case 0:
			execl("/proc/self/exe", "churn", number, argv[2], argv[3],
			      "job", NULL);
			err(1, "exec");
		}
		running++;
	}
	while (running--)
		reap();
	return 0;
}
