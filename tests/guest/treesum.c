// SPDX-License-Identifier: GPL-2.0
/*
 * Checks files against a list of SHA-512 sums as sha512sum prints it.
 *
 * treesum read|mmap LIST [PREFIX]	the files whose path starts with PREFIX
 *
 * read reads the files with read(), mmap sums them through a shared mapping; two processes share the work.
 * The last line is "FILES files, BYTES bytes, WRONG wrong"; the status is 0 only if none is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sha512.h"

#define WORKERS 2

struct result {
	uint64_t files, bytes, wrong;
};

static int sum_mapped(int fd, size_t size, char *hex)
{
	struct sha512 sum;
	unsigned char *p = NULL;

	if (size) {
		p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			return -1;
	}
	sha512_init(&sum);
	sha512_end(&sum, p, size, hex);
	if (size)
		munmap(p, size);
	return 0;
}

static int sum_read(int fd, char *hex)
{
	static unsigned char buffer[65536];
	struct sha512 sum;
	size_t filled = 0;
	ssize_t got;

	sha512_init(&sum);
	while ((got = read(fd, buffer + filled, sizeof(buffer) - filled)) > 0) {
		filled += got;
		if (filled == sizeof(buffer)) {
			sha512_add(&sum, buffer, filled);
			filled = 0;
		}
	}
	sha512_end(&sum, buffer, filled, hex);
	return got;
}

static void check(const char *how, const char *expected, const char *path, struct result *result)
{
	char hex[SHA512_HEX];
	struct stat st;
	int fd = open(path, O_RDONLY);
	int error;

	result->files++;
	if (fd < 0 || fstat(fd, &st)) {
		printf("%s: %s\n", path, strerror(errno));
		result->wrong++;
		if (fd >= 0)
			close(fd);
		return;
	}
	result->bytes += st.st_size;
	error = how[0] == 'r' ? sum_read(fd, hex) : sum_mapped(fd, st.st_size, hex);
	if (error) {
		printf("%s: %s\n", path, strerror(errno));
		result->wrong++;
	} else if (strcmp(hex, expected)) {
		printf("%s: sum is %s, not %s\n", path, hex, expected);
		result->wrong++;
	}
	close(fd);
}

/* One worker: every WORKERS-th line of the list. */
static struct result work(const char *how, const char *list, const char *prefix, int worker)
{
	struct result result = { 0 };
	char expected[SHA512_HEX], path[4096];
	FILE *file = fopen(list, "r");
	unsigned int line = 0;

	if (!file) {
		printf("%s: %s\n", list, strerror(errno));
		result.wrong = 1;
		return result;
	}
	while (fscanf(file, "%128s %4095[^\n]", expected, path) == 2) {
		if (strncmp(path, prefix, strlen(prefix)))
			continue;
		if (line++ % WORKERS == (unsigned int)worker)
			check(how, expected, path, &result);
	}
	fclose(file);
	fflush(stdout);
	return result;
}

int main(int argc, char **argv)
{
	struct result total = { 0 };
	int pipes[2], status, lost = 0;

	if (argc < 3 || (strcmp(argv[1], "read") && strcmp(argv[1], "mmap"))) {
		fprintf(stderr, "usage: treesum read|mmap LIST [PREFIX]\n");
		return 2;
	}
	if (pipe(pipes)) {
		perror("pipe");
		return 2;
	}
	for (int i = 0; i < WORKERS; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			perror("fork");
			return 2;
		}
		if (!pid) {
			struct result result = work(argv[1], argv[2], argc > 3 ? argv[3] : "", i);

			_exit(write(pipes[1], &result, sizeof(result)) != sizeof(result));
		}
	}
	for (int i = 0; i < WORKERS; i++) {
		struct result result;

		if (wait(&status) < 0 || status) {
			printf("a worker ended with status %#x\n", status);
			lost++;
			continue;
		}
		if (read(pipes[0], &result, sizeof(result)) != sizeof(result)) {
			lost++;
			continue;
		}
		total.files += result.files;
		total.bytes += result.bytes;
		total.wrong += result.wrong;
	}
	total.wrong += lost;
	if (!total.files) {
		printf("no file of %s was checked\n", argv[2]);
		total.wrong++;
	}
	printf("%llu files, %llu bytes, %llu wrong\n", (unsigned long long)total.files,
	       (unsigned long long)total.bytes, (unsigned long long)total.wrong);
	return total.wrong != 0;
}
